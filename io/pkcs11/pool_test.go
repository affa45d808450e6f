// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto/elliptic"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPool_limit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
		tok := f.token(t, TokenOptions{MaxSessions: 3})
		k := mustKey(t, tok, KeyOptions{})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := signs(t, k); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if got, want := tok.Stats(), (SessionStats{Open: 3, InUse: 3, Waiting: 7, Limit: 3}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		close(block)
		wg.Wait()
		if got, want := tok.Stats(), (SessionStats{Open: 3, Limit: 3}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestPool_timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
		tok := f.token(t, TokenOptions{MaxSessions: 1, SessionTimeout: 5 * time.Second})
		k := mustKey(t, tok, KeyOptions{})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })
		first := make(chan error)
		go func() { first <- signs(t, k) }()
		synctest.Wait()
		start := time.Now()
		err := signs(t, k)
		if !errors.Is(err, ErrSessionTimeout) || !strings.Contains(err.Error(), "MaxSessions") {
			t.Errorf("got %v", err)
		}
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("waited %v", got)
		}
		// The caller's context ends the wait too.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := tok.Key(ctx, KeyOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(block)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := signs(t, k); err != nil {
			t.Error(err)
		}
	})
}

// The token has fewer sessions than the limit.
func TestPool_tokenHasFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...)
		token.maxSessions = 2
		f := newFake(token)
		tok := f.token(t, TokenOptions{MaxSessions: 10, SessionTimeout: time.Hour})
		k := mustKey(t, tok, KeyOptions{})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := signs(t, k); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if got := tok.Stats(); got.Open != 2 || got.InUse != 2 || got.Waiting != 18 {
			t.Errorf("got %+v", got)
		}
		if got := f.count("OpenSession"); got > 40 {
			t.Errorf("%d attempts to open a session", got)
		}
		close(block)
		wg.Wait()

		// Another program takes all of them.
		f.edit(func() { token.maxSessions, f.blockSign = 2, nil })
		f.dropSessions(token)
		a, _ := f.OpenSession(1)
		b, _ := f.OpenSession(1)
		for range 5 {
			wg.Go(func() {
				if err := signs(t, k); !hasCode(err, rvSessionCount) || !strings.Contains(err.Error(), "other programs") {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		_ = f.CloseSession(a)
		_ = f.CloseSession(b)
		if err := signs(t, k); err != nil {
			t.Error(err)
		}
	})
}

func TestPool_close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
		lib := f.library(t, InitStrict)
		tok, err := lib.Token(TokenOptions{PIN: fakePIN, MaxSessions: 1, SessionTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		k := mustKey(t, tok, KeyOptions{})
		block := make(chan struct{})
		f.edit(func() { f.blockSign = block })
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- signs(t, k) }()
		synctest.Wait()
		go func() { second <- signs(t, k) }()
		synctest.Wait()
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
		if err := lib.Close(); err != nil {
			t.Error(err)
		}
		if err := <-second; !errors.Is(err, ErrClosed) {
			t.Errorf("the waiting one got %v", err)
		}
		if f.count("Finalize") != 0 {
			t.Error("the library was finalised while a signature was being made")
		}
		close(block)
		if err := <-first; err != nil {
			t.Errorf("the running one got %v", err)
		}
		synctest.Wait()
		if f.count("Finalize") != 1 || f.openSessions() != 0 {
			t.Errorf("finalised %d times, %d sessions left", f.count("Finalize"), f.openSessions())
		}
		if err := signs(t, k); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if _, err := lib.Token(TokenOptions{}); !errors.Is(err, ErrClosed) {
			t.Errorf("token of a closed library: %v", err)
		}
		if _, err := lib.Tokens(); !errors.Is(err, ErrClosed) {
			t.Errorf("tokens of a closed library: %v", err)
		}
		if err := errors.Join(tok.Close(), lib.Close()); err != nil {
			t.Error(err)
		}
	})
}

// Whoever gives up in the moment of being served passes it on.
func TestPool_cancelRaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(newFakeToken(1, "a", fakeKey("k", 1, ecKey(t, elliptic.P256()))...))
		tok := f.token(t, TokenOptions{MaxSessions: 2})
		var wg sync.WaitGroup
		for i := range 400 {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				if i%2 == 0 {
					go cancel()
				}
				defer cancel()
				s, err := tok.pool.acquire(ctx)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				tok.pool.release(s, i%5 != 0)
			})
		}
		wg.Wait()
		synctest.Wait() // sessions that were being opened
		if s := tok.Stats(); s.InUse != 0 || s.Waiting != 0 || s.Open > 2 {
			t.Errorf("got %+v", s)
		}
	})
}

// barePool is a pool whose sessions are numbers.
func barePool(limit int) (p *pool, shut *[]uint) {
	p, shut = &pool{}, &[]uint{}
	opened := uint(0)
	p.init(limit, func(_ context.Context, generation uint64) (session, error) {
		opened++
		return session{handle: opened, generation: generation}, nil
	}, func(s session) { *shut = append(*shut, s.handle) })
	return p, shut
}

// A session that was in use while everything was dropped is closed when it is
// given back, and not used again.
func TestPool_sessionFromBeforeReset(t *testing.T) {
	p, shut := barePool(1)
	s, err := p.acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p.reset(p.currentGeneration())
	p.release(s, true)
	if len(*shut) != 1 || (*shut)[0] != s.handle || p.stats() != (SessionStats{Limit: 1}) {
		t.Errorf("closed %v, %+v", *shut, p.stats())
	}
	again, err := p.acquire(context.Background())
	if err != nil || again.handle == s.handle || again.generation != p.currentGeneration() {
		t.Errorf("got %+v, %v", again, err)
	}
}

// A waiter whose context ends at the moment of its grant loses nothing: neither
// a session nor the right to open one.
func TestPool_grantAtContextEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, open := range []bool{false, true} {
			cancelled := 0
			for range 2000 {
				p, _ := barePool(1)
				s, _ := p.acquire(context.Background())
				ctx, cancel := context.WithCancel(context.Background())
				result := make(chan error, 1)
				go func() {
					got, err := p.acquire(ctx)
					if err == nil {
						p.release(got, true)
					}
					result <- err
				}()
				synctest.Wait() // it waits
				// The context ends while the grant is being given: whichever
				// the waiter sees first.
				p.mu.Lock()
				cancel()
				runtime.Gosched()
				g := grant{session: s, ok: true, generation: p.generation}
				if open { // as drop does for a session that is gone
					g = grant{generation: p.generation}
				}
				p.next() <- g
				p.mu.Unlock()
				if err := <-result; err != nil {
					cancelled++
				}
				synctest.Wait() // a session that is being opened is given back
				if st := p.stats(); st.InUse != 0 || st.Waiting != 0 || !open && st.Open != 1 {
					t.Fatalf("right to open %v: %+v", open, st)
				}
				if cancelled == 50 {
					break
				}
			}
			if cancelled == 0 {
				t.Error("the context never came first")
			}
		}
	})
}
