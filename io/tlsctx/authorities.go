// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// passedOver is a certificate of a bundle of authorities that cannot be used.
type passedOver struct {
	object string
	block  pemBlock
	err    error
}

func (p passedOver) String() string {
	return fmt.Sprintf("%s of %s: %v", p.block.where(), p.object, p.err)
}

// authorities are the certificates of one source, and those in it that cannot be used.
type authorities struct {
	certs  []*x509.Certificate
	passed []passedOver
}

// parseAuthorities returns the certificates of a bundle of authorities, and
// those in it that cannot be used: bundles that are collected from everywhere
// hold old certificates that crypto/x509 does not read, and the others still
// serve. A damaged block is an error as in [ParseCertificates].
func parseAuthorities(object string, text []byte) (found authorities, err error) {
	blocks, err := wholeBlocks(object, text)
	if err != nil {
		return found, err
	}
	for _, b := range blocks {
		switch {
		case isCertificateBlock(b):
			cert, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				found.passed = append(found.passed, passedOver{object, b, err})
				continue
			}
			found.certs = append(found.certs, cert)
		case convertHint(b) != "":
			found.passed = append(found.passed, passedOver{object, b, errors.New(convertHint(b))})
		}
	}
	if len(found.certs) > 0 {
		return found, nil
	}
	if hasBlock(blocks, isCertificateBlock) {
		p := found.passed[0]
		return found, &Error{Object: object, Err: fmt.Errorf("%w: %s: %w", ErrNoCertificate, p.block.where(), p.err),
			Hint: "this CA certificate cannot be used: get a newer one from whoever runs the CA"}
	}
	return found, noCertificate(object, text, blocks, "it holds a private key: the file of the CA is expected here, which holds certificates alone")
}
