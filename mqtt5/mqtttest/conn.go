// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tcpGrace is how long a closing server still reads from connections that it
// cannot tell to be at their end.
const tcpGrace = 2 * time.Second

// Conn is the server's end of a connection, with which a script speaks to the
// client. It reads only when it is told to: while a script does something else,
// the client's writes fill the buffer and then block.
//
// The methods that expect something report a failure of the test when they do
// not get it, and end the script's goroutine, as [testing.T.FailNow] does: call
// them from the script's own goroutine only. The other methods may be called by
// any goroutine.
type Conn struct {
	server *Server
	nc     net.Conn
	number int
	where  string // of the script, empty without one

	pings   bool          // answered while waiting for something else
	partial []byte        // of a packet, read before a deadline
	alive   time.Duration // while it is served: how long the client may send nothing, not even a part of a packet
	timeout atomic.Int64  // a Duration

	writeMu sync.Mutex // one packet at a time

	mu      sync.Mutex
	toSend  int // bytes until the cut, negative without one
	toRead  int
	cut     bool
	closed  bool
	audit   *audit
	gate    sync.Cond // reading may go on
	stalled bool
}

func newConn(s *Server, nc net.Conn, number int, where string) *Conn {
	c := &Conn{server: s, nc: nc, number: number, where: where, toSend: -1, toRead: -1}
	c.SetTimeout(s.opts.timeout)
	c.gate.L = &c.mu
	c.audit = newAudit(s)
	return c
}

// guard runs a script and turns its panic into a failure.
func (c *Conn) guard(run func(*Conn)) {
	defer func() {
		if r := recover(); r != nil {
			c.server.fail("mqtttest: %v panics: %v\n%s", c, r, debug.Stack())
		}
	}()
	run(c)
}

// String names the connection, and the place of its script if it has one.
func (c *Conn) String() string {
	if c.where == "" {
		return fmt.Sprintf("connection #%d", c.number)
	}
	return fmt.Sprintf("connection #%d (script at %s)", c.number, c.where)
}

// Number returns the number of the connection, counted from 1. Events of the
// journal carry it.
func (c *Conn) Number() int { return c.number }

// Server returns the server of the connection.
func (c *Conn) Server() *Server { return c.server }

// NetConn returns the server's end of the underlying connection. What is read
// and written there goes past the journal.
func (c *Conn) NetConn() net.Conn { return c.nc }

// SetTimeout changes how long the script waits for the client from now on; see [Timeout].
func (c *Conn) SetTimeout(d time.Duration) { c.timeout.Store(int64(d)) }

func (c *Conn) limit() time.Duration { return time.Duration(c.timeout.Load()) }

// AnswerPings makes the methods that wait for a packet answer each PINGREQ by
// themselves, instead of taking it for the packet they wait for.
func (c *Conn) AnswerPings() { c.pings = true }

// Fatalf reports a failure of the test and ends the script.
func (c *Conn) Fatalf(format string, args ...any) {
	c.server.tb.Helper()
	c.server.fail("%v: %w", c, fmt.Errorf(format, args...))
	runtime.Goexit()
}

// Errorf reports a failure of the test and goes on.
func (c *Conn) Errorf(format string, args ...any) {
	c.server.tb.Helper()
	c.server.fail("%v: %w", c, fmt.Errorf(format, args...))
}

// Sleep waits. Nothing is read meanwhile, so that it is a delay and a stall. It
// ends early when the server is closed.
func (c *Conn) Sleep(d time.Duration) { _ = c.server.pause(context.Background(), max(0, d)) }

// Hang neither reads nor writes nor closes until the test ends: the client has
// a half-open connection.
func (c *Conn) Hang() { _ = c.server.pause(context.Background(), -1) }

// Close closes the connection. The client reads what was sent before, then the
// end of the stream.
func (c *Conn) Close() error { return c.shut(errors.New("closed by the server"), c.nc.Close) }

// Reset aborts the connection: what the client has not read yet is lost, and
// its calls fail.
func (c *Conn) Reset() error {
	return c.shut(errors.New("reset by the server"), func() error { reset(c.nc); return nil })
}

func (c *Conn) shut(why error, f func() error) error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.gate.Broadcast()
	c.mu.Unlock()
	if first {
		c.server.record(Event{Conn: c.number, Kind: Closed, Err: why})
	}
	return f()
}

// CloseWrite ends the direction to the client only, and goes on reading. It
// fails when the connection cannot do that.
func (c *Conn) CloseWrite() error {
	if h, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SetReadSize limits how many bytes one Read of the client returns, on
// connections in memory: with 1, it gets every packet byte by byte. 0 takes the
// limit away.
func (c *Conn) SetReadSize(n int) {
	if p, ok := c.nc.(*PipeConn); ok {
		p.SetPeerReadSize(n)
	}
}

// CutAfterSending closes the connection as soon as n more bytes have gone out,
// the last packet possibly in part. What was sent before reaches the client. A
// script that still has something to expect then ends, without a failure.
func (c *Conn) CutAfterSending(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toSend = n
}

// CutAfterReceiving closes the connection as soon as n more bytes have come in,
// the last packet possibly in part. A script that still has something to expect
// then ends, without a failure.
func (c *Conn) CutAfterReceiving(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.toRead = n
}

// Stall stops reading until Resume, save for a piece that is being waited for
// already: the client's writes fill the buffer, then block. It is for
// connections that are served as a broker, and others that another goroutine
// reads from.
func (c *Conn) Stall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = true
}

// Resume goes on reading after Stall.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = false
	c.gate.Broadcast()
}

// endWaiting lets the reader take the bytes in the buffer, and no more.
func (c *Conn) endWaiting() {
	c.mu.Lock()
	c.stalled = false
	c.gate.Broadcast()
	c.mu.Unlock()
	if p, ok := c.nc.(*PipeConn); ok {
		p.endWaiting(ErrServerClosed)
		return
	}
	_ = c.nc.SetDeadline(time.Now().Add(tcpGrace))
}

// Read implements [io.Reader] for what decodes packets; it obeys the cuts.
func (c *Conn) read(p []byte) (int, error) {
	c.mu.Lock()
	for c.stalled && !c.closed {
		c.gate.Wait()
	}
	if c.cut {
		c.mu.Unlock()
		return 0, errCut
	}
	left := c.toRead
	c.mu.Unlock()
	if left == 0 {
		c.cutNow()
		return 0, errCut
	}
	if left > 0 && len(p) > left {
		p = p[:left]
	}
	n, err := c.nc.Read(p)
	if n > 0 && err == nil && c.alive > 0 {
		err = c.setReadDeadline(time.Now().Add(c.alive))
	}
	c.mu.Lock()
	if err != nil && c.cut {
		err = errCut
	}
	now := false
	if c.toRead > 0 {
		c.toRead = max(0, c.toRead-n)
		now = c.toRead == 0
	}
	c.mu.Unlock()
	if now {
		c.cutNow()
	}
	return n, err
}

func (c *Conn) cutNow() {
	c.mu.Lock()
	c.cut = true
	c.mu.Unlock()
	_ = c.shut(errCut, c.nc.Close)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// stream is all that is still to be read.
func (c *Conn) stream() io.Reader {
	first := c.partial
	c.partial = nil
	return io.MultiReader(bytes.NewReader(first), readerFunc(c.read))
}

// next reads a packet, with no other deadline than the one that is set.
func (c *Conn) next() (Packet, error) {
	c.server.tb.Helper()
	p, raw, err := readPacket(c.stream(), FromClient)
	var v *Violation
	switch {
	case isTimeout(err):
		c.partial = raw
	case err == nil:
		c.server.record(Event{Conn: c.number, Kind: Received, Packet: p, Bytes: raw})
		for _, v := range c.received(p, len(raw)) {
			if !slices.ContainsFunc(v.Rules, c.allowed) {
				c.server.fail("%v: %w", c, v)
			}
		}
	case errors.As(err, &v):
		c.server.record(Event{Conn: c.number, Kind: Received, Bytes: raw, Err: err})
	case errors.Is(err, errCut):
		if len(raw) > 0 {
			c.server.record(Event{Conn: c.number, Kind: Received, Bytes: raw, Err: err})
		}
	default:
		if len(raw) > 0 {
			c.server.record(Event{Conn: c.number, Kind: Received, Bytes: raw, Err: err})
		}
		c.mu.Lock()
		first := !c.closed
		c.closed = true
		c.mu.Unlock()
		if first {
			c.server.record(Event{Conn: c.number, Kind: Closed, Err: fmt.Errorf("by the client: %w", err)})
		}
	}
	return p, err
}

func (c *Conn) allowed(rule string) bool { return slices.Contains(c.server.opts.allowed, rule) }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// receive is next with a deadline, and with pings answered.
func (c *Conn) receive(wait time.Duration) (Packet, error) {
	c.server.tb.Helper()
	for {
		var until time.Time
		if wait > 0 {
			until = time.Now().Add(wait)
		}
		if err := c.setReadDeadline(until); err != nil {
			return nil, err
		}
		p, err := c.next()
		if _, ok := p.(Pingreq); ok && c.pings && err == nil {
			if err := c.TrySend(Pingresp{}); err != nil {
				return nil, err
			}
			continue
		}
		return p, err
	}
}

// setReadDeadline leaves alone what a closing server has set.
func (c *Conn) setReadDeadline(t time.Time) error {
	select {
	case <-c.server.done:
		return nil
	default:
	}
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if err := c.nc.SetReadDeadline(t); cut {
		return errCut
	} else if err != nil {
		return err
	}
	select {
	case <-c.server.done: // it was closed meanwhile
		if _, memory := c.nc.(*PipeConn); !memory {
			return c.nc.SetReadDeadline(time.Now().Add(tcpGrace))
		}
	default:
	}
	return nil
}

// Receive returns the next packet, or why there is none: [io.EOF] when the
// client has closed, a [*Violation] when it sent what it may not send, an error
// with Timeout() true after the timeout.
func (c *Conn) Receive() (Packet, error) { return c.receive(c.limit()) }

// TrySend writes packets in one write, and returns why that failed.
func (c *Conn) TrySend(packets ...Packet) error {
	for _, p := range packets {
		b := Encode(p)
		c.server.record(Event{Conn: c.number, Kind: Sent, Packet: p, Bytes: b})
	}
	return c.write(Concat(packets...))
}

// write sends bytes, which count as sent for the audit as far as they go out.
func (c *Conn) write(b []byte) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.mu.Lock()
	cut := false
	if c.toSend >= 0 {
		if len(b) >= c.toSend {
			b, cut = b[:c.toSend], true
		}
		c.toSend -= len(b)
	}
	c.mu.Unlock()
	c.sent(b)
	var until time.Time
	if wait := c.limit(); wait > 0 {
		until = time.Now().Add(wait)
	}
	select {
	case <-c.server.done: // which has set its own
	default:
		if err := c.nc.SetWriteDeadline(until); err != nil {
			return err
		}
	}
	_, err := c.nc.Write(b)
	if cut {
		c.cutNow()
		return errCut
	}
	return err
}

// Send writes packets in one write. It waits while the client's buffer is full,
// and fails the test when the client has closed.
func (c *Conn) Send(packets ...Packet) {
	c.server.tb.Helper()
	c.sendResult("sending", c.TrySend(packets...))
}

func (c *Conn) sendResult(what string, err error) {
	c.server.tb.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errCut):
		runtime.Goexit()
	default:
		c.Fatalf("%s: %w", what, err)
	}
}

// SendPart writes the first n bytes of a packet only, the last -n bytes left
// out when n is negative.
func (c *Conn) SendPart(p Packet, n int) {
	c.server.tb.Helper()
	b := Encode(p)
	if n < 0 {
		n += len(b)
	}
	b = b[:max(0, min(n, len(b)))]
	c.server.record(Event{Conn: c.number, Kind: Sent, Bytes: b})
	c.sendResult("sending a part of a packet", c.write(b))
}

// SendSlowly writes a packet byte by byte, with a pause before each.
func (c *Conn) SendSlowly(p Packet, pause time.Duration) {
	c.server.tb.Helper()
	b := Encode(p)
	c.server.record(Event{Conn: c.number, Kind: Sent, Packet: p, Bytes: b})
	for i := range b {
		c.Sleep(pause)
		c.sendResult("sending a packet slowly", c.write(b[i:i+1]))
	}
}

// ReceiveBytes reads n bytes as they are, past all checks, and fails the test
// when the client closes before.
func (c *Conn) ReceiveBytes(n int) []byte {
	c.server.tb.Helper()
	b := make([]byte, n)
	var until time.Time
	if wait := c.limit(); wait > 0 {
		until = time.Now().Add(wait)
	}
	_ = c.setReadDeadline(until)
	got, err := io.ReadFull(c.stream(), b)
	c.server.record(Event{Conn: c.number, Kind: Received, Bytes: b[:got], Err: err})
	if errors.Is(err, errCut) && got < n {
		runtime.Goexit()
	}
	if err != nil && got < n {
		c.Fatalf("expected %d bytes, got %d: %w", n, got, err)
	}
	return b
}

// Drain reads until the client closes, or the connection ends otherwise, and
// returns the packets that came.
func (c *Conn) Drain() []Packet {
	var list []Packet
	for {
		p, err := c.receive(c.limit())
		if err != nil {
			return list
		}
		list = append(list, p)
	}
}
