// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// hashKey is a private key as CNG presents it: it signs a hash in the given way
// and returns the bare numbers.
type hashKey interface {
	signHash(p padding, digest []byte) ([]byte, error)
	close()
}

// padding is what CNG wants to know besides the hash.
type padding struct {
	kind paddingKind
	hash string // CNG's name of the hash; empty for paddingNone
	salt int    // bytes; paddingPSS only
}

// paddingKind says how RSA pads. The values are those of the Windows API.
type paddingKind uint32

const (
	paddingNone  paddingKind = 0 // ECDSA
	paddingPKCS1 paddingKind = 2
	paddingPSS   paddingKind = 8
)

// hashNames are the identifiers that CNG has for the hashes that TLS 1.2 and 1.3 sign.
var hashNames = map[crypto.Hash]string{
	crypto.SHA1:   "SHA1",
	crypto.SHA256: "SHA256",
	crypto.SHA384: "SHA384",
	crypto.SHA512: "SHA512",
}

// signer is a [crypto.Signer] over a key of CNG.
type signer struct {
	path string
	pub  crypto.PublicKey
	key  hashKey
	// schemes limits what TLS may ask for; nil leaves it to the type of the key.
	schemes []tls.SignatureScheme
}

// newSigner checks the kind of the key, and what an RSA key can do.
func newSigner(path string, pub crypto.PublicKey, key hashKey) (*signer, error) {
	s := &signer{path: path, pub: pub, key: key}
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return s, nil
	case *rsa.PublicKey:
		pss, err := s.canPSS(pub)
		if err != nil {
			return nil, err
		}
		if !pss {
			s.schemes = []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512}
		}
		return s, nil
	}
	return nil, &Error{Path: path, Err: fmt.Errorf("%w: a key of type %T", ErrUnsupported, pub), Hint: "RSA and ECDSA keys can be used"}
}

// canPSS tries what TLS 1.3 needs of an RSA key. Old providers, smart cards and
// TPMs cannot do it, or use a salt of another length than TLS wants; with them
// TLS 1.2 must do.
func (s *signer) canPSS(pub *rsa.PublicKey) (bool, error) {
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	digest := sha256.Sum256([]byte("does this key sign with PSS?"))
	sig, err := s.Sign(nil, digest[:], opts)
	if err == nil {
		return rsa.VerifyPSS(pub, crypto.SHA256, digest[:], sig, opts) == nil, nil
	}
	// An error that has nothing to do with PSS shows in the other padding as well.
	if _, err := s.Sign(nil, digest[:], crypto.SHA256); err != nil {
		return false, err
	}
	return false, nil
}

// Public returns the public key of the certificate.
func (s *signer) Public() crypto.PublicKey { return s.pub }

// SupportedSignatureAlgorithms returns what TLS may ask for, or nil for all
// that fits the key.
func (s *signer) SupportedSignatureAlgorithms() []tls.SignatureScheme { return s.schemes }

// Sign signs a hash. CNG has its own source of randomness.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	sig, err := s.sign(digest, opts)
	if err == nil {
		return sig, nil
	}
	e := &Error{Path: s.path, Err: err}
	if status := Status(0); errors.As(err, &status) {
		e.Hint = status.hint()
	}
	return nil, e
}

func (s *signer) sign(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil {
		return nil, fmt.Errorf("%w: no hash is named", ErrUnsupported)
	}
	hash := opts.HashFunc()
	if hash == 0 || len(digest) != hash.Size() {
		return nil, fmt.Errorf("a hash of %d bytes was given for %v", len(digest), hash)
	}
	switch pub := s.pub.(type) {
	case *ecdsa.PublicKey:
		raw, err := s.key.signHash(padding{}, truncate(digest, pub))
		if err != nil {
			return nil, err
		}
		return encodeECDSA(raw, pub)
	case *rsa.PublicKey:
		p, err := rsaPadding(pub, hash, opts)
		if err != nil {
			return nil, err
		}
		sig, err := s.key.signHash(p, digest)
		if err != nil {
			return nil, err
		}
		if len(sig) != pub.Size() {
			return nil, fmt.Errorf("the signature has %d bytes instead of %d", len(sig), pub.Size())
		}
		return sig, nil
	}
	return nil, ErrUnsupported
}

// rsaPadding words the options of a signature for CNG.
func rsaPadding(pub *rsa.PublicKey, hash crypto.Hash, opts crypto.SignerOpts) (padding, error) {
	name, ok := hashNames[hash]
	if !ok {
		return padding{}, fmt.Errorf("%w: hash %v", ErrUnsupported, hash)
	}
	pss, ok := opts.(*rsa.PSSOptions)
	if !ok {
		return padding{kind: paddingPKCS1, hash: name}, nil
	}
	// The encoded message has one bit less than the modulus: RFC 8017 section 9.1.1.
	longest := (pub.N.BitLen()-1+7)/8 - hash.Size() - 2
	salt := pss.SaltLength
	switch salt {
	case rsa.PSSSaltLengthEqualsHash:
		salt = hash.Size()
	case rsa.PSSSaltLengthAuto:
		salt = longest
	}
	if salt < 0 || salt > longest {
		return padding{}, fmt.Errorf("%w: a salt of %d bytes with a key of %d bits", ErrUnsupported, salt, pub.N.BitLen())
	}
	return padding{kind: paddingPSS, hash: name, salt: salt}, nil
}

// truncate leaves of a hash what ECDSA signs: as many bits as the order of the
// curve has. Only for P-521, whose order is longer than any hash, is that no
// multiple of eight.
func truncate(digest []byte, pub *ecdsa.PublicKey) []byte {
	return digest[:min(len(digest), orderSize(pub))]
}

func orderSize(pub *ecdsa.PublicKey) int { return (pub.Curve.Params().N.BitLen() + 7) / 8 }

// encodeECDSA turns the two numbers of CNG, side by side and of full length,
// into the structure that TLS sends: RFC 3279 section 2.2.3.
func encodeECDSA(raw []byte, pub *ecdsa.PublicKey) ([]byte, error) {
	n := orderSize(pub)
	if len(raw) != 2*n {
		return nil, fmt.Errorf("the signature has %d bytes instead of %d", len(raw), 2*n)
	}
	sig := struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:n]), new(big.Int).SetBytes(raw[n:])}
	if sig.R.Sign() == 0 || sig.S.Sign() == 0 {
		return nil, errors.New("the signature is zero")
	}
	return asn1.Marshal(sig)
}
