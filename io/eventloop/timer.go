// SPDX-License-Identifier: Apache-2.0

package eventloop

import "time"

// Timer runs a function on a loop at a given time. Its owner embeds it by value
// and calls [Timer.Init] once, before anything else; it must not be copied
// after that. Arming and stopping do not allocate. All methods but Init may be
// called from any goroutine, also from the timer's own callback.
//
// A timer that is armed keeps its owner from being garbage collected.
type Timer struct {
	loop *Loop
	f    func()
	slot int32 // one more than its index in the loop's heap, zero if it is not armed; guarded by the loop's mu
}

// Init ties the timer to a loop and to the function that it runs there. It must
// not be called while the timer is armed.
func (t *Timer) Init(l *Loop, f func()) {
	t.loop, t.f = l, f
}

// Reset arms the timer for the first moment at which the loop's [Loop.Now] is
// at least at; if it is armed, it moves it there. A time that has passed means
// as soon as possible. Each arming runs the function once. Reset has no effect
// after the group was shut down. It wakes the loop only when at is earlier than
// everything that the loop waits for.
//
// Reset panics when the timer was not initialized.
func (t *Timer) Reset(at time.Duration) {
	l := t.loop
	if l == nil {
		panic("eventloop: Reset of a Timer without Init")
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.seq++
	l.timers.set(entry{at: at, seq: l.seq, timer: t})
	if l.done == nil || at < l.wakeAt {
		l.rouse()
		return
	}
	l.mu.Unlock()
}

// Stop disarms the timer and reports whether it was armed. When Stop returns
// true the function does not run for that arming. When it returns false, the
// function has begun, or is about to begin if Stop is called from a goroutine
// other than the loop's; called on the loop, by a task or another timer, it is
// certain that it does not begin any more. Stop never waits for the function.
func (t *Timer) Stop() bool {
	l := t.loop
	if l == nil {
		return false
	}
	l.mu.Lock()
	armed := t.slot != 0
	if armed {
		l.timers.remove(int(t.slot) - 1)
	}
	l.mu.Unlock()
	return armed
}

// entry is one armed timer. The times are in the heap itself so that moving
// entries does not touch the timers compared.
type entry struct {
	at    time.Duration
	seq   uint64 // orders equal times
	timer *Timer
}

func (e *entry) before(o *entry) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// timerHeap is a heap in which entry i has the children 4i+1 to 4i+4: half as
// deep as a binary one, and the children share cache lines.
type timerHeap []entry

// set adds e, or moves the entry of its timer to it.
func (h *timerHeap) set(e entry) {
	if i := int(e.timer.slot) - 1; i >= 0 {
		(*h)[i] = e
		if !h.up(i) {
			h.down(i)
		}
		return
	}
	*h = append(*h, e)
	i := len(*h) - 1
	e.timer.slot = int32(i + 1)
	h.up(i)
}

// remove takes entry i out.
func (h *timerHeap) remove(i int) {
	s := *h
	s[i].timer.slot = 0
	last := len(s) - 1
	moved := s[last]
	s[last] = entry{}
	s = s[:last]
	*h = s
	if i < last {
		s[i] = moved
		moved.timer.slot = int32(i + 1)
		if !h.up(i) {
			h.down(i)
		}
	}
	if c := cap(s); c > 256 && len(s) < c/4 {
		*h = append(make(timerHeap, 0, c/2), s...)
	}
}

// popDue takes out the first entry if its time has come.
func (h *timerHeap) popDue(now time.Duration) *Timer {
	s := *h
	if len(s) == 0 || s[0].at > now {
		return nil
	}
	t := s[0].timer
	h.remove(0)
	return t
}

// clear takes all entries out.
func (h *timerHeap) clear() {
	for _, e := range *h {
		e.timer.slot = 0
	}
	*h = nil
}

// up moves entry i towards the root as far as it has to go, and reports whether it moved.
func (h *timerHeap) up(i int) bool {
	s := *h
	e, from := s[i], i
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&s[parent]) {
			break
		}
		s[i] = s[parent]
		s[i].timer.slot = int32(i + 1)
		i = parent
	}
	if i == from {
		return false
	}
	s[i] = e
	e.timer.slot = int32(i + 1)
	return true
}

// down moves entry i away from the root as far as it has to go.
func (h *timerHeap) down(i int) {
	s := *h
	e, from := s[i], i
	for {
		first := 4*i + 1
		if first >= len(s) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(s)); c++ {
			if s[c].before(&s[least]) {
				least = c
			}
		}
		if !s[least].before(&e) {
			break
		}
		s[i] = s[least]
		s[i].timer.slot = int32(i + 1)
		i = least
	}
	if i != from {
		s[i] = e
		e.timer.slot = int32(i + 1)
	}
}
