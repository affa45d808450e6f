// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// StreamOptions configure a [Stream].
type StreamOptions struct {
	// Filter is the topic filter. Required.
	Filter string
	// OnMessage is called with each message. Its payload may be kept. Required.
	OnMessage func(ctx context.Context, m mqtt5.Message)
	// OnEvent is called with each change of the subscription. Nil: none is
	// reported.
	OnEvent func(ctx context.Context, event StreamEvent)
	// MaxPending is how many messages wait for OnMessage; further ones are
	// dropped and reported as [StreamOverflowed]. 0: 1024.
	MaxPending int
}

const defaultMaxPending = 1024

// StreamEventKind is what happened to the subscription of a stream.
type StreamEventKind uint8

// The kinds of events.
const (
	// StreamEstablished: the server accepted the subscription. Messages before it
	// were not received.
	StreamEstablished StreamEventKind = iota
	// StreamLost: the server forgot the session and with it the subscription,
	// which is being made again. Messages are lost until StreamReestablished.
	StreamLost
	// StreamReestablished: the server accepted the subscription again.
	StreamReestablished
	// StreamOverflowed: messages were dropped because OnMessage was too slow.
	StreamOverflowed
	// StreamHalted: the stream has ended by itself: the server refused the
	// subscription for good, or the client or its connection was closed.
	StreamHalted
)

var streamEventNames = [...]string{"established", "lost", "reestablished", "overflowed", "halted"}

// String returns the name of the event in lower case.
func (k StreamEventKind) String() string {
	if int(k) < len(streamEventNames) {
		return streamEventNames[k]
	}
	return "unknown"
}

// StreamEvent is a change of the subscription of a stream.
type StreamEvent struct {
	Kind StreamEventKind
	// Err is why the stream was halted.
	Err error
	// Dropped is the number of messages that StreamOverflowed is about.
	Dropped int
}

// Stream receives the messages of one topic filter, see [Client.Stream].
type Stream struct {
	client  *Client
	options StreamOptions
	ctx     context.Context // ends with the stream; for the functions of options
	cancel  context.CancelCauseFunc
	first   chan struct{} // closed when the stream is established or halted

	// Guarded by Client.mu.
	lease    lease
	up       bool // established now
	everUp   bool
	halted   error
	closed   bool
	queue    []item
	pending  int // messages in queue
	handling bool
}

// item is a message or an event on its way to the user.
type item struct {
	message *mqtt5.Message
	event   StreamEvent
}

// Stream subscribes to a topic filter and calls OnMessage with each message and
// OnEvent with each change of the subscription: one at a time, in order, on a
// goroutine of the stream. They may block and may call the client.
//
// A subscription that cannot be made now is tried again with growing delays, as
// long as the server's reason may pass; see [StreamHalted]. Stream does not wait
// for the subscription: [Stream.WaitEstablished] does. It fails with
// [ErrInvalid], [ErrNoCapacity], [ErrClosed] or [mqtt5.ErrClosed].
func (c *Client) Stream(options StreamOptions) (*Stream, error) {
	switch {
	case options.Filter == "":
		return nil, invalid("the stream has no filter")
	case options.OnMessage == nil:
		return nil, invalid("the stream has no OnMessage")
	case options.MaxPending < 0:
		return nil, invalid("MaxPending is negative")
	}
	options.MaxPending = orDefault(options.MaxPending, defaultMaxPending)
	s := &Stream{client: c, options: options, first: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.lease = lease{filters: []string{options.Filter}, stream: s}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.connectionClosed() {
		return nil, mqtt5.ErrClosed
	}
	if err := c.enqueueLease(&s.lease); err != nil {
		return nil, err
	}
	return s, nil
}

// WaitEstablished waits until the server has accepted the subscription for the
// first time. It fails when the stream is halted or closed before, or ctx ends.
func (s *Stream) WaitEstablished(ctx context.Context) error {
	select {
	case <-s.first:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	switch {
	case s.everUp:
		return nil
	case s.halted != nil:
		return s.halted
	}
	return fmt.Errorf("request: stream %q closed", s.options.Filter)
}

// Close ends the stream and unsubscribes its filter, unless something else uses
// it. No call of OnMessage or OnEvent begins after it; one may still be running.
// Closing twice does nothing.
func (s *Stream) Close() {
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.queue = nil
	s.settle()
	s.cancel(context.Canceled)
	if !c.closed && s.halted == nil {
		c.endLease(&s.lease)
	}
}

// settle ends WaitEstablished.
func (s *Stream) settle() {
	select {
	case <-s.first:
	default:
		close(s.first)
	}
}

// The methods below are called with Client.mu held.

func (s *Stream) established() {
	if s.up {
		return
	}
	s.up = true
	kind := StreamEstablished
	if s.everUp {
		kind = StreamReestablished
	}
	s.everUp = true
	s.settle()
	s.push(item{event: StreamEvent{Kind: kind}})
}

func (s *Stream) lost() {
	if s.up {
		s.up = false
		s.push(item{event: StreamEvent{Kind: StreamLost}})
	}
}

func (s *Stream) halt(err error) {
	if s.halted != nil {
		return
	}
	s.halted, s.up = err, false
	s.settle()
	s.push(item{event: StreamEvent{Kind: StreamHalted, Err: err}})
}

// push queues an item for the goroutine of the stream, which it starts if
// needed.
func (s *Stream) push(it item) {
	if s.closed {
		return
	}
	if it.message != nil {
		if s.pending >= s.options.MaxPending {
			s.overflow()
			return
		}
		s.pending++
	}
	s.queue = append(s.queue, it)
	if !s.handling {
		s.handling = true
		go s.handle()
	}
}

// overflow notes a dropped message. The queue is not empty.
func (s *Stream) overflow() {
	if last := &s.queue[len(s.queue)-1]; last.message == nil && last.event.Kind == StreamOverflowed {
		last.event.Dropped++
		return
	}
	s.queue = append(s.queue, item{event: StreamEvent{Kind: StreamOverflowed, Dropped: 1}})
}

// handle calls the user with what is queued, until nothing is. Should the user
// end the goroutine, another one goes on.
func (s *Stream) handle() {
	done := false
	defer func() {
		if !done {
			go s.handle()
		}
	}()
	for {
		it, ok := s.next()
		if !ok {
			done = true
			return
		}
		s.deliver(it)
	}
}

func (s *Stream) next() (it item, ok bool) {
	mu := &s.client.mu
	mu.Lock()
	defer mu.Unlock()
	if s.closed || len(s.queue) == 0 {
		s.handling = false
		if s.halted != nil {
			s.cancel(s.halted)
		}
		return item{}, false
	}
	it = s.queue[0]
	s.queue[0] = item{}
	s.queue = s.queue[1:]
	if it.message != nil {
		s.pending--
	}
	return it, true
}

func (s *Stream) deliver(it item) {
	if report := s.client.opts.OnPanic; report != nil {
		defer func() {
			if v := recover(); v != nil {
				report(&mqtt5.PanicError{Callback: "stream " + s.options.Filter, Value: v, Stack: debug.Stack()})
			}
		}()
	}
	switch {
	case it.message != nil:
		s.options.OnMessage(s.ctx, *it.message)
	case s.options.OnEvent != nil:
		s.options.OnEvent(s.ctx, it.event)
	}
}
