// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Message is a received message. It is passed by value, so that receiving one
// allocates no more than its payload needs.
//
// What it refers to, its payload above all, belongs to its handlers and may be
// kept, unless [ClientOptions.BorrowPayloads] is set: then it is valid only
// until the handler returns, and Clone makes a copy to keep.
//
// A QoS 1 or 2 message is acknowledged when its last handler returns, unless a
// handler takes the acknowledgement over with [Message.TakeAck].
type Message struct {
	PublishPacket
	client *Client
	ack    uint64
}

// MessageHandler handles received messages. Handlers run one at a time, in the
// order of receipt; they may block, and may call the client and wait for its
// operations. ctx ends when the client is closed, and when a stop gives up
// waiting for them.
type MessageHandler func(ctx context.Context, m Message)

// Clone returns a copy that shares nothing with the read buffers of the client.
func (m Message) Clone() Message {
	m.Topic = strings.Clone(m.Topic)
	m.Payload = bytes.Clone(m.Payload)
	m.CorrelationData = bytes.Clone(m.CorrelationData)
	m.SubscriptionIdentifiers = slices.Clone(m.SubscriptionIdentifiers)
	m.UserProperties = slices.Clone(m.UserProperties)
	return m
}

// TakeAck takes the acknowledgement of the message over: the client does not
// give it by itself any more. It has to be called before the handler returns.
// It fails with [ErrAckTwice] if another handler took it, and with
// [ErrAckStale] if the connection is gone.
//
// Acknowledgements leave in the order of receipt, as the standard demands, so
// one that is not given holds back those of later messages; and the server
// sends no more than [ConnectPacket.ReceiveMaximum] messages meanwhile.
//
// Acknowledging a QoS 0 message does nothing.
func (m Message) TakeAck() (*Ack, error) {
	if m.ack == 0 {
		return &Ack{}, nil
	}
	c := m.client
	now := c.lock()
	defer c.unlock(now)
	number, err := c.engine.HoldAck(m.ack)
	if err != nil {
		return nil, err
	}
	return &Ack{client: c, number: number}, nil
}

// Ack is the acknowledgement of one message, to be given once, from any
// goroutine.
type Ack struct {
	client *Client
	number uint64
}

// Accept acknowledges the message. It fails with [ErrAckStale] if the
// connection of the message is gone, in which case the server sends it again,
// and with [ErrAckTwice] if the acknowledgement was given before.
func (a *Ack) Accept() error { return a.give(wire.Success, nil) }

// Reject acknowledges the message with a failure, and optionally says why. The
// server does not send it again. It fails like Accept.
func (a *Ack) Reject(code PubackReasonCode, reason string) error {
	if !code.Failed() || !wire.ReasonCodeValid(wire.TypePuback, wire.ReasonCode(code), false) {
		v := problems{subject: "acknowledgement"}
		v.add("ReasonCode", "is not a failure that a client may report", "MQTT-3.4.2-1")
		return v.err()
	}
	var detail *wire.Ack
	if reason != "" {
		detail = &wire.Ack{PacketID: 1, ReasonString: &reason} // the engine knows the identifier
		if found := wire.CheckAck(wire.TypePuback, detail); len(found) > 0 {
			v := problems{subject: "acknowledgement"}
			v.violations("", found)
			return v.err()
		}
	}
	return a.give(wire.ReasonCode(code), detail)
}

func (a *Ack) give(code wire.ReasonCode, detail *wire.Ack) error {
	c := a.client
	if c == nil {
		return nil
	}
	now := c.lock()
	defer c.unlock(now)
	return c.engine.Acknowledge(now, a.number, code, detail)
}
