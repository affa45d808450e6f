// SPDX-License-Identifier: Apache-2.0

package mqttotel_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// meter collects the metrics of a test.
type meter struct {
	t      *testing.T
	reader *sdkmetric.ManualReader
	*mqttotel.Metrics
}

// newMeter makes metrics, with a Producer if there is one.
func newMeter(t *testing.T, producer *mqttotel.Producer, attributes ...attribute.KeyValue) *meter {
	t.Helper()
	var options []sdkmetric.ManualReaderOption
	if producer != nil {
		options = append(options, sdkmetric.WithProducer(producer))
	}
	reader := sdkmetric.NewManualReader(options...)
	m, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), Producer: producer, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return &meter{t: t, reader: reader, Metrics: m}
}

// eachSource runs a test for both sources of the histogram of operations.
func eachSource(t *testing.T, f func(t *testing.T, producer *mqttotel.Producer)) {
	t.Run("instrument", func(t *testing.T) { f(t, nil) })
	t.Run("producer", func(t *testing.T) { f(t, new(mqttotel.Producer)) })
}

// point is a time series: its value is the count if it is a histogram.
type point struct {
	unit       string
	attributes attribute.Set
	value      float64
	sum        float64
}

func (m *meter) collect() map[string][]point {
	m.t.Helper()
	var all metricdata.ResourceMetrics
	if err := m.reader.Collect(context.Background(), &all); err != nil {
		m.t.Fatal(err)
	}
	found := map[string][]point{}
	for _, s := range all.ScopeMetrics {
		for _, v := range s.Metrics {
			add := func(a attribute.Set, value, sum float64) {
				found[v.Name] = append(found[v.Name], point{v.Unit, a, value, sum})
			}
			switch d := v.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Value), 0)
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, p.Value, 0)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, p.Value, 0)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					add(p.Attributes, float64(p.Count), p.Sum)
				}
			default:
				m.t.Fatalf("%s has data of type %T", v.Name, d)
			}
		}
	}
	return found
}

// want checks the time series that have all of the attributes: there is one.
func want(t *testing.T, all map[string][]point, name string, value float64, attributes ...attribute.KeyValue) point {
	t.Helper()
	var found []point
next:
	for _, p := range all[name] {
		for _, a := range attributes {
			if v, ok := p.attributes.Value(a.Key); !ok || v != a.Value {
				continue next
			}
		}
		found = append(found, p)
	}
	if len(found) != 1 || found[0].value != value {
		t.Errorf("%s %v: %v, want one time series with %v", name, attributes, found, value)
		return point{}
	}
	return found[0]
}

func options(srv *mqtttest.Server) mqtt5.ClientOptions {
	return mqtt5.ClientOptions{
		Address: "server.example:1883", Dial: srv.DialContext, RetryJitter: mqtt5.JitterNone,
		MinReconnectDelay: time.Second, MaxReconnectDelay: time.Second,
		Connect: mqtt5.ConnectPacket{ClientID: "device", KeepAliveSeconds: mqtt5.Ptr[uint16](0)},
	}
}

func newClient(t *testing.T, o mqtt5.ClientOptions) *mqtt5.Client {
	t.Helper()
	c, err := mqtt5.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); synctest.Wait() })
	return c
}

func start(t *testing.T, c *mqtt5.Client) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitConnected(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// staged is an error of a layer.
type staged string

func (s staged) Error() string { return "cannot: " + string(s) }
func (s staged) Stage() string { return string(s) }

func TestMetrics_life(t *testing.T) { eachSource(t, testLife) }

func testLife(t *testing.T, producer *mqttotel.Producer) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.RefuseDial(staged("DNS"))
		srv.RefuseDial(errors.New("no stage"))
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(mqtttest.Connack{ReasonCode: 0x87})
		})
		m := newMeter(t, producer)
		o := options(srv)
		m.Observe(&o)
		c := newClient(t, o)
		m.Watch(c)
		m.Watch(c)

		at := m.collect()
		want(t, at, "mqtt.client.count", 1, attribute.String("mqtt.client.state", "stopped"))
		want(t, at, "mqtt.client.count", 0, attribute.String("mqtt.client.state", "connected"))
		c.PublishAsync(&mqtt5.PublishPacket{Topic: "q", QoS: mqtt5.AtLeastOnce}, nil)
		time.Sleep(3 * time.Second)
		at = m.collect()
		want(t, at, "mqtt.client.queue.operations", 1)
		want(t, at, "mqtt.client.queue.age", 3)

		start(t, c)
		handled := make(chan struct{}, 1)
		remove, err := c.Handle("t/#", func(context.Context, mqtt5.Message) { handled <- struct{}{} })
		if err != nil {
			t.Fatal(err)
		}
		defer remove()
		if _, err := c.Subscribe(t.Context(), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "#", QoS: mqtt5.AtLeastOnce}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Publish(t.Context(), &mqtt5.PublishPacket{Topic: "t/1", QoS: mqtt5.AtLeastOnce, Payload: []byte("hello")}); err != nil {
			t.Fatal(err)
		}
		<-handled
		if _, err := c.Publish(t.Context(), &mqtt5.PublishPacket{Topic: "other"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		at = m.collect()
		kind := attribute.Key("error.type")
		stage := attribute.Key("mqtt.connection.stage")
		want(t, at, "mqtt.client.connection.attempts", 4)
		want(t, at, "mqtt.client.connection.failures", 1, stage.String("DNS"), kind.String("_OTHER"))
		want(t, at, "mqtt.client.connection.failures", 1, stage.String("other"), kind.String("_OTHER"))
		want(t, at, "mqtt.client.connection.failures", 1, stage.String("MQTT CONNECT"), kind.String("connection_refused"))
		want(t, at, "mqtt.client.connections", 1)
		want(t, at, "mqtt.client.count", 1, attribute.String("mqtt.client.state", "connected"))
		operation := attribute.Key("messaging.operation.name")
		p := want(t, at, "messaging.client.operation.duration", 3, operation.String("publish"), attribute.String("messaging.operation.type", "send"))
		if p.sum < 3 {
			t.Errorf("publishes took %v s, one of them waited for 3 s", p.sum)
		}
		want(t, at, "messaging.client.operation.duration", 1, operation.String("subscribe"))
		want(t, at, "messaging.client.sent.messages", 3)
		want(t, at, "messaging.client.consumed.messages", 2)
		want(t, at, "mqtt.client.messages.unhandled", 1)
		want(t, at, "mqtt.client.payload.io", 5, attribute.String("network.io.direction", "transmit"))
		want(t, at, "mqtt.client.payload.io", 5, attribute.String("network.io.direction", "receive"))
		want(t, at, "mqtt.client.network.io", float64(c.Stats().BytesSent), attribute.String("network.io.direction", "transmit"))
		want(t, at, "mqtt.client.queue.operations", 0)

		// A closed client leaves its counters and nothing else.
		c.Close()
		synctest.Wait()
		for range 2 {
			at = m.collect()
			want(t, at, "mqtt.client.connections", 1)
			want(t, at, "mqtt.client.messages.unhandled", 1)
			want(t, at, "messaging.client.sent.messages", 3)
			want(t, at, "messaging.client.consumed.messages", 2)
			want(t, at, "mqtt.client.count", 0, attribute.String("mqtt.client.state", "connected"))
		}
		want(t, at, "mqtt.client.connection.losses", 1, kind.String("closed"))
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if left := m.collect()["mqtt.client.count"]; left != nil {
			t.Errorf("after Close the state is still reported: %v", left)
		}
	})
}

// Several clients are one group, and groups are distinguished by attributes.
func TestMetrics_groups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		m := newMeter(t, nil, attribute.String("site", "north"))
		for _, id := range []string{"a", "b"} {
			o := options(srv)
			o.Connect.ClientID = id
			m.Observe(&o)
			c := newClient(t, o)
			m.Watch(c)
			start(t, c)
		}
		synctest.Wait()
		at := m.collect()
		want(t, at, "mqtt.client.connections", 2, attribute.String("site", "north"))
		want(t, at, "mqtt.client.connection.attempts", 2, attribute.String("site", "north"))
		want(t, at, "mqtt.client.count", 2, attribute.String("site", "north"), attribute.String("mqtt.client.state", "connected"))
	})
}

// record is an application's observer.
type record struct {
	mu   sync.Mutex
	seen []string
}

func (r *record) add(s string) { r.mu.Lock(); r.seen = append(r.seen, s); r.mu.Unlock() }

func (r *record) ObserveOperation(o mqtt5.OperationObservation) { r.add(o.Operation) }
func (r *record) ObserveMessage(o mqtt5.MessageObservation)     { r.add(o.Topic) }
func (r *record) ObserveState(o mqtt5.StateObservation)         { r.add(o.Event) }

// What the application observes itself, it observes as without Metrics.
func TestMetrics_observersOfTheApplication(t *testing.T) {
	eachSource(t, func(t *testing.T, producer *mqttotel.Producer) {
		for _, tt := range []struct {
			name     string
			own      *mqtt5.DurationHistogram
			observed string
		}{
			{"observers", nil, "publish publish subscribe topic success"},
			{"observers and histogram", new(mqtt5.DurationHistogram), "publish subscribe topic success"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				r := &record{}
				o := mqtt5.ClientOptions{OperationObserver: r, PublishDurations: tt.own, MessageObserver: r, StateObserver: r}
				if producer != nil {
					producer = new(mqttotel.Producer)
				}
				m := newMeter(t, producer)
				m.Observe(&o)
				if o.PublishDurations != nil {
					t.Fatal("successful publishes are not observed any more")
				}
				for _, v := range []mqtt5.OperationObservation{
					{Operation: "publish", Duration: time.Second},
					{Operation: "publish", ReasonCode: 0x87, Duration: time.Minute},
					{Operation: "subscribe", Duration: time.Hour},
				} {
					o.OperationObserver.ObserveOperation(v)
				}
				o.MessageObserver.ObserveMessage(mqtt5.MessageObservation{Topic: "topic"})
				o.StateObserver.ObserveState(mqtt5.StateObservation{Event: "success"})
				if got := strings.Join(r.seen, " "); got != tt.observed {
					t.Errorf("the application observed %q, want %q", got, tt.observed)
				}
				if tt.own != nil {
					if s := tt.own.Snapshot(); s.Count() != 1 || s.Sum != time.Second {
						t.Errorf("the application counted %+v", s)
					}
				}
				at := m.collect()
				outcomes := map[float64]int{}
				for _, p := range at["messaging.client.operation.duration"] {
					outcomes[p.sum]++
				}
				if len(outcomes) != 3 || outcomes[1] != 1 || outcomes[60] != 1 || outcomes[3600] != 1 {
					t.Errorf("operations took %v", at["messaging.client.operation.duration"])
				}
			})
		}
	})
}

// Two Metrics of one client count the same, whichever is the first.
func TestMetrics_twice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		first, second, third := newMeter(t, new(mqttotel.Producer)), newMeter(t, new(mqttotel.Producer)), newMeter(t, nil)
		o := options(srv)
		for _, m := range []*meter{first, second, third} {
			m.Observe(&o)
		}
		c := newClient(t, o)
		start(t, c)
		if _, err := c.Publish(t.Context(), &mqtt5.PublishPacket{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, m := range []*meter{first, second, third} {
			at := m.collect()
			want(t, at, "messaging.client.operation.duration", 1)
			want(t, at, "messaging.client.sent.messages", 1)
		}
	})
}

// With a Producer, publishes that succeed are not told to an observer.
func TestMetrics_publishDurations(t *testing.T) {
	m := newMeter(t, new(mqttotel.Producer))
	var o mqtt5.ClientOptions
	m.Observe(&o)
	if o.PublishDurations == nil || o.MessageObserver != nil {
		t.Fatalf("PublishDurations %v, MessageObserver %v", o.PublishDurations, o.MessageObserver)
	}
	var all metricdata.ResourceMetrics
	for range 2 {
		o.PublishDurations.Record(7 * time.Millisecond)
		if err := m.reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
	}
	last := all.ScopeMetrics[len(all.ScopeMetrics)-1].Metrics[0]
	h, ok := last.Data.(metricdata.Histogram[float64])
	if !ok || len(h.DataPoints) != 1 || last.Unit != "s" || h.Temporality != metricdata.CumulativeTemporality {
		t.Fatalf("the producer has %+v", last)
	}
	p := h.DataPoints[0]
	if p.Count != 2 || p.Sum != 0.014 || p.Bounds[0] != 0.005 || p.BucketCounts[1] != 2 || len(p.BucketCounts) != len(p.Bounds)+1 ||
		p.StartTime.IsZero() || p.Time.Before(p.StartTime) {
		t.Errorf("point %+v", p)
	}
}

// Metrics that share a producer are distinguished by their attributes, or added up.
func TestProducer_shared(t *testing.T) {
	producer := new(mqttotel.Producer)
	if all, err := producer.Produce(t.Context()); len(all) > 0 || err != nil {
		t.Errorf("a producer without metrics has %v, %v", all, err)
	}
	north := attribute.String("site", "north")
	for _, attributes := range [][]attribute.KeyValue{nil, nil, {north}} {
		var o mqtt5.ClientOptions
		newMeter(t, producer, attributes...).Observe(&o)
		o.PublishDurations.Record(time.Second)
		o.OperationObserver.ObserveOperation(mqtt5.OperationObservation{Operation: "publish", Err: mqtt5.ErrAckTimeout})
	}
	all, err := producer.Produce(t.Context())
	if err != nil || len(all) != 1 || len(all[0].Metrics) != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	counts := map[string]uint64{}
	for _, p := range all[0].Metrics[0].Data.(metricdata.Histogram[float64]).DataPoints {
		failed, _ := p.Attributes.Value("error.type")
		site, _ := p.Attributes.Value("site")
		counts[failed.AsString()+" "+site.AsString()] = p.Count
	}
	if want := map[string]uint64{" ": 2, "ack_timeout ": 2, " north": 1, "ack_timeout north": 1}; !maps.Equal(counts, want) {
		t.Errorf("counts %v, want %v", counts, want)
	}
}

// The number of time series has a bound, whatever topics and errors there are.
func TestMetrics_cardinality(t *testing.T) {
	m := newMeter(t, new(mqttotel.Producer))
	var o mqtt5.ClientOptions
	m.Observe(&o)
	for i := range 2000 {
		topic := "topic/" + strings.Repeat("x", i)
		o.OperationObserver.ObserveOperation(mqtt5.OperationObservation{Operation: "publish", Topic: topic, Err: errors.New(topic)})
		o.StateObserver.ObserveState(mqtt5.StateObservation{Event: "failure", Err: staged(topic)})
	}
	for name, points := range m.collect() {
		if len(points) > 5 {
			t.Errorf("%s has %d time series", name, len(points))
		}
		for _, p := range points {
			if strings.Contains(p.attributes.Encoded(attribute.DefaultEncoder()), "topic/") {
				t.Errorf("%s has a topic in %v", name, p.attributes)
			}
		}
	}
}

func TestMetrics_outcomes(t *testing.T) {
	for _, tt := range []struct {
		kind    string
		o       mqtt5.OperationObservation
		dropped bool
	}{
		{"refused", mqtt5.OperationObservation{ReasonCode: 0x87}, false},
		{"dropped", mqtt5.OperationObservation{Err: mqtt5.ErrDropped}, true},
		{"poison_publish", mqtt5.OperationObservation{Err: mqtt5.ErrPoisonPublish}, true},
		{"ack_timeout", mqtt5.OperationObservation{Err: mqtt5.ErrAckTimeout}, false},
		{"canceled", mqtt5.OperationObservation{Err: context.Canceled}, false},
		{"protocol", mqtt5.OperationObservation{Err: &mqtt5.ProtocolError{}}, false},
		{"transport", mqtt5.OperationObservation{Err: &mqtt5.TransportError{Err: errors.New("reset")}}, false},
		{"_OTHER", mqtt5.OperationObservation{Err: errors.New("another")}, false},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			m := newMeter(t, new(mqttotel.Producer))
			var o mqtt5.ClientOptions
			m.Observe(&o)
			tt.o.Operation, tt.o.Duration, tt.o.PayloadBytes = "publish", time.Second, 7
			o.OperationObserver.ObserveOperation(tt.o)
			at := m.collect()
			kind := attribute.String("error.type", tt.kind)
			want(t, at, "messaging.client.operation.duration", 1, kind)
			want(t, at, "messaging.client.sent.messages", 1, kind)
			if tt.dropped {
				want(t, at, "mqtt.client.messages.dropped", 1, kind)
			} else if p := at["mqtt.client.messages.dropped"]; p != nil {
				t.Errorf("dropped: %v", p)
			}
		})
	}
}

func TestMetrics_allocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	eachSource(t, testAllocations)
}

func testAllocations(t *testing.T, producer *mqttotel.Producer) {
	m := newMeter(t, producer)
	var o mqtt5.ClientOptions
	m.Observe(&o)
	operation := mqtt5.OperationObservation{Operation: "publish", Topic: "t", Duration: time.Millisecond, PayloadBytes: 5}
	failed := operation
	failed.Err = mqtt5.ErrAckTimeout
	handler, ctx := m.Handler(func(context.Context, mqtt5.Message) {}), t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		o.OperationObserver.ObserveOperation(operation)
		o.OperationObserver.ObserveOperation(failed)
		handler(ctx, mqtt5.Message{})
	}); n != 0 {
		t.Errorf("two operations and a handler take %v allocations, want none", n)
	}
}

// The table in the guide has every metric with its unit, and no other.
func TestMetrics_table(t *testing.T) {
	doc, err := os.ReadFile("../../docs/telemetry.md")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the module is on its own: no docs")
	} else if err != nil {
		t.Fatal(err)
	}
	m := newMeter(t, new(mqttotel.Producer))
	var o mqtt5.ClientOptions
	m.Observe(&o)
	o.OperationObserver.ObserveOperation(mqtt5.OperationObservation{Operation: "publish"})
	o.OperationObserver.ObserveOperation(mqtt5.OperationObservation{Operation: "publish", Err: mqtt5.ErrDropped})
	for _, e := range []string{"attempting", "failure", "disconnection"} {
		o.StateObserver.ObserveState(mqtt5.StateObservation{Event: e, Err: mqtt5.ErrHangup})
	}
	o.Durable.Store = &fakeStore{}
	m.Observe(&o)
	if _, err := o.Durable.Store.Commit(nil); err != nil {
		t.Fatal(err)
	}
	m.Handler(func(context.Context, mqtt5.Message) {})(t.Context(), mqtt5.Message{})
	all := m.collect()
	for name, points := range all {
		if row := "| `" + name + "` | "; !bytes.Contains(doc, []byte(row)) {
			t.Errorf("no row %s", row)
		} else if unit := " | `" + points[0].unit + "` |"; !strings.Contains(line(string(doc), row), unit) {
			t.Errorf("the row of %s lacks the unit%s", name, unit)
		}
	}
	if rows := bytes.Count(doc, []byte("\n| `m")); rows != len(all) {
		t.Errorf("the table has %d metrics, there are %d", rows, len(all))
	}
}

func line(text, start string) string {
	_, rest, _ := strings.Cut(text, start)
	l, _, _ := strings.Cut(rest, "\n")
	return l
}

func BenchmarkMetrics(b *testing.B) {
	m, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))})
	if err != nil {
		b.Fatal(err)
	}
	var o mqtt5.ClientOptions
	m.Observe(&o)
	b.Run("operation", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			o.OperationObserver.ObserveOperation(mqtt5.OperationObservation{Operation: "publish", Duration: time.Millisecond, PayloadBytes: 5})
		}
	})
	b.Run("counted publish", func(b *testing.B) {
		h := mqtt5.NewDurationHistogram(5*time.Millisecond, 10*time.Millisecond)
		b.ReportAllocs()
		for b.Loop() {
			h.Record(time.Millisecond)
		}
	})
}
