// SPDX-License-Identifier: Apache-2.0

// Command localcore runs an AWS IoT Core on this machine, writes what is needed
// to connect to a folder, prints a command for each way to connect, and shows
// what clients do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/localproxy"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "`address` of the port that plays 443")
	mtlsAddr := flag.String("mtls-addr", "127.0.0.1:0", "`address` of the port that plays 8883")
	tcpAddr := flag.String("tcp-addr", "127.0.0.1:0", "`address` of the port for MQTT without TLS, which lets everybody in")
	dir := flag.String("dir", "", "`folder` for certificates and credentials (default: a temporary one, removed at the end)")
	names := flag.String("names", "", "comma-separated `names` and addresses, beside localhost and 127.0.0.1, that the server's certificate is valid for")
	quotas := flag.Bool("quotas", false, "enforce the service's rates: 100 publishes a second, one CONNECT a second for a client id, ...")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "Runs an AWS IoT Core on this machine.\n\nUsage: go run ./samples/localcore [flags]\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := iottest.Options{Addr: *addr, MTLSAddr: *mtlsAddr, PlainTCP: true, TCPAddr: *tcpAddr, OnEvent: func(e iottest.Event) { fmt.Println(e) }}
	if *names != "" {
		o.ServerNames = strings.Split(*names, ",")
	}
	if *quotas {
		o.Quotas = iottest.ServiceQuotas()
	}
	err := error(nil)
	if flag.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q; flags begin with a dash, see -help", flag.Arg(0))
	} else {
		err = run(ctx, o, *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "localcore:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o iottest.Options, dir string) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "localcore-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	core, err := iottest.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	proxy, err := localproxy.Start(core.DialContext, func(target string) { fmt.Println("ProxyTunnel to", target) })
	if err != nil {
		return err
	}
	defer proxy.Close()

	m, err := write(core, dir)
	if err != nil {
		return err
	}
	m.print(core, proxy.URL())
	<-ctx.Done()
	fmt.Println("Stopping.")
	return nil
}
