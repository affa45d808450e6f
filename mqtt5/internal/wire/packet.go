// SPDX-License-Identifier: Apache-2.0

package wire

import "strconv"

// Type is the MQTT control packet type: the upper four bits of a packet's
// first byte (section 2.1.2).
type Type uint8

// The control packet types of MQTT 5.0.
const (
	TypeConnect     Type = 1
	TypeConnack     Type = 2
	TypePublish     Type = 3
	TypePuback      Type = 4
	TypePubrec      Type = 5
	TypePubrel      Type = 6
	TypePubcomp     Type = 7
	TypeSubscribe   Type = 8
	TypeSuback      Type = 9
	TypeUnsubscribe Type = 10
	TypeUnsuback    Type = 11
	TypePingreq     Type = 12
	TypePingresp    Type = 13
	TypeDisconnect  Type = 14
	TypeAuth        Type = 15
)

var typeNames = [16]string{
	"type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String returns the name that the standard uses, such as "PUBACK".
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "type " + strconv.Itoa(int(t))
}

// ReasonCode is the reason code of any packet (section 2.4). Codes from 0x80
// are failures.
type ReasonCode uint8

// The reason codes that the codec and the engine use by name.
const (
	Success                        ReasonCode = 0x00
	DisconnectWithWill             ReasonCode = 0x04
	NoMatchingSubscribers          ReasonCode = 0x10
	NoSubscriptionExisted          ReasonCode = 0x11
	ContinueAuthentication         ReasonCode = 0x18
	Reauthenticate                 ReasonCode = 0x19
	UnspecifiedError               ReasonCode = 0x80
	MalformedPacket                ReasonCode = 0x81
	ProtocolError                  ReasonCode = 0x82
	ImplementationSpecificError    ReasonCode = 0x83
	UnsupportedProtocolVersion     ReasonCode = 0x84
	ClientIdentifierNotValid       ReasonCode = 0x85
	BadUserNameOrPassword          ReasonCode = 0x86
	NotAuthorized                  ReasonCode = 0x87
	ServerUnavailable              ReasonCode = 0x88
	ServerBusy                     ReasonCode = 0x89
	Banned                         ReasonCode = 0x8A
	ServerShuttingDown             ReasonCode = 0x8B
	BadAuthenticationMethod        ReasonCode = 0x8C
	KeepAliveTimeout               ReasonCode = 0x8D
	SessionTakenOver               ReasonCode = 0x8E
	TopicFilterInvalid             ReasonCode = 0x8F
	TopicNameInvalid               ReasonCode = 0x90
	PacketIdentifierInUse          ReasonCode = 0x91
	PacketIdentifierNotFound       ReasonCode = 0x92
	ReceiveMaximumExceeded         ReasonCode = 0x93
	TopicAliasInvalid              ReasonCode = 0x94
	PacketTooLarge                 ReasonCode = 0x95
	MessageRateTooHigh             ReasonCode = 0x96
	QuotaExceeded                  ReasonCode = 0x97
	AdministrativeAction           ReasonCode = 0x98
	PayloadFormatInvalid           ReasonCode = 0x99
	RetainNotSupported             ReasonCode = 0x9A
	QoSNotSupported                ReasonCode = 0x9B
	UseAnotherServer               ReasonCode = 0x9C
	ServerMoved                    ReasonCode = 0x9D
	SharedSubscriptionsUnsupported ReasonCode = 0x9E
	ConnectionRateExceeded         ReasonCode = 0x9F
	MaximumConnectTime             ReasonCode = 0xA0
	SubscriptionIDsUnsupported     ReasonCode = 0xA1
	WildcardsUnsupported           ReasonCode = 0xA2
)

// UserProperty is one name and value pair (section 2.2.2.2, 0x26).
type UserProperty struct{ Name, Value string }

// Connect is the CONNECT packet (section 3.1). Nil fields are absent on the wire.
type Connect struct {
	ClientID   string
	CleanStart bool
	KeepAlive  uint16 // seconds
	Will       *Will
	Username   *string
	Password   []byte // nil: absent

	SessionExpiryInterval      *uint32
	ReceiveMaximum             *uint16
	MaximumPacketSize          *uint32
	TopicAliasMaximum          *uint16
	RequestResponseInformation *bool
	RequestProblemInformation  *bool
	AuthenticationMethod       *string
	AuthenticationData         []byte // nil: absent
	UserProperties             []UserProperty
}

// Will is the will message of a CONNECT (section 3.1.3.2). Properties may be
// nil; its SubscriptionIDs are not encoded.
type Will struct {
	Topic         string
	Payload       []byte
	QoS           uint8
	Retain        bool
	DelayInterval *uint32
	Properties    *PublishProperties
}

// Connack is the CONNACK packet (section 3.2).
type Connack struct {
	SessionPresent bool
	ReasonCode     ReasonCode

	SessionExpiryInterval          *uint32
	ReceiveMaximum                 *uint16
	MaximumQoS                     *uint8
	RetainAvailable                *bool
	MaximumPacketSize              *uint32
	AssignedClientID               *string
	TopicAliasMaximum              *uint16
	ReasonString                   *string
	WildcardSubscriptionsAvailable *bool
	SubscriptionIDsAvailable       *bool
	SharedSubscriptionsAvailable   *bool
	ServerKeepAlive                *uint16
	ResponseInformation            *string
	ServerReference                *string
	AuthenticationMethod           *string
	AuthenticationData             []byte // nil: absent
	UserProperties                 []UserProperty
}

// Publish is the PUBLISH packet as it is written (section 3.3). It is small on
// purpose: the sender keeps one for each queued or unacknowledged message, and
// most messages have no properties.
type Publish struct {
	Topic      string
	Payload    []byte
	Properties *PublishProperties // nil: none
	PacketID   uint16             // written if QoS > 0
	TopicAlias uint16             // 0: none
	QoS        uint8
	Retain     bool
	Dup        bool
}

// PublishProperties are the properties of PUBLISH and of a will, apart from
// the topic alias.
type PublishProperties struct {
	PayloadFormat         *uint8
	MessageExpiryInterval *uint32
	ResponseTopic         *string
	CorrelationData       []byte // nil: absent
	ContentType           *string
	SubscriptionIDs       []uint32 // server to client only
	UserProperties        []UserProperty
}

// PublishView is a received PUBLISH. Its slices point into the buffer it was
// parsed from, so parsing allocates nothing.
type PublishView struct {
	Topic      []byte
	Payload    []byte
	Properties []byte // the property bytes, already validated; see PublishView.Decode
	PacketID   uint16 // 0 if QoS is 0
	TopicAlias uint16 // 0: none
	QoS        uint8
	Retain     bool
	Dup        bool
	UTF8       bool // the payload format indicator is 1
}

// Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP (sections 3.4 to 3.7).
type Ack struct {
	PacketID       uint16
	ReasonCode     ReasonCode
	ReasonString   *string
	UserProperties []UserProperty
}

// Subscription is one topic filter of a SUBSCRIBE and its options (section 3.8.3.1).
type Subscription struct {
	TopicFilter       string
	QoS               uint8
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    uint8
}

// Subscribe is the SUBSCRIBE packet (section 3.8).
type Subscribe struct {
	PacketID       uint16
	Subscriptions  []Subscription
	SubscriptionID *uint32
	UserProperties []UserProperty
}

// Unsubscribe is the UNSUBSCRIBE packet (section 3.10).
type Unsubscribe struct {
	PacketID       uint16
	TopicFilters   []string
	UserProperties []UserProperty
}

// SubscribeAck is a SUBACK or an UNSUBACK (sections 3.9 and 3.11).
type SubscribeAck struct {
	PacketID       uint16
	ReasonCodes    []ReasonCode
	ReasonString   *string
	UserProperties []UserProperty
}

// Disconnect is the DISCONNECT packet (section 3.14).
type Disconnect struct {
	ReasonCode            ReasonCode
	SessionExpiryInterval *uint32
	ReasonString          *string
	ServerReference       *string
	UserProperties        []UserProperty
}

// Auth is the AUTH packet (section 3.15).
type Auth struct {
	ReasonCode           ReasonCode
	AuthenticationMethod *string
	AuthenticationData   []byte // nil: absent
	ReasonString         *string
	UserProperties       []UserProperty
}
