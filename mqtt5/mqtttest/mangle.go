// SPDX-License-Identifier: Apache-2.0

package mqtttest

import "slices"

// splitHeader cuts an encoded packet into its first byte and what its Remaining
// Length counts. Bytes without a readable header come back as a body of their
// own.
func splitHeader(b []byte) (first byte, body []byte) {
	if len(b) == 0 {
		return 0, nil
	}
	for i := 1; i < len(b) && i < 5; i++ {
		if b[i] < 0x80 {
			return b[0], b[i+1:]
		}
	}
	return b[0], b[1:]
}

func joinHeader(first byte, body []byte) Raw {
	return append(appendVarint([]byte{first}, uint32(len(body))), body...)
}

// LongForm encodes p with its reason code and property length written out even
// where the standard lets them be left out: in PUBACK, PUBREC, PUBREL, PUBCOMP,
// DISCONNECT and AUTH. It is legal.
func LongForm(p Packet) Raw { return encode(p, true) }

// WithFlags encodes p with other flag bits in the low half of its first byte.
func WithFlags(p Packet, flags byte) Raw {
	b := slices.Clone(Encode(p))
	if len(b) > 0 {
		b[0] = b[0]&0xF0 | flags&0x0F
	}
	return b
}

// WithRemainingLength encodes p with n as its Remaining Length, whatever the
// length of the rest is.
func WithRemainingLength(p Packet, n uint32) Raw {
	first, body := splitHeader(Encode(p))
	return append(appendVarint([]byte{first}, n), body...)
}

// WithOverlongLength encodes p with its Remaining Length in one byte more than
// needed, which [MQTT-1.5.5-1] forbids.
func WithOverlongLength(p Packet) Raw {
	first, body := splitHeader(Encode(p))
	b := appendVarint([]byte{first}, uint32(len(body)))
	b[len(b)-1] |= 0x80
	return append(append(b, 0), body...)
}

// WithTrailing encodes p with more bytes at its end, which its Remaining Length counts.
func WithTrailing(p Packet, more ...byte) Raw {
	first, body := splitHeader(Encode(p))
	return joinHeader(first, slices.Concat(body, more))
}

// Truncated encodes p with only the first n bytes after its fixed header, and a
// Remaining Length of n: the packet is complete, but what it holds is not. A
// negative n leaves out the last -n bytes.
func Truncated(p Packet, n int) Raw {
	first, body := splitHeader(Encode(p))
	if n < 0 {
		n += len(body)
	}
	return joinHeader(first, body[:max(0, min(n, len(body)))])
}

// Corrupted encodes p and inverts the bits of mask in the byte at offset,
// counted from the end when negative. An offset beyond the packet changes
// nothing.
func Corrupted(p Packet, offset int, mask byte) Raw {
	b := slices.Clone(Encode(p))
	if offset < 0 {
		offset += len(b)
	}
	if offset >= 0 && offset < len(b) {
		b[offset] ^= mask
	}
	return b
}

// Concat encodes packets one after the other, so that they can go out in one write.
func Concat(packets ...Packet) Raw {
	var b Raw
	for _, p := range packets {
		b = append(b, Encode(p)...)
	}
	return b
}
