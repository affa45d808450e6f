// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"io"
	"net"
)

const (
	// smallRead is the size below which content is copied for an owner that
	// wants a lasting buffer, so that what it keeps takes little memory.
	smallRead = 4 << 10
	// largePacket is the size from which a packet gets a buffer of its own.
	largePacket = 32 << 10
	// trustedSize is the packet size up to which a buffer gets its full size
	// at once. For larger packets it grows as the bytes arrive, so that a length
	// field alone costs the sender's memory and not ours.
	trustedSize = 1 << 20
	// firstRead is the size of the first read after a rest on a connection
	// that cannot be asked whether it is readable.
	firstRead = 64
)

// Reader collects what arrives on a connection, from a packet boundary on. One
// goroutine at a time may use it. At rest, which is between packets, it holds no
// memory but a few bytes.
type Reader struct {
	conn   net.Conn
	socket *socket // nil: conn is no plain socket
	first  []byte  // firstRead bytes if socket is nil

	buf    *Buffer // nil at rest
	expect int     // likely size of the next packet, if it is a large one; else 0
	err    error   // of a read that also brought bytes
}

// Read waits for bytes and adds them to those that are not consumed yet. A read
// without bytes and without an error is io.ErrNoProgress. Everything received
// before an error stays available.
func (r *Reader) Read() error {
	if err := r.err; err != nil {
		r.err = nil
		return err
	}
	if r.buf == nil {
		return r.leaveRest()
	}
	if b := r.buf; len(b.b) == cap(b.b) {
		r.keep(b.b, 2*len(b.b))
	}
	b := r.buf
	room := b.b[len(b.b):cap(b.b)]
	var n int
	var err error
	if r.socket != nil {
		n, err = r.socket.readInto(room)
	} else {
		n, err = r.conn.Read(room)
	}
	b.b = b.b[:len(b.b)+n]
	return r.result(n, err)
}

// leaveRest waits for the first bytes after a rest, and only then takes a buffer.
func (r *Reader) leaveRest() error {
	if r.socket != nil {
		b, err := r.socket.read(r.expect)
		r.buf = b
		return err
	}
	n, err := r.conn.Read(r.first)
	if n > 0 {
		r.buf = newPooled()
		r.buf.b = append(r.buf.b, r.first[:n]...)
	}
	return r.result(n, err)
}

func (r *Reader) result(n int, err error) error {
	switch {
	case n > 0:
		r.err = err
		return nil
	case err == nil:
		return io.ErrNoProgress
	default:
		return err
	}
}

// Bytes returns the bytes received and not consumed, from a packet boundary on. It
// is valid until the next call of another method.
func (r *Reader) Bytes() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf.Bytes()
}

// AtRest reports whether the Reader holds neither bytes nor memory.
func (r *Reader) AtRest() bool { return r.buf == nil }

// Close returns the buffers of the Reader to the pool. It does not close the connection.
func (r *Reader) Close() {
	if r.buf != nil {
		r.buf.Release()
		r.buf = nil
	}
}

// Consume removes the first n bytes, to which nobody keeps references. The packet
// after them has at least need bytes; 0 stands for an unknown size. If nothing is
// left, the Reader is at rest.
func (r *Reader) Consume(n, need int) {
	b := r.buf
	if b == nil && n == 0 {
		return
	}
	rest := b.b[n:]
	r.setExpect(rest)
	if len(rest) == 0 {
		r.Close()
		return
	}
	r.keep(rest, need)
}

// Detach removes the first n bytes like Consume, and returns a Buffer that holds
// them at the same offsets and belongs to the caller.
//
// With lasting, the caller would otherwise have to copy what its user keeps. The
// Buffer is Lasting then if that takes about as much memory as the n bytes: if they are
// few, in which case they are copied, and if their memory was made for a large packet.
func (r *Reader) Detach(n, need int, lasting bool) *Buffer {
	b := r.buf
	if lasting && (n < smallRead || b.origin != pooled && n <= cap(b.b)/2) {
		own := newLasting(b.b[:n])
		r.Consume(n, need)
		return own
	}
	rest := b.b[n:]
	r.setExpect(rest)
	r.buf = nil
	if len(rest) > 0 {
		r.buf = newHolding(rest, need)
	}
	b.b = b.b[:n]
	b.lasting = lasting && b.origin != pooled
	return b
}

// setExpect notes the size of the next packet. Large packets often come in
// series of one size.
func (r *Reader) setExpect(rest []byte) {
	r.expect = 0
	if b := r.buf; len(rest) == 0 && b.origin == large && len(b.b) == cap(b.b) {
		r.expect = len(b.b)
	}
}

// keep reduces the content to rest, which is the end of it, and makes room for
// a packet of need bytes.
func (r *Reader) keep(rest []byte, need int) {
	b := r.buf
	need = max(need, len(rest)+1)
	whole := len(rest) == len(b.b)
	switch {
	case b.origin == pooled && inPooled(len(rest), need):
		if !whole {
			b.b = b.b[:copy(b.b, rest)]
		}
	case b.origin != pooled && whole && need >= largePacket && hasRoom(b.b, need):
	default:
		r.buf = newHolding(rest, need)
		b.Release()
	}
}

// hasRoom reports whether b has room for a packet of need bytes, or as much of it
// as is justified by what has arrived.
func hasRoom(b []byte, need int) bool {
	return cap(b) >= need || cap(b) >= trustedSize && len(b) < cap(b)
}

// inPooled reports whether a packet of need bytes, of which have are there, goes to a
// pooled buffer: it is small, or to copy it would cost more than its own memory saves.
func inPooled(have, need int) bool {
	return need <= bufferSize && (need < largePacket || have >= need/2)
}

// newHolding returns a Buffer with a copy of rest and room for a packet of need bytes.
func newHolding(rest []byte, need int) *Buffer {
	need = max(need, len(rest)+1)
	var b *Buffer
	switch {
	case inPooled(len(rest), need):
		b = newPooled()
	case need <= trustedSize:
		b = newLarge(need)
	default:
		b = newCollected(min(need, max(trustedSize, 2*len(rest))))
	}
	b.b = append(b.b, rest...)
	return b
}
