// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
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
