// SPDX-License-Identifier: Apache-2.0

//go:build unix

package conn

import (
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// rawConn returns access to the file descriptor of a plain socket, or nil.
func rawConn(c net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// socketError returns an error as the methods of net.Conn do.
func socketError(op string, c net.Conn, err error) error {
	oe, ok := err.(*net.OpError) // of syscall.RawConn, which makes one for each error
	if !ok {
		oe = &net.OpError{Net: c.LocalAddr().Network(), Err: err}
	}
	oe.Op, oe.Source, oe.Addr = op, c.LocalAddr(), c.RemoteAddr()
	return oe
}

// socket is a plain socket. Who reads takes a buffer for each attempt, and
// returns it to the pool before waiting; each partial write is counted.
type socket struct {
	conn     net.Conn
	raw      syscall.RawConn
	written  *atomic.Int64
	readable func(fd uintptr) bool // attemptRead, bound once
	writable func(fd uintptr) bool // attemptWrite, bound once

	// Of one read.
	into    []byte // nil: a new buffer
	expect  int    // size of the new buffer; 0: a pooled one
	buf     *Buffer
	n       int
	readErr error

	// Of one write.
	segments [][]byte
	one      [1][]byte // segments of tryWrite
	trying   bool      // it does not wait
	waits    atomic.Bool
	writeErr error
}

// newSocket returns nil unless c is a plain socket.
func newSocket(c net.Conn, written *atomic.Int64) *socket {
	raw := rawConn(c)
	if raw == nil {
		return nil
	}
	s := &socket{conn: c, raw: raw, written: written}
	s.readable, s.writable = s.attemptRead, s.attemptWrite
	return s
}

// read returns the next bytes in a new buffer: one of expect bytes, or a pooled one.
func (s *socket) read(expect int) (*Buffer, error) {
	s.expect = expect
	err := s.waitToRead()
	b := s.buf
	s.buf = nil
	return b, err
}

// readInto reads the next bytes to b, which is not empty.
func (s *socket) readInto(b []byte) (int, error) {
	s.into = b
	err := s.waitToRead()
	s.into = nil
	return s.n, err
}

func (s *socket) waitToRead() error {
	s.n, s.readErr = 0, nil
	err := s.raw.Read(s.readable)
	if err == nil {
		err = s.readErr
	}
	switch err {
	case nil, io.EOF:
		return err
	}
	return socketError("read", s.conn, err)
}

// attemptRead reads if there is something to read. It returns false to wait for that.
func (s *socket) attemptRead(fd uintptr) bool {
	into := s.into
	if into == nil {
		if s.expect > 0 {
			s.buf = newLarge(s.expect)
		} else {
			s.buf = newPooled()
		}
		into = s.buf.b[:cap(s.buf.b)]
	}
	n, err := syscall.Read(int(fd), into)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), into)
	}
	if n > 0 {
		s.n = n
		if s.buf != nil {
			s.buf.b = into[:n]
		}
		return true
	}
	if s.buf != nil {
		s.buf.recycle()
		s.buf = nil
	}
	switch err {
	case syscall.EAGAIN:
		return false
	case nil:
		err = io.EOF
	}
	s.readErr = err
	return true
}

// write writes all segments, and waits whenever the socket is full.
func (s *socket) write(segments [][]byte) error {
	s.segments, s.writeErr = segments, nil
	err := s.raw.Write(s.writable)
	s.segments = nil
	if s.waits.Load() {
		s.waits.Store(false)
	}
	if err == nil {
		err = s.writeErr
	}
	if err != nil {
		return socketError("write", s.conn, err)
	}
	return nil
}

// attemptWrite writes what the socket accepts. It returns false to wait until it
// accepts more.
func (s *socket) attemptWrite(fd uintptr) bool {
	for {
		for len(s.segments) > 0 && len(s.segments[0]) == 0 {
			s.segments = s.segments[1:]
		}
		if len(s.segments) == 0 {
			return true
		}
		n, err := writeSegments(int(fd), s.segments)
		switch {
		case n > 0:
			s.written.Add(int64(n))
			s.advance(n)
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			if !s.trying {
				s.waits.Store(true)
			}
			return s.trying
		case err == nil:
			s.writeErr = io.ErrUnexpectedEOF
			return true
		default:
			s.writeErr = err
			return true
		}
	}
}

// advance drops the first n bytes of the segments.
func (s *socket) advance(n int) {
	for n > 0 {
		first := &s.segments[0]
		k := min(n, len(*first))
		*first = (*first)[k:]
		n -= k
		if len(*first) == 0 {
			s.segments = s.segments[1:]
		}
	}
}

// tryWrite writes what the socket accepts at once. The next write reports an error.
func (s *socket) tryWrite(b []byte) int {
	s.one[0] = b
	s.segments, s.trying = s.one[:], true
	_ = s.raw.Write(s.writable)
	left := 0
	for _, rest := range s.segments {
		left += len(rest)
	}
	s.segments, s.one[0], s.trying = nil, nil, false
	return len(b) - left
}
