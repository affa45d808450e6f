// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// connectWire makes a CONNECT of connect flags, properties and payload.
func connectWire(t testing.TB, flags byte, props, payload string) Raw {
	b := append(unhex(t, "0004 4D515454 05"), flags, 0, 0)
	p := unhex(t, props)
	b = append(append(b, byte(len(p))), p...)
	return joinHeader(0x10, append(b, unhex(t, payload)...))
}

func TestDecode_violations(t *testing.T) {
	t.Parallel()
	sub := Subscribe{PacketID: 1, Subscriptions: []Subscription{{TopicFilter: "a"}}}
	filter := func(f string) Packet {
		return Subscribe{PacketID: 1, Subscriptions: []Subscription{{TopicFilter: f}}}
	}
	con := func(flags byte, props, payload string) Packet { return connectWire(t, flags, props, payload) }
	auth := Auth{ReasonCode: ContinueAuthentication, AuthenticationMethod: Ptr("m")}
	for _, tc := range []struct {
		rule   string
		what   string
		side   Side
		packet Packet
		code   ReasonCode
	}{
		{"§2.1.2", "type 0", FromClient, Raw{0x00, 0}, 0x81},
		{"§2.1.2", "server's packet from a client", FromClient, Pingresp{}, 0x82},
		{"§2.1.2", "client's packet from a server", FromServer, sub, 0x82},
		{"MQTT-2.1.3-1", "flags of CONNECT", FromClient, WithFlags(Connect{}, 1), 0x81},
		{"MQTT-2.1.3-1", "flags of PUBACK", FromClient, WithFlags(Puback{PacketID: 1}, 2), 0x81},
		{"MQTT-2.1.3-1", "flags of CONNACK", FromServer, WithFlags(Connack{}, 8), 0x81},
		{"MQTT-3.6.1-1", "flags of PUBREL", FromClient, WithFlags(Pubrel{PacketID: 1}, 0), 0x81},
		{"MQTT-3.8.1-1", "flags of SUBSCRIBE", FromClient, WithFlags(sub, 0), 0x81},
		{"MQTT-3.10.1-1", "flags of UNSUBSCRIBE", FromClient, WithFlags(Unsubscribe{PacketID: 1, TopicFilters: []string{"a"}}, 3), 0x81},
		{"MQTT-3.14.1-1", "flags of DISCONNECT", FromClient, WithFlags(Disconnect{}, 1), 0x81},
		{"MQTT-3.15.1-1", "flags of AUTH", FromClient, WithFlags(auth, 1), 0x81},
		{"MQTT-1.5.5-1", "over-long Remaining Length", FromClient, WithOverlongLength(Pingreq{}), 0x81},
		{"MQTT-1.5.5-1", "over-long property length", FromClient, Raw(unhex(t, "A2 07 0001 8000 0001 61")), 0x81},
		{"§1.5.5", "Remaining Length of five bytes", FromClient, Raw{0xC0, 0x80, 0x80, 0x80, 0x80, 0x01}, 0x81},
		{"§2.1.4", "PINGREQ with a body", FromClient, WithTrailing(Pingreq{}, 0), 0x81},
		{"§2.1.4", "bytes after PUBACK", FromClient, WithTrailing(LongForm(Puback{PacketID: 1}), 0), 0x81},
		{"§2.1.4", "property beyond its length", FromClient, Raw(unhex(t, "E0 04 00 02 11 00")), 0x81},
		{"§2.1.4", "PUBACK without identifier", FromClient, Truncated(Puback{PacketID: 1}, 1), 0x81},

		{"MQTT-3.1.2-1", "protocol name", FromClient, Corrupted(Connect{}, 4, 0x20), 0x84},
		{"MQTT-3.1.2-2", "protocol version", FromClient, Corrupted(Connect{}, 8, 0x01), 0x84},
		{"MQTT-3.1.2-3", "reserved flag", FromClient, con(0x01, "", "0000"), 0x81},
		{"MQTT-3.1.2-9", "will without fields", FromClient, con(0x04, "", "0000"), 0x81},
		{"MQTT-3.1.2-9", "will without topic", FromClient, con(0x04, "", "0000 00"), 0x81},
		{"MQTT-3.1.2-9", "will without payload", FromClient, con(0x04, "", "0000 00 0001 61"), 0x81},
		{"MQTT-3.1.2-11", "Will QoS without will", FromClient, con(0x08, "", "0000"), 0x81},
		{"MQTT-3.1.2-12", "Will QoS 3", FromClient, con(0x1C, "", "0000 00 0001 61 0000"), 0x81},
		{"MQTT-3.1.2-13", "Will Retain without will", FromClient, con(0x20, "", "0000"), 0x81},
		{"MQTT-3.1.2-16", "user name without flag", FromClient, con(0x00, "", "0000 0001 61"), 0x81},
		{"MQTT-3.1.2-17", "user name missing", FromClient, con(0x80, "", "0000"), 0x81},
		{"MQTT-3.1.2-18", "password without flag", FromClient, con(0x80, "", "0000 0001 61 0001 62"), 0x81},
		{"MQTT-3.1.2-19", "password missing", FromClient, con(0x40, "", "0000"), 0x81},
		{"MQTT-3.1.3-3", "client identifier missing", FromClient, con(0x00, "", ""), 0x81},
		{"MQTT-3.1.3-4", "client identifier", FromClient, Connect{ClientID: "\xff"}, 0x81},
		{"MQTT-3.1.3-11", "will topic not UTF-8", FromClient, Connect{Will: &Will{Topic: "\xc0\x80"}}, 0x81},
		{"MQTT-3.1.3-12", "user name not UTF-8", FromClient, Connect{Username: Ptr("\xed\xa0\x80")}, 0x81},
		{"MQTT-4.7.0-1", "wildcard in will topic", FromClient, Connect{Will: &Will{Topic: "a/+"}}, 0x90},
		{"MQTT-4.7.3-1", "empty will topic", FromClient, Connect{Will: &Will{}}, 0x82},
		{"§3.1.3.2.3", "will payload", FromClient, Connect{Will: &Will{Topic: "a", Payload: []byte{0xFF}, PayloadFormat: Ptr[byte](1)}}, 0x99},
		{"§2.2.2.2", "property twice", FromClient, con(0, "21 0001 21 0001", "0000"), 0x82},
		{"§2.2.2.2", "property of another packet", FromClient, con(0, "23 0001", "0000"), 0x81},
		{"§2.2.2.2", "unknown property", FromClient, con(0, "7F", "0000"), 0x81},
		{"§2.2.2.2", "Receive Maximum 0", FromClient, Connect{ReceiveMaximum: Ptr[uint16](0)}, 0x82},
		{"§2.2.2.2", "Maximum Packet Size 0", FromClient, Connect{MaximumPacketSizeBytes: Ptr[uint32](0)}, 0x82},
		{"§2.2.2.2", "Request Problem Information 2", FromClient, Connect{RequestProblemInformation: Ptr[byte](2)}, 0x82},
		{"§3.1.2.11.10", "Authentication Data alone", FromClient, Connect{AuthenticationData: []byte{}}, 0x82},
		{"MQTT-1.5.4-1", "User Property", FromClient, Connect{UserProperties: []UserProperty{{"a", "\xff"}}}, 0x81},
		{"MQTT-1.5.7-1", "User Property", FromClient, Connect{UserProperties: []UserProperty{{"\xff", "a"}}}, 0x81},

		{"MQTT-3.2.2-1", "acknowledge flags", FromServer, Corrupted(Connack{}, 2, 0x02), 0x81},
		{"MQTT-3.2.2-6", "Session Present of a refusal", FromServer, Connack{SessionPresent: true, ReasonCode: Banned}, 0x82},
		{"MQTT-3.2.2-8", "reason code of CONNACK", FromServer, Connack{ReasonCode: 0x91}, 0x82},
		{"§2.2.2.2", "Maximum QoS 2", FromServer, Connack{MaximumQoS: Ptr[byte](2)}, 0x82},
		{"§2.2.2.2", "extra property", FromServer, Connack{ExtraProperties: ByteProperty(propRequestProblem, 1)}, 0x81},

		{"MQTT-3.3.1-2", "DUP with QoS 0", FromClient, Publish{Topic: "a", Duplicate: true}, 0x81},
		{"MQTT-3.3.1-4", "QoS 3", FromClient, Publish{Topic: "a", QoS: 3, PacketID: 1}, 0x81},
		{"MQTT-2.2.1-3", "PUBLISH 0", FromClient, Publish{Topic: "a", QoS: 1}, 0x82},
		{"MQTT-2.2.1-4", "PUBLISH 0", FromServer, Publish{Topic: "a", QoS: 1}, 0x82},
		{"MQTT-2.2.1-5", "PUBACK 0", FromClient, Puback{}, 0x82},
		{"MQTT-2.2.1-3", "SUBSCRIBE 0", FromClient, Subscribe{Subscriptions: sub.Subscriptions}, 0x82},
		{"MQTT-3.3.2-1", "topic not UTF-8", FromClient, Publish{Topic: "\xff"}, 0x81},
		{"MQTT-1.5.4-2", "U+0000", FromClient, Publish{Topic: "a\x00"}, 0x81},
		{"MQTT-3.3.2-2", "wildcard in topic", FromClient, Publish{Topic: "a/#"}, 0x90},
		{"MQTT-4.7.3-1", "no topic", FromClient, Publish{}, 0x82},
		{"MQTT-3.3.2-8", "Topic Alias 0", FromClient, Publish{Topic: "a", TopicAlias: Ptr[uint16](0)}, 0x94},
		{"MQTT-3.3.2-13", "Response Topic not UTF-8", FromClient, Publish{Topic: "a", ResponseTopic: Ptr("\xff")}, 0x81},
		{"MQTT-3.3.2-14", "wildcard in Response Topic", FromClient, Publish{Topic: "a", ResponseTopic: Ptr("+")}, 0x82},
		{"MQTT-3.3.2-19", "Content Type not UTF-8", FromClient, Publish{Topic: "a", ContentType: Ptr("\xff")}, 0x81},
		{"MQTT-3.3.4-6", "Subscription Identifier", FromClient, Publish{Topic: "a", SubscriptionIdentifiers: []uint32{1}}, 0x82},
		{"§3.8.2.1.2", "Subscription Identifier 0", FromServer, Publish{Topic: "a", SubscriptionIdentifiers: []uint32{0}}, 0x82},
		{"§3.3.2.3.2", "payload", FromClient, Publish{Topic: "a", Payload: []byte{0xFF}, PayloadFormat: Ptr[byte](1)}, 0x99},

		{"MQTT-3.4.2-1", "reason of PUBACK", FromClient, Puback{PacketID: 1, ReasonCode: NoMatchingSubscribers}, 0x82},
		{"MQTT-3.5.2-1", "reason of PUBREC", FromClient, Pubrec{PacketID: 1, ReasonCode: 0x92}, 0x82},
		{"MQTT-3.6.2-1", "reason of PUBREL", FromClient, Pubrel{PacketID: 1, ReasonCode: 0x80}, 0x82},
		{"MQTT-3.7.2-1", "reason of PUBCOMP", FromClient, Pubcomp{PacketID: 1, ReasonCode: 0x80}, 0x82},
		{"MQTT-3.9.3-2", "reason of SUBACK", FromServer, Suback{PacketID: 1, ReasonCodes: []ReasonCode{3}}, 0x82},
		{"MQTT-3.11.3-2", "reason of UNSUBACK", FromServer, Unsuback{PacketID: 1, ReasonCodes: []ReasonCode{1}}, 0x82},
		{"MQTT-3.14.2-1", "reason of DISCONNECT", FromClient, Disconnect{ReasonCode: KeepAliveTimeout}, 0x82},
		{"MQTT-3.14.2-1", "reason of DISCONNECT", FromServer, Disconnect{ReasonCode: DisconnectWithWillMessage}, 0x82},
		{"MQTT-3.14.2-2", "Session Expiry Interval", FromServer, Disconnect{SessionExpiryIntervalSeconds: Ptr[uint32](1)}, 0x82},
		{"§2.2.2.2", "Server Reference", FromClient, Disconnect{ServerReference: Ptr("x")}, 0x81},
		{"MQTT-3.15.2-1", "reason of AUTH", FromClient, Auth{AuthenticationMethod: Ptr("m")}, 0x82},
		{"§3.15.2.2.2", "AUTH without method", FromServer, Auth{}, 0x82},

		{"MQTT-3.8.3-1", "filter not UTF-8", FromClient, filter("\xff"), 0x81},
		{"MQTT-3.8.3-2", "no filter", FromClient, Subscribe{PacketID: 1}, 0x82},
		{"MQTT-3.8.3-4", "No Local and shared", FromClient, Subscribe{PacketID: 1, Subscriptions: []Subscription{{TopicFilter: "$share/g/a", NoLocal: true}}}, 0x82},
		{"MQTT-3.8.3-5", "reserved options", FromClient, Corrupted(sub, -1, 0x40), 0x81},
		{"§3.8.3.1", "QoS 3", FromClient, Corrupted(sub, -1, 0x03), 0x82},
		{"§3.8.3.1", "Retain Handling 3", FromClient, Corrupted(sub, -1, 0x30), 0x82},
		{"MQTT-3.10.3-1", "filter not UTF-8", FromClient, Unsubscribe{PacketID: 1, TopicFilters: []string{"\xff"}}, 0x81},
		{"MQTT-3.10.3-2", "no filter", FromClient, Unsubscribe{PacketID: 1}, 0x82},
		{"MQTT-4.7.1-1", "# in the middle", FromClient, filter("a/#/b"), 0x82},
		{"MQTT-4.7.1-1", "# beside something", FromClient, filter("a/b#"), 0x82},
		{"MQTT-4.7.1-2", "+ beside something", FromClient, filter("a/+b"), 0x82},
		{"MQTT-4.7.3-1", "empty filter", FromClient, filter(""), 0x82},
		{"MQTT-4.8.2-1", "no share name", FromClient, filter("$share//a"), 0x82},
		{"MQTT-4.8.2-1", "nothing after $share", FromClient, filter("$share"), 0x82},
		{"MQTT-4.8.2-2", "wildcard in share name", FromClient, filter("$share/+/a"), 0x82},
		{"MQTT-4.8.2-2", "no filter after share name", FromClient, filter("$share/g"), 0x82},
		{"MQTT-4.8.2-2", "empty filter after share name", FromClient, filter("$share/g/"), 0x82},
	} {
		t.Run(tc.rule+" "+tc.what, func(t *testing.T) {
			b := Encode(tc.packet)
			p, _, err := Decode(b, tc.side)
			var v *Violation
			if !errors.As(err, &v) {
				t.Fatalf("% X: %v, %v", b, p, err)
			}
			if !v.Breaks(tc.rule) || v.ReasonCode != tc.code {
				t.Errorf("got %v with %v, want %v", err, v.ReasonCode, tc.code)
			}
			if !strings.Contains(err.Error(), "["+tc.rule+"]") {
				t.Errorf("the error does not name its rule: %v", err)
			}
		})
	}
}

func TestDecode_tolerates(t *testing.T) {
	t.Parallel()
	for _, p := range []Packet{
		Publish{Topic: "a", ContentType: Ptr("\ufeff\x01\ufffe")},
		Publish{Topic: "/"}, Publish{Topic: "$share/a"}, Publish{Topic: strings.Repeat("a", 65535)},
		Subscribe{PacketID: 1, Subscriptions: []Subscription{{TopicFilter: "+/+/#"}, {TopicFilter: "$shared/+"}, {TopicFilter: "$share/g/#"}, {TopicFilter: "/"}}},
		Connect{UserProperties: []UserProperty{{"a", "b"}, {"a", "b"}}},
	} {
		got, _, err := Decode(Encode(p), FromClient)
		if err != nil || Diff(p, got) != "" {
			t.Errorf("%s: %v, %s", Describe(p), err, Diff(p, got))
		}
	}
}

func TestMangle(t *testing.T) {
	t.Parallel()
	p := Puback{PacketID: 1}
	for _, tc := range []struct {
		name string
		got  Raw
		want string
	}{
		{"LongForm", LongForm(p), "40 04 0001 00 00"},
		{"WithFlags", WithFlags(p, 5), "45 02 0001"},
		{"WithRemainingLength", WithRemainingLength(p, 200), "40 C801 0001"},
		{"WithOverlongLength", WithOverlongLength(p), "40 8200 0001"},
		{"WithTrailing", WithTrailing(p, 7, 8), "40 04 0001 07 08"},
		{"Truncated", Truncated(p, 1), "40 01 00"},
		{"Truncated from the end", Truncated(p, -2), "40 00"},
		{"Truncated too much", Truncated(p, -3), "40 00"},
		{"Corrupted", Corrupted(p, -1, 0xFF), "40 02 00FE"},
		{"Corrupted beyond the end", Corrupted(p, 9, 0xFF), "40 02 0001"},
		{"Concat", Concat(p, &Pingresp{}, Raw{1}), "40 02 0001 D0 00 01"},
		{"properties", Encode(Puback{PacketID: 1, ExtraProperties: bytes.Join([][]byte{ByteProperty(1, 2), Uint16Property(3, 4), Uint32Property(5, 6), VarintProperty(7, 128), StringProperty(8, "a"), BinaryProperty(9, []byte{1}), StringPairProperty(10, "b", "c")}, nil)}),
			"40 20 0001 00 1C 01 02 03 0004 05 00000006 07 8001 08 0001 61 09 0001 01 0A 0001 62 0001 63"},
	} {
		if want := unhex(t, tc.want); !bytes.Equal(tc.got, want) {
			t.Errorf("%s: % X, want % X", tc.name, []byte(tc.got), want)
		}
	}
	if b := Encode(p); !bytes.Equal(b, unhex(t, "40 02 0001")) {
		t.Errorf("% X", b)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	will := func(topic string) Connect {
		return Connect{Will: &Will{Topic: topic, UserProperties: []UserProperty{{"a", topic}}}}
	}
	for _, tc := range []struct{ want, got Packet }{
		{Publish{Payload: []byte{}}, Publish{}},
		{will("x"), will("x")},
		{Raw{1}, Raw{1}},
		{&Pingreq{}, Pingreq{}},
	} {
		if d := Diff(tc.want, tc.got); d != "" {
			t.Errorf("equal packets differ: %s", d)
		}
	}
	for _, tc := range []struct {
		want, got Packet
		diff      string
	}{
		{Publish{Topic: "a"}, Publish{Topic: "b"}, "Topic: want \"a\", got \"b\"\n"},
		{Publish{CorrelationData: []byte{}}, Publish{}, "CorrelationData: want \"\", got absent\n"},
		{Connack{MaximumQoS: Ptr[byte](1)}, Connack{}, "MaximumQoS: want 1, got absent\n"},
		{will("x"), will("y"), "Will.Topic: want \"x\", got \"y\"\nWill.UserProperties[0]: want {Name: \"a\", Value: \"x\"}, got {Name: \"a\", Value: \"y\"}\n"},
		{will("x"), Connect{}, "Will: want {Topic: \"x\", UserProperties: [{Name: \"a\", Value: \"x\"}]}, got absent\n"},
		{Puback{PacketID: 1}, Pubrec{PacketID: 1, ReasonCode: QuotaExceeded}, "want PUBACK{PacketID: 1}\ngot  PUBREC{PacketID: 1, ReasonCode: 0x97 Quota exceeded}\n"},
		{Puback{}, nil, "want PUBACK{}\ngot  no packet\n"},
	} {
		if d := Diff(tc.want, tc.got); d != tc.diff {
			t.Errorf("got %q\nwant %q", d, tc.diff)
		}
	}
}

// FuzzDecode checks that decoding never panics, and that what it accepts
// survives encoding.
func FuzzDecode(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.wire), g.side == FromServer)
	}
	f.Fuzz(func(t *testing.T, b []byte, server bool) {
		side := FromClient
		if server {
			side = FromServer
		}
		p, n, err := Decode(b, side)
		q, raw, streamErr := readPacket(bytes.NewReader(b), side)
		if (err == nil) != (streamErr == nil) {
			t.Fatalf("decoding: %v, reading: %v", err, streamErr)
		}
		var v *Violation
		if err != nil {
			if !errors.As(err, &v) && err != io.ErrUnexpectedEOF {
				t.Fatal(err)
			}
			return
		}
		if n != len(raw) || Diff(p, q) != "" {
			t.Fatalf("decoding and reading differ: %s", Diff(p, q))
		}
		for _, again := range []Raw{Encode(p), LongForm(p)} {
			r, m, err := Decode(again, side)
			if err != nil || m != len(again) || Diff(p, r) != "" {
				t.Fatalf("% X decodes to %s, which encodes to % X: %v %s", b, Describe(p), again, err, Diff(p, r))
			}
		}
	})
}
