// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"encoding/asn1"
	"errors"
	"strings"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
)

// Every part that is encrypted may ask for years of work, and so may all together.
func TestDecode_iterationsOfEncryptedParts(t *testing.T) {
	t.Parallel()
	encrypted := func(a algorithm) []byte { return withoutMAC(t, encryptedPart(t, a, make([]byte, 16))) }
	pbmac1 := func(n int) []byte {
		params := raw(marshal(t, struct{ KDF, MAC algorithm }{pbkdf2ID(t, n, 32), hmacID}))
		return withMACData(t, marshal(t, []asn1.RawValue{}),
			macData{digest{algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}, params}, make([]byte, 32)}, zeroSalt, 1})
	}
	const most = 10_000_000
	m := newMaterial(t, "P-256")
	for name, tt := range map[string]struct {
		data    []byte
		refused bool
	}{
		"key, PBES2":          {openBundle(t, shroudedKey(t, pbes2(t, 1e9)), certBag(t, m)), true},
		"key, PBE":            {openBundle(t, shroudedKey(t, pbe(t, 3, 1e9)), certBag(t, m)), true},
		"certificates, PBES2": {encrypted(pbes2(t, 1e9)), true},
		"certificates, PBE":   {encrypted(pbe(t, 3, 1e9)), true},
		"MAC, PBKDF2":         {pbmac1(1e9), true},
		"MAC":                 {withIterations(t, m, 1e9), true},
		"just too many":       {encrypted(pbes2(t, most+1)), true},
		"far too many":        {encrypted(pbe(t, 3, 1<<31-1)), true},
		"negative":            {encrypted(pbe(t, 3, -1)), true},
		"two keys together":   {openBundle(t, shroudedKey(t, pbe(t, 3, most/2+1)), shroudedKey(t, pbes2(t, most/2))), true},
		"few":                 {openBundle(t, shroudedKey(t, pbe(t, 3, 2000)), certBag(t, m)), false},
	} {
		_, err := pkcs12.Decode(tt.data, "")
		if err == nil || errors.Is(err, pkcs12.ErrUnsupported) && strings.Contains(err.Error(), "iterations and the limit is 10000000") != tt.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The parts of a bundle are an octet string. Under another tag nobody would
// look for iterations, and the decoder does not look at the tag.
func TestDecode_partsUnderAnotherTag(t *testing.T) {
	t.Parallel()
	safe := marshal(t, []asn1.RawValue{encryptedPart(t, pbes2(t, 1<<31-1), make([]byte, 16))})
	data := marshal(t, struct {
		Version  int
		AuthSafe struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue
		}
	}{3, struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{oidData, explicit(marshal(t, asn1.RawValue{Tag: asn1.TagBitString, Bytes: safe}))}})
	if _, err := pkcs12.Decode(data, ""); !errors.Is(err, pkcs12.ErrFormat) {
		t.Errorf("got %v", err)
	}
}

// A key inside an encrypted part is refused before anything is derived for it.
// The number of its iterations would take minutes at least.
func TestDecode_keyInsideEncryptedPart(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	const endless = 1<<31 - 1
	for _, password := range []string{"", password} {
		forms := map[string][]byte{"": encode7292(password)}
		if password == "" {
			forms[" no bytes"] = nil
		}
		for form, encoded := range forms {
			for number, name := range map[int]string{0: "AES", 3: "triple DES", 5: "RC2-128", 6: "RC2-40"} {
				part := func(bags ...safeBag) asn1.RawValue { return encrypt(t, number, password, encoded, bags...) }
				cert, key := certBag(t, m), shroudedKey(t, pbes2(t, endless))
				legacy, clear := shroudedKey(t, pbe(t, 3, endless)), keyBag(t, m)
				for kind, parts := range map[string][]asn1.RawValue{
					"alone":                 {part(key)},
					"after the certificate": {part(cert, key)},
					"triple DES":            {part(cert, legacy)},
					"RC2":                   {part(shroudedKey(t, pbe(t, 6, endless)), cert)},
					"in the clear":          {part(cert, clear)},
					"second part":           {dataPart(t, cert), part(key)},
					"both parts":            {part(cert), part(key)},
					"beside another key":    {dataPart(t, clear, cert), part(key)},
					"before a damaged one":  {part(key, safeBag{ID: oidCertBag, Value: explicit([]byte{5, 0})})},
				} {
					_, err := pkcs12.Decode(withMAC(t, encoded, parts...), password)
					if !errors.Is(err, pkcs12.ErrUnsupported) || !strings.Contains(err.Error(), "a private key inside an encrypted part") ||
						!strings.Contains(err.Error(), "openssl pkcs12 -in FILE -nodes") {
						t.Errorf("password %q%s, %s, %s: %v", password, form, name, kind, err)
					}
				}
				// The same parts without the key are read.
				b, err := pkcs12.Decode(withMAC(t, encoded, part(cert), dataPart(t, clear)), password)
				if err != nil || !b.Certificate.Equal(m.cert) {
					t.Errorf("password %q%s, %s: %v", password, form, name, err)
				}
			}
		}
	}
}

// Checking an RSA key of a megabit takes minutes: size is refused before.
func TestDecode_largeKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	large := explicit(make([]byte, 17<<10))
	for _, bag := range []safeBag{{ID: oidKeyBag, Value: large}, {ID: oidShrouded, Value: large}} {
		if _, err := pkcs12.Decode(openBundle(t, certBag(t, m), bag), ""); !errors.Is(err, pkcs12.ErrUnsupported) ||
			!strings.Contains(err.Error(), "the private key is larger than 16 KiB") {
			t.Errorf("got %v", err)
		}
	}
}

// A wrong password decrypts to noise, and is still called a wrong password.
func TestDecode_wrongPasswordOfEncryptedPart(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	for _, enc := range []*gopkcs12.Encoder{gopkcs12.Modern, gopkcs12.LegacyDES, gopkcs12.LegacyRC2} {
		for range 10 { // the salt differs each time, and so does the noise
			data := encode(t, enc, m, password)
			for _, wrong := range []string{"", "wrong"} {
				if _, err := pkcs12.Decode(data, wrong); !errors.Is(err, pkcs12.ErrPassword) {
					t.Errorf("password %q: %v", wrong, err)
				}
			}
		}
	}
}
