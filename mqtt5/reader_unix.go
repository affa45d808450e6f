// SPDX-License-Identifier: Apache-2.0

//go:build unix

package mqtt5

import (
	"io"
	"net"
	"os"
	"syscall"
)

// rawReader waits for a socket to become readable before it takes a buffer, so
// that a client at rest holds none.
type rawReader struct {
	conn  syscall.RawConn
	ready func(fd uintptr) bool // r.try, bound once
	size  int                   // expected size of the packet; 0: unknown
	b     []byte
	err   error
}

func newRawReader(conn net.Conn) *rawReader {
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
	r := &rawReader{conn: raw}
	r.ready = r.try
	return r
}

// read returns the next bytes in a pooled buffer, or in a large one if expect
// is not 0.
func (r *rawReader) read(expect int) ([]byte, error) {
	r.size = expect
	if err := r.conn.Read(r.ready); err != nil {
		return nil, err
	}
	b, err := r.b, r.err
	r.b, r.err = nil, nil
	return b, err
}

// try reads if there is something to read; false waits for that.
func (r *rawReader) try(fd uintptr) bool {
	var b []byte
	if r.size > 0 {
		b = takeLarge(r.size)
	} else {
		b = takeBuffer()
	}
	n, err := syscall.Read(int(fd), b[:cap(b)])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), b[:cap(b)])
	}
	if n > 0 {
		r.b = b[:n]
		return true
	}
	if r.size > 0 {
		giveLarge(b)
	} else {
		giveBuffer(b)
	}
	switch {
	case err == syscall.EAGAIN:
		return false
	case err != nil:
		r.err = os.NewSyscallError("read", err)
	default:
		r.err = io.EOF
	}
	return true
}
