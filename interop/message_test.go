// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func number(i int) string { return strconv.Itoa(i) }

// qualities are those that the broker offers.
func (f *fixture) qualities() []mqtt5.QoS {
	if f.qos2 {
		return []mqtt5.QoS{mqtt5.AtMostOnce, mqtt5.AtLeastOnce, mqtt5.ExactlyOnce}
	}
	return []mqtt5.QoS{mqtt5.AtMostOnce, mqtt5.AtLeastOnce}
}

func testSubscribe(t *testing.T, f *fixture) {
	d := f.connected(t, "d")
	d.subscribe(mqtt5.AtLeastOnce, f.topic("a"), f.topic("b/+/c"), f.topic("d/#"))
	for _, s := range []string{"a", "b/1/c", "d/1/2"} {
		d.publish(mqtt5.AtLeastOnce, f.topic(s), s)
		if m := d.receive(); m.Topic != f.topic(s) || string(m.Payload) != s {
			t.Errorf("received %q on %s, want it on %s", m.Payload, m.Topic, f.topic(s))
		}
	}
	// No Local keeps away what the client itself publishes.
	if _, err := d.Subscribe(within(t), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{
		{TopicFilter: f.topic("own"), QoS: mqtt5.AtLeastOnce, NoLocal: true},
	}}); err != nil {
		t.Fatal(err)
	}
	d.publish(mqtt5.AtLeastOnce, f.topic("own"), "own")

	ack, err := d.Unsubscribe(within(t), &mqtt5.UnsubscribePacket{TopicFilters: []string{f.topic("a"), f.topic("d/#")}})
	if err != nil || len(ack.ReasonCodes) != 2 {
		t.Fatalf("unsubscribe: %+v, %v", ack, err)
	}
	d.publish(mqtt5.AtLeastOnce, f.topic("a"), "too late")
	d.publish(mqtt5.AtLeastOnce, f.topic("d/1"), "too late")
	d.publish(mqtt5.AtLeastOnce, f.topic("b/2/c"), "last")
	d.expect("last")

	// What never was may succeed or say so; it is not a failure.
	if _, err := d.Unsubscribe(within(t), &mqtt5.UnsubscribePacket{TopicFilters: []string{f.topic("never")}}); err != nil {
		t.Errorf("unsubscribe from nothing: %v", err)
	}
}

func testQoS(t *testing.T, f *fixture) {
	d := f.connected(t, "d")
	for _, subscribed := range f.qualities() {
		topic := f.topic(number(int(subscribed)))
		d.subscribe(subscribed, topic)
		for _, published := range f.qualities() {
			payload := fmt.Sprintf("%v to %v", published, subscribed)
			d.publish(published, topic, payload)
			m := d.receive()
			if string(m.Payload) != payload || m.QoS != min(published, subscribed) || m.Retain || m.Duplicate {
				t.Errorf("%s: received %q with %v, retain %v, dup %v", payload, m.Payload, m.QoS, m.Retain, m.Duplicate)
			}
		}
	}
	if !f.qos2 {
		_, err := d.Publish(within(t), &mqtt5.PublishPacket{Topic: f.topic("2"), QoS: mqtt5.ExactlyOnce})
		if !errors.Is(err, mqtt5.ErrNotSent) {
			t.Errorf("QoS 2 that the server does not offer: %v", err)
		}
	}
}

func testRetained(t *testing.T, f *fixture) {
	d := f.connected(t, "d")
	topic := f.topic("a/b")
	set := func(payload string) {
		t.Helper()
		d.send(&mqtt5.PublishPacket{Topic: topic, Payload: []byte(payload), QoS: mqtt5.AtLeastOnce, Retain: true})
	}
	set("kept")
	d.subscribe(mqtt5.AtLeastOnce, topic)
	if m := d.receive(); string(m.Payload) != "kept" || !m.Retain {
		t.Errorf("received %q, retain %v", m.Payload, m.Retain)
	}
	set("new") // goes on like any other message
	if m := d.receive(); string(m.Payload) != "new" || m.Retain {
		t.Errorf("received %q, retain %v", m.Payload, m.Retain)
	}
	if f.retainedToWild {
		d.subscribe(mqtt5.AtLeastOnce, f.topic("a/+"))
		if m := d.receive(); string(m.Payload) != "new" || !m.Retain {
			t.Errorf("received %q, retain %v", m.Payload, m.Retain)
		}
	}
	// Retain As Published, and Don't Send.
	other := f.connected(t, "o")
	if _, err := other.Subscribe(within(t), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{
		TopicFilter: topic, QoS: mqtt5.AtLeastOnce, RetainAsPublished: true, RetainHandling: mqtt5.DontSendRetainedOnSubscribe,
	}}}); err != nil {
		t.Fatal(err)
	}
	set("as published")
	if m := other.receive(); string(m.Payload) != "as published" || !m.Retain {
		t.Errorf("received %q, retain %v", m.Payload, m.Retain)
	}
	// An empty message clears it.
	set("")
	last := f.connected(t, "l")
	last.subscribe(mqtt5.AtLeastOnce, topic)
	last.publish(mqtt5.AtLeastOnce, topic, "not retained")
	last.expect("not retained")
}

func testLargePayload(t *testing.T, f *fixture) {
	d := f.connected(t, "d")
	d.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	random := rand.NewChaCha8([32]byte{1})
	payload := make([]byte, 128<<10)
	for _, qos := range []mqtt5.QoS{mqtt5.AtMostOnce, mqtt5.AtLeastOnce, mqtt5.AtLeastOnce} {
		_, _ = random.Read(payload)
		d.send(&mqtt5.PublishPacket{Topic: f.topic("a"), Payload: payload, QoS: qos})
		if m := d.receive(); !bytes.Equal(m.Payload, payload) {
			t.Fatalf("%v: received %d bytes, not the same", qos, len(m.Payload))
		}
	}
}

func testOrder(t *testing.T, f *fixture) {
	const n = 10_000
	watcher := f.connected(t, "w")
	watcher.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	d := f.connected(t, "d")
	results := newQueue[outcome]()
	for i := range n {
		d.sendAsync(mqtt5.AtLeastOnce, f.topic("a"), number(i), results)
	}
	succeeded(t, results, n)
	for i := range n {
		watcher.expect(number(i))
	}
}

func testProperties(t *testing.T, f *fixture) {
	d := f.connected(t, "d")
	d.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	sent := mqtt5.PublishPacket{
		Topic:                f.topic("a"),
		Payload:              []byte("Grüße, 世界"),
		QoS:                  mqtt5.AtLeastOnce,
		PayloadFormat:        mqtt5.Ptr(mqtt5.PayloadUTF8),
		MessageExpirySeconds: mqtt5.Ptr(uint32(1000)),
		ResponseTopic:        mqtt5.Ptr(f.topic("answer")),
		CorrelationData:      []byte{0, 1, 255},
		ContentType:          mqtt5.Ptr("text/plain"),
		UserProperties: []mqtt5.UserProperty{
			{Name: "b", Value: "2"}, {Name: "a", Value: "1"}, {Name: "b", Value: "3"}, {Name: "", Value: ""}, {Name: "ü", Value: "世"},
		},
	}
	d.send(&sent)
	got := d.receive().PublishPacket
	checkExpiry(t, &got)
	want := sent
	want.MessageExpirySeconds = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sent and received differ (-sent +received):\n%s", diff)
	}

	bare := mqtt5.PublishPacket{Topic: f.topic("a"), QoS: mqtt5.AtLeastOnce, Payload: []byte{}}
	d.send(&bare)
	got = d.receive().PublishPacket
	if got.Payload == nil {
		got.Payload = []byte{}
	}
	if diff := cmp.Diff(bare, got); diff != "" {
		t.Errorf("without properties, sent and received differ (-sent +received):\n%s", diff)
	}
}

// checkExpiry takes the expiry interval out, which the server lowers with time.
func checkExpiry(t *testing.T, p *mqtt5.PublishPacket) {
	t.Helper()
	if e := p.MessageExpirySeconds; e == nil || *e > 1000 || *e < 500 {
		t.Errorf("message expiry %v, want 1000 or a little less", e)
	}
	p.MessageExpirySeconds = nil
}

func testSubscriptionIdentifier(t *testing.T, f *fixture) {
	d := f.connected(t, "d")
	_, err := d.Subscribe(within(t), &mqtt5.SubscribePacket{
		Subscriptions:          []mqtt5.Subscription{{TopicFilter: f.topic("a"), QoS: mqtt5.AtLeastOnce}},
		SubscriptionIdentifier: mqtt5.Ptr(uint32(268_435_455)),
	})
	if !f.subscriptionIDs {
		if d.Settings().SubscriptionIDsAvailable || !errors.Is(err, mqtt5.ErrNotSent) {
			t.Errorf("subscription identifier that the server does not offer: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	d.publish(mqtt5.AtLeastOnce, f.topic("a"), "x")
	if m := d.receive(); !cmp.Equal(m.SubscriptionIdentifiers, []uint32{268_435_455}) {
		t.Errorf("subscription identifiers %v", m.SubscriptionIdentifiers)
	}
}

func testSharedSubscription(t *testing.T, f *fixture) {
	d := f.connected(t, "d")
	if available := d.Settings().SharedSubscriptionsAvailable; available != f.shared {
		t.Fatalf("shared subscriptions available: %v", available)
	}
	if !f.shared {
		return
	}
	const n = 100
	all := newQueue[mqtt5.Message]()
	var members []*device
	for _, name := range []string{"1", "2"} {
		m := f.connected(t, name, func(o *mqtt5.ClientOptions) { o.OnMessage = func(_ context.Context, m mqtt5.Message) { all.put(m) } })
		m.subscribe(mqtt5.AtLeastOnce, "$share/group/"+f.topic("a"))
		members = append(members, m)
	}
	results := newQueue[outcome]()
	for i := range n {
		d.sendAsync(mqtt5.AtLeastOnce, f.topic("a"), number(i), results)
	}
	succeeded(t, results, n)
	// The answers to further requests come after all messages that were on their way.
	for _, m := range members {
		m.subscribe(mqtt5.AtLeastOnce, f.topic("end"))
	}
	d.publish(mqtt5.AtLeastOnce, f.topic("end"), "end")
	seen, ends := map[string]int{}, 0
	for ctx := within(t); ends < len(members) || len(seen) < n; {
		m, err := all.take(ctx)
		if err != nil {
			t.Fatalf("%d of %d messages: %v", len(seen), n, err)
		}
		if string(m.Payload) == "end" {
			ends++
		} else if seen[string(m.Payload)]++; seen[string(m.Payload)] > 1 {
			t.Errorf("message %s came to both", m.Payload)
		}
	}
}

func testTopicAliases(t *testing.T, f *fixture) {
	const n = 50
	long := func(i int) string { return f.topic(strings.Repeat("long", 45) + number(i%4)) }
	watcher := f.connected(t, "w", func(o *mqtt5.ClientOptions) { o.TopicAliasing.Inbound = true })
	watcher.subscribe(mqtt5.AtLeastOnce, f.topic("#"))
	for _, mode := range []mqtt5.TopicAliasMode{mqtt5.TopicAliasLRU, mqtt5.TopicAliasManual} {
		d := f.connected(t, number(int(mode)), keepSession, func(o *mqtt5.ClientOptions) { o.TopicAliasing.Outbound = mode })
		sent, received := d.Stats().BytesSent, watcher.Stats().BytesReceived
		for i := range n {
			if i == n/2 { // aliases end with the connection
				d.relay.cut()
				await[*mqtt5.ConnectionSuccess](d)
			}
			p := &mqtt5.PublishPacket{Topic: long(i), Payload: []byte(number(i)), QoS: mqtt5.AtLeastOnce}
			if mode == mqtt5.TopicAliasManual {
				p.TopicAlias = mqtt5.Ptr(uint16(1 + i%2)) // each alias gets two topics in turn
				p.Topic = long(i / 8)
			}
			d.send(p)
			if m := watcher.receive(); m.Topic != p.Topic || !bytes.Equal(m.Payload, p.Payload) {
				t.Fatalf("received %q on %s, want %q on %s", m.Payload, m.Topic, p.Payload, p.Topic)
			}
		}
		const most = n * 100 // much less than the topics alone
		if d.Settings().TopicAliasMaximumToServer > 1 && d.Stats().BytesSent-sent > most {
			t.Errorf("mode %d: no aliases used: %d bytes sent", mode, d.Stats().BytesSent-sent)
		}
		if bytes := watcher.Stats().BytesReceived - received; f.aliasesToClient && bytes > most {
			t.Errorf("mode %d: the server used no aliases: %d bytes received", mode, bytes)
		}
		d.stop()
	}
}
