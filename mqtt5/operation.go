// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// callback is what PublishAsync calls when the publish completes.
type callback func(*PublishResult, error)

// Publish sends a message and waits until it is done: QoS 0 written to the
// transport, QoS 1 and 2 acknowledged by the server.
//
// A refusal by the server is an [*AckError], and the result holds its packet.
// Other failures are an [*OperationError], which matches [ErrNotSent] or
// [ErrOutcomeUnknown], or a [*ValidationError].
//
// With a store ([ClientOptions.Durable]) a message of QoS 1 or 2 is stored before
// it is sent. The result has its [Durability], and with ReturnWhenStored the call
// does not wait for the server. A message that could not be stored fails with
// the error of the store. One that was stored when Stop or Close ended the call
// stays in the store, and is sent by the next connection of this or another
// client with that store.
//
// When ctx ends first, a message that was not sent yet is withdrawn. One that
// was sent stays part of the session: the client goes on with it, and the
// error matches ErrOutcomeUnknown.
//
// The packet is copied, but not what its fields point to: payload, correlation
// data and user properties must not be modified until the publish is done, and
// the payload never again if it fails with ErrOutcomeUnknown: it may be on its
// way still.
func (c *Client) Publish(ctx context.Context, packet *PublishPacket) (*PublishResult, error) {
	if err := submittable(ctx, "publish", packet != nil); err != nil {
		return nil, err
	}
	w := wirePublish(packet)
	if err := c.validatePublish(packet, &w); err != nil {
		return nil, err
	}
	kept := c.durable.kept(&w)
	now := c.lock()
	op := c.engine.NewOperation(engine.KindPublish)
	op.Publish, op.Kept = w, kept
	r, sent, err := c.perform(ctx, now, op)
	if err != nil {
		return nil, operationError("publish", sent, err)
	}
	return c.publishResult(new(publishResult), &w, r)
}

// submittable returns what keeps an operation from being submitted: its packet
// is nil, or its context has ended.
func submittable(ctx context.Context, operation string, packet bool) error {
	if !packet {
		return nilPacket(operation)
	}
	if ctx.Err() != nil {
		return operationError(operation, false, contextError(ctx))
	}
	return nil
}

// contextError returns why ctx has ended: its error, and its cause if there is
// another one.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

func nilPacket(operation string) error {
	v := problems{subject: operation}
	v.add("packet", "is nil", "")
	return v.err()
}

// PublishAsync sends a message without waiting. When the publish is done,
// completed is called once, like a handler, with what [Client.Publish] would
// have returned; the result is valid during that call. completed may be nil.
//
// A full queue fails the publish with [ErrQueueFull], whatever
// [ClientOptions.QueueFullPolicy] says about waiting. Everything that packet
// points to must not be modified until completed is called, as with Publish.
func (c *Client) PublishAsync(packet *PublishPacket, completed func(*PublishResult, error)) {
	var w wire.Publish
	var err error
	if packet == nil {
		err = nilPacket("publish")
	} else {
		w = wirePublish(packet)
		err = c.validatePublish(packet, &w)
	}
	var kept *engine.Kept
	if err == nil {
		kept = c.durable.kept(&w)
	}
	c.mu.Lock()
	// The writer does what is left to do, if there is one. The time is then of no
	// matter but as that of the submission, and to ask for it costs a tenth of the
	// whole call: the beginning of the write serves, unless the write may take long
	// and somebody measures the publish.
	queues := kept == nil && c.link.busy() && c.engine.OnlyQueues()
	var now time.Duration
	if queues && (!c.observers.timed() || !c.link.writer.Waits()) {
		now = c.link.began
	} else {
		now = c.loop.Now()
	}
	if err == nil {
		op := c.engine.NewOperation(engine.KindPublish)
		op.Publish, op.Kept = w, kept
		if completed != nil {
			op.Waiter = callback(completed)
		}
		if err = c.submitNow(now, op); err == nil && queues {
			c.mu.Unlock()
			return
		}
		if err != nil {
			c.engine.Discard(op)
			c.stats.rejected++
			err = operationError("publish", false, err)
		}
	}
	if err != nil && completed != nil {
		c.completions.Add(completion{callback: completed, err: err, final: true})
	}
	c.unlock(c.loop.Now())
}

// Subscribe asks for the messages of one or more topic filters and waits for
// the server's answer. The messages go to the handlers of [Client.Handle] and
// to [ClientOptions.OnMessage]; they may arrive before Subscribe returns.
//
// If the server refuses any filter, the error is an [*AckError], beside the
// packet with all reason codes. Other failures are as with [Client.Publish].
func (c *Client) Subscribe(ctx context.Context, packet *SubscribePacket) (*SubackPacket, error) {
	if err := submittable(ctx, "subscribe", packet != nil); err != nil {
		return nil, err
	}
	w := wireSubscribe(packet)
	if err := c.validateSubscribe(packet, w); err != nil {
		return nil, err
	}
	now := c.lock()
	op := c.engine.NewOperation(engine.KindSubscribe)
	op.Subscribe = w
	r, sent, err := c.perform(ctx, now, op)
	if err != nil {
		return nil, operationError("subscribe", sent, err)
	}
	ack := subackPacket(r.SubscribeAck)
	return ack, c.subscribeError(packet, ack)
}

// Unsubscribe ends subscriptions and waits for the server's answer. Messages
// that are on their way may still arrive.
//
// If the server refuses any filter, the error is an [*AckError], beside the
// packet with all reason codes. Other failures are as with [Client.Publish].
func (c *Client) Unsubscribe(ctx context.Context, packet *UnsubscribePacket) (*UnsubackPacket, error) {
	if err := submittable(ctx, "unsubscribe", packet != nil); err != nil {
		return nil, err
	}
	w := wireUnsubscribe(packet)
	if err := c.validateUnsubscribe(packet, w); err != nil {
		return nil, err
	}
	now := c.lock()
	op := c.engine.NewOperation(engine.KindUnsubscribe)
	op.Unsubscribe = w
	r, sent, err := c.perform(ctx, now, op)
	if err != nil {
		return nil, operationError("unsubscribe", sent, err)
	}
	ack := unsubackPacket(r.SubscribeAck)
	return ack, c.unsubscribeError(packet, ack)
}

// perform submits an operation and waits for it. The caller holds mu, which
// perform releases.
func (c *Client) perform(ctx context.Context, now time.Duration, op *engine.Operation) (r engine.Result, sent bool, err error) {
	w := c.begin(ctx)
	op.Waiter, op.Handler = w, w.handler
	w.op = op
	if err := c.submit(now, op, w); err != nil {
		c.stats.rejected++
		c.engine.Discard(op)
		c.done(w)
		c.unlock(now)
		return engine.Result{}, false, err
	}
	if len(c.waiting) == 1 {
		c.unlockAndWrite(now)
	} else {
		c.unlock(now)
	}
	now = c.wait(ctx, w)
	if !w.completed {
		c.withdraw(now, w, contextError(ctx))
	}
	r, sent = w.result, w.sent
	c.done(w)
	c.unlock(now)
	return r, sent, r.Err
}

// submit gives the operation to the engine, or queues its waiter for room.
func (c *Client) submit(now time.Duration, op *engine.Operation, w *waiter) error {
	if len(c.room) == 0 {
		err := c.submitNow(now, op)
		if !errors.Is(err, ErrQueueFull) || c.opts.QueueFullPolicy != BlockWhenFull {
			return err
		}
	} else if c.opts.QueueFullPolicy != BlockWhenFull {
		return ErrQueueFull
	}
	c.room = append(c.room, w)
	return nil
}

// submitNow gives the operation to the engine. While a stop waits, it takes only
// what handlers do.
func (c *Client) submitNow(now time.Duration, op *engine.Operation) error {
	err := c.engine.Submit(now, op)
	if err == ErrStopRequested && !op.Handler && inHandler() {
		op.Handler = true
		err = c.engine.Submit(now, op)
	}
	return err
}

// admit submits the operations that wait for room, oldest first.
func (c *Client) admit(now time.Duration) {
	for len(c.room) > 0 {
		w := c.room[0]
		op := w.op
		err := c.engine.Submit(now, op)
		if errors.Is(err, ErrQueueFull) {
			return
		}
		c.room[0] = nil
		c.room = c.room[1:]
		if err != nil {
			w.complete(engine.Result{Err: err}, false)
			c.engine.Discard(op)
		}
	}
	c.room = nil
}

// withdraw ends the wait of w.
func (c *Client) withdraw(now time.Duration, w *waiter, cause error) {
	if i := slices.Index(c.room, w); i >= 0 {
		c.room = slices.Delete(c.room, i, i+1)
		op := w.op
		w.complete(engine.Result{Err: cause}, false)
		c.engine.Discard(op)
		return
	}
	c.engine.Cancel(now, w.op, cause)
}

// publishResult is a result with room for the packet it points to.
type publishResult struct {
	PublishResult
	puback PubackPacket
}

// publishResult fills res from what the engine says of a publish. It does not
// fail for lack of anything but the server's consent.
func (c *Client) publishResult(res *publishResult, p *wire.Publish, r engine.Result) (*PublishResult, error) {
	res.PublishResult = PublishResult{Stage: StageDone, Durability: Durability(r.Durability)}
	if r.Forwarded {
		res.Stage = StageStored
	}
	if p.QoS == 0 || r.Forwarded {
		return &res.PublishResult, nil
	}
	res.puback = PubackPacket{ReasonCode: PubackReasonCode(r.Reason)}
	if r.Ack != nil {
		res.puback.ReasonString = r.Ack.ReasonString
		res.puback.UserProperties = userProperties(r.Ack.UserProperties)
	}
	res.Puback = &res.puback
	if !res.puback.ReasonCode.Failed() {
		return &res.PublishResult, nil
	}
	// An error may be kept for longer than the result it comes with.
	return &res.PublishResult, &AckError{
		Operation:    "publish",
		Failures:     []string{res.puback.ReasonCode.String()},
		ReasonCode:   uint8(r.Reason),
		ReasonString: deref(res.puback.ReasonString),
		Hint:         c.hint(Refusal{Operation: "publish", Subject: p.Topic, ReasonCode: uint8(r.Reason), Retain: p.Retain}),
	}
}

func (c *Client) subscribeError(p *SubscribePacket, ack *SubackPacket) error {
	var failed *AckError
	for i, code := range ack.ReasonCodes {
		if !code.Failed() {
			continue
		}
		filter := p.Subscriptions[i].TopicFilter
		if failed == nil {
			failed = &AckError{Operation: "subscribe", ReasonCode: uint8(code), ReasonString: deref(ack.ReasonString),
				Hint: c.hint(Refusal{Operation: "subscribe", Subject: filter, ReasonCode: uint8(code)})}
		}
		failed.Failures = append(failed.Failures, fmt.Sprintf("%q: %s", filter, code))
	}
	if failed == nil {
		return nil
	}
	return failed
}

func (c *Client) unsubscribeError(p *UnsubscribePacket, ack *UnsubackPacket) error {
	var failed *AckError
	for i, code := range ack.ReasonCodes {
		if !code.Failed() {
			continue
		}
		filter := p.TopicFilters[i]
		if failed == nil {
			failed = &AckError{Operation: "unsubscribe", ReasonCode: uint8(code), ReasonString: deref(ack.ReasonString),
				Hint: c.hint(Refusal{Operation: "unsubscribe", Subject: filter, ReasonCode: uint8(code)})}
		}
		failed.Failures = append(failed.Failures, fmt.Sprintf("%q: %s", filter, code))
	}
	if failed == nil {
		return nil
	}
	return failed
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// operationError says how an operation failed.
func operationError(operation string, sent bool, err error) error {
	switch e := err.(type) {
	case *engine.LimitError:
		return &ValidationError{Subject: operation, Problems: []Problem{{Field: e.Field, Rule: e.Rule, ID: e.ID}}}
	case *wire.Error:
		err = protocolError(e)
	}
	return &OperationError{Operation: operation, Sent: sent, Err: err}
}

func protocolError(e *wire.Error) *ProtocolError {
	return &ProtocolError{Packet: e.Packet.String(), ReasonCode: DisconnectReasonCode(e.Reason), Rule: e.Rule, Text: e.Text}
}
