// SPDX-License-Identifier: Apache-2.0

// Package mqttotel reports MQTT clients to OpenTelemetry.
//
// [Metrics] counts what clients do, by the observers of
// [mqtt5.ClientOptions] and by [mqtt5.Client.Stats]. A [Producer] makes that cheap:
//
//	producer := new(mqttotel.Producer)
//	reader := sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(producer))
//	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
//	metrics, err := mqttotel.NewMetrics(mqttotel.MetricsOptions{MeterProvider: provider, Producer: producer})
//	...
//	metrics.Observe(&options)
//	client, err := mqtt5.NewClient(options)
//	...
//	metrics.Watch(client)
//
// One Metrics serves all clients of a program; its numbers are those of all of
// them together. No metric has a topic or a client identifier as an attribute.
// Recording an operation or a message does not allocate.
//
// [Tracing] makes spans of publishes and of the handling of messages. It puts a
// trace context into messages only if it is given a propagator.
//
// Names follow the semantic conventions of OpenTelemetry for messaging where
// there are any; the rest begins with "mqtt.client.". The conventions for
// messaging are not stable yet, so names may change in a minor version.
package mqttotel
