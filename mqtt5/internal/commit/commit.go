// SPDX-License-Identifier: Apache-2.0

// Package commit gathers changes and writes them in batches, on a goroutine of
// its own: the caller of Add never waits for a disk.
package commit

import (
	"errors"
	"sync"
	"time"
)

// Config is fixed for the life of a Committer.
type Config[T any] struct {
	// Write writes a batch, in order, and returns when it is as durable as it is
	// going to be. One call runs at a time, without a lock.
	Write func(batch []T) error
	// Done is called on the same goroutine after each Write: all changes up to
	// number through that no earlier call was about were written, or failed with
	// err. No lock is held.
	Done func(through uint64, err error)
	// Again reports whether a change of a batch that failed is to be written
	// with the next one, before what was added since. Nil: none is.
	Again func(T) bool
	// Retry is when such changes are written if nothing else is. 0: never.
	Retry time.Duration
	// Size returns about how many bytes a change takes. Nil: 0.
	Size func(T) int

	// MaxChanges and MaxBytes bound a batch, so that a burst is reported bit by
	// bit. A change that is larger is a batch of its own. 0: no bound.
	MaxChanges int
	MaxBytes   int
	// Linger is how long changes of AddLazy wait for others to be written with.
	// 0: not at all.
	Linger time.Duration
}

// Committer gathers changes. All methods may be called from any goroutine, also
// while a batch is written; none of them waits but Close.
//
// A goroutine runs only while there is something to write.
type Committer[T any] struct {
	cfg Config[T]

	mu      sync.Mutex
	changes []T
	added   uint64 // number of the last change that was added
	urgent  uint64 // number of the last change that must not linger
	taken   uint64 // number of the last change that was taken for a batch
	again   []T    // of failed batches
	running bool
	closed  bool
	retry   bool          // it is time to write again
	timer   *time.Timer   // of Linger or Retry; nil: not armed
	idle    chan struct{} // closed when the goroutine ends; nil if nobody waits
}

// New returns a committer with nothing to do.
func New[T any](cfg Config[T]) *Committer[T] { return &Committer[T]{cfg: cfg} }

// Add adds changes that are to be written at once, with all that were added
// before, and returns the number of the last one. Numbers begin at 1. After
// Close it adds nothing and returns 0.
func (c *Committer[T]) Add(changes ...T) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0
	}
	c.add(changes)
	c.urgent = c.added
	c.start()
	return c.added
}

// AddLazy is like Add for changes that nobody waits for: they are written with
// the next ones of Add, or after Linger.
func (c *Committer[T]) AddLazy(changes ...T) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0
	}
	c.add(changes)
	if c.cfg.Linger <= 0 {
		c.urgent = c.added
		c.start()
	} else if c.timer == nil && !c.running {
		c.timer = time.AfterFunc(c.cfg.Linger, c.Flush)
	}
	return c.added
}

func (c *Committer[T]) add(changes []T) {
	c.changes = append(c.changes, changes...)
	c.added += uint64(len(changes))
}

// Flush has everything written that was added, without waiting for it.
func (c *Committer[T]) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer()
	c.urgent, c.retry = c.added, true
	c.start()
}

func (c *Committer[T]) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// start starts the goroutine if it has something to do. The caller holds mu.
func (c *Committer[T]) start() {
	if !c.running && c.due() {
		c.stopTimer()
		c.running = true
		go c.run()
	}
}

// due reports whether there is something to write now.
func (c *Committer[T]) due() bool { return c.urgent > c.taken || c.retry && len(c.again) > 0 }

// Close writes what was added, waits for that, and lets nothing be added any
// more. It must not be called from Write or Done.
func (c *Committer[T]) Close() {
	c.mu.Lock()
	c.closed = true
	c.stopTimer()
	c.urgent, c.retry = c.added, true
	c.start()
	if !c.running {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	<-idle
}

var errGoexit = errors.New("mqtt5: the goroutine of a commit was ended")

// run writes batches until only lazy changes are left.
func (c *Committer[T]) run() {
	writing := false
	defer func() {
		if writing { // Write has ended the goroutine
			go c.run()
		}
	}()
	for {
		batch, through := c.take()
		if batch == nil {
			return
		}
		writing = true
		c.write(batch, through)
		writing = false
	}
}

// write writes one batch and reports how that went, even if Write ends the
// goroutine.
func (c *Committer[T]) write(batch []T, through uint64) {
	err := errGoexit
	defer func() {
		if err != nil && c.cfg.Again != nil {
			c.keep(batch)
		}
		c.cfg.Done(through, err)
	}()
	err = c.cfg.Write(batch)
}

// take returns the next batch, or nil and ends the run.
func (c *Committer[T]) take() (batch []T, through uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.due() {
		c.running = false
		switch {
		case c.timer != nil || c.closed:
		case len(c.changes) > 0:
			c.timer = time.AfterFunc(c.cfg.Linger, c.Flush)
		case len(c.again) > 0 && c.cfg.Retry > 0:
			c.timer = time.AfterFunc(c.cfg.Retry, c.Flush)
		}
		if c.idle != nil {
			close(c.idle)
			c.idle = nil
		}
		return nil, 0
	}
	c.retry = false
	n := c.fit()
	batch = append(c.again, c.changes[:n]...)
	c.again = nil
	c.changes = c.changes[n:]
	if len(c.changes) == 0 {
		c.changes = nil
	}
	c.taken += uint64(n)
	return batch, c.taken
}

// fit returns how many changes the next batch takes.
func (c *Committer[T]) fit() int {
	n := len(c.changes)
	if c.cfg.MaxChanges > 0 {
		n = min(n, c.cfg.MaxChanges)
	}
	if c.cfg.MaxBytes <= 0 || c.cfg.Size == nil {
		return n
	}
	bytes := 0
	for i, ch := range c.changes[:n] {
		if bytes += c.cfg.Size(ch); bytes > c.cfg.MaxBytes {
			return max(i, 1)
		}
	}
	return n
}

// keep keeps the changes of a failed batch that are to be written again.
func (c *Committer[T]) keep(batch []T) {
	var again []T
	for _, ch := range batch {
		if c.cfg.Again(ch) {
			again = append(again, ch)
		}
	}
	c.mu.Lock()
	c.again = again
	c.mu.Unlock()
}
