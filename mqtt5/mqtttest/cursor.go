// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// cursor reads the fields of one packet. After the first violation it reads
// nothing but zeros, so that a decoder needs to look at err only once, at its
// end.
type cursor struct {
	b    []byte
	side Side
	typ  PacketType
	err  *Violation
}

func (c *cursor) fail(code ReasonCode, rules []string, format string, args ...any) {
	if c.err == nil {
		c.err = &Violation{Packet: c.typ, Rules: rules, ReasonCode: code, Detail: fmt.Sprintf(format, args...)}
	}
	c.b = nil
}

func (c *cursor) malformed(rule, format string, args ...any) {
	c.fail(MalformedPacket, []string{rule}, format, args...)
}

func (c *cursor) protocolError(rule, format string, args ...any) {
	c.fail(ProtocolError, []string{rule}, format, args...)
}

// take returns the next n bytes. rules say what it means that they are not there.
func (c *cursor) take(n int, field string, rules ...string) []byte {
	if c.err != nil {
		return nil
	}
	if n > len(c.b) {
		c.fail(MalformedPacket, append(rules, "§2.1.4"), "%s runs past the end: %d bytes needed, %d left", field, n, len(c.b))
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) byte(field string, rules ...string) byte {
	if v := c.take(1, field, rules...); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) uint16(field string, rules ...string) uint16 {
	if v := c.take(2, field, rules...); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) uint32(field string) uint32 {
	if v := c.take(4, field); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) varint(field string) uint32 {
	var v uint32
	for i := range 4 {
		b := c.take(1, field)
		if b == nil {
			return 0
		}
		v |= uint32(b[0]&0x7F) << (7 * i)
		if b[0] < 0x80 {
			if i > 0 && b[0] == 0 {
				c.malformed("MQTT-1.5.5-1", "%s is not written in the fewest bytes", field)
				return 0
			}
			return v
		}
	}
	c.malformed("§1.5.5", "%s is longer than four bytes", field)
	return 0
}

// binary returns a copy, never nil unless reading failed.
func (c *cursor) binary(field string, rules ...string) []byte {
	n := c.uint16(field, rules...)
	v := c.take(int(n), field, rules...)
	if c.err != nil {
		return nil
	}
	return append([]byte{}, v...)
}

// string reads a UTF-8 string; rules are the statements that repeat for this
// field what holds for every string.
func (c *cursor) string(field string, rules ...string) string {
	n := c.uint16(field, rules...)
	s := string(c.take(int(n), field, rules...))
	if rule, detail := checkString(s); rule != "" {
		c.fail(MalformedPacket, append([]string{rule}, rules...), "%s %s", field, detail)
		return ""
	}
	return s
}

func (c *cursor) packetID() uint16 {
	id := c.uint16("the packet identifier")
	if id == 0 {
		rule := "MQTT-2.2.1-3"
		switch {
		case c.typ != TypePublish && c.typ != TypeSubscribe && c.typ != TypeUnsubscribe:
			rule = "MQTT-2.2.1-5"
		case c.side == FromServer:
			rule = "MQTT-2.2.1-4"
		}
		c.protocolError(rule, "the packet identifier is 0")
	}
	return id
}

func (c *cursor) reason(code byte) ReasonCode {
	t := reasonTables[c.typ]
	if c.err == nil && !t.allows(c.side, ReasonCode(code)) {
		c.protocolError(t.rule, "reason code %v is not one that a %v may put there", ReasonCode(code), c.side)
	}
	return ReasonCode(code)
}

// end demands that nothing is left.
func (c *cursor) end(rules ...string) {
	if c.err == nil && len(c.b) > 0 {
		c.fail(MalformedPacket, append(rules, "§2.1.4"), "%d bytes are left over at the end", len(c.b))
	}
}

// properties reads a property length and the properties it counts.
func (c *cursor) properties(allowed idSet, where string) (p properties) {
	n := c.varint("the property length of " + where)
	in := cursor{b: c.take(int(n), "the properties of "+where), side: c.side, typ: c.typ, err: c.err}
	var seen idSet
	for len(in.b) > 0 && in.err == nil {
		id := in.varint("a property identifier")
		name := propertyName(id)
		if in.err != nil {
			break
		}
		if !allowed.has(id) {
			if id == propSubscriptionID && c.typ == TypePublish {
				in.protocolError("MQTT-3.3.4-6", "a client's PUBLISH has a Subscription Identifier")
			} else if id == propSessionExpiry && c.typ == TypeDisconnect {
				in.protocolError("MQTT-3.14.2-2", "a server's DISCONNECT has a Session Expiry Interval")
			} else {
				in.malformed("§2.2.2.2", "%s must not stand in %s", name, where)
			}
			break
		}
		repeatable := id == propUser || id == propSubscriptionID && c.typ == TypePublish
		if seen.has(id) && !repeatable {
			in.protocolError("§2.2.2.2", "%s stands in %s more than once", name, where)
			break
		}
		seen |= 1 << id
		p.read(&in, id, name)
	}
	if p.authData != nil && p.authMethod == nil {
		in.protocolError("§3.1.2.11.10", "Authentication Data without Authentication Method")
	}
	if in.err != nil && c.err == nil {
		c.err, c.b = in.err, nil
	}
	return p
}

// read takes one property's value. Which identifiers may come is checked before.
func (p *properties) read(c *cursor, id uint32, name string) {
	known := p.readText(c, id, name) || p.readNumber(c, id, name) || p.readFlag(c, id, name)
	if !known {
		c.malformed("§2.2.2.2", "%s is unknown", name)
	}
}

// readText reads a property that is a string, a pair of them, or binary data.
// It reports whether id is one.
func (p *properties) readText(c *cursor, id uint32, name string) bool {
	str := func(rules ...string) *string {
		v := c.string(name, rules...)
		return &v
	}
	switch id {
	case propContentType:
		p.contentType = str("MQTT-3.3.2-19")
	case propResponseTopic:
		p.responseTopic = str("MQTT-3.3.2-13")
		if hasWildcard(*p.responseTopic) {
			c.protocolError("MQTT-3.3.2-14", "Response Topic has a wildcard in it")
		} else if *p.responseTopic == "" {
			c.protocolError("MQTT-4.7.3-1", "Response Topic is empty")
		}
	case propCorrelationData:
		p.correlationData = c.binary(name)
	case propAssignedClientID:
		p.assignedClientID = str()
	case propAuthMethod:
		p.authMethod = str()
	case propAuthData:
		p.authData = c.binary(name)
	case propResponseInfo:
		p.responseInfo = str()
	case propServerReference:
		p.serverReference = str()
	case propReasonString:
		p.reasonString = str()
	case propUser:
		u := UserProperty{Name: c.string("the name of a User Property", "MQTT-1.5.7-1")}
		u.Value = c.string("the value of a User Property", "MQTT-1.5.7-1")
		p.user = append(p.user, u)
	default:
		return false
	}
	return true
}

// readNumber reads a property that is a number. It reports whether id is one.
func (p *properties) readNumber(c *cursor, id uint32, name string) bool {
	notZero := func(zero bool) {
		if zero {
			c.protocolError("§2.2.2.2", "%s is 0", name)
		}
	}
	u16 := func() *uint16 {
		v := c.uint16(name)
		return &v
	}
	u32 := func() *uint32 {
		v := c.uint32(name)
		return &v
	}
	switch id {
	case propMessageExpiry:
		p.messageExpiry = u32()
	case propSubscriptionID:
		v := c.varint(name)
		if v == 0 {
			c.protocolError("§3.8.2.1.2", "%s is 0", name)
		}
		p.subscriptionIDs = append(p.subscriptionIDs, v)
	case propSessionExpiry:
		p.sessionExpiry = u32()
	case propServerKeepAlive:
		p.serverKeepAlive = u16()
	case propWillDelay:
		p.willDelay = u32()
	case propReceiveMaximum:
		p.receiveMaximum = u16()
		notZero(*p.receiveMaximum == 0)
	case propTopicAliasMax:
		p.topicAliasMax = u16()
	case propTopicAlias:
		p.topicAlias = u16()
		if *p.topicAlias == 0 {
			c.fail(TopicAliasInvalid, []string{"MQTT-3.3.2-8"}, "Topic Alias is 0")
		}
	case propMaximumPacket:
		p.maximumPacket = u32()
		notZero(*p.maximumPacket == 0)
	default:
		return false
	}
	return true
}

// readFlag reads a property that is 0 or 1. It reports whether id is one.
func (p *properties) readFlag(c *cursor, id uint32, name string) bool {
	flag := map[uint32]**byte{
		propPayloadFormat: &p.payloadFormat, propRequestProblem: &p.requestProblem, propRequestResponse: &p.requestResponse,
		propMaximumQoS: &p.maximumQoS, propRetainAvailable: &p.retainAvailable, propWildcardSub: &p.wildcardSub,
		propSubIDAvailable: &p.subIDAvailable, propSharedSub: &p.sharedSub,
	}[id]
	if flag == nil {
		return false
	}
	v := c.byte(name)
	if v > 1 {
		c.protocolError("§2.2.2.2", "%s is %d, not 0 or 1", name, v)
	}
	*flag = &v
	return true
}

// clonePayload keeps an absent payload nil, for easy comparison.
func clonePayload(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}
