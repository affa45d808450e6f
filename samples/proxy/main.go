// SPDX-License-Identifier: Apache-2.0

// Command proxy connects through an HTTP or SOCKS5 proxy with a device
// certificate.
package main

import (
	"context"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/localproxy"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("proxy", "Connects through an HTTP or SOCKS5 proxy, subscribes, publishes and receives.")
	files := app.CertFlags()

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		switch {
		case app.Proxy != "":
			// The options have it, as those of all samples have.
		case app.Local():
			p, err := localproxy.Start(app.Core.DialContext, func(target string) { app.Printf("The proxy opens a tunnel to %s.", target) })
			if err != nil {
				return nil, err
			}
			app.OnExit(p.Close)
			app.Printf("Started an HTTP proxy with a password on this machine.")
			// The proxy knows the way to the core, and no other dialer is needed.
			options = append(options, iot.WithDialer(nil), iot.WithProxyURL(p.URL()))
		default:
			options = append(options, iot.WithProxyFromEnvironment())
		}
		return files.Client(options...)
	})
}
