// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"go.uber.org/zap"
)

// router finds the handlers whose topic filters match a topic. It is a trie by
// topic levels, so its cost depends on the levels of the topic and not on the
// number of filters. The zero value is empty.
type router struct {
	used atomic.Bool // some filter was added: without any, matching costs nothing
	mu   sync.RWMutex
	root *node
	n    int
	// shares counts the calls of Listen and Receive that share a subscription.
	shares map[string]int
}

type node struct {
	children map[string]*node
	plus     *node   // "+"
	rest     []route // of filters that end here with "#"
	here     []route // of filters that end here
}

type route struct {
	handler MessageHandler
	id      int
}

// Handle makes handler get the messages whose topic matches the filter, beside
// the other handlers that match. It does not subscribe. The filter may have
// wildcards, which match no topic that begins with "$" in their place, and the
// prefix "$share/name/", which is ignored when matching.
//
// Messages that no handler matches go to [ClientOptions.OnMessage]. remove ends
// it; a message that is being handled is not affected.
func (c *Client) Handle(filter string, handler MessageHandler) (remove func(), err error) {
	if err := checkFilter(filter); err != nil {
		return nil, err
	}
	if handler == nil {
		v := problems{subject: "handler"}
		v.add("Handler", "is nil", "")
		return nil, v.err()
	}
	if _, shared, ok := wire.SharedFilter(filter); ok {
		filter = shared
	}
	return c.router.add(filter, handler), nil
}

func checkFilter(filter string) error {
	bad := wire.CheckTopicFilter(filter)
	if bad == nil {
		return nil
	}
	v := problems{subject: "topic filter"}
	v.violations("Filter", []*wire.Violation{bad})
	return v.err()
}

func (r *router) add(filter string, handler MessageHandler) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.root == nil {
		r.root = new(node)
	}
	r.n++
	r.used.Store(true)
	added := route{handler, r.n}
	var path []*node
	var levels []string
	n := r.root
	routes := &n.here
	for level := range strings.SplitSeq(filter, "/") {
		if level == "#" {
			routes = &n.rest
			break
		}
		path, levels = append(path, n), append(levels, level)
		n = n.child(level)
		routes = &n.here
	}
	*routes = append(*routes, added)
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range *routes {
			if (*routes)[i].id == added.id {
				*routes = append((*routes)[:i:i], (*routes)[i+1:]...)
				break
			}
		}
		for i := len(path) - 1; i >= 0 && n.empty(); i-- {
			path[i].drop(levels[i])
			n = path[i]
		}
	})
}

func (n *node) child(level string) *node {
	if level == "+" {
		if n.plus == nil {
			n.plus = new(node)
		}
		return n.plus
	}
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	c := n.children[level]
	if c == nil {
		c = new(node)
		n.children[level] = c
	}
	return c
}

func (n *node) drop(level string) {
	if level == "+" {
		n.plus = nil
	} else {
		delete(n.children, level)
	}
}

func (n *node) empty() bool {
	return len(n.children) == 0 && n.plus == nil && len(n.rest) == 0 && len(n.here) == 0
}

// match appends the handlers that match topic to found.
func (r *router) match(topic string, found []route) []route {
	if !r.used.Load() {
		return found
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.root.match(topic, found, strings.HasPrefix(topic, "$"))
}

// match walks one level. reserved: the level begins a topic with "$", which
// wildcards do not match [MQTT-4.7.2-1].
func (n *node) match(topic string, found []route, reserved bool) []route {
	if !reserved {
		found = append(found, n.rest...)
	}
	level, rest, more := strings.Cut(topic, "/")
	if c := n.children[level]; c != nil {
		found = c.matchRest(rest, more, found)
	}
	if n.plus != nil && !reserved {
		found = n.plus.matchRest(rest, more, found)
	}
	return found
}

func (n *node) matchRest(rest string, more bool, found []route) []route {
	if more {
		return n.match(rest, found, false)
	}
	found = append(found, n.here...)
	return append(found, n.rest...) // "a/#" matches "a", too
}

// route calls the handlers of a message.
func (c *Client) route(m *Message) {
	var room [8]route
	found := c.router.match(m.Topic, room[:0])
	if len(found) == 0 {
		if c.opts.OnMessage != nil {
			c.opts.OnMessage(c.handling, *m)
		} else {
			c.unhandled(m)
		}
		return
	}
	for _, r := range found {
		c.invoke(r.handler, m)
	}
}

// invoke keeps a panic of one handler from the others.
func (c *Client) invoke(h MessageHandler, m *Message) {
	defer c.recovered("message handler")
	h(c.handling, *m)
}

// unhandledEvery is how often the log says at most that messages had no handler.
const unhandledEvery = time.Minute

// unhandled deals with a message that no handler takes.
func (c *Client) unhandled(m *Message) {
	if code := c.opts.RejectUnhandled; code.Failed() && m.ack != 0 {
		if ack, err := m.TakeAck(); err == nil {
			_ = ack.Reject(code, "") // if the connection is gone, the server sends it again
		}
	}
	c.countUnhandled(m)
}

func (c *Client) countUnhandled(m *Message) {
	now := c.lock()
	c.stats.unhandled++
	n, warn := c.stats.unhandled, true
	if last := c.stats.warning; last != nil {
		n, warn = n-last.count, now-last.at >= unhandledEvery
	}
	if warn {
		c.stats.warning = &unhandledWarning{at: now, count: c.stats.unhandled}
	}
	c.unlock(now)
	if warn {
		c.log.Warn("messages without a handler", zap.Uint64("messages", n), zap.String("topic", m.Topic))
	}
}
