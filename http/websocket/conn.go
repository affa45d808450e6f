// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// closeTimeout bounds how long Close tries to send a close frame.
const closeTimeout = time.Second

var (
	errClosed = fmt.Errorf("websocket: %w", net.ErrClosed)
	// As net.Error, also to those who do not unwrap.
	errReadTimeout  = &net.OpError{Op: "read", Net: "websocket", Err: os.ErrDeadlineExceeded}
	errWriteTimeout = &net.OpError{Op: "write", Net: "websocket", Err: os.ErrDeadlineExceeded}
)

// Conn is a stream over a WebSocket connection. It implements net.Conn.
//
// Read returns the payload of binary frames as it arrives, whatever the borders
// of frames and messages. It answers pings and closes; since that happens in Read alone, a
// connection must be read from to stay healthy. Write and WriteBuffers send one
// binary frame each. Neither allocates memory in the steady state.
//
// All methods may be called concurrently. Deadlines work as net.Conn
// describes: reading and writing can go on after a deadline has passed, except that a write that was
// interrupted within a frame ends the connection for writing.
type Conn struct {
	ws     *websocket.Conn
	stream *stream

	rmu   sync.Mutex
	msg   io.Reader // the message being read
	later error     // of a read that also yielded bytes
	rerr  error     // sticky

	peerClose atomic.Pointer[CloseError]
	closed    atomic.Bool
}

var _ net.Conn = (*Conn)(nil)

func newConn(ws *websocket.Conn, s *stream) *Conn {
	ws.SetReadLimit(-1) // borders of messages mean nothing here; nothing is buffered by their size
	s.live.Store(true)
	return &Conn{ws: ws, stream: s}
}

// Subprotocol returns the subprotocol that the server chose.
func (c *Conn) Subprotocol() string { return c.ws.Subprotocol() }

// NetConn returns the connection underneath, for instance to look at its TLS
// state. Reading from it or writing to it destroys the WebSocket connection.
func (c *Conn) NetConn() net.Conn { return c.stream.conn }

// Read implements net.Conn. When the server has closed the connection
// with a close frame the error is a [*CloseError], which matches io.EOF for a regular close.
func (c *Conn) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if c.rerr != nil {
		return 0, c.rerr
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.later; err != nil {
		c.later = nil
		return 0, c.readFailed(err)
	}
	for {
		if c.msg == nil {
			typ, msg, err := c.ws.Reader(context.Background())
			if err != nil {
				return 0, c.readFailed(err)
			}
			if typ != websocket.MessageBinary {
				c.stream.sendClose(StatusUnsupportedData, "text frame", closeTimeout)
				return 0, c.readFailed(ErrTextFrame)
			}
			c.msg = msg
		}
		n, err := c.take(p)
		switch {
		case err == io.EOF:
			c.msg = nil
		case err != nil && n == 0:
			return 0, c.readFailed(err)
		case err != nil:
			c.later = err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// take reads from the current message. The library fills the buffer it is given
// as far as the frame goes, so it is asked for what is there, or else for a single byte.
func (c *Conn) take(p []byte) (int, error) {
	s := c.stream
	n, err := c.msg.Read(p[:max(1, min(int64(len(p)), s.avail))])
	s.avail -= int64(n)
	if n == 1 && err == nil && len(p) > 1 && s.avail > 0 {
		more, err := c.msg.Read(p[1:min(int64(len(p)), 1+s.avail)])
		s.avail -= int64(more)
		return n + more, err
	}
	return n, err
}

// readFailed turns an error of the library into ours. All but a passed
// deadline are final.
func (c *Conn) readFailed(err error) error {
	s := c.stream
	var ce websocket.CloseError
	switch {
	case c.closed.Load():
		c.rerr = errClosed
	case s.timedOut:
		s.timedOut = false
		return errReadTimeout
	case errors.As(err, &ce):
		e := &CloseError{Code: StatusCode(ce.Code), Reason: printable(ce.Reason, maxReason)}
		c.peerClose.Store(e)
		c.rerr = e
	case errors.Is(err, ErrTextFrame):
		c.rerr = fmt.Errorf("websocket: %w", err)
	case errors.Is(s.ioErr, io.EOF):
		c.rerr = fmt.Errorf("websocket: connection ended without a close frame: %w", io.ErrUnexpectedEOF)
	case errors.Is(s.ioErr, errMaskedFrame):
		s.sendClose(statusProtocolError, "masked frame", closeTimeout)
		c.rerr = fmt.Errorf("websocket: %w: %w", ErrProtocol, s.ioErr)
	case s.ioErr != nil:
		c.rerr = fmt.Errorf("websocket: read: %w", s.ioErr)
	case errors.Is(err, net.ErrClosed):
		c.rerr = errClosed
	default:
		s.sendClose(statusProtocolError, "", closeTimeout) // where the library did not
		c.rerr = fmt.Errorf("websocket: %w: %s", ErrProtocol, printable(err.Error(), 256))
	}
	_ = c.ws.CloseNow()
	return c.rerr
}

// Write sends p as one binary frame. An empty p sends nothing.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.writeFrame(p, nil)
	return int(n), err
}

// WriteBuffers sends the bytes of all buffers as one binary frame. It does not
// change or keep the buffers.
func (c *Conn) WriteBuffers(bufs [][]byte) (int64, error) { return c.writeFrame(nil, bufs) }

func (c *Conn) writeFrame(first []byte, rest [][]byte) (int64, error) {
	total := len(first)
	for _, b := range rest {
		total += len(b)
	}
	n, err := c.stream.writeData(first, rest, total)
	if err == nil {
		return n, nil
	}
	if c.closed.Load() {
		return n, errClosed
	}
	if e := c.peerClose.Load(); e != nil {
		return n, e
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, errWriteTimeout
	}
	return n, fmt.Errorf("websocket: write: %w", err)
}

// writeData masks a frame into a buffer and writes the buffer whenever it is full.
func (s *stream) writeData(first []byte, rest [][]byte, total int) (int64, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	switch {
	case s.werr != nil:
		return 0, s.werr
	case s.closeSent:
		return 0, net.ErrClosed
	case total == 0:
		return 0, nil
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
	key := s.mask.next()
	header := len(appendHeader(buf[:0], opBinary, total, key))
	fill, sent := header, 0

	write := func() error {
		n, err := s.conn.Write(buf[:fill])
		sent += n
		if err != nil && (sent > 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			s.werr = err // the frame is torn, or the connection broken
		}
		fill = 0
		return err
	}
	for i := -1; i < len(rest); i++ {
		src := first
		if i >= 0 {
			src = rest[i]
		}
		for len(src) > 0 {
			if fill == len(buf) {
				if err := write(); err != nil {
					return int64(max(0, sent-header)), err
				}
			}
			n := min(len(src), len(buf)-fill)
			key = maskCopy(buf[fill:], src[:n], key)
			fill += n
			src = src[n:]
		}
	}
	err := write()
	return int64(max(0, sent-header)), err
}

// sendClose tries to send a close frame, unless one was sent or a write is in
// the way.
func (s *stream) sendClose(code StatusCode, reason string, timeout time.Duration) {
	if !s.wmu.TryLock() {
		return
	}
	defer s.wmu.Unlock()
	if s.closeSent || s.werr != nil {
		return
	}
	s.closeSent = true
	payload := append([]byte{byte(code >> 8), byte(code)}, reason...)
	key := s.mask.next()
	frame := appendHeader(make([]byte, 0, maxClientHeader+len(payload)), opClose, len(payload), key)
	n := len(frame)
	frame = frame[:n+len(payload)]
	maskCopy(frame[n:], payload, key)
	_ = s.conn.SetWriteDeadline(time.Now().Add(timeout))
	_, s.werr = s.conn.Write(frame)
}

// Close sends a close frame with code 1000, if that is possible within a
// second, and closes the connection without waiting for an answer. Reads and
// writes in progress return. It is idempotent.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.stream.sendClose(StatusNormalClosure, "", closeTimeout)
	err := c.ws.CloseNow()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.stream.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.stream.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.stream.conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.stream.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.stream.conn.SetWriteDeadline(t) }
