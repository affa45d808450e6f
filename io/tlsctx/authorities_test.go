// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// negative returns the certificate with a serial number below zero, which
// crypto/x509 does not parse.
func negative(t *testing.T, cert *x509.Certificate) []byte {
	t.Helper()
	der := bytes.Clone(cert.Raw)
	serial := cert.SerialNumber.Bytes()
	i := bytes.Index(der, append([]byte{2, byte(len(serial))}, serial...))
	if i < 0 {
		t.Fatal("no serial number found")
	}
	der[i+2] |= 0x80
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Fatal("crypto/x509 parses it")
	}
	return der
}

// caSources gives the same CAs in every way that there is.
func caSources(t *testing.T, text []byte) map[string]tlsctx.Options {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "bundle.crt"), text)
	return map[string]tlsctx.Options{
		"CAFile": {CAFile: file},
		"CADir":  {CADir: dir},
		"CAPEM":  {CAPEM: text},
		"CAFunc": {CAFunc: func(context.Context) ([]byte, error) { return text, nil }},
	}
}

// A bundle in which one authority cannot be parsed serves with the others; what
// was passed over is logged, and named when a handshake fails.
func TestAuthorities_oneCannotBeParsed(t *testing.T) {
	t.Parallel()
	one, old, two := newAuthority(t, "one"), newAuthority(t, "old"), newAuthority(t, "two")
	text := joined(one.pem(), block("CERTIFICATE", negative(t, old.cert)), two.pem())
	good := startServer(t, &tls.Config{Certificates: []tls.Certificate{two.server(t, "good.example")}})
	bad := startServer(t, &tls.Config{Certificates: []tls.Certificate{old.server(t, "old.example")}})
	other := startServer(t, &tls.Config{Certificates: []tls.Certificate{newAuthority(t, "other").server(t, "other.example")}})
	for name, o := range caSources(t, text) {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			o.Logger = zap.New(core)
			c := newContext(t, o)
			if _, err := c.Client(t.Context(), dialTCP(t, good.address), "good.example"); err != nil {
				t.Fatal(err)
			}
			entries := logs.FilterMessage("CA certificate passed over").All()
			if len(entries) != 1 || entries[0].ContextMap()["block"] != int64(2) || !strings.Contains(entries[0].ContextMap()["error"].(string), "negative serial") {
				t.Errorf("logged %v", entries)
			}
			_, err := c.Client(t.Context(), dialTCP(t, bad.address), "old.example")
			if err == nil || !strings.Contains(err.Error(), "the CA of that name is there, and was passed over because it cannot be used: block 2 (CERTIFICATE, line ") ||
				!strings.Contains(err.Error(), "negative serial") {
				t.Errorf("got %v", err)
			}
			_, err = c.Client(t.Context(), dialTCP(t, other.address), "other.example")
			if err == nil || !strings.Contains(err.Error(), "1 CA certificates were passed over") {
				t.Errorf("got %v", err)
			}
			if n := logs.Len(); n != 1 {
				t.Errorf("logged %d times", n)
			}
		})
	}
}

func TestAuthorities_noneIsUsable(t *testing.T) {
	t.Parallel()
	device := newAuthority(t, "CA").client(t, "device", "P-256")
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"a key":               {device.keyPEM(t), "it holds a private key: the file of the CA is expected here"},
		"cannot be parsed":    {block("CERTIFICATE", negative(t, device.cert)), "negative serial"},
		"trusted certificate": {block("TRUSTED CERTIFICATE", device.cert.Raw), "openssl x509"},
	} {
		for source, o := range caSources(t, tt.text) {
			c, err := tlsctx.New(o)
			if err == nil {
				_, err = c.Config(t.Context(), "host") // CAFunc is asked later
			}
			want := tt.want
			if source == "CADir" {
				want = "a directory with PEM files"
			}
			t.Run(name+" "+source, func(t *testing.T) { wantMaterialError(t, err, tlsctx.ErrNoCertificate, want) })
		}
	}
}

// A CA's certificate in the place of the client's is told as that.
func TestNewCertificate_authority(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "Example Root CA")
	device := ca.client(t, "device", "P-256")
	_, err := tlsctx.New(tlsctx.Options{Identity: tlsctx.FromBytes(ca.pem(), device.keyPEM(t))})
	wantMaterialError(t, err, tlsctx.ErrKeyMismatch, `the certificate is "CN=Example Root CA", which is a CA's: give the certificate that was issued for this key`)
}
