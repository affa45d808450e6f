// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// rig is an engine on a bench: tests give the bytes of the server, and look at
// what comes out.
type rig struct {
	t    *testing.T
	cfg  *Config
	e    *Engine
	now  time.Duration
	done map[*Operation]Result // by address; completed ones only
	sent map[*Operation]bool
	last Result

	departed  int64
	restoring []uint16 // identifiers of SUBSCRIBE packets that are not answered

	events     []Event
	messages   []string
	acks       []uint64
	challenges []bool
}

// newRig fills in what a configuration leaves out.
func newRig(t *testing.T, cfg *Config) *rig {
	for _, d := range []*time.Duration{&cfg.ConnectTimeout, &cfg.ConnackTimeout, &cfg.PingTimeout, &cfg.DisconnectTimeout, &cfg.CloseTimeout, &cfg.MinDelay} {
		if *d == 0 {
			*d = time.Second
		}
	}
	if cfg.MaxDelay == 0 {
		cfg.MaxDelay = time.Minute
	}
	if cfg.Uniform == nil {
		cfg.Uniform = func(n int64) int64 { return n / 2 }
	}
	r := &rig{t: t, cfg: cfg, now: time.Second, done: map[*Operation]Result{}, sent: map[*Operation]bool{}}
	r.e = New(cfg, r)
	return r
}

func (r *rig) Complete(op *Operation, res Result) {
	if _, twice := r.done[op]; twice {
		r.t.Errorf("an operation completes twice: %+v", res)
	}
	r.done[op], r.sent[op], r.last = res, op.Sent(), res
}

func (r *rig) Deliver(m *Message) {
	topic := string(m.Topic) + m.AliasedTopic
	r.messages = append(r.messages, fmt.Sprintf("%s:%s", topic, m.Payload))
	r.acks = append(r.acks, m.Ack)
}

func (r *rig) Notify(ev *Event)                { r.events = append(r.events, *ev) }
func (r *rig) Challenge(_ *wire.Auth, ok bool) { r.challenges = append(r.challenges, ok) }

// event returns the last event, which has to be of that kind.
func (r *rig) event(kind EventKind) Event {
	r.t.Helper()
	if len(r.events) == 0 || r.events[len(r.events)-1].Kind != kind {
		r.t.Fatalf("events %+v, the last one is not %d", r.events, kind)
	}
	return r.events[len(r.events)-1]
}

// kinds returns the kinds of all events.
func (r *rig) kinds() (kinds []EventKind) {
	for _, ev := range r.events {
		kinds = append(kinds, ev.Kind)
	}
	return kinds
}

// dial goes on until CONNECT is written, and returns that.
func (r *rig) dial(c *wire.Connect) *wire.Connect {
	r.t.Helper()
	if r.e.State() == Stopped {
		r.must(r.e.Start(r.now))
	}
	for r.e.State() == Closing || r.e.State() == Waiting {
		if r.e.State() == Closing {
			r.e.TransportClosed(r.now)
		} else {
			r.pass(r.deadline() - r.now)
		}
	}
	if !r.e.Todo(r.now).Dial {
		r.t.Fatalf("nothing to dial in state %v", r.e.State())
	}
	r.e.TransportOpened(r.now, c)
	packets := r.flush()
	if len(packets) != 1 {
		r.t.Fatalf("packets %v instead of CONNECT", packets)
	}
	var got wire.Connect
	if err := wiretest.ParseConnect(&packets[0], &got); err != nil {
		r.t.Fatal(err)
	}
	return &got
}

// connect goes on until there is a connection. What the engine sends then is
// still to be flushed.
func (r *rig) connect(ack *wire.Connack) {
	r.t.Helper()
	r.connectAs(&wire.Connect{ClientID: "c"}, ack)
}

func (r *rig) connectAs(c *wire.Connect, ack *wire.Connack) {
	r.t.Helper()
	r.dial(c)
	r.receive(wiretest.AppendConnack(nil, ack))
	if r.e.State() != Connected {
		r.t.Fatalf("%v after CONNACK: %+v", r.e.State(), r.events)
	}
}

// cut ends the connection.
func (r *rig) cut() { r.e.TransportClosed(r.now); r.e.Todo(r.now) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// deadline returns when the engine has something to do.
func (r *rig) deadline() time.Duration {
	r.e.canWrite(r.now)
	return r.e.nextDeadline()
}

// tick calls Tick at the present time: all but the write in flight has
// left.
func (r *rig) tick() {
	if !r.e.inFlight {
		r.departed = r.e.flow.taken
	}
	r.e.Tick(r.now, r.departed)
}

func (r *rig) stop(now time.Duration, packet *wire.Disconnect, drainUntil time.Duration) {
	r.t.Helper()
	_, err := r.e.Stop(now, packet, drainUntil)
	r.must(err)
}

// hold takes an acknowledgement over.
func (r *rig) hold(n uint64) {
	r.t.Helper()
	_, err := r.e.HoldAck(n)
	r.must(err)
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	for until := r.now + d; r.now < until; {
		r.now = max(r.now+1, min(until, r.deadline()))
		if r.now >= r.deadline() {
			r.tick()
		}
	}
}

func (r *rig) receive(b []byte) {
	r.t.Helper()
	if n, _ := r.e.Receive(r.now, b); n != len(b) {
		r.t.Fatalf("consumed %d of %d", n, len(b))
	}
}

func (r *rig) ack(t wire.Type, id uint16, reason wire.ReasonCode) {
	r.t.Helper()
	r.receive(wire.AppendAck(nil, t, &wire.Ack{PacketID: id, ReasonCode: reason}))
}

// message is a PUBLISH from the server.
func (r *rig) message(qos uint8, id uint16) {
	r.t.Helper()
	r.receive(wire.AppendPublish(nil, &wire.Publish{Topic: "in", QoS: qos, PacketID: id, Payload: fmt.Append(nil, id)}))
}

func (r *rig) submit(op *Operation) *Operation {
	r.t.Helper()
	r.must(r.e.Submit(r.now, op))
	return op
}

func (r *rig) publish(topic string, qos uint8) *Operation {
	r.t.Helper()
	return r.submit(r.newPublish(topic, qos))
}

// newPublish returns an operation that no other one shares its address with.
func (r *rig) newPublish(topic string, qos uint8) *Operation {
	return &Operation{Kind: KindPublish, Publish: wire.Publish{Topic: topic, Payload: []byte(topic), QoS: qos}}
}

func (r *rig) subscribe(filters ...string) *Operation {
	r.t.Helper()
	sub := new(wire.Subscribe)
	for _, f := range filters {
		sub.Subscriptions = append(sub.Subscriptions, wire.Subscription{TopicFilter: f})
	}
	return r.submit(&Operation{Kind: KindSubscribe, Subscribe: sub})
}

// take starts a write, and returns its packets.
func (r *rig) take() (packets []wire.Frame) {
	r.t.Helper()
	if !r.e.canWrite(r.now) {
		return nil
	}
	var out Output
	if !r.e.TakeOutput(r.now, &out) {
		return nil
	}
	for b := bytes.Join(out.Segments(nil), nil); len(b) > 0; {
		f, need, err := wiretest.ParseFrame(b, 0)
		if err != nil || need > 0 {
			r.t.Fatalf("output: %v, need %d", err, need)
		}
		packets = append(packets, f)
		b = b[f.Size:]
	}
	return packets
}

// flush writes everything.
func (r *rig) flush() (packets []wire.Frame) {
	r.t.Helper()
	for r.e.canWrite(r.now) {
		packets = append(packets, r.take()...)
		r.e.WriteDone(r.now)
		r.departed = r.e.flow.taken
		r.e.flow.observe(r.now, r.departed)
	}
	return packets
}

// wrote checks the packets written next, as a list such as "PUBLISH a 1 dup, PUBACK 3".
func (r *rig) wrote(want string) {
	r.t.Helper()
	if got := describe(r.t, r.flush()); got != want {
		r.t.Errorf("wrote %q, want %q", got, want)
	}
}

func describe(t *testing.T, packets []wire.Frame) string {
	t.Helper()
	var list []string
	for i := range packets {
		f := &packets[i]
		s := f.Type.String()
		switch f.Type {
		case wire.TypePublish:
			var v wire.PublishView
			if err := wire.ParsePublish(f, &v); err != nil {
				t.Fatal(err)
			}
			s += " " + string(v.Topic)
			if v.TopicAlias != 0 {
				s += fmt.Sprintf("=%d", v.TopicAlias)
			}
			if v.QoS > 0 {
				s += fmt.Sprintf(" %d", v.PacketID)
			}
			if v.Dup {
				s += " dup"
			}
		case wire.TypePuback, wire.TypePubrec, wire.TypePubrel, wire.TypePubcomp:
			var a wire.Ack
			if err := wire.ParseAck(f, &a); err != nil {
				t.Fatal(err)
			}
			s += fmt.Sprintf(" %d", a.PacketID)
			if a.ReasonCode != 0 {
				s += fmt.Sprintf(" %#x", a.ReasonCode)
			}
		case wire.TypeDisconnect, wire.TypeAuth:
			code := byte(0)
			if len(f.Body) > 0 {
				code = f.Body[0]
			}
			s += fmt.Sprintf(" %#x", code)
		case wire.TypeSubscribe:
			s += fmt.Sprintf(" %d", uint16(f.Body[0])<<8|uint16(f.Body[1]))
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

// failed checks how an operation ended.
func (r *rig) failed(op *Operation, cause error) {
	r.t.Helper()
	if res, ok := r.done[op]; !ok || res.Err != cause {
		r.t.Errorf("operation is done: %v, with %v, want %v", ok, res.Err, cause)
	}
}

// succeeded checks that operations succeeded.
func (r *rig) succeeded(ops ...*Operation) {
	r.t.Helper()
	for _, op := range ops {
		r.failed(op, nil)
	}
}

// open checks that an operation is not done.
func (r *rig) open(op *Operation) {
	r.t.Helper()
	if res, ok := r.done[op]; ok {
		r.t.Errorf("operation is done with %v", res.Err)
	}
}

func (r *rig) state(want State) {
	r.t.Helper()
	if got := r.e.State(); got != want {
		r.t.Fatalf("state %v, want %v; events %+v", got, want, r.events)
	}
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
