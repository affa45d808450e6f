// SPDX-License-Identifier: Apache-2.0

package authtest

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// newPipe returns the ends of a connection in memory. Unlike those of net.Pipe,
// writes never block: two TLS peers can close at once without waiting for each
// other's close_notify alert.
func newPipe(address pipeAddr) (client, server net.Conn) {
	a, b := newStream(), newStream()
	return &pipeConn{in: a, out: b, address: address}, &pipeConn{in: b, out: a, address: address}
}

type pipeConn struct {
	in, out *stream
	address pipeAddr
}

func (c *pipeConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *pipeConn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *pipeConn) Close() error {
	c.in.abort()
	c.out.end()
	return nil
}

func (c *pipeConn) LocalAddr() net.Addr  { return c.address }
func (c *pipeConn) RemoteAddr() net.Addr { return c.address }

func (c *pipeConn) SetDeadline(t time.Time) error     { return c.SetReadDeadline(t) }
func (c *pipeConn) SetWriteDeadline(time.Time) error  { return nil } // writes do not block
func (c *pipeConn) SetReadDeadline(t time.Time) error { c.in.setDeadline(t); return nil }

// stream is one direction of a connection.
type stream struct {
	mu       sync.Mutex
	buf      []byte
	ended    bool // by the writer
	aborted  bool // by the reader
	deadline time.Time
	timer    *time.Timer
	wake     chan struct{} // closed and replaced when anything above changes
}

func newStream() *stream { return &stream{wake: make(chan struct{})} }

// changed wakes the reader; the mutex must be held.
func (s *stream) changed() {
	close(s.wake)
	s.wake = make(chan struct{})
}

func (s *stream) read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		switch {
		case s.aborted:
			s.mu.Unlock()
			return 0, net.ErrClosed
		case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			s.mu.Unlock()
			return 0, nil
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[n:]
			s.mu.Unlock()
			return n, nil
		case s.ended:
			s.mu.Unlock()
			return 0, io.EOF
		}
		wake := s.wake
		s.mu.Unlock()
		<-wake
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.aborted {
		return 0, io.ErrClosedPipe
	}
	s.buf = append(s.buf, p...)
	s.changed()
	return len(p), nil
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.changed()
}

func (s *stream) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted, s.buf = true, nil
	if s.timer != nil {
		s.timer.Stop()
	}
	s.changed()
}

func (s *stream) setDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.deadline = t
	if !t.IsZero() && !s.aborted {
		s.timer = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed()
		})
	}
	s.changed()
}
