// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// events counts the calls of the observers. The maps have an entry for each
// set of attributes there is, made at the start: nothing is added later, so
// that they need no lock and the number of time series has a bound.
//
// What is counted for each message is an atomic number that is read when metrics
// are collected: a synchronous counter of OpenTelemetry costs as much as the
// whole publish.
type events struct {
	duration         metric.Float64Histogram
	attempts         metric.Int64Counter
	failures, losses metric.Int64Counter

	plain      []metric.AddOption
	operations map[operationKey]*operationCount
	published  *operationCount // successful publishes: one of the map
	failed     map[failureKey][]metric.AddOption
	lost       map[string][]metric.AddOption

	consumed, payloadOut, payloadIn atomic.Int64

	// How these are reported.
	sent, received, payload, dropped metric.Int64Observable
	all, out, in                     metric.ObserveOption
}

type operationKey struct{ name, err string }

// operationCount counts the operations of one kind with one outcome.
type operationCount struct {
	count   atomic.Int64
	record  []metric.RecordOption
	observe metric.ObserveOption
	publish bool
	dropped bool // such a publish was accepted and then given up
}

type failureKey struct{ stage, err string }

func (e *events) init(i *instruments, base []attribute.KeyValue) {
	e.duration = i.duration("messaging.client.operation.duration", "Time from the call of an operation to its completion.", durations)
	e.sent = i.total("messaging.client.sent.messages", "{message}", "Publishes that completed.")
	e.received = i.total("messaging.client.consumed.messages", "{message}", "Messages given to handlers.")
	e.payload = i.total("mqtt.client.payload.io", "By", "Payload of completed publishes, and of messages given to handlers.")
	e.dropped = i.total("mqtt.client.messages.dropped", "{message}", "Accepted publishes that the client gave up.")
	e.attempts = i.counter("mqtt.client.connection.attempts", "{attempt}", "Attempts to connect.")
	e.failures = i.counter("mqtt.client.connection.failures", "{attempt}", "Attempts to connect that failed.")
	e.losses = i.counter("mqtt.client.connection.losses", "{connection}", "Connections that ended.")

	e.plain = adding(option(base))
	e.all = option(base)
	e.out = option(base, ioDirection.String("transmit"))
	e.in = option(base, ioDirection.String("receive"))
	e.operations = map[operationKey]*operationCount{}
	e.failed = map[failureKey][]metric.AddOption{}
	e.lost = map[string][]metric.AddOption{}
	for _, err := range errorTypes() {
		for _, name := range []string{"publish", "subscribe", "unsubscribe"} {
			attributes := []attribute.KeyValue{operationName.String(name)}
			if name == "publish" {
				attributes = append(attributes, operationType.String("send"))
			}
			o := option(base, append(attributes, errorAttribute(err))...)
			e.operations[operationKey{name, err}] = &operationCount{record: []metric.RecordOption{o}, observe: o,
				publish: name == "publish", dropped: err == "dropped" || err == "poison_publish" || err == "message_expired"}
		}
		for _, stage := range stages {
			e.failed[failureKey{stage, err}] = adding(option(base, failedStage.String(stage), errorAttribute(err)))
		}
		e.lost[err] = adding(option(base, errorAttribute(err)))
	}
	e.published = e.operations[operationKey{"publish", ""}]
}

// errorAttribute returns an attribute that is not valid, and so left out, if
// there is no error.
func errorAttribute(err string) attribute.KeyValue {
	if err == "" {
		return attribute.KeyValue{}
	}
	return errorType.String(err)
}

func adding(o metric.MeasurementOption) []metric.AddOption { return []metric.AddOption{o} }

func (e *events) operation(o *mqtt5.OperationObservation) {
	n := e.published
	if o.Operation != "publish" || o.Err != nil || o.ReasonCode != 0 {
		n = e.operations[operationKey{o.Operation, operationErrorType(o)}]
	}
	n.count.Add(1)
	if n == e.published {
		e.payloadOut.Add(int64(o.PayloadBytes))
	}
	e.duration.Record(context.Background(), o.Duration.Seconds(), n.record...)
}

func (e *events) message(o *mqtt5.MessageObservation) {
	e.consumed.Add(1)
	e.payloadIn.Add(int64(o.PayloadBytes))
}

// observe reports the counts, when metrics are collected. Those that never
// happened are left out.
func (e *events) observe(o metric.Observer) {
	observe := func(instrument metric.Int64Observable, n *atomic.Int64, option metric.ObserveOption) {
		if v := n.Load(); v > 0 {
			o.ObserveInt64(instrument, v, option)
		}
	}
	for _, n := range e.operations {
		if n.publish {
			observe(e.sent, &n.count, n.observe)
		}
		if n.publish && n.dropped {
			observe(e.dropped, &n.count, n.observe)
		}
	}
	observe(e.received, &e.consumed, e.all)
	observe(e.payload, &e.payloadOut, e.out)
	observe(e.payload, &e.payloadIn, e.in)
}

func (e *events) state(o *mqtt5.StateObservation) {
	ctx := context.Background()
	switch o.Event {
	case "attempting":
		e.attempts.Add(ctx, 1, e.plain...)
	case "failure":
		e.failures.Add(ctx, 1, e.failed[failureKey{stage(o.Err), classify(o.Err)}]...)
	case "disconnection":
		e.losses.Add(ctx, 1, e.lost[classify(o.Err)]...)
	}
}
