// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestManual_callbacksSeeTheirTime(t *testing.T) {
	m := NewManual()
	l := m.Loop()
	if m.Group().Next() != l {
		t.Error("the group has another loop")
	}
	var got []time.Duration
	var tm Timer
	tm.Init(l, func() {
		got = append(got, l.Now())
		if len(got) < 5 {
			tm.Reset(l.Now() + 7*time.Second)
		}
	})
	tm.Reset(7 * time.Second)
	if next, ok := m.NextTimer(); !ok || next != 7*time.Second {
		t.Errorf("next timer %v %v", next, ok)
	}
	m.Advance(20 * time.Second)
	if d := cmp.Diff([]time.Duration{7 * time.Second, 14 * time.Second}, got); d != "" {
		t.Error(d)
	}
	if now := l.Now(); now != 20*time.Second {
		t.Errorf("now %v", now)
	}
	m.Advance(-time.Hour)
	if now := l.Now(); now != 20*time.Second {
		t.Errorf("now %v", now)
	}
	m.Advance(1<<63 - 1)
	if len(got) != 5 {
		t.Errorf("ran %d times", len(got))
	}
	if _, ok := m.NextTimer(); ok {
		t.Error("a timer is left")
	}
}

func TestManual_runLeavesNothingThatIsDue(t *testing.T) {
	m := NewManual()
	l := m.Loop()
	var got []string
	var tm Timer
	tm.Init(l, func() {
		got = append(got, "timer")
		l.Post(func() { got = append(got, "task of the timer") })
	})
	l.Post(func() {
		got = append(got, "task")
		l.Post(func() { got = append(got, "task of the task"); tm.Reset(0) })
	})
	if len(got) != 0 {
		t.Error("ran before Run")
	}
	m.Run()
	if d := cmp.Diff([]string{"task", "task of the task", "timer", "task of the timer"}, got); d != "" {
		t.Error(d)
	}
	if l.Now() != 0 {
		t.Error("the clock moved")
	}
}

func TestManual_panicReachesTheTest(t *testing.T) {
	m := NewManual()
	ran := false
	m.Loop().Post(func() { panic("boom") })
	m.Loop().Post(func() { ran = true })
	func() {
		defer func() {
			if r := recover(); r != "boom" {
				t.Errorf("recovered %v", r)
			}
		}()
		m.Run()
	}()
	m.Run()
	if !ran {
		t.Error("the rest was lost")
	}
}

func TestManual_shutdown(t *testing.T) {
	m := NewManual()
	l := m.Loop()
	ran := 0
	l.Post(func() { ran++ })
	l.Post(func() { ran++; m.Group().Shutdown(context.Background()) })
	l.Post(func() { ran++ })
	if err := m.Group().Shutdown(context.Background()); err != nil || ran != 3 {
		t.Errorf("error %v, %d tasks ran", err, ran)
	}
	if l.Post(func() {}) {
		t.Error("accepted after shutdown")
	}

	m = NewManual()
	m.Loop().Post(func() { t.Error("ran after Close") })
	m.Group().Close()
	m.Run()
	m.Advance(time.Second)
}
