// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// A client with its certificate and key in files, and the CA of its broker. The
// files may be replaced at any time.
func ExampleNew() {
	ctx, err := tlsctx.New(tlsctx.Options{
		Identity: tlsctx.FromPath("device.pem.crt", "private.pem.key"),
		CAFile:   "ca.pem",
		ALPN:     []string{"mqtt"},
	})
	if err != nil {
		// The error names the file and says what to do about it.
		fmt.Println("cannot start:", errors.Is(err, os.ErrNotExist))
		return
	}
	dialer := &tlsctx.Dialer{Context: ctx}
	conn, err := dialer.DialContext(context.Background(), "tcp", "broker.example:8883")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	// Output: cannot start: true
}

// hsm stands for a device key in hardware: it signs, and gives nothing else away.
type hsm struct{ key *ecdsa.PrivateKey }

func (h hsm) Public() crypto.PublicKey { return h.key.Public() }

func (h hsm) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return h.key.Sign(random, digest, opts)
}

// A plain program, without the rest of the SDK, that authenticates with a key
// it cannot read: a tls.Config like any other comes out of it, for net/http or
// whatever else speaks TLS.
func ExampleFromSigner() {
	key, cert := newHSM()
	c, err := tlsctx.New(tlsctx.Options{
		Identity: tlsctx.FromSigner(cert, key),
		CAPEM:    cert, // self-signed here, and shared with the server below
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	config, err := c.Config(context.Background(), "server.example")
	if err != nil {
		fmt.Println(err)
		return
	}

	near, far := net.Pipe()
	go serveOnce(far, key, cert)
	conn := tls.Client(near, config)
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	fmt.Println(string(greeting), err)
	// Output: hello CN=device <nil>
}

// newHSM makes a key and a certificate for it.
func newHSM() (hsm, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "device"}, DNSNames: []string{"server.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return hsm{key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// serveOnce greets one client by the name in its certificate.
func serveOnce(conn net.Conn, key hsm, cert []byte) {
	b, _ := pem.Decode(cert)
	server := tls.Server(conn, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{b.Bytes}, PrivateKey: key}},
		ClientAuth:   tls.RequireAnyClientCert,
	})
	defer server.Close()
	if err := server.Handshake(); err == nil {
		fmt.Fprintf(server, "hello %v", server.ConnectionState().PeerCertificates[0].Subject)
	}
}

// An identity may come from anywhere. The callback runs at every attempt, with
// the context of that attempt.
func ExampleIdentityFunc() {
	key, cert := newHSM()
	calls := 0
	vault := tlsctx.IdentityFunc(func(ctx context.Context) (*tls.Certificate, error) {
		calls++
		return tlsctx.FromSigner(cert, key).Certificate(ctx)
	})
	c, err := tlsctx.New(tlsctx.Options{Identity: vault})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		if _, err := c.Config(context.Background(), "broker.example"); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(calls, "calls")
	// Output: 3 calls
}

func ExampleFromBytes() {
	_, err := tlsctx.New(tlsctx.Options{Identity: tlsctx.FromBytes([]byte("-----BEGIN"), nil)})
	fmt.Println(errors.Is(err, tlsctx.ErrNotPEM))
	// Output: true
}

func ExampleFromPKCS12() {
	_, err := tlsctx.New(tlsctx.Options{Identity: tlsctx.FromPKCS12("device.p12", os.Getenv("P12_PASSWORD"))})
	fmt.Println(errors.Is(err, os.ErrNotExist))
	// Output: true
}

// Dialers stack: this one puts TLS on whatever dials below.
func ExampleDialer() {
	c, err := tlsctx.New(tlsctx.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	below := tlsctx.DialFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
		return nil, fmt.Errorf("no route to %s", address)
	})
	_, err = (&tlsctx.Dialer{Context: c, NetDialer: below}).DialContext(context.Background(), "tcp", "broker.example:8883")
	fmt.Println(err)
	// Output: no route to broker.example:8883
}

// What went wrong can be asked for by type.
func ExampleHandshakeError() {
	err := error(&tlsctx.HandshakeError{ServerName: "broker.example", Err: tlsctx.ErrHandshakeTimeout})
	var he *tlsctx.HandshakeError
	if errors.As(err, &he) {
		fmt.Println(he.ServerName, he.Timeout())
	}
	// Output: broker.example true
}
