// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// events counts the calls of the observers. The maps have an entry for each
// set of attributes there is, made at the start: nothing is added later, so
// that they need no lock and the number of time series has a bound.
type events struct {
	duration         metric.Float64Histogram
	sent, consumed   metric.Int64Counter
	payload, dropped metric.Int64Counter
	attempts         metric.Int64Counter
	failures, losses metric.Int64Counter

	plain      []metric.AddOption
	out, in    []metric.AddOption
	operations map[operationKey]operationOptions
	failed     map[failureKey][]metric.AddOption
	lost       map[string][]metric.AddOption
}

type operationKey struct{ name, err string }

type operationOptions struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

type failureKey struct{ stage, err string }

func (e *events) init(i *instruments, base []attribute.KeyValue) {
	e.duration = i.duration("messaging.client.operation.duration", "Time from the call of an operation to its completion.")
	e.sent = i.counter("messaging.client.sent.messages", "{message}", "Publishes that completed.")
	e.consumed = i.counter("messaging.client.consumed.messages", "{message}", "Messages given to handlers.")
	e.payload = i.counter("mqtt.client.payload.io", "By", "Payload of completed publishes, and of messages given to handlers.")
	e.dropped = i.counter("mqtt.client.messages.dropped", "{message}", "Accepted publishes that the client gave up.")
	e.attempts = i.counter("mqtt.client.connection.attempts", "{attempt}", "Attempts to connect.")
	e.failures = i.counter("mqtt.client.connection.failures", "{attempt}", "Attempts to connect that failed.")
	e.losses = i.counter("mqtt.client.connection.losses", "{connection}", "Connections that ended.")

	e.plain = adding(option(base))
	e.out = adding(option(base, ioDirection.String("transmit")))
	e.in = adding(option(base, ioDirection.String("receive")))
	e.operations = map[operationKey]operationOptions{}
	e.failed = map[failureKey][]metric.AddOption{}
	e.lost = map[string][]metric.AddOption{}
	for _, err := range errorTypes() {
		for _, name := range []string{"publish", "subscribe", "unsubscribe"} {
			attributes := []attribute.KeyValue{operationName.String(name)}
			if name == "publish" {
				attributes = append(attributes, operationType.String("send"))
			}
			o := option(base, append(attributes, errorAttribute(err))...)
			e.operations[operationKey{name, err}] = operationOptions{[]metric.RecordOption{o}, adding(o)}
		}
		for _, stage := range stages {
			e.failed[failureKey{stage, err}] = adding(option(base, failedStage.String(stage), errorAttribute(err)))
		}
		e.lost[err] = adding(option(base, errorAttribute(err)))
	}
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
	ctx := context.Background()
	err := operationErrorType(o)
	options := e.operations[operationKey{o.Operation, err}]
	e.duration.Record(ctx, o.Duration.Seconds(), options.record...)
	if o.Operation != "publish" {
		return
	}
	e.sent.Add(ctx, 1, options.add...)
	switch err {
	case "":
		e.payload.Add(ctx, int64(o.PayloadBytes), e.out...)
	case "dropped", "poison_publish", "message_expired":
		e.dropped.Add(ctx, 1, options.add...)
	}
}

func (e *events) message(o *mqtt5.MessageObservation) {
	ctx := context.Background()
	e.consumed.Add(ctx, 1, e.plain...)
	e.payload.Add(ctx, int64(o.PayloadBytes), e.in...)
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
