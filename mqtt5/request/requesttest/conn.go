// SPDX-License-Identifier: Apache-2.0

package requesttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Conn is a connection with a server in memory. It implements
// request.Connection and request.EventSource. All methods may be called from any
// goroutine.
type Conn struct {
	mu        sync.Mutex
	changed   *sync.Cond
	stopped   bool
	closed    bool
	up        bool
	filters   map[string]bool // at the server
	kept      []delivery      // for the session, while there is no connection
	handlers  []*handler
	listeners []*listener
	events    []any
	reporting bool // an event is being handled
	messages  []delivery
	log       []string
	onPublish func(*mqtt5.PublishPacket) error
	refusals  map[string][]mqtt5.SubackReasonCode
	unsubacks map[string]mqtt5.UnsubackReasonCode
	failures  []error         // of the next SUBSCRIBEs
	held      map[string]bool // kinds of packets that get no acknowledgement now
}

type handler struct {
	filter string
	handle mqtt5.MessageHandler
}

type listener struct{ handle func(any) }

type delivery struct{ message mqtt5.Message }

// New returns a connection that is up, with an empty session.
func New() *Conn {
	c := &Conn{
		up:        true,
		filters:   make(map[string]bool),
		refusals:  make(map[string][]mqtt5.SubackReasonCode),
		unsubacks: make(map[string]mqtt5.UnsubackReasonCode),
		held:      make(map[string]bool),
	}
	c.changed = sync.NewCond(&c.mu)
	go c.dispatch(c.nextEvent)
	go c.dispatch(c.nextMessage)
	return c
}

// Stop ends the connection as [mqtt5.Client.Stop] does. It reports
// [*mqtt5.Disconnection] and [*mqtt5.Stopped]. Connect starts it again.
func (c *Conn) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop(mqtt5.ErrStopRequested)
}

func (c *Conn) stop(cause error) {
	if c.stopped {
		return
	}
	c.disconnect(&mqtt5.Disconnection{Err: cause})
	c.stopped = true
	c.report(&mqtt5.Stopped{})
}

// Close ends the connection for good and its goroutines. It reports what Stop
// does, unless that was called, and [*mqtt5.Closed].
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.stop(mqtt5.ErrClosed)
		c.closed = true
		c.report(&mqtt5.Closed{})
	}
	return nil
}

// OnPublish sets the function that stands for the service. It is called with each
// PUBLISH of the client, on the goroutine of Publish; what it returns becomes
// the outcome of the PUBLISH. Nil: every PUBLISH is acknowledged.
func (c *Conn) OnPublish(handle func(*mqtt5.PublishPacket) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onPublish = handle
}

// RefuseSubscribe makes the server refuse the next SUBSCRIBEs of a filter, one
// with each code.
func (c *Conn) RefuseSubscribe(filter string, codes ...mqtt5.SubackReasonCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals[filter] = append(c.refusals[filter], codes...)
}

// FailSubscribe makes the next SUBSCRIBEs fail without an answer of the server,
// one with each error.
func (c *Conn) FailSubscribe(errs ...error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, errs...)
}

// RefuseUnsubscribe makes the server refuse to unsubscribe a filter.
func (c *Conn) RefuseUnsubscribe(filter string, code mqtt5.UnsubackReasonCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsubacks[filter] = code
}

// Hold keeps the acknowledgements of one kind of packet, "SUBSCRIBE",
// "UNSUBSCRIBE" or "PUBLISH", back until Release. What the packet asks for is
// done.
func (c *Conn) Hold(packet string) { c.hold(packet, true) }

// Release ends Hold.
func (c *Conn) Release(packet string) { c.hold(packet, false) }

func (c *Conn) hold(packet string, held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[packet] = held
	c.changed.Broadcast()
}

// Disconnect loses the connection. Operations in flight wait, as those of a
// client that keeps its queue, until the next connection or their context ends.
func (c *Conn) Disconnect(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disconnect(&mqtt5.Disconnection{Err: cause, WillRetry: true})
}

func (c *Conn) disconnect(event *mqtt5.Disconnection) {
	if c.up {
		c.up = false
		c.report(event)
	}
}

func (c *Conn) report(event any) {
	c.events = append(c.events, event)
	c.changed.Broadcast()
}

// Connect connects again. With rejoined the server still has the session, with
// its subscriptions and the messages for them; otherwise both are gone.
func (c *Conn) Connect(rejoined bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up || c.closed {
		return
	}
	c.up, c.stopped = true, false
	if !rejoined {
		clear(c.filters)
		c.kept = nil
	}
	c.messages = append(c.messages, c.kept...)
	c.kept = nil
	c.report(&mqtt5.ConnectionSuccess{
		Connack:  &mqtt5.ConnackPacket{SessionPresent: rejoined},
		Settings: mqtt5.NegotiatedSettings{RejoinedSession: rejoined},
	})
}

// Emit reports a lifecycle event to the listeners.
func (c *Conn) Emit(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report(event)
}

// Deliver sends a message to the client if it is subscribed to the topic, and
// reports whether it is.
func (c *Conn) Deliver(topic string, payload []byte) bool {
	return c.DeliverPacket(mqtt5.PublishPacket{Topic: topic, Payload: payload, QoS: mqtt5.AtLeastOnce})
}

// DeliverPacket is Deliver with all properties.
func (c *Conn) DeliverPacket(p mqtt5.PublishPacket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for filter := range c.filters {
		if !match(filter, p.Topic) {
			continue
		}
		d := delivery{mqtt5.Message{PublishPacket: p}}
		if c.up {
			c.messages = append(c.messages, d)
			c.changed.Broadcast()
		} else {
			c.kept = append(c.kept, d)
		}
		return true
	}
	return false
}

// Filters returns what the client is subscribed to, sorted.
func (c *Conn) Filters() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var filters []string
	for f := range c.filters {
		filters = append(filters, f)
	}
	slices.Sort(filters)
	return filters
}

// Log returns the packets of the client so far, as "SUBSCRIBE a b",
// "UNSUBSCRIBE a" and "PUBLISH topic", in their order.
func (c *Conn) Log() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.log)
}

// ResetLog empties the log.
func (c *Conn) ResetLog() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = nil
}

// State returns StateConnected, StateWaiting, StateStopped or StateClosed.
func (c *Conn) State() mqtt5.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return mqtt5.StateClosed
	case c.up:
		return mqtt5.StateConnected
	case c.stopped:
		return mqtt5.StateStopped
	}
	return mqtt5.StateWaiting
}

// Handle adds a handler for the messages that match the filter.
func (c *Conn) Handle(filter string, handle mqtt5.MessageHandler) (remove func(), err error) {
	if filter == "" || strings.Contains(filter, "#/") {
		return nil, &mqtt5.ValidationError{Subject: "topic filter", Problems: []mqtt5.Problem{{Field: "Filter", Rule: "is not valid"}}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &handler{filter, handle}
	c.handlers = append(c.handlers, h)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.handlers = slices.DeleteFunc(c.handlers, func(other *handler) bool { return other == h })
	}, nil
}

// HandleEvents adds a listener for lifecycle events.
func (c *Conn) HandleEvents(handle func(event any)) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &listener{handle}
	c.listeners = append(c.listeners, l)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.listeners = slices.DeleteFunc(c.listeners, func(other *listener) bool { return other == l })
	}
}

// await waits, under mu, until ready or the end of ctx.
func (c *Conn) await(ctx context.Context, ready func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	for !ready() {
		if c.closed {
			return mqtt5.ErrClosed
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.changed.Wait()
	}
	return nil
}

// Publish notes the packet and calls the function of OnPublish.
func (c *Conn) Publish(ctx context.Context, p *mqtt5.PublishPacket) (*mqtt5.PublishResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.await(ctx, func() bool { return c.up && ctx.Err() == nil }); err != nil {
		return nil, &mqtt5.OperationError{Operation: "publish", Err: err}
	}
	c.log = append(c.log, "PUBLISH "+p.Topic)
	if handle := c.onPublish; handle != nil {
		if err := c.unlocked(func() error { return handle(p) }); err != nil {
			return &mqtt5.PublishResult{}, err
		}
	}
	if err := c.await(ctx, func() bool { return c.up && !c.held["PUBLISH"] }); err != nil {
		return nil, &mqtt5.OperationError{Operation: "publish", Sent: true, Err: err}
	}
	return &mqtt5.PublishResult{Puback: &mqtt5.PubackPacket{}}, nil
}

// unlocked calls f without mu, which it holds again even after a panic.
func (c *Conn) unlocked(f func() error) error {
	c.mu.Unlock()
	defer c.mu.Lock()
	return f()
}

// Subscribe records the packet and adds the filters that are not refused.
func (c *Conn) Subscribe(ctx context.Context, p *mqtt5.SubscribePacket) (*mqtt5.SubackPacket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.await(ctx, func() bool { return c.up && ctx.Err() == nil }); err != nil {
		return nil, &mqtt5.OperationError{Operation: "subscribe", Err: err}
	}
	line := "SUBSCRIBE"
	if len(c.failures) > 0 {
		for _, s := range p.Subscriptions {
			line += " " + s.TopicFilter
		}
		err := c.failures[0]
		c.log, c.failures = append(c.log, line), c.failures[1:]
		return nil, err
	}
	ack := &mqtt5.SubackPacket{}
	var failed *mqtt5.AckError
	for _, s := range p.Subscriptions {
		line += " " + s.TopicFilter
		code := mqtt5.SubackReasonCode(s.QoS)
		if r := c.refusals[s.TopicFilter]; len(r) > 0 {
			code, c.refusals[s.TopicFilter] = r[0], r[1:]
			if failed == nil {
				failed = &mqtt5.AckError{Operation: "subscribe", ReasonCode: uint8(code)}
			}
			failed.Failures = append(failed.Failures, fmt.Sprintf("%q: %s", s.TopicFilter, code))
		} else {
			c.filters[s.TopicFilter] = true
		}
		ack.ReasonCodes = append(ack.ReasonCodes, code)
	}
	c.log = append(c.log, line)
	if err := c.await(ctx, func() bool { return c.up && !c.held["SUBSCRIBE"] }); err != nil {
		return nil, &mqtt5.OperationError{Operation: "subscribe", Sent: true, Err: err}
	}
	if failed != nil {
		return ack, failed
	}
	return ack, nil
}

// Unsubscribe records the packet and removes the filters that are not refused.
func (c *Conn) Unsubscribe(ctx context.Context, p *mqtt5.UnsubscribePacket) (*mqtt5.UnsubackPacket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.await(ctx, func() bool { return c.up && ctx.Err() == nil }); err != nil {
		return nil, &mqtt5.OperationError{Operation: "unsubscribe", Err: err}
	}
	c.log = append(c.log, "UNSUBSCRIBE "+strings.Join(p.TopicFilters, " "))
	ack := &mqtt5.UnsubackPacket{}
	var failed *mqtt5.AckError
	for _, f := range p.TopicFilters {
		code := c.unsubacks[f]
		if code.Failed() {
			failed = &mqtt5.AckError{Operation: "unsubscribe", ReasonCode: uint8(code), Failures: []string{fmt.Sprintf("%q: %s", f, code)}}
		} else {
			delete(c.filters, f)
		}
		ack.ReasonCodes = append(ack.ReasonCodes, code)
	}
	if err := c.await(ctx, func() bool { return c.up && !c.held["UNSUBSCRIBE"] }); err != nil {
		return nil, &mqtt5.OperationError{Operation: "unsubscribe", Sent: true, Err: err}
	}
	if failed != nil {
		return ack, failed
	}
	return ack, nil
}

// dispatch runs what next returns until the connection is closed.
func (c *Conn) dispatch(next func() func()) {
	for {
		c.mu.Lock()
		run := next()
		for run == nil {
			if c.closed {
				c.mu.Unlock()
				return
			}
			c.changed.Wait()
			run = next()
		}
		c.mu.Unlock()
		run()
	}
}

func (c *Conn) nextEvent() func() {
	if len(c.events) == 0 {
		return nil
	}
	event := c.events[0]
	c.events = c.events[1:]
	c.reporting = true
	listeners := slices.Clone(c.listeners)
	return func() {
		for _, l := range listeners {
			l.handle(event)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reporting = false
		c.changed.Broadcast()
	}
}

// nextMessage holds messages back until the events before them are handled.
func (c *Conn) nextMessage() func() {
	if len(c.messages) == 0 || len(c.events) > 0 || c.reporting {
		return nil
	}
	d := c.messages[0]
	c.messages = c.messages[1:]
	var found []mqtt5.MessageHandler
	for _, h := range c.handlers {
		if match(h.filter, d.message.Topic) {
			found = append(found, h.handle)
		}
	}
	return func() {
		for _, handle := range found {
			handle(context.Background(), d.message)
		}
	}
}

// match reports whether a filter matches a topic.
func match(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range f {
		if level == "#" {
			return true
		}
		if i >= len(t) || level != "+" && level != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}
