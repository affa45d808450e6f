// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"runtime/debug"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
)

// The observer interfaces let metrics and tracing watch a client without a
// dependency here: [ClientOptions.Observer] implements any of them. Their
// methods run in the middle of the client's work, with its lock held: they
// must return at once and must not call the client.
type (
	// OperationObserver is told of each operation that completes.
	OperationObserver interface {
		ObserveOperation(OperationObservation)
	}
	// MessageObserver is told of each message that is received, before its
	// handlers.
	MessageObserver interface {
		ObserveMessage(MessageObservation)
	}
	// StateObserver is told of each change that the lifecycle handlers are
	// told of, at the time it happens.
	StateObserver interface {
		ObserveState(StateObservation)
	}
)

// OperationObservation describes a completed operation.
type OperationObservation struct {
	// Operation is "publish", "subscribe" or "unsubscribe".
	Operation string
	// Topic of a publish.
	Topic string
	QoS   QoS
	// PayloadBytes of a publish.
	PayloadBytes int
	// Duration since it was submitted.
	Duration time.Duration
	// ReasonCode of a publish: what the server answered.
	ReasonCode PubackReasonCode
	// Err is why the operation failed; nil if the server answered, whatever
	// the answer was.
	Err error
	// Sent tells that a failed operation may have reached the server.
	Sent bool
}

// MessageObservation describes a received message.
type MessageObservation struct {
	// Topic is valid only during the call.
	Topic        []byte
	QoS          QoS
	Retain       bool
	Duplicate    bool
	PayloadBytes int
}

// StateObservation describes a change of the connection.
type StateObservation struct {
	// Event is "attempting", "success", "failure", "disconnection" or "stopped".
	Event   string
	Attempt int
	// Err is the cause of a failure or disconnection.
	Err error
	// Delay is the time until the next attempt, if one follows.
	Delay time.Duration
}

// observers are the interfaces that the user's observer implements.
type observers struct {
	operation OperationObserver
	message   MessageObserver
	state     StateObserver
}

func observersOf(observer any) *observers {
	if observer == nil {
		return nil
	}
	o := new(observers)
	o.operation, _ = observer.(OperationObserver)
	o.message, _ = observer.(MessageObserver)
	o.state, _ = observer.(StateObserver)
	return o
}

// recovered reports a panic of the observer; the client's lock must be released
// by whoever took it. It is deferred.
func (o *observers) recovered(c *Client) {
	if v := recover(); v != nil {
		c.dispatch.notify(&PanicError{Callback: "Observer", Value: v, Stack: debug.Stack()})
	}
}

func (o *observers) complete(c *Client, now time.Duration, op *engine.Operation, r *engine.Result) {
	if o.operation == nil {
		return
	}
	defer o.recovered(c)
	obs := OperationObservation{Operation: "publish", Duration: now - op.Submitted, Err: r.Err, Sent: op.Sent()}
	switch op.Kind {
	case engine.KindSubscribe:
		obs.Operation = "subscribe"
	case engine.KindUnsubscribe:
		obs.Operation = "unsubscribe"
	default:
		obs.Topic, obs.QoS, obs.PayloadBytes = op.Publish.Topic, QoS(op.Publish.QoS), len(op.Publish.Payload)
		obs.ReasonCode = PubackReasonCode(r.Reason)
	}
	o.operation.ObserveOperation(obs)
}

func (o *observers) deliver(c *Client, m *engine.Message) {
	if o.message == nil {
		return
	}
	defer o.recovered(c)
	topic := m.Topic
	if m.AliasedTopic != "" {
		topic = []byte(m.AliasedTopic)
	}
	o.message.ObserveMessage(MessageObservation{Topic: topic, QoS: QoS(m.QoS), Retain: m.Retain, Duplicate: m.Dup, PayloadBytes: len(m.Payload)})
}

var observedEvents = map[engine.EventKind]string{
	engine.EventConnecting:   "attempting",
	engine.EventSucceeded:    "success",
	engine.EventFailed:       "failure",
	engine.EventDisconnected: "disconnection",
	engine.EventStopped:      "stopped",
}

func (o *observers) notify(c *Client, ev *engine.Event) {
	if o.state != nil {
		defer o.recovered(c)
		o.state.ObserveState(StateObservation{Event: observedEvents[ev.Kind], Attempt: ev.Attempt, Err: ev.Err, Delay: ev.Delay})
	}
}
