// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Connection is the part of [*mqtt5.Client] that a [Client] uses.
//
// A connection that is also an [EventSource] reports lost sessions and times
// without a connection. Without that the client takes the connection as up, and
// relies on [mqtt5.ClientOptions.Resubscribe] for its subscriptions.
type Connection interface {
	Publish(ctx context.Context, packet *mqtt5.PublishPacket) (*mqtt5.PublishResult, error)
	Subscribe(ctx context.Context, packet *mqtt5.SubscribePacket) (*mqtt5.SubackPacket, error)
	Unsubscribe(ctx context.Context, packet *mqtt5.UnsubscribePacket) (*mqtt5.UnsubackPacket, error)
	Handle(filter string, handler mqtt5.MessageHandler) (remove func(), err error)
	State() mqtt5.State
}

// EventSource is a [Connection] that reports its lifecycle after it was built.
type EventSource interface {
	// HandleEvents calls handler with each lifecycle event: a
	// [*mqtt5.ConnectionSuccess], [*mqtt5.Disconnection], [*mqtt5.Stopped],
	// [*mqtt5.Resubscription] or [*mqtt5.Closed]; others are ignored. Events
	// arrive one at a time and in order, those of a connection before its
	// messages. handler does not block. remove ends the calls.
	HandleEvents(handler func(event any)) (remove func())
}
