// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"encoding/binary"
	"fmt"
)

// Property identifiers, table 2-4 of the standard.
const (
	propPayloadFormat    = 0x01
	propMessageExpiry    = 0x02
	propContentType      = 0x03
	propResponseTopic    = 0x08
	propCorrelationData  = 0x09
	propSubscriptionID   = 0x0B
	propSessionExpiry    = 0x11
	propAssignedClientID = 0x12
	propServerKeepAlive  = 0x13
	propAuthMethod       = 0x15
	propAuthData         = 0x16
	propRequestProblem   = 0x17
	propWillDelay        = 0x18
	propRequestResponse  = 0x19
	propResponseInfo     = 0x1A
	propServerReference  = 0x1C
	propReasonString     = 0x1F
	propReceiveMaximum   = 0x21
	propTopicAliasMax    = 0x22
	propTopicAlias       = 0x23
	propMaximumQoS       = 0x24
	propRetainAvailable  = 0x25
	propUser             = 0x26
	propMaximumPacket    = 0x27
	propWildcardSub      = 0x28
	propSubIDAvailable   = 0x29
	propSharedSub        = 0x2A
)

var propertyNames = map[uint32]string{
	propPayloadFormat: "Payload Format Indicator", propMessageExpiry: "Message Expiry Interval", propContentType: "Content Type",
	propResponseTopic: "Response Topic", propCorrelationData: "Correlation Data", propSubscriptionID: "Subscription Identifier",
	propSessionExpiry: "Session Expiry Interval", propAssignedClientID: "Assigned Client Identifier",
	propServerKeepAlive: "Server Keep Alive", propAuthMethod: "Authentication Method", propAuthData: "Authentication Data",
	propRequestProblem: "Request Problem Information", propWillDelay: "Will Delay Interval",
	propRequestResponse: "Request Response Information", propResponseInfo: "Response Information",
	propServerReference: "Server Reference", propReasonString: "Reason String", propReceiveMaximum: "Receive Maximum",
	propTopicAliasMax: "Topic Alias Maximum", propTopicAlias: "Topic Alias", propMaximumQoS: "Maximum QoS",
	propRetainAvailable: "Retain Available", propUser: "User Property", propMaximumPacket: "Maximum Packet Size",
	propWildcardSub: "Wildcard Subscription Available", propSubIDAvailable: "Subscription Identifier Available",
	propSharedSub: "Shared Subscription Available",
}

func propertyName(id uint32) string {
	if n, ok := propertyNames[id]; ok {
		return n
	}
	return fmt.Sprintf("property 0x%02X", id)
}

// idSet is a set of property identifiers below 64.
type idSet uint64

func ids(list ...uint) (s idSet) {
	for _, id := range list {
		s |= 1 << id
	}
	return s
}

func (s idSet) has(id uint32) bool { return id < 64 && s&(1<<id) != 0 }

// What may stand where, by sender. Wills have no packet type of their own.
var (
	willProperties = ids(0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26)
	ackProperties  = ids(0x1F, 0x26)

	clientProperties = map[PacketType]idSet{
		TypeConnect:     ids(0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27),
		TypePublish:     ids(0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26),
		TypePuback:      ackProperties,
		TypePubrec:      ackProperties,
		TypePubrel:      ackProperties,
		TypePubcomp:     ackProperties,
		TypeSubscribe:   ids(0x0B, 0x26),
		TypeUnsubscribe: ids(0x26),
		TypeDisconnect:  ids(0x11, 0x1F, 0x26),
		TypeAuth:        ids(0x15, 0x16, 0x1F, 0x26),
	}
	serverProperties = map[PacketType]idSet{
		TypeConnack: ids(0x11, 0x12, 0x13, 0x15, 0x16, 0x1A, 0x1C, 0x1F, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
			0x2A),
		TypePublish:    ids(0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26),
		TypePuback:     ackProperties,
		TypePubrec:     ackProperties,
		TypePubrel:     ackProperties,
		TypePubcomp:    ackProperties,
		TypeSuback:     ackProperties,
		TypeUnsuback:   ackProperties,
		TypeDisconnect: ids(0x1C, 0x1F, 0x26),
		TypeAuth:       ids(0x15, 0x16, 0x1F, 0x26),
	}
)

// properties holds every property of the standard. A packet uses those it may have.
type properties struct {
	payloadFormat    *byte
	messageExpiry    *uint32
	contentType      *string
	responseTopic    *string
	correlationData  []byte
	subscriptionIDs  []uint32
	sessionExpiry    *uint32
	assignedClientID *string
	serverKeepAlive  *uint16
	authMethod       *string
	authData         []byte
	requestProblem   *byte
	willDelay        *uint32
	requestResponse  *byte
	responseInfo     *string
	serverReference  *string
	reasonString     *string
	receiveMaximum   *uint16
	topicAliasMax    *uint16
	topicAlias       *uint16
	maximumQoS       *byte
	retainAvailable  *byte
	user             []UserProperty
	maximumPacket    *uint32
	wildcardSub      *byte
	subIDAvailable   *byte
	sharedSub        *byte

	extra []byte
}

// appendTo writes the properties in the order of their identifiers, without their length.
func (p *properties) appendTo(b []byte) []byte {
	u8 := func(id byte, v *byte) {
		if v != nil {
			b = append(b, id, *v)
		}
	}
	u16 := func(id byte, v *uint16) {
		if v != nil {
			b = binary.BigEndian.AppendUint16(append(b, id), *v)
		}
	}
	u32 := func(id byte, v *uint32) {
		if v != nil {
			b = binary.BigEndian.AppendUint32(append(b, id), *v)
		}
	}
	str := func(id byte, v *string) {
		if v != nil {
			b = appendString(append(b, id), *v)
		}
	}
	bin := func(id byte, v []byte) {
		if v != nil {
			b = appendBinary(append(b, id), v)
		}
	}
	u8(propPayloadFormat, p.payloadFormat)
	u32(propMessageExpiry, p.messageExpiry)
	str(propContentType, p.contentType)
	str(propResponseTopic, p.responseTopic)
	bin(propCorrelationData, p.correlationData)
	for _, id := range p.subscriptionIDs {
		b = appendVarint(append(b, propSubscriptionID), id)
	}
	u32(propSessionExpiry, p.sessionExpiry)
	str(propAssignedClientID, p.assignedClientID)
	u16(propServerKeepAlive, p.serverKeepAlive)
	str(propAuthMethod, p.authMethod)
	bin(propAuthData, p.authData)
	u8(propRequestProblem, p.requestProblem)
	u32(propWillDelay, p.willDelay)
	u8(propRequestResponse, p.requestResponse)
	str(propResponseInfo, p.responseInfo)
	str(propServerReference, p.serverReference)
	str(propReasonString, p.reasonString)
	u16(propReceiveMaximum, p.receiveMaximum)
	u16(propTopicAliasMax, p.topicAliasMax)
	u16(propTopicAlias, p.topicAlias)
	u8(propMaximumQoS, p.maximumQoS)
	u8(propRetainAvailable, p.retainAvailable)
	for _, u := range p.user {
		b = appendString(appendString(append(b, propUser), u.Name), u.Value)
	}
	u32(propMaximumPacket, p.maximumPacket)
	u8(propWildcardSub, p.wildcardSub)
	u8(propSubIDAvailable, p.subIDAvailable)
	u8(propSharedSub, p.sharedSub)
	return append(b, p.extra...)
}

// ByteProperty encodes a one-byte property, for ExtraProperties.
func ByteProperty(id, v byte) []byte { return []byte{id, v} }

// Uint16Property encodes a Two Byte Integer property, for ExtraProperties.
func Uint16Property(id byte, v uint16) []byte { return binary.BigEndian.AppendUint16([]byte{id}, v) }

// Uint32Property encodes a Four Byte Integer property, for ExtraProperties.
func Uint32Property(id byte, v uint32) []byte { return binary.BigEndian.AppendUint32([]byte{id}, v) }

// VarintProperty encodes a Variable Byte Integer property, for ExtraProperties.
func VarintProperty(id byte, v uint32) []byte { return appendVarint([]byte{id}, v) }

// StringProperty encodes a UTF-8 string property, for ExtraProperties. The
// string is not validated.
func StringProperty(id byte, v string) []byte { return appendString([]byte{id}, v) }

// BinaryProperty encodes a binary data property, for ExtraProperties.
func BinaryProperty(id byte, v []byte) []byte { return appendBinary([]byte{id}, v) }

// StringPairProperty encodes a string pair property, for ExtraProperties. The
// strings are not validated.
func StringPairProperty(id byte, name, value string) []byte {
	return appendString(appendString([]byte{id}, name), value)
}
