// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// transport is one attempt to connect and the connection that comes of it. Its
// goroutines are the dialer, which becomes the reader, and the writer while
// there is something to write; at rest there is the reader alone.
//
// All fields but conn are guarded by Client.mu. A transport that the engine
// has given up is no longer Client.transport; what its goroutines find out is
// ignored then.
type transport struct {
	client  *Client
	conn    net.Conn           // set before the reader starts
	source  *source            // only for the reader
	held    bool               // only for the reader: it set dispatcher.held
	cancel  context.CancelFunc // of the dial; nil before and after
	turn    eventloop.Waiter   // for its turn to dial
	resume  chan struct{}      // wakes the reader after backpressure; made when needed
	users   int                // goroutines that may touch conn, plus a turn that is awaited
	closing bool
	writing bool
	writer  func() // write, as a value: to start it takes no allocation

	settling bool // whoever holds Client.mu may block, and will close conn itself
	unclosed bool // it has to

	// Only for the writer.
	segments [][]byte
	vector   net.Buffers
}

// dial begins an attempt, when the gate lets it.
func (c *Client) dial() {
	t := &transport{client: c, users: 1}
	t.writer = func() { t.write(engine.Output{}, 0) }
	c.transport = t
	t.turn.Init(func() { go t.open() })
	c.gate.Acquire(&t.turn)
}

// close begins to close the transport; TransportClosed follows when its last
// goroutine is gone. The caller holds mu.
func (t *transport) close() {
	if t == nil || t.closing {
		return
	}
	t.closing = true
	if t.conn == nil {
		if t.cancel != nil {
			t.cancel()
		} else if t.client.gate.Cancel(&t.turn) {
			t.leave()
		}
		return
	}
	if t.resume != nil {
		select {
		case t.resume <- struct{}{}:
		default:
		}
	}
	// Closing may take time: a TLS connection says goodbye.
	t.users++
	if t.settling {
		t.unclosed = true
		return
	}
	go func() {
		t.conn.Close()
		t.client.mu.Lock()
		t.leave()
		t.client.settle()
		t.client.mu.Unlock()
	}()
}

// settle is Client.settle for goroutines that may block: if the connection is to
// be closed, they need no other one for that. The caller holds mu, which is
// released meanwhile.
func (t *transport) settle() {
	c := t.client
	t.settling = true
	c.settle()
	t.settling = false
	if !t.unclosed {
		return
	}
	t.unclosed = false
	c.mu.Unlock()
	t.conn.Close()
	c.mu.Lock()
	t.leave()
	c.settle()
}

// leave notes that a goroutine is done with the transport. The caller holds mu
// and settles afterwards.
func (t *transport) leave() {
	t.users--
	if t.users == 0 && t.client.transport == t {
		t.client.transport = nil
		t.client.engine.TransportClosed(t.client.loop.Now())
	}
}

// current reports whether what happens on t still matters.
func (t *transport) current() bool { return t.client.transport == t && !t.closing }

// open dials, and then reads. It runs on a goroutine of its own.
func (t *transport) open() {
	c := t.client
	c.mu.Lock()
	if !t.current() {
		t.leave()
		c.settle()
		c.mu.Unlock()
		c.gate.Release()
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.config.ConnectTimeout, ErrConnectTimeout)
	t.cancel = cancel
	c.engine.DialStarted(c.loop.Now())
	c.settle()
	c.mu.Unlock()

	connect, conn, err := c.connectTransport(ctx)
	cancel()
	reads := t.opened(connect, conn, err)
	c.gate.Release() // after the CONNECT was written: then the reader is all that is left
	if reads {
		t.read()
	}
}

// largeConnect is the size from which a CONNECT, by its will, may not fit into
// what a new connection takes at once.
const largeConnect = 8 << 10

// opened tells the engine what dialing came to, and writes the CONNECT. It
// reports whether this goroutine is the reader now.
func (t *transport) opened(connect *wire.Connect, conn net.Conn, err error) bool {
	c := t.client
	c.mu.Lock()
	t.cancel, t.turn = nil, eventloop.Waiter{} // they hold what has served
	switch {
	case err == nil && t.current():
		t.conn = conn
		t.source = newSource(conn, t.releaseHeld)
		c.engine.TransportOpened(c.loop.Now(), connect)
		t.writing = true
		t.users++ // beside the reader, which this goroutine is next
		waits := wire.ConnectSize(connect) >= largeConnect
		if waits { // then the server's refusal may come before all is written
			go t.read()
		}
		c.settle()
		t.flush(c.loop.Now())
		return !waits
	case err != nil && t.current():
		t.users--
		c.transport = nil
		c.engine.TransportFailed(c.loop.Now(), err)
	default:
		t.leave()
	}
	c.settle()
	c.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
	return false
}

// writeNow writes what is gathered on the goroutine of the caller, which is
// about to wait for the answer anyway. It never waits itself: what the socket
// does not take at once is left to the writer. The caller holds mu;
// writeNow unlocks it.
func (t *transport) writeNow() {
	c := t.client
	now := c.loop.Now()
	out := c.engine.TakeOutput(now, c.spare)
	c.spare = engine.Output{}
	t.writing = true
	t.users++
	c.mu.Unlock()

	b, _ := out.Bytes()
	n := t.source.raw.write(b)
	if n < len(b) {
		go t.write(out, n)
		return
	}
	giveBuffer(out.Release())
	c.mu.Lock()
	c.spare = out
	if t.current() {
		c.engine.WriteDone(now)
	}
	t.writing = false
	t.leave()
	c.settle()
	c.mu.Unlock()
}

// writesNow reports whether writeNow may be called.
func (t *transport) writesNow() bool {
	if t == nil || t.writing || t.closing || t.conn == nil || t.source.raw == nil || !t.client.engine.HasOutput() {
		return false
	}
	return t.client.engine.OutputWhole()
}

// startWriter starts the writer unless it runs. The caller holds mu.
func (t *transport) startWriter() {
	if t == nil || t.writing || t.conn == nil || t.closing {
		return
	}
	t.writing = true
	t.users++
	go t.writer()
}

// buffersWriter is implemented by connections that can send several slices as
// one unit, such as one WebSocket frame.
type buffersWriter interface {
	WriteBuffers(buffers [][]byte) (int64, error)
}

// write writes until there is nothing left. One write is in flight at a time,
// and what is submitted meanwhile leaves in the next one: that is all the
// gathering there is, without any delay. It begins with what is left of out,
// of which done bytes were written.
func (t *transport) write(out engine.Output, done int) {
	c := t.client
	now := c.loop.Now()
	if out.Len() == 0 {
		// Goroutines that are ready to publish get to do so first, and share
		// the write. If there are none, this costs next to nothing.
		runtime.Gosched()
		c.mu.Lock()
	} else {
		now = t.writeOut(&out, done)
	}
	t.flush(now)
}

// flush writes what is gathered, until there is nothing left. The caller holds
// mu; flush unlocks it.
func (t *transport) flush(now time.Duration) {
	c := t.client
	for t.current() && c.engine.HasOutput() {
		out := c.engine.TakeOutput(now, c.spare)
		c.spare = engine.Output{}
		c.mu.Unlock()
		now = t.writeOut(&out, 0)
	}
	t.writing = false
	t.leave()
	c.settle()
	c.mu.Unlock()
}

// writeOut writes one output and tells the engine. It locks mu.
func (t *transport) writeOut(out *engine.Output, done int) (now time.Duration) {
	c := t.client
	var err error
	if b, whole := out.Bytes(); whole {
		_, err = t.conn.Write(b[done:])
	} else {
		t.segments = out.Segments(t.segments[:0])
		if out.Len() <= slowWrite {
			err = t.writeSegments()
		} else {
			err = t.writeSlowly()
		}
		clear(t.segments[:cap(t.segments)])
	}
	giveBuffer(out.Release())
	now = c.loop.Now()
	c.mu.Lock()
	c.spare = *out
	if t.current() {
		if err != nil {
			c.engine.TransportError(now, &TransportError{Op: "write", Err: err})
		} else {
			c.engine.WriteDone(now)
		}
		if c.engine.OutputFull() {
			c.dispatch.postpone(now)
		}
		t.settle()
	}
	return now
}

// slowWrite is the size of a write that may take longer than the ping timeout
// on a slow link. It leaves in pieces of that size at most, after each of which
// the engine knows that the link lives.
const slowWrite = 512 << 10

func (t *transport) writeSlowly() error {
	c := t.client
	for _, s := range t.segments {
		for len(s) > 0 {
			n, err := t.conn.Write(s[:min(len(s), slowWrite)])
			if err != nil {
				return err
			}
			s = s[n:]
			c.mu.Lock()
			if t.current() {
				c.engine.WriteProgress(c.loop.Now())
			}
			c.mu.Unlock()
		}
	}
	return nil
}

// writeSegments writes the pieces of an output without joining them: with one
// system call where the connection can do that.
func (t *transport) writeSegments() error {
	switch conn := t.conn.(type) {
	case buffersWriter:
		_, err := conn.WriteBuffers(t.segments)
		return err
	case *net.TCPConn, *net.UnixConn:
		t.vector = t.segments // WriteTo consumes it
		_, err := t.vector.WriteTo(conn)
		return err
	default:
		for _, s := range t.segments {
			if _, err := conn.Write(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// bufferSize leaves room behind a full gathering for the packet that filled it.
const bufferSize = 80 << 10

// buffers holds read and write buffers that are not in use. A client at rest
// has none.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// takeBuffer returns an empty outbound buffer.
func takeBuffer() []byte { return buffers.Get().(*[bufferSize]byte)[:0] }

// giveBuffer takes a buffer back, unless it grew into another one.
func giveBuffer(b []byte) {
	if cap(b) == bufferSize {
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}

// largeBuffers holds read buffers of the size of some large packet.
var largeBuffers sync.Pool

// slots holds what a buffer was in while it was in largeBuffers: a pool takes
// pointers, and one to a slice would be an allocation each time.
var slots = sync.Pool{New: func() any { return new([]byte) }}

// takeLarge returns an empty buffer with room for exactly size bytes.
func takeLarge(size int) []byte {
	if slot, ok := largeBuffers.Get().(*[]byte); ok {
		b := *slot
		*slot = nil
		slots.Put(slot)
		if cap(b) == size {
			return b[:0]
		}
	}
	return make([]byte, 0, size)
}

func giveLarge(b []byte) {
	slot := slots.Get().(*[]byte)
	*slot = b[:0]
	largeBuffers.Put(slot)
}
