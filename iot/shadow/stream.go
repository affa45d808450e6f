// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// ErrGap is what an iterator over events yields when events may be missing: the
// subscription was lost and made again, or the loop was too slow. Get the shadow
// to catch up.
var ErrGap = errors.New("shadow: events may be missing")

// StreamOptions configure a stream of events of type E. The functions are called
// one at a time, in order, on a goroutine of the stream, and may call the shadow.
type StreamOptions[E any] struct {
	// OnMessage is called with each message. Required.
	OnMessage func(ctx context.Context, message *E)
	// OnEvent is called with each change of the subscription. Nil: none is
	// reported.
	OnEvent func(ctx context.Context, event request.StreamEvent)
	// OnInvalid is called with a [*PayloadError] for each message that cannot be
	// read. Nil: such messages are ignored.
	OnInvalid func(ctx context.Context, err error)
}

// StreamDeltas receives the deltas of the shadow, see [Delta]. The caller closes
// the stream.
func (s *Shadow[S]) StreamDeltas(options StreamOptions[Delta[S]]) (*request.Stream, error) {
	return stream(s.requests, s.topic("update/delta"), options, parseDelta[S])
}

// StreamDocuments receives the content of the shadow before and after each
// update, see [Change]. The caller closes the stream.
func (s *Shadow[S]) StreamDocuments(options StreamOptions[Change[S]]) (*request.Stream, error) {
	return stream(s.requests, s.topic("update/documents"), options, parseChange[S])
}

func stream[E any](requests Requester, topic string, options StreamOptions[E], parse func(m *mqtt5.Message) (*E, error)) (*request.Stream, error) {
	if options.OnMessage == nil {
		return nil, fmt.Errorf("%w: the stream has no OnMessage", ErrInvalidRequest)
	}
	return requests.Stream(request.StreamOptions{
		Filter:  topic,
		OnEvent: options.OnEvent,
		OnMessage: func(ctx context.Context, m mqtt5.Message) {
			event, err := parse(&m)
			switch {
			case err == nil:
				options.OnMessage(ctx, event)
			case options.OnInvalid != nil:
				options.OnInvalid(ctx, err)
			}
		},
	})
}

func parseDelta[S any](m *mqtt5.Message) (*Delta[S], error) {
	body, err := parse[message[*S, json.RawMessage]](m.Topic, m.Payload)
	if err != nil {
		return nil, err
	}
	if body.State == nil {
		return nil, &PayloadError{Topic: m.Topic, Payload: m.Payload, Err: errNoState}
	}
	return &Delta[S]{
		State:       *body.State,
		Metadata:    body.Metadata,
		Version:     body.Version,
		Timestamp:   epoch(body.Timestamp),
		ClientToken: body.ClientToken,
		Raw:         m.Payload,
	}, nil
}

func parseChange[S any](m *mqtt5.Message) (*Change[S], error) {
	type change struct {
		Previous    answer[S] `json:"previous"`
		Current     answer[S] `json:"current"`
		Timestamp   int64     `json:"timestamp"`
		ClientToken string    `json:"clientToken"`
	}
	body, err := parse[change](m.Topic, m.Payload)
	if err != nil {
		return nil, err
	}
	of := func(s answer[S]) Snapshot[S] {
		return Snapshot[S]{Desired: s.State.Desired, Reported: s.State.Reported, Metadata: s.Metadata, Version: s.Version}
	}
	return &Change[S]{
		Previous:    of(body.Previous),
		Current:     of(body.Current),
		Timestamp:   epoch(body.Timestamp),
		ClientToken: body.ClientToken,
		Raw:         m.Payload,
	}, nil
}

// Deltas subscribes and returns an iterator over the deltas of the shadow. The
// loop ends with ctx, by break, or after an error that ends the stream; errors
// that match [ErrGap] or are a [*PayloadError] do not end it.
func (s *Shadow[S]) Deltas(ctx context.Context) iter.Seq2[*Delta[S], error] {
	return events(ctx, s.StreamDeltas)
}

// Documents is like [Shadow.Deltas], for the content before and after each
// update.
func (s *Shadow[S]) Documents(ctx context.Context) iter.Seq2[*Change[S], error] {
	return events(ctx, s.StreamDocuments)
}

// pendingEvents is how many events wait for a loop; more wait in the stream.
const pendingEvents = 16

func events[E any](ctx context.Context, open func(StreamOptions[E]) (*request.Stream, error)) iter.Seq2[*E, error] {
	type item struct {
		event *E
		err   error
		last  bool
	}
	return func(yield func(*E, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		items := make(chan item, pendingEvents)
		put := func(it item) {
			select {
			case items <- it:
			case <-ctx.Done():
			}
		}
		stream, err := open(StreamOptions[E]{
			OnMessage: func(_ context.Context, event *E) { put(item{event: event}) },
			OnInvalid: func(_ context.Context, err error) { put(item{err: err}) },
			OnEvent: func(_ context.Context, e request.StreamEvent) {
				switch e.Kind {
				case request.StreamReestablished, request.StreamOverflowed:
					put(item{err: ErrGap})
				case request.StreamHalted:
					put(item{err: e.Err, last: true})
				}
			},
		})
		if err != nil {
			yield(nil, err)
			return
		}
		defer stream.Close()
		for {
			select {
			case it := <-items:
				if !yield(it.event, it.err) || it.last {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
