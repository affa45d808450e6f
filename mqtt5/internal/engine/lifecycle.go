// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Start asks for a connection, now and after each loss, until Stop. During a
// stop it takes effect once that has ended.
func (e *Engine) Start(now time.Duration) error {
	if e.closed {
		return ErrClosed
	}
	e.desired = true
	if e.state == Stopped {
		e.attempt = 0
		e.beginConnecting(now)
	}
	return nil
}

// Stop ends the connection and fails the operations left. While connected,
// it first waits for those queued and in flight, at most until drainUntil,
// and sends packet (nil: a normal DISCONNECT). It returns the number of the stop
// that is under way, 0 if the engine is stopped already. A Stop during another
// one joins it, and cuts its waiting short if drainUntil is earlier.
func (e *Engine) Stop(now time.Duration, packet *wire.Disconnect, drainUntil time.Duration) (stop uint64, err error) {
	if e.closed {
		return 0, ErrClosed
	}
	e.desired = false
	if e.stopping {
		if e.draining && drainUntil < e.deadline {
			e.deadline = drainUntil
			if now >= drainUntil {
				e.stateDeadline(now)
			}
		}
		return e.stops, nil
	}
	if e.state == Stopped {
		return 0, nil
	}
	e.stopping = true
	e.stops++
	e.run++
	if packet == nil {
		packet = &wire.Disconnect{}
	}
	e.stopPacket = packet
	switch e.state {
	case Connected:
		if now < drainUntil {
			e.draining = true
			e.deadline = drainUntil
			e.checkDrained(now)
			break
		}
		e.beginDisconnect(now, packet)
	case Handshake:
		e.conclude(now, &Event{Err: ErrStopRequested})
		e.beginDisconnect(now, packet)
	case Connecting:
		e.conclude(now, &Event{Err: ErrStopRequested})
		e.beginClosing(now)
	case Waiting:
		e.enterStopped(now)
	}
	return e.stops, nil
}

// HurryStop ends the waiting of the stop with that number, and reports whether
// it is under way still. A later Start keeps its effect.
func (e *Engine) HurryStop(now time.Duration, stop uint64) bool {
	if !e.stopping || e.stops != stop {
		return false
	}
	if e.draining {
		e.stateDeadline(now)
	}
	return true
}

// RetryNow ends the delay before the next attempt.
func (e *Engine) RetryNow(now time.Duration) {
	if e.state == Waiting {
		e.deadline = now
		e.stateDeadline(now)
	}
}

// Reconnect ends the attempt or connection under way, a connection with a
// DISCONNECT, and begins the next attempt without a delay. Operations go on as
// after a lost connection.
func (e *Engine) Reconnect(now time.Duration) error {
	switch {
	case e.closed:
		return ErrClosed
	case e.stopping:
		return ErrStopRequested
	}
	switch e.state {
	case Stopped:
		return ErrNotConnected
	case Waiting:
		e.RetryNow(now)
	case Connecting:
		e.conclude(now, &Event{Err: ErrReconnectRequested})
		e.beginClosing(now)
	case Handshake, Connected:
		e.disconnect(now, wire.Success, ErrReconnectRequested)
	case Disconnecting, Closing:
		e.delay = 0
	}
	return nil
}

// RetryAsked reports whether the question of a Failed event is still open.
func (e *Engine) RetryAsked(run uint64) bool { return e.asked && e.run == run }

// AnswerRetry answers the question of a Failed event, if it is still open.
// False stops the engine.
func (e *Engine) AnswerRetry(now time.Duration, run uint64, retry bool) {
	if !e.RetryAsked(run) {
		return
	}
	e.asked = false
	switch {
	case !retry:
		e.Stop(now, nil, 0)
	case e.state == Waiting && now >= e.deadline:
		e.stateDeadline(now)
	case e.state == Waiting && e.waited:
		e.beginConnecting(now)
	}
}

// Close ends everything at once: no DISCONNECT is sent, so the server
// publishes the will.
func (e *Engine) Close(now time.Duration) {
	if e.closed {
		return
	}
	e.closed = true
	e.desired = false
	e.stopping = e.stopping || e.state != Stopped
	switch e.state {
	case Stopped:
		e.enterStopped(now)
	case Waiting:
		e.enterStopped(now)
	case Closing:
	default:
		e.conclude(now, &Event{Err: ErrClosed})
		e.beginClosing(now)
	}
}

// checkDrained ends the draining of Stop when nothing is left to wait for.
func (e *Engine) checkDrained(now time.Duration) {
	if !e.draining || e.state != Connected {
		return
	}
	if e.stats.Incomplete > 0 {
		return
	}
	e.beginDisconnect(now, e.stopPacket)
}

func (e *Engine) beginConnecting(now time.Duration) {
	e.state = Connecting
	e.deadline = after(now, saturated(turnPatience, e.cfg.ConnectTimeout))
	e.dialDue = true
	e.asked = false
	e.attempt++
	e.eventOpen = EventConnecting
	e.sink.Notify(&Event{Kind: EventConnecting, Attempt: int(e.attempt)})
}

// turnPatience is how many connect timeouts an attempt may wait for its turn
// to dial, when a whole fleet wants to connect at once.
const turnPatience = 10

// DialStarted begins the connect timeout: the owner has got its turn to dial.
func (e *Engine) DialStarted(now time.Duration) {
	if e.state == Connecting {
		e.deadline = after(after(now, e.cfg.ConnectTimeout), dialGrace)
	}
}

// dialGrace is how long the owner, who ends the dial at the connect timeout,
// may take to tell where it was stuck.
const dialGrace = time.Second

// TransportOpened reports that the transport is up, and the CONNECT for it.
// The engine sets its Clean Start and topic alias maximum, and an empty client
// identifier becomes the one that the server assigned before.
func (e *Engine) TransportOpened(now time.Duration, connect *wire.Connect) {
	if e.state != Connecting {
		return
	}
	c := connect
	c.CleanStart = e.cfg.Session == SessionClean || e.cfg.Session == SessionRejoinPostSuccess && !e.succeeded
	if c.ClientID == "" {
		c.ClientID = e.assignedID
	}
	c.TopicAliasMaximum = nil
	if e.cfg.InAliasMax > 0 {
		c.TopicAliasMaximum = &e.cfg.InAliasMax
	}
	e.resetConnection(now)
	e.offer = offerOf(c)
	e.settings = proposed(c)
	e.state = Handshake
	e.deadline = after(now, e.cfg.ConnackTimeout)
	if c.AuthenticationMethod != nil {
		e.authState = authConnecting
	}
	// A buffer of its own: a fleet that connects all at once would need many of
	// the large ones.
	e.control = wire.AppendConnect(make([]byte, 0, wire.ConnectSize(c)), c)
	e.stats.PacketsOut++
}

// TransportFailed reports that the attempt failed.
func (e *Engine) TransportFailed(now time.Duration, err error) {
	switch e.state {
	case Connecting:
		e.conclude(now, &Event{Err: err})
		e.transportGone(now)
	case Closing:
		e.transportGone(now)
	}
}

// TransportError reports that reading or writing failed; io.EOF means that the
// server closed the connection.
func (e *Engine) TransportError(now time.Duration, err error) {
	ev := &Event{Err: err}
	if errors.Is(err, io.EOF) {
		ev.Err = ErrHangup
		if err != io.EOF {
			ev.Detail = err
		}
	}
	switch e.state {
	case Handshake, Connected:
		e.conclude(now, ev)
		e.beginClosing(now)
	case Disconnecting:
		e.beginClosing(now)
	}
}

// TransportClosed reports that the transport is closed and will neither read nor
// write any more.
func (e *Engine) TransportClosed(now time.Duration) {
	if e.state == Closing {
		e.transportGone(now)
		return
	}
	e.TransportError(now, io.EOF)
	if e.state == Closing {
		e.closeDue = false
		e.transportGone(now)
	}
}

// conclude emits the event that ends an attempt or a connection. Only the
// first cause is told.
func (e *Engine) conclude(now time.Duration, ev *Event) {
	switch e.eventOpen {
	case EventConnecting:
		ev.Kind = EventFailed
	case EventSucceeded:
		ev.Kind = EventDisconnected
	default:
		return
	}
	e.eventOpen = 0
	ev.Attempt = int(e.attempt)
	if ev.Kind == EventDisconnected {
		e.serverClosed = blames(ev)
		ev.Repeated = e.violations.note(ev.Err, e.settings.RejoinedSession)
		if now-e.connectedAt >= e.cfg.ResetDelayAfter {
			e.backoff.reset()
		}
		e.attempt = 0
	}
	if e.desired && !e.stopping {
		e.delay = 0
		if ev.Err != ErrReconnectRequested {
			e.delay = e.backoff.next()
		}
		ev.Retry, ev.Delay = true, e.delay
		if ev.Kind == EventFailed && e.cfg.AskRetry {
			e.run++
			e.asked = true
			ev.Run = e.run
		}
	}
	e.sink.Notify(ev)
}

// blames reports whether the server ended the connection, by closing it or for
// a reason that may lie in a packet of ours.
func blames(ev *Event) bool {
	if ev.Disconnect == nil {
		return ev.Err == ErrHangup
	}
	switch ev.Disconnect.ReasonCode {
	case wire.UnspecifiedError, wire.MalformedPacket, wire.ProtocolError, wire.ImplementationSpecificError, wire.NotAuthorized,
		wire.TopicFilterInvalid, wire.TopicNameInvalid, wire.ReceiveMaximumExceeded, wire.TopicAliasInvalid, wire.PacketTooLarge,
		wire.QuotaExceeded, wire.PayloadFormatInvalid, wire.RetainNotSupported, wire.QoSNotSupported:
		return true
	}
	return false
}

// disconnect ends the connection for a reason of ours: DISCONNECT with the
// code, then close.
func (e *Engine) disconnect(now time.Duration, reason wire.ReasonCode, cause error) {
	e.conclude(now, &Event{Err: cause})
	e.beginDisconnect(now, &wire.Disconnect{ReasonCode: reason})
}

// beginDisconnect sends a DISCONNECT after the answers that are given. What is
// queued stays there.
func (e *Engine) beginDisconnect(now time.Duration, packet *wire.Disconnect) {
	if e.eventOpen != 0 { // whoever has another reason has given it
		e.conclude(now, &Event{Err: ErrStopRequested})
	}
	e.acks.flush(e)
	e.draining = false
	e.state = Disconnecting
	e.deadline = after(now, e.cfg.DisconnectTimeout)
	trimmed := *packet
	if value(trimmed.SessionExpiryInterval, 0) > 0 && e.offer.sessionExpiry == 0 {
		trimmed.SessionExpiryInterval = nil // a Protocol Error otherwise (section 3.14.2.2.2)
	}
	trimmed.Fit(e.settings.MaximumPacketSizeToServer) // [MQTT-3.14.2-3] [MQTT-3.14.2-4]
	e.control = wire.AppendDisconnect(e.controlBuffer(), &trimmed)
	e.stats.PacketsOut++
}

func (e *Engine) beginClosing(now time.Duration) {
	e.draining = false
	e.state = Closing
	e.deadline = after(now, e.cfg.CloseTimeout)
	e.closeDue = true
	e.dialDue = false
}

// transportGone settles the operations after the end of a transport and goes
// on to the next state.
func (e *Engine) transportGone(now time.Duration) {
	e.connectionLost(now)
	if e.stopping || !e.desired {
		e.enterStopped(now)
		return
	}
	e.state = Waiting
	e.waited = false
	e.deadline = after(now, e.delay)
}

func (e *Engine) enterStopped(now time.Duration) {
	e.state = Stopped
	e.deadline = never
	e.draining = false
	cause := ErrStopRequested
	if e.closed {
		cause = ErrClosed
	}
	e.failAll(cause)
	e.succeeded = false
	e.stopPacket = nil
	e.asked = false
	e.attempt = 0
	if e.stopping {
		e.stopping = false
		e.eventOpen = 0
		e.sink.Notify(&Event{Kind: EventStopped})
	}
	if e.closed {
		e.state = Closed
		e.sink.Notify(&Event{Kind: EventClosed})
		return
	}
	if e.desired {
		e.beginConnecting(now)
	}
}

// saturated returns n times d, at most never.
func saturated(n int, d time.Duration) time.Duration {
	if d > never/time.Duration(n) {
		return never
	}
	return time.Duration(n) * d
}
