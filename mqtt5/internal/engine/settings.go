// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Settings are what both sides agreed on for one connection: the CONNECT's
// values, the CONNACK's, and the standard's defaults for what neither named
// (sections 3.1.2.11 and 3.2.2.3).
type Settings struct {
	MaximumQoS                     uint8
	SessionExpiryInterval          uint32
	ReceiveMaximumFromServer       uint16
	MaximumPacketSizeToServer      uint32
	TopicAliasMaximumToServer      uint16
	TopicAliasMaximumToClient      uint16
	ServerKeepAlive                uint16
	RetainAvailable                bool
	WildcardSubscriptionsAvailable bool
	SubscriptionIDsAvailable       bool
	SharedSubscriptionsAvailable   bool
	RejoinedSession                bool
	ClientID                       string
}

func value[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

// proposed returns the settings of a CONNECT whose CONNACK says nothing.
func proposed(connect *wire.Connect) Settings {
	return Settings{
		MaximumQoS:                     2,
		SessionExpiryInterval:          value(connect.SessionExpiryInterval, 0),
		ReceiveMaximumFromServer:       65535,
		MaximumPacketSizeToServer:      wire.MaxPacketSize,
		TopicAliasMaximumToClient:      value(connect.TopicAliasMaximum, 0),
		ServerKeepAlive:                connect.KeepAlive,
		RetainAvailable:                true,
		WildcardSubscriptionsAvailable: true,
		SubscriptionIDsAvailable:       true,
		SharedSubscriptionsAvailable:   true,
		ClientID:                       connect.ClientID,
	}
}

// accept applies what the CONNACK says.
func (s *Settings) accept(ack *wire.Connack) {
	s.MaximumQoS = value(ack.MaximumQoS, s.MaximumQoS)
	s.SessionExpiryInterval = value(ack.SessionExpiryInterval, s.SessionExpiryInterval)
	s.ReceiveMaximumFromServer = value(ack.ReceiveMaximum, s.ReceiveMaximumFromServer)
	s.MaximumPacketSizeToServer = value(ack.MaximumPacketSize, s.MaximumPacketSizeToServer)
	s.TopicAliasMaximumToServer = value(ack.TopicAliasMaximum, 0)
	s.ServerKeepAlive = value(ack.ServerKeepAlive, s.ServerKeepAlive)
	s.RetainAvailable = value(ack.RetainAvailable, true)
	s.WildcardSubscriptionsAvailable = value(ack.WildcardSubscriptionsAvailable, true)
	s.SubscriptionIDsAvailable = value(ack.SubscriptionIDsAvailable, true)
	s.SharedSubscriptionsAvailable = value(ack.SharedSubscriptionsAvailable, true)
	s.RejoinedSession = ack.SessionPresent
	if s.ClientID == "" {
		s.ClientID = value(ack.AssignedClientID, "")
	}
}

// offer is what the CONNECT of the current connection said, as far as it
// matters afterwards and Settings do not hold it.
type offer struct {
	authenticationMethod *string
	maximumPacketSize    uint32
	sessionExpiry        uint32
	receiveMaximum       uint16
	cleanStart           bool
	problemInformation   bool
	responseInformation  bool
}

func offerOf(c *wire.Connect) offer {
	return offer{
		authenticationMethod: c.AuthenticationMethod,
		maximumPacketSize:    value(c.MaximumPacketSize, wire.MaxPacketSize),
		sessionExpiry:        value(c.SessionExpiryInterval, 0),
		receiveMaximum:       value(c.ReceiveMaximum, 65535),
		cleanStart:           c.CleanStart,
		problemInformation:   value(c.RequestProblemInformation, true),
		responseInformation:  value(c.RequestResponseInformation, false),
	}
}

// check applies the limits of the current connection to an operation that is
// about to be sent. Its caller validated what needs no connection.
func (e *Engine) check(op *Operation) error {
	s := &e.settings
	switch op.Kind {
	case KindPublish:
		p := &op.Publish
		if p.QoS > s.MaximumQoS {
			return &LimitError{"QoS", "above the server's Maximum QoS", "MQTT-3.2.2-11"}
		}
		if p.Retain && !s.RetainAvailable {
			return &LimitError{"Retain", "the server does not support retained messages", "MQTT-3.2.2-14"}
		}
	case KindSubscribe:
		if op.Subscribe.SubscriptionID != nil && !s.SubscriptionIDsAvailable {
			return &LimitError{"SubscriptionIdentifier", "the server does not support subscription identifiers", "3.2.2.3.12"}
		}
		for i := range op.Subscribe.Subscriptions {
			filter := op.Subscribe.Subscriptions[i].TopicFilter
			if !s.SharedSubscriptionsAvailable {
				if _, _, shared := wire.SharedFilter(filter); shared {
					return &LimitError{"TopicFilter", "the server does not support shared subscriptions", "3.2.2.3.13"}
				}
			}
			if !s.WildcardSubscriptionsAvailable && wire.HasWildcard(filter) {
				return &LimitError{"TopicFilter", "the server does not support wildcards", "3.2.2.3.11"}
			}
		}
	}
	return nil
}

var errTooLarge = &LimitError{"packet", "larger than the server's Maximum Packet Size", "MQTT-3.2.2-15"}
