// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

func (r *rig) suback(t wire.Type, id uint16, codes ...wire.ReasonCode) {
	r.t.Helper()
	r.receive(wiretest.AppendSubscribeAck(nil, t, &wire.SubscribeAck{PacketID: id, ReasonCodes: codes}))
}

// limited connects to a server with that Receive Maximum.
func limited(t *testing.T, maximum uint16, cfg *Config) *rig {
	r := newRig(t, cfg)
	r.connect(&wire.Connack{ReceiveMaximum: &maximum})
	return r
}

// The native client aborts when an operation that is refused is followed by a
// publish while the Receive Maximum is used up.
func TestRefusedHeadAtReceiveMaximum(t *testing.T) {
	r := newRig(t, &Config{})
	r.connect(&wire.Connack{ReceiveMaximum: ptr(uint16(1)), WildcardSubscriptionsAvailable: ptr(false)})
	r.publish("a", 1)
	s := r.subscribe("x/#")
	b := r.publish("b", 1)
	t.Run("MQTT-3.3.4-7", func(t *testing.T) { r.wrote("PUBLISH a 1") })
	var limit *LimitError
	if !errors.As(r.done[s].Err, &limit) || limit.Field != "TopicFilter" || r.sent[s] {
		t.Errorf("subscribe: %+v", r.done[s])
	}
	r.open(b)
	r.ack(wire.TypePuback, 1, 0)
	r.wrote("PUBLISH b 2")
}

func TestReceiveMaximumHoldsNoRequestBack(t *testing.T) {
	r := limited(t, 1, &Config{})
	r.publish("a", 1)
	r.publish("b", 1)
	r.subscribe("s")
	r.wrote("PUBLISH a 1, SUBSCRIBE 2")
}

func TestRequestsKeepTheirPlace(t *testing.T) {
	r := newRig(t, &Config{})
	r.must(r.e.Start(r.now))
	r.publish("a", 1)
	r.subscribe("s")
	r.publish("b", 1)
	r.connect(&connack)
	r.wrote("PUBLISH a 1, SUBSCRIBE 2, PUBLISH b 3")
}

// The PUBCOMP of a resumed PUBREL must not raise the Receive Maximum.
func TestReceiveMaximumAfterResumedRelease(t *testing.T) {
	t.Run("MQTT-3.3.4-7", func(t *testing.T) {
		r := limited(t, 2, &Config{Session: SessionRejoinAlways})
		r.publish("q", 2)
		r.flush()
		r.ack(wire.TypePubrec, 1, 0)
		r.cut()
		r.connect(&wire.Connack{SessionPresent: true, ReceiveMaximum: ptr(uint16(2))})
		for range 3 {
			r.publish("a", 1)
		}
		r.wrote("PUBREL 1, PUBLISH a 2, PUBLISH a 3")
		r.ack(wire.TypePubcomp, 1, 0)
		r.wrote("")
		r.ack(wire.TypePuback, 2, 0)
		r.wrote("PUBLISH a 4")
	})
}

// The native client gives the identifier of a publish that timed out to the
// next one, while the server may still hold it.
func TestIdentifierRestsAfterTimeout(t *testing.T) {
	r := newRig(t, &Config{AckTimeout: 5 * time.Second})
	r.connect(&connack)
	a := r.publish("a", 1)
	r.wrote("PUBLISH a 1")
	r.pass(5 * time.Second)
	r.failed(a, ErrAckTimeout)
	for id := range 40 {
		r.e.ids.last = len(r.e.ids.slots) - 1 // seek from the start
		r.publish("b", 1)
		for _, p := range r.flush() {
			var v wire.PublishView
			if err := wire.ParsePublish(&p, &v); err != nil || v.PacketID == 1 {
				t.Fatalf("publish %d has identifier %d", id, v.PacketID)
			}
		}
	}
	r.ack(wire.TypePuback, 1, 0)
	r.e.ids.last = len(r.e.ids.slots) - 1
	r.publish("c", 1)
	r.wrote("PUBLISH c 1")
}

func TestAckTimeoutCountsFromTheWrite(t *testing.T) {
	r := limited(t, 1, &Config{AckTimeout: 5 * time.Second})
	r.publish("a", 1)
	b := r.publish("b", 1)
	r.wrote("PUBLISH a 1")
	r.pass(4 * time.Second)
	r.ack(wire.TypePuback, 1, 0)
	r.wrote("PUBLISH b 2")
	r.pass(5*time.Second - 1)
	r.open(b)
	r.pass(1)
	r.failed(b, ErrAckTimeout)
	if st := r.e.Stats(); st.Timeouts != 1 || st.Incomplete != 0 || st.Unacked != 0 {
		t.Errorf("statistics %+v", st)
	}
}

// In the native client publishes that time out use the Receive Maximum up,
// and then nothing is sent until the next connection, whenever that is.
func TestStallEndsTheConnection(t *testing.T) {
	for _, late := range []bool{false, true} {
		r := limited(t, 2, &Config{AckTimeout: 5 * time.Second, Session: SessionRejoinAlways})
		a, b := r.publish("a", 1), r.publish("b", 1)
		var c *Operation
		if !late {
			c = r.publish("c", 1)
		}
		r.flush()
		r.pass(5 * time.Second)
		r.failed(a, ErrAckTimeout)
		r.failed(b, ErrAckTimeout)
		if late {
			r.pass(time.Hour)
			r.state(Connected) // there is nothing to send
			c = r.publish("c", 1)
		}
		r.state(Disconnecting)
		if err := r.event(EventDisconnected).Err; err != ErrStalled {
			t.Errorf("cause %v", err)
		}
		r.wrote("DISCONNECT 0x83")
		r.cut()
		r.connect(&resumed)
		r.wrote("PUBLISH a 1 dup, PUBLISH b 2 dup, PUBLISH c 3")
		r.open(c)
	}
}

func TestLateAcknowledgementEndsAStall(t *testing.T) {
	r := limited(t, 1, &Config{AckTimeout: 5 * time.Second})
	r.publish("a", 1)
	r.flush()
	r.pass(5 * time.Second)
	r.ack(wire.TypePuback, 1, 0)
	r.publish("b", 1)
	r.wrote("PUBLISH b 2")
	r.state(Connected)
}

// A PUBREL of an earlier connection that times out uses nothing up.
func TestResumedReleaseIsNoStall(t *testing.T) {
	r := newRig(t, &Config{AckTimeout: 5 * time.Second, Session: SessionRejoinAlways})
	r.connect(&connack)
	r.publish("q", 2)
	r.flush()
	r.ack(wire.TypePubrec, 1, 0)
	r.flush()
	r.cut()
	r.connect(&wire.Connack{SessionPresent: true, ReceiveMaximum: ptr(uint16(1))})
	r.wrote("PUBREL 1")
	r.pass(4 * time.Second)
	r.publish("a", 1)
	b := r.publish("b", 1)
	r.wrote("PUBLISH a 2")
	r.pass(2 * time.Second)
	r.state(Connected)
	r.ack(wire.TypePuback, 2, 0)
	r.wrote("PUBLISH b 3")
	r.open(b)
}

// The native client completes a subscribe with a PUBACK.
func TestAcknowledgementOfAnotherType(t *testing.T) {
	puback := func(r *rig, id uint16) { r.ack(wire.TypePuback, id, 0) }
	for name, c := range map[string]struct {
		answer func(r *rig, id uint16)
		submit func(r *rig) *Operation
	}{
		"PUBACK for SUBSCRIBE":   {puback, func(r *rig) *Operation { return r.subscribe("s") }},
		"PUBACK for QoS 2":       {puback, func(r *rig) *Operation { return r.publish("a", 2) }},
		"PUBREC for QoS 1":       {func(r *rig, id uint16) { r.ack(wire.TypePubrec, id, 0) }, func(r *rig) *Operation { return r.publish("a", 1) }},
		"PUBCOMP before PUBREC":  {func(r *rig, id uint16) { r.ack(wire.TypePubcomp, id, 0) }, func(r *rig) *Operation { return r.publish("a", 2) }},
		"SUBACK for PUBLISH":     {func(r *rig, id uint16) { r.suback(wire.TypeSuback, id, 0) }, func(r *rig) *Operation { return r.publish("a", 1) }},
		"UNSUBACK for SUBSCRIBE": {func(r *rig, id uint16) { r.suback(wire.TypeUnsuback, id, 0) }, func(r *rig) *Operation { return r.subscribe("s") }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &Config{})
			r.connect(&connack)
			op := c.submit(r)
			r.flush()
			c.answer(r, 1)
			r.wrote("DISCONNECT 0x82")
			r.open(op)
		})
	}
	t.Run("before it was sent", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		op := r.publish("a", 1)
		r.ack(wire.TypePuback, 1, 0) // it has no identifier yet
		r.state(Connected)
		r.open(op)
		if n := r.e.Stats().UnknownAcks; n != 1 {
			t.Errorf("%d unknown acknowledgements", n)
		}
	})
}

func TestWrongNumberOfReasonCodes(t *testing.T) {
	t.Run("MQTT-3.8.4-6", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		op := r.subscribe("a", "b")
		r.flush()
		r.suback(wire.TypeSuback, 1, 0)
		var broken *wire.Error
		if !errors.As(r.done[op].Err, &broken) { // it would end every connection otherwise
			t.Errorf("completed with %v", r.done[op].Err)
		}
		r.wrote("DISCONNECT 0x82")
	})
}

func TestUnknownAcknowledgements(t *testing.T) {
	r := newRig(t, &Config{})
	r.connect(&connack)
	r.ack(wire.TypePuback, 9, 0)
	r.ack(wire.TypePubcomp, 9, 0)
	r.suback(wire.TypeSuback, 9, 0)
	r.wrote("")
	r.ack(wire.TypePubrec, 9, 0)
	r.wrote("PUBREL 9 0x92")
	r.ack(wire.TypePubrec, 9, wire.UnspecifiedError) // a failure: nothing to release
	r.wrote("")
	if n := r.e.Stats().UnknownAcks; n != 5 {
		t.Errorf("%d unknown", n)
	}
}

// Publishes that timed out on the connection before do not make this one stall.
func TestStallIsOfOneConnection(t *testing.T) {
	r := limited(t, 2, &Config{AckTimeout: time.Second})
	r.publish("a", 1)
	r.flush()
	r.pass(time.Second)
	r.cut()
	r.connect(&wire.Connack{ReceiveMaximum: ptr(uint16(2))})
	r.publish("b", 1)
	r.flush()
	r.pass(time.Second / 2)
	r.publish("c", 1)
	r.publish("d", 1) // waits
	r.flush()
	r.pass(time.Second / 2) // b times out, c does not
	r.state(Connected)
	r.pass(time.Second / 2)
	if ev := r.event(EventDisconnected); ev.Err != ErrStalled {
		t.Errorf("cause %v", ev.Err)
	}
}

func TestFailingAcknowledgements(t *testing.T) {
	r := limited(t, 1, &Config{})
	a, b := r.publish("a", 1), r.publish("b", 2)
	r.wrote("PUBLISH a 1")
	r.ack(wire.TypePuback, 1, wire.NotAuthorized)
	r.wrote("PUBLISH b 2")
	t.Run("MQTT-4.4.0-2", func(t *testing.T) {
		r.ack(wire.TypePubrec, 2, wire.QuotaExceeded)
		r.wrote("")
	})
	r.succeeded(a, b) // with the server's reason
	if r.done[a].Reason != wire.NotAuthorized || r.done[b].Reason != wire.QuotaExceeded {
		t.Errorf("reasons %#x, %#x", r.done[a].Reason, r.done[b].Reason)
	}
	r.publish("c", 1)
	r.wrote("PUBLISH c 3")
}

// completion is a row of the table of what ends an operation, and how.
func TestCompletionTable(t *testing.T) {
	type ops struct{ qos0, qos1, qos2, sub *Operation }
	submit := func(r *rig) ops {
		return ops{r.publish("0", 0), r.publish("1", 1), r.publish("2", 2), r.subscribe("s")}
	}
	check := func(r *rig, o ops, q0, q1, q2, sub error) {
		r.t.Helper()
		for i, c := range []struct {
			op  *Operation
			err error
		}{{o.qos0, q0}, {o.qos1, q1}, {o.qos2, q2}, {o.sub, sub}} {
			if res, ok := r.done[c.op]; c.err == errOpen && ok || c.err != errOpen && (!ok || res.Err != c.err) {
				r.t.Errorf("operation %d: done %v with %v, want %v", i, ok, res.Err, c.err)
			}
		}
	}
	for policy, want := range map[OfflinePolicy][4]error{
		FailQoS0OnDisconnect:    {ErrConnectionLost, errOpen, errOpen, errOpen},
		FailNonQoS1OnDisconnect: {ErrConnectionLost, errOpen, errOpen, ErrConnectionLost},
		FailAllOnDisconnect:     {ErrConnectionLost, errOpen, errOpen, ErrConnectionLost},
	} {
		r := newRig(t, &Config{Offline: policy})
		r.connect(&connack)
		o := submit(r)
		r.take()
		check(r, o, errOpen, errOpen, errOpen, errOpen)
		r.cut()
		check(r, o, want[0], want[1], want[2], want[3])
		r.stop(r.now, nil, 0)
		for _, op := range []*Operation{o.qos1, o.qos2} {
			r.failed(op, ErrStopRequested)
		}
	}
	t.Run("written", func(t *testing.T) {
		r := newRig(t, &Config{AckTimeout: time.Second})
		r.connect(&connack)
		o := submit(r)
		r.take()
		check(r, o, errOpen, errOpen, errOpen, errOpen)
		r.e.WriteDone(r.now)
		check(r, o, nil, errOpen, errOpen, errOpen)
		r.pass(time.Second)
		check(r, o, nil, ErrAckTimeout, ErrAckTimeout, ErrAckTimeout)
	})
	t.Run("queued", func(t *testing.T) { // behind a full outbound buffer
		r := newRig(t, &Config{Offline: FailAllOnDisconnect})
		r.connect(&connack)
		big := r.newPublish("big", 0)
		big.Publish.Payload = make([]byte, referencedLimit)
		r.submit(big)
		o := submit(r)
		r.cut()
		check(r, o, ErrOfflinePolicy, ErrOfflinePolicy, ErrOfflinePolicy, ErrOfflinePolicy)
		if r.sent[o.qos1] {
			t.Error("what was only queued counts as sent")
		}
	})
	t.Run("offline", func(t *testing.T) {
		for policy, want := range map[OfflinePolicy][4]bool{
			FailQoS0OnDisconnect:    {false, true, true, true},
			FailNonQoS1OnDisconnect: {false, true, true, false},
			FailAllOnDisconnect:     {},
		} {
			for _, state := range []State{Stopped, Connecting, Handshake, Disconnecting, Closing, Waiting} {
				r := reach(t, state, &Config{Offline: policy})
				sub := &Operation{Kind: KindSubscribe, Subscribe: &wire.Subscribe{Subscriptions: []wire.Subscription{{TopicFilter: "s"}}}}
				for i, op := range []*Operation{r.newPublish("0", 0), r.newPublish("1", 1), r.newPublish("2", 2), sub} {
					if err := r.e.Submit(r.now, op); (err == nil) != want[i] || err != nil && err != ErrOfflinePolicy {
						t.Errorf("policy %d, %v, operation %d: %v", policy, state, i, err)
					}
				}
			}
		}
	})
}

// errOpen stands for an operation that is not done.
var errOpen = errors.New("open")

func TestPoisonPublish(t *testing.T) {
	r := newRig(t, &Config{PoisonLimit: 3, Session: SessionRejoinAlways})
	r.connect(&connack)
	a := r.publish("a", 1)
	for range 3 {
		r.open(a)
		r.flush()
		r.cut()
		if r.e.State() == Waiting && len(r.done) == 0 {
			r.connect(&resumed)
		}
	}
	r.failed(a, ErrPoisonPublish)
	r.connect(&resumed)
	r.e.ids.last = len(r.e.ids.slots) - 1
	r.publish("b", 1)
	r.wrote("PUBLISH b 2") // the server may still hold 1
	r.ack(wire.TypePuback, 1, 0)
	r.state(Connected)
}

// Connections on which the publish never left do not count against it.
func TestPoisonCountsOnlyWhatLeft(t *testing.T) {
	r := newRig(t, &Config{PoisonLimit: 2, Session: SessionRejoinAlways})
	r.connect(&connack)
	a := r.publish("a", 1)
	r.flush()
	for range 5 {
		r.cut()
		r.connect(&resumed)
	}
	r.open(a)
}

func TestCancel(t *testing.T) {
	t.Run("queued", func(t *testing.T) {
		r := limited(t, 1, &Config{})
		r.publish("a", 1)
		b, c := r.publish("b", 1), r.publish("c", 0)
		r.wrote("PUBLISH a 1")
		if !r.e.Cancel(r.now, b, errCancelled) || r.sent[b] {
			t.Error("was not withdrawn")
		}
		r.pass(1) // the owner comes back at once
		r.wrote("PUBLISH c")
		r.succeeded(c)
	})
	t.Run("before a write took it", func(t *testing.T) {
		for qos := range uint8(3) {
			r := newRig(t, &Config{})
			r.connect(&connack)
			r.publish("b", 0)
			r.take()
			a := r.publish("a", qos)
			if !r.e.Cancel(r.now, a, errCancelled) || r.sent[a] {
				t.Errorf("QoS %d: was not withdrawn", qos)
			}
			r.e.WriteDone(r.now)
			if n := len(r.flush()); n != 0 {
				t.Errorf("QoS %d: %d packets", qos, n)
			}
		}
	})
	t.Run("in flight", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		a := r.publish("a", 1)
		r.flush()
		payload := a.Publish.Payload
		if r.e.Cancel(r.now, a, errCancelled) {
			t.Error("was withdrawn")
		}
		r.failed(a, errCancelled)
		payload[0] = 'X' // the caller may reuse it
		r.cut()
		r.connect(&resumed)
		packets := r.flush()
		var v wire.PublishView
		if err := wire.ParsePublish(&packets[0], &v); err != nil || !v.Dup || string(v.Payload) != "a" {
			t.Errorf("resent %q, dup %v", v.Payload, v.Dup)
		}
		r.ack(wire.TypePuback, 1, 0)
	})
	t.Run("waiting to be sent again", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		a := r.publish("a", 1)
		r.take()
		b := r.publish("b", 1) // has its identifier, but never leaves
		r.cut()
		if r.e.Cancel(r.now, a, errCancelled) || !r.e.Cancel(r.now, b, errCancelled) || r.sent[b] {
			t.Error("only what never left can be withdrawn")
		}
		r.connect(&resumed)
		r.wrote("PUBLISH a 1 dup")
	})
}

func TestQueueLimits(t *testing.T) {
	t.Run("count", func(t *testing.T) {
		r := newRig(t, &Config{MaxOps: 2})
		r.publish("a", 1)
		r.publish("b", 1)
		if err := r.e.Submit(r.now, r.newPublish("c", 1)); err != ErrQueueFull {
			t.Error(err)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		r := newRig(t, &Config{MaxBytes: 20})
		a := r.newPublish("a", 1)
		a.Publish.Payload = make([]byte, 100) // one alone is never too large
		r.submit(a)
		if err := r.e.Submit(r.now, r.newPublish("c", 1)); err != ErrQueueFull {
			t.Error(err)
		}
	})
	t.Run("drop the oldest of QoS 0", func(t *testing.T) {
		r := newRig(t, &Config{MaxOps: 3, Full: FullDropOldestQoS0, PublishesPerSecond: 0.001})
		r.connect(&connack)
		r.publish("x", 0)
		r.flush()
		a, b, c := r.publish("a", 1), r.publish("b", 0), r.publish("c", 0)
		d := r.publish("d", 1)
		r.failed(b, ErrDropped)
		r.open(a)
		r.open(c)
		r.open(d)
	})
	t.Run("drop nothing in vain", func(t *testing.T) {
		r := newRig(t, &Config{MaxBytes: 30, Full: FullDropOldestQoS0, PublishesPerSecond: 0.001})
		r.connect(&connack)
		r.publish("x", 0)
		r.flush()
		r.publish("a", 1)
		b := r.publish("b", 0)
		large := r.newPublish("c", 1)
		large.Publish.Payload = make([]byte, 100)
		if err := r.e.Submit(r.now, large); err != ErrQueueFull {
			t.Error(err)
		}
		r.open(b)
	})
}

func TestIdentifiersRunOut(t *testing.T) {
	var ids identifiers
	op := new(Operation)
	seen := make([]bool, maxIdentifiers+1)
	for range maxIdentifiers {
		id := ids.allocate(op)
		if id == 0 || seen[id] {
			t.Fatalf("identifier %d", id)
		}
		seen[id] = true
	}
	t.Run("MQTT-2.2.1-3", func(t *testing.T) {
		if id := ids.allocate(op); id != 0 {
			t.Errorf("identifier %d when all are in use", id)
		}
		ids.release(777)
		if id := ids.allocate(op); id != 777 {
			t.Errorf("identifier %d, only 777 is free", id)
		}
	})
	for id := 1; id <= maxIdentifiers; id++ {
		ids.release(uint16(id))
	}
	if ids.used != 0 || len(ids.slots) != 0 {
		t.Errorf("%d of %d in use after all were released", ids.used, len(ids.slots))
	}
}
