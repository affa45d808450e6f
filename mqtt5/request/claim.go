// SPDX-License-Identifier: Apache-2.0

package request

import (
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Unmatched is a message on a subscription for answers that no request waits
// for.
type Unmatched struct {
	// Message is valid during the call only.
	Message mqtt5.Message
	// Late: it answers a request that has failed meanwhile, for instance by its
	// time-out.
	Late bool
	// Duplicate: it answers a request that was answered before.
	Duplicate bool
	// If neither is set the message is a stray one: an answer to somebody else,
	// or without a token.
}

// key identifies an answer. No two requests wait for the same key.
type key struct{ topic, token string }

// claim is the exclusive use of some keys by a call, and the state of it
// after its end.
type claim struct {
	keys     []key
	call     *call // nil after the call's end
	answered bool
	open     int       // messages that may still be answered
	freeAt   time.Time // after the end: when another call may claim the keys
}

// maxEnded is how many ended calls are remembered to tell late answers and
// duplicates from stray messages.
const maxEnded = 1024

// claims are guarded by Client.mu.
type claims struct {
	byKey  map[key]*claim
	topics map[string]*topicUse
	ended  []*claim // oldest first
	queue  []*call  // wait for their claims, oldest first
	timer  *time.Timer
}

// topicUse is how answers on one topic are read.
type topicUse struct {
	correlation Correlation
	claims      int // that are remembered
	calls       int // that are waiting or queued
}

func newClaims() claims {
	return claims{byKey: make(map[key]*claim), topics: make(map[string]*topicUse)}
}

func (s *claims) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// enqueueClaim queues k for its keys.
func (c *Client) enqueueClaim(k *call) error {
	for _, key := range k.claim.keys {
		if use := c.claims.topics[key.topic]; use != nil && use.calls > 0 && use.correlation != k.req.Correlation {
			return invalid("another request waits on %q with another correlation", key.topic)
		}
	}
	for _, key := range k.claim.keys {
		use := c.claims.topics[key.topic]
		if use == nil {
			use = new(topicUse)
			c.claims.topics[key.topic] = use
		}
		use.calls++
		use.correlation = k.req.Correlation
	}
	c.claims.queue = append(c.claims.queue, k)
	c.grantClaims()
	return nil
}

// grantClaims gives queued calls their keys, in the order of the queue.
func (c *Client) grantClaims() {
	s := &c.claims
	if len(s.queue) == 0 {
		return
	}
	now := time.Now()
	var next time.Time
	s.queue = slices.DeleteFunc(s.queue, func(k *call) bool {
		free := true
		for _, key := range k.claim.keys {
			if held := s.byKey[key]; held != nil && (held.call != nil || now.Before(held.freeAt)) {
				free = false
				if held.call == nil && (next.IsZero() || held.freeAt.Before(next)) {
					next = held.freeAt
				}
			}
		}
		if !free {
			return false
		}
		for _, key := range k.claim.keys {
			s.forget(s.byKey[key])
			s.byKey[key] = k.claim
			s.topics[key.topic].claims++
		}
		k.claimed = true
		k.signal()
		return true
	})
	if !next.IsZero() {
		s.arm(next.Sub(now), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.grantClaims()
		})
	}
}

func (s *claims) arm(d time.Duration, run func()) {
	if s.timer == nil {
		s.timer = time.AfterFunc(d, run)
	} else {
		s.timer.Reset(d)
	}
}

// endClaim gives up the claim of k, or its place in the queue.
func (c *Client) endClaim(k *call) {
	s := &c.claims
	for _, key := range k.claim.keys {
		s.topics[key.topic].calls--
	}
	if !k.claimed {
		s.queue = slices.DeleteFunc(s.queue, func(other *call) bool { return other == k })
		for _, key := range k.claim.keys {
			s.clean(key.topic)
		}
		c.grantClaims()
		return
	}
	k.claim.call = nil
	if !k.published {
		s.forget(k.claim)
	} else {
		if k.claim.open > 0 {
			k.claim.freeAt = time.Now().Add(c.opts.LateWindow)
		}
		s.ended = append(s.ended, k.claim)
		for len(s.ended) > maxEnded {
			oldest := s.ended[0]
			s.ended = s.ended[1:]
			s.forget(oldest)
		}
	}
	c.grantClaims()
}

// forget removes a claim that has ended. Nil does nothing.
func (s *claims) forget(old *claim) {
	if old == nil {
		return
	}
	for _, key := range old.keys {
		if s.byKey[key] == old {
			delete(s.byKey, key)
			s.topics[key.topic].claims--
			s.clean(key.topic)
		}
	}
}

func (s *claims) clean(topic string) {
	if use := s.topics[topic]; use.calls == 0 && use.claims == 0 {
		delete(s.topics, topic)
	}
}
