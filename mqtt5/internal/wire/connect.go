// SPDX-License-Identifier: Apache-2.0

package wire

// The connect flags (section 3.1.2.3).
const (
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
