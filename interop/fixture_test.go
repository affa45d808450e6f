// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// patience bounds every wait. Nothing comes near it unless it is broken.
const patience = 2 * time.Minute

// broker is what the cases have to know about one.
type broker struct {
	name string

	// What it offers beyond what all do.
	qos2            bool
	shared          bool
	subscriptionIDs bool
	retainedToWild  bool // retained messages go to subscriptions with wildcards
	aliasesToClient bool // it uses topic aliases itself
	willOnRequest   bool // DISCONNECT 0x04 publishes the will
	oneByOne        bool // it sends a QoS 1 or 2 message when the one before is acknowledged

	// What mosquitto 2.0.11 gets wrong.
	saysTakenOver     bool // the client that is taken over gets DISCONNECT 0x8E
	obeysReceiveLimit bool // it never sends more than Receive Maximum

	// refuse makes a CONNECT that is refused with one of the codes.
	refuse      func(*mqtt5.ClientOptions)
	refusedWith []mqtt5.ConnectReasonCode
}

// route is one way to a broker.
type route struct {
	name    string
	address string
	// layers puts the transport on top of TCP. Nil: plain TCP.
	layers layer
	// options changes what the transport needs changed in MQTT.
	options func(*mqtt5.ClientOptions)
}

// fixture is what one case runs on.
type fixture struct {
	*broker
	*route
	// id begins all client ids and topics of the case.
	id string
}

var fixtures atomic.Int64

func newFixture(b *broker, r *route) *fixture {
	return &fixture{broker: b, route: r, id: fmt.Sprintf("i%d", fixtures.Add(1))}
}

// topic returns a topic of this case.
func (f *fixture) topic(suffix string) string { return f.id + "/" + suffix }

// within bounds the waits of a test.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// queue hands values to one goroutine that waits for them.
type queue[T any] struct {
	mu     sync.Mutex
	values []T
	more   chan struct{}
}

func newQueue[T any]() *queue[T] { return &queue[T]{more: make(chan struct{}, 1)} }

func (q *queue[T]) put(v T) {
	q.mu.Lock()
	q.values = append(q.values, v)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *queue[T]) poll() (v T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.values) == 0 {
		return v, false
	}
	v, q.values = q.values[0], q.values[1:]
	return v, true
}

// take waits for the next value.
func (q *queue[T]) take(ctx context.Context) (T, error) {
	for {
		if v, ok := q.poll(); ok {
			return v, nil
		}
		select {
		case <-q.more:
		case <-ctx.Done():
			var zero T
			return zero, ctx.Err()
		}
	}
}

// device is a client with all that it says.
type device struct {
	*mqtt5.Client
	t        *testing.T
	relay    *relay
	messages *queue[mqtt5.Message]
	events   *queue[any]
}

// device makes a client that is not started. It ends with the test.
func (f *fixture) device(t *testing.T, name string, change ...func(*mqtt5.ClientOptions)) *device {
	t.Helper()
	d := &device{t: t, relay: newRelay(t), messages: newQueue[mqtt5.Message](), events: newQueue[any]()}
	o := mqtt5.ClientOptions{
		Address:             f.address,
		Dial:                d.relay.dial,
		Connect:             mqtt5.ConnectPacket{ClientID: f.id + name},
		MinReconnectDelay:   10 * time.Millisecond,
		MaxReconnectDelay:   200 * time.Millisecond,
		OnMessage:           func(_ context.Context, m mqtt5.Message) { d.messages.put(m) },
		OnAttemptingConnect: func(e *mqtt5.AttemptingConnect) { d.events.put(e) },
		OnConnectionSuccess: func(e *mqtt5.ConnectionSuccess) { d.events.put(e) },
		OnConnectionFailure: func(e *mqtt5.ConnectionFailure) { d.events.put(e) },
		OnDisconnection:     func(e *mqtt5.Disconnection) { d.events.put(e) },
		OnStopped:           func(e *mqtt5.Stopped) { d.events.put(e) },
		OnResubscribe:       func(e *mqtt5.Resubscription) { d.events.put(e) },
		OnPanic:             func(e *mqtt5.PanicError) { t.Error(e) },
	}
	if f.layers != nil {
		o.Dial = f.layers(t, d.relay.dial)
	}
	if f.options != nil {
		f.options(&o)
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if d.Client, err = mqtt5.NewClient(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// connected makes a client and waits until it is connected.
func (f *fixture) connected(t *testing.T, name string, change ...func(*mqtt5.ClientOptions)) *device {
	t.Helper()
	d := f.device(t, name, change...)
	d.start()
	await[*mqtt5.ConnectionSuccess](d)
	return d
}

// keepSession makes the server keep the session when the connection is lost.
func keepSession(o *mqtt5.ClientOptions) {
	o.SessionBehavior = mqtt5.SessionRejoinPostSuccess
	o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr(uint32(600))
}

func (d *device) start() {
	d.t.Helper()
	if err := d.Start(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) stop() {
	d.t.Helper()
	if err := d.Stop(within(d.t), nil); err != nil {
		d.t.Fatalf("stop: %v", err)
	}
}

// await passes over lifecycle events until there is one of the type. It fails
// the test on an attempt that failed for another reason than a relay that
// refuses.
func await[E any](d *device) E {
	d.t.Helper()
	var seen []string
	ctx := within(d.t)
	for {
		v, err := d.events.take(ctx)
		if err != nil {
			var zero E
			d.t.Fatalf("no event %T, but %s; state %v, %+v", zero, strings.Join(seen, ", "), d.State(), d.Stats())
		}
		if e, ok := v.(E); ok {
			return e
		}
		s := fmt.Sprintf("%T", v)
		if f, ok := v.(*mqtt5.ConnectionFailure); ok {
			s += fmt.Sprintf("(%v)", f.Err)
		}
		seen = append(seen, s)
	}
}

// receive returns the next message.
func (d *device) receive() mqtt5.Message {
	d.t.Helper()
	m, err := d.messages.take(within(d.t))
	if err != nil {
		d.t.Fatalf("no message: %v; state %v, %+v", err, d.State(), d.Stats())
	}
	return m
}

// expect receives messages with these payloads, in order.
func (d *device) expect(payloads ...string) {
	d.t.Helper()
	for _, want := range payloads {
		if m := d.receive(); string(m.Payload) != want {
			d.t.Fatalf("received %q on %s, want %q", m.Payload, m.Topic, want)
		}
	}
}

func (d *device) subscribe(qos mqtt5.QoS, filters ...string) {
	d.t.Helper()
	var p mqtt5.SubscribePacket
	for _, f := range filters {
		p.Subscriptions = append(p.Subscriptions, mqtt5.Subscription{TopicFilter: f, QoS: qos})
	}
	ack, err := d.Subscribe(within(d.t), &p)
	if err != nil {
		d.t.Fatalf("subscribe to %q: %v", filters, err)
	}
	for i, code := range ack.ReasonCodes {
		if code != mqtt5.SubackReasonCode(qos) {
			d.t.Fatalf("subscribe to %q: %v", filters[i], code)
		}
	}
}

func (d *device) publish(qos mqtt5.QoS, topic, payload string) {
	d.t.Helper()
	d.send(&mqtt5.PublishPacket{Topic: topic, Payload: []byte(payload), QoS: qos})
}

func (d *device) send(p *mqtt5.PublishPacket) {
	d.t.Helper()
	result, err := d.Publish(within(d.t), p)
	if err != nil {
		d.t.Fatalf("publish: %v", err)
	}
	if (result.Puback != nil) != (p.QoS > 0) {
		d.t.Fatalf("publish with %v: acknowledgement %v", p.QoS, result.Puback)
	}
}

// outcome is how a publish ended.
type outcome struct {
	payload string
	err     error
}

// sendAsync publishes without waiting, and puts the outcome into results.
func (d *device) sendAsync(qos mqtt5.QoS, topic, payload string, results *queue[outcome]) {
	d.PublishAsync(&mqtt5.PublishPacket{Topic: topic, Payload: []byte(payload), QoS: qos},
		func(_ *mqtt5.PublishResult, err error) { results.put(outcome{payload, err}) })
}

// succeeded waits for n outcomes, all of which have to be successes.
func succeeded(t *testing.T, results *queue[outcome], n int) {
	t.Helper()
	ctx := within(t)
	for i := range n {
		r, err := results.take(ctx)
		if err != nil {
			t.Fatalf("%d of %d publishes done: %v", i, n, err)
		}
		if r.err != nil {
			t.Fatalf("publish %q: %v", r.payload, r.err)
		}
	}
}
