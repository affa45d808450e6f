// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// UserProperty is a name and a value of MQTT 5.
type UserProperty struct{ Name, Value string }

// Message is an application message. Messages returned by the core must not be modified.
type Message struct {
	Topic           string
	Payload         []byte
	QoS             byte // 0 or 1
	Retain          bool
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	PayloadIsUTF8   bool          // Payload Format Indicator 1
	Expiry          time.Duration // Message Expiry Interval, whole seconds; 0 is none
	UserProperties  []UserProperty

	// ClientID is the publisher, empty for [Core.Publish]. Dup is the flag as it arrived.
	ClientID string
	Dup      bool
}

func messageOf(pk *packets.Packet, clientID string) *Message {
	m := messageProperties(&pk.Properties)
	m.Topic, m.Payload = pk.TopicName, pk.Payload
	m.QoS, m.Retain, m.Dup = pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.FixedHeader.Dup
	m.ClientID = clientID
	return m
}

func messageProperties(p *packets.Properties) *Message {
	return &Message{
		ContentType:     p.ContentType,
		ResponseTopic:   p.ResponseTopic,
		CorrelationData: p.CorrelationData,
		PayloadIsUTF8:   p.PayloadFormatFlag && p.PayloadFormat == 1,
		Expiry:          time.Duration(p.MessageExpiryInterval) * time.Second,
		UserProperties:  userProperties(p.User),
	}
}

func willOf(pk *packets.Packet, clientID string) *Message {
	if !pk.Connect.WillFlag {
		return nil
	}
	m := messageProperties(&pk.Connect.WillProperties)
	m.Topic, m.Payload = pk.Connect.WillTopic, pk.Connect.WillPayload
	m.QoS, m.Retain, m.ClientID = pk.Connect.WillQos, pk.Connect.WillRetain, clientID
	return m
}

func userProperties(in []packets.UserProperty) []UserProperty {
	var out []UserProperty
	for _, p := range in {
		out = append(out, UserProperty{p.Key, p.Val})
	}
	return out
}

// publishPacket builds the PUBLISH of a message. remaining is the rest of its
// expiry, 0 for none.
func (m *Message) publishPacket(qos byte, retain bool, id uint16, remaining time.Duration) packets.Packet {
	pk := packet(packets.Publish)
	pk.FixedHeader.Qos, pk.FixedHeader.Retain = qos, retain
	pk.TopicName, pk.Payload, pk.PacketID = m.Topic, m.Payload, id
	p := &pk.Properties
	p.ContentType, p.ResponseTopic, p.CorrelationData = m.ContentType, m.ResponseTopic, m.CorrelationData
	if m.PayloadIsUTF8 {
		p.PayloadFormat, p.PayloadFormatFlag = 1, true
	}
	if remaining > 0 {
		p.MessageExpiryInterval = uint32(max(1, remaining/time.Second))
	}
	for _, u := range m.UserProperties {
		p.User = append(p.User, packets.UserProperty{Key: u.Name, Val: u.Value})
	}
	return pk
}
