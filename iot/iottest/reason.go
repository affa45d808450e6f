// SPDX-License-Identifier: Apache-2.0

package iottest

import "fmt"

// ReasonCode is an MQTT 5 reason code. For MQTT 3.1.1 clients the service
// translates it to a return code or just closes the connection.
type ReasonCode byte

// Reason codes that AWS IoT Core uses, and the few others this package can send.
const (
	Success                       ReasonCode = 0x00
	UnspecifiedError              ReasonCode = 0x80
	MalformedPacket               ReasonCode = 0x81
	ProtocolError                 ReasonCode = 0x82
	UnsupportedProtocolVersion    ReasonCode = 0x84
	ClientIdentifierNotValid      ReasonCode = 0x85
	BadUserNameOrPassword         ReasonCode = 0x86
	NotAuthorized                 ReasonCode = 0x87
	ServerUnavailable             ReasonCode = 0x88
	ServerBusy                    ReasonCode = 0x89
	ServerShuttingDown            ReasonCode = 0x8B
	BadAuthenticationMethod       ReasonCode = 0x8C
	KeepAliveTimeout              ReasonCode = 0x8D
	SessionTakenOver              ReasonCode = 0x8E
	TopicFilterInvalid            ReasonCode = 0x8F
	TopicNameInvalid              ReasonCode = 0x90
	PacketIdentifierInUse         ReasonCode = 0x91
	ReceiveMaximumExceeded        ReasonCode = 0x93
	TopicAliasInvalid             ReasonCode = 0x94
	PacketTooLarge                ReasonCode = 0x95
	QuotaExceeded                 ReasonCode = 0x97
	AdministrativeAction          ReasonCode = 0x98
	QoSNotSupported               ReasonCode = 0x9B
	SubscriptionIDsNotSupported   ReasonCode = 0xA1
	disconnectWithWill            ReasonCode = 0x04
	connackUnacceptableVersion3   ReasonCode = 0x01
	connackIdentifierRejected3    ReasonCode = 0x02
	connackServerUnavailable3     ReasonCode = 0x03
	connackBadUserNameOrPassword3 ReasonCode = 0x04
	connackNotAuthorized3         ReasonCode = 0x05
	firstErrorCode                ReasonCode = 0x80
)

var reasonNames = map[ReasonCode]string{
	Success: "success", UnspecifiedError: "unspecified error", MalformedPacket: "malformed packet",
	ProtocolError: "protocol error", UnsupportedProtocolVersion: "unsupported protocol version",
	ClientIdentifierNotValid: "client identifier not valid", BadUserNameOrPassword: "bad user name or password",
	NotAuthorized: "not authorized", ServerUnavailable: "server unavailable", ServerBusy: "server busy",
	ServerShuttingDown: "server shutting down", BadAuthenticationMethod: "bad authentication method",
	KeepAliveTimeout: "keep alive timeout", SessionTakenOver: "session taken over",
	TopicFilterInvalid: "topic filter invalid", TopicNameInvalid: "topic name invalid",
	PacketIdentifierInUse: "packet identifier in use", ReceiveMaximumExceeded: "receive maximum exceeded",
	TopicAliasInvalid: "topic alias invalid", PacketTooLarge: "packet too large", QuotaExceeded: "quota exceeded",
	AdministrativeAction: "administrative action", QoSNotSupported: "QoS not supported",
	SubscriptionIDsNotSupported: "subscription identifiers not supported",
}

// String names the code and gives its value in hexadecimal.
func (r ReasonCode) String() string {
	if name, ok := reasonNames[r]; ok {
		return fmt.Sprintf("%s (0x%02X)", name, byte(r))
	}
	return fmt.Sprintf("0x%02X", byte(r))
}

// connack3 gives the MQTT 3.1.1 return code for a refusal.
func (r ReasonCode) connack3() ReasonCode {
	switch r {
	case Success:
		return Success
	case UnsupportedProtocolVersion:
		return connackUnacceptableVersion3
	case ClientIdentifierNotValid:
		return connackIdentifierRejected3
	case BadUserNameOrPassword:
		return connackBadUserNameOrPassword3
	case NotAuthorized:
		return connackNotAuthorized3
	default:
		return connackServerUnavailable3
	}
}

// refusal is the error with which a packet handler ends a connection: the code
// goes out in a DISCONNECT to MQTT 5 clients, text goes along as reason string.
type refusal struct {
	code ReasonCode
	text string
}

func (r *refusal) Error() string {
	if r.text == "" {
		return r.code.String()
	}
	return r.code.String() + ": " + r.text
}

func refuse(code ReasonCode, format string, args ...any) *refusal {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}
