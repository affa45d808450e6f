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

// NewMTLSFromPath makes a client that authenticates with the certificate in
// certFile and the private key in keyFile, both PEM. The files are checked now,
// and read again at the next attempt to connect when they have changed; see
// [tlsctx.FromPath].
func NewMTLSFromPath(endpoint, certFile, keyFile string, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, MTLSFromPath(certFile, keyFile), options...)
}

// MTLSFromPath is the method of [NewMTLSFromPath].
func MTLSFromPath(certFile, keyFile string) Method {
	if certFile == "" || keyFile == "" {
		return wrong("MTLSFromPath: the name of the certificate file or of the key file is empty; give both, twice the same if one file holds both")
	}
	return mtls(tlsctx.FromPath(certFile, keyFile), sourceFiles)
}

// NewMTLSFromBytes makes a client with a certificate and a private key in PEM
// form; see [tlsctx.FromBytes].
func NewMTLSFromBytes(endpoint string, certPEM, keyPEM []byte, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, MTLSFromBytes(certPEM, keyPEM), options...)
}

// MTLSFromBytes is the method of [NewMTLSFromBytes].
func MTLSFromBytes(certPEM, keyPEM []byte) Method {
	return mtls(tlsctx.FromBytes(certPEM, keyPEM), sourceFiles)
}

// NewMTLSWithPKCS12 makes a client with the certificate and the key in a
// PKCS#12 bundle (a .p12 or .pfx file), on every platform. The file is read
// again at the next attempt to connect when it has changed.
func NewMTLSWithPKCS12(endpoint, file, password string, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, MTLSWithPKCS12(file, password), options...)
}

// MTLSWithPKCS12 is the method of [NewMTLSWithPKCS12].
func MTLSWithPKCS12(file, password string) Method {
	return mtls(tlsctx.FromPKCS12(file, password), sourcePKCS12)
}

// NewMTLSWithSigner makes a client whose private key is behind a signer: a TPM,
// a signing service, an agent. The certificate is PEM text; see
// [tlsctx.FromSigner] for what the signer has to do. A nil signer is an error.
func NewMTLSWithSigner(endpoint string, certPEM []byte, key crypto.Signer, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, MTLSWithSigner(certPEM, key), options...)
}

// MTLSWithSigner is the method of [NewMTLSWithSigner].
func MTLSWithSigner(certPEM []byte, key crypto.Signer) Method {
	if key == nil {
		return wrong("MTLSWithSigner: the signer is nil; give the private key of the certificate as a crypto.Signer")
	}
	return mtls(tlsctx.FromSigner(certPEM, key), "")
}

// NewMTLSWithIdentity makes a client with any other source of certificate and
// key. The identity is called at every attempt to connect. Nil is an error.
//
// A key in hardware, behind a PKCS#11 library, joins here: package pkcs11 of
// module io/pkcs11 makes the identity. It needs cgo, and is a module of its own
// so that other programs need neither cgo nor its dependency.
func NewMTLSWithIdentity(endpoint string, identity tlsctx.Identity, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, MTLSWithIdentity(identity), options...)
}

// MTLSWithIdentity is the method of [NewMTLSWithIdentity].
func MTLSWithIdentity(identity tlsctx.Identity) Method {
	if identity == nil {
		return wrong("MTLSWithIdentity: the identity is nil; give a source of certificate and key")
	}
	return mtls(identity, "")
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
	return NewClient(endpoint, MTLSWithWindowsCertStore(path), options...)
}

// MTLSWithWindowsCertStore is the method of [NewMTLSWithWindowsCertStore].
func MTLSWithWindowsCertStore(path string) Method {
	return Method{func(s *settings, endpoint string) method {
		identity, err := certstore.Open(path)
		if err != nil {
			s.problems = append(s.problems, &optionError{err})
			return method{source: sourceWindows}
		}
		m := mtls(identity, sourceWindows).begin(s, endpoint)
		m.discard = func() { _ = identity.Close() }
		return m
	}}
}

// mtls is the method of an identity.
func mtls(identity tlsctx.Identity, source string) Method {
	return Method{func(s *settings, _ string) method {
		if s.identity != nil {
			s.problem("WithIdentity: this constructor has a certificate already; use NewForBroker with WithIdentity")
		}
		s.identity = identity
		return method{source: source}
	}}
}

// wrong is a method that cannot be one.
func wrong(problem string) Method {
	return Method{func(s *settings, _ string) method {
		s.problem("%s", problem)
		return method{}
	}}
}
