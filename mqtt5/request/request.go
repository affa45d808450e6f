// SPDX-License-Identifier: Apache-2.0

package request

import (
	"reflect"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Reply is a topic on which the answer may arrive.
type Reply struct {
	// Topic of the answer, without wildcards. Required.
	Topic string
	// Filter is the topic filter to subscribe to; it has to match Topic. One
	// with wildcards covers several topics for the price of one subscription.
	// Empty: Topic.
	Filter string
}

// OfflinePolicy says what happens to a request while there is no connection.
type OfflinePolicy uint8

// The offline policies.
const (
	// WaitForConnection lets the request wait, as long as its time-out and
	// context allow. It is the default.
	WaitForConnection OfflinePolicy = iota
	// FailOffline fails the request with [ErrOffline].
	FailOffline
)

// Quota limits the requests of one service. All requests of a [Client] whose
// quotas have the same name share it.
type Quota struct {
	// Name of the service, for instance "shadow thermostat".
	Name string
	// InFlight is how many requests may wait for their answers at the same
	// time. 0: no limit.
	InFlight int
}

// Request is one message that asks for an answer. [Client.Do] does not change
// it, and keeps nothing of it.
type Request struct {
	// Topic to publish to. Required.
	Topic string
	// Payload may be empty. It must not be modified until Do returns.
	Payload []byte
	// Replies are where the answer may arrive. At least one.
	Replies []Reply
	// Correlation finds the token in an answer. Required; [Uncorrelated] if
	// answers have none.
	Correlation Correlation
	// Token ties the answer to the request. Two requests that share a reply topic
	// and a token are never in flight together: the second waits. [NewToken]
	// makes one. With [CorrelationData] the client sends it; with [JSONField] the
	// caller puts it into Payload.
	Token string
	// Timeout limits the time from the call to the answer. 0: [Options.Timeout].
	Timeout time.Duration
	// Offline says what happens without a connection.
	Offline OfflinePolicy
	// Quota limits the requests in flight. Zero value: no limit.
	Quota Quota
	// Throttled reports whether an answer says that the service is too busy and
	// did nothing. The client then sends no request of this Quota for a while
	// and repeats this one, with growing delays, until its time-out; if there is
	// no time left, Do returns the answer. Nil: no answer is taken for that. A
	// PUBACK with the reason code "quota exceeded" is treated the same way.
	Throttled func(answer *mqtt5.Message) bool
	// Idempotent allows the client to send the message again when the answer may
	// have been lost with the session. Without it the request fails with
	// [ErrSubscriptionLost].
	Idempotent bool
	// Packet, if set, is called with the packet before it is published, to set
	// further fields such as a content type. QoS is 1 by default.
	Packet func(packet *mqtt5.PublishPacket)
}

func (r *Request) validate() error {
	switch {
	case r == nil:
		return invalid("the request is nil")
	case r.Topic == "":
		return invalid("the request has no topic")
	case hasWildcard(r.Topic):
		return invalid("the topic %q has a wildcard", r.Topic)
	case len(r.Replies) == 0:
		return invalid("the request names no reply topic")
	case r.Correlation == nil:
		return invalid("the request has no correlation")
	case !reflect.ValueOf(r.Correlation).Comparable():
		return invalid("the correlation is not comparable")
	case r.Timeout < 0:
		return invalid("the time-out is negative")
	case r.Offline > FailOffline:
		return invalid("the offline policy is unknown")
	case r.Quota.InFlight < 0:
		return invalid("the quota is negative")
	}
	for _, reply := range r.Replies {
		if reply.Topic == "" {
			return invalid("a reply has no topic")
		}
		if hasWildcard(reply.Topic) {
			return invalid("the reply topic %q has a wildcard", reply.Topic)
		}
		if !matches(reply.filter(), reply.Topic) {
			return invalid("the filter %q does not match the reply topic %q", reply.Filter, reply.Topic)
		}
	}
	return nil
}

func (r Reply) filter() string {
	if r.Filter == "" {
		return r.Topic
	}
	return r.Filter
}

// token returns what an answer has to carry.
func (r *Request) token() string {
	if _, ok := r.Correlation.(Uncorrelated); ok {
		return ""
	}
	return r.Token
}
