// SPDX-License-Identifier: Apache-2.0

// Command proxy connects through an HTTP or SOCKS5 proxy with a device
// certificate.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/localproxy"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("proxy", "Connects through an HTTP or SOCKS5 proxy, subscribes, publishes and receives.")
	files := app.CertFlags()
	url := flag.String("proxy", "", "`URL` of the proxy: http, https or socks5, with user:password@ if needed (default: HTTPS_PROXY or ALL_PROXY)")

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		if app.Local() {
			p, err := localproxy.Start(app.Core.DialContext, func(target string) { app.Printf("The proxy opens a tunnel to %s.", target) })
			if err != nil {
				return nil, err
			}
			app.OnExit(p.Close)
			*url = p.URL()
			app.Printf("Started an HTTP proxy with a password on this machine.")
			options = append(options, iot.WithDialer(nil)) // the proxy knows the way to the core
		}
		if *url != "" {
			options = append(options, iot.WithProxyURL(*url))
		} else {
			options = append(options, iot.WithProxyFromEnvironment())
		}
		return files.Client(options...)
	})
}
