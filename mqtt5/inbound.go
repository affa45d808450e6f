// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"bytes"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// arrival is bytes in which messages arrived.
type arrival struct {
	bytes  []byte
	shared bool // the bytes are reused: a payload has to be copied before it is handed over
}

// inbound is a received message that waits: where its parts are in its arrival.
// It has no pointers, so that the garbage collector need not look at what waits.
type inbound struct {
	ack     uint64
	start   uint32 // of the variable header
	payload uint32
	end     uint32
	topic   uint16 // its length; 0: the topic is the next of batch.aliased
	qos     uint8
	retain  bool
	dup     bool
	more    bool // there are properties, or a topic alias
}

func newInbound(m *engine.Message) inbound {
	return inbound{
		ack:     m.Ack,
		start:   uint32(m.Start),
		payload: uint32(m.End - len(m.Payload)),
		end:     uint32(m.End),
		topic:   uint16(len(m.Topic)),
		qos:     m.QoS,
		retain:  m.Retain,
		dup:     m.Dup,
		more:    len(m.Properties) > 0 || m.TopicAlias != 0,
	}
}

// unpacking makes messages of a batch. It belongs to the dispatcher goroutine.
type unpacking struct {
	batch   *batch
	arrival arrival // of the message at next
	next    int     // in batch.messages
	aliased int     // next in batch.aliased

	// payloads is room that the payloads of a burst share.
	payloads []byte
}

const (
	// slabPayload is how many bytes of payloads of a burst share an allocation:
	// together they cost a fraction of what each would alone, and whoever keeps
	// one keeps at most these.
	slabPayload = 3 << 10
	// smallPayload is the size above which a payload has its own allocation.
	smallPayload = slabPayload / 4
)

// unpack makes m, which is empty, the next message of the batch.
func (c *Client) unpack(u *unpacking, m *Message) {
	b := u.batch
	in := &b.messages[u.next]
	u.next++

	packet := u.arrival.bytes[in.start:in.end:in.end]
	if in.ack != 0 {
		m.client, m.ack = c, in.ack
	}
	if in.topic > 0 {
		m.Topic = c.dispatch.topics.intern(packet[2:][:in.topic])
	} else {
		m.Topic = b.aliased[u.aliased]
		u.aliased++
	}
	m.Payload = packet[in.payload-in.start:]
	if u.arrival.shared {
		m.Payload = u.keep(m.Payload)
	}
	m.QoS = QoS(in.qos)
	m.Retain = in.retain
	m.Duplicate = in.dup
	if in.more {
		m.setProperties(packet)
	}
}

// keep copies a payload.
func (u *unpacking) keep(payload []byte) []byte {
	n := len(payload)
	if n > smallPayload {
		return bytes.Clone(payload)
	}
	if n > cap(u.payloads)-len(u.payloads) {
		u.payloads = make([]byte, 0, min(u.batch.small, slabPayload))
	}
	u.batch.small -= n
	at := len(u.payloads)
	u.payloads = append(u.payloads, payload...)
	return u.payloads[at:len(u.payloads):len(u.payloads)]
}

// setProperties reads the properties of a packet, which the engine has found to
// be valid.
func (m *Message) setProperties(packet []byte) {
	f := wire.Frame{Type: wire.TypePublish, Flags: uint8(m.QoS) << 1, Body: packet}
	var v wire.PublishView
	wire.ParsePublish(&f, &v)
	if v.TopicAlias != 0 {
		m.TopicAlias = Ptr(v.TopicAlias)
	}
	if len(v.Properties) == 0 {
		return
	}
	var p wire.PublishProperties
	v.Decode(&p)
	m.PayloadFormat = (*PayloadFormat)(p.PayloadFormat)
	m.MessageExpirySeconds = p.MessageExpiryInterval
	m.ResponseTopic = p.ResponseTopic
	m.CorrelationData = p.CorrelationData
	m.ContentType = p.ContentType
	m.SubscriptionIdentifiers = p.SubscriptionIDs
	m.UserProperties = userProperties(p.UserProperties)
}

// topicCache makes strings of topics without allocating for those seen before.
type topicCache struct {
	last string
	seen map[string]string
}

// maxTopics bounds a topicCache. Beyond that it starts over.
const maxTopics = 256

func (t *topicCache) intern(topic []byte) string {
	if string(topic) == t.last {
		return t.last
	}
	if s, ok := t.seen[string(topic)]; ok {
		t.last = s
		return s
	}
	s := string(topic)
	if t.last != "" { // a second topic: worth a table
		if t.seen == nil || len(t.seen) >= maxTopics {
			t.seen = make(map[string]string)
		}
		t.seen[t.last] = t.last
		t.seen[s] = s
	}
	t.last = s
	return s
}
