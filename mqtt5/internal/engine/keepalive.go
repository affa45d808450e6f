// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// A PINGREQ is due when either direction was quiet for the keep alive
// interval: the standard demands it when nothing was sent, and a link on which
// only we talk may be dead. Anything received answers it.
//
// A link is dead when
//   - a PINGREQ that has left is not answered within the ping timeout, or
//   - bytes wait to leave, and none has left for the keep alive interval and the
//     ping timeout, whatever was received.
//
// A PINGREQ behind bytes that are still leaving is not late: its time starts
// when it has left. A slow link may also hold bytes where nobody sees them, so a
// PINGREQ behind other bytes gets the time of the second rule.
//
// After a suspend the link is probably dead: until something is received, the
// ping timeout alone counts, for bytes that wait as well.

// flow watches the bytes of one connection leave.
type flow struct {
	taken     int64         // bytes given to writes
	departed  int64         // of those, how many have left, as far as known
	movedAt   time.Duration // when departed grew, or when bytes began to wait
	lastSent  time.Duration // when a write began or ended
	lastHeard time.Duration
	lookedAt  time.Duration // when the link was looked at last

	probing   bool // nothing was received since Probe
	pinging   bool
	pingAlone bool          // nothing else was on its way with the PINGREQ
	pingEnd   int64         // where it ends; 0: not given to a write yet
	pingAt    time.Duration // when it left; never: not yet
	pingedAt  time.Duration // when it was due, for the round trip; never: no PINGRESP is expected
}

func (f *flow) reset(now time.Duration) {
	*f = flow{movedAt: now, lastSent: now, lastHeard: now, pingAt: never, pingedAt: never}
}

// observe notes how many bytes have left.
func (f *flow) observe(now time.Duration, departed int64) {
	if departed > f.departed {
		f.departed = min(departed, f.taken)
		f.movedAt = now
	}
	if f.pinging && f.pingEnd != 0 && f.pingAt == never && f.departed >= f.pingEnd {
		f.pingAt = now
	}
}

// waiting reports whether bytes wait to leave, as far as known.
func (f *flow) waiting() bool { return f.departed < f.taken }

// take notes that a write of n bytes begins.
func (f *flow) take(now time.Duration, n int) {
	if !f.waiting() {
		f.movedAt = now
	}
	f.taken += int64(n)
	f.lastSent = now
	if f.pinging && f.pingEnd == 0 {
		f.pingEnd = f.taken // at the latest
		f.pingAlone = n == pingreqSize && f.taken-f.departed == pingreqSize
	}
}

const pingreqSize = 2

// done notes that the write in flight ended.
func (f *flow) done(now time.Duration) {
	f.lastSent = now
	if f.pinging && f.pingAlone && f.pingAt == never {
		f.pingAt = now
	}
}

// heard notes that something was received.
func (f *flow) heard(now time.Duration) {
	f.lastHeard = now
	f.probing, f.pinging, f.pingAlone, f.pingEnd, f.pingAt = false, false, false, 0, never
}

// patience is how long to wait on one connection.
type patience struct {
	interval time.Duration // keep alive interval; 0: none
	ping     time.Duration // for the answer to a PINGREQ
}

func newPatience(keepAliveSeconds uint16, pingTimeout time.Duration) patience {
	interval := time.Duration(keepAliveSeconds) * time.Second
	if interval == 0 {
		return patience{ping: pingTimeout} // for Probe
	}
	return patience{interval, min(pingTimeout, interval/2)}
}

// stuck returns how long bytes may wait to leave.
func (e *Engine) stuck() time.Duration {
	if e.flow.probing {
		return e.patience.ping
	}
	return e.patience.interval + e.patience.ping
}

// looks is how often a link on which bytes wait to leave is looked at, before
// it counts as dead.
const looks = 32

// flowDeadline returns when keepAlive has something to do.
func (e *Engine) flowDeadline() time.Duration {
	p, f := &e.patience, &e.flow
	if p.interval == 0 && !f.pinging {
		return never
	}
	d := min(e.pingDue(), e.answerDue())
	if f.waiting() {
		d = min(d, after(f.movedAt, e.stuck()))
		if e.inFlight || f.pinging {
			d = min(d, after(max(f.movedAt, f.lookedAt), e.stuck()/looks))
		}
	}
	return d
}

// pingDue returns when to send a PINGREQ. One that waits for its write serves
// all until then.
func (e *Engine) pingDue() time.Duration {
	interval, f := e.patience.interval, &e.flow
	switch {
	case interval == 0, f.pinging && (f.pingEnd == 0 || e.inFlight):
		return never
	case f.pinging || e.paused: // the server goes on counting
		return after(f.lastSent, interval)
	}
	return after(min(f.lastSent, f.lastHeard), interval)
}

// answerDue returns when the answer to a PINGREQ is late.
func (e *Engine) answerDue() time.Duration {
	f := &e.flow
	if e.paused || f.pingAt == never {
		return never
	}
	if f.pingAlone {
		return after(f.pingAt, e.patience.ping)
	}
	return after(f.pingAt, e.stuck())
}

func (e *Engine) keepAlive(now time.Duration) {
	f := &e.flow
	if e.patience.interval == 0 && !f.pinging {
		return
	}
	f.lookedAt = now
	switch {
	case f.waiting() && now >= after(f.movedAt, e.stuck()):
		// A DISCONNECT could not leave either.
		e.conclude(now, &Event{Err: ErrPingTimeout})
		e.beginClosing(now)
	case now >= e.answerDue():
		// 0x8D is the server's to send (section 3.14.2.1), so plain failure.
		e.disconnect(now, wire.UnspecifiedError, ErrPingTimeout)
	case now >= e.pingDue():
		e.ping(now)
	}
}

// Probe finds out now whether the link is alive, for instance because the
// machine was suspended.
func (e *Engine) Probe(now time.Duration) {
	if e.state != Connected {
		return
	}
	e.flow.probing = true
	e.flow.movedAt = max(e.flow.movedAt, now)
	if !e.flow.pinging {
		e.ping(now)
	}
}

func (e *Engine) ping(now time.Duration) {
	f := &e.flow
	if !f.pinging {
		f.pinging, f.pingedAt = true, now
	}
	f.lastSent = now
	e.control = wire.AppendPingreq(e.controlBuffer())
	e.stats.PacketsOut++
}

func (e *Engine) receivePingresp(now time.Duration, f *wire.Frame) *wire.Error {
	if err := wire.ParseEmpty(f); err != nil {
		return err
	}
	if e.flow.pingedAt != never {
		e.stats.PingRoundTrip = now - e.flow.pingedAt
		e.flow.pingedAt = never
	}
	return nil
}

// SetPaused reports that the owner has stopped or resumed reading because the
// user's handlers are behind. Silence of our own making is no sign of a dead
// link, so the answer to a PINGREQ is not waited for meanwhile; the server still
// gets its PINGREQ [MQTT-3.1.2-20].
func (e *Engine) SetPaused(now time.Duration, paused bool) {
	if e.paused == paused {
		return
	}
	e.paused = paused
	if !paused {
		e.flow.heard(now) // the answer may be among what was not read
	}
}
