// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"fmt"
	"slices"
	"strings"
)

// Side says who sent a packet.
type Side byte

// The two ends of a connection.
const (
	FromClient Side = iota + 1
	FromServer
)

// String returns "client" or "server".
func (s Side) String() string {
	switch s {
	case FromClient:
		return "client"
	case FromServer:
		return "server"
	}
	return fmt.Sprintf("Side(%d)", byte(s))
}

// Violation is a breach of the MQTT 5.0 standard: a malformed packet, or a
// well-formed one that was not allowed there.
type Violation struct {
	// Packet is the type of the packet at fault, 0 when the bytes did not get
	// as far as that.
	Packet PacketType
	// Rules name what was broken, the most telling first: conformance
	// statements such as "MQTT-3.1.2-9", or sections such as "§3.14.2.2.2"
	// where the standard has no numbered statement.
	Rules []string
	// ReasonCode is what a receiver may answer: 0x81, 0x82 or a more special one.
	ReasonCode ReasonCode
	// Detail says what was found.
	Detail string
}

// Error names the packet, the rules and what was found.
func (v *Violation) Error() string {
	var b strings.Builder
	b.WriteString("mqtttest: ")
	if v.Packet != 0 {
		b.WriteString(v.Packet.String())
		b.WriteByte(' ')
	}
	b.WriteString("violates ")
	for i, r := range v.Rules {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("[" + r + "]")
	}
	b.WriteString(": ")
	b.WriteString(v.Detail)
	return b.String()
}

// Breaks reports whether rule, such as "MQTT-3.1.2-9", is among the broken ones.
func (v *Violation) Breaks(rule string) bool { return slices.Contains(v.Rules, rule) }
