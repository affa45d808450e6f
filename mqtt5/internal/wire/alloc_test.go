// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"math"
	"runtime"
	"testing"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// TestAllocations holds the paths that run for each message to their budget.
// It is not parallel: AllocsPerRun counts what other goroutines allocate.
func TestAllocations(t *testing.T) {
	plain, full := benchPublish(), benchPublish()
	full.Properties, full.TopicAlias = propertiesForBench(), 3
	topic := &Publish{Topic: "stra\u00dfe/1", Payload: []byte("x")}
	in, inFull, inTopic := AppendPublish(nil, plain), AppendPublish(nil, full), AppendPublish(nil, topic)
	short := AppendAck(nil, TypePuback, &Ack{PacketID: 7})
	code := AppendAck(nil, TypePuback, &Ack{PacketID: 7, ReasonCode: NotAuthorized})
	dst := make([]byte, 0, 4096)
	ack := Ack{PacketID: 7, ReasonCode: NotAuthorized, ReasonString: ptr("no"), UserProperties: []UserProperty{{"a", "b"}}}
	var f Frame
	var v PublishView
	var a Ack
	publish := func(b []byte) func() {
		return func() {
			if _, err := f.Parse(b, 1<<20); err != nil {
				t.Error(err)
			}
			if err := ParsePublish(&f, &v); err != nil {
				t.Error(err)
			}
		}
	}
	parseAck := func(b []byte) func() {
		return func() {
			f, _, _ := ParseFrame(b, 0)
			if err := ParseAck(&f, &a); err != nil {
				t.Error(err)
			}
		}
	}
	fullView := mustPublish(t, inFull)
	var props PublishProperties
	for _, c := range []struct {
		name string
		want float64
		run  func()
	}{
		{"parse PUBLISH", 0, publish(in)},
		{"parse PUBLISH with properties", 0, publish(inFull)},
		{"parse PUBLISH with a topic that is not ASCII", 0, publish(inTopic)},
		{"append PUBLISH", 0, func() { dst = AppendPublish(dst[:0], plain) }},
		{"append PUBLISH with properties", 0, func() { dst = AppendPublish(dst[:0], full) }},
		{"append PUBLISH header", 0, func() { dst = AppendPublishHeader(dst[:0], full) }},
		{"size of PUBLISH", 0, func() { _ = PublishSize(full) }},
		{"check PUBLISH", 0, func() { _ = CheckPublish(plain) }},
		{"check PUBLISH with properties", 0, func() { _ = CheckPublish(full) }},
		{"parse PUBACK", 0, parseAck(short)},
		{"parse PUBACK with a code", 0, parseAck(code)},
		{"append PUBACK", 0, func() { dst = AppendAck(dst[:0], TypePuback, &ack) }},
		{"fit PUBACK", 0, func() { ack.Fit(0) }},
		// The text of all strings, each pointer, the correlation data, the list.
		{"decode properties", 6, func() { fullView.Decode(&props) }},
	} {
		if got := testing.AllocsPerRun(100, c.run); got > c.want {
			t.Errorf("%s: %v allocations, want %v", c.name, got, c.want)
		}
	}
}

// allocated returns how many bytes f allocates: the least of several runs, as
// the runtime allocates too, when it starts a collection for example.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// TestAllocations_hugeClaims feeds lengths that promise much more than follows.
func TestAllocations_hugeClaims(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"256 MiB of PUBLISH", "30 ffffff7f"},
		{"256 MiB of SUBACK", "90 ffffff7f"},
		{"256 MiB of properties", "30 08 0001 'a' ffffff7f 00"},
		{"65535 bytes of topic", "30 04 ffff 'a' 00"},
		{"65535 bytes of a string", "40 07 0001 00 03 1f ffff"},
		{"65535 bytes of data", "f0 07 18 05 16 ffff 0102"},
		{"65535 bytes of client identifier", "10 0d 0004 'MQTT' 05 00 0000 00 ffff"},
	} {
		b := Unhex(t, c.in)
		n := allocated(func() {
			if f, need, err := ParseFrame(b, 0); need == 0 && err == nil {
				if _, err := parse(&f, true); err == nil {
					t.Errorf("%s: accepted", c.name)
				}
			}
		})
		if n > 2048 {
			t.Errorf("%s: %d bytes allocated", c.name, n)
		}
	}
}

// TestAllocations_proportional feeds packets of many tiny items, for which Go
// needs the most memory in relation to the bytes on the wire.
func TestAllocations_proportional(t *testing.T) {
	const count = 20_000
	user := make([]UserProperty, count)
	ids := make([]uint32, count)
	for i := range count {
		ids[i] = 1
	}
	for _, c := range []struct {
		name string
		in   []byte
	}{
		{"PUBLISH with user properties", AppendPublish(nil, &Publish{Topic: "a", Properties: &PublishProperties{UserProperties: user}})},
		{"PUBLISH with subscription identifiers", AppendPublish(nil, &Publish{Topic: "a", Properties: &PublishProperties{SubscriptionIDs: ids}})},
		{"PUBACK with user properties", AppendAck(nil, TypePuback, &Ack{PacketID: 1, UserProperties: user})},
		{"SUBACK", wiretest.AppendSubscribeAck(nil, TypeSuback, &SubscribeAck{PacketID: 1, ReasonCodes: make([]ReasonCode, count)})},
	} {
		n := allocated(func() {
			f, _, err := ParseFrame(c.in, 0)
			if err == nil {
				_, err = parse(&f, true)
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		})
		if limit := uint64(maxGrowth*len(c.in) + 4096); n > limit {
			t.Errorf("%s: %d bytes allocated for %d", c.name, n, len(c.in))
		}
	}
}

// maxGrowth bounds the bytes allocated for each byte received: a user property
// takes 5 bytes on the wire and 32 in memory.
const maxGrowth = 12
