// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// Requester is the part of [*request.Client] that this package uses.
type Requester interface {
	Do(ctx context.Context, req *request.Request) (mqtt5.Message, error)
	Stream(options request.StreamOptions) (*request.Stream, error)
}

// Options configure a [Shadow]. The zero value of each field means its default.
type Options struct {
	// Timeout limits each request. 0: that of the [request.Client].
	Timeout time.Duration
	// Offline says what happens to a request while there is no connection.
	Offline request.OfflinePolicy
	// MaxDocumentBytes limits the state of an update, before it is sent. 0: 8192,
	// the quota of the service. Negative: no limit.
	MaxDocumentBytes int
	// InFlight limits the requests in flight for all shadows of the thing. 0: 10,
	// the quota of the service. Negative: no limit.
	InFlight int
}

const (
	defaultMaxDocumentBytes = 8192
	defaultInFlight         = 10
	maxTokenBytes           = 64
)

// target is one shadow: its names and topics.
type target struct {
	thing, name string
	prefix      string
}

// Shadow is one shadow of a thing. S is the type of its state. All methods may
// be called from any goroutine, except from a message handler of the connection;
// the functions of streams and mirrors may call them.
type Shadow[S any] struct {
	target
	requests Requester
	options  Options
}

var (
	thingNames  = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	shadowNames = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,64}$`)
)

// Classic returns the unnamed shadow of a thing. It fails with
// [ErrInvalidRequest] if the name is not valid.
func Classic[S any](requests Requester, thing string, options ...Options) (*Shadow[S], error) {
	return open[S](requests, target{thing: thing, prefix: "$aws/things/" + thing + "/shadow"}, options)
}

// Named returns a named shadow of a thing. It fails with [ErrInvalidRequest] if
// a name is not valid.
func Named[S any](requests Requester, thing, name string, options ...Options) (*Shadow[S], error) {
	if !shadowNames.MatchString(name) {
		return nil, fmt.Errorf("%w: shadow name %q: 1 to 64 letters, digits, ':', '_' or '-'", ErrInvalidRequest, name)
	}
	return open[S](requests, target{thing: thing, name: name, prefix: "$aws/things/" + thing + "/shadow/name/" + name}, options)
}

func open[S any](requests Requester, t target, options []Options) (*Shadow[S], error) {
	switch {
	case requests == nil:
		return nil, fmt.Errorf("%w: the request client is nil", ErrInvalidRequest)
	case !thingNames.MatchString(t.thing):
		return nil, fmt.Errorf("%w: thing name %q: 1 to 128 letters, digits, ':', '_' or '-'", ErrInvalidRequest, t.thing)
	case len(options) > 1:
		return nil, fmt.Errorf("%w: more than one Options", ErrInvalidRequest)
	}
	s := &Shadow[S]{target: t, requests: requests}
	if len(options) == 1 {
		s.options = options[0]
	}
	if s.options.Timeout < 0 {
		return nil, fmt.Errorf("%w: Options.Timeout is negative", ErrInvalidRequest)
	}
	if s.options.MaxDocumentBytes == 0 {
		s.options.MaxDocumentBytes = defaultMaxDocumentBytes
	}
	switch {
	case s.options.InFlight == 0:
		s.options.InFlight = defaultInFlight
	case s.options.InFlight < 0:
		s.options.InFlight = 0
	}
	return s, nil
}

// Thing returns the name of the thing.
func (s *Shadow[S]) Thing() string { return s.thing }

// Name returns the name of the shadow; it is empty for the classic one.
func (s *Shadow[S]) Name() string { return s.name }

func (t target) topic(operation string) string { return t.prefix + "/" + operation }

// accepted and rejected are where answers arrive. The filter get/+ covers both;
// update/+ would bring delta and documents, too.
func (t target) accepted(operation string) request.Reply { return t.reply(operation, "accepted") }
func (t target) rejected(operation string) request.Reply { return t.reply(operation, "rejected") }

func (t target) reply(operation, kind string) request.Reply {
	r := request.Reply{Topic: t.topic(operation) + "/" + kind, Filter: t.topic(operation) + "/+"}
	if operation == "update" {
		r.Filter = r.Topic
	}
	return r
}

// Get returns the whole shadow. It fails with [ErrNotFound] if there is none.
func (s *Shadow[S]) Get(ctx context.Context) (*Document[S], error) {
	token := request.NewToken()
	payload, err := json.Marshal(envelope[S]{ClientToken: token})
	if err != nil {
		return nil, err
	}
	reply, err := s.call(ctx, "get", token, payload)
	if err != nil {
		return nil, err
	}
	m, err := parse[answer[S]](reply.Topic, reply.Payload)
	if err != nil {
		return nil, err
	}
	return &Document[S]{
		Desired:   m.State.Desired,
		Reported:  m.State.Reported,
		Delta:     m.State.Delta,
		Metadata:  m.Metadata,
		Version:   m.Version,
		Timestamp: epoch(m.Timestamp),
		Raw:       reply.Payload,
	}, nil
}

// Update changes the shadow, and creates it if there is none. Only the named
// fields change; arrays are replaced as a whole.
//
// It fails with [ErrInvalidRequest] or [ErrTooLarge] without sending anything if
// the update cannot be accepted, and with an [*RejectedError] if the service rejects it.
func (s *Shadow[S]) Update(ctx context.Context, update Update[S]) (*Accepted[S], error) {
	payload, token, err := s.encode(update)
	if err != nil {
		return nil, err
	}
	reply, err := s.call(ctx, "update", token, payload)
	if err != nil {
		return nil, err
	}
	m, err := parse[answer[S]](reply.Topic, reply.Payload)
	if err != nil {
		return nil, err
	}
	return &Accepted[S]{
		Desired:     m.State.Desired,
		Reported:    m.State.Reported,
		Metadata:    m.Metadata,
		Version:     m.Version,
		Timestamp:   epoch(m.Timestamp),
		ClientToken: m.ClientToken,
		Raw:         reply.Payload,
	}, nil
}

// encode checks and encodes an update.
func (s *Shadow[S]) encode(update Update[S]) (payload []byte, token string, err error) {
	switch {
	case update.Desired.IsZero() && update.Reported.IsZero():
		return nil, "", fmt.Errorf("%w: the update has neither a desired nor a reported section", ErrInvalidRequest)
	case update.Version < 0:
		return nil, "", fmt.Errorf("%w: the version is negative", ErrInvalidRequest)
	case len(update.ClientToken) > maxTokenBytes:
		return nil, "", fmt.Errorf("%w: the client token has %d bytes, at most %d are allowed", ErrInvalidRequest, len(update.ClientToken), maxTokenBytes)
	}
	if token = update.ClientToken; token == "" {
		token = request.NewToken()
	}
	state := &stateUpdate[S]{Desired: update.Desired, Reported: update.Reported}
	size := 0
	for _, section := range []Field[S]{update.Desired, update.Reported} {
		if section.IsZero() || section.IsNull() {
			continue
		}
		data, err := json.Marshal(section)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrInvalidRequest, err)
		}
		if data[0] != '{' {
			return nil, "", fmt.Errorf("%w: the state is not a JSON object", ErrInvalidRequest)
		}
		size += len(data)
	}
	if limit := s.options.MaxDocumentBytes; limit > 0 && size > limit {
		return nil, "", fmt.Errorf("%w: the state of the update has %d bytes, at most %d are allowed", ErrTooLarge, size, limit)
	}
	payload, err = json.Marshal(envelope[S]{State: state, Version: update.Version, ClientToken: token})
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrInvalidRequest, err)
	}
	return payload, token, nil
}

// Delete deletes the shadow. It fails with [ErrNotFound] if there is none.
func (s *Shadow[S]) Delete(ctx context.Context) (*Deleted, error) {
	token := request.NewToken()
	payload, err := json.Marshal(envelope[S]{ClientToken: token})
	if err != nil {
		return nil, err
	}
	reply, err := s.call(ctx, "delete", token, payload)
	if err != nil {
		return nil, err
	}
	m, err := parse[bare](reply.Topic, reply.Payload)
	if err != nil {
		return nil, err
	}
	return &Deleted{Version: m.Version, Timestamp: epoch(m.Timestamp)}, nil
}

// call sends a request and returns the accepted answer.
func (s *Shadow[S]) call(ctx context.Context, operation, token string, payload []byte) (mqtt5.Message, error) {
	accepted, rejected := s.accepted(operation), s.rejected(operation)
	reply, err := s.requests.Do(ctx, &request.Request{
		Topic:       s.topic(operation),
		Payload:     payload,
		Replies:     []request.Reply{accepted, rejected},
		Correlation: request.JSONField("clientToken"),
		Token:       token,
		Timeout:     s.options.Timeout,
		Offline:     s.options.Offline,
		Quota:       request.Quota{Name: "shadow " + s.thing, InFlight: s.options.InFlight},
		Idempotent:  operation == "get",
		Throttled: func(m *mqtt5.Message) bool {
			if m.Topic != rejected.Topic {
				return false
			}
			code := rejection(m)
			return code == 429 || code == 500 && operation == "get"
		},
	})
	if err != nil {
		return reply, s.failed(operation, err)
	}
	if reply.Topic == accepted.Topic {
		return reply, nil
	}
	m, err := parse[bare](reply.Topic, reply.Payload)
	if err != nil {
		return reply, err
	}
	return reply, &RejectedError{
		Operation:   operation,
		Thing:       s.thing,
		Shadow:      s.name,
		Code:        m.Code,
		Message:     m.Message,
		Timestamp:   epoch(m.Timestamp),
		ClientToken: m.ClientToken,
		Hint:        s.hint(operation, m.Code),
	}
}

func rejection(m *mqtt5.Message) int {
	var body bare
	if json.Unmarshal(m.Payload, &body) != nil {
		return 0
	}
	return body.Code
}
