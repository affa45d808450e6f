// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"iter"
	"time"
)

// unsubscribeTimeout limits how long the end of [Client.Receive] waits for the
// server.
const unsubscribeTimeout = 5 * time.Second

// Listen subscribes to a filter and makes handler get its messages: Handle and
// Subscribe in one call. It waits for the answer of the server, as long as ctx
// allows; the error is that of [Client.Subscribe], and nothing is left behind.
// The handler is in place before the SUBSCRIBE is sent, so that no retained
// message is missed.
//
// stop ends it: handler is called no more, and the client unsubscribes unless
// another Listen or Receive has the same filter. Its error is that of
// [Client.Unsubscribe].
func (c *Client) Listen(ctx context.Context, filter string, qos QoS, handler MessageHandler) (stop func(ctx context.Context) error, err error) {
	remove, err := c.Handle(filter, handler)
	if err != nil {
		return nil, err
	}
	if err := c.join(ctx, filter, qos); err != nil {
		remove()
		return nil, err
	}
	return func(ctx context.Context) error {
		remove()
		return c.leave(ctx, filter, qos)
	}, nil
}

// Receive subscribes to a filter and returns its messages, for a range loop:
//
//	for m, err := range client.Receive(ctx, "rooms/#", mqtt5.AtLeastOnce) {
//
// It subscribes when the loop begins, and unsubscribes when the loop ends, with
// ctx or by break. A subscription that fails is the one error, and the last
// item. Messages are collected as by [Client.Messages], and acknowledged when the
// loop asks for the next one.
func (c *Client) Receive(ctx context.Context, filter string, qos QoS) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		collecting, cancel := context.WithCancel(ctx)
		defer cancel()
		messages, err := c.Messages(collecting, filter)
		if err == nil {
			err = c.join(ctx, filter, qos)
		}
		if err != nil {
			yield(Message{}, err)
			return
		}
		defer func() {
			cancel() // messages that come meanwhile are not for the loop
			end, done := context.WithTimeout(context.WithoutCancel(ctx), unsubscribeTimeout)
			defer done()
			_ = c.leave(end, filter, qos)
		}()
		for m := range messages {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// join subscribes on behalf of one more call.
func (c *Client) join(ctx context.Context, filter string, qos QoS) error {
	c.router.share(filter, 1)
	_, err := c.Subscribe(ctx, &SubscribePacket{Subscriptions: []Subscription{{TopicFilter: filter, QoS: qos}}})
	if err != nil {
		c.router.share(filter, -1)
	}
	return err
}

// leave unsubscribes if no other call has the filter.
func (c *Client) leave(ctx context.Context, filter string, qos QoS) error {
	if c.router.share(filter, -1) > 0 {
		return nil
	}
	_, err := c.Unsubscribe(ctx, &UnsubscribePacket{TopicFilters: []string{filter}})
	if err == nil && c.router.share(filter, 0) > 0 {
		// A call that joined meanwhile may have been answered before.
		_, err = c.Subscribe(ctx, &SubscribePacket{Subscriptions: []Subscription{{TopicFilter: filter, QoS: qos}}})
	}
	return err
}

// share changes how many calls share a subscription, and returns their number.
func (r *router) share(filter string, change int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.shares[filter] + change
	switch {
	case n <= 0:
		delete(r.shares, filter)
	case r.shares == nil:
		r.shares = map[string]int{filter: n}
	default:
		r.shares[filter] = n
	}
	return n
}
