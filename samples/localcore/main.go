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
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "`address` of the port that plays 443")
	mtlsAddr := flag.String("mtls-addr", "127.0.0.1:0", "`address` of the port that plays 8883")
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
	o := iottest.Options{Addr: *addr, MTLSAddr: *mtlsAddr, OnEvent: func(e iottest.Event) { fmt.Println(e) }}
	if *names != "" {
		o.ServerNames = strings.Split(*names, ",")
	}
	if *quotas {
		o.Quotas = iottest.ServiceQuotas()
	}
	if err := run(ctx, o, *dir); err != nil {
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
	core, err := iottest.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()

	files, err := write(core, dir)
	if err != nil {
		return err
	}
	files.print(core)
	<-ctx.Done()
	fmt.Println("Stopping.")
	return nil
}

// material is what was written to the folder.
type material struct {
	iottest.Files
	bundle, password string
	credentials      string
	unsigned, signed iot.CustomAuthorizer
}

// write makes a device, credentials and authorizers, and writes the files.
func write(core *iottest.Core, dir string) (*material, error) {
	device, err := core.CreateDevice("local-device")
	if err != nil {
		return nil, err
	}
	m := &material{bundle: filepath.Join(dir, "device.p12"), password: "local-password", credentials: filepath.Join(dir, "credentials")}
	if m.Files, err = device.WriteFiles(dir); err != nil {
		return nil, err
	}
	if err := sample.WriteBundle(device, m.bundle, m.password); err != nil {
		return nil, err
	}
	key, err := core.CreateAccessKey(iottest.AccessKeyOptions{Lifetime: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	profile := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n", key.AccessKeyID, key.SecretAccessKey, key.SessionToken)
	if err := os.WriteFile(m.credentials, []byte(profile), 0o600); err != nil {
		return nil, err
	}
	for _, signing := range []bool{false, true} {
		client, authorizer, err := sample.NewAuthorizer(signing)
		if err != nil {
			return nil, err
		}
		if err := core.AddAuthorizer(authorizer); err != nil {
			return nil, err
		}
		if signing {
			m.signed = client
		} else {
			m.unsigned = client
		}
	}
	return m, nil
}

func (m *material) print(core *iottest.Core) {
	host, _, _ := net.SplitHostPort(core.Addr())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	server := fmt.Sprintf("-endpoint %s -port %d -ca %s", host, core.Port(), m.CA)
	fmt.Printf(`An AWS IoT Core runs on this machine. Ctrl-C stops it.

  port %d plays 443:  MQTT with ALPN x-amzn-mqtt-ca or mqtt, WebSocket without ALPN
  port %d plays 8883: MQTT with a client certificate
  %s has certificates, keys and credentials

Ways to connect to it:

  certificate             go run ./samples/x509 %s -cert %s -key %s
  ... on 8883             go run ./samples/x509 -endpoint %s -port %d -ca %s -cert %s -key %s
  PKCS#12                 go run ./samples/pkcs12 %s -p12 %s -password %s
  signer                  go run ./samples/signer %s -cert %s -key %s
  WebSocket, SigV4        AWS_SHARED_CREDENTIALS_FILE=%s go run ./samples/websocket-sigv4 %s -region %s
  custom authorizer       go run ./samples/custom-auth %s -authorizer %s -username %s -password %s
  ... signed              go run ./samples/custom-auth-signed %s -authorizer %s -token-key-name %s -token '%s' -signature '%s'
  ... over WebSocket      go run ./samples/websocket-custom-auth %s -authorizer %s -username %s -password %s
  shell                   go run ./samples/pubsub %s -cert %s -key %s -sub 'a/#' -count 0

What clients do:

`,
		core.Port(), core.MTLSPort(), filepath.Dir(m.CA),
		server, m.Cert, m.Key,
		host, core.MTLSPort(), m.CA, m.Cert, m.Key,
		server, m.bundle, m.password,
		server, m.Cert, m.Key,
		m.credentials, server, core.Region(),
		server, m.unsigned.Name, m.unsigned.Username, m.unsigned.Password,
		server, m.signed.Name, m.signed.TokenKeyName, m.signed.TokenValue, m.signed.Signature,
		server, m.unsigned.Name, m.unsigned.Username, m.unsigned.Password,
		server, m.Cert, m.Key)
}
