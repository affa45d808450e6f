// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// events counts operations and events of connections.
//
// Operations are counted in histograms that are read when metrics are collected:
// to record one measurement with OpenTelemetry costs as much as the whole publish.
type events struct {
	begin            time.Time
	duration         metric.Float64Histogram // nil: a Producer reports it
	attempts         metric.Int64Counter
	failures, losses metric.Int64Counter

	plain      []metric.AddOption
	operations series[operationKey, *operationCount]
	published  *operationCount // successful publishes: one of operations
	failed     series[failureKey, []metric.AddOption]
	lost       series[string, []metric.AddOption] // by error.type

	sent, dropped metric.Int64Observable
}

type operationKey struct{ name, err string }

// operationCount counts the operations of one kind with one outcome.
type operationCount struct {
	durations  *mqtt5.DurationHistogram
	attributes attribute.Set
	record     []metric.RecordOption
	observe    metric.ObserveOption
	publish    bool
	dropped    bool // such a publish was accepted and then given up
}

type failureKey struct{ stage, err string }

// The histogram of operations has two sources: an instrument or a Producer.
const (
	operationDuration    = "messaging.client.operation.duration"
	operationDescription = "Time from the call of an operation to its completion."
)

func (e *events) init(i *instruments, base []attribute.KeyValue, produced bool) {
	e.begin = time.Now()
	if !produced {
		e.duration = i.duration(operationDuration, operationDescription, durations)
	}
	e.sent = i.total("messaging.client.sent.messages", "{message}", "Publishes that completed.")
	e.dropped = i.total("mqtt.client.messages.dropped", "{message}", "Accepted publishes that the client gave up.")
	e.attempts = i.counter("mqtt.client.connection.attempts", "{attempt}", "Attempts to connect.")
	e.failures = i.counter("mqtt.client.connection.failures", "{attempt}", "Attempts to connect that failed.")
	e.losses = i.counter("mqtt.client.connection.losses", "{connection}", "Connections that ended.")

	e.plain = adding(option(base))
	e.operations.make = func(k operationKey) *operationCount { return newOperationCount(base, k) }
	e.published = e.operations.of(operationKey{"publish", ""})
	e.failed.make = func(k failureKey) []metric.AddOption {
		return adding(option(base, failedStage.String(k.stage), errorAttribute(k.err)))
	}
	e.lost.make = func(err string) []metric.AddOption { return adding(option(base, errorAttribute(err))) }
}

func newOperationCount(base []attribute.KeyValue, k operationKey) *operationCount {
	attributes := []attribute.KeyValue{operationName.String(k.name), errorAttribute(k.err)}
	publish := k.name == "publish"
	if publish {
		attributes = append(attributes, operationType.String("send"))
	}
	set := attributeSet(base, attributes...)
	o := metric.WithAttributeSet(set)
	return &operationCount{durations: mqtt5.NewDurationHistogram(durationBounds...), attributes: set,
		record: []metric.RecordOption{o}, observe: o,
		publish: publish, dropped: k.err == "dropped" || k.err == "poison_publish" || k.err == "message_expired"}
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
	if !succeeds(o) {
		n = e.operations.of(operationKey{o.Operation, operationErrorType(o)})
	}
	n.durations.Record(o.Duration)
	if e.duration != nil {
		e.duration.Record(context.Background(), o.Duration.Seconds(), n.record...)
	}
}

// succeeds reports whether an operation is one of those that
// [mqtt5.ClientOptions.PublishDurations] counts.
func succeeds(o *mqtt5.OperationObservation) bool {
	return o.Operation == "publish" && o.Err == nil && !o.ReasonCode.Failed()
}

// observe reports the counts, when metrics are collected. Those that never
// happened are left out.
func (e *events) observe(o metric.Observer) {
	for _, n := range e.operations.all() {
		if !n.publish {
			continue
		}
		s := n.durations.Snapshot()
		count := int64(s.Count())
		if count == 0 {
			continue
		}
		o.ObserveInt64(e.sent, count, n.observe)
		if n.dropped {
			o.ObserveInt64(e.dropped, count, n.observe)
		}
	}
}

func (e *events) state(o *mqtt5.StateObservation) {
	ctx := context.Background()
	switch o.Event {
	case "attempting":
		e.attempts.Add(ctx, 1, e.plain...)
	case "failure":
		e.failures.Add(ctx, 1, e.failed.of(failureKey{stage(o.Err), classify(o.Err)})...)
	case "disconnection":
		e.losses.Add(ctx, 1, e.lost.of(classify(o.Err))...)
	}
}
