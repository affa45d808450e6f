// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
)

// waiter is a goroutine that waits for the client. Client.mu guards its fields.
type waiter struct {
	wake      chan struct{} // one slot
	at        int           // in Client.waiting
	completed bool
	result    engine.Result
	sent      bool
	op        *engine.Operation // while queued for room, and until completed
	handler   bool              // it is a handler: what it waits for lies behind other messages
	asked     bool              // it has to find that out
	until     milestone
	early     bool    // in Stop: it does not wait for OnStopped
	joined    bool    // in Stop: it waits for OnStopped alone
	next      *waiter // in Client.idle
}

// milestone is what a waiter waits for, if not for an operation.
type milestone uint8

const (
	untilConnected milestone = iota + 1
	untilStopped
)

// maxWaiters bounds the waiters that a client keeps for reuse.
const maxWaiters = 64

// begin registers a goroutine that is about to wait. Every call that waits goes
// through here: while a handler waits, reading must not stop. The caller holds
// mu.
func (c *Client) begin(ctx context.Context) *waiter {
	w := c.idle
	if w != nil {
		c.idle, w.next = w.next, nil
		c.idleCount--
	} else {
		w = &waiter{wake: make(chan struct{}, 1)}
	}
	w.at = len(c.waiting)
	c.waiting = append(c.waiting, w)
	if ctx.Value(handlerKey{}) != nil {
		w.isHandler(c)
	} else if c.link != nil && c.link.paused {
		w.ask()
	}
	c.relieve()
	return w
}

// forget ends the registration of a waiter. The caller holds mu.
func (c *Client) forget(w *waiter) {
	last := len(c.waiting) - 1
	c.waiting[w.at] = c.waiting[last]
	c.waiting[w.at].at = w.at
	c.waiting[last] = nil
	c.waiting = c.waiting[:last]
	if w.handler {
		c.messages.HandlerWaits(false)
	}
}

// done is forget for a waiter that nobody refers to any more. It is kept for
// reuse per client and not for all, so that clients in different bubbles of
// testing/synctest share no channel. The caller holds mu.
func (c *Client) done(w *waiter) {
	c.forget(w)
	if c.idleCount >= maxWaiters {
		return
	}
	select {
	case <-w.wake:
	default:
	}
	*w = waiter{wake: w.wake, next: c.idle}
	c.idle = w
	c.idleCount++
}

// wait returns when w is completed or ctx has ended, with mu taken.
func (c *Client) wait(ctx context.Context, w *waiter) (now time.Duration) {
	for {
		ended := false
		select {
		case <-w.wake:
		case <-ctx.Done():
			ended = true
		}
		now = c.lock()
		if w.completed || ended {
			return now
		}
		if w.asked && !w.handler {
			c.unlock(now)
			handler := inHandler()
			now = c.lock()
			if handler && !w.completed {
				w.isHandler(c)
			}
		}
		if w.completed {
			return now
		}
		c.unlock(now)
	}
}

// complete ends the wait.
func (w *waiter) complete(r engine.Result, sent bool) {
	w.completed, w.result, w.sent, w.op = true, r, sent, nil
	w.signal()
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *waiter) isHandler(c *Client) {
	w.handler = true
	c.messages.HandlerWaits(true)
}

// ask has the goroutine find out whether it runs a handler. It costs a walk over
// its stack, so it is asked only when it matters.
func (w *waiter) ask() {
	if !w.asked && !w.handler {
		w.asked = true
		w.signal()
	}
}

// askWhetherHandlersWait asks all who wait, because reading is about to stop.
// The caller holds mu.
func (c *Client) askWhetherHandlersWait() {
	for _, w := range c.waiting {
		w.ask()
	}
}

// reached ends the waits for a milestone, with an error if it will never be
// reached. The caller holds mu.
func (c *Client) reached(m milestone, err error) {
	for _, w := range c.waiting {
		if w.until == m {
			w.complete(engine.Result{Err: err}, false)
		}
	}
}

// completeAll ends the waits of a list.
func completeAll(list *[]*waiter, err error) {
	for _, w := range *list {
		w.complete(engine.Result{Err: err}, false)
	}
	*list = nil
}
