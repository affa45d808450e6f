// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// faultConn is the TCP connection below TLS and MQTT. While it is frozen
// nothing is read or written, though the connection exists: to the other side
// it is half-open.
type faultConn struct {
	net.Conn
	id     int64
	delay  atomic.Int64 // before each write
	owned  atomic.Bool  // a client closes it when its last packet is out
	once   sync.Once
	done   chan struct{}
	within atomic.Int64 // how long a write of up to writePiece may take

	mu   sync.Mutex
	gate chan struct{} // nil when not frozen
	err  error
}

func newFaultConn(nc net.Conn, id int64) *faultConn {
	f := &faultConn{Conn: nc, id: id, done: make(chan struct{})}
	f.within.Store(int64(writeTimeout))
	return f
}

func (f *faultConn) Freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gate == nil {
		f.gate = make(chan struct{})
	}
}

func (f *faultConn) Thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gate != nil {
		close(f.gate)
		f.gate = nil
	}
}

func (f *faultConn) pass() {
	for {
		f.mu.Lock()
		gate := f.gate
		f.mu.Unlock()
		if gate == nil {
			return
		}
		select {
		case <-gate:
		case <-f.done:
			return
		}
	}
}

func (f *faultConn) Read(b []byte) (int, error) {
	f.pass()
	n, err := f.Conn.Read(b)
	f.pass() // what came in while frozen is not seen before the thaw
	return n, err
}

func (f *faultConn) Write(b []byte) (int, error) {
	f.pass()
	if d := time.Duration(f.delay.Load()); d > 0 {
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-f.done:
			t.Stop()
		}
	}
	total := 0
	for {
		piece := b[:min(len(b), writePiece)]
		_ = f.Conn.SetWriteDeadline(time.Now().Add(time.Duration(f.within.Load())))
		n, err := f.Conn.Write(piece)
		total += n
		if b = b[n:]; err != nil || len(b) == 0 {
			return total, err
		}
	}
}

// A client that takes less than writePiece in writeTimeout has stopped reading.
const (
	writePiece   = 64 << 10
	writeTimeout = 30 * time.Second
)

// hurry gives the write in progress, and each one that follows, no more time than d.
func (f *faultConn) hurry(d time.Duration) {
	f.within.Store(int64(d))
	_ = f.Conn.SetWriteDeadline(time.Now().Add(d))
}

// SetWriteDeadline does nothing: each write has a deadline of its own.
func (f *faultConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the read deadline, see [faultConn.SetWriteDeadline].
func (f *faultConn) SetDeadline(t time.Time) error { return f.Conn.SetReadDeadline(t) }

func (f *faultConn) Close() error {
	f.once.Do(func() {
		close(f.done)
		f.err = f.Conn.Close()
	})
	return f.err
}

// reset closes the connection so that the other side sees "connection reset".
func (f *faultConn) reset() {
	if tcp, ok := f.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = f.Close()
}

// Faults are disturbances of new connections, see [Core.SetFaults]. The zero
// value disturbs nothing.
type Faults struct {
	// ResetConnections makes the core accept TCP connections and reset them at once.
	ResetConnections bool
	// SilentTCP makes the core accept TCP connections and never answer, not
	// even to TLS: half-open from the start.
	SilentTCP bool
	// HandshakeDelay is how long the core waits before the TLS handshake.
	HandshakeDelay time.Duration
	// UpgradeStatus, when not 0, answers all WebSocket upgrades with this HTTP status.
	UpgradeStatus int
	// DropConnects makes the core read CONNECT and never answer.
	DropConnects bool
	// CutConnects makes the core read CONNECT and close the connection without
	// an answer, as the service does on an unknown device with just-in-time
	// registration.
	CutConnects bool
	// ConnackDelay is how long the core waits before it answers CONNECT.
	ConnackDelay time.Duration
	// RefuseConnects, when not Success, refuses all CONNECTs with this reason code.
	RefuseConnects ReasonCode
	// WriteDelay is how long the core waits before each write on a connection.
	WriteDelay time.Duration
	// Times is for how many connections the faults hold, counted from where the
	// fault strikes; 0 is for all.
	Times int
}

type faultState struct {
	mu   sync.Mutex
	f    Faults
	left int
}

// SetFaults sets the disturbances of connections that come from now on.
func (c *Core) SetFaults(f Faults) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.f, c.faults.left = f, f.Times
}

// strike returns the faults when chosen picks one of those in effect, and counts it.
func (s *faultState) strike(chosen func(*Faults) bool) (Faults, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.f
	if !chosen(&f) {
		return Faults{}, false
	}
	if f.Times > 0 {
		if s.left--; s.left <= 0 {
			s.f = Faults{}
		}
	}
	return f, true
}

// Cut closes the TCP connection of a client without a word: no DISCONNECT, no
// TLS close_notify. It reports whether the client was connected.
func (c *Core) Cut(clientID string) bool {
	return c.withClient(clientID, func(cl *client) { _ = cl.raw.Close() })
}

// Reset is [Core.Cut], but the client sees "connection reset".
func (c *Core) Reset(clientID string) bool {
	return c.withClient(clientID, func(cl *client) { cl.raw.reset() })
}

// CutAll is [Core.Cut] for all connections; it returns their number.
func (c *Core) CutAll() int {
	c.mu.Lock()
	raw := make([]*faultConn, 0, len(c.raw))
	for rc := range c.raw {
		raw = append(raw, rc)
	}
	c.mu.Unlock()
	for _, rc := range raw {
		_ = rc.Close()
	}
	return len(raw)
}

// CutAfter lets n more bytes of MQTT through to a client and then cuts its
// connection: in the middle of a packet when n ends there.
func (c *Core) CutAfter(clientID string, n int) bool {
	return c.withClient(clientID, func(cl *client) { cl.out.cutAfter(n) })
}

// Freeze makes the connection of a client half-open: nothing is read from it
// nor written to it until [Core.Thaw].
func (c *Core) Freeze(clientID string) bool {
	return c.withClient(clientID, func(cl *client) { cl.raw.Freeze() })
}

// Thaw ends [Core.Freeze].
func (c *Core) Thaw(clientID string) bool {
	return c.withClient(clientID, func(cl *client) { cl.raw.Thaw() })
}

// Delay makes the core wait before each write to a client; 0 ends that.
func (c *Core) Delay(clientID string, d time.Duration) bool {
	return c.withClient(clientID, func(cl *client) { cl.raw.delay.Store(int64(d)) })
}

// HoldAcks makes the core keep back PUBACK, SUBACK, UNSUBACK and PINGRESP to a
// client, until it is called with false: then they go out, in order.
func (c *Core) HoldAcks(clientID string, hold bool) bool {
	return c.withClient(clientID, func(cl *client) {
		cl.holdAcks = hold
		if !hold {
			for _, send := range cl.held {
				send()
			}
			cl.held = nil
		}
	})
}

// Drop makes the core throw away what a client sends, without an answer, until
// it is called with false. The connection stays up, and messages for the client
// still go out. DISCONNECT is obeyed.
func (c *Core) Drop(clientID string, drop bool) bool {
	return c.withClient(clientID, func(cl *client) { cl.drop = drop })
}

// RefuseOperations makes the core refuse publishes and subscriptions of a
// client with a reason code, until it is called with [Success]. A publish with
// QoS 0, which cannot be answered, ends the connection with that code.
func (c *Core) RefuseOperations(clientID string, code ReasonCode) bool {
	return c.withClient(clientID, func(cl *client) { cl.refusing = code })
}

// withClient runs f with c.mu held on the connection of a client id.
func (c *Core) withClient(clientID string, f func(*client)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[clientID]
	if s == nil || s.client == nil {
		return false
	}
	f(s.client)
	return true
}
