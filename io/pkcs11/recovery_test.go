// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// signs makes a signature and checks it.
func signs(t testing.TB, k *Key) error {
	digest := digestOf(crypto.SHA256)
	sig, err := k.Sign(rand.Reader, digest, crypto.SHA256)
	if err == nil && !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest, sig) {
		t.Error("the signature is wrong")
	}
	return err
}

func TestRecovery_codes(t *testing.T) {
	for _, c := range []ReturnCode{
		rvSessionHandleInvalid, rvSessionClosed, rvUserNotLoggedIn, rvDeviceRemoved, rvDeviceError, rvTokenNotPresent,
		rvTokenNotRecognized, rvSlotIDInvalid, rvKeyHandleInvalid, rvObjectHandleInvalid, rvOperationActive,
		rvOperationNotInitialized, rvCryptokiNotInitialized, rvGeneralError, rvFunctionFailed,
	} {
		t.Run(c.String(), func(t *testing.T) {
			f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
			k := mustKey(t, f.token(t, TokenOptions{}), KeyOptions{})
			failures := 2
			f.edit(func() {
				f.onSign = func() error {
					if failures > 0 {
						failures--
						return c
					}
					return nil
				}
			})
			if err := signs(t, k); err != nil {
				t.Error(err)
			}
			// It does not try for ever.
			f.edit(func() { failures = 1000 })
			err := signs(t, k)
			var got ReturnCode
			if !errors.As(err, &got) || got != c {
				t.Errorf("got %v, want %v", err, c)
			}
			f.edit(func() {
				if tried := 1000 - failures; tried != mostRecoveries+1 {
					t.Errorf("tried %d times", tried)
				}
				failures = 0
			})
			if err := signs(t, k); err != nil {
				t.Errorf("later: %v", err)
			}
		})
	}
}

func TestRecovery_situations(t *testing.T) {
	for name, disturb := range map[string]func(f *fake, token *fakeToken){
		"sessions closed":     func(f *fake, token *fakeToken) { f.dropSessions(token) },
		"logged out":          func(f *fake, token *fakeToken) { f.edit(token.logout) },
		"library finalised":   func(f *fake, _ *fakeToken) { f.finalizeBehind() },
		"token in other slot": func(f *fake, token *fakeToken) { f.dropSessions(token); f.edit(func() { token.info.SlotID = 7 }) },
		"library finalised and initialised": func(f *fake, _ *fakeToken) {
			f.finalizeBehind()
			_ = f.Initialize(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
			other := newFakeToken(2, "b")
			f := newFake(token, other)
			tok := f.token(t, TokenOptions{Label: "a", MaxSessions: 4})
			k := mustKey(t, tok, KeyOptions{})
			ca := newAuthority(t)
			id, err := tok.Identity(KeyOptions{CertificatePEM: toPEM(ca.client(t, "d", k.Public()))})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				var wg sync.WaitGroup
				for range 20 {
					wg.Go(func() {
						if err := signs(t, k); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				disturb(f, token)
				if err := signs(t, k); err != nil {
					t.Error(err)
				}
				disturb(f, token)
				if _, err := id.Certificate(context.Background()); err != nil {
					t.Error(err)
				}
				disturb(f, token)
				if _, err := tok.Key(context.Background(), KeyOptions{Label: "k"}); err != nil {
					t.Errorf("find: %v", err)
				}
			}
		})
	}
}

func TestRecovery_tokenAway(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	f := newFake(token)
	k := mustKey(t, f.token(t, TokenOptions{Label: "a"}), KeyOptions{})
	f.edit(func() { f.tokens = nil })
	err := signs(t, k)
	if !errors.Is(err, ErrTokenNotFound) || !strings.Contains(err.Error(), `label "a"`) || !strings.Contains(err.Error(), "lists no token") {
		t.Fatalf("got %v", err)
	}
	f.edit(func() { f.tokens = []*fakeToken{token}; token.info.SlotID = 9; token.logout() })
	if err := signs(t, k); err != nil {
		t.Fatal(err)
	}
	f.edit(func() { clear(f.sessions) })
}

// Of two clients of one library each finds out alone that the library was
// finalised, while the other's new sessions have the numbers of its own old
// ones.
func TestRecovery_handlesOfOthers(t *testing.T) {
	a := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	b := newFakeToken(2, "b", fakeKey("k", 1, ecKey(t, elliptic.P384()))...)
	f := newFake(a, b)
	lib := f.library(t, InitDefault)
	var keys []*Key
	for _, label := range []string{"a", "b"} {
		tok, err := lib.Token(TokenOptions{Label: label, PIN: fakePIN})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tok.Close() }()
		keys = append(keys, mustKey(t, tok, KeyOptions{}))
	}
	for range 10 {
		f.finalizeBehind()
		var wg sync.WaitGroup
		for _, k := range keys {
			for range 5 {
				wg.Go(func() {
					if err := signs(t, k); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		slices.Reverse(keys)
	}
}

// The first session after a reset has the number of a session from before it,
// which belongs to another client of the library. That one neither uses nor
// closes it.
func TestRecovery_numberOfOldSession(t *testing.T) {
	f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...),
		newFakeToken(2, "b", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
	a, b := twoTokens(t, f, TokenOptions{})
	f.finalizeBehind()
	if err := signs(t, b); err != nil {
		t.Fatal(err)
	}
	closed, looked := f.count("CloseSession"), f.count("SignInit")
	if err := signs(t, a); err != nil {
		t.Fatal(err)
	}
	if got := f.count("CloseSession") - closed; got != 0 || f.openSessions() != 2 {
		t.Errorf("it closed %d sessions of others, %d are open", got, f.openSessions())
	}
	if got := f.count("SignInit") - looked; got != 1 {
		t.Errorf("%d attempts to sign, one of them with a session of another", got)
	}
}

func TestRecovery_omit(t *testing.T) {
	f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
	_ = f.Initialize(0)
	tok, err := f.library(t, InitOmit).Token(TokenOptions{PIN: fakePIN})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tok.Close() }()
	k := mustKey(t, tok, KeyOptions{})
	f.finalizeBehind()
	for range 2 {
		if err := signs(t, k); !errors.Is(err, ErrNotInitialized) || !strings.Contains(err.Error(), "InitOmit") {
			t.Fatalf("got %v", err)
		}
	}
	_ = f.Initialize(0)
	if err := signs(t, k); err != nil {
		t.Error(err)
	}
	if got := f.count("Initialize"); got != 2 {
		t.Errorf("initialised %d times, 2 of them by the test", got)
	}
}

func TestRecovery_keyReplaced(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	f := newFake(token)
	tok := f.token(t, TokenOptions{})
	ca := newAuthority(t)
	issueOnto := func(key crypto.Signer) []*fakeObject {
		return append(fakeKey("k", 1, key), fakeCertificate("c", ca.client(t, "d", key.Public())))
	}
	f.edit(func() { token.objects = issueOnto(ecKey(t, elliptic.P256())) })
	id, err := tok.Identity(KeyOptions{Label: "k"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := id.Certificate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	next := ecKey(t, elliptic.P256())
	f.edit(func() { token.objects = issueOnto(next); token.logout() })
	// A handshake that has the old certificate must not go on with the new key.
	if err := signs(t, first.PrivateKey.(*Key)); !errors.Is(err, ErrKeyNotFound) || !strings.Contains(err.Error(), "taken its place") {
		t.Errorf("got %v", err)
	}
	second, err := id.Certificate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if !next.PublicKey.Equal(second.Leaf.PublicKey) {
		t.Error("still the old certificate")
	}
	if err := signs(t, second.PrivateKey.(*Key)); err != nil {
		t.Error(err)
	}
}
