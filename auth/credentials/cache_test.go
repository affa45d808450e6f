// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

// clock is a virtual clock.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// counting is a source whose n-th credentials are authtest's.
func counting(n *int, c *clock, life time.Duration) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		*n++
		creds := authtest.Credentials(*n, c.now().Add(life))
		creds.CanExpire = life > 0
		return creds, nil
	})
}

func TestCached_refreshTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		life         time.Duration
		options      credentials.CacheOptions
		keeps, until time.Duration // no refresh at keeps, one at until
	}{
		{"defaults, with jitter", time.Hour, credentials.CacheOptions{}, 54*time.Minute - time.Second, 55*time.Minute + time.Second},
		{"no jitter", time.Hour, credentials.CacheOptions{Jitter: -1}, 55*time.Minute - time.Second, 55 * time.Minute},
		{"window", time.Hour, credentials.CacheOptions{Jitter: -1, RefreshBefore: time.Minute}, 59*time.Minute - time.Second, 59 * time.Minute},
		{"short life", 4 * time.Minute, credentials.CacheOptions{}, 2*time.Minute - time.Second, 2 * time.Minute},
		{"no expiry", 0, credentials.CacheOptions{}, 15*time.Minute - time.Second, 15 * time.Minute},
		{"no expiry, own age", 0, credentials.CacheOptions{MaxAge: time.Hour}, time.Hour - time.Second, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for range 20 { // jitter is random
				var n int
				var vc clock
				c.options.Now = vc.now
				p := must(t)(credentials.NewCached(counting(&n, &vc, c.life), c.options))
				mustRetrieve(t, p)
				vc.advance(c.keeps)
				mustRetrieve(t, p)
				if n != 1 {
					t.Fatalf("renewed before %v", c.keeps)
				}
				vc.advance(c.until - c.keeps)
				mustRetrieve(t, p)
				if n != 2 {
					t.Fatalf("not renewed at %v", c.until)
				}
			}
		})
	}
}

func TestCached_callerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var started, canceled atomic.Int32
		p := must(t)(credentials.NewCached(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			started.Add(1)
			select {
			case <-release:
				return authtest.Credentials(1, time.Now().Add(time.Hour)), nil
			case <-ctx.Done():
				canceled.Add(1)
				return aws.Credentials{}, ctx.Err()
			}
		}), credentials.CacheOptions{}))

		boom := errors.New("boom")
		first, leave := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.Retrieve(first); !errors.Is(err, boom) {
				t.Errorf("first caller: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if _, err := p.Retrieve(t.Context()); err != nil {
				t.Errorf("second caller: %v", err)
			}
		})
		synctest.Wait()
		leave(boom) // the second still waits: the request goes on
		synctest.Wait()
		close(release)
		wg.Wait()
		if started.Load() != 1 || canceled.Load() != 0 {
			t.Errorf("%d started, %d canceled", started.Load(), canceled.Load())
		}

		release = make(chan struct{})
		p.Invalidate()
		alone, leave2 := context.WithCancel(t.Context())
		wg.Go(func() { _, _ = p.Retrieve(alone) })
		synctest.Wait()
		leave2()
		wg.Wait()
		synctest.Wait()
		if canceled.Load() != 1 {
			t.Error("a request that nobody waits for is not canceled")
		}
		if _, err := p.Retrieve(alone); !errors.Is(err, context.Canceled) {
			t.Errorf("ended context: %v", err)
		}
	})
}

func TestCached_invalidateDuringRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		release := make(chan struct{})
		p := must(t)(credentials.NewCached(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			i := n.Add(1)
			if i == 1 {
				<-release
			}
			return authtest.Credentials(int(i), time.Now().Add(time.Hour)), nil
		}), credentials.CacheOptions{}))
		done := make(chan aws.Credentials, 1)
		go func() {
			c, _ := p.Retrieve(t.Context())
			done <- c
		}()
		synctest.Wait()
		p.Invalidate()
		if c := mustRetrieve(t, p); c.AccessKeyID != "ASIAEXAMPLE00002" {
			t.Errorf("got %s", c.AccessKeyID)
		}
		close(release)
		if c := <-done; c.AccessKeyID != "ASIAEXAMPLE00001" {
			t.Errorf("the waiting caller got %s", c.AccessKeyID)
		}
		if c := mustRetrieve(t, p); c.AccessKeyID != "ASIAEXAMPLE00002" {
			t.Errorf("the old request overwrote the new credentials: %s", c.AccessKeyID)
		}
	})
}

func TestCached_panic(t *testing.T) {
	t.Parallel()
	p := must(t)(credentials.NewCached(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		panic("SECRET-PANIC")
	}), credentials.CacheOptions{}))
	_, err := p.Retrieve(t.Context())
	wantError(t, err, nil, "panic")
	if strings.Contains(err.Error(), "SECRET") {
		t.Errorf("error %v", err)
	}
}

// A source that ends its goroutine, as a test that fails in it does, fails: its
// callers do not wait for ever, nor do those who come later.
func TestCached_goexit(t *testing.T) {
	t.Parallel()
	calls := 0
	p := must(t)(credentials.NewCached(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		if calls++; calls <= 2 {
			runtime.Goexit()
		}
		return authtest.Credentials(calls, time.Now().Add(time.Hour)), nil
	}), credentials.CacheOptions{}))
	for range 2 {
		_, err := p.Retrieve(t.Context())
		wantError(t, err, nil, "ended its goroutine")
	}
	mustRetrieve(t, p)
}

// A program that does not look at the error of a constructor has a provider that
// is nil, and learns that wherever it gives it.
func TestProvider_nil(t *testing.T) {
	t.Parallel()
	var p *credentials.Provider
	_, err := p.Retrieve(t.Context())
	wantError(t, err, nil, "the provider is nil")
	_, err = p.Credentials(t.Context())
	wantError(t, err, nil, "the provider is nil")
	p.Invalidate()
	if p.IsCredentialsProvider(aws.AnonymousCredentials{}) {
		t.Error("nil is anonymous")
	}
	for name, make := range map[string]func() (*credentials.Provider, error){
		"chain":    func() (*credentials.Provider, error) { return credentials.NewChain(static(t), p) },
		"cache":    func() (*credentials.Provider, error) { return credentials.NewCached(p, credentials.CacheOptions{}) },
		"provider": func() (*credentials.Provider, error) { return credentials.FromProvider(p) },
		"config":   func() (*credentials.Provider, error) { return credentials.FromConfig(aws.Config{Credentials: p}) },
		"role": func() (*credentials.Provider, error) {
			return credentials.NewAssumeRole(credentials.AssumeRoleOptions{RoleARN: role, Source: p})
		},
	} {
		if got, err := make(); got != nil || err == nil || !strings.Contains(err.Error(), "nil") && !strings.Contains(err.Error(), "not set") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// The log says of which part of the program it is.
func TestCached_logger(t *testing.T) {
	t.Parallel()
	core, log := observer.New(zap.DebugLevel)
	n, vc := 0, clock{}
	p := must(t)(credentials.NewCached(counting(&n, &vc, time.Hour), credentials.CacheOptions{Now: vc.now, Logger: zap.New(core)}))
	mustRetrieve(t, p)
	if got := log.All(); len(got) != 1 || got[0].LoggerName != "credentials" || got[0].Message != "credentials obtained" {
		t.Errorf("log %v", got)
	}
}

func TestCached_validates(t *testing.T) {
	t.Parallel()
	_, err := credentials.NewCached(nil, credentials.CacheOptions{})
	wantError(t, err, nil)
	_, err = credentials.NewCached(static(t), credentials.CacheOptions{RefreshBefore: -1, MaxAge: -1, RetryAfter: -1})
	wantError(t, err, nil, "RefreshBefore", "MaxAge", "RetryAfter")
}

func TestChain(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	var asked []string
	link := func(name string, err error) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			asked = append(asked, name)
			return aws.Credentials{AccessKeyID: name, SecretAccessKey: "s"}, err
		})
	}
	empty := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil })
	p := must(t)(credentials.NewChain(link("a", boom), empty, link("b", nil), link("c", nil)))
	if c := mustRetrieve(t, p); c.AccessKeyID != "b" || strings.Join(asked, "") != "ab" {
		t.Errorf("got %s, asked %v", c.AccessKeyID, asked)
	}
	p = must(t)(credentials.NewChain(link("a", boom), empty))
	_, err := p.Retrieve(t.Context())
	wantError(t, err, credentials.ErrNoCredentials, "boom", "empty access key")
	wantError(t, err, boom)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	asked = nil
	p = must(t)(credentials.NewChain(link("a", context.Canceled), link("b", nil)))
	if _, err := p.Retrieve(ctx); !errors.Is(err, context.Canceled) || len(asked) != 1 {
		t.Errorf("error %v, asked %v", err, asked)
	}
	_, err = credentials.NewChain()
	wantError(t, err, nil)
	_, err = credentials.NewChain(nil)
	wantError(t, err, nil)
}

func TestAnonymousAndForeign(t *testing.T) {
	t.Parallel()
	for _, p := range []*credentials.Provider{
		credentials.NewAnonymous(),
		must(t)(credentials.NewCached(credentials.NewAnonymous(), credentials.CacheOptions{})),
		must(t)(credentials.NewCached(aws.AnonymousCredentials{}, credentials.CacheOptions{})),
		must(t)(credentials.FromConfig(aws.Config{Credentials: aws.AnonymousCredentials{}})),
	} {
		if !aws.IsCredentialsProvider(p, aws.AnonymousCredentials{}) {
			t.Errorf("%v is not anonymous", p)
		}
		if c := mustRetrieve(t, p); c.HasKeys() {
			t.Errorf("%v has keys", p)
		}
	}
	if aws.IsCredentialsProvider(static(t), aws.AnonymousCredentials{}) {
		t.Error("static is anonymous")
	}
	_, err := credentials.FromConfig(aws.Config{})
	wantError(t, err, nil, "not set")
	_, err = credentials.NewDelegate(nil)
	wantError(t, err, nil)
	_, err = credentials.NewStatic(credentials.StaticOptions{AccessKeyID: "A"})
	wantError(t, err, nil, "required")
	d := must(t)(credentials.NewDelegate(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "A", SecretAccessKey: "s"}, nil
	}))
	if c := mustRetrieve(t, d); c.AccessKeyID != "A" {
		t.Errorf("got %s", c.AccessKeyID)
	}
}
