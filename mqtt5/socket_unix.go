// SPDX-License-Identifier: Apache-2.0

//go:build unix

package mqtt5

import (
	"io"
	"net"
	"os"
	"syscall"
)

// rawSocket does what net.Conn cannot: it waits for a socket to become readable
// before it takes a buffer, so that a client at rest holds none, and it writes
// without ever waiting. One goroutine reads and one writes at a time.
type rawSocket struct {
	conn syscall.RawConn

	readable func(fd uintptr) bool // tryRead, bound once
	waits    func()                // called before a read that has to wait
	waited   bool                  // the last read had to
	size     int                   // expected size of the packet; 0: unknown
	into     []byte                // where to read to; nil: a buffer of size
	n        int                   // bytes read
	b        []byte
	err      error

	writable func(fd uintptr) bool // tryWrite, bound once
	out      []byte
	written  int
}

func newRawSocket(conn net.Conn, waits func()) *rawSocket {
	// Only the types of package net themselves: something that embeds them may
	// have bytes of its own that come first.
	var sc syscall.Conn
	switch conn := conn.(type) {
	case *net.TCPConn:
		sc = conn
	case *net.UnixConn:
		sc = conn
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawSocket{conn: raw, waits: waits}
	r.readable, r.writable = r.tryRead, r.tryWrite
	return r
}

// read returns the next bytes in a pooled buffer, or in a large one if expect
// is not 0.
func (r *rawSocket) read(expect int) ([]byte, error) {
	r.size, r.waited = expect, false
	if err := r.conn.Read(r.readable); err != nil {
		return nil, err
	}
	b, err := r.b, r.err
	r.b, r.err = nil, nil
	return b, err
}

// readInto reads the next bytes to b.
func (r *rawSocket) readInto(b []byte) (int, error) {
	r.into, r.waited = b, false
	err := r.conn.Read(r.readable)
	r.into = nil
	if err != nil {
		return 0, err
	}
	err = r.err
	r.err = nil
	return r.n, err
}

// flows reports whether the last read did not have to wait, so that more bytes
// are likely there already.
func (r *rawSocket) flows() bool { return !r.waited }

// tryRead reads if there is something to read; false waits for that.
func (r *rawSocket) tryRead(fd uintptr) bool {
	b := r.into
	switch {
	case b != nil:
	case r.size > 0:
		b = takeLarge(r.size)
	default:
		b = takeBuffer()
	}
	into := b[:cap(b)]
	if r.into != nil {
		into = b
	}
	n, err := syscall.Read(int(fd), into)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), into)
	}
	r.n = max(n, 0)
	if n > 0 {
		r.b = b[:n]
		return true
	}
	switch {
	case r.into != nil:
	case r.size > 0:
		giveLarge(b)
	default:
		giveBuffer(b)
	}
	switch {
	case err == syscall.EAGAIN:
		r.waited = true
		r.waits()
		return false
	case err != nil:
		r.err = os.NewSyscallError("read", err)
	default:
		r.err = io.EOF
	}
	return true
}

// write writes as much of b as the socket takes at once, and returns how much
// that was. An error is left for the next ordinary write to find.
func (r *rawSocket) write(b []byte) int {
	r.out, r.written = b, 0
	r.conn.Write(r.writable)
	r.out = nil
	return r.written
}

func (r *rawSocket) tryWrite(fd uintptr) bool {
	n, err := syscall.Write(int(fd), r.out)
	for err == syscall.EINTR {
		n, err = syscall.Write(int(fd), r.out)
	}
	r.written = max(n, 0)
	return true // never wait
}
