// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"
	"io"
	"net"
)

const (
	// smallRead is the size below which the bytes of received messages are
	// copied out of the pooled buffer, so that a slow handler of a few small
	// messages does not keep a large buffer from other clients.
	smallRead = 4 << 10
	// trustedGrowth is the packet size up to which a read buffer grows at
	// once; for larger packets it grows as the bytes really arrive.
	trustedGrowth = 1 << 20
)

// inbox holds received bytes, from a packet boundary on.
type inbox struct {
	b      []byte // the received bytes; its capacity is what one read may add to
	pooled bool   // b is from the pool, otherwise it is garbage collected
}

func (in *inbox) release() {
	if in.pooled {
		giveBuffer(in.b)
	}
	*in = inbox{}
}

// grow makes room for a packet of need bytes. The bytes of rest are kept; they
// may be part of in.b.
func (in *inbox) grow(rest []byte, need int, shared bool) {
	if need <= bufferSize {
		if in.pooled && !shared {
			in.b = in.b[:copy(in.b[:bufferSize], rest)]
			return
		}
		b := takeBuffer()
		b = b[:copy(b[:bufferSize], rest)]
		if !shared {
			in.release()
		}
		in.b, in.pooled = b, true
		return
	}
	if !shared && !in.pooled && cap(in.b) >= need && len(rest) == len(in.b) {
		return
	}
	size := need
	if size > trustedGrowth {
		size = min(need, max(trustedGrowth, 2*len(rest)))
	}
	b := make([]byte, len(rest), size)
	copy(b, rest)
	if !shared {
		in.release()
	}
	in.b, in.pooled = b, false
}

// source waits for bytes on a connection. Between packets it holds no buffer.
type source struct {
	conn  net.Conn
	raw   *rawReader
	first [64]byte // without raw: what the first read after a rest goes to
}

// await waits for the first bytes after a rest and returns them.
func (s *source) await() (inbox, error) {
	if s.raw != nil {
		b, err := s.raw.read()
		if err != nil {
			return inbox{}, err
		}
		return inbox{b: b, pooled: true}, nil
	}
	n, err := s.conn.Read(s.first[:])
	if n > 0 {
		return inbox{b: append(takeBuffer(), s.first[:n]...), pooled: true}, nil
	}
	return inbox{}, noProgress(err)
}

// more adds what the next read brings.
func (s *source) more(in *inbox) error {
	if len(in.b) == cap(in.b) { // a large packet that did not get its room at once
		in.grow(in.b, 2*len(in.b), false)
	}
	n, err := s.conn.Read(in.b[len(in.b):cap(in.b)])
	in.b = in.b[:len(in.b)+n]
	if n > 0 {
		return nil
	}
	return noProgress(err)
}

func noProgress(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// read reads until the connection ends. It runs on the reader goroutine.
func (t *transport) read() {
	c := t.client
	src := source{conn: t.conn, raw: newRawReader(t.conn)}
	var in inbox
	var err error
	for {
		if in.b == nil {
			in, err = src.await()
		} else {
			err = src.more(&in)
		}
		if err != nil || !t.receive(&in) {
			break
		}
	}
	in.release()
	now := c.loop.Now()
	c.mu.Lock()
	if t.current() && err != nil {
		if !errors.Is(err, io.EOF) {
			err = &TransportError{Op: "read", Err: err}
		}
		c.engine.TransportError(now, err)
	}
	t.leave()
	c.settle()
	c.mu.Unlock()
}

// receive hands what is in the inbox to the engine and leaves an incomplete
// packet in it. It reports whether to go on reading.
func (t *transport) receive(in *inbox) bool {
	c := t.client
	if in.pooled && !c.opts.BorrowPayloads && len(in.b) < smallRead && in.b[0]>>4 == 3 { // PUBLISH
		own := append([]byte(nil), in.b...)
		in.release()
		in.b = own
	}
	now := c.loop.Now()
	c.mu.Lock()
	if !t.current() {
		c.mu.Unlock()
		return false
	}
	d := &c.dispatch
	before := d.messages()
	d.copyPayloads = in.pooled && !c.opts.BorrowPayloads
	consumed, need := c.engine.Receive(now, in.b)
	shared := d.messages() > before
	if shared && in.pooled {
		d.release(in.b)
	}
	c.settle()
	full := t.current() && d.full()
	if full {
		c.pause(now, t)
	}
	c.mu.Unlock()

	if rest := in.b[consumed:]; len(rest) > 0 {
		in.grow(rest, max(need, len(rest)+1), shared)
	} else if shared {
		*in = inbox{}
	} else {
		in.release()
	}
	if full {
		<-t.resume
	}
	return true
}
