// SPDX-License-Identifier: Apache-2.0

package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// Each call ends with an answer or a typed error, whatever the service says.
func TestClient_hostileAnswers(t *testing.T) {
	for _, text := range []string{
		`{"clientToken":"TOKEN"} {}`, `{"clientToken":"TOKEN","execution":[]}`, `{"clientToken":"TOKEN","execution":{"jobId":7}}`,
		`{"clientToken":"TOKEN","execution":{"jobId":"../../x"}}`, `{"clientToken":"TOKEN","execution":{"jobId":"a/b+"}}`,
		`{"clientToken":"TOKEN","execution":{"jobId":"a","versionNumber":1e99}}`, `{"clientToken":"TOKEN","execution":{"jobId":"a","queuedAt":1e300}}`,
		`{"clientToken":"TOKEN","execution":{"jobId":"a","statusDetails":{"a":1}}}`, `{"clientToken":"TOKEN","executionState":7,"execution":7,"queuedJobs":{}}`,
		`{"clientToken":"TOKEN","code":5}`, `{"clientToken":"TOKEN","code":null,"executionState":[]}`,
	} {
		for _, suffix := range []string{"/accepted", "/rejected"} {
			c, _ := answering(t, "", suffix, text)
			ctx := context.Background()
			_, describe := c.Describe(ctx, "a", nil)
			_, start := c.StartNext(ctx, nil)
			_, pending := c.GetPending(ctx)
			_, update := c.Update(ctx, "a", &jobs.UpdateRequest{Status: jobs.Failed})
			for name, err := range map[string]error{"Describe": describe, "StartNext": start, "GetPending": pending, "Update": update} {
				var rejected *jobs.RejectedError
				switch {
				case errors.Is(err, jobs.ErrInvalidPayload), errors.As(err, &rejected), errors.Is(err, jobs.ErrNoExecution) && suffix == "/accepted":
				case err == nil && suffix == "/accepted" && (name == "Update" || name == "GetPending"): // has only optional fields
				default:
					t.Errorf("%s, %s %s: %v", name, suffix, text, err)
				}
			}
		}
	}
}

// A notification that is no object does not say that nothing is pending.
func TestClient_watchNull(t *testing.T) {
	c, conn := answering(t, "", "", "")
	invalid := make(chan error, 9)
	s, err := c.WatchExecutions(func(_ context.Context, n *jobs.ExecutionsChanged) { t.Errorf("%+v", n) },
		jobs.WatchOptions{OnInvalid: func(_ context.Context, err error) { invalid <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.WaitEstablished(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "null", "[]", "7", `{"jobs":[]}`} {
		conn.Deliver(things+"notify", []byte(text))
		if err := <-invalid; !errors.Is(err, jobs.ErrInvalidPayload) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The runner does not run, and is not held up by, what cannot be an execution.
func TestRunner_hostileService(t *testing.T) {
	bubble(t, "executions that are none", func(t *testing.T) {
		for _, execution := range []string{
			`{"jobId":"../x","status":"IN_PROGRESS","jobDocument":{"operation":"work"}}`,
			`{"jobId":"old","status":"SUCCEEDED","jobDocument":{"operation":"work"}}`,
			`{"jobId":"old","status":"CANCELED","jobDocument":{"operation":"work"}}`,
		} {
			s := newService(t)
			s.create("a", work)
			foreign := true
			s.OnPublish(func(p *mqtt5.PublishPacket) error {
				if !foreign || !strings.HasSuffix(p.Topic, "/start-next") {
					return s.handle(p)
				}
				foreign = false
				var in map[string]string
				_ = json.Unmarshal(p.Payload, &in)
				s.Deliver(p.Topic+"/accepted", []byte(`{"execution":`+execution+`,"clientToken":"`+in["clientToken"]+`"}`))
				return nil
			})
			calls := 0
			r := run(t, s.client(t), jobs.RunnerOptions{PollInterval: time.Minute, Handlers: handlers(func(context.Context, *jobs.Job) error { calls++; return nil })})
			time.Sleep(time.Hour)
			s.want(t, "a", "SUCCEEDED")
			_ = r.stop()
			if calls != 1 {
				t.Errorf("%s: %d calls", execution, calls)
			}
		}
	})
	bubble(t, "pending executions without a name", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		s.OnPublish(func(p *mqtt5.PublishPacket) error {
			if !strings.HasSuffix(p.Topic, "/jobs/get") {
				return s.handle(p)
			}
			var in map[string]string
			_ = json.Unmarshal(p.Payload, &in)
			s.Deliver(p.Topic+"/accepted", []byte(`{"inProgressJobs":[null,{"jobId":"$next"}],"queuedJobs":[{},{"jobId":"a"}],"clientToken":"`+in["clientToken"]+`"}`))
			return nil
		})
		run(t, s.client(t), jobs.RunnerOptions{Concurrency: 2, Handlers: handlers(func(context.Context, *jobs.Job) error { return nil })})
		s.want(t, "a", "SUCCEEDED")
	})
}

// Functions that read a document may panic, too.
func TestRunner_panicInOperation(t *testing.T) {
	for name, operation := range map[string]func(json.RawMessage) (string, error){
		"panic":  func(json.RawMessage) (string, error) { panic("of the test") },
		"Goexit": func(json.RawMessage) (string, error) { runtime.Goexit(); return "", nil },
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t)
			s.create("a", work)
			run(t, s.client(t), jobs.RunnerOptions{Operation: operation, Handlers: handlers(func(context.Context, *jobs.Job) error { return nil })})
			time.Sleep(time.Minute)
			if status := s.status("a"); !strings.HasPrefix(status, `FAILED {"reason":"RunnerOptions.Operation `) {
				t.Error(status)
			}
		})
	}
}

// A runner ends with its connection.
func TestRunner_closed(t *testing.T) {
	for name, tt := range map[string]struct {
		end func(s *service)
		err error
	}{
		"connection":         {func(s *service) { _ = s.Close() }, mqtt5.ErrClosed},
		"connection at rest": {func(s *service) { s.Stop(); synctest.Wait(); _ = s.Close() }, mqtt5.ErrClosed},
		"requests":           {func(s *service) { _ = s.requests.Close(context.Background()) }, request.ErrClosed},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t)
			r := run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { return nil })})
			tt.end(s)
			select {
			case err := <-r.ended:
				r.ended <- err
				if !errors.Is(err, tt.err) {
					t.Errorf("error %v", err)
				}
			case <-time.After(time.Hour):
				t.Error("the runner does not end")
			}
		})
	}
}
