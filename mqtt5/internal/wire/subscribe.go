// SPDX-License-Identifier: Apache-2.0

package wire

// The subscription options (section 3.8.3.1).
const (
	optionNoLocal           = 1 << 2
	optionRetainAsPublished = 1 << 3
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
