// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Defaults of [Options].
const (
	DefaultDialLimit = 64
	DefaultSlowTask  = 100 * time.Millisecond
)

// Options are the settings of a [Group]. The zero value is usable.
type Options struct {
	// Loops is the number of loops, each of which is one goroutine once it is
	// used. Zero or less means runtime.GOMAXPROCS(0).
	Loops int

	// DialLimit is how many connection attempts the group's [Gate] lets run at
	// a time. Zero or less means [DefaultDialLimit].
	DialLimit int

	// SlowTask is how long a task or timer callback may run before the watchdog
	// logs it as a warning. Zero means [DefaultSlowTask]; a negative value
	// turns the watchdog off.
	SlowTask time.Duration

	// Logger receives what goes wrong: panics of callbacks as errors, slow
	// callbacks as warnings. Nil is silent.
	Logger *zap.Logger
}

// Group is a fixed set of loops and the gate that they share. Make one with
// [NewGroup]; a process usually needs one only. All methods may be called from
// any goroutine.
type Group struct {
	start  time.Time
	loops  []*Loop
	gate   Gate
	slow   time.Duration // <= 0: no watchdog
	log    *zap.Logger
	manual *Manual // nil for groups with goroutines

	mu   sync.Mutex
	pins []int // by index of loop
}

// NewGroup makes a group. It starts no goroutine: a loop does when it is given
// its first task or timer, and the goroutine lives until the group is shut
// down.
func NewGroup(opts Options) *Group {
	if opts.Loops <= 0 {
		opts.Loops = runtime.GOMAXPROCS(0)
	}
	if opts.DialLimit <= 0 {
		opts.DialLimit = DefaultDialLimit
	}
	if opts.SlowTask == 0 {
		opts.SlowTask = DefaultSlowTask
	}
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	g := &Group{
		start: time.Now(),
		loops: make([]*Loop, opts.Loops),
		gate:  Gate{limit: opts.DialLimit},
		slow:  opts.SlowTask,
		log:   opts.Logger.Named("eventloop"),
		pins:  make([]int, opts.Loops),
	}
	for i := range g.loops {
		g.loops[i] = &Loop{group: g, index: i, wakeAt: awake}
	}
	return g
}

// Next returns the loop with the fewest pins; among equals, the first in a
// fixed order. It counts nothing itself: who stays with the loop pins it.
func (g *Group) Next() *Loop {
	g.mu.Lock()
	defer g.mu.Unlock()
	best := 0
	for i, n := range g.pins {
		if n < g.pins[best] {
			best = i
		}
	}
	return g.loops[best]
}

// Gate returns the gate that bounds the connection attempts of the whole group.
// Shutting the group down does not affect it.
func (g *Group) Gate() *Gate { return &g.gate }

// Shutdown stops the loops in good order. From now on they accept no tasks and
// no timers, and armed timers are dropped; tasks that were posted before still
// run. Shutdown returns when the last one has, and the loops' goroutines are
// about to end.
//
// When ctx ends first, Shutdown goes on as [Group.Close] does and returns an
// error that wraps the context's cause. Calling it again, or after Close, waits
// for the same end. It must not be called with a context that does not end from
// a task or timer callback of the group: it would wait for itself.
func (g *Group) Shutdown(ctx context.Context) error {
	g.stop(false)
	if g.manual != nil {
		g.manual.drain()
		return nil
	}
	for _, l := range g.loops {
		done := l.ended()
		if done == nil {
			continue
		}
		select {
		case <-done:
		default:
			select {
			case <-done:
			case <-ctx.Done():
				g.stop(true)
				return fmt.Errorf("eventloop: shutdown cut short: %w", context.Cause(ctx))
			}
		}
	}
	return nil
}

// Close stops the loops at once. They accept no tasks and no timers any more,
// armed timers and tasks that have not begun are dropped. Close does not wait
// for a callback that runs at the moment, so that callbacks may call it;
// [Group.Shutdown] after Close does. Closing again has no effect. The error is
// always nil.
func (g *Group) Close() error {
	g.stop(true)
	return nil
}

func (g *Group) stop(drop bool) {
	for _, l := range g.loops {
		l.stop(drop)
	}
}
