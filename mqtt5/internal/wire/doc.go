// SPDX-License-Identifier: Apache-2.0

// Package wire translates between bytes and the packets of MQTT 5.0. Section
// numbers in its comments are those of the OASIS standard of 7 March 2019.
//
// The package knows nothing of connections, sessions or time: it checks what
// can be checked by looking at one packet. Whatever depends on earlier packets
// (is this alias mapped, was this acknowledgement asked for) is left to the
// caller.
//
// # Receiving
//
// [Frame.Parse] finds the packet at the start of a buffer. It judges the first
// byte, the length and the caller's size limit as soon as those bytes are
// there, so that nobody makes room for a packet that will be refused. The
// parser for the frame's type then reads the body in place. [PublishView]
// borrows the buffer; all other results own their memory.
//
// Parsers tell bytes that cannot be a packet (0x81, Malformed Packet) from
// packets that break a rule (0x82, Protocol Error, or a more specific code):
// see [Error]. A reason code that is not listed for its packet is accepted as
// it is; [ReasonCodeValid] tells. Characters that the standard advises against
// (control characters, non-characters) are accepted as well.
//
// # Sending
//
// The Append functions add one packet to a buffer and return it, and the Size
// functions give the number of bytes this takes. Both trust their input: a
// string or binary field of more than 65,535 bytes, or a packet of more than
// [MaxPacketSize], is a mistake of the caller, who excludes it with the Check
// functions. Encoders never shorten anything.
//
// The package has the client's side of the protocol alone. The other side, which tests
// need, is package wiretest.
//
// All functions are safe for concurrent use on different arguments.
package wire
