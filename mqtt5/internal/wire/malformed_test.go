// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"strings"
	"testing"

	. "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// TestReceived_refused lists packets that are whole but wrong, with the reason
// code that the standard names for them and the rule that they break.
func TestReceived_refused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		in         string
		reason     ReasonCode
		rule       string
		fromClient bool
	}{
		// Strings.
		{name: "MQTT-1.5.4-1 surrogate in a topic", in: "30 06 0003 eda080 00", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-1.5.4-1 MQTT-3.3.2-1 ill-formed UTF-8 in a topic", in: "30 05 0002 c328 00", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-1.5.4-1 over-long encoding of a slash", in: "30 05 0002 c0af 00", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-1.5.4-1 half a character at the end of a string", in: "30 08 0001 'a' 04 03 0001 c3", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-1.5.4-1 beyond U+10FFFF", in: "30 07 0004 f4908080 00", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-1.5.4-2 MQTT-4.7.3-2 U+0000 in a topic", in: "30 06 0003 610062 00", reason: 0x81, rule: "MQTT-1.5.4-2"},
		{name: "MQTT-1.5.4-2 U+0000 in a long topic", in: "30 0d 000a 'abcdefgh' 00 'j' 00", reason: 0x81, rule: "MQTT-1.5.4-2"},
		{name: "MQTT-3.3.2-19 MQTT-1.5.4-1 ill-formed content type", in: "30 08 0001 'a' 04 03 0001 ff", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-3.3.2-13 MQTT-1.5.4-1 ill-formed response topic", in: "30 08 0001 'a' 04 08 0001 80", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-1.5.4-1 ill-formed reason string", in: "40 08 0001 00 04 1f 0001 ff", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-1.5.4-2 U+0000 in an assigned client identifier", in: "20 07 00 00 04 12 0001 00", reason: 0x81, rule: "MQTT-1.5.4-2"},
		{name: "MQTT-1.5.7-1 ill-formed name of a user property", in: "30 0a 0001 'a' 06 26 0001 ff 0000", reason: 0x81, rule: "MQTT-1.5.7-1"},
		{name: "MQTT-1.5.7-1 U+0000 in the value of a user property", in: "30 0a 0001 'a' 06 26 0000 0001 00", reason: 0x81, rule: "MQTT-1.5.7-1"},

		// Properties in general.
		{name: "unknown property", in: "30 06 0001 'a' 02 7f 00", reason: 0x81, rule: "2.2.2.2"},
		{name: "property identifier 0", in: "30 06 0001 'a' 02 00 00", reason: 0x81, rule: "2.2.2.2"},
		{name: "property identifier 4", in: "30 06 0001 'a' 02 04 00", reason: 0x81, rule: "2.2.2.2"},
		{name: "property identifier in two bytes", in: "30 07 0001 'a' 03 81 00 01", reason: 0x81, rule: "2.2.2.2"},
		{name: "property after the last one", in: "30 06 0001 'a' 02 2b 00", reason: 0x81, rule: "2.2.2.2"},
		{name: "receive maximum in PUBLISH", in: "30 07 0001 'a' 03 21 0001", reason: 0x81, rule: "2.2.2.2"},
		{name: "will delay interval in PUBLISH", in: "30 09 0001 'a' 05 18 00000001", reason: 0x81, rule: "2.2.2.2"},
		{name: "topic alias in CONNACK", in: "20 06 00 00 03 23 0001", reason: 0x81, rule: "2.2.2.2"},
		{name: "content type in PUBACK", in: "40 07 0001 00 03 03 0000", reason: 0x81, rule: "2.2.2.2"},
		{name: "authentication data in DISCONNECT", in: "e0 05 00 03 16 0000", reason: 0x81, rule: "2.2.2.2"},
		{name: "server reference in AUTH", in: "f0 05 18 03 1c 0000", reason: 0x81, rule: "2.2.2.2"},
		{name: "subscription identifier in SUBACK", in: "90 06 0001 02 0b 01 00", reason: 0x81, rule: "2.2.2.2"},
		{name: "subscription identifier in UNSUBACK", in: "b0 06 0001 02 0b 01 00", reason: 0x81, rule: "2.2.2.2"},
		{name: "property length beyond the packet", in: "30 05 0001 'a' 02 01", reason: 0x81, rule: "2.2.2.1"},
		{name: "property length missing", in: "30 03 0001 'a'", reason: 0x81, rule: "2.2.2.1"},
		{name: "property length cut off", in: "30 04 0001 'a' 80", reason: 0x81, rule: "2.2.2.1"},
		{name: "MQTT-1.5.5-1 property length over-long", in: "30 05 0001 'a' 80 00", reason: 0x81, rule: "MQTT-1.5.5-1"},
		{name: "property length in five bytes", in: "30 08 0001 'a' 80808080 01", reason: 0x81, rule: "MQTT-1.5.5-1"},
		{name: "property length short of the packet's end", in: "20 05 00 00 00 25 01", reason: 0x81, rule: "2.1.4"},
		{name: "byte cut off by the property length", in: "30 05 0001 'a' 01 01", reason: 0x81, rule: "2.2.2"},
		{name: "two byte integer cut off", in: "30 06 0001 'a' 02 23 00", reason: 0x81, rule: "2.2.2"},
		{name: "four byte integer cut off", in: "30 08 0001 'a' 04 02 000000", reason: 0x81, rule: "2.2.2"},
		{name: "string length cut off", in: "30 06 0001 'a' 02 03 00", reason: 0x81, rule: "2.2.2"},
		{name: "string cut off", in: "30 08 0001 'a' 04 03 0002 'x'", reason: 0x81, rule: "2.2.2"},
		{name: "user property without a value", in: "30 08 0001 'a' 04 26 0001 'k'", reason: 0x81, rule: "2.2.2"},
		{name: "user property with a value cut off", in: "30 0a 0001 'a' 06 26 0000 0002 'v'", reason: 0x81, rule: "2.2.2"},
		{name: "subscription identifier over-long", in: "30 07 0001 'a' 03 0b 81 00", reason: 0x81, rule: "2.2.2"},

		// Properties that come twice.
		{name: "payload format indicator twice", in: "30 08 0001 'a' 04 01 00 01 00", reason: 0x82, rule: "3.3.2.3"},
		{name: "message expiry interval twice", in: "30 0e 0001 'a' 0a 02 00000001 02 00000001", reason: 0x82, rule: "3.3.2.3"},
		{name: "content type twice", in: "30 0a 0001 'a' 06 03 0000 03 0000", reason: 0x82, rule: "3.3.2.3"},
		{name: "response topic twice", in: "30 0c 0001 'a' 08 08 0001 'r' 08 0001 'r'", reason: 0x82, rule: "3.3.2.3"},
		{name: "correlation data twice", in: "30 0a 0001 'a' 06 09 0000 09 0000", reason: 0x82, rule: "3.3.2.3"},
		{name: "topic alias twice", in: "30 0a 0001 'a' 06 23 0001 23 0001", reason: 0x82, rule: "3.3.2.3"},
		{name: "receive maximum twice", in: "20 09 00 00 06 21 0001 21 0001", reason: 0x82, rule: "3.2.2.3"},
		{name: "assigned client identifier twice", in: "20 09 00 00 06 12 0000 12 0000", reason: 0x82, rule: "3.2.2.3"},
		{name: "reason string twice in PUBREC", in: "50 0a 0001 00 06 1f 0000 1f 0000", reason: 0x82, rule: "3.5.2.2"},
		{name: "reason string twice in SUBACK", in: "90 0a 0001 06 1f 0000 1f 0000 00", reason: 0x82, rule: "3.9.2.1"},
		{name: "reason string twice in DISCONNECT", in: "e0 08 00 06 1f 0000 1f 0000", reason: 0x82, rule: "3.14.2.2"},
		{name: "authentication method twice", in: "f0 08 18 06 15 0000 15 0000", reason: 0x82, rule: "3.15.2.2"},
		{name: "subscription identifier twice in SUBSCRIBE", in: "82 0b 0001 04 0b 01 0b 02 0001 'a' 00", reason: 0x82, rule: "3.8.2.1"},

		// Values out of range.
		{name: "payload format indicator 2", in: "30 06 0001 'a' 02 01 02", reason: 0x82, rule: "3.3.2.3"},
		{name: "subscription identifier 0", in: "30 06 0001 'a' 02 0b 00", reason: 0x82, rule: "3.3.2.3"},
		{name: "MQTT-3.3.2-8 topic alias 0", in: "30 07 0001 'a' 03 23 0000", reason: 0x94, rule: "MQTT-3.3.2-8"},
		{name: "MQTT-3.3.2-14 wildcard in the response topic", in: "30 08 0001 'a' 04 08 0001 '#'", reason: 0x82, rule: "MQTT-3.3.2-14"},
		{name: "receive maximum 0", in: "20 06 00 00 03 21 0000", reason: 0x82, rule: "3.2.2.3"},
		{name: "maximum packet size 0", in: "20 08 00 00 05 27 00000000", reason: 0x82, rule: "3.2.2.3"},
		{name: "maximum QoS 2", in: "20 05 00 00 02 24 02", reason: 0x82, rule: "3.2.2.3"},
		{name: "retain available 2", in: "20 05 00 00 02 25 02", reason: 0x82, rule: "3.2.2.3"},
		{name: "wildcard subscription available 2", in: "20 05 00 00 02 28 02", reason: 0x82, rule: "3.2.2.3"},
		{name: "subscription identifiers available 255", in: "20 05 00 00 02 29 ff", reason: 0x82, rule: "3.2.2.3"},
		{name: "shared subscription available 3", in: "20 05 00 00 02 2a 03", reason: 0x82, rule: "3.2.2.3"},

		// CONNACK.
		{name: "MQTT-3.2.2-1 CONNACK with reserved flags", in: "20 03 02 00 00", reason: 0x81, rule: "MQTT-3.2.2-1"},
		{name: "MQTT-3.2.2-1 CONNACK with the top flag", in: "20 03 81 00 00", reason: 0x81, rule: "MQTT-3.2.2-1"},
		{name: "MQTT-3.2.2-6 session present though refused", in: "20 03 01 87 00", reason: 0x82, rule: "MQTT-3.2.2-6"},
		{name: "CONNACK with data but no authentication method", in: "20 06 00 00 03 16 0000", reason: 0x82, rule: "3.2.2.3"},
		{name: "CONNACK in the form of MQTT 3.1.1", in: "20 02 00 00", reason: 0x81, rule: "2.2.2.1"},

		// PUBLISH.
		{name: "MQTT-3.3.2-2 MQTT-4.7.0-1 + in the topic", in: "30 06 0003 'a/+' 00", reason: 0x82, rule: "MQTT-3.3.2-2"},
		{name: "MQTT-3.3.2-2 MQTT-4.7.0-1 # in a long topic", in: "30 0e 000b 'abcdefghi/#' 00", reason: 0x82, rule: "MQTT-3.3.2-2"},
		{name: "MQTT-3.3.2-2 wildcard after a character that is not ASCII", in: "30 06 0003 c3a4 '#' 00", reason: 0x82, rule: "MQTT-3.3.2-2"},
		{name: "MQTT-4.7.3-1 empty topic without an alias", in: "30 03 0000 00", reason: 0x82, rule: "3.3.2.1"},
		{name: "empty topic with another property", in: "30 05 0000 02 01 00", reason: 0x82, rule: "3.3.2.1"},
		{name: "MQTT-2.2.1-4 QoS 1 with packet identifier 0", in: "32 06 0001 'a' 0000 00", reason: 0x82, rule: "MQTT-2.2.1-4"},
		{name: "topic longer than the packet", in: "30 04 0003 'ab'", reason: 0x81, rule: "3.3.2"},
		{name: "packet identifier cut off", in: "34 04 0001 'a' 00", reason: 0x81, rule: "3.3.2"},
		{name: "empty PUBLISH", in: "30 00", reason: 0x81, rule: "3.3.2"},

		// Acknowledgements.
		{name: "PUBACK with packet identifier 0", in: "40 02 0000", reason: 0x82, rule: "2.2.1"},
		{name: "PUBREL with packet identifier 0", in: "62 02 0000", reason: 0x82, rule: "2.2.1"},
		{name: "empty PUBCOMP", in: "70 00", reason: 0x81, rule: "2.2.1"},
		{name: "PUBACK with bytes after its properties", in: "40 05 0001 00 00 00", reason: 0x81, rule: "2.1.4"},
		{name: "SUBACK with packet identifier 0", in: "90 04 0000 00 00", reason: 0x82, rule: "2.2.1"},
		{name: "MQTT-3.8.4-6 SUBACK without a reason code", in: "90 03 0001 00", reason: 0x82, rule: "MQTT-3.8.4-6"},
		{name: "UNSUBACK without a reason code", in: "b0 03 0001 00", reason: 0x82, rule: "3.11.3"},
		{name: "UNSUBACK in the form of MQTT 3.1.1", in: "b0 02 0001", reason: 0x81, rule: "2.2.2.1"},

		// DISCONNECT and AUTH.
		{name: "MQTT-3.14.2-2 session expiry interval from the server", in: "e0 07 00 05 11 00000000", reason: 0x82, rule: "MQTT-3.14.2-2"},
		{name: "server reference from the client", in: "e0 05 00 03 1c 0000", reason: 0x82, rule: "3.14.2.2.5", fromClient: true},
		{name: "DISCONNECT with bytes left over", in: "e0 03 00 00 00", reason: 0x81, rule: "2.1.4"},
		{name: "AUTH without a body lacks the method", in: "f0 00", reason: 0x82, rule: "3.15.2.2.2"},
		{name: "AUTH without a method", in: "f0 02 18 00", reason: 0x82, rule: "3.15.2.2.2"},
		{name: "AUTH with data but no method", in: "f0 05 18 03 16 0000", reason: 0x82, rule: "3.15.2.2.2"},
		{name: "AUTH with a code and nothing else", in: "f0 01 18", reason: 0x81, rule: "2.2.2.1"},

		// CONNECT.
		{name: "MQTT-3.1.2-1 other protocol name", in: "10 0d 0004 'MQTS' 05 00 0000 00 0000", reason: 0x84, rule: "MQTT-3.1.2-1"},
		{name: "MQTT-3.1.2-2 version 4", in: "10 0c 0004 'MQTT' 04 02 0000 0000", reason: 0x84, rule: "MQTT-3.1.2-2"},
		{name: "MQTT-3.1.2-3 reserved connect flag", in: "10 0d 0004 'MQTT' 05 01 0000 00 0000", reason: 0x81, rule: "MQTT-3.1.2-3"},
		{name: "MQTT-3.1.2-11 will QoS without a will", in: "10 0d 0004 'MQTT' 05 08 0000 00 0000", reason: 0x81, rule: "MQTT-3.1.2-11"},
		{name: "MQTT-3.1.2-12 will QoS 3", in: "10 13 0004 'MQTT' 05 1c 0000 00 0000 00 0001 'w' 0000", reason: 0x81, rule: "MQTT-3.1.2-12"},
		{name: "MQTT-3.1.2-13 will retain without a will", in: "10 0d 0004 'MQTT' 05 20 0000 00 0000", reason: 0x81, rule: "MQTT-3.1.2-13"},
		{name: "MQTT-3.1.2-9 will flag without a will", in: "10 0d 0004 'MQTT' 05 04 0000 00 0000", reason: 0x81, rule: "2.2.2.1"},
		{name: "MQTT-3.1.2-17 user name flag without a user name", in: "10 0d 0004 'MQTT' 05 80 0000 00 0000", reason: 0x81, rule: "2.1.4"},
		{name: "MQTT-3.1.2-19 password flag without a password", in: "10 0d 0004 'MQTT' 05 40 0000 00 0000", reason: 0x81, rule: "2.1.4"},
		{name: "MQTT-3.1.3-3 client identifier missing", in: "10 0b 0004 'MQTT' 05 00 0000 00", reason: 0x81, rule: "2.1.4"},
		{name: "MQTT-3.1.3-4 ill-formed client identifier", in: "10 0e 0004 'MQTT' 05 00 0000 00 0001 ff", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-3.1.3-11 ill-formed will topic", in: "10 13 0004 'MQTT' 05 04 0000 00 0000 00 0001 80 0000", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-3.1.3-12 ill-formed user name", in: "10 10 0004 'MQTT' 05 80 0000 00 0000 0001 80", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-4.7.0-1 wildcard in the will topic", in: "10 13 0004 'MQTT' 05 04 0000 00 0000 00 0001 '+' 0000", reason: 0x82, rule: "MQTT-4.7.0-1"},
		{name: "MQTT-4.7.3-1 empty will topic", in: "10 12 0004 'MQTT' 05 04 0000 00 0000 00 0000 0000", reason: 0x82, rule: "MQTT-4.7.3-1"},
		{name: "request problem information 2", in: "10 0f 0004 'MQTT' 05 00 0000 02 17 02 0000", reason: 0x82, rule: "3.1.2.11"},
		{name: "request response information 2", in: "10 0f 0004 'MQTT' 05 00 0000 02 19 02 0000", reason: 0x82, rule: "3.1.2.11"},
		{name: "CONNECT with data but no authentication method", in: "10 10 0004 'MQTT' 05 00 0000 03 16 0000 0000", reason: 0x82, rule: "3.1.2.11"},
		{name: "will delay interval among the properties of CONNECT", in: "10 12 0004 'MQTT' 05 00 0000 05 18 00000000 0000", reason: 0x81, rule: "2.2.2.2"},
		{name: "session expiry interval among those of the will", in: "10 18 0004 'MQTT' 05 04 0000 00 0000 05 11 00000000 0001 'w' 0000", reason: 0x81, rule: "2.2.2.2"},
		{name: "payload format indicator twice in the will", in: "10 17 0004 'MQTT' 05 04 0000 00 0000 04 01 00 01 00 0001 'w' 0000", reason: 0x82, rule: "3.1.3.2"},

		// SUBSCRIBE and UNSUBSCRIBE.
		{name: "MQTT-2.2.1-3 SUBSCRIBE with packet identifier 0", in: "82 07 0000 00 0001 'a' 00", reason: 0x82, rule: "MQTT-2.2.1-3"},
		{name: "MQTT-3.8.3-1 ill-formed filter", in: "82 07 0001 00 0001 ff 00", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-3.8.3-2 SUBSCRIBE without a filter", in: "82 03 0001 00", reason: 0x82, rule: "MQTT-3.8.3-2"},
		{name: "MQTT-3.8.3-4 no local on a shared subscription", in: "82 10 0001 00 000a '$share/a/b' 04", reason: 0x82, rule: "MQTT-3.8.3-4"},
		{name: "MQTT-3.8.3-5 reserved options", in: "82 07 0001 00 0001 'a' 40", reason: 0x81, rule: "MQTT-3.8.3-5"},
		{name: "maximum QoS 3", in: "82 07 0001 00 0001 'a' 03", reason: 0x82, rule: "3.8.3.1"},
		{name: "retain handling 3", in: "82 07 0001 00 0001 'a' 30", reason: 0x82, rule: "3.8.3.1"},
		{name: "subscription identifier 0 in SUBSCRIBE", in: "82 09 0001 02 0b 00 0001 'a' 00", reason: 0x82, rule: "3.8.2.1"},
		{name: "MQTT-4.7.1-1 # in the middle", in: "82 09 0001 00 0003 '#/a' 00", reason: 0x82, rule: "MQTT-4.7.1-1"},
		{name: "MQTT-4.7.3-1 empty filter", in: "82 06 0001 00 0000 00", reason: 0x82, rule: "MQTT-4.7.3-1"},
		{name: "options missing", in: "82 06 0001 00 0001 'a'", reason: 0x81, rule: "2.1.4"},
		{name: "MQTT-2.2.1-3 UNSUBSCRIBE with packet identifier 0", in: "a2 06 0000 00 0001 'a'", reason: 0x82, rule: "MQTT-2.2.1-3"},
		{name: "MQTT-3.10.3-1 ill-formed filter in UNSUBSCRIBE", in: "a2 06 0001 00 0001 80", reason: 0x81, rule: "MQTT-1.5.4-1"},
		{name: "MQTT-3.10.3-2 UNSUBSCRIBE without a filter", in: "a2 03 0001 00", reason: 0x82, rule: "MQTT-3.10.3-2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := mustFrame(t, Unhex(t, c.in))
			_, err := parse(&f, !c.fromClient)
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Reason != c.reason || err.Rule != c.rule || err.Packet != f.Type || err.Text == "" {
				t.Errorf("got 0x%02x [%s] for %v (%v), want 0x%02x [%s]", err.Reason, err.Rule, err.Packet, err, c.reason, c.rule)
			}
			if !strings.HasPrefix(err.Error(), "wire: ") || !strings.Contains(err.Error(), f.Type.String()) {
				t.Errorf("message %q", err)
			}
		})
	}
}

// TestReceived_tolerated lists what looks odd but has to be, or may be, accepted.
func TestReceived_tolerated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in string }{
		{"control characters in a topic", "30 06 0003 01 1f 7f 00"},
		{"non-character in a topic", "30 06 0003 efbfbf 00"},
		{"topic of spaces and slashes", "30 07 0004 ' // ' 00"},
		{"properties in another order", "20 07 00 00 04 2a 01 24 00"},
		{"the same subscription identifier twice", "30 08 0001 'a' 04 0b 01 0b 01"},
		{"empty response topic", "30 07 0001 'a' 03 08 0000"},
		{"PUBACK with a code that is not in its table", "40 03 0001 8e"},
		{"SUBACK with a code that is not in its table", "90 04 0001 00 7f"},
		{"DISCONNECT with a client's code", "e0 01 04"},
		{"AUTH with a code that is not in its table", "f0 06 42 04 15 0001 'M'"},
		{"authentication data before its method", "20 0a 00 00 07 16 0000 15 0001 'M'"},
		{"empty strings", "20 0c 00 00 09 1f 0000 12 0000 1a 0000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := mustFrame(t, Unhex(t, c.in))
			if _, err := parse(&f, true); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReceived_filledThough checks the packets that tell something even though
// they break a rule.
func TestReceived_filledThough(t *testing.T) {
	t.Parallel()
	f := mustFrame(t, Unhex(t, "20 08 01 87 05 1f 0002 'no'"))
	var c Connack
	if err := ParseConnack(&f, &c); err == nil || c.ReasonCode != NotAuthorized || c.ReasonString == nil || *c.ReasonString != "no" {
		t.Errorf("CONNACK: %+v, %v", c, err)
	}
	f = mustFrame(t, Unhex(t, "e0 07 8b 05 11 00000000"))
	var d Disconnect
	if err := ParseDisconnect(&f, &d, true); err == nil || d.ReasonCode != ServerShuttingDown {
		t.Errorf("DISCONNECT: %+v, %v", d, err)
	}
}

// TestReceived_independent checks that nothing but a PublishView points into
// the receive buffer.
func TestReceived_independent(t *testing.T) {
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
			before := encode(t, f.Type, got)
			clear(b)
			if after := encode(t, f.Type, got); string(before) != string(after) {
				t.Error("the packet changed with the buffer")
			}
		})
	}
}
