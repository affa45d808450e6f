// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"fmt"
	"slices"
)

// ReasonCode is a reason code of MQTT 5.0 (§2.4). Codes of 0x80 and above mean failure.
type ReasonCode byte

// The reason codes of MQTT 5.0, table 2-6. 0x00 has three names, for it depends
// on the packet what it says.
const (
	Success                             ReasonCode = 0x00
	NormalDisconnection                 ReasonCode = 0x00
	GrantedQoS0                         ReasonCode = 0x00
	GrantedQoS1                         ReasonCode = 0x01
	GrantedQoS2                         ReasonCode = 0x02
	DisconnectWithWillMessage           ReasonCode = 0x04
	NoMatchingSubscribers               ReasonCode = 0x10
	NoSubscriptionExisted               ReasonCode = 0x11
	ContinueAuthentication              ReasonCode = 0x18
	ReAuthenticate                      ReasonCode = 0x19
	UnspecifiedError                    ReasonCode = 0x80
	MalformedPacket                     ReasonCode = 0x81
	ProtocolError                       ReasonCode = 0x82
	ImplementationSpecificError         ReasonCode = 0x83
	UnsupportedProtocolVersion          ReasonCode = 0x84
	ClientIdentifierNotValid            ReasonCode = 0x85
	BadUserNameOrPassword               ReasonCode = 0x86
	NotAuthorized                       ReasonCode = 0x87
	ServerUnavailable                   ReasonCode = 0x88
	ServerBusy                          ReasonCode = 0x89
	Banned                              ReasonCode = 0x8A
	ServerShuttingDown                  ReasonCode = 0x8B
	BadAuthenticationMethod             ReasonCode = 0x8C
	KeepAliveTimeout                    ReasonCode = 0x8D
	SessionTakenOver                    ReasonCode = 0x8E
	TopicFilterInvalid                  ReasonCode = 0x8F
	TopicNameInvalid                    ReasonCode = 0x90
	PacketIdentifierInUse               ReasonCode = 0x91
	PacketIdentifierNotFound            ReasonCode = 0x92
	ReceiveMaximumExceeded              ReasonCode = 0x93
	TopicAliasInvalid                   ReasonCode = 0x94
	PacketTooLarge                      ReasonCode = 0x95
	MessageRateTooHigh                  ReasonCode = 0x96
	QuotaExceeded                       ReasonCode = 0x97
	AdministrativeAction                ReasonCode = 0x98
	PayloadFormatInvalid                ReasonCode = 0x99
	RetainNotSupported                  ReasonCode = 0x9A
	QoSNotSupported                     ReasonCode = 0x9B
	UseAnotherServer                    ReasonCode = 0x9C
	ServerMoved                         ReasonCode = 0x9D
	SharedSubscriptionsNotSupported     ReasonCode = 0x9E
	ConnectionRateExceeded              ReasonCode = 0x9F
	MaximumConnectTime                  ReasonCode = 0xA0
	SubscriptionIdentifiersNotSupported ReasonCode = 0xA1
	WildcardSubscriptionsNotSupported   ReasonCode = 0xA2
)

var reasonNames = map[ReasonCode]string{
	Success: "Success", GrantedQoS1: "Granted QoS 1", GrantedQoS2: "Granted QoS 2",
	DisconnectWithWillMessage: "Disconnect with Will Message", NoMatchingSubscribers: "No matching subscribers",
	NoSubscriptionExisted: "No subscription existed", ContinueAuthentication: "Continue authentication",
	ReAuthenticate: "Re-authenticate", UnspecifiedError: "Unspecified error", MalformedPacket: "Malformed Packet",
	ProtocolError: "Protocol Error", ImplementationSpecificError: "Implementation specific error",
	UnsupportedProtocolVersion: "Unsupported Protocol Version", ClientIdentifierNotValid: "Client Identifier not valid",
	BadUserNameOrPassword: "Bad User Name or Password", NotAuthorized: "Not authorized", ServerUnavailable: "Server unavailable",
	ServerBusy: "Server busy", Banned: "Banned", ServerShuttingDown: "Server shutting down",
	BadAuthenticationMethod: "Bad authentication method", KeepAliveTimeout: "Keep Alive timeout",
	SessionTakenOver: "Session taken over", TopicFilterInvalid: "Topic Filter invalid", TopicNameInvalid: "Topic Name invalid",
	PacketIdentifierInUse: "Packet Identifier in use", PacketIdentifierNotFound: "Packet Identifier not found",
	ReceiveMaximumExceeded: "Receive Maximum exceeded", TopicAliasInvalid: "Topic Alias invalid", PacketTooLarge: "Packet too large",
	MessageRateTooHigh: "Message rate too high", QuotaExceeded: "Quota exceeded", AdministrativeAction: "Administrative action",
	PayloadFormatInvalid: "Payload format invalid", RetainNotSupported: "Retain not supported", QoSNotSupported: "QoS not supported",
	UseAnotherServer: "Use another server", ServerMoved: "Server moved",
	SharedSubscriptionsNotSupported: "Shared Subscriptions not supported", ConnectionRateExceeded: "Connection rate exceeded",
	MaximumConnectTime: "Maximum connect time", SubscriptionIdentifiersNotSupported: "Subscription Identifiers not supported",
	WildcardSubscriptionsNotSupported: "Wildcard Subscriptions not supported",
}

// String returns the code in hexadecimal with its name, such as "0x87 Not authorized".
func (r ReasonCode) String() string {
	if name, ok := reasonNames[r]; ok {
		return fmt.Sprintf("0x%02X %s", byte(r), name)
	}
	return fmt.Sprintf("0x%02X", byte(r))
}

// IsError reports whether the code means failure, that is 0x80 or above.
func (r ReasonCode) IsError() bool { return r >= 0x80 }

// reasonTable is the set of codes that one side may put in one packet, and the
// statement that says so.
type reasonTable struct {
	rule           string
	client, server []ReasonCode
}

func (t reasonTable) allows(side Side, code ReasonCode) bool {
	if side == FromClient {
		return slices.Contains(t.client, code)
	}
	return slices.Contains(t.server, code)
}

var (
	pubackCodes = []ReasonCode{0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}

	reasonTables = map[PacketType]reasonTable{
		TypeConnack: {rule: "MQTT-3.2.2-8", server: []ReasonCode{0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A,
			0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F}},
		TypePuback: {rule: "MQTT-3.4.2-1", client: slices.Concat([]ReasonCode{0x00}, pubackCodes),
			server: slices.Concat([]ReasonCode{0x00, 0x10}, pubackCodes)},
		TypePubrec: {rule: "MQTT-3.5.2-1", client: slices.Concat([]ReasonCode{0x00}, pubackCodes),
			server: slices.Concat([]ReasonCode{0x00, 0x10}, pubackCodes)},
		TypePubrel:  {rule: "MQTT-3.6.2-1", client: []ReasonCode{0x00, 0x92}, server: []ReasonCode{0x00, 0x92}},
		TypePubcomp: {rule: "MQTT-3.7.2-1", client: []ReasonCode{0x00, 0x92}, server: []ReasonCode{0x00, 0x92}},
		TypeSuback: {rule: "MQTT-3.9.3-2", server: []ReasonCode{0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97,
			0x9E, 0xA1, 0xA2}},
		TypeUnsuback: {rule: "MQTT-3.11.3-2", server: []ReasonCode{0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91}},
		// 0x8C stands in table 2-6 only, and a server may not send 0x04.
		TypeDisconnect: {rule: "MQTT-3.14.2-1",
			client: []ReasonCode{0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99},
			server: []ReasonCode{0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
				0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2}},
		TypeAuth: {rule: "MQTT-3.15.2-1", client: []ReasonCode{0x18, 0x19}, server: []ReasonCode{0x00, 0x18}},
	}
)
