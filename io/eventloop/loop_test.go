// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"
)

func TestPost_runsInOrderOfPosting(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, _ *Group, l *Loop) {
		var got, want []int
		for i := range 1000 {
			l.Post(func() { got = append(got, i) })
			want = append(want, i)
		}
		onLoop(t, l, func() {})
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func TestPost_fromManyGoroutines(t *testing.T) {
	const posters, each = 8, 500
	g := NewGroup(Options{Loops: 1})
	defer g.Close()
	l := g.Next()
	var (
		running atomic.Int32
		latest  [posters]int // written by the loop alone, without a lock
		wg      sync.WaitGroup
	)
	for p := range posters {
		wg.Go(func() {
			for i := range each {
				l.Post(func() {
					if running.Add(1) != 1 {
						t.Error("tasks overlap")
					}
					if latest[p] != i {
						t.Errorf("poster %d: task %d ran when %d was next", p, i, latest[p])
					}
					latest[p]++
					running.Add(-1)
				})
			}
		})
	}
	wg.Wait()
	onLoop(t, l, func() {
		for p, n := range latest {
			if n != each {
				t.Errorf("poster %d: %d of %d tasks ran", p, n, each)
			}
		}
	})
}

func TestTurn_neitherTasksNorTimersStarve(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, g *Group, l *Loop) {
		var trace []string
		var again func()
		again = func() {
			if trace = append(trace, "task"); len(trace) < 6 {
				l.Post(again)
			}
		}
		var tm Timer
		tm.Init(l, func() {
			if trace = append(trace, "timer"); len(trace) < 6 {
				tm.Reset(0) // long past
			}
		})
		onLoop(t, l, func() { tm.Reset(0); l.Post(again) })
		synctest.Wait()
		// The timer runs in the turn that armed it: it was due when that turn
		// came to its timers.
		want := []string{"timer", "task", "timer", "task", "timer", "task", "timer"}
		if d := cmp.Diff(want, trace); d != "" {
			t.Error(d)
		}
	})
}

func TestPanic_isLoggedAndTheLoopGoesOn(t *testing.T) {
	log, logs := observed()
	bubble(t, Options{Logger: log}, func(t *testing.T, _ *Group, l *Loop) {
		var tm Timer
		tm.Init(l, func() { panic("in a timer") })
		tm.Reset(0)
		l.Post(func() { panic("in a task") })
		l.Post(func() { s := make([]int, 1); s[len(s)]++ })
		l.Post(nil)
		ran := false
		onLoop(t, l, func() { ran = true })
		synctest.Wait()
		if !ran {
			t.Error("the loop did not go on")
		}
		entries := logs.FilterLevelExact(zapcore.ErrorLevel).All()
		if len(entries) != 4 {
			t.Fatalf("%d errors logged, want 4: %v", len(entries), entries)
		}
		for _, e := range entries {
			if e.LoggerName != "eventloop" {
				t.Errorf("logger %q", e.LoggerName)
			}
		}
		if stack, _ := entries[0].ContextMap()["stack"].(string); !strings.Contains(stack, "TestPanic_isLoggedAndTheLoopGoesOn") {
			t.Errorf("the stack does not show the callback:\n%s", stack)
		}
		if name, _ := entries[0].ContextMap()["callback"].(string); !strings.Contains(name, "TestPanic_") {
			t.Errorf("callback %q", name)
		}
	})
}

func TestGoexit_endsTheCallbackOnly(t *testing.T) {
	log, logs := observed()
	bubble(t, Options{Logger: log}, func(t *testing.T, _ *Group, l *Loop) {
		var got []int
		block := make(chan struct{})
		l.Post(func() { <-block })
		for i := range 4 {
			l.Post(func() {
				got = append(got, i)
				if i == 1 {
					runtime.Goexit()
				}
			})
		}
		close(block)
		onLoop(t, l, func() {})
		if d := cmp.Diff([]int{0, 1, 2, 3}, got); d != "" {
			t.Error(d)
		}
		if logs.Len() != 1 {
			t.Errorf("logged: %v", logs.All())
		}
	})
}

func TestWatchdog(t *testing.T) {
	for _, test := range []struct {
		name string
		opts Options
		task time.Duration
		want []string
	}{
		{"fast", Options{}, 100 * time.Millisecond, nil},
		{"slow", Options{}, 101 * time.Millisecond, []string{"slow callback held up the loop"}},
		{"own limit", Options{SlowTask: time.Second}, 1001 * time.Millisecond, []string{"slow callback held up the loop"}},
		{"off", Options{SlowTask: -1}, time.Hour, nil},
		{"stuck", Options{}, time.Hour, []string{"callback does not return and holds up the loop", "slow callback held up the loop"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log, logs := observed()
			test.opts.Logger = log
			bubble(t, test.opts, func(t *testing.T, _ *Group, l *Loop) {
				onLoop(t, l, func() { time.Sleep(test.task) })
				synctest.Wait()
				var got []string
				for _, e := range logs.All() {
					got = append(got, e.Message)
					if name := e.ContextMap()["callback"].(string); !strings.Contains(name, "onLoop") {
						t.Errorf("callback %q", name)
					}
				}
				if d := cmp.Diff(test.want, got); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

func TestWatchdog_timerCallback(t *testing.T) {
	log, logs := observed()
	bubble(t, Options{Logger: log}, func(t *testing.T, _ *Group, l *Loop) {
		var tm Timer
		tm.Init(l, func() { time.Sleep(3 * time.Second) })
		tm.Reset(l.Now() + time.Minute)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := logs.FilterMessage("slow callback held up the loop").Len(); n != 1 {
			t.Errorf("%d warnings", n)
		}
		if n := logs.FilterMessage("callback does not return and holds up the loop").Len(); n != 1 {
			t.Errorf("%d reports of a callback that runs, want one however often it is looked at", n)
		}
		l.mu.Lock()
		watching := l.dog.watching
		l.mu.Unlock()
		if watching {
			t.Error("the watchdog is awake while the loop sleeps")
		}
	})
}

func TestRecycle_givesABurstsMemoryBack(t *testing.T) {
	m := NewManual()
	l := m.Loop()
	for range 50_000 {
		l.Post(func() {})
	}
	m.Run()
	for range 500 {
		l.Post(func() {})
		m.Run()
	}
	if n := cap(l.tasks) + cap(l.batch); n > 1024 {
		t.Errorf("room for %d tasks is kept", n)
	}
}
