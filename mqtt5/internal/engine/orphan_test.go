// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// large returns a publish whose payload is written from where it is.
func (r *rig) large(topic string, qos uint8) *Operation {
	op := r.newPublish(topic, qos)
	op.Publish.Payload = bytes.Repeat([]byte("x"), referenceSize)
	return op
}

var errGivenUp = errors.New("given up")

// The payload is the caller's again once the publish completes: not while a
// write reads it.
func TestCompletionWaitsForTheWriteOfItsPayload(t *testing.T) {
	t.Run("acknowledged during the write", func(t *testing.T) {
		r := limited(t, 10, &Config{})
		op := r.submit(r.large("a", 1))
		r.take()
		r.ack(wire.TypePuback, 1, 0)
		r.open(op)
		if n := r.e.ids.used; n != 0 {
			t.Errorf("%d identifiers are in use", n)
		}
		r.e.WriteDone(r.now)
		r.succeeded(op)
	})
	t.Run("acknowledged before the resend is written", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		op := r.submit(r.large("a", 1))
		r.take()
		r.cut()
		r.connect(&wire.Connack{SessionPresent: true})
		r.publish("b", 0)
		r.ack(wire.TypePuback, 1, 0)
		r.succeeded(op) // no write reads it
		r.wrote("PUBLISH b")
	})
	t.Run("gathered for the write after", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		op := r.submit(r.large("a", 1))
		r.take()
		r.cut()
		r.dial(&wire.Connect{ClientID: "c"})
		r.receive(wiretest.AppendConnack(nil, &wire.Connack{SessionPresent: true}))
		r.publish("b", 0)
		r.take()
		r.submit(r.large("c", 1))
		r.ack(wire.TypePuback, 1, 0)
		r.e.WriteDone(r.now)
		r.succeeded(op)
	})
	t.Run("the connection ends", func(t *testing.T) {
		r := limited(t, 10, &Config{})
		op := r.submit(r.large("a", 1))
		r.take()
		r.ack(wire.TypePuback, 1, 0)
		r.cut()
		r.succeeded(op)
	})
	t.Run("given up meanwhile", func(t *testing.T) {
		r := limited(t, 10, &Config{})
		op := r.submit(r.large("a", 1))
		r.take()
		r.ack(wire.TypePuback, 1, 0)
		r.e.Cancel(r.now, op, errGivenUp)
		r.failed(op, errGivenUp)
		r.e.WriteDone(r.now)
		if s := r.e.Stats(); s.Incomplete != 0 || r.e.limited != 0 {
			t.Errorf("%d incomplete, %d held", s.Incomplete, r.e.limited)
		}
	})
}

// What a caller gave up is sent again as it was, whatever the caller does with
// its memory meanwhile.
func TestOrphanOwnsWhatItResends(t *testing.T) {
	r := newRig(t, &Config{Session: SessionRejoinAlways})
	r.connect(&connack)
	payload, data := []byte("payload"), []byte("data")
	kind := "text"
	op := r.newPublish("a", 1)
	op.Publish.Payload = payload
	op.Publish.Properties = &wire.PublishProperties{CorrelationData: data, ContentType: &kind, PayloadFormat: ptr(uint8(1)),
		UserProperties: []wire.UserProperty{{Name: "k", Value: "v"}}}
	r.submit(op)
	r.flush()
	r.e.Cancel(r.now, op, errGivenUp)
	clear(payload)
	clear(data)
	kind = "spoilt"
	r.cut()
	r.connect(&wire.Connack{SessionPresent: true})
	packets := r.flush()
	var v wire.PublishView
	if err := wire.ParsePublish(&packets[0], &v); err != nil {
		t.Fatal(err)
	}
	var p wire.PublishProperties
	v.Decode(&p)
	if string(v.Payload) != "payload" || string(p.CorrelationData) != "data" || *p.ContentType != "text" {
		t.Errorf("sent again with payload %q, correlation data %q, content type %q", v.Payload, p.CorrelationData, *p.ContentType)
	}
}

// Operations that nobody waits for still take memory, so they count.
func TestOrphansCountAgainstTheLimits(t *testing.T) {
	r := newRig(t, &Config{MaxOps: 2})
	r.connect(&connack)
	for range 2 {
		op := r.publish("a", 1)
		r.flush()
		r.e.Cancel(r.now, op, errGivenUp)
	}
	if s := r.e.Stats(); s.Incomplete != 0 {
		t.Errorf("%d operations are incomplete", s.Incomplete)
	}
	if err := r.e.Submit(r.now, r.newPublish("b", 1)); err != ErrQueueFull {
		t.Fatalf("submitted: %v", err)
	}
	r.ack(wire.TypePuback, 1, 0)
	r.publish("b", 1)
}

// A server that answers nothing must not lock the queue for ever.
func TestSwallowedOperationsDoNotFillTheQueueForEver(t *testing.T) {
	for name, ask := range map[string]func(r *rig) bool{
		"rejected": func(r *rig) bool { return r.e.Submit(r.now, r.newPublish("b", 1)) == nil },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &Config{MaxOps: 2, AckTimeout: time.Second, MinDelay: time.Second})
			r.connect(&connack)
			r.publish("a", 1)
			r.publish("a", 1)
			r.flush()
			r.pass(2 * time.Second)
			r.state(Connected) // nobody needs the room
			if ask(r) {
				t.Fatal("there is room")
			}
			r.pass(time.Millisecond)
			if ev := r.event(EventDisconnected); ev.Err != ErrStalled {
				t.Errorf("cause %v", ev.Err)
			}
			r.flush()
			r.connect(&connack) // a new session: they are gone
			if !ask(r) {
				t.Error("there is no room on the new connection")
			}
		})
	}
}

// Subscriptions that timed out hold their identifiers; when they hold all, only
// a new connection helps.
func TestIdentifiersOfSwallowedSubscribes(t *testing.T) {
	r := newRig(t, &Config{AckTimeout: time.Second})
	r.connect(&connack)
	for range maxIdentifiers {
		r.subscribe("s")
		r.flush()
	}
	r.pass(time.Second + 1)
	r.state(Connected)
	waits := r.subscribe("more")
	r.pass(time.Millisecond)
	if ev := r.event(EventDisconnected); ev.Err != ErrStalled {
		t.Errorf("cause %v", ev.Err)
	}
	r.flush()
	r.connect(&connack)
	r.wrote("SUBSCRIBE 1")
	r.open(waits)
}

// An answer that comes after all frees the identifier of a publish that was
// given up as poison.
func TestAbandonedIdentifier(t *testing.T) {
	abandoned := func(t *testing.T, qos uint8) *rig {
		r := newRig(t, &Config{Session: SessionRejoinAlways, PoisonLimit: 1})
		r.connect(&connack)
		op := r.publish("a", qos)
		r.flush()
		r.cut()
		r.failed(op, ErrPoisonPublish)
		r.connect(&wire.Connack{SessionPresent: true})
		r.wrote("")
		if r.e.ids.used != 1 {
			t.Fatalf("%d identifiers in use", r.e.ids.used)
		}
		return r
	}
	free := func(r *rig) {
		r.t.Helper()
		r.state(Connected)
		if r.e.ids.used != 0 || r.e.limited != 0 {
			r.t.Errorf("%d identifiers in use, %d operations held", r.e.ids.used, r.e.limited)
		}
	}
	t.Run("PUBACK", func(t *testing.T) {
		r := abandoned(t, 1)
		r.ack(wire.TypePuback, 1, 0)
		free(r)
	})
	t.Run("PUBREC", func(t *testing.T) {
		r := abandoned(t, 2)
		r.ack(wire.TypePubrec, 1, 0)
		r.wrote("PUBREL 1")
		r.ack(wire.TypePubcomp, 1, 0)
		free(r)
	})
	t.Run("PUBREC with a failure", func(t *testing.T) {
		r := abandoned(t, 2)
		r.ack(wire.TypePubrec, 1, wire.QuotaExceeded)
		free(r)
	})
	t.Run("of another type", func(t *testing.T) {
		r := abandoned(t, 2)
		r.ack(wire.TypePuback, 1, 0)
		r.wrote("DISCONNECT 0x82")
	})
}

func TestStopDoesNotWaitForOrphans(t *testing.T) {
	r := newRig(t, &Config{})
	r.connect(&connack)
	op := r.publish("a", 1)
	r.flush()
	r.e.Cancel(r.now, op, errGivenUp)
	r.stop(r.now, nil, never)
	r.wrote("DISCONNECT 0x0")
}

// Making room passes each publish once, however often it is asked for.
func TestDropOldestPassesEachPublishOnce(t *testing.T) {
	r := newRig(t, &Config{MaxOps: 6, Full: FullDropOldestQoS0})
	r.connect(&wire.Connack{ReceiveMaximum: ptr(uint16(1))})
	r.publish("head", 1)
	r.flush()
	for range 3 {
		r.publish("kept", 1)
	}
	first, second := r.publish("old", 0), r.publish("newer", 0)
	third := r.publish("newest", 0)
	r.failed(first, ErrDropped)
	if r.e.droppable != second {
		t.Errorf("goes on looking at %v", r.e.droppable)
	}
	r.publish("more", 1)
	r.failed(second, ErrDropped)
	r.publish("even more", 1)
	r.failed(third, ErrDropped)
	if err := r.e.Submit(r.now, r.newPublish("last", 1)); err != ErrQueueFull {
		t.Errorf("nothing is left to drop: %v", err)
	}
	if r.e.queuedQoS0 != 0 || r.e.bytesQoS0 != 0 {
		t.Errorf("%d QoS 0 publishes of %d bytes", r.e.queuedQoS0, r.e.bytesQoS0)
	}
}

func TestAuthLargerThanTheServerTakes(t *testing.T) {
	connected := func(t *testing.T) *rig {
		r := authenticating(t)
		r.receive(wiretest.AppendConnack(nil, &wire.Connack{AuthenticationMethod: &method, MaximumPacketSize: ptr(uint32(100))}))
		r.e.AcceptServer(r.now)
		return r
	}
	large := make([]byte, 100)
	var limit *LimitError
	t.Run("MQTT-3.2.2-15", func(t *testing.T) {
		r := connected(t)
		if err := r.e.Reauthenticate(r.now, large); !errors.As(err, &limit) || limit.Field != "AuthenticationData" {
			t.Errorf("error %v", err)
		}
		r.wrote("")
		r.must(r.e.Reauthenticate(r.now, []byte("x")))
		r.wrote("AUTH 0x19")
		r.auth(wire.ContinueAuthentication, method)
		r.must(r.e.Authenticate(r.now, large, nil))
		r.wrote("DISCONNECT 0x80")
		if err := r.event(EventDisconnected).Err; !errors.As(err, &limit) {
			t.Errorf("cause %v", err)
		}
	})
}

func TestDisconnectBeforeConnackSaysWhy(t *testing.T) {
	r := newRig(t, &Config{})
	r.dial(&wire.Connect{ClientID: "c"})
	reason := "go away"
	r.receive(wire.AppendDisconnect(nil, &wire.Disconnect{ReasonCode: wire.NotAuthorized, ReasonString: &reason}))
	if err := r.event(EventFailed).Err; !strings.Contains(err.Error(), "0x87") || !strings.Contains(err.Error(), reason) {
		t.Errorf("error %v", err)
	}
}
