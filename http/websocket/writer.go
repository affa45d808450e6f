// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// writer sends the frames of a connection. One write is in flight, and
// everything that is written is whole frames.
//
// A pong never makes the reader wait: it goes between two frames of a write
// under way, or else a goroutine sends it, which lives as long as
// that takes. Of several pings only the last is answered, as RFC 6455 section
// 5.5.3 allows.
type writer struct {
	conn net.Conn

	mu        sync.Mutex // held over a write; released by unlock
	err       error      // a frame was torn: nothing can be written any more
	closeSent bool
	mask      maskSource

	pongDue atomic.Bool // a pong waits in pings
	pings   struct {
		sync.Mutex
		payload [maxControlLength]byte
		n       int
	}

	// deadline is that of the caller's writes. A pong on its own goes without:
	// the deadline may be that of a write long past, and a TLS connection does
	// not survive a write that it interrupts.
	deadline struct {
		sync.Mutex
		t       time.Time
		lifted  bool // conn has none, for a pong
		waiting int  // writes that wait for mu
	}
}

// setDeadline sets the deadline of the caller's writes.
func (w *writer) setDeadline(t time.Time) error {
	d := &w.deadline
	d.Lock()
	defer d.Unlock()
	d.t = t
	if d.lifted {
		return nil
	}
	return w.conn.SetWriteDeadline(t)
}

// lock takes mu for a write of the caller. A pong in the way gets its deadline.
func (w *writer) lock() {
	if w.mu.TryLock() {
		return
	}
	d := &w.deadline
	d.Lock()
	d.waiting++
	w.restoreDeadline()
	d.Unlock()
	w.mu.Lock()
	d.Lock()
	d.waiting--
	d.Unlock()
}

// restoreDeadline ends the time without a deadline. The caller holds deadline.
func (w *writer) restoreDeadline() {
	if w.deadline.lifted {
		w.deadline.lifted = false
		_ = w.conn.SetWriteDeadline(w.deadline.t)
	}
}

// write sends the bytes of first and rest in binary frames. It returns how many
// of them were written.
func (w *writer) write(first []byte, rest [][]byte) (int64, error) {
	total := len(first)
	for _, b := range rest {
		total += len(b)
	}
	w.lock()
	defer w.unlock()
	switch {
	case w.err != nil:
		return 0, w.err
	case w.closeSent:
		return 0, net.ErrClosed
	}
	var buf []byte
	if total+maxClientHeader <= smallBuffer {
		b := smallBuffers.Get().(*[smallBuffer]byte)
		defer smallBuffers.Put(b)
		buf = b[:]
	} else {
		b := largeBuffers.Get().(*[largeBuffer]byte)
		defer largeBuffers.Put(b)
		buf = b[:]
	}
	source := byteSource{first: first, rest: rest}
	var sent int64
	for left := total; left > 0; {
		if err := w.sendPong(); err != nil {
			return sent, err
		}
		size := min(left, maxFramePayload)
		key := w.mask.next()
		header := len(appendHeader(buf[:0], opBinary, size, key))
		source.mask(buf[header:header+size], key)
		n, err := w.frame(buf[:header+size])
		sent += int64(max(0, n-header))
		if err != nil {
			return sent, err
		}
		left -= size
	}
	return sent, nil
}

// frame writes one frame. The caller holds mu.
func (w *writer) frame(b []byte) (int, error) {
	n, err := w.conn.Write(b)
	if err != nil && (n > 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
		w.err = err // the frame is torn, or the connection broken
	}
	return n, err
}

// byteSource yields the bytes of several slices as one.
type byteSource struct {
	first []byte
	rest  [][]byte
}

// mask fills dst with the next bytes under the key.
func (s *byteSource) mask(dst []byte, key [4]byte) {
	for len(dst) > 0 {
		for len(s.first) == 0 {
			s.first, s.rest = s.rest[0], s.rest[1:]
		}
		n := min(len(dst), len(s.first))
		key = maskCopy(dst, s.first[:n], key)
		dst, s.first = dst[n:], s.first[n:]
	}
}

// pong makes a ping be answered. It does not wait.
func (w *writer) pong(payload []byte) {
	w.pings.Lock()
	w.pings.n = copy(w.pings.payload[:], payload)
	w.pongDue.Store(true)
	w.pings.Unlock()
	if w.mu.TryLock() {
		go w.pongs()
	}
	// Else the goroutine that holds mu finds the pong due.
}

// unlock releases mu, or hands it over to a goroutine that sends a pong which
// became due while it was held.
func (w *writer) unlock() {
	if w.pongDue.Load() {
		go w.pongs()
		return
	}
	w.mu.Unlock()
	if w.pongDue.Load() && w.mu.TryLock() {
		go w.pongs()
	}
}

// pongs sends the pong that is due, and releases mu, which it is called with.
func (w *writer) pongs() {
	d := &w.deadline
	for {
		d.Lock()
		if d.waiting == 0 && !d.t.IsZero() {
			d.lifted = true
			_ = w.conn.SetWriteDeadline(time.Time{})
		}
		d.Unlock()
		_ = w.sendPong()
		d.Lock()
		w.restoreDeadline()
		d.Unlock()
		w.mu.Unlock()
		if !w.pongDue.Load() || !w.mu.TryLock() {
			return
		}
	}
}

// sendPong sends the pong that is due, if one is. The caller holds mu.
func (w *writer) sendPong() error {
	if !w.pongDue.Load() {
		return nil
	}
	b := smallBuffers.Get().(*[smallBuffer]byte)
	defer smallBuffers.Put(b)
	key := w.mask.next()
	p := &w.pings
	p.Lock()
	w.pongDue.Store(false)
	header := len(appendHeader(b[:0], opPong, p.n, key))
	maskCopy(b[header:], p.payload[:p.n], key)
	n := header + p.n
	p.Unlock()
	if w.err != nil || w.closeSent {
		return w.err
	}
	_, err := w.frame(b[:n])
	return err
}

// close tries to send a close frame, unless one was sent or a write is in the way.
func (w *writer) close(code StatusCode, reason string, timeout time.Duration) {
	if !w.mu.TryLock() {
		return
	}
	defer w.unlock()
	if w.closeSent || w.err != nil {
		return
	}
	w.closeSent = true
	var payload []byte
	if code != StatusNoStatus {
		payload = append([]byte{byte(code >> 8), byte(code)}, reason...)
	}
	key := w.mask.next()
	b := appendHeader(make([]byte, 0, maxClientHeader+len(payload)), opClose, len(payload), key)
	n := len(b)
	b = b[:n+len(payload)]
	maskCopy(b[n:], payload, key)
	_ = w.conn.SetWriteDeadline(time.Now().Add(timeout))
	_, w.err = w.conn.Write(b)
}
