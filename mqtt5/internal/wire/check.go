// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Violation is a rule that a packet to be sent breaks. It is what the Check
// functions return; whether the server's limits are kept is not their concern.
type Violation struct {
	// Field is the path to the field from the packet, such as "Topic" or
	// "Properties.UserProperties[2].Name". Functions that check one string
	// leave it empty.
	Field string
	// Rule is the statement of the standard, such as "MQTT-3.3.2-2", or a
	// section, such as "1.5.6".
	Rule string
	// Text describes the violation without quoting the value.
	Text string
}

// Error implements error.
func (v *Violation) Error() string {
	s := "wire: "
	if v.Field != "" {
		s += v.Field + ": "
	}
	return s + v.Text + " [" + v.Rule + "]"
}

// CheckString returns the fault of s as a UTF-8 encoded string, or nil.
func CheckString(s string) *Violation {
	switch {
	case ValidString(s):
		return nil
	case len(s) > maxFieldLength:
		return &Violation{Rule: "1.5.4", Text: "string is longer than 65535 bytes"}
	case !utf8.ValidString(s):
		return &Violation{Rule: "MQTT-1.5.4-1", Text: "string is not well-formed UTF-8"}
	}
	return &Violation{Rule: "MQTT-1.5.4-2", Text: "string contains U+0000"}
}

// violations collects the faults of one packet.
type violations []*Violation

func (vs *violations) add(field, rule, text string) {
	*vs = append(*vs, &Violation{Field: field, Rule: rule, Text: text})
}

// found adds a violation, if there is one, under the name of a field.
func (vs *violations) found(field string, v *Violation) {
	if v != nil {
		v.Field = field
		*vs = append(*vs, v)
	}
}

// stringIs checks a string. A broken rule about characters is reported as rule
// if that is not empty, since some fields have a statement of their own.
func (vs *violations) stringIs(field, rule, s string) {
	v := CheckString(s)
	if v != nil && rule != "" && len(s) <= maxFieldLength {
		v.Rule = rule
	}
	vs.found(field, v)
}

func (vs *violations) optional(field, rule string, s *string) {
	if s != nil {
		vs.stringIs(field, rule, *s)
	}
}

func (vs *violations) binary(field string, b []byte) {
	if len(b) > maxFieldLength {
		vs.add(field, "1.5.6", "binary data is longer than 65535 bytes")
	}
}

func (vs *violations) user(field string, list []UserProperty) {
	for i := range list {
		u := &list[i]
		if ValidString(u.Name) && ValidString(u.Value) {
			continue
		}
		at := field + "[" + strconv.Itoa(i) + "]"
		vs.stringIs(at+".Name", "MQTT-1.5.7-1", u.Name)
		vs.stringIs(at+".Value", "MQTT-1.5.7-1", u.Value)
	}
}

func (vs *violations) size(n int) {
	if n > MaxPacketSize {
		vs.add("", "2.1.4", "packet is larger than 268435460 bytes")
	}
}

// packetID demands an identifier.
func (vs *violations) packetID(id uint16) {
	if id == 0 {
		vs.add("PacketID", "MQTT-2.2.1-3", "packet identifier is 0")
	}
}

func (vs *violations) properties(p *PublishProperties, payload []byte) {
	const at = "Properties."
	if f := p.PayloadFormat; f != nil {
		switch {
		case *f > 1:
			vs.add(at+"PayloadFormat", "3.3.2.3.2", "payload format indicator is neither 0 nor 1")
		case *f == 1 && !ValidPayload(payload):
			vs.add("Payload", "3.3.2.3.2", "payload is announced as UTF-8 but is not well-formed")
		}
	}
	vs.optional(at+"ContentType", "MQTT-3.3.2-19", p.ContentType)
	vs.binary(at+"CorrelationData", p.CorrelationData)
	if topic := p.ResponseTopic; topic != nil && !ValidTopicName(*topic) {
		v := CheckTopicName(*topic)
		switch v.Rule {
		case "MQTT-1.5.4-1", "MQTT-1.5.4-2":
			v.Rule = "MQTT-3.3.2-13"
		case "MQTT-4.7.0-1":
			v.Rule = "MQTT-3.3.2-14"
		}
		vs.found(at+"ResponseTopic", v)
	}
	vs.user(at+"UserProperties", p.UserProperties)
}

// CheckPublish returns all that is wrong with a PUBLISH that a client is about
// to send. The packet identifier is not looked at, nor is DUP. It does not
// allocate if all is well.
func CheckPublish(p *Publish) []*Violation {
	if p.Properties == nil && p.QoS <= 2 && ValidTopicName(p.Topic) && len(p.Payload) < MaxRemainingLength-100_000 {
		return nil
	}
	var vs violations
	if p.QoS > 2 {
		vs.add("QoS", "MQTT-3.3.1-4", "QoS is above 2")
	}
	if p.Topic != "" || p.TopicAlias == 0 {
		v := CheckTopicName(p.Topic)
		if v != nil && v.Rule == "MQTT-4.7.0-1" {
			v.Rule = "MQTT-3.3.2-2"
		}
		vs.found("Topic", v)
	}
	if p.Properties != nil {
		vs.properties(p.Properties, p.Payload)
		if len(p.Properties.SubscriptionIDs) != 0 {
			vs.add("Properties.SubscriptionIDs", "MQTT-3.3.4-6", "a client sends no subscription identifier")
		}
	}
	vs.size(PublishSize(p))
	return vs
}

// CheckConnect returns all that is wrong with a CONNECT.
func CheckConnect(p *Connect) []*Violation {
	var vs violations
	vs.stringIs("ClientID", "MQTT-3.1.3-4", p.ClientID)
	vs.optional("Username", "MQTT-3.1.3-12", p.Username)
	vs.binary("Password", p.Password)
	if p.ReceiveMaximum != nil && *p.ReceiveMaximum == 0 {
		vs.add("ReceiveMaximum", "3.1.2.11.3", "receive maximum is 0")
	}
	if p.MaximumPacketSize != nil && *p.MaximumPacketSize == 0 {
		vs.add("MaximumPacketSize", "3.1.2.11.4", "maximum packet size is 0")
	}
	vs.optional("AuthenticationMethod", "", p.AuthenticationMethod)
	vs.binary("AuthenticationData", p.AuthenticationData)
	if p.AuthenticationData != nil && p.AuthenticationMethod == nil {
		vs.add("AuthenticationData", "3.1.2.11.10", "authentication data without an authentication method")
	}
	vs.user("UserProperties", p.UserProperties)
	if p.Will != nil {
		vs.will(p.Will)
	}
	vs.size(ConnectSize(p))
	return vs
}

func (vs *violations) will(w *Will) {
	first := len(*vs)
	if w.QoS > 2 {
		vs.add("QoS", "MQTT-3.1.2-12", "will QoS is above 2")
	}
	v := CheckTopicName(w.Topic)
	if v != nil && strings.HasPrefix(v.Rule, "MQTT-1.5.4") {
		v.Rule = "MQTT-3.1.3-11"
	}
	vs.found("Topic", v)
	vs.binary("Payload", w.Payload)
	if w.Properties != nil {
		vs.properties(w.Properties, w.Payload)
		if len(w.Properties.SubscriptionIDs) != 0 {
			vs.add("Properties.SubscriptionIDs", "2.2.2.2", "a will has no subscription identifier")
		}
	}
	for _, v := range (*vs)[first:] {
		v.Field = "Will." + v.Field
	}
}

// CheckSubscribe returns all that is wrong with a SUBSCRIBE, apart from its
// packet identifier.
func CheckSubscribe(p *Subscribe) []*Violation {
	var vs violations
	if len(p.Subscriptions) == 0 {
		vs.add("Subscriptions", "MQTT-3.8.3-2", "there is no subscription")
	}
	for i := range p.Subscriptions {
		vs.subscription("Subscriptions["+strconv.Itoa(i)+"].", &p.Subscriptions[i])
	}
	if p.SubscriptionID != nil && (*p.SubscriptionID == 0 || *p.SubscriptionID > MaxRemainingLength) {
		vs.add("SubscriptionID", "3.8.2.1.2", "subscription identifier is not in the range 1 to 268435455")
	}
	vs.user("UserProperties", p.UserProperties)
	vs.size(SubscribeSize(p))
	return vs
}

func (vs *violations) subscription(at string, s *Subscription) {
	v := CheckTopicFilter(s.TopicFilter)
	if v != nil && strings.HasPrefix(v.Rule, "MQTT-1.5.4") {
		v.Rule = "MQTT-3.8.3-1"
	}
	vs.found(at+"TopicFilter", v)
	if s.QoS > 2 {
		vs.add(at+"QoS", "3.8.3.1", "maximum QoS is above 2")
	}
	if s.RetainHandling > 2 {
		vs.add(at+"RetainHandling", "3.8.3.1", "retain handling is above 2")
	}
	if s.NoLocal && isShared(s.TopicFilter) {
		vs.add(at+"NoLocal", "MQTT-3.8.3-4", "no local is set on a shared subscription")
	}
}

// CheckUnsubscribe returns all that is wrong with an UNSUBSCRIBE, apart from
// its packet identifier.
func CheckUnsubscribe(p *Unsubscribe) []*Violation {
	var vs violations
	if len(p.TopicFilters) == 0 {
		vs.add("TopicFilters", "MQTT-3.10.3-2", "there is no topic filter")
	}
	for i, filter := range p.TopicFilters {
		v := CheckTopicFilter(filter)
		if v != nil && strings.HasPrefix(v.Rule, "MQTT-1.5.4") {
			v.Rule = "MQTT-3.10.3-1"
		}
		vs.found("TopicFilters["+strconv.Itoa(i)+"]", v)
	}
	vs.user("UserProperties", p.UserProperties)
	vs.size(UnsubscribeSize(p))
	return vs
}

// ackRules are the statements about the reason codes of acknowledgements.
var ackRules = [16]string{
	TypePuback: "MQTT-3.4.2-1", TypePubrec: "MQTT-3.5.2-1", TypePubrel: "MQTT-3.6.2-1", TypePubcomp: "MQTT-3.7.2-1",
}

// CheckAck returns all that is wrong with a PUBACK, PUBREC, PUBREL or PUBCOMP
// that a client is about to send.
func CheckAck(t Type, a *Ack) []*Violation {
	var vs violations
	vs.packetID(a.PacketID)
	if !ReasonCodeValid(t, a.ReasonCode, false) {
		vs.add("ReasonCode", ackRules[t&15], "reason code is not one that a client sends in "+t.String())
	}
	vs.optional("ReasonString", "", a.ReasonString)
	vs.user("UserProperties", a.UserProperties)
	vs.size(AckSize(a))
	return vs
}

// CheckDisconnect returns all that is wrong with a DISCONNECT that a client is
// about to send.
func CheckDisconnect(p *Disconnect) []*Violation {
	var vs violations
	if !ReasonCodeValid(TypeDisconnect, p.ReasonCode, false) {
		vs.add("ReasonCode", "MQTT-3.14.2-1", "reason code is not one that a client sends in DISCONNECT")
	}
	if p.ServerReference != nil {
		vs.add("ServerReference", "3.14.2.2.5", "a client sends no server reference")
	}
	vs.optional("ReasonString", "", p.ReasonString)
	vs.user("UserProperties", p.UserProperties)
	vs.size(DisconnectSize(p))
	return vs
}

// CheckAuth returns all that is wrong with an AUTH that a client is about to send.
func CheckAuth(p *Auth) []*Violation {
	var vs violations
	if !ReasonCodeValid(TypeAuth, p.ReasonCode, false) {
		vs.add("ReasonCode", "MQTT-3.15.2-1", "reason code is not one that a client sends in AUTH")
	}
	if p.AuthenticationMethod == nil {
		vs.add("AuthenticationMethod", "3.15.2.2.2", "authentication method is missing")
	}
	vs.optional("AuthenticationMethod", "", p.AuthenticationMethod)
	vs.binary("AuthenticationData", p.AuthenticationData)
	vs.optional("ReasonString", "", p.ReasonString)
	vs.user("UserProperties", p.UserProperties)
	vs.size(AuthSize(p))
	return vs
}
