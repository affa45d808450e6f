// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// filters are the subscriptions that the user wants to have. They follow the
// acknowledgements of the server. When the server has lost the session, they
// are owed until it grants them again; SUBSCRIBE packets of the engine's own
// restore them, before anything that is queued.
type filters struct {
	byName  map[string]*subscription
	order   []*subscription // as granted
	owed    int             // how many are owed
	asked   int             // SUBSCRIBE packets that are queued or in flight
	retryAt time.Duration   // when to ask again for what is owed; 0: not planned
	tries   int             // failed rounds in a row
	round   *Event          // collects what the round comes to; nil: nothing yet
}

// subscription is one topic filter with its options.
type subscription struct {
	wire.Subscription
	id         *uint32
	properties []wire.UserProperty
	owed       bool
}

// defaultMaxFilters is the quota of AWS IoT Core.
const defaultMaxFilters = 8

// granted notes the answer to a SUBSCRIBE.
func (f *filters) granted(p *wire.Subscribe, codes []wire.ReasonCode) {
	for i := range p.Subscriptions {
		if codes[i] >= 0x80 {
			continue
		}
		s := &p.Subscriptions[i]
		known := f.byName[s.TopicFilter]
		if known == nil {
			if f.byName == nil {
				f.byName = make(map[string]*subscription)
			}
			known = new(subscription)
			f.byName[s.TopicFilter] = known
			f.order = append(f.order, known)
		}
		f.setOwed(known, false)
		known.Subscription, known.id, known.properties = *s, p.SubscriptionID, p.UserProperties
	}
}

// removed notes the answer to an UNSUBSCRIBE.
func (f *filters) removed(p *wire.Unsubscribe, codes []wire.ReasonCode) {
	for i, name := range p.TopicFilters {
		if codes[i] < 0x80 {
			f.forget(name)
		}
	}
}

func (f *filters) forget(name string) {
	s := f.byName[name]
	if s == nil {
		return
	}
	f.setOwed(s, false)
	delete(f.byName, name)
	f.order = slices.DeleteFunc(f.order, func(other *subscription) bool { return other == s })
}

func (f *filters) setOwed(s *subscription, owed bool) {
	switch {
	case owed && !s.owed:
		f.owed++
	case !owed && s.owed:
		f.owed--
	}
	s.owed = owed
}

// sessionLost notes that the server has none of the subscriptions. If they are
// not to be restored, it forgets them and returns how many there were.
func (f *filters) sessionLost(restore bool) (lost int) {
	if restore {
		for _, s := range f.order {
			f.setOwed(s, true)
		}
		return 0
	}
	lost = len(f.order)
	*f = filters{}
	return lost
}

// deadline returns when restore is due.
func (f *filters) deadline() time.Duration {
	if f.retryAt == 0 || f.owed == 0 {
		return never
	}
	return f.retryAt
}

// restore queues SUBSCRIBE packets for all that is owed. Those of one packet
// share its identifier and its user properties.
func (e *Engine) restore() {
	f := &e.filters
	f.retryAt = 0
	size := int(e.cfg.MaxFilters)
	if size == 0 {
		size = defaultMaxFilters
	}
	var packet *wire.Subscribe
	var of *subscription // the first of packet
	for _, s := range slices.Clone(f.order) {
		if !s.owed || !e.mayRestore(s) {
			continue
		}
		if packet != nil && (len(packet.Subscriptions) == size || !sameProperties(s, of) || !e.fits(packet, s)) {
			e.queueRestore(packet)
			packet = nil
		}
		if packet == nil {
			packet, of = &wire.Subscribe{SubscriptionID: s.id, UserProperties: s.properties}, s
		}
		packet.Subscriptions = append(packet.Subscriptions, s.Subscription)
	}
	if packet != nil {
		e.queueRestore(packet)
	}
	e.reportRound()
}

func sameProperties(a, b *subscription) bool {
	return value(a.id, 0) == value(b.id, 0) && slices.Equal(a.properties, b.properties)
}

// fits reports whether the server takes the packet with one more subscription.
func (e *Engine) fits(p *wire.Subscribe, s *subscription) bool {
	more := *p
	more.Subscriptions = append(slices.Clip(p.Subscriptions), s.Subscription)
	return wire.SubscribeSize(&more) <= int(e.settings.MaximumPacketSizeToServer)
}

// mayRestore reports whether this server takes the subscription at all, and
// gives it up otherwise.
func (e *Engine) mayRestore(s *subscription) bool {
	alone := &wire.Subscribe{SubscriptionID: s.id, UserProperties: s.properties, Subscriptions: []wire.Subscription{s.Subscription}}
	err := e.check(&Operation{Kind: KindSubscribe, Subscribe: alone})
	if err == nil && wire.SubscribeSize(alone) > int(e.settings.MaximumPacketSizeToServer) {
		err = errTooLarge
	}
	if err == nil {
		return true
	}
	e.filters.forget(s.TopicFilter)
	e.keepFilters()
	r := e.filters.report()
	r.Refused = append(r.Refused, RefusedFilter{Filter: s.TopicFilter, Err: err})
	return false
}

func (e *Engine) queueRestore(p *wire.Subscribe) {
	op := e.NewOperation(KindSubscribe)
	op.Subscribe = p
	op.phase = phaseQueued
	op.restoring = true
	op.size = uint32(op.encodedSize())
	e.restores.pushBack(op)
	e.filters.asked++
}

// restored notes how a SUBSCRIBE of restore ended. What the server answered is
// in filters already.
func (e *Engine) restored(op *Operation, r Result) {
	f := &e.filters
	f.asked--
	if r.Err != nil {
		f.report().Err = r.Err
	} else {
		for i, code := range r.SubscribeAck.ReasonCodes {
			name := op.Subscribe.Subscriptions[i].TopicFilter
			if code < 0x80 {
				round := f.report()
				round.Restored = append(round.Restored, name)
				continue
			}
			f.forget(name)
			e.keepFilters()
			round := f.report()
			round.Refused = append(round.Refused, RefusedFilter{Filter: name, Code: code, Text: r.SubscribeAck.ReasonString})
		}
	}
	e.reportRound()
}

// reportRound reports the result of a round once nothing of it is under way, and
// plans the next one if something is still owed.
func (e *Engine) reportRound() {
	f := &e.filters
	round := f.round
	if f.asked > 0 || round == nil {
		return
	}
	f.round = nil
	f.tries++
	if f.owed == 0 {
		f.tries = 0
	}
	e.sink.Notify(round)
}

// report returns the event of the round.
func (f *filters) report() *Event {
	if f.round == nil {
		f.round = &Event{Kind: EventResubscribed}
	}
	return f.round
}

// planRestore schedules the next SUBSCRIBE for the filters still owed, later each time.
func (e *Engine) planRestore(now time.Duration) {
	f := &e.filters
	if f.owed > 0 && f.asked == 0 && f.retryAt == 0 && e.state == Connected {
		f.retryAt = after(now, e.backoff.ceiling(f.tries))
	}
}

// roundLost ends the round: its packets are gone. Those that were sent have
// completed.
func (e *Engine) roundLost() {
	f := &e.filters
	f.asked, f.retryAt = 0, 0
	if f.round != nil {
		if f.round.Err == nil { // the server answered what was sent
			f.round.Err = ErrConnectionLost
		}
		e.reportRound()
	}
	f.tries = 0
}
