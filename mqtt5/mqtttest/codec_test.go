// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// unhex reads hexadecimal digits; spaces have no meaning.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden has the wire form of packets, put together by hand from the tables of
// the standard.
var golden = []struct {
	name   string
	side   Side
	packet Packet
	wire   string
}{
	{"connect minimal", FromClient, Connect{CleanStart: true}, "10 0D 0004 4D515454 05 02 0000 00 0000"},
	{"connect session expiry", FromClient, Connect{CleanStart: true, KeepAliveSeconds: 10, SessionExpiryIntervalSeconds: Ptr[uint32](10), ClientID: "a",
		Username: Ptr("u"), Password: []byte("p")},
		"10 19 0004 4D515454 05 C2 000A 05 11 0000000A 0001 61 0001 75 0001 70"},
	{"connect password alone", FromClient, Connect{Password: []byte{}}, "10 0F 0004 4D515454 05 40 0000 00 0000 0000"},
	{"connect full", FromClient, Connect{
		KeepAliveSeconds: 0x1234, ClientID: "id", SessionExpiryIntervalSeconds: Ptr[uint32](0xFFFFFFFF), ReceiveMaximum: Ptr[uint16](3),
		MaximumPacketSizeBytes: Ptr[uint32](0x10000), TopicAliasMaximum: Ptr[uint16](4), RequestResponseInformation: Ptr[byte](1),
		RequestProblemInformation: Ptr[byte](0), UserProperties: []UserProperty{{"k", "v"}, {"k", ""}},
		AuthenticationMethod: Ptr("M"), AuthenticationData: []byte{0xFF},
		Will: &Will{Topic: "w", Payload: []byte{1}, QoS: 2, Retain: true, DelayIntervalSeconds: Ptr[uint32](5),
			PayloadFormat: Ptr[byte](1), MessageExpirySeconds: Ptr[uint32](6), ContentType: Ptr("c"),
			ResponseTopic: Ptr("r"), CorrelationData: []byte{7}, UserProperties: []UserProperty{{"a", "b"}}},
	}, "10 5E" + "0004 4D515454 05 34 1234" +
		"29 11 FFFFFFFF 15 0001 4D 16 0001 FF 17 00 19 01 21 0003 22 0004 26 0001 6B 0001 76 26 0001 6B 0000 27 00010000" +
		"0002 6964" +
		"1F 01 01 02 00000006 03 0001 63 08 0001 72 09 0001 07 18 00000005 26 0001 61 0001 62" +
		"0001 77 0001 01"},
	{"connack", FromServer, Connack{}, "20 03 00 00 00"},
	{"connack refused", FromServer, Connack{ReasonCode: NotAuthorized}, "20 03 00 87 00"},
	{"connack full", FromServer, Connack{SessionPresent: true, SessionExpiryIntervalSeconds: Ptr[uint32](1), ReceiveMaximum: Ptr[uint16](2),
		MaximumQoS: Ptr[byte](1), RetainAvailable: Ptr[byte](0), MaximumPacketSizeBytes: Ptr[uint32](3), AssignedClientID: Ptr("i"),
		TopicAliasMaximum: Ptr[uint16](4), ReasonString: Ptr("s"), UserProperties: []UserProperty{{"a", "b"}},
		WildcardSubscriptionsAvailable: Ptr[byte](0), SubscriptionIDsAvailable: Ptr[byte](0),
		SharedSubscriptionsAvailable: Ptr[byte](0), ServerKeepAliveSeconds: Ptr[uint16](5), ResponseInformation: Ptr("r"),
		ServerReference: Ptr("h"), AuthenticationMethod: Ptr("m"), AuthenticationData: []byte{}},
		"20 3E 01 00 3B 11 00000001 12 0001 69 13 0005 15 0001 6D 16 0000 1A 0001 72 1C 0001 68 1F 0001 73 21 0002 22 0004" +
			"24 01 25 00 26 0001 61 0001 62 27 00000003 28 00 29 00 2A 00"},
	{"publish qos 0", FromClient, Publish{Topic: "a/b", Payload: []byte("hi")}, "30 08 0003 612F62 00 6869"},
	{"publish qos 1", FromClient, Publish{Topic: "a", QoS: 1, PacketID: 0x0102, Duplicate: true, Retain: true}, "3B 06 0001 61 0102 00"},
	{"publish full", FromServer, Publish{Topic: "t", QoS: 2, PacketID: 1, Payload: []byte{0x7F}, PayloadFormat: Ptr[byte](1),
		MessageExpirySeconds: Ptr[uint32](2), TopicAlias: Ptr[uint16](3), ResponseTopic: Ptr("r"), CorrelationData: []byte{},
		UserProperties: []UserProperty{{"", ""}}, SubscriptionIdentifiers: []uint32{127, 128}, ContentType: Ptr("c")},
		"34 26 0001 74 0001 1F 01 01 02 00000002 03 0001 63 08 0001 72 09 0000 0B 7F 0B 8001 23 0003 26 0000 0000 7F"},
	{"puback", FromClient, Puback{PacketID: 7}, "40 02 0007"},
	{"puback code", FromServer, Puback{PacketID: 7, ReasonCode: NoMatchingSubscribers}, "40 03 0007 10"},
	{"puback full", FromServer, Puback{PacketID: 7, ReasonString: Ptr("x"), UserProperties: []UserProperty{{"a", "b"}}},
		"40 0F 0007 00 0B 1F 0001 78 26 0001 61 0001 62"},
	{"pubrec", FromClient, Pubrec{PacketID: 0xFFFF, ReasonCode: QuotaExceeded}, "50 03 FFFF 97"},
	{"pubrel", FromClient, Pubrel{PacketID: 1}, "62 02 0001"},
	{"pubrel code", FromServer, Pubrel{PacketID: 1, ReasonCode: PacketIdentifierNotFound}, "62 03 0001 92"},
	{"pubcomp", FromServer, Pubcomp{PacketID: 1}, "70 02 0001"},
	{"subscribe", FromClient, Subscribe{PacketID: 10, Subscriptions: []Subscription{{TopicFilter: "a/b", QoS: 1}, {TopicFilter: "c/d", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 2}}},
		"82 0F 000A 00 0003 612F62 01 0003 632F64 2E"},
	{"subscribe identifier", FromClient, Subscribe{PacketID: 1, SubscriptionIdentifier: Ptr[uint32](268435455), UserProperties: []UserProperty{{"a", "b"}},
		Subscriptions: []Subscription{{TopicFilter: "#"}}}, "82 13 0001 0C 0B FFFFFF7F 26 0001 61 0001 62 0001 23 00"},
	{"suback", FromServer, Suback{PacketID: 10, ReasonCodes: []ReasonCode{1, 2, 0x87}}, "90 06 000A 00 01 02 87"},
	{"unsubscribe", FromClient, Unsubscribe{PacketID: 3, TopicFilters: []string{"a", "$share/g/b"}}, "A2 12 0003 00 0001 61 000A 2473686172652F672F62"},
	{"unsuback", FromServer, Unsuback{PacketID: 3, ReasonString: Ptr(""), ReasonCodes: []ReasonCode{0, 0x11}}, "B0 08 0003 03 1F 0000 00 11"},
	{"pingreq", FromClient, Pingreq{}, "C0 00"},
	{"pingresp", FromServer, Pingresp{}, "D0 00"},
	{"disconnect", FromClient, Disconnect{}, "E0 00"},
	{"disconnect code", FromClient, Disconnect{ReasonCode: DisconnectWithWillMessage}, "E0 01 04"},
	{"disconnect expiry", FromClient, Disconnect{SessionExpiryIntervalSeconds: Ptr[uint32](9)}, "E0 07 00 05 11 00000009"},
	{"disconnect moved", FromServer, Disconnect{ReasonCode: ServerMoved, ServerReference: Ptr("h")}, "E0 06 9D 04 1C 0001 68"},
	{"auth", FromClient, Auth{ReasonCode: ContinueAuthentication, AuthenticationMethod: Ptr("m"), AuthenticationData: []byte{1}},
		"F0 0A 18 08 15 0001 6D 16 0001 01"},
	{"auth success", FromServer, Auth{AuthenticationMethod: Ptr("m")}, "F0 06 00 04 15 0001 6D"},
}

func TestCodec_golden(t *testing.T) {
	t.Parallel()
	for _, tc := range golden {
		t.Run(tc.name, func(t *testing.T) {
			wire := unhex(t, tc.wire)
			if got := Encode(tc.packet); !bytes.Equal(got, wire) {
				t.Errorf("encoded\n% X, want\n% X", got, wire)
			}
			got, n, err := Decode(append(wire, 0xC0), tc.side)
			if err != nil || n != len(wire) {
				t.Fatalf("decoded %d of %d bytes, %v", n, len(wire), err)
			}
			if d := Diff(tc.packet, got); d != "" {
				t.Errorf("decoded:\n%s", d)
			}
			for i := range wire {
				if _, _, err := Decode(wire[:i], tc.side); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the first %d bytes: %v", i, err)
				}
			}
			long := LongForm(tc.packet)
			if got, _, err := Decode(long, tc.side); err != nil || Diff(tc.packet, got) != "" {
				t.Errorf("long form % X: %v, %v", long, got, err)
			}
			got, raw, err := readPacket(iotest.OneByteReader(bytes.NewReader(wire)), tc.side)
			if err != nil || Diff(tc.packet, got) != "" || !bytes.Equal(raw, wire) {
				t.Errorf("read byte by byte: %v, % X, %v", got, raw, err)
			}
			for i := range wire {
				_, raw, err := readPacket(bytes.NewReader(wire[:i]), tc.side)
				want := io.ErrUnexpectedEOF
				if i == 0 {
					want = io.EOF
				}
				if err != want || !bytes.Equal(raw, wire[:i]) {
					t.Errorf("read of %d bytes: % X, %v", i, raw, err)
				}
			}
		})
	}
}
