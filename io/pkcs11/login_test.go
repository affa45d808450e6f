// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestPIN_refusedOnce(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	f := newFake(token)
	lib := f.library(t, InitDefault)
	open := func(pin PIN) error {
		tok, err := lib.Token(TokenOptions{Label: "a", PIN: pin})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tok.Close() }()
		_, err = tok.Key(context.Background(), KeyOptions{})
		return err
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := open("0000")
			var c ReturnCode
			if !errors.Is(err, ErrPINRefused) || !errors.As(err, &c) || c != rvPINIncorrect {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if got := f.count("Login"); got != 1 {
		t.Fatalf("the wrong PIN was shown %d times", got)
	}
	if err := open("0000"); err == nil || !strings.Contains(err.Error(), "ForgetRefusedPINs") {
		t.Errorf("the error does not explain itself: %v", err)
	}
	if err := open(fakePIN); err != nil {
		t.Errorf("the right PIN: %v", err)
	}
	// The token now has the PIN that it refused.
	f.edit(func() { token.pin = "0000" })
	if err := open("0000"); !errors.Is(err, ErrPINRefused) {
		t.Errorf("got %v", err)
	}
	lib.ForgetRefusedPINs()
	if err := open("0000"); err != nil {
		t.Error(err)
	}
}

func TestPIN_locked(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	token.info.flags |= flagPINLocked
	f := newFake(token)
	_, err := f.token(t, TokenOptions{}).Key(context.Background(), KeyOptions{})
	if !errors.Is(err, ErrPINLocked) || !errors.Is(err, ErrPINRefused) || !strings.Contains(err.Error(), "security officer") {
		t.Errorf("got %v", err)
	}
	if f.count("Login") != 0 {
		t.Error("a PIN was shown to a locked token")
	}
	// Once it is unlocked, the PIN is tried.
	f.edit(func() { token.info.flags &^= flagPINLocked })
	f.edit(func() { f.onLogin = func(uint, string) error { return rvPINLocked } })
	tok := f.token(t, TokenOptions{})
	for range 3 {
		if _, err := tok.Key(context.Background(), KeyOptions{}); !errors.Is(err, ErrPINLocked) {
			t.Errorf("got %v", err)
		}
	}
	if f.count("Login") != 1 {
		t.Errorf("%d logins", f.count("Login"))
	}
}

// What is not clearly said not to be about the PIN might have been counted.
func TestPIN_unclearAnswer(t *testing.T) {
	for c, hint := range map[ReturnCode]string{
		rvFunctionFailed: "look into the log", rvGeneralError: "look into the log", rvDeviceError: "look into the log", rvVendorDefined + 5: "look into the log",
		rvFunctionCanceled: "nobody gave the PIN", rvUserPINNotInitialized: "has no user PIN yet", rvUserAnotherAlreadyLoggedIn: "log it out first",
	} {
		f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
		f.onLogin = func(uint, string) error { return c }
		_, err := f.token(t, TokenOptions{}).Key(context.Background(), KeyOptions{})
		if !hasCode(err, c) || !strings.Contains(err.Error(), hint) {
			t.Errorf("got %v, want %q", err, hint)
		}
		if got := f.count("Login"); got != 1 {
			t.Errorf("%v: %d logins in one attempt", c, got)
		}
	}
}

func TestPIN_protectedPath(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	f := newFake(token)
	tok, err := f.library(t, InitDefault).Token(TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tok.Close() }()
	if _, err := tok.Key(context.Background(), KeyOptions{}); !errors.Is(err, ErrPINMissing) {
		t.Errorf("got %v", err)
	}
	if f.count("Login") != 0 {
		t.Error("it tried to log in without a PIN")
	}
	f.edit(func() { token.info.flags |= flagProtectedPath })
	if err := signs(t, mustKey(t, tok, KeyOptions{})); err != nil {
		t.Error(err)
	}
}

func TestPIN_notNeeded(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	token.info.flags &^= flagLoginRequired
	f := newFake(token)
	if err := signs(t, mustKey(t, f.token(t, TokenOptions{}), KeyOptions{})); err != nil {
		t.Error(err)
	}
	if f.count("Login") != 0 {
		t.Error("it logged in where that is not wanted")
	}
}

func TestPIN_func(t *testing.T) {
	f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
	answer := errors.New("vault is sealed")
	tok := f.token(t, TokenOptions{PINFunc: func(context.Context) (PIN, error) {
		if answer != nil {
			return "", answer
		}
		return fakePIN, nil
	}})
	if _, err := tok.Key(context.Background(), KeyOptions{}); !errors.Is(err, answer) {
		t.Errorf("got %v", err)
	}
	answer = nil
	mustKey(t, tok, KeyOptions{})

	panicking := newFake(newFakeToken(1, "a")).token(t, TokenOptions{PINFunc: func(context.Context) (PIN, error) { panic("hunter2") }})
	_, err := panicking.Key(context.Background(), KeyOptions{})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// A PINFunc that does not return, or ends its goroutine, costs the callers
// their time and the token no session.
func TestPIN_funcDoesNotReturn(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for name, f := range map[string]func(context.Context) (PIN, error){
		"hangs":  func(context.Context) (PIN, error) { <-hang; return fakePIN, nil },
		"goexit": func(context.Context) (PIN, error) { runtime.Goexit(); return fakePIN, nil },
	} {
		var mended atomic.Bool
		fake := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
		tok := fake.token(t, TokenOptions{MaxSessions: 2, SessionTimeout: 10 * time.Millisecond, PINFunc: func(ctx context.Context) (PIN, error) {
			if mended.Load() {
				return fakePIN, nil
			}
			return f(ctx)
		}})
		for range 5 {
			if _, err := tok.Key(context.Background(), KeyOptions{}); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		mended.Store(true)
		for { // until the attempts that were given up have returned
			if _, err := tok.Key(context.Background(), KeyOptions{}); err == nil {
				break
			} else if !errors.Is(err, ErrSessionTimeout) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for tok.Stats().InUse > 0 {
			runtime.Gosched()
		}
	}
}

// secretPIN is one that would be noticed anywhere.
const secretPIN = "918273645-sesame"

func TestPIN_neverShown(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
	token.info.flags |= flagPINFinalTry
	f := newFake(token)
	lib := f.library(t, InitDefault)
	options := Options{Library: lib, Token: TokenOptions{Label: "a", PIN: secretPIN, Logger: zap.New(core)}}
	var texts []string
	show := func(values ...any) {
		for _, v := range values {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				texts = append(texts, fmt.Sprintf(verb, v))
			}
			if b, err := json.Marshal(v); err == nil {
				texts = append(texts, string(b))
			}
		}
	}
	id, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = id.Close() }()
	for range 2 {
		_, err = id.Certificate(context.Background())
		if !errors.Is(err, ErrPINRefused) {
			t.Fatalf("got %v", err)
		}
		show(err)
	}
	f.edit(func() { token.pin = secretPIN })
	lib.ForgetRefusedPINs()
	k := mustKey(t, id.token, KeyOptions{})
	f.dropSessions(token)
	if err := signs(t, k); err != nil {
		t.Fatal(err)
	}
	show(options, &options, options.Token, options.Token.PIN, id, id.token, lib, k)
	_, err = ParseURI("pkcs11:token=a?pin-value=" + secretPIN + "&pin-value=" + secretPIN)
	show(err)
	_, err = ParseURI("pkcs11:token=a?pin-value=x&" + secretPIN)
	show(err)
	_, err = ParseURI("pkcs11:token=a?pin-value=%zz" + secretPIN)
	show(err)
	_, err = lib.Token(TokenOptions{PIN: secretPIN + "\x00"})
	show(err)
	for _, e := range logs.All() {
		texts = append(texts, fmt.Sprint(e.Entry, e.Context, e.ContextMap()))
	}
	if logs.Len() == 0 {
		t.Error("nothing was logged")
	}
	for _, s := range texts {
		if strings.Contains(s, "sesame") || strings.Contains(s, fmt.Sprintf("%x", "sesame")) {
			t.Errorf("the PIN is in %s", s)
		}
	}
}
