// SPDX-License-Identifier: Apache-2.0

package wire

import "slices"

// ParseSubscribeAck reads a SUBACK or an UNSUBACK. That it has as many reason
// codes as the request had filters is for the caller to check.
func ParseSubscribeAck(f *Frame, p *SubscribeAck) *Error {
	*p = SubscribeAck{}
	r := newReader(f)
	p.PacketID = r.packetID()
	p.ReasonString, p.UserProperties = r.reasonProperties()
	if r.err != nil {
		return r.err
	}
	if len(r.rest) == 0 {
		rule := "MQTT-3.8.4-6"
		if r.t == TypeUnsuback {
			rule = "3.11.3"
		}
		return protocolError(r.t, rule, "there is no reason code")
	}
	p.ReasonCodes = make([]ReasonCode, len(r.rest))
	for i, c := range r.rest {
		p.ReasonCodes[i] = ReasonCode(c)
	}
	return nil
}

func (p *SubscribeAck) writeProperties(w *propertyWriter) {
	w.string(propReasonString, p.ReasonString)
	w.user(p.UserProperties)
}

func (p *SubscribeAck) propertiesSize() int {
	var w propertyWriter
	p.writeProperties(&w)
	return w.size
}

// SubscribeAckSize returns the size that AppendSubscribeAck needs.
func SubscribeAckSize(p *SubscribeAck) int {
	return packetSize(2 + listSize(p.propertiesSize()) + len(p.ReasonCodes))
}

// AppendSubscribeAck appends a SUBACK or an UNSUBACK.
func AppendSubscribeAck(dst []byte, t Type, p *SubscribeAck) []byte {
	props := p.propertiesSize()
	dst = appendHeader(dst, t, 2+listSize(props)+len(p.ReasonCodes))
	dst = appendVarint(appendUint16(dst, p.PacketID), uint32(props))
	w := propertyWriter{dst: dst, emit: true}
	p.writeProperties(&w)
	dst = slices.Grow(w.dst, len(p.ReasonCodes))
	for _, c := range p.ReasonCodes {
		dst = append(dst, byte(c))
	}
	return dst
}
