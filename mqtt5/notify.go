// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/delivery"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// sink is the Client as the engine sees it. Its methods run while mu is held.
type sink Client

// Complete reports the result of an operation to its waiter or callback.
func (s *sink) Complete(op *engine.Operation, r engine.Result) {
	c := (*Client)(s)
	if c.observers != nil {
		c.observers.complete(c, op, &r)
	}
	if r.Granted && !c.saidGranted {
		c.saidGranted = true
		c.events.Add(event{value: grantedNotice{}})
	}
	switch w := op.Waiter.(type) {
	case *waiter:
		w.complete(r, op.Sent())
	case callback:
		p := &op.Publish
		c.completions.Add(completion{callback: w, topic: p.Topic, ack: r.Ack, err: r.Err, reason: r.Reason,
			qos: p.QoS, retain: p.Retain, sent: op.Sent(), durability: Durability(r.Durability), forwarded: r.Forwarded})
	}
}

// Deliver queues a message for the handlers.
func (s *sink) Deliver(m *engine.Message) {
	c := (*Client)(s)
	c.messages.Add(delivery.Record{
		Ack:     m.Ack,
		Start:   c.received + uint32(m.Start),
		Payload: c.received + uint32(m.End-len(m.Payload)),
		End:     c.received + uint32(m.End),
		Topic:   uint16(len(m.Topic)),
		QoS:     m.QoS,
		Retain:  m.Retain,
		Dup:     m.Dup,
		More:    len(m.Properties) > 0 || m.TopicAlias != 0,
	}, m.AliasedTopic)
}

// event is something that a lifecycle handler, or the log, is told of.
type event struct {
	value      any
	connection uint64    // whose messages wait until it was handled; 0: none
	stop       bool      // the client has stopped
	stopped    []*waiter // callers of Stop that wait until it was handled
}

// grantedNotice is a publish that was acknowledged with a granted QoS.
type grantedNotice struct{}

// Notify queues a lifecycle event for the handlers.
func (s *sink) Notify(ev *engine.Event) {
	c := (*Client)(s)
	if c.observers != nil {
		c.observers.notify(c, ev)
	}
	c.record.note(c.loop.Now(), ev)
	e := event{value: ev}
	switch ev.Kind {
	case engine.EventSucceeded:
		c.reached(untilConnected, nil)
		c.durable.connected(ev.Settings.SessionExpiryInterval)
		if c.opts.OnConnectionSuccess != nil || c.listeners.any() {
			c.connections++
			e.connection = c.connections
			c.messages.Hold(c.connections)
		}
	case engine.EventDisconnected, engine.EventFailed:
		if ev.Kind == engine.EventDisconnected {
			c.durable.connected(c.engine.Settings().SessionExpiryInterval)
		}
		c.renewed(&renewalLost{ev})
	case engine.EventStopped:
		ev.Err = c.gaveUp
		if c.gaveUp != nil {
			c.reached(untilConnected, c.gaveUp)
		}
		e.stopped = c.takeStopped()
	}
	if !c.heard(ev) {
		completeAll(&e.stopped, nil)
		return
	}
	if e.stop = ev.Kind == engine.EventStopped; e.stop {
		c.untold++
	}
	c.events.Add(e)
}

// takeStopped returns the callers of Stop that wait for OnStopped, and ends the
// wait of the others.
func (c *Client) takeStopped() (waiting []*waiter) {
	for _, w := range c.waiting {
		switch {
		case w.until != untilStopped:
		case w.early:
			w.complete(engine.Result{}, false)
		default:
			waiting = append(waiting, w)
		}
	}
	return waiting
}

// completeJoined ends the wait of the callers of Stop that came when the client
// had stopped, and OnStopped had not returned.
func (c *Client) completeJoined() {
	for _, w := range c.waiting {
		if w.joined {
			w.complete(engine.Result{}, false)
		}
	}
}

// heard reports whether a handler or the log is told of an event. Starting the
// lane for nothing would be a good part of what a connect costs.
func (c *Client) heard(ev *engine.Event) bool {
	o, logs := c.opts, c.log.Core().Enabled
	if c.listeners.any() {
		return true
	}
	switch ev.Kind {
	case engine.EventConnecting:
		return o.OnAttemptingConnect != nil || logs(zap.DebugLevel)
	case engine.EventSucceeded:
		return o.OnConnectionSuccess != nil || logs(zap.InfoLevel) || ev.Lost > 0 && logs(zap.WarnLevel)
	case engine.EventFailed:
		return o.OnConnectionFailure != nil || o.ShouldRetry != nil || logs(zap.WarnLevel)
	case engine.EventDisconnected:
		return o.OnDisconnection != nil || logs(zap.WarnLevel)
	case engine.EventResubscribed:
		return o.OnResubscribe != nil || logs(zap.WarnLevel)
	case engine.EventClosed:
		return false // only listeners are told
	default:
		return o.OnStopped != nil || logs(zap.InfoLevel)
	}
}

// Challenge queues an AUTH for the authenticator.
func (s *sink) Challenge(auth *wire.Auth, done bool) {
	c := (*Client)(s)
	x := c.exchange
	x.challenges = append(x.challenges, &challenge{link: c.link, data: auth.AuthenticationData, done: done})
	if !x.authenticating {
		x.authenticating = true
		go c.runAuthenticator()
	}
}

// handleEvent runs the user's code for an event, on the lane of events.
func (c *Client) handleEvent(ev *event) {
	defer c.eventHandled(ev)
	switch v := ev.value.(type) {
	case *engine.Event:
		c.handleLifecycle(v)
	case *Undelivered:
		c.handleUndelivered(v)
	case *StoreFailed:
		c.handleStoreFailed(v)
	case grantedNotice:
		c.log.Warn("the server acknowledges publishes with a granted QoS instead of success; it counts as success")
	}
}

// eventHandled lets go on what waits for the handler of an event, even if that
// ends its goroutine.
func (c *Client) eventHandled(ev *event) {
	if ev.connection == 0 && !ev.stop {
		return
	}
	now := c.lock()
	c.messages.Open(ev.connection)
	completeAll(&ev.stopped, nil)
	if ev.stop {
		if c.untold--; c.untold == 0 {
			c.completeJoined()
		}
	}
	c.unlock(now)
}

func (c *Client) handleLifecycle(ev *engine.Event) {
	switch ev.Kind {
	case engine.EventConnecting:
		if entry := c.log.Check(zap.DebugLevel, "connecting"); entry != nil { // else the fields are made for nothing
			entry.Write(zap.String("address", c.opts.Address), zap.Int("attempt", ev.Attempt))
		}
		tell(c, "OnAttemptingConnect", c.opts.OnAttemptingConnect, &AttemptingConnect{Attempt: ev.Attempt})
	case engine.EventSucceeded:
		if entry := c.log.Check(zap.InfoLevel, "connected"); entry != nil {
			entry.Write(zap.String("address", c.opts.Address), zap.String("client_id", ev.Settings.ClientID),
				zap.Bool("rejoined_session", ev.Settings.RejoinedSession))
		}
		if ev.Lost > 0 {
			c.log.Warn("the server has no session: subscriptions are gone", zap.Int("subscriptions", ev.Lost))
		}
		tell(c, "OnConnectionSuccess", c.opts.OnConnectionSuccess, &ConnectionSuccess{
			Connack: connackPacket(ev.Connack), Settings: negotiatedSettings(ev.Settings), Attempt: ev.Attempt,
			LostSubscriptions: ev.Lost})
	case engine.EventFailed:
		c.handleFailure(ev)
	case engine.EventDisconnected:
		d := &Disconnection{Err: c.eventError(ev), Disconnect: disconnectPacket(ev.Disconnect), WillRetry: ev.Retry, Delay: ev.Delay}
		c.log.Log(levelOf(ev.Err), "disconnected", zap.String("address", c.opts.Address), zap.Error(d.Err), zap.Bool("will_retry", d.WillRetry), zap.Duration("delay", d.Delay))
		tell(c, "OnDisconnection", c.opts.OnDisconnection, d)
	case engine.EventResubscribed:
		c.handleResubscribed(ev)
	case engine.EventStopped:
		c.log.Info("stopped", zap.Error(ev.Err))
		tell(c, "OnStopped", c.opts.OnStopped, &Stopped{Err: ev.Err})
	case engine.EventClosed:
		tell(c, "", nil, &Closed{})
	}
}

// levelOf returns the level of a message about the end of a connection or of an
// attempt. If the program asked for it, nobody has to look at it.
func levelOf(err error) zapcore.Level {
	switch err {
	case ErrStopRequested, ErrClosed, ErrReconnectRequested:
		return zap.InfoLevel
	}
	return zap.WarnLevel
}

func (c *Client) handleFailure(ev *engine.Event) {
	f := &ConnectionFailure{Err: c.eventError(ev), Connack: connackPacket(ev.Connack), Attempt: ev.Attempt, WillRetry: ev.Retry, Delay: ev.Delay}
	c.log.Log(levelOf(ev.Err), "connection attempt failed", zap.String("address", c.opts.Address), zap.Error(f.Err),
		zap.Int("attempt", f.Attempt), zap.Bool("will_retry", f.WillRetry), zap.Duration("delay", f.Delay))
	if c.opts.ShouldRetry != nil && ev.Retry {
		defer c.askRetry(ev, f) // the next attempt waits for it, even if a handler ends the goroutine
	}
	tell(c, "OnConnectionFailure", c.opts.OnConnectionFailure, f)
}

// askRetry asks ShouldRetry. The next attempt waits for the answer, which is
// yes if there is none. An answer that comes after a Stop means nothing.
func (c *Client) askRetry(ev *engine.Event, f *ConnectionFailure) {
	retry := true
	defer func() {
		now := c.lock()
		if !retry && c.engine.RetryAsked(ev.Run) {
			c.gaveUp = errors.Join(ErrGaveUp, f.Err)
		}
		c.engine.AnswerRetry(now, ev.Run, retry)
		c.unlock(now)
	}()
	defer c.recovered("ShouldRetry")
	retry = c.opts.ShouldRetry(RetryInfo{Attempt: f.Attempt, Err: f.Err, Delay: f.Delay})
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
		return &HangupError{BeforeConnack: ev.Kind == engine.EventFailed, Err: ev.Detail,
			Hint: c.hint(Refusal{Operation: "hangup", Subject: c.opts.Connect.ClientID})}
	}
	if e, ok := ev.Err.(*wire.Error); ok {
		p := protocolError(e)
		if ev.Repeated >= sessionSuspect {
			p.Hint = "the server sends this again with each connection, so its session holds it: start a clean session once"
		}
		return p
	}
	return ev.Err
}

// sessionSuspect is how many connections in a row have to end with the same
// violation until the session is suspected to hold its cause.
const sessionSuspect = 3
