// SPDX-License-Identifier: Apache-2.0

package netwatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// DefaultJitter is the jitter when [Options.Jitter] is zero.
const DefaultJitter = 2 * time.Second

// quiet is how long further changes are waited for before the network counts as
// up: an interface, its addresses and its routes come in several messages.
const quiet = 250 * time.Millisecond

// ErrUnsupported reports a platform without a way to watch the network. It
// matches [errors.ErrUnsupported].
var ErrUnsupported = fmt.Errorf("netwatch: this platform does not tell when the network comes up: %w", errors.ErrUnsupported)

// Options are the settings of a [Watcher]. The zero value is usable.
type Options struct {
	// Jitter spreads the calls of a fleet whose network comes up at once: each
	// comes after a random time of up to this. Zero means [DefaultJitter];
	// negative means none.
	Jitter time.Duration

	// Logger receives an entry each time the network comes up, and what goes
	// wrong. Nil is silent.
	Logger *zap.Logger
}

// Watcher calls functions when an interface or a default route comes up. It has
// two goroutines until it is closed. All methods may be called from any
// goroutine.
type Watcher struct {
	events source
	jitter time.Duration
	log    *zap.Logger
	done   chan struct{} // closed when run ends, which listen has before
	closed atomic.Bool

	mu    sync.Mutex
	next  int
	funcs map[int]func()
}

// source waits for the network.
type source interface {
	// wait returns after the next change that brings the network up.
	wait() error
	// close makes wait return an error.
	close() error
}

// New starts to watch the network.
func New(o Options) (*Watcher, error) {
	s, err := newSource()
	if err != nil {
		return nil, err
	}
	return start(s, o), nil
}

func start(s source, o Options) *Watcher {
	w := &Watcher{events: s, jitter: o.Jitter, log: o.Logger, done: make(chan struct{}), funcs: map[int]func(){}}
	if w.jitter == 0 {
		w.jitter = DefaultJitter
	}
	if w.log == nil {
		w.log = zap.NewNop()
	}
	w.log = w.log.Named("netwatch")
	changes := make(chan struct{}, 1)
	go w.listen(changes)
	go w.run(changes, nil)
	return w
}

// OnUp calls f each time the network comes up, on a goroutine of the watcher's
// that other functions wait for: it must return soon. Changes within the jitter
// of each other are one. The function that is returned ends this; a call that
// has begun goes on.
func (w *Watcher) OnUp(f func()) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := w.next
	w.next++
	w.funcs[id] = f
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.funcs, id)
	}
}

// Close ends the watching and waits for its goroutines. It must not be called by
// a function of OnUp. Closing again has no effect.
func (w *Watcher) Close() error {
	w.closed.Store(true)
	err := w.events.close()
	<-w.done
	return err
}

// listen takes what the source reports to changes, until it fails.
func (w *Watcher) listen(changes chan<- struct{}) {
	defer close(changes)
	for {
		if err := w.events.wait(); err != nil {
			if !w.closed.Load() {
				w.log.Error("the watching of the network has failed, and nothing is reported any more", zap.Error(err))
			}
			return
		}
		select {
		case changes <- struct{}{}:
		default: // one is enough
		}
	}
}

// run calls the functions. Those in due are called before it waits.
func (w *Watcher) run(changes <-chan struct{}, due []func()) {
	finished := false
	defer func() {
		if finished {
			close(w.done)
			return
		}
		w.log.Error("function ended its goroutine, the watcher continues in a new one")
		go w.run(changes, due)
	}()
	for {
		for len(due) > 0 {
			f := due[0]
			due = due[1:]
			w.call(f)
		}
		if _, ok := <-changes; !ok || !w.settle(changes) {
			finished = true
			return
		}
		w.log.Debug("the network came up")
		due = w.current()
	}
}

// settle waits until the changes are over, and for the jitter. It reports false
// when the watcher was closed.
func (w *Watcher) settle(changes <-chan struct{}) bool {
	delay := quiet
	if w.jitter > 0 {
		delay += rand.N(w.jitter)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case _, ok := <-changes:
			if !ok {
				return false
			}
		}
	}
}

func (w *Watcher) current() []func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]func(), 0, len(w.funcs))
	for _, f := range w.funcs {
		all = append(all, f)
	}
	return all
}

func (w *Watcher) call(f func()) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("function panicked", zap.String("panic", fmt.Sprint(p)), zap.Stack("stack"))
		}
	}()
	f()
}
