// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// summary turns violations into "Field [rule]" lines.
func summary(vs []*Violation) (out []string) {
	for _, v := range vs {
		out = append(out, v.Field+" ["+v.Rule+"]")
	}
	return out
}

func TestCheck(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65_536)
	for _, c := range []struct {
		name string
		got  []*Violation
		want []string
	}{
		{"PUBLISH, nothing wrong", CheckPublish(&Publish{Topic: "a", QoS: 2}), nil},
		{"PUBLISH with all properties", CheckPublish(&Publish{Topic: "a", Payload: []byte("\u00e4"), Properties: &PublishProperties{
			PayloadFormat: ptr(uint8(1)), MessageExpiryInterval: ptr(uint32(0)), ContentType: ptr(""), ResponseTopic: ptr("r"),
			CorrelationData: []byte{}, UserProperties: []UserProperty{{"", ""}},
		}}), nil},
		{"PUBLISH with an alias only", CheckPublish(&Publish{TopicAlias: 1}), nil},
		{"MQTT-4.7.3-1 empty topic", CheckPublish(&Publish{}), []string{"Topic [MQTT-4.7.3-1]"}},
		{"MQTT-3.3.2-2 wildcard in the topic", CheckPublish(&Publish{Topic: "a/#"}), []string{"Topic [MQTT-3.3.2-2]"}},
		{"MQTT-3.3.1-4 QoS 3", CheckPublish(&Publish{Topic: "a", QoS: 3}), []string{"QoS [MQTT-3.3.1-4]"}},
		{"MQTT-3.3.2-1 MQTT-1.5.4-1 topic is ill-formed", CheckPublish(&Publish{Topic: "\xff"}), []string{"Topic [MQTT-1.5.4-1]"}},
		{"MQTT-4.7.3-3 topic is too long", CheckPublish(&Publish{Topic: long}), []string{"Topic [MQTT-4.7.3-3]"}},
		{"packet is too large", CheckPublish(&Publish{Topic: "a", Payload: hugePayload()}), []string{" [2.1.4]"}},
		{"all problems at once", CheckPublish(&Publish{Topic: "+", QoS: 9, Payload: []byte{0xFF}, Properties: &PublishProperties{
			PayloadFormat: ptr(uint8(1)), ContentType: ptr("\x00"), ResponseTopic: ptr("a/+"), CorrelationData: []byte(long),
			SubscriptionIDs: []uint32{1}, UserProperties: []UserProperty{{"a", "b"}, {"\xff", long}},
		}}), []string{
			"QoS [MQTT-3.3.1-4]", "Topic [MQTT-3.3.2-2]", "Payload [3.3.2.3.2]", "Properties.ContentType [MQTT-3.3.2-19]",
			"Properties.CorrelationData [1.5.6]", "Properties.ResponseTopic [MQTT-3.3.2-14]",
			"Properties.UserProperties[1].Name [MQTT-1.5.7-1]", "Properties.UserProperties[1].Value [1.5.4]",
			"Properties.SubscriptionIDs [MQTT-3.3.4-6]",
		}},
		{"MQTT-3.3.2-13 response topic is ill-formed", CheckPublish(&Publish{Topic: "a", Properties: &PublishProperties{ResponseTopic: ptr("\xff")}}),
			[]string{"Properties.ResponseTopic [MQTT-3.3.2-13]"}},
		{"MQTT-3.3.2-14 response topic has a wildcard", CheckPublish(&Publish{Topic: "a", Properties: &PublishProperties{ResponseTopic: ptr("#")}}),
			[]string{"Properties.ResponseTopic [MQTT-3.3.2-14]"}},
		{"MQTT-3.3.2-19 content type is ill-formed", CheckPublish(&Publish{Topic: "a", Properties: &PublishProperties{ContentType: ptr("\xff")}}),
			[]string{"Properties.ContentType [MQTT-3.3.2-19]"}},
		{"MQTT-1.5.7-1 user property is ill-formed", CheckPublish(&Publish{Topic: "a", Properties: &PublishProperties{
			UserProperties: []UserProperty{{"a", "\x00"}},
		}}), []string{"Properties.UserProperties[0].Value [MQTT-1.5.7-1]"}},
		{"MQTT-3.3.4-6 subscription identifier from a client", CheckPublish(&Publish{Topic: "a", Properties: &PublishProperties{
			SubscriptionIDs: []uint32{7},
		}}), []string{"Properties.SubscriptionIDs [MQTT-3.3.4-6]"}},
		{"payload format 2", CheckPublish(&Publish{Topic: "a", Properties: &PublishProperties{PayloadFormat: ptr(uint8(2))}}),
			[]string{"Properties.PayloadFormat [3.3.2.3.2]"}},

		{"CONNECT, nothing wrong", CheckConnect(&Connect{Will: &Will{Topic: "w"}}), nil},
		{"MQTT-3.1.3-4 client identifier", CheckConnect(&Connect{ClientID: "\xff"}), []string{"ClientID [MQTT-3.1.3-4]"}},
		{"client identifier too long", CheckConnect(&Connect{ClientID: long}), []string{"ClientID [1.5.4]"}},
		{"MQTT-3.1.3-12 user name", CheckConnect(&Connect{Username: ptr("\x00")}), []string{"Username [MQTT-3.1.3-12]"}},
		{"password too long", CheckConnect(&Connect{Password: []byte(long)}), []string{"Password [1.5.6]"}},
		{"zeros", CheckConnect(&Connect{ReceiveMaximum: ptr(uint16(0)), MaximumPacketSize: ptr(uint32(0))}),
			[]string{"ReceiveMaximum [3.1.2.11.3]", "MaximumPacketSize [3.1.2.11.4]"}},
		{"authentication data without a method", CheckConnect(&Connect{AuthenticationData: []byte{}}),
			[]string{"AuthenticationData [3.1.2.11.10]"}},
		{"MQTT-3.1.2-12 will QoS 3", CheckConnect(&Connect{Will: &Will{Topic: "w", QoS: 3}}), []string{"Will.QoS [MQTT-3.1.2-12]"}},
		{"MQTT-3.1.3-11 will topic is ill-formed", CheckConnect(&Connect{Will: &Will{Topic: "\xff"}}), []string{"Will.Topic [MQTT-3.1.3-11]"}},
		{"MQTT-4.7.0-1 will topic has a wildcard", CheckConnect(&Connect{Will: &Will{Topic: "+"}}), []string{"Will.Topic [MQTT-4.7.0-1]"}},
		{"will payload and properties", CheckConnect(&Connect{Will: &Will{Topic: "w", Payload: []byte(long), Properties: &PublishProperties{
			SubscriptionIDs: []uint32{1}, ContentType: ptr("\xff"),
		}}}), []string{"Will.Payload [1.5.6]", "Will.Properties.ContentType [MQTT-3.3.2-19]", "Will.Properties.SubscriptionIDs [2.2.2.2]"}},

		{"SUBSCRIBE, nothing wrong", CheckSubscribe(&Subscribe{Subscriptions: []Subscription{{TopicFilter: "a/+/#", QoS: 2, NoLocal: true, RetainHandling: 2}}}), nil},
		{"MQTT-3.8.3-2 no subscription", CheckSubscribe(&Subscribe{}), []string{"Subscriptions [MQTT-3.8.3-2]"}},
		{"MQTT-3.8.3-1 filter is ill-formed", CheckSubscribe(&Subscribe{Subscriptions: []Subscription{{TopicFilter: "a"}, {TopicFilter: "\xff"}}}),
			[]string{"Subscriptions[1].TopicFilter [MQTT-3.8.3-1]"}},
		{"MQTT-3.8.3-4 no local and shared", CheckSubscribe(&Subscribe{Subscriptions: []Subscription{{TopicFilter: "$share/g/a", NoLocal: true}}}),
			[]string{"Subscriptions[0].NoLocal [MQTT-3.8.3-4]"}},
		{"subscription options", CheckSubscribe(&Subscribe{Subscriptions: []Subscription{{TopicFilter: "#a", QoS: 3, RetainHandling: 3}}, SubscriptionID: ptr(uint32(0))}),
			[]string{"Subscriptions[0].TopicFilter [MQTT-4.7.1-1]", "Subscriptions[0].QoS [3.8.3.1]", "Subscriptions[0].RetainHandling [3.8.3.1]", "SubscriptionID [3.8.2.1.2]"}},
		{"subscription identifier too large", CheckSubscribe(&Subscribe{Subscriptions: []Subscription{{TopicFilter: "a"}}, SubscriptionID: ptr(uint32(268_435_456))}),
			[]string{"SubscriptionID [3.8.2.1.2]"}},
		{"UNSUBSCRIBE, nothing wrong", CheckUnsubscribe(&Unsubscribe{TopicFilters: []string{"a"}}), nil},
		{"MQTT-3.10.3-2 no filter", CheckUnsubscribe(&Unsubscribe{}), []string{"TopicFilters [MQTT-3.10.3-2]"}},
		{"MQTT-3.10.3-1 filter is ill-formed", CheckUnsubscribe(&Unsubscribe{TopicFilters: []string{"\x00"}}), []string{"TopicFilters[0] [MQTT-3.10.3-1]"}},

		{"PUBACK, nothing wrong", CheckAck(TypePuback, &Ack{PacketID: 1, ReasonCode: NotAuthorized}), nil},
		{"MQTT-2.2.1-5 acknowledgement without an identifier", CheckAck(TypePuback, &Ack{}), []string{"PacketID [MQTT-2.2.1-3]"}},
		{"MQTT-3.4.2-1 server's code", CheckAck(TypePuback, &Ack{PacketID: 1, ReasonCode: NoMatchingSubscribers}), []string{"ReasonCode [MQTT-3.4.2-1]"}},
		{"MQTT-3.5.2-1 PUBREC", CheckAck(TypePubrec, &Ack{PacketID: 1, ReasonCode: PacketIdentifierNotFound}), []string{"ReasonCode [MQTT-3.5.2-1]"}},
		{"MQTT-3.6.2-1 PUBREL", CheckAck(TypePubrel, &Ack{PacketID: 1, ReasonCode: UnspecifiedError}), []string{"ReasonCode [MQTT-3.6.2-1]"}},
		{"MQTT-3.7.2-1 PUBCOMP", CheckAck(TypePubcomp, &Ack{PacketID: 1, ReasonCode: UnspecifiedError}), []string{"ReasonCode [MQTT-3.7.2-1]"}},
		{"MQTT-1.5.4-2 reason string", CheckAck(TypePubcomp, &Ack{PacketID: 1, ReasonString: ptr("\x00")}), []string{"ReasonString [MQTT-1.5.4-2]"}},
		{"DISCONNECT, nothing wrong", CheckDisconnect(&Disconnect{ReasonCode: DisconnectWithWill}), nil},
		{"MQTT-3.14.2-1 server's code", CheckDisconnect(&Disconnect{ReasonCode: SessionTakenOver, ServerReference: ptr("x")}),
			[]string{"ReasonCode [MQTT-3.14.2-1]", "ServerReference [3.14.2.2.5]"}},
		{"AUTH, nothing wrong", CheckAuth(&Auth{ReasonCode: Reauthenticate, AuthenticationMethod: ptr("M")}), nil},
		{"MQTT-3.15.2-1 server's code", CheckAuth(&Auth{}), []string{"ReasonCode [MQTT-3.15.2-1]", "AuthenticationMethod [3.15.2.2.2]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, summary(c.got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, v := range c.got {
				if !strings.HasPrefix(v.Error(), "wire: "+v.Field) || !strings.HasSuffix(v.Error(), "["+v.Rule+"]") {
					t.Errorf("message %q", v)
				}
			}
		})
	}
}

// hugePayload is never touched, so it takes address space and no memory.
func hugePayload() []byte { return make([]byte, MaxPacketSize) }

func TestSize_atTheLimit(t *testing.T) {
	t.Parallel()
	p := &Publish{Topic: "a", Payload: hugePayload()[:MaxRemainingLength-4]}
	if n := PublishSize(p); n != MaxPacketSize || CheckPublish(p) != nil {
		t.Errorf("largest packet: %d bytes, %v", n, CheckPublish(p))
	}
	if head := AppendPublishHeader(nil, p); !bytes.Equal(head, Unhex(t, "30 ffffff7f 0001 'a' 00")) {
		t.Errorf("header of the largest packet: % x", head)
	}
	p.Payload = hugePayload()[:MaxRemainingLength-3]
	if n := PublishSize(p); n != MaxPacketSize+1 || len(CheckPublish(p)) != 1 {
		t.Errorf("one byte more: %d bytes, %v", n, CheckPublish(p))
	}
	long := strings.Repeat("x", 65_535)
	user := make([]UserProperty, 3000)
	filters := make([]string, 5000)
	subs := make([]Subscription, 5000)
	for i := range user {
		user[i] = UserProperty{long, long}
	}
	for i := range filters {
		filters[i], subs[i].TopicFilter = long, long
	}
	for name, n := range map[string]int{
		"CONNECT":     ConnectSize(&Connect{UserProperties: user}),
		"PUBACK":      AckSize(&Ack{UserProperties: user}),
		"SUBSCRIBE":   SubscribeSize(&Subscribe{Subscriptions: subs}),
		"UNSUBSCRIBE": UnsubscribeSize(&Unsubscribe{TopicFilters: filters}),
	} {
		if n <= MaxPacketSize {
			t.Errorf("%s of more than 256 MiB: %d bytes", name, n)
		}
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	user := []UserProperty{{"key", "value"}} // 13 bytes
	reason := "reason"                       // 9 bytes
	t.Run("MQTT-3.4.2-2 MQTT-3.4.2-3 MQTT-3.5.2-2 MQTT-3.5.2-3 MQTT-3.6.2-2 MQTT-3.6.2-3 MQTT-3.7.2-2 MQTT-3.7.2-3 acknowledgements", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct {
			limit      uint32
			size       int
			user, text bool
			ok         bool
		}{
			{0, 28, true, true, true}, {28, 28, true, true, true}, {27, 15, false, true, true},
			{15, 15, false, true, true}, {14, 5, false, false, true}, {5, 5, false, false, true}, {4, 5, false, false, false},
		} {
			a := Ack{PacketID: 1, ReasonCode: 0x80, ReasonString: &reason, UserProperties: user}
			ok := a.Fit(c.limit)
			if ok != c.ok || len(AppendAck(nil, TypePuback, &a)) != c.size || (a.UserProperties != nil) != c.user || (a.ReasonString != nil) != c.text {
				t.Errorf("limit %d: %v, %+v", c.limit, ok, a)
			}
		}
	})
	t.Run("MQTT-3.14.2-3 MQTT-3.14.2-4 DISCONNECT", func(t *testing.T) {
		t.Parallel()
		for limit, size := range map[uint32]int{26: 26, 25: 13, 12: 3} {
			p := Disconnect{ReasonCode: 0x80, ReasonString: &reason, UserProperties: user}
			if !p.Fit(limit) || len(AppendDisconnect(nil, &p)) != size {
				t.Errorf("limit %d: %+v", limit, p)
			}
		}
	})
	t.Run("MQTT-3.15.2-2 MQTT-3.15.2-3 AUTH", func(t *testing.T) {
		t.Parallel()
		for limit, size := range map[uint32]int{30: 30, 29: 17, 16: 8} {
			p := Auth{ReasonCode: 0x18, AuthenticationMethod: ptr("M"), ReasonString: &reason, UserProperties: user}
			if !p.Fit(limit) || len(AppendAuth(nil, &p)) != size {
				t.Errorf("limit %d: %+v", limit, p)
			}
		}
	})
}
