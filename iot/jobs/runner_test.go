// SPDX-License-Identifier: Apache-2.0

package jobs_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// handlers has one handler, for the operation "work".
func handlers(h jobs.Handler) map[string]jobs.Handler { return map[string]jobs.Handler{"work": h} }

const work = `{"operation":"work"}`

func TestRunner(t *testing.T) {
	bubble(t, "one after the other", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		s.create("b", work)
		active, most := 0, 0
		r := run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(ctx context.Context, job *jobs.Job) error {
			active++
			most = max(most, active)
			time.Sleep(time.Minute)
			active--
			return job.Progress(map[string]string{"did": job.JobID})
		})})
		time.Sleep(time.Hour)
		s.create("c", work)
		time.Sleep(time.Hour)
		for _, id := range []string{"a", "b", "c"} {
			s.want(t, id, `SUCCEEDED {"did":"`+id+`"}`)
		}
		if most != 1 {
			t.Errorf("%d at a time", most)
		}
		r.wantEvents("started a", "reported a SUCCEEDED", "started b", "reported b SUCCEEDED", "started c", "reported c SUCCEEDED")
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	bubble(t, "several at a time", func(t *testing.T) {
		s := newService(t)
		for _, id := range []string{"a", "b", "c", "d"} {
			s.create(id, work)
		}
		begin := time.Now()
		run(t, s.client(t), jobs.RunnerOptions{Concurrency: 2, Handlers: handlers(func(context.Context, *jobs.Job) error {
			time.Sleep(time.Minute)
			return nil
		})})
		for s.status("d") != "SUCCEEDED" {
			time.Sleep(time.Second)
		}
		if d := time.Since(begin); d > 130*time.Second {
			t.Errorf("four took %v", d)
		}
	})
	for name, tt := range map[string]struct {
		document string
		err      error
		want     string
	}{
		"failed":               {work, errors.New("no\nroom"), `FAILED {"reason":"no room"}`},
		"failed with details":  {work, &jobs.ResultError{Status: jobs.Failed, Reason: "r", Details: map[string]string{"k": "v"}}, `FAILED {"k":"v","reason":"r"}`},
		"details not allowed":  {work, &jobs.ResultError{Status: jobs.Failed, Reason: "r", Details: map[string]string{"k": ""}}, `FAILED {"reason":"r"}`},
		"rejected":             {work, jobs.Reject("not me"), `REJECTED {"reason":"not me"}`},
		"unknown operation":    {`{"operation":"other"}`, nil, `REJECTED {"reason":"this device does not know the operation \"other\""}`},
		"no operation":         {`{}`, nil, `REJECTED {"reason":"this device does not know the operation \"\""}`},
		"steps are off":        {`{"version":"1.0","steps":[{"action":{"name":"n","type":"runCommand","input":{"command":"true"}}}]}`, nil, `REJECTED {"reason":"this device does not know the operation \"\""}`},
		"signed URL in reason": {work, errors.New(`Get "https://b/k?X-Amz-Signature=abc&x=y": EOF`), `FAILED {"reason":"Get \"https://b/k?(removed)\": EOF"}`},
		"long reason":          {work, errors.New(strings.Repeat("é", 2000)), `FAILED {"reason":"` + strings.Repeat("é", 1024) + `"}`},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t)
			s.create("a", tt.document)
			run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { return tt.err })})
			s.want(t, "a", tt.want)
		})
	}
	bubble(t, "panic", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { panic("oh") })})
		synctest.Wait()
		if got := s.status("a"); !strings.HasPrefix(got, `FAILED {"reason":"the handler panicked: oh`) {
			t.Error(got)
		}
	})
	bubble(t, "Goexit", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { runtime.Goexit(); return nil })})
		s.want(t, "a", `FAILED {"reason":"the handler called runtime.Goexit"}`)
	})
}

func TestRunner_progress(t *testing.T) {
	bubble(t, "coalesced and with the right version", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(_ context.Context, job *jobs.Job) error {
			for _, p := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"} {
				if err := job.Progress(map[string]string{"n": p}); err != nil {
					return err
				}
			}
			time.Sleep(time.Second)
			if err := job.Progress(map[string]string{"bad key": "x"}); !errors.Is(err, jobs.ErrInvalidArgument) {
				t.Error(err)
			}
			return nil
		})})
		time.Sleep(time.Minute)
		s.want(t, "a", `SUCCEEDED {"n":"10"}`)
		if n := len(s.updates); n < 2 || n > 11 {
			t.Errorf("%d updates", n)
		}
	})
	bubble(t, "the step time-out is renewed", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		run(t, s.client(t), jobs.RunnerOptions{StepTimeout: 90 * time.Second, Handlers: handlers(func(context.Context, *jobs.Job) error {
			time.Sleep(10*time.Minute + time.Second)
			return nil
		})})
		time.Sleep(time.Hour)
		s.want(t, "a", "SUCCEEDED")
		for _, m := range s.timeouts {
			if m != 2 {
				t.Errorf("step time-out of %v minutes", m)
			}
		}
		if n := len(s.updates); n != 10+1 { // ten renewals, and the outcome
			t.Errorf("%d updates", n)
		}
	})
	bubble(t, "somebody else changed the version", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error {
			s.mu.Lock()
			s.find("a").version += 5
			s.mu.Unlock()
			return nil
		})})
		s.want(t, "a", "SUCCEEDED")
	})
}

func TestNewRunner_invalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client(t)
		good := jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { return nil })}
		for name, change := range map[string]func(*jobs.RunnerOptions){
			"nothing to run":       func(o *jobs.RunnerOptions) { o.Handlers = nil },
			"nil handler":          func(o *jobs.RunnerOptions) { o.Handlers = handlers(nil) },
			"negative concurrency": func(o *jobs.RunnerOptions) { o.Concurrency = -1 },
			"high concurrency":     func(o *jobs.RunnerOptions) { o.Concurrency = 11 },
			"negative step":        func(o *jobs.RunnerOptions) { o.StepTimeout = -1 },
			"long step":            func(o *jobs.RunnerOptions) { o.StepTimeout = 7*24*time.Hour + 1 },
			"attempts":             func(o *jobs.RunnerOptions) { o.MaxAttempts = -1 },
		} {
			o := good
			change(&o)
			if _, err := jobs.NewRunner(c, o); !errors.Is(err, jobs.ErrInvalidArgument) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := jobs.NewRunner(nil, good); !errors.Is(err, jobs.ErrInvalidArgument) {
			t.Error(err)
		}
	})
}

// TestRunner_faults loses requests and answers: the handler runs once, and the
// service gets the outcome.
func TestRunner_faults(t *testing.T) {
	for _, operation := range []string{"start-next", "a/update"} {
		for _, fault := range []string{"lose", "answer", "InternalError", "RequestThrottled"} {
			bubble(t, operation+" "+fault, func(t *testing.T) {
				s := newService(t)
				n := 0
				s.fault = func(topic string) string {
					if topic != operation {
						return ""
					}
					if n++; n <= 3 {
						return fault
					}
					return ""
				}
				s.create("a", work)
				calls := 0
				run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { calls++; return nil })})
				time.Sleep(time.Hour)
				s.want(t, "a", "SUCCEEDED")
				if calls != 1 {
					t.Errorf("the handler ran %d times", calls)
				}
			})
		}
	}
	bubble(t, "a service that always fails", func(t *testing.T) {
		s := newService(t)
		var n atomic.Int32
		s.fault = func(topic string) string {
			if topic != "a/update" {
				return ""
			}
			n.Add(1)
			return "InternalError"
		}
		s.create("a", work)
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { return nil })})
		time.Sleep(time.Hour)
		if n := n.Load(); n < 10 || n > 120 { // the delays grow to two minutes
			t.Errorf("%d updates in an hour", n)
		}
	})
	bubble(t, "details too large for a message", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		s.OnPublish(func(p *mqtt5.PublishPacket) error {
			if len(p.Payload) > 2000 {
				return &mqtt5.ValidationError{Subject: "PublishPacket", Problems: []mqtt5.Problem{{Field: "packet", Rule: "is too large"}}}
			}
			return s.handle(p)
		})
		text := strings.Repeat("x", 1024)
		r := run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(_ context.Context, job *jobs.Job) error {
			err := job.Progress(map[string]string{"a": text, "b": text})
			time.Sleep(time.Second)
			return err
		})})
		time.Sleep(time.Minute)
		s.want(t, "a", "SUCCEEDED")
		r.wantEvents("started a", "error a", "error a", "reported a SUCCEEDED")
	})
	bubble(t, "an answer without a status", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		r := run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(ctx context.Context, _ *jobs.Job) error {
			time.Sleep(time.Minute)
			return ctx.Err()
		})})
		s.mu.Lock()
		s.find("a").status = ""
		s.mu.Unlock()
		s.notify() // the runner asks for the execution, which is not listed
		time.Sleep(time.Second)
		s.mu.Lock()
		s.find("a").status = "IN_PROGRESS"
		s.mu.Unlock()
		time.Sleep(time.Minute)
		s.want(t, "a", "SUCCEEDED")
		r.wantEvents("started a", "reported a SUCCEEDED")
	})
	bubble(t, "offline while working", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		r := run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error {
			s.Disconnect(mqtt5.ErrConnectionLost)
			return nil
		})})
		time.Sleep(time.Hour)
		s.want(t, "a", "IN_PROGRESS")
		s.Connect(false)
		time.Sleep(time.Hour)
		s.want(t, "a", "SUCCEEDED")
		s.create("b", `{}`)
		time.Sleep(time.Second)
		s.want(t, "b", `REJECTED {"reason":"this device does not know the operation \"\""}`)
		_ = r
	})
	bubble(t, "notification missed", func(t *testing.T) {
		s := newService(t)
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error { return nil })})
		s.mu.Lock()
		s.executions = append(s.executions, &execution{id: "a", status: "QUEUED", document: work, version: 1, number: 1})
		s.mu.Unlock()
		time.Sleep(14 * time.Minute)
		s.want(t, "a", "QUEUED")
		time.Sleep(2 * time.Minute)
		s.want(t, "a", "SUCCEEDED")
	})
}

func TestRunner_canceled(t *testing.T) {
	bubble(t, "while the handler works", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		r := run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(ctx context.Context, _ *jobs.Job) error {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), jobs.ErrCanceled) {
				t.Error(context.Cause(ctx))
			}
			return ctx.Err()
		})})
		s.cancel("a")
		s.want(t, "a", "CANCELED")
		r.wantEvents("started a", "canceled a")
		s.create("b", `{"operation":"?"}`)
		s.want(t, "b", `REJECTED {"reason":"this device does not know the operation \"?\""}`)
	})
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"and listed again":               {errors.New("stopped"), `FAILED {"reason":"stopped"}`},
		"suspended, and listed again":    {jobs.ErrSuspend, `FAILED {"reason":"jobs: the execution was canceled"}`},
		"with success, and listed again": {nil, "SUCCEEDED"},
	} {
		bubble(t, name, func(t *testing.T) {
			s := newService(t)
			s.create("a", work)
			options := jobs.RunnerOptions{Handlers: handlers(func(ctx context.Context, _ *jobs.Job) error {
				<-ctx.Done()
				return tt.err
			}), StateFile: filepath.Join(t.TempDir(), "state")}
			r := run(t, s.client(t), options)
			s.cancel("a")
			r.wantEvents("started a", "canceled a")
			_ = r.stop()
			s.mu.Lock()
			s.find("a").status = "IN_PROGRESS"
			s.mu.Unlock()
			run(t, s.client(t), options)
			time.Sleep(time.Minute)
			s.want(t, "a", tt.want)
		})
	}
	bubble(t, "found by an update", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		var cause error
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(ctx context.Context, job *jobs.Job) error {
			s.mu.Lock()
			s.find("a").status = "REMOVED"
			s.mu.Unlock()
			if err := job.Progress(map[string]string{"n": "1"}); err != nil {
				return err
			}
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})})
		s.want(t, "a", "REMOVED")
		if len(s.updates) != 1 {
			t.Errorf("%d updates, none is of use after the first", len(s.updates))
		}
		if !errors.Is(cause, jobs.ErrCanceled) {
			t.Error(cause)
		}
	})
	bubble(t, "while the session is lost", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		r := run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(ctx context.Context, _ *jobs.Job) error { <-ctx.Done(); return ctx.Err() })})
		s.Disconnect(mqtt5.ErrConnectionLost)
		s.cancel("a")
		s.Connect(false)
		r.wantEvents("started a", "canceled a")
	})
}

// TestRunner_resume ends runners at every stage, as a reboot does, and starts
// others with the same state file.
func TestRunner_resume(t *testing.T) {
	state := func(t *testing.T) string { return filepath.Join(t.TempDir(), "jobs.json") }
	bubble(t, "the handler asks for a reboot", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		options := jobs.RunnerOptions{StateFile: state(t), Handlers: handlers(func(_ context.Context, job *jobs.Job) error {
			if job.Resumed {
				return job.Progress(map[string]string{"checkpoint": string(job.Checkpoint())})
			}
			if err := job.SetCheckpoint([]byte("rebooting")); err != nil {
				return err
			}
			return jobs.ErrSuspend
		})}
		r := run(t, s.client(t), options)
		if err := <-r.ended; !errors.Is(err, jobs.ErrSuspend) {
			t.Error(err)
		}
		r.ended <- nil
		s.want(t, "a", "IN_PROGRESS")
		run(t, s.client(t), options).wantEvents("resumed a", "reported a SUCCEEDED")
		s.want(t, "a", `SUCCEEDED {"checkpoint":"rebooting"}`)
	})
	bubble(t, "the runner ends during the handler", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		attempts := []int{}
		options := jobs.RunnerOptions{StateFile: state(t), Handlers: handlers(func(ctx context.Context, job *jobs.Job) error {
			if attempts = append(attempts, job.Attempt); len(attempts) < 6 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})}
		for range 6 { // orderly ends do not count
			r := run(t, s.client(t), options)
			time.Sleep(time.Minute)
			if err := r.stop(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		s.want(t, "a", "SUCCEEDED")
		for _, n := range attempts {
			if n != 1 {
				t.Errorf("attempts %v", attempts)
				break
			}
		}
	})
	bubble(t, "the outcome was not reported", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		s.fault = func(topic string) string {
			if topic == "a/update" {
				return "lose"
			}
			return ""
		}
		calls := 0
		options := jobs.RunnerOptions{StateFile: state(t), Handlers: handlers(func(context.Context, *jobs.Job) error { calls++; return errors.New("broken") })}
		r := run(t, s.client(t), options)
		time.Sleep(time.Hour)
		_ = r.stop()
		s.want(t, "a", "IN_PROGRESS")
		s.fault = nil
		run(t, s.client(t), options).wantEvents("reported a FAILED")
		s.want(t, "a", `FAILED {"reason":"broken"}`)
		if calls != 1 {
			t.Errorf("the handler ran %d times", calls)
		}
	})
	bubble(t, "a retry is another execution", func(t *testing.T) {
		s := newService(t)
		s.create("a", work)
		var resumed []bool
		options := jobs.RunnerOptions{StateFile: state(t), Handlers: handlers(func(_ context.Context, job *jobs.Job) error {
			resumed = append(resumed, job.Resumed || job.Checkpoint() != nil || job.ExecutionNumber != int64(len(resumed)+1))
			if err := job.SetCheckpoint([]byte("x")); err != nil {
				return err
			}
			return errors.New("again")
		})}
		run(t, s.client(t), options)
		s.want(t, "a", `FAILED {"reason":"again"}`)
		s.create("a", work)
		s.want(t, "a", `FAILED {"reason":"again"}`)
		if len(resumed) != 2 || resumed[0] || resumed[1] {
			t.Errorf("%v", resumed)
		}
	})
	bubble(t, "duplicate notifications", func(t *testing.T) {
		s := newService(t)
		calls := 0
		run(t, s.client(t), jobs.RunnerOptions{Handlers: handlers(func(context.Context, *jobs.Job) error {
			calls++
			s.notify()
			s.notify()
			return nil
		})})
		s.create("a", work)
		for range 10 {
			s.notify()
		}
		s.want(t, "a", "SUCCEEDED")
		if calls != 1 {
			t.Errorf("the handler ran %d times", calls)
		}
	})
}
