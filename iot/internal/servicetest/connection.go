// SPDX-License-Identifier: Apache-2.0

// Package servicetest has a connection for tests of service clients: a server
// with the behaviour of one service, in a function, and faults on demand.
package servicetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// Connection is a connection to a service that exists in the test only. It
// implements [request.Connection] and [request.EventSource].
type Connection struct {
	// OnPublish is the service. It is called with each message that is published,
	// one at a time, and answers with Deliver.
	OnPublish func(p *mqtt5.PublishPacket)
	// OnSubscribe, if set, may refuse filters.
	OnSubscribe func(filter string) error

	mu        sync.Mutex
	handlers  map[int]handler
	next      int
	events    map[int]func(any)
	filters   map[string]int // how often each was subscribed and not unsubscribed
	history   []string       // filters in the order of the SUBSCRIBE packets
	published []mqtt5.PublishPacket
	offline   bool
	service   sync.Mutex // serialises OnPublish

	inbox chan mqtt5.Message
	done  chan struct{}
	once  sync.Once
}

type handler struct {
	filter string
	handle mqtt5.MessageHandler
}

var (
	_ request.Connection  = (*Connection)(nil)
	_ request.EventSource = (*Connection)(nil)
)

// New returns a connection that is up. Close ends it.
func New(onPublish func(p *mqtt5.PublishPacket)) *Connection {
	c := &Connection{
		OnPublish: onPublish,
		handlers:  map[int]handler{}, events: map[int]func(any){}, filters: map[string]int{},
		inbox: make(chan mqtt5.Message, 4096), done: make(chan struct{}),
	}
	go c.dispatch()
	return c
}

// Close ends the goroutine that delivers messages.
func (c *Connection) Close() { c.once.Do(func() { close(c.done) }) }

func (c *Connection) dispatch() {
	for {
		select {
		case <-c.done:
			return
		case m := <-c.inbox:
			c.mu.Lock()
			var found []mqtt5.MessageHandler
			for _, h := range c.handlers {
				if Matches(h.filter, m.Topic) {
					found = append(found, h.handle)
				}
			}
			c.mu.Unlock()
			for _, h := range found {
				h(context.Background(), m)
			}
		}
	}
}

// Deliver sends a message to the client, if it has subscribed to its topic.
func (c *Connection) Deliver(topic string, payload string) {
	c.DeliverPacket(mqtt5.PublishPacket{Topic: topic, Payload: []byte(payload), QoS: mqtt5.AtLeastOnce})
}

// DeliverPacket is Deliver with all properties.
func (c *Connection) DeliverPacket(p mqtt5.PublishPacket) {
	c.mu.Lock()
	wanted := false
	for f := range c.filters {
		wanted = wanted || Matches(f, p.Topic)
	}
	wanted = wanted && !c.offline
	c.mu.Unlock()
	if wanted {
		c.inbox <- mqtt5.Message{PublishPacket: p}
	}
}

// Publish passes the message to the service.
func (c *Connection) Publish(ctx context.Context, p *mqtt5.PublishPacket) (*mqtt5.PublishResult, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	offline := c.offline
	if !offline {
		c.published = append(c.published, *p)
	}
	c.mu.Unlock()
	if offline {
		return nil, mqtt5.ErrConnectionLost
	}
	c.service.Lock()
	defer c.service.Unlock()
	if c.OnPublish != nil {
		c.OnPublish(p)
	}
	return &mqtt5.PublishResult{Puback: &mqtt5.PubackPacket{}}, nil
}

// Subscribe grants each filter that OnSubscribe does not refuse.
func (c *Connection) Subscribe(_ context.Context, p *mqtt5.SubscribePacket) (*mqtt5.SubackPacket, error) {
	ack := &mqtt5.SubackPacket{}
	for _, s := range p.Subscriptions {
		if c.OnSubscribe != nil {
			if err := c.OnSubscribe(s.TopicFilter); err != nil {
				return nil, err
			}
		}
		c.mu.Lock()
		if c.offline {
			c.mu.Unlock()
			return nil, mqtt5.ErrConnectionLost
		}
		c.filters[s.TopicFilter]++
		c.history = append(c.history, s.TopicFilter)
		c.mu.Unlock()
		ack.ReasonCodes = append(ack.ReasonCodes, mqtt5.SubackReasonCode(s.QoS))
	}
	return ack, nil
}

// Unsubscribe forgets filters.
func (c *Connection) Unsubscribe(_ context.Context, p *mqtt5.UnsubscribePacket) (*mqtt5.UnsubackPacket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ack := &mqtt5.UnsubackPacket{}
	for _, f := range p.TopicFilters {
		delete(c.filters, f)
		ack.ReasonCodes = append(ack.ReasonCodes, 0)
	}
	return ack, nil
}

// Handle routes messages.
func (c *Connection) Handle(filter string, h mqtt5.MessageHandler) (remove func(), err error) {
	if h == nil {
		return nil, errors.New("servicetest: nil handler")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.next
	c.next++
	c.handlers[id] = handler{filter, h}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.handlers, id)
	}, nil
}

// HandleEvents reports Offline and Online.
func (c *Connection) HandleEvents(h func(event any)) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.next
	c.next++
	c.events[id] = h
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.events, id)
	}
}

// State is connected or waiting.
func (c *Connection) State() mqtt5.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offline {
		return mqtt5.StateWaiting
	}
	return mqtt5.StateConnected
}

// Offline breaks the connection.
func (c *Connection) Offline() {
	c.mu.Lock()
	c.offline = true
	c.mu.Unlock()
	c.emit(&mqtt5.Disconnection{Err: mqtt5.ErrConnectionLost})
}

// Online connects again, with or without the session of before.
func (c *Connection) Online(session bool) {
	c.mu.Lock()
	c.offline = false
	if !session {
		clear(c.filters)
	}
	c.mu.Unlock()
	c.emit(&mqtt5.ConnectionSuccess{Settings: mqtt5.NegotiatedSettings{RejoinedSession: session}})
}

func (c *Connection) emit(event any) {
	c.mu.Lock()
	var all []func(any)
	for _, h := range c.events {
		all = append(all, h)
	}
	c.mu.Unlock()
	for _, h := range all {
		h(event)
	}
}

// Published returns the messages published so far.
func (c *Connection) Published() []mqtt5.PublishPacket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.published)
}

// Topics returns the topics of the messages published so far.
func (c *Connection) Topics() []string {
	var topics []string
	for _, p := range c.Published() {
		topics = append(topics, p.Topic)
	}
	return topics
}

// Subscribed returns every filter subscribed so far, in order.
func (c *Connection) Subscribed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.history)
}

// Matches reports whether a topic filter matches a topic.
func Matches(filter, topic string) bool {
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
