// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"runtime"
	"testing"
	"time"
)

// TestAllocations asserts that what happens again and again does not allocate.
func TestAllocations(t *testing.T) {
	m := NewManual()
	l := m.Loop()
	n := 0
	task := func() { n++ }
	timers := make([]Timer, 1000)
	for i := range timers {
		timers[i].Init(l, task)
		timers[i].Reset(time.Hour + time.Duration(i))
	}
	tm := &timers[500]
	g := m.Group().Gate()
	var w Waiter
	w.Init(task)
	real := NewGroup(Options{Loops: 1})
	defer real.Close()
	done := make(chan struct{}, 1)
	signal := func() { done <- struct{}{} }
	var alarm Timer
	alarm.Init(real.Next(), signal)

	for _, test := range []struct {
		name string
		f    func()
	}{
		{"post and run", func() { l.Post(task); m.Run() }},
		{"re-arm", func() { tm.Reset(2 * time.Hour); tm.Reset(time.Hour) }},
		{"stop and arm", func() { tm.Stop(); tm.Reset(time.Hour) }},
		{"fire", func() { tm.Reset(l.Now()); m.Run() }},
		{"gate", func() { g.Acquire(&w); g.Release() }},
		{"post and run on a goroutine", func() { real.Next().Post(signal); <-done }},
		{"fire on a goroutine", func() { alarm.Reset(0); <-done }},
		{"sleep and fire on a goroutine", func() { alarm.Reset(real.Next().Now() + 10*time.Microsecond); <-done }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 10 {
				test.f()
			}
			if n := testing.AllocsPerRun(100, test.f); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkPost(b *testing.B) {
	b.ReportAllocs()
	g := NewGroup(Options{Loops: 1})
	defer g.Close()
	l := g.Next()
	done := make(chan struct{}, 1)
	task, signal := func() {}, func() { done <- struct{}{} }
	for i := 0; b.Loop(); i++ {
		if i%256 == 255 {
			l.Post(signal)
			<-done
		} else {
			l.Post(task)
		}
	}
}

// BenchmarkPost_roundTrip is a task posted to a loop that sleeps.
func BenchmarkPost_roundTrip(b *testing.B) {
	b.ReportAllocs()
	g := NewGroup(Options{Loops: 1})
	defer g.Close()
	l := g.Next()
	done := make(chan struct{}, 1)
	signal := func() { done <- struct{}{} }
	for b.Loop() {
		l.Post(signal)
		<-done
	}
}

// BenchmarkReset moves one of 10,000 timers to a later time, as a keep-alive
// does with every packet.
func BenchmarkReset(b *testing.B) {
	b.ReportAllocs()
	g := NewGroup(Options{Loops: 1})
	defer g.Close()
	l := g.Next()
	timers := make([]Timer, 10_000)
	for i := range timers {
		timers[i].Init(l, func() {})
		timers[i].Reset(time.Hour + time.Duration(i)*time.Millisecond)
	}
	for i := 0; b.Loop(); i++ {
		timers[i*7919%len(timers)].Reset(time.Hour + time.Duration(i)*time.Microsecond)
	}
}

// BenchmarkFire arms one of 10,000 timers for now and runs it.
func BenchmarkFire(b *testing.B) {
	b.ReportAllocs()
	m := NewManual()
	l := m.Loop()
	timers := make([]Timer, 10_000)
	for i := range timers {
		timers[i].Init(l, func() {})
		timers[i].Reset(time.Hour + time.Duration(i)*time.Millisecond)
	}
	for i := 0; b.Loop(); i++ {
		timers[i*7919%len(timers)].Reset(0)
		m.Run()
	}
}

func BenchmarkGate(b *testing.B) {
	b.ReportAllocs()
	g := NewGroup(Options{}).Gate()
	var w Waiter
	w.Init(func() {})
	for b.Loop() {
		g.Acquire(&w)
		g.Release()
	}
}

// TestArmedTimers_cost asserts what 10,000 timers at rest cost: their heap
// entries, and one goroutine for all.
func TestArmedTimers_cost(t *testing.T) {
	const n = 10_000
	g := NewGroup(Options{Loops: 1})
	defer g.Close()
	l := g.Next()
	timers := make([]Timer, n)
	for i := range timers {
		timers[i].Init(l, func() {})
	}
	goroutines := runtime.NumGoroutine()
	for i := range timers {
		timers[i].Reset(time.Hour + time.Duration(i))
	}
	if d := runtime.NumGoroutine() - goroutines; d > 1 {
		t.Errorf("%d goroutines", d)
	}
	if c := cap(l.timers); c > 2*n {
		t.Errorf("room for %d timers", c)
	}
}
