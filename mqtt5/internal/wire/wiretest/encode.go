// SPDX-License-Identifier: Apache-2.0

package wiretest

import (
	"encoding/binary"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// list is a property list in the making. Absent values are left out.
type list []byte

func (l *list) bool(id byte, v *bool) {
	switch {
	case v == nil:
	case *v:
		*l = append(*l, id, 1)
	default:
		*l = append(*l, id, 0)
	}
}

func (l *list) byte(id byte, v *uint8) {
	if v != nil {
		*l = append(*l, id, *v)
	}
}

func (l *list) uint16(id byte, v *uint16) {
	if v != nil {
		*l = binary.BigEndian.AppendUint16(append(*l, id), *v)
	}
}

func (l *list) uint32(id byte, v *uint32) {
	if v != nil {
		*l = binary.BigEndian.AppendUint32(append(*l, id), *v)
	}
}

func (l *list) string(id byte, v *string) {
	if v != nil {
		*l = appendField(append(*l, id), *v)
	}
}

func (l *list) binary(id byte, v []byte) {
	if v != nil {
		*l = appendField(append(*l, id), string(v))
	}
}

func (l *list) user(properties []wire.UserProperty) {
	for _, p := range properties {
		*l = appendField(append(*l, userProperty), p.Name)
		*l = appendField(*l, p.Value)
	}
}

func appendField(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// appendLength appends a variable byte integer.
func appendLength(dst []byte, n int) []byte {
	for ; n >= 128; n /= 128 {
		dst = append(dst, byte(n%128)|128)
	}
	return append(dst, byte(n))
}

// appendPacket appends a packet of what stands before its properties, these, and what
// stands after them.
func appendPacket(dst []byte, t wire.Type, head []byte, properties list, tail ...byte) []byte {
	length := appendLength(nil, len(properties))
	dst = append(dst, byte(t)<<4)
	dst = appendLength(dst, len(head)+len(length)+len(properties)+len(tail))
	dst = append(append(dst, head...), length...)
	return append(append(dst, properties...), tail...)
}

// AppendConnack appends a CONNACK.
func AppendConnack(dst []byte, p *wire.Connack) []byte {
	var l list
	l.uint32(sessionExpiryInterval, p.SessionExpiryInterval)
	l.string(assignedClientID, p.AssignedClientID)
	l.uint16(serverKeepAlive, p.ServerKeepAlive)
	l.string(authenticationMethod, p.AuthenticationMethod)
	l.binary(authenticationData, p.AuthenticationData)
	l.string(responseInformation, p.ResponseInformation)
	l.string(serverReference, p.ServerReference)
	l.string(reasonString, p.ReasonString)
	l.uint16(receiveMaximum, p.ReceiveMaximum)
	l.uint16(topicAliasMaximum, p.TopicAliasMaximum)
	l.byte(maximumQoS, p.MaximumQoS)
	l.bool(retainAvailable, p.RetainAvailable)
	l.user(p.UserProperties)
	l.uint32(maximumPacketSize, p.MaximumPacketSize)
	l.bool(wildcardAvailable, p.WildcardSubscriptionsAvailable)
	l.bool(subscriptionIDsAvailable, p.SubscriptionIDsAvailable)
	l.bool(sharedAvailable, p.SharedSubscriptionsAvailable)
	var flags byte
	if p.SessionPresent {
		flags = 1
	}
	return appendPacket(dst, wire.TypeConnack, []byte{flags, byte(p.ReasonCode)}, l)
}

// AppendSubscribeAck appends a SUBACK or an UNSUBACK.
func AppendSubscribeAck(dst []byte, t wire.Type, p *wire.SubscribeAck) []byte {
	var l list
	l.string(reasonString, p.ReasonString)
	l.user(p.UserProperties)
	codes := make([]byte, len(p.ReasonCodes))
	for i, c := range p.ReasonCodes {
		codes[i] = byte(c)
	}
	return appendPacket(dst, t, binary.BigEndian.AppendUint16(nil, p.PacketID), l, codes...)
}

// AppendPingresp appends a PINGRESP.
func AppendPingresp(dst []byte) []byte { return append(dst, byte(wire.TypePingresp)<<4, 0) }
