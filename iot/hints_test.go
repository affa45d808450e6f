// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestHint(t *testing.T) {
	for _, tt := range []struct {
		refusal mqtt5.Refusal
		want    []string
	}{
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x87}, []string{"iot:Connect", "client/dev1"}},
		{mqtt5.Refusal{Operation: "connect", ReasonCode: 0x87}, []string{"client/<client id>"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "$x", ReasonCode: 0x85}, []string{"128 bytes", "$"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x86}, []string{"custom authorizer"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x97}, []string{"once a second"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x9B}, []string{"QoS 2"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x87}, []string{"iot:Publish", "topic/a/b"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x87, Retain: true}, []string{"iot:RetainPublish", "topic/a/b"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "$aws/x", ReasonCode: 0x87}, []string{"topic/$aws/x", "one to publish to"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x90}, []string{"7 slashes"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x97}, []string{"100 messages"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "a/+/#", ReasonCode: 0x87}, []string{"iot:Subscribe", "topicfilter/a/+/#", "iot:Receive", "topic/a/*/*"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "$share/g/a/+", ReasonCode: 0x87}, []string{"topicfilter/a/+,", "topic/a/*"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "a", ReasonCode: 0x97}, []string{"50"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "a", ReasonCode: 0x8F}, []string{"7 slashes"}},
		{mqtt5.Refusal{Operation: "unsubscribe", Subject: "a", ReasonCode: 0x87}, []string{"topicfilter/a"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x8E}, []string{`another connection uses the client id "dev1"`}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x87}, []string{"iot:Receive"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x8D}, []string{"keep alive"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0xA1}, []string{"subscription identifiers"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x00}, nil},
		{mqtt5.Refusal{Operation: "other", ReasonCode: 0x87}, nil},
	} {
		got := Hint(tt.refusal)
		if (got == "") != (tt.want == nil) {
			t.Errorf("%+v gives %q", tt.refusal, got)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%+v gives %q, which lacks %q", tt.refusal, got, want)
			}
		}
	}
}
