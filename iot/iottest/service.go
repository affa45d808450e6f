// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"slices"
	"time"
)

// deviceService answers requests on reserved topics, as a service behind the broker does: shadows, jobs, ...
type deviceService struct {
	name    string   // in events and faults: "shadow", "jobs", ...
	filters []string // select the topics of requests
	// handle answers a request, by Core.answer. Core.mu is held: it must not block. State that has to survive a
	// restart goes to Core.state.
	handle func(*serviceRequest)
}

// serviceRequest is a publish on a topic of a service.
type serviceRequest struct {
	msg       *Message   // do not modify
	client    *client    // connection that the request came on, nil for HTTPS and Core.Publish
	principal *principal // nil for Core.Publish, which may do everything
}

// addService registers a device service. New calls it, before there are connections, for each service.
func (c *Core) addService(s *deviceService) { c.deviceServices = append(c.deviceServices, s) }

// publishFrom takes an accepted publish: subscribers get it, then the device services. from is nil when the publisher
// has no session. c.mu is held.
func (c *Core) publishFrom(m *Message, from *session, req *serviceRequest) {
	c.route(m, from)
	if m.Topic[0] != '$' {
		return
	}
	for _, s := range c.deviceServices {
		if slices.ContainsFunc(s.filters, func(f string) bool { return matches(f, m.Topic) }) {
			req.msg = m
			s.handle(req)
		}
	}
}

// answer publishes a message as a device service. With a client it goes to that client alone, whether or not it has
// subscribed; else to all subscribers. err is for the event, when the answer is a rejection. c.mu is held.
func (c *Core) answer(service string, m *Message, to *client, err error) {
	f := c.answerFaults.strike(m.Topic)
	send := func() {
		c.emit(Event{Type: ServiceAnswered, Source: service, Message: m, Err: err})
		switch {
		case to == nil:
			c.route(m, nil)
		case !to.ended:
			to.session.store(m, m.QoS, false, time.Time{})
		}
	}
	if f == nil {
		send()
		c.releaseAnswer()
		return
	}
	switch {
	case f.Drop:
		c.emit(Event{Type: ServiceAnswered, Source: service, Message: m, Err: errPacketDropped})
		return
	case f.Reorder && c.answerFaults.held == nil:
		c.answerFaults.held = send
		return
	case f.Delay > 0:
		c.after(f.Delay, send)
	default:
		send()
	}
	if f.Duplicate {
		send()
	}
	c.releaseAnswer()
}

// releaseAnswer sends the answer that AnswerFaults.Reorder held back. c.mu is held.
func (c *Core) releaseAnswer() {
	if held := c.answerFaults.held; held != nil {
		c.answerFaults.held = nil
		held()
	}
}

// AnswerFaults disturb what the device services (shadow, jobs, ...) publish, see [Core.SetAnswerFaults].
type AnswerFaults struct {
	// Filter selects the topics; all when empty.
	Filter string
	// Drop loses the message.
	Drop bool
	// Delay sends it that much later, on the core's clock.
	Delay time.Duration
	// Duplicate sends it twice.
	Duplicate bool
	// Reorder holds it back until the next message of a device service is sent.
	Reorder bool
	// Times is for how many messages the faults hold; 0 is for all.
	Times int
}

type answerFaults struct { // guarded by Core.mu
	f    AnswerFaults
	left int
	held func()
}

// SetAnswerFaults sets the disturbances of what device services publish from now on. A message that was held back is
// sent.
func (c *Core) SetAnswerFaults(f AnswerFaults) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answerFaults.f, c.answerFaults.left = f, f.Times
	c.releaseAnswer()
}

// strike returns the faults for a message, nil when there are none, and counts them.
func (a *answerFaults) strike(topic string) *AnswerFaults {
	f := a.f
	if !f.Drop && f.Delay == 0 && !f.Duplicate && !f.Reorder || f.Filter != "" && !matches(f.Filter, topic) {
		return nil
	}
	if f.Times > 0 {
		if a.left--; a.left <= 0 {
			a.f = AnswerFaults{}
		}
	}
	return &f
}
