// SPDX-License-Identifier: Apache-2.0

package pkcs12_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
)

// tool finds a program.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("NOT TESTED: %s is not installed", name)
	return ""
}

// openssl runs the program of that name.
func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(tool(t, "openssl"), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

// material is a device certificate with its key and the chain above it.
type material struct {
	key   crypto.Signer
	cert  *x509.Certificate
	chain []*x509.Certificate // intermediate CA, root CA
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "RSA":
		return rsaKey()
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("unknown kind %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t testing.TB, name string, key crypto.Signer, ca bool, parent *x509.Certificate, parentKey crypto.Signer) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newMaterial(t testing.TB, kind string) material {
	t.Helper()
	rootKey, caKey, key := newKey(t, "P-256"), newKey(t, "P-256"), newKey(t, kind)
	root := issue(t, "root", rootKey, true, nil, nil)
	ca := issue(t, "intermediate", caKey, true, root, rootKey)
	return material{key: key, cert: issue(t, "device", key, false, ca, caKey), chain: []*x509.Certificate{ca, root}}
}

// pemFile writes key and certificates to one PEM file.
func pemFile(t testing.TB, key crypto.Signer, certs ...*x509.Certificate) string {
	t.Helper()
	var out bytes.Buffer
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	for _, c := range certs {
		pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	name := filepath.Join(t.TempDir(), "all.pem")
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// opensslStyles are the ways in which programs in use encrypt and authenticate a bundle.
var opensslStyles = map[string][]string{
	"OpenSSL 3 defaults":        nil,
	"OpenSSL legacy":            {"-legacy"},
	"triple DES":                {"-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"},
	"macOS keychain":            {"-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40", "-macalg", "sha1", "-iter", "2048", "-name", "device é"},
	"Windows export":            {"-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "sha256", "-iter", "2000"},
	"AES-128 with SHA-512":      {"-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC", "-macalg", "sha512"},
	"certificates in the clear": {"-certpbe", "NONE"},
	"everything in the clear":   {"-certpbe", "NONE", "-keypbe", "NONE"},
	"one iteration":             {"-noiter", "-nomaciter"},
}

func TestDecodeFile_madeByOpenSSL(t *testing.T) {
	t.Parallel()
	for style, args := range opensslStyles {
		for _, kind := range []string{"RSA", "P-256", "P-384", "P-521", "Ed25519"} {
			for _, password := range []string{"", "s3cret pässword"} {
				t.Run(style+" "+kind+" password "+password, func(t *testing.T) {
					t.Parallel()
					m := newMaterial(t, kind)
					file := filepath.Join(t.TempDir(), "device.p12")
					openssl(t, append([]string{"pkcs12", "-export", "-in", pemFile(t, m.key, append([]*x509.Certificate{m.cert}, m.chain...)...),
						"-out", file, "-passout", "pass:" + password}, args...)...)
					check(t, m, file, password)

					// In a bundle without secrets only the MAC knows the password.
					if _, err := pkcs12.DecodeFile(file, "other"); !errors.Is(err, pkcs12.ErrPassword) {
						t.Errorf("wrong password: %v", err)
					} else if !strings.Contains(err.Error(), file) {
						t.Errorf("%q does not name the file", err)
					}
				})
			}
		}
	}
}

func check(t *testing.T, m material, file, password string) {
	t.Helper()
	b, err := pkcs12.DecodeFile(file, password)
	if err != nil {
		t.Fatal(err)
	}
	if !b.Certificate.Equal(m.cert) {
		t.Errorf("certificate is %v", b.Certificate.Subject)
	}
	if !b.Key.(interface{ Equal(crypto.PrivateKey) bool }).Equal(m.key) {
		t.Error("another key")
	}
	if len(b.Chain) != len(m.chain) {
		t.Fatalf("chain has %d certificates, want %d", len(b.Chain), len(m.chain))
	}
	for _, want := range m.chain {
		found := false
		for _, c := range b.Chain {
			found = found || c.Equal(want)
		}
		if !found {
			t.Errorf("chain lacks %v", want.Subject)
		}
	}
}

func TestDecodeFile_withoutKey(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	file := filepath.Join(t.TempDir(), "ca.p12")
	openssl(t, "pkcs12", "-export", "-nokeys", "-in", pemFile(t, nil, m.chain...), "-out", file, "-passout", "pass:x")
	if _, err := pkcs12.DecodeFile(file, "x"); !errors.Is(err, pkcs12.ErrNoKey) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeFile_withoutCertificate(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	file := filepath.Join(t.TempDir(), "key.p12")
	openssl(t, "pkcs12", "-export", "-nocerts", "-inkey", pemFile(t, m.key), "-out", file, "-passout", "pass:x")
	if _, err := pkcs12.DecodeFile(file, "x"); !errors.Is(err, pkcs12.ErrNoCertificate) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeFile_withoutMAC(t *testing.T) {
	t.Parallel()
	m := newMaterial(t, "P-256")
	file := filepath.Join(t.TempDir(), "nomac.p12")
	openssl(t, "pkcs12", "-export", "-nomac", "-in", pemFile(t, m.key, m.cert), "-out", file, "-passout", "pass:x")
	if _, err := pkcs12.DecodeFile(file, "x"); !errors.Is(err, pkcs12.ErrUnsupported) || !strings.Contains(err.Error(), "MAC") {
		t.Errorf("got %v", err)
	}
	open := filepath.Join(t.TempDir(), "open.p12")
	openssl(t, "pkcs12", "-export", "-nomac", "-keypbe", "NONE", "-certpbe", "NONE", "-in", pemFile(t, m.key, m.cert, m.chain[0], m.chain[1]), "-out", open, "-passout", "pass:")
	check(t, m, open, "")
}
