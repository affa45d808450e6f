// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// ParseAck reads a PUBACK, PUBREC, PUBREL or PUBCOMP in its short or full form.
// It allocates only if there are properties.
func ParseAck(f *Frame, a *Ack) *Error {
	body := f.Body
	if len(body) < 2 {
		return malformed(f.Type, "2.2.1", "packet identifier is missing")
	}
	id := binary.BigEndian.Uint16(body)
	if id == 0 {
		return errPacketIDZero(f.Type)
	}
	*a = Ack{PacketID: id}
	if len(body) == 2 {
		return nil
	}
	a.ReasonCode = ReasonCode(body[2])
	if len(body) == 3 || len(body) == 4 && body[3] == 0 {
		return nil
	}
	r := newReader(f)
	r.rest = body[3:]
	a.ReasonString, a.UserProperties = r.reasonProperties()
	return r.end()
}

// reasonProperties reads the property list of a packet that has room only for
// a reason string and user properties.
func (r *reader) reasonProperties() (reason *string, user []UserProperty) {
	ps := r.properties(place(r.t))
	var p property
	for r.next(&ps, &p) {
		switch p.id {
		case propReasonString:
			reason = p.string()
		case propUserProperty:
			user = p.appendUser(user, ps.rest)
		}
	}
	return reason, user
}

func (a *Ack) writeProperties(w *propertyWriter) {
	w.string(propReasonString, a.ReasonString)
	w.user(a.UserProperties)
}

// remaining returns the remaining length and the size of the properties. The
// length is 2 for success without properties and 3 for another code without.
func (a *Ack) remaining() (length, props int) {
	if a.ReasonString == nil && len(a.UserProperties) == 0 {
		if a.ReasonCode == Success {
			return 2, 0
		}
		return 3, 0
	}
	var w propertyWriter
	a.writeProperties(&w)
	return 3 + listSize(w.size), w.size
}

// AckSize returns the size that AppendAck needs.
func AckSize(a *Ack) int {
	length, _ := a.remaining()
	return packetSize(length)
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP in the shortest form
// that says the same.
func AppendAck(dst []byte, t Type, a *Ack) []byte {
	length, props := a.remaining()
	dst = appendUint16(appendHeader(dst, t, length), a.PacketID)
	if length == 2 {
		return dst
	}
	dst = append(dst, byte(a.ReasonCode))
	if length == 3 {
		return dst
	}
	w := propertyWriter{dst: appendVarint(dst, uint32(props)), emit: true}
	a.writeProperties(&w)
	return w.dst
}
