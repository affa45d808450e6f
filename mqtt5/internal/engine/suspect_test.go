// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

var errReset = errors.New("connection reset")

// TestSuspect goes through the ends of connections on which a publish was sent:
// which of them count against it.
func TestSuspect(t *testing.T) {
	fin := func(r *rig) { r.e.TransportError(r.now, io.EOF) }
	disconnect := func(code wire.ReasonCode) func(*rig) {
		return func(r *rig) { r.receive(wire.AppendDisconnect(nil, &wire.Disconnect{ReasonCode: code})) }
	}
	blamed := []wire.ReasonCode{0x80, 0x81, 0x82, 0x83, 0x87, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x97, 0x99, 0x9A, 0x9B}
	innocent := []wire.ReasonCode{0, 0x89, 0x8B, 0x8D, 0x8E, 0x96, 0x98, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2}
	type test struct {
		name   string
		before func(r *rig) // after the publish is written
		end    func(r *rig)
		blamed bool
	}
	tests := []test{
		{"FIN", nil, fin, true},
		{"reset", nil, func(r *rig) { r.e.TransportError(r.now, errReset) }, false},
		{"FIN after a reset", nil, func(r *rig) { r.e.TransportError(r.now, errReset); fin(r) }, false},
		{"an end of our own", nil, func(r *rig) { r.receive([]byte{0, 0}) }, false},
		{"FIN after an end of our own", nil, func(r *rig) { r.receive([]byte{0, 0}); r.flush(); fin(r) }, false},
		{"FIN during a stop", func(r *rig) { r.stop(r.now, nil, never) }, fin, false},
		{"FIN after an acknowledgement of another publish", func(r *rig) { r.ack(wire.TypePuback, 2, 0) }, fin, false},
		{"FIN after an acknowledgement of something unknown", func(r *rig) { r.ack(wire.TypePuback, 999, 0) }, fin, false},
		{"FIN after PUBREC", func(r *rig) { r.ack(wire.TypePubrec, 3, 0); r.flush() }, fin, false},
		{"FIN after SUBACK", func(r *rig) {
			r.receive([]byte{byte(wire.TypeSuback) << 4, 4, 0, 4, 0, 0})
		}, fin, false},
		{"FIN after a message", func(r *rig) { r.message(0, 0) }, fin, true},
		{"FIN after a later publish was written", func(r *rig) { r.publish("later", 1); r.flush() }, fin, true},
	}
	for _, code := range blamed {
		tests = append(tests, test{"DISCONNECT " + wireName(code), nil, disconnect(code), true})
	}
	for _, code := range innocent {
		tests = append(tests, test{"DISCONNECT " + wireName(code), nil, disconnect(code), false})
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, &Config{Session: SessionRejoinAlways, PoisonLimit: 1})
			r.connect(&connack)
			suspect := r.publish("suspect", 1)
			others := []*Operation{r.publish("b", 1), r.publish("c", 2), r.subscribe("d")}
			r.wrote("PUBLISH suspect 1, PUBLISH b 2, PUBLISH c 3, SUBSCRIBE 4")
			if c.before != nil {
				c.before(r)
			}
			c.end(r)
			r.cut()
			for _, op := range others {
				if res, done := r.done[op]; done && res.Err == ErrPoisonPublish {
					t.Error("another publish is blamed")
				}
			}
			switch res, done := r.done[suspect]; {
			case c.blamed:
				r.failed(suspect, ErrPoisonPublish)
				if !r.sent[suspect] {
					t.Error("it counts as not sent")
				}
			case done && res.Err == ErrPoisonPublish:
				t.Error("it is blamed")
			}
		})
	}
}

func wireName(code wire.ReasonCode) string {
	return string("0123456789ABCDEF"[code>>4]) + string("0123456789ABCDEF"[code&15])
}

// TestSuspect_inARow counts connections in a row: those that point at nothing
// do not clear a publish, and do not count.
func TestSuspect_inARow(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways, PoisonLimit: 3})
	resume := connack
	resume.SessionPresent = true
	r.connect(&connack)
	op := r.publish("a", 1)
	r.wrote("PUBLISH a 1")
	for range 2 {
		for range 3 {
			r.e.TransportError(r.now, errReset)
			r.connect(&resume)
			r.wrote("PUBLISH a 1 dup")
		}
		r.open(op)
		r.e.TransportError(r.now, io.EOF)
		r.connect(&resume)
		r.open(op)
		r.wrote("PUBLISH a 1 dup")
	}
	r.e.TransportError(r.now, io.EOF)
	r.cut()
	r.failed(op, ErrPoisonPublish)
	// Its identifier is not used again: the server may know it.
	r.connect(&resume)
	r.publish("b", 1)
	r.wrote("PUBLISH b 2")
}

func TestSuspect_noLimit(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways})
	resume := connack
	resume.SessionPresent = true
	r.connect(&connack)
	op := r.publish("a", 1)
	r.flush()
	for range 300 {
		r.e.TransportError(r.now, io.EOF)
		r.connect(&resume)
		r.wrote("PUBLISH a 1 dup")
	}
	r.open(op)
}

// TestSuspect_whileStopping fails with the stop and not as poison.
func TestSuspect_whileStopping(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways, PoisonLimit: 1})
	r.connect(&connack)
	op := r.publish("a", 1)
	r.flush()
	r.stop(r.now, nil, never)
	r.receive(wire.AppendDisconnect(nil, &wire.Disconnect{ReasonCode: wire.PacketTooLarge}))
	r.cut()
	r.failed(op, ErrStopRequested)
}

// TestRepeatedViolations counts connections that resume the session and end with
// one violation.
func TestRepeatedViolations(t *testing.T) {
	resume := connack
	resume.SessionPresent = true
	r := newRig(t, &Config{Session: SessionRejoinAlways})
	bad := []byte{0x30, 1, 0}                 // ends in the topic
	other := []byte{0x36, 5, 0, 1, 'a', 0, 1} // QoS 3
	lose := func(ack *wire.Connack, b []byte) int {
		r.t.Helper()
		r.connect(ack)
		r.receive(b)
		r.cut()
		return r.event(EventDisconnected).Repeated
	}
	steps := []struct {
		ack  *wire.Connack
		b    []byte
		want int
	}{
		{&connack, bad, 0}, {&resume, bad, 1}, {&resume, bad, 2}, {&resume, other, 1}, {&resume, bad, 1}, {&resume, bad, 2},
		{&resume, bad, 3}, {&connack, bad, 0}, {&resume, bad, 1},
		{&resume, wire.AppendDisconnect(nil, &wire.Disconnect{ReasonCode: wire.ServerBusy}), 0}, {&resume, bad, 1},
	}
	for i, s := range steps {
		if got := lose(s.ack, s.b); got != s.want {
			t.Errorf("connection %d: %d in a row, want %d", i, got, s.want)
		}
	}
}

// TestIdentifierBase goes once around the identifiers.
func TestIdentifierBase(t *testing.T) {
	for _, base := range []int{0, 1, 999, 60_999, 65_533, 65_534, 65_535} {
		ids := identifiers{base: base}
		ops := make(map[uint16]*Operation)
		for n := range maxIdentifiers {
			op := new(Operation)
			id := ids.allocate(op)
			if n == 0 && int(id) != base%maxIdentifiers+1 || id == 0 {
				t.Fatalf("base %d: identifier %d is %d", base, n, id)
			}
			ops[id] = op
		}
		if ids.allocate(new(Operation)) != 0 || len(ops) != maxIdentifiers || ids.holder(0) != nil {
			t.Errorf("base %d: an identifier twice", base)
		}
		for id, op := range ops {
			if ids.holder(id) != op {
				t.Fatalf("base %d: %d is held by another operation", base, id)
			}
			ids.release(id)
			if ids.holder(id) != nil {
				t.Fatalf("base %d: %d is held after its release", base, id)
			}
		}
		if id := ids.allocate(new(Operation)); int(id) != base%maxIdentifiers+1 {
			t.Errorf("base %d: %d after all were released", base, id)
		}
	}
}

// TestGrantedReasonCode accepts a granted QoS for a publish, and nowhere else.
func TestGrantedReasonCode(t *testing.T) {
	for code := range wire.ReasonCode(0x80) {
		for _, qos := range []uint8{1, 2} {
			r := reach(t, Connected, &Config{})
			op := r.publish("a", qos)
			r.flush()
			answer := wire.TypePuback
			if qos == 2 {
				answer = wire.TypePubrec
			}
			r.ack(answer, 1, code)
			ok := code <= 2 || code == 0x10
			if (r.e.State() == Connected) != ok {
				t.Errorf("%v with code %#x: state %v", answer, code, r.e.State())
			}
			if granted := code == 1 || code == 2; (r.e.Stats().GrantedAcks == 1) != granted {
				t.Errorf("%v with code %#x: counted %d", answer, code, r.e.Stats().GrantedAcks)
			} else if qos == 1 && ok && (r.done[op].Granted != granted || granted && r.done[op].Reason != 0) {
				t.Errorf("%v with code %#x: %+v", answer, code, r.done[op])
			}
		}
	}
	for _, code := range []wire.ReasonCode{1, 2} {
		r := reach(t, Connected, &Config{})
		r.publish("a", 2)
		r.flush()
		r.ack(wire.TypePubrec, 1, 0)
		r.flush()
		r.ack(wire.TypePubcomp, 1, code)
		if r.e.State() == Connected {
			t.Errorf("PUBCOMP with code %#x is taken", code)
		}
	}
}

// TestExpiredPublishGivesItsQuotaBackOnce answers a publish whose ack timeout has
// passed with PUBREC, PUBREC again, and PUBCOMP.
func TestExpiredPublishGivesItsQuotaBackOnce(t *testing.T) {
	r := newRig(t, &Config{AckTimeout: 10})
	ack := connack
	ack.ReceiveMaximum = ptr(uint16(2))
	r.connect(&ack)
	op := r.publish("a", 2)
	r.publish("b", 2)
	r.wrote("PUBLISH a 1, PUBLISH b 2")
	r.ack(wire.TypePubrec, 2, 0)
	r.wrote("PUBREL 2")
	r.ack(wire.TypePubcomp, 2, 0)
	r.pass(10)
	r.failed(op, ErrAckTimeout)
	if r.e.expired != 1 || r.e.quota != 1 {
		t.Errorf("%d expired, quota %d", r.e.expired, r.e.quota)
	}
	r.ack(wire.TypePubrec, 1, 0)
	r.ack(wire.TypePubrec, 1, 0)
	r.wrote("PUBREL 1, PUBREL 1")
	if r.e.expired != 0 || r.e.quota != 1 {
		t.Errorf("after PUBREC %d expired, quota %d", r.e.expired, r.e.quota)
	}
	r.ack(wire.TypePubcomp, 1, 0)
	if r.e.expired != 0 || r.e.quota != 2 {
		t.Errorf("after PUBCOMP %d expired, quota %d", r.e.expired, r.e.quota)
	}
}

// TestExpiredPubrelOfAResumedSession has taken no quota on this connection.
func TestExpiredPubrelOfAResumedSession(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways, AckTimeout: 10})
	resume := connack
	resume.SessionPresent, resume.ReceiveMaximum = true, ptr(uint16(1))
	r.connect(&connack)
	r.publish("a", 2)
	r.flush()
	r.ack(wire.TypePubrec, 1, 0)
	r.flush()
	r.cut()
	r.connect(&resume)
	r.wrote("PUBREL 1")
	r.pass(20)
	if r.e.expired != 0 {
		t.Errorf("%d expired", r.e.expired)
	}
	r.ack(wire.TypePubrec, 1, 0) // a server may repeat it
	r.publish("b", 1)
	r.wrote("PUBREL 1, PUBLISH b 2")
	r.ack(wire.TypePubcomp, 1, 0)
	if r.e.expired != 0 || r.e.quota != 0 {
		t.Errorf("%d expired, quota %d", r.e.expired, r.e.quota)
	}
	r.state(Connected)
}

// TestAckTimeoutCountsFromTheDeparture keeps a packet in the machine for longer
// than its ack timeout.
func TestAckTimeoutCountsFromTheDeparture(t *testing.T) {
	r := reach(t, Connected, &Config{AckTimeout: 10 * time.Second})
	op := r.publish("a", 1)
	r.take()
	r.pass(time.Minute)
	r.open(op)
	r.e.WriteDone(r.now)
	r.tick() // now it has left
	r.pass(9 * time.Second)
	r.open(op)
	r.pass(11 * time.Second)
	r.failed(op, ErrAckTimeout)
}

// TestRefusalEndsWhatCounts refuses QoS 2 messages with the least failure: they
// do not count against the Receive Maximum any more.
func TestRefusalEndsWhatCounts(t *testing.T) {
	for _, reason := range []wire.ReasonCode{0x80, 0x83, 0x99} {
		r := newRig(t, &Config{})
		r.connectAs(&wire.Connect{ClientID: "c", ReceiveMaximum: ptr(uint16(1))}, &connack)
		for n := range uint16(3) {
			r.message(2, n+1)
			r.hold(uint64(n + 1))
			r.must(r.e.Acknowledge(r.now, uint64(n+1), reason, nil))
			r.flush()
		}
		r.state(Connected)
	}
}
