// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// A PINGREQ is due when either direction was quiet for the keep alive
// interval: the standard demands it when nothing was sent, and a link on which
// only we talk may be dead. Its deadline counts from when it was due, even if
// a stuck write keeps it from leaving; a write that moves puts it off until the
// PINGREQ has left. Anything received proves the link.

func (e *Engine) keepAliveInterval() time.Duration {
	return time.Duration(e.settings.ServerKeepAlive) * time.Second
}

// pingDeadline returns when the next step of keepAlive is due.
func (e *Engine) pingDeadline() time.Duration {
	interval := e.keepAliveInterval()
	if interval == 0 {
		return never
	}
	patience := min(e.cfg.PingTimeout, interval/2)
	if e.paused && e.inFlight {
		return e.writeMoved + interval + patience
	}
	if e.paused {
		return e.lastSent + interval // the server goes on counting
	}
	if e.pingDue != never {
		return e.pingDue + patience
	}
	return min(e.lastSent, e.lastHeard) + interval
}

func (e *Engine) keepAlive(now time.Duration) {
	if now < e.pingDeadline() {
		return
	}
	if e.inFlight && (e.paused || e.pingDue != never) {
		// The write is stuck, so a DISCONNECT could not leave either.
		e.conclude(now, &Event{Err: ErrPingTimeout})
		e.beginClosing(now)
		return
	}
	if e.paused {
		e.lastSent = now
		e.output.buf = wire.AppendPingreq(e.outBuffer())
		e.stats.PacketsOut++
		return
	}
	if e.pingDue != never {
		// 0x8D is the server's to send (section 3.14.2.1), so plain failure.
		e.disconnect(now, wire.UnspecifiedError, ErrPingTimeout)
		return
	}
	e.pingDue = now
	e.pingWrite = e.writes + 1
	e.pingSentAt = stamp(now)
	e.output.buf = wire.AppendPingreq(e.outBuffer())
	e.stats.PacketsOut++
	e.lastSent = now
}

// WriteProgress tells that a part of the write in flight is gone, so that it is
// slow and not stuck.
func (e *Engine) WriteProgress(now time.Duration) {
	e.writeMoved = now
	if e.pingDue != never && e.pingWrite > e.written {
		e.pingDue = now
	}
}

// pingAnswered notes that the link lives.
func (e *Engine) pingAnswered(now time.Duration) { e.pingDue = never }

func (e *Engine) receivePingresp(now time.Duration, f *wire.Frame) *wire.Error {
	if err := wire.ParseEmpty(f); err != nil {
		return err
	}
	if e.pingSentAt != 0 {
		e.stats.PingRoundTrip = now - e.pingSentAt
		e.pingSentAt = 0
	}
	return nil
}

// SetPaused tells that the owner has stopped or resumed reading because the
// user's handlers are behind. Silence of our own making is no sign of a dead
// link, so the ping deadline does not run meanwhile; the server still gets its
// PINGREQ [MQTT-3.1.2-20].
func (e *Engine) SetPaused(now time.Duration, paused bool) {
	if e.paused == paused {
		return
	}
	e.paused = paused
	if !paused {
		e.lastHeard = now
		e.pingDue = never // its answer may wait among what was not read
	}
}
