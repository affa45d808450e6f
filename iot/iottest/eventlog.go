// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// eventLog keeps the newest events, bounded in number and in bytes.
type eventLog struct {
	mu       sync.Mutex
	max      int
	maxBytes int
	bytes    int
	first    int64   // number of the oldest kept event
	events   []Event // oldest first, from head on
	head     int
	changed  chan struct{} // nil while nobody waits
}

func (l *eventLog) init(max, maxBytes int) { l.max, l.maxBytes = max, maxBytes }

// size is about what an event keeps in memory.
func (e *Event) size() int {
	n := 256
	if m := e.Message; m != nil {
		n += len(m.Payload) + len(m.Topic) + len(m.CorrelationData) + 256
	}
	return n
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	l.bytes += e.size()
	for n := len(l.events) - l.head; n > l.max || n > 1 && l.bytes > l.maxBytes; n-- {
		oldest := &l.events[l.head]
		l.bytes -= oldest.size()
		*oldest = Event{}
		l.head++
		l.first++
	}
	if l.head > 64 && l.head > len(l.events)/2 {
		kept := copy(l.events, l.events[l.head:])
		clear(l.events[kept:])
		l.events, l.head = l.events[:kept], 0
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// since returns the events from number n on, the number of the next one, and a
// channel that is closed when there are more.
func (l *eventLog) since(n int64) ([]Event, int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = max(n, l.first)
	kept := l.events[l.head:]
	next := l.first + int64(len(kept))
	out := append([]Event(nil), kept[min(n-l.first, int64(len(kept))):]...)
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return out, next, l.changed
}

// Events returns the events so far, oldest first, as many as [Options.EventCapacity] and
// [Options.EventBytes] keep.
func (c *Core) Events() []Event {
	events, _, _ := c.events.since(0)
	return events
}

// WaitFor waits for an event that match accepts, one that has happened already
// included, and returns it. It returns the cause of ctx when that ends first.
func (c *Core) WaitFor(ctx context.Context, match func(Event) bool) (Event, error) {
	var next int64
	for {
		var events []Event
		var more <-chan struct{}
		events, next, more = c.events.since(next)
		for _, e := range events {
			if match(e) {
				return e, nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("iottest: no such event: %w", context.Cause(ctx))
		}
	}
}

// emit records an event. It may be called with or without c.mu held.
func (c *Core) emit(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	c.events.add(e)
	if c.opts.OnEvent != nil {
		c.handlers.event(e, c.opts.OnEvent)
	}
}

// maxTaskBytes bounds what waits for user code that is slower than the core.
const maxTaskBytes = 32 << 20

// taskQueue runs functions one after the other on one goroutine, so that user
// code never runs under a lock of ours. What waits is bounded in bytes.
type taskQueue struct {
	mu      sync.Mutex
	cond    *sync.Cond
	tasks   []task
	bytes   int
	dropped int         // events since there was room last
	onEvent func(Event) // for which they were
	closed  bool
}

type task struct {
	run  func()
	size int
}

func (q *taskQueue) init() { q.cond = sync.NewCond(&q.mu) }

func (q *taskQueue) start(wg *sync.WaitGroup) {
	wg.Go(func() {
		for {
			q.mu.Lock()
			for len(q.tasks) == 0 && !q.closed {
				q.cond.Wait()
			}
			tasks := q.tasks
			q.tasks = nil
			q.mu.Unlock()
			if len(tasks) == 0 {
				return
			}
			for i := range tasks {
				tasks[i].run()
				q.mu.Lock()
				q.bytes -= tasks[i].size
				q.reportDropped()
				q.mu.Unlock()
				tasks[i] = task{}
			}
		}
	})
}

// put reports whether there was room for a task that keeps n bytes.
func (q *taskQueue) put(n int, f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.add(n, f)
}

func (q *taskQueue) add(n int, f func()) bool {
	n += 256
	if q.closed {
		return true
	}
	if q.bytes > 0 && q.bytes+n > maxTaskBytes {
		return false
	}
	q.tasks = append(q.tasks, task{f, n})
	q.bytes += n
	q.cond.Signal()
	return true
}

// event queues a call of OnEvent. What finds no room is counted.
func (q *taskQueue) event(e Event, handle func(Event)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped > 0 || !q.add(e.size(), func() { handle(e) }) {
		q.dropped++
		q.onEvent = handle
	}
}

// reportDropped queues the event that says how many events were dropped, once
// half of the room is free again. q.mu is held.
func (q *taskQueue) reportDropped() {
	if q.dropped > 0 && q.bytes <= maxTaskBytes/2 {
		handle, lost := q.onEvent, Event{Time: time.Now(), Type: EventsDropped, Count: q.dropped}
		q.tasks = append(q.tasks, task{func() { handle(lost) }, 256}) // after close, too
		q.bytes += 256
		q.dropped = 0
	}
}

func (q *taskQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.cond.Broadcast()
}
