// SPDX-License-Identifier: Apache-2.0

// Command windows-store connects with a certificate and a key in a Windows
// certificate store. The key never leaves the store.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("windows-store", "Connects with a certificate in a Windows certificate store, subscribes, publishes and receives.")
	app.Remote = "a certificate in a store is for a server that knows it"
	store := flag.String("store", "", `path of the certificate, CurrentUser\MY\<thumbprint>`)

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		if err := app.Require("store"); err != nil {
			return nil, err
		}
		return iot.NewMTLSWithWindowsCertStore(app.Endpoint, *store, options...)
	})
}
