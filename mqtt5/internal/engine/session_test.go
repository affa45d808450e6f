// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// connack and resumed are the plain answers to CONNECT.
var (
	connack = wire.Connack{}
	resumed = wire.Connack{SessionPresent: true}
)

func TestCleanStart(t *testing.T) {
	for _, c := range []struct {
		session                      SessionBehavior
		first, retry, after, stopped bool
	}{
		{SessionClean, true, true, true, true},
		{SessionRejoinPostSuccess, true, true, false, true},
		{SessionRejoinAlways, false, false, false, false},
	} {
		r := newRig(t, &Config{Session: c.session})
		hello := &wire.Connect{ClientID: "c"}
		var got []bool
		got = append(got, r.dial(hello).CleanStart)
		r.cut()
		got = append(got, r.dial(hello).CleanStart)
		r.receive(wiretest.AppendConnack(nil, &connack))
		r.cut()
		got = append(got, r.dial(hello).CleanStart)
		r.cut()
		r.stop(r.now, nil, 0)
		r.state(Stopped)
		got = append(got, r.dial(hello).CleanStart)
		equal(t, "clean start", got, []bool{c.first, c.retry, c.after, c.stopped})
	}
}

func TestResumedSessionOrder(t *testing.T) {
	t.Run("MQTT-4.4.0-1 MQTT-4.6.0-1 MQTT-3.3.1-1", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		a, b, c := r.publish("a", 1), r.publish("b", 2), r.publish("c", 2)
		d, s := r.publish("d", 1), r.subscribe("s")
		r.wrote("PUBLISH a 1, PUBLISH b 2, PUBLISH c 3, PUBLISH d 4, SUBSCRIBE 5")
		r.ack(wire.TypePubrec, 3, 0)
		r.ack(wire.TypePubrec, 2, 0)
		r.wrote("PUBREL 3, PUBREL 2")
		r.cut()
		e := r.publish("e", 1)
		r.connect(&resumed)
		r.wrote("PUBREL 3, PUBREL 2, PUBLISH a 1 dup, PUBLISH d 4 dup, SUBSCRIBE 6, PUBLISH e 7")
		r.ack(wire.TypePubcomp, 3, 0)
		r.ack(wire.TypePubcomp, 2, wire.PacketIdentifierNotFound)
		for _, id := range []uint16{1, 4, 7} {
			r.ack(wire.TypePuback, id, 0)
		}
		r.receive(wiretest.AppendSubscribeAck(nil, wire.TypeSuback, &wire.SubscribeAck{PacketID: 6, ReasonCodes: []wire.ReasonCode{0}}))
		r.succeeded(a, b, c, d, e, s)
	})
}

// DUP and the old identifier would be wrong in a session that never saw the
// publish.
func TestLostSessionHasNoDup(t *testing.T) {
	t.Run("MQTT-3.2.2-5", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		done := r.publish("x", 1)
		a, b, c := r.publish("a", 1), r.publish("b", 2), r.publish("c", 2)
		r.flush()
		r.ack(wire.TypePuback, 1, 0)
		r.ack(wire.TypePubrec, 4, 0)
		r.flush()
		r.cut()
		r.connect(&connack)
		r.wrote("PUBLISH a 1")
		r.succeeded(done)
		r.failed(b, ErrSessionLost)
		r.failed(c, ErrSessionLost)
		r.ack(wire.TypePuback, 1, 0)
		r.succeeded(a)
	})
	t.Run("and is resumed before it left", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		a := r.publish("a", 1)
		r.wrote("PUBLISH a 1")
		r.cut()
		r.connect(&connack) // the session is lost, and nothing is written
		r.cut()
		r.connect(&resumed)
		r.wrote("PUBLISH a 1")
		r.open(a)
	})
	t.Run("with FailAllOnDisconnect", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways, Offline: FailAllOnDisconnect})
		r.connect(&connack)
		a := r.publish("a", 1)
		r.flush()
		r.cut()
		r.open(a)
		r.connect(&connack)
		r.failed(a, ErrSessionLost)
	})
}

func TestSessionPresentThatWasNotAskedFor(t *testing.T) {
	t.Run("MQTT-3.2.2-4", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.dial(&wire.Connect{ClientID: "c"})
		r.receive(wiretest.AppendConnack(nil, &resumed))
		r.state(Disconnecting)
		r.event(EventFailed)
	})
}

func TestAssignedClientID(t *testing.T) {
	for id, again := range map[string]string{"given": "given", "$given": ""} {
		r := newRig(t, &Config{})
		ack := connack
		ack.AssignedClientID = &id
		r.connectAs(&wire.Connect{}, &ack)
		if got := r.e.Settings().ClientID; got != id {
			t.Errorf("settings say %q", got)
		}
		r.cut()
		if got := r.dial(&wire.Connect{}).ClientID; got != again {
			t.Errorf("after %q was assigned, %q is used", id, got)
		}
	}
}

// A stop fails operations in flight; with RejoinAlways the session continues with
// it, but never with what was told to be not sent.
func TestStopWithRejoinAlways(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways})
	r.connect(&connack)
	a := r.publish("a", 1)
	r.take()
	b := r.publish("b", 1)
	r.stop(r.now, nil, 0)
	r.e.WriteDone(r.now)
	r.cut()
	r.state(Stopped)
	r.failed(a, ErrStopRequested)
	r.failed(b, ErrStopRequested)
	if !r.sent[a] || r.sent[b] {
		t.Errorf("sent: %v, %v", r.sent[a], r.sent[b])
	}
	r.connect(&resumed)
	r.wrote("PUBLISH a 1 dup")
}

// An identifier that the server may know must not be given to another message
// of the session.
func TestRefusedResendKeepsItsIdentifier(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways})
	r.connect(&connack)
	a := r.publish("a", 2)
	r.wrote("PUBLISH a 1")
	r.cut()
	ack := resumed
	ack.MaximumQoS = ptr(uint8(1))
	r.connect(&ack)
	r.wrote("")
	if _, ok := r.last.Err.(*LimitError); !ok || !r.sent[a] {
		t.Errorf("completed with %v, sent %v", r.last.Err, r.sent[a])
	}
	e := r.e
	e.ids.last = len(e.ids.slots) - 1 // seek from the start
	r.publish("b", 1)
	r.wrote("PUBLISH b 2")
}
