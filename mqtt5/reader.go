// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

const (
	// smallRead is the size below which the bytes of received messages are
	// copied out of the pooled buffer, so that a slow handler of a few small
	// messages does not keep a large buffer from other clients.
	smallRead = 4 << 10
	// largePacket is the size from which a packet is read into a buffer of its
	// own, which then becomes the message's payload.
	largePacket = 32 << 10
	// trustedGrowth is the packet size up to which a read buffer grows at
	// once; for larger packets it grows as the bytes really arrive.
	trustedGrowth = 1 << 20
)

// inbox holds received bytes, from a packet boundary on.
type inbox struct {
	b      []byte // the received bytes; its capacity is what one read may add to
	pooled bool   // b is from the pool of read buffers, otherwise it is garbage collected
	large  bool   // b was made for one large packet
}

func (in *inbox) release() {
	switch {
	case in.pooled:
		giveBuffer(in.b)
	case in.large:
		giveLarge(in.b)
	}
	*in = inbox{}
}

// hasPublish reports whether the first packet is a complete PUBLISH.
func (in *inbox) hasPublish() bool {
	if wire.Type(in.b[0]>>4) != wire.TypePublish {
		return false
	}
	var f wire.Frame
	need, err := f.Parse(in.b, 0)
	return need == 0 && err == nil
}

// fits reports whether a buffer made for a large packet got one: a small one
// must not keep the whole buffer alive.
func (in *inbox) fits() bool {
	var f wire.Frame
	need, err := f.Parse(in.b, 0)
	return err == nil && max(need, int(f.Size)) > cap(in.b)/2
}

// keep makes rest what the inbox holds, and makes room for a packet of need
// bytes. If messages that wait share the bytes of before, it leaves them alone.
func (in *inbox) keep(rest []byte, need int, shared bool) {
	switch {
	case len(rest) > 0:
		in.grow(rest, max(need, len(rest)+1), shared)
	case shared:
		*in = inbox{}
	default:
		in.release()
	}
}

// grow makes room for a packet of need bytes. The bytes of rest are kept; they
// may be part of in.b.
func (in *inbox) grow(rest []byte, need int, shared bool) {
	if need <= bufferSize && (need < largePacket || len(rest) >= need/2) {
		if in.pooled && !shared {
			in.b = in.b[:copy(in.b[:bufferSize], rest)]
			return
		}
		b := takeBuffer()
		b = b[:copy(b[:bufferSize], rest)]
		if !shared {
			in.release()
		}
		in.b, in.pooled, in.large = b, true, false
		return
	}
	if !shared && !in.pooled && cap(in.b) >= need && len(rest) == len(in.b) {
		return
	}
	if !shared && !in.pooled && len(rest) == len(in.b) && len(in.b) < cap(in.b) && cap(in.b) >= trustedGrowth {
		return // the room of before is not used up
	}
	if need <= trustedGrowth {
		b := append(takeLarge(need), rest...)
		if !shared {
			in.release()
		}
		in.b, in.pooled, in.large = b, false, true
		return
	}
	b := make([]byte, len(rest), min(need, max(trustedGrowth, 2*len(rest))))
	copy(b, rest)
	if !shared {
		in.release()
	}
	in.b, in.pooled, in.large = b, false, false
}

// source waits for bytes on a connection. Between packets it holds no buffer.
type source struct {
	conn   net.Conn
	raw    *rawSocket
	first  []byte // without raw: what the first read after a rest goes to
	in     inbox
	expect int // likely size of the packet that comes; 0: unknown

	renewed time.Duration // when the reader began on a new goroutine
	used    bool          // that goroutine has handled something
}

// newSource returns the source of a connection, which calls waits before it
// waits for bytes if it can tell.
func newSource(conn net.Conn, waits func()) *source {
	s := &source{conn: conn, raw: newRawSocket(conn, waits), renewed: -time.Hour}
	if s.raw == nil {
		s.first = make([]byte, 64)
	}
	return s
}

// await waits for the first bytes after a rest.
func (s *source) await() error {
	if s.raw != nil {
		b, err := s.raw.read(s.expect)
		if err != nil {
			return err
		}
		s.in = inbox{b: b, pooled: s.expect == 0, large: s.expect != 0}
		return nil
	}
	n, err := s.conn.Read(s.first)
	if n > 0 {
		s.in = inbox{b: append(takeBuffer(), s.first[:n]...), pooled: true}
		return nil
	}
	return noProgress(err)
}

// more adds what the next read brings.
func (s *source) more() error {
	in := &s.in
	if len(in.b) == cap(in.b) { // a large packet that did not get its room at once
		in.grow(in.b, 2*len(in.b), false)
	}
	var n int
	var err error
	if room := in.b[len(in.b):cap(in.b)]; s.raw != nil {
		n, err = s.raw.readInto(room)
	} else {
		n, err = s.conn.Read(room)
	}
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

// whatNext is what a reader does next.
type whatNext uint8

const (
	readOn   whatNext = iota
	leave             // the transport does not matter any more
	relieved          // another goroutine reads
)

// read reads until the connection ends. It runs on the reader goroutine.
//
// A handshake and handling packets make a goroutine's stack grow, and a parked
// goroutine keeps it. So before it comes to rest, the reader hands over to a
// new goroutine, at most once a second; where many clients are idle, their
// stacks are most of the memory.
func (t *transport) read() {
	c := t.client
	src := t.source
	var err error
	for next := readOn; next == readOn; {
		if src.in.b == nil {
			if now := c.loop.Now(); src.used && now-src.renewed > time.Second {
				src.renewed, src.used = now, false
				go t.read()
				return
			}
			err = src.await()
			src.used = true
		} else {
			err = src.more()
		}
		if err != nil {
			break
		}
		if next = t.receive(); next == relieved {
			return
		}
	}
	src.in.release()
	now := c.loop.Now()
	c.mu.Lock()
	c.dispatch.held = false
	if t.current() && err != nil {
		if !errors.Is(err, io.EOF) {
			err = &TransportError{Op: "read", Err: err}
		}
		c.engine.TransportError(now, err)
		t.settle() // closes the connection; once the reader has left, nobody would
	}
	t.leave()
	c.settle()
	c.mu.Unlock()
}

// releaseHeld lets the handlers have what was received, before the reader waits
// for more. It runs on the reader goroutine.
func (t *transport) releaseHeld() {
	if !t.held {
		return
	}
	t.held = false
	c := t.client
	c.mu.Lock()
	c.dispatch.held = false
	c.settle()
	c.mu.Unlock()
}

// receive hands what is in the inbox to the engine and leaves an incomplete
// packet in it.
func (t *transport) receive() whatNext {
	c := t.client
	in := &t.source.in
	t.source.expect = 0
	if in.large && len(in.b) == cap(in.b) {
		t.source.expect = len(in.b)
	}
	if in.large && !in.fits() {
		b := takeBuffer()
		if len(in.b) < cap(b)-1 {
			b = append(b, in.b...)
			in.release()
			in.b, in.pooled = b, true
		} else {
			giveBuffer(b)
		}
	}
	if in.pooled && !c.opts.BorrowPayloads && len(in.b) < smallRead && in.hasPublish() {
		own := append([]byte(nil), in.b...)
		in.release()
		in.b = own
	}
	now := c.loop.Now()
	c.mu.Lock()
	if !t.current() {
		c.mu.Unlock()
		return leave
	}
	d := &c.dispatch
	before := d.messages()
	d.arriving = arrival{bytes: in.b, shared: in.pooled && !c.opts.BorrowPayloads}
	consumed, need := c.engine.Receive(now, in.b)
	if c.engine.Confirming() {
		d.held = false
		// What follows the CONNACK waits until the server has proved itself.
		if !t.confirmed() {
			c.mu.Unlock()
			return leave
		}
		before = d.messages()
		d.arriving.bytes = in.b[consumed:]
		var n int
		n, need = c.engine.Receive(c.loop.Now(), in.b[consumed:])
		consumed += n
	}
	d.arriving = arrival{}
	rest := in.b[consumed:]
	shared := d.messages() > before
	if shared && (in.pooled || in.large && c.opts.BorrowPayloads) {
		d.release(in.b)
	}
	full := t.current() && d.full()
	handsOver := t.handsOver(now)
	if shared || handsOver {
		// Now, while mu is held: as soon as it is not, the dispatcher may give the
		// buffer back, and another goroutine may read.
		in.keep(rest, need, shared)
	}
	d.held = !handsOver && !full && t.source.raw != nil && t.source.raw.flows() && !d.enough()
	t.held = d.held
	c.settle()
	if full && !handsOver {
		c.pause(now, t)
	}
	c.mu.Unlock()

	switch {
	case handsOver:
		if !c.runDispatcher() {
			return relieved
		}
		return readOn
	case !shared:
		in.keep(rest, need, false)
	}
	if full {
		<-t.resume
	}
	return readOn
}
