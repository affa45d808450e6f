// SPDX-License-Identifier: Apache-2.0

package wire

// ParseConnack reads a CONNACK.
//
// Session present together with a refusal is reported only after p is filled,
// so that the caller can still say why the server refused.
func ParseConnack(f *Frame, p *Connack) *Error {
	*p = Connack{}
	r := newReader(f)
	flags := r.byte("acknowledge flags")
	if flags > 1 {
		r.fail(malformed(r.t, "MQTT-3.2.2-1", "reserved acknowledge flags are set"))
	}
	p.SessionPresent = flags == 1
	p.ReasonCode = ReasonCode(r.byte("reason code"))
	ps := r.properties(pConnack)
	var one property
	for r.next(&ps, &one) {
		p.set(&one, ps.rest)
	}
	if err := r.end(); err != nil {
		return err
	}
	if p.AuthenticationData != nil && p.AuthenticationMethod == nil {
		return errNoMethod(r.t)
	}
	if p.SessionPresent && p.ReasonCode != Success {
		return protocolError(r.t, "MQTT-3.2.2-6", "session present is set though the connection is refused")
	}
	return nil
}

func (p *Connack) set(one *property, rest []byte) {
	switch one.id {
	case propSessionExpiryInterval:
		p.SessionExpiryInterval = one.uint32()
	case propReceiveMaximum:
		p.ReceiveMaximum = one.uint16()
	case propMaximumQoS:
		p.MaximumQoS = one.uint8()
	case propRetainAvailable:
		p.RetainAvailable = one.bool()
	case propMaximumPacketSize:
		p.MaximumPacketSize = one.uint32()
	case propAssignedClientID:
		p.AssignedClientID = one.string()
	case propTopicAliasMaximum:
		p.TopicAliasMaximum = one.uint16()
	case propReasonString:
		p.ReasonString = one.string()
	case propWildcardAvailable:
		p.WildcardSubscriptionsAvailable = one.bool()
	case propSubscriptionIDsAvailable:
		p.SubscriptionIDsAvailable = one.bool()
	case propSharedAvailable:
		p.SharedSubscriptionsAvailable = one.bool()
	case propServerKeepAlive:
		p.ServerKeepAlive = one.uint16()
	case propResponseInformation:
		p.ResponseInformation = one.string()
	case propServerReference:
		p.ServerReference = one.string()
	case propAuthenticationMethod:
		p.AuthenticationMethod = one.string()
	case propAuthenticationData:
		p.AuthenticationData = one.binary()
	case propUserProperty:
		p.UserProperties = one.appendUser(p.UserProperties, rest)
	}
}

func errNoMethod(t Type) *Error {
	return protocolError(t, propertySection[t], "authentication data without an authentication method")
}
