// SPDX-License-Identifier: Apache-2.0

package iottest

import "time"

// Quotas are the limits of one connection. A zero field means AWS IoT Core's
// default for the limits on shape and size, and "no limit" for the limits on
// rate, so that a test which sends thousands of messages loses none.
// [ServiceQuotas] has the rates of the service too. A negative int removes that
// limit.
type Quotas struct {
	// MaxClientIDBytes is the longest client id, 128. A longer one is refused with 0x85.
	MaxClientIDBytes int
	// MaxTopicBytes is the longest topic or filter, 256 bytes of UTF-8, a
	// prefix $aws/rules/<rule>/ or $share/<name>/ not counted; reserved topics
	// $aws/ are exempt.
	MaxTopicBytes int
	// MaxTopicSlashes is the number of slashes in a topic or filter, 7, counted
	// as MaxTopicBytes.
	MaxTopicSlashes int
	// MaxPayloadBytes is the largest payload, 128 KiB.
	MaxPayloadBytes int
	// MaxPacketBytes is the Maximum Packet Size in CONNACK, 149,504. A larger
	// packet ends the connection with 0x95.
	MaxPacketBytes uint32
	// MaxFiltersPerSubscribe is 8. More of them in one SUBSCRIBE end the
	// connection with 0x97.
	MaxFiltersPerSubscribe int
	// MaxSubscriptions of one connection, 50. One more gets 0x97 in SUBACK.
	MaxSubscriptions int
	// ReceiveMaximum is the number of unacknowledged QoS 1 publishes a client
	// may have, 100. One more ends the connection with 0x93.
	ReceiveMaximum uint16
	// MaxInflight is the number of unacknowledged QoS 1 messages the service
	// sends a client, 100, lowered to the client's Receive Maximum. The service
	// then waits.
	MaxInflight int
	// TopicAliasMaximum is 8, in both directions. A higher alias ends the
	// connection with 0x94.
	TopicAliasMaximum uint16
	// MinKeepAlive and MaxKeepAlive bound the keep alive, 30 and 1200 s. A
	// value outside, or 0, is replaced and sent as Server Keep Alive. Silence
	// for one and a half times the keep alive ends the connection with 0x8D.
	MinKeepAlive, MaxKeepAlive uint16
	// MaxSessionExpiry caps the session expiry interval, one hour. The capped
	// value is in CONNACK.
	MaxSessionExpiry time.Duration
	// MaxMessageExpiry caps how long a stored message is kept, 7 days.
	MaxMessageExpiry time.Duration

	// MaxOutboundBytes is how much may wait to be sent on one connection, 1
	// MiB. QoS 0 messages beyond that are dropped ([Dropped]); QoS 1 messages
	// are bounded by MaxInflight.
	MaxOutboundBytes int
	// MaxQueuedBytes is how many bytes of payload a session stores in QoS 1
	// messages, 64 MiB. More are dropped ([Dropped]). It is a limit of the
	// core: the service has others, which it does not document.
	MaxQueuedBytes int
	// MaxRetainedBytes is the size of all retained messages of the core, topics
	// and 256 bytes for each included, 64 MiB. What is beyond is not retained
	// ([Dropped]). It is a limit of the core.
	MaxRetainedBytes int

	// PublishRate is the number of inbound publishes a second that are
	// accepted, with a burst of the same size; the service has 100. What is
	// beyond is discarded: QoS 1 gets 0x97 in PUBACK (MQTT 5) or no answer
	// (3.1.1).
	PublishRate int
	// Throughput is the number of inbound bytes a second after which reading is
	// slowed; the service has 524,288.
	Throughput int
	// ConnectRate is the number of CONNECTs a second for one client id; the
	// service has 1. More are refused with 0x97.
	ConnectRate int
	// ReplayRate is the number of stored messages a second sent after a session
	// is resumed; the service has 10.
	ReplayRate int
}

// ServiceQuotas returns the default quotas of AWS IoT Core, rates included.
func ServiceQuotas() Quotas {
	q := Quotas{PublishRate: 100, Throughput: 512 << 10, ConnectRate: 1, ReplayRate: 10}
	return q.withDefaults()
}

func (q Quotas) withDefaults() Quotas {
	ints := []struct {
		field *int
		value int
	}{
		{&q.MaxClientIDBytes, 128}, {&q.MaxTopicBytes, 256}, {&q.MaxTopicSlashes, 7}, {&q.MaxPayloadBytes, 128 << 10},
		{&q.MaxFiltersPerSubscribe, 8}, {&q.MaxSubscriptions, 50}, {&q.MaxInflight, 100},
		{&q.MaxOutboundBytes, 1 << 20}, {&q.MaxQueuedBytes, 64 << 20}, {&q.MaxRetainedBytes, 64 << 20},
	}
	for _, f := range ints {
		switch {
		case *f.field == 0:
			*f.field = f.value
		case *f.field < 0:
			*f.field = int(^uint(0) >> 1)
		}
	}
	setDefault(&q.MaxPacketBytes, 149504)
	setDefault(&q.ReceiveMaximum, 100)
	setDefault(&q.TopicAliasMaximum, 8)
	setDefault(&q.MinKeepAlive, 30)
	setDefault(&q.MaxKeepAlive, 1200)
	setDefault(&q.MaxSessionExpiry, time.Hour)
	setDefault(&q.MaxMessageExpiry, 7*24*time.Hour)
	return q
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// bucket is a token bucket on the core's clock: rate tokens a second, burst of
// one second. It starts full.
type bucket struct {
	rate   float64
	tokens float64
	last   time.Time
}

func newBucket(rate int, now time.Time) *bucket {
	if rate <= 0 {
		return nil
	}
	return &bucket{rate: float64(rate), tokens: float64(rate), last: now}
}

func (b *bucket) refill(now time.Time) {
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(b.rate, b.tokens+d.Seconds()*b.rate)
		b.last = now
	}
}

// take reports whether n tokens were there, and takes them. A nil bucket has no limit.
func (b *bucket) take(now time.Time, n int) bool {
	if b == nil {
		return true
	}
	b.refill(now)
	if b.tokens < float64(n) {
		return false
	}
	b.tokens -= float64(n)
	return true
}

// owe takes n tokens, if need be on credit, and returns how long to wait until
// the credit is paid back.
func (b *bucket) owe(now time.Time, n int) time.Duration {
	if b == nil {
		return 0
	}
	b.refill(now)
	b.tokens -= float64(n)
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}
