// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

// Submit takes an operation over. A refusal is told by the error, and then
// there is no completion; otherwise the operation completes exactly once,
// possibly before Submit returns.
func (e *Engine) Submit(now time.Duration, op *Operation) error {
	switch {
	case e.closed:
		return ErrClosed
	case e.stopping && !(e.draining && op.Handler):
		return ErrStopRequested
	}
	if e.state != Connected && !e.survives(op) {
		return ErrOfflinePolicy
	}
	op.size = uint32(op.encodedSize())
	if op.Kept != nil {
		op.size = uint32(len(op.Kept.Record))
	}
	if e.full(op) && !e.makeRoom(op) {
		e.checkStarved(now)
		return ErrQueueFull
	}
	e.order++
	op.order = e.order
	op.Submitted = now
	op.phase = phaseQueued
	op.counted, op.limited = true, true
	e.stats.Incomplete++
	e.stats.IncompleteBytes += int64(op.size)
	e.limited++
	e.limitedSize += int64(op.size)
	if op.Kept != nil {
		e.keepPublish(op)
	} else {
		e.enqueue(op)
	}
	e.checkStall(now)
	return nil
}

// OnlyQueues reports whether Submit does nothing but queue a publish that is not
// kept, or refuse it. Then Todo has nothing new but that something may be
// written.
func (e *Engine) OnlyQueues() bool { return e.cfg.Full == FullReject && !e.anyExpired() }

// enqueue puts an operation at the end of its queue.
func (e *Engine) enqueue(op *Operation) {
	if op.Kind != KindPublish {
		e.requests.pushBack(op)
		return
	}
	e.publishes.pushBack(op)
	if op.needsBinding() {
		e.keeping.unbound++
	}
	if op.Publish.QoS == 0 {
		e.queuedQoS0++
		e.bytesQoS0 += int64(op.size)
		if e.droppable == nil {
			e.droppable = op
		}
	}
}

// dequeue takes an operation out of the queue that it waits in.
func (e *Engine) dequeue(op *Operation) {
	switch {
	case op.phase == phaseResend:
		e.resend.remove(op)
		return
	case op.phase == phaseParked:
		e.unpark(op)
		return
	case op.restoring:
		e.restores.remove(op)
		return
	case op.Kind != KindPublish:
		e.requests.remove(op)
		return
	}
	if e.droppable == op {
		e.droppable = op.next
	}
	if op.needsBinding() {
		e.keeping.unbound--
	}
	if op.Publish.QoS == 0 {
		e.queuedQoS0--
		e.bytesQoS0 -= int64(op.size)
	}
	e.publishes.remove(op)
}

func (e *Engine) full(op *Operation) bool {
	return e.exceeds(e.limited, e.limitedSize+int64(op.size))
}

// exceeds reports whether the limits forbid one more operation beside others,
// when they have that many bytes together. One alone is never too large.
func (e *Engine) exceeds(others int, bytes int64) bool {
	return e.cfg.MaxOps > 0 && others >= e.cfg.MaxOps || e.cfg.MaxBytes > 0 && others > 0 && bytes > e.cfg.MaxBytes
}

// makeRoom drops the oldest queued QoS 0 publishes, if the policy says so and
// if that helps. Over many calls its cost is constant for each publish: what
// droppable has passed is not looked at again.
func (e *Engine) makeRoom(op *Operation) bool {
	if e.cfg.Full != FullDropOldestQoS0 || e.exceeds(e.limited-e.queuedQoS0, e.limitedSize-e.bytesQoS0+int64(op.size)) {
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
	if op.Kept != nil {
		return true
	}
	switch e.cfg.Offline {
	case FailAllOnDisconnect:
		return false
	case FailNonQoS1OnDisconnect:
		return op.Kind == KindPublish && op.Publish.QoS > 0
	default:
		return op.Kind != KindPublish || op.Publish.QoS > 0
	}
}

// Cancel ends the wait for an operation. One that was not handed to a write is
// withdrawn and completes with cause; withdrawn is then true. Another one
// completes with cause, too, but the session keeps it; its payload is copied,
// since the caller is free to reuse it.
func (e *Engine) Cancel(now time.Duration, op *Operation, cause error) (withdrawn bool) {
	withdrawn = op.phase == phaseQueued || op.phase == phaseParked || op.phase == phaseResend && !op.handed
	if withdrawn {
		e.dequeue(op)
		e.finish(op, Result{Err: cause})
	} else {
		e.orphan(op, cause)
	}
	e.checkStall(now)
	e.checkDrained(now)
	return withdrawn
}

// orphan completes an operation for the caller, but keeps it for the session.
func (e *Engine) orphan(op *Operation, cause error) {
	if op.orphaned {
		return
	}
	op.orphaned = true
	if op.acknowledged() && op.phase != phaseReleased && op.phase != phaseAnswered {
		op.own()
	}
	e.account(op)
	e.complete(op, Result{Err: cause, Forwarded: cause == nil})
	op.Waiter = nil
}

// complete reports the result of an operation to its waiter.
func (e *Engine) complete(op *Operation, r Result) {
	if op.restoring {
		e.restored(op, r)
		return
	}
	if op.Kept != nil {
		r.Durability = op.Kept.Durability
	}
	e.sink.Complete(op, r)
}

// finish completes an operation that is in no list any more. Its identifier is
// released.
func (e *Engine) finish(op *Operation, r Result) {
	if id := *op.identifier(); id != 0 && e.ids.holder(id) == op {
		e.ids.release(id)
	}
	if op.referenced && e.inFlight && op.write == e.writes && !op.orphaned {
		op.phase = phaseAnswered
		e.answered = append(e.answered, answered{op, r})
		return
	}
	e.end(op, r)
}

// answered is a completion that waits, because the write in flight still reads
// the payload, which belongs to the caller again once the publish completes.
type answered struct {
	op     *Operation
	result Result
}

// end completes an operation unless that was done before, and takes it back.
func (e *Engine) end(op *Operation, r Result) {
	e.unkeep(op, r)
	if !op.orphaned {
		e.account(op)
		e.complete(op, r)
	}
	e.unlimit(op)
	e.recycle(op)
}

// unlimit removes an operation from what the limits count.
func (e *Engine) unlimit(op *Operation) {
	if op.limited {
		op.limited = false
		e.limited--
		e.limitedSize -= int64(op.size)
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
