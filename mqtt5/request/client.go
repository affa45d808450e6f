// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Options configure a [Client]. The zero value of each field means its default.
type Options struct {
	// MaxSubscriptions limits the topic filters that the client holds at the
	// server, for requests and streams together. 0: 40, which leaves an
	// application 10 of the 50 that AWS IoT Core allows a connection.
	MaxSubscriptions int
	// Timeout is the default of [Request.Timeout]. 0: 30 s.
	Timeout time.Duration
	// MinRetryDelay and MaxRetryDelay limit the delay before something is tried
	// again: a refused SUBSCRIBE, or a request that was throttled. The delay
	// doubles with each failure in a row and is jittered. 0: 250 ms and 30 s.
	MinRetryDelay, MaxRetryDelay time.Duration
	// LateWindow is how long a token stays in use after a request with it ended
	// without its answer, or without that to a repetition, so that a late answer is
	// not taken for that of the next request. Only requests that use a token again
	// wait for it. 0: 5 s. Negative: not at all.
	LateWindow time.Duration
	// ReplyTopic is the response topic of [Client.Call]. Policies of the server
	// have to allow it. Empty: "replies/" and a random name.
	ReplyTopic string
	// OnUnmatched is called with each message on a subscription for answers that
	// is no answer to a waiting request. It runs like a message handler of the
	// connection. Nil: such messages are only counted.
	OnUnmatched func(Unmatched)
	// OnPanic is called with each panic in a function of a [StreamOptions], which
	// is recovered. Nil: the panic is not recovered and ends the program.
	OnPanic func(*mqtt5.PanicError)
}

const (
	defaultMaxSubscriptions = 40
	defaultTimeout          = 30 * time.Second
	defaultMinRetryDelay    = 250 * time.Millisecond
	defaultMaxRetryDelay    = 30 * time.Second
	defaultLateWindow       = 5 * time.Second
)

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.MaxSubscriptions < 0:
		return o, invalid("Options.MaxSubscriptions is negative")
	case o.Timeout < 0:
		return o, invalid("Options.Timeout is negative")
	case o.MinRetryDelay < 0 || o.MaxRetryDelay < 0:
		return o, invalid("a retry delay of Options is negative")
	}
	o.MaxSubscriptions = orDefault(o.MaxSubscriptions, defaultMaxSubscriptions)
	o.Timeout = orDefault(o.Timeout, defaultTimeout)
	o.MinRetryDelay = orDefault(o.MinRetryDelay, defaultMinRetryDelay)
	o.MaxRetryDelay = max(orDefault(o.MaxRetryDelay, defaultMaxRetryDelay), o.MinRetryDelay)
	o.LateWindow = max(0, orDefault(o.LateWindow, defaultLateWindow))
	if o.ReplyTopic == "" {
		o.ReplyTopic = "replies/" + NewToken()
	}
	return o, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// NewToken returns a random token of 26 letters and digits.
func NewToken() string { return rand.Text() }

// Client sends requests and receives streams over one connection. All methods
// may be called from any goroutine, except that [Client.Do] and [Client.Call]
// must not be called from a message handler of the connection.
type Client struct {
	conn Connection
	opts Options

	// mu guards what follows. It is not held while the connection sends
	// something or while code of the user runs.
	mu      sync.Mutex
	closed  bool
	ended   bool           // the connection was closed for good
	closing sync.WaitGroup // goroutines that subscribe and unsubscribe
	stats   Stats

	// link is the present connection; nil while there is none.
	link         *link
	removeEvents func()

	calls  map[*call]struct{}
	claims claims
	quotas map[string]*quota
	subscriptions
}

// link is one connection to the server.
type link struct {
	ctx    context.Context // ends with the connection
	cancel context.CancelCauseFunc
}

func newLink() *link {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &link{ctx, cancel}
}

// New returns a client on a connection. It fails with [ErrInvalid].
//
// Several clients may share a connection if they use different topic filters:
// a filter that one of them unsubscribes is gone for all.
func New(conn Connection, options Options) (*Client, error) {
	if c, ok := conn.(*mqtt5.Client); conn == nil || ok && c == nil {
		return nil, invalid("the connection is nil")
	}
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Client{
		conn:          conn,
		opts:          o,
		calls:         make(map[*call]struct{}),
		claims:        newClaims(),
		quotas:        make(map[string]*quota),
		subscriptions: newSubscriptions(),
	}
	source, ok := conn.(EventSource)
	if !ok {
		c.link = newLink()
		return c, nil
	}
	remove := source.HandleEvents(c.handleEvent)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeEvents = remove
	if c.link == nil && conn.State() == mqtt5.StateConnected {
		c.link = newLink()
	}
	return c, nil
}

// HandleEvents calls handler with the lifecycle events of the connection, as
// [EventSource] describes it. If the connection reports none, it does nothing.
func (c *Client) HandleEvents(handler func(event any)) (remove func()) {
	if source, ok := c.conn.(EventSource); ok {
		return source.HandleEvents(handler)
	}
	return func() {}
}

// handleEvent follows the connection.
func (c *Client) handleEvent(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	switch ev := event.(type) {
	case *mqtt5.ConnectionSuccess:
		c.disconnected(mqtt5.ErrConnectionLost)
		c.link = newLink()
		if !ev.Settings.RejoinedSession {
			c.loseSubscriptions()
		}
		c.connected()
	case *mqtt5.Disconnection:
		c.disconnected(ev.Err)
	case *mqtt5.Resubscription:
		c.restored(ev)
	case *mqtt5.Stopped:
		c.disconnected(ev.Err)
	case *mqtt5.Closed:
		c.connectionClosed()
	}
}

// connectionClosed reports whether the connection was closed for good. If so,
// nothing is left to wait for.
func (c *Client) connectionClosed() bool {
	if c.ended || c.link != nil || c.conn.State() != mqtt5.StateClosed {
		return c.ended
	}
	c.ended = true
	for k := range c.calls {
		k.fail(mqtt5.ErrClosed)
	}
	c.haltStreams(mqtt5.ErrClosed)
	return true
}

func (c *Client) connected() {
	for k := range c.calls {
		k.signal()
	}
	for _, s := range c.byFilter {
		if s.unwanted && s.idle() {
			c.unsubscribe(s)
		}
	}
	c.grantRoom()
	c.subscribeNow()
}

func (c *Client) disconnected(cause error) {
	if c.link == nil {
		return
	}
	if cause == nil {
		cause = mqtt5.ErrConnectionLost
	}
	c.link.cancel(cause)
	c.link = nil
	for k := range c.calls {
		k.signal()
	}
}

// Close ends the client: requests fail with [ErrClosed], streams are halted, and
// all filters are unsubscribed. Close waits for the server's answer to that as
// long as ctx allows. Without a connection nothing is unsubscribed; Close then
// returns [ErrOffline] if the server may hold filters. Closing twice does
// nothing.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	for k := range c.calls {
		k.cancel(ErrClosed)
	}
	link := c.link
	filters := c.drop(ErrClosed)
	c.claims.stop()
	for _, q := range c.quotas {
		q.stop()
	}
	remove := c.removeEvents
	c.mu.Unlock()

	if remove != nil {
		remove()
	}
	var err error
	switch {
	case link == nil && len(filters) > 0:
		err = ErrOffline
	case link != nil:
		err = c.unsubscribeAll(ctx, link, filters)
		link.cancel(ErrClosed)
	}
	c.closing.Wait()
	return err
}

// unsubscribeAll unsubscribes filters, a few with each packet.
func (c *Client) unsubscribeAll(ctx context.Context, link *link, filters []string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(link.ctx, func() { cancel(context.Cause(link.ctx)) })()
	var failed error
	for batch := range slices.Chunk(filters, filtersPerPacket) {
		ack, err := c.conn.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: batch})
		failed = errors.Join(failed, err)
		if err != nil && ack == nil { // else the server may accept the others
			break
		}
	}
	return failed
}

// Stats count what a client did since it was made, and what it holds now.
type Stats struct {
	// Requests are the messages published, repetitions included.
	Requests uint64
	// Answers are the messages that answered a waiting request.
	Answers uint64
	// Late, Duplicate and Stray count the other messages on subscriptions for
	// answers, see [Unmatched].
	Late, Duplicate, Stray uint64
	// Throttled counts the answers and PUBACKs that asked for fewer requests.
	Throttled uint64
	// Subscriptions are the filters held at the server, those in use and those
	// kept for later.
	Subscriptions int
	// Idle are those of them that nothing uses now.
	Idle int
}

// Stats returns the present numbers.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Subscriptions = len(c.byFilter)
	for _, sub := range c.byFilter {
		if sub.idle() {
			s.Idle++
		}
	}
	return s
}

// retryDelay returns the jittered delay after the n-th failure in a row, from 1.
func (c *Client) retryDelay(n int) time.Duration {
	d := c.opts.MinRetryDelay
	for ; n > 1 && d < c.opts.MaxRetryDelay; n-- {
		d += min(d, c.opts.MaxRetryDelay-d)
	}
	return jitter(d)
}
