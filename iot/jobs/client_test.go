// SPDX-License-Identifier: Apache-2.0

package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// echo is a service that answers each request on the topic of the request and a
// suffix, with a payload in which TOKEN is the client token.
type echo struct {
	*requesttest.Conn
	sent chan mqtt5.PublishPacket
}

// answering returns a client of such a service.
func answering(t *testing.T, namespace, suffix, payload string) (*jobs.Client, *echo) {
	t.Helper()
	e := &echo{Conn: requesttest.New(), sent: make(chan mqtt5.PublishPacket, 100)}
	t.Cleanup(func() { _ = e.Close() })
	e.OnPublish(func(p *mqtt5.PublishPacket) error {
		var in struct {
			Token string `json:"clientToken"`
		}
		if err := json.Unmarshal(p.Payload, &in); err != nil || len(in.Token) < 8 {
			t.Errorf("%s: %v", p.Payload, err)
		}
		e.sent <- *p
		e.Deliver(p.Topic+suffix, []byte(strings.ReplaceAll(payload, "TOKEN", in.Token)))
		return nil
	})
	requests, err := request.New(e, request.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c, err := jobs.NewClient(requests, "t", jobs.Options{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	return c, e
}

// wantRequest checks the one request that was sent.
func wantRequest(t *testing.T, conn *echo, topic, payload string) {
	t.Helper()
	sent := <-conn.sent
	if len(conn.sent) != 0 || sent.Topic != topic || sent.QoS != mqtt5.AtLeastOnce {
		t.Fatalf("sent %v and %d more, want one message on %s", sent, len(conn.sent), topic)
	}
	var got, want map[string]any
	if err := json.Unmarshal(sent.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(payload), &want); err != nil {
		t.Fatal(err)
	}
	delete(got, "clientToken")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

func seconds(n int64) jobs.Time { return jobs.Time{Time: time.Unix(n, 0).UTC()} }

const things = "$aws/things/t/jobs/"

func TestClient_getPending(t *testing.T) {
	c, conn := answering(t, "", "/accepted", `{"clientToken":"TOKEN","timestamp":1787700000,
		"inProgressJobs":[{"jobId":"a","queuedAt":1787600000,"startedAt":1787600100000,"lastUpdatedAt":1787600100,"versionNumber":2,"executionNumber":1}],
		"queuedJobs":[],"new":{"field":1}}`)
	got, err := c.GetPending(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := &jobs.Pending{
		Timestamp: seconds(1787700000), Queued: []jobs.Summary{},
		InProgress: []jobs.Summary{{
			JobID: "a", QueuedAt: seconds(1787600000), StartedAt: seconds(1787600100), LastUpdatedAt: seconds(1787600100),
			VersionNumber: 2, ExecutionNumber: 1,
		}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	wantRequest(t, conn, things+"get", `{}`)
}

func TestClient_startNext(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		id     string
		err    error
	}{
		"started":         {`{"clientToken":"TOKEN","timestamp":1,"execution":{"jobId":"a","status":"IN_PROGRESS","versionNumber":2,"jobDocument":{"operation":"x"}}}`, "a", nil},
		"none":            {`{"clientToken":"TOKEN","timestamp":1}`, "", jobs.ErrNoExecution},
		"empty execution": {`{"clientToken":"TOKEN","execution":{}}`, "", jobs.ErrNoExecution},
		"not readable":    {`{"clientToken":"TOKEN","execution":[]}`, "", jobs.ErrInvalidPayload},
	} {
		t.Run(name, func(t *testing.T) {
			c, conn := answering(t, "", "/accepted", tt.answer)
			e, err := c.StartNext(context.Background(), &jobs.StartNextRequest{StatusDetails: map[string]string{"k": "v"}, StepTimeoutMinutes: 5})
			if !errors.Is(err, tt.err) || err == nil && e.JobID != tt.id {
				t.Errorf("%+v, %v", e, err)
			}
			wantRequest(t, conn, things+"start-next", `{"statusDetails":{"k":"v"},"stepTimeoutInMinutes":5}`)
		})
	}
}

func TestClient_describe(t *testing.T) {
	const answer = `{"clientToken":"TOKEN","execution":{"jobId":"a","thingName":"t","status":"QUEUED","statusDetails":{"k":"v"},
		"versionNumber":1,"executionNumber":3,"approximateSecondsBeforeTimedOut":60,"jobDocument":{"x":1}}}`
	for name, tt := range map[string]struct {
		namespace, id string
		request       *jobs.DescribeRequest
		topic, want   string
	}{
		"next":                 {"", jobs.NextJobID, nil, "$next/get", `{"includeJobDocument":true}`},
		"one run, no document": {"", "a", &jobs.DescribeRequest{ExecutionNumber: 3, WithoutDocument: true}, "a/get", `{"executionNumber":3,"includeJobDocument":false}`},
		"namespace":            {"aws-gg-deployment", jobs.NextJobID, nil, "$next/namespace-aws-gg-deployment/get", `{"includeJobDocument":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			c, conn := answering(t, tt.namespace, "/accepted", answer)
			e, err := c.Describe(context.Background(), tt.id, tt.request)
			if err != nil {
				t.Fatal(err)
			}
			if e.JobID != "a" || e.Status != jobs.Queued || e.ExecutionNumber != 3 || *e.ApproximateSecondsBeforeTimedOut != 60 || string(e.Document) != `{"x":1}` {
				t.Errorf("%+v", e)
			}
			wantRequest(t, conn, things+tt.topic, tt.want)
		})
	}
}

func TestClient_update(t *testing.T) {
	c, conn := answering(t, "", "/accepted", `{"clientToken":"TOKEN","timestamp":1,"executionState":{"status":"IN_PROGRESS","versionNumber":3},"jobDocument":{"a":1}}`)
	got, err := c.Update(context.Background(), "a", &jobs.UpdateRequest{
		Status: jobs.InProgress, StatusDetails: map[string]string{"p": "50"}, ExpectedVersion: 2, ExecutionNumber: 1,
		IncludeExecutionState: true, IncludeDocument: true, StepTimeoutMinutes: -1,
	})
	if err != nil || got.ExecutionState.VersionNumber != 3 || string(got.Document) != `{"a":1}` {
		t.Errorf("%+v, %v", got, err)
	}
	wantRequest(t, conn, things+"a/update", `{"status":"IN_PROGRESS","statusDetails":{"p":"50"},"expectedVersion":2,"executionNumber":1,
		"includeJobExecutionState":true,"includeJobDocument":true,"stepTimeoutInMinutes":-1}`)
}

func TestClient_rejected(t *testing.T) {
	c, _ := answering(t, "", "/rejected", `{"code":"VersionMismatch","message":"Expected version 99 but found version 1","clientToken":"TOKEN","timestamp":1,
		"executionState":{"status":"IN_PROGRESS","versionNumber":1}}`)
	_, err := c.Update(context.Background(), "a", &jobs.UpdateRequest{Status: jobs.Succeeded, ExpectedVersion: 99})
	var rejected *jobs.RejectedError
	if !errors.As(err, &rejected) {
		t.Fatal(err)
	}
	want := &jobs.RejectedError{
		Operation: "UpdateJobExecution", JobID: "a", Code: jobs.VersionMismatch, Message: "Expected version 99 but found version 1",
		State: &jobs.ExecutionState{Status: jobs.InProgress, VersionNumber: 1},
	}
	if d := cmp.Diff(want, rejected); d != "" {
		t.Error(d)
	}
	if rejected.Temporary() || !strings.Contains(err.Error(), "UpdateJobExecution was rejected: VersionMismatch: Expected") {
		t.Error(err)
	}
}

// TestClient_filters counts the subscriptions that calls for many jobs need.
// An update whose answer is lost with the session is not sent again: the second
// one would meet another version.
func TestClient_updateIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		s.fault = func(string) string { return "answer" }
		c := s.client(t)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Update(t.Context(), "a", &jobs.UpdateRequest{Status: jobs.InProgress})
			ended <- err
		}()
		synctest.Wait()
		s.Disconnect(mqtt5.ErrConnectionLost)
		s.Connect(false)
		if err := <-ended; !errors.Is(err, request.ErrSubscriptionLost) || !errors.Is(err, mqtt5.ErrOutcomeUnknown) {
			t.Error(err)
		}
		if len(s.updates) != 1 {
			t.Errorf("%d updates", len(s.updates))
		}
	})
}

func TestClient_filters(t *testing.T) {
	c, conn := answering(t, "", "/accepted", `{"clientToken":"TOKEN","execution":{"jobId":"a","status":"QUEUED"}}`)
	for _, id := range []string{"a", "b", "c"} {
		if _, err := c.Describe(context.Background(), id, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Update(context.Background(), id, &jobs.UpdateRequest{Status: jobs.Failed}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := conn.Filters(), []string{things + "+/get/+", things + "+/update/+"}; !slices.Equal(got, want) {
		t.Errorf("subscribed %v, want %v", got, want)
	}
}

func TestClient_invalid(t *testing.T) {
	if _, err := jobs.NewClient(nil, "t", jobs.Options{}); !errors.Is(err, jobs.ErrInvalidArgument) {
		t.Error(err)
	}
	c, conn := answering(t, "", "/accepted", `{}`)
	requests, err := request.New(conn, request.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a/b", "a+", strings.Repeat("x", 129)} {
		if _, err := jobs.NewClient(requests, name, jobs.Options{}); !errors.Is(err, jobs.ErrInvalidArgument) {
			t.Errorf("thing %q: %v", name, err)
		}
		if _, err := c.Describe(context.Background(), name, nil); !errors.Is(err, jobs.ErrInvalidArgument) {
			t.Errorf("job %q: %v", name, err)
		}
		if _, err := c.Update(context.Background(), name, &jobs.UpdateRequest{Status: jobs.Failed}); !errors.Is(err, jobs.ErrInvalidArgument) {
			t.Errorf("job %q: %v", name, err)
		}
	}
	if _, err := jobs.NewClient(requests, "t", jobs.Options{Namespace: "a/b"}); !errors.Is(err, jobs.ErrInvalidArgument) {
		t.Error(err)
	}
	for _, details := range []map[string]string{{"": "v"}, {"k": ""}, {"k": "a\nb"}, {"k": strings.Repeat("é", 1025)}, {"k": "\xff"}, {"a b": "v"}} {
		if _, err := c.StartNext(context.Background(), &jobs.StartNextRequest{StatusDetails: details}); !errors.Is(err, jobs.ErrInvalidArgument) {
			t.Errorf("%q: %v", details, err)
		}
	}
	if n := len(conn.sent); n > 0 {
		t.Errorf("sent %d messages", n)
	}
}

func TestClient_watch(t *testing.T) {
	for name, tt := range map[string]struct{ namespace, suffix string }{
		"no namespace": {"", ""}, "namespace": {"ns", "-namespace-ns"},
	} {
		t.Run(name, func(t *testing.T) {
			c, conn := answering(t, tt.namespace, "", "")
			all, next, invalid := make(chan *jobs.ExecutionsChanged, 9), make(chan *jobs.NextExecutionChanged, 9), make(chan error, 9)
			options := jobs.WatchOptions{OnInvalid: func(_ context.Context, err error) { invalid <- err }}
			a, err := c.WatchExecutions(func(_ context.Context, n *jobs.ExecutionsChanged) { all <- n }, options)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			b, err := c.WatchNext(func(_ context.Context, n *jobs.NextExecutionChanged) { next <- n }, options)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			for _, s := range []*request.Stream{a, b} {
				if err := s.WaitEstablished(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			conn.Deliver(things+"notify"+tt.suffix, []byte(`{"jobs":{"QUEUED":[{"jobId":"a","executionNumber":1}]},"timestamp":1}`))
			if n := <-all; n.Jobs[jobs.Queued][0].JobID != "a" {
				t.Errorf("%+v", n)
			}
			conn.Deliver(things+"notify-next"+tt.suffix, []byte(`{"execution":{"jobId":"a","jobDocument":{}}}`))
			if n := <-next; n.Execution.JobID != "a" {
				t.Errorf("%+v", n)
			}
			conn.Deliver(things+"notify-next"+tt.suffix, []byte(`{"timestamp":1}`))
			if n := <-next; n.Execution != nil {
				t.Errorf("%+v", n)
			}
			conn.Deliver(things+"notify"+tt.suffix, []byte(`{"jobs":{}`))
			if err := <-invalid; !errors.Is(err, jobs.ErrInvalidPayload) {
				t.Error(err)
			}
		})
	}
}

func TestTime(t *testing.T) {
	for in, want := range map[string]time.Time{
		"1787600000": time.Unix(1787600000, 0), "1787600000123": time.UnixMilli(1787600000123), "1787600000.5": time.UnixMilli(1787600000500),
		"1.7876e9": time.Unix(1787600000, 0), "null": {},
	} {
		var got jobs.Time
		if err := json.Unmarshal([]byte(in), &got); err != nil || got.Sub(want).Abs() > time.Microsecond {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{`"x"`, "1e300", "{}"} {
		var got jobs.Time
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s: %v", in, got)
		}
	}
}
