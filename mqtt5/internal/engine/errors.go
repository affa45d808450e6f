// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
)

// Conditions that operations, connections and calls end with. Package mqtt5
// exports those that users meet, under the same names.
var (
	ErrMessageExpired     = errors.New("mqtt5: message expired before it could be sent")
	ErrClosed             = errors.New("mqtt5: client is closed")
	ErrStopRequested      = errors.New("mqtt5: stop was requested")
	ErrReconnectRequested = errors.New("mqtt5: reconnect was requested")
	ErrOfflinePolicy      = errors.New("mqtt5: dropped by the offline queue policy while not connected")
	ErrConnectionLost     = errors.New("mqtt5: connection was lost")
	ErrSessionLost        = errors.New("mqtt5: the server no longer has the session")
	ErrAckTimeout         = errors.New("mqtt5: no acknowledgement in time")
	ErrQueueFull          = errors.New("mqtt5: operation queue is full")
	ErrDropped            = errors.New("mqtt5: dropped from the full operation queue to make room for a newer operation")
	ErrPoisonPublish      = errors.New("mqtt5: publish was in flight at too many consecutive connection losses")
	ErrConnectTimeout     = errors.New("mqtt5: the connection was not established in time")
	ErrConnackTimeout     = errors.New("mqtt5: no CONNACK in time")
	ErrPingTimeout        = errors.New("mqtt5: no answer to PINGREQ in time")
	ErrConnectionRefused  = errors.New("mqtt5: server refused the connection")
	ErrDisconnectReceived = errors.New("mqtt5: server sent DISCONNECT")
	ErrHangup             = errors.New("mqtt5: server closed the connection without a reason")
	ErrStalled            = errors.New("mqtt5: the server does not answer, and operations that timed out use up its receive maximum, the packet identifiers or the queue")
	ErrAckStale           = errors.New("mqtt5: acknowledgement is stale: the connection it belongs to is gone")
	ErrAckTwice           = errors.New("mqtt5: message was acknowledged before")
	ErrNotConnected       = errors.New("mqtt5: not connected")
	ErrNoAuthentication   = errors.New("mqtt5: no enhanced authentication on this connection")
	ErrAuthentication     = errors.New("mqtt5: enhanced authentication failed")
)

// LimitError says that a packet breaks a limit of the current connection.
type LimitError struct {
	Field string // "QoS", "TopicFilter", ...
	Rule  string // what is not allowed
	ID    string // statement of the standard, such as "MQTT-3.2.2-11"
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("mqtt5: %s: %s [%s]", e.Field, e.Rule, e.ID)
}
