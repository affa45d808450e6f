// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"errors"
	"slices"
	"time"
)

// session is the state the service keeps for a client id. All of it is guarded
// by Core.mu.
type session struct {
	core      *Core
	clientID  string
	version   byte
	client    *client // nil when not connected
	expiry    time.Duration
	expiresAt time.Time // when not connected
	expire    *alarm    // ends the session at that time
	id        string    // session identifier of presence messages
	queued    int       // payload bytes of pending and inflight
	kept      bool      // in the state
	principal *principal
	will      *Message
	subs      map[string]*subscription // by the filter as the client wrote it

	pending  []*delivery          // waiting for room in the window, oldest first
	inflight map[uint16]*delivery // sent, not acknowledged
	nextID   uint16
	nextSeq  int64

	replay      int // stored messages of a resumed session still to be paced
	replayReady int // of those, how many may go now
	replayTimer *time.Timer
}

type subscription struct {
	session   *session
	filter    string // without $share prefix
	group     string
	qos       byte
	noLocal   bool
	asPublish bool // retain as published
}

type shareGroup struct {
	members []*subscription
	next    int
}

// delivery is a QoS 1 message on its way to one session.
type delivery struct {
	msg     *Message
	retain  bool
	expires time.Time // zero: never
	seq     int64
	kept    bool // in the state
}

var (
	errQueueFull     = errors.New("iottest: the session stores no more messages than Quotas.MaxQueuedBytes allows")
	errTooLarge      = errors.New("iottest: the message is larger than the Maximum Packet Size of the client")
	errEnding        = errors.New("iottest: the connection is ending")
	errNotReading    = errors.New("iottest: the client does not read: Quotas.MaxOutboundBytes wait to be sent")
	errHandlerBehind = errors.New("iottest: the handler of Core.Subscribe is too far behind")
)

// conn is the number of the connection, 0 without.
func (s *session) conn() int64 {
	if s.client == nil {
		return 0
	}
	return s.client.id
}

// suspend keeps a session without a connection until it expires. c.mu is held.
func (s *session) suspend() {
	s.expireAt(s.core.nowLocked().Add(s.expiry))
	s.keep()
}

func (s *session) expireAt(t time.Time) {
	c := s.core
	c.cancelAlarm(s.expire)
	s.expiresAt = t
	s.expire = c.alarmAt(s.expiresAt, func() {
		c.dropSession(s)
		c.emit(Event{Type: SessionExpired, ClientID: s.clientID})
	})
}

// makeRoom reports whether n more bytes may be queued; when the queue is full
// it first drops what has expired.
func (s *session) makeRoom(n int) bool {
	limit := s.core.quotas.MaxQueuedBytes
	if s.queued+n <= limit && len(s.pending) < maxQueued {
		return true
	}
	now := s.core.nowLocked()
	s.pending = slices.DeleteFunc(s.pending, func(d *delivery) bool {
		gone := !d.expires.IsZero() && !now.Before(d.expires)
		if gone {
			s.forget(d)
		}
		return gone
	})
	return s.queued+n <= limit && len(s.pending) < maxQueued
}

// maxQueued bounds the number of messages that wait for a session, which may
// have no payload at all.
const maxQueued = 100_000

// forget ends the accounting of a message that has left the queue.
func (s *session) forget(d *delivery) {
	s.queued -= len(d.msg.Payload)
	if d.kept {
		s.core.state.remove(bucketQueues, s.queueKey(d.seq))
	}
}

// dropSession forgets a session with its subscriptions and messages. c.mu is held.
func (c *Core) dropSession(s *session) {
	for filter := range s.subs {
		c.removeSub(s, filter)
	}
	s.stopReplay()
	if c.state != nil {
		for _, d := range s.pending {
			s.forget(d)
		}
		for _, d := range s.inflight {
			s.forget(d)
		}
		s.expiry = 0
		s.keep()
	}
	s.pending, s.inflight, s.queued = nil, map[uint16]*delivery{}, 0
	s.will = nil
	c.cancelAlarm(s.expire)
	if c.sessions[s.clientID] == s {
		delete(c.sessions, s.clientID)
	}
}

func (s *session) stopReplay() {
	if s.replayTimer != nil {
		s.replayTimer.Stop()
		s.replayTimer = nil
	}
	s.replay, s.replayReady = 0, 0
}

// addSub stores a subscription and reports whether it is new.
func (c *Core) addSub(s *session, filter string, sub *subscription) bool {
	_, existed := s.subs[filter]
	if existed {
		c.removeSub(s, filter)
	}
	s.subs[filter] = sub
	switch {
	case sub.group != "":
		key := sub.group + "/" + sub.filter
		g := c.shares[key]
		if g == nil {
			g = &shareGroup{}
			c.shares[key] = g
		}
		g.members = append(g.members, sub)
	case hasWildcard(sub.filter):
		if c.wild[s] == nil {
			c.wild[s] = map[string]*subscription{}
		}
		c.wild[s][sub.filter] = sub
	default:
		if c.exact[sub.filter] == nil {
			c.exact[sub.filter] = map[*session]*subscription{}
		}
		c.exact[sub.filter][s] = sub
	}
	return !existed
}

func (c *Core) removeSub(s *session, filter string) bool {
	sub, ok := s.subs[filter]
	if !ok {
		return false
	}
	delete(s.subs, filter)
	switch {
	case sub.group != "":
		key := sub.group + "/" + sub.filter
		g := c.shares[key]
		g.members = slices.DeleteFunc(g.members, func(m *subscription) bool { return m == sub })
		if len(g.members) == 0 {
			delete(c.shares, key)
		}
	case hasWildcard(sub.filter):
		if delete(c.wild[s], sub.filter); len(c.wild[s]) == 0 {
			delete(c.wild, s)
		}
	default:
		if delete(c.exact[sub.filter], s); len(c.exact[sub.filter]) == 0 {
			delete(c.exact, sub.filter)
		}
	}
	return true
}

// route gives a message to all who subscribed to its topic. c.mu is held.
func (c *Core) route(m *Message, from *session) {
	now := c.nowLocked()
	if m.Retain {
		if len(m.Payload) == 0 {
			c.forgetRetained(m.Topic)
		} else {
			c.retain(&stored{msg: m, expires: expiryTime(now, m.Expiry)})
		}
	}
	for svc := range c.services {
		if matches(svc.filter, m.Topic) && !c.handlers.put(len(m.Payload), func() { svc.handle(m) }) {
			c.emit(Event{Type: Dropped, Message: m, Err: errHandlerBehind})
		}
	}
	for s, sub := range c.exact[m.Topic] {
		if !(sub.noLocal && s == from) {
			// One session gets a message once, with the highest QoS of all its
			// subscriptions that match.
			qos, asPublish := sub.qos, sub.asPublish
			for filter, w := range c.wild[s] {
				if matches(filter, m.Topic) {
					qos, asPublish = max(qos, w.qos), asPublish || w.asPublish
				}
			}
			s.deliver(m, qos, asPublish && m.Retain, expiryTime(now, m.Expiry))
		}
	}
	for s, subs := range c.wild {
		if sub := c.exact[m.Topic][s]; sub != nil && !(sub.noLocal && s == from) {
			continue
		}
		found, qos, asPublish := false, byte(0), false
		for filter, sub := range subs {
			if !(sub.noLocal && s == from) && matches(filter, m.Topic) {
				found, qos, asPublish = true, max(qos, sub.qos), asPublish || sub.asPublish
			}
		}
		if found {
			s.deliver(m, qos, asPublish && m.Retain, expiryTime(now, m.Expiry))
		}
	}
	for _, g := range c.shares {
		if matches(g.members[0].filter, m.Topic) {
			sub := g.pick()
			sub.session.deliverShared(sub, m, expiryTime(now, m.Expiry))
		}
	}
}

// pick chooses the next member in turn, a connected one if there is any.
func (g *shareGroup) pick() *subscription {
	for range g.members {
		g.next = (g.next + 1) % len(g.members)
		if sub := g.members[g.next]; sub.session.client != nil {
			return sub
		}
	}
	g.next = (g.next + 1) % len(g.members)
	return g.members[g.next]
}

func expiryTime(now time.Time, expiry time.Duration) time.Time {
	if expiry <= 0 {
		return time.Time{}
	}
	return now.Add(expiry)
}

// deliver sends or stores a message for a session.
func (s *session) deliver(m *Message, maxQoS byte, retain bool, expires time.Time) {
	if s.mayReceive("topic/" + m.Topic) {
		s.store(m, maxQoS, retain, expires)
	}
}

// deliverShared is deliver for a shared subscription: the policy may name the
// topic, or the topic behind $share/<name>/.
func (s *session) deliverShared(sub *subscription, m *Message, expires time.Time) {
	if s.mayReceive("topic/"+m.Topic) || s.mayReceive("topic/$share/"+sub.group+"/"+m.Topic) {
		s.store(m, sub.qos, sub.asPublish && m.Retain, expires)
	}
}

func (s *session) mayReceive(resource string) bool {
	return s.principal.allowed(s.core, s.clientID, "iot:Receive", resource)
}

// store sends a message, or keeps it until it is acknowledged.
func (s *session) store(m *Message, maxQoS byte, retain bool, expires time.Time) {
	if min(m.QoS, maxQoS) == 0 {
		if s.client != nil {
			_ = s.client.sendPublish(m, 0, retain, 0, expires)
		}
		return
	}
	if !s.makeRoom(len(m.Payload)) {
		s.core.emit(Event{Type: Dropped, Conn: s.conn(), ClientID: s.clientID, Message: m, Err: errQueueFull})
		return
	}
	if latest := s.core.nowLocked().Add(s.core.quotas.MaxMessageExpiry); expires.IsZero() || expires.After(latest) {
		expires = latest
	}
	s.queued += len(m.Payload)
	d := &delivery{msg: m, retain: retain, expires: expires, seq: s.nextSeq}
	s.pending = append(s.pending, d)
	s.nextSeq++
	s.keepDelivery(d)
	s.pump()
}

// pump sends pending messages as far as window and replay rate allow.
func (s *session) pump() {
	if s.client == nil {
		return
	}
	now := s.core.nowLocked()
	for len(s.pending) > 0 && len(s.inflight) < s.client.window {
		if len(s.inflight) > 0 && s.client.out.crowded() {
			return
		}
		if s.replay > 0 {
			if s.replayReady == 0 {
				return
			}
			s.replay--
			s.replayReady--
		}
		d := s.pending[0]
		s.pending[0] = nil
		s.pending = s.pending[1:]
		if !d.expires.IsZero() && !now.Before(d.expires) {
			s.forget(d)
			continue
		}
		id := s.newID()
		s.inflight[id] = d
		switch err := s.client.sendPublish(d.msg, 1, d.retain, id, d.expires); {
		case err == nil:
		case connectionLost(err):
			return // the connection is lost: the session keeps the message, as one in flight, for the next one
		default:
			delete(s.inflight, id) // such as larger than the client takes
			s.forget(d)
		}
	}
}

// connectionLost reports whether err is about the connection rather than the
// message: QoS 1 messages wait for the next one.
func connectionLost(err error) bool {
	return errors.Is(err, errEnding) || errors.Is(err, errNotReading)
}

func (s *session) newID() uint16 {
	for {
		s.nextID++
		if _, used := s.inflight[s.nextID]; s.nextID != 0 && !used {
			return s.nextID
		}
	}
}

// requeue puts what was sent but not acknowledged back in front of what waits,
// in its order.
func (s *session) requeue() int {
	again := make([]*delivery, 0, len(s.inflight)+len(s.pending))
	for _, d := range s.inflight {
		again = append(again, d)
	}
	slices.SortFunc(again, func(a, b *delivery) int { return int(a.seq - b.seq) })
	n := len(again)
	s.pending = append(again, s.pending...)
	s.inflight = map[uint16]*delivery{}
	return n
}

// resume starts sending what a session has stored. The service never sets DUP,
// and uses new packet ids.
func (s *session) resume() {
	s.requeue()
	if rate := s.core.quotas.ReplayRate; rate > 0 && len(s.pending) > 0 {
		s.replay, s.replayReady = len(s.pending), rate
		s.armReplay(s.client, rate)
	}
	s.pump()
}

func (s *session) armReplay(cl *client, rate int) {
	s.replayTimer = time.AfterFunc(time.Second, func() {
		s.core.mu.Lock()
		defer s.core.mu.Unlock()
		if s.client != cl || s.replay == 0 {
			return
		}
		s.replayReady = rate
		s.pump()
		s.armReplay(cl, rate)
	})
}

// Redeliver sends a client again, on the connection it has, all messages it has
// not acknowledged, with new packet ids and without DUP, as the service does
// when an acknowledgement stays out. It returns their number.
func (c *Core) Redeliver(clientID string) int {
	n := 0
	c.withClient(clientID, func(cl *client) {
		n = cl.session.requeue()
		cl.session.pump()
	})
	return n
}

// service is a subscription inside the process.
type service struct {
	filter string
	handle func(*Message)
}

// Subscribe calls handle for each message on a topic that the filter selects,
// one at a time and in order, on a goroutine of the core. It is how a test
// stands for a service behind the broker, such as the shadow of a thing. The
// function it returns ends the subscription.
func (c *Core) Subscribe(filter string, handle func(*Message)) (cancel func()) {
	svc := &service{filter: filter, handle: handle}
	c.mu.Lock()
	c.services[svc] = struct{}{}
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		delete(c.services, svc)
		c.mu.Unlock()
	}
}

// Publish publishes a message as if from the service: to any topic, with no
// policy and no quota.
func (c *Core) Publish(m Message) error {
	if m.Topic == "" || hasWildcard(m.Topic) || m.QoS > 1 {
		return refuse(TopicNameInvalid, "cannot publish to %q with QoS %d", m.Topic, m.QoS)
	}
	m.Payload = bytes.Clone(m.Payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.route(&m, nil)
	c.callService(&m, nil)
	return nil
}

// SessionInfo is what the core keeps for a client id.
type SessionInfo struct {
	ClientID      string
	Connected     bool
	Version       int           // of MQTT, as in [ClientInfo]
	Expiry        time.Duration // how long it is kept without a connection
	ExpiresAt     time.Time     // on the core's clock; zero while connected
	Subscriptions []string      // filters, sorted
	Queued        int           // messages that wait to be sent
	Unacked       int           // messages sent and not acknowledged
	Bytes         int           // of payload in both
}

// Session returns what the core keeps for a client id; ok is false when there is nothing.
func (c *Core) Session(clientID string) (info SessionInfo, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[clientID]
	if s == nil {
		return SessionInfo{}, false
	}
	return s.info(), true
}

// EndSession disconnects a client id if need be and forgets its session, so
// that the next CONNECT finds none.
func (c *Core) EndSession(clientID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[clientID]
	if s == nil {
		return false
	}
	if s.client != nil {
		s.client.endLocked(AdministrativeAction, "", ReasonServerInitiated)
	}
	c.dropSession(s)
	return true
}

// sendPublish sends a message. It reports one that is dropped, which a QoS 1
// message is not when the connection ends.
func (cl *client) sendPublish(m *Message, qos byte, retain bool, id uint16, expires time.Time) error {
	var remaining time.Duration
	if !expires.IsZero() && m.Expiry > 0 {
		remaining = max(time.Second, expires.Sub(cl.core.nowLocked()))
	}
	pk := m.publishPacket(qos, retain, id, remaining)
	if cl.aliasMax > 0 {
		if alias, known := cl.aliasOut[m.Topic]; known {
			pk.TopicName, pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = "", alias, true
		} else if len(cl.aliasOut) < int(cl.aliasMax) {
			alias = uint16(len(cl.aliasOut) + 1)
			cl.aliasOut[m.Topic] = alias
			pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = alias, true
		}
	}
	err := cl.send(&pk)
	if err == nil {
		cl.core.emit(Event{Type: Delivered, Conn: cl.id, ClientID: cl.session.clientID, Message: m, PacketID: id})
		return nil
	}
	if pk.Properties.TopicAliasFlag && pk.TopicName != "" {
		delete(cl.aliasOut, m.Topic) // the client never saw the alias
	}
	if qos == 0 || !connectionLost(err) {
		cl.core.emit(Event{Type: Dropped, Conn: cl.id, ClientID: cl.session.clientID, Message: m, Err: err})
	}
	return err
}
