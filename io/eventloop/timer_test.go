// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

func TestTimer_size(t *testing.T) {
	if n := unsafe.Sizeof(Timer{}); n > 48 {
		t.Errorf("a Timer has %d bytes", n)
	}
	if n := unsafe.Sizeof(Timer{}) + unsafe.Sizeof(entry{}); n > 48 {
		t.Errorf("an armed Timer costs %d bytes", n)
	}
}

// scenario is one program for timers and tasks that must run alike on a loop
// with a goroutine and on a manual one.
func scenario(l *Loop, trace func(string)) {
	const ms = time.Millisecond
	timers := make([]Timer, 10)
	for i := range timers {
		timers[i].Init(l, func() { trace(string(rune('a' + i))) })
	}
	timers[0].Reset(20 * ms) // a
	timers[1].Reset(10 * ms) // b
	timers[2].Reset(10 * ms) // c, after b: same time, armed later
	timers[3].Reset(10 * ms) // d is moved behind e
	timers[4].Reset(10 * ms) // e
	timers[3].Reset(10 * ms)
	timers[5].Reset(5 * ms) // f is moved to the end
	timers[5].Reset(30 * ms)
	timers[6].Reset(40 * ms) // g is moved to the front
	timers[6].Reset(0)
	timers[7].Reset(15 * ms) // h is stopped
	timers[7].Stop()

	timers[8].Init(l, func() { // stops what is due at the same time
		trace("i")
		if !timers[9].Stop() {
			trace("j had run")
		}
		if timers[8].Stop() {
			trace("i was still armed")
		}
	})
	timers[8].Reset(25 * ms)
	timers[9].Reset(25 * ms)

	rounds := 0
	again := new(Timer)
	again.Init(l, func() { // re-arms itself
		trace("again")
		if rounds++; rounds < 3 {
			again.Reset(l.Now() + 100*ms)
		}
	})
	again.Reset(100 * ms)
	l.Post(func() { trace("task") })
}

var scenarioTrace = []string{
	"0s task", "0s g", "10ms b", "10ms c", "10ms e", "10ms d", "20ms a", "25ms i", "30ms f",
	"100ms again", "200ms again", "300ms again",
}

func TestTimer_scenario(t *testing.T) {
	t.Run("loop", func(t *testing.T) {
		bubble(t, Options{}, func(t *testing.T, _ *Group, l *Loop) {
			var got []string
			onLoop(t, l, func() {
				scenario(l, func(s string) { got = append(got, l.Now().String()+" "+s) })
			})
			time.Sleep(time.Second)
			synctest.Wait()
			if d := cmp.Diff(scenarioTrace, sortFirst(got)); d != "" {
				t.Error(d)
			}
		})
	})
	t.Run("manual", func(t *testing.T) {
		m := NewManual()
		var got []string
		scenario(m.Loop(), func(s string) { got = append(got, m.Loop().Now().String()+" "+s) })
		m.Advance(time.Second)
		if d := cmp.Diff(scenarioTrace, got); d != "" {
			t.Error(d)
		}
	})
}

// sortFirst puts the first two lines in order: when the scenario is itself a
// task, a timer that is due comes before the task that it posts.
func sortFirst(s []string) []string {
	if len(s) > 2 {
		slices.Sort(s[:2])
		slices.Reverse(s[:2])
	}
	return s
}

func TestTimer_laterThanTheNextWakeUpDoesNotWakeTheLoop(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *Group, l *Loop) {
		var first, other Timer
		first.Init(l, func() {})
		other.Init(l, func() {})
		first.Reset(time.Hour)
		synctest.Wait()
		wakeAt := func() time.Duration {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.wakeAt
		}
		if at := wakeAt(); at != time.Hour {
			t.Fatalf("the loop sleeps until %v", at)
		}
		other.Reset(2 * time.Hour)
		other.Reset(time.Hour)
		first.Reset(90 * time.Minute)
		other.Stop()
		if at := wakeAt(); at != time.Hour {
			t.Errorf("the loop was woken or sleeps until %v", at)
		}
		other.Reset(30 * time.Minute)
		if at := wakeAt(); at == time.Hour {
			t.Error("the loop was not woken")
		}
	})
}

func TestTimer_neverEarlyAndOnTime(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *Group, l *Loop) {
		var tm Timer
		fired := make(chan time.Duration, 1)
		tm.Init(l, func() { fired <- l.Now() })
		for _, d := range []time.Duration{0, 1, time.Microsecond, time.Second, 24 * 365 * time.Hour, -time.Hour} {
			at := l.Now() + d
			tm.Reset(at)
			if got := <-fired; got != max(at, at-d) {
				t.Errorf("armed for %v, fired at %v", at, got)
			}
		}
	})
}

func TestTimer_stop(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *Group, l *Loop) {
		var tm Timer
		if tm.Stop() {
			t.Error("a zero Timer was armed")
		}
		n := 0
		tm.Init(l, func() { n++ })
		if tm.Stop() {
			t.Error("armed before Reset")
		}
		tm.Reset(l.Now() + time.Second)
		if !tm.Stop() || tm.Stop() {
			t.Error("Stop should report true once")
		}
		time.Sleep(2 * time.Second)
		tm.Reset(l.Now() + time.Second)
		time.Sleep(2 * time.Second)
		if tm.Stop() {
			t.Error("armed after it has run")
		}
		if n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

func TestTimer_stopOnTheLoopIsFinal(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *Group, l *Loop) {
		var tm Timer
		tm.Init(l, func() { t.Error("ran after Stop") })
		tm.Reset(l.Now() + time.Second)
		onLoop(t, l, func() {
			time.Sleep(2 * time.Second) // it is long due
			if !tm.Stop() {
				t.Error("not armed")
			}
		})
		time.Sleep(time.Second)
	})
}

func TestTimer_resetWithoutInitPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(Timer).Reset(0)
}

// TestTimerHeap_random compares the heap with a sorted list.
func TestTimerHeap_random(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := NewManual()
		l := m.Loop()
		type armed struct {
			at    time.Duration
			order int
			id    int
		}
		var model []armed
		var got, want []int
		timers := make([]Timer, 200)
		for i := range timers {
			timers[i].Init(l, func() { got = append(got, i) })
		}
		for step := range 5000 {
			id := rng.IntN(len(timers))
			at := slices.IndexFunc(model, func(a armed) bool { return a.id == id })
			switch rng.IntN(8) {
			case 0, 1:
				if timers[id].Stop() != (at >= 0) {
					t.Fatalf("seed %d, step %d: Stop is wrong", seed, step)
				}
				if at >= 0 {
					model = slices.Delete(model, at, at+1)
				}
			case 2:
				d := time.Duration(rng.IntN(30))
				now := l.Now() + d
				slices.SortFunc(model, func(a, b armed) int {
					if a.at != b.at {
						return int(a.at - b.at)
					}
					return a.order - b.order
				})
				for len(model) > 0 && model[0].at <= now {
					want = append(want, model[0].id)
					model = model[1:]
				}
				m.Advance(d)
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("seed %d, step %d: %s", seed, step, d)
				}
				got, want = nil, nil
			default:
				a := armed{l.Now() + time.Duration(rng.IntN(100)), step, id}
				timers[id].Reset(a.at)
				if at >= 0 {
					model[at] = a
				} else {
					model = append(model, a)
				}
			}
		}
	}
}

func TestTimerHeap_givesMemoryBack(t *testing.T) {
	m := NewManual()
	timers := make([]Timer, 50_000)
	for i := range timers {
		timers[i].Init(m.Loop(), func() {})
		timers[i].Reset(time.Duration(i))
	}
	m.Advance(time.Hour)
	if n := cap(m.Loop().timers); n > 1024 {
		t.Errorf("room for %d timers is kept", n)
	}
}

func TestTimer_fromManyGoroutines(t *testing.T) {
	g := NewGroup(Options{Loops: 2})
	defer g.Close()
	const goroutines, rounds = 8, 300
	finished := make(chan struct{})
	for i := range goroutines {
		l := g.loops[i%2]
		go func() {
			defer func() { finished <- struct{}{} }()
			fired := make(chan struct{}, rounds)
			var tm Timer
			tm.Init(l, func() { fired <- struct{}{} })
			for r := range rounds {
				tm.Reset(l.Now() + time.Hour)
				tm.Reset(l.Now() + time.Duration(r%3)*time.Microsecond)
				if r%2 == 0 && tm.Stop() {
					continue
				}
				<-fired
			}
			if len(fired) != 0 {
				t.Error("ran more often than armed")
			}
		}()
	}
	for range goroutines {
		<-finished
	}
}
