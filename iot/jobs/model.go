// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Status is the status of a job execution.
type Status string

// The statuses. A device may set InProgress, Succeeded, Failed and Rejected; the
// service sets the others. The service may retry what Failed or TimedOut, and
// never what is Rejected.
const (
	Queued     Status = "QUEUED"
	InProgress Status = "IN_PROGRESS"
	Succeeded  Status = "SUCCEEDED"
	Failed     Status = "FAILED"
	TimedOut   Status = "TIMED_OUT"
	Rejected   Status = "REJECTED"
	Removed    Status = "REMOVED"
	Canceled   Status = "CANCELED"
)

// Terminal reports whether an execution with this status is over.
func (s Status) Terminal() bool { return s != Queued && s != InProgress }

// Time is a point in time as the service writes it: a number of seconds since
// the epoch. Numbers above 1e11 are read as milliseconds.
type Time struct{ time.Time }

// UnmarshalJSON reads a number. Null leaves the time as it is.
func (t *Time) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	n, err := strconv.ParseFloat(string(data), 64)
	if err != nil || math.Abs(n) > 1e15 {
		return fmt.Errorf("jobs: %.40q is not a time", data)
	}
	if math.Abs(n) > 1e11 {
		n /= 1000
	}
	whole, fraction := math.Modf(n)
	t.Time = time.Unix(int64(whole), int64(fraction*1e9)).UTC()
	return nil
}

// MarshalJSON writes whole seconds, and null for the zero time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, t.Unix(), 10), nil
}

// Execution is a job execution: one run of a job on one thing.
type Execution struct {
	JobID     string `json:"jobId"`
	ThingName string `json:"thingName"`
	// Document is the job document, a JSON object. Nil if it was not asked for.
	Document      json.RawMessage   `json:"jobDocument"`
	Status        Status            `json:"status"`
	StatusDetails map[string]string `json:"statusDetails"`
	QueuedAt      Time              `json:"queuedAt"`
	StartedAt     Time              `json:"startedAt"`
	LastUpdatedAt Time              `json:"lastUpdatedAt"`
	// VersionNumber increases with each update of this execution, from 1.
	VersionNumber int64 `json:"versionNumber"`
	// ExecutionNumber counts the runs of one job on one thing, from 1.
	ExecutionNumber int64 `json:"executionNumber"`
	// ApproximateSecondsBeforeTimedOut is nil if no time-out applies.
	ApproximateSecondsBeforeTimedOut *int64 `json:"approximateSecondsBeforeTimedOut"`
}

// Summary identifies an execution without its document.
type Summary struct {
	JobID           string `json:"jobId"`
	QueuedAt        Time   `json:"queuedAt"`
	StartedAt       Time   `json:"startedAt"`
	LastUpdatedAt   Time   `json:"lastUpdatedAt"`
	VersionNumber   int64  `json:"versionNumber"`
	ExecutionNumber int64  `json:"executionNumber"`
}

// ExecutionState is the part of an execution that updates change.
type ExecutionState struct {
	Status        Status            `json:"status"`
	StatusDetails map[string]string `json:"statusDetails"`
	VersionNumber int64             `json:"versionNumber"`
}

// Pending lists the executions that are not over, at most ten of each kind.
type Pending struct {
	InProgress []Summary `json:"inProgressJobs"`
	Queued     []Summary `json:"queuedJobs"`
	Timestamp  Time      `json:"timestamp"`
}

// StartNextRequest has the optional fields of [Client.StartNext].
type StartNextRequest struct {
	// StatusDetails are set if the execution was queued before. Nil: none.
	StatusDetails map[string]string `json:"statusDetails,omitempty"`
	// StepTimeoutMinutes sets the step timer, 1 to 10080; -1 cancels it. 0
	// leaves it as it is.
	StepTimeoutMinutes int64 `json:"stepTimeoutInMinutes,omitempty"`
}

// DescribeRequest has the optional fields of [Client.Describe].
type DescribeRequest struct {
	// ExecutionNumber selects a run. 0: the latest.
	ExecutionNumber int64 `json:"executionNumber,omitempty"`
	// WithoutDocument leaves the job document out.
	WithoutDocument bool `json:"-"`
}

// UpdateRequest is what [Client.Update] changes.
type UpdateRequest struct {
	// Status is required: [InProgress], [Succeeded], [Failed] or [Rejected].
	Status Status `json:"status"`
	// StatusDetails replace those of the execution. Nil leaves them.
	StatusDetails map[string]string `json:"statusDetails,omitempty"`
	// ExpectedVersion is compared with that of the execution; they differ if
	// somebody else changed it. 0: not compared.
	ExpectedVersion int64 `json:"expectedVersion,omitempty"`
	// ExecutionNumber selects a run. 0: the latest.
	ExecutionNumber int64 `json:"executionNumber,omitempty"`
	// IncludeExecutionState and IncludeDocument ask for fields of [UpdateResult].
	IncludeExecutionState bool `json:"includeJobExecutionState,omitempty"`
	IncludeDocument       bool `json:"includeJobDocument,omitempty"`
	// StepTimeoutMinutes sets the step timer, 1 to 10080; -1 cancels it. 0
	// leaves it as it is.
	StepTimeoutMinutes int64 `json:"stepTimeoutInMinutes,omitempty"`
}

// UpdateResult is the answer to an update.
type UpdateResult struct {
	ExecutionState *ExecutionState `json:"executionState"`
	Document       json.RawMessage `json:"jobDocument"`
	Timestamp      Time            `json:"timestamp"`
}

// ExecutionsChanged is the notification that an execution was added to or
// removed from those that are pending.
type ExecutionsChanged struct {
	// Jobs has the pending executions by status, and is empty if there are none.
	Jobs      map[Status][]Summary `json:"jobs"`
	Timestamp Time                 `json:"timestamp"`
}

// NextExecutionChanged is the notification that another execution is the next.
type NextExecutionChanged struct {
	// Execution is nil if none is pending.
	Execution *Execution `json:"execution"`
	Timestamp Time       `json:"timestamp"`
}
