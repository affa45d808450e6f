// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TracingOptions configures [Tracing]. The zero value is ready to use.
type TracingOptions struct {
	// TracerProvider makes the spans. Default: the global one.
	TracerProvider trace.TracerProvider
	// Propagator writes the trace context of a publish to user properties of the
	// message, and reads it from received ones. Default: none, messages carry
	// no context. All receivers see the properties, and the packet grows.
	Propagator propagation.TextMapPropagator
	// Destination returns what spans call a topic, such as the topic itself or
	// a template of topics; "" for nothing. It has few different results, or
	// span names are of no use. Default: spans have no destination.
	Destination func(topic string) string
}

// Tracing makes spans of publishes and of the handling of messages. All methods
// may be called from any goroutine.
type Tracing struct {
	tracer      trace.Tracer
	propagator  propagation.TextMapPropagator
	destination func(topic string) string
}

// NewTracing returns a Tracing.
func NewTracing(options TracingOptions) *Tracing {
	provider := options.TracerProvider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	t := &Tracing{tracer: provider.Tracer(scope), propagator: options.Propagator, destination: options.Destination}
	if t.destination == nil {
		t.destination = func(string) string { return "" }
	}
	return t
}

// Publisher is what publishes; [*mqtt5.Client] is one.
type Publisher interface {
	Publish(ctx context.Context, packet *mqtt5.PublishPacket) (*mqtt5.PublishResult, error)
}

// Publish publishes a packet within a span, which is a child of that in ctx. It
// returns what the client returns and does not change the packet. If the packet
// has a user property that the propagator would write, the application's trace
// context is sent and no other.
func (t *Tracing) Publish(ctx context.Context, client Publisher, packet *mqtt5.PublishPacket) (*mqtt5.PublishResult, error) {
	if packet == nil {
		return client.Publish(ctx, packet)
	}
	ctx, span := t.start(ctx, "publish", "send", packet, trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	result, err := client.Publish(ctx, t.inject(ctx, packet))
	if err != nil {
		span.SetAttributes(errorType.String(classify(err)))
		span.SetStatus(codes.Error, err.Error())
	}
	return result, err
}

// Handler returns a handler that calls next within a span, which ends when next
// returns. With a propagator it is linked to the span of the publish.
func (t *Tracing) Handler(next mqtt5.MessageHandler) mqtt5.MessageHandler {
	return func(ctx context.Context, m mqtt5.Message) {
		options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}
		if t.propagator != nil {
			remote := t.propagator.Extract(context.Background(), &properties{m.UserProperties})
			if sc := trace.SpanContextFromContext(remote); sc.IsValid() {
				options = append(options, trace.WithLinks(trace.Link{SpanContext: sc}))
			}
		}
		ctx, span := t.start(ctx, "process", "process", &m.PublishPacket, options...)
		defer span.End() // a panic ends it, too
		next(ctx, m)
	}
}

func (t *Tracing) start(ctx context.Context, operation, kind string, p *mqtt5.PublishPacket, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	name := operation
	attributes := []attribute.KeyValue{
		messagingSystem, protocolName, attribute.String("network.protocol.version", "5"),
		operationName.String(operation), operationType.String(kind),
		attribute.Int("messaging.message.body.size", len(p.Payload)), attribute.Int("mqtt.qos", int(p.QoS)),
	}
	if d := t.destination(p.Topic); d != "" {
		name += " " + d
		key := attribute.Key("messaging.destination.template")
		if d == p.Topic {
			key = "messaging.destination.name"
		}
		attributes = append(attributes, key.String(d))
	}
	return t.tracer.Start(ctx, name, append(options, trace.WithAttributes(attributes...))...)
}

// inject returns the packet with the trace context of ctx.
func (t *Tracing) inject(ctx context.Context, packet *mqtt5.PublishPacket) *mqtt5.PublishPacket {
	if t.propagator == nil {
		return packet
	}
	have := &properties{packet.UserProperties}
	for _, field := range t.propagator.Fields() {
		if slices.Contains(have.Keys(), field) {
			return packet // parts of two contexts would make neither
		}
	}
	own := &properties{slices.Clone(packet.UserProperties)}
	t.propagator.Inject(ctx, own)
	traced := *packet
	traced.UserProperties = own.list
	return &traced
}

// properties are user properties as a carrier. Names are compared as they are:
// those of a trace context are lower case.
type properties struct{ list []mqtt5.UserProperty }

// Get returns the first value.
func (p *properties) Get(key string) string {
	for _, u := range p.list {
		if u.Name == key {
			return u.Value
		}
	}
	return ""
}

// Set adds a property.
func (p *properties) Set(key, value string) {
	p.list = append(p.list, mqtt5.UserProperty{Name: key, Value: value})
}

// Keys returns the names.
func (p *properties) Keys() []string {
	names := make([]string, len(p.list))
	for i, u := range p.list {
		names[i] = u.Name
	}
	return names
}
