// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"errors"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Attributes that all metrics and spans have.
var (
	messagingSystem = attribute.String("messaging.system", "mqtt")
	protocolName    = attribute.String("network.protocol.name", "mqtt")
)

// Keys of the other attributes.
const (
	operationName = attribute.Key("messaging.operation.name")
	operationType = attribute.Key("messaging.operation.type")
	errorType     = attribute.Key("error.type")
	failedStage   = attribute.Key("mqtt.connection.stage")
	ioDirection   = attribute.Key("network.io.direction")
	clientState   = attribute.Key("mqtt.client.state")
)

// instruments makes instruments and keeps the errors.
type instruments struct {
	meter       metric.Meter
	observables []metric.Observable
	err         error
}

func (i *instruments) counter(name, unit, description string) metric.Int64Counter {
	c, err := i.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.err = errors.Join(i.err, err)
	return c
}

// durations are the bounds that the semantic conventions advise, in seconds.
var durations = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

func (i *instruments) duration(name, description string, bounds []float64) metric.Float64Histogram {
	h, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(bounds...))
	i.err = errors.Join(i.err, err)
	return h
}

func (i *instruments) observed(o metric.Observable, err error) {
	i.err = errors.Join(i.err, err)
	i.observables = append(i.observables, o)
}

// total is a counter that is read when metrics are collected.
func (i *instruments) total(name, unit, description string) metric.Int64Observable {
	c, err := i.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.observed(c, err)
	return c
}

// seconds is likewise, for time.
func (i *instruments) seconds(name, description string) metric.Float64Observable {
	c, err := i.meter.Float64ObservableCounter(name, metric.WithUnit("s"), metric.WithDescription(description))
	i.observed(c, err)
	return c
}

// level is a present number, which adds up over programs.
func (i *instruments) level(name, unit, description string) metric.Int64Observable {
	c, err := i.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.observed(c, err)
	return c
}

// age is a present time, which does not add up.
func (i *instruments) age(name, description string) metric.Float64Observable {
	g, err := i.meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description))
	i.observed(g, err)
	return g
}

// durationBounds are the same as durations.
var durationBounds = func() (bounds []time.Duration) {
	for _, s := range durations {
		bounds = append(bounds, time.Duration(math.Round(s*1e9)))
	}
	return bounds
}()

// option returns the attributes as an option that is made once: to make one for
// each measurement would allocate.
func option(base []attribute.KeyValue, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attributeSet(base, more...))
}

// attributeSet returns the attributes that are valid.
func attributeSet(base []attribute.KeyValue, more ...attribute.KeyValue) attribute.Set {
	all := make([]attribute.KeyValue, 0, len(base)+len(more))
	for _, list := range [][]attribute.KeyValue{base, more} {
		for _, a := range list {
			if a.Valid() {
				all = append(all, a)
			}
		}
	}
	return attribute.NewSet(all...)
}
