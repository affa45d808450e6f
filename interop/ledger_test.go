// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TestLedger sends messages while both connections are cut again and again, at any byte of any
// packet. Every QoS 1 message has to arrive at least once, every QoS 2 message exactly once.
func TestLedger(t *testing.T) {
	m := startMosquitto(t)
	for seed := range uint64(3) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			testLedger(t, newFixture(&m.broker, &route{name: "tcp", address: m.tcp}), seed)
		})
	}
}

func testLedger(t *testing.T, f *fixture, seed uint64) {
	const (
		each = 2000 // messages of QoS 1 and of QoS 2
		cuts = 10   // of each connection
	)
	stubborn := func(o *mqtt5.ClientOptions) {
		o.PoisonPublishLimit = -1
		o.AckTimeout = -1
	}
	receiver := f.connected(t, "r", keepSession, stubborn)
	receiver.subscribe(mqtt5.ExactlyOnce, f.topic("#"))
	sender := f.connected(t, "s", keepSession, stubborn)

	remaining := map[*device]*int{}
	for i, d := range []*device{receiver, sender} {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		left := cuts
		remaining[d] = &left
		d.relay.limit(func() (direction, int, bool) {
			if left == 0 {
				return 0, 0, false
			}
			left--
			way := direction(random.IntN(2))
			// Acknowledgements are shorter than messages.
			if messages := d == sender; messages == (way == toServer) {
				return way, 1 + random.IntN(8000), true
			}
			return way, 1 + random.IntN(2000), true
		})
		d.relay.cut()
	}

	results := newQueue[outcome]()
	for i := range each {
		for _, qos := range []mqtt5.QoS{mqtt5.AtLeastOnce, mqtt5.ExactlyOnce} {
			sender.sendAsync(qos, f.topic(number(int(qos))), fmt.Sprintf("%d of %v", i, qos), results)
		}
	}
	succeeded(t, results, 2*each)
	sender.publish(mqtt5.ExactlyOnce, f.topic("end"), "end")

	seen := map[string]int{}
	for {
		m := receiver.receive()
		if m.Topic == f.topic("end") {
			break
		}
		seen[string(m.Payload)]++
	}
	var lost, doubled, repeated int
	for i := range each {
		one, two := seen[fmt.Sprintf("%d of %v", i, mqtt5.AtLeastOnce)], seen[fmt.Sprintf("%d of %v", i, mqtt5.ExactlyOnce)]
		if one == 0 || two == 0 {
			lost++
		}
		if one > 1 {
			repeated++
		}
		if two > 1 {
			doubled++
		}
	}
	if lost > 0 || doubled > 0 {
		t.Errorf("%d messages lost, %d QoS 2 messages received more than once", lost, doubled)
	}
	s, r := sender.Stats(), receiver.Stats()
	t.Logf("%d QoS 1 messages repeated; sender: %d connections, %d retries; receiver: %d connections", repeated, s.Connections, s.Retries, r.Connections)
	for d, left := range remaining {
		if *left > 0 {
			t.Errorf("%d cuts did not happen; %+v", *left, d.Stats())
		}
	}
}
