// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"sync"
)

// Handler carries out a job execution. Its error decides the status: nil is
// SUCCEEDED, an error is FAILED with the text of the error as the reason, and
// [Reject], [Fail] and [ErrSuspend] say more.
//
// The context ends when the execution is canceled, with the cause [ErrCanceled],
// and when the runner ends. An execution whose handler returns an error because
// the runner ends stays in progress, and the next runner resumes it.
type Handler func(ctx context.Context, job *Job) error

// Job is a job execution in the hands of a [Handler]. Its methods may be called
// from several goroutines until the handler returns.
type Job struct {
	// Execution is the execution as it was when the handler started.
	Execution
	// Resumed reports that an earlier process started this execution.
	Resumed bool
	// Attempt counts the processes that began this execution and did not survive
	// it, from 1. An execution that was suspended orderly does not count.
	Attempt int

	client *Client
	state  *state
	notify func() // wakes the reporter

	mu         sync.Mutex
	checkpoint []byte
	details    map[string]string // the latest
}

// Decode reads the job document into v.
func (j *Job) Decode(v any) error {
	if err := json.Unmarshal(j.Document, v); err != nil {
		return fmt.Errorf("%w: job document: %w", ErrInvalidPayload, err)
	}
	return nil
}

// Progress reports status details while the execution is in progress. It does
// not wait for the network: if the details change faster than they can be sent,
// only the latest are. They replace those before, and stay for the final status.
// It fails with [ErrInvalidArgument] if the service would refuse them.
func (j *Job) Progress(details map[string]string) error {
	if err := checkDetails(details); err != nil {
		return err
	}
	j.mu.Lock()
	j.details = maps.Clone(details)
	j.mu.Unlock()
	j.notify()
	return nil
}

// Checkpoint returns what was last passed to [Job.SetCheckpoint] for this
// execution, also by an earlier process. Nil if nothing was.
func (j *Job) Checkpoint() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Clone(j.checkpoint)
}

// SetCheckpoint stores data for a handler that resumes this execution. With a
// state file it returns when the data is on stable storage. It fails with
// [ErrState].
func (j *Job) SetCheckpoint(data []byte) error {
	j.mu.Lock()
	j.checkpoint = bytes.Clone(data)
	j.mu.Unlock()
	return j.state.put(j.record(started))
}

// Refresh fetches the job document again. Presigned URLs in it are new then.
func (j *Job) Refresh(ctx context.Context) (json.RawMessage, error) {
	e, err := j.client.Describe(ctx, j.JobID, &DescribeRequest{ExecutionNumber: j.ExecutionNumber})
	if err != nil {
		return nil, err
	}
	return e.Document, nil
}

// record returns what the state file has to know.
func (j *Job) record(p phase) record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return record{
		JobID: j.JobID, ExecutionNumber: j.ExecutionNumber, QueuedAt: j.QueuedAt.Unix(),
		Phase: p, Attempts: j.Attempt, Checkpoint: j.checkpoint, Details: j.details,
	}
}

func (j *Job) latest() map[string]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.details)
}

// ResultError is an error of a handler that says how the execution ends.
type ResultError struct {
	// Status is [Failed] or [Rejected].
	Status Status
	// Reason becomes the status detail "reason", as far as it has room for it.
	Reason string
	// Details are added to those of [Job.Progress].
	Details map[string]string
}

// Error returns the status and the reason.
func (e *ResultError) Error() string { return "jobs: " + string(e.Status) + ": " + e.Reason }

// Fail makes a handler end with FAILED, which the service may retry.
func Fail(reason string) error { return &ResultError{Status: Failed, Reason: reason} }

// Reject makes a handler end with REJECTED, which the service does not retry.
func Reject(reason string) error { return &ResultError{Status: Rejected, Reason: reason} }

// signature finds the secret part of presigned URLs.
var signature = regexp.MustCompile(`(?i)\?[^\s"'<>]*(x-amz-|signature=)[^\s"'<>]*`)

// reason makes a text fit for a status detail. The text may be the error of a
// library that quotes a URL, so signatures are removed.
func reason(text string) string {
	return firstChars(signature.ReplaceAllString(text, "?(removed)"))
}
