// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// asked returns how often the document was asked for.
func (b *bench) asked() (n int) {
	synctest.Wait()
	for _, line := range b.conn.Log() {
		if line == "PUBLISH "+simulated+"/get" {
			n++
		}
	}
	return n
}

// Changes while an update is in flight wait for the next window, too.
func TestMirror_coalesceWindowWhileInFlight(t *testing.T) {
	run(t, func(b *bench) {
		b.service.slow(100 * time.Millisecond)
		m := b.mirror(MirrorOptions[lamp]{Coalesce: time.Second})
		defer m.Close()
		for i := range 200 {
			b.must(m.Report(lamp{Level: Value(i)}))
			time.Sleep(50 * time.Millisecond)
		}
		b.must(m.WaitSynced(b.Context()))
		if n := b.service.count(); n < 6 || n > 11 {
			b.Errorf("%d updates in 10 s", n)
		}
	})
}

// No update can name a version that is negative.
func TestMirror_negativeVersion(t *testing.T) {
	t.Parallel()
	payload := []byte(`{"state":{"a":1},"version":-5}`)
	var bad *PayloadError
	if _, err := readDelta("t", payload); !errors.As(err, &bad) {
		t.Errorf("delta: %v", err)
	}
	if _, err := readDocument("t", payload); !errors.As(err, &bad) {
		t.Errorf("document: %v", err)
	}
}

// A change at the end of the window does not begin another one.
func TestMirror_coalesceWindowEnds(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{Coalesce: time.Second})
		defer m.Close()
		synctest.Wait()
		b.must(m.Report(lamp{Level: Value(1)}))
		m.mu.Lock() // the timer has to wait
		m.timer.Stop()
		m.mu.Unlock()
		time.Sleep(1001 * time.Millisecond)
		b.must(m.Report(lamp{Level: Value(2)}))
		b.has(`{}`, `{"level":2}`)
	})
}

func TestMirror_syncedOnlyWithSubscriptions(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.conn.Disconnect(mqtt5.ErrConnectionLost)
		b.conn.Hold("SUBSCRIBE")
		b.conn.Connect(false)
		synctest.Wait()
		if m.Status().Synced {
			b.Error("synced without its subscriptions")
		}
		b.conn.Release("SUBSCRIBE")
		b.must(m.WaitSynced(b.Context()))
	})
}

func TestMirror_waitEndsWithClose(t *testing.T) {
	run(t, func(b *bench) {
		b.conn.Hold("SUBSCRIBE")
		m := b.mirror(MirrorOptions[lamp]{})
		ended := make(chan error, 1)
		go func() { ended <- m.WaitSynced(b.Context()) }()
		synctest.Wait()
		b.must(m.Close())
		if err := <-ended; !errors.Is(err, ErrMirrorClosed) {
			b.Error(err)
		}
		if err := m.Report(lamp{}); !errors.Is(err, ErrMirrorClosed) {
			b.Error(err)
		}
	})
}

// What an application leaves to be sent at the end is sent by the next process.
func TestMirror_sendsNothingAfterClose(t *testing.T) {
	run(t, func(b *bench) {
		h := &handle{store: new(memoryStore)}
		m := b.mirror(MirrorOptions[lamp]{Store: h, OnDesired: func(ctx context.Context, _ *Desired[lamp]) error {
			<-ctx.Done()
			return nil
		}})
		b.must(m.WaitSynced(b.Context()))
		b.set(`{"desired":{"on":true}}`)
		synctest.Wait()
		b.conn.ResetLog()
		b.must(m.Close())
		time.Sleep(time.Hour)
		for _, line := range b.conn.Log() {
			if strings.HasPrefix(line, "PUBLISH") {
				b.Errorf("after Close: %s", line)
			}
		}
		m = b.mirror(MirrorOptions[lamp]{Store: &handle{store: h.store}})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.has(`{"on":true}`, `{"on":true}`)
	})
}

// A delta that cannot be read is a reason to get the document.
func TestMirror_unreadableDelta(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.conn.Deliver(simulated+"/update/delta", []byte(`{"state":[]}`))
		if n := b.asked(); n != 2 {
			b.Errorf("got the document %d times", n)
		}
	})
}

// The delays begin anew after a success.
func TestMirror_delaysBeginAnew(t *testing.T) {
	run(t, func(b *bench) {
		var failing atomic.Bool
		var last atomic.Int64
		m := b.mirror(MirrorOptions[lamp]{OnDesired: func(context.Context, *Desired[lamp]) error {
			last.Store(time.Now().UnixNano())
			if failing.Load() {
				return errors.New("busy")
			}
			return nil
		}})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.service.reject = func(operation string, _ []byte) int {
			if failing.Load() && operation == "get" {
				return 403
			}
			return 0
		}
		for level := range 2 {
			failing.Store(true)
			b.set([]string{`{"desired":{"level":1}}`, `{"desired":{"level":2}}`}[level])
			b.conn.Deliver(simulated+"/update/delta", nil)
			synctest.Wait()
			if level == 0 {
				time.Sleep(time.Hour)
			}
			failing.Store(false)
			began := time.Now()
			b.must(m.WaitSynced(b.Context()))
			if d := time.Since(began); level == 1 && d > time.Second {
				b.Errorf("one failure after a success delayed it by %v", d)
			}
		}
	})
}

// flaky refuses to open streams.
type flaky struct {
	Requester
	failures atomic.Int32
}

func (f *flaky) Stream(o request.StreamOptions) (*request.Stream, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, request.ErrNoCapacity
	}
	return f.Requester.Stream(o)
}

func TestMirror_reopenFails(t *testing.T) {
	run(t, func(b *bench) {
		f := &flaky{Requester: b.client}
		s, err := Classic[lamp](f, "lamp")
		b.must(err)
		f.failures.Store(1)
		if _, err := OpenMirror(s, MirrorOptions[lamp]{}); !errors.Is(err, request.ErrNoCapacity) {
			b.Error(err)
		}
		f.failures.Store(0)
		b.conn.RefuseSubscribe(simulated+"/update/delta", mqtt5.SubackNotAuthorized)
		var errs failures
		m, err := OpenMirror(s, MirrorOptions[lamp]{OnError: errs.add})
		b.must(err)
		defer m.Close()
		f.failures.Store(2)
		synctest.Wait()
		time.Sleep(time.Minute)
		b.must(m.WaitSynced(b.Context()))
		b.set(`{"reported":{"on":true}}`)
		if got := errs.list(); len(got) != 3 || !errors.Is(got[1], request.ErrNoCapacity) {
			b.Errorf("errors %v", got)
		}
		if len(b.conn.Filters()) < 2 {
			b.Errorf("filters %q", b.conn.Filters())
		}
	})
}

// brokenStore fails to load.
type brokenStore struct{ err error }

func (s brokenStore) Load() ([]byte, error) { return nil, s.err }
func (s brokenStore) Save([]byte) error     { return nil }

func TestOpenMirror_storeCannotBeRead(t *testing.T) {
	run(t, func(b *bench) {
		disk := errors.New("disk broken")
		if _, err := OpenMirror(b.shadow, MirrorOptions[lamp]{Store: brokenStore{disk}}); !errors.Is(err, disk) {
			b.Error(err)
		}
	})
}

// A store that fails after an application is reported, too.
func TestMirror_storeFailsAfterTheApplication(t *testing.T) {
	run(t, func(b *bench) {
		h := &handle{store: new(memoryStore)}
		disk := errors.New("disk full")
		var errs failures
		m := b.mirror(MirrorOptions[lamp]{Store: h, OnError: errs.add, OnDesired: func(context.Context, *Desired[lamp]) error {
			h.store.mu.Lock()
			defer h.store.mu.Unlock()
			h.fail = disk
			return nil
		}})
		defer m.Close()
		b.set(`{"desired":{"on":true}}`)
		time.Sleep(100 * time.Millisecond) // less than the first delay
		if got := errs.list(); len(got) != 2 || !errors.Is(got[0], disk) || !errors.Is(got[1], disk) {
			b.Errorf("errors %v, want one of the outcome and one of the report", got)
		}
	})
}

// panicStore panics when it saves.
type panicStore struct{ brokenStore }

func (panicStore) Save([]byte) error { panic("oh") }

// A panic of a store comes back to the caller of Report, who may recover it.
func TestMirror_panicWhileStoring(t *testing.T) {
	run(t, func(b *bench) {
		b.conn.Hold("SUBSCRIBE") // nothing else is stored
		m := b.mirror(MirrorOptions[lamp]{Store: panicStore{}})
		for range 2 {
			func() {
				defer func() {
					if p := recover(); p != "oh" {
						b.Errorf("recovered %v", p)
					}
				}()
				_ = m.Report(lamp{On: Value(true)})
			}()
		}
		m.saves.stored = m.saves.generation + 10 // Close has nothing to store
		b.must(m.Close())
	})
}

// OnError may end its goroutine, as a test does that fails in it: the other errors
// are reported.
func TestMirror_goexitInOnError(t *testing.T) {
	run(t, func(b *bench) {
		var errs failures
		m := b.mirror(MirrorOptions[lamp]{OnError: func(err error) {
			time.Sleep(time.Millisecond)
			errs.add(err)
			runtime.Goexit()
		}})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		for range 3 {
			b.conn.Deliver(simulated+"/update/delta", nil)
		}
		time.Sleep(time.Second)
		if got := errs.list(); len(got) != 3 {
			b.Errorf("errors %v", got)
		}
	})
}
