// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
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
// of frames and messages. Pings and closes are noticed in Read alone, so a
// connection must be read from to stay healthy; Read never waits for a write.
// Write and WriteBuffers send their bytes in binary frames of up to 16 KiB, one
// if they fit, and the answers to pings go between two frames. None of them
// allocates memory in the steady state, and an idle connection holds no
// buffers.
//
// All methods may be called concurrently. Deadlines work as net.Conn
// describes: reading and writing can go on after a deadline has passed, except
// that a write that was interrupted within a frame ends the connection for
// writing, as does any that was interrupted over TLS.
type Conn struct {
	conn        net.Conn
	subprotocol string

	rmu     sync.Mutex
	decoder decoder
	later   error // of a read that also yielded bytes
	rerr    error // sticky
	handle  func(controlFrame) error

	writer writer

	peerClose atomic.Pointer[CloseError]
	closed    atomic.Bool
}

var _ net.Conn = (*Conn)(nil)

func newConn(conn net.Conn, subprotocol string) *Conn {
	c := &Conn{conn: conn, subprotocol: subprotocol}
	c.writer.conn = conn
	c.handle = c.handleControl
	return c
}

// Subprotocol returns the subprotocol that the server chose.
func (c *Conn) Subprotocol() string { return c.subprotocol }

// NetConn returns the connection underneath, for instance to look at its TLS
// state. Reading from it or writing to it destroys the WebSocket connection.
func (c *Conn) NetConn() net.Conn { return c.conn }

// Read implements net.Conn. When the server has closed the connection
// with a close frame the error is a [*CloseError], which matches io.EOF for a
// regular close
// that gives no reason.
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
		// The frames are taken apart where they are, so that there is no buffer between.
		raw, err := c.conn.Read(p)
		n, derr := c.decoder.decode(p[:raw], c.handle)
		if derr != nil {
			err = derr
		}
		switch {
		case n > 0:
			c.later = err
			return n, nil
		case err != nil:
			return 0, c.readFailed(err)
		}
	}
}

// handleControl answers the control frames of the server.
func (c *Conn) handleControl(f controlFrame) error {
	switch f.opcode {
	case opPing:
		c.writer.pong(f.payload)
	case opClose:
		e, err := parseClose(f.payload)
		if err != nil {
			return err
		}
		return e
	}
	return nil
}

// readFailed makes the error of Read. All but a passed deadline are final.
func (c *Conn) readFailed(err error) error {
	var ce *CloseError
	switch {
	case c.closed.Load():
		c.rerr = errClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errReadTimeout
	case errors.As(err, &ce):
		c.peerClose.Store(ce)
		c.writer.close(ce.Code, "", closeTimeout)
		c.rerr = ce
	case errors.Is(err, ErrTextFrame):
		c.writer.close(StatusUnsupportedData, "text frame", closeTimeout)
		c.rerr = fmt.Errorf("websocket: %w", err)
	case errors.Is(err, ErrProtocol):
		c.writer.close(statusProtocolError, "", closeTimeout)
		c.rerr = fmt.Errorf("websocket: %w", err)
	case errors.Is(err, io.EOF):
		c.rerr = fmt.Errorf("websocket: connection ended without a close frame: %w", io.ErrUnexpectedEOF)
	case errors.Is(err, net.ErrClosed):
		c.rerr = errClosed
	default:
		c.rerr = fmt.Errorf("websocket: read: %w", err)
	}
	_ = c.conn.Close()
	return c.rerr
}

// Write sends p in binary frames: one, unless p is longer than 16 KiB. An empty p
// sends nothing.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.write(p, nil)
	return int(n), err
}

// WriteBuffers sends the bytes of all buffers as Write would if they were one. It
// does not change or keep the buffers.
func (c *Conn) WriteBuffers(bufs [][]byte) (int64, error) { return c.write(nil, bufs) }

func (c *Conn) write(first []byte, rest [][]byte) (int64, error) {
	n, err := c.writer.write(first, rest)
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

// Close sends a close frame with code 1000, if that is possible within a
// second, and closes the connection without waiting for an answer. Reads and
// writes in progress return. It is idempotent.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.writer.close(StatusNormalClosure, "", closeTimeout)
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Abort closes the connection without a close frame, so that the server sees a
// lost connection instead of a client that has finished. It is idempotent, also
// with Close.
func (c *Conn) Abort() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn. The answers to pings do not obey it,
// unless a write waits behind one.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.writer.setDeadline(t) }
