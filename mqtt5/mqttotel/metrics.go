// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// scope is the name of the instrumentation scope of meters and tracers.
const scope = "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel"

// MetricsOptions configures [Metrics]. The zero value is ready to use.
type MetricsOptions struct {
	// MeterProvider makes the instruments. Default: the global one.
	MeterProvider metric.MeterProvider
	// Producer reports messaging.client.operation.duration, so that a publish costs
	// hardly more, and not twice as much. The readers of MeterProvider have
	// to have it, too. Nil: it is an instrument of MeterProvider as all others.
	Producer *Producer
	// Attributes are added to every metric, to distinguish groups of clients.
	// Each different set of values is a time series more for every metric.
	Attributes []attribute.KeyValue
}

// Metrics reports a group of clients as OpenTelemetry metrics. All methods may
// be called from any goroutine.
type Metrics struct {
	events       events
	state        state
	stores       stores
	processing   processing
	registration metric.Registration

	mu      sync.Mutex // guards what follows
	clients []*mqtt5.Client
	ended   totals // of clients that are closed
}

// NewMetrics makes the instruments. It fails if the provider refuses one of
// them. Without [Metrics.Close] they are reported as long as the provider lives.
func NewMetrics(options MetricsOptions) (*Metrics, error) {
	provider := options.MeterProvider
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scope)
	base := slices.Concat([]attribute.KeyValue{messagingSystem, protocolName}, options.Attributes)
	m := &Metrics{}
	i := instruments{meter: meter}
	m.events.init(&i, base, options.Producer != nil)
	m.state.init(&i, base)
	m.stores.init(&i, base)
	m.processing.init(&i, base)
	if i.err != nil {
		return nil, i.err
	}
	var err error
	m.registration, err = meter.RegisterCallback(m.collect, i.observables...)
	if err != nil {
		return nil, err
	}
	if options.Producer != nil {
		options.Producer.add(&m.events)
	}
	return m, nil
}

// Close ends the reports of what is counted: the number of messages and
// operations, and all about the clients that [Metrics.Watch] was given. Durations
// and events of connections go on. Closing twice does nothing.
func (m *Metrics) Close() error { return m.registration.Unregister() }

// Observe sets observers of options, for [mqtt5.NewClient], and measures the
// store if there is one. Observers that the application has set before are still
// called. An observer that it sets later replaces that of Metrics.
//
// With [MetricsOptions.Producer], successful publishes are counted by
// [mqtt5.ClientOptions.PublishDurations], unless the application has set that or
// an OperationObserver: then OperationObserver counts them, which costs more.
func (m *Metrics) Observe(options *mqtt5.ClientOptions) {
	next, counts := options.OperationObserver, options.PublishDurations
	options.PublishDurations = nil
	if m.events.duration == nil && next == nil && counts == nil {
		options.PublishDurations = m.events.published.durations
	}
	options.OperationObserver = operationObservers{&m.events, next, counts}
	options.StateObserver = stateObservers{&m.events, options.StateObserver}
	if options.Durable.Store != nil {
		options.Durable.Store = measuredStore{options.Durable.Store, &m.stores}
	}
}

// Watch reports the state and the counters of a client, until the client is
// closed: its counters then stay in the sums. Watching a client twice does
// nothing.
func (m *Metrics) Watch(client *mqtt5.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.clients, client) {
		m.clients = append(m.clients, client)
	}
}

// collect is called by the reader of the meter provider.
func (m *Metrics) collect(_ context.Context, o metric.Observer) error {
	m.events.observe(o)
	m.state.observe(o, m.sum())
	return nil
}

// sum adds up all clients, and forgets those that are closed.
func (m *Metrics) sum() snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := snapshot{totals: m.ended}
	m.clients = slices.DeleteFunc(m.clients, func(c *mqtt5.Client) bool {
		state := c.State() // before the counters, so that those of a closed client are its last
		stats := c.Stats()
		if state == mqtt5.StateClosed {
			stats.PendingMessages = 0 // handlers get them all the same
			m.ended.add(&stats)
			s.totals.add(&stats)
			return true
		}
		s.totals.add(&stats)
		s.add(state, &stats)
		return false
	})
	return s
}

// The observers call those of the application after their own.
type (
	operationObservers struct {
		*events
		next   mqtt5.OperationObserver
		counts *mqtt5.DurationHistogram // PublishDurations of the application
	}
	stateObservers struct {
		*events
		next mqtt5.StateObserver
	}
)

func (o operationObservers) ObserveOperation(v mqtt5.OperationObservation) {
	o.operation(&v)
	switch {
	case o.counts != nil && succeeds(&v):
		o.counts.Record(v.Duration)
	case o.next != nil:
		o.next.ObserveOperation(v)
	}
}

func (o stateObservers) ObserveState(v mqtt5.StateObservation) {
	o.state(&v)
	if o.next != nil {
		o.next.ObserveState(v)
	}
}
