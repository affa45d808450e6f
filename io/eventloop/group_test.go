// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNewGroup_defaults(t *testing.T) {
	g := NewGroup(Options{})
	if n := len(g.loops); n != runtime.GOMAXPROCS(0) {
		t.Errorf("%d loops", n)
	}
	if g.gate.limit != DefaultDialLimit || g.slow != DefaultSlowTask {
		t.Errorf("limit %d, slow %v", g.gate.limit, g.slow)
	}
	for _, l := range g.loops {
		if l.ended() != nil {
			t.Error("a goroutine was started")
		}
	}
}

func TestGroup_startsGoroutinesWhenUsed(t *testing.T) {
	bubble(t, Options{Loops: 3}, func(t *testing.T, g *Group, _ *Loop) {
		g.loops[0].Pin()
		g.loops[0].Now()
		var tm Timer
		tm.Init(g.loops[1], func() {})
		tm.Stop()
		for _, l := range g.loops {
			if l.ended() != nil {
				t.Error("started too early")
			}
		}
		g.loops[0].Post(func() {})
		tm.Reset(0)
		if g.loops[0].ended() == nil || g.loops[1].ended() == nil || g.loops[2].ended() != nil {
			t.Error("want the first two to run")
		}
	})
}

func TestNext_leastPins(t *testing.T) {
	g := NewGroup(Options{Loops: 3})
	var got []int
	for range 7 {
		l := g.Next()
		l.Pin()
		got = append(got, l.index)
	}
	if d := cmp.Diff([]int{0, 1, 2, 0, 1, 2, 0}, got); d != "" {
		t.Error(d)
	}
	g.loops[2].Unpin()
	if l := g.Next(); l != g.loops[2] {
		t.Errorf("next is %d", l.index)
	}
	for range 10 {
		g.loops[1].Unpin() // more than there were
	}
	g.loops[1].Pin()
	g.loops[2].Unpin()
	if l := g.Next(); l != g.loops[2] {
		t.Errorf("next is %d: counts below zero", l.index)
	}
}

func TestShutdown_runsQueuedTasksAndDropsTimers(t *testing.T) {
	bubble(t, Options{Loops: 2}, func(t *testing.T, g *Group, l *Loop) {
		var tm Timer
		tm.Init(l, func() { t.Error("a timer ran") })
		tm.Reset(time.Second)
		started, release := make(chan struct{}), make(chan struct{})
		l.Post(func() { close(started); <-release })
		<-started
		ran := 0
		for range 3 {
			l.Post(func() {
				ran++
				if l.Post(func() { t.Error("a task posted during shutdown ran") }) {
					t.Error("a task was accepted during shutdown")
				}
				tm.Reset(0)
			})
		}
		result := make(chan error)
		go func() { result <- g.Shutdown(context.Background()) }()
		synctest.Wait()
		if tm.Stop() {
			t.Error("the timer is still armed")
		}
		close(release)
		if err := <-result; err != nil || ran != 3 {
			t.Errorf("error %v, %d tasks ran", err, ran)
		}
		if g.loops[1].Post(func() {}) {
			t.Error("a loop that was never used accepts tasks")
		}
		tm.Reset(0)
		if tm.Stop() {
			t.Error("armed after shutdown")
		}
		if err := g.Shutdown(context.Background()); err != nil {
			t.Error("again:", err)
		}
	})
}

func TestShutdown_contextEnds(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, g *Group, l *Loop) {
		release := make(chan struct{})
		l.Post(func() { <-release })
		l.Post(func() { t.Error("a task ran that had not begun") })
		cause := errors.New("no patience")
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, cause)
		defer cancel()
		synctest.Wait()
		err := g.Shutdown(ctx)
		if !errors.Is(err, cause) {
			t.Error(err)
		}
		close(release)
		if err := g.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestClose_dropsTasksAndMayBeCalledOnALoop(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, g *Group, l *Loop) {
		var tm Timer
		tm.Init(l, func() { t.Error("a timer ran") })
		closed := false
		l.Post(func() {
			tm.Reset(0)
			g.Close()
			closed = true
		})
		l.Post(func() { t.Error("a task ran that had not begun") })
		if err := g.Shutdown(context.Background()); err != nil || !closed {
			t.Errorf("error %v, closed %v", err, closed)
		}
		g.Close()
	})
}

// TestShutdown_endsGoroutines relies on the bubble, which does not end before
// its goroutines have.
func TestShutdown_endsGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(Options{Loops: 4})
		timers := make([]Timer, 100)
		for i := range timers {
			l := g.Next()
			l.Pin()
			timers[i].Init(l, func() {})
			timers[i].Reset(time.Duration(i) * time.Hour)
		}
		time.Sleep(2*time.Hour + 1)
		g.Close()
	})
}
