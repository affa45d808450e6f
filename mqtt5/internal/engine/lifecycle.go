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

// Stop ends the connection and fails what is not done then. While connected,
// it first waits for what is queued and in flight, at most until drainUntil,
// and sends farewell (nil: a normal DISCONNECT).
//
// A second Stop cuts the waiting short if its drainUntil is earlier.
func (e *Engine) Stop(now time.Duration, farewell *wire.Disconnect, drainUntil time.Duration) error {
	if e.closed {
		return ErrClosed
	}
	e.desired = false
	if e.stopping {
		if e.draining && drainUntil < e.deadline {
			e.deadline = drainUntil
			if now >= drainUntil {
				e.stateDeadline(now)
			}
		}
		return nil
	}
	if e.state == Stopped {
		return nil
	}
	e.stopping = true
	if farewell == nil {
		farewell = &wire.Disconnect{}
	}
	e.farewell = farewell
	switch e.state {
	case Connected:
		if now < drainUntil {
			e.draining = true
			e.deadline = drainUntil
			e.checkDrained(now)
			return nil
		}
		e.beginDisconnect(now, farewell)
	case Handshake:
		e.conclude(now, &Event{Err: ErrStopRequested})
		e.beginDisconnect(now, farewell)
	case Connecting:
		e.conclude(now, &Event{Err: ErrStopRequested})
		e.beginClosing(now)
	case Waiting:
		e.enterStopped(now)
	}
	return nil
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
	e.beginDisconnect(now, e.farewell)
}

func (e *Engine) beginConnecting(now time.Duration) {
	e.state = Connecting
	e.deadline = now + turnPatience*e.cfg.ConnectTimeout
	e.actions |= ActionDial
	e.attempt++
	e.eventOpen = EventConnecting
	e.sink.Notify(&Event{Kind: EventConnecting, Attempt: e.attempt})
}

// turnPatience is how many connect timeouts an attempt may wait for its turn
// to dial, when a whole fleet wants to connect at once.
const turnPatience = 10

// DialStarted begins the connect timeout: the owner has got its turn to dial.
func (e *Engine) DialStarted(now time.Duration) {
	if e.state == Connecting {
		e.deadline = now + e.cfg.ConnectTimeout + dialGrace
	}
}

// dialGrace is how long the owner, who ends the dial at the connect timeout,
// may take to tell where it was stuck.
const dialGrace = time.Second

// TransportOpened tells that the transport is up, and gives the CONNECT for it.
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
	e.deadline = now + e.cfg.ConnackTimeout
	if c.AuthenticationMethod != nil {
		e.authState = authConnecting
	}
	// A buffer of its own: a fleet that connects all at once would need many of
	// the large ones.
	e.output.buf = wire.AppendConnect(make([]byte, 0, wire.ConnectSize(c)), c)
	e.stats.PacketsOut++
}

// TransportFailed tells that the attempt failed.
func (e *Engine) TransportFailed(now time.Duration, err error) {
	switch e.state {
	case Connecting:
		e.conclude(now, &Event{Err: err})
		e.transportGone(now)
	case Closing:
		e.transportGone(now)
	}
}

// TransportError tells that reading or writing failed; io.EOF means that the
// server closed the connection.
func (e *Engine) TransportError(now time.Duration, err error) {
	if errors.Is(err, io.EOF) {
		err = ErrHangup
	}
	switch e.state {
	case Handshake, Connected:
		e.conclude(now, &Event{Err: err})
		e.beginClosing(now)
	case Disconnecting:
		e.beginClosing(now)
	}
}

// TransportClosed tells that the transport is closed and will neither read nor
// write any more.
func (e *Engine) TransportClosed(now time.Duration) {
	if e.state == Closing {
		e.transportGone(now)
		return
	}
	e.TransportError(now, io.EOF)
	if e.state == Closing {
		e.actions &^= ActionClose
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
	ev.Attempt = e.attempt
	if ev.Kind == EventDisconnected {
		if now-e.connectedAt >= e.cfg.ResetDelayAfter {
			e.backoff.reset()
		}
		e.attempt = 0
	}
	if e.desired && !e.stopping {
		e.delay = e.backoff.next()
		ev.Retry, ev.Delay = true, e.delay
	}
	e.sink.Notify(ev)
}

// disconnect ends the connection for a reason of ours: DISCONNECT with the
// code, then close.
func (e *Engine) disconnect(now time.Duration, reason wire.ReasonCode, cause error) {
	e.conclude(now, &Event{Err: cause})
	e.beginDisconnect(now, &wire.Disconnect{ReasonCode: reason})
}

// beginDisconnect sends a DISCONNECT after what is gathered already.
func (e *Engine) beginDisconnect(now time.Duration, packet *wire.Disconnect) {
	if e.state == Connected && e.stopping {
		e.conclude(now, &Event{Err: ErrStopRequested})
	}
	e.acks.flush(e)
	e.draining = false
	e.state = Disconnecting
	e.deadline = now + e.cfg.DisconnectTimeout
	trimmed := *packet
	if value(trimmed.SessionExpiryInterval, 0) > 0 && e.offer.sessionExpiry == 0 {
		trimmed.SessionExpiryInterval = nil // a Protocol Error otherwise (section 3.14.2.2.2)
	}
	trimmed.Fit(e.settings.MaximumPacketSizeToServer) // [MQTT-3.14.2-3] [MQTT-3.14.2-4]
	e.output.buf = wire.AppendDisconnect(e.outBuffer(), &trimmed)
	e.stats.PacketsOut++
}

func (e *Engine) beginClosing(now time.Duration) {
	e.draining = false
	e.state = Closing
	e.deadline = now + e.cfg.CloseTimeout
	e.actions |= ActionClose
	e.actions &^= ActionDial
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
	e.deadline = now + e.delay
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
	e.farewell = nil
	e.attempt = 0
	if e.stopping {
		e.stopping = false
		e.eventOpen = 0
		e.sink.Notify(&Event{Kind: EventStopped})
	}
	if e.closed {
		e.state = Closed
		return
	}
	if e.desired {
		e.beginConnecting(now)
	}
}

// resetConnection forgets what belongs to one connection only.
func (e *Engine) resetConnection(now time.Duration) {
	e.output = Output{}
	e.inFlight = false
	e.writes++ // the one that was gathered never happens
	e.releasePayloads()
	e.starved = false
	e.unstamped = nil
	e.timedOut = 0
	e.lastSent, e.lastHeard = now, now
	e.pingDue = never
	e.pingSentAt = 0
	e.throttled = never
	e.paused = false
	e.outAliases = nil
	e.inAliases = nil
	e.acks.invalidate()
	e.answering.clear()
	e.authState = authNone
	e.challenged = false
	e.confirming = nil
}
