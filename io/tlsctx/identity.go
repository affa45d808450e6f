// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
)

// Identity is the source of the certificate and the key that a client authenticates with.
//
// Certificate is called at every attempt, possibly by several goroutines at
// once, and obeys the context. The result is read, never changed, and the same
// pointer may be returned again. It needs Certificate and PrivateKey; the key
// is any [crypto.Signer] and may be in hardware. A handshake that ends does not
// wait for a signature that is being made. An implementation with a String
// method is named by it in errors.
//
// The identities of this package come from [FromPath], [FromBytes],
// [FromSigner], [FromPKCS12], [FromPKCS12Bytes] and [IdentityFunc]; other
// packages bring their own.
type Identity interface {
	Certificate(ctx context.Context) (*tls.Certificate, error)
}

// IdentityFunc is a callback as an [Identity]: it fetches the certificate and
// key of one attempt from wherever they are.
type IdentityFunc func(ctx context.Context) (*tls.Certificate, error)

// Certificate calls f.
func (f IdentityFunc) Certificate(ctx context.Context) (*tls.Certificate, error) { return f(ctx) }

// String names the callback in errors.
func (f IdentityFunc) String() string { return "certificate from the identity callback" }

// eager is implemented by identities that can tell at once, without a network,
// a device or the caller's code, whether their material is good. New asks them.
type eager interface{ eager() }

// FromPath returns the identity in two PEM files: the certificate, followed by
// the intermediate CAs if there are any, and the private key. One file may hold
// both; name it twice. The files are read again when they change. To rotate
// them, write new files beside them and rename those into place: an attempt
// that meets the one without the other fails with [ErrKeyMismatch], and the
// next one sees both.
//
// Keys may be RSA, ECDSA (P-256, P-384, P-521) or Ed25519, in PKCS#8, PKCS#1 or
// SEC1 form, without a passphrase.
func FromPath(certFile, keyFile string) Identity {
	id := &fileIdentity{name: "certificate " + certFile}
	if keyFile == certFile {
		// Read once, so that both are of the same version.
		id.cache.list = fixedFiles(certFile)
	} else {
		id.name += " with key " + keyFile
		id.cache.list = fixedFiles(certFile, keyFile)
	}
	id.cache.parse = func(_ []string, contents [][]byte) (*tls.Certificate, error) {
		return parsePair(certFile, contents[0], keyFile, contents[len(contents)-1])
	}
	return id
}

// FromPKCS12 returns the identity in a PKCS#12 bundle (a .p12 or .pfx file):
// certificate, intermediate CAs and private key. The file is read again when it
// changes; the password stays the same.
func FromPKCS12(file, password string) Identity {
	id := &fileIdentity{name: file}
	id.cache.list = fixedFiles(file)
	id.cache.parse = func(_ []string, contents [][]byte) (*tls.Certificate, error) {
		return parseBundle(file, contents[0], password)
	}
	return id
}

// fileIdentity is an identity in files.
type fileIdentity struct {
	name  string
	cache fileCache[*tls.Certificate]
}

func (id *fileIdentity) Certificate(context.Context) (*tls.Certificate, error) {
	cert, _, err := id.cache.load()
	return cert, err
}

func (id *fileIdentity) String() string { return id.name }

func (id *fileIdentity) eager() {}

// FromBytes returns the identity in PEM text that the caller holds: the
// certificate, followed by the intermediate CAs if there are any, and the
// private key. See [FromPath] for the kinds of keys.
func FromBytes(certPEM, keyPEM []byte) Identity {
	cert, err := parsePair("certificate given as bytes", certPEM, "key given as bytes", keyPEM)
	return &fixedIdentity{name: "certificate given as bytes", cert: cert, err: err}
}

// FromSigner returns the identity whose key is behind a signer: an HSM, a TPM,
// a signing service. The certificate is PEM text, followed by the intermediate
// CAs if there are any. TLS 1.3 wants RSA keys to sign with PSS; a signer that
// cannot do all that its key suggests has the method
//
//	SupportedSignatureAlgorithms() []tls.SignatureScheme
//
// and only the schemes that it returns are offered. Sign may be called by
// several goroutines at once. A handshake that ends before Sign returns does
// not wait for it.
func FromSigner(certPEM []byte, key crypto.Signer) Identity {
	id := &fixedIdentity{name: "certificate of the signer"}
	chain, err := ParseCertificates(id.name, certPEM)
	if err != nil {
		id.err = err
		return id
	}
	id.cert, id.err = NewCertificate(id.name, chain, key)
	return id
}

// FromPKCS12Bytes returns the identity in a PKCS#12 bundle that the caller holds.
func FromPKCS12Bytes(bundle []byte, password string) Identity {
	const name = "PKCS#12 bundle given as bytes"
	cert, err := parseBundle(name, bundle, password)
	return &fixedIdentity{name: name, cert: cert, err: err}
}

// fixedIdentity is an identity that never changes.
type fixedIdentity struct {
	name string
	cert *tls.Certificate
	err  error
}

func (id *fixedIdentity) Certificate(context.Context) (*tls.Certificate, error) {
	return id.cert, id.err
}

func (id *fixedIdentity) String() string { return id.name }

func (id *fixedIdentity) eager() {}

// NewCertificate joins a chain and the key of one of its certificates, normally
// the first, to what an [Identity] returns. It checks that they belong
// together. The object names them in errors.
func NewCertificate(object string, chain []*x509.Certificate, key crypto.Signer) (*tls.Certificate, error) {
	if len(chain) == 0 {
		return nil, &Error{Object: object, Err: ErrNoCertificate}
	}
	if key == nil {
		return nil, &Error{Object: object, Err: ErrNoKey, Hint: "the signer is nil"}
	}
	if err := checkPublicKey(key.Public()); err != nil {
		return nil, &Error{Object: object, Err: err}
	}
	leaf := slices.IndexFunc(chain, func(c *x509.Certificate) bool { return samePublicKey(c.PublicKey, key.Public()) })
	if leaf < 0 {
		return nil, &Error{Object: object, Err: ErrKeyMismatch, Hint: mismatchHint(chain[0])}
	}
	cert := &tls.Certificate{Leaf: chain[leaf], PrivateKey: key}
	// TLS wants the client's own certificate first, whatever order the source has.
	cert.Certificate = append(cert.Certificate, chain[leaf].Raw)
	for i, c := range chain {
		if i != leaf {
			cert.Certificate = append(cert.Certificate, c.Raw)
		}
	}
	if s, ok := key.(interface {
		SupportedSignatureAlgorithms() []tls.SignatureScheme
	}); ok {
		cert.SupportedSignatureAlgorithms = s.SupportedSignatureAlgorithms()
	}
	return cert, nil
}

func parsePair(certName string, certPEM []byte, keyName string, keyPEM []byte) (*tls.Certificate, error) {
	chain, err := ParseCertificates(certName, certPEM)
	if err != nil {
		return nil, err
	}
	key, err := ParsePrivateKey(keyName, keyPEM)
	if err != nil {
		return nil, err
	}
	object := certName
	if keyName != certName {
		object += " with " + keyName
	}
	return NewCertificate(object, chain, key)
}

func parseBundle(name string, data []byte, password string) (*tls.Certificate, error) {
	b, err := pkcs12.Decode(data, password)
	if err != nil {
		return nil, &Error{Object: name, Err: err}
	}
	return NewCertificate(name, append([]*x509.Certificate{b.Certificate}, b.Chain...), b.Key)
}

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// complete checks what an identity returned and gives it a Leaf. It returns the
// same pointer when nothing is missing.
func complete(object string, cert *tls.Certificate) (*tls.Certificate, error) {
	if cert == nil || len(cert.Certificate) == 0 {
		return nil, &Error{Object: object, Err: ErrNoCertificate, Hint: "the identity returned none"}
	}
	if cert.Leaf == nil {
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return nil, &Error{Object: object, Err: err}
		}
		c := *cert
		c.Leaf = leaf
		cert = &c
	}
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, &Error{Object: object, Err: ErrNoKey, Hint: "the identity must return a private key that is a crypto.Signer"}
	}
	if !samePublicKey(cert.Leaf.PublicKey, key.Public()) {
		return nil, &Error{Object: object, Err: ErrKeyMismatch, Hint: mismatchHint(cert.Leaf)}
	}
	return cert, nil
}

// mismatchHint says what to do about a certificate that is not of the key.
func mismatchHint(cert *x509.Certificate) string {
	if cert.IsCA {
		return fmt.Sprintf("the certificate is %s, which is a CA's: give the certificate that was issued for this key", describe(cert))
	}
	return fmt.Sprintf("the certificate is %s: use the key that it was issued for", describe(cert))
}

// checkValidity compares the times of a certificate with the clock.
func checkValidity(object string, cert *x509.Certificate, now time.Time) error {
	text := fmt.Sprintf("it is valid from %s to %s and the clock says %s", utc(cert.NotBefore), utc(cert.NotAfter), utc(now))
	switch {
	case now.Before(cert.NotBefore):
		return &Error{Object: object, Err: fmt.Errorf("%w: %s", ErrNotYetValid, text), Hint: "set the clock of this machine, or wait"}
	case now.After(cert.NotAfter):
		return &Error{Object: object, Err: fmt.Errorf("%w: %s", ErrExpired, text), Hint: "issue a new certificate, or set the clock of this machine"}
	}
	return nil
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// describe names a certificate for a person.
func describe(c *x509.Certificate) string {
	subject := c.Subject.String()
	if subject == "" {
		subject = "serial number " + c.SerialNumber.String()
	}
	return fmt.Sprintf("%q", subject)
}

// identityName names an identity in errors.
func identityName(id Identity) string {
	if s, ok := id.(fmt.Stringer); ok {
		return s.String()
	}
	return "client certificate"
}

// asError gives every failure of an identity the type Error, once.
func asError(object string, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	return &Error{Object: object, Err: err}
}
