// SPDX-License-Identifier: Apache-2.0

package wire

// Size limits of the protocol (section 2.1.4).
const (
	// MaxRemainingLength is the largest number of bytes after the fixed header.
	MaxRemainingLength = 268_435_455
	// MaxPacketSize is the size of the largest packet, fixed header included.
	MaxPacketSize = MaxRemainingLength + 5
)

// Frame is one whole packet, cut out of the stream but not yet parsed.
type Frame struct {
	Type  Type
	Flags uint8  // the lower four bits of the first byte, already checked
	Body  []byte // what follows the fixed header; part of the buffer given to Parse
	Size  int    // bytes consumed, fixed header included
}

// flagsPublish marks the one type whose flags have a meaning.
const flagsPublish = 0xFF

// requiredFlags holds the lower four bits that section 2.1.3 demands.
var requiredFlags = [16]uint8{
	TypePublish:     flagsPublish,
	TypePubrel:      0b0010,
	TypeSubscribe:   0b0010,
	TypeUnsubscribe: 0b0010,
}

// Parse looks at the packet that starts at b[0]. If b holds all of it, need is 0
// and f is set. Otherwise f is left alone, and need, which is greater than
// len(b), is the number of bytes that the packet is known to have so far.
//
// Type, flags, the encoding of the length and limit are checked as soon as
// their bytes are there. A packet of more than limit bytes in all is refused
// with PacketTooLarge; limit 0 stands for the limit of the protocol.
func (f *Frame) Parse(b []byte, limit uint32) (need int, err *Error) {
	// The common case: a known packet with a length of one or two bytes, all there.
	if len(b) >= 2 {
		first := b[0]
		flags := first & 0x0F
		required := requiredFlags[first>>4]
		if flags == required && first >= 0x10 || required == flagsPublish && flags&6 != 6 && flags&14 != 8 {
			size, head := 2+int(b[1]), 2
			if b[1] >= 0x80 && len(b) > 2 {
				size, head = 3+int(b[1]&0x7F)+int(b[2])<<7, 3
				if b[2]-1 >= 0x7F { // a third byte follows, or the second is not needed
					size = int(^uint(0) >> 1)
				}
			}
			if size <= len(b) && (uint(size) <= uint(limit) || limit == 0) {
				f.Type, f.Flags, f.Body, f.Size = Type(first>>4), flags, b[head:size:size], size
				return 0, nil
			}
		}
	}
	return f.parseSlow(b, limit)
}

// parseSlow handles everything, and so is the reference for Parse.
func (f *Frame) parseSlow(b []byte, limit uint32) (need int, err *Error) {
	if len(b) == 0 {
		return 2, nil
	}
	t, flags := Type(b[0]>>4), b[0]&0x0F
	if err := checkFirstByte(t, flags); err != nil {
		return 0, err
	}
	length, n := varint(b[1:])
	switch n {
	case varintShort:
		return len(b) + 1, nil
	case varintBad:
		return 0, malformed(t, "MQTT-1.5.5-1", "remaining length is not a variable byte integer of least size")
	}
	size := 1 + n + int(length)
	if limit != 0 && uint64(size) > uint64(limit) {
		return 0, &Error{
			Reason: PacketTooLarge, Packet: t, Rule: "MQTT-3.1.2-24",
			Text: "packet is larger than the maximum packet size",
		}
	}
	if length != 0 && (t == TypePingreq || t == TypePingresp) {
		return 0, errNotEmpty(t)
	}
	if size > len(b) {
		return size, nil
	}
	*f = Frame{Type: t, Flags: flags, Body: b[1+n : size : size], Size: size}
	return 0, nil
}

func checkFirstByte(t Type, flags uint8) *Error {
	if t == 0 {
		return malformed(t, "2.1.2", "packet type 0 is forbidden")
	}
	if t != TypePublish {
		if flags != requiredFlags[t] {
			return malformed(t, flagsRule(t), "reserved flag bits are wrong")
		}
		return nil
	}
	if flags&6 == 6 {
		return malformed(t, "MQTT-3.3.1-4", "QoS is 3")
	}
	if flags&14 == 8 {
		return malformed(t, "MQTT-3.3.1-2", "DUP is set though QoS is 0")
	}
	return nil
}

// flagsRule names the statement about the reserved flags of a packet.
func flagsRule(t Type) string {
	switch t {
	case TypePubrel:
		return "MQTT-3.6.1-1"
	case TypeSubscribe:
		return "MQTT-3.8.1-1"
	case TypeUnsubscribe:
		return "MQTT-3.10.1-1"
	case TypeDisconnect:
		return "MQTT-3.14.1-1"
	case TypeAuth:
		return "MQTT-3.15.1-1"
	}
	return "MQTT-2.1.3-1"
}

// ParseEmpty checks a PINGREQ or PINGRESP, which have nothing but a header.
func ParseEmpty(f *Frame) *Error {
	if len(f.Body) != 0 {
		return errNotEmpty(f.Type)
	}
	return nil
}

func errNotEmpty(t Type) *Error {
	rule := "3.12.1"
	if t == TypePingresp {
		rule = "3.13.1"
	}
	return malformed(t, rule, "remaining length is not 0")
}

// PingSize is the size of a PINGREQ and of a PINGRESP.
const PingSize = 2

// AppendPingreq appends a PINGREQ packet.
func AppendPingreq(dst []byte) []byte { return append(dst, byte(TypePingreq)<<4, 0) }

// appendHeader appends the fixed header of any packet but PUBLISH.
func appendHeader(dst []byte, t Type, remaining int) []byte {
	return appendVarint(append(dst, byte(t)<<4|requiredFlags[t]), uint32(remaining))
}

// packetSize returns the size of a packet with the given remaining length.
func packetSize(remaining int) int {
	return 1 + varintSize(uint32(min(remaining, MaxRemainingLength))) + remaining
}
