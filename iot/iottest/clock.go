// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"container/heap"
	"time"
)

// timer runs a function when the core's clock reaches a time. All fields are guarded by Core.mu.
type timer struct {
	core  *Core
	when  time.Time
	run   func() // with Core.mu held; must not block
	index int    // in the queue, -1 when not queued
}

// at runs f with c.mu held as soon as the core's clock reaches when. c.mu is held. The function also runs from
// [Core.Advance], never from within at.
func (c *Core) at(when time.Time, f func()) *timer {
	t := &timer{core: c, when: when, run: f}
	heap.Push(&c.timers.queue, t)
	c.armTimers()
	return t
}

// after is at, d from now.
func (c *Core) after(d time.Duration, f func()) *timer { return c.at(c.nowLocked().Add(d), f) }

// stop ends a timer that has not run. It may be nil. Core.mu is held.
func (t *timer) stop() {
	if t == nil || t.index < 0 {
		return
	}
	heap.Remove(&t.core.timers.queue, t.index)
	t.core.armTimers()
}

// clockTimers are the timers on the core's clock. One runtime timer serves the earliest of them.
type clockTimers struct {
	queue timerQueue
	wake  *time.Timer
	armed time.Time // on the core's clock, zero when not armed
}

// armTimers sets the runtime timer for the earliest of the core's timers. c.mu is held.
func (c *Core) armTimers() {
	t := &c.timers
	if len(t.queue) == 0 || c.closed {
		if t.wake != nil {
			t.wake.Stop()
		}
		t.armed = time.Time{}
		return
	}
	first := t.queue[0].when
	if first.Equal(t.armed) {
		return
	}
	t.armed = first
	d := max(0, first.Sub(c.nowLocked()))
	if t.wake == nil {
		t.wake = time.AfterFunc(d, c.wakeTimers)
	} else {
		t.wake.Reset(d)
	}
}

func (c *Core) wakeTimers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runTimers()
}

// runTimers runs the timers that are due. c.mu is held.
func (c *Core) runTimers() {
	for !c.closed && len(c.timers.queue) > 0 && !c.nowLocked().Before(c.timers.queue[0].when) {
		heap.Pop(&c.timers.queue).(*timer).run()
	}
	c.timers.armed = time.Time{}
	c.armTimers()
}

// timerQueue is a heap by time.
type timerQueue []*timer

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].when.Before(q[j].when) }
func (q timerQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *timerQueue) Push(x any) {
	t := x.(*timer)
	t.index = len(*q)
	*q = append(*q, t)
}

func (q *timerQueue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.index = -1
	return t
}
