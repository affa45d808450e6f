// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Producer reports messaging.client.operation.duration to readers, which get it by
// WithProducer of the SDK or of the exporter. It is made before all others: the
// reader needs it, and [MetricsOptions.Producer] of one or several Metrics.
//
// The API of OpenTelemetry has no way to report a histogram that was counted
// elsewhere, and to record a duration with it costs as much as a publish. What a
// Producer reports is cumulative, and no view of the SDK applies to it.
//
// The zero value is ready to use. All methods may be called from any goroutine.
type Producer struct {
	mu     sync.Mutex // guards what follows
	events []*events
}

func (p *Producer) add(e *events) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
}

// Produce returns the durations of all Metrics of the producer. It is called by
// readers, and does not fail. Operations that have not happened are left out.
func (p *Producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var points []metricdata.HistogramDataPoint[float64]
	known := map[attribute.Distinct]int{} // Metrics may have the same attributes
	now := time.Now()
	for _, e := range p.events {
		for _, n := range e.operations.all() {
			s := n.durations.Snapshot()
			count := s.Count()
			if count == 0 {
				continue
			}
			at, ok := known[n.attributes.Equivalent()]
			if !ok {
				at = len(points)
				known[n.attributes.Equivalent()] = at
				points = append(points, metricdata.HistogramDataPoint[float64]{
					Attributes: n.attributes, StartTime: e.begin, Time: now,
					Bounds: slices.Clone(durations), BucketCounts: make([]uint64, len(s.Counts)),
				})
			}
			point := &points[at]
			point.Count += count
			point.Sum += s.Sum.Seconds()
			for i, c := range s.Counts {
				point.BucketCounts[i] += c
			}
		}
	}
	if points == nil {
		return nil, nil
	}
	return []metricdata.ScopeMetrics{{
		Scope: instrumentation.Scope{Name: scope},
		Metrics: []metricdata.Metrics{{
			Name: operationDuration, Unit: "s", Description: operationDescription,
			Data: metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: points},
		}},
	}}, nil
}
