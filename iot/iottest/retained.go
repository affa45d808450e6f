// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"errors"
	"time"
)

// stored is a retained message.
type stored struct {
	msg      *Message
	expires  time.Time // zero: never
	modified time.Time
	expire   *alarm
}

var errRetainedFull = errors.New("iottest: not retained: the core retains no more messages than Quotas.MaxRetainedBytes allows")

// size is what counts of a retained message: small ones take memory, too.
func (r *stored) size() int { return len(r.msg.Payload) + len(r.msg.Topic) + 256 }

// retain replaces the retained message of a topic, if there is room. c.mu is held.
func (c *Core) retain(r *stored) {
	topic := r.msg.Topic
	c.forgetRetained(topic)
	if c.retainedBytes+r.size() > c.quotas.MaxRetainedBytes {
		c.emit(Event{Type: Dropped, Message: r.msg, Err: errRetainedFull})
		return
	}
	c.retainedBytes += r.size()
	r.modified = c.nowLocked()
	c.retained[topic] = r
	c.state.put(bucketRetained, topic, keptRetained{r.msg, r.expires, r.modified})
	if !r.expires.IsZero() {
		r.expire = c.alarmAt(r.expires, func() { c.forgetRetained(topic) })
	}
}

// forgetRetained deletes the retained message of a topic, if there is one. c.mu is held.
func (c *Core) forgetRetained(topic string) {
	if r := c.retained[topic]; r != nil {
		c.cancelAlarm(r.expire)
		delete(c.retained, topic)
		c.retainedBytes -= r.size()
		c.state.remove(bucketRetained, topic)
	}
}

// sendRetained answers a new subscription. Filters with wildcards and shared
// ones get no retained messages.
func (c *Core) sendRetained(s *session, sub *subscription) {
	if sub.group != "" || hasWildcard(sub.filter) {
		return
	}
	r := c.retained[sub.filter]
	if r == nil {
		return
	}
	s.deliver(r.msg, sub.qos, true, r.expires)
}

// Retained returns the retained message of a topic, nil when there is none.
func (c *Core) Retained(topic string) *Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.retained[topic]
	if r == nil {
		return nil
	}
	return r.msg
}
