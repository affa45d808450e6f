// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// The packets of this package and those of the codec are different types, so
// that the codec's stay small and free to change, and these readable in the
// documentation.

func wireUserProperties(in []UserProperty) []wire.UserProperty {
	if len(in) == 0 {
		return nil
	}
	out := make([]wire.UserProperty, len(in))
	for i, p := range in {
		out[i] = wire.UserProperty(p)
	}
	return out
}

func userProperties(in []wire.UserProperty) []UserProperty {
	if len(in) == 0 {
		return nil
	}
	out := make([]UserProperty, len(in))
	for i, p := range in {
		out[i] = UserProperty(p)
	}
	return out
}

func wireConnect(p *ConnectPacket) *wire.Connect {
	c := &wire.Connect{
		ClientID:                   p.ClientID,
		KeepAlive:                  defaultKeepAlive,
		Username:                   p.Username,
		Password:                   p.Password,
		SessionExpiryInterval:      p.SessionExpiryIntervalSeconds,
		ReceiveMaximum:             p.ReceiveMaximum,
		MaximumPacketSize:          p.MaximumPacketSizeBytes,
		RequestResponseInformation: p.RequestResponseInformation,
		RequestProblemInformation:  p.RequestProblemInformation,
		UserProperties:             wireUserProperties(p.UserProperties),
	}
	if p.KeepAliveSeconds != nil {
		c.KeepAlive = *p.KeepAliveSeconds
	}
	if w := p.Will; w != nil {
		c.Will = &wire.Will{
			Topic:         w.Topic,
			Payload:       w.Payload,
			QoS:           uint8(w.QoS),
			Retain:        w.Retain,
			DelayInterval: p.WillDelayIntervalSeconds,
			Properties:    wireProperties(w),
		}
	}
	return c
}

const defaultKeepAlive = 1200

// wireProperties returns nil if p has no properties, as most messages.
func wireProperties(p *PublishPacket) *wire.PublishProperties {
	if p.PayloadFormat == nil && p.MessageExpirySeconds == nil && p.ResponseTopic == nil && p.CorrelationData == nil &&
		p.ContentType == nil && len(p.SubscriptionIdentifiers) == 0 && len(p.UserProperties) == 0 {
		return nil
	}
	return &wire.PublishProperties{
		PayloadFormat:         (*uint8)(p.PayloadFormat),
		MessageExpiryInterval: p.MessageExpirySeconds,
		ResponseTopic:         p.ResponseTopic,
		CorrelationData:       p.CorrelationData,
		ContentType:           p.ContentType,
		SubscriptionIDs:       p.SubscriptionIdentifiers,
		UserProperties:        wireUserProperties(p.UserProperties),
	}
}

func wirePublish(p *PublishPacket) wire.Publish {
	w := wire.Publish{
		Topic:      p.Topic,
		Payload:    p.Payload,
		QoS:        uint8(p.QoS),
		Retain:     p.Retain,
		Properties: wireProperties(p),
	}
	if p.TopicAlias != nil {
		w.TopicAlias = *p.TopicAlias
	}
	return w
}

func wireSubscribe(p *SubscribePacket) *wire.Subscribe {
	w := &wire.Subscribe{
		Subscriptions:  make([]wire.Subscription, len(p.Subscriptions)),
		SubscriptionID: p.SubscriptionIdentifier,
		UserProperties: wireUserProperties(p.UserProperties),
	}
	for i, s := range p.Subscriptions {
		w.Subscriptions[i] = wire.Subscription{
			TopicFilter:       s.TopicFilter,
			QoS:               uint8(s.QoS),
			NoLocal:           s.NoLocal,
			RetainAsPublished: s.RetainAsPublished,
			RetainHandling:    uint8(s.RetainHandling),
		}
	}
	return w
}

func wireUnsubscribe(p *UnsubscribePacket) *wire.Unsubscribe {
	return &wire.Unsubscribe{
		TopicFilters:   append([]string(nil), p.TopicFilters...),
		UserProperties: wireUserProperties(p.UserProperties),
	}
}

func wireDisconnect(p *DisconnectPacket) *wire.Disconnect {
	return &wire.Disconnect{
		ReasonCode:            wire.ReasonCode(p.ReasonCode),
		SessionExpiryInterval: p.SessionExpiryIntervalSeconds,
		ReasonString:          p.ReasonString,
		ServerReference:       p.ServerReference,
		UserProperties:        wireUserProperties(p.UserProperties),
	}
}

func connackPacket(w *wire.Connack) *ConnackPacket {
	if w == nil {
		return nil
	}
	return &ConnackPacket{
		SessionPresent:                 w.SessionPresent,
		ReasonCode:                     ConnectReasonCode(w.ReasonCode),
		SessionExpiryIntervalSeconds:   w.SessionExpiryInterval,
		ReceiveMaximum:                 w.ReceiveMaximum,
		MaximumQoS:                     (*QoS)(w.MaximumQoS),
		RetainAvailable:                w.RetainAvailable,
		MaximumPacketSizeBytes:         w.MaximumPacketSize,
		AssignedClientID:               w.AssignedClientID,
		TopicAliasMaximum:              w.TopicAliasMaximum,
		ReasonString:                   w.ReasonString,
		WildcardSubscriptionsAvailable: w.WildcardSubscriptionsAvailable,
		SubscriptionIDsAvailable:       w.SubscriptionIDsAvailable,
		SharedSubscriptionsAvailable:   w.SharedSubscriptionsAvailable,
		ServerKeepAliveSeconds:         w.ServerKeepAlive,
		ResponseInformation:            w.ResponseInformation,
		ServerReference:                w.ServerReference,
		AuthenticationMethod:           w.AuthenticationMethod,
		AuthenticationData:             w.AuthenticationData,
		UserProperties:                 userProperties(w.UserProperties),
	}
}

func disconnectPacket(w *wire.Disconnect) *DisconnectPacket {
	if w == nil {
		return nil
	}
	return &DisconnectPacket{
		ReasonCode:                   DisconnectReasonCode(w.ReasonCode),
		SessionExpiryIntervalSeconds: w.SessionExpiryInterval,
		ReasonString:                 w.ReasonString,
		ServerReference:              w.ServerReference,
		UserProperties:               userProperties(w.UserProperties),
	}
}

func subackPacket(w *wire.SubscribeAck) *SubackPacket {
	p := &SubackPacket{
		ReasonCodes:    make([]SubackReasonCode, len(w.ReasonCodes)),
		ReasonString:   w.ReasonString,
		UserProperties: userProperties(w.UserProperties),
	}
	for i, code := range w.ReasonCodes {
		p.ReasonCodes[i] = SubackReasonCode(code)
	}
	return p
}

func unsubackPacket(w *wire.SubscribeAck) *UnsubackPacket {
	p := &UnsubackPacket{
		ReasonCodes:    make([]UnsubackReasonCode, len(w.ReasonCodes)),
		ReasonString:   w.ReasonString,
		UserProperties: userProperties(w.UserProperties),
	}
	for i, code := range w.ReasonCodes {
		p.ReasonCodes[i] = UnsubackReasonCode(code)
	}
	return p
}

func negotiatedSettings(s engine.Settings) NegotiatedSettings {
	return NegotiatedSettings{
		MaximumQoS:                     QoS(s.MaximumQoS),
		SessionExpiryIntervalSeconds:   s.SessionExpiryInterval,
		ReceiveMaximumFromServer:       s.ReceiveMaximumFromServer,
		MaximumPacketSizeToServer:      s.MaximumPacketSizeToServer,
		TopicAliasMaximumToServer:      s.TopicAliasMaximumToServer,
		TopicAliasMaximumToClient:      s.TopicAliasMaximumToClient,
		ServerKeepAliveSeconds:         s.ServerKeepAlive,
		RetainAvailable:                s.RetainAvailable,
		WildcardSubscriptionsAvailable: s.WildcardSubscriptionsAvailable,
		SubscriptionIDsAvailable:       s.SubscriptionIDsAvailable,
		SharedSubscriptionsAvailable:   s.SharedSubscriptionsAvailable,
		RejoinedSession:                s.RejoinedSession,
		ClientID:                       s.ClientID,
	}
}
