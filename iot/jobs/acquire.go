// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"context"
	"errors"
	"time"
)

// acquire returns an execution that is in progress and that this runner does not
// run yet, or [ErrNoExecution].
func (r *Runner) acquire(ctx context.Context) (*Execution, error) {
	switch {
	case r.client.topics.namespace != "": // has no StartNext
		e, err := r.client.Describe(ctx, NextJobID, nil)
		if err != nil {
			return nil, err
		}
		return r.begin(ctx, e)
	case r.options.Concurrency == 1:
		e, err := r.client.StartNext(ctx, &StartNextRequest{StepTimeoutMinutes: r.stepMinutes()})
		if err != nil {
			return nil, err
		}
		return r.begin(ctx, e)
	default: // StartNext would return the one in progress
		return r.acquireAny(ctx)
	}
}

// acquireAny begins the first pending execution that does not run yet.
func (r *Runner) acquireAny(ctx context.Context) (*Execution, error) {
	pending, err := r.client.GetPending(ctx)
	if err != nil {
		return nil, err
	}
	for _, list := range [][]Summary{pending.InProgress, pending.Queued} {
		for _, s := range list {
			if r.runs(s.JobID) || !jobIDs.MatchString(s.JobID) {
				continue
			}
			e, err := r.client.Describe(ctx, s.JobID, &DescribeRequest{ExecutionNumber: s.ExecutionNumber})
			if err == nil {
				e, err = r.begin(ctx, e)
			}
			if gone(err) {
				continue
			}
			return e, err
		}
	}
	return nil, ErrNoExecution
}

// begin sets a queued execution to IN_PROGRESS. One that is over is not run.
func (r *Runner) begin(ctx context.Context, e *Execution) (*Execution, error) {
	switch {
	case e.Status.Terminal():
		return nil, ErrNoExecution
	case e.Status != Queued:
		return e, nil
	}
	result, err := r.client.Update(ctx, e.JobID, &UpdateRequest{
		Status: InProgress, ExpectedVersion: e.VersionNumber, ExecutionNumber: e.ExecutionNumber,
		IncludeExecutionState: true, StepTimeoutMinutes: r.stepMinutes(),
	})
	if err != nil {
		return nil, err
	}
	e.Status = InProgress
	e.VersionNumber++
	if s := result.ExecutionState; s != nil {
		e.VersionNumber = s.VersionNumber
	}
	return e, nil
}

// gone reports an execution that another update or a cancellation took away.
func gone(err error) bool {
	if errors.Is(err, ErrNoExecution) {
		return true
	}
	var rejected *RejectedError
	if !errors.As(err, &rejected) {
		return false
	}
	switch rejected.Code {
	case ResourceNotFound, InvalidStateTransition, TerminalStateReached:
		return true
	}
	return false
}

// stepMinutes returns the step time-out for a request.
func (r *Runner) stepMinutes() int64 {
	return int64((r.options.StepTimeout + time.Minute - 1) / time.Minute)
}

// renewal returns how often the step time-out is renewed. 0: there is none.
func (r *Runner) renewal() time.Duration {
	return time.Duration(r.stepMinutes()) * time.Minute / 2
}
