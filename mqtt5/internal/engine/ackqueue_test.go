// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

func TestAcknowledgementsLeaveInOrderOfReceipt(t *testing.T) {
	t.Run("MQTT-4.6.0-2 MQTT-4.6.0-3", func(t *testing.T) {
		r := reach(t, Connected, &Config{})
		r.message(1, 30)
		r.message(2, 20)
		r.message(1, 10)
		for _, n := range r.acks {
			r.hold(n)
		}
		r.must(r.e.Acknowledge(r.now, r.acks[2], 0, nil))
		r.must(r.e.Acknowledge(r.now, r.acks[1], 0, nil))
		r.wrote("")
		r.must(r.e.Acknowledge(r.now, r.acks[0], 0, nil))
		r.wrote("PUBACK 30, PUBREC 20, PUBACK 10")
	})
}

func TestHeldAcknowledgement(t *testing.T) {
	r := reach(t, Connected, &Config{})
	r.message(1, 1)
	r.message(1, 2)
	r.message(1, 3)
	r.hold(r.acks[1])
	if _, err := r.e.HoldAck(r.acks[1]); err != ErrAckTwice {
		t.Errorf("second hold: %v", err)
	}
	r.e.AcknowledgeThrough(r.now, r.acks[2])
	r.wrote("PUBACK 1")
	if _, err := r.e.HoldAck(r.acks[2]); err != ErrAckTwice {
		t.Errorf("hold after the acknowledgement: %v", err)
	}
	r.must(r.e.Acknowledge(r.now, r.acks[1], 0, nil))
	if err := r.e.Acknowledge(r.now, r.acks[1], 0, nil); err != ErrAckTwice {
		t.Errorf("second acknowledgement: %v", err)
	}
	r.wrote("PUBACK 2, PUBACK 3")
}

func TestNegativeAcknowledgement(t *testing.T) {
	t.Run("MQTT-4.3.3-9", func(t *testing.T) {
		r := reach(t, Connected, &Config{})
		r.message(2, 5)
		r.message(1, 6)
		for _, n := range r.acks {
			r.hold(n)
			r.must(r.e.Acknowledge(r.now, n, wire.NotAuthorized, nil))
		}
		r.wrote("PUBREC 5 0x87, PUBACK 6 0x87")
		r.message(2, 5) // the identifier is free: a new message
		if len(r.messages) != 3 {
			t.Errorf("messages %v", r.messages)
		}
	})
}

// In the native client acknowledgements of an earlier connection leak.
func TestStaleAcknowledgement(t *testing.T) {
	r := reach(t, Connected, &Config{Session: SessionRejoinAlways})
	r.message(1, 1)
	r.message(2, 2)
	r.hold(r.acks[0])
	r.cut()
	for _, n := range r.acks {
		if err := r.e.Acknowledge(r.now, n, 0, nil); err != ErrAckStale {
			t.Errorf("without a connection: %v", err)
		}
	}
	r.connect(&resumed)
	r.message(1, 1)
	for _, n := range r.acks[:2] {
		if _, err := r.e.HoldAck(n); err != ErrAckStale {
			t.Errorf("hold: %v", err)
		}
		if err := r.e.Acknowledge(r.now, n, 0, nil); err != ErrAckStale {
			t.Errorf("on the next connection: %v", err)
		}
	}
	r.e.AcknowledgeThrough(r.now, r.acks[1])
	r.wrote("")
	r.e.AcknowledgeThrough(r.now, r.acks[2])
	r.wrote("PUBACK 1")
}

func TestDuplicateOfQoS2(t *testing.T) {
	t.Run("MQTT-4.3.3-10", func(t *testing.T) {
		r := reach(t, Connected, &Config{Session: SessionRejoinAlways})
		r.message(2, 5)
		r.e.AcknowledgeThrough(r.now, r.acks[0])
		r.take() // is lost
		r.cut()
		r.connect(&resumed)
		r.message(2, 5)
		r.wrote("PUBREC 5")
		r.ack(wire.TypePubrel, 5, 0)
		r.ack(wire.TypePubrel, 5, 0)
		r.wrote("PUBCOMP 5, PUBCOMP 5 0x92")
		if len(r.messages) != 1 {
			t.Errorf("messages %v", r.messages)
		}
	})
}

// What is refused for the Receive Maximum was not received: the server sends
// it again.
func TestQoS2BeyondReceiveMaximumIsNotTaken(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways})
	c := wire.Connect{ClientID: "c", ReceiveMaximum: ptr(uint16(1))}
	r.connectAs(&c, &connack)
	r.message(2, 1)
	r.message(2, 2)
	t.Run("MQTT-3.3.4-9", func(t *testing.T) { r.wrote("DISCONNECT 0x93") })
	r.cut()
	r.connectAs(&c, &resumed)
	r.message(2, 2)
	equal(t, "messages", r.messages, []string{"in:1", "in:2"})
}

func TestReceiveMaximumCountsUntilTheAnswer(t *testing.T) {
	r := newRig(t, &Config{})
	r.connectAs(&wire.Connect{ClientID: "c", ReceiveMaximum: ptr(uint16(2))}, &connack)
	for id := range uint16(100) {
		r.message(1, id+1)
		r.message(2, id+200)
		r.e.AcknowledgeThrough(r.now, r.acks[len(r.acks)-1])
		r.ack(wire.TypePubrel, id+200, 0)
	}
	r.state(Connected)
}

// A QoS 2 message that was answered with PUBREC counts until its PUBREL.
func TestReceiveMaximumCountsUntilTheRelease(t *testing.T) {
	r := newRig(t, &Config{})
	r.connectAs(&wire.Connect{ClientID: "c", ReceiveMaximum: ptr(uint16(2))}, &connack)
	for id := range uint16(2) {
		r.message(2, id+1)
		r.e.AcknowledgeThrough(r.now, r.acks[len(r.acks)-1])
		r.wrote(fmt.Sprintf("PUBREC %d", id+1))
	}
	r.ack(wire.TypePubrel, 1, 0)
	r.wrote("PUBCOMP 1")
	r.message(2, 3)
	r.e.AcknowledgeThrough(r.now, r.acks[len(r.acks)-1])
	r.wrote("PUBREC 3")
	r.message(2, 4)
	r.wrote("DISCONNECT 0x93")
}

func TestAckQueueMemory(t *testing.T) {
	r := reach(t, Connected, &Config{})
	for id := range uint16(20000) {
		r.message(1, id+1)
		if id > 10 {
			r.e.AcknowledgeThrough(r.now, r.acks[id-10])
		}
	}
	if n := cap(r.e.acks.records); n > 100 {
		t.Errorf("room for %d acknowledgements when 10 are owed", n)
	}
}

// One identifier again and again is one message more each time.
func TestRepeatedIdentifierCountsAgainstReceiveMaximum(t *testing.T) {
	r := newRig(t, &Config{})
	r.connectAs(&wire.Connect{ClientID: "c", ReceiveMaximum: ptr(uint16(3))}, &connack)
	for range 3 {
		r.message(1, 1)
		r.state(Connected)
	}
	r.message(1, 1)
	r.wrote("DISCONNECT 0x93")
}
