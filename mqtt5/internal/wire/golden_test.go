// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// golden is one packet as the standard lays it out, and what it means. The
// bytes were put together by hand.
type golden struct {
	name   string
	bytes  string
	packet any // nil for PINGREQ and PINGRESP
	// longer says that the encoder writes the packet in fewer bytes.
	longer bool
	// whole lists the lengths at which the body could also end.
	whole      []int
	fromClient bool
}

var goldens = []golden{
	{
		name: "MQTT-3.1.3-3 CONNECT shortest, with an empty client identifier",
		bytes: `10 0d
			00 04 'MQTT' 05
			00     # flags
			0000   # keep alive
			00     # property length
			0000   # client identifier`,
		packet: &Connect{},
	},
	{
		name: "MQTT-3.1.3-1 MQTT-3.1.2-9 MQTT-3.1.2-17 MQTT-3.1.2-19 CONNECT fullest",
		bytes: `10 7a
			00 04 'MQTT' 05
			f6     # user name, password, will retain, will QoS 2, will, clean start
			003c
			2f
			11 00000e10            # session expiry interval
			15 0005 'SCRAM'        # authentication method
			16 0002 aabb           # authentication data
			17 00                  # request problem information
			19 01                  # request response information
			21 000a                # receive maximum
			22 0005                # topic alias maximum
			26 0001 'k' 0001 'v'   # user property
			26 0001 'k' 0001 'w'   # the same name again
			27 00010000            # maximum packet size
			0003 'dev'             # client identifier
			27                     # will properties
			01 01                  # payload format
			02 0000003c            # message expiry interval
			03 0004 'text'         # content type
			08 0005 'reply'        # response topic
			09 0002 0102           # correlation data
			18 0000001e            # will delay interval
			26 0001 'a' 0001 'b'   # user property
			0004 'gone'            # will topic
			0003 'bye'             # will payload
			0002 'me'              # user name
			0002 'pw'              # password`,
		packet: &Connect{
			ClientID: "dev", CleanStart: true, KeepAlive: 60,
			Will: &Will{
				Topic: "gone", Payload: []byte("bye"), QoS: 2, Retain: true, DelayInterval: ptr(uint32(30)),
				Properties: &PublishProperties{
					PayloadFormat: ptr(uint8(1)), MessageExpiryInterval: ptr(uint32(60)), ContentType: ptr("text"),
					ResponseTopic: ptr("reply"), CorrelationData: []byte{1, 2},
					UserProperties: []UserProperty{{"a", "b"}},
				},
			},
			Username: ptr("me"), Password: []byte("pw"),
			SessionExpiryInterval: ptr(uint32(3600)), ReceiveMaximum: ptr(uint16(10)),
			MaximumPacketSize: ptr(uint32(65536)), TopicAliasMaximum: ptr(uint16(5)),
			RequestResponseInformation: ptr(true), RequestProblemInformation: ptr(false),
			AuthenticationMethod: ptr("SCRAM"), AuthenticationData: []byte{0xAA, 0xBB},
			UserProperties: []UserProperty{{"k", "v"}, {"k", "w"}},
		},
	},
	{
		name: "MQTT-3.1.2-16 MQTT-3.1.2-18 CONNECT with a password and no user name",
		bytes: `10 10
			00 04 'MQTT' 05  40 000a 00
			0000
			0001 ff`,
		packet: &Connect{KeepAlive: 10, Password: []byte{0xFF}},
	},
	{
		name: "CONNECT with an empty will",
		bytes: `10 13
			00 04 'MQTT' 05  04 0000 00
			0000
			00 0001 'w' 0000`,
		packet: &Connect{Will: &Will{Topic: "w", Payload: []byte{}}},
	},
	{
		name:   "CONNACK shortest",
		bytes:  `20 03 00 00 00`,
		packet: &Connack{},
	},
	{
		name: "CONNACK fullest",
		bytes: `20 41
			01 00 3e
			11 00000078            # session expiry interval
			12 0003 'abc'          # assigned client identifier
			13 001e                # server keep alive
			15 0001 'M'            # authentication method
			16 0001 ff             # authentication data
			1a 0001 'i'            # response information
			1c 0001 's'            # server reference
			1f 0002 'ok'           # reason string
			21 0064                # receive maximum
			22 0008                # topic alias maximum
			24 01                  # maximum QoS
			25 01                  # retain available
			26 0001 'k' 0000       # user property with an empty value
			27 00020000            # maximum packet size
			28 01                  # wildcard subscription available
			29 00                  # subscription identifiers available
			2a 01                  # shared subscription available`,
		packet: &Connack{
			SessionPresent: true, SessionExpiryInterval: ptr(uint32(120)), ReceiveMaximum: ptr(uint16(100)),
			MaximumQoS: ptr(uint8(1)), RetainAvailable: ptr(true), MaximumPacketSize: ptr(uint32(131072)),
			AssignedClientID: ptr("abc"), TopicAliasMaximum: ptr(uint16(8)), ReasonString: ptr("ok"),
			WildcardSubscriptionsAvailable: ptr(true), SubscriptionIDsAvailable: ptr(false),
			SharedSubscriptionsAvailable: ptr(true), ServerKeepAlive: ptr(uint16(30)),
			ResponseInformation: ptr("i"), ServerReference: ptr("s"), AuthenticationMethod: ptr("M"),
			AuthenticationData: []byte{0xFF}, UserProperties: []UserProperty{{"k", ""}},
		},
	},
	{
		name:   "CONNACK that refuses",
		bytes:  `20 03 00 87 00`,
		packet: &Connack{ReasonCode: NotAuthorized},
	},
	{
		name:   "CONNACK with a code that is not in its table",
		bytes:  `20 03 00 ee 00`,
		packet: &Connack{ReasonCode: 0xEE},
	},
	{
		name:   "MQTT-2.2.2-1 MQTT-2.2.1-2 PUBLISH shortest",
		bytes:  `30 04 0001 'a' 00`,
		packet: &Publish{Topic: "a", Payload: []byte{}},
	},
	{
		name:   "MQTT-3.3.2-1 PUBLISH QoS 1 with payload",
		bytes:  `32 08 0001 'a' ffff 00 '{}'`,
		packet: &Publish{Topic: "a", PacketID: 65535, QoS: 1, Payload: []byte("{}")},
		whole:  []int{6, 7},
	},
	{
		name:   "PUBLISH with an alias in place of the topic",
		bytes:  `30 06 0000 03 23 0007`,
		packet: &Publish{TopicAlias: 7, Payload: []byte{}},
	},
	{
		name: "PUBLISH fullest",
		bytes: `3d 2e                      # DUP, QoS 2, RETAIN
			0003 'a/b' 1234 24
			01 01                  # payload format
			02 0000000a            # message expiry interval
			03 0001 't'            # content type
			08 0001 'r'            # response topic
			09 0001 00             # correlation data
			0b 01                  # subscription identifier
			0b ffffff7f            # another one
			23 0005                # topic alias
			26 0001 'n' 0001 'v'   # user property
			'hi'`,
		packet: &Publish{
			Topic: "a/b", PacketID: 0x1234, QoS: 2, Retain: true, Dup: true, TopicAlias: 5, Payload: []byte("hi"),
			Properties: &PublishProperties{
				PayloadFormat: ptr(uint8(1)), MessageExpiryInterval: ptr(uint32(10)), ContentType: ptr("t"),
				ResponseTopic: ptr("r"), CorrelationData: []byte{0}, SubscriptionIDs: []uint32{1, 268_435_455},
				UserProperties: []UserProperty{{"n", "v"}},
			},
		},
		whole: []int{44, 45},
	},
	{
		name: "PUBLISH with properties that are there but empty",
		bytes: `30 0d 0001 'a' 09
			03 0000                # content type
			08 0000                # response topic
			09 0000                # correlation data`,
		packet: &Publish{Topic: "a", Payload: []byte{}, Properties: &PublishProperties{
			ContentType: ptr(""), ResponseTopic: ptr(""), CorrelationData: []byte{},
		}},
	},
	{
		name:   "MQTT-1.5.4-3 U+FEFF is kept",
		bytes:  `30 07 0004 efbbbf 'a' 00`,
		packet: &Publish{Topic: "\ufeffa", Payload: []byte{}},
	},
	{
		name:   "PUBACK shortest",
		bytes:  `40 02 0001`,
		packet: &Ack{PacketID: 1},
	},
	{
		name:   "PUBACK with a code",
		bytes:  `40 03 0102 10`,
		packet: &Ack{PacketID: 0x102, ReasonCode: NoMatchingSubscribers},
		whole:  []int{2},
	},
	{
		name:   "PUBACK success, spelled out",
		bytes:  `40 04 0001 00 00`,
		packet: &Ack{PacketID: 1},
		longer: true,
		whole:  []int{2, 3},
	},
	{
		name: "PUBACK fullest",
		bytes: `40 12 0001 97 0e
			1f 0004 'full'
			26 0001 'q' 0001 '9'`,
		packet: &Ack{
			PacketID: 1, ReasonCode: QuotaExceeded, ReasonString: ptr("full"), UserProperties: []UserProperty{{"q", "9"}},
		},
		whole: []int{2, 3},
	},
	{
		name:   "PUBREC with success and a reason string",
		bytes:  `50 07 0001 00 03 1f 0000`,
		packet: &Ack{PacketID: 1, ReasonString: ptr("")},
		whole:  []int{2, 3},
	},
	{
		name:   "MQTT-3.6.1-1 PUBREL shortest",
		bytes:  `62 02 0001`,
		packet: &Ack{PacketID: 1},
	},
	{
		name:   "PUBREL with a code",
		bytes:  `62 03 0001 92`,
		packet: &Ack{PacketID: 1, ReasonCode: PacketIdentifierNotFound},
		whole:  []int{2},
	},
	{
		name:   "PUBCOMP shortest",
		bytes:  `70 02 0001`,
		packet: &Ack{PacketID: 1},
	},
	{
		name:   "MQTT-3.8.1-1 SUBSCRIBE shortest",
		bytes:  `82 07 000a 00 0001 'a' 00`,
		packet: &Subscribe{PacketID: 10, Subscriptions: []Subscription{{TopicFilter: "a"}}},
	},
	{
		name: "SUBSCRIBE fullest",
		bytes: `82 20 000a 0a
			0b 8001                # subscription identifier 128
			26 0001 'k' 0001 'v'
			0003 'a/+' 2e          # retain handling 2, retain as published, no local, QoS 2
			000a '$share/g/#' 01`,
		packet: &Subscribe{
			PacketID: 10, SubscriptionID: ptr(uint32(128)), UserProperties: []UserProperty{{"k", "v"}},
			Subscriptions: []Subscription{
				{TopicFilter: "a/+", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 2},
				{TopicFilter: "$share/g/#", QoS: 1},
			},
		},
		whole: []int{19},
	},
	{
		name:   "SUBACK shortest",
		bytes:  `90 04 000a 00 00`,
		packet: &SubscribeAck{PacketID: 10, ReasonCodes: []ReasonCode{0}},
	},
	{
		name: "SUBACK fullest",
		bytes: `90 14 000a 0c
			1f 0002 'ok'
			26 0001 'k' 0001 'v'
			00 01 02 80 87`,
		packet: &SubscribeAck{
			PacketID: 10, ReasonString: ptr("ok"), UserProperties: []UserProperty{{"k", "v"}},
			ReasonCodes: []ReasonCode{0, 1, 2, UnspecifiedError, NotAuthorized},
		},
		whole: []int{16, 17, 18, 19},
	},
	{
		name:   "MQTT-3.10.1-1 UNSUBSCRIBE shortest",
		bytes:  `a2 06 000b 00 0001 'a'`,
		packet: &Unsubscribe{PacketID: 11, TopicFilters: []string{"a"}},
	},
	{
		name: "UNSUBSCRIBE fullest",
		bytes: `a2 12 000b 07
			26 0001 'k' 0001 'v'
			0001 'a'
			0003 'b/#'`,
		packet: &Unsubscribe{
			PacketID: 11, TopicFilters: []string{"a", "b/#"}, UserProperties: []UserProperty{{"k", "v"}},
		},
		whole: []int{13},
	},
	{
		name:   "UNSUBACK",
		bytes:  `b0 05 000b 00 00 11`,
		packet: &SubscribeAck{PacketID: 11, ReasonCodes: []ReasonCode{0, NoSubscriptionExisted}},
		whole:  []int{4},
	},
	{name: "PINGREQ", bytes: `c0 00`},
	{name: "PINGRESP", bytes: `d0 00`},
	{
		name:   "DISCONNECT shortest",
		bytes:  `e0 00`,
		packet: &Disconnect{},
	},
	{
		name:   "DISCONNECT with a code",
		bytes:  `e0 01 8e`,
		packet: &Disconnect{ReasonCode: SessionTakenOver},
		whole:  []int{0},
	},
	{
		name:   "DISCONNECT, property length 0 spelled out",
		bytes:  `e0 02 8b 00`,
		packet: &Disconnect{ReasonCode: ServerShuttingDown},
		longer: true,
		whole:  []int{0, 1},
	},
	{
		name: "DISCONNECT fullest from the client",
		bytes: `e0 14 04 12
			11 00000005            # session expiry interval
			1f 0003 'bye'
			26 0001 'k' 0001 'v'`,
		packet: &Disconnect{
			ReasonCode: DisconnectWithWill, SessionExpiryInterval: ptr(uint32(5)), ReasonString: ptr("bye"),
			UserProperties: []UserProperty{{"k", "v"}},
		},
		whole:      []int{0, 1},
		fromClient: true,
	},
	{
		name: "DISCONNECT fullest from the server",
		bytes: `e0 16 9d 14
			1c 0003 'h:1'          # server reference
			1f 0004 'move'
			26 0001 'k' 0001 'v'`,
		packet: &Disconnect{
			ReasonCode: ServerMoved, ServerReference: ptr("h:1"), ReasonString: ptr("move"),
			UserProperties: []UserProperty{{"k", "v"}},
		},
		whole: []int{0, 1},
	},
	{
		name:   "AUTH with the method alone",
		bytes:  `f0 06 18 04 15 0001 'M'`,
		packet: &Auth{ReasonCode: ContinueAuthentication, AuthenticationMethod: ptr("M")},
	},
	{
		name: "AUTH fullest",
		bytes: `f0 18 19 16
			15 0001 'M'
			16 0003 010203
			1f 0002 'go'
			26 0001 'k' 0001 'v'`,
		packet: &Auth{
			ReasonCode: Reauthenticate, AuthenticationMethod: ptr("M"), AuthenticationData: []byte{1, 2, 3},
			ReasonString: ptr("go"), UserProperties: []UserProperty{{"k", "v"}},
		},
	},
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			b := Unhex(t, g.bytes)
			f := mustFrame(t, b)
			got, err := parse(&f, !g.fromClient)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(g.packet, got); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
			if out := encode(t, f.Type, g.packet); bytes.Equal(out, b) == g.longer {
				t.Errorf("encoded as % x\n       want % x", out, b)
			}
		})
	}
}

// TestGolden_truncated cuts each packet at every byte, once in the stream and
// once with a header that says the packet ends there.
func TestGolden_truncated(t *testing.T) {
	t.Parallel()
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			b := Unhex(t, g.bytes)
			for n := range len(b) {
				f, need, err := ParseFrame(b[:n], 0)
				if need <= n || need > len(b) || err != nil || f.Body != nil {
					t.Errorf("%d bytes of the stream: need %d, %v", n, need, err)
				}
			}
			f := mustFrame(t, b)
			for n := range len(f.Body) {
				short := Frame{Type: f.Type, Flags: f.Flags, Body: f.Body[:n:n]}
				_, err := parse(&short, !g.fromClient)
				if whole := slices.Contains(g.whole, n); whole != (err == nil) {
					t.Errorf("%d bytes of the body: %v", n, err)
				}
			}
		})
	}
}

// TestGolden_trailing adds a byte to the body of each packet that does not end
// in a list or a payload.
func TestGolden_trailing(t *testing.T) {
	t.Parallel()
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			f := mustFrame(t, Unhex(t, g.bytes))
			f.Body = append(f.Body, 0)
			_, err := parse(&f, !g.fromClient)
			switch f.Type {
			case TypePublish, TypeSuback, TypeUnsuback:
				return // a longer payload, another reason code
			case TypePuback, TypePubrec, TypePubrel, TypePubcomp:
				if len(f.Body) <= 4 {
					return // a longer form of the same
				}
			case TypeDisconnect:
				if len(f.Body) <= 2 {
					return
				}
			}
			if err == nil || err.Reason != MalformedPacket {
				t.Errorf("got %v", err)
			}
		})
	}
}
