// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

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

// A copy of the last delta arrives after the shadow was deleted, in the life
// after a crash during its application. It must not be applied again.
func TestReplica_deltaAgainAfterDeletion(t *testing.T) {
	t.Parallel()
	wanted := func() object { return object{"level": json.Number("47")} }
	before, after := &replica{}, &replica{}
	before.askedForDocument()
	before.gotDocument(parsedDocument{})
	before.gotDelta(parsedDelta{state: wanted(), version: 5})
	before.beginApply(before.nextApply())
	if err := after.load(target{}, before.save(target{})); err != nil {
		t.Fatal(err)
	}
	after.askedForDocument()
	after.gotDocument(parsedDocument{})
	if changes := after.nextApply(); changes != nil {
		t.Fatalf("applies %v of a shadow that does not exist", changes)
	}
	if !after.gotDelta(parsedDelta{state: wanted(), version: 5}) {
		t.Errorf("a copy of an old delta is applied: %v", after.nextApply())
	}
	if after.gotDelta(parsedDelta{state: wanted(), version: 6}) {
		t.Error("the delta of the shadow that was created again is taken for an old one")
	}
}

// Old deltas arrive between a gap and the document that says that the shadow was
// deleted. Those of a shadow that was created again have small numbers, too.
func TestReplica_oldDeltaBeforeTheDocument(t *testing.T) {
	t.Parallel()
	delta := func(version int64, value string) parsedDelta {
		return parsedDelta{state: object{"level": json.Number(value)}, version: version}
	}
	for name, tt := range map[string]struct {
		got       []parsedDelta
		documents []parsedDocument
		want      object
	}{
		"older":                 {[]parsedDelta{delta(39, "39")}, []parsedDocument{{}, {}}, nil},
		"a copy":                {[]parsedDelta{delta(40, "40")}, []parsedDocument{{}, {}}, nil},
		"newer":                 {[]parsedDelta{delta(41, "41")}, []parsedDocument{{}}, object{"level": json.Number("41")}},
		"newer, and older":      {[]parsedDelta{delta(42, "42"), delta(41, "41")}, []parsedDocument{{}}, object{"level": json.Number("42")}},
		"in the document":       {[]parsedDelta{delta(39, "39")}, []parsedDocument{{version: 41, delta: delta(41, "41")}}, object{"level": json.Number("41")}},
		"after the document":    {[]parsedDelta{delta(2, "2")}, []parsedDocument{{version: 1}, {version: 2, delta: delta(2, "2")}}, object{"level": json.Number("2")}},
		"created again":         {[]parsedDelta{delta(1, "1")}, []parsedDocument{{}, {version: 1, delta: delta(1, "1")}}, object{"level": json.Number("1")}},
		"created again, in one": {[]parsedDelta{delta(1, "1")}, []parsedDocument{{version: 1, delta: delta(1, "1")}}, object{"level": json.Number("1")}},
	} {
		r := &replica{}
		r.askedForDocument()
		r.gotDocument(parsedDocument{version: 40, desired: object{"level": json.Number("40")}, delta: delta(40, "40")})
		changes := r.nextApply()
		r.beginApply(changes)
		r.endApply(changes, nil, object{}, true)
		for i, document := range tt.documents {
			r.askedForDocument()
			if i == 0 {
				for _, d := range tt.got {
					if r.gotDelta(d) {
						t.Errorf("%s: delta %d is a reason to get a document that is being got", name, d.version)
					}
				}
			}
			r.gotDocument(document)
			if last := i == len(tt.documents)-1; r.synced != last {
				t.Errorf("%s: after document %d: synced %v", name, i, r.synced)
			}
		}
		if changes := r.nextApply(); !reflect.DeepEqual(changes, tt.want) {
			t.Errorf("%s: applies %v, want %v", name, changes, tt.want)
		}
	}
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

// Somebody else writes what the device reports, and something else after that:
// messages about that do not hide it.
func TestMirror_foreignReportAmongOthers(t *testing.T) {
	for name, tt := range map[string]struct {
		options MirrorOptions[lamp]
		writes  []string
		desired string
	}{
		"then a desired change":          {MirrorOptions[lamp]{}, []string{`{"reported":{"on":false}}`, `{"desired":{"level":7}}`}, `{"level":7}`},
		"with removals":                  {MirrorOptions[lamp]{Removals: true}, []string{`{"reported":{"on":false}}`}, `{}`},
		"with removals, then a change":   {MirrorOptions[lamp]{Removals: true}, []string{`{"reported":{"on":false}}`, `{"desired":{"level":7}}`}, `{"level":7}`},
		"with removals, after a change":  {MirrorOptions[lamp]{Removals: true}, []string{`{"desired":{"level":7}}`, `{"reported":{"on":false}}`}, `{"level":7}`},
		"of a shadow that is made again": {MirrorOptions[lamp]{}, []string{"delete", `{"reported":{"on":false}}`}, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(b *bench) {
				var c calls
				tt.options.OnDesired = c.accept
				m := b.mirror(tt.options)
				defer m.Close()
				b.must(m.Report(lamp{On: Value(true), Level: Value(1)}))
				b.must(m.WaitSynced(b.Context()))
				for _, w := range tt.writes {
					if w == "delete" {
						b.service.handle("$aws/things/lamp/shadow/delete", nil)
					} else {
						b.set(w)
					}
				}
				synctest.Wait()
				b.must(m.Report(lamp{Color: Value("red")}))
				b.must(m.WaitSynced(b.Context()))
				level := 1
				if tt.desired != "{}" {
					level = 7
				}
				b.has(tt.desired, fmt.Sprintf(`{"color":"red","level":%d,"on":true}`, level))
			})
		})
	}
}

// An update of somebody who changes the desired state costs no conflict.
func TestMirror_desiredChangeIsNoConflict(t *testing.T) {
	for _, removals := range []bool{false, true} {
		t.Run(fmt.Sprintf("removals %v", removals), func(t *testing.T) {
			run(t, func(b *bench) {
				var c calls
				var gets, updates int
				b.conn.OnPublish(func(p *mqtt5.PublishPacket) error {
					switch {
					case strings.HasSuffix(p.Topic, "/get"):
						gets++
					case strings.HasSuffix(p.Topic, "/update"):
						updates++
					}
					b.service.handle(p.Topic, p.Payload)
					return nil
				})
				m := b.mirror(MirrorOptions[lamp]{OnDesired: c.accept, Removals: removals})
				defer m.Close()
				b.must(m.Report(lamp{On: Value(true)}))
				b.must(m.WaitSynced(b.Context()))
				got := gets
				for level := range 5 {
					b.set(fmt.Sprintf(`{"desired":{"level":%d}}`, level))
					synctest.Wait()
					b.must(m.WaitSynced(b.Context()))
				}
				if gets != got || updates != 6 {
					b.Errorf("%d more gets, %d updates", gets-got, updates)
				}
			})
		})
	}
}

// The message about the deletion of a shadow has its version: deltas up to that
// one are old.
func TestReplica_deletion(t *testing.T) {
	t.Parallel()
	r := &replica{}
	r.askedForDocument()
	r.gotDocument(parsedDocument{version: 11})
	r.gotDeletion(12)
	r.askedForDocument()
	r.gotDocument(parsedDocument{})
	if !r.gotDelta(parsedDelta{state: object{"a": "1"}, version: 12}) {
		t.Errorf("the delta of a deleted shadow is applied: %v", r.nextApply())
	}
	if r.gotDelta(parsedDelta{state: object{"a": "2"}, version: 13}) {
		t.Error("the delta of the next shadow is taken for an old one")
	}
	r.gotDeletion(12) // late
	if changes := r.nextApply(); changes == nil {
		t.Error("a late message about the deletion ends the next shadow")
	}
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

// A document that was read before deltas were lost does not replace them.
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

// A removal that the device made itself meanwhile has not to be applied.
func TestReplica_removedByTheDeviceItself(t *testing.T) {
	r := replica{removals: true, synced: true, local: object{"x": "1"}, desired: object{"x": "1"}}
	r.gotChange(parsedChange{desired: object{}, version: 2})
	if open := r.nextApply(); !equal(open, object{"x": nil}) {
		t.Fatalf("%s is open", encode(open))
	}
	r.local = merge(r.local, object{"x": nil})
	if open := r.nextApply(); open != nil {
		t.Errorf("%s is open", encode(open))
	}
}
