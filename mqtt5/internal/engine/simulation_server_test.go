// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// server is the model of a server with one client. It keeps to the standard,
// but for what the scenario tells it to do: go silent, swallow answers, or
// break the rules (hostile), which it does once in a connection and last.
type server struct {
	s        *simulation
	session  *serverSession
	messages []*outMessage // all, by serial number

	// Of the connection.
	connect     *wire.Connect
	accepted    bool
	over        bool // nothing more is sent
	mute        bool
	swallow     bool
	hostile     bool
	replies     []packet
	outstanding int // publishes that count against the client's Receive Maximum
	challenges  int // still to come
	aliases     []string
	buf         []byte
}

// serverSession is what the server keeps between connections.
type serverSession struct {
	known bool              // the client was told of it
	in    map[uint16]uint64 // QoS 2 from the client, not released: serial by identifier
	out   []*outMessage     // QoS>0 to the client, not completed
	last  uint16            // identifier given last
}

// outMessage is a message for the client.
type outMessage struct {
	serial    uint64
	topic     string
	qos       uint8
	state     uint8 // 0: to be sent, 1: sent, 2: PUBREC received
	counted   bool  // against the Receive Maximum, on connection conn
	id        uint16
	conn      int // it was sent on last
	delivered int
}

func (v *server) init(s *simulation) {
	v.s = s
	s.inbox.epoch = 1
	s.inbox.received = map[uint16]bool{}
	v.messages = append(v.messages, nil)
	v.session = &serverSession{}
}

// begin is told of a new connection.
func (v *server) begin() {
	*v = server{s: v.s, session: v.session, messages: v.messages, buf: v.buf}
	v.swallow = v.s.fault(5)
	if v.s.fault(5) {
		v.session = &serverSession{} // lost
	}
}

// end is told that the connection is over.
func (v *server) end() { v.over = true }

// act does something.
func (v *server) act() {
	s := v.s
	if s.link.state != linkOpen || s.link.dead {
		return
	}
	if s.fault(1000) {
		v.mute = true
	}
	if v.mute || v.over {
		return
	}
	for len(s.link.up) > 0 && s.link.up[0].end <= s.link.moved && !v.over {
		p := s.link.up[0]
		s.link.up = s.link.up[1:]
		v.handle(&p)
		if s.one(6) {
			break
		}
	}
	for len(v.replies) > 0 && !s.one(3) && !v.over {
		p := v.replies[0]
		v.replies = v.replies[1:]
		if !(v.swallow && s.fault(4) && p.t >= wire.TypePuback && p.t <= wire.TypeUnsuback) {
			v.send(&p)
		}
	}
	if !v.accepted || v.over {
		return
	}
	if !s.calm && s.one(2) {
		v.compose()
	}
	for !s.one(3) && v.sendNext() {
	}
	switch {
	case s.fault(1500):
		v.send(&packet{t: wire.TypeDisconnect, reason: pick(s, wire.ServerBusy, wire.UseAnotherServer)})
		v.over = true
	case s.fault(1500):
		s.cut()
	case s.one(100):
		v.oddity()
	case s.fault(3000):
		v.breach()
	}
}

// handleAll handles what has arrived.
func (v *server) handleAll() {
	l := &v.s.link
	for len(l.up) > 0 && l.up[0].end <= l.moved && !v.over {
		p := l.up[0]
		l.up = l.up[1:]
		v.handle(&p)
	}
}

func (v *server) handle(p *packet) {
	s := v.s
	switch p.t {
	case wire.TypeConnect:
		v.connect = p.connect
		if p.connect.AuthenticationMethod != nil {
			v.challenges = s.n(3)
			v.challenge()
		} else {
			v.accept()
		}
	case wire.TypeAuth:
		if p.reason == wire.Reauthenticate {
			v.challenges = s.n(3)
		}
		v.challenge()
	case wire.TypePublish:
		v.published(p)
	case wire.TypePuback, wire.TypePubrec, wire.TypePubcomp:
		v.acknowledged(p)
	case wire.TypePubrel:
		reply := packet{t: wire.TypePubcomp, id: p.id}
		if _, held := v.session.in[p.id]; !held {
			reply.reason = wire.PacketIdentifierNotFound
		}
		delete(v.session.in, p.id)
		v.replies = append(v.replies, reply)
	case wire.TypeSubscribe, wire.TypeUnsubscribe:
		reply := packet{t: wire.TypeSuback, id: p.id, codes: p.codes}
		if p.t == wire.TypeUnsubscribe {
			reply.t = wire.TypeUnsuback
		}
		for i := range reply.codes {
			reply.codes[i] = pick(s, wire.Success, wire.NotAuthorized)
		}
		v.replies = append(v.replies, reply)
	case wire.TypePingreq:
		v.replies = append(v.replies, packet{t: wire.TypePingresp})
	case wire.TypeDisconnect:
		s.hangUp()
	}
}

// challenge goes on with an authentication, or ends it.
func (v *server) challenge() {
	if v.challenges > 0 {
		v.challenges--
		v.send(&packet{t: wire.TypeAuth, reason: wire.ContinueAuthentication})
		return
	}
	if !v.accepted {
		v.accept()
	} else if !v.s.fault(10) {
		v.send(&packet{t: wire.TypeAuth, reason: wire.Success})
	}
}

func ptr[T any](v T) *T { return &v }

// because returns a reason string, or none.
func (v *server) because() *string {
	if v.s.one(2) {
		return ptr("because")
	}
	return nil
}

// explanation is because where a client has to ask for problem information.
func (v *server) explanation() *string {
	if value(v.connect.RequestProblemInformation, true) {
		return v.because()
	}
	return nil
}

// accept sends the CONNACK.
func (v *server) accept() {
	s := v.s
	if s.fault(10) {
		ack := &wire.Connack{ReasonCode: pick(s, wire.ServerUnavailable, wire.UseAnotherServer, wire.ServerMoved), ReasonString: v.because()}
		if ack.ReasonCode != wire.ServerUnavailable {
			ack.ServerReference = ptr("elsewhere:8883")
		}
		v.send(&packet{t: wire.TypeConnack, reason: ack.ReasonCode, connack: ack})
		v.over = true
		return
	}
	ack := &wire.Connack{AuthenticationMethod: v.connect.AuthenticationMethod}
	if v.connect.ClientID == "" {
		ack.AssignedClientID = ptr(pick(s, "given", "$given"))
	}
	if v.connect.CleanStart || !v.session.known {
		v.session = &serverSession{in: map[uint16]uint64{}}
	} else {
		ack.SessionPresent = true
	}
	if s.one(2) {
		ack.ReceiveMaximum = ptr(uint16(1 + s.n(5)))
	}
	if s.one(8) && !s.calm {
		ack.MaximumQoS = ptr(uint8(s.n(2)))
		ack.RetainAvailable = ptr(false)
	}
	if s.one(6) && !s.calm {
		ack.MaximumPacketSize = ptr(uint32(30 + s.n(40)))
	}
	if s.one(2) {
		ack.TopicAliasMaximum = ptr(uint16(s.n(5)))
	}
	if s.one(4) {
		ack.ServerKeepAlive = ptr(pick[uint16](s, 0, 1, 3))
	}
	if s.one(6) {
		ack.WildcardSubscriptionsAvailable, ack.SharedSubscriptionsAvailable, ack.SubscriptionIDsAvailable = ptr(s.one(2)), ptr(s.one(2)), ptr(s.one(2))
	}
	v.accepted = true
	v.send(&packet{t: wire.TypeConnack, flag: ack.SessionPresent, connack: ack})
}

// published takes a message of the client.
func (v *server) published(p *packet) {
	s := v.s
	op := s.ops[p.serial]
	reason := wire.Success
	if s.one(12) {
		reason = wire.NotAuthorized
	}
	switch p.qos {
	case 0:
		op.arrived++
		if op.arrived > 1 {
			s.fail("operation %d of QoS 0 arrived %d times", p.serial, op.arrived)
		}
	case 1:
		if reason < 0x80 {
			op.arrived++
		}
		v.replies = append(v.replies, packet{t: wire.TypePuback, id: p.id, reason: reason})
	case 2:
		if serial, held := v.session.in[p.id]; held {
			if serial != p.serial {
				s.fail("operation %d is lost: the server holds its identifier %d for operation %d", p.serial, p.id, serial)
			}
			reason = wire.Success
		} else if reason < 0x80 {
			v.session.in[p.id] = p.serial
			op.arrived++
			if op.arrived > 1 {
				s.fail("operation %d of QoS 2 arrived %d times", p.serial, op.arrived)
			}
		}
		v.replies = append(v.replies, packet{t: wire.TypePubrec, id: p.id, reason: reason})
	}
}

// acknowledged handles the client's answer to a message.
func (v *server) acknowledged(p *packet) {
	s := v.s
	if p.id >= 60_000 {
		return // of an oddity
	}
	i := slices.IndexFunc(v.session.out, func(m *outMessage) bool { return m.state > 0 && m.id == p.id })
	if i < 0 {
		s.fail("%v for %d, which the server does not hold", p.t, p.id)
	}
	m := v.session.out[i]
	want, state := wire.TypePuback, uint8(1)
	if m.qos == 2 {
		want = wire.TypePubrec
	}
	if m.state == 2 {
		want, state = wire.TypePubcomp, 2
	}
	if p.t != want || m.state != state || m.conn != s.link.number {
		s.fail("%v for message %d in state %d", p.t, m.serial, m.state)
	}
	if p.t == wire.TypePubrec && p.reason < 0x80 {
		m.state = 2
		v.replies = append(v.replies, packet{t: wire.TypePubrel, id: p.id})
		return
	}
	if m.counted {
		v.outstanding--
	}
	v.session.out = slices.Delete(v.session.out, i, i+1)
	if m.delivered < 1 && p.reason < 0x80 || m.qos == 2 && m.delivered > 1 {
		s.fail("message %d of QoS %d is acknowledged, and was delivered %d times", m.serial, m.qos, m.delivered)
	}
}

// compose makes up a message for the client.
func (v *server) compose() {
	s := v.s
	m := &outMessage{serial: uint64(len(v.messages)), qos: uint8(s.n(3)), topic: pick(s, simTopics[:]...)}
	if m.qos > 0 && len(v.session.out) > 10 {
		return
	}
	v.messages = append(v.messages, m)
	if m.qos == 0 {
		v.publish(m, false)
		return
	}
	v.session.out = append(v.session.out, m)
}

// sendNext sends the first message that was not sent on this connection.
func (v *server) sendNext() bool {
	for _, m := range v.session.out {
		if m.conn == v.s.link.number {
			continue
		}
		if m.state == 2 {
			m.conn, m.counted = v.s.link.number, false
			v.send(&packet{t: wire.TypePubrel, id: m.id})
			return true
		}
		if v.outstanding >= int(value(v.connect.ReceiveMaximum, 65535)) {
			return false
		}
		dup := m.state == 1
		if !dup {
			m.id = v.freeID()
		}
		v.outstanding++
		m.state, m.conn, m.counted = 1, v.s.link.number, true
		v.publish(m, dup)
		return true
	}
	return false
}

func (v *server) freeID() uint16 {
	for {
		v.session.last = v.session.last%50 + 1
		if !slices.ContainsFunc(v.session.out, func(m *outMessage) bool { return m.state > 0 && m.id == v.session.last }) {
			return v.session.last
		}
	}
}

func (v *server) publish(m *outMessage, dup bool) {
	v.send(&packet{t: wire.TypePublish, id: m.id, qos: m.qos, dup: dup, serial: m.serial, topic: m.topic})
}

// send puts a packet on its way to the client.
func (v *server) send(p *packet) {
	l := &v.s.link
	b := v.buf[:0]
	switch p.t {
	case wire.TypeConnack:
		b = wiretest.AppendConnack(b, p.connack)
	case wire.TypePublish:
		b = v.appendPublish(b, p)
	case wire.TypePuback, wire.TypePubrec, wire.TypePubrel, wire.TypePubcomp:
		a := wire.Ack{PacketID: p.id, ReasonCode: p.reason}
		if a.ReasonString = v.explanation(); a.ReasonString != nil && v.s.one(2) {
			a.UserProperties = []wire.UserProperty{{Name: "k", Value: "v"}}
		}
		b = wire.AppendAck(b, p.t, &a)
	case wire.TypeSuback, wire.TypeUnsuback:
		b = wiretest.AppendSubscribeAck(b, p.t, &wire.SubscribeAck{PacketID: p.id, ReasonCodes: p.codes, ReasonString: v.explanation()})
	case wire.TypePingresp:
		b = wiretest.AppendPingresp(b)
	case wire.TypeDisconnect:
		d := wire.Disconnect{ReasonCode: p.reason}
		if v.connect != nil { // else it breaks the standard before CONNECT
			d.ReasonString = v.because()
		}
		if p.reason == wire.UseAnotherServer {
			d.ServerReference = ptr("elsewhere:8883")
		}
		b = wire.AppendDisconnect(b, &d)
	case wire.TypeAuth:
		b = wire.AppendAuth(b, &wire.Auth{ReasonCode: p.reason, AuthenticationMethod: v.connect.AuthenticationMethod, AuthenticationData: []byte("x"),
			ReasonString: v.explanation()})
	}
	v.buf = b
	l.down = append(l.down, b...)
	p.end = l.base + len(l.down)
	l.queue = append(l.queue, *p)
}

func (v *server) appendPublish(b []byte, p *packet) []byte {
	s := v.s
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], p.serial)
	w := wire.Publish{Topic: p.topic, Payload: payload[:], PacketID: p.id, QoS: p.qos, Dup: p.dup}
	if most := int(value(v.connect.TopicAliasMaximum, 0)); most > 0 && s.one(2) {
		if v.aliases == nil {
			v.aliases = make([]string, most)
		}
		if i := slices.Index(v.aliases, p.topic); i >= 0 {
			w.Topic, w.TopicAlias = "", uint16(i+1)
		} else {
			i := s.n(most)
			v.aliases[i] = p.topic
			w.TopicAlias = uint16(i + 1)
		}
	}
	return wire.AppendPublish(b, &w)
}

// oddity sends something that makes no sense but does not break the rules.
func (v *server) oddity() {
	switch v.s.n(4) {
	case 0:
		v.send(&packet{t: wire.TypePuback, id: 60_000})
	case 1:
		v.send(&packet{t: wire.TypePubrec, id: 60_001})
	case 2:
		v.send(&packet{t: wire.TypePubrel, id: 60_002})
	case 3:
		v.send(&packet{t: wire.TypePingresp})
	}
}

// breach breaks a rule. The engine has to end the connection.
func (v *server) breach() {
	s := v.s
	var b []byte
	switch s.n(6) {
	case 0:
		b = wiretest.AppendConnack(nil, &wire.Connack{})
	case 1:
		b = wire.AppendPublish(nil, &wire.Publish{TopicAlias: 9, Payload: []byte("12345678")})
	case 2:
		b = []byte{0, 0}
	case 3:
		b = wire.AppendPingreq(nil)
	case 4:
		b = wire.AppendPublish(nil, &wire.Publish{Topic: "a/#"})
	case 5: // an acknowledgement of another type
		kind := wire.TypeSuback
		if i := slices.IndexFunc(s.tap.holders[:], func(op *simOp) bool {
			return op != nil && op.conn == s.link.number && op.err != ErrPoisonPublish
		}); i > 0 {
			if s.tap.holders[i].kind == KindSubscribe {
				kind = wire.TypeUnsuback
			}
			// It may be settled by what is on its way; then nothing is wrong.
			if len(s.link.down) == 0 {
				b = wiretest.AppendSubscribeAck(nil, kind, &wire.SubscribeAck{PacketID: uint16(i), ReasonCodes: []wire.ReasonCode{0}})
			}
		}
	}
	if b == nil {
		return
	}
	s.link.down = append(s.link.down, b...)
	s.link.queue = append(s.link.queue, packet{end: s.link.base + len(s.link.down)})
	v.hostile, v.over = true, true
}
