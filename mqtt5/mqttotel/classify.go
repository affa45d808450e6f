// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"errors"
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// otherError is the value of error.type for errors without one of their own, as
// the semantic conventions have it.
const otherError = "_OTHER"

// refused is the value of error.type for an operation that the server refused.
const refused = "refused"

// kinds are the values of error.type, by the conditions that errors match.
var kinds = []struct {
	err  error
	name string
}{
	{mqtt5.ErrDropped, "dropped"},
	{mqtt5.ErrAckTimeout, "ack_timeout"},
	{mqtt5.ErrConnectionLost, "connection_lost"},
	{mqtt5.ErrOfflinePolicy, "offline"},
	{mqtt5.ErrSessionLost, "session_lost"},
	{mqtt5.ErrQueueFull, "queue_full"},
	{mqtt5.ErrPoisonPublish, "poison_publish"},
	{mqtt5.ErrMessageExpired, "message_expired"},
	{mqtt5.ErrStopRequested, "stopped"},
	{mqtt5.ErrReconnectRequested, "reconnect"},
	{mqtt5.ErrClosed, "closed"},
	{mqtt5.ErrConnectTimeout, "connect_timeout"},
	{mqtt5.ErrConnackTimeout, "connack_timeout"},
	{mqtt5.ErrPingTimeout, "ping_timeout"},
	{mqtt5.ErrConnectionRefused, "connection_refused"},
	{mqtt5.ErrDisconnectReceived, "disconnect_received"},
	{mqtt5.ErrHangup, "hangup"},
	{mqtt5.ErrStalled, "stalled"},
	{mqtt5.ErrAuthentication, "authentication"},
	{mqtt5.ErrStoreFull, "store_full"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "deadline_exceeded"},
}

// The values of error.type for errors that are recognized by their type.
const (
	protocolError  = "protocol"
	transportError = "transport"
)

// classify returns the value of error.type; "" if there is no error.
func classify(err error) string {
	if err == nil {
		return ""
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	var protocol *mqtt5.ProtocolError
	var transport *mqtt5.TransportError
	var refusal *mqtt5.AckError
	switch {
	case errors.As(err, &protocol):
		return protocolError
	case errors.As(err, &transport):
		return transportError
	case errors.As(err, &refusal):
		return refused
	}
	return otherError
}

func operationErrorType(o *mqtt5.OperationObservation) string {
	if o.Err == nil && o.ReasonCode.Failed() {
		return refused
	}
	return classify(o.Err)
}

// The stages of an attempt to connect. Those before "MQTT CONNECT" are the names that
// the errors of the layers give.
const (
	stageConnect = "MQTT CONNECT"
	stageOther   = "other"
)

var stages = []string{"credentials", "DNS", "TCP", "Unix", "proxy", "TLS", "WebSocket upgrade", stageConnect, stageOther}

// stage returns the stage at which an attempt to connect failed.
func stage(err error) string {
	var layer interface{ Stage() string }
	var protocol *mqtt5.ProtocolError
	switch {
	case errors.As(err, &layer):
		if s := layer.Stage(); slices.Contains(stages, s) {
			return s
		}
	case errors.Is(err, mqtt5.ErrConnectionRefused), errors.Is(err, mqtt5.ErrConnackTimeout), errors.Is(err, mqtt5.ErrHangup),
		errors.Is(err, mqtt5.ErrAuthentication), errors.Is(err, mqtt5.ErrDisconnectReceived), errors.As(err, &protocol):
		return stageConnect
	}
	return stageOther
}
