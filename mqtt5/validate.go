// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// problems collects the problems of a packet or of options.
type problems struct {
	subject string
	found   []Problem
}

func (v *problems) add(field, rule, id string) {
	v.found = append(v.found, Problem{Field: field, Rule: rule, ID: id})
}

func (v *problems) violations(prefix string, found []*wire.Violation) {
	for _, f := range found {
		v.add(prefix+f.Field, f.Text, f.Rule)
	}
}

func (v *problems) err() error {
	if len(v.found) == 0 {
		return nil
	}
	return &ValidationError{Subject: v.subject, Problems: v.found}
}

// connect checks a CONNECT under the field name "Connect.".
func (v *problems) connect(p *ConnectPacket) {
	c := wireConnect(p)
	v.violations("Connect.", wire.CheckConnect(c))
}

// validatePublish checks what needs no connection.
func (c *Client) validatePublish(p *PublishPacket, w *wire.Publish) error {
	found := wire.CheckPublish(w)
	if len(found) == 0 && c.opts.Limits == nil && p.TopicAlias == nil && p.Topic != "" {
		return nil
	}
	v := problems{subject: "PublishPacket"}
	v.violations("", found)
	if p.Topic == "" && w.TopicAlias != 0 {
		v.add("Topic", "is empty; the client leaves topics out by itself where an alias stands for them", "MQTT-4.7.3-1")
	}
	if p.TopicAlias != nil && *p.TopicAlias == 0 {
		v.add("TopicAlias", "is 0", "MQTT-3.3.2-8")
	}
	c.opts.Limits.checkPublish(&v, "", p)
	return v.err()
}

func (c *Client) validateSubscribe(p *SubscribePacket, w *wire.Subscribe) error {
	v := problems{subject: "SubscribePacket"}
	v.violations("", wire.CheckSubscribe(w))
	c.opts.Limits.checkSubscribe(&v, p)
	return v.err()
}

func (c *Client) validateUnsubscribe(p *UnsubscribePacket, w *wire.Unsubscribe) error {
	v := problems{subject: "UnsubscribePacket"}
	v.violations("", wire.CheckUnsubscribe(w))
	c.opts.Limits.checkUnsubscribe(&v, p)
	return v.err()
}

func validateDisconnect(w *wire.Disconnect) error {
	v := problems{subject: "DisconnectPacket"}
	v.violations("", wire.CheckDisconnect(w))
	return v.err()
}
