// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Values of Loop.wakeAt.
const (
	awake = time.Duration(math.MinInt64) // the loop looks at its queues before it sleeps
	never = time.Duration(math.MaxInt64) // the loop sleeps until it is woken
)

// Loop is one goroutine with a queue of tasks and a heap of timers. Loops
// belong to a [Group]. All methods may be called from any goroutine.
type Loop struct {
	group *Group
	index int

	mu      sync.Mutex
	tasks   []func() // posted, not yet taken by the goroutine
	timers  timerHeap
	seq     uint64        // counts armings
	wakeAt  time.Duration // when the goroutine wakes by itself, or awake
	wake    chan struct{} // one slot; made when the goroutine starts
	done    chan struct{} // closed when the goroutine ends; made when it starts
	closed  bool
	gone    bool // the goroutine has nothing left to do, ever
	dog     watchdog
	dropped atomic.Bool // tasks that have not begun are not to run

	watches  []*SuspendWatch
	compared clockReading // for the watches

	// The rest belongs to the goroutine, or to the caller that drives a manual loop.
	batch []func() // tasks of this turn
	next  int      // first task of batch that has not begun
	slack int      // turns in a row that used little of batch's capacity
	last  time.Duration
	alarm *time.Timer
	set   time.Duration // what alarm is set to; awake if it is not

	suspendTimer Timer
}

// Now returns the time since the group was made. It is monotonic and costs one
// reading of the clock.
func (l *Loop) Now() time.Duration {
	if m := l.group.manual; m != nil {
		return time.Duration(m.now.Load())
	}
	return time.Since(l.group.start)
}

// Post queues task to run on the loop's goroutine, after the tasks that were
// posted before it. It reports false, and drops task, when the group has been
// shut down. It never blocks and the queue has no limit. In steady state it
// does not allocate.
func (l *Loop) Post(task func()) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.tasks = append(l.tasks, task)
	l.rouse()
	return true
}

// Pin counts one more long-lived user of the loop. [Group.Next] goes by these counts.
func (l *Loop) Pin() { l.pin(1) }

// Unpin takes one [Loop.Pin] back. It has no effect on a loop without pins.
func (l *Loop) Unpin() { l.pin(-1) }

func (l *Loop) pin(n int) {
	g := l.group
	g.mu.Lock()
	g.pins[l.index] = max(0, g.pins[l.index]+n)
	g.mu.Unlock()
}

// rouse sees to it that the goroutine looks at its queues. It is called with mu
// held and releases it.
func (l *Loop) rouse() {
	switch {
	case l.group.manual != nil:
		l.mu.Unlock()
	case l.done == nil:
		l.wake = make(chan struct{}, 1)
		l.done = make(chan struct{})
		l.mu.Unlock()
		go l.run()
	case l.wakeAt != awake:
		l.wakeAt = awake
		l.mu.Unlock()
		// The slot is free: it is filled only by whoever sets wakeAt to awake,
		// and emptied before wakeAt is anything else again.
		l.wake <- struct{}{}
	default:
		l.mu.Unlock()
	}
}

// stop refuses tasks and timers from now on.
func (l *Loop) stop(drop bool) {
	l.mu.Lock()
	l.closed = true
	l.timers.clear()
	if drop {
		l.dropped.Store(true)
		l.tasks = nil
	}
	if l.done == nil {
		l.mu.Unlock()
		return
	}
	l.rouse()
}

// ended returns a channel that is closed when the goroutine has ended, nil if
// there never was one.
func (l *Loop) ended() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// run is the goroutine of the loop.
func (l *Loop) run() {
	finished := false
	defer func() {
		if !finished {
			l.dog.end()
			l.group.log.Error("callback ended its goroutine, the loop continues in a new one", zap.Int("loop", l.index))
			go l.run()
		}
	}()
	l.last = l.Now()
	for l.turn() {
		l.sleep()
	}
	if l.alarm != nil {
		l.alarm.Stop()
	}
	if l.dog.timer != nil {
		l.dog.timer.Stop()
	}
	finished = true
	close(l.done)
}

// turn runs the tasks that are queued and then the timers that are due. It
// reports false when the loop is closed and has nothing left to run.
func (l *Loop) turn() bool {
	l.mu.Lock()
	if l.next == len(l.batch) { // else a callback ended the goroutine in the middle of the batch
		l.batch, l.tasks = l.tasks, l.recycle()
		l.next = 0
	}
	if len(l.batch) == 0 && l.closed {
		l.gone = true
		l.mu.Unlock()
		return false
	}
	if l.group.manual == nil {
		l.dog.watch(l)
	}
	l.mu.Unlock()

	for l.next < len(l.batch) {
		task := l.batch[l.next]
		l.batch[l.next] = nil
		l.next++
		if !l.dropped.Load() {
			l.call(task)
		}
	}

	l.mu.Lock()
	// A timer that its callback arms again for a time that has passed has to
	// wait for the next turn like all others.
	if n := len(l.timers); n > 0 {
		now := l.Now()
		for ; n > 0; n-- {
			t := l.timers.popDue(now)
			if t == nil {
				break
			}
			f := t.f
			l.mu.Unlock()
			l.call(f)
			l.mu.Lock()
		}
	}
	l.mu.Unlock()
	return true
}

// sleep waits until there is something to do.
func (l *Loop) sleep() {
	l.mu.Lock()
	if len(l.tasks) > 0 || l.closed {
		l.mu.Unlock()
		return
	}
	next, now := never, time.Duration(0)
	if len(l.timers) > 0 {
		next, now = l.timers[0].at, l.Now()
		if next <= now {
			l.mu.Unlock()
			return
		}
	}
	l.wakeAt = next
	l.mu.Unlock()

	var ring <-chan time.Time
	if next != never {
		if l.alarm == nil {
			l.alarm = time.NewTimer(next - now)
		} else if l.set != next {
			l.alarm.Reset(next - now)
		}
		l.set = next
		ring = l.alarm.C
	}
	select {
	case <-l.wake:
	case <-ring:
		l.set = awake
		l.mu.Lock()
		roused := l.wakeAt == awake
		l.wakeAt = awake
		l.mu.Unlock()
		if roused {
			<-l.wake
		}
	}
	l.last = l.Now()
}

// recycle returns the emptied batch to collect tasks in, unless it has been
// much too large for a while: a burst of tasks must not hold its memory for
// ever.
func (l *Loop) recycle() []func() {
	const (
		small = 256 // capacity that is not worth returning
		turns = 64
	)
	b := l.batch
	switch {
	case cap(b) <= small:
	case len(b) > cap(b)/4:
		l.slack = 0
	default:
		if l.slack++; l.slack >= turns {
			l.slack = 0
			return nil
		}
	}
	return b[:0]
}

// call runs a callback under the eyes of the watchdog and survives its panic.
func (l *Loop) call(f func()) {
	if l.group.manual != nil {
		f() // a panic is for the test that drives the loop
		return
	}
	if l.group.slow < 0 {
		l.protect(f)
		return
	}
	began := l.last
	l.dog.begin(f)
	l.protect(f)
	l.dog.end()
	l.last = l.Now()
	if d := l.last - began; d > l.group.slow {
		l.group.log.Warn("slow callback held up the loop",
			zap.Int("loop", l.index), zap.String("callback", nameOf(codeOf(f))), zap.Duration("took", d))
	}
}

func (l *Loop) protect(f func()) {
	defer func() {
		if r := recover(); r != nil {
			l.group.log.Error("callback panicked", zap.Int("loop", l.index), zap.String("callback", nameOf(codeOf(f))),
				zap.String("panic", fmt.Sprint(r)), zap.Stack("stack"))
		}
	}()
	f()
}

// ready reports whether there is something to run now.
func (l *Loop) ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tasks) > 0 || len(l.timers) > 0 && l.timers[0].at <= l.Now()
}
