// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// failAll completes everything, at a stop. If a later connection may resume
// the session, publishes in flight stay part of it.
func (e *Engine) failAll(cause error) {
	e.droppable, e.queuedQoS0, e.bytesQoS0 = nil, 0, 0
	for _, l := range [...]*list{&e.publishes, &e.requests} {
		var stay list
		for op := l.popFront(); op != nil; op = l.popFront() {
			if op.Kept != nil {
				op.Kept.left = true
			}
			if op.Kept != nil && !e.closed {
				e.orphan(op, cause)
				stay.pushBack(op)
				continue
			}
			op.phase = phaseNew
			e.finish(op, Result{Err: cause})
		}
		*l = stay
	}
	e.failParked(cause)
	keep := (e.cfg.Session == SessionRejoinAlways || e.keeps()) && !e.closed
	for op := e.resend.head; op != nil; {
		next := op.next
		e.failInFlight(op, cause, keep)
		op = next
	}
	for op := e.released.head; op != nil; {
		next := op.next
		e.failInFlight(op, cause, keep)
		op = next
	}
	if !keep {
		e.ids.clear()
		e.received.clear()
		e.unfinished = nil
	}
}

// failInFlight completes a publish at a stop, and keeps it for the session if
// that may go on and the server knows its identifier.
func (e *Engine) failInFlight(op *Operation, cause error, keep bool) {
	if op.Kept != nil {
		op.Kept.left = true
	}
	if keep && op.handed {
		e.orphan(op, cause)
		return
	}
	e.leave(op)
	e.finish(op, Result{Err: cause})
}

// connectionLost sorts the operations when a connection is over: what the
// session still needs is to be sent again, the rest waits or fails.
func (e *Engine) connectionLost(now time.Duration) {
	cause := ErrConnectionLost
	switch {
	case e.closed:
		cause = ErrClosed
	case e.stopping:
		cause = ErrStopRequested
	}
	suspect := e.suspect()
	e.resetConnection(now)
	for op := e.written.popFront(); op != nil; op = e.written.popFront() {
		op.phase = phaseNew
		e.finish(op, Result{Err: cause})
	}
	e.released.renew()
	for op := e.released.head; op != nil; op = op.next {
		op.charged = false
	}
	e.restores = list{} // their filters stay owed
	var resend, requests list
	sent := e.sent.list
	e.sent = awaiting{}
	for op := sent.popFront(); op != nil; op = sent.popFront() {
		op.charged, op.expired = false, false
		if op.Kind != KindPublish {
			e.requestLost(op, cause, &requests)
			continue
		}
		if op == suspect && e.poisonous(op) {
			e.abandon(op, ErrPoisonPublish)
			continue
		}
		op.phase = phaseResend
		resend.pushBack(op)
	}
	resend.take(&e.resend)
	e.resend = resend
	requests.take(&e.requests)
	e.requests = requests
	e.roundLost()
	if e.stopping || !e.desired {
		return // everything fails in a moment, for that reason
	}
	e.applyOfflinePolicy()
}

// requestLost puts a subscribe or unsubscribe that was in flight back into the
// queue: it is sent anew with the next connection, under a new identifier.
func (e *Engine) requestLost(op *Operation, cause error, requests *list) {
	id := op.identifier()
	e.ids.release(*id)
	*id = 0
	op.handed = false
	op.phase = phaseQueued
	if op.orphaned || op.restoring || !e.survives(op) {
		e.finish(op, Result{Err: cause})
		return
	}
	requests.pushBack(op)
}

// applyOfflinePolicy fails the queued operations that may not wait for a
// connection.
func (e *Engine) applyOfflinePolicy() {
	for _, l := range [...]*list{&e.publishes, &e.requests} {
		for op := l.head; op != nil; {
			next := op.next
			if !e.survives(op) {
				e.dequeue(op)
				e.finish(op, Result{Err: ErrOfflinePolicy})
			}
			op = next
		}
	}
}

// abandon completes a publish that the server may know, and that is in no list
// any more. Its identifier stays taken until the server answers or the session
// ends, since the server could take another publish with it for this one.
func (e *Engine) abandon(op *Operation, cause error) {
	if !op.orphaned {
		e.account(op)
		e.sink.Complete(op, Result{Err: cause})
	}
	e.unkeep(op, Result{Err: cause})
	e.unlimit(op)
	*op = Operation{Kind: KindPublish, phase: phaseAbandoned, orphaned: true, sent: true, handed: true,
		Publish: wire.Publish{PacketID: op.Publish.PacketID, QoS: op.Publish.QoS}}
}

// suspect returns the publish that the server may have closed the connection
// for: the oldest one without an answer, if the server answered nothing since
// it was sent. A lost connection, or an end of our own, points at nothing.
func (e *Engine) suspect() *Operation {
	if !e.serverClosed || e.stopping {
		return nil
	}
	for op := e.sent.head; op != nil; op = op.next {
		if op.Kind == KindPublish {
			if op.write > e.ackWrite {
				return op
			}
			return nil
		}
	}
	return nil
}

// poisonous counts a closed connection against a publish.
func (e *Engine) poisonous(op *Operation) bool {
	if e.cfg.PoisonLimit <= 0 {
		return false
	}
	op.closures++
	return int(op.closures) >= e.cfg.PoisonLimit
}

// resumeSession sends again what the server still waits for: PUBREL first,
// then PUBLISH, both in their original order [MQTT-4.4.0-1] [MQTT-4.6.0-1].
func (e *Engine) resumeSession(now time.Duration) {
	for op := e.released.head; op != nil; op = op.next {
		if e.releasePending(op) {
			continue // Stored sends it
		}
		e.writeAck(wire.TypePubrel, &wire.Ack{PacketID: op.Publish.PacketID})
		op.sentAt, op.end = now, 0
	}
	e.stats.Retries += uint64(e.resend.n + e.released.n)
}

// discardSession drops the session that the server does not have
// [MQTT-3.2.2-5]. A QoS 1 publish that was in flight starts over as a new
// message; a QoS 2 publish cannot, for it might then arrive twice.
func (e *Engine) discardSession() {
	e.ids.clear()
	e.received.clear()
	e.unfinished = nil
	e.unbind()
	for e.released.head != nil {
		op := e.released.head
		e.released.remove(op)
		e.finish(op, Result{Err: ErrSessionLost})
	}
	var again list
	for op := e.resend.popFront(); op != nil; op = e.resend.popFront() {
		op.Publish.PacketID = 0
		op.handed = false
		switch {
		case op.Publish.QoS == 2 && op.sent, op.Kept == nil && (op.orphaned || e.cfg.Offline == FailAllOnDisconnect):
			e.finish(op, Result{Err: ErrSessionLost})
		default:
			op.phase = phaseQueued
			e.keepQueued(op)
			again.pushBack(op)
		}
	}
	again.take(&e.publishes)
	e.publishes = again
}

// resetConnection forgets what belongs to one connection only.
func (e *Engine) resetConnection(now time.Duration) {
	e.keepUnfinished()
	if e.keeps() {
		e.keeping.completing = nil
	}
	inFlight := e.inFlight
	e.connection = connection{settings: e.settings, acks: e.acks.next(), writes: e.writes, throttled: never}
	e.flow.reset(now)
	if inFlight {
		e.completeAnswered()
	}
}

// repeated counts connections in a row that resumed the session and that the
// same violation ended: the server sends the message again each time.
type repeated struct {
	rule  string
	count int
}

// note counts a violation, and returns how often it ended a resumed session.
func (r *repeated) note(cause error, resumed bool) int {
	err, violation := cause.(*wire.Error)
	switch {
	case !violation || !resumed:
		*r = repeated{}
		return 0
	case r.rule != err.Rule:
		*r = repeated{rule: err.Rule}
	}
	r.count++
	return r.count
}
