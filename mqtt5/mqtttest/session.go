// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// message is a PUBLISH on its way through the broker.
type message struct {
	Publish
	at time.Time // of arrival, for its expiry
}

// outgoing returns the packet to send now; false when the message has expired.
func (m *message) outgoing(now time.Time) (Publish, bool) {
	p := m.Publish
	if p.MessageExpirySeconds != nil {
		waited := uint64(now.Sub(m.at) / time.Second)
		if waited >= uint64(*p.MessageExpirySeconds) {
			return p, false
		}
		p.MessageExpirySeconds = Ptr(*p.MessageExpirySeconds - uint32(waited))
	}
	return p, true
}

// delivery is a message that the client has not completely acknowledged.
type delivery struct {
	message
	id       uint16
	tried    bool // it was sent, on whatever connection
	sent     bool // on this connection
	released bool // the client has sent PUBREC
}

type subscription struct {
	Subscription
	id uint32 // 0 for none
}

// session is what the broker keeps for a client. The broker's mutex guards it.
type session struct {
	id       string
	attached *attachment
	expiry   uint32    // seconds
	expires  time.Time // while there is no connection; zero for never
	subs     map[string]subscription
	waiting  []message // QoS 1 and 2, to be sent
	flights  []*delivery
	lastID   uint16
	incoming map[uint16]bool // QoS 2, not released

	will    *Will
	pending *Publish // a will that waits for its delay
}

func newSession(id string) *session {
	return &session{id: id, subs: map[string]subscription{}, incoming: map[uint16]bool{}}
}

func (s *session) over(now time.Time) bool {
	return s.attached == nil && !s.expires.IsZero() && !now.Before(s.expires)
}

// detached takes the connection away and sees to the will.
func (s *session) detached(b *broker, now time.Time) {
	s.attached = nil
	if s.expiry != math.MaxUint32 {
		s.expires = now.Add(time.Duration(s.expiry) * time.Second)
	}
	w := s.will
	s.will = nil
	if w == nil {
		return
	}
	p := &Publish{
		Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain, PayloadFormat: w.PayloadFormat,
		MessageExpirySeconds: w.MessageExpirySeconds, ContentType: w.ContentType, ResponseTopic: w.ResponseTopic,
		CorrelationData: w.CorrelationData, UserProperties: w.UserProperties,
	}
	s.pending = p
	delay := time.Duration(min(or(w.DelayIntervalSeconds, 0), s.expiry)) * time.Second
	if delay == 0 {
		s.publishWill(b, now)
		return
	}
	time.AfterFunc(delay, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if s.pending == p { // and not that of another connection, or none
			s.publishWill(b, time.Now())
		}
	})
}

func (s *session) publishWill(b *broker, now time.Time) {
	if p := s.pending; p != nil {
		s.pending = nil
		b.route(s.id, *p, now)
	}
}

// remove ends a session, which sends a will that still waits.
func (b *broker) remove(s *session, now time.Time) {
	delete(b.sessions, s.id)
	s.publishWill(b, now)
}

// route sends a message to all who subscribe to its topic. The broker's lock is held.
func (b *broker) route(from string, p Publish, now time.Time) {
	m := message{Publish: p, at: now}
	m.Duplicate, m.PacketID, m.TopicAlias, m.SubscriptionIdentifiers = false, 0, nil, nil
	if m.Retain {
		if len(m.Payload) == 0 {
			delete(b.retained, m.Topic)
		} else {
			b.retained[m.Topic] = m
		}
	}
	type member struct {
		s   *session
		sub subscription
	}
	groups := map[string][]member{}
	for _, s := range b.sorted() {
		if s.over(now) {
			b.remove(s, now)
			continue
		}
		matched := false
		copyTo := m
		copyTo.QoS, copyTo.Retain = 0, false
		for _, key := range sortedKeys(s.subs) {
			sub := s.subs[key]
			name, filter := splitShared(sub.TopicFilter)
			if !matches(filter, m.Topic) || sub.NoLocal && s.id == from {
				continue
			}
			if name != "" {
				groups[sub.TopicFilter] = append(groups[sub.TopicFilter], member{s, sub})
				continue
			}
			matched = true
			copyTo.QoS = max(copyTo.QoS, min(m.QoS, sub.QoS))
			copyTo.Retain = copyTo.Retain || sub.RetainAsPublished && m.Retain
			if sub.id != 0 {
				copyTo.SubscriptionIdentifiers = append(copyTo.SubscriptionIdentifiers, sub.id)
			}
		}
		if matched {
			s.deliver(copyTo, now)
		}
	}
	for _, key := range sortedKeys(groups) {
		list := groups[key]
		if connected := slices.DeleteFunc(slices.Clone(list), func(m member) bool { return m.s.attached == nil }); len(connected) > 0 {
			list = connected
		}
		to := list[b.turns[key]%len(list)]
		b.turns[key]++
		copyTo := m
		copyTo.QoS, copyTo.Retain = min(m.QoS, to.sub.QoS), to.sub.RetainAsPublished && m.Retain
		if to.sub.id != 0 {
			copyTo.SubscriptionIdentifiers = []uint32{to.sub.id}
		}
		to.s.deliver(copyTo, now)
	}
}

// sorted returns the sessions in an order that does not change from run to run.
func (b *broker) sorted() []*session {
	list := make([]*session, 0, len(b.sessions))
	for _, key := range sortedKeys(b.sessions) {
		list = append(list, b.sessions[key])
	}
	return list
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (s *session) deliver(m message, now time.Time) {
	switch {
	case m.QoS > 0:
		s.waiting = append(s.waiting, m)
		s.pump(now)
	case s.attached != nil:
		if p, ok := m.outgoing(now); ok {
			s.attached.push(p)
		}
	}
}

// pump sends what the client has room for: first what was sent before on
// another connection.
func (s *session) pump(now time.Time) {
	a := s.attached
	if a == nil {
		return
	}
	for _, d := range s.flights {
		if d.sent {
			continue
		}
		if d.released {
			d.sent = true
			a.push(Pubrel{PacketID: d.id})
			continue
		}
		if a.quota == 0 {
			return
		}
		s.transmit(d, now)
	}
	for a.quota > 0 && len(s.waiting) > 0 {
		m := s.waiting[0]
		s.waiting = s.waiting[1:]
		p, ok := m.outgoing(now)
		if p.PacketID = 1; !ok || uint64(len(Encode(p))) > uint64(a.largest) {
			continue
		}
		id := s.freeID()
		if id == 0 {
			s.waiting = append([]message{m}, s.waiting...)
			return
		}
		d := &delivery{message: m, id: id}
		s.flights = append(s.flights, d)
		s.transmit(d, now)
	}
}

func (s *session) transmit(d *delivery, now time.Time) {
	p, ok := d.outgoing(now)
	if !ok {
		p.MessageExpirySeconds = Ptr[uint32](0) // it was sent before, and the exchange has to be finished
	}
	p.PacketID, p.Duplicate = d.id, d.tried
	d.sent, d.tried = true, true
	s.attached.quota--
	s.attached.push(p)
}

// freeID returns 0 when all are taken.
func (s *session) freeID() uint16 {
	if len(s.flights) == math.MaxUint16 {
		return 0
	}
	for {
		s.lastID++
		if s.lastID != 0 && s.flight(s.lastID) < 0 {
			return s.lastID
		}
	}
}

func (s *session) flight(id uint16) int {
	return slices.IndexFunc(s.flights, func(d *delivery) bool { return d.id == id })
}

// settle ends the exchange of a message, if it is one of the QoS.
func (s *session) settle(id uint16, qos byte, now time.Time) {
	i := s.flight(id)
	if i < 0 || s.flights[i].QoS != qos {
		return
	}
	s.flights = slices.Delete(s.flights, i, i+1)
	if s.attached != nil && s.attached.quota < s.attached.limit {
		s.attached.quota++
	}
	s.pump(now)
}

// handle does what a packet of a connected client asks for, and returns false
// when that ends the connection.
func (b *broker) handle(a *attachment, p Packet) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, s := time.Now(), a.session
	if s.attached != a {
		return false
	}
	switch p := p.(type) {
	case Publish:
		return b.published(a, p, now)
	case Puback:
		s.settle(p.PacketID, 1, now)
	case Pubrec:
		i := s.flight(p.PacketID)
		switch {
		case p.ReasonCode.IsError():
			s.settle(p.PacketID, 2, now)
		case i < 0 || s.flights[i].QoS != 2:
			a.push(Pubrel{PacketID: p.PacketID, ReasonCode: PacketIdentifierNotFound})
		default:
			s.flights[i].released = true
			a.push(Pubrel{PacketID: p.PacketID})
		}
	case Pubrel:
		if s.incoming[p.PacketID] {
			delete(s.incoming, p.PacketID)
			a.push(Pubcomp{PacketID: p.PacketID})
		} else {
			a.push(Pubcomp{PacketID: p.PacketID, ReasonCode: PacketIdentifierNotFound})
		}
	case Pubcomp:
		s.settle(p.PacketID, 2, now)
	case Subscribe:
		b.subscribe(a, p, now)
	case Unsubscribe:
		ack := Unsuback{PacketID: p.PacketID}
		for _, f := range p.TopicFilters {
			code := NoSubscriptionExisted
			if _, ok := s.subs[f]; ok {
				code = Success
				delete(s.subs, f)
			}
			ack.ReasonCodes = append(ack.ReasonCodes, code)
		}
		a.push(ack)
	case Pingreq:
		a.push(Pingresp{})
	case Disconnect:
		if p.SessionExpiryIntervalSeconds != nil {
			s.expiry = *p.SessionExpiryIntervalSeconds
		}
		if p.ReasonCode == NormalDisconnection {
			s.will = nil
		}
		return false
	case Connect, Auth: // the audit has reported it
		a.push(Disconnect{ReasonCode: ProtocolError})
		return false
	}
	return true
}

func (b *broker) published(a *attachment, p Publish, now time.Time) bool {
	s := a.session
	if p.TopicAlias != nil {
		if p.Topic != "" {
			a.aliases[*p.TopicAlias] = p.Topic
		} else if p.Topic = a.aliases[*p.TopicAlias]; p.Topic == "" {
			a.push(Disconnect{ReasonCode: ProtocolError})
			return false
		}
	}
	switch p.QoS {
	case 0:
		b.route(s.id, p, now)
	case 1:
		a.push(Puback{PacketID: p.PacketID})
		b.route(s.id, p, now)
	case 2:
		a.push(Pubrec{PacketID: p.PacketID})
		if !s.incoming[p.PacketID] {
			s.incoming[p.PacketID] = true
			b.route(s.id, p, now)
		}
	}
	return true
}

func (b *broker) subscribe(a *attachment, p Subscribe, now time.Time) {
	s := a.session
	ack := Suback{PacketID: p.PacketID}
	var retained []message
	for _, want := range p.Subscriptions {
		code := ReasonCode(min(want.QoS, or(b.opts.Connack.MaximumQoS, 2)))
		name, filter := splitShared(want.TopicFilter)
		switch {
		case name != "" && or(b.opts.Connack.SharedSubscriptionsAvailable, 1) == 0:
			code = SharedSubscriptionsNotSupported
		case hasWildcard(filter) && or(b.opts.Connack.WildcardSubscriptionsAvailable, 1) == 0:
			code = WildcardSubscriptionsNotSupported
		case p.SubscriptionIdentifier != nil && or(b.opts.Connack.SubscriptionIDsAvailable, 1) == 0:
			code = SubscriptionIdentifiersNotSupported
		case b.opts.Authorize != nil:
			if refused := b.opts.Authorize(s.id, want); refused != Success {
				code = refused
			}
		}
		ack.ReasonCodes = append(ack.ReasonCodes, code)
		if code.IsError() {
			continue
		}
		_, known := s.subs[want.TopicFilter]
		sub := subscription{Subscription: want, id: or(p.SubscriptionIdentifier, 0)}
		sub.QoS = byte(code)
		s.subs[want.TopicFilter] = sub
		if name != "" || want.RetainHandling == 2 || want.RetainHandling == 1 && known {
			continue
		}
		for _, topic := range sortedKeys(b.retained) {
			if m := b.retained[topic]; matches(filter, topic) {
				m.QoS = min(m.QoS, sub.QoS)
				if sub.id != 0 {
					m.SubscriptionIdentifiers = []uint32{sub.id}
				}
				retained = append(retained, m)
			}
		}
	}
	a.push(ack)
	for _, m := range retained {
		s.deliver(m, now)
	}
}
