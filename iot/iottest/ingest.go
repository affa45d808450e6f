// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// This file is basic ingest: messages on $aws/rules/<rule>/<topic> go to the
// rule, and to nobody who subscribed.

var ruleName = regexp.MustCompile(`^[a-zA-Z0-9_]{1,128}$`)

// AddRule makes handle the action of a rule: it gets the messages that are
// published to the rule by basic ingest, on the topic that follows
// $aws/rules/<name>/, one at a time and in order, on a goroutine of the core.
// The function it returns removes the rule. A core with a folder does not
// remember rules, which are functions. A message for a rule that does not exist
// is accepted, and lost; its event has the error RuleNotFound.
func (c *Core) AddRule(name string, handle func(*Message)) (remove func(), _ error) {
	switch {
	case !ruleName.MatchString(name):
		return nil, fmt.Errorf("iottest: rule %q: want 1 to 128 letters, digits and '_'", name)
	case handle == nil:
		return nil, errors.New("iottest: a rule needs a function")
	}
	rule := &handle
	c.mu.Lock()
	c.device.rules[name] = rule
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.device.rules[name] == rule {
			delete(c.device.rules, name)
		}
	}, nil
}

// handleRules handles a message on $aws/rules/. c.mu is held.
func (c *Core) handleRules(r *request, m *Message) {
	name, topic, _ := strings.Cut(strings.TrimPrefix(r.topic, basicIngest), "/")
	r.ServiceEvent = ServiceEvent{Service: ServiceRules, Operation: "ingest", Key: name}
	rejected, answered := c.admit(r)
	rule := c.device.rules[name]
	if rejected == nil && rule == nil {
		rejected = &ServiceError{Service: ServiceRules, Status: 404, Code: "RuleNotFound", Message: "No rule is called " + name}
	}
	c.received(r, rejected)
	if rejected != nil || !answered {
		return
	}
	forRule := *m
	forRule.Topic = topic
	if !c.handlers.put(len(m.Payload), func() { (*rule)(&forRule) }) {
		c.emit(Event{Type: Dropped, Message: m, Err: errHandlerBehind})
	}
}
