// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// AliasMode says how outbound topic aliases are chosen.
type AliasMode uint8

// The outbound alias modes of the other AWS IoT device SDKs.
const (
	AliasDisabled AliasMode = iota
	AliasManual             // the user names an alias for each publish
	AliasLRU                // the least recently used alias is assigned anew
)

// outboundAliases maps topics to aliases, for one connection [MQTT-3.3.2-7].
type outboundAliases struct {
	mode   AliasMode
	max    uint16
	topics []string          // topics[alias-1]; "" if the alias is not bound
	byName map[string]uint16 // LRU
	next   []uint16          // LRU: ring of use, index 0 is its sentinel
	prev   []uint16
}

// resolve sets topic and alias of a packet that is about to be written.
func (o *outboundAliases) resolve(p *wire.Publish) {
	switch {
	case o == nil:
		p.TopicAlias = 0
	case o.mode == AliasManual:
		o.resolveManual(p)
	default:
		o.resolveLRU(p)
	}
}

// resolveManual uses the alias that the user chose. One that this server does
// not allow is left out: the packet then names its topic, and nothing is lost.
func (o *outboundAliases) resolveManual(p *wire.Publish) {
	a := p.TopicAlias
	if a == 0 {
		return
	}
	if a > o.max {
		p.TopicAlias = 0
		return
	}
	for int(a) > len(o.topics) {
		o.topics = append(o.topics, "")
	}
	if o.topics[a-1] == p.Topic {
		p.Topic = ""
		return
	}
	o.topics[a-1] = p.Topic
}

func (o *outboundAliases) resolveLRU(p *wire.Publish) {
	if o.byName == nil {
		o.byName = make(map[string]uint16)
		o.next, o.prev = []uint16{0}, []uint16{0}
	}
	a, bound := o.byName[p.Topic]
	switch {
	case bound:
		o.unlink(a)
	case len(o.topics) < int(o.max):
		o.topics = append(o.topics, p.Topic)
		a = uint16(len(o.topics))
		o.next, o.prev = append(o.next, 0), append(o.prev, 0)
		o.byName[p.Topic] = a
	default:
		a = o.prev[0]
		o.unlink(a)
		delete(o.byName, o.topics[a-1])
		o.topics[a-1] = p.Topic
		o.byName[p.Topic] = a
	}
	first := o.next[0]
	o.next[a], o.prev[a] = first, 0
	o.prev[first], o.next[0] = a, a
	p.TopicAlias = a
	if bound {
		p.Topic = ""
	}
}

func (o *outboundAliases) unlink(a uint16) {
	o.next[o.prev[a]] = o.next[a]
	o.prev[o.next[a]] = o.prev[a]
}

// undo forgets a binding that resolve made for a packet that is not sent.
func (o *outboundAliases) undo(p *wire.Publish, topic string) {
	if p.TopicAlias == 0 || p.Topic == "" {
		return
	}
	o.topics[p.TopicAlias-1] = ""
	if o.mode == AliasLRU {
		delete(o.byName, topic)
	}
}

// resolveInbound gives a received message its topic [MQTT-3.3.2-10].
func (e *Engine) resolveInbound(m *Message) *wire.Error {
	m.AliasedTopic = ""
	a := m.TopicAlias
	if a == 0 {
		if len(m.Topic) == 0 {
			return violation(wire.TypePublish, "MQTT-4.7.3-1", "no topic name and no topic alias")
		}
		return nil
	}
	if a > e.cfg.InAliasMax {
		return &wire.Error{Reason: wire.TopicAliasInvalid, Packet: wire.TypePublish, Rule: "MQTT-3.3.2-11",
			Text: "topic alias above our Topic Alias Maximum"}
	}
	if len(m.Topic) > 0 {
		if e.inAliases == nil {
			e.inAliases = make([]string, e.cfg.InAliasMax)
		}
		if e.inAliases[a-1] != string(m.Topic) {
			e.inAliases[a-1] = string(m.Topic)
		}
		return nil
	}
	if e.inAliases == nil || e.inAliases[a-1] == "" {
		return violation(wire.TypePublish, "3.3.4", "topic alias that was not bound on this connection")
	}
	m.AliasedTopic = e.inAliases[a-1]
	return nil
}
