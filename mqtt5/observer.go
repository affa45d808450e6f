// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/delivery"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// The observers let metrics and tracing watch a client without a dependency
// here. Those of OperationObserver and StateObserver are called one at a time, in
// order, and delay no handler. Those of MessageObserver are called with the
// handlers of the message.
type (
	// OperationObserver observes each operation that completes, except the
	// publishes that [ClientOptions.PublishDurations] counts.
	OperationObserver interface {
		ObserveOperation(OperationObservation)
	}
	// MessageObserver observes each message before its handlers.
	MessageObserver interface {
		ObserveMessage(MessageObservation)
	}
	// StateObserver observes each change that the lifecycle handlers are
	// called for.
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
	// Duration since it was submitted: without the time that it waited for room in
	// a full queue.
	Duration time.Duration
	// ReasonCode of a publish: what the server answered.
	ReasonCode PubackReasonCode
	// Err is why the operation failed; nil if the server answered, whatever
	// the answer was.
	Err error
	// Sent reports that a failed operation may have reached the server.
	Sent bool
}

// MessageObservation describes a received message.
type MessageObservation struct {
	Topic        string
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

// observers are the user's; nil: none of that kind.
type observers struct {
	operations OperationObserver
	published  *DurationHistogram // of successful publishes, which operations is then not told of
	messages   MessageObserver
	states     StateObserver
	lane       delivery.Lane[observation]
	batch      time.Duration // when the completions in hand happened; 0: now
	durations  durations     // of those, for published
}

func newObservers(c *Client, o *ClientOptions) *observers {
	if o.OperationObserver == nil && o.PublishDurations == nil && o.MessageObserver == nil && o.StateObserver == nil {
		return nil
	}
	list := &observers{operations: o.OperationObserver, published: o.PublishDurations, messages: o.MessageObserver, states: o.StateObserver}
	list.lane.Init(observationLane{(*laneLock)(c)}, &observations)
	return list
}

// observation is an operation if it has one, else a state.
type observation struct {
	operation OperationObservation
	state     StateObservation
}

// observations holds the memory of observations that wait, for all clients.
var observations sync.Pool

// observe calls an observer, on the lane of observations.
func (c *Client) observe(o *observation) {
	defer c.recovered("Observer")
	if o.operation.Operation != "" {
		c.observers.operations.ObserveOperation(o.operation)
	} else {
		c.observers.states.ObserveState(o.state)
	}
}

// timed reports whether the duration of publishes matters. The observers may be
// nil.
func (o *observers) timed() bool { return o != nil && (o.published != nil || o.operations != nil) }

// begin says that the completions that follow, up to end, happen now: to ask for
// the time of each, and to add each to a shared histogram, would cost more than
// all the rest. The observers may be nil.
func (o *observers) begin(now time.Duration) {
	if o != nil {
		o.batch = now
	}
}

func (o *observers) end() {
	if o != nil {
		o.batch = 0
		o.durations.flush(o.published)
	}
}

func (o *observers) complete(c *Client, op *engine.Operation, r *engine.Result) {
	if !o.timed() {
		return
	}
	now := o.batch
	if now == 0 {
		now = c.loop.Now()
	}
	took := now - op.Submitted
	if o.published != nil && op.Kind == engine.KindPublish && r.Err == nil && !PubackReasonCode(r.Reason).Failed() {
		o.durations.add(o.published, took)
		if o.batch == 0 {
			o.durations.flush(o.published)
		}
	} else if o.operations != nil {
		o.operation(took, op, r)
	}
}

func (o *observers) operation(took time.Duration, op *engine.Operation, r *engine.Result) {
	obs := OperationObservation{Operation: "publish", Duration: took, Err: r.Err, Sent: op.Sent()}
	switch op.Kind {
	case engine.KindSubscribe:
		obs.Operation = "subscribe"
	case engine.KindUnsubscribe:
		obs.Operation = "unsubscribe"
	default:
		obs.Topic, obs.QoS, obs.PayloadBytes = op.Publish.Topic, QoS(op.Publish.QoS), op.PayloadBytes()
		obs.ReasonCode = PubackReasonCode(r.Reason)
	}
	o.lane.Add(observation{operation: obs})
}

func (o *observers) message(c *Client, m *Message) {
	defer c.recovered("Observer")
	o.messages.ObserveMessage(MessageObservation{Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Duplicate: m.Duplicate, PayloadBytes: len(m.Payload)})
}

var observedEvents = [...]string{
	engine.EventConnecting:   "attempting",
	engine.EventSucceeded:    "success",
	engine.EventFailed:       "failure",
	engine.EventDisconnected: "disconnection",
	engine.EventStopped:      "stopped",
}

func (o *observers) notify(c *Client, ev *engine.Event) {
	if o.states == nil || int(ev.Kind) >= len(observedEvents) {
		return
	}
	err := ev.Err
	if e, ok := err.(*wire.Error); ok {
		err = protocolError(e)
	}
	o.lane.Add(observation{
		state: StateObservation{Event: observedEvents[ev.Kind], Attempt: ev.Attempt, Err: err, Delay: ev.Delay}})
}
