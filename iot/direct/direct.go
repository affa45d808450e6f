// SPDX-License-Identifier: Apache-2.0

package direct

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// ErrInvalidArgument is a nil connection or handler.
var ErrInvalidArgument = errors.New("direct: invalid argument")

// Connection is the part of [*mqtt5.Client] that direct messages need.
type Connection interface {
	Handle(filter string, handler mqtt5.MessageHandler) (remove func(), err error)
	Publish(ctx context.Context, packet *mqtt5.PublishPacket) (*mqtt5.PublishResult, error)
}

// Handler handles a direct message. What it returns is published on the response
// topic, if the message has one. An error rejects the message: the sender gets the
// text as the reason, and the message is not sent again.
//
// Handlers run like those of [mqtt5.Client.Handle]: one at a time, in the order of
// receipt.
type Handler func(ctx context.Context, m mqtt5.Message) (answer []byte, err error)

// Options configure [Handle]. The zero value is the default.
type Options struct {
	// ContentType is that of the answers. Empty: none.
	ContentType string
	// OnError receives what could not be acknowledged or answered. Nil: nothing.
	OnError func(m mqtt5.Message, err error)
}

// maxReason bounds the reason of a rejection, in characters.
const maxReason = 256

// Handle calls handler with the direct messages on topics that match a filter,
// until remove is called. It subscribes to nothing: subscribe to the filter
// elsewhere, or not at all.
//
// The policy has to allow iot:Receive on the topics, and iot:Publish on the
// response topics.
func Handle(c Connection, filter string, handler Handler, options Options) (remove func(), err error) {
	if c == nil || handler == nil {
		return nil, fmt.Errorf("%w: no connection or no handler", ErrInvalidArgument)
	}
	return c.Handle(filter, func(ctx context.Context, m mqtt5.Message) {
		if err := handle(ctx, c, m, handler, options); err != nil && options.OnError != nil {
			options.OnError(m, err)
		}
	})
}

func handle(ctx context.Context, c Connection, m mqtt5.Message, handler Handler, options Options) error {
	ack, err := m.TakeAck()
	if err != nil {
		return err
	}
	answer, err := call(ctx, handler, m)
	if err != nil {
		return ack.Reject(mqtt5.PubackImplementationSpecificError, reason(err))
	}
	if err := ack.Accept(); err != nil {
		return err
	}
	if m.ResponseTopic == nil {
		return nil
	}
	p := &mqtt5.PublishPacket{Topic: *m.ResponseTopic, CorrelationData: m.CorrelationData, Payload: answer, QoS: mqtt5.AtLeastOnce}
	if options.ContentType != "" {
		p.ContentType = &options.ContentType
	}
	_, err = c.Publish(ctx, p)
	return err
}

// call turns a panic into an error, so that the message is rejected.
func call(ctx context.Context, handler Handler, m mqtt5.Message) (answer []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			answer, err = nil, fmt.Errorf("the handler panicked: %v", p)
		}
	}()
	return handler(ctx, m)
}

// reason makes the text of an error fit for a packet.
func reason(err error) string {
	text := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(err.Error(), "\uFFFD")))
	return string(text[:min(len(text), maxReason)])
}
