// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"sync"
	"sync/atomic"
)

// bufferSize is the capacity of a pooled buffer. It leaves room behind a full
// output of the engine for the packet that filled it.
const bufferSize = 80 << 10

// origin is where the memory of a Buffer comes from, and so where it goes.
type origin uint8

const (
	collected origin = iota // allocated, and left to the garbage collector
	pooled                  // bufferSize bytes from the pool arrays
	large                   // made for one large packet; from the pool largeBuffers
)

// Buffer is memory with one owner at a time. Release ends the ownership.
//
// A second Release panics. Since a Buffer is used again, this is certain only
// until then; in builds with the race detector it is never used again, Bytes
// after Release panics, too, and Release overwrites the memory.
type Buffer struct {
	b        []byte // its capacity is what a read may fill
	origin   origin
	lasting  bool
	released atomic.Bool
}

// Bytes returns the content.
func (b *Buffer) Bytes() []byte {
	if raceEnabled && b.released.Load() {
		panic("conn: Bytes of a Buffer that was released")
	}
	return b.b[:len(b.b):len(b.b)]
}

// Lasting reports whether slices of the content may be kept after Release.
func (b *Buffer) Lasting() bool { return b.lasting }

// Release ends the ownership. The content must not be used any more, unless it
// is Lasting.
func (b *Buffer) Release() {
	if b.released.Swap(true) {
		panic("conn: Buffer released twice")
	}
	if raceEnabled {
		if !b.lasting {
			overwrite(b.b)
		}
		return
	}
	b.recycle()
}

// recycle makes the Buffer available again, without any check.
func (b *Buffer) recycle() {
	b.released.Store(true)
	if b.lasting {
		b.origin = collected
	}
	switch b.origin {
	case large:
		b.b = b.b[:0]
		largeBuffers.Put(b)
		return
	case pooled:
		arrays.Put((*[bufferSize]byte)(b.b[:bufferSize]))
	}
	b.b, b.lasting = nil, false
	headers.Put(b)
}

var (
	// arrays holds the memory of pooled buffers, inbound and outbound.
	arrays = sync.Pool{New: func() any { return new([bufferSize]byte) }}
	// largeBuffers holds Buffers with the memory of some large packet.
	largeBuffers sync.Pool
	// headers holds Buffers without memory.
	headers = sync.Pool{New: func() any { return new(Buffer) }}
)

// newBuffer returns an empty Buffer that owns the capacity of memory.
func newBuffer(memory []byte, origin origin) *Buffer {
	b := headers.Get().(*Buffer)
	b.b, b.origin = memory[:0], origin
	b.released.Store(false)
	return b
}

func newPooled() *Buffer { return newBuffer(arrays.Get().(*[bufferSize]byte)[:], pooled) }

func newCollected(size int) *Buffer { return newBuffer(make([]byte, 0, size), collected) }

// newLarge returns an empty Buffer for exactly size bytes.
func newLarge(size int) *Buffer {
	if b, ok := largeBuffers.Get().(*Buffer); ok {
		if cap(b.b) == size {
			b.released.Store(false)
			return b
		}
		b.origin = collected // packets have another size now
		b.recycle()
	}
	return newBuffer(make([]byte, 0, size), large)
}

// newLasting returns a Buffer with a copy of content that takes no more memory than
// it needs.
func newLasting(content []byte) *Buffer {
	b := newBuffer(append([]byte(nil), content...), collected)
	b.b, b.lasting = b.b[:len(content)], true
	return b
}

// TakeBuffer returns an empty outbound buffer of 80 KiB from the pool.
func TakeBuffer() []byte { return arrays.Get().(*[bufferSize]byte)[:0] }

// GiveBuffer takes an outbound buffer back, which must not be used any more. It
// leaves a buffer that grew beyond the size of TakeBuffer to the garbage collector.
func GiveBuffer(b []byte) {
	if raceEnabled {
		overwrite(b)
		return
	}
	if cap(b) == bufferSize {
		arrays.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}

// poison is what released memory holds in builds with the race detector.
var poison [4 << 10]byte

func init() {
	for i := range poison {
		poison[i] = 0xDB
	}
}

func overwrite(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, poison[:]):]
	}
}
