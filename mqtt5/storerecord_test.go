// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

func TestRecords(t *testing.T) {
	expires := time.UnixMilli(1_800_000_000_123)
	full := wire.Publish{Topic: "a/b", Payload: []byte("payload"), QoS: 2, Retain: true, Properties: &wire.PublishProperties{
		PayloadFormat: Ptr[uint8](1), MessageExpiryInterval: Ptr[uint32](60), ResponseTopic: Ptr("r"), ContentType: Ptr("c"),
		CorrelationData: []byte{0, 1}, UserProperties: []wire.UserProperty{{Name: "n", Value: "v"}, {Name: "n", Value: ""}},
	}}
	for _, want := range []wire.Publish{full, {Topic: "t", QoS: 1, Payload: []byte{}}} {
		given := want
		given.PacketID, given.Dup, given.TopicAlias = 77, true, 5 // of a connection
		record := encodePublish(&given, expires)
		got, when, err := decodePublish(record)
		if diff := cmp.Diff(want, got); err != nil || diff != "" || !when.Equal(expires) {
			t.Errorf("%v, expires %v (-want +got):\n%s", err, when, diff)
		}
		damage(t, record, func(b []byte) error { _, _, err := decodePublish(b); return err })
	}
	for _, want := range []engine.KeptState{{}, {Stage: engine.KeptSent, PacketID: 65535}, {Stage: engine.KeptReleased, PacketID: 1, Order: 1 << 40}} {
		if got, err := decodeState(encodeState(want)); got != want || err != nil {
			t.Errorf("%+v: %+v %v", want, got, err)
		}
	}
	session := storedSession{"server:8883", "device"}
	if got, err := decodeSession(session.encode()); got != session || err != nil {
		t.Errorf("%+v %v", got, err)
	}
	damage(t, session.encode(), func(b []byte) error { _, err := decodeSession(b); return err })
	filters := []engine.Filter{
		{Subscription: wire.Subscription{TopicFilter: "a/#", QoS: 2, NoLocal: true, RetainHandling: 2}, ID: Ptr[uint32](1 << 27)},
		{Subscription: wire.Subscription{TopicFilter: "b", RetainAsPublished: true, RetainHandling: 1}, Properties: []wire.UserProperty{{Name: "n", Value: "v"}}},
	}
	got, err := decodeFilters(encodeFilters(filters))
	if diff := cmp.Diff(filters, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	damage(t, encodeFilters(filters), func(b []byte) error { _, err := decodeFilters(b); return err })
	if _, err := decodeSession(seal([]byte{recordVersion + 1, 0})); !errors.Is(err, ErrStoreVersion) {
		t.Errorf("newer record: %v", err)
	}
}

// damage flips each bit and cuts at each place: all of it is noticed.
func damage(t *testing.T, record []byte, decode func([]byte) error) {
	t.Helper()
	for i := range record {
		for bit := range 8 {
			record[i] ^= 1 << bit
			if decode(record) == nil {
				t.Fatalf("bit %d of byte %d changed, and it is not noticed", bit, i)
			}
			record[i] ^= 1 << bit
		}
		if decode(record[:i]) == nil {
			t.Fatalf("cut after %d bytes, and it is not noticed", i)
		}
	}
}

// FuzzRecords decodes what a program with a bug could have written: the sum is
// right.
func FuzzRecords(f *testing.F) {
	f.Add(encodePublish(&wire.Publish{Topic: "t", QoS: 1}, time.Time{}))
	f.Add(encodeFilters([]engine.Filter{{Subscription: wire.Subscription{TopicFilter: "t"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4 {
			b = seal(b[: len(b)-4 : len(b)-4])
		}
		if p, expires, err := decodePublish(b); err == nil {
			if q, _, err := decodePublish(encodePublish(&p, expires)); err != nil || !cmp.Equal(p, q) {
				t.Errorf("%+v becomes %+v: %v", p, q, err)
			}
		}
		decodeSession(b)
		decodeState(b)
		if list, err := decodeFilters(b); err == nil {
			if again, err := decodeFilters(encodeFilters(list)); err != nil || !cmp.Equal(list, again) {
				t.Errorf("%+v becomes %+v: %v", list, again, err)
			}
		}
	})
}
