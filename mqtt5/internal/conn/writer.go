// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// largestPiece is how much one call of Write gets on a connection that is no
	// plain socket: the content of one TLS record.
	largestPiece = 16 << 10
	// firstPiece is how much it gets at first, when the link may be slow.
	firstPiece = 4 << 10
	// smallestPiece is how much it gets at least on a slow link, and the step by
	// which pieces grow.
	smallestPiece = 1 << 10
	// frameHeader is room in a TLS record for the header of a WebSocket frame.
	frameHeader = 14
	// slowPiece is the time that a piece should not exceed, so that a slow link shows
	// movement.
	slowPiece = 100 * time.Millisecond
	// fastPiece is the time below which the next piece may be larger.
	fastPiece = slowPiece / 4
)

// buffersWriter is implemented by connections that send several slices as one
// unit, such as one WebSocket frame. They must not keep or change the slices.
type buffersWriter interface {
	WriteBuffers(buffers [][]byte) (int64, error)
}

// Writer writes to a connection and counts what has left. One goroutine at a
// time may call Write and TryWrite, any may call Departed and Waits.
type Writer struct {
	socket *socket // nil: conn is no plain socket
	pieces *pieces // nil: it is one

	written  atomic.Int64
	departed atomic.Int64
	below    syscall.RawConn // of the socket under all layers; nil: unknown
}

// pieces writes in pieces, each of which counts when it is complete.
type pieces struct {
	conn    net.Conn
	joined  buffersWriter // nil: conn takes one slice at a time
	largest int           // size of a piece on a fast link
	size    int           // of the next piece
	group   [][]byte      // what joined gets
}

func newPieces(c net.Conn) *pieces {
	p := &pieces{conn: c, largest: largestPiece, size: firstPiece}
	if joined, ok := c.(buffersWriter); ok {
		p.joined, p.largest = joined, largestPiece-frameHeader
	}
	return p
}

// Write writes all segments, and waits until the connection has accepted them. It may
// change the segments, but not their bytes.
func (w *Writer) Write(segments [][]byte) error {
	switch {
	case w.socket != nil:
		return w.socket.write(segments)
	case w.pieces.joined != nil:
		return w.writeGroups(segments)
	default:
		return w.writePieces(segments)
	}
}

// Tries reports whether TryWrite is available, which it is on a plain socket.
func (w *Writer) Tries() bool { return w.socket != nil }

// TryWrite writes as much of b as the socket accepts at once, and returns how much
// that was. The next Write reports an error.
func (w *Writer) TryWrite(b []byte) int { return w.socket.tryWrite(b) }

// Waits reports whether Write waits for the connection, or may do so: otherwise it
// returns at once. Any goroutine may call it.
func (w *Writer) Waits() bool { return w.socket == nil || w.socket.waits.Load() }

func (w *Writer) writePieces(segments [][]byte) error {
	p := w.pieces
	for _, s := range segments {
		for len(s) > 0 {
			size := min(len(s), p.size)
			start := time.Now()
			n, err := p.conn.Write(s[:size])
			if err = w.count(size, n, err, start); err != nil {
				return err
			}
			s = s[size:]
		}
	}
	return nil
}

// writeGroups is writePieces for a connection that joins slices: a piece may
// have bytes of several segments, so that small ones do not become small frames.
func (w *Writer) writeGroups(segments [][]byte) error {
	p := w.pieces
	defer func() { clear(p.group[:cap(p.group)]) }()
	for len(segments) > 0 {
		size := 0
		p.group = p.group[:0]
		for len(segments) > 0 && size < p.size {
			part := segments[0][:min(len(segments[0]), p.size-size)]
			if len(part) > 0 {
				p.group = append(p.group, part)
				size += len(part)
			}
			if segments[0] = segments[0][len(part):]; len(segments[0]) == 0 {
				segments = segments[1:]
			}
		}
		if size == 0 {
			return nil
		}
		start := time.Now()
		n, err := p.joined.WriteBuffers(p.group)
		if err = w.count(size, int(n), err, start); err != nil {
			return err
		}
	}
	return nil
}

// count notes that n of size bytes were written since start, and chooses the
// size of the next piece.
func (w *Writer) count(size, n int, err error, start time.Time) error {
	w.written.Add(int64(max(n, 0)))
	if err != nil {
		return err
	}
	if n < size {
		return io.ErrShortWrite
	}
	p := w.pieces
	switch took := time.Since(start); {
	case took > slowPiece:
		p.size = max(smallestPiece, int(int64(size)*int64(slowPiece)/int64(took)))
	case took < fastPiece:
		p.size = min(p.largest, p.size+smallestPiece)
	}
	return nil
}

// Departed returns how many bytes of all writes have left: those that the
// connection has accepted, without those that the socket below it still holds where the
// platform tells that. Bytes that a layer adds, such as TLS, count as still held, so that
// the result is never too large. It never decreases.
func (w *Writer) Departed() int64 {
	if w.below == nil {
		return w.written.Load()
	}
	_ = w.below.Control(w.measureDeparted) // fails when the socket is closed: then nothing leaves any more
	return w.departed.Load()
}

func (w *Writer) measureDeparted(fd uintptr) {
	departed := w.written.Load() // first: what is written meanwhile is in the queue
	if queued, ok := sendQueue(fd); ok {
		departed -= int64(queued)
	}
	for {
		before := w.departed.Load()
		if departed <= before || w.departed.CompareAndSwap(before, departed) {
			return
		}
	}
}

// deepest is how many layers bottom follows.
const deepest = 16

// bottom returns the socket below all layers of a connection, or nil.
func bottom(c net.Conn) syscall.RawConn {
	for range deepest {
		switch layer := c.(type) {
		case syscall.Conn:
			if raw, err := layer.SyscallConn(); err == nil {
				return raw
			}
			return nil
		case interface{ NetConn() net.Conn }:
			c = layer.NetConn()
		default:
			return nil
		}
	}
	return nil
}
