// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// states are those that a client may be in while it is watched.
var states = []mqtt5.State{mqtt5.StateStopped, mqtt5.StateConnecting, mqtt5.StateConnected, mqtt5.StateDisconnecting, mqtt5.StateWaiting}

// state reports the sums over clients, when metrics are collected.
type state struct {
	clients                                   metric.Int64Observable
	connections, io, packets                  metric.Int64Observable
	consumed, payload                         metric.Int64Observable
	retries, ackTimeouts, rejected            metric.Int64Observable
	unhandled, readPauses, protocolErrors     metric.Int64Observable
	queued, unacked, incompleteBytes, pending metric.Int64Observable
	throttleWait, queueAge, ping              metric.Float64Observable
	plain, transmit, receive                  metric.MeasurementOption
	byState                                   []metric.MeasurementOption
}

func (s *state) init(i *instruments, base []attribute.KeyValue) {
	s.clients = i.level("mqtt.client.count", "{client}", "Clients, by their state.")
	s.connections = i.total("mqtt.client.connections", "{connection}", "Connections that servers accepted.")
	s.consumed = i.total("messaging.client.consumed.messages", "{message}", "Messages given to handlers.")
	s.payload = i.total("mqtt.client.payload.io", "By", "Payload of the messages in MQTT packets.")
	s.io = i.total("mqtt.client.network.io", "By", "Bytes of MQTT packets.")
	s.packets = i.total("mqtt.client.network.packets", "{packet}", "MQTT packets.")
	s.retries = i.total("mqtt.client.publish.retries", "{message}", "Publishes sent again after a reconnect.")
	s.ackTimeouts = i.total("mqtt.client.ack.timeouts", "{operation}", "Operations without an acknowledgement in time.")
	s.rejected = i.total("mqtt.client.operations.rejected", "{operation}", "Operations refused before they were sent.")
	s.unhandled = i.total("mqtt.client.messages.unhandled", "{message}", "Messages that no handler took.")
	s.readPauses = i.total("mqtt.client.read.pauses", "{pause}", "Times that reading paused because handlers were behind.")
	s.protocolErrors = i.total("mqtt.client.protocol.errors", "{connection}", "Connections ended because the server broke the standard.")
	s.queued = i.level("mqtt.client.queue.operations", "{operation}", "Operations that are not sent yet.")
	s.unacked = i.level("mqtt.client.inflight.operations", "{operation}", "Operations that wait for an acknowledgement.")
	s.incompleteBytes = i.level("mqtt.client.incomplete.size", "By", "Operations that are not complete.")
	s.pending = i.level("mqtt.client.messages.pending", "{message}", "Received messages that wait for handlers.")
	s.throttleWait = i.seconds("mqtt.client.throttle.wait", "Time that publishes were held back by rate limits.")
	s.queueAge = i.age("mqtt.client.queue.age", "How long the oldest operation that is not sent yet has waited.")
	s.ping = i.age("mqtt.client.ping.duration", "The longest of the last ping round trips of the clients.")

	s.plain = option(base)
	s.transmit = option(base, ioDirection.String("transmit"))
	s.receive = option(base, ioDirection.String("receive"))
	for _, v := range states {
		s.byState = append(s.byState, option(base, clientState.String(v.String())))
	}
}

// totals are the counters of clients, which only grow.
type totals struct {
	connections, bytesOut, bytesIn, packetsOut, packetsIn                 uint64
	consumed, payloadOut, payloadIn                                       uint64
	retries, ackTimeouts, rejected, unhandled, readPauses, protocolErrors uint64
	throttleWait                                                          time.Duration
}

func (t *totals) add(s *mqtt5.Stats) {
	t.connections += s.Connections
	t.bytesOut += s.BytesSent
	t.bytesIn += s.BytesReceived
	t.packetsOut += s.PacketsSent
	t.packetsIn += s.PacketsReceived
	t.consumed += s.MessagesReceived - uint64(s.PendingMessages)
	t.payloadOut += s.PayloadBytesSent
	t.payloadIn += s.PayloadBytesReceived
	t.retries += s.Retries
	t.ackTimeouts += s.AckTimeouts
	t.rejected += s.Rejected
	t.unhandled += s.UnhandledMessages
	t.readPauses += s.ReadPauses
	t.protocolErrors += s.ProtocolErrors
	t.throttleWait += s.ThrottleWait
}

// snapshot is the sum over all clients.
type snapshot struct {
	totals
	states          [mqtt5.StateClosed + 1]int64
	queued, unacked int64
	incompleteBytes int64
	pending         int64
	queueAge, ping  time.Duration
}

// add adds the present of a client that is not closed.
func (s *snapshot) add(state mqtt5.State, stats *mqtt5.Stats) {
	s.states[state]++
	s.queued += int64(stats.QueuedOperations)
	s.unacked += int64(stats.UnackedOperations)
	s.incompleteBytes += stats.IncompleteOperationBytes
	s.pending += int64(stats.PendingMessages)
	s.queueAge = max(s.queueAge, stats.QueueAge)
	s.ping = max(s.ping, stats.PingRoundTrip)
}

func (s *state) observe(o metric.Observer, v snapshot) {
	for i, st := range states {
		o.ObserveInt64(s.clients, v.states[st], s.byState[i])
	}
	o.ObserveInt64(s.io, int64(v.bytesOut), s.transmit)
	o.ObserveInt64(s.io, int64(v.bytesIn), s.receive)
	o.ObserveInt64(s.payload, int64(v.payloadOut), s.transmit)
	o.ObserveInt64(s.payload, int64(v.payloadIn), s.receive)
	o.ObserveInt64(s.packets, int64(v.packetsOut), s.transmit)
	o.ObserveInt64(s.packets, int64(v.packetsIn), s.receive)
	for _, c := range []struct {
		instrument metric.Int64Observable
		value      uint64
	}{
		{s.connections, v.connections}, {s.consumed, v.consumed}, {s.retries, v.retries}, {s.ackTimeouts, v.ackTimeouts}, {s.rejected, v.rejected},
		{s.unhandled, v.unhandled}, {s.readPauses, v.readPauses}, {s.protocolErrors, v.protocolErrors},
	} {
		o.ObserveInt64(c.instrument, int64(c.value), s.plain)
	}
	o.ObserveInt64(s.queued, v.queued, s.plain)
	o.ObserveInt64(s.unacked, v.unacked, s.plain)
	o.ObserveInt64(s.incompleteBytes, v.incompleteBytes, s.plain)
	o.ObserveInt64(s.pending, v.pending, s.plain)
	o.ObserveFloat64(s.throttleWait, v.throttleWait.Seconds(), s.plain)
	o.ObserveFloat64(s.queueAge, v.queueAge.Seconds(), s.plain)
	o.ObserveFloat64(s.ping, v.ping.Seconds(), s.plain)
}
