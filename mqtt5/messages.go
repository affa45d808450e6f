// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"iter"
)

// collectedMessage is a message that waits for its loop.
type collectedMessage struct {
	m   Message
	ack *Ack // nil: the connection is gone, or another handler has it
}

func (m *collectedMessage) accept() {
	if m.ack != nil {
		_ = m.ack.Accept() // if it is stale, the server sends the message again
	}
}

// leftOver deals with a message that was collected for a loop that has ended.
func (c *Client) leftOver(m *collectedMessage) {
	if m.ack != nil && c.opts.RejectUnhandled != 0 {
		_ = m.ack.Reject(c.opts.RejectUnhandled, "")
	}
	m.accept()
	c.countUnhandled(&m.m)
}

// collected is how many messages [Client.Messages] keeps for its loop.
const collected = 64

// Messages returns an iterator over the messages whose topic matches the
// filter, for use in a range loop. It does not subscribe. Messages are collected
// from the call on, until ctx ends or the loop is left; when 64 of them wait for
// the loop, the handlers of the client wait. The loop ends with ctx or by break,
// and runs once; messages that it left count as unhandled.
//
// A message is acknowledged when the loop asks for the next one. With
// [ClientOptions.BorrowPayloads] the messages are clones.
func (c *Client) Messages(ctx context.Context, filter string) (iter.Seq[Message], error) {
	ctx, cancel := context.WithCancel(ctx)
	items := make(chan collectedMessage, collected)
	leaveAll := func() { // what nobody takes any more must not hold back other acknowledgements
		for {
			select {
			case next := <-items:
				c.leftOver(&next)
			default:
				return
			}
		}
	}
	remove, err := c.Handle(filter, func(handling context.Context, m Message) {
		if c.opts.BorrowPayloads {
			m = m.Clone()
		}
		next := collectedMessage{m: m}
		next.ack, _ = m.TakeAck()
		select {
		case items <- next:
			if ctx.Err() != nil { // the loop has ended, perhaps before
				leaveAll()
			}
			return
		case <-ctx.Done():
		case <-handling.Done():
		}
		c.leftOver(&next)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		remove()
		leaveAll()
	})
	return func(yield func(Message) bool) {
		defer cancel()
		for {
			select {
			case next := <-items:
				more := yield(next.m)
				next.accept()
				if !more {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// Channel returns a channel of the messages whose topic matches the filter,
// with room for size messages. It does not subscribe. When the channel is
// full, the handlers of the client wait. It stays open and gets no more
// messages when ctx ends; remaining ones can still be read.
//
// A message is acknowledged when it is put in the channel. With
// [ClientOptions.BorrowPayloads] the messages are clones. Channel fails with a
// [*ValidationError] if the filter is not valid or size is negative.
func (c *Client) Channel(ctx context.Context, filter string, size int) (<-chan Message, error) {
	if size < 0 {
		v := problems{subject: "Channel"}
		v.add("size", "is negative", "")
		return nil, v.err()
	}
	ch := make(chan Message, size)
	remove, err := c.Handle(filter, func(handling context.Context, m Message) {
		if ctx.Err() != nil {
			c.countUnhandled(&m)
			return
		}
		if c.opts.BorrowPayloads {
			m = m.Clone()
		}
		select {
		case ch <- m:
			return
		case <-ctx.Done():
		case <-handling.Done():
		}
		c.countUnhandled(&m)
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, remove)
	return ch, nil
}
