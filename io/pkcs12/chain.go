// SPDX-License-Identifier: Apache-2.0

package pkcs12

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"slices"
)

// chainOf returns the issuers of a certificate, each followed by its own, as
// TLS wants them. What else is among the certificates is left out: key stores
// hold authorities that they trust, and certificates of other keys, beside the
// chain.
func chainOf(leaf *x509.Certificate, others []*x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	for cert := leaf; len(chain) < maxChain; {
		next := issuerOf(cert, others)
		if next == nil || next.Equal(leaf) || slices.ContainsFunc(chain, next.Equal) {
			return chain
		}
		chain = append(chain, next)
		cert = next
	}
	return chain
}

// Bounds of the work that a bundle may ask for. Chains in use have up to four
// certificates, and authorities change their keys a few times.
const (
	maxChain      = 16
	maxOfOneName  = 64
	maxIssuerBits = 16384 // of an RSA key that verifies
)

// issuerOf returns the issuer of a certificate, nil if it is not there or the
// certificate itself. Of several with its name and key identifier the one
// counts whose key made the signature; a signature that crypto/x509 does not
// verify any more, such as one with SHA-1, is left to the server.
func issuerOf(cert *x509.Certificate, others []*x509.Certificate) *x509.Certificate {
	if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return nil
	}
	var named *x509.Certificate
	seen := 0
	for _, c := range others {
		if !bytes.Equal(c.RawSubject, cert.RawIssuer) ||
			len(cert.AuthorityKeyId) > 0 && len(c.SubjectKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, c.SubjectKeyId) {
			continue
		}
		if key, ok := c.PublicKey.(*rsa.PublicKey); !ok || key.N.BitLen() <= maxIssuerBits {
			if cert.CheckSignatureFrom(c) == nil {
				return c
			}
		}
		if named == nil {
			named = c
		}
		if seen++; seen == maxOfOneName {
			break
		}
	}
	return named
}
