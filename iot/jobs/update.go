// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"context"
	"errors"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// maxMismatches is how many version mismatches in a row one update follows.
const maxMismatches = 5

// send sends the update that is due. It reports false if that has to be repeated
// later, or if the execution is lost.
func (x *run) send(ctx context.Context) bool {
	for range maxMismatches {
		result, err := x.runner.client.Update(ctx, x.job.JobID, x.request())
		if err == nil {
			x.version++
			if s := result.ExecutionState; s != nil {
				x.version = s.VersionNumber
			}
			x.dirty, x.failures = false, 0
			return true
		}
		switch x.judge(err) {
		case verdictDone:
			x.dirty, x.failures = false, 0
			return true
		case verdictLost:
			x.lost = true
			return false
		case verdictLater:
			x.failures++
			if ctx.Err() == nil {
				x.event(Event{Type: EventError, Err: err})
			}
			return false
		case verdictAgain:
		}
	}
	x.failures++
	return false
}

// request returns the update that is due.
func (x *run) request() *UpdateRequest {
	u := &UpdateRequest{
		Status: InProgress, ExpectedVersion: x.version, ExecutionNumber: x.job.ExecutionNumber,
		IncludeExecutionState: true, StepTimeoutMinutes: x.runner.stepMinutes(),
	}
	if x.final == nil {
		u.StatusDetails = x.job.latest()
		return u
	}
	u.Status, u.StepTimeoutMinutes = x.final.status, 0
	if !x.trimmed {
		u.StatusDetails = x.final.details
	}
	return u
}

// verdict is what to do after an update failed.
type verdict uint8

const (
	verdictLater verdict = iota // the outcome is unknown, or the service is busy
	verdictAgain                // the request was adapted
	verdictDone                 // there is nothing to do
	verdictLost                 // the execution belongs to nobody any more
)

func (x *run) judge(err error) verdict {
	var invalid *mqtt5.ValidationError
	if errors.As(err, &invalid) { // too large for a message
		return x.refused(err)
	}
	var rejected *RejectedError
	if !errors.As(err, &rejected) {
		return verdictLater
	}
	wanted := InProgress
	if x.final != nil {
		wanted = x.final.status
	}
	switch rejected.Code {
	case VersionMismatch, InvalidStateTransition:
		switch s := rejected.State; {
		case s == nil && rejected.Code == VersionMismatch:
			x.version = 0 // do not compare
			return verdictAgain
		case s == nil:
			return verdictLost
		case s.Status == InProgress && rejected.Code == VersionMismatch:
			// An earlier update whose answer was lost, or somebody else's.
			x.version = s.VersionNumber
			return verdictAgain
		case x.final != nil && s.Status == wanted: // an earlier one whose answer was lost
			return verdictDone
		default:
			return verdictLost
		}
	case ResourceNotFound, TerminalStateReached:
		return verdictLost
	case InternalError, RequestThrottled:
		return verdictLater
	default: // the service does not like the request, and never will
		return x.refused(err)
	}
}

// refused drops the details of an update that cannot be sent or accepted.
func (x *run) refused(err error) verdict {
	x.event(Event{Type: EventError, Err: err})
	if x.final != nil && !x.trimmed {
		x.trimmed = true
		return verdictAgain
	}
	return verdictDone
}

// isLost asks the service whether the execution is still in progress.
func (x *run) isLost(ctx context.Context) bool {
	e, err := x.runner.client.Describe(ctx, x.job.JobID, &DescribeRequest{WithoutDocument: true, ExecutionNumber: x.job.ExecutionNumber})
	if err != nil {
		return gone(err)
	}
	return e.Status.Terminal() || e.ExecutionNumber != x.job.ExecutionNumber
}
