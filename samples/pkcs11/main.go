// SPDX-License-Identifier: Apache-2.0

// Command pkcs11 connects with a private key in a PKCS#11 token: an HSM, a
// smart card, a secure element, or SoftHSM.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("pkcs11", "Connects with a private key in a PKCS#11 token, subscribes, publishes and receives.")
	token := app.PKCS11Flags()
	cert := flag.String("cert", "", "PEM `file` with the certificate of the device (default: the one in the token)")

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		o, err := token.Options(*cert)
		if err != nil {
			return nil, err
		}
		identity, err := pkcs11.New(o)
		if err != nil {
			return nil, err
		}
		return iot.NewMTLSWithIdentity(app.Endpoint, identity, options...)
	})
}
