// SPDX-License-Identifier: Apache-2.0

package wiretest

import (
	"encoding/binary"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Property identifiers (section 2.2.2.2).
const (
	payloadFormat            = 1
	messageExpiryInterval    = 2
	contentType              = 3
	responseTopic            = 8
	correlationData          = 9
	subscriptionID           = 11
	sessionExpiryInterval    = 17
	assignedClientID         = 18
	serverKeepAlive          = 19
	authenticationMethod     = 21
	authenticationData       = 22
	requestProblemInfo       = 23
	willDelayInterval        = 24
	requestResponseInfo      = 25
	responseInformation      = 26
	serverReference          = 28
	reasonString             = 31
	receiveMaximum           = 33
	topicAliasMaximum        = 34
	maximumQoS               = 36
	retainAvailable          = 37
	userProperty             = 38
	maximumPacketSize        = 39
	wildcardAvailable        = 40
	subscriptionIDsAvailable = 41
	sharedAvailable          = 42
)

// place is where a client's properties stand, by their section.
type place string

const (
	inConnect     place = "3.1.2.11"
	inWill        place = "3.1.3.2"
	inSubscribe   place = "3.8.2.1"
	inUnsubscribe place = "3.10.2.1"
)

// form is the data type of a property, with the values that are allowed.
type form byte

const (
	flag       form = 'f' // a byte: 0 or 1
	short      form = 's' // two bytes
	shortNot0  form = 'S'
	long       form = 'l' // four bytes
	longNot0   form = 'L'
	varintNot0 form = 'V'
	text       form = 't'
	topicText  form = 'T' // without wildcards
	data       form = 'd'
	pair       form = 'p'
)

// allowed lists the properties of each place.
var allowed = map[place]map[byte]form{
	inConnect: {
		sessionExpiryInterval: long, receiveMaximum: shortNot0, maximumPacketSize: longNot0, topicAliasMaximum: short,
		requestResponseInfo: flag, requestProblemInfo: flag, authenticationMethod: text, authenticationData: data, userProperty: pair,
	},
	inWill: {
		willDelayInterval: long, payloadFormat: flag, messageExpiryInterval: long, contentType: text, responseTopic: topicText,
		correlationData: data, userProperty: pair,
	},
	inSubscribe:   {subscriptionID: varintNot0, userProperty: pair},
	inUnsubscribe: {userProperty: pair},
}

// property is one property, its value in the field for its form.
type property struct {
	id    byte
	num   uint32
	text  string // also of data, and the name of a pair
	value string // of a pair
}

func (p *property) string() *string { return &p.text }
func (p *property) bytes() []byte   { return []byte(p.text) }
func (p *property) uint8() *uint8   { v := uint8(p.num); return &v }
func (p *property) uint16() *uint16 { v := uint16(p.num); return &v }
func (p *property) uint32() *uint32 { v := p.num; return &v }
func (p *property) bool() *bool     { v := p.num == 1; return &v }

// properties calls set for each property of the list that comes next.
func (r *reader) properties(at place, set func(p *property)) {
	length, n := varint(r.rest)
	switch {
	case r.err != nil:
		return
	case n == 0:
		r.malformed("2.2.2.1", "property length is missing or cut off")
		return
	case n < 0:
		r.malformed("MQTT-1.5.5-1", "property length is not a variable byte integer of least size")
		return
	case int(length) > len(r.rest)-n:
		r.malformed("2.2.2.1", "property length is larger than the rest of the packet")
		return
	}
	inner := reader{rest: r.rest[n : n+int(length)], t: r.t}
	r.rest = r.rest[n+int(length):]
	seen := map[byte]bool{}
	for len(inner.rest) > 0 {
		p := inner.property(at)
		if inner.err == nil && seen[p.id] && p.id != userProperty {
			inner.protocolError(string(at), "a property is repeated")
		}
		if inner.err == nil {
			inner.check(at, &p)
		}
		if inner.err != nil {
			r.fail(inner.err)
			return
		}
		seen[p.id] = true
		set(&p)
	}
}

// property reads the next property without a look at its value.
func (r *reader) property(at place) (p property) {
	p.id = r.rest[0]
	form, ok := allowed[at][p.id]
	if !ok {
		r.malformed("2.2.2.2", "a property is unknown or not allowed in this place")
		return p
	}
	r.rest = r.rest[1:]
	switch form {
	case flag:
		p.num = uint32(r.byte(""))
	case short, shortNot0:
		p.num = uint32(r.uint16(""))
	case long, longNot0:
		if b := r.take(4, ""); b != nil {
			p.num = binary.BigEndian.Uint32(b)
		}
	case varintNot0:
		var n int
		if p.num, n = varint(r.rest); n <= 0 {
			r.malformed("", "")
			break
		}
		r.rest = r.rest[n:]
	default:
		p.text = string(r.bytes(""))
		if form == pair {
			p.value = string(r.bytes(""))
		}
	}
	if r.err != nil {
		r.err = nil
		r.malformed("2.2.2", "a property runs past the end of the properties")
	}
	return p
}

// check looks at the value of a property.
func (r *reader) check(at place, p *property) {
	form := allowed[at][p.id]
	switch form {
	case flag:
		if p.num > 1 {
			r.protocolError(string(at), "a property is neither 0 nor 1")
		}
	case shortNot0, longNot0, varintNot0:
		if p.num == 0 {
			r.protocolError(string(at), "a property is 0")
		}
	case text, topicText:
		r.characters("a property", p.text)
	case pair:
		if !wire.ValidString(p.text) || !wire.ValidString(p.value) {
			r.malformed("MQTT-1.5.7-1", "a user property is not well-formed UTF-8 or contains U+0000")
		}
	}
	if form == topicText && r.err == nil && strings.ContainsAny(p.text, "+#") {
		r.protocolError("MQTT-3.3.2-14", "the response topic contains a wildcard character")
	}
}

// varint returns the variable byte integer at the start of b and its size: 0
// if it is cut off, and -1 if it is too long.
func varint(b []byte) (v uint32, n int) {
	for n < 4 {
		if n == len(b) {
			return 0, 0
		}
		c := b[n]
		v |= uint32(c&127) << (7 * n)
		n++
		if c < 128 {
			if c == 0 && n > 1 {
				return 0, -1
			}
			return v, n
		}
	}
	return 0, -1
}
