// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// A bundle may hold a chain of any length, and any number of authorities of one
// name. The work for them is bounded.
func TestDecode_chainIsBounded(t *testing.T) {
	t.Parallel()
	key := newKey(t, "P-256")
	above := issue(t, "root", key, true, nil, nil)
	bags := []safeBag{keyBag(t, material{key: key}), certBag(t, material{cert: above})}
	for i := range 40 {
		above = issue(t, fmt.Sprint("CA ", i), key, true, above, key)
		bags = append(bags, certBag(t, material{cert: above}))
	}
	device := issue(t, "device", key, false, above, key)
	bags = slices.Insert(bags, 1, certBag(t, material{cert: device}))
	b, err := pkcs12.Decode(openBundle(t, bags...), "")
	if err != nil || len(b.Chain) != 16 || !b.Chain[0].Equal(above) || !b.Certificate.Equal(device) {
		t.Errorf("got %v, %v", b, err)
	}

	// Of more than 64 authorities with the name of the issuer none but the first
	// 64 is tried, and without the right one the first stands for it.
	m := newMaterial(t, "P-256")
	bags = []safeBag{keyBag(t, m), certBag(t, m)}
	other := newKey(t, "P-256")
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: m.chain[0].Subject, SubjectKeyId: m.chain[0].SubjectKeyId,
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, other.Public(), other)
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		bags = append(bags, certBag(t, material{cert: &x509.Certificate{Raw: der}}))
	}
	for _, tt := range []struct{ at, want int }{{len(bags) - 1, 0}, {len(bags), 1}} {
		with := slices.Insert(slices.Clone(bags), tt.at, certBag(t, material{cert: m.chain[0]}))
		b, err := pkcs12.Decode(openBundle(t, with...), "")
		if err != nil || len(b.Chain) == 0 || b.Chain[0].Equal(m.chain[0]) != (tt.want == 0) {
			t.Errorf("at %d: %v, %v", tt.at, b, err)
		}
	}
}

// A key store of keytool with a certificate that it trusts beside the key.
func TestDecodeFile_keytoolTrustedEntry(t *testing.T) {
	t.Parallel()
	keytool := tool(t, "keytool")
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
