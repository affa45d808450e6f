// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// leave takes an operation out of the list that its phase names.
func (e *Engine) leave(op *Operation) {
	switch op.phase {
	case phaseSent:
		e.sent.remove(op)
	case phaseReleased:
		e.released.remove(op)
	case phaseResend:
		e.resend.remove(op)
	}
}

// settle completes an operation that the server answered, and returns what it
// took from the Receive Maximum.
func (e *Engine) settle(op *Operation, r Result) {
	e.returnQuota(op)
	e.leave(op)
	e.finish(op, r)
}

// returnQuota returns the share of a publish in the Receive Maximum. A PUBREL
// of a resumed session took nothing on this connection: counting its PUBCOMP,
// as section 4.9 allows, could exceed what the server counts.
func (e *Engine) returnQuota(op *Operation) {
	if !op.charged {
		return
	}
	op.charged = false
	e.quota++
	if op.expired {
		e.expired--
	}
}

// published finds the publish with the identifier of an acknowledgement, and
// checks that it may be acknowledged by that type of packet.
func (e *Engine) published(t wire.Type, id uint16, qos uint8) (*Operation, *wire.Error) {
	op := e.ids.holder(id)
	if op == nil {
		return nil, nil
	}
	if op.Kind != KindPublish || op.Publish.QoS != qos {
		return nil, violation(t, "MQTT-2.2.1-5", "acknowledges a packet of another type")
	}
	if !op.handed {
		return nil, violation(t, "MQTT-2.2.1-5", "acknowledges a PUBLISH that was not sent yet")
	}
	return op, nil
}

// receiveAck handles PUBACK, PUBREC, PUBREL and PUBCOMP.
func (e *Engine) receiveAck(now time.Duration, f *wire.Frame) *wire.Error {
	a := new(wire.Ack) // stays on the stack
	if err := wire.ParseAck(f, a); err != nil {
		return err
	}
	if err := e.checkProblemInformation(f.Type, a.ReasonString != nil || a.UserProperties != nil); err != nil {
		return err
	}
	granted := e.acceptGranted(f.Type, a)
	if err := checkReason(f.Type, a.ReasonCode); err != nil {
		return err
	}
	e.ackWrite = e.writes
	switch f.Type {
	case wire.TypePuback:
		op, err := e.published(f.Type, a.PacketID, 1)
		if err != nil {
			return err
		}
		if op == nil {
			e.stats.UnknownAcks++
			return nil
		}
		r := e.ackResult(a)
		r.Granted = granted
		e.settle(op, r)
	case wire.TypePubrec:
		return e.receivePubrec(now, a)
	case wire.TypePubcomp:
		op, err := e.published(f.Type, a.PacketID, 2)
		if err != nil {
			return err
		}
		if op == nil {
			e.stats.UnknownAcks++
			return nil
		}
		if op.phase != phaseReleased || e.releasePending(op) {
			return violation(f.Type, "MQTT-4.3.3-5", "PUBCOMP before PUBREL")
		}
		if a.ReasonCode == wire.PacketIdentifierNotFound {
			// Normal after a lost PUBCOMP: the server had finished with it.
			a.ReasonCode = wire.Success
		}
		e.settle(op, e.ackResult(a))
	case wire.TypePubrel:
		return e.receivePubrel(a)
	}
	return nil
}

// Reason codes of SUBACK.
const (
	grantedQoS1 wire.ReasonCode = 1
	grantedQoS2 wire.ReasonCode = 2
)

// acceptGranted turns a granted QoS in the acknowledgement of a publish into
// success, and reports whether there was one. Some brokers answer so, although
// these codes belong to SUBACK.
func (e *Engine) acceptGranted(t wire.Type, a *wire.Ack) bool {
	if t != wire.TypePuback && t != wire.TypePubrec || a.ReasonCode != grantedQoS1 && a.ReasonCode != grantedQoS2 {
		return false
	}
	a.ReasonCode = wire.Success
	e.stats.GrantedAcks++
	return true
}

// ackResult builds the result of a publish; a packet of its own is allocated
// only if it says more than the reason code.
func (e *Engine) ackResult(a *wire.Ack) Result {
	r := Result{Reason: a.ReasonCode}
	if a.ReasonString != nil || a.UserProperties != nil {
		r.Ack = &wire.Ack{PacketID: a.PacketID, ReasonCode: a.ReasonCode, ReasonString: a.ReasonString, UserProperties: a.UserProperties}
	}
	return r
}

func (e *Engine) receivePubrec(now time.Duration, a *wire.Ack) *wire.Error {
	op, err := e.published(wire.TypePubrec, a.PacketID, 2)
	if err != nil {
		return err
	}
	switch {
	case op == nil:
		e.stats.UnknownAcks++
		if a.ReasonCode < 0x80 {
			e.writeAck(wire.TypePubrel, &wire.Ack{PacketID: a.PacketID, ReasonCode: wire.PacketIdentifierNotFound})
		}
	case op.phase == phaseReleased && e.releasePending(op):
	case op.phase == phaseReleased:
		e.writeAck(wire.TypePubrel, &wire.Ack{PacketID: a.PacketID})
	case a.ReasonCode >= 0x80: // [MQTT-4.4.0-2]
		e.settle(op, e.ackResult(a))
	default:
		// The server owns the message: the session needs only its identifier
		// from now on [MQTT-4.3.3-6].
		if op.expired {
			e.expired--
		}
		op.expired = false
		e.leave(op)
		op.dropped = uint32(len(op.Publish.Payload))
		op.Publish.Payload = nil
		op.Publish.Properties = nil
		op.phase = phaseReleased
		op.sentAt, op.end = now, 0
		e.released.pushBack(op)
		if !e.keepReleased(op) {
			e.writeAck(wire.TypePubrel, &wire.Ack{PacketID: a.PacketID})
		}
	}
	return nil
}

// receiveSubscribeAck handles SUBACK and UNSUBACK.
func (e *Engine) receiveSubscribeAck(now time.Duration, f *wire.Frame) *wire.Error {
	a := new(wire.SubscribeAck)
	if err := wire.ParseSubscribeAck(f, a); err != nil {
		return err
	}
	if err := e.checkProblemInformation(f.Type, a.ReasonString != nil || a.UserProperties != nil); err != nil {
		return err
	}
	for _, code := range a.ReasonCodes {
		if err := checkReason(f.Type, code); err != nil {
			return err
		}
	}
	e.ackWrite = e.writes
	op := e.ids.holder(a.PacketID)
	if op == nil {
		e.stats.UnknownAcks++
		return nil
	}
	kind, filters := KindSubscribe, 0
	if f.Type == wire.TypeUnsuback {
		kind = KindUnsubscribe
	}
	if op.Kind != kind {
		return violation(f.Type, "MQTT-2.2.1-6", "acknowledges a packet of another type")
	}
	if !op.handed {
		return violation(f.Type, "MQTT-2.2.1-6", "acknowledges a packet that was not sent yet")
	}
	if kind == KindSubscribe {
		filters = len(op.Subscribe.Subscriptions)
	} else {
		filters = len(op.Unsubscribe.TopicFilters)
	}
	if len(a.ReasonCodes) != filters {
		rule := "MQTT-3.8.4-6"
		if kind == KindUnsubscribe {
			rule = "3.11.3"
		}
		err := violation(f.Type, rule, "number of reason codes differs from the number of topic filters")
		e.leave(op)
		e.finish(op, Result{Err: err})
		return err
	}
	if kind == KindSubscribe {
		e.filters.granted(op.Subscribe, a.ReasonCodes)
	} else {
		e.filters.removed(op.Unsubscribe, a.ReasonCodes)
	}
	e.keepFilters()
	e.settle(op, Result{SubscribeAck: a})
	e.planRestore(now)
	return nil
}

// reasonRules are the statements about the reason codes of acknowledgements.
var reasonRules = [...]string{
	wire.TypePuback: "MQTT-3.4.2-1", wire.TypePubrec: "MQTT-3.5.2-1", wire.TypePubrel: "MQTT-3.6.2-1", wire.TypePubcomp: "MQTT-3.7.2-1",
	wire.TypeSuback: "MQTT-3.9.3-2", wire.TypeUnsuback: "MQTT-3.11.3-2",
}

// checkReason refuses a success that is none of the packet's: nothing could be
// made of it. An unknown failure is a failure.
func checkReason(t wire.Type, code wire.ReasonCode) *wire.Error {
	if code < 0x80 && !wire.ReasonCodeValid(t, code, true) {
		return violation(t, reasonRules[t], "reason code is neither a failure nor a success of this packet")
	}
	return nil
}

// checkProblemInformation refuses explanations that the CONNECT asked the
// server to leave out [MQTT-3.1.2-29].
func (e *Engine) checkProblemInformation(t wire.Type, explains bool) *wire.Error {
	if explains && !e.offer.problemInformation {
		return violation(t, "MQTT-3.1.2-29", "reason string or user property, though problem information was not requested")
	}
	return nil
}

// ackDeadline returns when the oldest operation of the list times out.
func (e *Engine) ackDeadline(l *awaiting) time.Duration {
	if op := l.unexpired; op != nil && e.cfg.AckTimeout > 0 {
		return after(op.sentAt, e.cfg.AckTimeout)
	}
	return never
}

// expireAcks times operations out. Their identifiers stay taken and their part
// of the Receive Maximum used, for the server may still hold them. The time of a
// packet that is still leaving starts over.
func (e *Engine) expireAcks(now time.Duration, l *awaiting) {
	for now >= e.ackDeadline(l) {
		op := l.unexpired
		if op.end > e.flow.departed {
			op.sentAt = now
			return
		}
		l.unexpired = op.next
		op.expired = true
		if op.charged {
			e.expired++
		}
		e.stats.Timeouts++
		e.orphan(op, ErrAckTimeout)
	}
	e.planRestore(now)
}

// checkStall gives a connection up on which something can never be sent,
// because operations that the server swallowed use up its Receive Maximum or all
// packet identifiers.
func (e *Engine) checkStall(now time.Duration) {
	if e.state != Connected || !e.anyExpired() {
		return
	}
	publish := e.resend.head
	if publish == nil {
		publish = e.publishes.head
	}
	publishWaits := publish != nil && publish.Publish.QoS > 0
	requestWaits := e.requests.head != nil || e.restores.head != nil
	answersDue := e.sent.unexpired != nil || e.released.unexpired != nil
	switch {
	case publishWaits && e.quota == 0 && e.expired >= int32(e.settings.ReceiveMaximumFromServer):
	case (publishWaits || requestWaits) && e.ids.used == maxIdentifiers && !answersDue:
	default:
		return
	}
	e.disconnect(now, wire.ImplementationSpecificError, ErrStalled)
}

// checkStarved gives a connection up if an operation finds no room in the queue
// although nobody waits for any of those that take it.
func (e *Engine) checkStarved(now time.Duration) {
	if e.state == Connected && e.stats.Incomplete == 0 && e.anyExpired() {
		e.disconnect(now, wire.ImplementationSpecificError, ErrStalled)
	}
}

// anyExpired reports whether the ack timeout of some operation has passed.
func (e *Engine) anyExpired() bool {
	return e.sent.head != e.sent.unexpired || e.released.head != e.released.unexpired
}
