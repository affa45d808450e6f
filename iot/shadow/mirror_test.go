// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// calls notes what OnDesired was called with.
type calls struct {
	mu  sync.Mutex
	got []string
}

func (c *calls) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, text)
}

func (c *calls) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// failures notes what OnError was called with.
type failures struct {
	mu  sync.Mutex
	got []error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, err)
}

func (f *failures) list() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

// mirror opens a mirror of the bench's shadow.
func (b *bench) mirror(o MirrorOptions[lamp]) *Mirror[lamp] {
	b.Helper()
	m, err := OpenMirror(b.shadow, o)
	b.must(err)
	return m
}

// set is an update by an application, and waits until it is handled.
func (b *bench) set(state string) {
	b.service.set(simulated, state)
	synctest.Wait()
}

// has fails the test unless the service has these sections.
func (b *bench) has(desired, reported string) {
	b.Helper()
	synctest.Wait()
	d, r := b.service.sections(simulated)
	if string(encode(d)) != desired || string(encode(r)) != reported {
		b.Errorf("the service has desired %s, reported %s; want %s, %s", encode(d), encode(r), desired, reported)
	}
}

func (b *bench) called(c *calls, want ...string) {
	b.Helper()
	synctest.Wait()
	if got := c.list(); !slices.Equal(got, want) {
		b.Errorf("OnDesired was called with %q, want %q", got, want)
	}
}

func (c *calls) accept(_ context.Context, d *Desired[lamp]) error {
	text := string(d.JSON)
	if d.Repeated {
		text += " again"
	}
	c.add(text)
	return nil
}

func TestMirror_appliesAndReports(t *testing.T) {
	run(t, func(b *bench) {
		b.set(`{"desired":{"on":true,"level":2}}`)
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"level":2,"on":true}`)
		b.has(`{"level":2,"on":true}`, `{"level":2,"on":true}`)
		b.set(`{"desired":{"level":3}}`)
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"level":2,"on":true}`, `{"level":3}`)
		reported, err := m.Reported()
		b.must(err)
		if reported.Level.Or(0) != 3 || !reported.On.Or(false) {
			b.Errorf("reported %+v", reported)
		}
		if s := m.Status(); !s.Synced || string(s.Pending) != "{}" || string(s.Unapplied) != "{}" || s.Version != 4 {
			b.Errorf("status %+v %s %s", s, s.Pending, s.Unapplied)
		}
		// A get and one update for each change: nothing more.
		if diff := b.conn.Log(); len(diff) != 7 {
			b.Errorf("packets %q", diff)
		}
	})
}

// The answer to an update and a delta carry the same version: the delta counts.
func TestMirror_deltaWithTheVersionOfAnAnswer(t *testing.T) {
	r := replica{}
	r.gotDocument(parsedDocument{version: 4})
	r.local = object{"a": "1"}
	u, _ := r.nextUpdate(true)
	r.beginUpdate(u)
	r.updateAccepted(5)
	if stale := r.gotDelta(parsedDelta{state: object{"b": "2"}, version: 5}); stale || r.nextApply() == nil {
		t.Error("the delta was dropped")
	}
	if stale := r.gotDelta(parsedDelta{state: object{"b": "1"}, version: 4}); !stale {
		t.Error("an older delta was taken")
	}
	r.local = object{"a": "2"}
	u, _ = r.nextUpdate(true)
	r.beginUpdate(u)
	r.updateAccepted(9)
	if stale := r.gotDelta(parsedDelta{state: object{"b": "3"}, version: 7}); stale || r.nextApply()["b"] != "3" {
		t.Error("a delta that is older than an answer was dropped")
	}
}

// Somebody else changed what the device reports, and the service asks for what
// the device has: it reports that again, once.
func TestMirror_repeatsAReport(t *testing.T) {
	has := object{"a": "1"}
	r := replica{local: has}
	r.gotDocument(parsedDocument{reported: has, desired: has, version: 4})
	if _, more := r.nextUpdate(true); more {
		t.Fatal("there is something to report")
	}
	r.gotDelta(parsedDelta{state: object{"a": "1"}, version: 5})
	if open := r.nextApply(); open != nil {
		t.Errorf("the device is to apply %s, which it has", encode(open))
	}
	u, more := r.nextUpdate(true)
	if !more || !equal(u.reported, has) {
		t.Fatalf("the report is %s", encode(u.reported))
	}
	r.beginUpdate(u)
	r.nextApply()
	r.updateAccepted(6)
	if _, more := r.nextUpdate(true); more || r.nextApply() != nil {
		t.Error("it is reported again and again")
	}
}

func TestMirror_buffersDeltasBeforeTheDocument(t *testing.T) {
	for _, c := range []struct{ version, want int64 }{{9, 9}, {10, 10}, {11, 11}} {
		r := replica{}
		r.askedForDocument()
		r.gotDelta(parsedDelta{state: object{"from": "delta"}, version: c.version})
		if r.nextApply() != nil {
			t.Error("applied before the document was there")
		}
		r.gotDocument(parsedDocument{version: 10, delta: parsedDelta{state: object{"from": "document"}, version: 10}})
		want := "document"
		if c.version > 10 {
			want = "delta"
		}
		if got := r.nextApply(); got["from"] != want {
			t.Errorf("delta of version %d: applied that of the %v", c.version, got["from"])
		}
	}
}

func TestMirror_createsTheShadow(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		b.must(m.Report(lamp{On: Value(true)}))
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"on":true}`)
	})
}

func TestMirror_coalescesWhileInFlight(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		b.must(m.Report(lamp{Level: Value(0)}))
		b.must(m.WaitSynced(b.Context()))
		b.service.slow(time.Second)
		for i := range 100 {
			b.must(m.Report(lamp{Level: Value(i + 1)}))
		}
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"level":100}`)
		if n := b.service.count(); n > 3 {
			b.Errorf("%d updates", n)
		}
	})
}

func TestMirror_coalesceWindow(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{Coalesce: time.Second})
		defer m.Close()
		synctest.Wait()
		for i := range 5 {
			b.must(m.Report(lamp{Level: Value(i)}))
			time.Sleep(100 * time.Millisecond)
		}
		b.must(m.WaitSynced(b.Context()))
		if n := b.service.count(); n != 1 {
			b.Errorf("%d updates", n)
		}
		b.has(`{}`, `{"level":4}`)
	})
}

func TestMirror_failedAndRefusedChanges(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		fail := errors.New("busy")
		var errs failures
		m := b.mirror(MirrorOptions[lamp]{
			OnDesired: func(_ context.Context, d *Desired[lamp]) error {
				c.add(string(d.JSON))
				switch {
				case d.State.Level.Or(0) > 100:
					return fmt.Errorf("too bright: %w", ErrRefused)
				case len(c.list()) < 3:
					return fail
				}
				return nil
			},
			OnError: errs.add,
		})
		defer m.Close()
		b.set(`{"desired":{"on":true}}`)
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"on":true}`, `{"on":true}`, `{"on":true}`)
		if got := errs.list(); len(got) != 2 || !errors.Is(got[0], fail) {
			b.Errorf("errors %v", got)
		}
		time.Sleep(time.Second)
		b.set(`{"desired":{"level":500}}`)
		b.set(`{"desired":{"color":"red"}}`)
		time.Sleep(time.Hour)
		b.must(m.WaitSynced(b.Context()))
		if got := c.list(); !slices.Contains(got, `{"color":"red"}`) && !slices.Contains(got, `{"color":"red","level":500}`) {
			b.Errorf("calls %q", got)
		}
		b.set(`{"desired":{"color":"blue"}}`)
		b.must(m.WaitSynced(b.Context()))
		if got := c.list(); got[len(got)-1] != `{"color":"blue"}` {
			b.Errorf("the refused change was offered again: %q", got)
		}
		n := len(c.list())
		b.set(`{"desired":{"level":500}}`) // anew, an hour later
		b.must(m.WaitSynced(b.Context()))
		if got := c.list(); len(got) != n+1 || got[n] != `{"level":500}` {
			b.Errorf("the change written anew was not offered: %q", got)
		}
	})
}

func TestMirror_reportsSomethingElse(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: func(ctx context.Context, d *Desired[lamp]) error {
			c.add(string(d.JSON))
			return d.Report(lamp{Level: Value(80)})
		}})
		defer m.Close()
		synctest.Wait()
		b.set(`{"desired":{"level":100}}`)
		b.must(m.WaitSynced(b.Context()))
		b.has(`{"level":100}`, `{"level":80}`)
		b.set(`{"desired":{"other":1}}`)
		time.Sleep(time.Hour)
		b.called(&c, `{"level":100}`, `{"other":1}`)
	})
}

func TestMirror_tooLarge(t *testing.T) {
	run(t, func(b *bench) {
		var errs failures
		m := b.mirror(MirrorOptions[lamp]{OnError: errs.add})
		defer m.Close()
		b.must(m.Report(map[string]string{"big": string(make([]byte, 2000))})) // 12,000 as JSON
		time.Sleep(time.Hour)
		if got := errs.list(); len(got) != 1 || !errors.Is(got[0], ErrTooLarge) {
			b.Errorf("errors %v", got)
		}
		b.must(m.Report(map[string]any{"big": nil, "small": 1}))
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"small":1}`)
	})
}

func TestMirror_subscriptionRefused(t *testing.T) {
	run(t, func(b *bench) {
		b.conn.RefuseSubscribe(simulated+"/update/delta", mqtt5.SubackNotAuthorized, mqtt5.SubackNotAuthorized)
		var errs failures
		m := b.mirror(MirrorOptions[lamp]{OnError: errs.add})
		defer m.Close()
		b.must(m.Report(lamp{On: Value(true)}))
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"on":true}`)
		if got := errs.list(); len(got) != 2 {
			b.Errorf("errors %v", got)
		}
	})
}

func TestMirror_resync(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{Resync: time.Hour})
		defer m.Close()
		b.must(m.Report(lamp{On: Value(true)}))
		b.must(m.WaitSynced(b.Context()))
		b.set(`{"reported":{"on":false}}`) // somebody else
		time.Sleep(61 * time.Minute)
		b.has(`{}`, `{"on":true}`)
	})
}

func TestMirror_changeOfAnotherType(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		var errs failures
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept, OnError: errs.add})
		defer m.Close()
		b.set(`{"desired":{"level":"high"}}`)
		time.Sleep(time.Hour)
		b.must(m.WaitSynced(b.Context()))
		var bad *PayloadError
		if got := errs.list(); len(got) != 1 || !errors.As(got[0], &bad) {
			b.Errorf("errors %v", got)
		}
		b.called(&c)
	})
}

func TestMirror_closedRequests(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		synctest.Wait()
		b.client.Close(b.Context())
		if _, err := OpenMirror(b.shadow, MirrorOptions[lamp]{}); !errors.Is(err, request.ErrClosed) {
			b.Errorf("error %v", err)
		}
	})
}
