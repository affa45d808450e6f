// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// outTap sees every packet that the engine sends, and checks it against
// what it saw before.
type outTap struct {
	connect, disconnect, accepted bool
	limits                        Settings
	aliases                       [16]string
	lastPublish, lastRequest      uint64
	outstanding                   int // QoS>0 publishes of this connection that are not answered
	owed                          []owedAck
	owedReleases                  []owedRelease
	owedCompletions               []owedRelease
	pings                         int
	lastSent                      time.Duration

	// Of the session.
	holders  [4096]*simOp // by packet identifier
	released []*simOp     // in the order of PUBREC
}

type owedAck struct {
	number   uint64 // 0: not delivered yet, or not at all
	serial   uint64 // of the message
	id       uint16
	qos      uint8
	answered bool
	held     bool // its acknowledgement was taken over
	heir     bool // repeats an unfinished message: the first delivery answers for it
	reason   wire.ReasonCode
}

// heirNumber is the number of a message that is not delivered a second time.
const heirNumber = ^uint64(0)

type owedRelease struct {
	id     uint16
	reason wire.ReasonCode
}

// begin is told of a new connection, and the number of the one before.
func (o *outTap) begin(s *simulation, before int) {
	*o = outTap{holders: o.holders, released: o.released}
	for id, op := range o.holders {
		switch {
		case op == nil:
		case op.kind != KindPublish:
			o.holders[id] = nil // subscribing is no part of the session
		case op.conn == before && !op.released:
			op.hangups++
		}
	}
}

// lost notes that the connection is gone to which answers are owed.
func (o *outTap) lost(s *simulation) {
	for i := range o.owed {
		s.inbox.lose(s, &o.owed[i])
	}
	o.owed = nil
	for id, u := range s.inbox.unfinished {
		u.received = false
		s.inbox.unfinished[id] = u
	}
}

// refuse notes that the client has no part in a message that it has refused.
func (o *outTap) refuse(s *simulation, w *owedAck) {
	if w.qos == 2 && w.reason >= 0x80 {
		s.srv.messages[w.serial].delivered = 0
	}
}

// take notes that the user took an acknowledgement over.
func (o *outTap) take(n uint64) {
	for i := range o.owed {
		if a := &o.owed[i]; a.number == n {
			a.held = true
		}
	}
}

// answer notes what the user said about a message.
func (o *outTap) answer(n uint64, reason wire.ReasonCode) {
	for i := range o.owed {
		if a := &o.owed[i]; a.number == n {
			a.answered, a.reason = true, reason
		}
	}
}

func (o *outTap) packet(s *simulation, f *wire.Frame) packet {
	if o.disconnect {
		s.fail("%v after DISCONNECT", f.Type)
	}
	if o.connect == (f.Type == wire.TypeConnect) {
		s.fail("%v, CONNECT was sent: %v", f.Type, o.connect)
	}
	if !o.accepted && f.Type != wire.TypeConnect && f.Type != wire.TypeAuth && f.Type != wire.TypeDisconnect {
		s.fail("%v before CONNACK", f.Type)
	}
	if o.accepted && f.Size > int(o.limits.MaximumPacketSizeToServer) {
		s.fail("%v of %d bytes", f.Type, f.Size)
	}
	p := packet{t: f.Type}
	var err *wire.Error
	switch f.Type {
	case wire.TypeConnect:
		o.connect = true
		p.connect = new(wire.Connect)
		err = wiretest.ParseConnect(f, p.connect)
		o.checkConnect(s, p.connect)
	case wire.TypePublish:
		var v wire.PublishView
		err = wire.ParsePublish(f, &v)
		if err == nil {
			p.serial, p.id, p.qos, p.dup = o.publish(s, &v, f.Size), v.PacketID, v.QoS, v.Dup
		}
	case wire.TypePuback, wire.TypePubrec, wire.TypePubrel, wire.TypePubcomp:
		var a wire.Ack
		err = wire.ParseAck(f, &a)
		p.id, p.reason = a.PacketID, a.ReasonCode
		o.ack(s, f.Type, &a)
	case wire.TypeSubscribe:
		var sub wire.Subscribe
		if err = wiretest.ParseSubscribe(f, &sub); err == nil {
			p.id = sub.PacketID
			p.codes = make([]wire.ReasonCode, len(sub.Subscriptions))
			filter := sub.Subscriptions[0].TopicFilter
			p.serial = o.request(s, KindSubscribe, p.id, filter)
			if sub.SubscriptionID != nil && !o.limits.SubscriptionIDsAvailable ||
				strings.HasPrefix(filter, "$share") && !o.limits.SharedSubscriptionsAvailable ||
				strings.Contains(filter, "+") && !o.limits.WildcardSubscriptionsAvailable {
				s.fail("SUBSCRIBE to %q", filter)
			}
		}
	case wire.TypeUnsubscribe:
		var unsub wire.Unsubscribe
		if err = wiretest.ParseUnsubscribe(f, &unsub); err == nil {
			p.id = unsub.PacketID
			p.codes = make([]wire.ReasonCode, len(unsub.TopicFilters))
			p.serial = o.request(s, KindUnsubscribe, p.id, unsub.TopicFilters[0])
		}
	case wire.TypePingreq:
		o.pings++
		err = wire.ParseEmpty(f)
	case wire.TypeDisconnect:
		o.disconnect = true
		var d wire.Disconnect
		err = wire.ParseDisconnect(f, &d, false)
		p.reason = d.ReasonCode
	case wire.TypeAuth:
		var a wire.Auth
		err = wire.ParseAuth(f, &a)
		p.reason = a.ReasonCode
		if a.AuthenticationMethod == nil || s.hello.AuthenticationMethod == nil {
			s.fail("AUTH without a method")
		}
	default:
		s.fail("a client must not send %v", f.Type)
	}
	if err != nil {
		s.fail("output: %v", err)
	}
	if s.tracing {
		s.trace("-> %v id %d serial %d dup %v reason %#x", p.t, p.id, p.serial, p.dup, p.reason)
	}
	return p
}

func (o *outTap) checkConnect(s *simulation, c *wire.Connect) {
	clean := s.cfg.Session == SessionClean || s.cfg.Session == SessionRejoinPostSuccess && !s.inbox.succeeded
	if c.CleanStart != clean {
		s.fail("clean start %v", c.CleanStart)
	}
	if s.hello.ClientID == "" && c.ClientID != s.inbox.assigned {
		s.fail("client identifier %q, assigned was %q", c.ClientID, s.inbox.assigned)
	}
}

func (o *outTap) publish(s *simulation, v *wire.PublishView, size int) uint64 {
	serial := binary.BigEndian.Uint64(v.Payload)
	if serial == 0 || serial >= uint64(len(s.ops)) {
		s.fail("PUBLISH with a payload that was never submitted")
	}
	op := s.ops[serial]
	left := op.kept != 0 && op.err == ErrStopRequested // the store has it still
	if (op.done && !op.sent || op.withdrawn) && !left {
		s.fail("operation %d is sent after it failed as not sent: %v", serial, op.err)
	}
	if op.conn == s.link.number {
		s.fail("operation %d is sent twice on one connection", serial)
	}
	if again := op.epoch == s.inbox.epoch; v.Dup != (again && op.qos > 0) || again && v.PacketID != op.id {
		s.fail("operation %d has DUP %v and identifier %d; sent in this session: %v, with %d", serial, v.Dup, v.PacketID, again, op.id)
	}
	if serial <= o.lastPublish {
		s.fail("operation %d is sent after %d", serial, o.lastPublish)
	}
	o.lastPublish = serial
	if v.QoS != op.qos || v.Retain != op.retain || v.QoS > o.limits.MaximumQoS || v.Retain && !o.limits.RetainAvailable {
		s.fail("operation %d has QoS %d, retain %v", serial, v.QoS, v.Retain)
	}
	topic := string(v.Topic)
	if a := v.TopicAlias; a != 0 {
		if a > o.limits.TopicAliasMaximumToServer || s.cfg.OutAliases == AliasDisabled || s.cfg.OutAliases == AliasLRU && a > s.cfg.OutAliasSize {
			s.fail("alias %d", a)
		}
		if topic == "" {
			s.tally.aliased++
			topic = o.aliases[a]
		} else {
			o.aliases[a] = topic
		}
	}
	if topic != op.topic {
		s.fail("operation %d is sent to %q instead of %q", serial, topic, op.topic)
	}
	op.epoch, op.conn, op.at, op.id = s.inbox.epoch, s.link.number, s.now, v.PacketID
	op.answered = false
	if v.QoS == 0 {
		return serial
	}
	s.store.checkPublish(s, op, v.PacketID)
	o.hold(s, op, v.PacketID)
	o.outstanding++
	if o.outstanding > int(o.limits.ReceiveMaximumFromServer) {
		s.fail("%d publishes are outstanding", o.outstanding)
	}
	return serial
}

// hold notes that an operation uses an identifier.
func (o *outTap) hold(s *simulation, op *simOp, id uint16) {
	if id == 0 || int(id) >= len(o.holders) {
		s.fail("operation %d has packet identifier %d", op.serial, id)
	}
	if other := o.holders[id]; other != nil && other != op {
		s.fail("operation %d has packet identifier %d, which operation %d still holds", op.serial, id, other.serial)
	}
	o.holders[id] = op
}

func (o *outTap) request(s *simulation, kind Kind, id uint16, filter string) uint64 {
	n, _ := strconv.Atoi(filter[strings.LastIndexByte(filter, '/')+1:])
	op := s.ops[n]
	if op.done && !op.sent || op.withdrawn {
		s.fail("operation %d is sent after it failed as not sent: %v", n, op.err)
	}
	if op.kind != kind || op.conn == s.link.number || op.serial <= o.lastRequest {
		s.fail("request %d after %d", n, o.lastRequest)
	}
	o.lastRequest = op.serial
	op.epoch, op.conn, op.at, op.id = s.inbox.epoch, s.link.number, s.now, id
	op.answered = false
	o.hold(s, op, id)
	return op.serial
}

// ack checks an acknowledgement of the client: that it is owed, and its turn.
func (o *outTap) ack(s *simulation, t wire.Type, a *wire.Ack) {
	s.store.checkAck(s, t, a)
	switch t {
	case wire.TypePuback, wire.TypePubrec:
		if len(o.owed) == 0 {
			s.fail("%v for %d, but nothing is owed", t, a.PacketID)
		}
		w := o.owed[0]
		o.owed = o.owed[1:]
		if w.id != a.PacketID || (w.qos == 2) != (t == wire.TypePubrec) || !w.answered || w.reason != a.ReasonCode {
			s.fail("%v for %d with %#x, but it is the turn of %+v", t, a.PacketID, a.ReasonCode, w)
		}
		o.refuse(s, &w)
		if w.qos == 2 && w.reason < 0x80 {
			s.inbox.received[w.id] = true
		}
	case wire.TypePubrel:
		w := owedRelease{a.PacketID, a.ReasonCode}
		i := 0
		if s.store != nil && w.reason != wire.Success {
			i = slices.Index(o.owedReleases, w) // it releases nothing, and does not wait for the store
		}
		if i < 0 || i >= len(o.owedReleases) || o.owedReleases[i] != w {
			s.fail("PUBREL %+v, owed are %+v", w, o.owedReleases)
		}
		o.owedReleases = slices.Delete(o.owedReleases, i, i+1)
	case wire.TypePubcomp:
		i := slices.Index(o.owedCompletions, owedRelease{a.PacketID, a.ReasonCode})
		if i < 0 {
			s.fail("PUBCOMP for %d with %#x, owed are %+v", a.PacketID, a.ReasonCode, o.owedCompletions)
		}
		o.owedCompletions = slices.Delete(o.owedCompletions, i, i+1)
	}
}

// inTap sees every packet that is about to be handed to the engine.
type inTap struct {
	epoch     int // number of the session, from the client's point of view
	succeeded bool

	unconfirmed packet // CONNACK of a server that has not proved itself yet
	assigned    string
	expected    []packet        // to be delivered by the present call
	received    map[uint16]bool // QoS 2 messages that got their PUBREC and were not released
	unfinished  map[uint16]unfinishedMessage
}

// unfinishedMessage is a QoS 2 message of a lost connection whose handler has
// not returned.
type unfinishedMessage struct {
	serial   uint64
	number   uint64
	received bool // again, on the present connection
}

// lose notes what becomes of a message when its connection is lost before it was
// acknowledged.
func (i *inTap) lose(s *simulation, w *owedAck) {
	switch {
	case w.qos != 2 || w.serial == 0:
	case w.answered && w.reason < 0x80:
		i.received[w.id] = true // only the PUBREC was lost
	case w.answered, w.held:
		s.srv.messages[w.serial].delivered = 0 // is delivered again
	case !w.heir:
		i.unfinished[w.id] = unfinishedMessage{serial: w.serial, number: w.number}
	}
}

// finish notes that the handlers of the messages up to number n have returned.
func (i *inTap) finish(s *simulation, n uint64) {
	for id, u := range i.unfinished {
		if u.number > n {
			continue
		}
		delete(i.unfinished, id)
		if !u.received {
			i.received[id] = true
			continue
		}
		for k := range s.tap.owed {
			if a := &s.tap.owed[k]; a.heir && a.id == id {
				a.answered = true
			}
		}
	}
}

// publish notes a message that is about to be handed to the engine.
func (i *inTap) publish(s *simulation, p *packet) {
	o := &s.tap
	owed := owedAck{serial: p.serial, id: p.id, qos: p.qos}
	if p.qos == 2 {
		if i.received[p.id] {
			s.tally.duplicates++
			o.owed = append(o.owed, owedAck{id: p.id, qos: 2, answered: true})
			return
		}
		if u, ok := i.unfinished[p.id]; ok {
			s.tally.adopted++
			u.received = true
			i.unfinished[p.id] = u
			owed.heir, owed.number = true, heirNumber
			o.owed = append(o.owed, owed)
			return
		}
	}
	i.expected = append(i.expected, *p)
	if p.qos > 0 {
		o.owed = append(o.owed, owed)
	}
}

func (i *inTap) packet(s *simulation, p *packet) {
	if s.tracing {
		s.trace("<- %v id %d serial %d reason %#x", p.t, p.id, p.serial, p.reason)
	}
	o := &s.tap
	switch p.t {
	case wire.TypeConnack:
		if p.reason < 0x80 && s.hello.AuthenticationMethod != nil {
			i.unconfirmed = *p // counts once the server has proved itself
			return
		}
		i.connack(s, p)
	case wire.TypePublish:
		i.publish(s, p)
	case wire.TypePuback:
		if op := i.holder(s, p, 1); op != nil {
			i.answer(s, op, p)
		}
	case wire.TypePubrec:
		i.pubrec(s, p)
	case wire.TypePubcomp:
		if op := i.holder(s, p, 2); op != nil && op.released {
			if n := slices.Index(o.released, op); n >= 0 {
				o.released = slices.Delete(o.released, n, n+1)
			}
			p.reason = 0
			i.answer(s, op, p)
		}
	case wire.TypePubrel:
		w := owedRelease{id: p.id}
		if !i.received[p.id] {
			w.reason = wire.PacketIdentifierNotFound
		}
		i.received[p.id] = false
		o.owedCompletions = append(o.owedCompletions, w)
	case wire.TypeSuback, wire.TypeUnsuback:
		if op := o.holders[p.id&4095]; op != nil && op.kind != KindPublish {
			o.holders[p.id] = nil
			op.answered, op.codes = true, p.codes
		}
	}
}

// holder returns the publish that waits for an acknowledgement.
func (i *inTap) holder(s *simulation, p *packet, qos uint8) *simOp {
	if int(p.id) >= len(s.tap.holders) {
		return nil
	}
	op := s.tap.holders[p.id]
	if op == nil || op.qos != qos || op.err == ErrPoisonPublish {
		return nil
	}
	return op
}

// answer ends the flow of a publish.
func (i *inTap) answer(s *simulation, op *simOp, p *packet) {
	s.tap.holders[p.id] = nil
	op.answered, op.reason = true, p.reason
	if op.conn == s.link.number {
		s.tap.outstanding--
	}
}

func (i *inTap) pubrec(s *simulation, p *packet) {
	o := &s.tap
	op := i.holder(s, p, 2)
	switch {
	case op == nil:
		if p.reason < 0x80 {
			o.owedReleases = append(o.owedReleases, owedRelease{p.id, wire.PacketIdentifierNotFound})
		}
	case op.released:
		o.owedReleases = append(o.owedReleases, owedRelease{id: p.id})
	case p.reason >= 0x80:
		i.answer(s, op, p)
	default:
		op.released = true
		o.released = append(o.released, op)
		o.owedReleases = append(o.owedReleases, owedRelease{id: p.id})
	}
}

func (i *inTap) connack(s *simulation, p *packet) {
	o := &s.tap
	if p.reason >= 0x80 {
		s.tally.refused++
		return
	}
	s.tally.connects++
	o.accepted = true
	o.limits = proposed(&s.hello)
	o.limits.accept(p.connack)
	i.succeeded = true
	if p.connack.AssignedClientID != nil && *p.connack.AssignedClientID == "given" {
		i.assigned = *p.connack.AssignedClientID
	}
	if p.flag {
		s.tally.resumed++
		for _, op := range o.released {
			o.owedReleases = append(o.owedReleases, owedRelease{id: op.id})
		}
		return
	}
	s.tally.lost++
	i.epoch++
	i.received = map[uint16]bool{}
	i.unfinished = map[uint16]unfinishedMessage{}
	clear(o.holders[:])
	o.released = nil
	s.srv.session.known = true
}

func (s *simulation) lists() []*list {
	e := s.e
	return []*list{&e.publishes, &e.requests, &e.resend, &e.sent.list, &e.released.list, &e.written}
}

// checkStep checks what must hold at any time.
func (s *simulation) checkStep() {
	e := s.e
	switch {
	case e.stats.Incomplete != len(s.open) || e.stats.IncompleteBytes != s.bytes:
		s.fail("statistics say %d operations of %d bytes, there are %d of %d", e.stats.Incomplete, e.stats.IncompleteBytes, len(s.open), s.bytes)
	case s.cfg.MaxOps > 0 && len(s.open) > s.cfg.MaxOps:
		s.fail("%d operations", len(s.open))
	case (e.state == Stopped || e.state == Closed) && s.deadline() != never:
		s.fail("deadline %v at rest", s.deadline())
	case e.state != Stopped && e.state != Closed && e.state != Connected && s.deadline() == never:
		s.fail("no deadline")
	}
	if e.state == Connected {
		s.checkConnected()
	}
	if s.step&63 == 0 || s.tracing {
		s.checkStructure()
	}
}

func (s *simulation) checkConnected() {
	e := s.e
	if e.throttled != never {
		s.tally.throttled++
	}
	if len(e.control) > answersLimit {
		s.fail("answers of %d bytes", len(e.control))
	}
	if e.inFlight || len(e.control) > 0 || s.store.busy() {
		return
	}
	if o := &s.tap; len(o.owed) > 0 && o.owed[0].answered || len(o.owedReleases) > 0 || len(o.owedCompletions) > 0 {
		s.fail("forgotten acknowledgements: %+v, %+v, %+v", o.owed, o.owedReleases, o.owedCompletions)
	}
	if interval := e.patience.interval; interval > 0 && s.now-s.tap.lastSent > interval && s.deadline() > s.now {
		s.fail("nothing was sent for %v", s.now-s.tap.lastSent)
	}
}

// checkDroppable checks what the engine knows of queued QoS 0 publishes.
func (s *simulation) checkDroppable() {
	e := s.e
	n, bytes, passed := 0, int64(0), e.droppable == nil
	for op := e.publishes.head; op != nil; op = op.next {
		if op == e.droppable {
			passed = true
			if n > 0 {
				s.fail("droppable has passed %d publishes of QoS 0", n)
			}
		}
		if op.Publish.QoS == 0 {
			n++
			bytes += int64(op.size)
		}
	}
	if n != e.queuedQoS0 || bytes != e.bytesQoS0 || !passed || e.droppable == nil && n > 0 {
		s.fail("%d publishes of QoS 0 with %d bytes, the engine counts %d with %d", n, bytes, e.queuedQoS0, e.bytesQoS0)
	}
}

// checkStructure checks lists and tables.
func (s *simulation) checkStructure() {
	e := s.e
	phases := [...]phase{phaseQueued, phaseQueued, phaseResend, phaseSent, phaseReleased, phaseWritten}
	counted, held, heldBytes := 0, 0, int64(0)
	count := func(op *Operation) {
		if op.counted {
			counted++
		}
		if op.limited {
			held++
			heldBytes += int64(op.size)
		}
	}
	for i, l := range s.lists() {
		n := 0
		var prev *Operation
		for op := l.head; op != nil; op = op.next {
			n++
			if op.prev != prev || op.phase != phases[i] {
				s.fail("list %d: operation in phase %d", i, op.phase)
			}
			prev = op
			count(op)
			if known := op.phase != phaseQueued && op.phase != phaseWritten; known && e.ids.holder(*op.identifier()) != op {
				s.fail("list %d: identifier %d is not held", i, *op.identifier())
			}
		}
		if n != l.n || l.tail != prev {
			s.fail("list %d has %d operations, not %d", i, n, l.n)
		}
	}
	for _, w := range e.answered {
		if count(w.op); w.op.phase != phaseAnswered || !e.inFlight || w.op.write != e.writes {
			s.fail("an operation in phase %d waits for write %d of %d", w.op.phase, w.op.write, e.writes)
		}
	}
	if counted != len(s.open) {
		s.fail("%d operations in lists, %d are open", counted, len(s.open))
	}
	if held != e.limited || heldBytes != e.limitedSize || s.cfg.MaxOps > 0 && held > s.cfg.MaxOps {
		s.fail("%d operations of %d bytes are held, the engine counts %d of %d", held, heldBytes, e.limited, e.limitedSize)
	}
	s.checkDroppable()
	used := 0
	for _, op := range e.ids.slots {
		if op != nil {
			used++
		}
	}
	if used != e.ids.used {
		s.fail("%d identifiers are used, not %d", used, e.ids.used)
	}
	for _, l := range [...]*awaiting{&e.sent, &e.released} {
		expired := l.unexpired != l.head
		for op := l.head; op != nil; op = op.next {
			expired = expired && op != l.unexpired
			if op.expired != expired {
				s.fail("operation that expired: %v, is before the first that has not: %v", op.expired, expired)
			}
		}
		if expired && l.unexpired != nil {
			s.fail("the first unexpired operation is not in the list")
		}
	}
}
