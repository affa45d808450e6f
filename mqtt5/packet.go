// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "strconv"

// QoS is the quality of service of a message or of a subscription (section 4.3).
type QoS uint8

// The qualities of service. AWS IoT Core supports AtMostOnce and
// AtLeastOnce.
const (
	AtMostOnce  QoS = 0
	AtLeastOnce QoS = 1
	ExactlyOnce QoS = 2
)

// String returns "QoS 0", "QoS 1" or "QoS 2".
func (q QoS) String() string { return "QoS " + strconv.Itoa(int(q)) }

// PayloadFormat says what kind of bytes a payload holds (section 3.3.2.3.2).
type PayloadFormat uint8

// The payload formats.
const (
	PayloadBytes PayloadFormat = 0 // unspecified bytes
	PayloadUTF8  PayloadFormat = 1 // UTF-8 text; checked before it is sent
)

// RetainHandling says whether a subscription is sent retained messages
// (section 3.8.3.1).
type RetainHandling uint8

// The ways to handle retained messages.
const (
	SendOnSubscribe             RetainHandling = 0
	SendOnSubscribeIfNew        RetainHandling = 1
	DontSendRetainedOnSubscribe RetainHandling = 2
)

// UserProperty is one name and value pair of a packet. Names may repeat.
type UserProperty struct{ Name, Value string }

// Ptr returns a pointer to a copy of v, for the optional fields of packets.
func Ptr[T any](v T) *T { return &v }

// ConnectPacket is what the client says of itself when it connects (section
// 3.1). Optional fields are pointers; nil leaves them out. Clean Start and the
// topic alias maximum follow from [ClientOptions.SessionBehavior] and
// [ClientOptions.TopicAliasing].
type ConnectPacket struct {
	// ClientID names the session. Empty: the server assigns one, which later
	// connections of this client then use.
	ClientID string
	// KeepAliveSeconds is the longest silence, in seconds, before the client
	// sends a PINGREQ; 0 turns that off. Nil: 1200.
	KeepAliveSeconds *uint16
	Username         *string
	// Password may be any bytes. Nil: none.
	Password []byte
	// Will is published by the server when the connection ends without a
	// normal DISCONNECT.
	Will *PublishPacket
	// WillDelayIntervalSeconds is how long the server waits before it
	// publishes the will.
	WillDelayIntervalSeconds *uint32
	// SessionExpiryIntervalSeconds is how long the session outlives the
	// connection. Nil: not at all. 4294967295: for ever.
	SessionExpiryIntervalSeconds *uint32
	// RequestResponseInformation asks for [ConnackPacket.ResponseInformation].
	RequestResponseInformation *bool
	// RequestProblemInformation false asks the server to leave out reason
	// strings and user properties where it may. Nil: true.
	RequestProblemInformation *bool
	// ReceiveMaximum is how many QoS 1 and 2 messages the server may send
	// before it has to wait for acknowledgements. Nil: 65535.
	ReceiveMaximum *uint16
	// MaximumPacketSizeBytes is the largest packet that the client accepts.
	// Nil: what the protocol allows, 256 MiB.
	MaximumPacketSizeBytes *uint32
	UserProperties         []UserProperty
}

// ConnackPacket is the server's answer to CONNECT (section 3.2).
type ConnackPacket struct {
	// SessionPresent reports that the server kept the session.
	SessionPresent                 bool
	ReasonCode                     ConnectReasonCode
	SessionExpiryIntervalSeconds   *uint32
	ReceiveMaximum                 *uint16
	MaximumQoS                     *QoS
	RetainAvailable                *bool
	MaximumPacketSizeBytes         *uint32
	AssignedClientID               *string
	TopicAliasMaximum              *uint16
	ReasonString                   *string
	WildcardSubscriptionsAvailable *bool
	SubscriptionIDsAvailable       *bool
	SharedSubscriptionsAvailable   *bool
	ServerKeepAliveSeconds         *uint16
	ResponseInformation            *string
	ServerReference                *string
	AuthenticationMethod           *string
	AuthenticationData             []byte
	UserProperties                 []UserProperty
}

// PublishPacket is an application message (section 3.3).
type PublishPacket struct {
	// Topic is where the message goes: one character or more, no wildcards.
	Topic string
	// Payload may be empty. The client does not copy it when publishing.
	Payload []byte
	QoS     QoS
	// Retain asks the server to keep the message for later subscribers. In a
	// received message it reports that the message is such a one.
	Retain bool
	// Duplicate is set in received messages that the server sent before. It
	// is ignored when publishing.
	Duplicate     bool
	PayloadFormat *PayloadFormat
	// MessageExpirySeconds is how long the message is worth delivering.
	MessageExpirySeconds *uint32
	// TopicAlias is used with [TopicAliasManual] only: the alias that stands
	// for the topic on this connection.
	TopicAlias *uint16
	// ResponseTopic is where the answer to a request goes.
	ResponseTopic *string
	// CorrelationData lets the requester match the answer with its request. Nil: none.
	CorrelationData []byte
	ContentType     *string
	// SubscriptionIdentifiers are those of the matching subscriptions. Only in
	// received messages.
	SubscriptionIdentifiers []uint32
	// UserProperties keep their order.
	UserProperties []UserProperty
}

// PubackPacket is the server's answer to a publish: the PUBACK of QoS 1, or of
// QoS 2 the PUBREC or PUBCOMP that ended it, which have the same fields
// (sections 3.4, 3.5 and 3.7).
type PubackPacket struct {
	ReasonCode     PubackReasonCode
	ReasonString   *string
	UserProperties []UserProperty
}

// PublishResult is the outcome of a publish.
type PublishResult struct {
	// Puback is the server's answer. Nil for QoS 0, which has none, and if Stage
	// is StageStored.
	Puback *PubackPacket
	// Stage is how far the publish got.
	Stage PublishStage
	// Durability is how the publish was stored before it was sent.
	Durability Durability
}

// PublishStage is how far a publish got when a call about it returned.
type PublishStage uint8

// The stages that a call may wait for.
const (
	// StageDone: written to the transport (QoS 0) or acknowledged by the server.
	StageDone PublishStage = iota
	// StageStored: in the store, to be sent as soon as possible.
	StageStored
)

// Subscription is one topic filter of a [SubscribePacket], and how its
// messages are to be sent (section 3.8.3.1).
type Subscription struct {
	TopicFilter string
	// QoS is the highest that the server may use for this subscription.
	QoS QoS
	// NoLocal keeps out what this client publishes itself. Not allowed for
	// shared subscriptions.
	NoLocal bool
	// RetainAsPublished keeps the retain flag of forwarded messages.
	RetainAsPublished bool
	RetainHandling    RetainHandling
}

// SubscribePacket asks for the messages of one or more topic filters (section 3.8).
type SubscribePacket struct {
	Subscriptions []Subscription
	// SubscriptionIdentifier comes back in messages that match, 1 to
	// 268,435,455. AWS IoT Core does not support it.
	SubscriptionIdentifier *uint32
	UserProperties         []UserProperty
}

// SubackPacket is the server's answer to a [SubscribePacket] (section 3.9).
type SubackPacket struct {
	// ReasonCodes has one code for each filter, in the same order: the granted
	// QoS, or a failure.
	ReasonCodes    []SubackReasonCode
	ReasonString   *string
	UserProperties []UserProperty
}

// UnsubscribePacket ends subscriptions (section 3.10).
type UnsubscribePacket struct {
	TopicFilters   []string
	UserProperties []UserProperty
}

// UnsubackPacket is the server's answer to an [UnsubscribePacket] (section 3.11).
type UnsubackPacket struct {
	// ReasonCodes has one code for each filter, in the same order.
	ReasonCodes    []UnsubackReasonCode
	ReasonString   *string
	UserProperties []UserProperty
}

// DisconnectPacket ends a connection, from either side (section 3.14).
type DisconnectPacket struct {
	ReasonCode DisconnectReasonCode
	// SessionExpiryIntervalSeconds replaces that of the CONNECT, unless the
	// CONNECT had none or 0. Not used by servers.
	SessionExpiryIntervalSeconds *uint32
	ReasonString                 *string
	// ServerReference names another server. Not used by clients.
	ServerReference *string
	UserProperties  []UserProperty
}

// NegotiatedSettings are what both sides agreed on for one connection: values
// of CONNECT and CONNACK, and the standard's defaults for what neither named.
type NegotiatedSettings struct {
	MaximumQoS                     QoS
	SessionExpiryIntervalSeconds   uint32
	ReceiveMaximumFromServer       uint16 // QoS 1 and 2 publishes in flight to the server
	MaximumPacketSizeToServer      uint32 // bytes
	TopicAliasMaximumToServer      uint16
	TopicAliasMaximumToClient      uint16
	ServerKeepAliveSeconds         uint16
	RetainAvailable                bool
	WildcardSubscriptionsAvailable bool
	SubscriptionIDsAvailable       bool
	SharedSubscriptionsAvailable   bool
	// RejoinedSession reports that the server kept the session: subscriptions
	// are still there, and operations in flight go on.
	RejoinedSession bool
	// ClientID is the one in use, assigned by the server if need be.
	ClientID string
}
