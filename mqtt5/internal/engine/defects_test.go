// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// TestDefects shows that the engine does not do what other tests do not show
// of the list in docs/native-differences.md.
func TestDefects(t *testing.T) {
	t.Run("native-2.4-identifiers-used-up", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		var first *Operation
		for i := range maxIdentifiers {
			if op := r.subscribe("s"); i == 0 {
				first = op
			}
			r.flush()
		}
		waits, follows, other := r.subscribe("waits"), r.publish("follows", 1), r.publish("other", 0)
		r.wrote("") // publishes keep their order
		r.state(Connected)
		r.suback(wire.TypeSuback, 1, 0)
		r.succeeded(first)
		r.wrote("SUBSCRIBE 1")
		r.suback(wire.TypeSuback, 2, 0)
		r.wrote("PUBLISH follows 2, PUBLISH other")
		r.succeeded(other)
		r.open(waits)
		r.open(follows)
	})
	t.Run("native-2.5-no-timeout-off", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		a, s := r.publish("a", 1), r.subscribe("s")
		r.flush()
		r.pass(1000 * time.Hour)
		r.open(a)
		r.open(s)
		r.state(Connected)
	})
	t.Run("timeout of a resend", func(t *testing.T) {
		r := newRig(t, &Config{AckTimeout: 5 * time.Second, Session: SessionRejoinAlways})
		r.connect(&connack)
		a := r.publish("a", 1)
		r.flush()
		r.pass(4 * time.Second)
		r.cut()
		r.connect(&resumed)
		r.wrote("PUBLISH a 1 dup")
		r.pass(5*time.Second - 1)
		r.open(a)
		r.pass(1)
		r.failed(a, ErrAckTimeout)
	})
	for name, ack := range map[string]*wire.Connack{"resumed": &resumed, "lost": &connack} {
		t.Run("native-2.6-order-of-resends, session "+name, func(t *testing.T) {
			r := newRig(t, &Config{Session: SessionRejoinAlways})
			r.connect(&connack)
			r.publish("a", 1)
			r.subscribe("s")
			r.publish("b", 1)
			r.wrote("PUBLISH a 1, SUBSCRIBE 2, PUBLISH b 3")
			r.cut()
			r.connect(ack)
			if ack == &resumed {
				r.wrote("PUBLISH a 1 dup, SUBSCRIBE 4, PUBLISH b 3 dup")
			} else {
				r.wrote("PUBLISH a 1, SUBSCRIBE 2, PUBLISH b 3")
			}
		})
	}
	t.Run("native-2.7-unknown-puback-counts", func(t *testing.T) {
		r := limited(t, 1, &Config{})
		a, b, c := r.publish("a", 1), r.publish("b", 1), r.publish("c", 1)
		r.wrote("PUBLISH a 1")
		for range 3 {
			r.ack(wire.TypePuback, 99, 0)
			r.ack(wire.TypePubcomp, 99, 0)
			r.ack(wire.TypePubrec, 99, wire.QuotaExceeded)
		}
		r.wrote("")
		r.ack(wire.TypePuback, 1, 0)
		r.wrote("PUBLISH b 2")
		r.ack(wire.TypePuback, 1, 0) // once more
		r.wrote("")
		r.succeeded(a)
		r.open(b)
		r.open(c)
	})
	t.Run("native-2.5-token-leak, late answers count once", func(t *testing.T) {
		r := limited(t, 2, &Config{AckTimeout: time.Second})
		a, b := r.publish("a", 1), r.publish("b", 1)
		r.flush()
		r.pass(time.Second)
		r.failed(a, ErrAckTimeout)
		r.failed(b, ErrAckTimeout)
		for range 3 {
			r.ack(wire.TypePuback, 1, 0)
		}
		for range 3 {
			r.publish("c", 1)
		}
		r.wrote("PUBLISH c 3") // b is still in flight for the server
	})
	t.Run("native-3.4-one-write", func(t *testing.T) {
		r := reach(t, Connected, &Config{})
		large := r.newPublish("large", 1)
		large.Publish.Payload = []byte(strings.Repeat("x", 1<<20))
		r.submit(large)
		if n := len(r.take()); n != 1 || r.e.canWrite(r.now) {
			t.Errorf("1 MiB is not in one write: %d packets", n)
		}
		r.message(1, 1)
		r.e.AcknowledgeThrough(r.now, r.acks[0])
		for range 1000 { // gather during the write
			r.publish("a", 0)
		}
		r.e.WriteDone(r.now)
		if n := len(r.take()); n != 1001 || r.e.canWrite(r.now) {
			t.Errorf("%d packets in the next write", n)
		}
	})
	t.Run("native-5-pings-pile-up", func(t *testing.T) {
		for _, paused := range []bool{false, true} {
			r := alive(t, 10, &Config{PingTimeout: 5 * time.Second})
			r.publish("a", 0)
			r.take() // stuck
			r.e.SetPaused(r.now, paused)
			r.pass(time.Hour)
			if r.e.State() != Connected {
				continue
			}
			r.e.WriteDone(r.now)
			if n := strings.Count(describe(t, r.take()), "PINGREQ"); n > 1 {
				t.Errorf("paused %v: %d PINGREQs wait behind a stuck write", paused, n)
			}
		}
	})
	t.Run("native-5-stuck-write while reading is paused", func(t *testing.T) {
		r := alive(t, 10, &Config{PingTimeout: 5 * time.Second})
		r.publish("a", 1)
		r.take()
		r.e.SetPaused(r.now, true)
		r.pass(15*time.Second - 1)
		r.state(Connected)
		r.pass(1)
		r.state(Closing)
		if err := r.event(EventDisconnected).Err; err != ErrPingTimeout {
			t.Errorf("cause %v", err)
		}
	})
	t.Run("native-11.9-acknowledgements-leak", func(t *testing.T) {
		r := newRig(t, &Config{Session: SessionRejoinAlways})
		r.connect(&connack)
		for range 1000 { // what was held on a connection that is gone is never given
			for id := range uint16(20) {
				r.message(1, id+1)
				r.hold(r.acks[len(r.acks)-1])
			}
			r.cut()
			r.connect(&resumed)
		}
		if n := cap(r.e.acks.records); n > 100 {
			t.Errorf("room for %d acknowledgements", n)
		}
	})
}

// TestDefects_everyPacketIsAccountedFor cuts connections at random moments, with
// each policy: every operation that is submitted completes exactly once.
func TestDefects_everyPacketIsAccountedFor(t *testing.T) {
	t.Run("native-2.4-lost-operation", func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		for round := range 300 {
			r := newRig(t, &Config{
				OutAliases: AliasMode(round % 3), OutAliasSize: 2, Offline: OfflinePolicy(round / 3 % 3),
				Session: SessionBehavior(round / 9 % 3), AckTimeout: time.Second,
			})
			size := uint32(40)
			limits := wire.Connack{MaximumQoS: ptr(uint8(1)), TopicAliasMaximum: ptr(uint16(1)), ReceiveMaximum: ptr(uint16(2)),
				MaximumPacketSize: &size, WildcardSubscriptionsAvailable: ptr(false)}
			var ops []*Operation
			for range 30 {
				if r.e.State() != Connected && random.IntN(3) == 0 {
					for r.e.State() == Disconnecting {
						r.pass(time.Second)
					}
					r.connect(&limits)
				}
				var op *Operation
				if random.IntN(3) == 0 {
					filter := []string{"s", "s/#", strings.Repeat("s", 60)}[random.IntN(3)]
					op = &Operation{Kind: KindSubscribe, Subscribe: &wire.Subscribe{Subscriptions: []wire.Subscription{{TopicFilter: filter}}}}
				} else {
					op = r.newPublish([]string{"a", "b", strings.Repeat("c", 60)}[random.IntN(3)], uint8(random.IntN(3)))
					op.Publish.TopicAlias = uint16(random.IntN(4))
				}
				if r.e.Submit(r.now, op) == nil {
					ops = append(ops, op)
				}
				switch random.IntN(5) {
				case 0:
					r.flush()
				case 1:
					r.pass(time.Duration(random.IntN(int(2 * time.Second))))
				case 2:
					if r.e.State() == Connected {
						r.cut()
					}
				}
			}
			r.e.Close(r.now)
			r.pass(10 * time.Second)
			for i, op := range ops {
				if _, ok := r.done[op]; !ok {
					t.Fatalf("round %d: operation %d never completes", round, i)
				}
			}
		}
	})
}
