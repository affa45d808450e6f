// SPDX-License-Identifier: Apache-2.0

package wire

// The variable byte integer of section 1.5.5: seven bits a byte, low bits
// first, the top bit set on all bytes but the last.

// varintSize returns how many bytes appendVarint writes for v.
func varintSize(v uint32) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}

func appendVarint(dst []byte, v uint32) []byte {
	switch {
	case v < 1<<7:
		return append(dst, byte(v))
	case v < 1<<14:
		return append(dst, byte(v)|0x80, byte(v>>7))
	case v < 1<<21:
		return append(dst, byte(v)|0x80, byte(v>>7)|0x80, byte(v>>14))
	}
	return append(dst, byte(v)|0x80, byte(v>>7)|0x80, byte(v>>14)|0x80, byte(v>>21))
}

// Outcomes of varint apart from the number of bytes read.
const (
	varintShort = 0  // b ends before the integer does
	varintBad   = -1 // more than four bytes, or more bytes than the value needs
)

// varint reads the integer at the start of b and returns it with the number of
// bytes it takes, or varintShort or varintBad.
func varint(b []byte) (v uint32, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	return longVarint(b)
}

func longVarint(b []byte) (v uint32, n int) {
	for i := range min(len(b), 4) {
		v |= uint32(b[i]&0x7F) << (7 * i)
		if b[i] < 0x80 {
			if b[i] == 0 && i > 0 {
				return 0, varintBad
			}
			return v, i + 1
		}
	}
	if len(b) >= 4 {
		return 0, varintBad
	}
	return 0, varintShort
}
