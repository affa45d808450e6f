// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func testWill(t *testing.T, f *fixture) {
	watcher := f.connected(t, "w")
	watcher.subscribe(mqtt5.AtLeastOnce, f.topic("will"))
	device := func(name string) *device {
		return f.connected(t, name, func(o *mqtt5.ClientOptions) {
			o.Connect.Will = &mqtt5.PublishPacket{Topic: f.topic("will"), Payload: []byte("will of " + name), QoS: mqtt5.AtLeastOnce}
		})
	}
	stopped := device("stopped")
	stopped.stop() // takes the will back

	closed := device("closed")
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	watcher.expect("will of closed")

	lost := device("lost")
	lost.relay.refuse(true)
	lost.relay.cut()
	watcher.expect("will of lost")

	if f.willOnRequest {
		asked := device("asked")
		if err := asked.Stop(within(t), &mqtt5.DisconnectPacket{ReasonCode: mqtt5.DisconnectWithWillMessage}); err != nil {
			t.Fatal(err)
		}
		watcher.expect("will of asked")
	}
}

func testWillProperties(t *testing.T, f *fixture) {
	watcher := f.connected(t, "w")
	watcher.subscribe(mqtt5.AtLeastOnce, f.topic("will"))
	will := mqtt5.PublishPacket{
		Topic:                f.topic("will"),
		Payload:              []byte("gone"),
		QoS:                  mqtt5.AtLeastOnce,
		PayloadFormat:        mqtt5.Ptr(mqtt5.PayloadUTF8),
		MessageExpirySeconds: mqtt5.Ptr(uint32(1000)),
		ResponseTopic:        mqtt5.Ptr(f.topic("answer")),
		CorrelationData:      []byte("correlation"),
		ContentType:          mqtt5.Ptr("text/plain"),
		UserProperties:       []mqtt5.UserProperty{{Name: "b", Value: "2"}, {Name: "a", Value: "1"}},
	}
	d := f.connected(t, "d", func(o *mqtt5.ClientOptions) { o.Connect.Will = &will })
	_ = d.Close()
	got := watcher.receive().PublishPacket
	checkExpiry(t, &got)
	want := will
	want.MessageExpirySeconds = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("will differs (-sent +received):\n%s", diff)
	}
}

// testResume loses a connection with an unacknowledged publish, and more to do
// on both sides
// until the next one.
func testResume(t *testing.T, f *fixture) {
	watcher := f.connected(t, "w")
	watcher.subscribe(mqtt5.AtLeastOnce, f.topic("up"))
	d := f.connected(t, "d", keepSession)
	d.subscribe(mqtt5.AtLeastOnce, f.topic("down"))

	results := newQueue[outcome]()
	d.relay.hold(toClient, true)
	d.sendAsync(mqtt5.AtLeastOnce, f.topic("up"), "in flight", results)
	watcher.expect("in flight") // the server has it, the client does not know
	d.relay.refuse(true)
	d.relay.cut()
	if e := await[*mqtt5.Disconnection](d); e.Err == nil || !e.WillRetry {
		t.Errorf("disconnection %+v", e)
	}
	d.relay.hold(toClient, false)
	d.sendAsync(mqtt5.AtLeastOnce, f.topic("up"), "queued", results)
	for i := range 5 {
		watcher.publish(mqtt5.AtLeastOnce, f.topic("down"), number(i))
	}
	d.relay.refuse(false)
	if e := await[*mqtt5.ConnectionSuccess](d); !e.Settings.RejoinedSession || !e.Connack.SessionPresent {
		t.Fatalf("session not resumed: %+v", e.Connack)
	}
	succeeded(t, results, 2)
	d.expect("0", "1", "2", "3", "4")
	if n := d.Stats().Retries; n != 1 {
		t.Errorf("%d publishes repeated, want 1", n)
	}
	m := watcher.receive() // a second time, or not
	if string(m.Payload) == "in flight" {
		m = watcher.receive()
	}
	if string(m.Payload) != "queued" {
		t.Errorf("received %q, want the queued message", m.Payload)
	}
	// The subscription is still there.
	watcher.publish(mqtt5.AtLeastOnce, f.topic("down"), "after")
	d.expect("after")
}

func testResubscribe(t *testing.T, f *fixture) {
	watcher := f.connected(t, "w")
	d := f.connected(t, "d", func(o *mqtt5.ClientOptions) { o.Resubscribe = true })
	d.subscribe(mqtt5.AtLeastOnce, f.topic("a"), f.topic("b"), f.topic("c"))
	if _, err := d.Unsubscribe(within(t), &mqtt5.UnsubscribePacket{TopicFilters: []string{f.topic("b")}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d.relay.cut()
		if e := await[*mqtt5.ConnectionSuccess](d); e.Settings.RejoinedSession {
			t.Fatal("the session was resumed")
		}
		e := await[*mqtt5.Resubscription](d)
		slices.Sort(e.Restored)
		if !slices.Equal(e.Restored, []string{f.topic("a"), f.topic("c")}) || len(e.Refused) > 0 || e.Err != nil {
			t.Fatalf("resubscription %+v", e)
		}
		for _, s := range []string{"a", "b", "c"} {
			watcher.publish(mqtt5.AtLeastOnce, f.topic(s), s)
		}
		d.expect("a", "c")
	}

	// Without it the subscriptions are gone.
	other := f.connected(t, "o")
	other.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	other.relay.cut()
	await[*mqtt5.ConnectionSuccess](other)
	watcher.publish(mqtt5.AtLeastOnce, f.topic("a"), "nobody there")
	other.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	watcher.publish(mqtt5.AtLeastOnce, f.topic("a"), "there again")
	other.expect("there again")
}

func testStopEndsSession(t *testing.T, f *fixture) {
	d := f.connected(t, "d", keepSession, func(o *mqtt5.ClientOptions) { o.SessionBehavior = mqtt5.SessionRejoinAlways })
	d.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	d.stop()
	// The server sees the end of a connection and the beginning of the next in
	// either order.
	if err := d.relay.ended(within(t)); err != nil {
		t.Fatal(err)
	}
	d.start()
	if e := await[*mqtt5.ConnectionSuccess](d); !e.Settings.RejoinedSession {
		t.Error("the session did not outlive the stop")
	}
	// ejabberd handles a DISCONNECT that came by WebSocket in another process
	// than the next CONNECT, so that this one may overtake it. It does not do
	// so each time.
	for range 10 {
		if err := d.Stop(within(t), &mqtt5.DisconnectPacket{SessionExpiryIntervalSeconds: mqtt5.Ptr(uint32(0))}); err != nil {
			t.Fatal(err)
		}
		if err := d.relay.ended(within(t)); err != nil {
			t.Fatal(err)
		}
		d.start()
		if e := await[*mqtt5.ConnectionSuccess](d); !e.Settings.RejoinedSession {
			return
		}
	}
	t.Error("the session outlived a stop that ended it")
}

func testOfflineQueue(t *testing.T, f *fixture) {
	const n = 100
	watcher := f.connected(t, "w")
	watcher.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	d := f.device(t, "d")
	d.relay.refuse(true)
	d.start()
	var failed *mqtt5.DialError
	if e := await[*mqtt5.ConnectionFailure](d); !errors.As(e.Err, &failed) && f.layers != nil {
		t.Errorf("connection failure: %v", e.Err)
	}
	results := newQueue[outcome]()
	var want []string
	for i := range n {
		want = append(want, number(i))
		d.sendAsync(mqtt5.AtLeastOnce, f.topic("a"), number(i), results)
	}
	_, err := d.Publish(within(t), &mqtt5.PublishPacket{Topic: f.topic("a"), Payload: []byte("QoS 0")})
	if !errors.Is(err, mqtt5.ErrOfflinePolicy) || !errors.Is(err, mqtt5.ErrNotSent) {
		t.Errorf("QoS 0 without a connection: %v", err)
	}
	if s := d.Stats(); s.QueuedOperations != n {
		t.Errorf("%d operations queued, want %d", s.QueuedOperations, n)
	}
	d.relay.refuse(false)
	succeeded(t, results, n)
	watcher.expect(want...)

	strict := f.device(t, "s", func(o *mqtt5.ClientOptions) { o.OfflineQueuePolicy = mqtt5.FailAllOnDisconnect })
	strict.relay.refuse(true)
	strict.start()
	await[*mqtt5.ConnectionFailure](strict)
	_, err = strict.Publish(within(t), &mqtt5.PublishPacket{Topic: f.topic("a"), QoS: mqtt5.AtLeastOnce})
	if !errors.Is(err, mqtt5.ErrOfflinePolicy) || !errors.Is(err, mqtt5.ErrNotSent) {
		t.Errorf("QoS 1 that must not wait: %v", err)
	}
}

// taken is a message with its acknowledgement.
type taken struct {
	payload string
	ack     *mqtt5.Ack
}

// takeAcks hands the messages of a topic over together with their acknowledgements.
func (d *device) takeAcks(topic string, seen func()) *queue[taken] {
	d.t.Helper()
	q := newQueue[taken]()
	if _, err := d.Handle(topic, func(_ context.Context, m mqtt5.Message) {
		if seen != nil {
			seen()
		}
		ack, err := m.TakeAck()
		if err != nil {
			d.t.Errorf("take the acknowledgement of %q: %v", m.Payload, err)
			return
		}
		q.put(taken{string(m.Payload), ack})
	}); err != nil {
		d.t.Fatal(err)
	}
	return q
}

func testManualAcknowledgement(t *testing.T, f *fixture) {
	const n = 10
	window := 2
	if f.oneByOne {
		window = 1
	}
	watcher := f.connected(t, "w")
	d := f.device(t, "d", keepSession, func(o *mqtt5.ClientOptions) {
		if f.obeysReceiveLimit {
			o.Connect.ReceiveMaximum = mqtt5.Ptr(uint16(window))
		}
	})
	var open atomic.Int32
	messages := d.takeAcks(f.topic("a"), func() {
		if k := open.Add(1); int(k) > window && f.obeysReceiveLimit {
			t.Errorf("%d messages not acknowledged, more than Receive Maximum", k)
		}
	})
	next := func(want string) *mqtt5.Ack {
		t.Helper()
		m, err := messages.take(within(t))
		if err != nil || m.payload != want {
			t.Fatalf("received %q, want %q (%v)", m.payload, want, err)
		}
		return m.ack
	}
	d.start()
	d.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	await[*mqtt5.ConnectionSuccess](d)
	for i := range n {
		watcher.publish(mqtt5.AtLeastOnce, f.topic("a"), number(i))
	}
	for i := 0; i < n; i += window {
		var acks []*mqtt5.Ack
		for k := range window {
			acks = append(acks, next(number(i+k)))
		}
		open.Add(-int32(window))
		for _, ack := range slices.Backward(acks) { // in any order
			if err := ack.Accept(); err != nil {
				t.Fatal(err)
			}
		}
		if err := acks[0].Accept(); !errors.Is(err, mqtt5.ErrAckTwice) {
			t.Errorf("accept twice: %v", err)
		}
	}
	// The answer to this comes after the server has seen the acknowledgements.
	d.publish(mqtt5.AtLeastOnce, f.topic("b"), "")
	// What is not acknowledged comes again on the next connection.
	watcher.publish(mqtt5.AtLeastOnce, f.topic("a"), "again")
	stale := next("again")
	open.Add(-1)
	d.relay.cut()
	if e := await[*mqtt5.ConnectionSuccess](d); !e.Settings.RejoinedSession {
		t.Fatal("the session was not resumed")
	}
	fresh := next("again")
	if err := stale.Accept(); !errors.Is(err, mqtt5.ErrAckStale) {
		t.Errorf("accept on a connection that is gone: %v", err)
	}
	if err := fresh.Accept(); err != nil {
		t.Error(err)
	}
}

func testNegativeAcknowledgement(t *testing.T, f *fixture) {
	watcher := f.connected(t, "w")
	d := f.connected(t, "d", keepSession)
	messages := d.takeAcks(f.topic("a"), nil)
	d.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	for _, payload := range []string{"refused", "accepted"} {
		watcher.publish(mqtt5.AtLeastOnce, f.topic("a"), payload)
		m, err := messages.take(within(t))
		if err != nil || m.payload != payload {
			t.Fatalf("received %q, want %q (%v)", m.payload, payload, err)
		}
		if payload == "refused" {
			err = m.ack.Reject(mqtt5.PubackImplementationSpecificError, "not today")
		} else {
			err = m.ack.Accept()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The answer to this comes after the server has seen the acknowledgements.
	d.publish(mqtt5.AtLeastOnce, f.topic("b"), "")
	d.relay.cut()
	if e := await[*mqtt5.ConnectionSuccess](d); !e.Settings.RejoinedSession {
		t.Fatal("the session was not resumed")
	}
	watcher.publish(mqtt5.AtLeastOnce, f.topic("a"), "next")
	if m, err := messages.take(within(t)); err != nil || m.payload != "next" {
		t.Errorf("received %q, want the next message and not the refused one (%v)", m.payload, err)
	}
}
