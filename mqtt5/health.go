// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
)

// Health is what a readiness or liveness probe needs to know of a client.
type Health struct {
	// Connected reports that the server has accepted the connection, and that it
	// has not ended.
	Connected bool
	// State says more, for instance whether the client waits for the next attempt.
	State State
	// Since is when Connected changed last, or when the client was made.
	Since time.Time
	// LastRead is when bytes of the server were received last, on any
	// connection; the zero time before the first. A connected client with a keep
	// alive receives something from a live server at least once per interval.
	LastRead time.Time
	// QueueAge is how long the oldest operation that is not sent yet has
	// waited; 0 if there is none.
	QueueAge time.Duration
	// LastError is why the last failed attempt, or the last lost connection,
	// ended. It stays when the client is connected again. It is nil before the
	// first failure; Stop, Reconnect and Close are no failures.
	LastError error
	// LastErrorAt is when that was; the zero time while LastError is nil.
	LastErrorAt time.Time
}

// Health returns the present health of the client. It is cheap, never waits for
// the network, and may be called from any goroutine. It calls
// [ClientOptions.Hint] if the last error was a refusal.
func (c *Client) Health() Health {
	c.mu.Lock()
	now, wall := c.loop.Now(), time.Now()
	at := func(t time.Duration) time.Time { return wall.Add(t - now) }
	h := Health{
		Connected: c.engine.State() == engine.Connected,
		State:     c.state(),
		Since:     at(c.record.changed),
		QueueAge:  c.engine.QueueAge(now),
	}
	if t, any := c.engine.ReceivedAt(); any {
		h.LastRead = at(t)
	}
	failure := c.record.failure
	if failure != nil {
		h.LastErrorAt = at(c.record.failedAt)
	}
	c.mu.Unlock()
	if failure != nil {
		h.LastError = c.eventError(failure) // runs user code
	}
	return h
}

// connectionRecord is what Health says of past connections. Client.mu guards it.
type connectionRecord struct {
	changed  time.Duration // when the client was made, connected or disconnected last
	failure  *engine.Event // the last failure or disconnection; nil: none
	failedAt time.Duration
}

func (r *connectionRecord) note(now time.Duration, ev *engine.Event) {
	switch ev.Kind {
	case engine.EventSucceeded:
		r.changed = now
		return
	case engine.EventDisconnected:
		r.changed = now
	case engine.EventFailed:
	default:
		return
	}
	if ev.Err != nil && !errors.Is(ev.Err, ErrStopRequested) && !errors.Is(ev.Err, ErrReconnectRequested) && !errors.Is(ev.Err, ErrClosed) {
		r.failure, r.failedAt = ev, now
	}
}
