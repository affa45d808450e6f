// SPDX-License-Identifier: Apache-2.0

package pkcs12

import (
	"encoding/asn1"
	"fmt"
	"math"
)

// maxIterations bounds the work of opening a bundle: the sum over its MAC and
// all of its encrypted parts. Programs use from 1 to about a million for each.
const maxIterations = 10_000_000

// maxDepth bounds how deep a bundle is looked into. Those of programs have
// about twelve levels.
const maxDepth = 32

// Algorithms with a number of iterations: RFC 7292 appendix C, RFC 8018 appendix A.2.
var (
	oidPBE    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1} // and what is below
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// checkIterations refuses a bundle that asks for hours of work, whether to
// check its password or to decrypt. What it cannot read it leaves to the
// decoder; checkKeys looks into the encrypted parts.
func checkIterations(data []byte) error {
	if n := iterations(data); n > maxIterations {
		return &Error{Err: fmt.Errorf("%w: it asks for %d iterations and the limit is %d", ErrUnsupported, n, maxIterations)}
	}
	return nil
}

func iterations(data []byte) int {
	n := algorithmIterations(data, maxDepth)
	// The MAC of RFC 7292 has its number beside its algorithm, in the outermost part.
	var p struct {
		Version  int
		AuthSafe asn1.RawValue
		MacData  struct {
			Mac        asn1.RawValue
			Salt       []byte
			Iterations int `asn1:"optional,default:1"`
		} `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(data, &p); err == nil {
		n = add(n, p.MacData.Iterations)
	}
	return n
}

// algorithmIterations sums up what the algorithms in a DER value ask for,
// within the octet strings that hold DER, too.
func algorithmIterations(data []byte, depth int) (sum int) {
	for len(data) > 0 && depth > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(data, &v)
		if err != nil {
			return sum
		}
		if v.IsCompound {
			sum = add(sum, ownIterations(v.Bytes))
		}
		if v.IsCompound || v.Tag == asn1.TagOctetString {
			sum = add(sum, algorithmIterations(v.Bytes, depth-1))
		}
		data = rest
	}
	return sum
}

// ownIterations returns the number in the contents of an AlgorithmIdentifier, 0
// if they are none with a number.
func ownIterations(contents []byte) int {
	var oid asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(contents, &oid)
	if err != nil || !oid.Equal(oidPBKDF2) && (len(oid) != len(oidPBE)+1 || !oid[:len(oidPBE)].Equal(oidPBE)) {
		return 0
	}
	var params struct {
		Salt       asn1.RawValue
		Iterations int
		KeyLength  int           `asn1:"optional"`
		PRF        asn1.RawValue `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(rest, &params); err != nil {
		return 0
	}
	return params.Iterations
}

// add does not overflow.
func add(a, b int) int {
	if b < 0 {
		return math.MaxInt
	}
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}
