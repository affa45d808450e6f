// SPDX-License-Identifier: Apache-2.0

package pkcs12

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"
)

// maxFileSize bounds the bytes read: a bundle is a few kilobytes.
const maxFileSize = 4 << 20

// Bundle holds the contents of a PKCS#12 file. Printed with %v and the like, it
// reveals the certificate and not the key.
type Bundle struct {
	// Certificate is the one that Key belongs to.
	Certificate *x509.Certificate
	// Chain holds the issuer of Certificate, its issuer and so on, as far as
	// the bundle has them. Other certificates of the bundle, such as
	// authorities that a key store trusts, are left out.
	Chain []*x509.Certificate
	// Key is the private key.
	Key crypto.Signer
}

// String names the certificate.
func (b *Bundle) String() string {
	if b == nil || b.Certificate == nil {
		return "empty PKCS#12 bundle"
	}
	return fmt.Sprintf("PKCS#12 bundle of %q with %d more certificates", b.Certificate.Subject.String(), len(b.Chain))
}

// GoString keeps the key out of %#v.
func (b *Bundle) GoString() string { return b.String() }

// Format keeps the key out of every verb.
func (b Bundle) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, b.String()) }

// MarshalText keeps the key out of encoders such as encoding/json.
func (b Bundle) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// DecodeFile reads the bundle in a file. Errors are of type [*Error].
func DecodeFile(path, password string) (*Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Err: err, Hint: "check the path"} // err names the file
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err != nil {
		return nil, &Error{Err: err}
	}
	b, err := Decode(data, password)
	if e := (*Error)(nil); errors.As(err, &e) {
		e.Path = path
	}
	return b, err
}

// Decode reads a bundle with exactly one private key and its certificate. The
// password protects key and certificates and proves that the bundle is
// unchanged; the empty string serves for bundles with an empty password and for
// those without any. Errors are of type [*Error] and never contain the
// password.
//
// A bundle that could take hours is refused: more than ten million iterations, a
// private key of more than 16 KiB, or one inside an encrypted part, whose
// iterations nobody sees before.
func Decode(data []byte, password string) (*Bundle, error) {
	if err := checkForm(data); err != nil {
		return nil, err
	}
	if err := checkIterations(data); err != nil {
		return nil, err
	}
	if err := checkKeys(data, password); err != nil {
		return nil, err
	}
	key, first, rest, err := decodeChain(data, password)
	if e := (*Error)(nil); errors.As(err, &e) {
		return nil, err
	} else if err != nil {
		return nil, explain(err, password)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, &Error{Err: fmt.Errorf("%w: a key of type %T cannot sign", ErrUnsupported, key)}
	}
	// Programs differ in the order in which they put the certificates: the key
	// says which is its own.
	all := append([]*x509.Certificate{first}, rest...)
	own := slices.IndexFunc(all, func(c *x509.Certificate) bool {
		pub, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		return ok && pub.Equal(signer.Public())
	})
	if own < 0 {
		return nil, &Error{Err: fmt.Errorf("%w that belongs to the key", ErrNoCertificate),
			Hint: fmt.Sprintf("it holds %q: make the bundle again from the certificate that was issued for the key", first.Subject.String())}
	}
	return &Bundle{Certificate: all[own], Chain: chainOf(all[own], all), Key: signer}, nil
}

// decodeChain opens a bundle. Algorithms of old bundles panic in a program that
// allows those of FIPS 140 alone.
func decodeChain(data []byte, password string) (key any, first *x509.Certificate, rest []*x509.Certificate, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{Err: fmt.Errorf("%w: %v", ErrUnsupported, p), Hint: "use certificate and key as PEM files"}
		}
	}()
	return gopkcs12.DecodeChain(data, password)
}

// checkForm names data that is not PKCS#12 in DER form.
func checkForm(data []byte) error {
	switch {
	case len(data) == 0:
		return &Error{Err: fmt.Errorf("%w: it is empty", ErrFormat)}
	case len(data) > maxFileSize:
		return &Error{Err: fmt.Errorf("%w: it is larger than %d MiB", ErrFormat, maxFileSize>>20)}
	case bytes.Contains(data[:min(len(data), 4096)], []byte("-----BEGIN ")):
		return &Error{Err: fmt.Errorf("%w: it is PEM text", ErrFormat),
			Hint: "use certificate and key as PEM files, or bundle them with openssl pkcs12 -export -in cert.pem -inkey key.pem -out device.p12"}
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return &Error{Err: fmt.Errorf("%w: it is a Java key store (JKS)", ErrFormat),
			Hint: "convert it with keytool -importkeystore -srckeystore FILE -destkeystore device.p12 -deststoretype pkcs12"}
	case bytes.HasPrefix(data, []byte("MI")):
		return &Error{Err: fmt.Errorf("%w: it is base64 text", ErrFormat), Hint: "decode it with base64 -d"}
	case data[0] != 0x30:
		return &Error{Err: ErrFormat, Hint: "a file that was made by openssl pkcs12 -export or a key store's export is expected"}
	case len(data) > 1 && data[1] == 0x80:
		return berError()
	}
	return nil
}
