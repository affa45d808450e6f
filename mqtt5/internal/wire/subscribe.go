// SPDX-License-Identifier: Apache-2.0

package wire

// The subscription options (section 3.8.3.1).
const (
	optionNoLocal           = 1 << 2
	optionRetainAsPublished = 1 << 3
	optionReserved          = 3 << 6
)

func (s *Subscription) options() byte {
	b := s.QoS&3 | s.RetainHandling&3<<4
	if s.NoLocal {
		b |= optionNoLocal
	}
	if s.RetainAsPublished {
		b |= optionRetainAsPublished
	}
	return b
}

func (p *Subscribe) writeProperties(w *propertyWriter) {
	if p.SubscriptionID != nil {
		w.varint(propSubscriptionID, *p.SubscriptionID)
	}
	w.user(p.UserProperties)
}

func (p *Subscribe) sizes() (length, props int) {
	var w propertyWriter
	p.writeProperties(&w)
	length = 2 + listSize(w.size)
	for i := range p.Subscriptions {
		length += 3 + len(p.Subscriptions[i].TopicFilter)
		if length > MaxPacketSize {
			break // too much already; an int of 32 bits must not overflow
		}
	}
	return length, w.size
}

// SubscribeSize returns the size that AppendSubscribe needs.
func SubscribeSize(p *Subscribe) int {
	length, _ := p.sizes()
	return packetSize(length)
}

// AppendSubscribe appends a SUBSCRIBE.
func AppendSubscribe(dst []byte, p *Subscribe) []byte {
	length, props := p.sizes()
	dst = appendUint16(appendHeader(dst, TypeSubscribe, length), p.PacketID)
	w := propertyWriter{dst: appendVarint(dst, uint32(props)), emit: true}
	p.writeProperties(&w)
	for i := range p.Subscriptions {
		s := &p.Subscriptions[i]
		w.dst = append(appendField(w.dst, s.TopicFilter), s.options())
	}
	return w.dst
}

// ParseSubscribe reads a SUBSCRIBE, as a server does.
func ParseSubscribe(f *Frame, p *Subscribe) *Error {
	*p = Subscribe{}
	r := newReader(f)
	p.PacketID = r.packetID()
	ps := r.properties(pSubscribe)
	var one property
	for r.next(&ps, &one) {
		switch one.id {
		case propSubscriptionID:
			p.SubscriptionID = one.uint32()
		case propUserProperty:
			p.UserProperties = one.appendUser(p.UserProperties, ps.rest)
		}
	}
	if r.err == nil && len(r.rest) == 0 {
		return protocolError(r.t, "MQTT-3.8.3-2", "there is no topic filter")
	}
	p.Subscriptions = make([]Subscription, 0, r.countFields(1))
	for r.err == nil && len(r.rest) > 0 {
		filter := r.filter()
		options := r.byte("subscription options")
		if r.err == nil {
			r.checkOptions(filter, options)
		}
		p.Subscriptions = append(p.Subscriptions, Subscription{
			TopicFilter: filter, QoS: options & 3, RetainHandling: options >> 4 & 3,
			NoLocal:           options&optionNoLocal != 0,
			RetainAsPublished: options&optionRetainAsPublished != 0,
		})
	}
	return r.end()
}

func (r *reader) checkOptions(filter string, options byte) {
	switch {
	case options&optionReserved != 0:
		r.fail(malformed(r.t, "MQTT-3.8.3-5", "reserved subscription options are set"))
	case options&3 == 3:
		r.fail(protocolError(r.t, "3.8.3.1", "maximum QoS of a subscription is 3"))
	case options>>4&3 == 3:
		r.fail(protocolError(r.t, "3.8.3.1", "retain handling is 3"))
	case options&optionNoLocal != 0 && isShared(filter):
		r.fail(protocolError(r.t, "MQTT-3.8.3-4", "no local is set on a shared subscription"))
	}
}

// filter reads a topic filter and checks its form.
func (r *reader) filter() string {
	s := r.string("topic filter")
	if r.err == nil {
		if v := filterViolation(s); v != nil {
			r.fail(protocolError(r.t, v.Rule, v.Text))
		}
	}
	return s
}

func (p *Unsubscribe) sizes() (length, props int) {
	var w propertyWriter
	w.user(p.UserProperties)
	length = 2 + listSize(w.size)
	for _, filter := range p.TopicFilters {
		length += 2 + len(filter)
		if length > MaxPacketSize {
			break // too much already; an int of 32 bits must not overflow
		}
	}
	return length, w.size
}

// UnsubscribeSize returns the size that AppendUnsubscribe needs.
func UnsubscribeSize(p *Unsubscribe) int {
	length, _ := p.sizes()
	return packetSize(length)
}

// AppendUnsubscribe appends an UNSUBSCRIBE.
func AppendUnsubscribe(dst []byte, p *Unsubscribe) []byte {
	length, props := p.sizes()
	dst = appendUint16(appendHeader(dst, TypeUnsubscribe, length), p.PacketID)
	w := propertyWriter{dst: appendVarint(dst, uint32(props)), emit: true}
	w.user(p.UserProperties)
	for _, filter := range p.TopicFilters {
		w.dst = appendField(w.dst, filter)
	}
	return w.dst
}

// ParseUnsubscribe reads an UNSUBSCRIBE, as a server does.
func ParseUnsubscribe(f *Frame, p *Unsubscribe) *Error {
	*p = Unsubscribe{}
	r := newReader(f)
	p.PacketID = r.packetID()
	ps := r.properties(pUnsubscribe)
	var one property
	for r.next(&ps, &one) {
		p.UserProperties = one.appendUser(p.UserProperties, ps.rest)
	}
	if r.err == nil && len(r.rest) == 0 {
		return protocolError(r.t, "MQTT-3.10.3-2", "there is no topic filter")
	}
	p.TopicFilters = make([]string, 0, r.countFields(0))
	for r.err == nil && len(r.rest) > 0 {
		p.TopicFilters = append(p.TopicFilters, r.filter())
	}
	return r.end()
}
