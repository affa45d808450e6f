// SPDX-License-Identifier: Apache-2.0

package pkcs12

import (
	"crypto"
	"crypto/x509"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"
)

// Bundle is what a PKCS#12 file holds.
type Bundle struct {
	// Certificate is the one that Key belongs to.
	Certificate *x509.Certificate
	// Chain holds the other certificates of the bundle, in its order: normally the intermediate CAs, and sometimes the root.
	Chain []*x509.Certificate
	// Key is the private key.
	Key crypto.Signer
}

// Decode reads a bundle.
func Decode(data []byte, password string) (*Bundle, error) {
	key, cert, chain, err := gopkcs12.DecodeChain(data, password)
	if err != nil {
		return nil, err
	}
	return &Bundle{Certificate: cert, Chain: chain, Key: key.(crypto.Signer)}, nil
}
