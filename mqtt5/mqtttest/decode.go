// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"errors"
	"io"
	"unicode/utf8"
)

// Decode decodes the packet at the front of b as the other side's receiver has
// to: strictly. It returns the packet and its length, or [io.ErrUnexpectedEOF]
// when b holds only the beginning of a packet, or a [*Violation] that names the
// rule when the bytes are not what side may send. It is [Encode]'s inverse for
// legal packets: what is absent comes back nil, as an empty payload does. The
// packet shares no memory with b.
func Decode(b []byte, side Side) (Packet, int, error) {
	size, header, err := frame(b, side)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < size {
		return nil, 0, io.ErrUnexpectedEOF
	}
	p, err := decodeBody(b[0], b[header:size], side)
	if err != nil {
		return nil, 0, err
	}
	return p, size, nil
}

// frame reads the fixed header and returns the sizes of packet and header. The
// flags are checked before the length is even there, so that a stream that
// makes no sense fails at its first byte.
func frame(b []byte, side Side) (size, header int, err error) {
	if len(b) == 0 {
		return 0, 0, io.ErrUnexpectedEOF
	}
	if v := checkFirstByte(b[0], side); v != nil {
		return 0, 0, v
	}
	c := cursor{b: b[1:min(len(b), 5)], side: side, typ: PacketType(b[0] >> 4)}
	n := c.varint("the Remaining Length")
	if c.err != nil {
		if len(b) < 5 && !c.err.Breaks("MQTT-1.5.5-1") {
			return 0, 0, io.ErrUnexpectedEOF
		}
		return 0, 0, c.err
	}
	header = 1 + len(appendVarint(nil, n))
	return header + int(n), header, nil
}

var flagRules = map[PacketType]string{
	TypePubrel: "MQTT-3.6.1-1", TypeSubscribe: "MQTT-3.8.1-1", TypeUnsubscribe: "MQTT-3.10.1-1",
	TypeDisconnect: "MQTT-3.14.1-1", TypeAuth: "MQTT-3.15.1-1",
}

func checkFirstByte(first byte, side Side) *Violation {
	typ, flags := PacketType(first>>4), first&0x0F
	c := cursor{typ: typ, side: side}
	fromClient := clientProperties[typ] != 0 || typ == TypePingreq
	fromServer := serverProperties[typ] != 0 || typ == TypePingresp
	if typ == 0 {
		c.malformed("§2.1.2", "packet type 0 is forbidden (first byte 0x%02X)", first)
	} else if side == FromClient && !fromClient || side == FromServer && !fromServer {
		c.protocolError("§2.1.2", "a %v does not send this packet", side)
	}
	if typ == TypePublish {
		switch {
		case flags&0x06 == 0x06:
			c.malformed("MQTT-3.3.1-4", "QoS 3")
		case flags&0x0E == 0x08:
			c.fail(MalformedPacket, []string{"MQTT-3.3.1-2", "MQTT-4.3.1-1"}, "DUP is set with QoS 0")
		}
		return c.err
	}
	want := byte(0)
	if typ == TypePubrel || typ == TypeSubscribe || typ == TypeUnsubscribe {
		want = 0x02
	}
	if flags != want {
		rules := []string{"MQTT-2.1.3-1"}
		if r := flagRules[typ]; r != "" {
			rules = append(rules, r)
		}
		c.fail(MalformedPacket, rules, "the reserved flags are %04b, not %04b", flags, want)
	}
	return c.err
}

func decodeBody(first byte, body []byte, side Side) (Packet, error) {
	c := &cursor{b: body, side: side, typ: PacketType(first >> 4)}
	allowed := clientProperties[c.typ]
	if side == FromServer {
		allowed = serverProperties[c.typ]
	}
	var p Packet
	switch c.typ {
	case TypeConnect:
		p = decodeConnect(c, allowed)
	case TypeConnack:
		p = decodeConnack(c, allowed)
	case TypePublish:
		p = decodePublish(c, first, allowed)
	case TypePuback:
		p = decodeAck(c, allowed)
	case TypePubrec:
		p = Pubrec(decodeAck(c, allowed))
	case TypePubrel:
		p = Pubrel(decodeAck(c, allowed))
	case TypePubcomp:
		p = Pubcomp(decodeAck(c, allowed))
	case TypeSubscribe:
		p = decodeSubscribe(c, allowed)
	case TypeSuback:
		p = decodeSuback(c, allowed)
	case TypeUnsubscribe:
		p = decodeUnsubscribe(c, allowed)
	case TypeUnsuback:
		p = Unsuback(decodeSuback(c, allowed))
	case TypePingreq:
		c.end()
		p = Pingreq{}
	case TypePingresp:
		c.end()
		p = Pingresp{}
	case TypeDisconnect:
		p = decodeDisconnect(c, allowed)
	case TypeAuth:
		p = decodeAuth(c, allowed)
	default:
		c.malformed("§2.1.2", "packet type %d", byte(c.typ))
	}
	if c.err != nil {
		return nil, c.err
	}
	return p, nil
}

func decodeConnect(c *cursor, allowed idSet) (p Connect) {
	if name := c.string("the protocol name", "MQTT-3.1.2-1"); c.err == nil && name != "MQTT" {
		c.fail(UnsupportedProtocolVersion, []string{"MQTT-3.1.2-1"}, "the protocol name is %q", name)
	}
	if version := c.byte("the protocol version"); c.err == nil && version != 5 {
		c.fail(UnsupportedProtocolVersion, []string{"MQTT-3.1.2-2"}, "the protocol version is %d", version)
	}
	flags := c.byte("the connect flags")
	willQoS := flags >> 3 & 0x03
	switch {
	case flags&0x01 != 0:
		c.malformed("MQTT-3.1.2-3", "the reserved connect flag is set")
	case flags&0x04 == 0 && willQoS != 0:
		c.malformed("MQTT-3.1.2-11", "Will QoS is %d without a will", willQoS)
	case flags&0x04 == 0 && flags&0x20 != 0:
		c.malformed("MQTT-3.1.2-13", "Will Retain is set without a will")
	case willQoS == 3:
		c.malformed("MQTT-3.1.2-12", "Will QoS is 3")
	}
	p.CleanStart = flags&0x02 != 0
	p.KeepAliveSeconds = c.uint16("Keep Alive")
	props := c.properties(allowed, "CONNECT")
	p.SessionExpiryIntervalSeconds, p.ReceiveMaximum, p.MaximumPacketSizeBytes = props.sessionExpiry, props.receiveMaximum, props.maximumPacket
	p.TopicAliasMaximum, p.UserProperties = props.topicAliasMax, props.user
	p.RequestResponseInformation, p.RequestProblemInformation = props.requestResponse, props.requestProblem
	p.AuthenticationMethod, p.AuthenticationData = props.authMethod, props.authData

	p.ClientID = c.string("the client identifier", "MQTT-3.1.3-3", "MQTT-3.1.3-4")
	if flags&0x04 != 0 {
		p.Will = decodeWill(c)
		p.Will.QoS, p.Will.Retain = willQoS, flags&0x20 != 0
	}
	if flags&0x80 != 0 {
		name := c.string("the user name", "MQTT-3.1.2-17", "MQTT-3.1.3-12")
		p.Username = &name
	}
	if flags&0x40 != 0 {
		p.Password = c.binary("the password", "MQTT-3.1.2-19")
	}
	var rules []string
	if flags&0x80 == 0 {
		rules = append(rules, "MQTT-3.1.2-16")
	}
	if flags&0x40 == 0 {
		rules = append(rules, "MQTT-3.1.2-18")
	}
	c.end(append(rules, "MQTT-3.1.3-1")...)
	return p
}

func decodeWill(c *cursor) *Will {
	missing := len(c.b) == 0
	props := c.properties(willProperties, "the will")
	w := &Will{
		DelayIntervalSeconds: props.willDelay, PayloadFormat: props.payloadFormat, MessageExpirySeconds: props.messageExpiry,
		ContentType: props.contentType, ResponseTopic: props.responseTopic, CorrelationData: props.correlationData,
		UserProperties: props.user,
	}
	if c.err != nil && missing {
		c.err.Rules = append([]string{"MQTT-3.1.2-9"}, c.err.Rules...)
	}
	w.Topic = c.string("the will topic", "MQTT-3.1.2-9", "MQTT-3.1.3-11")
	switch {
	case c.err != nil:
	case w.Topic == "":
		c.protocolError("MQTT-4.7.3-1", "the will topic is empty")
	case hasWildcard(w.Topic):
		c.fail(TopicNameInvalid, []string{"MQTT-4.7.0-1"}, "the will topic has a wildcard in it")
	}
	w.Payload = clonePayload(c.binary("the will payload", "MQTT-3.1.2-9"))
	if w.PayloadFormat != nil && *w.PayloadFormat == 1 && !utf8.Valid(w.Payload) {
		c.fail(PayloadFormatInvalid, []string{"§3.1.3.2.3"}, "the will payload is not the UTF-8 text it is said to be")
	}
	return w
}

func decodeConnack(c *cursor, allowed idSet) (p Connack) {
	flags := c.byte("the acknowledge flags")
	if flags > 1 {
		c.malformed("MQTT-3.2.2-1", "the acknowledge flags are 0x%02X", flags)
	}
	p.SessionPresent = flags == 1
	p.ReasonCode = c.reason(c.byte("the reason code"))
	if p.SessionPresent && p.ReasonCode != 0 {
		c.protocolError("MQTT-3.2.2-6", "Session Present with reason code %v", p.ReasonCode)
	}
	props := c.properties(allowed, "CONNACK")
	p.SessionExpiryIntervalSeconds, p.ReceiveMaximum, p.MaximumQoS = props.sessionExpiry, props.receiveMaximum, props.maximumQoS
	p.RetainAvailable, p.MaximumPacketSizeBytes = props.retainAvailable, props.maximumPacket
	p.AssignedClientID, p.TopicAliasMaximum = props.assignedClientID, props.topicAliasMax
	p.ReasonString, p.UserProperties = props.reasonString, props.user
	p.WildcardSubscriptionsAvailable, p.SubscriptionIDsAvailable = props.wildcardSub, props.subIDAvailable
	p.SharedSubscriptionsAvailable, p.ServerKeepAliveSeconds = props.sharedSub, props.serverKeepAlive
	p.ResponseInformation, p.ServerReference = props.responseInfo, props.serverReference
	p.AuthenticationMethod, p.AuthenticationData = props.authMethod, props.authData
	c.end()
	return p
}

func decodePublish(c *cursor, first byte, allowed idSet) (p Publish) {
	p.Duplicate, p.QoS, p.Retain = first&0x08 != 0, first>>1&0x03, first&0x01 != 0
	p.Topic = c.string("the topic name", "MQTT-3.3.2-1")
	if hasWildcard(p.Topic) {
		c.fail(TopicNameInvalid, []string{"MQTT-3.3.2-2", "MQTT-4.7.0-1"}, "the topic name %q has a wildcard in it", p.Topic)
	}
	if p.QoS > 0 {
		p.PacketID = c.packetID()
	}
	props := c.properties(allowed, "PUBLISH")
	p.PayloadFormat, p.MessageExpirySeconds, p.TopicAlias = props.payloadFormat, props.messageExpiry, props.topicAlias
	p.ResponseTopic, p.CorrelationData, p.UserProperties = props.responseTopic, props.correlationData, props.user
	p.SubscriptionIdentifiers, p.ContentType = props.subscriptionIDs, props.contentType
	if c.err == nil && p.Topic == "" && p.TopicAlias == nil {
		c.fail(ProtocolError, []string{"MQTT-4.7.3-1", "§3.3.2.1"}, "the topic name is empty and there is no Topic Alias")
	}
	p.Payload = clonePayload(c.b)
	if p.PayloadFormat != nil && *p.PayloadFormat == 1 && !utf8.Valid(p.Payload) {
		c.fail(PayloadFormatInvalid, []string{"§3.3.2.3.2"}, "the payload is not the UTF-8 text it is said to be")
	}
	return p
}

func decodeAck(c *cursor, allowed idSet) (p Puback) {
	p.PacketID = c.packetID()
	if len(c.b) > 0 {
		p.ReasonCode = c.reason(c.byte("the reason code"))
	}
	if len(c.b) > 0 {
		props := c.properties(allowed, c.typ.String())
		p.ReasonString, p.UserProperties = props.reasonString, props.user
	}
	c.end()
	return p
}

func decodeSubscribe(c *cursor, allowed idSet) (p Subscribe) {
	p.PacketID = c.packetID()
	props := c.properties(allowed, "SUBSCRIBE")
	p.UserProperties = props.user
	if len(props.subscriptionIDs) > 0 {
		p.SubscriptionIdentifier = &props.subscriptionIDs[0]
	}
	if c.err == nil && len(c.b) == 0 {
		c.protocolError("MQTT-3.8.3-2", "there is no topic filter")
	}
	for len(c.b) > 0 {
		s := Subscription{TopicFilter: c.string("a topic filter", "MQTT-3.8.3-1")}
		o := c.byte("the subscription options")
		s.QoS, s.RetainHandling = o&0x03, o>>4&0x03
		s.NoLocal, s.RetainAsPublished = o&0x04 != 0, o&0x08 != 0
		switch {
		case c.err != nil:
		case o&0xC0 != 0:
			c.malformed("MQTT-3.8.3-5", "reserved subscription options are set (0x%02X)", o)
		case s.QoS == 3:
			c.protocolError("§3.8.3.1", "the Maximum QoS of a filter is 3")
		case s.RetainHandling == 3:
			c.protocolError("§3.8.3.1", "Retain Handling is 3")
		default:
			c.filter(s.TopicFilter, s.NoLocal)
		}
		p.Subscriptions = append(p.Subscriptions, s)
	}
	return p
}

func (c *cursor) filter(f string, noLocal bool) {
	if rules, detail := checkFilter(f, noLocal); rules != nil && c.err == nil {
		c.fail(ProtocolError, rules, "topic filter %q: %s", f, detail)
	}
}

func decodeSuback(c *cursor, allowed idSet) (p Suback) {
	p.PacketID = c.packetID()
	props := c.properties(allowed, c.typ.String())
	p.ReasonString, p.UserProperties = props.reasonString, props.user
	if c.err == nil && len(c.b) == 0 {
		c.protocolError("§3.9.3", "there is no reason code")
	}
	for len(c.b) > 0 {
		p.ReasonCodes = append(p.ReasonCodes, c.reason(c.byte("a reason code")))
	}
	return p
}

func decodeUnsubscribe(c *cursor, allowed idSet) (p Unsubscribe) {
	p.PacketID = c.packetID()
	p.UserProperties = c.properties(allowed, "UNSUBSCRIBE").user
	if c.err == nil && len(c.b) == 0 {
		c.protocolError("MQTT-3.10.3-2", "there is no topic filter")
	}
	for len(c.b) > 0 {
		f := c.string("a topic filter", "MQTT-3.10.3-1")
		c.filter(f, false)
		p.TopicFilters = append(p.TopicFilters, f)
	}
	return p
}

func decodeDisconnect(c *cursor, allowed idSet) (p Disconnect) {
	if len(c.b) > 0 {
		p.ReasonCode = c.reason(c.byte("the reason code"))
	}
	if len(c.b) > 0 {
		props := c.properties(allowed, "DISCONNECT")
		p.SessionExpiryIntervalSeconds, p.ReasonString = props.sessionExpiry, props.reasonString
		p.UserProperties, p.ServerReference = props.user, props.serverReference
	}
	c.end()
	return p
}

func decodeAuth(c *cursor, allowed idSet) (p Auth) {
	if len(c.b) > 0 {
		p.ReasonCode = ReasonCode(c.byte("the reason code"))
		props := c.properties(allowed, "AUTH")
		p.AuthenticationMethod, p.AuthenticationData = props.authMethod, props.authData
		p.ReasonString, p.UserProperties = props.reasonString, props.user
	}
	c.end()
	c.reason(byte(p.ReasonCode))
	if c.err == nil && p.AuthenticationMethod == nil {
		c.protocolError("§3.15.2.2.2", "Authentication Method is missing")
	}
	return p
}

// readPacket reads one packet from r, and returns the bytes read so far with
// any error. A clean end of the stream before the first byte is [io.EOF], any
// later one [io.ErrUnexpectedEOF].
func readPacket(r io.Reader, side Side) (Packet, []byte, error) {
	buf := make([]byte, 1, 64)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, nil, err
	}
	size, header, err := frame(buf, side)
	for errors.Is(err, io.ErrUnexpectedEOF) {
		buf = append(buf, 0)
		if _, err := io.ReadFull(r, buf[len(buf)-1:]); err != nil {
			return nil, buf[:len(buf)-1], truncated(err)
		}
		size, header, err = frame(buf, side)
	}
	if err != nil {
		return nil, buf, err
	}
	// A length is only a claim: the buffer grows as the bytes come in.
	for len(buf) < size {
		have := len(buf)
		buf = append(buf, make([]byte, min(size-have, 64<<10))...)
		if n, err := io.ReadFull(r, buf[have:]); err != nil {
			return nil, buf[:have+n], truncated(err)
		}
	}
	p, err := decodeBody(buf[0], buf[header:], side)
	return p, buf, err
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
