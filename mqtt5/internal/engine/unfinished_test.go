// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// inbound is an engine that receives QoS 2 messages in a session that lasts.
func inbound(t *testing.T) (r *rig, resume func()) {
	r = newRig(t, &Config{Session: SessionRejoinAlways})
	r.connect(&connack)
	ack := connack
	ack.SessionPresent = true
	return r, func() {
		r.t.Helper()
		r.cut()
		r.connect(&ack)
		r.wrote("")
	}
}

// TestReceivedWithPubrec follows QoS 2 messages over losses of the connection:
// they count as received with the PUBREC and not before.
func TestReceivedWithPubrec(t *testing.T) {
	t.Run("handled, PUBREC lost", func(t *testing.T) {
		r, resume := inbound(t)
		r.message(2, 7)
		r.e.AcknowledgeThrough(r.now, 1)
		resume() // before it was written
		r.message(2, 7)
		r.wrote("PUBREC 7")
		equal(t, "messages", r.messages, []string{"in:7"})
		r.ack(wire.TypePubrel, 7, 0)
		r.wrote("PUBCOMP 7")
	})
	t.Run("being handled, repeated, then handled", func(t *testing.T) {
		r, resume := inbound(t)
		r.message(2, 7)
		for range 3 { // over several connections
			resume()
			r.message(2, 7)
			r.message(2, 7)
			r.wrote("")
		}
		r.e.AcknowledgeThrough(r.now, 1)
		r.wrote("PUBREC 7")
		equal(t, "messages", r.messages, []string{"in:7"})
		r.message(2, 7)
		r.wrote("PUBREC 7")
		r.ack(wire.TypePubrel, 7, 0)
		r.wrote("PUBCOMP 7")
		r.message(2, 7) // a new message with the identifier
		equal(t, "messages", r.messages, []string{"in:7", "in:7"})
	})
	t.Run("being handled, handled, then repeated", func(t *testing.T) {
		r, resume := inbound(t)
		r.message(2, 7)
		resume()
		r.e.AcknowledgeThrough(r.now, 1)
		r.wrote("")
		r.message(2, 7)
		r.wrote("PUBREC 7")
		equal(t, "messages", r.messages, []string{"in:7"})
	})
	t.Run("handled while there is no connection", func(t *testing.T) {
		r, _ := inbound(t)
		r.message(2, 7)
		r.cut()
		r.e.AcknowledgeThrough(r.now, 1)
		ack := connack
		ack.SessionPresent = true
		r.connect(&ack)
		r.message(2, 7)
		r.wrote("PUBREC 7")
		equal(t, "messages", r.messages, []string{"in:7"})
	})
	t.Run("several, in the order of the server", func(t *testing.T) {
		r, resume := inbound(t)
		for id := range uint16(3) {
			r.message(2, id+1)
		}
		r.e.AcknowledgeThrough(r.now, 1)
		resume()
		for id := range uint16(4) {
			r.message(2, id+1)
		}
		r.wrote("PUBREC 1")
		r.e.AcknowledgeThrough(r.now, 3)
		r.wrote("PUBREC 2, PUBREC 3")
		equal(t, "messages", r.messages, []string{"in:1", "in:2", "in:3", "in:4"})
		r.e.AcknowledgeThrough(r.now, r.acks[3])
		r.wrote("PUBREC 4")
	})
	t.Run("taken over, and not accepted before the loss", func(t *testing.T) {
		r, resume := inbound(t)
		r.message(2, 7)
		r.hold(1)
		r.e.AcknowledgeThrough(r.now, 1)
		resume()
		if err := r.e.Acknowledge(r.now, 1, 0, nil); err != ErrAckStale {
			t.Errorf("accepted: %v", err)
		}
		r.ack(wire.TypePubrel, 7, 0) // what a server that lost count may send
		r.wrote("PUBCOMP 7 0x92")
		r.message(2, 7)
		equal(t, "messages", r.messages, []string{"in:7", "in:7"})
		r.hold(r.acks[1])
		r.e.AcknowledgeThrough(r.now, r.acks[1])
		r.wrote("")
		r.must(r.e.Acknowledge(r.now, r.acks[1], 0, nil))
		r.wrote("PUBREC 7")
	})
	t.Run("repeated, and then taken over by the handler of the first delivery", func(t *testing.T) {
		r, resume := inbound(t)
		r.message(2, 7)
		resume()
		r.message(2, 7)
		n, err := r.e.HoldAck(1)
		r.must(err)
		r.e.AcknowledgeThrough(r.now, 1)
		r.wrote("")
		r.must(r.e.Acknowledge(r.now, n, 0, nil))
		r.wrote("PUBREC 7")
		equal(t, "messages", r.messages, []string{"in:7"})
	})
	t.Run("taken over after the loss, before it is repeated", func(t *testing.T) {
		r, resume := inbound(t)
		r.message(2, 7)
		resume()
		if _, err := r.e.HoldAck(1); err != ErrAckStale {
			t.Errorf("taken over: %v", err)
		}
		r.e.AcknowledgeThrough(r.now, 1)
		r.message(2, 7)
		r.wrote("")
		equal(t, "messages", r.messages, []string{"in:7", "in:7"})
	})
	t.Run("an heir that was taken over is lost with its connection", func(t *testing.T) {
		r, resume := inbound(t)
		r.message(2, 7)
		resume()
		r.message(2, 7)
		_, err := r.e.HoldAck(1)
		r.must(err)
		resume()
		r.e.AcknowledgeThrough(r.now, 1)
		r.message(2, 7)
		equal(t, "messages", r.messages, []string{"in:7", "in:7"})
	})
	t.Run("the session is lost", func(t *testing.T) {
		r, _ := inbound(t)
		r.message(2, 7)
		r.cut()
		r.connect(&connack)
		r.message(2, 7) // is another message
		equal(t, "messages", r.messages, []string{"in:7", "in:7"})
		r.e.AcknowledgeThrough(r.now, 1)
		r.wrote("")
		r.e.AcknowledgeThrough(r.now, r.acks[1])
		r.wrote("PUBREC 7")
	})
	t.Run("refused, PUBREC lost", func(t *testing.T) {
		for reason, repeats := range map[wire.ReasonCode]bool{0x80: true, 0x83: true, 0x10: false} {
			r, resume := inbound(t)
			r.message(2, 7)
			r.hold(1)
			r.must(r.e.Acknowledge(r.now, 1, reason, nil))
			resume()
			r.message(2, 7)
			if repeats { // a refused message may come as a new one
				equal(t, "messages", r.messages, []string{"in:7", "in:7"})
			} else {
				equal(t, "messages", r.messages, []string{"in:7"})
			}
		}
	})
	t.Run("refused with the least failure: the identifier is free", func(t *testing.T) {
		r, _ := inbound(t)
		r.message(2, 7)
		r.hold(1)
		r.must(r.e.Acknowledge(r.now, 1, 0x80, nil))
		r.wrote("PUBREC 7 0x80")
		r.message(2, 7)
		equal(t, "messages", r.messages, []string{"in:7", "in:7"})
		r.ack(wire.TypePubrel, 99, 0)
		r.wrote("PUBCOMP 99 0x92")
	})
}
