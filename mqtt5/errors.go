// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
)

// Conditions that operations and connections end with. Test for them with
// [errors.Is].
var (
	// ErrClosed: the client was closed.
	ErrClosed = engine.ErrClosed
	// ErrStopRequested: [Client.Stop] ended the operation or the connection.
	ErrStopRequested = engine.ErrStopRequested
	// ErrReconnectRequested: [Client.Reconnect] ended the connection or the attempt.
	ErrReconnectRequested = engine.ErrReconnectRequested
	// ErrOfflinePolicy: the client was not connected, and
	// [ClientOptions.OfflineQueuePolicy] does not let the operation wait.
	ErrOfflinePolicy = engine.ErrOfflinePolicy
	// ErrConnectionLost: the connection was lost before the operation was
	// acknowledged, and the operation is not repeated.
	ErrConnectionLost = engine.ErrConnectionLost
	// ErrSessionLost: the server has forgotten the session that the operation
	// was part of.
	ErrSessionLost = engine.ErrSessionLost
	// ErrAckTimeout: no acknowledgement within [ClientOptions.AckTimeout].
	ErrAckTimeout = engine.ErrAckTimeout
	// ErrQueueFull: [ClientOptions.MaxQueuedOperations] or MaxQueuedBytes are
	// reached.
	ErrQueueFull = engine.ErrQueueFull
	// ErrDropped: a newer operation took the place in the full queue.
	ErrDropped = engine.ErrDropped
	// ErrPoisonPublish: the connection was lost each of the last
	// [ClientOptions.PoisonPublishLimit] times that this publish was in flight.
	ErrPoisonPublish = engine.ErrPoisonPublish
	// ErrConnectTimeout: the transport was not up within [ClientOptions.ConnectTimeout].
	ErrConnectTimeout = engine.ErrConnectTimeout
	// ErrConnackTimeout: no CONNACK within [ClientOptions.ConnackTimeout].
	ErrConnackTimeout = engine.ErrConnackTimeout
	// ErrPingTimeout: nothing was received within [ClientOptions.PingTimeout]
	// after a PINGREQ was due.
	ErrPingTimeout = engine.ErrPingTimeout
	// ErrConnectionRefused: the server answered CONNECT with a failure. The
	// error is a [*ConnackError].
	ErrConnectionRefused = engine.ErrConnectionRefused
	// ErrDisconnectReceived: the server sent DISCONNECT. The error is a
	// [*DisconnectError].
	ErrDisconnectReceived = engine.ErrDisconnectReceived
	// ErrHangup: the server closed the connection without saying why. The
	// error is a [*HangupError].
	ErrHangup = engine.ErrHangup
	// ErrStalled: publishes that the server never acknowledged use up its
	// Receive Maximum, so that the connection cannot be used any more.
	ErrStalled = engine.ErrStalled
	// ErrAckStale: the message came on a connection that is gone. The server
	// sends it again if it still holds it.
	ErrAckStale = engine.ErrAckStale
	// ErrAckTwice: the message was acknowledged before.
	ErrAckTwice = engine.ErrAckTwice
	// ErrNotConnected: the call needs a connection.
	ErrNotConnected = engine.ErrNotConnected
	// ErrNoAuthentication: the client has no [Authenticator].
	ErrNoAuthentication = engine.ErrNoAuthentication
	// ErrAuthentication: enhanced authentication failed.
	ErrAuthentication = engine.ErrAuthentication
	// ErrMessageExpired: the message expiry interval of a stored publish had passed
	// before it could be sent.
	ErrMessageExpired = engine.ErrMessageExpired
	// ErrGaveUp: [ClientOptions.ShouldRetry] ended the attempts to connect.
	ErrGaveUp = errors.New("mqtt5: gave up connecting")

	// ErrNotSent matches a failed operation of which nothing reached the
	// network: it may be repeated without fear of a duplicate.
	ErrNotSent = errors.New("mqtt5: not sent")
	// ErrOutcomeUnknown matches a failed operation that was sent, so that the
	// server may have carried it out.
	ErrOutcomeUnknown = errors.New("mqtt5: sent, outcome unknown")
)

// OperationError says how a publish, subscribe or unsubscribe failed. It
// matches either [ErrNotSent] or [ErrOutcomeUnknown], and its cause.
type OperationError struct {
	Operation string // "publish", "subscribe" or "unsubscribe"
	Sent      bool   // some of it may have reached the server
	Err       error  // the cause
}

func (e *OperationError) Error() string {
	text := strings.TrimPrefix(e.Err.Error(), "mqtt5: ")
	if e.Sent {
		return fmt.Sprintf("mqtt5: %s: %s (sent, outcome unknown)", e.Operation, text)
	}
	return fmt.Sprintf("mqtt5: %s: %s (not sent)", e.Operation, text)
}

// Unwrap returns the cause.
func (e *OperationError) Unwrap() error { return e.Err }

// Is matches ErrNotSent and ErrOutcomeUnknown.
func (e *OperationError) Is(target error) bool {
	return target == ErrNotSent && !e.Sent || target == ErrOutcomeUnknown && e.Sent
}

// AckError says that the server refused a publish, a subscribe or an
// unsubscribe. The acknowledgement itself is returned beside it.
type AckError struct {
	Operation string // "publish", "subscribe" or "unsubscribe"
	// Failures are the failed reason codes, as text, each with the topic
	// filter it stands for if there are several.
	Failures []string
	// ReasonCode is the first failure.
	ReasonCode uint8
	// ReasonString is the server's explanation; "" if it gave none.
	ReasonString string
	// Hint names the usual causes; "" if none is known.
	Hint string
}

func (e *AckError) Error() string {
	s := fmt.Sprintf("mqtt5: server refused the %s: %s", e.Operation, strings.Join(e.Failures, ", "))
	if e.ReasonString != "" {
		s += fmt.Sprintf(": %q", e.ReasonString)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// ConnackError says that the server refused the connection.
type ConnackError struct {
	Packet *ConnackPacket
	// Hint names the usual causes; "" if none is known.
	Hint string
}

func (e *ConnackError) Error() string {
	s := "mqtt5: server refused the connection: " + e.Packet.ReasonCode.String()
	if e.Packet.ReasonString != nil {
		s += fmt.Sprintf(": %q", *e.Packet.ReasonString)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Is matches [ErrConnectionRefused].
func (e *ConnackError) Is(target error) bool { return target == ErrConnectionRefused }

// DisconnectError says that the server ended the connection with a DISCONNECT.
type DisconnectError struct {
	Packet *DisconnectPacket
	// Hint names the usual causes; "" if none is known.
	Hint string
}

func (e *DisconnectError) Error() string {
	s := "mqtt5: server sent DISCONNECT: " + e.Packet.ReasonCode.String()
	if e.Packet.ReasonString != nil {
		s += fmt.Sprintf(": %q", *e.Packet.ReasonString)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Is matches [ErrDisconnectReceived].
func (e *DisconnectError) Is(target error) bool { return target == ErrDisconnectReceived }

// HangupError says that the server closed the connection without saying why.
type HangupError struct {
	// BeforeConnack reports that it did not even answer the CONNECT.
	BeforeConnack bool
	// Hint names the usual causes; "" if none is known.
	Hint string
	// Err is what the transport said, such as the close frame of a WebSocket
	// connection; nil if nothing more is known.
	Err error
}

func (e *HangupError) Error() string {
	s := ErrHangup.Error()
	if e.BeforeConnack {
		s = "mqtt5: server closed the connection instead of answering CONNECT"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap returns what the transport said.
func (e *HangupError) Unwrap() error { return e.Err }

// Is matches [ErrHangup].
func (e *HangupError) Is(target error) bool { return target == ErrHangup }

// ProtocolError says that the server broke the MQTT standard. The client ended
// the connection with the reason code that the standard names for it.
type ProtocolError struct {
	Packet     string // the packet with the error, such as "PUBLISH"
	ReasonCode DisconnectReasonCode
	Rule       string // statement or section of the standard, such as "MQTT-3.3.2-2"
	Text       string // what was wrong
	// Hint names the usual cause; "" if none is known.
	Hint string
}

func (e *ProtocolError) Error() string {
	s := fmt.Sprintf("mqtt5: server broke the protocol: %s: %s [%s]: %s", e.Packet, e.Text, e.Rule, e.ReasonCode)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Problem is one rule that a packet or an option breaks.
type Problem struct {
	Field string // such as "Topic" or "Subscriptions[2].TopicFilter"
	Rule  string // what is wrong, in words
	ID    string // statement or section of the standard, or the AWS quota; "" if neither
}

// ValidationError says that a packet or options are not valid: all problems at
// once. Nothing was sent.
type ValidationError struct {
	Subject  string // such as "PublishPacket"
	Problems []Problem
}

func (e *ValidationError) Error() string {
	var b strings.Builder
	b.WriteString("mqtt5: invalid " + e.Subject + ": ")
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.Field + ": " + p.Rule)
		if p.ID != "" {
			b.WriteString(" [" + p.ID + "]")
		}
	}
	return b.String()
}

// Is matches [ErrNotSent].
func (e *ValidationError) Is(target error) bool { return target == ErrNotSent }

// TransportError says that the transport under an established connection
// failed.
type TransportError struct {
	Op  string // "read" or "write"
	Err error
}

func (e *TransportError) Error() string { return "mqtt5: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// DialError says that no transport to the server could be opened. The errors
// of the layers below, which name the stage that failed, are found with
// [errors.As].
type DialError struct {
	Address string
	Err     error
}

func (e *DialError) Error() string { return "mqtt5: connect to " + e.Address + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// PanicError says that a callback of the user panicked.
type PanicError struct {
	Callback string // such as "OnMessage"
	Value    any
	Stack    []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("mqtt5: panic in %s: %v", e.Callback, e.Value)
}
