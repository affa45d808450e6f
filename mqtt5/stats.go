// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "time"

// Stats is a consistent snapshot of a client's counters. The first four fields
// are those of the other AWS IoT device SDKs.
type Stats struct {
	// IncompleteOperations were submitted and have not completed.
	IncompleteOperations     int
	IncompleteOperationBytes int64
	// UnackedOperations are those of them that were sent and wait for an
	// acknowledgement.
	UnackedOperations     int
	UnackedOperationBytes int64

	// QueuedOperations are incomplete operations that are not sent yet.
	QueuedOperations int
	// QueueAge is how long the oldest of them has waited; 0 if there is none. Of a
	// PublishAsync during a write it counts from the beginning of that write.
	QueueAge time.Duration
	// PendingMessages were received and wait for the handlers.
	PendingMessages int

	// Totals since the client was made.
	PacketsSent, PacketsReceived   uint64
	BytesSent, BytesReceived       uint64
	MessagesSent, MessagesReceived uint64 // PUBLISH packets, repeated ones included
	Connections                    uint64 // successful ones
	Retries                        uint64 // publishes sent again after a reconnect
	AckTimeouts                    uint64
	Rejected                       uint64 // operations refused before they were sent
	UnknownAcks                    uint64 // acknowledgements of nothing that was in flight
	ProtocolErrors                 uint64 // connections ended because the server broke the standard
	ReadPauses                     uint64 // times that reading paused because handlers were behind
	UnhandledMessages              uint64 // messages that no handler took
	GrantedAcks                    uint64 // publishes acknowledged with a granted QoS, which counts as success

	// The payload of MessagesSent and MessagesReceived.
	PayloadBytesSent, PayloadBytesReceived uint64

	// PingRoundTrip is that of the last PINGREQ; 0 before the first.
	PingRoundTrip time.Duration
	// ThrottleWait is how long publishes were held back by [Limits].
	ThrottleWait time.Duration
}

// clientStats are the counters that the engine does not have. Client.mu guards
// them.
type clientStats struct {
	rejected  uint64
	pauses    uint64
	unhandled uint64
	warning   *unhandledWarning // nil: the log has none yet
}

// unhandledWarning is what the log said last of messages without a handler.
type unhandledWarning struct {
	at    time.Duration
	count uint64 // Stats.UnhandledMessages then
}

// Stats returns a snapshot. Its cost grows with the operations in flight.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.engine.Stats()
	return Stats{
		IncompleteOperations:     e.Incomplete,
		IncompleteOperationBytes: e.IncompleteBytes,
		UnackedOperations:        e.Unacked,
		UnackedOperationBytes:    e.UnackedBytes,
		QueuedOperations:         e.Queued,
		QueueAge:                 c.engine.QueueAge(c.loop.Now()),
		PendingMessages:          c.messages.Pending(),
		PacketsSent:              e.PacketsOut,
		PacketsReceived:          e.PacketsIn,
		BytesSent:                e.BytesOut,
		BytesReceived:            e.BytesIn,
		MessagesSent:             e.MessagesOut,
		MessagesReceived:         e.MessagesIn,
		PayloadBytesSent:         e.PayloadOut,
		PayloadBytesReceived:     e.PayloadIn,
		Connections:              e.Connects,
		Retries:                  e.Retries,
		AckTimeouts:              e.Timeouts,
		Rejected:                 e.Refused + c.stats.rejected,
		UnknownAcks:              e.UnknownAcks,
		ProtocolErrors:           e.Violations,
		ReadPauses:               c.stats.pauses,
		UnhandledMessages:        c.stats.unhandled,
		GrantedAcks:              e.GrantedAcks,
		PingRoundTrip:            e.PingRoundTrip,
		ThrottleWait:             e.ThrottleWait,
	}
}
