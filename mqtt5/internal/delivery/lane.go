// SPDX-License-Identifier: Apache-2.0

package delivery

import "sync"

// Lane calls a function with values, one after the other, in the order in which
// they were added. The owner's lock guards it.
type Lane[T any] struct {
	lock    sync.Locker
	handle  func(T)
	start   func()     // run, bound once
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

// Init sets the owner's lock and the function that handles a value. The
// function is called without the lock. If it ends its goroutine, the lane goes
// on with the next value. Lanes with the same type of values may share a pool
// for their memory; without one a lane at rest holds none, and allocates for
// each value.
func (l *Lane[T]) Init(lock sync.Locker, handle func(T), pool *sync.Pool) {
	l.lock, l.handle, l.pool = lock, handle, pool
	l.start = l.run
}

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
		l.running = true
		go l.start()
	}
}

// run handles values until none is left. It takes the lock.
func (l *Lane[T]) run() {
	handles := false
	defer func() {
		if handles { // the function has ended the goroutine
			go l.start()
		}
	}()
	for {
		if c := l.current; c != nil {
			handles = true
			for c.next < len(c.list) {
				v := &c.list[c.next]
				c.next++
				l.handle(*v)
			}
			handles = false
			l.recycle(c)
		}
		l.lock.Lock()
		l.current, l.queue = l.queue, nil
		more := l.current != nil
		l.running = more
		l.lock.Unlock()
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
