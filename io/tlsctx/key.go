// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// maxKeySize bounds the bytes of a private key: checking an RSA key takes time
// by the square of its size at least. One of 16384 bits has 9 KiB.
const maxKeySize = 16 << 10

var errKeySize = fmt.Errorf("it is larger than %d KiB", maxKeySize>>10)

// parseKeyDER ignores the label of the block, as some programs write the wrong one.
func parseKeyDER(der []byte) (any, error) {
	if len(der) > maxKeySize {
		return nil, errKeySize
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, err
}

// checkKey accepts the keys that TLS 1.2 and 1.3 can sign with.
func checkKey(key any) (crypto.Signer, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: %T cannot sign", ErrUnsupportedKey, key)
	}
	if err := checkPublicKey(signer.Public()); err != nil {
		return nil, err
	}
	if key, ok := key.(*rsa.PrivateKey); ok {
		return signer, checkRSA(key)
	}
	return signer, nil
}

// checkRSA makes one signature: crypto/rsa parses keys that it then refuses to
// sign with, because they are too small or their numbers do not belong
// together, and the handshake would fail with an error that does not speak of
// the key.
func checkRSA(key *rsa.PrivateKey) error {
	digest := sha256.Sum256(nil)
	if _, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:]); err != nil {
		return fmt.Errorf("%w: RSA key of %d bits: %w; make a key of at least 2048 bits and have a certificate issued for it",
			ErrUnsupportedKey, key.N.BitLen(), err)
	}
	return nil
}

// sameKeyBlock reports whether two blocks hold the same key, perhaps in two forms.
func sameKeyBlock(a, b pemBlock) bool {
	if bytes.Equal(a.Bytes, b.Bytes) {
		return true
	}
	ka, errA := parseKeyDER(a.Bytes)
	kb, errB := parseKeyDER(b.Bytes)
	k, ok := ka.(interface{ Equal(crypto.PrivateKey) bool })
	return errA == nil && errB == nil && ok && k.Equal(kb)
}

var (
	oidPublicKeyEC     = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidPublicKeyRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
)

// explainKey names the kinds of keys that programs write and crypto/x509 does
// not read. It returns "" for others.
func explainKey(der []byte) (cause, hint string) {
	var pkcs8 struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	var sec1 struct {
		Version    int
		PrivateKey []byte
		Parameters asn1.RawValue `asn1:"optional,explicit,tag:0"`
		PublicKey  asn1.RawValue `asn1:"optional,explicit,tag:1"`
	}
	const sequence = 0x30 // in place of the object identifier of a curve
	if _, err := asn1.Unmarshal(der, &pkcs8); err == nil {
		switch {
		case pkcs8.Algorithm.Algorithm.Equal(oidPublicKeyRSAPSS):
			return "it is an RSA key for PSS alone", "make a plain RSA or an EC key, and have a certificate issued for it"
		case pkcs8.Algorithm.Algorithm.Equal(oidPublicKeyEC) && bytes.HasPrefix(pkcs8.Algorithm.Parameters.FullBytes, []byte{sequence}):
			return explicitCurve()
		}
	}
	if _, err := asn1.Unmarshal(der, &sec1); err == nil && bytes.HasPrefix(sec1.Parameters.Bytes, []byte{sequence}) {
		return explicitCurve()
	}
	return "", ""
}

func explicitCurve() (cause, hint string) {
	return "it is an EC key that spells its curve out (explicit parameters)",
		"name the curve instead: openssl ec -in FILE -param_enc named_curve -out key.pem; the certificate must name it, too"
}

func checkPublicKey(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey, ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("%w: the curve is not P-256, P-384 or P-521", ErrUnsupportedKey)
	case nil:
		return fmt.Errorf("%w: the signer has no public key", ErrUnsupportedKey)
	}
	return fmt.Errorf("%w: public key of type %T", ErrUnsupportedKey, pub)
}
