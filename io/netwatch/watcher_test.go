// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// fakeSource is a network that a test brings up.
type fakeSource struct{ up chan struct{} }

func (f fakeSource) wait() error {
	if _, ok := <-f.up; !ok {
		return net.ErrClosed
	}
	return nil
}

func (f fakeSource) close() error { close(f.up); return nil }

// The messages of one change are one call, after the jitter and not before.
func TestWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeSource{make(chan struct{})}
		w := start(s, Options{Jitter: 10 * time.Second})
		var calls, others atomic.Int32
		stop := w.OnUp(func() { calls.Add(1) })
		w.OnUp(func() { others.Add(1); panic("a function of the user") })
		for want := int32(1); want <= 3; want++ {
			began := time.Now()
			for range 5 {
				s.up <- struct{}{}
			}
			for calls.Load() < want {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			}
			if d := time.Since(began); d < quiet || d > quiet+11*time.Second {
				t.Errorf("called after %v", d)
			}
			time.Sleep(time.Minute)
			if calls.Load() != want || others.Load() != want {
				t.Fatalf("%d and %d calls, want %d", calls.Load(), others.Load(), want)
			}
		}
		stop()
		s.up <- struct{}{}
		time.Sleep(time.Minute)
		if calls.Load() != 3 || others.Load() != 4 {
			t.Errorf("%d and %d calls after stop", calls.Load(), others.Load())
		}
		s.up <- struct{}{}
		time.Sleep(time.Millisecond)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if others.Load() != 4 {
			t.Error("called after Close")
		}
	})
}

// A function that ends its goroutine ends only itself.
func TestWatcher_goexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fakeSource{make(chan struct{})}
		w := start(s, Options{Jitter: -1})
		var calls atomic.Int32
		for range 3 {
			w.OnUp(func() { calls.Add(1); runtime.Goexit() })
		}
		for want := int32(3); want <= 6; want += 3 {
			s.up <- struct{}{}
			time.Sleep(time.Minute)
			if n := calls.Load(); n != want {
				t.Errorf("%d calls, want %d", n, want)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A source that fails is in the log, one that is closed is not.
func TestWatcher_failure(t *testing.T) {
	for _, fails := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := fakeSource{make(chan struct{})}
			core, log := observer.New(zap.DebugLevel)
			w := start(s, Options{Jitter: -1, Logger: zap.New(core)})
			s.up <- struct{}{}
			time.Sleep(time.Minute)
			if fails {
				close(s.up)
				synctest.Wait()
				w.events = fakeSource{make(chan struct{})} // for Close
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			var got []string
			for _, e := range log.All() {
				got = append(got, e.Level.String()+" "+e.Message)
			}
			want := []string{"debug the network came up"}
			if fails {
				want = append(want, "error the watching of the network has failed, and nothing is reported any more")
			}
			if !slices.Equal(got, want) {
				t.Errorf("log %q, want %q", got, want)
			}
		})
	}
}
