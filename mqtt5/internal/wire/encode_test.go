// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"testing"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// TestEncode_whatIsNeverWritten gives encoders values that have no place on the wire.
func TestEncode_whatIsNeverWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"MQTT-3.3.1-2 MQTT-4.3.1-1 no DUP with QoS 0", AppendPublish(nil, &Publish{Topic: "a", Dup: true}), "30 04 0001 'a' 00"},
		{"MQTT-2.2.1-2 no packet identifier with QoS 0", AppendPublish(nil, &Publish{Topic: "a", PacketID: 7}), "30 04 0001 'a' 00"},
		{"MQTT-3.1.2-11 MQTT-3.1.2-13 no will bits without a will", AppendConnect(nil, &Connect{CleanStart: true}),
			"10 0d 0004 'MQTT' 05 02 0000 00 0000"},
		{"MQTT-3.1.2-9 will QoS stays within its bits", AppendConnect(nil, &Connect{Will: &Will{Topic: "w", QoS: 4}}),
			"10 13 0004 'MQTT' 05 04 0000 00 0000 00 0001 'w' 0000"},
		{"subscription identifiers of a will", AppendConnect(nil, &Connect{Will: &Will{Topic: "w", Properties: &PublishProperties{SubscriptionIDs: []uint32{1}}}}),
			"10 13 0004 'MQTT' 05 04 0000 00 0000 00 0001 'w' 0000"},
		{"MQTT-3.8.3-5 reserved subscription options", AppendSubscribe(nil, &Subscribe{PacketID: 1, Subscriptions: []Subscription{{TopicFilter: "a", QoS: 0xFC, RetainHandling: 0xFC}}}),
			"82 07 0001 00 0001 'a' 00"},
		{"MQTT-2.2.2-1 empty properties are a length of 0", wiretest.AppendSubscribeAck(nil, TypeUnsuback, &SubscribeAck{PacketID: 1, UserProperties: []UserProperty{}, ReasonCodes: []ReasonCode{0}}),
			"b0 04 0001 00 00"},
		{"empty list of user properties in PUBACK", AppendAck(nil, TypePuback, &Ack{PacketID: 1, UserProperties: []UserProperty{}}), "40 02 0001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if want := Unhex(t, c.want); !bytes.Equal(c.got, want) {
				t.Errorf("got % x, want % x", c.got, want)
			}
		})
	}
}

// TestEncode_firstByte checks type and reserved flags of all packets.
func TestEncode_firstByte(t *testing.T) {
	t.Parallel()
	ack := &Ack{PacketID: 1}
	for _, c := range []struct {
		typ    Type
		packet any
		want   byte
	}{
		{TypeConnect, &Connect{}, 0x10}, {TypeConnack, &Connack{}, 0x20}, {TypePublish, &Publish{Topic: "a"}, 0x30},
		{TypePuback, ack, 0x40}, {TypePubrec, ack, 0x50}, {TypePubrel, ack, 0x62}, {TypePubcomp, ack, 0x70},
		{TypeSubscribe, &Subscribe{}, 0x82}, {TypeSuback, &SubscribeAck{}, 0x90}, {TypeUnsubscribe, &Unsubscribe{}, 0xA2},
		{TypeUnsuback, &SubscribeAck{}, 0xB0}, {TypePingreq, nil, 0xC0}, {TypePingresp, nil, 0xD0},
		{TypeDisconnect, &Disconnect{}, 0xE0}, {TypeAuth, &Auth{}, 0xF0},
	} {
		t.Run("MQTT-2.1.3-1 "+c.typ.String(), func(t *testing.T) {
			t.Parallel()
			if b := encode(t, c.typ, c.packet); b[0] != c.want {
				t.Errorf("got %02x, want %02x", b[0], c.want)
			}
		})
	}
}

// TestEncode_appends checks that encoders keep the content of the buffer
// already, whether it has room or not.
func TestEncode_appends(t *testing.T) {
	t.Parallel()
	p := &Publish{Topic: "a", Payload: []byte("payload"), Properties: &PublishProperties{ContentType: ptr("t")}}
	want := append([]byte("before"), AppendPublish(nil, p)...)
	for _, room := range []int{6, 10, 100} {
		dst := append(make([]byte, 0, room), "before"...)
		if got := AppendPublish(dst, p); !bytes.Equal(got, want) {
			t.Errorf("room for %d: % x", room, got)
		}
	}
	// The buffer grows as append does, so that adding packets one by one stays linear.
	var dst []byte
	grown := 0
	for range 10_000 {
		before := cap(dst)
		if dst = AppendPublish(dst, p); cap(dst) != before {
			grown++
		}
	}
	if grown > 60 {
		t.Errorf("buffer was moved %d times", grown)
	}
}
