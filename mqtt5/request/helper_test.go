// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// rig is a client on a connection in memory, inside a bubble of synctest.
type rig struct {
	*testing.T
	conn   *requesttest.Conn
	client *request.Client
}

// run runs a test with virtual time.
func run(t *testing.T, options request.Options, test func(r *rig)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := requesttest.New()
		client, err := request.New(conn, options)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			conn.Release("UNSUBSCRIBE")
			client.Close(context.Background())
			if s := client.Stats(); s.Subscriptions != 0 {
				t.Errorf("after Close: %d subscriptions", s.Subscriptions)
			}
			conn.Close()
		}()
		test(&rig{t, conn, client})
	})
}

// flight is a request under way.
type flight struct {
	rig    *rig
	cancel context.CancelCauseFunc
	end    chan struct{} // closed when the fields below are set
	answer mqtt5.Message
	err    error
}

var errGivenUp = errors.New("given up by the test")

// do starts a request and waits until nothing moves any more.
func (r *rig) do(req *request.Request) *flight {
	f := &flight{rig: r, end: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(r.Context())
	f.cancel = cancel
	go func() {
		defer close(f.end)
		f.answer, f.err = r.client.Do(ctx, req)
	}()
	synctest.Wait()
	return f
}

// done reports whether the request has ended, once nothing moves any more.
func (f *flight) done() bool {
	synctest.Wait()
	select {
	case <-f.end:
		return true
	default:
		return false
	}
}

// start starts a request that waits for an answer on some filters.
func (r *rig) start(filters ...string) *flight { return r.do(on(filters...)) }

func on(filters ...string) *request.Request {
	req := &request.Request{Topic: "ask", Correlation: request.JSONField("token"), Token: request.NewToken(), Timeout: time.Hour}
	for _, f := range filters {
		req.Replies = append(req.Replies, request.Reply{Topic: f})
	}
	return req
}

// release gives the request up.
func (f *flight) release() {
	f.rig.Helper()
	f.cancel(errGivenUp)
	if !f.done() {
		f.rig.Fatal("the request did not end with its context")
	}
}

// pending fails the test if the request has ended.
func (f *flight) pending() {
	f.rig.Helper()
	if f.done() {
		f.rig.Fatalf("the request has ended: %v", f.err)
	}
}

// failed fails the test unless the request failed with target, at a stage.
func (f *flight) failed(target error, stage request.Stage) *request.Error {
	f.rig.Helper()
	if !f.done() {
		f.rig.Fatal("the request has not ended")
	}
	var e *request.Error
	if !errors.As(f.err, &e) {
		f.rig.Fatalf("error %v, want a *request.Error", f.err)
	}
	if !errors.Is(e, target) || e.Stage != stage {
		f.rig.Fatalf("failed at stage %v with %v, want stage %v with %v", e.Stage, e, stage, target)
	}
	return e
}

// answered fails the test unless the request got this answer.
func (f *flight) answered(topic, payload string) {
	f.rig.Helper()
	if !f.done() || f.err != nil {
		f.rig.Fatalf("no answer: %v", f.err)
	}
	if f.answer.Topic != topic || string(f.answer.Payload) != payload {
		f.rig.Fatalf("answer %s %s, want %s %s", f.answer.Topic, f.answer.Payload, topic, payload)
	}
}

// log fails the test unless the client sent exactly these packets.
func (r *rig) log(want ...string) {
	r.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, r.conn.Log()); diff != "" {
		r.Fatalf("packets (-want +got):\n%s", diff)
	}
}

// sent reports whether the client sent a packet.
func (r *rig) sent(line string) bool {
	synctest.Wait()
	return slices.Contains(r.conn.Log(), line)
}

// offline loses the connection.
func (r *rig) offline() {
	r.conn.Disconnect(mqtt5.ErrConnectionLost)
	synctest.Wait()
}

// online connects again.
func (r *rig) online(rejoined bool) {
	r.conn.Connect(rejoined)
	synctest.Wait()
}

// listener collects what a stream reports.
type listener struct {
	rig    *rig
	filter string
	stream *request.Stream

	mu   sync.Mutex
	got  []string
	errs []error
}

// listen opens a stream and waits until nothing moves any more.
func (r *rig) listen(filter string) *listener {
	r.Helper()
	l, err := r.tryListen(filter)
	if err != nil {
		r.Fatal(err)
	}
	return l
}

func (r *rig) tryListen(filter string) (*listener, error) {
	l := &listener{rig: r, filter: filter}
	stream, err := r.client.Stream(request.StreamOptions{
		Filter:    filter,
		OnMessage: func(_ context.Context, m mqtt5.Message) { l.add(string(m.Payload), nil) },
		OnEvent: func(_ context.Context, e request.StreamEvent) {
			text := e.Kind.String()
			if e.Dropped > 0 {
				text += fmt.Sprint(" ", e.Dropped)
			}
			l.add(text, e.Err)
		},
	})
	l.stream = stream
	synctest.Wait()
	return l, err
}

func (l *listener) add(text string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, text)
	if err != nil {
		l.errs = append(l.errs, err)
	}
}

// heard fails the test unless the stream reported exactly this.
func (l *listener) heard(want ...string) {
	l.rig.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(want, l.got); diff != "" {
		l.rig.Fatalf("stream (-want +got):\n%s", diff)
	}
}

// haltedBy fails the test unless the stream was halted with this error.
func (l *listener) haltedBy(target error) {
	l.rig.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.errs) != 1 || !errors.Is(l.errs[0], target) {
		l.rig.Fatalf("halted with %v, want %v", l.errs, target)
	}
}

func (l *listener) close() {
	l.stream.Close()
	synctest.Wait()
}

// ackError finds the refusal of the server in an error.
func ackError(t *testing.T, err error) *mqtt5.AckError {
	t.Helper()
	var refused *mqtt5.AckError
	if !errors.As(err, &refused) {
		t.Fatalf("error %v, want a *mqtt5.AckError", err)
	}
	return refused
}
