// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"slices"
	"strings"
	"testing"
)

// reasonRows is the table of section 2.4, one row a code: the packets that may
// carry it. A bare name stands for both directions, "<" for the server only and
// ">" for the client only. Corrected by the tables of the packets themselves.
const reasonRows = `
00 CONNACK< PUBACK PUBREC PUBREL PUBCOMP UNSUBACK< AUTH< DISCONNECT SUBACK<
01 SUBACK<
02 SUBACK<
04 DISCONNECT>
10 PUBACK< PUBREC<
11 UNSUBACK<
18 AUTH
19 AUTH>
80 CONNACK< PUBACK PUBREC SUBACK< UNSUBACK< DISCONNECT
81 CONNACK< DISCONNECT
82 CONNACK< DISCONNECT
83 CONNACK< PUBACK PUBREC SUBACK< UNSUBACK< DISCONNECT
84 CONNACK<
85 CONNACK<
86 CONNACK<
87 CONNACK< PUBACK PUBREC SUBACK< UNSUBACK< DISCONNECT<
88 CONNACK<
89 CONNACK< DISCONNECT<
8a CONNACK<
8b DISCONNECT<
8c CONNACK< DISCONNECT<
8d DISCONNECT<
8e DISCONNECT<
8f SUBACK< UNSUBACK< DISCONNECT<
90 CONNACK< PUBACK PUBREC DISCONNECT
91 PUBACK PUBREC SUBACK< UNSUBACK<
92 PUBREL PUBCOMP
93 DISCONNECT
94 DISCONNECT
95 CONNACK< DISCONNECT
96 DISCONNECT
97 CONNACK< PUBACK PUBREC SUBACK< DISCONNECT
98 DISCONNECT
99 CONNACK< PUBACK PUBREC DISCONNECT
9a CONNACK< DISCONNECT<
9b CONNACK< DISCONNECT<
9c CONNACK< DISCONNECT<
9d CONNACK< DISCONNECT<
9e SUBACK< DISCONNECT<
9f CONNACK< DISCONNECT<
a0 DISCONNECT<
a1 SUBACK< DISCONNECT<
a2 SUBACK< DISCONNECT<
`

func TestReasonCodeValid(t *testing.T) {
	t.Parallel()
	want := map[string]bool{}
	for row := range strings.Lines(strings.TrimSpace(reasonRows)) {
		fields := strings.Fields(row)
		code := Unhex(t, fields[0])[0]
		for _, f := range fields[1:] {
			name := strings.TrimRight(f, "<>")
			want[key(name, code, true)] = !strings.HasSuffix(f, ">")
			want[key(name, code, false)] = !strings.HasSuffix(f, "<")
		}
	}
	rules := map[string]string{
		"CONNACK": "MQTT-3.2.2-8", "PUBACK": "MQTT-3.4.2-1", "PUBREC": "MQTT-3.5.2-1", "PUBREL": "MQTT-3.6.2-1",
		"PUBCOMP": "MQTT-3.7.2-1", "SUBACK": "MQTT-3.9.3-2", "UNSUBACK": "MQTT-3.11.3-2",
		"DISCONNECT": "MQTT-3.14.2-1", "AUTH": "MQTT-3.15.2-1",
	}
	for typ := range Type(16) {
		name := typ.String()
		t.Run(strings.TrimSpace(rules[name]+" "+name), func(t *testing.T) {
			t.Parallel()
			for code := range 256 {
				for _, server := range []bool{false, true} {
					if got := ReasonCodeValid(typ, ReasonCode(code), server); got != want[key(name, byte(code), server)] {
						t.Errorf("0x%02x from server %v: %v", code, server, got)
					}
				}
			}
		})
	}
}

func key(name string, code byte, server bool) string {
	if server {
		return name + "<" + string(rune(code))
	}
	return name + ">" + string(rune(code))
}

func TestType_String(t *testing.T) {
	t.Parallel()
	for typ, want := range map[Type]string{1: "CONNECT", 4: "PUBACK", 15: "AUTH", 0: "type 0", 16: "type 16", 255: "type 255"} {
		if got := typ.String(); got != want {
			t.Errorf("%d: %q", typ, got)
		}
	}
}

// TestPropertyTable compares the table with the lists of allowed properties
// for each packet, which say the same from the other side.
func TestPropertyTable(t *testing.T) {
	t.Parallel()
	for where, list := range map[place]string{
		placeWill: "01 02 03 08 09 18 26",
		pConnect:  "11 15 16 17 19 21 22 26 27",
		pConnack:  "11 12 13 15 16 1a 1c 1f 21 22 24 25 26 27 28 29 2a",
		pPublish:  "01 02 03 08 09 0b 23 26",
		pPuback:   "1f 26", pPubrec: "1f 26", pPubrel: "1f 26", pPubcomp: "1f 26",
		pSubscribe: "0b 26", pSuback: "1f 26", pUnsubscribe: "26", pUnsuback: "1f 26",
		pDisconnect: "11 1c 1f 26",
		pAuth:       "15 16 1f 26",
	} {
		want := Unhex(t, list)
		var got []byte
		for id := range propertyTable {
			if propertyTable[id].places>>where&1 != 0 {
				got = append(got, byte(id))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: % x, want % x", Type(where), got, want)
		}
	}
	for id, info := range propertyTable {
		if (info.kind == kindNone) != (info.name == "") || (info.kind == kindNone) != (info.places == 0) {
			t.Errorf("row 0x%02x is filled in part", id)
		}
	}
}
