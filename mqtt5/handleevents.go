// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"slices"
	"sync"
)

// listeners are the functions of [Client.HandleEvents]. The zero value is empty.
type listeners struct {
	mu  sync.RWMutex
	all []*listener
}

type listener struct{ handle func(event any) }

// HandleEvents calls handler with each lifecycle event from now on: an
// [*AttemptingConnect], [*ConnectionSuccess], [*ConnectionFailure],
// [*Disconnection], [*Resubscription], [*Stopped] or [*Closed], which belongs to
// all handlers and must not be modified. It is called like the lifecycle handlers of
// [ClientOptions], after the one for the same event, and before the messages of
// the connection. remove ends that; an event that is being handled is not
// affected. Several handlers are called in the order in which they were added.
func (c *Client) HandleEvents(handler func(event any)) (remove func()) {
	l := &listener{handler}
	s := &c.listeners
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(slices.Clip(s.all), l)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = slices.DeleteFunc(slices.Clone(s.all), func(other *listener) bool { return other == l })
	}
}

// any reports whether there are listeners.
func (s *listeners) any() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.all) > 0
}

// tell calls the handler of the options and the listeners, on the lane of
// events.
func tell[E any](c *Client, name string, option func(*E), event *E) {
	c.listeners.mu.RLock()
	all := c.listeners.all
	c.listeners.mu.RUnlock()
	defer c.tellAll(all, event) // even if the handler ends the goroutine
	if option != nil {
		defer c.recovered(name)
		option(event)
	}
}

// tellAll calls each listener, even if one before it ends the goroutine.
func (c *Client) tellAll(all []*listener, event any) {
	if len(all) == 0 {
		return
	}
	defer c.tellAll(all[1:], event)
	defer c.recovered("HandleEvents")
	all[0].handle(event)
}
