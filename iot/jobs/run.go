// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
)

// run is one execution in progress: a goroutine for the handler, and one that
// reports. Only the reporter knows the version and sends updates, so they never
// overtake each other and no lock is held while one is under way.
type run struct {
	runner *Runner
	job    *Job
	known  record // from the state file

	changed chan struct{} // details to send
	doubt   chan struct{} // the execution may be canceled
	ended   chan outcome

	// The reporter's.
	version  int64
	final    *outcome
	dirty    bool // an update has to be sent
	failures int
	trimmed  bool // the service refused the details of the outcome
	lost     bool // the execution does not belong to this runner any more
}

// outcome is how a handler ended.
type outcome struct {
	status    Status
	details   map[string]string
	suspended bool
	request   bool // the handler asked for it with ErrSuspend
}

func newRun(r *Runner, e *Execution, known record, resumed bool) *run {
	x := &run{
		runner: r, known: known, version: e.VersionNumber,
		changed: make(chan struct{}, 1), doubt: make(chan struct{}, 1), ended: make(chan outcome, 1),
	}
	x.job = &Job{
		Execution: *e, Resumed: resumed, Attempt: known.Attempts,
		client: r.client, state: r.state, notify: func() { signal(x.changed) },
		checkpoint: known.Checkpoint, details: known.Details,
	}
	if !resumed || known.Phase == started {
		x.job.Attempt++
	}
	x.job.Attempt = max(x.job.Attempt, 1)
	return x
}

// execute returns when the execution is reported, canceled or suspended. It
// reports whether the handler asked for an end of the runner.
func (x *run) execute(ctx context.Context) (suspend bool) {
	if x.known.Phase == finished || x.known.Phase == reported {
		// The handler is not run again, whatever the outcome of the report.
		x.final, x.dirty = &outcome{status: x.known.Status, details: x.known.Details}, true
		x.report(ctx, func(error) {})
		return false
	}
	handlerCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { x.ended <- x.handle(ctx, handlerCtx) }()
	x.dirty = x.job.Resumed && x.runner.options.StepTimeout > 0
	x.report(ctx, cancel)
	return x.final != nil && x.final.request
}

// handle runs the handler and remembers its outcome.
func (x *run) handle(runnerCtx, ctx context.Context) outcome {
	handler, err := x.handler()
	if err == nil && x.job.Attempt > x.runner.options.MaxAttempts {
		err = Fail(fmt.Sprintf("%d processes ended during this execution", x.job.Attempt-1))
	}
	if err == nil {
		// Before the handler: a crash during it has to count.
		err = x.runner.state.put(x.job.record(started))
	}
	if err == nil {
		t := EventStarted
		if x.job.Resumed {
			t = EventResumed
		}
		x.event(Event{Type: t})
		err = protect("the handler", func() error { return handler(ctx, x.job) })
	}
	out := x.outcome(runnerCtx, err)
	r := x.job.record(finished)
	r.Status, r.Details = out.status, out.details
	if out.suspended {
		r = x.job.record(suspended)
	}
	if err := x.runner.state.put(r); err != nil {
		x.event(Event{Type: EventError, Err: err})
	}
	return out
}

// handler returns the handler of the execution, or the error to reject it with.
func (x *run) handler() (handler Handler, err error) {
	err = protect("RunnerOptions.Operation", func() (err error) {
		handler, err = x.runner.handler(x.job)
		return err
	})
	return handler, err
}

// protect calls code of the user. A panic or a call of runtime.Goexit becomes an
// error.
func protect(name string, call func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = errors.New(name + " called runtime.Goexit")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%s panicked: %v\n%s", name, p, debug.Stack())
			}
		}()
		err = call()
	}()
	<-done
	return err
}

func (x *run) outcome(runnerCtx context.Context, err error) outcome {
	details := x.job.latest()
	var result *ResultError
	switch {
	case err == nil:
		return outcome{status: Succeeded, details: details}
	case errors.Is(err, ErrSuspend):
		return outcome{suspended: true, request: true}
	case errors.As(err, &result):
		details = merge(details, result.Details, reason(result.Reason))
		status := result.Status
		if status != Rejected {
			status = Failed
		}
		return outcome{status: status, details: details}
	case runnerCtx.Err() != nil:
		return outcome{suspended: true}
	default:
		return outcome{status: Failed, details: merge(details, nil, reason(err.Error()))}
	}
}

func merge(details, more map[string]string, reason string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, details)
	maps.Copy(all, more)
	detail(all, "reason", reason)
	if checkDetails(all) != nil { // those of a ResultError
		all = map[string]string{}
		detail(all, "reason", reason)
	}
	return all
}

// handler returns the handler for a job, or the error to reject it with.
func (r *Runner) handler(job *Job) (Handler, error) {
	operation, err := r.options.Operation(job.Document)
	if err != nil {
		return nil, Reject(err.Error())
	}
	if h := r.options.Handlers[operation]; h != nil {
		return h, nil
	}
	if r.options.Steps != nil {
		d, ok, err := parseSteps(job.Document)
		if err != nil {
			return nil, Reject(err.Error())
		}
		if ok {
			return func(ctx context.Context, job *Job) error { return r.options.Steps.handle(ctx, job, d) }, nil
		}
	}
	return nil, Reject(fmt.Sprintf("this device does not know the operation %q", operation))
}

// report sends updates until there is nothing left to report.
func (x *run) report(ctx context.Context, cancel context.CancelCauseFunc) {
	var renew, retry timer
	defer renew.stop()
	defer retry.stop()
	renew.at(x.runner.renewal())
	for {
		if x.dirty && !x.lost {
			if x.send(ctx) {
				retry.stop()
				retry = timer{}
				renew.at(x.runner.renewal())
			} else if !x.lost {
				retry.at(backoff(x.failures))
			}
			if x.lost {
				cancel(ErrCanceled)
			}
		}
		if x.final != nil && (x.lost || x.final.suspended || !x.dirty || ctx.Err() != nil) {
			x.close(ctx)
			return
		}
		retrying := retry.c()
		var changed <-chan struct{}
		if retrying == nil {
			changed = x.changed // else the retry takes the latest
		}
		var ended <-chan struct{}
		if x.final != nil {
			ended = ctx.Done()
		}
		select {
		case <-changed:
			x.dirty = true
		case <-renew.c():
			x.dirty = true
		case <-retrying:
			retry = timer{}
		case <-x.doubt:
			if x.final == nil && x.isLost(ctx) {
				x.lost = true
				cancel(ErrCanceled)
			}
		case out := <-x.ended:
			x.final, x.dirty, x.failures = &out, !out.suspended, 0
		case <-ended:
		}
	}
}

// close makes the last attempt to report, and notes the outcome of the execution.
func (x *run) close(ctx context.Context) {
	if x.dirty && !x.lost && !x.final.suspended { // the runner ends
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		x.send(last)
	}
	switch {
	case x.lost:
		// Should the service list it again, this is what it gets.
		r := x.job.record(reported)
		r.Status, r.Details = x.final.status, x.final.details
		if x.final.suspended {
			r.Status, r.Details = Failed, map[string]string{"reason": ErrCanceled.Error()}
		}
		x.remember(r)
		x.event(Event{Type: EventCanceled})
	case x.final.suspended:
		x.event(Event{Type: EventSuspended})
	case !x.dirty:
		r := x.job.record(reported)
		r.Status, r.Details, r.Checkpoint = x.final.status, x.final.details, nil
		x.remember(r)
		x.event(Event{Type: EventReported, Status: x.final.status})
	}
}

func (x *run) remember(r record) {
	if err := x.runner.state.put(r); err != nil {
		x.event(Event{Type: EventError, Err: err})
	}
}

func (x *run) event(e Event) {
	e.JobID, e.ExecutionNumber = x.job.JobID, x.job.ExecutionNumber
	x.runner.event(e)
}
