// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// keyForms returns a key in all forms that it has.
func keyForms(t testing.TB, key crypto.Signer) map[string][]byte {
	t.Helper()
	der := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key))
	forms := map[string][]byte{"PKCS#8": block("PRIVATE KEY", der)}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		forms["PKCS#1"] = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	case *ecdsa.PrivateKey:
		sec1 := block("EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(key)))
		forms["SEC1"] = sec1
		// openssl ecparam -genkey writes the parameters first.
		forms["SEC1 after its parameters"] = append(block("EC PARAMETERS", []byte{0x06, 0x00}), sec1...)
	}
	return forms
}

func TestParsePrivateKey_forms(t *testing.T) {
	t.Parallel()
	for _, kind := range keyKinds {
		key := newKey(t, kind)
		for form, text := range keyForms(t, key) {
			for name, text := range map[string][]byte{
				"alone":              text,
				"with text around":   append(append([]byte("Bag Attributes\n    friendlyName: device\n"), text...), "\nthe end\n"...),
				"with CRLF":          bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
				"with backslash, n":  bytes.ReplaceAll(text, []byte("\n"), []byte(`\n`)),
				"indented":           indented(text),
				"with a mark":        append([]byte("\xef\xbb\xbf"), text...),
				"without final line": bytes.TrimSpace(text),
				"after certificate":  append(newAuthority(t, "CA").pem(), text...),
			} {
				t.Run(kind+" "+form+" "+name, func(t *testing.T) {
					got, err := tlsctx.ParsePrivateKey("key.pem", text)
					if err != nil {
						t.Fatal(err)
					}
					if !got.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
						t.Error("another key")
					}
				})
			}
		}
	}
}

func TestParsePrivateKey_errors(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	device := ca.client(t, "device", "P-256")
	der := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(device.key))
	ecdhKey := must[*ecdh.PrivateKey](t)(ecdh.X25519().GenerateKey(rand.Reader))
	for _, tt := range []struct {
		name string
		text []byte
		want error
		hint string
	}{
		{"empty", nil, tlsctx.ErrNotPEM, "empty"},
		{"blank", []byte(" \n\t"), tlsctx.ErrNotPEM, "empty"},
		{"text", []byte("hello"), tlsctx.ErrNotPEM, "-----BEGIN"},
		{"DER key", der, tlsctx.ErrNotPEM, "openssl pkey -inform der"},
		{"DER key, short", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(newKey(t, "Ed25519"))), tlsctx.ErrNotPEM, "openssl pkey -inform der"},
		{"DER certificate", device.cert.Raw, tlsctx.ErrNotPEM, "openssl x509 -inform der"},
		{"UTF-16", []byte("\xff\xfe-\x00-\x00"), tlsctx.ErrNotPEM, "UTF-16"},
		{"truncated", device.keyPEM(t)[:100], tlsctx.ErrDamagedBlock, "cut off"},
		{"certificate", device.certPEM(), tlsctx.ErrNoKey, "swapped"},
		{"public key", block("PUBLIC KEY", must[[]byte](t)(x509.MarshalPKIXPublicKey(device.key.Public()))), tlsctx.ErrNoKey, "public key"},
		{"parameters", block("EC PARAMETERS", []byte{6, 0}), tlsctx.ErrNoKey, "-----BEGIN PRIVATE KEY-----"},
		{"encrypted PKCS#8", block("ENCRYPTED PRIVATE KEY", []byte{0x30, 0}), tlsctx.ErrEncryptedKey, "openssl pkey -in"},
		{"encrypted in the old way", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte{1, 2, 3},
			Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}}), tlsctx.ErrEncryptedKey, "openssl pkey -in"},
		{"OpenSSH", block("OPENSSH PRIVATE KEY", []byte("openssh-key-v1")), tlsctx.ErrUnsupportedKey, "ssh-keygen"},
		{"P-224", block("EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(newKey(t, "P-224").(*ecdsa.PrivateKey)))), tlsctx.ErrUnsupportedKey, "P-521"},
		{"X25519", block("PRIVATE KEY", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(ecdhKey))), tlsctx.ErrUnsupportedKey, "sign"},
		{"too large", block("RSA PRIVATE KEY", make([]byte, 17<<10)), tlsctx.ErrUnsupportedKey, "larger than 16 KiB"},
		{"garbage", block("PRIVATE KEY", []byte("secret garbage")), tlsctx.ErrUnsupportedKey, "PKCS#8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tlsctx.ParsePrivateKey("private.pem.key", tt.text)
			wantMaterialError(t, err, tt.want, "private.pem.key", tt.hint)
			if s := err.Error(); strings.Contains(s, base64.StdEncoding.EncodeToString(der)[40:60]) || strings.Contains(s, "garbage") {
				t.Errorf("the error shows the text: %s", s)
			}
		})
	}
}

// wantMaterialError checks the type of an error, its cause, and that it says
// all these words.
func wantMaterialError(t *testing.T, err, want error, words ...string) {
	t.Helper()
	e := (*tlsctx.Error)(nil)
	if !errors.Is(err, want) || !errors.As(err, &e) {
		t.Fatalf("got %T %v, want an *Error with %v", err, err, want)
	}
	if e.Stage() != "TLS" {
		t.Errorf("stage %q", e.Stage())
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if !strings.HasPrefix(err.Error(), "tlsctx: ") || strings.Count(err.Error(), "tlsctx: ") != 1 {
		t.Errorf("prefix of %q", err)
	}
}

func TestParseCertificates(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root")
	ca := root.authority(t, "intermediate")
	device := ca.client(t, "device", "P-256")
	chain := certPEM(device.cert, ca.cert, root.cert)
	text := append([]byte("subject=CN = device\n"), append(chain, device.keyPEM(t)...)...)
	got, err := tlsctx.ParseCertificates("device.pem", text)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || !got[0].Equal(device.cert) || !got[1].Equal(ca.cert) || !got[2].Equal(root.cert) {
		t.Errorf("got %d certificates", len(got))
	}
}

func TestParseCertificates_errors(t *testing.T) {
	t.Parallel()
	device := newAuthority(t, "CA").client(t, "device", "P-256")
	csr := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, device.key))
	for _, tt := range []struct {
		name string
		text []byte
		want error
		hint string
	}{
		{"empty", nil, tlsctx.ErrNotPEM, "empty"},
		{"DER", device.cert.Raw, tlsctx.ErrNotPEM, "openssl x509 -inform der"},
		{"bundle", []byte{0x30, 0x82, 1, 0, 2, 1, 3, 0x30, 0x82}, tlsctx.ErrNotPEM, "FromPKCS12"},
		{"other binary", []byte{0x30, 0x82, 1, 0, 2, 1, 9}, tlsctx.ErrNotPEM, "convert"},
		{"key", device.keyPEM(t), tlsctx.ErrNoCertificate, "swapped"},
		{"request", block("CERTIFICATE REQUEST", csr), tlsctx.ErrNoCertificate, "CSR"},
		{"PKCS#7", block("PKCS7", []byte{0x30, 0}), tlsctx.ErrNoCertificate, "openssl pkcs7"},
		{"trusted", block("TRUSTED CERTIFICATE", device.cert.Raw), tlsctx.ErrNoCertificate, "openssl x509"},
		{"public key", block("PUBLIC KEY", []byte{0x30, 0}), tlsctx.ErrNoCertificate, "public key"},
		{"other block", block("X509 CRL", []byte{0x30, 0}), tlsctx.ErrNoCertificate, "-----BEGIN CERTIFICATE-----"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tlsctx.ParseCertificates("device.pem.crt", tt.text)
			wantMaterialError(t, err, tt.want, "device.pem.crt", tt.hint)
		})
	}
	t.Run("damaged", func(t *testing.T) {
		_, err := tlsctx.ParseCertificates("device.pem.crt", append(device.certPEM(), block("CERTIFICATE", device.cert.Raw[:50])...))
		if err == nil || !strings.Contains(err.Error(), "certificate 2") {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzParsePEM(f *testing.F) {
	device := newAuthority(f, "CA").client(f, "device", "P-256")
	f.Add(device.certPEM())
	f.Add(device.keyPEM(f))
	f.Add(device.cert.Raw)
	f.Add([]byte("\xef\xbb\xbf-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, text []byte) {
		e := (*tlsctx.Error)(nil)
		if certs, err := tlsctx.ParseCertificates("file", text); (len(certs) == 0) == (err == nil) {
			t.Fatalf("%d certificates with error %v", len(certs), err)
		} else if err != nil && !errors.As(err, &e) {
			t.Fatalf("error of type %T", err)
		}
		if key, err := tlsctx.ParsePrivateKey("file", text); (key == nil) == (err == nil) {
			t.Fatalf("key %T with error %v", key, err)
		} else if err != nil && !errors.As(err, &e) {
			t.Fatalf("error of type %T", err)
		}
	})
}
