// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The parts of a bundle by hand: RFC 7292 sections 4 and 5.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	safeBag struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue // [0] EXPLICIT
	}
	algorithm struct {
		ID     asn1.ObjectIdentifier
		Params asn1.RawValue
	}
	digest struct {
		Algorithm algorithm
		Digest    []byte
	}
	macData struct {
		Mac        digest
		Salt       []byte
		Iterations int
	}
)

var (
	oidData     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidKeyBag   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidCertBag  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidShrouded = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidX509     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
)

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: der}
}

func keyBag(t testing.TB, m material) safeBag {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		t.Fatal(err)
	}
	return safeBag{ID: oidKeyBag, Value: explicit(der)}
}

func certBag(t testing.TB, m material) safeBag {
	t.Helper()
	der := marshal(t, struct {
		ID   asn1.ObjectIdentifier
		Cert []byte `asn1:"explicit,tag:0"`
	}{oidX509, m.cert.Raw})
	return safeBag{ID: oidCertBag, Value: explicit(der)}
}

// ber leaves the length of the content info open, and the outer length as it should be.
func ber(t testing.TB, der []byte) []byte {
	t.Helper()
	var p struct {
		Version  int
		AuthSafe asn1.RawValue
		MacData  asn1.RawValue
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil {
		t.Fatal(err)
	}
	open := append([]byte{0x30, 0x80}, p.AuthSafe.Bytes...)
	open = append(open, 0, 0)
	body := append(marshal(t, p.Version), open...)
	body = append(body, p.MacData.FullBytes...)
	return marshal(t, asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: body})
}

func raw(der []byte) asn1.RawValue { return asn1.RawValue{FullBytes: der} }

var (
	null      = raw([]byte{asn1.TagNull, 0})
	sha256ID  = algorithm{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, null}
	hmacID    = algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, null}
	zeroSalt  = make([]byte, 8)
	zeroBlock = make([]byte, aes.BlockSize)
)

// pbe is an algorithm of RFC 7292 appendix C: 3 is triple DES, 5 and 6 are RC2
// with 128 and 40 bits.
func pbe(t testing.TB, number, iterations int) algorithm {
	return algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, number}, raw(marshal(t, struct {
		Salt       []byte
		Iterations int
	}{zeroSalt, iterations}))}
}

func pbkdf2ID(t testing.TB, iterations, length int) algorithm {
	return algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, raw(marshal(t, struct {
		Salt       []byte
		Iterations int
		KeyLength  int
		PRF        algorithm
	}{zeroSalt, iterations, length, hmacID}))}
}

// pbes2 is AES-256 with PBKDF2 and HMAC-SHA-256.
func pbes2(t testing.TB, iterations int) algorithm {
	aes256 := algorithm{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, raw(marshal(t, zeroBlock))}
	return algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, raw(marshal(t, struct{ KDF, Cipher algorithm }{
		pbkdf2ID(t, iterations, 32), aes256}))}
}

// shroudedKey is a key bag whose algorithm is what matters: its bytes are no key.
func shroudedKey(t testing.TB, a algorithm) safeBag {
	return safeBag{ID: oidShrouded, Value: explicit(marshal(t, struct {
		Algorithm algorithm
		Data      []byte
	}{a, make([]byte, 16)}))}
}

// dataPart holds bags in the clear.
func dataPart(t testing.TB, bags ...safeBag) asn1.RawValue {
	return raw(marshal(t, contentInfo{oidData, marshal(t, bags)}))
}

// encryptedPart is an EncryptedData ContentInfo.
func encryptedPart(t testing.TB, a algorithm, ciphertext []byte) asn1.RawValue {
	type content struct {
		ID        asn1.ObjectIdentifier
		Algorithm algorithm
		Data      []byte `asn1:"tag:0"`
	}
	return raw(marshal(t, struct {
		ID   asn1.ObjectIdentifier
		Data asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}, explicit(marshal(t, struct {
		Version int
		Content content
	}{0, content{oidData, a, ciphertext}}))}))
}

// withoutMAC makes a bundle of parts.
func withoutMAC(t testing.TB, parts ...asn1.RawValue) []byte {
	t.Helper()
	return marshal(t, struct {
		Version  int
		AuthSafe contentInfo
	}{3, contentInfo{oidData, marshal(t, parts)}})
}

// openBundle makes a bundle without encryption and without a MAC.
func openBundle(t testing.TB, bags ...safeBag) []byte {
	t.Helper()
	return withoutMAC(t, dataPart(t, bags...))
}

// withMAC makes a bundle of parts, authenticated with one iteration.
func withMAC(t testing.TB, encoded []byte, parts ...asn1.RawValue) []byte {
	t.Helper()
	safe := marshal(t, parts)
	key := sha256.Sum256(slices.Concat(bytes.Repeat([]byte{3}, 64), fill(zeroSalt), fill(encoded)))
	mac := hmac.New(sha256.New, key[:])
	mac.Write(safe)
	return withMACData(t, safe, macData{digest{sha256ID, mac.Sum(nil)}, zeroSalt, 1})
}

func withMACData(t testing.TB, safe []byte, mac macData) []byte {
	t.Helper()
	return marshal(t, struct {
		Version  int
		AuthSafe contentInfo
		MAC      macData
	}{3, contentInfo{oidData, safe}, mac})
}

// withIterations makes a bundle whose MAC asks for that many.
func withIterations(t testing.TB, m material, n int) []byte {
	t.Helper()
	return withMACData(t, marshal(t, []asn1.RawValue{dataPart(t, certBag(t, m))}), macData{digest{sha256ID, make([]byte, 32)}, zeroSalt, n})
}

// encode7292 returns the form of a password of RFC 7292 appendix B.1.
func encode7292(password string) []byte {
	var b []byte
	for _, r := range password {
		b = append(b, byte(r>>8), byte(r))
	}
	return append(b, 0, 0)
}

// fill repeats b up to a multiple of 64 bytes.
func fill(b []byte) []byte {
	return bytes.Repeat(b, 64)[:(len(b)+63)/64*64]
}

// derive is RFC 7292 appendix B.2 with SHA-1 and one iteration.
func derive(encoded []byte, purpose byte, size int) []byte {
	input := append(fill(zeroSalt), fill(encoded)...)
	var out []byte
	for len(out) < size {
		a := sha1.Sum(slices.Concat(bytes.Repeat([]byte{purpose}, 64), input))
		out = append(out, a[:]...)
		b := new(big.Int).SetBytes(bytes.Repeat(a[:], 4)[:64])
		b.Add(b, big.NewInt(1))
		for block := range slices.Chunk(input, 64) {
			sum := new(big.Int).Add(new(big.Int).SetBytes(block), b)
			sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 512)).FillBytes(block)
		}
	}
	return out[:size]
}

// encrypt makes an encrypted part with one iteration. The algorithm is 0 for
// AES, or a number as for pbe.
func encrypt(t *testing.T, number int, password string, encoded []byte, bags ...safeBag) asn1.RawValue {
	t.Helper()
	plain := marshal(t, bags)
	pad := func(size int) []byte {
		n := size - len(plain)%size
		return append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	}
	switch number {
	case 0:
		key, err := pbkdf2.Key(sha256.New, password, zeroSalt, 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		out := pad(aes.BlockSize)
		cipher.NewCBCEncrypter(block, zeroBlock).CryptBlocks(out, out)
		return encryptedPart(t, pbes2(t, 1), out)
	case 3:
		block, err := des.NewTripleDESCipher(derive(encoded, 1, 24))
		if err != nil {
			t.Fatal(err)
		}
		out := pad(des.BlockSize)
		cipher.NewCBCEncrypter(block, derive(encoded, 2, 8)).CryptBlocks(out, out)
		return encryptedPart(t, pbe(t, 3, 1), out)
	}
	file := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(file, plain, 0o600); err != nil {
		t.Fatal(err)
	}
	name, size := "-rc2-cbc", 16
	if number == 6 {
		name, size = "-rc2-40-cbc", 5
	}
	return encryptedPart(t, pbe(t, number, 1), openssl(t, "enc", "-provider", "legacy", "-provider", "default", name, "-in", file,
		"-K", hex.EncodeToString(derive(encoded, 1, size)), "-iv", hex.EncodeToString(derive(encoded, 2, 8))))
}
