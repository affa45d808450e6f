// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

// Stats are the counters of one client, and the present state of its queue.
type Stats struct {
	Counters
	Unacked      int // of the incomplete operations, sent and not acknowledged
	UnackedBytes int64
	Queued       int // of the incomplete operations, not sent yet
}

// Counters count since the client was made.
type Counters struct {
	Incomplete      int // operations submitted and not completed
	IncompleteBytes int64

	PacketsIn, PacketsOut   uint64
	BytesIn, BytesOut       uint64
	MessagesIn, MessagesOut uint64 // PUBLISH, resent ones included
	Connects                uint64 // successful connections
	Retries                 uint64 // publishes and PUBRELs sent again
	Timeouts                uint64 // acknowledgements that did not come in time
	Refused                 uint64 // operations that a server's limits forbade
	UnknownAcks             uint64 // acknowledgements of nothing we know
	GrantedAcks             uint64 // publishes acknowledged with a granted QoS instead of success
	Violations              uint64 // connections ended for a breach of the standard
	PingRoundTrip           time.Duration
	ReceivedAt              time.Duration // when bytes were received last; no meaning while BytesIn is 0
	ThrottleWait            time.Duration // time that publishes were held back by the rate limits
	PayloadIn, PayloadOut   uint64        // bytes of payload in MessagesIn and MessagesOut
}

// Stats returns a consistent snapshot. It takes time in proportion to the
// operations in flight.
func (e *Engine) Stats() Stats {
	s := Stats{Counters: e.stats}
	s.Queued = e.publishes.n + e.requests.n + e.resend.n
	for _, l := range [...]*awaiting{&e.sent, &e.released} {
		for op := l.head; op != nil; op = op.next {
			if op.counted {
				s.Unacked++
				s.UnackedBytes += int64(op.size)
			}
		}
	}
	return s
}

// ReceivedAt returns when bytes were received last, on any connection.
func (e *Engine) ReceivedAt() (at time.Duration, any bool) {
	return e.stats.ReceivedAt, e.stats.BytesIn > 0
}

// QueueAge returns how long the oldest of the operations that count as Queued
// has waited since it was submitted; 0 if there is none.
func (e *Engine) QueueAge(now time.Duration) time.Duration {
	oldest := now
	for _, l := range [...]*list{&e.publishes, &e.requests, &e.resend} {
		if l.head != nil {
			oldest = min(oldest, l.head.Submitted)
		}
	}
	return now - oldest
}
