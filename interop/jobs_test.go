// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
)

func openJobs(t *testing.T, address, clientID, thing, namespace string) *jobs.Client {
	t.Helper()
	_, requests := dialCore(t, address, clientID)
	c, err := jobs.NewClient(requests, thing, jobs.Options{Namespace: namespace, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestJobs_conversation is the conversation of the job processing test of the
// JavaScript SDK, with our client.
func TestJobs_conversation(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	client, ctx := openJobs(t, c.TCPAddr(), "device", "thing", ""), within(t)
	changed, next := make(chan *jobs.ExecutionsChanged, 9), make(chan *jobs.NextExecutionChanged, 9)
	all, err := client.WatchExecutions(func(_ context.Context, n *jobs.ExecutionsChanged) { changed <- n }, jobs.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	head, err := client.WatchNext(func(_ context.Context, n *jobs.NextExecutionChanged) { next <- n }, jobs.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer head.Close()
	if err := errors.Join(all.WaitEstablished(ctx), head.WaitEstablished(ctx)); err != nil {
		t.Fatal(err)
	}
	nothing := func() {
		t.Helper()
		p, err := client.GetPending(ctx)
		if err != nil || p.InProgress == nil || p.Queued == nil || len(p.InProgress)+len(p.Queued) > 0 {
			t.Errorf("pending: %+v, %v", p, err)
		}
		if _, err := client.StartNext(ctx, nil); !errors.Is(err, jobs.ErrNoExecution) {
			t.Error(err)
		}
		if _, err := client.Describe(ctx, jobs.NextJobID, nil); !errors.Is(err, jobs.ErrNoExecution) {
			t.Error(err)
		}
	}
	nothing()
	if _, err := c.CreateJob(iottest.Job{ID: "job-1", Things: []string{"thing"}, Document: `{"test":"do-something1"}`}); err != nil {
		t.Fatal(err)
	}
	if n := <-changed; len(n.Jobs) != 1 || len(n.Jobs[jobs.Queued]) != 1 || n.Jobs[jobs.Queued][0].JobID != "job-1" {
		t.Errorf("changed: %+v", n)
	}
	if n := <-next; n.Execution == nil || n.Execution.JobID != "job-1" || n.Execution.Status != jobs.Queued || string(n.Execution.Document) != `{"test":"do-something1"}` {
		t.Errorf("next: %+v", n.Execution)
	}
	started, err := client.StartNext(ctx, nil)
	if err != nil || started.JobID != "job-1" || started.VersionNumber != 2 {
		t.Fatalf("started: %+v, %v", started, err)
	}
	e, err := client.Describe(ctx, "job-1", nil)
	if err != nil || e.Status != jobs.InProgress || time.Since(e.StartedAt.Time).Abs() > time.Hour {
		t.Errorf("described: %+v, %v", e, err)
	}
	var rejected *jobs.RejectedError
	_, err = client.Update(ctx, "job-1", &jobs.UpdateRequest{Status: jobs.Succeeded, ExpectedVersion: 99})
	if !errors.As(err, &rejected) || rejected.Code != jobs.VersionMismatch || rejected.State == nil || rejected.State.VersionNumber != 2 {
		t.Errorf("update: %v", err)
	}
	u, err := client.Update(ctx, "job-1", &jobs.UpdateRequest{Status: jobs.Succeeded, ExpectedVersion: 2, IncludeExecutionState: true, IncludeDocument: true})
	if err != nil || u.ExecutionState.Status != jobs.Succeeded || u.ExecutionState.VersionNumber != 3 || u.Document == nil {
		t.Errorf("update: %+v, %v", u, err)
	}
	if n := <-changed; len(n.Jobs) != 0 {
		t.Errorf("changed: %+v", n)
	}
	if n := <-next; n.Execution != nil || n.Timestamp.IsZero() {
		t.Errorf("next: %+v", n)
	}
	nothing()
	if _, err = client.Update(ctx, "job-1", &jobs.UpdateRequest{Status: jobs.Failed}); !errors.As(err, &rejected) || rejected.Code != jobs.InvalidStateTransition {
		t.Error(err)
	}
	if _, err = client.Describe(ctx, "none", nil); !errors.As(err, &rejected) || rejected.Code != jobs.ResourceNotFound {
		t.Error(err)
	}
}

// worker counts the runs of its handlers.
type worker struct {
	mu   sync.Mutex
	runs map[string]int
}

func (w *worker) handle(_ context.Context, job *jobs.Job) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs[job.JobID]++
	return job.Progress(map[string]string{"by": "go"})
}

// startRunner runs a runner until the test ends.
func startRunner(t *testing.T, client *jobs.Client, options jobs.RunnerOptions) {
	t.Helper()
	runner, err := jobs.NewRunner(client, options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the runner ended with %v", err)
		}
	})
}

// TestJobs_withTheJavaScriptSDK runs jobs with our runner while the job client of
// the JavaScript SDK watches the same thing.
func TestJobs_withTheJavaScriptSDK(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	n := serviceClients(t, c, c.Device(t, "javascript"), 5)
	n.open("changed", "jobs", "createJobExecutionsChangedStream", object{"thingName": "thing"})
	work := make(chan struct{})
	startRunner(t, openJobs(t, c.TCPAddr(), "device", "thing", ""), jobs.RunnerOptions{
		StateFile: filepath.Join(t.TempDir(), "state"),
		Handlers: map[string]jobs.Handler{"work": func(_ context.Context, job *jobs.Job) error {
			<-work
			return job.Progress(map[string]string{"by": "go"})
		}},
	})
	if _, err := c.CreateJob(iottest.Job{ID: "job-1", Things: []string{"thing"}, Document: `{"operation":"work"}`}); err != nil {
		t.Fatal(err)
	}
	var changed struct{ Jobs map[string][]object }
	n.next("changed", &changed)
	if len(changed.Jobs["QUEUED"]) != 1 {
		t.Errorf("the JavaScript SDK saw %+v", changed)
	}
	job := object{"thingName": "thing", "jobId": "job-1"}
	var described struct {
		Execution struct {
			Status        string
			StatusDetails map[string]string
		}
	}
	eventually(t, "the JavaScript SDK sees the job in progress", func() bool {
		n.must("jobs.describeJobExecution", job, &described)
		return described.Execution.Status == "IN_PROGRESS"
	})
	// It changes the version under our runner.
	n.must("jobs.updateJobExecution", object{"thingName": "thing", "jobId": "job-1", "status": "IN_PROGRESS", "statusDetails": object{"by": "js"}}, nil)
	close(work)
	eventually(t, "the job succeeds", func() bool {
		e, _ := c.JobExecution("job-1", "thing")
		return e.Status == iottest.JobSucceeded && e.StatusDetails["by"] == "go"
	})
	changed.Jobs = nil
	n.next("changed", &changed)
	if len(changed.Jobs) != 0 {
		t.Errorf("the JavaScript SDK saw %+v", changed)
	}
}

// TestJobs_faults carries out jobs while the service loses, repeats, delays and
// reorders its messages: each handler runs once, each job succeeds.
func TestJobs_faults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault       iottest.ServiceFault
		concurrency int
		namespace   string
	}{
		"none":                 {concurrency: 1},
		"several at a time":    {concurrency: 3},
		"namespace":            {concurrency: 1, namespace: "tools"},
		"requests ignored":     {fault: iottest.ServiceFault{Ignore: true, Times: 3}, concurrency: 1},
		"answers lost":         {fault: iottest.ServiceFault{Lose: true, Operation: "update", Times: 2}, concurrency: 2},
		"everything twice":     {fault: iottest.ServiceFault{Duplicate: true}, concurrency: 1},
		"notifications behind": {fault: iottest.ServiceFault{Operation: "notify", Reorder: 3}, concurrency: 1},
		"throttled": {fault: iottest.ServiceFault{Times: 4, Reject: &iottest.ServiceError{
			Service: iottest.ServiceJobs, Status: 429, Code: "RequestThrottled", Message: "too many"}}, concurrency: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := plainCore(t)
			if tt.fault != (iottest.ServiceFault{}) {
				tt.fault.Service = iottest.ServiceJobs
				c.SetServiceFaults(tt.fault)
			}
			w := &worker{runs: map[string]int{}}
			startRunner(t, openJobs(t, c.TCPAddr(), "device", "thing", tt.namespace), jobs.RunnerOptions{
				Concurrency: tt.concurrency, Handlers: map[string]jobs.Handler{"work": w.handle},
			})
			const count = 5
			for i := range count {
				if _, err := c.CreateJob(iottest.Job{ID: fmt.Sprint("job-", i), Things: []string{"thing"}, Document: `{"operation":"work"}`, Namespace: tt.namespace}); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all jobs succeed", func() bool {
				n := 0
				for _, e := range c.JobExecutions("thing") {
					if e.Status == iottest.JobSucceeded {
						n++
					}
				}
				return n == count
			})
			w.mu.Lock()
			defer w.mu.Unlock()
			for id, n := range w.runs {
				if n != 1 {
					t.Errorf("the handler of %s ran %d times", id, n)
				}
			}
		})
	}
}

// jobProcess is the environment variable that makes this test binary a device: it
// holds the address of the core, a folder, and where to die.
const jobProcess = "INTEROP_JOB_PROCESS"

// TestJobs_process is the device of TestJobs_killed, in a process of its own.
func TestJobs_process(t *testing.T) {
	address, rest, ok := strings.Cut(os.Getenv(jobProcess), " ")
	if !ok {
		return
	}
	folder, where, _ := strings.Cut(rest, " ")
	die := func(at string) {
		if at == where {
			kill(t)
		}
	}
	log := func(line string) error {
		f, err := os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(f, line)
		return errors.Join(err, f.Close())
	}
	ctx, cancel := context.WithCancel(within(t))
	runner, err := jobs.NewRunner(openJobs(t, address, "device", "thing", ""), jobs.RunnerOptions{
		StateFile: filepath.Join(folder, "state"),
		Handlers: map[string]jobs.Handler{"work": func(_ context.Context, job *jobs.Job) error {
			die("at the start")
			if err := log(fmt.Sprintf("run %d from %q", job.Attempt, job.Checkpoint())); err != nil {
				return err
			}
			die("before the checkpoint")
			if err := job.SetCheckpoint([]byte("half")); err != nil {
				return err
			}
			die("after the checkpoint")
			return job.Progress(map[string]string{"done": "all"})
		}},
		OnEvent: func(e jobs.Event) {
			if e.Type == jobs.EventReported {
				die("after the report")
				cancel()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if where == "before the report" {
		// The core ignores updates, so the outcome stays here.
		go func() {
			for {
				if data, err := os.ReadFile(filepath.Join(folder, "state")); err == nil && strings.Contains(string(data), `"finished"`) {
					die(where)
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
	if err := runner.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// kill ends this process as kill -9 does.
func kill(t *testing.T) {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		t.Error(err)
	}
	select {} // until the signal arrives
}

// A runner is killed during a job. The next one resumes the handler where it was,
// and does not run one again that had finished.
func TestJobs_killed(t *testing.T) {
	t.Parallel()
	for where, want := range map[string]string{
		"at the start":          `run 2 from ""`,
		"before the checkpoint": `run 1 from ""` + "\n" + `run 2 from ""`,
		"after the checkpoint":  `run 1 from ""` + "\n" + `run 2 from "half"`,
		"before the report":     `run 1 from ""`,
		"after the report":      `run 1 from ""`,
	} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			c, folder := plainCore(t), t.TempDir()
			if _, err := c.CreateJob(iottest.Job{ID: "job-1", Things: []string{"thing"}, Document: `{"operation":"work"}`}); err != nil {
				t.Fatal(err)
			}
			if where == "before the report" {
				c.SetServiceFaults(iottest.ServiceFault{Service: iottest.ServiceJobs, Operation: "update", Ignore: true})
			}
			life := func(where string) (string, error) {
				cmd := exec.CommandContext(within(t), os.Args[0], "-test.run=^TestJobs_process$", "-test.timeout=2m")
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", jobProcess, c.TCPAddr(), folder, where))
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			if out, err := life(where); err == nil {
				t.Fatalf("the device was not killed\n%s", out)
			}
			c.SetServiceFaults()
			if where != "after the report" { // else there is nothing to do any more
				if out, err := life(""); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			e, _ := c.JobExecution("job-1", "thing")
			if e.Status != iottest.JobSucceeded || e.StatusDetails["done"] != "all" {
				t.Errorf("the service has %+v", e)
			}
			log, err := os.ReadFile(filepath.Join(folder, "log"))
			if got := strings.TrimSpace(string(log)); err != nil || got != want {
				t.Errorf("%s, %v, want %s", got, err, want)
			}
		})
	}
}
