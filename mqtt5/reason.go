// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "fmt"

// Codes from 0x80 are failures. A code that is not listed here keeps its
// number, and its String is that number.

// ConnectReasonCode is the reason code of a CONNACK packet (section 3.2.2.2).
type ConnectReasonCode uint8

// The reason codes of CONNACK.
const (
	ConnectSuccess                     ConnectReasonCode = 0x00
	ConnectUnspecifiedError            ConnectReasonCode = 0x80
	ConnectMalformedPacket             ConnectReasonCode = 0x81
	ConnectProtocolError               ConnectReasonCode = 0x82
	ConnectImplementationSpecificError ConnectReasonCode = 0x83
	ConnectUnsupportedProtocolVersion  ConnectReasonCode = 0x84
	ConnectClientIdentifierNotValid    ConnectReasonCode = 0x85
	ConnectBadUsernameOrPassword       ConnectReasonCode = 0x86
	ConnectNotAuthorized               ConnectReasonCode = 0x87
	ConnectServerUnavailable           ConnectReasonCode = 0x88
	ConnectServerBusy                  ConnectReasonCode = 0x89
	ConnectBanned                      ConnectReasonCode = 0x8A
	ConnectBadAuthenticationMethod     ConnectReasonCode = 0x8C
	ConnectTopicNameInvalid            ConnectReasonCode = 0x90
	ConnectPacketTooLarge              ConnectReasonCode = 0x95
	ConnectQuotaExceeded               ConnectReasonCode = 0x97
	ConnectPayloadFormatInvalid        ConnectReasonCode = 0x99
	ConnectRetainNotSupported          ConnectReasonCode = 0x9A
	ConnectQoSNotSupported             ConnectReasonCode = 0x9B
	ConnectUseAnotherServer            ConnectReasonCode = 0x9C
	ConnectServerMoved                 ConnectReasonCode = 0x9D
	ConnectionRateExceeded             ConnectReasonCode = 0x9F
)

// Failed reports whether the code is a failure.
func (c ConnectReasonCode) Failed() bool { return c >= 0x80 }

// String returns the name of the code, as in "not authorized (0x87)".
func (c ConnectReasonCode) String() string {
	return reasonText(uint8(c))
}

// PubackReasonCode is the reason code of a PUBACK, PUBREC or PUBCOMP packet
// (section 3.4.2.1).
type PubackReasonCode uint8

// The reason codes of PUBACK, PUBREC or PUBCOMP.
const (
	PubackSuccess                     PubackReasonCode = 0x00
	PubackNoMatchingSubscribers       PubackReasonCode = 0x10
	PubackUnspecifiedError            PubackReasonCode = 0x80
	PubackImplementationSpecificError PubackReasonCode = 0x83
	PubackNotAuthorized               PubackReasonCode = 0x87
	PubackTopicNameInvalid            PubackReasonCode = 0x90
	PubackPacketIdentifierInUse       PubackReasonCode = 0x91
	PubackPacketIdentifierNotFound    PubackReasonCode = 0x92
	PubackQuotaExceeded               PubackReasonCode = 0x97
	PubackPayloadFormatInvalid        PubackReasonCode = 0x99
)

// Failed reports whether the code is a failure.
func (c PubackReasonCode) Failed() bool { return c >= 0x80 }

// String returns the name of the code, as in "not authorized (0x87)".
func (c PubackReasonCode) String() string {
	return reasonText(uint8(c))
}

// SubackReasonCode is the reason code of a SUBACK packet (section 3.9.3).
type SubackReasonCode uint8

// The reason codes of SUBACK.
const (
	SubackGrantedQoS0                         SubackReasonCode = 0x00
	SubackGrantedQoS1                         SubackReasonCode = 0x01
	SubackGrantedQoS2                         SubackReasonCode = 0x02
	SubackUnspecifiedError                    SubackReasonCode = 0x80
	SubackImplementationSpecificError         SubackReasonCode = 0x83
	SubackNotAuthorized                       SubackReasonCode = 0x87
	SubackTopicFilterInvalid                  SubackReasonCode = 0x8F
	SubackPacketIdentifierInUse               SubackReasonCode = 0x91
	SubackQuotaExceeded                       SubackReasonCode = 0x97
	SubackSharedSubscriptionsNotSupported     SubackReasonCode = 0x9E
	SubackSubscriptionIdentifiersNotSupported SubackReasonCode = 0xA1
	SubackWildcardSubscriptionsNotSupported   SubackReasonCode = 0xA2
)

// Failed reports whether the code is a failure.
func (c SubackReasonCode) Failed() bool { return c >= 0x80 }

// String returns the name of the code, as in "not authorized (0x87)".
func (c SubackReasonCode) String() string {
	if c <= SubackGrantedQoS2 {
		return fmt.Sprintf("granted QoS %d", uint8(c))
	}
	return reasonText(uint8(c))
}

// UnsubackReasonCode is the reason code of a UNSUBACK packet (section 3.11.3).
type UnsubackReasonCode uint8

// The reason codes of UNSUBACK.
const (
	UnsubackSuccess                     UnsubackReasonCode = 0x00
	UnsubackNoSubscriptionExisted       UnsubackReasonCode = 0x11
	UnsubackUnspecifiedError            UnsubackReasonCode = 0x80
	UnsubackImplementationSpecificError UnsubackReasonCode = 0x83
	UnsubackNotAuthorized               UnsubackReasonCode = 0x87
	UnsubackTopicFilterInvalid          UnsubackReasonCode = 0x8F
	UnsubackPacketIdentifierInUse       UnsubackReasonCode = 0x91
)

// Failed reports whether the code is a failure.
func (c UnsubackReasonCode) Failed() bool { return c >= 0x80 }

// String returns the name of the code, as in "not authorized (0x87)".
func (c UnsubackReasonCode) String() string {
	return reasonText(uint8(c))
}

// DisconnectReasonCode is the reason code of a DISCONNECT packet (section 3.14.2.1).
type DisconnectReasonCode uint8

// The reason codes of DISCONNECT.
const (
	DisconnectNormalDisconnection                 DisconnectReasonCode = 0x00
	DisconnectWithWillMessage                     DisconnectReasonCode = 0x04
	DisconnectUnspecifiedError                    DisconnectReasonCode = 0x80
	DisconnectMalformedPacket                     DisconnectReasonCode = 0x81
	DisconnectProtocolError                       DisconnectReasonCode = 0x82
	DisconnectImplementationSpecificError         DisconnectReasonCode = 0x83
	DisconnectNotAuthorized                       DisconnectReasonCode = 0x87
	DisconnectServerBusy                          DisconnectReasonCode = 0x89
	DisconnectServerShuttingDown                  DisconnectReasonCode = 0x8B
	DisconnectKeepAliveTimeout                    DisconnectReasonCode = 0x8D
	DisconnectSessionTakenOver                    DisconnectReasonCode = 0x8E
	DisconnectTopicFilterInvalid                  DisconnectReasonCode = 0x8F
	DisconnectTopicNameInvalid                    DisconnectReasonCode = 0x90
	DisconnectReceiveMaximumExceeded              DisconnectReasonCode = 0x93
	DisconnectTopicAliasInvalid                   DisconnectReasonCode = 0x94
	DisconnectPacketTooLarge                      DisconnectReasonCode = 0x95
	DisconnectMessageRateTooHigh                  DisconnectReasonCode = 0x96
	DisconnectQuotaExceeded                       DisconnectReasonCode = 0x97
	DisconnectAdministrativeAction                DisconnectReasonCode = 0x98
	DisconnectPayloadFormatInvalid                DisconnectReasonCode = 0x99
	DisconnectRetainNotSupported                  DisconnectReasonCode = 0x9A
	DisconnectQoSNotSupported                     DisconnectReasonCode = 0x9B
	DisconnectUseAnotherServer                    DisconnectReasonCode = 0x9C
	DisconnectServerMoved                         DisconnectReasonCode = 0x9D
	DisconnectSharedSubscriptionsNotSupported     DisconnectReasonCode = 0x9E
	DisconnectConnectionRateExceeded              DisconnectReasonCode = 0x9F
	DisconnectMaximumConnectTime                  DisconnectReasonCode = 0xA0
	DisconnectSubscriptionIdentifiersNotSupported DisconnectReasonCode = 0xA1
	DisconnectWildcardSubscriptionsNotSupported   DisconnectReasonCode = 0xA2
)

// Failed reports whether the code is a failure.
func (c DisconnectReasonCode) Failed() bool { return c >= 0x80 }

// String returns the name of the code, as in "not authorized (0x87)".
func (c DisconnectReasonCode) String() string {
	if c == DisconnectNormalDisconnection {
		return "normal disconnection"
	}
	return reasonText(uint8(c))
}

func reasonText(code uint8) string {
	name, ok := reasonNames[code]
	if !ok {
		return fmt.Sprintf("reason code 0x%02X", code)
	}
	if code == 0 {
		return name
	}
	return fmt.Sprintf("%s (0x%02X)", name, code)
}

var reasonNames = map[uint8]string{
	0x00: "success",
	0x04: "disconnect with will message",
	0x10: "no matching subscribers",
	0x11: "no subscription existed",
	0x80: "unspecified error",
	0x81: "malformed packet",
	0x82: "protocol error",
	0x83: "implementation specific error",
	0x84: "unsupported protocol version",
	0x85: "client identifier not valid",
	0x86: "bad user name or password",
	0x87: "not authorized",
	0x88: "server unavailable",
	0x89: "server busy",
	0x8A: "banned",
	0x8B: "server shutting down",
	0x8C: "bad authentication method",
	0x8D: "keep alive timeout",
	0x8E: "session taken over",
	0x8F: "topic filter invalid",
	0x90: "topic name invalid",
	0x91: "packet identifier in use",
	0x92: "packet identifier not found",
	0x93: "receive maximum exceeded",
	0x94: "topic alias invalid",
	0x95: "packet too large",
	0x96: "message rate too high",
	0x97: "quota exceeded",
	0x98: "administrative action",
	0x99: "payload format invalid",
	0x9A: "retain not supported",
	0x9B: "QoS not supported",
	0x9C: "use another server",
	0x9D: "server moved",
	0x9E: "shared subscriptions not supported",
	0x9F: "connection rate exceeded",
	0xA0: "maximum connect time",
	0xA1: "subscription identifiers not supported",
	0xA2: "wildcard subscriptions not supported",
}
