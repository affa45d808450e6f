// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

var simTopics = [...]string{"a", "topic/b", "topic/with/levels/c", "d/d", "topic/e", "f"}

var errCancelled = errors.New("the user does not wait any longer")

// user does something that a user may do.
func (s *simulation) user() {
	if s.calm {
		if !s.ending {
			s.check(s.e.Start(s.now))
		}
		return
	}
	switch d := s.n(100); {
	case d < 62:
		s.publish()
	case d < 70:
		s.request()
	case d < 80:
		if s.fault(2) {
			s.cancel()
		}
	case d < 90:
		s.check(s.e.Start(s.now))
	case d < 96 && !s.fault(2):
	case d < 96:
		s.stop(pick[time.Duration](s, 0, s.now, s.now+time.Duration(s.n(5000))*time.Millisecond, never))
	case d < 97:
		switch {
		case s.one(3):
			s.cut()
		case s.fault(3):
			s.reconnect()
		}
	case d < 98:
		if s.link.state == linkOpen {
			s.setPaused(!s.paused && s.one(4))
		}
	default:
		if s.one(100) {
			s.stopping = s.stopping || s.e.state != Stopped
			s.e.Close(s.now)
			s.settle()
			for s.e.state != Closed {
				s.step++
				s.transport()
				s.pass()
				s.settle()
			}
			if err := s.e.Start(s.now); !errors.Is(err, ErrClosed) {
				s.fail("Start after Close: %v", err)
			}
		}
	}
}

func (s *simulation) reconnect() {
	state := s.e.state
	err := s.e.Reconnect(s.now)
	if refused := state == Stopped || s.stopping; (err != nil) != refused {
		s.fail("Reconnect in state %d, stopping %v: %v", state, s.stopping, err)
	}
}

func (s *simulation) publish() {
	so := &simOp{kind: KindPublish, qos: uint8(s.n(3)), retain: s.one(10), topic: pick(s, simTopics[:]...)}
	op := s.e.NewOperation(KindPublish)
	size := 8 + s.n(40)
	if s.one(200) {
		size, so.large = referenceSize+s.n(referenceSize), true
	}
	payload := make([]byte, size)
	binary.BigEndian.PutUint64(payload, uint64(len(s.ops)))
	so.payload = payload
	op.Publish = wire.Publish{Topic: so.topic, Payload: payload, QoS: so.qos, Retain: so.retain, TopicAlias: uint16(max(0, s.n(8)-3))}
	if s.store != nil && so.qos > 0 {
		op.Kept = &Kept{Record: make([]byte, op.encodedSize())} // as large as what counts without a store
	}
	s.submit(so, op)
}

func (s *simulation) request() {
	so := &simOp{kind: KindSubscribe}
	filter := pick(s, "f/", "w/+/", "$share/g/s/") + strconv.Itoa(len(s.ops))
	var op *Operation
	if s.one(3) {
		so.kind = KindUnsubscribe
		op = s.e.NewOperation(KindUnsubscribe)
		op.Unsubscribe = &wire.Unsubscribe{TopicFilters: []string{filter, "more"}[:1+s.n(2)]}
	} else {
		op = s.e.NewOperation(KindSubscribe)
		op.Subscribe = &wire.Subscribe{Subscriptions: []wire.Subscription{{TopicFilter: filter}, {TopicFilter: "more"}}[:1+s.n(2)]}
		if s.one(3) {
			id := uint32(7)
			op.Subscribe.SubscriptionID = &id
		}
	}
	s.submit(so, op)
}

func (s *simulation) submit(so *simOp, op *Operation) {
	e := s.e
	so.serial = uint64(len(s.ops))
	so.op = op
	op.Waiter = so
	op.size = uint32(op.encodedSize())
	room := !e.full(op)
	so.size = int64(op.size)
	s.ops = append(s.ops, so)
	s.open = append(s.open, so)
	s.bytes += so.size
	if s.tracing {
		s.trace("submit %d: kind %d, QoS %d, %s, %d bytes", so.serial, so.kind, so.qos, so.topic, so.size)
	}
	s.submitting = so
	kept := op.Kept
	err := e.Submit(s.now, op)
	s.submitting = nil
	if err == nil {
		if kept != nil {
			so.kept = kept.ID
		}
		return
	}
	if s.tracing {
		s.trace("refused: %v", err)
	}
	if so.done {
		s.fail("operation %d was refused and completed", so.serial)
	}
	switch {
	case err == ErrStopRequested && s.stopping:
	case err == ErrOfflinePolicy && e.state != Connected:
	case err == ErrQueueFull && !room:
		s.tally.dropped++
	default:
		s.fail("Submit: %v, with room %v", err, room)
	}
	e.Discard(op)
	so.done, so.err, so.op = true, err, nil
	s.forget(so)
}

func (s *simulation) forget(so *simOp) {
	i := slices.Index(s.open, so)
	if i < 0 {
		s.fail("operation %d is not open", so.serial)
	}
	s.open = slices.Delete(s.open, i, i+1)
	s.bytes -= so.size
}

func (s *simulation) cancel() {
	if len(s.open) == 0 {
		return
	}
	so := pick(s, s.open...)
	op := so.op
	if s.tracing {
		s.trace("cancel %d in phase %d", so.serial, op.phase)
	}
	withdrawn := s.e.Cancel(s.now, op, errCancelled)
	if !so.done || so.err != errCancelled {
		s.fail("operation %d was cancelled and is done: %v, %v", so.serial, so.done, so.err)
	}
	if withdrawn {
		s.tally.withdrawn++
		so.withdrawn = true
		if so.sent && so.kind == KindPublish && so.epoch == s.inbox.epoch {
			s.fail("operation %d was withdrawn after it was sent", so.serial)
		}
	}
}

// expireAcks notes that the acknowledgements which are owed died with their
// connection.
func (s *simulation) expireAcks() {
	s.tap.lost(s)
	s.staleAcks = append(s.staleAcks, s.delivered...)
	s.staleHeld = append(s.staleHeld, s.held...)
	s.delivered, s.held = s.delivered[:0], s.held[:0]
}

// acknowledge answers messages, in one way or another.
func (s *simulation) acknowledge() {
	switch s.e.state {
	case Connected, Disconnecting, Closing:
	default:
		s.expireAcks()
	}
	if n := len(s.staleHeld); n > 0 && s.one(4) {
		if err := s.e.Acknowledge(s.now, s.staleHeld[n-1], 0, nil); err != ErrAckStale {
			s.fail("acknowledgement %d of an earlier connection: %v", s.staleHeld[n-1], err)
		}
		s.staleHeld = s.staleHeld[:n-1]
		return
	}
	if len(s.staleAcks) > 0 && s.one(4) {
		s.finishStale()
		return
	}
	if s.calm && len(s.delivered) > 0 {
		s.through(s.delivered[len(s.delivered)-1])
		return
	}
	if len(s.held) > 0 && (s.calm || s.one(3)) {
		i := s.n(len(s.held))
		n := s.held[i]
		s.held = slices.Delete(s.held, i, i+1)
		if s.e.state != Connected {
			if err := s.e.Acknowledge(s.now, n, wire.Success, nil); err != ErrAckStale {
				s.fail("acknowledgement without a connection: %v", err)
			}
			return
		}
		reason := wire.Success
		var detail *wire.Ack
		if s.one(3) {
			reason = wire.NotAuthorized
			s.tally.nacks++
			if s.one(2) {
				text := "no"
				detail = &wire.Ack{ReasonString: &text}
			}
		}
		s.tap.answer(n, reason)
		s.check(s.e.Acknowledge(s.now, n, reason, detail))
		if err := s.e.Acknowledge(s.now, n, reason, detail); err != ErrAckTwice {
			s.fail("second acknowledgement of %d: %v", n, err)
		}
		return
	}
	if len(s.delivered) == 0 {
		return
	}
	i := s.n(len(s.delivered))
	if s.one(3) {
		n := s.delivered[i]
		_, err := s.e.HoldAck(n)
		s.check(err)
		s.tap.take(n)
		if _, err := s.e.HoldAck(n); err != ErrAckTwice {
			s.fail("second hold of %d: %v", n, err)
		}
		s.delivered = slices.Delete(s.delivered, i, i+1)
		s.held = append(s.held, n)
		return
	}
	s.through(s.delivered[i])
}

// through acknowledges all messages up to number n that are not held.
func (s *simulation) through(n uint64) {
	for len(s.delivered) > 0 && s.delivered[0] <= n {
		s.tap.answer(s.delivered[0], wire.Success)
		s.delivered = s.delivered[1:]
	}
	s.staleAcks = s.staleAcks[:0] // they were handled before
	s.inbox.finish(s, n)
	s.e.AcknowledgeThrough(s.now, n)
}

// finishStale has the handler of a message return, whose connection is gone, or
// take the acknowledgement over.
func (s *simulation) finishStale() {
	n := s.staleAcks[0]
	s.staleAcks = s.staleAcks[1:]
	if s.one(3) {
		s.inbox.finish(s, n)
		s.e.AcknowledgeThrough(s.now, n)
		return
	}
	heir, err := s.e.HoldAck(n)
	for id, u := range s.inbox.unfinished {
		if u.number != n {
			continue
		}
		delete(s.inbox.unfinished, id)
		if (err == nil) != u.received {
			s.fail("acknowledgement %d is taken over: %v, received again: %v", n, err, u.received)
		}
		if err != nil {
			s.srv.messages[u.serial].delivered = 0 // is delivered again
			return
		}
		for k := range s.tap.owed {
			if a := &s.tap.owed[k]; a.heir && a.id == id {
				a.number, a.heir, a.held = heir, false, true
			}
		}
		s.held = append(s.held, heir)
		return
	}
	if err != ErrAckStale {
		s.fail("acknowledgement %d of an earlier connection: %v", n, err)
	}
}

// authenticate plays the user's part of an enhanced authentication.
func (s *simulation) authenticate() {
	switch {
	case s.challenge > 0 && (s.e.state == Handshake || s.e.state == Connected):
		var failure error
		if s.fault(20) {
			failure = errors.New("wrong data from the server")
		}
		s.challenge--
		if err := s.e.Authenticate(s.now, []byte("answer"), failure); err != nil {
			s.fail("Authenticate: %v", err)
		}
	case s.confirm:
		s.confirm = false
		if s.fault(20) {
			s.e.RejectServer(s.now, errors.New("not convinced"))
		} else {
			if s.e.Confirming() {
				s.inbox.connack(s, &s.inbox.unconfirmed)
			}
			s.e.AcceptServer(s.now)
		}
	case s.hello.AuthenticationMethod != nil && s.e.state == Connected && s.one(8):
		if s.e.Reauthenticate(s.now, []byte("again")) == nil {
			s.tally.renewed++
		}
	}
}

// Complete implements Sink.
func (s *simulation) Complete(op *Operation, r Result) {
	so := op.Waiter.(*simOp)
	if s.tracing {
		s.trace("operation %d completes: %v %v, sent %v, phase %d", so.serial, r.Err, r.Reason, op.sent, op.phase)
	}
	if so.done || so.op != op {
		s.fail("operation %d completes a second time: %v", so.serial, r.Err)
	}
	so.done, so.err, so.sent, so.op = true, r.Err, op.Sent(), nil
	s.forget(so)
	if !so.large {
		clear(so.payload) // the user may reuse it
	}
	if r.Err == nil {
		s.tally.success++
		s.checkSuccess(so, r)
		return
	}
	s.tally.failed++
	if !so.sent && so.conn != 0 {
		s.fail("operation %d was handed over, and completes as not sent: %v", so.serial, r.Err)
	}
	var limit *LimitError
	var broken *wire.Error
	switch {
	case r.Err == ErrAckTimeout:
		s.tally.timeouts++
		if s.cfg.AckTimeout == 0 || !so.released && (so.conn != s.link.number || s.now-so.at < s.cfg.AckTimeout) {
			s.fail("operation %d times out %v after it was sent", so.serial, s.now-so.at)
		}
	case r.Err == ErrPoisonPublish:
		s.tally.poisoned++
		hangups := so.hangups
		if so.conn == s.link.number {
			hangups++
		}
		if s.cfg.PoisonLimit == 0 || hangups < s.cfg.PoisonLimit {
			s.fail("operation %d counts as poison after %d hang-ups", so.serial, hangups)
		}
	case r.Err == ErrDropped:
		if so.qos != 0 || so.kind != KindPublish || s.cfg.Full != FullDropOldestQoS0 {
			s.fail("operation %d was dropped", so.serial)
		}
		s.tally.dropped++
	case r.Err == ErrStopRequested, r.Err == ErrClosed:
		if !s.stopping && !s.e.closed {
			s.fail("operation %d: %v", so.serial, r.Err)
		}
	case r.Err == ErrOfflinePolicy:
		if so.sent && so.kind == KindPublish && so.qos > 0 {
			s.fail("operation %d was sent, and is dropped for the policy", so.serial)
		}
	case r.Err == ErrConnectionLost:
		if so.kind == KindPublish && so.qos > 0 {
			s.fail("operation %d: %v", so.serial, r.Err)
		}
	case r.Err == ErrSessionLost, r.Err == errCancelled:
	case r.Err == errSimStore:
		if s.cfg.MemoryOnly || so.sent || !s.store.failed[so.kept] {
			s.fail("operation %d, sent: %v: %v", so.serial, so.sent, r.Err)
		}
	case errors.As(r.Err, &limit):
		s.tally.limited++
	case errors.As(r.Err, &broken) && s.srv.hostile:
	default:
		s.fail("operation %d: %v", so.serial, r.Err)
	}
}

// checkSuccess checks that a success is what the server said.
func (s *simulation) checkSuccess(so *simOp, r Result) {
	if so.kind == KindPublish && so.qos == 0 {
		if so.conn != s.link.number || s.link.moved != s.link.taken {
			s.fail("operation %d succeeds before it is written", so.serial)
		}
		return
	}
	if !so.answered || so.epoch != s.inbox.epoch && so.kind == KindPublish {
		s.fail("operation %d succeeds without an acknowledgement", so.serial)
	}
	if so.kind != KindPublish {
		if r.SubscribeAck == nil || !slices.Equal(r.SubscribeAck.ReasonCodes, so.codes) {
			s.fail("operation %d has other reason codes: %v", so.serial, r.SubscribeAck)
		}
		return
	}
	if r.Reason != so.reason {
		s.fail("operation %d has reason %#x, not %#x", so.serial, r.Reason, so.reason)
	}
	if r.Reason >= 0x80 {
		return
	}
	if so.qos == 1 {
		s.tally.qos1++
	} else {
		s.tally.qos2++
	}
	if so.arrived < 1 || so.qos == 2 && so.arrived > 1 {
		s.fail("operation %d succeeds, and arrived %d times", so.serial, so.arrived)
	}
}

// Deliver implements Sink.
func (s *simulation) Deliver(m *Message) {
	if len(s.inbox.expected) == 0 {
		s.fail("unexpected message %d", binary.BigEndian.Uint64(m.Payload))
	}
	p := s.inbox.expected[0]
	s.inbox.expected = s.inbox.expected[1:]
	topic := string(m.Topic)
	if topic == "" {
		topic = m.AliasedTopic
	}
	if serial := binary.BigEndian.Uint64(m.Payload); serial != p.serial || m.QoS != p.qos || m.PacketID != p.id || topic != p.topic || m.Dup != p.dup {
		s.fail("message %d on %q instead of %d on %q", serial, topic, p.serial, p.topic)
	}
	s.tally.deliveries++
	out := s.srv.messages[p.serial]
	out.delivered++
	if p.qos == 2 && out.delivered > 1 {
		s.fail("message %d is delivered %d times", p.serial, out.delivered)
	}
	if (m.Ack != 0) != (m.QoS > 0) {
		s.fail("message %d with QoS %d has acknowledgement %d", p.serial, m.QoS, m.Ack)
	}
	if m.QoS == 0 {
		return
	}
	s.delivered = append(s.delivered, m.Ack)
	for i := range s.tap.owed {
		if a := &s.tap.owed[i]; a.number == 0 && !a.answered {
			a.number = m.Ack
			return
		}
	}
	s.fail("nothing is owed for message %d", p.serial)
}

// Challenge implements Sink.
func (s *simulation) Challenge(_ *wire.Auth, done bool) {
	switch {
	case !done:
		s.challenge++
	case s.e.authState == authConfirming:
		s.confirm = true
	}
}

// Notify implements Sink.
func (s *simulation) Notify(ev *Event) {
	if s.tracing {
		s.trace("event %d, attempt %d: %v, retry %v after %v", ev.Kind, ev.Attempt, ev.Err, ev.Retry, ev.Delay)
	}
	var after EventKind
	switch ev.Kind {
	case EventConnecting:
		after = 0
		if s.stopping {
			s.fail("a connection attempt before the stop has ended")
		}
		s.attempt++
		if ev.Attempt != s.attempt {
			s.fail("attempt %d counts as %d", s.attempt, ev.Attempt)
		}
	case EventSucceeded:
		after = EventConnecting
		s.attempt = 0
	case EventFailed:
		after = EventConnecting
	case EventDisconnected:
		after = EventSucceeded
	case EventStopped:
		after = 0
		if !s.stopping {
			s.fail("stopped, but nobody asked for it")
		}
		s.stopping = false
		s.inbox.succeeded = false
		s.attempt = 0
	case EventClosed: // nothing follows it
		after = 0
	}
	if s.phase != after {
		s.fail("event %d after event %d", ev.Kind, s.phase)
	}
	s.phase = ev.Kind
	switch ev.Kind {
	case EventFailed, EventDisconnected, EventStopped:
		s.phase = 0
	}
	atOnce := ev.Err == ErrReconnectRequested && ev.Delay == 0
	if ev.Retry && (!atOnce && (ev.Delay < s.cfg.MinDelay || ev.Delay > s.cfg.MaxDelay) || s.stopping) {
		s.fail("retry after %v, stopping %v", ev.Delay, s.stopping)
	}
	if ev.Kind != EventFailed && ev.Kind != EventDisconnected {
		return
	}
	if ev.Err == nil {
		s.fail("event %d without a cause", ev.Kind)
	}
	if ev.Err == ErrStalled {
		s.tally.stalled++
	}
	var broken *wire.Error
	if errors.As(ev.Err, &broken) && !s.srv.hostile {
		s.fail("the engine blames the server: %v", ev.Err)
	}
}
