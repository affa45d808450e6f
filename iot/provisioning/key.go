// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
)

// defaultSubject is the subject of the signing request. The service does not
// take it over from most templates.
const defaultSubject = "AWS IoT Certificate"

// generateKey returns a new P-256 key in PEM.
func generateKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("provisioning: %w", err)
	}
	return encodeKey(key)
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: key: %w", ErrInvalidArgument, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// parseKey reads a key in PEM, of the form that openssl or the service writes.
func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%w: the key is not PEM", ErrInvalidPayload)
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: key: %w", ErrInvalidPayload, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: the key cannot sign", ErrInvalidPayload)
	}
	return signer, nil
}

func signingRequest(key crypto.Signer, subject pkix.Name) (string, error) {
	if subject.String() == "" {
		subject.CommonName = defaultSubject
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject}, key)
	if err != nil {
		return "", fmt.Errorf("%w: signing request: %w", ErrInvalidArgument, err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// belongs reports whether a certificate is for a key.
func belongs(certificate []byte, key crypto.Signer) error {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return fmt.Errorf("%w: the certificate is not PEM", ErrInvalidPayload)
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return fmt.Errorf("%w: certificate: %w", ErrInvalidPayload, err)
	}
	public, ok := parsed.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return fmt.Errorf("%w: the certificate is for another key", ErrInvalidPayload)
	}
	return nil
}
