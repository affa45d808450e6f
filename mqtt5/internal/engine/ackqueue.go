// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// ackQueue holds the answers that received QoS 1 and 2 messages are owed, in
// order of receipt. PUBACK and PUBREC leave in that order [MQTT-4.6.0-2]
// [MQTT-4.6.0-3], so an answer waits until those before it are given.
//
// Each message has a number that is never used again: an acknowledgement of a
// connection that is gone is recognised by it.
type ackQueue struct {
	records []ackRecord
	head    int           // records[:head] were sent
	base    uint64        // number of records[head]
	first   uint64        // all below came on connections that are gone
	passed  uint64        // AcknowledgeThrough has handled all below
	pubrecs identifierSet // QoS 2 messages among records[head:]
}

type ackState uint8

const (
	ackWaiting ackState = iota // for the handler to return
	ackHeld                    // for whoever took the acknowledgement over
	ackGiven
)

type ackRecord struct {
	detail *wire.Ack // nil: reason says all
	id     uint16
	qos    uint8
	state  ackState
	reason wire.ReasonCode
	kept   uint64 // number of the change that PUBREC waits for; 0: none yet
}

// push appends a message and returns its number, from 1.
func (q *ackQueue) push(id uint16, qos uint8) uint64 {
	if q.base == 0 {
		q.base, q.passed = 1, 1
	}
	if len(q.records) == cap(q.records) && q.head > len(q.records)/2 {
		n := copy(q.records, q.records[q.head:])
		clear(q.records[n:])
		q.records = q.records[:n]
		q.head = 0
	}
	q.records = append(q.records, ackRecord{id: id, qos: qos})
	if qos == 2 {
		q.pubrecs.add(id)
	}
	return q.base + uint64(len(q.records)-q.head) - 1
}

func (q *ackQueue) end() uint64 { return q.base + uint64(len(q.records)-q.head) }

func (q *ackQueue) at(n uint64) *ackRecord {
	if n < q.base || n >= q.end() {
		return nil
	}
	return &q.records[q.head+int(n-q.base)]
}

// missing says why there is no message with that number any more.
func (q *ackQueue) missing(n uint64) error {
	if n < q.first {
		return ErrAckStale
	}
	return ErrAckTwice
}

// answer gives the plain, positive answer to a message.
func (q *ackQueue) answer(n uint64) {
	if r := q.at(n); r != nil {
		r.state = ackGiven
	}
}

// unanswered reports whether the QoS 2 message with that identifier has not
// got its PUBREC yet.
func (q *ackQueue) unanswered(id uint16) bool { return q.pubrecs.has(id) }

// flush writes the answers that are given, up to the first that is not.
func (q *ackQueue) flush(e *Engine) {
	q.keep(e)
	for q.head < len(q.records) && q.records[q.head].state == ackGiven {
		r := &q.records[q.head]
		if e.keeps() && r.kept > e.keeping.stored {
			break // the store does not know yet that it was handled
		}
		a := &wire.Ack{PacketID: r.id, ReasonCode: r.reason} // stays on the stack
		if r.detail != nil {
			a.ReasonString, a.UserProperties = r.detail.ReasonString, r.detail.UserProperties
		}
		t := wire.TypePuback
		if r.qos == 2 {
			t = wire.TypePubrec
			q.pubrecs.remove(r.id)
			if r.reason < 0x80 { // a refused one may come again as a new message [MQTT-4.3.3-9]
				e.received.add(r.id)
			}
		}
		if r.qos == 1 || r.reason >= 0x80 {
			e.answering.remove(r.id)
		}
		r.detail = nil
		e.writeAck(t, a)
		q.head++
		q.base++
	}
	q.passed = max(q.passed, q.base)
	if q.head == len(q.records) {
		q.head = 0
		if cap(q.records) > 4096 {
			q.records = nil
		} else {
			q.records = q.records[:0]
		}
	}
}

// keep submits the QoS 2 messages whose PUBREC is next to the store.
func (q *ackQueue) keep(e *Engine) {
	if !e.keeps() {
		return
	}
	for i := q.head; i < len(q.records) && q.records[i].state == ackGiven; i++ {
		if r := &q.records[i]; r.qos == 2 && r.reason < 0x80 && r.kept == 0 && !e.received.has(r.id) {
			r.kept = e.keepReceived(r.id)
		}
	}
}

// next returns the empty queue of the next connection.
func (q *ackQueue) next() ackQueue {
	end := q.end()
	return ackQueue{base: end, first: end, passed: end}
}

// unfinished is a QoS 2 message of a lost connection that got no PUBREC. The
// server sends it again if it resumes the session. It is not delivered twice:
// the first delivery answers for it, unless its acknowledgement was taken over.
type unfinished struct {
	number uint64 // of the first delivery
	id     uint16
	heir   uint64 // number of the repeated message; 0: not received yet
}

// keepUnfinished remembers the messages whose handlers have yet to return. What
// was taken over is forgotten: only the server's copy is left, and it is
// delivered again.
func (e *Engine) keepUnfinished() {
	q := &e.acks
	for i := q.head; i < len(q.records); i++ {
		number := q.base + uint64(i-q.head)
		r := &q.records[i]
		if r.qos != 2 {
			continue
		}
		switch r.state {
		case ackWaiting:
			if !e.inherits(number) {
				e.unfinished = append(e.unfinished, unfinished{number: number, id: r.id})
			}
		case ackGiven:
			if r.reason < 0x80 {
				e.received.add(r.id) // handled: only its PUBREC was lost
				if r.kept == 0 {
					e.keepReceived(r.id)
				}
			}
		}
	}
	for i := range e.unfinished {
		e.unfinished[i].heir = 0
	}
}

// inherits reports whether number is the repetition of an unfinished message.
func (e *Engine) inherits(number uint64) bool {
	for i := range e.unfinished {
		if e.unfinished[i].heir == number {
			return true
		}
	}
	return false
}

// disinherit forgets the unfinished message that number repeats.
func (e *Engine) disinherit(number uint64) {
	for i := range e.unfinished {
		if e.unfinished[i].heir == number {
			e.unfinished = slices.Delete(e.unfinished, i, i+1)
			return
		}
	}
}

// adopt reports whether a received QoS 2 message repeats an unfinished one. Its
// answer then follows from the first delivery.
func (e *Engine) adopt(id uint16) bool {
	for i := range e.unfinished {
		if u := &e.unfinished[i]; u.id == id {
			u.heir = e.acks.push(id, 2)
			return true
		}
	}
	return false
}

// finishThrough notes that the handlers of the unfinished messages up to
// number n have returned.
func (e *Engine) finishThrough(n uint64) {
	if len(e.unfinished) == 0 {
		return
	}
	e.unfinished = slices.DeleteFunc(e.unfinished, func(u unfinished) bool {
		if u.number > n {
			return false
		}
		if u.heir == 0 {
			e.received.add(u.id) // if it comes again, it was handled
			e.keepReceived(u.id)
		} else {
			e.acks.answer(u.heir)
		}
		return true
	})
}

// current returns the number that an acknowledgement has on the present
// connection.
func (e *Engine) current(n uint64) uint64 {
	for i := range e.unfinished {
		if u := &e.unfinished[i]; u.number == n && u.heir != 0 {
			return u.heir
		}
	}
	return n
}

// HoldAck takes the acknowledgement of a message over: it is not given by
// AcknowledgeThrough. It returns the number to give it by.
func (e *Engine) HoldAck(n uint64) (uint64, error) {
	n = e.current(n)
	r := e.acks.at(n)
	if r == nil {
		e.unfinished = slices.DeleteFunc(e.unfinished, func(u unfinished) bool { return u.number == n })
		return 0, e.acks.missing(n)
	}
	if r.state != ackWaiting {
		return 0, ErrAckTwice
	}
	r.state = ackHeld
	e.disinherit(n)
	return n, nil
}

// Acknowledge answers a message whose acknowledgement was held. A reason from
// 0x80 refuses it; detail may explain.
func (e *Engine) Acknowledge(now time.Duration, n uint64, reason wire.ReasonCode, detail *wire.Ack) error {
	r := e.acks.at(n)
	if r == nil {
		return e.acks.missing(n)
	}
	if r.state == ackGiven {
		return ErrAckTwice
	}
	if e.state != Connected {
		return ErrAckStale // it cannot be sent any more
	}
	r.state = ackGiven
	r.reason = reason
	r.detail = detail
	e.flushAcks(now)
	return nil
}

// AcknowledgeThrough acknowledges the messages up to number n whose
// acknowledgement was not taken over.
func (e *Engine) AcknowledgeThrough(now time.Duration, n uint64) {
	q := &e.acks
	e.finishThrough(n)
	n = min(n+1, q.end())
	for i := max(q.passed, q.base); i < n; i++ {
		if r := q.at(i); r.state == ackWaiting {
			r.state = ackGiven
		}
	}
	q.passed = max(q.passed, n)
	e.flushAcks(now)
}

func (e *Engine) flushAcks(now time.Duration) {
	if e.state == Connected {
		e.acks.flush(e)
	}
}
