// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// Property identifiers (section 2.2.2.2). All fit one byte.
const (
	propPayloadFormat            = 0x01
	propMessageExpiryInterval    = 0x02
	propContentType              = 0x03
	propResponseTopic            = 0x08
	propCorrelationData          = 0x09
	propSubscriptionID           = 0x0B
	propSessionExpiryInterval    = 0x11
	propAssignedClientID         = 0x12
	propServerKeepAlive          = 0x13
	propAuthenticationMethod     = 0x15
	propAuthenticationData       = 0x16
	propRequestProblemInfo       = 0x17
	propWillDelayInterval        = 0x18
	propRequestResponseInfo      = 0x19
	propResponseInformation      = 0x1A
	propServerReference          = 0x1C
	propReasonString             = 0x1F
	propReceiveMaximum           = 0x21
	propTopicAliasMaximum        = 0x22
	propTopicAlias               = 0x23
	propMaximumQoS               = 0x24
	propRetainAvailable          = 0x25
	propUserProperty             = 0x26
	propMaximumPacketSize        = 0x27
	propWildcardAvailable        = 0x28
	propSubscriptionIDsAvailable = 0x29
	propSharedAvailable          = 0x2A
	propCount                    = 0x2B
)

// kind is the data type of a property.
type kind uint8

const (
	kindNone kind = iota // no such property
	kindByte
	kindUint16
	kindUint32
	kindVarint
	kindString
	kindBinary
	kindPair
)

// place is where properties stand: the will or a type of packet. Its value is
// the packet type, or placeWill.
type place uint8

const placeWill place = 0

// in builds the set of places where a property is allowed.
func in(places ...place) (set uint16) {
	for _, p := range places {
		set |= 1 << p
	}
	return set
}

// rangeRule restricts the values of a property further than its type does.
type rangeRule uint8

const (
	anyValue   rangeRule = iota
	zeroOrOne            // 0 or 1
	notZero              // 1 and above
	notZeroTA            // as notZero, with the reason code for topic aliases
	topicValue           // a topic name
)

type propertyInfo struct {
	name   string
	kind   kind
	rule   rangeRule
	places uint16
}

const (
	pConnect     = place(TypeConnect)
	pConnack     = place(TypeConnack)
	pPublish     = place(TypePublish)
	pPuback      = place(TypePuback)
	pPubrec      = place(TypePubrec)
	pPubrel      = place(TypePubrel)
	pPubcomp     = place(TypePubcomp)
	pSubscribe   = place(TypeSubscribe)
	pSuback      = place(TypeSuback)
	pUnsubscribe = place(TypeUnsubscribe)
	pUnsuback    = place(TypeUnsuback)
	pDisconnect  = place(TypeDisconnect)
	pAuth        = place(TypeAuth)
)

// propertyTable is table 2-4 of the standard together with the value ranges
// from the sections of the packets.
var propertyTable = [propCount]propertyInfo{
	propPayloadFormat:            {"payload format indicator", kindByte, zeroOrOne, in(pPublish, placeWill)},
	propMessageExpiryInterval:    {"message expiry interval", kindUint32, anyValue, in(pPublish, placeWill)},
	propContentType:              {"content type", kindString, anyValue, in(pPublish, placeWill)},
	propResponseTopic:            {"response topic", kindString, topicValue, in(pPublish, placeWill)},
	propCorrelationData:          {"correlation data", kindBinary, anyValue, in(pPublish, placeWill)},
	propSubscriptionID:           {"subscription identifier", kindVarint, notZero, in(pPublish, pSubscribe)},
	propSessionExpiryInterval:    {"session expiry interval", kindUint32, anyValue, in(pConnect, pConnack, pDisconnect)},
	propAssignedClientID:         {"assigned client identifier", kindString, anyValue, in(pConnack)},
	propServerKeepAlive:          {"server keep alive", kindUint16, anyValue, in(pConnack)},
	propAuthenticationMethod:     {"authentication method", kindString, anyValue, in(pConnect, pConnack, pAuth)},
	propAuthenticationData:       {"authentication data", kindBinary, anyValue, in(pConnect, pConnack, pAuth)},
	propRequestProblemInfo:       {"request problem information", kindByte, zeroOrOne, in(pConnect)},
	propWillDelayInterval:        {"will delay interval", kindUint32, anyValue, in(placeWill)},
	propRequestResponseInfo:      {"request response information", kindByte, zeroOrOne, in(pConnect)},
	propResponseInformation:      {"response information", kindString, anyValue, in(pConnack)},
	propServerReference:          {"server reference", kindString, anyValue, in(pConnack, pDisconnect)},
	propReasonString:             {"reason string", kindString, anyValue, in(pConnack, pPuback, pPubrec, pPubrel, pPubcomp, pSuback, pUnsuback, pDisconnect, pAuth)},
	propReceiveMaximum:           {"receive maximum", kindUint16, notZero, in(pConnect, pConnack)},
	propTopicAliasMaximum:        {"topic alias maximum", kindUint16, anyValue, in(pConnect, pConnack)},
	propTopicAlias:               {"topic alias", kindUint16, notZeroTA, in(pPublish)},
	propMaximumQoS:               {"maximum QoS", kindByte, zeroOrOne, in(pConnack)},
	propRetainAvailable:          {"retain available", kindByte, zeroOrOne, in(pConnack)},
	propUserProperty:             {"user property", kindPair, anyValue, 0xFFFF},
	propMaximumPacketSize:        {"maximum packet size", kindUint32, notZero, in(pConnect, pConnack)},
	propWildcardAvailable:        {"wildcard subscription available", kindByte, zeroOrOne, in(pConnack)},
	propSubscriptionIDsAvailable: {"subscription identifiers available", kindByte, zeroOrOne, in(pConnack)},
	propSharedAvailable:          {"shared subscription available", kindByte, zeroOrOne, in(pConnack)},
}

// propertySection is the section about the properties of a place.
var propertySection = [16]string{
	placeWill: "3.1.3.2", pConnect: "3.1.2.11", pConnack: "3.2.2.3", pPublish: "3.3.2.3", pPuback: "3.4.2.2",
	pPubrec: "3.5.2.2", pPubrel: "3.6.2.2", pPubcomp: "3.7.2.2", pSubscribe: "3.8.2.1", pSuback: "3.9.2.1",
	pUnsubscribe: "3.10.2.1", pUnsuback: "3.11.2.1", pDisconnect: "3.14.2.2", pAuth: "3.15.2.2",
}

// property is one property, its value in the field for its kind.
type property struct {
	id    uint8
	num   uint32 // integers
	data  []byte // string, binary, or the name of a pair
	value []byte // the value of a pair
}

// properties walks over the bytes of a property list.
type properties struct {
	rest  []byte
	seen  uint64 // identifiers that came already
	place place
}

func (ps *properties) packet() Type {
	if ps.place == placeWill {
		return TypeConnect
	}
	return Type(ps.place)
}

// next reads and checks one property. It must not be called when rest is empty.
func (ps *properties) next(p *property) *Error {
	id := ps.rest[0]
	if id >= propCount || propertyTable[id].places>>ps.place&1 == 0 {
		return ps.refuse(id)
	}
	n := p.read(ps.rest)
	if n == 0 {
		return malformed(ps.packet(), "2.2.2", propertyTable[id].name+" runs past the end of the properties")
	}
	ps.rest = ps.rest[n:]
	if ps.seen>>id&1 != 0 && id != propUserProperty && (id != propSubscriptionID || ps.place != pPublish) {
		return protocolError(ps.packet(), propertySection[ps.place], propertyTable[id].name+" is repeated")
	}
	ps.seen |= 1 << id
	return ps.check(p)
}

// check applies what goes beyond the layout: ranges and characters.
func (ps *properties) check(p *property) *Error {
	info := &propertyTable[p.id]
	switch info.kind {
	case kindString:
		if err := checkReceivedString(ps.packet(), info.name, p.data); err != nil {
			return err
		}
	case kindPair:
		if !ValidUTF8(p.data) || !ValidUTF8(p.value) {
			return malformed(ps.packet(), "MQTT-1.5.7-1", "user property is not well-formed UTF-8 or contains U+0000")
		}
		return nil
	}
	switch info.rule {
	case zeroOrOne:
		if p.num > 1 {
			return protocolError(ps.packet(), propertySection[ps.place], info.name+" is neither 0 nor 1")
		}
	case notZero:
		if p.num == 0 {
			return protocolError(ps.packet(), propertySection[ps.place], info.name+" is 0")
		}
	case notZeroTA:
		if p.num == 0 {
			return &Error{Reason: TopicAliasInvalid, Packet: ps.packet(), Rule: "MQTT-3.3.2-8", Text: "topic alias is 0"}
		}
	case topicValue:
		// An empty one is let through: it comes from another client, and is
		// no reason to part with the server.
		if hasWildcard(p.data) {
			return protocolError(ps.packet(), "MQTT-3.3.2-14", "response topic contains a wildcard character")
		}
	}
	return nil
}

func (ps *properties) refuse(id uint8) *Error {
	if id >= propCount || propertyTable[id].kind == kindNone {
		return malformed(ps.packet(), "2.2.2.2", "unknown property identifier")
	}
	return malformed(ps.packet(), "2.2.2.2", propertyTable[id].name+" is not allowed in this place")
}

// read takes the property at the start of b apart and returns its length, or 0
// if it is cut off or not known.
func (p *property) read(b []byte) (n int) {
	if len(b) == 0 || b[0] >= propCount {
		return 0
	}
	p.id = b[0]
	v := b[1:]
	switch propertyTable[p.id].kind {
	case kindByte:
		if len(v) < 1 {
			return 0
		}
		p.num = uint32(v[0])
		return 2
	case kindUint16:
		if len(v) < 2 {
			return 0
		}
		p.num = uint32(binary.BigEndian.Uint16(v))
		return 3
	case kindUint32:
		if len(v) < 4 {
			return 0
		}
		p.num = binary.BigEndian.Uint32(v)
		return 5
	case kindVarint:
		var n int
		if p.num, n = varint(v); n <= 0 {
			return 0
		}
		return 1 + n
	case kindString, kindBinary:
		var ok bool
		if p.data, ok = field(v); !ok {
			return 0
		}
		return 3 + len(p.data)
	case kindPair:
		var ok bool
		if p.data, ok = field(v); !ok {
			return 0
		}
		if p.value, ok = field(v[2+len(p.data):]); !ok {
			return 0
		}
		return 5 + len(p.data) + len(p.value)
	}
	return 0
}

// field returns the contents of the length-prefixed field at the start of b.
func field(b []byte) ([]byte, bool) {
	if len(b) < 2 {
		return nil, false
	}
	end := 2 + int(binary.BigEndian.Uint16(b))
	if end > len(b) {
		return nil, false
	}
	return b[2:end], true
}

// splitProperties cuts the property list, which a length precedes, from the
// start of b.
func splitProperties(t Type, b []byte) (props, rest []byte, err *Error) {
	length, n := varint(b)
	switch {
	case n == varintShort:
		return nil, nil, malformed(t, "2.2.2.1", "property length is missing or cut off")
	case n == varintBad:
		return nil, nil, malformed(t, "MQTT-1.5.5-1", "property length is not a variable byte integer of least size")
	case int(length) > len(b)-n:
		return nil, nil, malformed(t, "2.2.2.1", "property length is larger than the rest of the packet")
	}
	return b[n : n+int(length)], b[n+int(length):], nil
}

// countProperties returns how many properties with this identifier are in b,
// so that slices are made in the right size at once.
func countProperties(b []byte, id uint8) (count int) {
	var p property
	for len(b) > 0 {
		n := p.read(b)
		if n == 0 {
			break
		}
		if p.id == id {
			count++
		}
		b = b[n:]
	}
	return count
}

// appendUser adds the user property p to list; rest is what follows it.
func (p *property) appendUser(list []UserProperty, rest []byte) []UserProperty {
	if list == nil {
		list = make([]UserProperty, 0, 1+countProperties(rest, propUserProperty))
	}
	return append(list, UserProperty{string(p.data), string(p.value)})
}

func (p *property) uint8() *uint8   { v := uint8(p.num); return &v }
func (p *property) uint16() *uint16 { v := uint16(p.num); return &v }
func (p *property) uint32() *uint32 { v := p.num; return &v }
func (p *property) bool() *bool     { v := p.num == 1; return &v }
func (p *property) string() *string { v := string(p.data); return &v }

// binary returns a copy that is not nil, since nil stands for an absent field.
func (p *property) binary() []byte { return append([]byte{}, p.data...) }
