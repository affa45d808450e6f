// SPDX-License-Identifier: Apache-2.0

package wiretest

import (
	"encoding/binary"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// reader takes the body of a packet apart. After the first error all reads return
// zero values.
type reader struct {
	rest []byte
	t    wire.Type
	err  *wire.Error
}

func (r *reader) fail(err *wire.Error) {
	if r.err == nil {
		r.err, r.rest = err, nil
	}
}

func (r *reader) malformed(rule, text string) {
	r.fail(&wire.Error{Reason: wire.MalformedPacket, Packet: r.t, Rule: rule, Text: text})
}

func (r *reader) protocolError(rule, text string) {
	r.fail(&wire.Error{Reason: wire.ProtocolError, Packet: r.t, Rule: rule, Text: text})
}

func (r *reader) take(n int, what string) []byte {
	if n > len(r.rest) || r.err != nil {
		r.malformed("2.1.4", what+" runs past the end of the packet")
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte(what string) byte {
	if b := r.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16(what string) uint16 {
	if b := r.take(2, what); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) bytes(what string) []byte { return r.take(int(r.uint16(what)), what) }

func (r *reader) string(what string) string {
	s := string(r.bytes(what))
	r.characters(what, s)
	return s
}

// characters checks the characters of a string.
func (r *reader) characters(what, s string) {
	if v := wire.CheckString(s); v != nil {
		r.malformed(v.Rule, what+" is no string: "+v.Text)
	}
}

func (r *reader) packetID() uint16 {
	id := r.uint16("packet identifier")
	if r.err == nil && id == 0 {
		r.protocolError("MQTT-2.2.1-3", "packet identifier is 0")
	}
	return id
}

// filter reads a topic filter.
func (r *reader) filter() string {
	s := r.string("topic filter")
	if r.err == nil {
		if v := wire.CheckTopicFilter(s); v != nil {
			r.protocolError(v.Rule, v.Text)
		}
	}
	return s
}

// end demands that nothing is left.
func (r *reader) end() *wire.Error {
	if len(r.rest) > 0 {
		r.malformed("2.1.4", "bytes are left over at the end of the packet")
	}
	return r.err
}

// The connect flags (section 3.1.2.3).
const (
	flagReserved   = 0x01
	flagCleanStart = 0x02
	flagWill       = 0x04
	flagWillQoS    = 0x18
	flagWillRetain = 0x20
	flagPassword   = 0x40
	flagUsername   = 0x80
)

// ParseConnect reads a CONNECT.
func ParseConnect(f *wire.Frame, p *wire.Connect) *wire.Error {
	*p = wire.Connect{}
	r := &reader{rest: f.Body, t: f.Type}
	if name := string(r.bytes("protocol name")); r.err == nil && name != "MQTT" {
		r.fail(&wire.Error{Reason: wire.UnsupportedProtocolVersion, Packet: r.t, Rule: "MQTT-3.1.2-1", Text: "protocol name is not MQTT"})
	}
	if version := r.byte("protocol version"); r.err == nil && version != 5 {
		r.fail(&wire.Error{Reason: wire.UnsupportedProtocolVersion, Packet: r.t, Rule: "MQTT-3.1.2-2", Text: "protocol version is not 5"})
	}
	flags := r.byte("connect flags")
	r.connectFlags(flags)
	p.CleanStart = flags&flagCleanStart != 0
	p.KeepAlive = r.uint16("keep alive")
	r.properties(inConnect, func(one *property) { setConnect(p, one) })
	if r.err == nil && p.AuthenticationData != nil && p.AuthenticationMethod == nil {
		r.protocolError(string(inConnect), "authentication data without an authentication method")
	}
	p.ClientID = r.string("client identifier")
	if flags&flagWill != 0 {
		p.Will = r.will()
		p.Will.QoS, p.Will.Retain = flags&flagWillQoS>>3, flags&flagWillRetain != 0
	}
	if flags&flagUsername != 0 {
		name := r.string("user name")
		p.Username = &name
	}
	if flags&flagPassword != 0 {
		p.Password = append([]byte{}, r.bytes("password")...)
	}
	return r.end()
}

func (r *reader) connectFlags(flags byte) {
	will, qos := flags&flagWill != 0, flags&flagWillQoS
	switch {
	case flags&flagReserved != 0:
		r.malformed("MQTT-3.1.2-3", "reserved connect flag is set")
	case !will && qos != 0:
		r.malformed("MQTT-3.1.2-11", "will QoS without a will")
	case qos == flagWillQoS:
		r.malformed("MQTT-3.1.2-12", "will QoS is 3")
	case !will && flags&flagWillRetain != 0:
		r.malformed("MQTT-3.1.2-13", "will retain without a will")
	}
}

func setConnect(p *wire.Connect, one *property) {
	switch one.id {
	case sessionExpiryInterval:
		p.SessionExpiryInterval = one.uint32()
	case receiveMaximum:
		p.ReceiveMaximum = one.uint16()
	case maximumPacketSize:
		p.MaximumPacketSize = one.uint32()
	case topicAliasMaximum:
		p.TopicAliasMaximum = one.uint16()
	case requestResponseInfo:
		p.RequestResponseInformation = one.bool()
	case requestProblemInfo:
		p.RequestProblemInformation = one.bool()
	case authenticationMethod:
		p.AuthenticationMethod = one.string()
	case authenticationData:
		p.AuthenticationData = one.bytes()
	case userProperty:
		p.UserProperties = append(p.UserProperties, wire.UserProperty{Name: one.text, Value: one.value})
	}
}

// will reads the properties, the topic and the payload of a will.
func (r *reader) will() *wire.Will {
	w := &wire.Will{}
	r.properties(inWill, func(one *property) {
		if one.id == willDelayInterval {
			w.DelayInterval = one.uint32()
			return
		}
		if w.Properties == nil {
			w.Properties = &wire.PublishProperties{}
		}
		setWill(w.Properties, one)
	})
	w.Topic = r.string("will topic")
	switch {
	case r.err != nil:
	case w.Topic == "":
		r.protocolError("MQTT-4.7.3-1", "will topic is empty")
	case strings.ContainsAny(w.Topic, "+#"):
		r.protocolError("MQTT-4.7.0-1", "will topic contains a wildcard character")
	}
	w.Payload = append([]byte{}, r.bytes("will payload")...)
	return w
}

func setWill(p *wire.PublishProperties, one *property) {
	switch one.id {
	case payloadFormat:
		p.PayloadFormat = one.uint8()
	case messageExpiryInterval:
		p.MessageExpiryInterval = one.uint32()
	case contentType:
		p.ContentType = one.string()
	case responseTopic:
		p.ResponseTopic = one.string()
	case correlationData:
		p.CorrelationData = one.bytes()
	case userProperty:
		p.UserProperties = append(p.UserProperties, wire.UserProperty{Name: one.text, Value: one.value})
	}
}

// ParseSubscribe reads a SUBSCRIBE.
func ParseSubscribe(f *wire.Frame, p *wire.Subscribe) *wire.Error {
	*p = wire.Subscribe{}
	r := &reader{rest: f.Body, t: f.Type}
	p.PacketID = r.packetID()
	r.properties(inSubscribe, func(one *property) {
		if one.id == subscriptionID {
			p.SubscriptionID = one.uint32()
		} else {
			p.UserProperties = append(p.UserProperties, wire.UserProperty{Name: one.text, Value: one.value})
		}
	})
	if r.err == nil && len(r.rest) == 0 {
		r.protocolError("MQTT-3.8.3-2", "there is no topic filter")
	}
	for r.err == nil && len(r.rest) > 0 {
		filter := r.filter()
		p.Subscriptions = append(p.Subscriptions, r.subscription(filter))
	}
	return r.end()
}

// subscription reads the options (section 3.8.3.1) of a filter.
func (r *reader) subscription(filter string) wire.Subscription {
	options := r.byte("subscription options")
	s := wire.Subscription{
		TopicFilter: filter, QoS: options & 3, RetainHandling: options >> 4 & 3,
		NoLocal: options&4 != 0, RetainAsPublished: options&8 != 0,
	}
	switch {
	case options>>6 != 0:
		r.malformed("MQTT-3.8.3-5", "reserved subscription options are set")
	case s.QoS == 3:
		r.protocolError("3.8.3.1", "maximum QoS of a subscription is 3")
	case s.RetainHandling == 3:
		r.protocolError("3.8.3.1", "retain handling is 3")
	case s.NoLocal && strings.HasPrefix(filter, wire.SharedPrefix):
		r.protocolError("MQTT-3.8.3-4", "no local is set on a shared subscription")
	}
	return s
}

// ParseUnsubscribe reads an UNSUBSCRIBE.
func ParseUnsubscribe(f *wire.Frame, p *wire.Unsubscribe) *wire.Error {
	*p = wire.Unsubscribe{}
	r := &reader{rest: f.Body, t: f.Type}
	p.PacketID = r.packetID()
	r.properties(inUnsubscribe, func(one *property) {
		p.UserProperties = append(p.UserProperties, wire.UserProperty{Name: one.text, Value: one.value})
	})
	if r.err == nil && len(r.rest) == 0 {
		r.protocolError("MQTT-3.10.3-2", "there is no topic filter")
	}
	for r.err == nil && len(r.rest) > 0 {
		p.TopicFilters = append(p.TopicFilters, r.filter())
	}
	return r.end()
}
