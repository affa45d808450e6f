// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

var (
	crashRuns = flag.Int("crash.runs", 100, "random runs of the crash simulation")
	crashSeed = flag.Uint64("crash.seed", 0, "the one seed to run; 0: all of them")
)

// TestCrash runs stores on a simulated disk that crashes and fails at random.
// Each state that is found after a crash must be one that the commits allow:
// everything that was reported as synced is there, nothing that was
// refused, and what is between is there up to some point.
func TestCrash(t *testing.T) {
	if *crashSeed != 0 {
		newCrashRun(t, *crashSeed).run(200)
		return
	}
	runs := *crashRuns
	var total crashCount
	for seed := uint64(1); seed <= uint64(runs); seed++ {
		r := newCrashRun(t, seed)
		r.run(60)
		if t.Failed() {
			t.Fatalf("again with -run TestCrash -crash.seed=%d", seed)
		}
		total.add(r.count)
	}
	t.Logf("%+v", total)
	for name, n := range map[string]int{
		"commits": total.Commits, "crashes": total.Crashes, "crashes while opening": total.CrashedOpens, "torn ends": total.Torn,
		"lost commits": total.Lost, "kept unsynced commits": total.Kept, "full": total.Full, "failures": total.Failed, "reclaimed segments": total.Reclaimed,
	} {
		if n < runs/20 {
			t.Errorf("the runs had %d %s only: they test little", n, name)
		}
	}
}

// crashCount counts what happened in runs, to see that the simulation is one.
type crashCount struct {
	Commits, Crashes, CrashedOpens, Torn, Lost, Kept, Full, Failed, Reclaimed int
}

func (c *crashCount) add(o crashCount) {
	c.Commits += o.Commits
	c.Crashes += o.Crashes
	c.CrashedOpens += o.CrashedOpens
	c.Torn += o.Torn
	c.Lost += o.Lost
	c.Kept += o.Kept
	c.Full += o.Full
	c.Failed += o.Failed
	c.Reclaimed += o.Reclaimed
}

// contents are the records of a store.
type contents map[recordKey]recordValue

type recordKey struct {
	kind mqtt5.RecordKind
	id   uint64
}

type recordValue struct{ state, body string }

func (c contents) apply(changes []mqtt5.StoreChange) contents {
	c = maps.Clone(c)
	for _, ch := range changes {
		key := recordKey{ch.Record.Kind, ch.Record.ID}
		switch ch.Action {
		case mqtt5.StoreAppend:
			c[key] = recordValue{string(ch.Record.State), string(ch.Record.Body)}
		case mqtt5.StoreUpdate:
			if old, ok := c[key]; ok {
				c[key] = recordValue{string(ch.Record.State), old.body}
			}
		case mqtt5.StoreRemove:
			delete(c, key)
		}
	}
	return c
}

// read returns everything that a store holds.
func read(s *Store) (contents, error) {
	c := contents{}
	for kind := mqtt5.RecordSession; kind <= mqtt5.RecordPublish; kind++ {
		last, n := int64(-1), 0
		err := s.Iterate(kind, 0, func(r mqtt5.StoreRecord) bool {
			if int64(r.ID) <= last {
				n = -1 << 30
			}
			last = int64(r.ID)
			n++
			c[recordKey{r.Kind, r.ID}] = recordValue{string(r.State), string(r.Body)}
			return true
		})
		if err != nil {
			return nil, err
		}
		if have := s.Count(kind).Records; have != n {
			return nil, fmt.Errorf("kind %d: Count is %d, but %d records in order", kind, have, n)
		}
	}
	return c, nil
}

// crashRun is one run. Its model is the list of states that the store may be
// in after a crash: states[0] is on the disk for certain.
type crashRun struct {
	t      *testing.T
	random *rand.Rand
	disk   *disk
	opts   Options
	store  *Store
	states []contents
	maybe  []contents // beyond states: of commits whose outcome is unknown
	next   uint64     // ID of the next publish
	oldest uint64
	count  crashCount
}

func newCrashRun(t *testing.T, seed uint64) *crashRun {
	random := rand.New(rand.NewPCG(seed, 20))
	r := &crashRun{t: t, random: random, disk: newDisk(random), states: []contents{{}}, next: 1, oldest: 1}
	r.opts, _ = Options{SegmentBytes: minSegment, Sync: SyncPolicy(random.IntN(2)), Interval: 1 << 40}.withDefaults()
	if random.IntN(3) == 0 {
		r.opts.MaxBytes = 8 * minSegment
	}
	return r
}

func (r *crashRun) run(steps int) {
	r.reopen()
	for range steps {
		if r.t.Failed() {
			return
		}
		switch r.random.IntN(20) {
		case 0:
			r.crash()
		case 1:
			r.disk.crashIn = 1 + r.random.IntN(12)
		case 2:
			switch r.random.IntN(4) {
			case 0:
				r.disk.failWrite = errNoSpace
			case 1:
				r.disk.failWrite = errors.New("write failed")
			case 2:
				r.disk.failSync = errors.New("sync failed")
			case 3:
				r.disk.failSpace = errNoSpace
			}
		case 3:
			r.disk.failSpace = nil
		case 4:
			if err := r.store.Close(); err == nil {
				r.states, r.maybe = r.states[len(r.states)-1:], nil
				r.disk.failWrite, r.disk.failSync, r.disk.failSpace = nil, nil, nil
				r.reopen()
			} else {
				r.crash()
			}
		default:
			r.commit()
		}
	}
	r.crash()
	r.store.Close()
}

// crash stops the machine and looks at the rest.
func (r *crashRun) crash() {
	r.count.Crashes++
	r.store.mu.Lock()
	r.store.stopTimer()
	r.store.mu.Unlock()
	r.disk.crash()
	r.reopen()
}

// reopen opens the store, with a crash meanwhile at times, and compares it with
// the model.
func (r *crashRun) reopen() {
	if r.random.IntN(4) == 0 {
		r.disk.crashIn = 1 + r.random.IntN(10)
	}
	var err error
	for range 10 {
		if r.store, err = open(r.disk, "disk", r.opts); err == nil || !r.disk.crashed {
			break
		}
		r.count.CrashedOpens++
		r.disk.crash()
	}
	r.disk.crashIn = 0
	if r.disk.crashed {
		r.disk.crash()
		r.store, err = open(r.disk, "disk", r.opts)
	}
	if err != nil {
		r.t.Errorf("open: %v", err)
		return
	}
	if r.store.Info().TornBytes > 0 {
		r.count.Torn++
	}
	have, err := read(r.store)
	if err != nil {
		r.t.Errorf("read: %v", err)
		return
	}
	all := append(r.states, r.maybe...)
	for i := len(all) - 1; i >= 0; i-- {
		if maps.Equal(have, all[i]) {
			r.count.Lost += len(all) - 1 - i
			r.count.Kept += i
			r.states, r.maybe = all[i:i+1], nil
			return
		}
	}
	r.t.Errorf("found a state that is none of the %d legal ones\nhave %d records\noldest legal %d\nnewest legal %d", len(all), len(have), len(all[0]), len(all[len(all)-1]))
}

// commit commits random changes.
func (r *crashRun) commit() {
	r.count.Commits++
	changes := r.changes()
	before := len(r.disk.names)
	d, err := r.store.Commit(changes)
	r.count.Reclaimed += max(0, before-len(r.disk.names))
	now := r.states[len(r.states)-1].apply(changes)
	switch {
	case err == nil:
		if r.maybe != nil {
			r.t.Error("a commit succeeded after the log had failed")
		}
		r.states = append(r.states, now)
		if d == mqtt5.DurabilitySynced {
			r.states = r.states[len(r.states)-1:]
		} else if r.opts.Sync == SyncAlways {
			r.t.Errorf("durability %v with SyncAlways", d)
		}
	case errors.Is(err, mqtt5.ErrStoreFull):
		r.count.Full++
	case errors.Is(err, mqtt5.ErrStoreIO):
		r.count.Failed++
		if r.store.log.failed != nil && r.maybe == nil {
			r.maybe = []contents{now} // and nothing can follow it
		}
	default:
		r.t.Errorf("commit: %v", err)
	}
}

// changes draws what a client would do, and some things that it would not.
func (r *crashRun) changes() []mqtt5.StoreChange {
	var list []mqtt5.StoreChange
	add := func(a mqtt5.StoreAction, kind mqtt5.RecordKind, id uint64, state, body []byte) {
		list = append(list, mqtt5.StoreChange{Action: a, Record: mqtt5.StoreRecord{Kind: kind, ID: id, State: state, Body: body}})
	}
	for range 1 + r.random.IntN(4) {
		switch r.random.IntN(12) {
		case 0, 1, 2, 3:
			add(mqtt5.StoreAppend, mqtt5.RecordPublish, r.next, nil, r.bytes(600))
			r.next++
		case 4:
			add(mqtt5.StoreAppend, mqtt5.RecordPublish, r.next, r.bytes(4), r.bytes(6000))
			r.next++
		case 5, 6:
			add(mqtt5.StoreUpdate, mqtt5.RecordPublish, r.oldest+r.random.Uint64N(8), r.bytes(4), nil)
		case 7, 8, 9:
			add(mqtt5.StoreRemove, mqtt5.RecordPublish, r.oldest, nil, nil)
			if r.oldest < r.next && r.random.IntN(15) > 0 { // at times one stays
				r.oldest++
			}
			if r.random.IntN(20) == 0 {
				r.oldest++
			}
		case 10:
			add(mqtt5.StoreAppend, mqtt5.RecordSession, 0, r.bytes(9), r.bytes(90))
		case 11:
			a := mqtt5.StoreAppend
			if r.random.IntN(2) == 0 {
				a = mqtt5.StoreRemove
			}
			add(a, mqtt5.RecordReceived, 1+r.random.Uint64N(20), nil, nil)
		}
	}
	return list
}

func (r *crashRun) bytes(n int) []byte {
	b := make([]byte, r.random.IntN(n))
	for i := range b {
		b[i] = byte(r.random.Uint32())
	}
	return b
}
