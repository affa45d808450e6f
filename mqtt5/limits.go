// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"fmt"
	"strings"
)

// Limits are bounds of a server that it does not announce by itself, checked
// before a packet is sent. Each zero field turns its check off.
//
// They stand for what the other AWS IoT device SDKs call extended validation
// and flow control.
type Limits struct {
	// PublishesPerSecond delays publishes so that no more leave in a second.
	// A client that was quiet may send one second's worth at once.
	PublishesPerSecond float64
	// BytesPerSecond delays publishes likewise, by the bytes of all packets.
	BytesPerSecond float64
	// MaxSubscriptionsPerSubscribe is the number of filters in one SUBSCRIBE.
	MaxSubscriptionsPerSubscribe int
	// MaxTopicBytes is the length of topics and filters.
	MaxTopicBytes int
	// MaxTopicSlashes is the number of slashes in topics and filters.
	MaxTopicSlashes int
	// MaxClientIDBytes is the length of the client identifier.
	MaxClientIDBytes int
	// MaxPayloadBytes is the length of a payload.
	MaxPayloadBytes int
	// NoQoS2 refuses QoS 2 in publishes, subscriptions and wills.
	NoQoS2 bool
	// NoSubscriptionIdentifiers refuses them in SUBSCRIBE.
	NoSubscriptionIdentifiers bool
	// GenerateClientID makes up an identifier when there is none, instead of
	// having the server assign one that it later refuses.
	GenerateClientID bool
}

// AWSIoTCoreLimits returns the documented quotas of AWS IoT Core for one
// connection. They are defaults of the service; raise a number when the
// account's quota is higher.
//
// Topics that begin with "$aws/rules/<rule>/" and "$share/<name>/" are measured
// without that prefix; other topics that begin with "$" belong to the service
// and are not measured.
//
// Source: "AWS IoT Core message broker and protocol limits and quotas" in the
// AWS General Reference.
func AWSIoTCoreLimits() *Limits {
	return &Limits{
		PublishesPerSecond:           100,
		BytesPerSecond:               512 << 10,
		MaxSubscriptionsPerSubscribe: 8,
		MaxTopicBytes:                256,
		MaxTopicSlashes:              7,
		MaxClientIDBytes:             128,
		MaxPayloadBytes:              128 << 10,
		NoQoS2:                       true,
		NoSubscriptionIdentifiers:    true,
		GenerateClientID:             true,
	}
}

const quota = "AWS IoT Core quota"

// measured returns the part of a topic or filter that counts for the quotas.
func measured(topic string) (rest string, counts bool) {
	if !strings.HasPrefix(topic, "$") {
		return topic, true
	}
	for _, prefix := range []string{"$aws/rules/", "$share/"} {
		if after, ok := strings.CutPrefix(topic, prefix); ok {
			if _, rest, ok := strings.Cut(after, "/"); ok {
				return rest, true
			}
		}
	}
	return "", false
}

func (l *Limits) checkTopic(v *problems, field, topic string) {
	rest, counts := measured(topic)
	if !counts {
		return
	}
	if l.MaxTopicBytes > 0 && len(rest) > l.MaxTopicBytes {
		v.add(field, fmt.Sprintf("has %d bytes, more than %d", len(rest), l.MaxTopicBytes), quota)
	}
	if n := strings.Count(rest, "/"); l.MaxTopicSlashes > 0 && n > l.MaxTopicSlashes {
		v.add(field, fmt.Sprintf("has %d slashes, more than %d", n, l.MaxTopicSlashes), quota)
	}
}

func (l *Limits) checkPublish(v *problems, prefix string, p *PublishPacket) {
	if l == nil {
		return
	}
	l.checkTopic(v, prefix+"Topic", p.Topic)
	if l.MaxPayloadBytes > 0 && len(p.Payload) > l.MaxPayloadBytes {
		v.add(prefix+"Payload", fmt.Sprintf("has %d bytes, more than %d", len(p.Payload), l.MaxPayloadBytes), quota)
	}
	if l.NoQoS2 && p.QoS == ExactlyOnce {
		v.add(prefix+"QoS", "QoS 2 is not supported", quota)
	}
}

func (l *Limits) checkSubscribe(v *problems, p *SubscribePacket) {
	if l == nil {
		return
	}
	if l.MaxSubscriptionsPerSubscribe > 0 && len(p.Subscriptions) > l.MaxSubscriptionsPerSubscribe {
		v.add("Subscriptions", fmt.Sprintf("has %d filters, more than %d", len(p.Subscriptions), l.MaxSubscriptionsPerSubscribe), quota)
	}
	for i := range p.Subscriptions {
		s := &p.Subscriptions[i]
		l.checkTopic(v, fmt.Sprintf("Subscriptions[%d].TopicFilter", i), s.TopicFilter)
		if l.NoQoS2 && s.QoS == ExactlyOnce {
			v.add(fmt.Sprintf("Subscriptions[%d].QoS", i), "QoS 2 is not supported", quota)
		}
	}
	if l.NoSubscriptionIdentifiers && p.SubscriptionIdentifier != nil {
		v.add("SubscriptionIdentifier", "is not supported", quota)
	}
}

func (l *Limits) checkUnsubscribe(v *problems, p *UnsubscribePacket) {
	if l == nil {
		return
	}
	for i, filter := range p.TopicFilters {
		l.checkTopic(v, fmt.Sprintf("TopicFilters[%d]", i), filter)
	}
}

func (l *Limits) checkConnect(v *problems, p *ConnectPacket) {
	if l == nil {
		return
	}
	if l.MaxClientIDBytes > 0 && len(p.ClientID) > l.MaxClientIDBytes {
		v.add("Connect.ClientID", fmt.Sprintf("has %d bytes, more than %d", len(p.ClientID), l.MaxClientIDBytes), quota)
	}
	if p.Will != nil {
		l.checkPublish(v, "Connect.Will.", p.Will)
	}
}
