// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
)

func wantChain(t *testing.T, b *pkcs12.Bundle, m material) {
	t.Helper()
	if !b.Certificate.Equal(m.cert) {
		t.Errorf("certificate is %v", b.Certificate.Subject)
	}
	ok := len(b.Chain) == len(m.chain)
	for i := range b.Chain {
		ok = ok && b.Chain[i].Equal(m.chain[i])
	}
	if !ok {
		for _, c := range b.Chain {
			t.Logf("chain has %v", c.Subject)
		}
		t.Error("another chain")
	}
}

// The chain goes from the issuer upwards, whatever order, duplicates and
// strangers the bundle has.
func TestDecode_chain(t *testing.T) {
	t.Parallel()
	m, stranger := newMaterial(t, "P-256"), newMaterial(t, "P-256") // the CAs of both have the same names
	for name, rest := range map[string][]*x509.Certificate{
		"in order":           {m.chain[0], m.chain[1]},
		"reversed":           {m.chain[1], m.chain[0]},
		"duplicates":         {m.chain[1], m.chain[0], m.cert, m.chain[0], m.chain[1]},
		"strangers":          {stranger.chain[1], stranger.cert, stranger.chain[0], m.chain[0], m.chain[1]},
		"strangers, reverse": {m.chain[1], stranger.chain[0], m.chain[0], stranger.chain[1]},
	} {
		data, err := gopkcs12.Modern.WithIterations(1).Encode(m.key, m.cert, rest, password)
		if err != nil {
			t.Fatal(err)
		}
		b, err := pkcs12.Decode(data, password)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { wantChain(t, b, m) })
	}
}

// A key store of keytool with a certificate that it trusts beside the key.
func TestDecodeFile_keytoolTrustedEntry(t *testing.T) {
	t.Parallel()
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Skip("keytool is not installed; TestDecode_chain has the same kinds of certificates")
	}
	m, trusted := newMaterial(t, "P-256"), newMaterial(t, "P-256")
	dir := t.TempDir()
	source, store, ca := filepath.Join(dir, "source.p12"), filepath.Join(dir, "store.p12"), filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(source, encode(t, gopkcs12.LegacyDES, m, password), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.chain[1].Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-importkeystore", "-srckeystore", source, "-srcstoretype", "pkcs12", "-srcstorepass", password, "-destkeystore", store, "-deststoretype", "pkcs12", "-deststorepass", password, "-noprompt"},
		{"-importcert", "-keystore", store, "-storetype", "pkcs12", "-storepass", password, "-alias", "trusted", "-file", ca, "-noprompt"},
	} {
		if out, err := exec.Command(keytool, args...).CombinedOutput(); err != nil {
			t.Fatalf("keytool %s: %v\n%s", args[0], err, out)
		}
	}
	b, err := pkcs12.DecodeFile(store, password)
	if err != nil {
		t.Fatal(err)
	}
	wantChain(t, b, m)
}

// Every part that is encrypted may ask for years of work, and so may all together.
func TestDecode_iterationsOfEncryptedParts(t *testing.T) {
	t.Parallel()
	type algorithm struct {
		ID     asn1.ObjectIdentifier
		Params asn1.RawValue
	}
	raw := func(der []byte) asn1.RawValue { return asn1.RawValue{FullBytes: der} }
	salted := func(n int) asn1.RawValue {
		return raw(marshal(t, struct {
			Salt       []byte
			Iterations int
		}{make([]byte, 8), n}))
	}
	pbe := func(n int) algorithm {
		return algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}, salted(n)}
	}
	pbes2 := func(n int) algorithm {
		return algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, raw(marshal(t, struct{ KDF, Cipher algorithm }{
			algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, salted(n)},
			algorithm{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, raw(marshal(t, make([]byte, 16)))},
		}))}
	}
	shroudedKey := func(a algorithm) safeBag {
		return safeBag{ID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}, Value: explicit(marshal(t, struct {
			Algorithm algorithm
			Data      []byte
		}{a, make([]byte, 16)}))}
	}
	encrypted := func(a algorithm) []byte {
		type content struct {
			ID        asn1.ObjectIdentifier
			Algorithm algorithm
			Data      []byte `asn1:"tag:0"`
		}
		part := marshal(t, struct {
			ID   asn1.ObjectIdentifier
			Data asn1.RawValue
		}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}, explicit(marshal(t, struct {
			Version int
			Content content
		}{0, content{oidData, a, make([]byte, 16)}}))})
		return marshal(t, struct {
			Version  int
			AuthSafe contentInfo
		}{3, contentInfo{oidData, marshal(t, []asn1.RawValue{raw(part)})}})
	}
	pbmac1 := func(n int) []byte {
		type digest struct {
			Algorithm algorithm
			Digest    []byte
		}
		type mac struct {
			Mac        digest
			Salt       []byte
			Iterations int
		}
		sha256 := algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, raw([]byte{asn1.TagNull, 0})}
		params := raw(marshal(t, struct{ KDF, MAC algorithm }{algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}, salted(n)}, sha256}))
		return marshal(t, struct {
			Version  int
			AuthSafe contentInfo
			MAC      mac
		}{3, contentInfo{oidData, marshal(t, []asn1.RawValue{})},
			mac{digest{algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}, params}, make([]byte, 32)}, make([]byte, 8), 1}})
	}
	const most = 10_000_000
	m := newMaterial(t, "P-256")
	for name, tt := range map[string]struct {
		data    []byte
		refused bool
	}{
		"key, PBES2":          {openBundle(t, shroudedKey(pbes2(1e9)), certBag(t, m)), true},
		"key, PBE":            {openBundle(t, shroudedKey(pbe(1e9)), certBag(t, m)), true},
		"certificates, PBES2": {encrypted(pbes2(1e9)), true},
		"certificates, PBE":   {encrypted(pbe(1e9)), true},
		"MAC, PBKDF2":         {pbmac1(1e9), true},
		"MAC":                 {withIterations(t, m, 1e9), true},
		"just too many":       {encrypted(pbes2(most + 1)), true},
		"far too many":        {encrypted(pbe(1 << 62)), true},
		"negative":            {encrypted(pbe(-1)), true},
		"two keys together":   {openBundle(t, shroudedKey(pbe(most/2+1)), shroudedKey(pbes2(most/2))), true},
		"few":                 {openBundle(t, shroudedKey(pbe(2000)), certBag(t, m)), false},
	} {
		_, err := pkcs12.Decode(tt.data, "")
		if err == nil || errors.Is(err, pkcs12.ErrUnsupported) && strings.Contains(err.Error(), "iterations and the limit is 10000000") != tt.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
