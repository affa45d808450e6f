// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// keepSubscriptions remembers the filters that the server granted, for
// [ClientOptions.Resubscribe].
func (c *Client) keepSubscriptions(p *SubscribePacket, ack *SubackPacket) {
	if !c.opts.Resubscribe {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range p.Subscriptions {
		if ack.ReasonCodes[i].Failed() {
			continue
		}
		if c.kept == nil {
			c.kept = make(map[string]Subscription)
		}
		c.kept[s.TopicFilter] = s
	}
}

// resubscription collects the answers to the SUBSCRIBEs of one round. Its
// fields are guarded by Client.mu.
type resubscription struct {
	left   int
	report Resubscription
}

// resubscribe subscribes again to what the server has forgotten. It runs on
// the dispatcher and does not wait.
func (c *Client) resubscribe(ev *engine.Event) {
	if !c.opts.Resubscribe || ev.Settings.RejoinedSession {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == 0 || c.engine.State() != engine.Connected {
		return
	}
	chunk := 8
	if l := c.opts.Limits; l != nil && l.MaxSubscriptionsPerSubscribe > 0 {
		chunk = l.MaxSubscriptionsPerSubscribe
	}
	round := new(resubscription)
	var packets []*wire.Subscribe
	var current *SubscribePacket
	flush := func() {
		if current != nil {
			packets = append(packets, wireSubscribe(current))
			current = nil
		}
	}
	for _, s := range c.kept {
		if current == nil {
			current = new(SubscribePacket)
		}
		current.Subscriptions = append(current.Subscriptions, s)
		if len(current.Subscriptions) == chunk {
			flush()
		}
	}
	flush()
	round.left = len(packets)
	for _, p := range packets {
		op := c.engine.NewOperation(engine.KindSubscribe)
		op.Subscribe = p
		op.Waiter = round
		if err := c.engine.Submit(c.loop.Now(), op); err != nil {
			round.failed(c, err)
			c.engine.Discard(op)
		}
	}
	c.settle()
}

func (r *resubscription) failed(c *Client, err error) {
	r.report.Err = err
	r.finish(c)
}

func (r *resubscription) finish(c *Client) {
	r.left--
	if r.left == 0 {
		c.dispatch.notify(&r.report)
	}
}

// answered notes the outcome of one SUBSCRIBE. The caller holds mu.
func (r *resubscription) answered(c *Client, op *engine.Operation, res engine.Result) {
	if res.Err != nil {
		r.failed(c, operationError("subscribe", op.Sent(), res.Err))
		return
	}
	for i, code := range res.SubscribeAck.ReasonCodes {
		filter := op.Subscribe.Subscriptions[i].TopicFilter
		if !SubackReasonCode(code).Failed() {
			r.report.Restored = append(r.report.Restored, filter)
			continue
		}
		delete(c.kept, filter)
		if r.report.Refused == nil {
			r.report.Refused = make(map[string]error)
		}
		r.report.Refused[filter] = &AckError{
			Operation:    "subscribe",
			Failures:     []string{fmt.Sprintf("%q: %s", filter, SubackReasonCode(code))},
			ReasonCode:   uint8(code),
			ReasonString: deref(res.SubscribeAck.ReasonString),
		}
	}
	r.finish(c)
}
