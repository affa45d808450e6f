// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func TestMirror_offlineAndRestart(t *testing.T) {
	run(t, func(b *bench) {
		store := new(memoryStore)
		b.conn.Disconnect(mqtt5.ErrConnectionLost)
		synctest.Wait()
		m := b.mirror(MirrorOptions[lamp]{Store: &handle{store: store}})
		b.must(m.Report(lamp{On: Value(true), Level: Value(1)}))
		b.must(m.Update(func(l *lamp) { l.Level, l.Color = Field[int]{}, Value("red") }))
		b.must(m.Close())
		b.has(`{}`, `{}`)
		if err := m.Report(lamp{}); !errors.Is(err, ErrMirrorClosed) {
			b.Errorf("report after close: %v", err)
		}

		m = b.mirror(MirrorOptions[lamp]{Store: &handle{store: store}})
		defer m.Close()
		reported, err := m.Reported()
		b.must(err)
		if want := (lamp{On: Value(true), Color: Value("red")}); reported != want {
			b.Errorf("restored %+v", reported)
		}
		b.conn.Connect(false)
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"color":"red","on":true}`)
	})
}

func TestMirror_removalSurvivesALostAnswer(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		synctest.Wait()
		b.service.lose(100)
		b.must(m.Report(lamp{Level: Value(1)}))
		time.Sleep(time.Second)
		b.has(`{}`, `{"level":1}`)
		b.must(m.Report(lamp{Level: Null[int]()}))
		time.Sleep(time.Minute)
		b.service.lose(0)
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{}`)
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

func TestMirror_override(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept})
		defer m.Close()
		b.set(`{"desired":{"on":true}}`)
		b.must(m.WaitSynced(b.Context()))
		b.conn.Disconnect(mqtt5.ErrConnectionLost)
		synctest.Wait()
		b.must(m.Override(lamp{On: Value(false)})) // somebody pressed the button
		b.set(`{"desired":{"on":true,"level":1}}`)
		b.conn.Connect(false)
		b.must(m.WaitSynced(b.Context()))
		b.has(`{"level":1,"on":false}`, `{"level":1,"on":false}`)
		b.called(&c, `{"on":true}`, `{"level":1}`)
	})
}

// A shadow that was deleted leaves its old deltas behind.
func TestMirror_deltaOfADeletedShadow(t *testing.T) {
	r := replica{}
	r.gotDocument(parsedDocument{version: 7, delta: parsedDelta{version: 7}})
	r.gotDocument(parsedDocument{})
	if stale := r.gotDelta(parsedDelta{state: object{"a": "1"}, version: 6}); !stale {
		t.Error("an old delta was taken")
	}
	if stale := r.gotDelta(parsedDelta{state: object{"a": "2"}, version: 8}); stale {
		t.Error("the delta of the next shadow was dropped")
	}
	r.gotDocument(parsedDocument{version: 1}) // created again after more than 48 hours
	if stale := r.gotDelta(parsedDelta{state: object{"a": "3"}, version: 2}); stale {
		t.Error("the delta of a shadow with new numbers was dropped")
	}
}

// A field is removed after a crash during the update that added it.
func TestMirror_removalAfterACrash(t *testing.T) {
	at := target{thing: "lamp"}
	r := replica{synced: true, local: object{"a": "1"}}
	u, _ := r.nextUpdate(false)
	r.beginUpdate(u)
	var next replica
	if err := next.load(at, r.save(at)); err != nil {
		t.Fatal(err)
	}
	next.local = merge(next.local, object{"a": nil})
	next.gotDocument(parsedDocument{reported: object{"a": "1"}, version: 1})
	if u, _ := next.nextUpdate(false); !equal(u.reported, object{"a": nil}) {
		t.Errorf("the update is %s", encode(u.reported))
	}
}

// Somebody else writes what the device reports; the version of the next update
// shows it.
func TestMirror_foreignReport(t *testing.T) {
	run(t, func(b *bench) {
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		b.must(m.Report(lamp{On: Value(true)}))
		b.must(m.WaitSynced(b.Context()))
		b.set(`{"reported":{"on":false,"color":"red"}}`)
		b.must(m.Report(lamp{Level: Value(1)}))
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"color":"red","level":1,"on":true}`)
	})
}

// Others write so often that no version is right for long.
func TestMirror_alwaysConflicts(t *testing.T) {
	run(t, func(b *bench) {
		b.set(`{"desired":{"on":true}}`)
		b.service.reject = func(operation string, payload []byte) int {
			if operation == "update" && strings.Contains(string(payload), `"version"`) {
				return 409
			}
			return 0
		}
		m := b.mirror(MirrorOptions[lamp]{})
		defer m.Close()
		b.must(m.Report(lamp{Level: Value(1)}))
		b.must(m.WaitSynced(b.Context()))
		b.has(`{"on":true}`, `{"level":1}`)
	})
}

// A document from before a gap does not cover what was missed in it.
func TestMirror_documentFromBeforeAGap(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		old := make(chan func(), 1)
		b.conn.OnPublish(func(p *mqtt5.PublishPacket) error {
			topic, payload := p.Topic, p.Payload
			select {
			case old <- func() { b.service.handle(topic, payload) }: // the first get takes its time
			default:
				b.service.handle(topic, payload)
			}
			return nil
		})
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept})
		defer m.Close()
		synctest.Wait()
		answer := <-old
		b.service.mu.Lock()
		b.service.shadow(simulated).exists = true
		b.service.mu.Unlock()
		old <- func() {}                        // later requests are answered at once
		b.conn.Emit(&mqtt5.ConnectionSuccess{}) // the session is lost, and the request with it
		b.service.set(simulated, `{"desired":{"on":true}}`)
		answer()
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"on":true}`)
	})
}

// A delta from before an override knows nothing of it.
func TestMirror_deltaFromBeforeAnOverride(t *testing.T) {
	r := replica{}
	r.gotDocument(parsedDocument{version: 4, delta: parsedDelta{version: 4}})
	r.local, r.override = object{"a": "mine"}, object{"a": "mine"}
	u, _ := r.nextUpdate(true)
	r.beginUpdate(u)
	r.updateAccepted(6)
	r.gotDelta(parsedDelta{state: object{"a": "theirs", "b": "2"}, version: 5})
	if open := r.nextApply(); !equal(open, object{"b": "2"}) {
		t.Errorf("to be applied: %s", encode(open))
	}
	r.gotDelta(parsedDelta{state: object{"a": "theirs"}, version: 7})
	if open := r.nextApply(); !equal(open, object{"a": "theirs"}) {
		t.Errorf("to be applied: %s", encode(open))
	}
}

// A desired change that the device has overridden meanwhile is not applied.
func TestMirror_overrideWins(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept})
		defer m.Close()
		b.must(m.Report(lamp{Level: Value(1)}))
		b.must(m.WaitSynced(b.Context()))
		b.conn.Disconnect(mqtt5.ErrConnectionLost)
		synctest.Wait()
		b.must(m.Override(lamp{Level: Value(5)}))
		b.set(`{"desired":{"level":9}}`)
		b.conn.Connect(false)
		b.must(m.WaitSynced(b.Context()))
		b.has(`{"level":5}`, `{"level":5}`)
		b.called(&c)
	})
}

func TestMirror_removals(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept, Removals: true})
		defer m.Close()
		b.set(`{"desired":{"on":true,"color":"red"}}`)
		b.must(m.WaitSynced(b.Context()))
		b.set(`{"desired":{"color":null}}`)
		synctest.Wait()
		b.must(m.WaitSynced(b.Context()))
		b.has(`{"on":true}`, `{"on":true}`)
		b.conn.Disconnect(mqtt5.ErrConnectionLost)
		synctest.Wait()
		b.set(`{"desired":null}`)
		b.conn.Connect(false)
		synctest.Wait()
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{}`)
		b.called(&c, `{"color":"red","on":true}`, `{"color":null}`, `{"on":null}`)
	})
}

func TestMirror_repairsAfterDeletion(t *testing.T) {
	run(t, func(b *bench) {
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept})
		defer m.Close()
		b.must(m.Report(lamp{On: Value(true), Level: Value(1)}))
		b.must(m.WaitSynced(b.Context()))
		b.service.handle(simulated+"/delete", nil)
		synctest.Wait()
		b.must(m.Report(lamp{Level: Value(2)}))
		b.must(m.WaitSynced(b.Context()))
		b.has(`{}`, `{"level":2,"on":true}`)
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

func TestMirror_storeFails(t *testing.T) {
	run(t, func(b *bench) {
		h := &handle{store: new(memoryStore)}
		var c calls
		m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept, Store: h})
		defer m.Close()
		synctest.Wait()
		disk := errors.New("disk full")
		setFail := func(err error) {
			h.store.mu.Lock()
			defer h.store.mu.Unlock()
			h.fail = err
		}
		setFail(disk)
		if err := m.Report(lamp{On: Value(true)}); !errors.Is(err, disk) {
			b.Errorf("report: %v", err)
		}
		b.set(`{"desired":{"level":1}}`)
		time.Sleep(time.Second)
		b.called(&c) // what may be forgotten is not applied
		setFail(nil)
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"level":1}`)
		b.has(`{"level":1}`, `{"level":1,"on":true}`)
	})
}

func TestMirror_crashWhileApplying(t *testing.T) {
	run(t, func(b *bench) {
		store := new(memoryStore)
		h := &handle{store: store}
		var c calls
		m := b.mirror(MirrorOptions[lamp]{Store: h, OnDesired: func(ctx context.Context, d *Desired[lamp]) error {
			h.store.mu.Lock()
			h.dead = true
			h.store.mu.Unlock()
			return c.accept(ctx, d)
		}})
		b.set(`{"desired":{"on":true}}`)
		synctest.Wait()
		m.Close()
		b.called(&c, `{"on":true}`)
		m = b.mirror(MirrorOptions[lamp]{Store: &handle{store: store}, OnDesired: c.accept})
		defer m.Close()
		b.must(m.WaitSynced(b.Context()))
		b.called(&c, `{"on":true}`, `{"on":true} again`)
	})
}

func TestFileStore(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	store := FileStore(filepath.Join(folder, "lamp.json"))
	if data, err := store.Load(); data != nil || err != nil {
		t.Errorf("empty store: %q %v", data, err)
	}
	for _, text := range []string{"one", "two"} {
		if err := store.Save([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := store.Load(); string(data) != text || err != nil {
			t.Errorf("loaded %q %v", data, err)
		}
	}
	info, err := os.Stat(string(store))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := FileStore(filepath.Join(folder, "none", "f")).Save(nil); err == nil {
		t.Error("saved into a folder that is not there")
	}
}

func TestOpenMirror_badStore(t *testing.T) {
	run(t, func(b *bench) {
		other, err := Named[json.RawMessage](b.client, "lamp", "other")
		b.must(err)
		foreign := (&replica{}).save(other.target)
		for name, data := range map[string]string{"garbage": "{", "format": `{"format":9,"thing":"lamp"}`, "another shadow": string(foreign)} {
			_, err := OpenMirror(b.shadow, MirrorOptions[lamp]{Store: &handle{store: &memoryStore{data: []byte(data)}}})
			if !errors.Is(err, ErrStore) {
				b.Errorf("%s: %v", name, err)
			}
		}
		if _, err := OpenMirror(b.shadow, MirrorOptions[lamp]{Coalesce: -1}); !errors.Is(err, ErrInvalidRequest) {
			b.Errorf("negative duration: %v", err)
		}
		if _, err := OpenMirror[lamp](nil, MirrorOptions[lamp]{}); !errors.Is(err, ErrInvalidRequest) {
			b.Errorf("no shadow: %v", err)
		}
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
