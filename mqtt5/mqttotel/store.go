// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// commits are the bounds of the durations of commits, in seconds: a commit with
// one sync takes well below a millisecond on a good disk, and much of a second
// on a bad flash card.
var commits = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5}

// stores counts the operations on the stores of durable clients.
type stores struct {
	commit  metric.Float64Histogram
	changes metric.Int64Counter
	add     []metric.AddOption
	record  series[string, []metric.RecordOption] // by error.type
}

func (s *stores) init(i *instruments, base []attribute.KeyValue) {
	s.commit = i.duration("mqtt.client.store.commit.duration", "Time that a commit to the store took.", commits)
	s.changes = i.counter("mqtt.client.store.changes", "{change}", "Changes of records that the store committed.")
	s.add = adding(option(base))
	s.record.make = func(err string) []metric.RecordOption {
		return []metric.RecordOption{option(base, errorAttribute(err))}
	}
}

// measuredStore is the store of the application, with its commits measured.
type measuredStore struct {
	mqtt5.Store
	*stores
}

func (s measuredStore) Commit(changes []mqtt5.StoreChange) (mqtt5.Durability, error) {
	ctx := context.Background()
	begin := time.Now()
	durability, err := s.Store.Commit(changes)
	s.commit.Record(ctx, time.Since(begin).Seconds(), s.record.of(classify(err))...)
	if err == nil {
		s.changes.Add(ctx, int64(len(changes)), s.add...)
	}
	return durability, err
}
