// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// instant is a connection on which a get is answered within Publish.
type instant struct {
	handlers map[string]mqtt5.MessageHandler
}

func (c *instant) Publish(ctx context.Context, p *mqtt5.PublishPacket) (*mqtt5.PublishResult, error) {
	var body struct {
		Token string `json:"clientToken"`
	}
	if err := json.Unmarshal(p.Payload, &body); err != nil {
		return nil, err
	}
	payload := append([]byte(`{"state":{"desired":{"on":true,"level":3},"reported":{"on":true},"delta":{"level":3}},"metadata":{"desired":{"on":{"timestamp":1700000000},`+
		`"level":{"timestamp":1700000000}},"reported":{"on":{"timestamp":1700000000}}},"version":7,"timestamp":1700000001,"clientToken":"`), body.Token...)
	m := mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Topic: p.Topic + "/accepted", Payload: append(payload, `"}`...)}}
	c.handlers[p.Topic+"/+"](ctx, m)
	return &mqtt5.PublishResult{}, nil
}

func (c *instant) Subscribe(_ context.Context, p *mqtt5.SubscribePacket) (*mqtt5.SubackPacket, error) {
	return &mqtt5.SubackPacket{ReasonCodes: make([]mqtt5.SubackReasonCode, len(p.Subscriptions))}, nil
}

func (c *instant) Unsubscribe(context.Context, *mqtt5.UnsubscribePacket) (*mqtt5.UnsubackPacket, error) {
	return &mqtt5.UnsubackPacket{}, nil
}

func (c *instant) Handle(filter string, h mqtt5.MessageHandler) (func(), error) {
	c.handlers[filter] = h
	return func() {}, nil
}

func (c *instant) State() mqtt5.State { return mqtt5.StateConnected }

// BenchmarkGet is what a get costs beside the network.
func BenchmarkGet(b *testing.B) {
	client, err := request.New(&instant{make(map[string]mqtt5.MessageHandler)}, request.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Classic[lamp](client, "lamp")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
