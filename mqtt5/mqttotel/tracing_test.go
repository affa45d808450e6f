// SPDX-License-Identifier: Apache-2.0

package mqttotel_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// traced publishes and receives a message, and returns the spans with the user
// properties that arrived.
func traced(t *testing.T, o mqttotel.TracingOptions, packet *mqtt5.PublishPacket) (parent, publish, process tracetest.SpanStub, arrived []mqtt5.UserProperty) {
	t.Helper()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	o.TracerProvider = provider
	tracing := mqttotel.NewTracing(o)
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		client := options(srv)
		received := make(chan mqtt5.Message, 1)
		client.OnMessage = tracing.Handler(func(ctx context.Context, m mqtt5.Message) {
			if !trace.SpanContextFromContext(ctx).IsValid() {
				t.Error("the handler has no span")
			}
			received <- m
		})
		c := newClient(t, client)
		start(t, c)
		if _, err := c.Subscribe(t.Context(), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "#", QoS: mqtt5.AtLeastOnce}}}); err != nil {
			t.Fatal(err)
		}
		ctx, span := provider.Tracer("application").Start(t.Context(), "parent")
		before := slices.Clone(packet.UserProperties)
		if _, err := tracing.Publish(ctx, c, packet); err != nil {
			t.Fatal(err)
		}
		span.End()
		if d := cmp.Diff(before, packet.UserProperties); d != "" {
			t.Errorf("the packet of the application has changed: %s", d)
		}
		arrived = (<-received).UserProperties
		synctest.Wait()
	})
	for _, s := range exporter.GetSpans() {
		switch s.SpanKind {
		case trace.SpanKindProducer:
			publish = s
		case trace.SpanKindConsumer:
			process = s
		default:
			parent = s
		}
	}
	return parent, publish, process, arrived
}

func TestTracing(t *testing.T) {
	packet := &mqtt5.PublishPacket{Topic: "t/1", QoS: mqtt5.AtLeastOnce, Payload: []byte("hello")}
	parent, publish, process, arrived := traced(t, mqttotel.TracingOptions{Propagator: propagation.TraceContext{}}, packet)
	if publish.Name != "publish" || process.Name != "process" {
		t.Errorf("spans %q and %q", publish.Name, process.Name)
	}
	if publish.Parent.SpanID() != parent.SpanContext.SpanID() {
		t.Error("the publish is no child of the span in its context")
	}
	if len(process.Links) != 1 || process.Links[0].SpanContext.SpanID() != publish.SpanContext.SpanID() {
		t.Errorf("the processing has the links %v, want one to the publish", process.Links)
	}
	if process.Parent.IsValid() {
		t.Error("the processing has a parent")
	}
	if len(arrived) != 1 || arrived[0].Name != "traceparent" {
		t.Errorf("the message has the properties %v", arrived)
	}
	wantAttributes := []attribute.KeyValue{
		attribute.String("messaging.system", "mqtt"), attribute.String("network.protocol.name", "mqtt"),
		attribute.String("network.protocol.version", "5"), attribute.String("messaging.operation.name", "publish"),
		attribute.String("messaging.operation.type", "send"), attribute.Int("messaging.message.body.size", 5), attribute.Int("mqtt.qos", 1),
	}
	if got, want := attribute.NewSet(publish.Attributes...), attribute.NewSet(wantAttributes...); !got.Equals(&want) {
		t.Errorf("attributes of the publish:\n%v\n%v", publish.Attributes, wantAttributes)
	}
}

// Messages carry a trace context only if that was asked for.
func TestTracing_noContext(t *testing.T) {
	_, publish, process, arrived := traced(t, mqttotel.TracingOptions{}, &mqtt5.PublishPacket{Topic: "t"})
	if len(arrived) != 0 || len(process.Links) != 0 {
		t.Errorf("the message has the properties %v, the processing the links %v", arrived, process.Links)
	}
	if !publish.SpanContext.IsValid() || !process.SpanContext.IsValid() {
		t.Error("spans are missing")
	}
}

// What the application has set stays, and is not mixed with another context.
func TestTracing_contextOfTheApplication(t *testing.T) {
	own := []mqtt5.UserProperty{
		{Name: "a", Value: "1"},
		{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	packet := &mqtt5.PublishPacket{Topic: "t", UserProperties: slices.Clone(own)}
	_, _, process, arrived := traced(t, mqttotel.TracingOptions{Propagator: propagation.TraceContext{}}, packet)
	if d := cmp.Diff(own, arrived); d != "" {
		t.Error(d)
	}
	if len(process.Links) != 1 || process.Links[0].SpanContext.SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("the processing has the links %v", process.Links)
	}
}

func TestTracing_destination(t *testing.T) {
	for want, destination := range map[string]func(string) string{
		"messaging.destination.name":     func(topic string) string { return topic },
		"messaging.destination.template": func(string) string { return "devices/{id}/telemetry" },
	} {
		_, publish, process, _ := traced(t, mqttotel.TracingOptions{Destination: destination}, &mqtt5.PublishPacket{Topic: "devices/7/telemetry"})
		name := destination("devices/7/telemetry")
		if publish.Name != "publish "+name || process.Name != "process "+name {
			t.Errorf("spans %q and %q", publish.Name, process.Name)
		}
		if !slices.Contains(publish.Attributes, attribute.String(want, name)) {
			t.Errorf("no %s in %v", want, publish.Attributes)
		}
	}
}

func TestTracing_failure(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	tracing := mqttotel.NewTracing(mqttotel.TracingOptions{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))})
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "server.example:1883"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := tracing.Publish(t.Context(), c, &mqtt5.PublishPacket{Topic: "t"}); err == nil {
		t.Fatal("a closed client publishes")
	}
	if _, err := tracing.Publish(t.Context(), c, nil); err == nil {
		t.Fatal("no packet is published")
	}
	spans := exporter.GetSpans()
	if len(spans) != 1 || spans[0].Status.Code != codes.Error || !slices.Contains(spans[0].Attributes, attribute.String("error.type", "closed")) {
		t.Errorf("spans: %+v", spans)
	}
}
