// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package pkcs11

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	binding "github.com/miekg/pkcs11"
)

func TestDevice_wrongPIN(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.generate("device", "EC:secp256r1", "mqtt", "a1")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			id, err := New(Options{LibraryPath: d.path, Token: TokenOptions{Label: "device", PIN: "000111"}, Key: KeyOptions{Label: "mqtt"}})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = id.Close() }()
			_, err = id.Certificate(context.Background())
			if !errors.Is(err, ErrPINRefused) || strings.Contains(err.Error(), "000111") || !strings.Contains(err.Error(), "CKR_PIN_INCORRECT") {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if got := d.api.logins.Load(); got != 1 {
		t.Errorf("the wrong PIN was shown %d times", got)
	}
	mustKey(t, d.openToken(TokenOptions{Label: "device"}), KeyOptions{Label: "mqtt"})
}

func TestDevice_notFound(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.token("second")
	d.generate("device", "EC:secp256r1", "mqtt", "a1")
	d.generate("device", "EC:secp256r1", "other", "a2")
	for name, c := range map[string]struct {
		token TokenOptions
		key   KeyOptions
		want  error
		text  []string
	}{
		"token label":    {TokenOptions{Label: "Device"}, KeyOptions{}, ErrTokenNotFound, []string{`label "Device"`, `token "device"`, `token "second"`, d.path}},
		"several tokens": {TokenOptions{}, KeyOptions{}, ErrTokenAmbiguous, []string{"Label, Serial or SlotID"}},
		"key label":      {TokenOptions{Label: "device"}, KeyOptions{Label: "MQTT"}, ErrKeyNotFound, []string{`label "MQTT"`, `"mqtt"`, `"other"`}},
		"key id":         {TokenOptions{Label: "device"}, KeyOptions{ID: []byte{0xa3}}, ErrKeyNotFound, []string{"id a3"}},
		"several keys":   {TokenOptions{Label: "device"}, KeyOptions{}, ErrKeyAmbiguous, []string{"Label and ID"}},
		"no keys":        {TokenOptions{Label: "second"}, KeyOptions{}, ErrKeyNotFound, []string{"no private key"}},
	} {
		t.Run(name, func(t *testing.T) {
			tok := d.openToken(c.token)
			_, err := tok.Key(context.Background(), c.key)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			for _, text := range c.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is not in %v", text, err)
				}
			}
			if err := tok.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	tok := d.openToken(TokenOptions{Label: "device"})
	mustKey(t, tok, KeyOptions{ID: []byte{0xa2}})
	tokens, err := d.open(InitDefault).Tokens()
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range tokens {
		if info.Label != "device" {
			continue
		}
		mustKey(t, d.openToken(TokenOptions{Serial: info.Serial}), KeyOptions{Label: "mqtt"})
		mustKey(t, d.openToken(TokenOptions{SlotID: &info.SlotID}), KeyOptions{Label: "mqtt"})
	}
}

func TestOpen_notALibrary(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.so")
	_, err := Open(missing, InitDefault)
	if !errors.Is(err, ErrLibraryLoad) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v", err)
	}
	for _, pattern := range []string{"/lib/*/libc.so.6", "/lib64/libc.so.6"} {
		found, _ := filepath.Glob(pattern)
		for _, path := range found {
			if _, err := Open(path, InitDefault); !errors.Is(err, ErrLibraryLoad) {
				t.Errorf("%s: got %v", path, err)
			}
		}
	}
}

func TestDevice_twoClientsOneToken(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.generate("device", "EC:secp256r1", "one", "a1")
	d.generate("device", "rsa:2048", "two", "a2")
	ca := newAuthority(t)
	for name, tokens := range map[string][]*Token{
		"shared": func() []*Token { tok := d.openToken(TokenOptions{Label: "device"}); return []*Token{tok, tok} }(),
		"each its own": {
			d.openToken(TokenOptions{Label: "device"}), d.openToken(TokenOptions{Label: "device"}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			one := d.identity(tokens[0], ca, KeyOptions{Label: "one"})
			two := d.identity(tokens[1], ca, KeyOptions{Label: "two"})
			server := ca.serverConfig(t, tls.VersionTLS13)
			var wg sync.WaitGroup
			for _, id := range []*Identity{one, two} {
				for range 5 {
					wg.Go(func() {
						if _, err := handshake(server, ca.clientConfig(id.ClientCertificate)); err != nil {
							t.Error(err)
						}
					})
				}
			}
			wg.Wait()
		})
	}
	// One leaves, and does not log the other out.
	a, b := d.openToken(TokenOptions{Label: "device"}), d.openToken(TokenOptions{Label: "device"})
	mustKey(t, a, KeyOptions{Label: "one"})
	k := mustKey(t, b, KeyOptions{Label: "one"})
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	before := d.api.logins.Load()
	if err := signs(t, k); err != nil {
		t.Error(err)
	}
	if d.api.logins.Load() != before {
		t.Error("the other was logged out")
	}
}

func TestDevice_manyHandshakes(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.generate("device", "EC:secp256r1", "mqtt", "a1")
	ca := newAuthority(t)
	const limit = 5
	tok := d.openToken(TokenOptions{Label: "device", MaxSessions: limit})
	id := d.identity(tok, ca, KeyOptions{Label: "mqtt"})
	servers := []*tls.Config{ca.serverConfig(t, tls.VersionTLS12), ca.serverConfig(t, tls.VersionTLS13)}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := handshake(servers[i%2], ca.clientConfig(id.ClientCertificate)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := d.api.sessions.Load(); got > limit {
		t.Errorf("%d sessions are open, the limit is %d", got, limit)
	}
	if got := d.api.logins.Load(); got != 1 {
		t.Errorf("%d logins", got)
	}
	if err := tok.Close(); err != nil {
		t.Error(err)
	}
	if got := d.api.sessions.Load(); got != 0 {
		t.Errorf("%d sessions are open after Close", got)
	}
}

func TestDevice_recovery(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.generate("device", "EC:secp384r1", "mqtt", "a1")
	ca := newAuthority(t)
	tok := d.openToken(TokenOptions{Label: "device", MaxSessions: 3})
	id := d.identity(tok, ca, KeyOptions{Label: "mqtt"})
	server := ca.serverConfig(t, tls.VersionTLS13)
	raw := d.raw()
	for name, disturb := range map[string]func(*testing.T){
		"close all sessions": func(t *testing.T) {
			slots, err := raw.GetSlotList(true)
			if err != nil {
				t.Fatal(err)
			}
			for _, slot := range slots {
				if err := raw.CloseAllSessions(slot); err != nil {
					t.Fatal(err)
				}
			}
			d.api.sessions.Store(0)
		},
		"log out": func(t *testing.T) {
			slots, err := raw.GetSlotList(true)
			if err != nil {
				t.Fatal(err)
			}
			s, err := raw.OpenSession(slots[0], binding.CKF_SERIAL_SESSION)
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Logout(s); err != nil {
				t.Fatal(err)
			}
			if err := raw.CloseSession(s); err != nil {
				t.Fatal(err)
			}
		},
		"finalise": func(t *testing.T) {
			if err := raw.Finalize(); err != nil {
				t.Fatal(err)
			}
			d.api.sessions.Store(0)
		},
		"finalise and initialise": func(t *testing.T) {
			if err := raw.Finalize(); err != nil {
				t.Fatal(err)
			}
			if err := raw.Initialize(); err != nil {
				t.Fatal(err)
			}
			d.api.sessions.Store(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				disturb(t)
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						if _, err := handshake(server, ca.clientConfig(id.ClientCertificate)); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				disturb(t)
				if _, err := tok.Key(context.Background(), KeyOptions{Label: "mqtt"}); err != nil {
					t.Error(err)
				}
			}
			if got := d.api.sessions.Load(); got > 3 {
				t.Errorf("%d sessions are open", got)
			}
		})
	}
}

func TestDevice_certificateOnToken(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.generate("device", "EC:secp521r1", "mqtt", "a1")
	ca := newAuthority(t)
	middle := ca.intermediate(t)
	tok := d.openToken(TokenOptions{Label: "device"})
	id, err := tok.Identity(KeyOptions{Label: "mqtt"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Certificate(context.Background()); !errors.Is(err, ErrCertificateNotFound) {
		t.Fatalf("got %v", err)
	}
	d.certificate("device", middle.client(t, "from the token", mustKey(t, tok, KeyOptions{Label: "mqtt"}).Public()), "device certificate", "a1")
	d.certificate("device", middle.cert, "CA", "b1")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cert, err := handshake(ca.serverConfig(t, version), ca.clientConfig(id.ClientCertificate))
		if err != nil {
			t.Fatal(err)
		}
		if got := cert.Subject.CommonName; got != "from the token" {
			t.Errorf("the server saw %q", got)
		}
	}
}

// SoftHSM has raw RSA, so what a token without PSS would be given can be
// checked against it.
func TestDevice_rawRSA(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.generate("device", "rsa:2048", "mqtt", "a1")
	k := mustKey(t, d.openToken(TokenOptions{Label: "device"}), KeyOptions{Label: "mqtt"})
	if want := (abilities{pkcs1: true, pss: true, raw: true, ecdsa: true}); k.can != want {
		t.Fatalf("got %+v", k.can)
	}
	k.can = abilities{raw: true}
	public := k.Public().(*rsa.PublicKey)
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		digest := digestOf(hash)
		sig, err := k.Sign(rand.Reader, digest, &rsa.PSSOptions{Hash: hash, SaltLength: rsa.PSSSaltLengthEqualsHash})
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPSS(public, hash, digest, sig, nil); err != nil {
			t.Error(err)
		}
		sig, err = k.Sign(rand.Reader, digest, hash)
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPKCS1v15(public, hash, digest, sig); err != nil {
			t.Error(err)
		}
	}
}

func TestDevice_alwaysAuthenticate(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	d.generate("device", "EC:secp256r1", "mqtt", "a1", "--always-auth")
	tok := d.openToken(TokenOptions{Label: "device"})
	k := mustKey(t, tok, KeyOptions{Label: "mqtt"})
	if !k.authenticate {
		t.Fatal("the key does not ask for the PIN at every signature")
	}
	for range 3 {
		if err := signs(t, k); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.api.logins.Load(); got != 4 {
		t.Errorf("%d logins for 3 signatures", got)
	}
}

func TestDevice_behaviors(t *testing.T) {
	d := newDevice(t)
	d.token("device")
	raw := d.raw()
	if _, err := Open(d.path, InitOmit); !errors.Is(err, ErrNotInitialized) {
		t.Errorf("got %v", err)
	}
	if err := raw.Initialize(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d.path, InitStrict); !errors.Is(err, ErrAlreadyInitialized) {
		t.Errorf("got %v", err)
	}
	if err := d.open(InitOmit).Close(); err != nil {
		t.Error(err)
	}
	if _, err := raw.GetInfo(); err != nil {
		t.Errorf("the program's initialisation is gone: %v", err)
	}
	if err := raw.Finalize(); err != nil {
		t.Fatal(err)
	}
	strict := d.open(InitStrict)
	if tokens, err := strict.Tokens(); err != nil || len(tokens) == 0 || tokens[0].Label != "device" {
		t.Errorf("got %v, %v", tokens, err)
	}
	if err := strict.Close(); err != nil {
		t.Error(err)
	}
	if _, err := raw.GetInfo(); !errors.Is(err, binding.Error(binding.CKR_CRYPTOKI_NOT_INITIALIZED)) {
		t.Errorf("the library was not finalised: %v", err)
	}
}

func TestDevice_URI(t *testing.T) {
	d := newDevice(t)
	d.token("my device")
	d.generate("my device", "EC:secp256r1", "mqtt", "a1")
	o, err := ParseURI("pkcs11:token=my%20device;object=mqtt;id=%a1;type=private?module-path=" + d.path + "&pin-value=" + testPIN)
	if err != nil {
		t.Fatal(err)
	}
	lib := d.open(InitDefault)
	tok, err := lib.Token(o.Token)
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	o.Key.CertificatePEM = toPEM(ca.client(t, "by URI", mustKey(t, tok, o.Key).Public()))
	if err := tok.Close(); err != nil {
		t.Error(err)
	}
	id, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = id.Close() }()
	if _, err := handshake(ca.serverConfig(t, tls.VersionTLS13), ca.clientConfig(id.ClientCertificate)); err != nil {
		t.Error(err)
	}
}
