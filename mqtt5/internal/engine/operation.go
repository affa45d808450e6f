// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Kind says what an operation asks for.
type Kind uint8

// The kinds of operation.
const (
	KindPublish Kind = iota + 1
	KindSubscribe
	KindUnsubscribe
)

// phase is where an operation is in its life.
type phase uint8

const (
	phaseNew       phase = iota // not submitted, or finished
	phaseQueued                 // in publishes or requests: no packet identifier yet
	phaseParked                 // in parked: the store has it, and others that come first
	phaseResend                 // in resend: has its identifier of the resumed session
	phaseWritten                // in written: QoS 0 publish in the write in flight
	phaseSent                   // in sent: PUBLISH, SUBSCRIBE or UNSUBSCRIBE waits for its first acknowledgement
	phaseReleased               // in released: PUBREL waits for its PUBCOMP
	phaseAnswered               // in answered: the write in flight still reads its payload
	phaseAbandoned              // in no list: only its identifier is left, until the server answers or the session ends
)

// Operation is one publish, subscribe or unsubscribe. It is plain data: who
// waits for it is known only to the caller, by Waiter.
//
// Operations come from [Engine.NewOperation] and go back to the engine when
// they complete; a caller must not keep one after its completion.
type Operation struct {
	next, prev *Operation

	// Waiter belongs to the caller. The engine only carries it.
	Waiter any
	// Handler marks the work of a handler, which a stop waits for.
	Handler bool
	dropped uint32 // length of the payload of a publish, after its PUBREC
	// Submitted is when Submit took the operation over.
	Submitted time.Duration

	// Kept makes a publish durable; nil: it is not.
	Kept *Kept

	Publish     wire.Publish      // KindPublish
	Subscribe   *wire.Subscribe   // KindSubscribe
	Unsubscribe *wire.Unsubscribe // KindUnsubscribe

	order  uint64        // order of submission
	sentAt time.Duration // when the write with its packet began, or for a PUBREL when PUBREC came
	write  uint64        // number of the write with its packet; 0: not handed over yet
	end    int64         // where its packet ends in the bytes of the connection
	size   uint32        // bytes that it counts for in the limits and statistics

	Kind       Kind
	phase      phase
	closures   uint8 // connections in a row that the server closed after this publish
	sent       bool  // it was handed to a write, on any connection
	handed     bool  // likewise, in the present session: the server may know its identifier
	orphaned   bool  // nobody waits for it: kept for the session's sake only
	expired    bool  // its ack timeout has passed, on this connection
	charged    bool  // took one of the server's Receive Maximum, on this connection
	counted    bool  // counts in the statistics of incomplete operations
	limited    bool  // counts in the limits: as counted, and on while it is orphaned
	referenced bool  // the write reads its payload from where it is
	restoring  bool  // the engine's own SUBSCRIBE for a lost session
}

// Sent reports whether the operation may have reached the server. When an
// operation fails, it tells "not sent" from "outcome unknown". What is left in a
// store is sent later.
func (op *Operation) Sent() bool { return op.sent || op.Kept != nil && op.Kept.left }

// PayloadBytes returns the length of the payload of a publish, also after the
// PUBREC that ended the need for it.
func (op *Operation) PayloadBytes() int {
	return max(len(op.Publish.Payload), int(op.dropped))
}

// identifier returns where the packet identifier of the operation is kept.
func (op *Operation) identifier() *uint16 {
	switch op.Kind {
	case KindSubscribe:
		return &op.Subscribe.PacketID
	case KindUnsubscribe:
		return &op.Unsubscribe.PacketID
	default:
		return &op.Publish.PacketID
	}
}

// acknowledged reports whether the operation ends with an acknowledgement.
func (op *Operation) acknowledged() bool {
	return op.Kind != KindPublish || op.Publish.QoS > 0
}

func (op *Operation) encodedSize() int {
	switch op.Kind {
	case KindSubscribe:
		return wire.SubscribeSize(op.Subscribe)
	case KindUnsubscribe:
		return wire.UnsubscribeSize(op.Unsubscribe)
	default:
		return wire.PublishSize(&op.Publish)
	}
}

// own copies what the publish borrows from its caller, so that it can outlive
// the call. The properties are the operation's already, but not what they
// point to.
func (op *Operation) own() {
	if op.Kind != KindPublish {
		return
	}
	op.Publish.Payload = bytes.Clone(op.Publish.Payload)
	if p := op.Publish.Properties; p != nil {
		own := *p
		own.PayloadFormat = clonePointer(p.PayloadFormat)
		own.MessageExpiryInterval = clonePointer(p.MessageExpiryInterval)
		own.ResponseTopic = clonePointer(p.ResponseTopic)
		own.ContentType = clonePointer(p.ContentType)
		own.CorrelationData = bytes.Clone(p.CorrelationData)
		own.SubscriptionIDs = slices.Clone(p.SubscriptionIDs)
		own.UserProperties = slices.Clone(p.UserProperties)
		op.Publish.Properties = &own
	}
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// list is a doubly linked list of operations. An operation is in one list at
// most.
type list struct {
	head, tail *Operation
	n          int
}

func (l *list) pushBack(op *Operation) {
	op.prev = l.tail
	op.next = nil
	if l.tail != nil {
		l.tail.next = op
	} else {
		l.head = op
	}
	l.tail = op
	l.n++
}

func (l *list) remove(op *Operation) {
	if op.prev != nil {
		op.prev.next = op.next
	} else {
		l.head = op.next
	}
	if op.next != nil {
		op.next.prev = op.prev
	} else {
		l.tail = op.prev
	}
	op.next, op.prev = nil, nil
	l.n--
}

func (l *list) popFront() *Operation {
	op := l.head
	if op != nil {
		l.remove(op)
	}
	return op
}

// take appends all of other to l and leaves other empty.
func (l *list) take(other *list) {
	if other.head == nil {
		return
	}
	if l.tail != nil {
		l.tail.next = other.head
		other.head.prev = l.tail
	} else {
		l.head = other.head
	}
	l.tail = other.tail
	l.n += other.n
	*other = list{}
}

// awaiting is a list of operations that wait for an acknowledgement, oldest
// first. Those whose ack timeout has passed come before unexpired.
type awaiting struct {
	list
	unexpired *Operation // nil: none
}

func (l *awaiting) pushBack(op *Operation) {
	l.list.pushBack(op)
	if l.unexpired == nil {
		l.unexpired = op
	}
}

func (l *awaiting) remove(op *Operation) {
	if l.unexpired == op {
		l.unexpired = op.next
	}
	l.list.remove(op)
}

// renew starts the ack timeouts of all operations over.
func (l *awaiting) renew() {
	l.unexpired = l.head
	for op := l.head; op != nil; op = op.next {
		op.expired = false
	}
}

// maxFree bounds the operations kept for reuse, so that a burst does not hold
// its memory for ever.
const maxFree = 1024

// NewOperation returns an empty operation of the kind.
func (e *Engine) NewOperation(kind Kind) *Operation {
	op := e.free
	if op == nil {
		return &Operation{Kind: kind}
	}
	e.free = op.next
	e.freeCount--
	op.next = nil
	op.Kind = kind
	return op
}

// recycle takes back an operation that is in no list and no table.
func (e *Engine) recycle(op *Operation) {
	*op = Operation{}
	if e.freeCount >= maxFree {
		return
	}
	op.next = e.free
	e.free = op
	e.freeCount++
}

// Discard recycles an operation that was never submitted.
func (e *Engine) Discard(op *Operation) { e.recycle(op) }
