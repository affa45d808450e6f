// SPDX-License-Identifier: Apache-2.0

package pkcs12

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// maxIterations bounds the work of checking a password. Programs use from 1 to about a million.
const maxIterations = 10_000_000

// The outer parts of a bundle: RFC 7292 section 4, with the parameters of PBMAC1 from RFC 9579.
type (
	pfx struct {
		Version  int
		AuthSafe asn1.RawValue
		MacData  macData `asn1:"optional"`
	}
	macData struct {
		Mac struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	pbmac1 struct {
		KDF pkix.AlgorithmIdentifier
		MAC pkix.AlgorithmIdentifier
	}
)

// checkIterations refuses a bundle that asks for hours of work before its password can be checked. What it cannot read
// it leaves to the decoder.
func checkIterations(data []byte) error {
	var p pfx
	if _, err := asn1.Unmarshal(data, &p); err != nil {
		return nil
	}
	n := p.MacData.Iterations
	var mac pbmac1
	if _, err := asn1.Unmarshal(p.MacData.Mac.Algorithm.Parameters.FullBytes, &mac); err == nil {
		n = max(n, pbkdf2Iterations(mac.KDF.Parameters.Bytes))
	}
	if n > maxIterations {
		return &Error{Err: fmt.Errorf("%w: it asks for %d iterations and the limit is %d", ErrUnsupported, n, maxIterations)}
	}
	return nil
}

// pbkdf2Iterations reads the number behind the salt, and nothing that follows it: RFC 8018 appendix A.2.
func pbkdf2Iterations(params []byte) int {
	var salt asn1.RawValue
	rest, err := asn1.Unmarshal(params, &salt)
	if err != nil {
		return 0
	}
	var n int
	if _, err := asn1.Unmarshal(rest, &n); err != nil {
		return 0
	}
	return n
}
