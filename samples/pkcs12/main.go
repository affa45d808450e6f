// SPDX-License-Identifier: Apache-2.0

// Command pkcs12 connects with a certificate and a key in a PKCS#12 bundle
// (.p12, .pfx), subscribes, publishes and receives.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("pkcs12", "Connects with the certificate and key in a PKCS#12 bundle, subscribes, publishes and receives.")
	file := flag.String("p12", "", "PKCS#12 `file` with certificate and key")
	password := flag.String("password", "", "`password` of the file")

	app.Main(func(_ context.Context, options []iot.Option) (client *mqtt5.Client, err error) {
		if app.Local() {
			*file, *password, err = app.DeviceBundle()
		} else {
			err = app.Require("p12")
		}
		if err != nil {
			return nil, err
		}
		return iot.NewMTLSWithPKCS12(app.Endpoint, *file, *password, options...)
	})
}
