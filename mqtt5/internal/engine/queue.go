// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Submit takes an operation over. A refusal is told by the error, and then
// there is no completion; otherwise the operation completes exactly once,
// possibly before Submit returns.
func (e *Engine) Submit(now time.Duration, op *Operation) error {
	switch {
	case e.closed:
		return ErrClosed
	case e.stopping:
		return ErrStopRequested
	}
	if e.state != Connected && !e.survives(op) {
		return ErrOfflinePolicy
	}
	op.size = uint32(op.encodedSize())
	if e.full(op) && !e.makeRoom(op) {
		e.noteStarved()
		return ErrQueueFull
	}
	e.order++
	op.order = e.order
	op.Submitted = now
	op.phase = phaseQueued
	op.counted, op.held = true, true
	e.stats.Incomplete++
	e.stats.IncompleteBytes += int64(op.size)
	e.held++
	e.heldBytes += int64(op.size)
	if op.Kind == KindPublish {
		e.enqueue(op)
	} else {
		e.requests.pushBack(op)
	}
	if e.state == Connected {
		e.pump(now)
		e.checkStall(now)
	}
	return nil
}

// enqueue puts a publish at the end of the queue.
func (e *Engine) enqueue(op *Operation) {
	e.publishes.pushBack(op)
	if op.Publish.QoS == 0 {
		e.queuedQoS0++
		e.bytesQoS0 += int64(op.size)
		if e.droppable == nil {
			e.droppable = op
		}
	}
}

// dequeue takes a publish out of the queue.
func (e *Engine) dequeue(op *Operation) {
	if e.droppable == op {
		e.droppable = op.next
	}
	if op.Publish.QoS == 0 {
		e.queuedQoS0--
		e.bytesQoS0 -= int64(op.size)
	}
	e.publishes.remove(op)
}

func (e *Engine) full(op *Operation) bool {
	return e.exceeds(e.held, e.heldBytes+int64(op.size))
}

// exceeds reports whether the limits forbid one more operation beside others,
// when they have that many bytes together. One alone is never too large.
func (e *Engine) exceeds(others int, bytes int64) bool {
	return e.cfg.MaxOps > 0 && others >= e.cfg.MaxOps || e.cfg.MaxBytes > 0 && others > 0 && bytes > e.cfg.MaxBytes
}

// HasRoom reports whether an operation of that many bytes would be accepted.
func (e *Engine) HasRoom(op *Operation) bool {
	op.size = uint32(op.encodedSize())
	if e.full(op) {
		e.noteStarved()
		return false
	}
	return true
}

// noteStarved notes that there is no room for an operation, although all that
// takes room are operations that nobody waits for.
func (e *Engine) noteStarved() {
	if e.state == Connected && e.stats.Incomplete == 0 {
		e.starved, e.overdue = true, true
	}
}

// makeRoom drops the oldest queued QoS 0 publishes, if the policy says so and
// if that helps. Over many calls its cost is constant for each publish: what
// droppable has passed is not looked at again.
func (e *Engine) makeRoom(op *Operation) bool {
	if e.cfg.Full != FullDropOldestQoS0 || e.exceeds(e.held-e.queuedQoS0, e.heldBytes-e.bytesQoS0+int64(op.size)) {
		return false
	}
	for e.full(op) {
		old := e.droppable
		if old.Publish.QoS > 0 {
			e.droppable = old.next
			continue
		}
		e.dequeue(old)
		e.finish(old, Result{Err: ErrDropped})
	}
	return true
}

// survives reports whether an operation may wait for a connection.
func (e *Engine) survives(op *Operation) bool {
	switch e.cfg.Offline {
	case FailAllOnDisconnect:
		return false
	case FailNonQoS1OnDisconnect:
		return op.Kind == KindPublish && op.Publish.QoS > 0
	default:
		return op.Kind != KindPublish || op.Publish.QoS > 0
	}
}

// Cancel ends the wait for an operation. One that was not sent is withdrawn
// and completes with cause; withdrawn is then true. One that may have been sent
// completes with cause, too, but the session goes on with it; its payload is
// copied, since the caller is free to reuse it.
func (e *Engine) Cancel(op *Operation, cause error) (withdrawn bool) {
	switch op.phase {
	case phaseQueued:
		if op.Kind == KindPublish {
			e.dequeue(op)
		} else {
			e.requests.remove(op)
		}
	case phaseResend:
		if op.handed {
			e.orphan(op, cause)
			return false
		}
		e.resend.remove(op) // the server never saw its identifier
	default:
		// The bytes of phaseGathered leave with the next write, too.
		e.orphan(op, cause)
		return false
	}
	e.finish(op, Result{Err: cause})
	e.overdue = true // what waited behind it may be sent, or draining may end
	return true
}

// orphan completes an operation for the caller, but keeps it for the session.
func (e *Engine) orphan(op *Operation, cause error) {
	if op.orphaned {
		return
	}
	op.orphaned = true
	if op.acknowledged() && op.phase != phaseReleased && op.phase != phaseLateReleased && op.phase != phaseSettled {
		op.own()
	}
	e.account(op)
	e.sink.Complete(op, Result{Err: cause})
	op.Waiter = nil
}

// finish completes an operation that is in no list any more. Its identifier is
// released.
func (e *Engine) finish(op *Operation, r Result) {
	if id := *op.identifier(); id != 0 && e.ids.holder(id) == op {
		e.ids.release(id)
	}
	if op.write > e.written && !op.orphaned {
		op.phase = phaseSettled
		e.settled = append(e.settled, settled{op, r})
		return
	}
	e.end(op, r)
}

// settled is a completion that waits, because the write in flight still reads
// the payload, which belongs to the caller again once the publish completes.
type settled struct {
	op     *Operation
	result Result
}

// end completes an operation unless that was done before, and takes it back.
func (e *Engine) end(op *Operation, r Result) {
	if !op.orphaned {
		e.account(op)
		e.sink.Complete(op, r)
	}
	e.unhold(op)
	e.recycle(op)
}

// unhold removes an operation from what the limits count.
func (e *Engine) unhold(op *Operation) {
	if op.held {
		op.held = false
		e.held--
		e.heldBytes -= int64(op.size)
	}
}

// account removes an operation from the statistics of incomplete ones.
func (e *Engine) account(op *Operation) {
	if op.counted {
		op.counted = false
		e.stats.Incomplete--
		e.stats.IncompleteBytes -= int64(op.size)
	}
}

// failAll completes everything, at a stop. If a later connection may resume
// the session, what is in flight stays part of it.
func (e *Engine) failAll(cause error) {
	e.droppable, e.queuedQoS0, e.bytesQoS0 = nil, 0, 0
	for _, l := range [...]*list{&e.writing, &e.gathered, &e.publishes, &e.requests} {
		for op := l.popFront(); op != nil; op = l.popFront() {
			op.phase = phaseNew
			e.finish(op, Result{Err: cause})
		}
	}
	keep := e.cfg.Session == SessionRejoinAlways && !e.closed
	for _, l := range [...]*list{&e.resend, &e.released} {
		for op := l.head; op != nil; {
			next := op.next
			if keep && op.handed {
				e.orphan(op, cause)
			} else {
				l.remove(op)
				e.finish(op, Result{Err: cause})
			}
			op = next
		}
	}
	if !keep {
		e.ids = identifiers{}
		e.received.clear()
	}
}

// connectionLost settles the operations when a connection is over.
func (e *Engine) connectionLost(now time.Duration) {
	e.resetConnection(now)
	cause := ErrConnectionLost
	switch {
	case e.closed:
		cause = ErrClosed
	case e.stopping:
		cause = ErrStopRequested
	}
	for _, l := range [...]*list{&e.writing, &e.gathered} {
		for op := l.popFront(); op != nil; op = l.popFront() {
			op.phase = phaseNew
			e.finish(op, Result{Err: cause})
		}
	}
	var resend, requests list
	e.late.take(&e.sent)
	e.sent, e.late = e.late, list{}
	e.lateReleased.take(&e.released)
	e.released, e.lateReleased = e.lateReleased, list{}
	for op := e.released.head; op != nil; op = op.next {
		op.phase = phaseReleased
		op.charged = false
	}
	for op := e.sent.popFront(); op != nil; op = e.sent.popFront() {
		op.charged = false
		switch {
		case op.Kind != KindPublish:
			id := op.identifier()
			e.ids.release(*id)
			*id = 0
			op.handed = false
			op.phase = phaseQueued
			if op.orphaned || !e.survives(op) {
				e.finish(op, Result{Err: cause})
				continue
			}
			requests.pushBack(op)
		case e.poisoned(op):
			e.abandon(op, ErrPoisonPublish)
		default:
			op.phase = phaseResend
			resend.pushBack(op)
		}
	}
	resend.take(&e.resend)
	e.resend = resend
	requests.take(&e.requests)
	e.requests = requests
	if e.stopping || !e.desired {
		return // everything fails in a moment, for that reason
	}
	for _, l := range [...]*list{&e.publishes, &e.requests} {
		for op := l.head; op != nil; {
			next := op.next
			if !e.survives(op) {
				if l == &e.publishes {
					e.dequeue(op)
				} else {
					l.remove(op)
				}
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
	e.unhold(op)
	*op = Operation{Kind: KindPublish, phase: phaseAbandoned, orphaned: true, sent: true, handed: true,
		Publish: wire.Publish{PacketID: op.Publish.PacketID, QoS: op.Publish.QoS}}
}

// poisoned counts a hang-up against an operation that was in flight.
func (e *Engine) poisoned(op *Operation) bool {
	if e.cfg.PoisonLimit <= 0 || e.stopping || op.sentAt == 0 {
		return false
	}
	op.hangups++
	return int(op.hangups) >= e.cfg.PoisonLimit
}

// pump moves operations to the outbound buffer, as far as the buffer, the
// server's Receive Maximum and the rate limits allow.
func (e *Engine) pump(now time.Duration) {
	if e.state != Connected {
		return
	}
	if e.throttled != never {
		e.stats.ThrottleWait += now - e.throttledAt
		e.throttled = never
	}
	for e.output.hasRoom() {
		op := e.eligible(now)
		if op == nil {
			break
		}
		e.send(now, op)
	}
}

// eligible returns the next operation that may be sent now. Publishes keep
// their order among themselves; a request waits for older publishes, but not
// for publishes that are held back [MQTT-3.3.4-8].
func (e *Engine) eligible(now time.Duration) *Operation {
	publish := e.resend.head
	if publish == nil {
		publish = e.publishes.head
	}
	request := e.requests.head
	if e.ids.used == maxIdentifiers { // what needs a new one waits
		request = nil
		if publish != nil && publish.Publish.QoS > 0 && publish.Publish.PacketID == 0 {
			publish = nil
		}
	}
	if publish == nil {
		return request
	}
	if request != nil && request.order < publish.order {
		return request
	}
	if publish.Publish.QoS > 0 && e.quota == 0 || !e.withinRate(now, publish) {
		return request
	}
	return publish
}

// withinRate reports whether the rate limits allow a publish now. If not, they
// say when.
func (e *Engine) withinRate(now time.Duration, op *Operation) bool {
	if e.rates == nil {
		return true
	}
	wait := e.rates.ready(now, op.size)
	if wait == 0 {
		return true
	}
	if e.throttled == never {
		e.throttledAt = now
	}
	e.throttled = now + wait
	return false
}

// send writes an operation to the outbound buffer, or completes it if the
// connection's limits forbid it.
func (e *Engine) send(now time.Duration, op *Operation) {
	switch {
	case op.phase == phaseResend:
		e.resend.remove(op)
	case op.Kind == KindPublish:
		e.dequeue(op)
	default:
		e.requests.remove(op)
	}
	if err := e.check(op); err != nil {
		e.refuse(op, err)
		return
	}
	if op.Kind == KindPublish {
		e.sendPublish(op)
		return
	}
	size := op.encodedSize()
	if size > int(e.settings.MaximumPacketSizeToServer) {
		e.refuse(op, errTooLarge)
		return
	}
	*op.identifier() = e.ids.allocate(op)
	if op.Kind == KindSubscribe {
		e.output.buf = wire.AppendSubscribe(e.outBuffer(), op.Subscribe)
	} else {
		e.output.buf = wire.AppendUnsubscribe(e.outBuffer(), op.Unsubscribe)
	}
	e.stats.PacketsOut++
	if e.rates != nil {
		e.rates.bytes.take(float64(size))
	}
	e.await(op)
}

// refuse completes an operation that may not be sent on this connection.
func (e *Engine) refuse(op *Operation, err error) {
	e.stats.Refused++
	if op.Kind == KindPublish && op.handed {
		e.abandon(op, err)
		return
	}
	e.finish(op, Result{Err: err})
}

func (e *Engine) sendPublish(op *Operation) {
	p := op.Publish
	p.Dup = op.handed // not after a lost session, where it starts over
	e.outAliases.resolve(&p)
	size := int(op.size)
	if p.TopicAlias != 0 || op.Publish.TopicAlias != 0 {
		size = wire.PublishSize(&p)
	}
	if size > int(e.settings.MaximumPacketSizeToServer) {
		e.outAliases.undo(&p, op.Publish.Topic)
		e.refuse(op, errTooLarge)
		return
	}
	if p.QoS > 0 && p.PacketID == 0 {
		p.PacketID = e.ids.allocate(op)
		op.Publish.PacketID = p.PacketID
	}
	if len(p.Payload) < referenceSize {
		e.output.buf = wire.AppendPublish(e.outBuffer(), &p)
	} else {
		e.output.buf = wire.AppendPublishHeader(e.outBuffer(), &p)
		e.output.refs = append(e.output.refs, reference{len(e.output.buf), p.Payload})
		e.output.bytes += len(p.Payload)
		op.write = e.writes + 1
	}
	e.stats.PacketsOut++
	e.stats.MessagesOut++
	if e.rates != nil {
		e.rates.publishes.take(1)
		e.rates.bytes.take(float64(size))
	}
	if p.QoS == 0 {
		op.phase = phaseGathered
		e.gathered.pushBack(op)
		return
	}
	e.quota--
	op.charged = true
	e.await(op)
}

// await puts a sent operation where its acknowledgement finds it.
func (e *Engine) await(op *Operation) {
	op.phase = phaseSent
	op.sentAt = 0
	e.sent.pushBack(op)
	if e.unstamped == nil {
		e.unstamped = op
	}
}
