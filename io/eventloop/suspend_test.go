// SPDX-License-Identifier: Apache-2.0

package eventloop_test

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
)

func TestSuspendWatch(t *testing.T) {
	t.Parallel()
	m := eventloop.NewManual()
	var heard []time.Duration
	var first, second eventloop.SuspendWatch
	first.Start(m.Loop(), func(d time.Duration) { heard = append(heard, d) })
	second.Start(m.Loop(), func(d time.Duration) {
		heard = append(heard, -d)
		second.Stop()
	})
	m.Advance(time.Hour)
	m.Suspend(4 * time.Second) // a clock that was corrected
	m.Advance(time.Minute)
	if len(heard) != 0 {
		t.Fatalf("heard %v while awake", heard)
	}
	m.Suspend(8 * time.Hour)
	m.Advance(15 * time.Second)
	m.Suspend(time.Minute)
	m.Advance(15 * time.Second)
	if want := []time.Duration{8 * time.Hour, -8 * time.Hour, time.Minute}; !slices.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
	first.Stop()
	m.Suspend(time.Hour)
	m.Advance(time.Minute)
	if _, armed := m.NextTimer(); len(heard) != 3 || armed {
		t.Errorf("heard %v after the last Stop, timer armed %v", heard, armed)
	}
	// A loop that has had watches takes new ones, and what was slept before
	// does not count.
	var third eventloop.SuspendWatch
	third.Start(m.Loop(), func(d time.Duration) { heard = append(heard, d) })
	m.Advance(time.Minute)
	m.Suspend(time.Hour)
	m.Advance(time.Minute)
	if len(heard) != 4 || heard[3] != time.Hour {
		t.Errorf("heard %v", heard)
	}
	var never eventloop.SuspendWatch
	never.Stop()
}

// A client starts a watch and stops it again: that costs the loop no task.
func TestSuspendWatch_startWakesNobody(t *testing.T) {
	t.Parallel()
	m := eventloop.NewManual()
	for range 3 {
		var watch eventloop.SuspendWatch
		watch.Start(m.Loop(), func(time.Duration) {})
		if at, armed := m.NextTimer(); !armed || at != 15*time.Second {
			t.Errorf("next timer at %v (%v) before the loop has run anything, want 15s", at, armed)
		}
		watch.Stop()
	}
}

// A loop that is awake finds its clocks in step, however long.
func TestSuspendWatch_awake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := eventloop.NewGroup(eventloop.Options{Loops: 1})
		defer g.Close()
		var w eventloop.SuspendWatch
		w.Start(g.Next(), func(d time.Duration) { t.Errorf("heard of %v", d) })
		time.Sleep(time.Hour)
		synctest.Wait()
		w.Stop()
	})
}

// A function that ends its goroutine ends only itself: the others are called, and
// all of them after the next suspend.
func TestSuspendWatch_goexit(t *testing.T) {
	t.Parallel()
	m := eventloop.NewManual()
	var calls [3]int
	var watches [3]eventloop.SuspendWatch
	for i := range watches {
		watches[i].Start(m.Loop(), func(time.Duration) {
			calls[i]++
			if i == 1 {
				runtime.Goexit()
			}
		})
	}
	for want := 1; want <= 2; want++ {
		m.Suspend(time.Hour)
		for range 3 {
			driven := make(chan struct{})
			go func() {
				defer close(driven)
				m.Advance(15 * time.Second)
			}()
			<-driven
		}
		if calls != [3]int{want, want, want} {
			t.Errorf("calls %v, want %d each", calls, want)
		}
	}
}
