// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// processing measures handlers.
type processing struct {
	duration metric.Float64Histogram
	returned []metric.RecordOption
	panicked []metric.RecordOption
}

func (p *processing) init(i *instruments, base []attribute.KeyValue) {
	p.duration = i.duration("messaging.process.duration", "Time that a handler took for a message.", durations)
	process := []attribute.KeyValue{operationName.String("process"), operationType.String("process")}
	p.returned = []metric.RecordOption{option(base, process...)}
	p.panicked = []metric.RecordOption{option(base, append(process, errorType.String(otherError))...)}
}

// Handler returns a handler that calls next and records how long it took, for
// [mqtt5.Client.Handle] and [mqtt5.ClientOptions.OnMessage]. A handler that
// panics, or ends its goroutine, counts as an error.
func (m *Metrics) Handler(next mqtt5.MessageHandler) mqtt5.MessageHandler {
	p := &m.processing
	return func(ctx context.Context, message mqtt5.Message) {
		begin := time.Now()
		outcome := p.panicked
		defer func() { p.duration.Record(ctx, time.Since(begin).Seconds(), outcome...) }()
		next(ctx, message)
		outcome = p.returned
	}
}
