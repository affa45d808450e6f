// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"slices"
)

// The flag bits of PUBLISH (section 3.3.1).
const (
	flagRetain = 1 << 0
	flagDup    = 1 << 3
)

// ParsePublish reads a PUBLISH into v, whose slices then point into f.Body. It
// never allocates unless it fails. Topic is empty only if there is an alias.
//
// A subscription identifier is accepted although only servers may send one
// (MQTT-3.3.4-6): a server that uses this parser looks for it after Decode.
func ParsePublish(f *Frame, v *PublishView) *Error {
	body := f.Body
	if len(body) < 2 {
		return publishTooShort()
	}
	pos := 2 + int(binary.BigEndian.Uint16(body))
	if pos > len(body) {
		return publishTooShort()
	}
	topic := body[2:pos]
	if !plainTopic(topic) {
		if err := checkReceivedTopic(topic); err != nil {
			return err
		}
	}
	qos := f.Flags >> 1 & 3
	var id uint16
	if qos != 0 {
		if len(body) < pos+2 {
			return publishTooShort()
		}
		id = binary.BigEndian.Uint16(body[pos:])
		if id == 0 {
			return errPacketIDZero(TypePublish)
		}
		pos += 2
	}
	// Field by field: a composite literal would be built elsewhere and copied.
	v.Topic, v.Payload, v.Properties = topic, nil, nil
	v.PacketID, v.TopicAlias, v.QoS = id, 0, qos
	v.Retain, v.Dup, v.UTF8 = f.Flags&flagRetain != 0, f.Flags&flagDup != 0, false
	if pos < len(body) && body[pos] == 0 && len(topic) != 0 {
		v.Payload = body[pos+1:]
		return nil
	}
	return parsePublishProperties(body[pos:], v)
}

// parsePublishProperties reads the rest of a PUBLISH from the property length on.
func parsePublishProperties(b []byte, v *PublishView) *Error {
	list, payload, err := splitProperties(TypePublish, b)
	if err != nil {
		return err
	}
	ps := properties{rest: list, place: pPublish}
	var p property
	for len(ps.rest) > 0 {
		if err := ps.next(&p); err != nil {
			return err
		}
		switch p.id {
		case propTopicAlias:
			v.TopicAlias = uint16(p.num)
		case propPayloadFormat:
			v.UTF8 = p.num == 1
		}
	}
	if len(v.Topic) == 0 && v.TopicAlias == 0 {
		return protocolError(TypePublish, "3.3.2.1", "topic name is empty and there is no topic alias")
	}
	// An alias alone leaves nothing for Decode to do.
	if ps.seen&^(1<<propTopicAlias) != 0 {
		v.Properties = list
	}
	v.Payload = payload
	return nil
}

func publishTooShort() *Error {
	return malformed(TypePublish, "3.3.2", "packet ends within the topic name or packet identifier")
}

// checkReceivedTopic judges a topic that is not plain ASCII.
func checkReceivedTopic(topic []byte) *Error {
	if err := checkReceivedString(TypePublish, "topic name", topic); err != nil {
		return err
	}
	if hasWildcard(topic) {
		return protocolError(TypePublish, "MQTT-3.3.2-2", "topic name contains a wildcard character")
	}
	return nil
}

// Decode sets p to the properties of v. It needs the buffer that v was parsed
// from, but p is independent of it.
func (v *PublishView) Decode(p *PublishProperties) {
	*p = PublishProperties{}
	if len(v.Properties) == 0 {
		return
	}
	p.decode(v.Properties)
}

// decode reads properties that were checked before. All strings are parts of
// one copy of b.
func (p *PublishProperties) decode(b []byte) {
	text := string(b)
	var one property
	for pos := 0; pos < len(b); {
		n := one.read(b[pos:])
		if n == 0 {
			return // cannot be: b was checked
		}
		end := pos + n
		switch one.id {
		case propPayloadFormat:
			p.PayloadFormat = one.uint8()
		case propMessageExpiryInterval:
			p.MessageExpiryInterval = one.uint32()
		case propContentType:
			s := text[pos+3 : end]
			p.ContentType = &s
		case propResponseTopic:
			s := text[pos+3 : end]
			p.ResponseTopic = &s
		case propCorrelationData:
			p.CorrelationData = one.binary()
		case propSubscriptionID:
			if p.SubscriptionIDs == nil {
				p.SubscriptionIDs = make([]uint32, 0, countProperties(b[pos:], propSubscriptionID))
			}
			p.SubscriptionIDs = append(p.SubscriptionIDs, one.num)
		case propUserProperty:
			if p.UserProperties == nil {
				p.UserProperties = make([]UserProperty, 0, countProperties(b[pos:], propUserProperty))
			}
			value := end - len(one.value)
			p.UserProperties = append(p.UserProperties, UserProperty{
				Name: text[pos+3 : pos+3+len(one.data)], Value: text[value:end],
			})
		}
		pos = end
	}
}

func (p *PublishProperties) write(w *propertyWriter) {
	w.byte(propPayloadFormat, p.PayloadFormat)
	w.uint32(propMessageExpiryInterval, p.MessageExpiryInterval)
	w.string(propContentType, p.ContentType)
	w.string(propResponseTopic, p.ResponseTopic)
	w.binary(propCorrelationData, p.CorrelationData)
}

func (p *Publish) writeProperties(w *propertyWriter) {
	if p.Properties != nil {
		p.Properties.write(w)
		for _, id := range p.Properties.SubscriptionIDs {
			w.varint(propSubscriptionID, id)
		}
	}
	if p.TopicAlias != 0 {
		w.uint16(propTopicAlias, &p.TopicAlias)
	}
	if p.Properties != nil {
		w.user(p.Properties.UserProperties)
	}
}

func (p *Publish) propertiesSize() int {
	if p.Properties == nil {
		if p.TopicAlias != 0 {
			return 3
		}
		return 0
	}
	var w propertyWriter
	p.writeProperties(&w)
	return w.size
}

// remaining returns the remaining length, given the size of the properties.
func (p *Publish) remaining(props int) int {
	n := 2 + len(p.Topic) + listSize(props) + len(p.Payload)
	if p.QoS != 0 {
		n += 2
	}
	return n
}

// PublishSize returns the size of the whole packet as it would be encoded. A
// result above MaxPacketSize means that the packet cannot be encoded; it need
// not be exact then.
func PublishSize(p *Publish) int { return packetSize(p.remaining(p.propertiesSize())) }

// AppendPublishHeader appends everything but the payload, for which the
// remaining length allows: len(p.Payload) bytes have to follow. DUP is left out
// if QoS is 0.
func AppendPublishHeader(dst []byte, p *Publish) []byte {
	props := p.propertiesSize()
	first := byte(TypePublish)<<4 | p.QoS<<1
	if p.Retain {
		first |= flagRetain
	}
	if p.Dup && p.QoS != 0 {
		first |= flagDup
	}
	dst = appendVarint(append(dst, first), uint32(p.remaining(props)))
	dst = appendField(dst, p.Topic)
	if p.QoS != 0 {
		dst = appendUint16(dst, p.PacketID)
	}
	if props == 0 {
		return append(dst, 0)
	}
	w := propertyWriter{dst: appendVarint(dst, uint32(props)), emit: true}
	p.writeProperties(&w)
	return w.dst
}

// AppendPublish appends the whole packet.
func AppendPublish(dst []byte, p *Publish) []byte {
	dst = slices.Grow(dst, PublishSize(p))
	return append(AppendPublishHeader(dst, p), p.Payload...)
}
