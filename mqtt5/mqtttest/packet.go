// SPDX-License-Identifier: Apache-2.0

package mqtttest

import "fmt"

// PacketType is the packet type of the fixed header (MQTT 5.0 §2.1.2).
type PacketType byte

// The packet types of MQTT 5.0, table 2-1.
const (
	TypeConnect     PacketType = 1
	TypeConnack     PacketType = 2
	TypePublish     PacketType = 3
	TypePuback      PacketType = 4
	TypePubrec      PacketType = 5
	TypePubrel      PacketType = 6
	TypePubcomp     PacketType = 7
	TypeSubscribe   PacketType = 8
	TypeSuback      PacketType = 9
	TypeUnsubscribe PacketType = 10
	TypeUnsuback    PacketType = 11
	TypePingreq     PacketType = 12
	TypePingresp    PacketType = 13
	TypeDisconnect  PacketType = 14
	TypeAuth        PacketType = 15
)

var packetTypeNames = [16]string{
	"RESERVED", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String returns the name of the packet type as the standard writes it, such as
// "CONNECT".
func (t PacketType) String() string {
	if int(t) < len(packetTypeNames) {
		return packetTypeNames[t]
	}
	return fmt.Sprintf("PacketType(%d)", byte(t))
}

// Packet is an MQTT control packet: one of [Connect], [Connack], [Publish],
// [Puback], [Pubrec], [Pubrel], [Pubcomp], [Subscribe], [Suback],
// [Unsubscribe], [Unsuback], [Pingreq], [Pingresp], [Disconnect], [Auth], or
// [Raw] bytes. What the decoders return are always values, never pointers.
type Packet interface {
	// PacketType names the type of the packet.
	PacketType() PacketType
}

// Ptr returns a pointer to v, to fill in the optional fields of packets.
func Ptr[T any](v T) *T { return &v }

// UserProperty is one name and value pair (§2.2.2.2). Names may repeat, and
// order matters.
type UserProperty struct {
	Name, Value string
}

// Will is the message that the server publishes when the client is gone
// (§3.1.2.5, §3.1.3.2).
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool

	DelayIntervalSeconds *uint32
	PayloadFormat        *byte
	MessageExpirySeconds *uint32
	ContentType          *string
	ResponseTopic        *string
	CorrelationData      []byte // nil when absent
	UserProperties       []UserProperty
}

// Connect is the CONNECT packet (§3.1). A nil pointer or a nil slice is an absent field.
type Connect struct {
	CleanStart       bool
	KeepAliveSeconds uint16
	ClientID         string
	Will             *Will
	Username         *string
	Password         []byte // nil when absent, which an empty password is not

	SessionExpiryIntervalSeconds *uint32
	ReceiveMaximum               *uint16
	MaximumPacketSizeBytes       *uint32
	TopicAliasMaximum            *uint16
	RequestResponseInformation   *byte
	RequestProblemInformation    *byte
	UserProperties               []UserProperty
	AuthenticationMethod         *string
	AuthenticationData           []byte
}

// Connack is the CONNACK packet (§3.2).
type Connack struct {
	SessionPresent bool
	ReasonCode     ReasonCode

	SessionExpiryIntervalSeconds   *uint32
	ReceiveMaximum                 *uint16
	MaximumQoS                     *byte
	RetainAvailable                *byte
	MaximumPacketSizeBytes         *uint32
	AssignedClientID               *string
	TopicAliasMaximum              *uint16
	ReasonString                   *string
	UserProperties                 []UserProperty
	WildcardSubscriptionsAvailable *byte
	SubscriptionIDsAvailable       *byte
	SharedSubscriptionsAvailable   *byte
	ServerKeepAliveSeconds         *uint16
	ResponseInformation            *string
	ServerReference                *string
	AuthenticationMethod           *string
	AuthenticationData             []byte

	// ExtraProperties are raw bytes written after the properties and counted in
	// their length: see [ByteProperty] and its siblings. They are for what the
	// standard forbids, such as a property twice; decoders leave them nil.
	ExtraProperties []byte
}

// Publish is the PUBLISH packet, in either direction (§3.3).
type Publish struct {
	Duplicate bool
	QoS       byte
	Retain    bool
	Topic     string
	PacketID  uint16 // written for a QoS above 0 only
	Payload   []byte

	PayloadFormat           *byte
	MessageExpirySeconds    *uint32
	TopicAlias              *uint16
	ResponseTopic           *string
	CorrelationData         []byte
	UserProperties          []UserProperty
	SubscriptionIdentifiers []uint32 // from the server only
	ContentType             *string

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Puback is the PUBACK packet (§3.4).
type Puback struct {
	PacketID       uint16
	ReasonCode     ReasonCode
	ReasonString   *string
	UserProperties []UserProperty

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Pubrec is the PUBREC packet (§3.5).
type Pubrec struct {
	PacketID       uint16
	ReasonCode     ReasonCode
	ReasonString   *string
	UserProperties []UserProperty

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Pubrel is the PUBREL packet (§3.6).
type Pubrel struct {
	PacketID       uint16
	ReasonCode     ReasonCode
	ReasonString   *string
	UserProperties []UserProperty

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Pubcomp is the PUBCOMP packet (§3.7).
type Pubcomp struct {
	PacketID       uint16
	ReasonCode     ReasonCode
	ReasonString   *string
	UserProperties []UserProperty

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Subscription is one topic filter of a SUBSCRIBE with its options (§3.8.3.1).
type Subscription struct {
	TopicFilter       string
	QoS               byte
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte
}

// Subscribe is the SUBSCRIBE packet (§3.8).
type Subscribe struct {
	PacketID      uint16
	Subscriptions []Subscription

	SubscriptionIdentifier *uint32
	UserProperties         []UserProperty
}

// Suback is the SUBACK packet (§3.9).
type Suback struct {
	PacketID       uint16
	ReasonCodes    []ReasonCode
	ReasonString   *string
	UserProperties []UserProperty

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Unsubscribe is the UNSUBSCRIBE packet (§3.10).
type Unsubscribe struct {
	PacketID       uint16
	TopicFilters   []string
	UserProperties []UserProperty
}

// Unsuback is the UNSUBACK packet (§3.11).
type Unsuback struct {
	PacketID       uint16
	ReasonCodes    []ReasonCode
	ReasonString   *string
	UserProperties []UserProperty

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Pingreq is the PINGREQ packet (§3.12).
type Pingreq struct{}

// Pingresp is the PINGRESP packet (§3.13).
type Pingresp struct{}

// Disconnect is the DISCONNECT packet, in either direction (§3.14).
type Disconnect struct {
	ReasonCode                   ReasonCode
	SessionExpiryIntervalSeconds *uint32 // from the client only
	ReasonString                 *string
	UserProperties               []UserProperty
	ServerReference              *string // from the server only

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Auth is the AUTH packet, in either direction (§3.15).
type Auth struct {
	ReasonCode           ReasonCode
	AuthenticationMethod *string // required by the standard
	AuthenticationData   []byte
	ReasonString         *string
	UserProperties       []UserProperty

	// ExtraProperties: see [Connack].
	ExtraProperties []byte
}

// Raw is bytes that go out as they are: a packet in illegal form, part of one,
// several at once, or no packet at all.
type Raw []byte

// PacketType returns [TypeConnect].
func (Connect) PacketType() PacketType { return TypeConnect }

// PacketType returns [TypeConnack].
func (Connack) PacketType() PacketType { return TypeConnack }

// PacketType returns [TypePublish].
func (Publish) PacketType() PacketType { return TypePublish }

// PacketType returns [TypePuback].
func (Puback) PacketType() PacketType { return TypePuback }

// PacketType returns [TypePubrec].
func (Pubrec) PacketType() PacketType { return TypePubrec }

// PacketType returns [TypePubrel].
func (Pubrel) PacketType() PacketType { return TypePubrel }

// PacketType returns [TypePubcomp].
func (Pubcomp) PacketType() PacketType { return TypePubcomp }

// PacketType returns [TypeSubscribe].
func (Subscribe) PacketType() PacketType { return TypeSubscribe }

// PacketType returns [TypeSuback].
func (Suback) PacketType() PacketType { return TypeSuback }

// PacketType returns [TypeUnsubscribe].
func (Unsubscribe) PacketType() PacketType { return TypeUnsubscribe }

// PacketType returns [TypeUnsuback].
func (Unsuback) PacketType() PacketType { return TypeUnsuback }

// PacketType returns [TypePingreq].
func (Pingreq) PacketType() PacketType { return TypePingreq }

// PacketType returns [TypePingresp].
func (Pingresp) PacketType() PacketType { return TypePingresp }

// PacketType returns [TypeDisconnect].
func (Disconnect) PacketType() PacketType { return TypeDisconnect }

// PacketType returns [TypeAuth].
func (Auth) PacketType() PacketType { return TypeAuth }

// PacketType returns what the first byte says, 0 when there is none.
func (r Raw) PacketType() PacketType {
	if len(r) == 0 {
		return 0
	}
	return PacketType(r[0] >> 4)
}
