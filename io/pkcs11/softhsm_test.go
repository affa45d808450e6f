// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	binding "github.com/miekg/pkcs11"
)

// The tests with SoftHSM do not run in parallel: it is configured by the environment.

const (
	testPIN   = "648219"
	testSOPIN = "50975310"
)

// counter counts what a library is asked to do.
type counter struct {
	cryptoki
	sessions, logins, signatures atomic.Int64
}

func (c *counter) OpenSession(slot uint) (uint, error) {
	s, err := c.cryptoki.OpenSession(slot)
	if err == nil {
		c.sessions.Add(1)
	}
	return s, err
}

func (c *counter) CloseSession(session uint) error {
	err := c.cryptoki.CloseSession(session)
	if err == nil {
		c.sessions.Add(-1)
	}
	return err
}

func (c *counter) Login(session, user uint, pin string) error {
	c.logins.Add(1)
	return c.cryptoki.Login(session, user, pin)
}

func (c *counter) Sign(session uint, data []byte) ([]byte, error) {
	c.signatures.Add(1)
	return c.cryptoki.Sign(session, data)
}

// softHSMPath is where SoftHSM is, or empty.
var softHSMPath = sync.OnceValue(func() string {
	patterns := []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib/*/pkcs11/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	}
	for _, p := range patterns {
		if found, _ := filepath.Glob(p); len(found) > 0 {
			return found[0]
		}
	}
	return ""
})

// device is a SoftHSM with a folder of its own.
type device struct {
	t    testing.TB
	path string
	dir  string
	api  *counter
}

// newDevice makes an empty SoftHSM. At the end of the test it checks that no
// session and no goroutine is left.
func newDevice(t *testing.T) *device {
	t.Helper()
	path := softHSMPath()
	for _, program := range []string{"softhsm2-util", "pkcs11-tool"} {
		if _, err := exec.LookPath(program); err != nil {
			path = ""
		}
	}
	if path == "" {
		const missing = "SoftHSM is missing: apt-get install softhsm2 opensc"
		if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
			t.Fatal(missing)
		}
		t.Skip("NOT TESTED: " + missing)
	}
	d := &device{t: t, path: path, dir: t.TempDir()}
	tokens := filepath.Join(d.dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(d.dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)

	goroutines := runtime.NumGoroutine()
	// The library is loaded once and for all; what it counts is per test.
	m := process.modules[canonical(path)]
	if m == nil {
		process.load = func(path string) (cryptoki, error) {
			api, err := load(path)
			return &counter{cryptoki: api}, err
		}
		lib, err := Open(path, InitStrict)
		if err != nil {
			t.Fatal(err)
		}
		m = lib.mod
		if err := lib.Close(); err != nil {
			t.Fatal(err)
		}
		process.load = load
	}
	d.api = m.api.(*counter)
	d.api.sessions.Store(0)
	d.api.logins.Store(0)
	d.api.signatures.Store(0)
	t.Cleanup(func() {
		if n := d.api.sessions.Load(); n != 0 {
			t.Errorf("%d sessions are still open", n)
		}
		for i := 0; runtime.NumGoroutine() > goroutines; i++ {
			if i == 1_000_000 {
				buf := make([]byte, 1<<16)
				t.Errorf("goroutines: %d before, %d after\n%s", goroutines, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
				break
			}
			runtime.Gosched()
		}
		m.setup <- struct{}{}
		defer func() { <-m.setup }()
		m.mu.Lock()
		if m.refs != 0 {
			t.Errorf("the library has %d references left", m.refs)
			m.refs = 0
		}
		m.mu.Unlock()
		if m.isManaged() {
			// The next test wants a library that reads its configuration again.
			if err := m.finalize(); err != nil {
				t.Error(err)
			}
		}
	})
	return d
}

func (d *device) run(name string, args ...string) string {
	d.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// token initialises a token.
func (d *device) token(label string) {
	d.t.Helper()
	d.run("softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", testSOPIN, "--pin", testPIN)
}

func (d *device) tool(token string, args ...string) {
	d.t.Helper()
	d.run("pkcs11-tool", append([]string{"--module", d.path, "--token-label", token, "--login", "--pin", testPIN}, args...)...)
}

// generate makes a key on the token: rsa:2048, EC:secp256r1 and the like.
func (d *device) generate(token, kind, label, id string, args ...string) {
	d.t.Helper()
	d.tool(token, append([]string{"--keypairgen", "--key-type", kind, "--label", label, "--id", id}, args...)...)
}

// load imports a key that was made elsewhere.
func (d *device) load(token string, key crypto.Signer, label, id string) {
	d.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	file := filepath.Join(d.dir, "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.run("softhsm2-util", "--import", file, "--token", token, "--label", label, "--id", id, "--pin", testPIN)
}

// certificate stores a certificate on the token.
func (d *device) certificate(token string, cert *x509.Certificate, label, id string) {
	d.t.Helper()
	file := filepath.Join(d.dir, "cert.der")
	if err := os.WriteFile(file, cert.Raw, 0o600); err != nil {
		d.t.Fatal(err)
	}
	d.tool(token, "--write-object", file, "--type", "cert", "--label", label, "--id", id)
}

func (d *device) open(behavior InitBehavior) *Library {
	d.t.Helper()
	lib, err := Open(d.path, behavior)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := lib.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return lib
}

func (d *device) openToken(o TokenOptions) *Token {
	d.t.Helper()
	if o.PIN == "" && o.PINFunc == nil {
		o.PIN = testPIN
	}
	tok, err := d.open(InitDefault).Token(o)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := tok.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return tok
}

// identity issues a certificate for a key of the token.
func (d *device) identity(tok *Token, ca *authority, o KeyOptions) *Identity {
	d.t.Helper()
	key, err := tok.Key(context.Background(), o)
	if err != nil {
		d.t.Fatal(err)
	}
	o.CertificatePEM = toPEM(ca.client(d.t, "device", key.Public()))
	id, err := tok.Identity(o)
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// raw is the library without this package: another user of it in the same process.
func (d *device) raw() *binding.Ctx {
	d.t.Helper()
	ctx := binding.New(d.path)
	if ctx == nil {
		d.t.Fatal("the library cannot be loaded")
	}
	return ctx
}

func newRSAKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newECKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyCase is a kind of key and a way to get it onto a token.
type keyCase struct {
	name string
	make func(d *device)
}

func keyCases() []keyCase {
	var cases []keyCase
	for _, kind := range []string{"rsa:2048", "rsa:3072", "EC:secp256r1", "EC:secp384r1", "EC:secp521r1"} {
		cases = append(cases, keyCase{"generated " + kind, func(d *device) { d.generate("device", kind, "mqtt", "a1") }})
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		cases = append(cases, keyCase{fmt.Sprintf("imported %s", curve.Params().Name), func(d *device) { d.load("device", newECKey(d.t, curve), "mqtt", "a1") }})
	}
	cases = append(cases, keyCase{"imported RSA 2048", func(d *device) { d.load("device", newRSAKey(d.t, 2048), "mqtt", "a1") }})
	return cases
}
