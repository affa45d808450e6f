// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
)

// A plain Go program makes TLS connections with a key in an HSM. The
// certificate is beside it in a file.
func Example() {
	id, err := pkcs11.New(pkcs11.Options{
		LibraryPath: "/usr/lib/softhsm/libsofthsm2.so",
		Token:       pkcs11.TokenOptions{Label: "device", PIN: pkcs11.PIN(os.Getenv("DEVICE_PIN"))},
		Key:         pkcs11.KeyOptions{Label: "mqtt", CertificateFile: "device.pem"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = id.Close() }()

	config := &tls.Config{
		// Asked at every handshake: the token may be away in between, and the
		// certificate may be renewed.
		GetClientCertificate: id.ClientCertificate,
	}
	conn, err := tls.Dial("tcp", "example.com:8883", config)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
}

// Several clients of one process share a token, and with it a bounded number of sessions.
func ExampleOpen() {
	lib, err := pkcs11.Open("/usr/lib/softhsm/libsofthsm2.so", pkcs11.InitDefault)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = lib.Close() }()

	token, err := lib.Token(pkcs11.TokenOptions{Label: "fleet", PIN: pkcs11.PIN(os.Getenv("FLEET_PIN")), MaxSessions: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = token.Close() }()

	for _, name := range []string{"pump-1", "pump-2"} {
		// The certificates are on the token too.
		id, err := token.Identity(pkcs11.KeyOptions{Label: name})
		if err != nil {
			log.Fatal(err)
		}
		config := &tls.Config{GetClientCertificate: id.ClientCertificate}
		_ = config
	}
}

// New finds the token by its properties, and lists the tokens if none matches.
func ExampleNew() {
	id, err := pkcs11.New(pkcs11.Options{
		LibraryPath: "/usr/lib/softhsm/libsofthsm2.so",
		Token:       pkcs11.TokenOptions{Serial: "5ba1c9e0a3d1f6b2", PIN: pkcs11.PIN(os.Getenv("DEVICE_PIN"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = id.Close() }()

	cert, err := id.Certificate(context.Background())
	switch {
	case errors.Is(err, pkcs11.ErrTokenNotFound):
		var e *pkcs11.Error
		if errors.As(err, &e) {
			fmt.Println("plugged in are", e.Tokens)
		}
	case errors.Is(err, pkcs11.ErrPINRefused):
		fmt.Println("the PIN is wrong; it will not be tried again")
	case err == nil:
		fmt.Println("ready as", cert.Leaf.Subject)
	}
}

// A key without a certificate yet signs the request for one.
func ExampleToken_Key() {
	lib, err := pkcs11.Open("/usr/lib/softhsm/libsofthsm2.so", pkcs11.InitDefault)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = lib.Close() }()
	token, err := lib.Token(pkcs11.TokenOptions{Label: "device", PIN: pkcs11.PIN(os.Getenv("DEVICE_PIN"))})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = token.Close() }()

	key, err := token.Key(context.Background(), pkcs11.KeyOptions{Label: "mqtt"})
	if err != nil {
		log.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "pump-1"}}, key)
	if err != nil {
		log.Fatal(err)
	}
	_ = pem.Encode(os.Stdout, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
}

func ExampleParseURI() {
	o, err := pkcs11.ParseURI("pkcs11:token=device;object=mqtt?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/device/pin")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(o.LibraryPath)
	fmt.Println(o.Token.Label, o.Key.Label)
	// Output:
	// /usr/lib/softhsm/libsofthsm2.so
	// device mqtt
}
