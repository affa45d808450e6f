// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"context"
	"errors"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// WatchOptions are the functions of a stream of notifications.
type WatchOptions struct {
	// OnEvent receives the changes of the subscription: notifications are missed
	// while it is not established, so ask for pending executions after that. Nil:
	// they are not reported.
	OnEvent func(ctx context.Context, event request.StreamEvent)
	// OnInvalid receives the error [ErrInvalidPayload] for a notification that
	// cannot be read. Nil: such notifications are dropped.
	OnInvalid func(ctx context.Context, err error)
}

// WatchExecutions calls handler whenever an execution was added to or removed
// from those that are pending. The caller closes the stream.
func (c *Client) WatchExecutions(handler func(ctx context.Context, n *ExecutionsChanged), options WatchOptions) (*request.Stream, error) {
	return watch(c, c.topics.notify(), handler, options)
}

// WatchNext calls handler whenever another execution is the next pending one. A
// change behind it is not reported, nor is its start. The caller closes the
// stream.
func (c *Client) WatchNext(handler func(ctx context.Context, n *NextExecutionChanged), options WatchOptions) (*request.Stream, error) {
	return watch(c, c.topics.notifyNext(), handler, options)
}

func watch[N any](c *Client, filter string, handler func(context.Context, *N), options WatchOptions) (*request.Stream, error) {
	return c.requests.Stream(request.StreamOptions{
		Filter:  filter,
		OnEvent: options.OnEvent,
		OnMessage: func(ctx context.Context, m mqtt5.Message) {
			var n N
			if err := decode(m.Payload, &n); err != nil {
				if options.OnInvalid != nil {
					options.OnInvalid(ctx, err)
				}
				return
			}
			handler(ctx, &n)
		},
	})
}

// watch makes notifications wake the runner.
func (r *Runner) watch(ctx context.Context, halted context.CancelCauseFunc) (stop func(), err error) {
	options := WatchOptions{
		OnEvent: func(_ context.Context, e request.StreamEvent) {
			switch e.Kind {
			case request.StreamEstablished, request.StreamReestablished, request.StreamOverflowed:
				r.verifyAll()
				r.wake()
			case request.StreamHalted:
				halted(e.Err)
			}
		},
		OnInvalid: func(_ context.Context, err error) {
			r.event(Event{Type: EventError, Err: err})
			r.verifyAll()
			r.wake()
		},
	}
	all, err := r.client.WatchExecutions(func(_ context.Context, n *ExecutionsChanged) {
		listed := map[string]bool{}
		for _, s := range n.Jobs[InProgress] {
			listed[s.JobID] = true
		}
		r.verify(func(jobID string) bool { return !listed[jobID] })
		r.wake()
	}, options)
	if err != nil {
		return nil, err
	}
	next, err := r.client.WatchNext(func(context.Context, *NextExecutionChanged) { r.wake() }, options)
	if err != nil {
		all.Close()
		return nil, err
	}
	stop = func() {
		all.Close()
		next.Close()
	}
	// The first request would fail if it came before its notification's filter:
	// executions added between the two would be missed.
	for _, s := range []*request.Stream{all, next} {
		if err := s.WaitEstablished(ctx); err != nil {
			stop()
			return nil, errors.Join(err, context.Cause(ctx))
		}
	}
	return stop, nil
}
