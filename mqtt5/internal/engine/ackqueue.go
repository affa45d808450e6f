// SPDX-License-Identifier: Apache-2.0

package engine

import (
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
	for q.head < len(q.records) && q.records[q.head].state == ackGiven {
		r := &q.records[q.head]
		a := &wire.Ack{PacketID: r.id, ReasonCode: r.reason} // stays on the stack
		if r.detail != nil {
			a.ReasonString, a.UserProperties = r.detail.ReasonString, r.detail.UserProperties
		}
		t := wire.TypePuback
		if r.qos == 2 {
			t = wire.TypePubrec
			q.pubrecs.remove(r.id)
		}
		if r.qos == 1 || r.reason >= 0x80 {
			e.answering.remove(r.id)
		}
		if r.qos == 2 && r.reason >= 0x80 { // [MQTT-4.3.3-9]
			e.received.remove(r.id)
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

// invalidate drops everything: the connection is gone.
func (q *ackQueue) invalidate() {
	q.base = q.end()
	q.first = q.base
	q.passed = q.base
	q.head = 0
	q.records = nil
	q.pubrecs.clear()
}

// HoldAck takes the acknowledgement of a message over: it is not given by
// AcknowledgeThrough.
func (e *Engine) HoldAck(n uint64) error {
	r := e.acks.at(n)
	if r == nil {
		return e.acks.missing(n)
	}
	if r.state != ackWaiting {
		return ErrAckTwice
	}
	r.state = ackHeld
	return nil
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
