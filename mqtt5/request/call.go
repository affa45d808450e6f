// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// call is a request under way. The goroutine that called Do takes it from stage
// to stage; others only note what happened and signal. Its fields are guarded by
// Client.mu, except those that never change.
type call struct {
	req    *Request
	wake   chan struct{}           // capacity 1
	cancel context.CancelCauseFunc // ends the call

	stage     Stage
	claim     *claim
	claimed   bool
	lease     *lease
	turn      bool // within the quota
	published bool // at least once
	err       error

	interrupt context.CancelCauseFunc // ends the wait for the PUBACK; nil: it is not waiting
	answer    *mqtt5.Message
	lost      bool // the subscriptions, since the message was published
}

var errAnswered = errors.New("request: answered before the PUBACK")

// signal wakes the goroutine of the call.
func (k *call) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// fail ends the call with err.
func (k *call) fail(err error) {
	if k.err == nil {
		k.err = err
	}
	if k.interrupt != nil {
		k.interrupt(err)
	}
	k.signal()
}

// subscriptionLost notes that an answer may not arrive any more. The caller
// signals.
func (k *call) subscriptionLost() {
	if k.stage >= StagePublish {
		k.lost = true
		if k.interrupt != nil {
			k.interrupt(ErrSubscriptionLost)
		}
	}
}

// Do sends a request and returns its answer, whose payload belongs to the
// caller. What kind of answer it is follows from its topic, one of the
// [Reply.Topic].
//
// Do blocks, so a message handler of the connection must not call it: see
// Handlers in the package comment.
//
// Do fails with [ErrInvalid] or an [*Error]. When ctx ends or the time-out
// passes first, a message that was not sent yet is withdrawn; one that was sent
// may still have an effect, and the error matches [mqtt5.ErrOutcomeUnknown].
func (c *Client) Do(ctx context.Context, req *Request) (mqtt5.Message, error) {
	if err := req.validate(); err != nil {
		return mqtt5.Message{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(orDefault(req.Timeout, c.opts.Timeout), func() { cancel(ErrTimeout) })
	defer timer.Stop()

	k := newCall(req, cancel)
	answer, err := c.run(ctx, k)
	c.mu.Lock()
	stage, sent := k.stage, k.published
	c.end(k)
	c.mu.Unlock()
	if err != nil {
		if errors.Is(err, ErrInvalid) {
			return mqtt5.Message{}, err
		}
		return mqtt5.Message{}, &Error{Topic: req.Topic, Stage: stage, Sent: sent, Err: err}
	}
	return answer, nil
}

func newCall(req *Request, cancel context.CancelCauseFunc) *call {
	k := &call{req: req, wake: make(chan struct{}, 1), cancel: cancel}
	k.claim = &claim{call: k}
	k.lease = &lease{call: k}
	for _, r := range req.Replies {
		if key := (key{r.Topic, req.token()}); !slices.Contains(k.claim.keys, key) {
			k.claim.keys = append(k.claim.keys, key)
		}
		if !slices.Contains(k.lease.filters, r.filter()) {
			k.lease.filters = append(k.lease.filters, r.filter())
		}
	}
	return k
}

// run takes the call through its stages.
func (c *Client) run(ctx context.Context, k *call) (mqtt5.Message, error) {
	if err := c.begin(k); err != nil {
		return mqtt5.Message{}, err
	}
	if err := c.wait(ctx, k, func() (bool, error) { return k.claimed, nil }); err != nil {
		return mqtt5.Message{}, err
	}
	c.mu.Lock()
	err := c.enqueueLease(k.lease)
	c.mu.Unlock()
	if err != nil {
		return mqtt5.Message{}, err
	}
	if err := c.wait(ctx, k, func() (bool, error) { return k.lease.granted, nil }); err != nil {
		return mqtt5.Message{}, err
	}
	for attempt := 1; ; attempt++ {
		answer, err := c.attempt(ctx, k)
		if k.throttled(&answer, err) {
			other, again := c.backOff(ctx, k, attempt)
			if again {
				continue
			}
			if other == nil {
				return answer, err
			}
			answer, err = *other, nil
		}
		if err == nil {
			c.succeeded(k)
		}
		return answer, err
	}
}

// begin queues the call for its token.
func (c *Client) begin(k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.connectionClosed() {
		return mqtt5.ErrClosed
	}
	k.stage = StageConnect
	if k.req.Offline == FailOffline && c.link == nil {
		return ErrOffline
	}
	k.stage = StageQueue
	if err := c.enqueueClaim(k); err != nil {
		return err
	}
	c.calls[k] = struct{}{}
	return nil
}

// end gives up everything that the call holds.
func (c *Client) end(k *call) {
	if _, begun := c.calls[k]; !begun {
		return
	}
	delete(c.calls, k)
	c.giveTurn(k)
	if !c.closed {
		c.endLease(k.lease)
		c.endClaim(k)
	}
}

// wait waits until ready, which is asked under the lock after each signal.
func (c *Client) wait(ctx context.Context, k *call, ready func() (bool, error)) error {
	for {
		c.mu.Lock()
		err := k.err
		done := false
		if err == nil {
			done, err = ready()
		}
		c.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-k.wake:
		case <-ctx.Done():
			return c.explain(ctx, k)
		}
	}
}

// explain returns why ctx ended, and what the call was waiting for if that is
// known.
func (c *Client) explain(ctx context.Context, k *call) error {
	err := context.Cause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.stage != StageSubscribe {
		return err
	}
	for _, s := range k.lease.subs {
		if s.err != nil {
			return fmt.Errorf("%w; last refusal: %w", err, s.err)
		}
	}
	return err
}

// attempt publishes the message once, or more often if it is certain that it did
// not leave or the request is idempotent, and waits for the answer.
func (c *Client) attempt(ctx context.Context, k *call) (mqtt5.Message, error) {
	defer c.leaveTurn(k)
	for {
		answer, err := c.exchange(ctx, k)
		lost := errors.Is(err, ErrSubscriptionLost)
		again := false
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, mqtt5.ErrNotSent):
			again = lost || errors.Is(err, mqtt5.ErrConnectionLost) || errors.Is(err, mqtt5.ErrOfflinePolicy)
		case lost:
			again = k.req.Idempotent
		}
		if !again {
			return answer, err
		}
		k.pause(ctx, c.opts.MinRetryDelay)
	}
}

// pause waits for news, but not for long: a connection that has just been lost
// may not have been reported yet.
func (k *call) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-k.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ready reports whether the call may publish: there is a connection, the server
// has its subscriptions and it is its turn. Until the first two are true the call
// leaves its turn to others.
func (c *Client) ready(k *call) (bool, error) {
	if c.link == nil {
		k.stage = StageConnect
		c.giveTurn(k)
		if k.req.Offline == FailOffline {
			return false, ErrOffline
		}
		return false, nil
	}
	for _, s := range k.lease.subs {
		if s.state != subscriptionActive {
			k.stage = StageSubscribe
			c.giveTurn(k)
			return false, nil
		}
	}
	if !c.takeTurn(k) {
		k.stage = StageQueue
		return false, nil
	}
	return true, nil
}

// exchange publishes the message, when the call is ready, and waits for the
// answer.
func (c *Client) exchange(ctx context.Context, k *call) (mqtt5.Message, error) {
	packet := k.req.packet()
	publish, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	before := false
	err := c.wait(ctx, k, func() (bool, error) {
		if k.answer != nil { // to an earlier attempt
			return true, nil
		}
		if ok, err := c.ready(k); !ok || err != nil || ctx.Err() != nil {
			return false, err
		}
		before = k.published
		k.claim.open++
		k.stage, k.published, k.interrupt, k.lost = StagePublish, true, interrupt, false
		c.stats.Requests++
		return true, nil
	})
	switch {
	case err != nil:
		return mqtt5.Message{}, err
	case k.interrupt == nil:
		return *k.answer, nil
	}
	_, err = c.conn.Publish(publish, packet)
	if !c.published(k, err, before) {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return mqtt5.Message{}, err
	}
	err = c.wait(ctx, k, func() (bool, error) {
		if k.answer == nil && k.lost {
			return false, ErrSubscriptionLost
		}
		return k.answer != nil, nil
	})
	if err != nil {
		return mqtt5.Message{}, err
	}
	return *k.answer, nil
}

// published notes the outcome of a PUBLISH, and reports whether an answer is
// there or may still come. before: the message was published before, too.
func (c *Client) published(k *call, err error, before bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.interrupt = nil
	if k.answer != nil || err == nil {
		k.stage = StageAnswer
		return true
	}
	var refused *mqtt5.AckError
	if errors.Is(err, mqtt5.ErrNotSent) || errors.As(err, &refused) {
		k.claim.open-- // it is not answered
	}
	if errors.Is(err, mqtt5.ErrNotSent) {
		k.published = before
	}
	return false
}

// packet returns the message of the request.
func (r *Request) packet() *mqtt5.PublishPacket {
	packet := &mqtt5.PublishPacket{Topic: r.Topic, Payload: slices.Clone(r.Payload), QoS: mqtt5.AtLeastOnce}
	if _, ok := r.Correlation.(CorrelationData); ok {
		packet.ResponseTopic = mqtt5.Ptr(r.Replies[0].Topic)
		packet.CorrelationData = []byte(r.Token)
	}
	if r.Packet != nil {
		r.Packet(packet)
	}
	return packet
}

// receive takes a message that arrived for a subscription. It runs on a
// goroutine of the connection.
func (c *Client) receive(s *subscription, m mqtt5.Message) {
	c.mu.Lock()
	if len(s.streams) > 0 {
		kept := m.Clone()
		for _, stream := range s.streams {
			stream.push(item{message: &kept})
		}
	}
	use := c.claims.topics[m.Topic]
	if use == nil {
		stray := len(s.streams) == 0 && !c.closed
		if stray {
			c.stats.Stray++
		}
		c.mu.Unlock()
		if stray {
			c.unmatched(Unmatched{Message: m})
		}
		return
	}
	correlation := use.correlation
	c.mu.Unlock()
	token, found := correlation.Token(&m)

	c.mu.Lock()
	u, matched := c.match(&m, token, found)
	c.mu.Unlock()
	if !matched {
		c.unmatched(u)
	}
}

// match gives an answer to its call.
func (c *Client) match(m *mqtt5.Message, token string, found bool) (u Unmatched, matched bool) {
	u.Message = *m
	var held *claim
	if found {
		held = c.claims.byKey[key{m.Topic, token}]
	}
	if held != nil && held.call == nil && token == "" && !time.Now().Before(held.freeAt) {
		held = nil // without a token nothing ties a message to a call for long
	}
	switch {
	case held == nil:
		c.stats.Stray++
		return u, false
	case held.answered:
		c.stats.Duplicate++
		u.Duplicate = true
		c.answered(held)
		return u, false
	case held.call == nil:
		c.stats.Late++
		u.Late = true
		held.answered = true
		c.answered(held)
		return u, false
	}
	k := held.call
	if !k.published || k.answer != nil {
		c.stats.Stray++ // the message has not left
		return u, false
	}
	kept := m.Clone()
	k.answer = &kept
	held.answered = true
	held.open--
	c.stats.Answers++
	if k.interrupt != nil {
		k.interrupt(errAnswered)
	}
	k.signal()
	return u, true
}

// answered notes an answer to a claim that has one already, or has ended. After the
// last one others may use its keys.
func (c *Client) answered(held *claim) {
	held.open--
	if held.call == nil && held.open <= 0 {
		held.freeAt = time.Time{}
		c.grantClaims()
	}
}

func (c *Client) unmatched(u Unmatched) {
	if c.opts.OnUnmatched != nil {
		c.opts.OnUnmatched(u)
	}
}

// Call publishes a payload with a response topic and correlation data of MQTT 5,
// and returns the answer. It fails like [Client.Do]. The deadline of ctx, if there
// is one, takes the place of [Options.Timeout].
func (c *Client) Call(ctx context.Context, topic string, payload []byte) (mqtt5.Message, error) {
	timeout := c.opts.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(1, time.Until(deadline))
	}
	return c.Do(ctx, &Request{
		Timeout:     timeout,
		Topic:       topic,
		Payload:     payload,
		Replies:     []Reply{{Topic: c.opts.ReplyTopic}},
		Correlation: CorrelationData{},
		Token:       NewToken(),
	})
}
