// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// sink is the Client as the engine sees it. Its methods run while mu is held.
type sink Client

// Complete tells whoever waits for an operation.
func (s *sink) Complete(op *engine.Operation, r engine.Result) {
	c := (*Client)(s)
	if c.observers != nil {
		c.observers.complete(c, c.loop.Now(), op, &r)
	}
	switch w := op.Waiter.(type) {
	case *waiter:
		w.complete(r, op.Sent())
	case callback:
		p := &op.Publish
		c.dispatch.complete(completion{callback: w, topic: p.Topic, ack: r.Ack, err: r.Err, reason: r.Reason,
			qos: p.QoS, retain: p.Retain, sent: op.Sent()})
	case *resubscription:
		w.answered(c, op, r)
	}
}

// Deliver queues a message for the handlers.
func (s *sink) Deliver(m *engine.Message) {
	c := (*Client)(s)
	if c.observers != nil {
		c.observers.deliver(c, m)
	}
	c.dispatch.deliver(m)
}

// Notify queues a lifecycle event for the handlers.
func (s *sink) Notify(ev *engine.Event) {
	c := (*Client)(s)
	if c.observers != nil {
		c.observers.notify(c, ev)
	}
	switch ev.Kind {
	case engine.EventSucceeded:
		c.wake(&c.connected)
	case engine.EventDisconnected, engine.EventFailed:
		c.renewed(&renewalLost{ev})
	case engine.EventStopped:
		ev.Err = c.gaveUp
		c.wake(&c.stopped)
		if c.gaveUp != nil {
			c.wake(&c.connected)
		}
	}
	if c.heard(ev.Kind) {
		c.dispatch.notify(ev)
	}
}

// heard reports whether there is anybody to tell of an event. Waking the
// dispatcher for nothing would be a good part of what a connect costs.
func (c *Client) heard(kind engine.EventKind) bool {
	o, logs := c.opts, c.log.Core().Enabled
	switch kind {
	case engine.EventConnecting:
		return o.OnAttemptingConnect != nil || logs(zap.DebugLevel)
	case engine.EventSucceeded:
		return o.OnConnectionSuccess != nil || o.Resubscribe || logs(zap.InfoLevel)
	case engine.EventFailed:
		return o.OnConnectionFailure != nil || o.ShouldRetry != nil || logs(zap.WarnLevel)
	case engine.EventDisconnected:
		return o.OnDisconnection != nil || logs(zap.InfoLevel)
	default:
		return o.OnStopped != nil || logs(zap.InfoLevel)
	}
}

// Challenge queues an AUTH for the authenticator.
func (s *sink) Challenge(auth *wire.Auth, done bool) {
	c := (*Client)(s)
	x := c.exchange
	x.challenges = append(x.challenges, &challenge{transport: c.transport, data: auth.AuthenticationData, done: done})
	if !x.authenticating {
		x.authenticating = true
		go c.runAuthenticator()
	}
}

// handleEvent runs the user's code for an event. It runs on the dispatcher.
func (c *Client) handleEvent(event any) {
	switch ev := event.(type) {
	case *engine.Event:
		c.handleLifecycle(ev)
	case *PanicError:
		c.panicked(ev)
	case *Resubscription:
		defer c.recovered("OnResubscribe")
		if c.opts.OnResubscribe != nil {
			c.opts.OnResubscribe(ev)
		}
	}
}

func (c *Client) handleLifecycle(ev *engine.Event) {
	switch ev.Kind {
	case engine.EventConnecting:
		defer c.recovered("OnAttemptingConnect")
		if entry := c.log.Check(zap.DebugLevel, "connecting"); entry != nil { // else the fields are made for nothing
			entry.Write(zap.String("address", c.opts.Address), zap.Int("attempt", ev.Attempt))
		}
		if c.opts.OnAttemptingConnect != nil {
			c.opts.OnAttemptingConnect(&AttemptingConnect{Attempt: ev.Attempt})
		}
	case engine.EventSucceeded:
		if entry := c.log.Check(zap.InfoLevel, "connected"); entry != nil {
			entry.Write(zap.String("address", c.opts.Address), zap.String("client_id", ev.Settings.ClientID),
				zap.Bool("rejoined_session", ev.Settings.RejoinedSession))
		}
		c.resubscribe(ev)
		defer c.recovered("OnConnectionSuccess")
		if c.opts.OnConnectionSuccess != nil {
			c.opts.OnConnectionSuccess(&ConnectionSuccess{
				Connack: connackPacket(ev.Connack), Settings: negotiatedSettings(ev.Settings), Attempt: ev.Attempt})
		}
	case engine.EventFailed:
		c.handleFailure(ev)
	case engine.EventDisconnected:
		d := &Disconnection{Err: c.eventError(ev), Disconnect: disconnectPacket(ev.Disconnect), WillRetry: ev.Retry, Delay: ev.Delay}
		c.log.Info("disconnected", zap.String("address", c.opts.Address), zap.Error(d.Err), zap.Bool("will_retry", d.WillRetry), zap.Duration("delay", d.Delay))
		defer c.recovered("OnDisconnection")
		if c.opts.OnDisconnection != nil {
			c.opts.OnDisconnection(d)
		}
	case engine.EventStopped:
		c.log.Info("stopped", zap.Error(ev.Err))
		defer c.recovered("OnStopped")
		if c.opts.OnStopped != nil {
			c.opts.OnStopped(&Stopped{Err: ev.Err})
		}
	}
}

func (c *Client) handleFailure(ev *engine.Event) {
	f := &ConnectionFailure{Err: c.eventError(ev), Connack: connackPacket(ev.Connack), Attempt: ev.Attempt, WillRetry: ev.Retry, Delay: ev.Delay}
	c.log.Warn("connection attempt failed", zap.String("address", c.opts.Address), zap.Error(f.Err),
		zap.Int("attempt", f.Attempt), zap.Bool("will_retry", f.WillRetry), zap.Duration("delay", f.Delay))
	func() {
		defer c.recovered("OnConnectionFailure")
		if c.opts.OnConnectionFailure != nil {
			c.opts.OnConnectionFailure(f)
		}
	}()
	if c.opts.ShouldRetry == nil || !ev.Retry {
		return
	}
	retry := true
	func() {
		defer c.recovered("ShouldRetry")
		retry = c.opts.ShouldRetry(RetryInfo{Attempt: f.Attempt, Err: f.Err, Delay: f.Delay})
	}()
	if retry {
		return
	}
	c.mu.Lock()
	c.gaveUp = errors.Join(ErrGaveUp, f.Err)
	c.engine.Stop(c.loop.Now(), nil, 0)
	c.settle()
	c.mu.Unlock()
}

// eventError turns the cause of an event into the error that users see.
func (c *Client) eventError(ev *engine.Event) error {
	switch {
	case ev.Err == ErrConnectionRefused && ev.Connack != nil:
		return &ConnackError{Packet: connackPacket(ev.Connack),
			Hint: c.hint(Refusal{Operation: "connect", Subject: c.opts.Connect.ClientID, ReasonCode: uint8(ev.Connack.ReasonCode)})}
	case ev.Err == ErrDisconnectReceived && ev.Disconnect != nil:
		return &DisconnectError{Packet: disconnectPacket(ev.Disconnect),
			Hint: c.hint(Refusal{Operation: "disconnect", Subject: c.opts.Connect.ClientID, ReasonCode: uint8(ev.Disconnect.ReasonCode)})}
	case ev.Err == ErrHangup:
		return &HangupError{BeforeConnack: ev.Kind == engine.EventFailed,
			Hint: c.hint(Refusal{Operation: "hangup", Subject: c.opts.Connect.ClientID})}
	}
	if e, ok := ev.Err.(*wire.Error); ok {
		return protocolError(e)
	}
	return ev.Err
}
