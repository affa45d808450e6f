// SPDX-License-Identifier: Apache-2.0

package pkcs12

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"
)

// The parts of a bundle: RFC 7292 sections 4 and 5, RFC 5652 section 6.
var (
	oidData           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedKeyBag = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidSHA256         = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// part is a ContentInfo as it is read.
type part struct {
	Raw     asn1.RawContent
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
}

// plainPart is a ContentInfo of type data, to be written.
type plainPart struct {
	Type    asn1.ObjectIdentifier
	Content []byte `asn1:"tag:0,explicit"`
}

type algorithm struct {
	ID asn1.ObjectIdentifier
}

type digestInfo struct {
	Algorithm algorithm
	Digest    []byte
}

// maxKeySize bounds the bytes of a private key: checking an RSA key takes time
// by the square of its size at least. One of 16384 bits has 9 KiB.
const maxKeySize = 16 << 10

// checkKeys refuses private keys that may take hours: a large one, and one
// inside an encrypted part. The latter may be encrypted once more, and then its
// number of iterations is visible only after the part is decrypted. The standard
// allows it; programs encrypt a key once, in a part of its own.
func checkKeys(data []byte, password string) error {
	parts, err := partsOf(data)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if !p.Type.Equal(oidEncryptedData) {
			if err := checkKeySize(p); err != nil {
				return err
			}
			continue
		}
		for _, encoded := range encodings(password) {
			if err := checkPart(p.Raw, password, encoded); err != nil {
				return err
			}
		}
	}
	return nil
}

// partsOf returns the parts of a bundle that the decoder would look into.
func partsOf(data []byte) ([]part, error) {
	var pfx struct {
		Version  int
		AuthSafe part
	}
	if err := unmarshal(data, &pfx); err != nil {
		return nil, explain(err, "")
	}
	if !pfx.AuthSafe.Type.Equal(oidData) {
		return nil, nil // the decoder refuses it
	}
	var safe []byte
	if err := unmarshal(pfx.AuthSafe.Content.Bytes, &safe); err != nil {
		return nil, explain(err, "")
	}
	var parts []part
	if err := unmarshal(safe, &parts); err != nil {
		return nil, explain(err, "")
	}
	return parts, nil
}

// checkKeySize refuses a part in the clear with a large private key, encrypted
// or not. What it cannot read the decoder refuses before it looks at any key.
func checkKeySize(p part) error {
	var content []byte
	var bags []struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"tag:0,explicit"`
	}
	if unmarshal(p.Content.Bytes, &content) != nil || unmarshal(content, &bags) != nil {
		return nil
	}
	for _, b := range bags {
		if (b.ID.Equal(oidKeyBag) || b.ID.Equal(oidShroudedKeyBag)) && len(b.Value.Bytes) > maxKeySize {
			return &Error{Err: fmt.Errorf("%w: the private key is larger than %d KiB", ErrUnsupported, maxKeySize>>10)}
		}
	}
	return nil
}

func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		return errors.New("trailing data")
	}
	return err
}

// encodings returns the forms in which the decoder tries a password: RFC 7292
// appendix B.1, and for the empty one no bytes at all, as some programs write it.
func encodings(password string) [][]byte {
	var encoded []byte
	for _, r := range password {
		if r > 0xffff {
			return nil // the decoder refuses it
		}
		encoded = append(encoded, byte(r>>8), byte(r))
	}
	forms := [][]byte{append(encoded, 0, 0)}
	if password == "" {
		forms = append(forms, nil)
	}
	return forms
}

// checkPart decodes one encrypted part behind a private key of ours. The decoder
// refuses a second key before it derives anything for it, so all that it
// computes is what the part asks for in the clear.
func checkPart(der []byte, password string, encoded []byte) error {
	bundle, err := bundleBehindKey(der, encoded)
	if err != nil {
		return explain(err, password)
	}
	_, _, _, err = decodeChain(bundle, password)
	switch e := (*Error)(nil); {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	case errors.Is(err, gopkcs12.ErrIncorrectPassword): // the MAC is ours: the part was not looked at
		return explain(err, password)
	case strings.Contains(err.Error(), severalKeys):
		return &Error{Err: fmt.Errorf("%w: a private key inside an encrypted part", ErrUnsupported), Hint: "write it anew with " + again}
	}
	// What else is wrong the decoder meets again in the bundle itself, and
	// stops there as it did here, before any key that comes after it.
	return nil
}

// bundleBehindKey makes a bundle of a private key and one part of another bundle.
func bundleBehindKey(der, encoded []byte) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		return nil, err
	}
	bags, err := asn1.Marshal([]struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}{{oidKeyBag, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: key}}})
	if err != nil {
		return nil, err
	}
	first, err := asn1.Marshal(plainPart{oidData, bags})
	if err != nil {
		return nil, err
	}
	safe, err := asn1.Marshal([]asn1.RawValue{{FullBytes: first}, {FullBytes: der}})
	if err != nil {
		return nil, err
	}
	type macData struct {
		Mac        digestInfo
		Salt       []byte
		Iterations int
	}
	return asn1.Marshal(struct {
		Version  int
		AuthSafe plainPart
		MacData  macData
	}{3, plainPart{oidData, safe}, macData{digestInfo{algorithm{oidSHA256}, authenticate(safe, encoded)}, nil, 1}})
}

// authenticate returns the MAC of a bundle with SHA-256, one iteration and no
// salt: RFC 7292 appendix B.2, where the key is then one hash.
func authenticate(safe, encoded []byte) []byte {
	const block, purpose = sha256.BlockSize, 3
	repeated := bytes.Repeat(encoded, block)
	key := sha256.Sum256(slices.Concat(
		bytes.Repeat([]byte{purpose}, block),
		repeated[:(len(encoded)+block-1)/block*block]))
	mac := hmac.New(sha256.New, key[:])
	mac.Write(safe)
	return mac.Sum(nil)
}
