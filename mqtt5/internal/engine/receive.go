// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Receive handles received bytes, which start at a packet boundary. It returns
// how many of them it consumed, and how many bytes the packet after those has
// at least, if that is known to be more than what is left of data. What is left
// otherwise has to wait until the engine is no longer Confirming.
func (e *Engine) Receive(now time.Duration, data []byte) (consumed, need int) {
	e.flow.heard(now)
	consumed, need = e.receivePackets(now, data)
	e.stats.BytesIn += uint64(consumed)
	e.stats.ReceivedAt = now
	return consumed, need
}

func (e *Engine) receivePackets(now time.Duration, data []byte) (consumed, need int) {
	limit := e.offer.maximumPacketSize
	var f wire.Frame
	for consumed < len(data) {
		if e.state != Connected && e.state != Handshake {
			return len(data), 0 // our DISCONNECT is decided: nothing counts any more
		}
		if e.Confirming() {
			break
		}
		need, err := f.Parse(data[consumed:], limit)
		if err == nil {
			if need > 0 {
				e.checkDrained(now)
				return consumed, need
			}
			consumed += int(f.Size)
			e.packetEnd = consumed
			err = e.receivePacket(now, &f)
		}
		if err != nil {
			e.stats.Violations++
			e.disconnect(now, err.Reason, err)
			return len(data), 0
		}
	}
	e.checkDrained(now)
	return consumed, 0
}

func (e *Engine) receivePacket(now time.Duration, f *wire.Frame) *wire.Error {
	e.stats.PacketsIn++
	if e.state == Handshake {
		switch f.Type {
		case wire.TypeConnack:
			return e.receiveConnack(now, f)
		case wire.TypeAuth:
			return e.receiveAuth(now, f)
		case wire.TypeDisconnect:
			return earlyDisconnect(f)
		}
		return violation(f.Type, "MQTT-3.2.0-1", "before CONNACK")
	}
	switch f.Type {
	case wire.TypePublish:
		return e.receivePublish(f)
	case wire.TypePuback, wire.TypePubrec, wire.TypePubrel, wire.TypePubcomp:
		return e.receiveAck(now, f)
	case wire.TypeSuback, wire.TypeUnsuback:
		return e.receiveSubscribeAck(now, f)
	case wire.TypePingresp:
		return e.receivePingresp(now, f)
	case wire.TypeDisconnect:
		return e.receiveDisconnect(now, f)
	case wire.TypeAuth:
		return e.receiveAuth(now, f)
	case wire.TypeConnack:
		return e.receiveConnack(now, f)
	}
	return violation(f.Type, "4.13.1", "only a client may send this packet")
}

func (e *Engine) receiveDisconnect(now time.Duration, f *wire.Frame) *wire.Error {
	d := new(wire.Disconnect)
	if err := wire.ParseDisconnect(f, d, true); err != nil {
		return err
	}
	e.conclude(now, &Event{Err: ErrDisconnectReceived, Disconnect: d})
	e.beginClosing(now)
	return nil
}

// earlyDisconnect refuses a DISCONNECT before CONNACK [MQTT-3.14.0-1], and tells
// what it said: a server that sends one meant to refuse the connection.
func earlyDisconnect(f *wire.Frame) *wire.Error {
	var d wire.Disconnect
	if err := wire.ParseDisconnect(f, &d, true); err != nil {
		return err
	}
	text := fmt.Sprintf("before CONNACK, with reason code 0x%02X", uint8(d.ReasonCode))
	if d.ReasonString != nil {
		text += fmt.Sprintf(" (%q)", *d.ReasonString)
	}
	return violation(f.Type, "MQTT-3.14.0-1", text)
}

func (e *Engine) receivePublish(f *wire.Frame) *wire.Error {
	if e.scratch == nil {
		e.scratch = new(Message)
	}
	m := e.scratch
	if err := wire.ParsePublish(f, &m.PublishView); err != nil {
		return err
	}
	if err := e.resolveInbound(m); err != nil {
		return err
	}
	m.Start, m.End, m.Ack = e.packetEnd-len(f.Body), e.packetEnd, 0
	switch m.QoS {
	case 1:
		if err := e.owe(m.PacketID); err != nil {
			return err
		}
		m.Ack = e.acks.push(m.PacketID, 1)
	case 2:
		if err := e.owe(m.PacketID); err != nil {
			return err
		}
		if e.repeats(m.PacketID) {
			return nil
		}
		m.Ack = e.acks.push(m.PacketID, 2)
	}
	e.stats.MessagesIn++
	e.stats.PayloadIn += uint64(len(m.Payload))
	e.sink.Deliver(m)
	return nil
}

// repeats handles a QoS 2 PUBLISH that was delivered before [MQTT-4.3.3-10],
// and reports whether it was. Its PUBREC is sent again, unless the first one is
// still to come.
func (e *Engine) repeats(id uint16) bool {
	switch {
	case e.acks.unanswered(id):
		return true
	case e.received.has(id):
		e.acks.answer(e.acks.push(id, 2))
		e.acks.flush(e)
		return true
	}
	return e.adopt(id)
}

// owe notes a publish that the server counts against our Receive Maximum.
func (e *Engine) owe(id uint16) *wire.Error {
	e.answering.add(id)
	// A server that repeats one identifier must not make the queue grow either.
	if max(e.answering.len(), len(e.acks.records)-e.acks.head+1) > int(e.offer.receiveMaximum) {
		return &wire.Error{Reason: wire.ReceiveMaximumExceeded, Packet: wire.TypePublish, Rule: "MQTT-3.3.4-9",
			Text: "more unacknowledged messages than our Receive Maximum"}
	}
	return nil
}

func (e *Engine) receivePubrel(a *wire.Ack) *wire.Error {
	id := a.PacketID
	if e.acks.unanswered(id) {
		return violation(wire.TypePubrel, "MQTT-4.3.3-8", "PUBREL before our PUBREC")
	}
	answer := wire.Ack{PacketID: id}
	if !e.received.remove(id) {
		answer.ReasonCode = wire.PacketIdentifierNotFound
	}
	e.answering.remove(id)
	if e.unkeepReceived(id) {
		return nil // Stored answers
	}
	e.writeAck(wire.TypePubcomp, &answer)
	return nil
}
