// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"reflect"
	"runtime"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// watchdog logs callbacks of a loop that take too long: when they are over, and
// those that do not come to an end while they run. A loop that sleeps has no
// watchdog timer.
type watchdog struct {
	loop     *Loop
	timer    *time.Timer
	watching bool // timer is armed; guarded by the loop's mu

	calls   atomic.Uint64  // how many callbacks have begun
	current atomic.Uintptr // code of the callback that runs, zero if none does

	// These belong to the goroutine that runs check.
	seen     uint64 // calls when the timer fired last
	reported uint64 // calls when a callback was reported last
}

// stuckAfter is the period of the check for callbacks that do not end. Such a
// callback is reported when it has run for one to two periods.
func (g *Group) stuckAfter() time.Duration { return max(10*g.slow, time.Second) }

// watch arms the timer if it is not armed. The caller holds the loop's mu.
func (w *watchdog) watch(l *Loop) {
	if w.watching || l.group.slow < 0 {
		return
	}
	w.watching = true
	if w.timer == nil {
		w.loop = l
		w.timer = time.AfterFunc(l.group.stuckAfter(), w.check)
	} else {
		w.timer.Reset(l.group.stuckAfter())
	}
}

// check runs when the timer fires.
func (w *watchdog) check() {
	l := w.loop
	l.mu.Lock()
	if l.wakeAt != awake || l.gone {
		w.watching = false
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	calls, code := w.calls.Load(), w.current.Load()
	if code != 0 && calls == w.seen && calls != w.reported {
		w.reported = calls
		l.group.log.Warn("callback does not return and holds up the loop",
			zap.Int("loop", l.index), zap.String("callback", nameOf(code)))
	}
	w.seen = calls
	w.timer.Reset(l.group.stuckAfter())
}

func (w *watchdog) begin(f func()) {
	w.calls.Add(1)
	w.current.Store(codeOf(f))
}

func (w *watchdog) end() { w.current.Store(0) }

func codeOf(f func()) uintptr { return reflect.ValueOf(f).Pointer() }

// nameOf returns the name of a function for the log.
func nameOf(code uintptr) string {
	if fn := runtime.FuncForPC(code); fn != nil {
		return fn.Name()
	}
	return "unknown"
}
