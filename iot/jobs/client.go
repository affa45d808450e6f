// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// Options configure a [Client]. The zero value is the default.
type Options struct {
	// Namespace limits notifications, Describe and Update to the jobs of a
	// namespace, such as "aws-gg-deployment". Empty: the jobs without one.
	Namespace string
	// Timeout limits each request. 0: that of the request client.
	Timeout time.Duration
}

// Client calls the operations of the Jobs service for one thing. Its methods may
// be called from several goroutines.
type Client struct {
	requests *request.Client
	topics   topics
	thing    string
	timeout  time.Duration
}

// NewClient returns a client for the jobs of a thing. It subscribes to nothing
// until it is used. It fails with [ErrInvalidArgument].
func NewClient(requests *request.Client, thing string, options Options) (*Client, error) {
	if requests == nil {
		return nil, fmt.Errorf("%w: the request client is nil", ErrInvalidArgument)
	}
	if options.Timeout < 0 {
		return nil, fmt.Errorf("%w: Options.Timeout is negative", ErrInvalidArgument)
	}
	t, err := newTopics(thing, options.Namespace)
	if err != nil {
		return nil, err
	}
	return &Client{requests: requests, topics: t, thing: thing, timeout: options.Timeout}, nil
}

// ThingName returns the name of the thing.
func (c *Client) ThingName() string { return c.thing }

// GetPending lists the executions that are queued or in progress
// (GetPendingJobExecutions). Namespaces do not apply.
//
// Like the other calls it fails with a [*RejectedError] if the service rejected
// the request, with [ErrInvalidPayload] if the answer cannot be read, and with
// the errors of [request.Client.Do].
func (c *Client) GetPending(ctx context.Context) (*Pending, error) {
	var answer Pending
	err := c.call(ctx, call{operation: "GetPendingJobExecutions", topic: c.topics.getPending(), repeat: true}, struct{}{}, &answer)
	if err != nil {
		return nil, err
	}
	return &answer, nil
}

// StartNext starts the next pending execution and returns it
// (StartNextPendingJobExecution). If one is in progress already, it returns that
// one unchanged. It fails with [ErrNoExecution] if none is pending. A nil request
// is an empty one. Namespaces do not apply.
func (c *Client) StartNext(ctx context.Context, r *StartNextRequest) (*Execution, error) {
	if r == nil {
		r = &StartNextRequest{}
	}
	if err := checkDetails(r.StatusDetails); err != nil {
		return nil, err
	}
	return c.execution(ctx, call{operation: "StartNextPendingJobExecution", topic: c.topics.startNext(), repeat: true}, r)
}

// Describe returns an execution (DescribeJobExecution). [NextJobID] stands for
// the next pending one; it fails with [ErrNoExecution] if there is none. A nil
// request is an empty one.
func (c *Client) Describe(ctx context.Context, jobID string, r *DescribeRequest) (*Execution, error) {
	if jobID != NextJobID && !jobIDs.MatchString(jobID) {
		return nil, fmt.Errorf("%w: job id %q", ErrInvalidArgument, jobID)
	}
	if r == nil {
		r = &DescribeRequest{}
	}
	body := struct {
		*DescribeRequest
		IncludeDocument bool `json:"includeJobDocument"`
	}{r, !r.WithoutDocument}
	return c.execution(ctx, c.executionCall("DescribeJobExecution", jobID, "get"), body)
}

// Update changes the status of an execution (UpdateJobExecution). The errors
// have the present state after the codes [VersionMismatch] and
// [InvalidStateTransition].
func (c *Client) Update(ctx context.Context, jobID string, r *UpdateRequest) (*UpdateResult, error) {
	if !jobIDs.MatchString(jobID) {
		return nil, fmt.Errorf("%w: job id %q", ErrInvalidArgument, jobID)
	}
	if r == nil || r.Status == "" {
		return nil, fmt.Errorf("%w: an update needs a status", ErrInvalidArgument)
	}
	if err := checkDetails(r.StatusDetails); err != nil {
		return nil, err
	}
	var answer UpdateResult
	k := c.executionCall("UpdateJobExecution", jobID, "update")
	k.repeat = false
	if err := c.call(ctx, k, r, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// call describes one kind of request.
type call struct {
	operation string
	jobID     string
	topic     string
	filter    string // of the answers; empty: topic and one more level
	repeat    bool   // without harm
}

// executionCall returns the call for an operation on one execution. One filter
// serves all executions: subscriptions are scarce.
func (c *Client) executionCall(operation, jobID, topic string) call {
	return call{
		operation: operation, jobID: jobID, repeat: true,
		topic: c.topics.execution(jobID, topic), filter: c.topics.execution("+", topic) + "/+",
	}
}

func (c *Client) execution(ctx context.Context, k call, body any) (*Execution, error) {
	var answer struct {
		Execution *Execution `json:"execution"`
	}
	if err := c.call(ctx, k, body, &answer); err != nil {
		return nil, err
	}
	if answer.Execution == nil || answer.Execution.JobID == "" { // the service answers {} as well
		return nil, ErrNoExecution
	}
	if !jobIDs.MatchString(answer.Execution.JobID) { // nothing could be reported about it
		return nil, fmt.Errorf("%w: job id %.80q", ErrInvalidPayload, answer.Execution.JobID)
	}
	if answer.Execution.Status == "" { // neither over nor in progress
		return nil, fmt.Errorf("%w: the execution of %q has no status", ErrInvalidPayload, answer.Execution.JobID)
	}
	return answer.Execution, nil
}

// call sends body with a client token, and decodes the answer.
func (c *Client) call(ctx context.Context, k call, body, answer any) error {
	token := request.NewToken()
	payload, err := withToken(body, token)
	if err != nil {
		return err
	}
	filter := k.filter
	if filter == "" {
		filter = k.topic + "/+"
	}
	m, err := c.requests.Do(ctx, &request.Request{
		Topic:   k.topic,
		Payload: payload,
		Replies: []request.Reply{
			{Topic: k.topic + "/accepted", Filter: filter},
			{Topic: k.topic + "/rejected", Filter: filter},
		},
		Correlation: request.JSONField("clientToken"),
		Token:       token,
		Timeout:     c.timeout,
		Quota:       request.Quota{Name: "jobs " + c.thing},
		Throttled:   throttled,
		Idempotent:  k.repeat,
	})
	if err != nil {
		return err
	}
	if strings.HasSuffix(m.Topic, "/rejected") {
		return decodeRejection(k.operation, k.jobID, m.Payload)
	}
	return decode(m.Payload, answer)
}

func throttled(m *mqtt5.Message) bool {
	if !strings.HasSuffix(m.Topic, "/rejected") {
		return false
	}
	var r rejection
	return json.Unmarshal(m.Payload, &r) == nil && r.Code == RequestThrottled
}

// withToken encodes a request, with a token of letters and digits in it.
func withToken(body any, token string) ([]byte, error) {
	payload, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	payload = append(payload[:len(payload)-1], `,"clientToken":"`+token+`"}`...)
	if string(payload[:2]) == "{," {
		payload = append([]byte{'{'}, payload[2:]...)
	}
	return payload, nil
}
