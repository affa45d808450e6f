// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"crypto"

	"github.com/gocrt/aws-iot-device-sdk-go/io/certstore"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Sources of certificates, as the metrics name them.
const (
	sourceFiles   = "A"
	sourceWindows = "C"
	sourcePKCS12  = "E"
)

// NewMTLSFromPath makes a client that shows the certificate in certFile and
// signs with the private key in keyFile, both PEM. The files are checked now,
// and read again at the attempt to connect after they changed; see
// [tlsctx.FromPath].
func NewMTLSFromPath(endpoint, certFile, keyFile string, options ...Option) (*mqtt5.Client, error) {
	return newMTLS(endpoint, tlsctx.FromPath(certFile, keyFile), sourceFiles, options)
}

// NewMTLSFromBytes makes a client with a certificate and a private key in PEM
// form; see [tlsctx.FromBytes].
func NewMTLSFromBytes(endpoint string, certPEM, keyPEM []byte, options ...Option) (*mqtt5.Client, error) {
	return newMTLS(endpoint, tlsctx.FromBytes(certPEM, keyPEM), sourceFiles, options)
}

// NewMTLSWithPKCS12 makes a client with the certificate and the key in a
// PKCS#12 bundle (a .p12 or .pfx file), on every platform. The file is read
// again at the attempt to connect after it changed.
func NewMTLSWithPKCS12(endpoint, file, password string, options ...Option) (*mqtt5.Client, error) {
	return newMTLS(endpoint, tlsctx.FromPKCS12(file, password), sourcePKCS12, options)
}

// NewMTLSWithSigner makes a client whose private key is behind a signer: a TPM,
// a signing service, an agent. The certificate is PEM text; see
// [tlsctx.FromSigner] for what is asked of the signer.
func NewMTLSWithSigner(endpoint string, certPEM []byte, key crypto.Signer, options ...Option) (*mqtt5.Client, error) {
	if key == nil {
		return nil, invalid("NewMTLSWithSigner: the signer is nil; give the private key of the certificate as a crypto.Signer")
	}
	return newMTLS(endpoint, tlsctx.FromSigner(certPEM, key), "", options)
}

// NewMTLSWithIdentity makes a client with any other source of certificate and
// key. The identity is called at every attempt to connect.
//
// A key in hardware, behind a PKCS#11 library, joins here: package pkcs11 of
// module io/pkcs11 makes the identity. It needs cgo, and is a module of its own
// so that other programs need neither cgo nor its dependency.
func NewMTLSWithIdentity(endpoint string, identity tlsctx.Identity, options ...Option) (*mqtt5.Client, error) {
	if identity == nil {
		return nil, invalid("NewMTLSWithIdentity: the identity is nil; give a source of certificate and key")
	}
	return newMTLS(endpoint, identity, "", options)
}

// NewMTLSWithWindowsCertStore makes a client with a certificate and its key in
// a Windows certificate store, named by a path such as
//
//	CurrentUser\MY\A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6
//
// On other systems the error is [certstore.ErrUnsupported]. The store stays
// open for the rest of the process; to close it earlier, give the identity
// of [certstore.Open] to [NewMTLSWithIdentity].
func NewMTLSWithWindowsCertStore(endpoint, path string, options ...Option) (*mqtt5.Client, error) {
	identity, err := certstore.Open(path)
	if err != nil {
		return nil, &optionError{err}
	}
	client, err := newMTLS(endpoint, identity, sourceWindows, options)
	if err != nil {
		_ = identity.Close()
		return nil, err
	}
	return client, nil
}

// NewDefault makes a client without a way to authenticate, for options and
// other brokers to fill in: TLS on port 8883, or with [WithPlaintext] MQTT over
// TCP on port 1883. With [WithIdentity] or [WithCustomAuthorizer] it is as the
// constructors for these.
func NewDefault(endpoint string, options ...Option) (*mqtt5.Client, error) {
	return apply(options).build(endpoint, method{defaults: true})
}

// WithPlaintext leaves TLS out, for a broker on the same machine. Everybody on
// the way can read and change what is sent, the password included. AWS IoT Core
// has no such port.
func WithPlaintext() Option { return func(s *settings) { s.plaintext = true } }

func newMTLS(endpoint string, identity tlsctx.Identity, source string, options []Option) (*mqtt5.Client, error) {
	s := apply(options)
	if s.identity != nil {
		s.problem("WithIdentity: this constructor has a certificate already; use NewDefault with WithIdentity")
	}
	s.identity = identity
	return s.build(endpoint, method{source: source})
}
