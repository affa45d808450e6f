// SPDX-License-Identifier: Apache-2.0

package eventloop

import "sync"

// Gate bounds how many things run at a time, in order of asking and without a
// goroutine for those that wait. A group has one, for connection attempts; see
// [Group.Gate]. All methods may be called from any goroutine.
type Gate struct {
	mu         sync.Mutex
	limit      int
	held       int
	head, tail *Waiter // those that wait, in order
	granting   bool    // a goroutine is handing out slots
}

// Waiter is one's place in the queue of a [Gate]. Its owner embeds it by value
// and calls [Waiter.Init] once, before anything else; it must not be copied
// after that. It can be used again and again, but only for one slot at a time.
type Waiter struct {
	granted    func()
	gate       *Gate // where it waits, nil if it does not; guarded by the gate's mu
	prev, next *Waiter
}

// Init sets the function that is called each time a slot is given to the
// waiter. It runs inside the [Gate.Acquire] or [Gate.Release] that makes the
// slot available, whoever calls that and whatever locks they hold: it must not
// block, and take no lock that may be held there. Usually it starts a goroutine
// or posts a task. It may itself call any method of the gate. Init must not be
// called while the waiter waits.
func (w *Waiter) Init(granted func()) { w.granted = granted }

// Acquire asks for a slot. The waiter's function is called exactly once when
// the slot is given, which may be before Acquire returns, unless [Gate.Cancel]
// comes first. Whoever was given a slot returns it by [Gate.Release]. Acquire
// has no effect while the waiter waits already, and panics when it was not
// initialized.
func (g *Gate) Acquire(w *Waiter) {
	if w.granted == nil {
		panic("eventloop: Acquire with a Waiter without Init")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.gate != nil {
		return
	}
	w.gate = g
	w.prev = g.tail
	if g.tail == nil {
		g.head = w
	} else {
		g.tail.next = w
	}
	g.tail = w
	g.grant()
}

// Cancel takes the waiter out of the queue. It reports true when it was still
// waiting: it will not be given the slot. Otherwise it has been given a slot,
// or is being given one at this moment by another goroutine, and the slot must
// be released.
func (g *Gate) Cancel(w *Waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.gate != g {
		return false
	}
	g.remove(w)
	return true
}

// Release returns a slot, which goes to the waiter that has waited longest. It
// has no effect when no slot is in use.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == 0 {
		return
	}
	g.held--
	g.grant()
}

// grant gives the free slots away. One goroutine at a time does so, and
// functions that release or acquire leave the rest to the call that they run
// in: slots are given in order, and the stack does not grow with the queue. The
// caller holds mu.
func (g *Gate) grant() {
	if g.granting {
		return
	}
	g.granting = true
	defer func() { g.granting = false }()
	for g.held < g.limit && g.head != nil {
		w := g.head
		g.remove(w)
		g.held++
		g.give(w)
	}
}

// give calls the waiter's function without mu.
func (g *Gate) give(w *Waiter) {
	f := w.granted
	g.mu.Unlock()
	defer g.mu.Lock()
	f()
}

func (g *Gate) remove(w *Waiter) {
	if w.prev == nil {
		g.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		g.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.gate, w.prev, w.next = nil, nil, nil
}
