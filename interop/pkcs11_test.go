// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package interop

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

const (
	hsmPIN   = "739162"
	hsmSOPIN = "40817356"
	hsmToken = "device"
)

// hsmKeys are the kinds of keys that a token makes, and their names on it.
var hsmKeys = []string{"rsa:2048", "EC:secp256r1", "EC:secp384r1", "EC:secp521r1"}

// hsm is a SoftHSM with one token that holds a key of each kind.
type hsm struct {
	path string // of the library
	lib  *pkcs11.Library
}

// startHSM makes a token until the end of the test. SoftHSM is configured by
// the environment when it is initialised, so only one test at a time may have
// one.
func startHSM(t *testing.T) *hsm {
	t.Helper()
	h := &hsm{}
	for _, pattern := range []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			h.path = found[0]
			break
		}
	}
	if h.path == "" {
		missing(t, "softhsm2")
	}
	util, keygen := tool(t, "softhsm2-util"), tool(t, "pkcs11-tool")
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(config, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", config)
	run := func(path string, args ...string) {
		t.Helper()
		if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", path, args[0], err, out)
		}
	}
	run(util, "--init-token", "--free", "--label", hsmToken, "--so-pin", hsmSOPIN, "--pin", hsmPIN)
	for i, kind := range hsmKeys {
		run(keygen, "--module", h.path, "--token-label", hsmToken, "--login", "--pin", hsmPIN,
			"--keypairgen", "--key-type", kind, "--label", kind, "--id", fmt.Sprintf("a%d", i))
	}
	// Strict, so that the library reads the configuration of the next test when
	// its time comes.
	var err error
	if h.lib, err = pkcs11.Open(h.path, pkcs11.InitStrict); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.lib.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// open opens the token. It is closed with the test, or before.
func (h *hsm) open(t *testing.T, maxSessions int) *pkcs11.Token {
	t.Helper()
	token, err := h.lib.Token(pkcs11.TokenOptions{Label: hsmToken, PIN: hsmPIN, MaxSessions: maxSessions})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := token.Close(); err != nil {
			t.Error(err)
		}
		if s := token.Stats(); s != (pkcs11.SessionStats{Limit: s.Limit}) {
			t.Errorf("sessions of the closed token: %+v", s)
		}
	})
	return token
}

// hardware is an identity whose key is on the token, with a certificate that a
// broker knows.
func (s *secureBroker) hardware(t *testing.T, token *pkcs11.Token, label string) *pkcs11.Identity {
	t.Helper()
	key, err := token.Key(within(t), pkcs11.KeyOptions{Label: label})
	if err != nil {
		t.Fatal(err)
	}
	id, err := token.Identity(pkcs11.KeyOptions{Label: label, CertificatePEM: s.certify(t, label, key.Public())})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestPKCS11 runs MQTT with keys that never leave a token.
func TestPKCS11(t *testing.T) {
	h := startHSM(t)
	brokers := secureBrokers(t)
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			t.Run("each key and version", func(t *testing.T) { testEachKey(t, h, b) })
			t.Run("suite", func(t *testing.T) { testHardwareSuite(t, h, b) })
			t.Run("two clients", func(t *testing.T) { testTwoClients(t, h, b) })
			t.Run("mistakes", func(t *testing.T) { testHardwareMistakes(t, h, b) })
			t.Run("certificate file", func(t *testing.T) { testHardwareRotation(t, h, b) })
		})
	}
}

// testEachKey connects and reconnects with every kind of key. Each of the
// connections is a full handshake, with a signature of the token in it.
func testEachKey(t *testing.T, h *hsm, b *secureBroker) {
	for _, kind := range hsmKeys {
		for _, version := range tlsVersions {
			t.Run(kind+" "+tls.VersionName(version), func(t *testing.T) {
				start := currentLevels()
				token := h.open(t, 0)
				id := b.hardware(t, token, kind)
				f, seen := b.fixture(id, func(o *tlsctx.Options) {
					o.MinVersion, o.MaxVersion = version, version
					o.DisableSessionResumption = true
				})
				d := f.connected(t, "d", keepSession)
				d.subscribe(mqtt5.AtMostOnce, f.topic("a")) // so that no message comes again after a cut
				const cuts = 3
				for i := range cuts + 1 {
					if i > 0 {
						d.relay.cut()
						if e := await[*mqtt5.ConnectionSuccess](d); !e.Settings.RejoinedSession {
							t.Error("the session was not resumed")
						}
					}
					if name, v, ok := b.seen(f.id + "d"); ok && (name != kind || v != version) {
						t.Errorf("the broker sees %q with %s", name, tls.VersionName(v))
					}
					d.publish(mqtt5.AtLeastOnce, f.topic("a"), number(i))
					d.expect(number(i))
				}
				states := seen.all()
				if len(states) != cuts+1 {
					t.Errorf("%d handshakes, want %d", len(states), cuts+1)
				}
				for _, s := range states {
					if s.Version != version || s.DidResume {
						t.Errorf("%s, resumed %v", tls.VersionName(s.Version), s.DidResume)
					}
				}
				if s := token.Stats(); s.Open != 1 || s.InUse != 0 || s.Waiting != 0 {
					t.Errorf("one client at a time, and sessions %+v", s)
				}
				d.stop()
				if err := d.Close(); err != nil {
					t.Error(err)
				}
				if err := errors.Join(id.Close(), token.Close()); err != nil {
					t.Error(err)
				}
				if s := token.Stats(); s.Open != 0 {
					t.Errorf("sessions after Close: %+v", s)
				}
				d.relay.close()
				start.returned(t)
			})
		}
	}
}

// testHardwareSuite puts all cases on one token at once, with fewer sessions
// than clients.
func testHardwareSuite(t *testing.T, h *hsm, b *secureBroker) {
	token := h.open(t, 3)
	var routes []*route
	for i, kind := range []string{"rsa:2048", "EC:secp256r1"} {
		id := b.hardware(t, token, kind)
		version := tlsVersions[i]
		routes = append(routes, &route{name: kind, address: b.address, layers: stack(b.below, new(handshakes).layer(tlsctx.Options{
			CAPEM: b.ca, Identity: id, MinVersion: version, MaxVersion: version,
		}))})
	}
	t.Run("cases", func(t *testing.T) { runSuite(t, b.broker, routes) })
	if s := token.Stats(); s.Open > 3 || s.InUse != 0 || s.Waiting != 0 {
		t.Errorf("sessions %+v", s)
	}
}

// testTwoClients has clients share a token, and tokens share a device, while
// connections are lost.
func testTwoClients(t *testing.T, h *hsm, b *secureBroker) {
	start := currentLevels()
	one, two := h.open(t, 2), h.open(t, 2)
	ids := []*pkcs11.Identity{
		b.hardware(t, one, "EC:secp256r1"), // a token for two
		b.hardware(t, one, "rsa:2048"),
		b.hardware(t, two, "EC:secp256r1"), // the same key through a token of its own
		b.hardware(t, two, "EC:secp521r1"),
	}
	const rounds = 5
	var relays []*relay
	var clients sync.WaitGroup
	for i, id := range ids {
		f, _ := b.fixture(id, func(o *tlsctx.Options) { o.DisableSessionResumption = true })
		d := f.connected(t, "d", keepSession)
		relays = append(relays, d.relay)
		clients.Go(func() {
			d.subscribe(mqtt5.AtMostOnce, f.topic("a"))
			for k := range rounds {
				d.relay.cut()
				await[*mqtt5.ConnectionSuccess](d)
				d.publish(mqtt5.AtLeastOnce, f.topic("a"), number(10*i+k))
				d.expect(number(10*i + k))
			}
			d.stop()
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	for _, token := range []*pkcs11.Token{one, two} {
		if s := token.Stats(); s.Open > 2 || s.InUse != 0 || s.Waiting != 0 {
			t.Errorf("sessions %+v", s)
		}
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, r := range relays {
		r.close()
	}
	start.returned(t)
}

// testHardwareMistakes looks at what the lifecycle events say, and that a wrong
// PIN is shown once.
func testHardwareMistakes(t *testing.T, h *hsm, b *secureBroker) {
	token := h.open(t, 0)
	key, err := token.Key(within(t), pkcs11.KeyOptions{Label: "EC:secp256r1"})
	if err != nil {
		t.Fatal(err)
	}
	cert := b.certify(t, "EC:secp256r1", key.Public())
	// The login is that of the process: while a token of it is logged in,
	// nobody is asked for the PIN.
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	good := pkcs11.Options{Library: h.lib, Token: pkcs11.TokenOptions{Label: hsmToken, PIN: hsmPIN},
		Key: pkcs11.KeyOptions{Label: "EC:secp256r1", CertificatePEM: cert}}
	for name, c := range map[string]struct {
		change func(*pkcs11.Options)
		want   error
		words  []string
	}{
		"PIN":         {func(o *pkcs11.Options) { o.Token.PIN = "151515" }, pkcs11.ErrPINRefused, []string{`"` + hsmToken + `"`, "PIN"}},
		"token":       {func(o *pkcs11.Options) { o.Token.Label = "devise" }, pkcs11.ErrTokenNotFound, []string{`"devise"`, `token "` + hsmToken + `"`}},
		"key":         {func(o *pkcs11.Options) { o.Key.Label = "ec" }, pkcs11.ErrKeyNotFound, []string{`"ec"`, `"EC:secp256r1"`}},
		"mismatch":    {func(o *pkcs11.Options) { o.Key.Label = "rsa:2048" }, pkcs11.ErrCertificateMismatch, []string{`"rsa:2048"`, "CN=EC:secp256r1"}},
		"certificate": {func(o *pkcs11.Options) { o.Key.CertificatePEM = nil }, pkcs11.ErrCertificateNotFound, []string{"CertificateFile"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			id, err := pkcs11.New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = id.Close() }()
			f, _ := b.fixture(id, nil)
			d := f.device(t, "d")
			d.start()
			for range 3 {
				e := await[*mqtt5.ConnectionFailure](d)
				if !errors.Is(e.Err, c.want) {
					t.Fatalf("connection failure: %v", e.Err)
				}
				text := e.Err.Error()
				for _, w := range append(c.words, h.path) {
					if !strings.Contains(text, w) {
						t.Errorf("%q is not in %s", w, text)
					}
				}
				if strings.Contains(text, "151515") || strings.Contains(text, hsmPIN) {
					t.Errorf("a PIN in %s", text)
				}
			}
			d.stop()
		})
	}
	gone := filepath.Join(t.TempDir(), "libgone.so")
	_, err = pkcs11.New(pkcs11.Options{LibraryPath: gone})
	if !errors.Is(err, pkcs11.ErrLibraryLoad) || !strings.Contains(err.Error(), gone) || !strings.Contains(err.Error(), "check the path") {
		t.Errorf("library that is not there: %v", err)
	}
	// The right PIN still works.
	if _, err := h.open(t, 0).Key(within(t), pkcs11.KeyOptions{Label: "rsa:2048"}); err != nil {
		t.Error(err)
	}
}

// testHardwareRotation replaces the certificate file, and the key with it,
// under a running client.
func testHardwareRotation(t *testing.T, h *hsm, b *secureBroker) {
	token := h.open(t, 0)
	file := filepath.Join(t.TempDir(), "device.pem")
	put := func(name, label string) {
		t.Helper()
		key, err := token.Key(within(t), pkcs11.KeyOptions{Label: label})
		if err != nil {
			t.Fatal(err)
		}
		replaceFile(t, file, b.certify(t, name, key.Public()))
	}
	put("first", "EC:secp256r1")
	id, err := token.Identity(pkcs11.KeyOptions{Label: "EC:secp256r1", CertificateFile: file})
	if err != nil {
		t.Fatal(err)
	}
	f, _ := b.fixture(id, nil)
	d := f.connected(t, "d")
	if name, _, ok := b.seen(f.id + "d"); ok && name != "first" {
		t.Errorf("connected as %q", name)
	}
	put("second", "EC:secp256r1")
	d.relay.cut()
	await[*mqtt5.ConnectionSuccess](d)
	if name, _, ok := b.seen(f.id + "d"); ok && name != "second" {
		t.Errorf("after the rotation connected as %q", name)
	}
	put("of another key", "EC:secp384r1")
	d.relay.cut()
	if e := await[*mqtt5.ConnectionFailure](d); !errors.Is(e.Err, pkcs11.ErrCertificateMismatch) || !strings.Contains(e.Err.Error(), file) {
		t.Errorf("connection failure: %v", e.Err)
	}
	put("third", "EC:secp256r1")
	await[*mqtt5.ConnectionSuccess](d)
}
