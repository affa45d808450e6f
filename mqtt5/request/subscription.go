// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// filtersPerPacket is the limit of AWS IoT Core for one SUBSCRIBE.
const filtersPerPacket = 8

// subscriptions are the topic filters of a client. They are guarded by
// Client.mu.
type subscriptions struct {
	byFilter map[string]*subscription
	queue    []*lease // wait for room, oldest first
	uses     uint64   // counts the ends of uses, for the least recently used
	timer    *time.Timer
}

func newSubscriptions() subscriptions {
	return subscriptions{byFilter: make(map[string]*subscription)}
}

type subscriptionState uint8

const (
	subscriptionNone          subscriptionState = iota // not at the server
	subscriptionLost                                   // the server forgot it; the connection may restore it
	subscriptionSubscribing                            // a SUBSCRIBE is in flight
	subscriptionActive                                 // the server has it
	subscriptionUnsubscribing                          // an UNSUBSCRIBE is in flight
)

// subscription is one topic filter. It takes room from when somebody needs it
// until the server has unsubscribed it.
type subscription struct {
	filter  string
	state   subscriptionState
	via     *link // the connection of the packet in flight
	calls   map[*call]struct{}
	streams []*Stream
	lastUse uint64 // when it became idle
	remove  func() // of the handler

	err      error     // of the last SUBSCRIBE, if it was refused
	failures int       // in a row
	retryAt  time.Time // not to be tried before
	pinned   bool      // the server refused to unsubscribe it
	unwanted bool      // to be unsubscribed at once when idle: it was a stream's
}

func (s *subscription) used() bool { return len(s.calls) > 0 || len(s.streams) > 0 }

func (s *subscription) idle() bool {
	return !s.used() && (s.state == subscriptionActive || s.state == subscriptionLost)
}

// lease is the use of some filters by a call or a stream, which waits for room
// until it is granted.
type lease struct {
	filters []string
	call    *call   // or
	stream  *Stream // one of them is set
	granted bool
	passed  int // by leases that came later and needed room, too
	err     error
	subs    []*subscription
}

// enqueueLease queues a lease for room. It fails if there can never be any.
func (c *Client) enqueueLease(l *lease) error {
	others := make(map[string]bool) // filters of streams
	for _, s := range c.byFilter {
		if len(s.streams) > 0 {
			others[s.filter] = true
		}
	}
	for _, q := range c.subscriptions.queue {
		if q.stream != nil {
			others[q.filters[0]] = true
		}
	}
	for _, f := range l.filters {
		delete(others, f)
	}
	if len(others)+len(l.filters) > c.opts.MaxSubscriptions {
		return fmt.Errorf("%w: %d of %d are used by streams", ErrNoCapacity, len(others), c.opts.MaxSubscriptions)
	}
	c.subscriptions.queue = append(c.subscriptions.queue, l)
	c.grantRoom()
	return l.err
}

// maxPassed is how many leases that need less room may overtake one that waits
// for room, so that it does not wait for ever.
const maxPassed = 8

// grantRoom grants queued leases, in the order of the queue. Those that need no
// new filter, or fewer than there is room for, do not wait for the others.
func (c *Client) grantRoom() {
	var waiting []*lease // for room
	blocked := false
	c.subscriptions.queue = slices.DeleteFunc(c.subscriptions.queue, func(l *lease) bool {
		missing := 0
		for _, f := range l.filters {
			if c.byFilter[f] == nil {
				missing++
			}
		}
		if missing > 0 && (blocked || missing > c.opts.MaxSubscriptions-len(c.byFilter)) {
			if len(waiting) == 0 {
				c.evict(l, missing-(c.opts.MaxSubscriptions-len(c.byFilter)))
			}
			waiting = append(waiting, l)
			blocked = blocked || l.passed >= maxPassed
			return false
		}
		if missing > 0 {
			for _, w := range waiting {
				w.passed++
			}
		}
		if err := c.grant(l); err != nil {
			l.fail(err)
		}
		return true
	})
	c.subscribeNow()
}

// grant gives a lease its filters. It fails if one of them is not valid.
func (c *Client) grant(l *lease) error {
	var added []*subscription
	for _, filter := range l.filters {
		if c.byFilter[filter] != nil {
			continue
		}
		s := &subscription{filter: filter, calls: make(map[*call]struct{})}
		remove, err := c.conn.Handle(filter, func(_ context.Context, m mqtt5.Message) { c.receive(s, m) })
		if err != nil {
			for _, s := range added {
				c.forgetSubscription(s)
			}
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		s.remove = remove
		c.byFilter[filter] = s
		added = append(added, s)
	}
	for _, filter := range l.filters {
		s := c.byFilter[filter]
		l.subs = append(l.subs, s)
		s.unwanted = false
		if l.call != nil {
			s.calls[l.call] = struct{}{}
			continue
		}
		s.streams = append(s.streams, l.stream)
		if s.state == subscriptionActive {
			l.stream.established()
		}
	}
	l.granted = true
	if l.call != nil {
		l.call.signal()
	}
	return nil
}

// endLease ends the use of the filters, or the wait for them.
func (c *Client) endLease(l *lease) {
	if !l.granted {
		c.subscriptions.queue = slices.DeleteFunc(c.subscriptions.queue, func(other *lease) bool { return other == l })
	}
	for _, s := range l.subs {
		if l.call != nil {
			delete(s.calls, l.call)
		} else {
			s.streams = slices.DeleteFunc(s.streams, func(other *Stream) bool { return other == l.stream })
		}
		if s.used() {
			continue
		}
		c.subscriptions.uses++
		s.lastUse = c.subscriptions.uses
		s.unwanted = s.unwanted || l.stream != nil
		c.unneeded(s)
	}
	l.subs = nil
	c.grantRoom()
}

func (l *lease) fail(err error) {
	l.err = err
	if l.call != nil {
		l.call.fail(err)
	} else {
		l.stream.halt(err)
	}
}

func (c *Client) forgetSubscription(s *subscription) {
	if c.byFilter[s.filter] == s {
		delete(c.byFilter, s.filter)
		s.remove()
	}
}

// evict makes room for n filters of l: it unsubscribes the least recently used
// idle ones that l does not need. Those that are on their way out count.
func (c *Client) evict(l *lease, n int) {
	var idle []*subscription
	for _, s := range c.byFilter {
		switch {
		case s.state == subscriptionUnsubscribing && !s.used():
			n--
		case s.idle() && !s.pinned && !slices.Contains(l.filters, s.filter):
			idle = append(idle, s)
		}
	}
	slices.SortFunc(idle, func(a, b *subscription) int { return int(int64(a.lastUse) - int64(b.lastUse)) })
	for _, s := range idle[:max(0, min(n, len(idle)))] {
		c.unsubscribe(s)
	}
}

// unsubscribe starts to unsubscribe a filter that nobody uses. Without a
// connection it stays until there is one.
func (c *Client) unsubscribe(s *subscription) {
	if c.link == nil || c.closed || s.state != subscriptionActive && s.state != subscriptionLost {
		return
	}
	l := c.link
	s.state, s.via = subscriptionUnsubscribing, l
	c.closing.Add(1)
	go func() {
		defer c.closing.Done()
		ack, err := c.conn.Unsubscribe(l.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{s.filter}})
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed || s.state != subscriptionUnsubscribing || s.via != l {
			return // the session was lost meanwhile
		}
		switch {
		case err == nil:
			s.state = subscriptionNone
			if !s.used() {
				c.forgetSubscription(s)
			}
		case ack != nil: // refused
			c.subscribed(s)
			s.pinned = true
		default: // it may have happened
			s.state = subscriptionLost
			if s.unwanted && !s.used() && c.link != l {
				c.unsubscribe(s)
			}
		}
		c.grantRoom()
	}()
}

// subscribeNow starts to subscribe the filters that are needed and due.
func (c *Client) subscribeNow() {
	if c.link == nil || c.closed {
		return
	}
	now := time.Now()
	var next time.Time
	var due []*subscription
	for _, s := range c.byFilter {
		if !s.used() || s.state > subscriptionLost {
			continue
		}
		if now.Before(s.retryAt) {
			if next.IsZero() || s.retryAt.Before(next) {
				next = s.retryAt
			}
			continue
		}
		s.state, s.via = subscriptionSubscribing, c.link
		due = append(due, s)
	}
	slices.SortFunc(due, func(a, b *subscription) int {
		if a.filter < b.filter {
			return -1
		}
		return 1
	})
	for batch := range slices.Chunk(due, filtersPerPacket) {
		c.closing.Add(1)
		go c.subscribe(c.link, batch)
	}
	if !next.IsZero() {
		c.subscribeAfter(next.Sub(now))
	}
}

func (c *Client) subscribeAfter(d time.Duration) {
	if t := c.subscriptions.timer; t != nil {
		t.Reset(d)
		return
	}
	c.subscriptions.timer = time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.subscribeNow()
	})
}

// subscribe sends one SUBSCRIBE and takes its outcome.
func (c *Client) subscribe(l *link, batch []*subscription) {
	defer c.closing.Done()
	packet := &mqtt5.SubscribePacket{}
	for _, s := range batch {
		packet.Subscriptions = append(packet.Subscriptions, mqtt5.Subscription{TopicFilter: s.filter, QoS: mqtt5.AtLeastOnce})
	}
	ack, err := c.conn.Subscribe(l.ctx, packet)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	for i, s := range batch {
		if s.state != subscriptionSubscribing || s.via != l {
			continue // the session was lost meanwhile
		}
		switch {
		case ack != nil && i < len(ack.ReasonCodes) && !ack.ReasonCodes[i].Failed():
			c.subscribed(s)
		case ack != nil && i < len(ack.ReasonCodes) && ack.ReasonCodes[i].Failed():
			s.state = subscriptionNone
			c.refused(s, subscribeError(s.filter, ack, i, err), retryable(ack.ReasonCodes[i]))
		case err != nil && errors.Is(err, mqtt5.ErrNotSent):
			s.state = subscriptionNone
			c.refused(s, err, c.passing(err))
		case err != nil: // the server may have it
			s.state = subscriptionLost
			c.refused(s, err, c.passing(err))
		default:
			s.state = subscriptionNone
		}
	}
	c.grantRoom()
}

func (c *Client) subscribed(s *subscription) {
	s.state = subscriptionActive
	s.err, s.failures, s.retryAt, s.pinned = nil, 0, time.Time{}, false
	for _, stream := range s.streams {
		stream.established()
	}
	for k := range s.calls {
		k.signal()
	}
	if !s.used() {
		c.subscriptions.uses++
		s.lastUse = c.subscriptions.uses
	}
	if s.unwanted && !s.used() {
		c.unsubscribe(s)
	}
}

// refused notes a failed SUBSCRIBE: it is tried again after a while, or ends
// whatever needs the filter.
func (c *Client) refused(s *subscription, err error, again bool) {
	s.err = err
	if !s.used() {
		c.unneeded(s)
		return
	}
	if again {
		s.failures++
		s.retryAt = time.Now().Add(c.retryDelay(s.failures))
		return
	}
	for k := range s.calls {
		if k.stage < StagePublish {
			k.stage = StageSubscribe
		}
		k.fail(err)
	}
	s.haltStreams(err)
	if !s.used() {
		c.unneeded(s)
	}
}

// unneeded forgets a filter that nobody uses, or unsubscribes it if the server may
// have it and it was a stream's.
func (c *Client) unneeded(s *subscription) {
	switch {
	case s.state == subscriptionNone:
		c.forgetSubscription(s)
	case s.unwanted:
		c.unsubscribe(s)
	}
}

func (s *subscription) haltStreams(err error) {
	for _, stream := range s.streams {
		stream.halt(err)
	}
	s.streams = nil
}

// haltStreams ends all streams.
func (c *Client) haltStreams(err error) {
	c.subscriptions.queue = slices.DeleteFunc(c.subscriptions.queue, func(l *lease) bool {
		if l.stream != nil {
			l.fail(err)
		}
		return l.stream != nil
	})
	for _, s := range c.byFilter {
		s.haltStreams(err)
		if !s.used() && !s.idle() {
			c.forgetSubscription(s)
		}
	}
}

// retryable reports whether a SUBSCRIBE may succeed later.
func retryable(code mqtt5.SubackReasonCode) bool {
	switch code {
	case mqtt5.SubackUnspecifiedError, mqtt5.SubackImplementationSpecificError, mqtt5.SubackPacketIdentifierInUse, mqtt5.SubackQuotaExceeded:
		return true
	}
	return false
}

// passing reports whether an operation that failed without an answer may succeed
// later.
func (c *Client) passing(err error) bool {
	var invalid *mqtt5.ValidationError
	return !errors.As(err, &invalid) && !errors.Is(err, mqtt5.ErrClosed)
}

// subscribeError is the refusal of the i-th filter of a SUBSCRIBE, which was
// refused with err as a whole.
func subscribeError(filter string, ack *mqtt5.SubackPacket, i int, err error) error {
	code := ack.ReasonCodes[i]
	e := &mqtt5.AckError{
		Operation:  "subscribe",
		Failures:   []string{fmt.Sprintf("%q: %s", filter, code)},
		ReasonCode: uint8(code),
	}
	if ack.ReasonString != nil {
		e.ReasonString = *ack.ReasonString
	}
	var whole *mqtt5.AckError
	if errors.As(err, &whole) && len(whole.Failures) > 0 && whole.Failures[0] == e.Failures[0] {
		e.Hint = whole.Hint
	}
	return e
}

// loseSubscriptions notes that the server has a new session.
func (c *Client) loseSubscriptions() {
	for _, s := range c.byFilter {
		if s.state == subscriptionNone {
			continue
		}
		s.state, s.pinned = subscriptionLost, false
		for k := range s.calls {
			k.subscriptionLost()
		}
		for _, stream := range s.streams {
			stream.lost()
		}
	}
}

// restored notes what the connection subscribed again by itself.
func (c *Client) restored(ev *mqtt5.Resubscription) {
	for _, filter := range ev.Restored {
		if s := c.byFilter[filter]; s != nil && s.state == subscriptionLost {
			c.subscribed(s)
		}
	}
	for filter := range ev.Refused {
		if s := c.byFilter[filter]; s != nil && s.state == subscriptionLost && !s.used() {
			c.forgetSubscription(s)
		}
	}
	c.grantRoom()
}

// drop ends all use of filters and returns those the server may have.
func (c *Client) drop(err error) (filters []string) {
	if c.subscriptions.timer != nil {
		c.subscriptions.timer.Stop()
	}
	for _, l := range c.subscriptions.queue {
		l.fail(err)
	}
	c.subscriptions.queue = nil
	for filter, s := range c.byFilter {
		for _, stream := range s.streams {
			stream.halt(err)
		}
		if s.state != subscriptionNone {
			filters = append(filters, filter)
		}
		s.remove()
	}
	clear(c.byFilter)
	slices.Sort(filters)
	return filters
}

// jitter returns a duration between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
