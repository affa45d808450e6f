// SPDX-License-Identifier: Apache-2.0

package wire

import "strconv"

// Error describes a fault in received bytes.
type Error struct {
	// Reason is the code that a DISCONNECT for this error should carry:
	// MalformedPacket, ProtocolError or a more specific one.
	Reason ReasonCode
	// Packet is the type of the offending packet.
	Packet Type
	// Rule is the broken statement of the standard, such as "MQTT-1.5.4-2", or
	// the section that sets the rule, such as "2.2.2.2", or empty.
	Rule string
	// Text describes the error. It never quotes received data.
	Text string
}

// Error implements error.
func (e *Error) Error() string {
	s := "wire: "
	switch e.Reason {
	case MalformedPacket:
		s += "malformed "
	case ProtocolError:
		s += "protocol error in "
	default:
		s += "reason code 0x" + strconv.FormatUint(uint64(e.Reason), 16) + " for "
	}
	s += e.Packet.String() + ": " + e.Text
	if e.Rule != "" {
		s += " [" + e.Rule + "]"
	}
	return s
}

// The two constructors are kept out of line so that the parsers stay small.

//go:noinline
func malformed(t Type, rule, text string) *Error {
	return &Error{Reason: MalformedPacket, Packet: t, Rule: rule, Text: text}
}

//go:noinline
func protocolError(t Type, rule, text string) *Error {
	return &Error{Reason: ProtocolError, Packet: t, Rule: rule, Text: text}
}
