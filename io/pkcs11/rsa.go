// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var errTooLong = errors.New("the RSA key is too short for this hash")

// digestInfo holds what PKCS #1 v1.5 puts before a digest: RFC 8017 section 9.2, note 1.
var digestInfo = map[crypto.Hash][]byte{
	crypto.MD5SHA1: {},
	crypto.SHA1:    {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
	crypto.SHA224:  {0x30, 0x2d, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04, 0x05, 0x00, 0x04, 0x1c},
	crypto.SHA256:  {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	crypto.SHA384:  {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	crypto.SHA512:  {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
	// What the caller has put together is signed as it is.
	0: {},
}

// pkcs1Recipes returns the ways to sign with PKCS #1 v1.5.
func (k *Key) pkcs1Recipes(public *rsa.PublicKey, hash crypto.Hash, digest []byte) (list []recipe, err error) {
	prefix, ok := digestInfo[hash]
	if !ok {
		return nil, fmt.Errorf("%w: PKCS #1 v1.5 with %v", ErrMechanism, hash)
	}
	t := append(append([]byte(nil), prefix...), digest...)
	padding := public.Size() - len(t) - 3
	if padding < 8 {
		return nil, errTooLong
	}
	if k.can.pkcs1 {
		list = append(list, recipe{mechanism{kind: mechRSAPKCS1}, t})
	}
	if k.can.raw {
		em := make([]byte, 0, public.Size())
		em = append(em, 0, 1)
		for range padding {
			em = append(em, 0xff)
		}
		em = append(em, 0)
		list = append(list, recipe{mechanism{kind: mechRSARaw}, append(em, t...)})
	}
	return list, nil
}

var pssHashes = map[crypto.Hash]pssParameters{
	crypto.SHA1:   {hash: hashSHA1, mgf: mgfSHA1},
	crypto.SHA256: {hash: hashSHA256, mgf: mgfSHA256},
	crypto.SHA384: {hash: hashSHA384, mgf: mgfSHA384},
	crypto.SHA512: {hash: hashSHA512, mgf: mgfSHA512},
}

// pssRecipes returns the ways to sign with PSS.
func (k *Key) pssRecipes(random io.Reader, public *rsa.PublicKey, hash crypto.Hash, digest []byte, opts *rsa.PSSOptions) (list []recipe, err error) {
	parameters, ok := pssHashes[hash]
	if !ok || !hash.Available() {
		return nil, fmt.Errorf("%w: PSS with %v", ErrMechanism, hash)
	}
	// RFC 8017 section 9.1.1: the encoded message is one bit shorter than the modulus.
	bits := public.N.BitLen() - 1
	length := (bits + 7) / 8
	salt := opts.SaltLength
	switch salt {
	case rsa.PSSSaltLengthAuto:
		salt = length - hash.Size() - 2
	case rsa.PSSSaltLengthEqualsHash:
		salt = hash.Size()
	}
	if salt < 0 || length < hash.Size()+salt+2 {
		return nil, errTooLong
	}
	if k.can.pss {
		parameters.salt = uint(salt)
		list = append(list, recipe{mechanism{kind: mechRSAPSS, pss: &parameters}, digest})
	}
	if k.can.raw {
		s := make([]byte, salt)
		if _, err := io.ReadFull(saltSource(random), s); err != nil {
			return nil, fmt.Errorf("reading a salt: %w", err)
		}
		em := encodePSS(hash, digest, s, bits)
		// The token wants as many bytes as the modulus has.
		em = append(make([]byte, public.Size()-len(em)), em...)
		list = append(list, recipe{mechanism{kind: mechRSARaw}, em})
	}
	return list, nil
}

// encodePSS does what RFC 8017 section 9.1.1 calls EMSA-PSS-ENCODE. The lengths
// have been checked.
func encodePSS(hash crypto.Hash, digest, salt []byte, bits int) []byte {
	em := make([]byte, (bits+7)/8)
	db := em[:len(em)-hash.Size()-1]
	h := hash.New()
	h.Write(make([]byte, 8))
	h.Write(digest)
	h.Write(salt)
	sum := h.Sum(nil)
	db[len(db)-len(salt)-1] = 1
	copy(db[len(db)-len(salt):], salt)
	maskMGF1(db, hash, sum)
	em[0] &= 0xff >> (8*len(em) - bits)
	copy(em[len(db):], sum)
	em[len(em)-1] = 0xbc
	return em
}

// maskMGF1 applies the mask of RFC 8017 appendix B.2.1 to out.
func maskMGF1(out []byte, hash crypto.Hash, seed []byte) {
	h := hash.New()
	var counter [4]byte
	var block []byte
	for i := 0; i < len(out); {
		h.Reset()
		h.Write(seed)
		h.Write(counter[:])
		block = h.Sum(block[:0])
		for _, b := range block {
			if i == len(out) {
				break
			}
			out[i] ^= b
			i++
		}
		binary.BigEndian.PutUint32(counter[:], binary.BigEndian.Uint32(counter[:])+1)
	}
}
