// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

// forRemotes runs a test for each provider that asks a server, in a bubble
// with a virtual clock.
func forRemotes(t *testing.T, test func(t *testing.T, w *world, p *credentials.Provider, h counter)) {
	for _, r := range remotes {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p, h := r.build(t, w)
				defer settle(w)
				test(t, w, p, h)
			})
		})
	}
}

// settle ends the servers and waits for all goroutines of the bubble, so that a
// leak shows as a deadlock.
func settle(w *world) {
	w.net.Close()
	synctest.Wait()
}

func mustRetrieve(t *testing.T, p aws.CredentialsProvider) aws.Credentials {
	t.Helper()
	c, err := p.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRemote_cachesUntilFiveMinutesBeforeExpiry(t *testing.T) {
	forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
		begin := time.Now()
		ignore := cmpopts.IgnoreFields(aws.Credentials{}, "Source", "AccountID")
		for _, step := range []struct {
			at time.Duration
			n  int
		}{{0, 1}, {30 * time.Minute, 1}, {54*time.Minute + 50*time.Second, 1}, {55*time.Minute + time.Second, 2}, {100 * time.Minute, 2}, {3 * time.Hour, 3}} {
			time.Sleep(time.Until(begin.Add(step.at)))
			got := mustRetrieve(t, p)
			want := authtest.Credentials(step.n, got.Expires)
			if diff := cmp.Diff(want, got, ignore); diff != "" {
				t.Errorf("at %v (-want +got):\n%s", step.at, diff)
			}
			if h.Issued() != step.n {
				t.Errorf("at %v: %d issued, want %d", step.at, h.Issued(), step.n)
			}
			if left := time.Until(got.Expires); left <= 0 || left > time.Hour {
				t.Errorf("at %v: credentials live for %v", step.at, left)
			}
		}
	})
}

func TestRemote_oneRequestForConcurrentCallers(t *testing.T) {
	forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if c, err := p.Retrieve(t.Context()); err != nil || c.AccessKeyID != "ASIAEXAMPLE00001" {
					t.Errorf("got %s, %v", c.AccessKeyID, err)
				}
			})
		}
		wg.Wait()
		if h.Issued() != 1 {
			t.Errorf("%d requests, want 1", h.Issued())
		}
	})
}

func TestRemote_refusalIsFinal(t *testing.T) {
	forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
		w.fail.Store(&authtest.Failure{Status: 403, Code: "AccessDenied", Message: "Access\r\n denied"})
		_, err := p.Retrieve(t.Context())
		var e *credentials.Error
		if !errors.As(err, &e) || e.StatusCode != 403 || e.Provider == "" {
			t.Fatalf("error %#v (%v)", e, err)
		}
		if strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("error %q spans lines", err)
		}
		if h.Calls() != 1 {
			t.Errorf("%d calls, want 1", h.Calls())
		}
	})
}

func TestRemote_serverErrorsAreRetried(t *testing.T) {
	forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
		w.fail.Store(&authtest.Failure{Status: 503, Code: "ServiceUnavailable"})
		_, err := p.Retrieve(t.Context())
		var e *credentials.Error
		if !errors.As(err, &e) || e.StatusCode != 503 {
			t.Fatalf("error %v", err)
		}
		if h.Calls() < 3 {
			t.Errorf("%d calls, want 3 or more", h.Calls())
		}
		w.fail.Store(&authtest.Failure{Status: 503, Code: "ServiceUnavailable"})
		go func() { // the first attempt fails, the second does not
			time.Sleep(time.Microsecond)
			w.fail.Store(nil)
		}()
		mustRetrieve(t, p)
	})
}

func TestRemote_faults(t *testing.T) {
	for _, c := range []struct {
		name    string
		failure authtest.Failure
	}{
		{"hangs", authtest.Failure{Hang: true}},
		{"drops", authtest.Failure{Drop: true}},
		{"malformed", authtest.Failure{Status: 200, Body: []byte(`{"SecretAccessKey":"secret/key`)}},
		{"not JSON", authtest.Failure{Status: 200, Body: []byte(`secret/key<html>`)}},
		{"wrong types", authtest.Failure{Status: 200, Body: []byte(`{"Credentials":"secret/key","credentials":"secret/key","roleCredentials":"secret/key","Expiration":"secret/key","expiration":"secret/key"}`)}},
		{"wrong time", authtest.Failure{Status: 200, Body: []byte(`{"credentials":{"expiration":"secret/key"}}`)}},
		{"empty object", authtest.Failure{Status: 200, Body: []byte(`{}`)}},
		{"null", authtest.Failure{Status: 200, Body: []byte(`null`)}},
		{"empty", authtest.Failure{Status: 200, Body: []byte{}}},
		{"empty XML", authtest.Failure{Status: 200, Body: []byte(`<AssumeRoleResponse><AssumeRoleResult></AssumeRoleResult></AssumeRoleResponse>`)}},
		{"XML without expiry", authtest.Failure{Status: 200, Body: []byte(`<R><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>secret/key</SecretAccessKey></Credentials></AssumeRoleResult></R>`)}},
		{"oversized", authtest.Failure{Status: 200, Body: append([]byte(`{"x":"`), bytes.Repeat([]byte("x"), 1<<20)...)}},
		{"oversized error", authtest.Failure{Status: 400, Body: bytes.Repeat([]byte("x"), 1<<20)}},
		{"redirect", authtest.Failure{Status: 302, Body: []byte{}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
				w.fail.Store(&c.failure)
				begin := time.Now()
				got, err := p.Retrieve(t.Context())
				var e *credentials.Error
				if !errors.As(err, &e) {
					t.Fatalf("got %v, error %v", got.AccessKeyID, err)
				}
				if d := time.Since(begin); d > time.Minute {
					t.Errorf("took %v", d)
				}
				if n := len(err.Error()); n > 4096 {
					t.Errorf("error of %d bytes", n)
				}
				for _, secret := range secrets {
					if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
						t.Errorf("error contains a secret: %v", err)
					}
				}
				if c.name == "oversized" && !errors.Is(err, credentials.ErrReplyTooLarge) && !strings.HasPrefix(e.Provider, "IMDS") {
					t.Errorf("error %v is not ErrReplyTooLarge", err)
				}
				// It heals.
				w.fail.Store(nil)
				mustRetrieve(t, p)
			})
		})
	}
}

func TestRemote_lastGoodWhileRefreshFails(t *testing.T) {
	forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
		first := mustRetrieve(t, p)
		w.fail.Store(&authtest.Failure{Status: 400, Code: "AccessDenied"})
		time.Sleep(56 * time.Minute)
		if got := mustRetrieve(t, p); got.AccessKeyID != first.AccessKeyID {
			t.Errorf("got %s, want the last good %s", got.AccessKeyID, first.AccessKeyID)
		}
		calls := h.Calls()
		mustRetrieve(t, p)
		if h.Calls() != calls {
			t.Error("the source is asked again at once after a failure")
		}
		time.Sleep(31 * time.Second)
		mustRetrieve(t, p)
		if h.Calls() == calls {
			t.Error("the source is not asked again")
		}
		time.Sleep(5 * time.Minute)
		if got, err := p.Retrieve(t.Context()); err == nil {
			t.Errorf("got %s after its expiry", got.AccessKeyID)
		}
		w.fail.Store(nil)
		if got := mustRetrieve(t, p); got.AccessKeyID == first.AccessKeyID {
			t.Error("got expired credentials")
		}
	})
}

func TestRemote_invalidate(t *testing.T) {
	forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
		mustRetrieve(t, p)
		p.Invalidate()
		if got := mustRetrieve(t, p); got.AccessKeyID != "ASIAEXAMPLE00002" {
			t.Errorf("got %s", got.AccessKeyID)
		}
	})
}

func TestRemote_obeysContext(t *testing.T) {
	forRemotes(t, func(t *testing.T, w *world, p *credentials.Provider, h counter) {
		w.fail.Store(&authtest.Failure{Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		_, err := p.Retrieve(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 100*time.Millisecond {
			t.Errorf("error %v after %v", err, time.Since(begin))
		}
		synctest.Wait() // the abandoned request has ended: nothing is left in the bubble
		w.fail.Store(nil)
		mustRetrieve(t, p)
	})
}

func TestRemote_expiredOnArrival(t *testing.T) {
	for _, r := range remotes {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer settle(w)
				w.opts.Lifetime = -time.Minute
				p, _ := r.build(t, w)
				_, err := p.Retrieve(t.Context())
				if !errors.Is(err, credentials.ErrExpired) || !strings.Contains(err.Error(), "clock") {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}
