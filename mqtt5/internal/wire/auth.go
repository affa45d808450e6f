// SPDX-License-Identifier: Apache-2.0

package wire

// ParseAuth reads an AUTH. The form without a body is read as success without
// properties and then fails, since the authentication method is required.
func ParseAuth(f *Frame, p *Auth) *Error {
	*p = Auth{}
	r := newReader(f)
	if len(f.Body) > 0 {
		p.ReasonCode = ReasonCode(r.byte("reason code"))
		ps := r.properties(pAuth)
		var one property
		for r.next(&ps, &one) {
			switch one.id {
			case propAuthenticationMethod:
				p.AuthenticationMethod = one.string()
			case propAuthenticationData:
				p.AuthenticationData = one.binary()
			case propReasonString:
				p.ReasonString = one.string()
			case propUserProperty:
				p.UserProperties = one.appendUser(p.UserProperties, ps.rest)
			}
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	if p.AuthenticationMethod == nil {
		return protocolError(r.t, "3.15.2.2.2", "authentication method is missing")
	}
	return nil
}

func (p *Auth) writeProperties(w *propertyWriter) {
	w.string(propAuthenticationMethod, p.AuthenticationMethod)
	w.binary(propAuthenticationData, p.AuthenticationData)
	w.string(propReasonString, p.ReasonString)
	w.user(p.UserProperties)
}

func (p *Auth) propertiesSize() int {
	var w propertyWriter
	p.writeProperties(&w)
	return w.size
}

// AuthSize returns the size that AppendAuth needs.
func AuthSize(p *Auth) int { return packetSize(1 + listSize(p.propertiesSize())) }

// AppendAuth appends an AUTH, always in its full form.
func AppendAuth(dst []byte, p *Auth) []byte {
	props := p.propertiesSize()
	dst = append(appendHeader(dst, TypeAuth, 1+listSize(props)), byte(p.ReasonCode))
	w := propertyWriter{dst: appendVarint(dst, uint32(props)), emit: true}
	p.writeProperties(&w)
	return w.dst
}
