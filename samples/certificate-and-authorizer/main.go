// SPDX-License-Identifier: Apache-2.0

// Command certificate-and-authorizer connects to a domain that requires both: a
// client certificate, and what a custom authorizer accepts.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("certificate-and-authorizer", "Connects with a certificate and a custom authorizer, subscribes, publishes and receives.")
	files := app.CertFlags()
	var a iot.CustomAuthorizer
	flag.StringVar(&a.Name, "authorizer", "", "`name` of the custom authorizer (default: that of the domain)")
	flag.StringVar(&a.Username, "username", "", "user `name` for it")
	password := flag.String("password", "", "`password` for it")

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		if err := files.Files(); err != nil {
			return nil, err
		}
		if app.Local() {
			local, err := app.LocalAuthorizer(false)
			if err != nil {
				return nil, err
			}
			a = local
		} else if *password != "" {
			a.Password = []byte(*password)
		}
		return iot.NewDirectWithCustomAuthorizer(app.Endpoint, a,
			append(options, iot.WithIdentity(tlsctx.FromPath(*files.Cert, *files.Key)))...)
	})
}
