// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"sync"
	"sync/atomic"
	"time"
)

// Manual is a group of one loop whose clock stands still until a test moves it.
// It has no goroutine: tasks and timer callbacks run inside [Manual.Run],
// [Manual.Advance] and [Group.Shutdown], on the goroutine that calls them, in
// the order in which an ordinary loop would run them. Unlike there, a panic of
// a callback is not recovered but reaches the caller.
//
// Tasks may be posted and timers be armed from any goroutine. Run and Advance
// exclude each other and must not be called from a callback: that would wait
// for ever.
type Manual struct {
	group  *Group
	now    atomic.Int64
	asleep atomic.Int64 // by how much the wall clock is ahead

	driving sync.Mutex
}

// NewManual makes a manual group. Its clock stands at zero.
func NewManual() *Manual {
	m := &Manual{group: NewGroup(Options{Loops: 1, SlowTask: -1})}
	m.group.manual = m
	return m
}

// Group returns the group, whose only loop is [Manual.Loop].
func (m *Manual) Group() *Group { return m.group }

// Loop returns the loop.
func (m *Manual) Loop() *Loop { return m.group.loops[0] }

// Run runs the tasks that are queued and the timers that are due, and what
// these post and arm for the present time, until nothing is left. The clock
// stands still.
func (m *Manual) Run() {
	m.driving.Lock()
	defer m.driving.Unlock()
	m.run()
}

// Advance moves the clock by d. On the way it stops at the time of every timer
// that becomes due, also of those armed meanwhile, and does there what
// [Manual.Run] does: callbacks see the time for which they were armed. A
// negative d counts as zero.
func (m *Manual) Advance(d time.Duration) {
	m.driving.Lock()
	defer m.driving.Unlock()
	until := m.Loop().Now() + max(d, 0)
	if until < 0 {
		until = never
	}
	for {
		m.run()
		next, ok := m.NextTimer()
		if !ok || next > until {
			break
		}
		m.now.Store(int64(max(next, m.Loop().Now()))) // another goroutine may have armed one for a time long past
	}
	m.now.Store(int64(until))
}

// Suspend lets the wall clock of the group go on by d while its own clock
// stands still, as when a machine sleeps. Each [SuspendWatch] notices it at
// its next comparison, which [Manual.Advance] makes.
func (m *Manual) Suspend(d time.Duration) { m.asleep.Add(int64(d)) }

// NextTimer returns the time of the earliest armed timer, and whether there is one.
func (m *Manual) NextTimer() (time.Duration, bool) {
	l := m.Loop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.timers) == 0 {
		return 0, false
	}
	return l.timers[0].at, true
}

func (m *Manual) run() {
	l := m.Loop()
	for l.turn() && l.ready() {
	}
}

// drain runs the rest at shutdown, unless a call further up the stack or on
// another goroutine is about to.
func (m *Manual) drain() {
	if m.driving.TryLock() {
		defer m.driving.Unlock()
		m.run()
	}
}
