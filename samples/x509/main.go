// SPDX-License-Identifier: Apache-2.0

// Command x509 connects with a device certificate over mutual TLS, subscribes,
// publishes and receives.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("x509", "Connects with a device certificate over mutual TLS, subscribes, publishes and receives.")
	cert := flag.String("cert", "", "PEM `file` with the certificate of the device")
	key := flag.String("key", "", "PEM `file` with its private key")

	app.Main(func(_ context.Context, options []iot.Option) (client *mqtt5.Client, err error) {
		if app.Local() {
			*cert, *key, err = app.DeviceFiles()
		} else {
			err = app.Require("cert", "key")
		}
		if err != nil {
			return nil, err
		}
		return iot.NewMTLSFromPath(app.Endpoint, *cert, *key, options...)
	})
}
