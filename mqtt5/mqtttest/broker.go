// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// BrokerOptions set how a [Server] serves connections without a script. The
// zero value accepts every client and limits nothing.
type BrokerOptions struct {
	// Connack is what clients are answered with: limits, Server Keep Alive, and
	// so on. The broker keeps its side of what is announced here. Session
	// Present and Assigned Client Identifier are filled in; an error as reason
	// code refuses all clients.
	Connack Connack
	// Authenticate returns the reason code for a CONNECT, [Success] to accept
	// it; nil accepts all. A CONNECT with an Authentication Method is refused
	// before: that takes a script.
	Authenticate func(Connect) ReasonCode
	// Authorize returns the reason code for a topic filter, [Success] to accept
	// it; nil accepts all.
	Authorize func(clientID string, s Subscription) ReasonCode
	// Delay passes before each write to a client.
	Delay time.Duration
}

// broker serves connections and routes messages between them. Its mutex guards
// sessions and attachments too.
type broker struct {
	server *Server
	opts   BrokerOptions

	mu       sync.Mutex
	sessions map[string]*session
	retained map[string]message
	turns    map[string]int // of shared subscriptions
	assigned int
}

// attachment is the connection that a session has.
type attachment struct {
	c       *Conn
	session *session
	aliases map[uint16]string
	quota   int // PUBLISH packets that the client still takes, of limit
	limit   int
	largest uint32 // packet that the client takes

	out     []Packet
	queued  sync.Cond // out has grown, or ended is set
	ended   bool
	flushed chan struct{}
}

func newBroker(s *Server, o BrokerOptions) *broker {
	return &broker{server: s, opts: o, sessions: map[string]*session{}, retained: map[string]message{}, turns: map[string]int{}}
}

// close stops what would happen after the end of the server.
func (b *broker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.sessions {
		s.pending = nil
	}
}

// Serve serves the connection as a small broker until it ends: it answers all
// requests, routes messages to clients that are served too, with retained
// messages, wills, shared subscriptions and flow control, and keeps sessions. A
// script may call it to go on without one, before CONNECT, or after it or its
// CONNACK. It returns when the connection has ended.
func (c *Conn) Serve() {
	b := c.server.broker
	con, ack, ok := c.handshake()
	if !ok {
		return
	}
	a := b.attach(c, con, ack)
	if a == nil {
		return
	}
	c.server.work.Add(1)
	go a.write(b)
	c.serve(b, a, con)
	b.detach(a)
	<-a.flushed
}

// handshake returns the CONNECT of the connection, and the CONNACK if a script
// has already sent it.
func (c *Conn) handshake() (Connect, *Connack, bool) {
	c.server.auditMu.Lock()
	con, ack := c.audit.connect, c.audit.connack
	c.server.auditMu.Unlock()
	if con != nil {
		return *con, ack, true
	}
	p, err := c.receive(c.limit())
	if err == nil {
		if con, ok := p.(Connect); ok {
			return con, nil, !c.intercepted(p)
		}
		return Connect{}, nil, false // the audit has reported it
	}
	c.refuse(err)
	return Connect{}, nil, false
}

func (c *Conn) intercepted(p Packet) bool {
	f := c.server.opts.intercept
	return f != nil && f(c, p)
}

// refuse reports a packet that could not be read, and sends the reason to the client.
func (c *Conn) refuse(err error) {
	var v *Violation
	if !errors.As(err, &v) {
		return
	}
	c.server.fail("%v: %w", c, err)
	c.server.auditMu.Lock()
	accepted := c.audit.connack != nil
	c.server.auditMu.Unlock()
	if accepted {
		_ = c.TrySend(Disconnect{ReasonCode: v.ReasonCode})
	} else {
		_ = c.TrySend(Connack{ReasonCode: v.ReasonCode})
	}
}

// serve handles packets until the connection ends.
func (c *Conn) serve(b *broker, a *attachment, con Connect) {
	c.alive = time.Duration(or(b.opts.Connack.ServerKeepAliveSeconds, con.KeepAliveSeconds)) * time.Second * 3 / 2
	for {
		p, err := c.receive(c.alive)
		switch {
		case isTimeout(err) && c.alive > 0:
			b.send(a, Disconnect{ReasonCode: KeepAliveTimeout})
			return
		case err != nil:
			c.refuse(err)
			return
		}
		if !c.intercepted(p) && !b.handle(a, p) {
			return
		}
	}
}

// write sends queued packets until the attachment has ended and all are sent.
func (a *attachment) write(b *broker) {
	defer b.server.work.Done()
	defer close(a.flushed)
	for {
		b.mu.Lock()
		for len(a.out) == 0 && !a.ended {
			a.queued.Wait()
		}
		out, ended := a.out, a.ended
		a.out = nil
		b.mu.Unlock()
		if len(out) > 0 {
			if b.opts.Delay > 0 {
				a.c.Sleep(b.opts.Delay)
			}
			if a.c.TrySend(out...) != nil {
				a.c.Close()
			}
		}
		if ended {
			a.c.Close()
			return
		}
	}
}

func (b *broker) send(a *attachment, p Packet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.push(p)
}

// push queues a packet, unless it is larger than the client takes. The broker's
// lock is held.
func (a *attachment) push(p Packet) {
	if a.ended || uint64(len(Encode(p))) > uint64(a.largest) {
		return
	}
	a.out = append(a.out, p)
	a.queued.Signal()
}

// end lets the writer finish. The broker's lock is held.
func (a *attachment) end() {
	a.ended = true
	a.queued.Signal()
}

// admits reports whether the client is accepted. It sends the CONNACK of a
// refusal, unless ack was already sent.
func (b *broker) admits(c *Conn, con Connect, ack *Connack) bool {
	if ack != nil {
		return ack.ReasonCode == Success
	}
	if b.opts.Connack.ReasonCode != Success {
		_ = c.TrySend(b.opts.Connack)
		return false
	}
	code := Success
	if con.AuthenticationMethod != nil {
		code = BadAuthenticationMethod
	} else if b.opts.Authenticate != nil {
		code = b.opts.Authenticate(con)
	}
	if code != Success {
		_ = c.TrySend(Connack{ReasonCode: code})
	}
	return code == Success
}

// attach answers CONNECT, unless ack was already sent, and ties the connection
// to its session. It returns nil when the client is refused.
func (b *broker) attach(c *Conn, con Connect, ack *Connack) *attachment {
	if !b.admits(c, con, ack) {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := con.ClientID
	answer := b.opts.Connack
	if id == "" && ack == nil {
		b.assigned++
		id = fmt.Sprintf("assigned-%d", b.assigned)
		answer.AssignedClientID = &id
	} else if id == "" {
		id = or(ack.AssignedClientID, fmt.Sprintf("unnamed-%d", c.number))
	}
	now := time.Now()
	s := b.sessions[id]
	if s != nil {
		if old := s.attached; old != nil {
			old.push(Disconnect{ReasonCode: SessionTakenOver})
			old.end()
			s.detached(b, now)
		}
		if con.CleanStart || s.over(now) || ack != nil && !ack.SessionPresent {
			b.remove(s, now)
			s = nil
		}
	}
	answer.SessionPresent = s != nil
	if s == nil {
		s = newSession(id)
		b.sessions[id] = s
	}
	s.pending = nil
	s.expiry, s.expires = or(answer.SessionExpiryIntervalSeconds, or(con.SessionExpiryIntervalSeconds, 0)), time.Time{}
	s.will = con.Will
	a := &attachment{
		c: c, session: s, aliases: map[uint16]string{}, flushed: make(chan struct{}),
		quota: int(or(con.ReceiveMaximum, 65535)), limit: int(or(con.ReceiveMaximum, 65535)), largest: or(con.MaximumPacketSizeBytes, 1<<32-1),
	}
	a.queued.L = &b.mu
	s.attached = a
	c.server.auditMu.Lock()
	c.audit.takeTurn()
	c.server.auditMu.Unlock()
	if ack == nil {
		a.push(answer)
	}
	for _, d := range s.flights {
		d.sent = false
	}
	s.pump(now)
	return a
}

// detach ends the connection of a session, unless another one has taken the session over.
func (b *broker) detach(a *attachment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.end()
	s := a.session
	if s.attached != a {
		return
	}
	now := time.Now()
	s.detached(b, now)
	if s.expiry == 0 {
		b.remove(s, now)
	}
}

// Publish routes a message to the clients that are served and subscribed, as if
// another client had published it. Packet identifier, DUP and Topic Alias do
// not matter.
func (s *Server) Publish(p Publish) {
	b := s.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	b.route("", p, time.Now())
}

// Subscriptions returns the subscriptions of a client that is served, or whose
// session is kept, in no order.
func (s *Server) Subscriptions(clientID string) []Subscription {
	b := s.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []Subscription
	if found := b.sessions[clientID]; found != nil && !found.over(time.Now()) {
		for _, sub := range found.subs {
			list = append(list, sub.Subscription)
		}
	}
	return list
}

// ForgetSessions loses the sessions of all clients that are not connected, as a
// server that restarts may.
func (s *Server) ForgetSessions() {
	b := s.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sess := range b.sessions {
		if sess.attached == nil {
			sess.pending = nil
			delete(b.sessions, sess.id)
		}
	}
}
