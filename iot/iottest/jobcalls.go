// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// This file is the Jobs service as devices see it, on $aws/things/<thing>/jobs/
// and over HTTPS.

// Operations of the jobs service on devices.
const (
	opPendingJobs = "get"
	opStartNext   = "start-next"
	opDescribeJob = "describe"
	opUpdateJob   = "update"
)

// jobCall is a parsed request.
type jobCall struct {
	id        string // job id or "$next"
	namespace string
	overHTTP  bool

	token               json.RawMessage
	status              JobStatus
	details             map[string]string // nil: not given
	expectedVersion     *int64
	executionNumber     *int64
	stepTimeout         *int64 // minutes
	includeDocument     *bool
	includeStateInReply bool
}

func jobError(code, format string, args ...any) *ServiceError {
	status := map[string]int{"ResourceNotFound": 404, "VersionMismatch": 409, "InvalidStateTransition": 409, "TerminalStateReached": 410,
		"RequestThrottled": 429, "InternalError": 500}[code]
	setDefault(&status, 400)
	return &ServiceError{Service: ServiceJobs, Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// handleJobs handles a message on $aws/things/<thing>/jobs/; levels is what follows.
func (c *Core) handleJobs(r *request, levels []string) {
	last := levels[len(levels)-1]
	if last == "accepted" || last == "rejected" || strings.HasPrefix(levels[0], "notify") {
		return // topics of answers
	}
	r.Service = ServiceJobs
	call := &jobCall{}
	// A namespace is a level of its own: $next/namespace-<namespace>/get.
	if n := len(levels) - 2; n >= 0 {
		if namespace, ok := strings.CutPrefix(levels[n], "namespace-"); ok {
			call.namespace = namespace
			levels = append(levels[:n:n], last)
		}
	}
	switch {
	case len(levels) == 1 && last == opPendingJobs, len(levels) == 1 && last == opStartNext:
		r.Operation = last
	case len(levels) == 2 && last == "get":
		r.Operation, r.Key, call.id = opDescribeJob, levels[0], levels[0]
	case len(levels) == 2 && last == opUpdateJob:
		r.Operation, r.Key, call.id = opUpdateJob, levels[0], levels[0]
	}
	err, answered := c.admit(r)
	if !answered {
		c.received(r, nil)
		return
	}
	body, notices, err := c.callJobs(r, call, err)
	c.received(r, err)
	a := answer{operation: r.Operation, topic: r.topic + "/accepted", only: r.from, subscribed: c.device.opts.JobAnswersNeedSubscription}
	if err != nil {
		a.topic = r.topic + "/rejected"
		body = map[string]any{"code": err.Code, "message": err.Message}
		maps.Copy(body, err.more)
	}
	body["timestamp"] = c.nowLocked().Unix()
	if call.token != nil {
		body["clientToken"] = call.token
	}
	a.payload = encodeJSON(body)
	c.answer(r, a)
	notices.send(c)
}

// callJobs parses and carries out a request, unless it is rejected already.
func (c *Core) callJobs(r *request, call *jobCall, rejected *ServiceError) (map[string]any, jobNotices, *ServiceError) {
	var none jobNotices
	err := call.parse(r)
	if rejected != nil {
		err = rejected
	}
	if err != nil {
		return nil, none, err
	}
	switch r.Operation {
	case opPendingJobs:
		return c.listPendingJobs(r.Thing, call), none, nil
	case opStartNext:
		body, notices := c.startNext(r.Thing, call)
		return body, notices, nil
	case opDescribeJob:
		body, err := c.describeJob(r.Thing, call)
		return body, none, err
	case opUpdateJob:
		return c.updateJob(r.Thing, call)
	}
	return nil, none, jobError("InvalidTopic", "Topic %s is not valid", r.topic)
}

var (
	detailKey    = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)
	deviceMaySet = map[JobStatus]bool{JobInProgress: true, JobSucceeded: true, JobFailed: true, JobRejected: true}
)

const maxStepMinutes = 10080

// looseInt is an integer that may also be written as a string, as in samples of
// the documentation.
type looseInt int64

func (i *looseInt) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	if err != nil {
		return fmt.Errorf("not an integer: %w", err)
	}
	*i = looseInt(n)
	return nil
}

// parse reads the payload and checks all that can be checked without knowing the job.
func (call *jobCall) parse(r *request) *ServiceError {
	var body struct {
		ClientToken              *string           `json:"clientToken"`
		Status                   *string           `json:"status"`
		StatusDetails            map[string]string `json:"statusDetails"`
		ExpectedVersion          *looseInt         `json:"expectedVersion"`
		ExecutionNumber          *looseInt         `json:"executionNumber"`
		StepTimeoutInMinutes     *looseInt         `json:"stepTimeoutInMinutes"`
		IncludeJobExecutionState bool              `json:"includeJobExecutionState"`
		IncludeJobDocument       *bool             `json:"includeJobDocument"`
	}
	payload := bytes.TrimSpace(r.payload)
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if payload[0] != '{' || !validJSON(payload) {
		return jobError("InvalidJson", "The payload is not a JSON object in UTF-8")
	}
	err := json.Unmarshal(payload, &body)
	if body.ClientToken != nil && (err == nil || *body.ClientToken != "") { // it is empty if it was no string
		call.token = encodeJSON(*body.ClientToken)
	}
	if err != nil {
		return jobError("InvalidRequest", "A field has the wrong type")
	}
	call.details = body.StatusDetails
	call.expectedVersion, call.executionNumber = (*int64)(body.ExpectedVersion), (*int64)(body.ExecutionNumber)
	call.stepTimeout, call.includeDocument = (*int64)(body.StepTimeoutInMinutes), body.IncludeJobDocument
	call.includeStateInReply = body.IncludeJobExecutionState
	if call.token != nil && len(*body.ClientToken) > 64 {
		call.token = nil
		return jobError("InvalidRequest", "clientToken is longer than 64 bytes")
	}
	if r.Key != "" && !jobID.MatchString(r.Key) && (r.Key != "$next" || r.Operation == opUpdateJob) {
		return jobError("InvalidRequest", "Job id %q is not valid", r.Key)
	}
	if t := call.stepTimeout; t != nil && *t != -1 && (*t < 1 || *t > maxStepMinutes) {
		return jobError("InvalidRequest", "stepTimeoutInMinutes must be -1 or 1 to %d", maxStepMinutes)
	}
	for key, value := range call.details {
		if n := utf8.RuneCountInString(value); !detailKey.MatchString(key) || n == 0 || n > 1024 {
			return jobError("InvalidRequest", "statusDetails: a key or value is not valid")
		}
	}
	if r.Operation == opUpdateJob {
		if body.Status == nil {
			return jobError("InvalidRequest", "status is required")
		}
		if call.status = JobStatus(*body.Status); !deviceMaySet[call.status] {
			return jobError("InvalidRequest", "A device cannot set status %q", *body.Status)
		}
	}
	return nil
}

func (c *Core) listPendingJobs(thing string, call *jobCall) map[string]any {
	running, queued := []map[string]any{}, []map[string]any{}
	for _, e := range c.pendingJobs(thing, call.namespace) {
		if e.Status == JobInProgress {
			running = append(running, e.summary())
		} else {
			queued = append(queued, e.summary())
		}
	}
	return map[string]any{"inProgressJobs": running, "queuedJobs": queued}
}

// startNext returns the execution in progress, or starts the one queued first.
func (c *Core) startNext(thing string, call *jobCall) (map[string]any, jobNotices) {
	pending := c.pendingJobs(thing, call.namespace)
	if len(pending) == 0 {
		return map[string]any{}, jobNotices{}
	}
	var notices jobNotices
	e := pending[0]
	if e.Status == JobQueued {
		notices = c.changeJobs(thing, func() {
			e.setDetails(call)
			c.setStepTimeout(e, call)
			c.setExecution(e, JobInProgress)
		})
		c.keepJob(e.job)
	}
	return map[string]any{"execution": c.describeExecution(e, true, call.overHTTP)}, notices
}

// setDetails replaces the details of an execution, which are never modified.
func (e *execution) setDetails(call *jobCall) {
	if call.details != nil {
		e.StatusDetails = call.details
	}
}

// setStepTimeout starts a new step timer, which replaces the one before, or
// ends it with -1.
func (c *Core) setStepTimeout(e *execution, call *jobCall) {
	switch t := call.stepTimeout; {
	case t == nil:
	case *t > 0:
		e.StepDeadline = c.nowLocked().Add(time.Duration(*t) * time.Minute)
	default:
		e.StepDeadline = time.Time{}
	}
}

func (c *Core) findExecution(thing string, call *jobCall) *execution {
	e := c.lastExecution(call.id, thing)
	if e == nil || call.executionNumber == nil {
		return e
	}
	for _, other := range e.job.Executions {
		if other.Thing == thing && other.Number == *call.executionNumber {
			return other
		}
	}
	return nil
}

func (c *Core) describeJob(thing string, call *jobCall) (map[string]any, *ServiceError) {
	include := !call.overHTTP
	if call.includeDocument != nil {
		include = *call.includeDocument
	}
	if call.id == "$next" {
		body := map[string]any{}
		if pending := c.pendingJobs(thing, call.namespace); len(pending) > 0 {
			body["execution"] = c.describeExecution(pending[0], include, call.overHTTP)
		}
		return body, nil
	}
	e := c.findExecution(thing, call)
	switch {
	case e == nil:
		return nil, jobError("ResourceNotFound", "Job %s does not exist for thing %s", call.id, thing)
	case !e.Status.pending():
		return nil, jobError("TerminalStateReached", "Execution %d of job %s is %s", e.Number, e.JobID, e.Status)
	}
	return map[string]any{"execution": c.describeExecution(e, include, call.overHTTP)}, nil
}

func (c *Core) updateJob(thing string, call *jobCall) (map[string]any, jobNotices, *ServiceError) {
	var none jobNotices
	e := c.findExecution(thing, call)
	switch {
	case e == nil:
		return nil, none, jobError("ResourceNotFound", "Job %s does not exist for thing %s", call.id, thing)
	case call.expectedVersion != nil && *call.expectedVersion != e.Version:
		err := jobError("VersionMismatch", "Expected version %d but found version %d", *call.expectedVersion, e.Version)
		err.more = map[string]any{"executionState": e.state()}
		return nil, none, err
	case !e.Status.pending():
		err := jobError("InvalidStateTransition", "The execution is %s and cannot become %s", e.Status, call.status)
		err.more = map[string]any{"executionState": e.state()}
		return nil, none, err
	}
	notices := c.changeJobs(thing, func() {
		e.setDetails(call)
		c.setStepTimeout(e, call)
		c.setExecution(e, call.status)
	})
	c.keepJob(e.job)
	body := map[string]any{}
	if call.includeStateInReply {
		body["executionState"] = e.state()
	}
	if call.includeDocument != nil && *call.includeDocument {
		body["jobDocument"] = c.jobDocument(e, call.overHTTP)
	}
	return body, notices, nil
}

// jobDocument is an object over MQTT and a string over HTTP.
func (c *Core) jobDocument(e *execution, overHTTP bool) any {
	document := e.job.document(c.nowLocked())
	if overHTTP {
		return string(document)
	}
	return document
}

// summary is an execution within a list.
func (e *execution) summary() map[string]any {
	s := map[string]any{"jobId": e.JobID, "queuedAt": e.QueuedAt.Unix(), "lastUpdatedAt": e.LastUpdatedAt.Unix(),
		"versionNumber": e.Version, "executionNumber": e.Number}
	if !e.StartedAt.IsZero() {
		s["startedAt"] = e.StartedAt.Unix()
	}
	return s
}

// state is an execution within the answer to an update.
func (e *execution) state() map[string]any {
	s := map[string]any{"status": e.Status, "versionNumber": e.Version}
	if len(e.StatusDetails) > 0 {
		s["statusDetails"] = e.StatusDetails
	}
	return s
}

// describeExecution is an execution with all that is known of it.
func (c *Core) describeExecution(e *execution, document, overHTTP bool) map[string]any {
	s := e.summary()
	maps.Copy(s, e.state())
	s["thingName"] = e.Thing
	if document {
		s["jobDocument"] = c.jobDocument(e, overHTTP)
	}
	if at := e.expires(); !at.IsZero() {
		s["approximateSecondsBeforeTimedOut"] = max(0, int64(at.Sub(c.nowLocked()).Seconds()))
	}
	return s
}

// GetPendingJobExecutions returns the queue of a thing as the data plane does
// over HTTPS. Errors of this and the next three methods are of type
// [*ServiceError].
func (c *Core) GetPendingJobExecutions(thing string) ([]byte, error) {
	return c.callJobsHTTP(opPendingJobs, thing, "", nil)
}

// StartNextPendingJobExecution carries out the request of that name, whose body
// may be empty. Over HTTPS the job document is a string.
func (c *Core) StartNextPendingJobExecution(thing string, body []byte) ([]byte, error) {
	return c.callJobsHTTP(opStartNext, thing, "", body)
}

// DescribeJobExecution carries out the request of that name. body is a JSON
// object with executionNumber and includeJobDocument, which are query
// parameters over HTTPS; it may be empty. jobID may be "$next".
func (c *Core) DescribeJobExecution(thing, jobID string, body []byte) ([]byte, error) {
	return c.callJobsHTTP(opDescribeJob, thing, jobID, body)
}

// UpdateJobExecution carries out the request of that name.
func (c *Core) UpdateJobExecution(thing, jobID string, body []byte) ([]byte, error) {
	return c.callJobsHTTP(opUpdateJob, thing, jobID, body)
}

func (c *Core) callJobsHTTP(operation, thing, id string, body []byte) ([]byte, error) {
	r := &request{payload: body}
	r.ServiceEvent = ServiceEvent{Service: ServiceJobs, Operation: operation, Thing: thing, Key: id}
	c.mu.Lock()
	defer c.mu.Unlock()
	err, answered := c.admit(r)
	if !answered {
		err = jobError("InternalError", "Internal error")
	}
	out, notices, err := c.callJobs(r, &jobCall{id: id, overHTTP: true}, err)
	c.received(r, err)
	if err != nil {
		return nil, err
	}
	notices.send(c)
	return encodeJSON(out), nil
}
