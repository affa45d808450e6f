// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/conn"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
)

// lock takes the mutex of the client and returns the time.
func (c *Client) lock() time.Duration {
	c.mu.Lock()
	return c.loop.Now()
}

// unlock carries out what the engine asks for and what has become possible, and
// releases the mutex. Whatever changed the state of the client while the mutex
// was held takes effect here. It starts what has to be done elsewhere and never
// blocks.
func (c *Client) unlock(now time.Duration) { c.release(now, false) }

// unlockAndWrite is unlock for a goroutine that is about to wait: it may do the
// write that is due itself.
func (c *Client) unlockAndWrite(now time.Duration) { c.release(now, true) }

func (c *Client) release(now time.Duration, idle bool) {
	if len(c.room) > 0 {
		c.admit(now)
	}
	todo := c.engine.Todo(now)
	if todo.Close {
		c.link.close(todo.Finished)
	}
	if todo.Dial {
		c.dial()
	}
	if todo.Load != 0 {
		c.durable.startLoad(todo.Load)
	}
	c.link.resume(now)
	c.events.Wake()
	c.completions.Wake()
	if c.observers != nil {
		c.observers.lane.Wake()
	}
	if c.messages.Start() {
		c.startDelivery()
	}
	c.arm(todo.Deadline)
	if c.engine.State() == engine.Closed && !c.ended {
		c.end()
	}
	c.durable.flush()
	if todo.Write && c.link.mayWrite() {
		if idle && c.link.writer.Tries() {
			c.link.tryWrite(now)
			return
		}
		c.link.startWriter(now)
	}
	c.mu.Unlock()
}

// arm sets the timer for the next Tick, unless it fires before.
func (c *Client) arm(at time.Duration) {
	if check := c.messages.CheckAt(); check != 0 {
		at = min(at, check)
	}
	if at < c.armed {
		c.armed = at
		c.timer.Reset(at)
	}
}

// onTimer runs on the loop.
func (c *Client) onTimer() {
	l, departed := c.departed()
	now := c.lock()
	c.armed = never
	if c.link != l {
		departed = 0 // it was that of another connection
	}
	c.engine.Tick(now, departed)
	if check := c.messages.CheckAt(); check != 0 && now >= check {
		c.engine.AcknowledgeThrough(now, c.messages.Handled())
		c.messages.Check(now)
		c.relieve()
	}
	c.unlock(now)
}

// onSuspend runs on the loop after the machine was asleep: the link is probably
// dead, and the delay before the next attempt is over.
func (c *Client) onSuspend(time.Duration) {
	l, departed := c.departed()
	now := c.lock()
	if c.link != l {
		departed = 0
	}
	// A PINGREQ behind bytes that are not known to have left would get more time.
	c.engine.Tick(now, departed)
	c.engine.Probe(now)
	c.engine.RetryNow(now)
	c.unlock(now)
}

// departed returns how many bytes have left on the present connection. It asks
// the system, so it is called without mu.
func (c *Client) departed() (*link, int64) {
	c.mu.Lock()
	l := c.link
	var w *conn.Writer
	if l != nil {
		w = l.writer
	}
	c.mu.Unlock()
	if w == nil {
		return l, 0
	}
	return l, w.Departed()
}

// laneLock is the mutex of the client for the lanes.
type laneLock Client

var _ sync.Locker = (*laneLock)(nil)

func (l *laneLock) Lock() { (*Client)(l).mu.Lock() }

func (l *laneLock) Unlock() {
	c := (*Client)(l)
	c.unlock(c.loop.Now())
}

// The owners of the lanes.
type (
	eventLane       struct{ *laneLock }
	completionLane  struct{ *laneLock }
	observationLane struct{ *laneLock }
)

func (l eventLane) HandleValue(ev *event)               { (*Client)(l.laneLock).handleEvent(ev) }
func (l completionLane) HandleValue(done *completion)   { (*Client)(l.laneLock).handleCompletion(done) }
func (l observationLane) HandleValue(seen *observation) { (*Client)(l.laneLock).observe(seen) }

const never = time.Duration(1<<63 - 1)
