// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// twoTokens are tokens of one library, each with one key that has been used.
func twoTokens(t *testing.T, f *fake, o TokenOptions) (a, b *Key) {
	t.Helper()
	lib := f.library(t, InitDefault)
	keys := map[string]*Key{}
	for _, label := range []string{"a", "b"} {
		o := o
		o.Label, o.PIN = label, fakePIN
		tok, err := lib.Token(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tok.Close() })
		keys[label] = mustKey(t, tok, KeyOptions{})
		if err := signs(t, keys[label]); err != nil {
			t.Fatal(err)
		}
	}
	return keys["a"], keys["b"]
}

func twoTokenFake(t *testing.T) *fake {
	return newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...),
		newFakeToken(2, "b", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
}

// signContext signs with a context that ends after a time.
func signContext(k *Key, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_, err := k.SignContext(ctx, rand.Reader, digestOf(crypto.SHA256), crypto.SHA256)
	return err
}

// wantPending checks an error of a call that has not returned.
func wantPending(t *testing.T, err, cause error) {
	t.Helper()
	var e *Error
	if !errors.Is(err, cause) || !errors.As(err, &e) || !strings.Contains(err.Error(), "a call into the library has not returned") ||
		!strings.Contains(e.Hint, "counts as in use until it returns") {
		t.Errorf("got %v", err)
	}
}

// A signature that never returns ends neither the patience of its caller nor
// another token.
func TestHang_sign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := twoTokenFake(t)
		a, b := twoTokens(t, f, TokenOptions{MaxSessions: 2})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })

		start := time.Now()
		wantPending(t, signContext(a, 3*time.Second), context.DeadlineExceeded)
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("the caller left after %v", got)
		}
		start = time.Now()
		wantPending(t, signs(t, a), ErrCallTimeout)
		if got := time.Since(start); got != DefaultCallTimeout {
			t.Errorf("without a context it left after %v", got)
		}
		if got, want := a.token.Stats(), (SessionStats{Open: 2, InUse: 2, Limit: 2}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		// Both sessions hang.
		start = time.Now()
		if err := signs(t, a); !errors.Is(err, ErrSessionTimeout) {
			t.Errorf("got %v", err)
		}
		if got := time.Since(start); got != DefaultSessionTimeout {
			t.Errorf("waited %v for a session", got)
		}

		f.edit(func() { f.blockSign = nil })
		start = time.Now()
		if err := signs(t, b); err != nil {
			t.Error(err)
		}
		if _, err := b.token.Key(context.Background(), KeyOptions{}); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("the other token took %v", got)
		}

		// When the calls return after all, their sessions are used again.
		close(block)
		synctest.Wait()
		opened := f.count("OpenSession")
		if err := signs(t, a); err != nil {
			t.Error(err)
		}
		if got, want := a.token.Stats(), (SessionStats{Open: 2, Limit: 2}); got != want || f.count("OpenSession") != opened {
			t.Errorf("got %+v, want %+v; %d sessions opened", got, want, f.count("OpenSession")-opened)
		}
	})
}

// While a call hangs, the library cannot be initialised again. That keeps the
// other token for a while, and not for ever.
func TestHang_whileFinalised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := twoTokenFake(t)
		a, b := twoTokens(t, f, TokenOptions{})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })
		first := make(chan error, 1)
		go func() { first <- signContext(a, time.Hour) }()
		synctest.Wait()
		f.edit(func() { f.blockSign = nil })
		f.finalizeBehind()
		for range 2 {
			start := time.Now()
			wantPending(t, signs(t, b), ErrSessionTimeout)
			if got := time.Since(start); got != DefaultSessionTimeout {
				t.Errorf("took %v", got)
			}
		}
		close(block)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := signs(t, b); err != nil {
			t.Error(err)
		}
	})
}

// A search for tokens that never returns.
func TestHang_slots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := twoTokenFake(t)
		a, b := twoTokens(t, f, TokenOptions{MaxSessions: 2})
		block := make(chan struct{})
		f.edit(func() { f.blockSlots = block })
		f.dropSessions(f.tokens[0])

		start := time.Now()
		if err := signContext(a, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		wantPending(t, signContext(a, time.Second), context.DeadlineExceeded)
		if got := time.Since(start); got != 2*time.Second {
			t.Errorf("took %v", got)
		}
		start = time.Now()
		if err := signs(t, a); !errors.Is(err, ErrSessionTimeout) {
			t.Errorf("got %v", err)
		}
		if got := time.Since(start); got != DefaultSessionTimeout {
			t.Errorf("took %v", got)
		}
		for range 3 {
			start = time.Now()
			if err := signs(t, b); err != nil {
				t.Error(err)
			}
			if got := time.Since(start); got != 0 {
				t.Errorf("the other token took %v", got)
			}
		}
		f.edit(func() { f.blockSlots = nil })
		close(block)
		synctest.Wait()
		if err := signs(t, a); err != nil {
			t.Error(err)
		}
		if got := a.token.Stats(); got.InUse != 0 || got.Waiting != 0 || got.Open == 0 {
			t.Errorf("got %+v", got)
		}
	})
}

// In a library that is called by one thread at a time everybody waits, each
// within its own limit.
func TestHang_withoutLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := twoTokenFake(t)
		f.onInitialize = func(flags uint) error {
			if flags&flagOSLocking != 0 {
				return rvCantLock
			}
			return nil
		}
		a, b := twoTokens(t, f, TokenOptions{CallTimeout: time.Minute})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })
		wantPending(t, signContext(a, time.Second), context.DeadlineExceeded)
		if err := signContext(b, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		synctest.Wait() // its session is given back
		start := time.Now()
		if err := signs(t, b); !errors.Is(err, ErrCallTimeout) {
			t.Errorf("got %v", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("took %v", got)
		}
		close(block)
		synctest.Wait()
		if err := errors.Join(signs(t, a), signs(t, b)); err != nil {
			t.Error(err)
		}
	})
}

// Close does not wait for a call that hangs, and the library is finalised after it.
func TestHang_close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := twoTokenFake(t)
		lib := f.library(t, InitStrict)
		tok, err := lib.Token(TokenOptions{Label: "a", PIN: fakePIN})
		if err != nil {
			t.Fatal(err)
		}
		k := mustKey(t, tok, KeyOptions{})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })
		wantPending(t, signContext(k, time.Second), context.DeadlineExceeded)
		start := time.Now()
		if err := errors.Join(tok.Close(), lib.Close()); err != nil {
			t.Error(err)
		}
		if got := time.Since(start); got != 0 || f.count("Finalize") != 0 {
			t.Errorf("took %v, finalised %d times", got, f.count("Finalize"))
		}
		close(block)
		synctest.Wait()
		if f.count("Finalize") != 1 || f.openSessions() != 0 {
			t.Errorf("finalised %d times, %d sessions open", f.count("Finalize"), f.openSessions())
		}
	})
}
