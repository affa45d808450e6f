// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

const (
	minRetryDelay = 500 * time.Millisecond
	maxRetryDelay = time.Minute
	// maxReports is how often a final status is sent if no answer comes: for about
	// an hour and a half with the default time-out of requests.
	maxReports = 60
	// grace is how long an executor that ends tries to report a status.
	grace = 5 * time.Second
)

// execute runs the handler of a command, unless it has run before, and reports
// the final status. It returns false if the executor ended before the handler
// began.
func (x *Executor) execute(ctx context.Context, c *Command) (done bool) {
	if known, ok := x.memory.find(c.ExecutionID); ok && known.Final != nil {
		x.report(ctx, c, *known.Final, 1)
		return true
	}
	final, done := x.handle(ctx, c)
	if !done {
		return false
	}
	if err := x.memory.finish(c.ExecutionID, final); err != nil {
		x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: err})
	}
	x.report(ctx, c, final, maxReports)
	return true
}

// handle returns the final status. It is false if the executor ended before the
// handler began.
func (x *Executor) handle(ctx context.Context, c *Command) (final update, done bool) {
	if !c.Deadline.IsZero() && !time.Now().Before(c.Deadline) {
		return update{Status: TimedOut, Reason: newReason("EXPIRED", "the command waited for too long on the device")}, true
	}
	handler := x.options.Handlers[c.Name]
	if handler == nil {
		handler = x.options.Default
	}
	if handler == nil {
		return update{Status: Rejected, Reason: newReason("UNKNOWN_COMMAND", fmt.Sprintf("this device does not know the command %q", c.Name))}, true
	}
	if ctx.Err() != nil {
		return update{}, false
	}
	if err := x.memory.started(c.ExecutionID); err != nil {
		return update{Status: Failed, Reason: newReason("DEVICE", err.Error())}, true
	}
	handlerCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !c.Deadline.IsZero() {
		defer time.AfterFunc(time.Until(c.Deadline), func() { cancel(ErrExpired) }).Stop()
	}
	if x.options.ProgressAfter > 0 {
		running, stop := context.WithCancel(handlerCtx)
		progress := make(chan struct{})
		go func() {
			defer close(progress)
			x.progress(running, c)
		}()
		defer func() {
			stop()
			<-progress
		}()
	}
	var result Result
	err := protect("the handler", func() (err error) {
		result, err = handler(handlerCtx, c)
		return err
	})
	return x.final(handlerCtx, result, err), true
}

// progress reports IN_PROGRESS once the handler has worked for a while.
func (x *Executor) progress(ctx context.Context, c *Command) {
	if sleep(ctx, x.options.ProgressAfter) != nil {
		return
	}
	if err := c.Progress(ctx, "", ""); err != nil && ctx.Err() == nil {
		x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: err})
	}
}

// final makes the final status from what a handler returned.
func (x *Executor) final(ctx context.Context, result Result, err error) update {
	if err == nil {
		err = result.check()
	}
	var status *StatusError
	switch {
	case err == nil:
		return update{Status: Succeeded, Result: result}
	case errors.As(err, &status):
		u := update{Status: status.Status, Reason: newReason(status.Code, status.Description)}
		if u.Status != Rejected && u.Status != TimedOut {
			u.Status = Failed
		}
		return u
	case errors.Is(context.Cause(ctx), ErrExpired):
		return update{Status: TimedOut, Reason: newReason("EXPIRED", err.Error())}
	case ctx.Err() != nil:
		return update{Status: Failed, Reason: newReason("INTERRUPTED", err.Error())}
	default:
		return update{Status: Failed, Reason: newReason("FAILED", err.Error())}
	}
}

// protect calls code of the user. A panic or a call of runtime.Goexit becomes an
// error without a stack: its text becomes the reason of the status.
func protect(name string, call func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = errors.New(name + " called runtime.Goexit")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%s panicked: %v", name, p)
			}
		}()
		err = call()
	}()
	<-done
	return err
}

// report sends a final status until the service has judged it. If the reason or
// the result is what cannot be sent or accepted, it sends the status without them.
func (x *Executor) report(ctx context.Context, c *Command, u update, attempts int) {
	for failures := 1; ; failures++ {
		err := x.send(ctx, c.ExecutionID, c.Format, u)
		if err != nil && ctx.Err() != nil { // the executor ends
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			err = x.send(last, c.ExecutionID, c.Format, u)
			cancel()
			failures = attempts
		}
		var rejected *RejectedError
		if unacceptable(err) && (u.Reason != nil || u.Result != nil) {
			x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: err})
			u = update{Status: u.Status}
			continue
		}
		if err == nil || errors.As(err, &rejected) && !rejected.Temporary() {
			if err := x.memory.reported(c.ExecutionID); err != nil {
				x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: err})
			}
		}
		if err == nil {
			x.event(Event{Type: EventReported, ExecutionID: c.ExecutionID, Status: u.Status})
			return
		}
		x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: err})
		if errors.As(err, &rejected) && !rejected.Temporary() || unacceptable(err) || failures >= attempts || errors.Is(err, request.ErrClosed) || errors.Is(err, mqtt5.ErrClosed) {
			return
		}
		_ = sleep(ctx, minRetryDelay+rand.N(min(maxRetryDelay, minRetryDelay<<min(failures, 10))))
	}
}

// unacceptable reports whether an error is about what a status says: a packet
// that is too large, or a payload that the service does not like.
func unacceptable(err error) bool {
	var invalid *mqtt5.ValidationError
	if errors.As(err, &invalid) {
		return true
	}
	var rejected *RejectedError
	return errors.As(err, &rejected) && (rejected.Code == CodeInvalidRequest || rejected.Code == CodeInvalidJSON)
}

// send reports a status and waits for the answer.
func (x *Executor) send(ctx context.Context, id string, f Format, u update) error {
	f = f.responseFormat()
	payload, err := f.encode(u)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	response := func(id, kind string) string { return x.target.prefix() + id + "/response" + kind + "/" + f.String() }
	rejectedTopic := response(id, "/rejected")
	m, err := x.requests.Do(ctx, &request.Request{
		Topic:   response(id, ""),
		Payload: payload,
		Replies: []request.Reply{
			{Topic: response(id, "/accepted"), Filter: response("+", "/accepted")},
			{Topic: rejectedTopic, Filter: response("+", "/rejected")},
		},
		Correlation: request.Uncorrelated{},
		Timeout:     x.options.RequestTimeout,
		Quota:       request.Quota{Name: "commands " + x.target.String()},
		Throttled: func(m *mqtt5.Message) bool {
			return m.Topic == rejectedTopic && decodeRejection(f, id, m.Payload).Code == CodeRequestThrottled
		},
		Idempotent: true,
		Packet: func(p *mqtt5.PublishPacket) {
			p.ContentType = mqtt5.Ptr("application/" + f.String())
		},
	})
	if err != nil {
		return err
	}
	if m.Topic == rejectedTopic {
		return decodeRejection(f, id, m.Payload)
	}
	return nil
}

// finishEarlier reports the executions that an earlier process left.
func (x *Executor) finishEarlier(ctx context.Context) {
	for _, r := range x.memory.unreported() {
		if ctx.Err() != nil {
			return
		}
		u := update{Status: Failed, Reason: newReason("INTERRUPTED", "the process ended during the command")}
		if r.Final != nil {
			u = *r.Final
		} else if err := x.memory.finish(r.ID, u); err != nil {
			x.event(Event{Type: EventError, ExecutionID: r.ID, Err: err})
		}
		x.report(ctx, &Command{ExecutionID: r.ID, executor: x}, u, maxReports)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
