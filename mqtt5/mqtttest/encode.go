// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"encoding/binary"
	"fmt"
	"reflect"
)

func appendVarint(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendString does not validate: an over-long string gets a length of its low 16 bits.
func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendBinary(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...)
}

func appendProperties(b []byte, p *properties) []byte {
	enc := p.appendTo(nil)
	return append(appendVarint(b, uint32(len(enc))), enc...)
}

// Encode returns the wire form of p in its shortest legal shape. It writes what
// the fields say and validates nothing, so that packets which the standard
// forbids can be made too. Pointers to packets are taken like the packets
// themselves. It panics when p is nil or a type of its caller's own.
func Encode(p Packet) []byte { return encode(p, false) }

func encode(p Packet, long bool) []byte {
	if r, ok := p.(Raw); ok {
		return r
	}
	first, body := encodeBody(p, long)
	b := make([]byte, 0, 5+len(body))
	return append(appendVarint(append(b, first), uint32(len(body))), body...)
}

// encodeBody returns the first byte and all that the Remaining Length counts.
func encodeBody(p Packet, long bool) (byte, []byte) {
	first := byte(p.PacketType()) << 4
	switch p := p.(type) {
	case Connect:
		return first, encodeConnect(&p)
	case Connack:
		return first, encodeConnack(&p)
	case Publish:
		return first | publishFlags(&p), encodePublish(&p)
	case Puback:
		return first, encodeAck(p, long)
	case Pubrec:
		return first, encodeAck(Puback(p), long)
	case Pubrel:
		return first | 0x02, encodeAck(Puback(p), long)
	case Pubcomp:
		return first, encodeAck(Puback(p), long)
	case Subscribe:
		return first | 0x02, encodeSubscribe(&p)
	case Suback:
		return first, encodeSuback(&p)
	case Unsubscribe:
		b := binary.BigEndian.AppendUint16(nil, p.PacketID)
		b = appendProperties(b, &properties{user: p.UserProperties})
		for _, f := range p.TopicFilters {
			b = appendString(b, f)
		}
		return first | 0x02, b
	case Unsuback:
		s := Suback(p)
		return first, encodeSuback(&s)
	case Pingreq, Pingresp:
		return first, nil
	case Disconnect:
		return first, encodeDisconnect(&p, long)
	case Auth:
		return first, encodeAuth(&p, long)
	}
	if v := reflect.ValueOf(p); v.Kind() == reflect.Pointer && !v.IsNil() {
		if q, ok := v.Elem().Interface().(Packet); ok {
			return encodeBody(q, long)
		}
	}
	panic(fmt.Sprintf("mqtttest: cannot encode a %T", p))
}

func encodeConnect(p *Connect) []byte {
	var flags byte
	if p.CleanStart {
		flags |= 0x02
	}
	if w := p.Will; w != nil {
		flags |= 0x04 | w.QoS<<3&0x18
		if w.Retain {
			flags |= 0x20
		}
	}
	if p.Password != nil {
		flags |= 0x40
	}
	if p.Username != nil {
		flags |= 0x80
	}
	b := append(appendString(nil, "MQTT"), 5, flags)
	b = binary.BigEndian.AppendUint16(b, p.KeepAliveSeconds)
	b = appendProperties(b, &properties{
		sessionExpiry: p.SessionExpiryIntervalSeconds, receiveMaximum: p.ReceiveMaximum, maximumPacket: p.MaximumPacketSizeBytes,
		topicAliasMax: p.TopicAliasMaximum, requestResponse: p.RequestResponseInformation,
		requestProblem: p.RequestProblemInformation, user: p.UserProperties,
		authMethod: p.AuthenticationMethod, authData: p.AuthenticationData,
	})
	b = appendString(b, p.ClientID)
	if w := p.Will; w != nil {
		b = appendProperties(b, &properties{
			willDelay: w.DelayIntervalSeconds, payloadFormat: w.PayloadFormat, messageExpiry: w.MessageExpirySeconds,
			contentType: w.ContentType, responseTopic: w.ResponseTopic, correlationData: w.CorrelationData, user: w.UserProperties,
		})
		b = appendBinary(appendString(b, w.Topic), w.Payload)
	}
	if p.Username != nil {
		b = appendString(b, *p.Username)
	}
	if p.Password != nil {
		b = appendBinary(b, p.Password)
	}
	return b
}

func encodeConnack(p *Connack) []byte {
	b := []byte{0, byte(p.ReasonCode)}
	if p.SessionPresent {
		b[0] = 1
	}
	return appendProperties(b, &properties{
		sessionExpiry: p.SessionExpiryIntervalSeconds, receiveMaximum: p.ReceiveMaximum, maximumQoS: p.MaximumQoS,
		retainAvailable: p.RetainAvailable, maximumPacket: p.MaximumPacketSizeBytes, assignedClientID: p.AssignedClientID,
		topicAliasMax: p.TopicAliasMaximum, reasonString: p.ReasonString, user: p.UserProperties,
		wildcardSub: p.WildcardSubscriptionsAvailable, subIDAvailable: p.SubscriptionIDsAvailable,
		sharedSub: p.SharedSubscriptionsAvailable, serverKeepAlive: p.ServerKeepAliveSeconds, responseInfo: p.ResponseInformation,
		serverReference: p.ServerReference, authMethod: p.AuthenticationMethod, authData: p.AuthenticationData,
		extra: p.ExtraProperties,
	})
}

func publishFlags(p *Publish) (flags byte) {
	flags = p.QoS << 1 & 0x06
	if p.Duplicate {
		flags |= 0x08
	}
	if p.Retain {
		flags |= 0x01
	}
	return flags
}

func encodePublish(p *Publish) []byte {
	b := appendString(nil, p.Topic)
	if p.QoS > 0 {
		b = binary.BigEndian.AppendUint16(b, p.PacketID)
	}
	b = appendProperties(b, &properties{
		payloadFormat: p.PayloadFormat, messageExpiry: p.MessageExpirySeconds, topicAlias: p.TopicAlias,
		responseTopic: p.ResponseTopic, correlationData: p.CorrelationData, user: p.UserProperties,
		subscriptionIDs: p.SubscriptionIdentifiers, contentType: p.ContentType, extra: p.ExtraProperties,
	})
	return append(b, p.Payload...)
}

// encodeAck serves the four packets of the same shape.
func encodeAck(p Puback, long bool) []byte {
	b := binary.BigEndian.AppendUint16(nil, p.PacketID)
	props := properties{reasonString: p.ReasonString, user: p.UserProperties, extra: p.ExtraProperties}
	return appendReason(b, p.ReasonCode, &props, long)
}

// appendReason writes the tail of acknowledgements, which ends early when there
// is nothing to say.
func appendReason(b []byte, code ReasonCode, props *properties, long bool) []byte {
	enc := props.appendTo(nil)
	if len(enc) == 0 && !long {
		if code == 0 {
			return b
		}
		return append(b, byte(code))
	}
	return append(appendVarint(append(b, byte(code)), uint32(len(enc))), enc...)
}

func encodeSubscribe(p *Subscribe) []byte {
	b := binary.BigEndian.AppendUint16(nil, p.PacketID)
	props := properties{user: p.UserProperties}
	if p.SubscriptionIdentifier != nil {
		props.subscriptionIDs = []uint32{*p.SubscriptionIdentifier}
	}
	b = appendProperties(b, &props)
	for _, s := range p.Subscriptions {
		o := s.QoS&0x03 | s.RetainHandling<<4&0x30
		if s.NoLocal {
			o |= 0x04
		}
		if s.RetainAsPublished {
			o |= 0x08
		}
		b = append(appendString(b, s.TopicFilter), o)
	}
	return b
}

func encodeSuback(p *Suback) []byte {
	b := binary.BigEndian.AppendUint16(nil, p.PacketID)
	b = appendProperties(b, &properties{reasonString: p.ReasonString, user: p.UserProperties, extra: p.ExtraProperties})
	for _, c := range p.ReasonCodes {
		b = append(b, byte(c))
	}
	return b
}

func encodeDisconnect(p *Disconnect, long bool) []byte {
	return appendReason(nil, p.ReasonCode, &properties{
		sessionExpiry: p.SessionExpiryIntervalSeconds, reasonString: p.ReasonString, user: p.UserProperties,
		serverReference: p.ServerReference, extra: p.ExtraProperties,
	}, long)
}

// encodeAuth has no form with the code alone.
func encodeAuth(p *Auth, long bool) []byte {
	props := properties{
		authMethod: p.AuthenticationMethod, authData: p.AuthenticationData, reasonString: p.ReasonString,
		user: p.UserProperties, extra: p.ExtraProperties,
	}
	return appendReason(nil, p.ReasonCode, &props, long || p.ReasonCode != 0)
}
