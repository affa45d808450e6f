// SPDX-License-Identifier: Apache-2.0

// Command signer connects with a private key that the program cannot see: it is
// behind a crypto.Signer, as in a TPM, an HSM or a signing service.
package main

import (
	"context"
	"crypto"
	"flag"
	"io"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("signer", "Connects with a private key behind a crypto.Signer, subscribes, publishes and receives.")
	cert := flag.String("cert", "", "PEM `file` with the certificate of the device")
	key := flag.String("key", "", "PEM `file` with its private key, which stands for the hardware")

	app.Main(func(_ context.Context, options []iot.Option) (client *mqtt5.Client, err error) {
		if app.Local() {
			*cert, *key, err = app.DeviceFiles()
		} else {
			err = app.Require("cert", "key")
		}
		if err != nil {
			return nil, err
		}
		certPEM, err := os.ReadFile(*cert)
		if err != nil {
			return nil, err
		}
		keyPEM, err := os.ReadFile(*key)
		if err != nil {
			return nil, err
		}
		private, err := tlsctx.ParsePrivateKey(*key, keyPEM)
		if err != nil {
			return nil, err
		}
		return iot.NewMTLSWithSigner(app.Endpoint, certPEM, &hardware{app, private}, options...)
	})
}

// hardware is where a device of your own comes in: it only has to sign.
type hardware struct {
	app *sample.App
	key crypto.Signer
}

func (h *hardware) Public() crypto.PublicKey { return h.key.Public() }

func (h *hardware) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	h.app.Printf("The signer signs %d bytes for the TLS handshake.", len(digest))
	return h.key.Sign(random, digest, opts)
}
