// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBufferSize is how many bytes a connection of [Pipe] and [Server] holds
// in each direction before a writer blocks.
const DefaultBufferSize = 64 << 10

// PipeConn is one end of a connection in memory. Unlike [net.Pipe] it buffers,
// so that a write does not wait for a read until the buffer is full, and it can
// be closed in one direction or reset, as a TCP connection can.
//
// It has no goroutine, and blocks in nothing but [sync.Cond], so that it can be
// used inside a bubble of testing/synctest. Its methods may be called by any
// number of goroutines.
type PipeConn struct {
	in, out       *half
	local, remote net.Addr
}

// half is one direction of a pipe.
type half struct {
	mu    sync.Mutex
	moved sync.Cond // anything below has changed

	buf   []byte
	limit int
	chunk int // most bytes a read returns, 0 for no limit

	writerDone   error // what the writer gets after closing its end
	eof          error // what the reader gets once buf is empty
	noWait       error // what the writer gets instead of waiting for room
	readerClosed bool
	reset        bool // by the other end: data is gone

	readDeadline, writeDeadline deadline
}

// deadline is a point in time for one side of a half. It is guarded by the half's mutex.
type deadline struct {
	timer   *time.Timer
	epoch   int // of the timer in force, for a late one may still fire
	expired bool
}

// Pipe returns the two ends of a connection that holds at most size bytes in
// each direction, [DefaultBufferSize] when size is not positive.
func Pipe(size int) (client, server *PipeConn) {
	a, b := newHalf(size), newHalf(size)
	ca, sa := memAddr("client"), memAddr("server")
	return &PipeConn{in: a, out: b, local: ca, remote: sa}, &PipeConn{in: b, out: a, local: sa, remote: ca}
}

func newHalf(size int) *half {
	if size <= 0 {
		size = DefaultBufferSize
	}
	h := &half{limit: size}
	h.moved.L = &h.mu
	return h
}

type memAddr string

func (memAddr) Network() string  { return "memory" }
func (a memAddr) String() string { return string(a) }

func (c *PipeConn) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "memory", Source: c.local, Addr: c.remote, Err: err}
}

// Read waits for bytes. After the other end has closed it returns the rest,
// then [io.EOF]; after a reset it fails with ECONNRESET at once, past the
// deadline with [os.ErrDeadlineExceeded], and after Close with [net.ErrClosed].
func (c *PipeConn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.fail("read", err)
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readerClosed:
			return 0, net.ErrClosed
		case h.readDeadline.expired:
			return 0, os.ErrDeadlineExceeded
		case h.reset:
			return 0, syscall.ECONNRESET
		case len(p) == 0:
			return 0, nil
		case len(h.buf) > 0:
			if h.chunk > 0 && len(p) > h.chunk {
				p = p[:h.chunk]
			}
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			if len(h.buf) == 0 {
				h.buf = nil
			}
			h.moved.Broadcast()
			return n, nil
		case h.eof != nil:
			return 0, h.eof
		}
		h.moved.Wait()
	}
}

// Write waits until all of p is in the buffer, and returns how much of it got
// there. It fails with EPIPE when the other end has closed, ECONNRESET when it
// has reset the connection, [os.ErrDeadlineExceeded] past the deadline, and
// [net.ErrClosed] after Close.
func (c *PipeConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.fail("write", err)
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.writerDone != nil:
			return n, h.writerDone
		case h.writeDeadline.expired:
			return n, os.ErrDeadlineExceeded
		case h.reset:
			return n, syscall.ECONNRESET
		case h.readerClosed || h.eof != nil:
			return n, syscall.EPIPE
		}
		if room := min(h.limit-len(h.buf), len(p)); room > 0 {
			h.buf = append(h.buf, p[:room]...)
			p, n = p[room:], n+room
			h.moved.Broadcast()
		}
		if len(p) == 0 {
			return n, nil
		}
		if h.noWait != nil {
			return n, h.noWait
		}
		h.moved.Wait()
	}
}

// Close ends both directions. The other end reads the bytes still in the buffer,
// then [io.EOF]; its writes fail. Calls that wait on either end return. A
// second call does nothing.
func (c *PipeConn) Close() error {
	c.out.closeWriter(net.ErrClosed)
	c.in.closeReader()
	return nil
}

// CloseWrite ends the outgoing direction only: the other end reads the rest,
// then [io.EOF].
func (c *PipeConn) CloseWrite() error {
	c.out.closeWriter(syscall.EPIPE)
	return nil
}

// Reset closes like a TCP connection that is aborted: what is in the buffers is
// lost, and the other end's calls fail with ECONNRESET.
func (c *PipeConn) Reset() error {
	// First what the other end reads: whoever reads here closes when the reset is
	// noticed, and then the other end must not find an orderly end.
	for _, h := range []*half{c.out, c.in} {
		h.mu.Lock()
		h.reset, h.buf = true, nil
		h.moved.Broadcast()
		h.mu.Unlock()
	}
	return c.Close()
}

func (h *half) closeWriter(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writerDone == nil || err == net.ErrClosed {
		h.writerDone = err
	}
	if h.eof == nil {
		h.eof = io.EOF
	}
	h.writeDeadline.stop()
	h.moved.Broadcast()
}

func (h *half) closeReader() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readerClosed, h.buf = true, nil
	h.readDeadline.stop()
	h.moved.Broadcast()
}

// endWaiting makes calls of this end return err where they would wait: reads
// with an empty buffer, writes with a full one.
func (c *PipeConn) endWaiting(err error) {
	c.in.mu.Lock()
	if c.in.eof == nil {
		c.in.eof = err
	}
	c.in.moved.Broadcast()
	c.in.mu.Unlock()
	c.out.mu.Lock()
	c.out.noWait = err
	c.out.moved.Broadcast()
	c.out.mu.Unlock()
}

// SetPeerReadSize limits how many bytes one Read of the other end returns; 0
// takes the limit away. With 1, the other end sees every packet byte by byte.
func (c *PipeConn) SetPeerReadSize(n int) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.chunk = n
}

// Buffered returns how many bytes this end has written that the other end has not read.
func (c *PipeConn) Buffered() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.out.buf)
}

// LocalAddr returns an address of network "memory".
func (c *PipeConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns an address of network "memory".
func (c *PipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets the deadlines of reading and writing; see [net.Conn].
func (c *PipeConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the time at which Read stops waiting; see [net.Conn].
func (c *PipeConn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.readerClosed {
		return c.fail("set", net.ErrClosed)
	}
	c.in.set(&c.in.readDeadline, t)
	return nil
}

// SetWriteDeadline sets the time at which Write stops waiting; see [net.Conn].
func (c *PipeConn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.writerDone == net.ErrClosed {
		return c.fail("set", net.ErrClosed)
	}
	c.out.set(&c.out.writeDeadline, t)
	return nil
}

func (h *half) set(d *deadline, t time.Time) {
	d.stop()
	d.expired = false
	if !t.IsZero() {
		if wait := time.Until(t); wait <= 0 {
			d.expired = true
		} else {
			epoch := d.epoch
			d.timer = time.AfterFunc(wait, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				if d.epoch == epoch {
					d.expired = true
					h.moved.Broadcast()
				}
			})
		}
	}
	h.moved.Broadcast()
}

func (d *deadline) stop() {
	d.epoch++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
