// SPDX-License-Identifier: Apache-2.0

package mqttotel_test

import (
	"context"
	"fmt"
	"log"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel"
)

// One Metrics serves all clients of a program. The reader is that of the
// exporter, such as the one for Prometheus.
func ExampleNewMetrics() {
	reader := sdkmetric.NewManualReader()
	metrics, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)),
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
