// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// This file is the Jobs service as a backend sees it; jobcalls.go is what devices call.

// JobStatus is the state of a job execution.
type JobStatus string

// States of a job execution. All but the first two are final.
const (
	JobQueued     JobStatus = "QUEUED"
	JobInProgress JobStatus = "IN_PROGRESS"
	JobSucceeded  JobStatus = "SUCCEEDED"
	JobFailed     JobStatus = "FAILED"
	JobTimedOut   JobStatus = "TIMED_OUT"
	JobRejected   JobStatus = "REJECTED"
	JobRemoved    JobStatus = "REMOVED"
	JobCanceled   JobStatus = "CANCELED"
)

func (s JobStatus) pending() bool { return s == JobQueued || s == JobInProgress }

// Job is what [Core.CreateJob] takes.
type Job struct {
	// ID names the job; a random one is made when it is empty.
	ID string
	// Things are the names of the things that have to execute it.
	Things []string
	// Document is the instruction for devices: a JSON object of at most 32,768
	// bytes. Its placeholders ${aws:iot:parameter:NAME} are replaced once,
	// ${aws:iot:s3-presigned-url:URL} whenever a device gets the document, by
	// URL with a new signature in its query.
	Document string
	// Parameters are the values for placeholders.
	Parameters map[string]string
	// Namespace puts the job into a queue of its own, with notifications on
	// notify-namespace-<namespace>.
	Namespace string
	// InProgressTimeout is how long an execution may be in progress; it is then
	// TIMED_OUT. Zero is no limit.
	InProgressTimeout time.Duration
	// PresignedFor is how long presigned URLs are valid, one hour when zero.
	PresignedFor time.Duration
	// Retries is how often a failed or timed-out execution is queued again,
	// with the next execution number.
	Retries int
}

// JobExecution is one attempt of a thing to execute a job.
type JobExecution struct {
	JobID         string
	Thing         string
	Number        int64 // from 1
	Status        JobStatus
	StatusDetails map[string]string // do not modify
	Version       int64             // from 1, plus 1 with each change
	QueuedAt      time.Time
	StartedAt     time.Time // zero: not started
	LastUpdatedAt time.Time
}

// job is a job with its executions.
type job struct {
	Job
	Canceled   bool
	Executions []*execution // in the order in which they were queued
}

type execution struct {
	JobExecution
	Seq          int64     // order in which executions were queued
	StartSeq     int64     // order in which executions were started
	Deadline     time.Time // of the job; zero: none
	StepDeadline time.Time // as the device asked for; zero: none
	job          *job
	alarm        *alarm
}

var (
	jobID         = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	jobNamespace  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	jobParameter  = regexp.MustCompile(`\$\{aws:iot:parameter:([^}]*)\}`)
	jobPresigned  = regexp.MustCompile(`\$\{aws:iot:s3-presigned-url:([^}]*)\}`)
	errNoSuchJob  = &ServiceError{Service: ServiceJobs, Status: 404, Code: "ResourceNotFound", Message: "No such job"}
	errJobRunning = &ServiceError{Service: ServiceJobs, Status: 409, Code: "InvalidStateTransition", Message: "The job has executions in progress; use force"}
)

const maxJobDocument = 32768

// CreateJob queues a job for its things, notifies them, and returns the id of the job.
func (c *Core) CreateJob(j Job) (string, error) {
	setDefault(&j.ID, uuid())
	setDefault(&j.PresignedFor, time.Hour)
	if err := j.check(); err != nil {
		return "", err
	}
	var missing []string
	j.Document = jobParameter.ReplaceAllStringFunc(j.Document, func(s string) string {
		name := jobParameter.FindStringSubmatch(s)[1]
		value, ok := j.Parameters[name]
		if !ok {
			missing = append(missing, name)
		}
		return jsonText(value)
	})
	if len(missing) > 0 {
		return "", fmt.Errorf("iottest: job %s: parameters without a value: %s", j.ID, strings.Join(missing, ", "))
	}
	j.Things = slices.Clone(j.Things)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.device.jobs[j.ID] != nil {
		return "", &ServiceError{Service: ServiceJobs, Status: 409, Code: "ResourceAlreadyExists", Message: "Job " + j.ID + " already exists"}
	}
	if len(c.device.jobs)-len(c.device.jobsFinished) >= c.device.opts.JobMaxOpen {
		return "", &ServiceError{Service: ServiceJobs, Status: 409, Code: "LimitExceeded", Message: "The core keeps no more open jobs: see JobMaxOpen"}
	}
	created := &job{Job: j}
	c.device.jobs[j.ID] = created
	for _, thing := range j.Things {
		c.changeJobs(thing, func() { c.queueExecution(created, thing, 1) }).send(c)
	}
	c.keepJob(created)
	return j.ID, nil
}

// AddJobTarget queues a job for one more thing, as for a new member of the
// group that a continuous job is for.
func (c *Core) AddJobTarget(id, thing string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.device.jobs[id]
	switch {
	case j == nil:
		return errNoSuchJob
	case !thingName.MatchString(thing) || slices.Contains(j.Things, thing):
		return fmt.Errorf("iottest: job %s: thing %q: not a thing name, or a target already", id, thing)
	}
	j.Things = append(j.Things, thing)
	c.changeJobs(thing, func() { c.queueExecution(j, thing, 1) }).send(c)
	c.keepJob(j)
	return nil
}

func (j *Job) check() error {
	switch {
	case !jobID.MatchString(j.ID):
		return fmt.Errorf("iottest: job id %q: want 1 to 64 letters, digits, '-' and '_'", j.ID)
	case len(j.Things) == 0:
		return errors.New("iottest: a job needs a thing")
	case j.Namespace != "" && !jobNamespace.MatchString(j.Namespace):
		return fmt.Errorf("iottest: job %s: namespace %q: want 1 to 64 letters, digits, '-' and '_'", j.ID, j.Namespace)
	case len(j.Document) > maxJobDocument:
		return fmt.Errorf("iottest: job %s: the document has %d bytes, more than %d", j.ID, len(j.Document), maxJobDocument)
	}
	for i, thing := range j.Things {
		if !thingName.MatchString(thing) || slices.Contains(j.Things[:i], thing) {
			return fmt.Errorf("iottest: job %s: thing %q: not a thing name, or named twice", j.ID, thing)
		}
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(j.Document), &object); err != nil {
		return fmt.Errorf("iottest: job %s: the document is not a JSON object: %w", j.ID, err)
	}
	return nil
}

// jsonText is a string as the inside of a JSON string.
func jsonText(s string) string {
	b := encodeJSON(s)
	return string(b[1 : len(b)-1])
}

// document is the job document as a device gets it now.
func (j *job) document(now time.Time) json.RawMessage {
	return json.RawMessage(jobPresigned.ReplaceAllStringFunc(j.Document, func(s string) string {
		url := jobPresigned.FindStringSubmatch(s)[1]
		separator := "?"
		if strings.Contains(url, "?") {
			separator = "&"
		}
		return fmt.Sprintf("%s%sX-Amz-Date=%s&X-Amz-Expires=%d&X-Amz-Signature=%s", url, separator,
			now.UTC().Format("20060102T150405Z"), int(j.PresignedFor.Seconds()), randomHex(32))
	}))
}

// CancelJob cancels the queued executions of a job, with force those in progress, too.
func (c *Core) CancelJob(id string, force bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.device.jobs[id]
	if j == nil {
		return errNoSuchJob
	}
	j.Canceled = true
	for _, e := range slices.Clone(j.Executions) {
		if e.Status == JobQueued || e.Status == JobInProgress && force {
			c.changeJobs(e.Thing, func() { c.setExecution(e, JobCanceled) }).send(c)
		}
	}
	c.keepJob(j)
	return nil
}

// CancelJobExecution cancels the execution of one thing, which may be in
// progress only with force.
func (c *Core) CancelJobExecution(id, thing string, force bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.lastExecution(id, thing)
	switch {
	case e == nil:
		return errNoSuchJob
	case !e.Status.pending() || e.Status == JobInProgress && !force:
		return &ServiceError{Service: ServiceJobs, Status: 409, Code: "InvalidStateTransition",
			Message: "The execution is " + string(e.Status)}
	}
	c.changeJobs(thing, func() { c.setExecution(e, JobCanceled) }).send(c)
	c.keepJob(e.job)
	return nil
}

// DeleteJob removes a job and its executions. With executions in progress it needs force.
func (c *Core) DeleteJob(id string, force bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.device.jobs[id]
	if j == nil {
		return errNoSuchJob
	}
	if !force && slices.ContainsFunc(j.Executions, func(e *execution) bool { return e.Status == JobInProgress }) {
		return errJobRunning
	}
	for _, thing := range j.Things {
		c.changeJobs(thing, func() {
			for _, e := range j.Executions {
				if e.Thing == thing {
					c.cancelAlarm(e.alarm)
					e.Status = JobRemoved
				}
			}
		}).send(c)
	}
	c.forgetJob(j)
	return nil
}

// JobExecutions returns the executions of a thing, those of deleted jobs
// excepted, in the order in which they were queued.
func (c *Core) JobExecutions(thing string) []JobExecution {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*execution
	for _, j := range c.device.jobs {
		for _, e := range j.Executions {
			if e.Thing == thing {
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b *execution) int { return cmp.Compare(a.Seq, b.Seq) })
	out := make([]JobExecution, len(all))
	for i, e := range all {
		out[i] = e.JobExecution
	}
	return out
}

// JobExecution returns the last execution of a job by a thing; ok is false when
// there is none.
func (c *Core) JobExecution(id, thing string) (e JobExecution, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.lastExecution(id, thing)
	if found == nil {
		return JobExecution{}, false
	}
	return found.JobExecution, true
}

func (c *Core) lastExecution(id, thing string) *execution {
	j := c.device.jobs[id]
	if j == nil {
		return nil
	}
	for _, e := range slices.Backward(j.Executions) {
		if e.Thing == thing {
			return e
		}
	}
	return nil
}

// queueExecution queues an execution. c.mu is held, within changeJobs.
func (c *Core) queueExecution(j *job, thing string, number int64) {
	now := c.nowLocked()
	c.device.jobSeq++
	e := &execution{job: j, Seq: c.device.jobSeq, JobExecution: JobExecution{
		JobID: j.ID, Thing: thing, Number: number, Status: JobQueued, Version: 1, QueuedAt: now, LastUpdatedAt: now,
	}}
	j.Executions = append(j.Executions, e)
	c.emitExecution(e)
}

// setExecution changes the state of an execution and its timers, and queues a
// retry. c.mu is held, within changeJobs.
func (c *Core) setExecution(e *execution, status JobStatus) {
	now := c.nowLocked()
	if status == JobInProgress && e.StartedAt.IsZero() {
		c.device.jobSeq++
		e.StartedAt, e.StartSeq = now, c.device.jobSeq
		if e.job.InProgressTimeout > 0 {
			e.Deadline = now.Add(e.job.InProgressTimeout)
		}
	}
	e.Status, e.LastUpdatedAt = status, now
	e.Version++
	if !status.pending() {
		e.Deadline, e.StepDeadline = time.Time{}, time.Time{}
	}
	c.armExecution(e)
	c.emitExecution(e)
	if retry := status == JobFailed || status == JobTimedOut; retry && !e.job.Canceled && e.Number <= int64(e.job.Retries) {
		c.queueExecution(e.job, e.Thing, e.Number+1)
	}
}

func (c *Core) emitExecution(e *execution) {
	c.emitService(ServiceChanged, &ServiceEvent{Service: ServiceJobs, Thing: e.Thing, Key: e.JobID, Status: string(e.Status)}, nil, nil)
}

// expires is when an execution times out, zero if never.
func (e *execution) expires() time.Time {
	if e.Deadline.IsZero() || !e.StepDeadline.IsZero() && e.StepDeadline.Before(e.Deadline) {
		return e.StepDeadline
	}
	return e.Deadline
}

// armExecution sets the alarm for the time-out of an execution.
func (c *Core) armExecution(e *execution) {
	c.cancelAlarm(e.alarm)
	e.alarm = nil
	if at := e.expires(); !at.IsZero() {
		e.alarm = c.alarmAt(at, func() {
			c.changeJobs(e.Thing, func() { c.setExecution(e, JobTimedOut) }).send(c)
			c.keepJob(e.job)
		})
	}
}

// pendingJobs is the queue of a thing and a namespace: what is in progress
// first, in the order in which it was started, then what is queued.
func (c *Core) pendingJobs(thing, namespace string) []*execution {
	var pending []*execution
	for _, j := range c.device.jobs {
		if j.Namespace != namespace && (namespace != "" || !c.device.opts.JobNamespacesInDefault) {
			continue
		}
		for _, e := range j.Executions {
			if e.Thing == thing && e.Status.pending() {
				pending = append(pending, e)
			}
		}
	}
	slices.SortFunc(pending, func(a, b *execution) int {
		if a.Status != b.Status {
			return cmp.Compare(a.Status, b.Status) // IN_PROGRESS is before QUEUED
		}
		return cmp.Or(cmp.Compare(a.StartSeq, b.StartSeq), cmp.Compare(a.Seq, b.Seq))
	})
	return pending
}

// jobNotices are notifications that a change of the jobs of a thing leads to.
type jobNotices struct {
	thing   string
	answers []answer
}

func (n jobNotices) send(c *Core) {
	for _, a := range n.answers {
		c.answer(&request{ServiceEvent: ServiceEvent{Service: ServiceJobs, Thing: n.thing}}, a)
	}
}

// changeJobs runs change and returns the notifications to send: notify when an
// execution entered or left the queue, notify-next when another one is the
// first. c.mu is held.
func (c *Core) changeJobs(thing string, change func()) jobNotices {
	type view struct {
		members map[*execution]bool
		head    *execution
	}
	look := func(namespace string) view {
		v := view{members: map[*execution]bool{}}
		for i, e := range c.pendingJobs(thing, namespace) {
			v.members[e] = true
			if i == 0 {
				v.head = e
			}
		}
		return v
	}
	namespaces := map[string]bool{"": true}
	for _, j := range c.device.jobs {
		namespaces[j.Namespace] = true
	}
	before := map[string]view{}
	for namespace := range namespaces {
		before[namespace] = look(namespace)
	}
	change()
	notices := jobNotices{thing: thing}
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		after, suffix := look(namespace), ""
		if namespace != "" {
			suffix = "-namespace-" + namespace
		}
		prefix := "$aws/things/" + thing + "/jobs/"
		if !maps.Equal(before[namespace].members, after.members) {
			notices.answers = append(notices.answers,
				answer{operation: "notify", topic: prefix + "notify" + suffix, payload: c.notifyBody(thing, namespace)})
		}
		if before[namespace].head != after.head {
			notices.answers = append(notices.answers,
				answer{operation: "notify-next", topic: prefix + "notify-next" + suffix, payload: c.notifyNextBody(after.head)})
		}
	}
	return notices
}

// maxNotified is how many executions a notification lists.
const maxNotified = 10

func (c *Core) notifyBody(thing, namespace string) []byte {
	jobs := map[JobStatus][]map[string]any{}
	for i, e := range c.pendingJobs(thing, namespace) {
		if i == maxNotified {
			break
		}
		jobs[e.Status] = append(jobs[e.Status], e.summary())
	}
	return encodeJSON(map[string]any{"jobs": jobs, "timestamp": c.nowLocked().Unix()})
}

func (c *Core) notifyNextBody(head *execution) []byte {
	body := map[string]any{"timestamp": c.nowLocked().Unix()}
	if head != nil {
		body["execution"] = c.describeExecution(head, true, false)
	}
	return encodeJSON(body)
}

const bucketJobs = "jobs"

// keepJob stores a job for the next start. If it is finished, it may be the
// turn of another one to be forgotten. It is called after each change. c.mu is
// held.
func (c *Core) keepJob(j *job) {
	c.state.put(bucketJobs, j.ID, j)
	c.countFinished(j)
}

// countFinished puts a job that has no pending executions to the end of the
// finished ones.
func (c *Core) countFinished(j *job) {
	d := &c.device
	d.jobsFinished = slices.DeleteFunc(d.jobsFinished, func(f *job) bool { return f == j })
	if slices.ContainsFunc(j.Executions, func(e *execution) bool { return e.Status.pending() }) {
		return
	}
	d.jobsFinished = append(d.jobsFinished, j)
	if len(d.jobsFinished) > d.opts.JobMaxFinished {
		c.forgetJob(d.jobsFinished[0])
	}
}

// forgetJob removes a job that no device works on.
func (c *Core) forgetJob(j *job) {
	d := &c.device
	d.jobsFinished = slices.DeleteFunc(d.jobsFinished, func(f *job) bool { return f == j })
	delete(d.jobs, j.ID)
	c.state.remove(bucketJobs, j.ID)
}

// changedAt is when an execution of the job changed last.
func (j *job) changedAt() time.Time {
	var last time.Time
	for _, e := range j.Executions {
		if e.LastUpdatedAt.After(last) {
			last = e.LastUpdatedAt
		}
	}
	return last
}

// loadJobs restores the jobs of the last run.
func (c *Core) loadJobs() error {
	var all []*job
	err := c.state.load(bucketJobs, func(id string, raw []byte) error {
		j := &job{}
		if err := json.Unmarshal(raw, j); err != nil {
			return err
		}
		all = append(all, j)
		c.device.jobs[id] = j
		for _, e := range j.Executions {
			e.job = j
			c.device.jobSeq = max(c.device.jobSeq, e.Seq, e.StartSeq)
			c.armExecution(e)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b *job) int { return a.changedAt().Compare(b.changedAt()) })
	for _, j := range all {
		c.countFinished(j)
	}
	return err
}
