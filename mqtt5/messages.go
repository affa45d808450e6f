// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"iter"
)

// Messages returns an iterator over the messages whose topic matches the
// filter, for use in a range loop. It does not subscribe. The loop ends when
// ctx ends or by break; messages are collected only while it runs.
//
// A message is acknowledged when the loop asks for the next one. Meanwhile the
// handlers of the client wait, so use [Client.Channel] if the loop is slow
// while other messages should not wait.
func (c *Client) Messages(ctx context.Context, filter string) (iter.Seq[Message], error) {
	if err := checkFilter(filter); err != nil {
		return nil, err
	}
	return func(yield func(Message) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		handed, taken := make(chan Message), make(chan struct{})
		remove, _ := c.Handle(filter, func(_ context.Context, m Message) { // the filter was checked
			select {
			case handed <- m:
				select {
				case <-taken:
				case <-ctx.Done():
				}
			case <-ctx.Done():
			}
		})
		defer remove()
		for {
			select {
			case m := <-handed:
				if !yield(m) {
					return
				}
				select {
				case taken <- struct{}{}:
				case <-ctx.Done():
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
// [ClientOptions.BorrowPayloads] the messages are clones.
func (c *Client) Channel(ctx context.Context, filter string, size int) (<-chan Message, error) {
	ch := make(chan Message, size)
	remove, err := c.Handle(filter, func(_ context.Context, m Message) {
		if ctx.Err() != nil {
			return
		}
		if c.opts.BorrowPayloads {
			m = m.Clone()
		}
		select {
		case ch <- m:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, remove)
	return ch, nil
}
