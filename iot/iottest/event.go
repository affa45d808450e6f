// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// EventType says what happened.
type EventType int

// Types of events.
const (
	// HandshakeFailed: TLS could not be established; Err says why.
	HandshakeFailed EventType = iota + 1
	// RequestRefused: an HTTP request, such as a WebSocket upgrade, was refused; Err says why, Status is the HTTP status.
	RequestRefused
	// Connected: a CONNECT was accepted.
	Connected
	// ConnectRefused: a CONNECT was answered with Reason, or, when Reason is Success, with silence; Err says why.
	ConnectRefused
	// Disconnected: a connection that had been accepted has ended. Reason is the code of the DISCONNECT, if any was
	// sent or received; Err says why; ByClient tells whether the client sent DISCONNECT.
	Disconnected
	// Published: a PUBLISH arrived and was accepted.
	Published
	// PublishRefused: a PUBLISH arrived and was refused or discarded; Reason and Err say why.
	PublishRefused
	// Delivered: a PUBLISH was sent to a client.
	Delivered
	// Acknowledged: a PUBACK arrived from a client.
	Acknowledged
	// Subscribed: a filter of a SUBSCRIBE was answered with Reason (the granted QoS or an error).
	Subscribed
	// Unsubscribed: a filter was removed.
	Unsubscribed
	// Pinged: a PINGREQ arrived.
	Pinged
	// WillPublished: a will was published.
	WillPublished
	// CredentialsIssued: temporary credentials were handed out; AccessKeyID names them, Source the endpoint.
	CredentialsIssued
	// ServiceRequest: a request reached a device service; Service names it, Err says why it was rejected.
	ServiceRequest
	// ServiceAnswer: a device service sent Message, an answer or a notification.
	ServiceAnswer
	// ServiceChanged: the state of a device service changed; Service.Status is the new state, if it has a name.
	ServiceChanged
	// ServiceDisturbed: a [ServiceFault] struck; Message is what it disturbed, nil for a request.
	ServiceDisturbed
)

var eventNames = [...]string{"", "HandshakeFailed", "RequestRefused", "Connected", "ConnectRefused", "Disconnected",
	"Published", "PublishRefused", "Delivered", "Acknowledged", "Subscribed", "Unsubscribed", "Pinged", "WillPublished",
	"CredentialsIssued", "ServiceRequest", "ServiceAnswer", "ServiceChanged", "ServiceDisturbed"}

// String gives the name of the constant.
func (t EventType) String() string {
	if t > 0 && int(t) < len(eventNames) {
		return eventNames[t]
	}
	return fmt.Sprintf("EventType(%d)", int(t))
}

// Event is something that happened in the core. Only the fields that make sense for its type are set.
type Event struct {
	Time     time.Time
	Type     EventType
	Conn     int64  // number of the connection, from 1
	ClientID string // as in CONNECT, or as assigned
	Reason   ReasonCode
	Err      error
	Status   int         // HTTP status
	ByClient bool        // the client sent DISCONNECT
	Client   *ClientInfo // Connected, ConnectRefused
	Message  *Message    // Published, PublishRefused, Delivered, WillPublished, ServiceAnswer; do not modify
	PacketID uint16      // Published, Delivered, Acknowledged, Subscribed, Unsubscribed
	Filter   string      // Subscribed, Unsubscribed

	AccessKeyID string // CredentialsIssued
	Source      string // CredentialsIssued: "role-alias", "cognito", "sts", "sso", "imds" or "container"

	Service *ServiceEvent // events of device services; do not modify
}

// String is a line for logs. It has no payload and no secret.
func (e Event) String() string {
	s := fmt.Sprintf("%s conn=%d client=%q", e.Type, e.Conn, e.ClientID)
	if e.Filter != "" {
		s += fmt.Sprintf(" filter=%q", e.Filter)
	}
	if e.Message != nil {
		s += fmt.Sprintf(" topic=%q qos=%d retain=%t bytes=%d", e.Message.Topic, e.Message.QoS, e.Message.Retain, len(e.Message.Payload))
	}
	if e.PacketID != 0 {
		s += fmt.Sprintf(" id=%d", e.PacketID)
	}
	if e.AccessKeyID != "" {
		s += fmt.Sprintf(" key=%s source=%s", e.AccessKeyID, e.Source)
	}
	if v := e.Service; v != nil {
		s += fmt.Sprintf(" service=%s operation=%s thing=%q key=%q", v.Service, v.Operation, v.Thing, v.Key)
		if v.Status != "" {
			s += " state=" + v.Status
		}
	}
	if e.Status != 0 {
		s += fmt.Sprintf(" status=%d", e.Status)
	}
	if e.Reason != 0 {
		s += fmt.Sprintf(" reason=%q", e.Reason)
	}
	if e.Err != nil {
		s += fmt.Sprintf(" error=%q", e.Err)
	}
	return s
}

// eventLog keeps the newest events in a ring.
type eventLog struct {
	mu      sync.Mutex
	cap     int
	first   int64 // number of the oldest kept event
	ring    []Event
	changed chan struct{} // nil while nobody waits
}

func (l *eventLog) init(capacity int) {
	l.cap = capacity
}

func (l *eventLog) add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < l.cap {
		l.ring = append(l.ring, e)
	} else {
		l.ring[l.first%int64(l.cap)] = e
		l.first++
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// since returns the events from number n on, the number of the next one, and a channel that is closed when there are more.
func (l *eventLog) since(n int64) ([]Event, int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = max(n, l.first)
	next := l.first + int64(len(l.ring))
	out := make([]Event, 0, max(0, next-n))
	for ; n < next; n++ {
		out = append(out, l.ring[n%int64(l.cap)])
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return out, next, l.changed
}

// Events returns the events so far, oldest first, as many as [Options.EventCapacity] keeps.
func (c *Core) Events() []Event {
	events, _, _ := c.events.since(0)
	return events
}

// WaitFor waits for an event that match accepts, one that has happened already included, and returns it. It returns
// the cause of ctx when that ends first.
func (c *Core) WaitFor(ctx context.Context, match func(Event) bool) (Event, error) {
	var next int64
	for {
		var events []Event
		var more <-chan struct{}
		events, next, more = c.events.since(next)
		for _, e := range events {
			if match(e) {
				return e, nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("iottest: no such event: %w", context.Cause(ctx))
		}
	}
}

// emit records an event. It may be called with or without c.mu held.
func (c *Core) emit(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	c.events.add(e)
	if f := c.opts.OnEvent; f != nil {
		c.tasks.put(func() { f(e) })
	}
}

// taskQueue runs functions one after the other on one goroutine, so that user code never runs under a lock of ours.
type taskQueue struct {
	mu     sync.Mutex
	cond   *sync.Cond
	tasks  []func()
	closed bool
}

func (q *taskQueue) init() { q.cond = sync.NewCond(&q.mu) }

func (q *taskQueue) start(wg *sync.WaitGroup) {
	wg.Go(func() {
		for {
			q.mu.Lock()
			for len(q.tasks) == 0 && !q.closed {
				q.cond.Wait()
			}
			tasks := q.tasks
			q.tasks = nil
			q.mu.Unlock()
			if len(tasks) == 0 {
				return
			}
			for _, f := range tasks {
				f()
			}
		}
	})
}

func (q *taskQueue) put(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.tasks = append(q.tasks, f)
		q.cond.Signal()
	}
}

func (q *taskQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.cond.Broadcast()
}
