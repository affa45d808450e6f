// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
