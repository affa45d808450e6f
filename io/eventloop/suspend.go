// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"slices"
	"time"
)

// Watching for a suspend.
const (
	// suspendCheck is how often a loop with watchers compares its clocks, while
	// the machine is awake.
	suspendCheck = 15 * time.Second
	// suspendLeast is how far the wall clock must have moved beyond the
	// monotonic one. Clocks that NTP corrects drift by much less between two
	// comparisons.
	suspendLeast = 5 * time.Second
)

// SuspendWatch calls a function after the machine was suspended. Its owner
// embeds it by value; it must not be copied once it is started.
//
// While a machine sleeps, the time of [Loop.Now] and of all timers stands still
// and the wall clock goes on. A connection is usually dead after that, which
// its timers find out late: they do not know that hours have passed. A loop
// with watches compares the two clocks every 15 seconds, so that a suspend is
// noticed within that time after it ended. A wall clock that is set forward by
// more than 5 seconds looks the same. Where timers go on during a suspend there
// is nothing to notice.
type SuspendWatch struct {
	loop  *Loop
	f     func(asleep time.Duration)
	armed bool // guarded by the loop's mu
}

// Start calls f on the loop after each suspend from now on, with the time for
// which the machine was away, until [SuspendWatch.Stop]. A watch that is
// started must not be started again.
func (w *SuspendWatch) Start(l *Loop, f func(asleep time.Duration)) {
	w.loop, w.f = l, f
	l.mu.Lock()
	first := len(l.watches) == 0
	w.armed = true
	l.watches = append(l.watches, w)
	if first {
		l.compared = l.clocks()
		if l.suspendTimer.loop == nil {
			l.suspendTimer.Init(l, l.watchSuspend)
		}
	}
	next := l.compared.elapsed + suspendCheck
	l.mu.Unlock()
	if first {
		l.suspendTimer.Reset(next)
	}
}

// Stop ends the watch. Called on the loop, it is certain that the function is
// not called any more. It has no effect on a watch that was not started.
func (w *SuspendWatch) Stop() {
	l := w.loop
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w.armed = false
	if i := slices.Index(l.watches, w); i >= 0 {
		l.watches = slices.Delete(l.watches, i, i+1)
	}
}

// clockReading is what both clocks say at one moment.
type clockReading struct {
	elapsed time.Duration // of the loop
	wall    time.Duration // since some moment
}

func (l *Loop) clocks() clockReading {
	if m := l.group.manual; m != nil {
		now := time.Duration(m.now.Load())
		return clockReading{now, now + time.Duration(m.asleep.Load())}
	}
	now := time.Now()
	return clockReading{now.Sub(l.group.start), now.Round(0).Sub(l.group.start.Round(0))}
}

// watchSuspend compares the clocks and arms the timer for the next time. It
// runs on the loop.
func (l *Loop) watchSuspend() {
	l.mu.Lock()
	now := l.clocks()
	asleep := (now.wall - l.compared.wall) - (now.elapsed - l.compared.elapsed)
	l.compared = now
	watches := slices.Clone(l.watches)
	l.mu.Unlock()
	if len(watches) > 0 {
		l.suspendTimer.Reset(now.elapsed + suspendCheck)
	}
	if asleep < suspendLeast {
		return
	}
	// A task each: one that ends its goroutine ends neither the others nor the
	// comparisons to come.
	for _, w := range watches {
		l.Post(func() {
			l.mu.Lock()
			armed := w.armed
			l.mu.Unlock()
			if armed {
				w.f(asleep)
			}
		})
	}
}
