// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
)

// Opcodes of RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	finBit      = 0x80
	reservedBit = 0x70
	opcodeBits  = 0x0F
	controlBit  = 0x08
	maskBit     = 0x80
)

const (
	maxClientHeader  = 14
	maxServerHeader  = 10 // no mask
	maxControlLength = 125

	smallBuffer = 4 << 10
	// largeBuffer holds the longest frame that is written. It is one TLS
	// record, and short enough that what has to go between two frames goes in
	// time on a slow link.
	largeBuffer = 16 << 10
	// maxFramePayload is what fits into it beside a header with a length of 16 bits.
	maxFramePayload = largeBuffer - 8
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// maskSource yields masking keys, which must be unpredictable (RFC 6455 section
// 5.3). It asks the system for several at a time.
type maskSource struct {
	keys [64]byte
	left int
}

func (m *maskSource) next() [4]byte {
	if m.left == 0 {
		_, _ = rand.Read(m.keys[:]) // never fails
		m.left = len(m.keys)
	}
	m.left -= 4
	return [4]byte(m.keys[m.left:])
}

// appendHeader appends the header of a final, masked frame.
func appendHeader(b []byte, opcode byte, length int, key [4]byte) []byte {
	b = append(b, finBit|opcode)
	switch {
	case length <= 125:
		b = append(b, maskBit|byte(length))
	case length <= 0xffff:
		b = append(b, maskBit|126)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	default:
		b = append(b, maskBit|127)
		b = binary.BigEndian.AppendUint64(b, uint64(length))
	}
	return append(b, key[:]...)
}

// maskCopy copies src to dst, which is at least as long, with the key applied.
// It returns the key rotated for the byte that follows.
func maskCopy(dst, src []byte, key [4]byte) [4]byte {
	k32 := binary.LittleEndian.Uint32(key[:])
	k := uint64(k32)<<32 | uint64(k32)
	dst = dst[:len(src)]
	for len(src) >= 32 {
		binary.LittleEndian.PutUint64(dst[0:8], binary.LittleEndian.Uint64(src[0:8])^k)
		binary.LittleEndian.PutUint64(dst[8:16], binary.LittleEndian.Uint64(src[8:16])^k)
		binary.LittleEndian.PutUint64(dst[16:24], binary.LittleEndian.Uint64(src[16:24])^k)
		binary.LittleEndian.PutUint64(dst[24:32], binary.LittleEndian.Uint64(src[24:32])^k)
		dst, src = dst[32:], src[32:]
	}
	for len(src) >= 8 {
		binary.LittleEndian.PutUint64(dst[:8], binary.LittleEndian.Uint64(src[:8])^k)
		dst, src = dst[8:], src[8:]
	}
	for i := range src {
		dst[i] = src[i] ^ key[i&3]
	}
	if n := len(src) & 3; n != 0 {
		key = [4]byte{key[n&3], key[(n+1)&3], key[(n+2)&3], key[(n+3)&3]}
	}
	return key
}
