// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TestLedger sends messages while both connections are cut again and again, at
// any byte of any packet. Every QoS 1 message has to arrive at least once,
// every QoS 2 message exactly once.
func TestLedger(t *testing.T) {
	for name, start := range map[string]func() (*broker, *route){
		"mosquitto": func() (*broker, *route) {
			m := startMosquitto(t)
			return &m.broker, &route{name: "tcp", address: m.tcp}
		},
		"ejabberd": func() (*broker, *route) {
			e := startEjabberd(t)
			return &e.broker, &route{name: "tcp", address: e.tcp, options: login}
		},
		"core": func() (*broker, *route) {
			c := startCore(t)
			return &c.broker, &route{name: "tcp", address: c.TCPAddr()}
		},
	} {
		b, r := start()
		for seed := range uint64(3) {
			t.Run(name+"/"+strconv.FormatUint(seed, 10), func(t *testing.T) {
				t.Parallel()
				testLedger(t, newFixture(b, r), seed)
			})
		}
	}
}

func testLedger(t *testing.T, f *fixture, seed uint64) {
	const cuts = 10 // of each connection
	stubborn := func(o *mqtt5.ClientOptions) {
		o.PoisonPublishLimit = -1
		o.AckTimeout = -1
	}
	qualities := f.qualities()[1:]
	most := qualities[len(qualities)-1]
	each := 4000 / len(qualities) // messages
	receiver := f.connected(t, "r", keepSession, stubborn)
	receiver.subscribe(most, f.topic("#"))
	server := newWitness()
	receiver.relay.watch(server.see)
	sender := f.connected(t, "s", keepSession, stubborn)

	remaining := map[*device]*atomic.Int32{}
	for i, d := range []*device{receiver, sender} {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		left := &atomic.Int32{}
		left.Store(cuts)
		remaining[d] = left
		d.relay.limit(func() (direction, int, bool) {
			if left.Load() == 0 {
				return 0, 0, false
			}
			left.Add(-1)
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
		for _, qos := range qualities {
			sender.sendAsync(qos, f.topic(number(int(qos))), fmt.Sprintf("%d of %v", i, qos), results)
		}
	}
	succeeded(t, results, len(qualities)*each)
	seen := map[string]int{}
	for len(seen) < len(qualities)*each {
		m, err := receiver.messages.take(within(t))
		if err != nil {
			t.Fatalf("%d of %d messages lost; %+v", len(qualities)*each-len(seen), len(qualities)*each, receiver.Stats())
		}
		seen[string(m.Payload)]++
	}
	// mosquitto changes the order when sessions are resumed, so only now is it
	// time for the last one.
	sender.publish(most, f.topic("end"), "end")
	for {
		m := receiver.receive()
		if m.Topic == f.topic("end") {
			break
		}
		seen[string(m.Payload)]++
	}
	var doubled, repeated, broken int
	for i := range each {
		for _, qos := range qualities {
			payload := fmt.Sprintf("%d of %v", i, qos)
			n := seen[payload]
			switch {
			case n > 1 && qos == mqtt5.AtLeastOnce:
				repeated++
			case n > 1 && n <= 1+server.broken(payload):
				broken++
			case n > 1:
				doubled++
			}
		}
	}
	if doubled > 0 {
		t.Errorf("%d QoS 2 messages received more than once", doubled)
	}
	s, r := sender.Stats(), receiver.Stats()
	t.Logf("%d QoS 1 messages repeated, %d QoS 2 messages repeated by the server; sender: %d connections, %d retries; receiver: %d connections",
		repeated, broken, s.Connections, s.Retries, r.Connections)
	for d, left := range remaining {
		if n := left.Load(); n > 0 {
			t.Errorf("%d cuts did not happen; %+v", n, d.Stats())
		}
	}
}
