// SPDX-License-Identifier: Apache-2.0

package desk_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest/desk"
)

func serveFunction(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// A command that runs a core until it is interrupted.
func ExampleRun() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var config desk.Config
	config.Flags(flag.CommandLine)
	flag.Parse()
	if err := desk.Run(ctx, config, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A desk within a program.
func ExampleStart() {
	any := "127.0.0.1:0"
	d, err := desk.Start(desk.Config{Addr: any, MTLSAddr: any, HTTPAddr: any, ProxyAddr: any, Things: []string{"lamp"}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	fmt.Println(d.Material.Thing, len(d.Core.Devices()))
	// Output: lamp 1
}

// The control API and the console for a core that a program has already.
func ExampleNewControl() {
	feed := desk.NewFeed()
	core, err := iottest.New(iottest.Options{OnEvent: feed.Add})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer core.Close()
	server := httptest.NewServer(desk.NewControl(core, feed)) // on a loopback address
	defer server.Close()
	resp, err := http.Get(server.URL + "/v1/status")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output: 200
}
