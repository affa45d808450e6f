// SPDX-License-Identifier: Apache-2.0

package wire

// The connect flags (section 3.1.2.3).
const (
	connectReserved   = 1 << 0
	connectCleanStart = 1 << 1
	connectWill       = 1 << 2
	connectWillQoS    = 3 << 3
	connectWillRetain = 1 << 5
	connectPassword   = 1 << 6
	connectUsername   = 1 << 7
)

// protocolName is the protocol name as a field, followed by the version.
const protocolName = "\x00\x04MQTT\x05"

func (p *Connect) writeProperties(w *propertyWriter) {
	w.uint32(propSessionExpiryInterval, p.SessionExpiryInterval)
	w.string(propAuthenticationMethod, p.AuthenticationMethod)
	w.binary(propAuthenticationData, p.AuthenticationData)
	w.bool(propRequestProblemInfo, p.RequestProblemInformation)
	w.bool(propRequestResponseInfo, p.RequestResponseInformation)
	w.uint16(propReceiveMaximum, p.ReceiveMaximum)
	w.uint16(propTopicAliasMaximum, p.TopicAliasMaximum)
	w.user(p.UserProperties)
	w.uint32(propMaximumPacketSize, p.MaximumPacketSize)
}

func (p *Will) writeProperties(w *propertyWriter) {
	if p.Properties != nil {
		p.Properties.write(w)
	}
	w.uint32(propWillDelayInterval, p.DelayInterval)
	if p.Properties != nil {
		w.user(p.Properties.UserProperties)
	}
}

// sizes returns the remaining length and the sizes of both property lists.
func (p *Connect) sizes() (length, props, willProps int) {
	var w propertyWriter
	p.writeProperties(&w)
	props = w.size
	length = len(protocolName) + 1 + 2 + listSize(props) + 2 + len(p.ClientID)
	if p.Will != nil {
		var w propertyWriter
		p.Will.writeProperties(&w)
		willProps = w.size
		length += listSize(willProps) + 2 + len(p.Will.Topic) + 2 + len(p.Will.Payload)
	}
	if p.Username != nil {
		length += 2 + len(*p.Username)
	}
	if p.Password != nil {
		length += 2 + len(p.Password)
	}
	return length, props, willProps
}

func (p *Connect) flags() (flags byte) {
	if p.CleanStart {
		flags |= connectCleanStart
	}
	if p.Will != nil {
		flags |= connectWill | p.Will.QoS<<3&connectWillQoS
		if p.Will.Retain {
			flags |= connectWillRetain
		}
	}
	if p.Password != nil {
		flags |= connectPassword
	}
	if p.Username != nil {
		flags |= connectUsername
	}
	return flags
}

// ConnectSize returns the size that AppendConnect needs.
func ConnectSize(p *Connect) int {
	length, _, _ := p.sizes()
	return packetSize(length)
}

// AppendConnect appends a CONNECT.
func AppendConnect(dst []byte, p *Connect) []byte {
	length, props, willProps := p.sizes()
	dst = appendHeader(dst, TypeConnect, length)
	dst = append(append(dst, protocolName...), p.flags())
	dst = appendUint16(dst, p.KeepAlive)
	w := propertyWriter{dst: appendVarint(dst, uint32(props)), emit: true}
	p.writeProperties(&w)
	w.dst = appendField(w.dst, p.ClientID)
	if p.Will != nil {
		w.dst = appendVarint(w.dst, uint32(willProps))
		p.Will.writeProperties(&w)
		w.dst = appendField(w.dst, p.Will.Topic)
		w.dst = appendField(w.dst, p.Will.Payload)
	}
	if p.Username != nil {
		w.dst = appendField(w.dst, *p.Username)
	}
	if p.Password != nil {
		w.dst = appendField(w.dst, p.Password)
	}
	return w.dst
}

// ParseConnect reads a CONNECT, as a server does.
func ParseConnect(f *Frame, p *Connect) *Error {
	*p = Connect{}
	r := newReader(f)
	if name := r.bytes("protocol name"); r.err == nil && string(name) != "MQTT" {
		return &Error{Reason: UnsupportedProtocolVersion, Packet: r.t, Rule: "MQTT-3.1.2-1", Text: "protocol name is not MQTT"}
	}
	if version := r.byte("protocol version"); r.err == nil && version != 5 {
		return &Error{Reason: UnsupportedProtocolVersion, Packet: r.t, Rule: "MQTT-3.1.2-2", Text: "protocol version is not 5"}
	}
	flags := r.byte("connect flags")
	if err := checkConnectFlags(flags); err != nil {
		r.fail(err)
	}
	p.CleanStart = flags&connectCleanStart != 0
	p.KeepAlive = r.uint16("keep alive")
	ps := r.properties(pConnect)
	var one property
	for r.next(&ps, &one) {
		p.set(&one, ps.rest)
	}
	if r.err == nil && p.AuthenticationData != nil && p.AuthenticationMethod == nil {
		return errNoMethod(r.t)
	}
	p.ClientID = r.string("client identifier")
	if flags&connectWill != 0 {
		p.Will = r.will(flags)
	}
	if flags&connectUsername != 0 {
		name := r.string("user name")
		p.Username = &name
	}
	if flags&connectPassword != 0 {
		p.Password = r.binary("password")
	}
	return r.end()
}

func checkConnectFlags(flags byte) *Error {
	switch {
	case flags&connectReserved != 0:
		return malformed(TypeConnect, "MQTT-3.1.2-3", "reserved connect flag is set")
	case flags&connectWill == 0 && flags&connectWillQoS != 0:
		return malformed(TypeConnect, "MQTT-3.1.2-11", "will QoS without a will")
	case flags&connectWillQoS == connectWillQoS:
		return malformed(TypeConnect, "MQTT-3.1.2-12", "will QoS is 3")
	case flags&connectWill == 0 && flags&connectWillRetain != 0:
		return malformed(TypeConnect, "MQTT-3.1.2-13", "will retain without a will")
	}
	return nil
}

func (p *Connect) set(one *property, rest []byte) {
	switch one.id {
	case propSessionExpiryInterval:
		p.SessionExpiryInterval = one.uint32()
	case propReceiveMaximum:
		p.ReceiveMaximum = one.uint16()
	case propMaximumPacketSize:
		p.MaximumPacketSize = one.uint32()
	case propTopicAliasMaximum:
		p.TopicAliasMaximum = one.uint16()
	case propRequestResponseInfo:
		p.RequestResponseInformation = one.bool()
	case propRequestProblemInfo:
		p.RequestProblemInformation = one.bool()
	case propAuthenticationMethod:
		p.AuthenticationMethod = one.string()
	case propAuthenticationData:
		p.AuthenticationData = one.binary()
	case propUserProperty:
		p.UserProperties = one.appendUser(p.UserProperties, rest)
	}
}

// will reads the will's properties, topic and payload.
func (r *reader) will(flags byte) *Will {
	w := &Will{QoS: flags >> 3 & 3, Retain: flags&connectWillRetain != 0}
	ps := r.properties(placeWill)
	list := ps.rest
	var one property
	for r.next(&ps, &one) {
		if one.id == propWillDelayInterval {
			w.DelayInterval = one.uint32()
		}
	}
	if r.err == nil && ps.seen&^(1<<propWillDelayInterval) != 0 {
		w.Properties = new(PublishProperties)
		w.Properties.decode(list)
	}
	w.Topic = r.string("will topic")
	if r.err == nil && w.Topic == "" {
		r.fail(protocolError(r.t, "MQTT-4.7.3-1", "will topic is empty"))
	}
	if r.err == nil && hasWildcard(w.Topic) {
		r.fail(protocolError(r.t, "MQTT-4.7.0-1", "will topic contains a wildcard character"))
	}
	w.Payload = r.binary("will payload")
	return w
}
