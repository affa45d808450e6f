// SPDX-License-Identifier: Apache-2.0

package mqttotel_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel"
)

// One Metrics serves all clients of a program. The reader is that of the
// exporter, such as the one for Prometheus.
func ExampleNewMetrics() {
	producer := new(mqttotel.Producer)
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(producer))
	metrics, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		Producer:      producer,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer metrics.Close()

	for _, id := range []string{"indoors", "outdoors"} {
		options := mqtt5.ClientOptions{Address: "localhost:1883", Connect: mqtt5.ConnectPacket{ClientID: id}}
		metrics.Observe(&options)
		client, err := mqtt5.NewClient(options)
		if err != nil {
			log.Fatal(err)
		}
		defer client.Close()
		metrics.Watch(client)
	}

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		log.Fatal(err)
	}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if m.Name == "mqtt.client.count" {
			for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
				if state, _ := p.Attributes.Value("mqtt.client.state"); state.AsString() == "stopped" {
					fmt.Println("stopped clients:", p.Value)
				}
			}
		}
	}
	// Output: stopped clients: 2
}

// A producer is given to the reader and to the metrics.
func ExampleProducer() {
	producer := new(mqttotel.Producer)
	reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(producer)) // the exporter for Prometheus has the same option
	metrics, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
		Producer:      producer,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer metrics.Close()
	options := mqtt5.ClientOptions{Address: "localhost:1883"}
	metrics.Observe(&options)
	options.PublishDurations.Record(7 * time.Millisecond) // the client does this for each publish

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		log.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
				fmt.Println(m.Name, h.DataPoints[0].Count, h.DataPoints[0].Sum)
			}
		}
	}
	// Output: messaging.client.operation.duration 1 0.007
}

func ExampleMetrics_Handler() {
	metrics, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{}) // of the global meter provider
	if err != nil {
		log.Fatal(err)
	}
	defer metrics.Close()
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "localhost:1883"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Handle("commands/#", metrics.Handler(func(_ context.Context, m mqtt5.Message) {
		fmt.Printf("%s: %s\n", m.Topic, m.Payload)
	})); err != nil {
		log.Fatal(err)
	}
}

// The span of a publish, and that of the handling in another program, which has
// a link to it.
func ExampleNewTracing() {
	tracing := mqttotel.NewTracing(mqttotel.TracingOptions{
		Propagator: propagation.TraceContext{}, // leave it out to send no trace context
	})
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "localhost:1883"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Handle("commands/#", tracing.Handler(func(ctx context.Context, m mqtt5.Message) {
		fmt.Printf("%s: %s\n", m.Topic, m.Payload) // the span is in ctx
	})); err != nil {
		log.Fatal(err)
	}
	if err := client.Start(); err != nil {
		log.Fatal(err)
	}
	if _, err := tracing.Publish(context.Background(), client, &mqtt5.PublishPacket{
		Topic: "telemetry", Payload: []byte("21.5"), QoS: mqtt5.AtLeastOnce,
	}); err != nil {
		log.Fatal(err)
	}
}
