// SPDX-License-Identifier: Apache-2.0

package wire

// ParseDisconnect reads a DISCONNECT in its short or full form. fromServer says
// who sent it: only clients may change the session expiry interval, and only
// servers may name another server. These two are reported after p is filled.
func ParseDisconnect(f *Frame, p *Disconnect, fromServer bool) *Error {
	*p = Disconnect{}
	if len(f.Body) == 0 {
		return nil
	}
	r := newReader(f)
	p.ReasonCode = ReasonCode(r.byte("reason code"))
	if len(r.rest) == 0 {
		return nil
	}
	ps := r.properties(pDisconnect)
	var one property
	for r.next(&ps, &one) {
		switch one.id {
		case propSessionExpiryInterval:
			p.SessionExpiryInterval = one.uint32()
		case propReasonString:
			p.ReasonString = one.string()
		case propServerReference:
			p.ServerReference = one.string()
		case propUserProperty:
			p.UserProperties = one.appendUser(p.UserProperties, ps.rest)
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	if fromServer && p.SessionExpiryInterval != nil {
		return protocolError(r.t, "MQTT-3.14.2-2", "session expiry interval in a packet from the server")
	}
	if !fromServer && p.ServerReference != nil {
		return protocolError(r.t, "3.14.2.2.5", "server reference in a packet from the client")
	}
	return nil
}

func (p *Disconnect) writeProperties(w *propertyWriter) {
	w.uint32(propSessionExpiryInterval, p.SessionExpiryInterval)
	w.string(propServerReference, p.ServerReference)
	w.string(propReasonString, p.ReasonString)
	w.user(p.UserProperties)
}

// remaining returns the remaining length and the size of the properties. The
// length is 0 for code 0x00 without properties and 1 for another code without.
func (p *Disconnect) remaining() (length, props int) {
	var w propertyWriter
	p.writeProperties(&w)
	switch {
	case w.size > 0:
		return 1 + listSize(w.size), w.size
	case p.ReasonCode != Success:
		return 1, 0
	}
	return 0, 0
}

// DisconnectSize returns the size that AppendDisconnect needs.
func DisconnectSize(p *Disconnect) int {
	length, _ := p.remaining()
	return packetSize(length)
}

// AppendDisconnect appends a DISCONNECT in the shortest form that says the same.
func AppendDisconnect(dst []byte, p *Disconnect) []byte {
	length, props := p.remaining()
	dst = appendHeader(dst, TypeDisconnect, length)
	if length == 0 {
		return dst
	}
	dst = append(dst, byte(p.ReasonCode))
	if props == 0 {
		return dst
	}
	w := propertyWriter{dst: appendVarint(dst, uint32(props)), emit: true}
	p.writeProperties(&w)
	return w.dst
}
