// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"container/heap"
	"time"
)

// alarms run functions at times of the core's clock. All of it is guarded by Core.mu.
type alarms struct {
	queue alarmQueue
	seq   int64
	timer *time.Timer // for the earliest alarm; nil before the first
}

// alarm is one function to run.
type alarm struct {
	at    time.Time
	seq   int64 // alarms of the same time run in the order in which they were set
	run   func()
	index int // in the queue, -1 when not in it
}

// alarmIn runs f after d on the core's clock, on a goroutine of its own and
// with c.mu held, or within [Core.Advance]. f must not block. c.mu is held.
func (c *Core) alarmIn(d time.Duration, f func()) *alarm {
	return c.alarmAt(c.nowLocked().Add(d), f)
}

// alarmAt is alarmIn for a point in time.
func (c *Core) alarmAt(at time.Time, f func()) *alarm {
	c.alarms.seq++
	a := &alarm{at: at, seq: c.alarms.seq, run: f}
	heap.Push(&c.alarms.queue, a)
	if a.index == 0 {
		c.armAlarms()
	}
	return a
}

// cancelAlarm takes an alarm back; nil and an alarm that has run are fine. c.mu is held.
func (c *Core) cancelAlarm(a *alarm) {
	if a != nil && a.index >= 0 {
		heap.Remove(&c.alarms.queue, a.index)
	}
}

// runAlarms runs all alarms that are due and sets the timer for the next one.
// c.mu is held.
func (c *Core) runAlarms() {
	for !c.closed && len(c.alarms.queue) > 0 && !c.alarms.queue[0].at.After(c.nowLocked()) {
		a := heap.Pop(&c.alarms.queue).(*alarm)
		a.run()
	}
	c.armAlarms()
}

func (c *Core) armAlarms() {
	if c.closed || len(c.alarms.queue) == 0 {
		if c.alarms.timer != nil {
			c.alarms.timer.Stop()
		}
		return
	}
	wait := max(0, c.alarms.queue[0].at.Sub(c.nowLocked()))
	if c.alarms.timer != nil {
		c.alarms.timer.Reset(wait)
		return
	}
	c.alarms.timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.runAlarms()
	})
}

// alarmQueue implements [heap.Interface]: the earliest alarm is the first.
type alarmQueue []*alarm

func (q alarmQueue) Len() int { return len(q) }

func (q alarmQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}

func (q alarmQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements [heap.Interface].
func (q *alarmQueue) Push(x any) {
	a := x.(*alarm)
	a.index = len(*q)
	*q = append(*q, a)
}

// Pop implements [heap.Interface].
func (q *alarmQueue) Pop() any {
	last := len(*q) - 1
	a := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	a.index = -1
	return a
}
