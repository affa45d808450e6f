// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// flight is an operation of the client that the server has not settled.
type flight struct {
	typ      PacketType // PUBLISH, SUBSCRIBE or UNSUBSCRIBE
	publish  Publish
	order    int    // of first sending, over the life of the session
	conn     *audit // that it was last sent on
	recSent  bool   // PUBREC below 0x80, by the server
	released bool   // PUBREL, by the client
	counted  bool   // against Receive Maximum, on conn
	answered *audit // connection on which the server has settled it

	unordered bool // its place among those sent again is not known
}

// sessionAudit is the state of a session of the client over all its connections.
type sessionAudit struct {
	flights map[uint16]*flight
	sent    int
	// settled are flights that the server has settled. The client knows that
	// only if the answer has arrived: on another connection, it may send them
	// again.
	settled map[uint16]*flight
	owner   *audit // of the connection that has the session
}

func newSessionAudit() *sessionAudit {
	return &sessionAudit{flights: map[uint16]*flight{}, settled: map[uint16]*flight{}}
}

// audit follows one connection and finds what the client may not do there,
// although each packet is well-formed by itself. It checks what the client does
// by what the server has really sent, which a hostile script may make anything.
// The server's auditMu guards it, for two connections may share a session.
type audit struct {
	server  *Server
	session *sessionAudit
	turn    int // ascends in the order in which connections get their sessions; 0: none yet

	connect  *Connect
	connack  *Connack // the first one
	gone     bool     // the client has sent DISCONNECT
	aliases  map[uint16]bool
	inFlight int // PUBLISH packets that count against Receive Maximum
	resent   int // order of the last PUBLISH that was sent again

	due1, due2, dueRel, dueComp []uint16 // identifiers that the client has to answer, in order
	authAsked                   bool     // by the server's last AUTH
	reauth                      bool

	partial []byte // of what the server has sent
}

func newAudit(s *Server) *audit {
	return &audit{server: s, session: newSessionAudit(), aliases: map[uint16]bool{}, resent: -1}
}

func breach(typ PacketType, code ReasonCode, rule string, format string, args ...any) *Violation {
	return &Violation{Packet: typ, Rules: []string{rule}, ReasonCode: code, Detail: fmt.Sprintf(format, args...)}
}

// received looks at a packet of the client.
func (c *Conn) received(p Packet, size int) []*Violation {
	c.server.auditMu.Lock()
	defer c.server.auditMu.Unlock()
	return c.audit.client(p, size)
}

// sent looks at bytes of the server.
func (c *Conn) sent(b []byte) {
	c.server.auditMu.Lock()
	defer c.server.auditMu.Unlock()
	a := c.audit
	a.partial = append(a.partial, b...)
	for len(a.partial) > 0 {
		size, _, err := frame(a.partial, FromServer)
		if err == nil && size > len(a.partial) || errors.Is(err, io.ErrUnexpectedEOF) {
			return
		}
		if err != nil { // the next write may begin anew
			a.partial = nil
			return
		}
		if p, _, err := Decode(a.partial, FromServer); err == nil {
			a.fromServer(p)
		}
		a.partial = a.partial[size:]
	}
	a.partial = nil
}

func (a *audit) client(p Packet, size int) (list []*Violation) {
	if owner := a.session.owner; owner != nil && owner != a {
		return nil // sent before another connection took the session over, and read after
	}
	typ := p.PacketType()
	add := func(code ReasonCode, rule, format string, args ...any) {
		list = append(list, breach(typ, code, rule, format, args...))
	}
	if con, ok := p.(Connect); ok {
		if a.connect != nil {
			add(ProtocolError, "MQTT-3.1.0-2", "a second CONNECT on the connection")
			return list
		}
		a.connect = &con
		return nil
	}
	if a.connect == nil {
		add(ProtocolError, "MQTT-3.1.0-1", "the first packet of the connection is not CONNECT")
	}
	if a.gone {
		add(ProtocolError, "MQTT-3.14.4-1", "sent after DISCONNECT")
	}
	if a.connect != nil && a.connect.AuthenticationMethod != nil && a.connack == nil && typ != TypeAuth && typ != TypeDisconnect {
		add(ProtocolError, "MQTT-3.1.2-30", "sent before CONNACK although CONNECT has an Authentication Method")
	}
	if a.connack != nil && a.connack.MaximumPacketSizeBytes != nil && uint32(size) > *a.connack.MaximumPacketSizeBytes {
		add(PacketTooLarge, "MQTT-3.2.2-15", "%d bytes, but the server takes %d", size, *a.connack.MaximumPacketSizeBytes)
	}
	switch p := p.(type) {
	case Publish:
		a.clientPublish(p, add)
	case Puback:
		a.answer(&a.due1, a.due2, p.PacketID, "MQTT-4.6.0-2", add)
	case Pubrec:
		a.answer(&a.due2, a.due1, p.PacketID, "MQTT-4.6.0-3", add)
	case Pubrel:
		a.clientPubrel(p, add)
	case Pubcomp:
		a.answer(&a.dueComp, nil, p.PacketID, "", add)
	case Subscribe:
		a.clientSubscribe(p, add)
	case Unsubscribe:
		a.start(p.PacketID, &flight{typ: typ}, add)
	case Disconnect:
		a.gone = true
		if v := p.SessionExpiryIntervalSeconds; v != nil && *v > 0 && a.connect != nil &&
			(a.connect.SessionExpiryIntervalSeconds == nil || *a.connect.SessionExpiryIntervalSeconds == 0) {
			add(ProtocolError, "§3.14.2.2.2", "Session Expiry Interval %d after 0 in CONNECT", *v)
		}
	case Auth:
		a.clientAuth(p, add)
	}
	return list
}

type addFunc func(code ReasonCode, rule, format string, args ...any)

// start takes an identifier for a new operation.
func (a *audit) start(id uint16, f *flight, add addFunc) {
	if old := a.session.flights[id]; old != nil {
		if f.typ == TypePublish && old.typ == TypePublish && old.conn != a && samePublish(old.publish, f.publish) {
			add(ProtocolError, "MQTT-3.3.1-1", "PUBLISH %d goes again without DUP", id)
		} else {
			add(PacketIdentifierInUse, "MQTT-2.2.1-3", "identifier %d is in use by %v", id, old.typ)
		}
		a.settle(id, old)
	}
	f.order, f.conn = a.session.sent, a
	a.session.sent++
	delete(a.session.settled, id)
	a.session.flights[id] = f
}

// settle frees an identifier.
func (a *audit) settle(id uint16, f *flight) {
	a.uncount(f)
	delete(a.session.flights, id)
}

func (a *audit) uncount(f *flight) {
	if f.counted && f.conn == a {
		a.inFlight--
	}
	f.counted = false
}

func samePublish(p, q Publish) bool {
	return p.QoS == q.QoS && p.Topic == q.Topic && string(p.Payload) == string(q.Payload)
}

func (a *audit) clientPublish(p Publish, add addFunc) {
	a.limits(p, add)
	a.alias(p, add)
	if p.QoS == 0 {
		return
	}
	old := a.session.flights[p.PacketID]
	f := &flight{typ: TypePublish, publish: p}
	switch {
	case !p.Duplicate:
		a.start(p.PacketID, f, add)
	case old == nil || old.typ != TypePublish:
		// Its first sending may have been lost on the way, but only if there was one.
		if a.connack != nil && !a.connack.SessionPresent {
			add(ProtocolError, []string{"", "MQTT-4.3.2-2", "MQTT-4.3.3-2", ""}[p.QoS], "PUBLISH %d has DUP although the session is new", p.PacketID)
		}
		// Or the answer was lost: then its place is before those that are known.
		f.unordered = a.session.settled[p.PacketID] != nil
		a.start(p.PacketID, f, add)
	case old.conn == a:
		add(ProtocolError, "MQTT-4.4.0-1", "PUBLISH %d goes a second time on the same connection", p.PacketID)
	default:
		f = old
		if old.released {
			add(ProtocolError, "MQTT-4.3.3-6", "PUBLISH %d goes again after its PUBREL", p.PacketID)
		}
		if a.connack != nil && !a.connack.SessionPresent {
			add(ProtocolError, "MQTT-4.4.0-1", "PUBLISH %d goes again although the session is new", p.PacketID)
		}
		if !samePublish(old.publish, p) && old.publish.Topic != "" {
			add(ProtocolError, "MQTT-4.4.0-1", "PUBLISH %d goes again as another message", p.PacketID)
		}
		if !old.unordered {
			if old.order < a.resent {
				add(ProtocolError, "MQTT-4.6.0-1", "PUBLISH %d goes again out of order", p.PacketID)
			}
			a.resent = max(a.resent, old.order)
		}
		old.conn, old.counted = a, false
	}
	if !f.counted && f.conn == a {
		f.counted = true
		a.inFlight++
	}
	if a.connack == nil {
		return
	}
	if limit := or(a.connack.ReceiveMaximum, 65535); a.inFlight > int(limit) {
		add(ReceiveMaximumExceeded, "MQTT-3.3.4-7", "%d PUBLISH packets in flight, but the server takes %d", a.inFlight, limit)
	}
}

func or[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

func (a *audit) limits(p Publish, add addFunc) {
	if a.connack == nil {
		return
	}
	if limit := or(a.connack.MaximumQoS, 2); p.QoS > limit {
		add(QoSNotSupported, "MQTT-3.2.2-11", "QoS %d, but the server's maximum is %d", p.QoS, limit)
	}
	if p.Retain && or(a.connack.RetainAvailable, 1) == 0 {
		add(RetainNotSupported, "MQTT-3.2.2-14", "RETAIN is set, which the server does not support")
	}
}

func (a *audit) alias(p Publish, add addFunc) {
	if p.TopicAlias == nil {
		return
	}
	limit := uint16(0)
	if a.connack != nil {
		limit = or(a.connack.TopicAliasMaximum, 0)
	}
	switch {
	case limit == 0:
		add(TopicAliasInvalid, "MQTT-3.2.2-18", "Topic Alias %d, but the server takes none", *p.TopicAlias)
	case *p.TopicAlias > limit:
		add(TopicAliasInvalid, "MQTT-3.2.2-17", "Topic Alias %d, but the server's maximum is %d", *p.TopicAlias, limit)
	case p.Topic == "" && !a.aliases[*p.TopicAlias]:
		add(ProtocolError, "MQTT-3.3.2-7", "Topic Alias %d has no topic on this connection", *p.TopicAlias)
	}
	if p.Topic != "" {
		a.aliases[*p.TopicAlias] = true
	}
}

// answer strikes an identifier from what the client owes. order is the rule
// that demands the order of arrival.
func (a *audit) answer(due *[]uint16, other []uint16, id uint16, order string, add addFunc) {
	i := slices.Index(*due, id)
	switch {
	case i < 0 && slices.Contains(other, id):
		add(ProtocolError, "MQTT-3.3.4-1", "PUBLISH %d has another QoS", id)
		return
	case i < 0:
		add(ProtocolError, "MQTT-2.2.1-5", "it answers identifier %d, which the server has not sent on this connection", id)
		return
	case i > 0 && order != "":
		add(ProtocolError, order, "identifier %d is answered before %d", id, (*due)[0])
	}
	*due = slices.Delete(*due, i, i+1)
}

func (a *audit) clientPubrel(p Pubrel, add addFunc) {
	f := a.session.flights[p.PacketID]
	if old := a.session.settled[p.PacketID]; f == nil && old != nil && old.answered != a {
		f = old // PUBCOMP was lost
	}
	i := slices.Index(a.dueRel, p.PacketID)
	switch {
	case i > 0:
		add(ProtocolError, "MQTT-4.6.0-4", "identifier %d is released before %d", p.PacketID, a.dueRel[0])
	case i < 0 && (f == nil || !f.recSent) && p.ReasonCode == Success:
		add(ProtocolError, "MQTT-4.3.3-4", "the server has sent no PUBREC for identifier %d", p.PacketID)
	}
	if i >= 0 {
		a.dueRel = slices.Delete(a.dueRel, i, i+1)
	}
	if f != nil && p.ReasonCode == Success {
		f.released = true
	}
}

func (a *audit) clientSubscribe(p Subscribe, add addFunc) {
	a.start(p.PacketID, &flight{typ: TypeSubscribe}, add)
	if a.connack == nil {
		return
	}
	if p.SubscriptionIdentifier != nil && or(a.connack.SubscriptionIDsAvailable, 1) == 0 {
		add(SubscriptionIdentifiersNotSupported, "§3.2.2.3.12", "the server takes no Subscription Identifiers")
	}
	for _, s := range p.Subscriptions {
		name, filter := splitShared(s.TopicFilter)
		if name != "" && or(a.connack.SharedSubscriptionsAvailable, 1) == 0 {
			add(SharedSubscriptionsNotSupported, "§3.2.2.3.13", "the server takes no shared subscriptions")
		}
		if hasWildcard(filter) && or(a.connack.WildcardSubscriptionsAvailable, 1) == 0 {
			add(WildcardSubscriptionsNotSupported, "§3.2.2.3.11", "the server takes no wildcards")
		}
	}
}

func (a *audit) clientAuth(p Auth, add addFunc) {
	if a.connect == nil || a.connect.AuthenticationMethod == nil {
		add(ProtocolError, "MQTT-4.12.0-7", "CONNECT has no Authentication Method")
		return
	}
	if *p.AuthenticationMethod != *a.connect.AuthenticationMethod {
		rule := "MQTT-4.12.0-5"
		if p.ReasonCode == ReAuthenticate {
			rule = "MQTT-4.12.1-1"
		}
		add(ProtocolError, rule, "method %q, but CONNECT has %q", *p.AuthenticationMethod, *a.connect.AuthenticationMethod)
	}
	switch {
	case a.authAsked && p.ReasonCode != ContinueAuthentication:
		add(ProtocolError, "MQTT-4.12.0-3", "%v in answer to AUTH", p.ReasonCode)
	case a.connack == nil && p.ReasonCode == ReAuthenticate:
		add(ProtocolError, "MQTT-4.12.1-1", "re-authentication before CONNACK")
	case p.ReasonCode == ReAuthenticate:
		a.reauth = true
	case !a.authAsked:
		add(ProtocolError, "MQTT-4.12.0-3", "the server has not sent AUTH")
	}
	a.authAsked = false
}

// fromServer follows a well-formed packet of the server.
func (a *audit) fromServer(p Packet) {
	switch p := p.(type) {
	case Connack:
		a.accepted(p)
	case Publish:
		if p.QoS == 1 {
			a.due1 = append(a.due1, p.PacketID)
		} else if p.QoS == 2 {
			a.due2 = append(a.due2, p.PacketID)
		}
	case Pubrel:
		a.dueComp = append(a.dueComp, p.PacketID)
	case Puback:
		a.serverSettles(p.PacketID, func(f *flight) bool { return f.typ == TypePublish && f.publish.QoS == 1 })
	case Pubcomp:
		a.serverSettles(p.PacketID, func(f *flight) bool { return f.typ == TypePublish && f.publish.QoS == 2 && f.recSent })
	case Pubrec:
		f := a.session.flights[p.PacketID]
		if !p.ReasonCode.IsError() {
			a.dueRel = append(a.dueRel, p.PacketID)
			if f != nil && f.publish.QoS == 2 {
				f.recSent = true
			}
			return
		}
		a.serverSettles(p.PacketID, func(f *flight) bool { return f.typ == TypePublish && f.publish.QoS == 2 })
	case Suback:
		a.serverSettles(p.PacketID, func(f *flight) bool { return f.typ == TypeSubscribe })
	case Unsuback:
		a.serverSettles(p.PacketID, func(f *flight) bool { return f.typ == TypeUnsubscribe })
	case Auth:
		a.authAsked = p.ReasonCode == ContinueAuthentication
	}
}

func (a *audit) serverSettles(id uint16, fits func(*flight) bool) {
	if f := a.session.flights[id]; f != nil && fits(f) {
		a.settle(id, f)
		f.answered = a
		a.session.settled[id] = f
	}
}

// takeTurn notes that the connection gets its session now: before its CONNACK,
// which the broker writes later, or with it.
func (a *audit) takeTurn() {
	if a.turn == 0 {
		a.server.turns++
		a.turn = a.server.turns
	}
}

// accepted finds the session that the connection goes on with.
func (a *audit) accepted(p Connack) {
	if a.connect == nil || a.connack != nil {
		return
	}
	a.connack = &p
	if p.ReasonCode != Success {
		return
	}
	early := a.session.flights // what was sent before CONNACK
	id := a.connect.ClientID
	if id == "" {
		id = or(p.AssignedClientID, fmt.Sprintf("%p", a))
	}
	old := a.server.sessions[id]
	a.takeTurn()
	if old != nil && old.owner.turn > a.turn {
		return // sent late, to a connection that has lost the session
	}
	if old == nil || !p.SessionPresent || a.connect.CleanStart {
		old = newSessionAudit()
	}
	for id, f := range old.flights {
		if f.typ != TypePublish { // requests are not part of the session
			delete(old.flights, id)
		}
	}
	for id, f := range early {
		old.flights[id] = f
	}
	old.sent = max(old.sent, a.session.sent)
	old.owner = a
	a.session = old
	a.server.sessions[id] = old
}
