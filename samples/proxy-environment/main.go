// SPDX-License-Identifier: Apache-2.0

// Command proxy-environment connects through the proxy that the environment
// names, in HTTPS_PROXY or ALL_PROXY, unless NO_PROXY lists the host.
package main

import (
	"context"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/localproxy"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("proxy-environment", "Connects through the proxy of the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY), subscribes, publishes and receives.")
	files := app.CertFlags()

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		if app.Local() && app.Proxy == "" {
			p, err := localproxy.Start(app.Core.DialContext, func(target string) { app.Printf("The proxy opens a tunnel to %s.", target) })
			if err != nil {
				return nil, err
			}
			app.OnExit(p.Close)
			app.Printf("Started an HTTP proxy on this machine, and set HTTPS_PROXY.")
			_ = os.Setenv("HTTPS_PROXY", p.URL())
			_ = os.Setenv("NO_PROXY", "")
			options = append(options, iot.WithDialer(nil)) // the proxy finds the core
		}
		if app.Proxy == "" {
			options = append(options, iot.WithProxyFromEnvironment())
		}
		return files.Client(options...)
	})
}
