// SPDX-License-Identifier: Apache-2.0

package delivery

import "sync"

// Owner is whose values a lane handles. Its lock guards the lane.
type Owner[T any] interface {
	sync.Locker
	// HandleValue handles a value, which is valid during the call. It is called
	// without the lock. If it ends its goroutine, the lane goes on with the next
	// value. No other package has a method of this name: generic code calls it, and
	// the linker then keeps all methods of the name. With Handle those of log/slog,
	// and so encoding/json, would be in every program.
	HandleValue(*T)
}

// Lane gives values to its owner, one after the other, in the order in which they
// were added.
type Lane[T any] struct {
	owner   Owner[T]
	start   func()     // run, bound once; nil before the first value
	queue   *values[T] // nil: nothing waits
	current *values[T] // being handled
	pool    *sync.Pool // of *values[T]; nil: they are left to the garbage collector
	running bool
}

// values are what a lane takes at once.
type values[T any] struct {
	list []T
	next int
}

// Init sets the owner. Lanes with the same type of values may share a pool for
// their memory; without one a lane at rest holds none, and allocates for each
// value.
func (l *Lane[T]) Init(owner Owner[T], pool *sync.Pool) { l.owner, l.pool = owner, pool }

// Add queues a value. Wake has to follow before the lock is released.
func (l *Lane[T]) Add(v T) {
	if l.queue == nil {
		if l.pool != nil {
			l.queue, _ = l.pool.Get().(*values[T])
		}
		if l.queue == nil {
			l.queue = new(values[T])
		}
	}
	l.queue.list = append(l.queue.list, v)
}

// Wake starts the lane if there is something to handle.
func (l *Lane[T]) Wake() {
	if l.queue != nil && !l.running {
		l.begin()
	}
}

func (l *Lane[T]) begin() {
	l.running = true
	if l.start == nil {
		l.start = l.run
	}
	go l.start()
}

// Running reports whether a value is being handled, or is about to.
func (l *Lane[T]) Running() bool { return l.running }

// run handles values until none is left. It takes the lock.
func (l *Lane[T]) run() {
	handles := false
	defer func() {
		if handles { // Handle has ended the goroutine
			go l.start()
		}
	}()
	for {
		if c := l.current; c != nil {
			handles = true
			for c.next < len(c.list) {
				c.next++
				l.owner.HandleValue(&c.list[c.next-1])
			}
			handles = false
			l.recycle(c)
		}
		l.owner.Lock()
		l.current, l.queue = l.queue, nil
		more := l.current != nil
		l.running = more
		l.owner.Unlock()
		if !more {
			return
		}
	}
}

// maxPooled bounds the memory that goes back to the pool.
const maxPooled = 4096

func (l *Lane[T]) recycle(c *values[T]) {
	if l.pool == nil || cap(c.list) > maxPooled {
		return
	}
	clear(c.list)
	c.list, c.next = c.list[:0], 0
	l.pool.Put(c)
}
