// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// RunnerOptions configure a [Runner]. At least Handlers or Steps is required.
type RunnerOptions struct {
	// Handlers are the handlers by operation.
	Handlers map[string]Handler
	// Operation returns the operation of a job document. Nil: the string in its
	// field "operation".
	Operation func(document json.RawMessage) (string, error)
	// Steps runs documents in the steps format that no handler takes. Nil: they
	// are rejected.
	Steps *Steps
	// Concurrency is how many executions run at the same time. 0: 1. More than
	// one is not possible in a namespace.
	Concurrency int
	// StateFile is the name of the file with which executions survive the
	// process. Its directory has to exist. Two runners must not share it. Empty:
	// nothing survives, and an execution that was in progress starts over.
	StateFile string
	// StepTimeout makes the service end an execution whose runner is silent for
	// that long. The runner renews it while the handler works. It is rounded up
	// to minutes. 0: no step time-out.
	StepTimeout time.Duration
	// MaxAttempts is how many processes may end during an execution before it
	// fails. 0: 3.
	MaxAttempts int
	// PollInterval is how often the runner asks for executions, and whether its
	// own were canceled, without a notification. 0: 15 minutes. Negative: never.
	PollInterval time.Duration
	// OnEvent receives what happens. Nil: nothing. It is called from several
	// goroutines and must not block.
	OnEvent func(Event)
}

// EventType is the type of an [Event].
type EventType string

// The types of events.
const (
	EventStarted   EventType = "started"   // a handler was started
	EventResumed   EventType = "resumed"   // a handler was started again
	EventReported  EventType = "reported"  // the service has the final status
	EventCanceled  EventType = "canceled"  // the execution belongs to nobody any more
	EventSuspended EventType = "suspended" // a later process goes on
	EventError     EventType = "error"     // a request failed; the runner repeats it
)

// Event is something that happened in a [Runner].
type Event struct {
	Type            EventType
	JobID           string // empty if the event is about no execution
	ExecutionNumber int64
	Status          Status // of EventReported
	Err             error  // of EventError
}

const (
	defaultMaxAttempts  = 3
	defaultPollInterval = 15 * time.Minute
	maxConcurrency      = 10 // the service lists no more
	// grace is how long a runner that ends tries to report an outcome.
	grace = 5 * time.Second
)

// Runner takes the pending executions of a thing one after the other and runs
// their handlers. With a state file it resumes them after a crash or a reboot,
// never runs a handler again that has finished, and reports outcomes that the
// process before could not report.
type Runner struct {
	client  *Client
	options RunnerOptions
	state   *state
	active  atomic.Bool
	kick    chan struct{} // there may be an execution or a free slot

	mu      sync.Mutex
	running map[string]*run // by job id
}

// NewRunner returns a runner and reads its state file. It fails with
// [ErrInvalidArgument] and [ErrState].
func NewRunner(client *Client, options RunnerOptions) (*Runner, error) {
	switch {
	case client == nil:
		return nil, fmt.Errorf("%w: the client is nil", ErrInvalidArgument)
	case len(options.Handlers) == 0 && options.Steps == nil:
		return nil, fmt.Errorf("%w: RunnerOptions has neither Handlers nor Steps", ErrInvalidArgument)
	case options.Concurrency < 0 || options.Concurrency > maxConcurrency:
		return nil, fmt.Errorf("%w: Concurrency is %d, 0 to %d is possible", ErrInvalidArgument, options.Concurrency, maxConcurrency)
	case options.Concurrency > 1 && client.topics.namespace != "":
		return nil, fmt.Errorf("%w: Concurrency above 1 in a namespace", ErrInvalidArgument)
	case options.StepTimeout < 0 || options.StepTimeout > 7*24*time.Hour:
		return nil, fmt.Errorf("%w: StepTimeout is %v, 0 to 7 days is possible", ErrInvalidArgument, options.StepTimeout)
	case options.MaxAttempts < 0:
		return nil, fmt.Errorf("%w: MaxAttempts is negative", ErrInvalidArgument)
	}
	for operation, h := range options.Handlers {
		if h == nil {
			return nil, fmt.Errorf("%w: the handler of %q is nil", ErrInvalidArgument, operation)
		}
	}
	if options.Concurrency == 0 {
		options.Concurrency = 1
	}
	if options.MaxAttempts == 0 {
		options.MaxAttempts = defaultMaxAttempts
	}
	if options.PollInterval == 0 {
		options.PollInterval = defaultPollInterval
	}
	if options.Operation == nil {
		options.Operation = operationField
	}
	s, err := openState(options.StateFile, client.thing)
	if err != nil {
		return nil, err
	}
	return &Runner{client: client, options: options, state: s, kick: make(chan struct{}, 1), running: map[string]*run{}}, nil
}

// operationField reads the field "operation" of a document.
func operationField(document json.RawMessage) (string, error) {
	var d struct {
		Operation json.RawMessage `json:"operation"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return "", fmt.Errorf("%w: job document: %w", ErrInvalidPayload, err)
	}
	var operation string
	if d.Operation == nil || json.Unmarshal(d.Operation, &operation) != nil {
		return "", nil
	}
	return operation, nil
}

// Run takes and runs executions until ctx ends or a handler returns
// [ErrSuspend], and returns the reason. It waits for connections, and goes on
// after every failure of the network or the service; such failures are events.
// It also returns when the request client or its connection is closed, and after
// the last handler has. Only one Run is possible at a time.
func (r *Runner) Run(ctx context.Context) error {
	if !r.active.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: the runner runs already", ErrInvalidArgument)
	}
	defer r.active.Store(false)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var handlers sync.WaitGroup
	defer handlers.Wait()
	defer cancel(nil) // before the wait

	stop, err := r.watch(ctx, cancel)
	if err != nil {
		return err
	}
	defer stop()

	var poll, retry timer
	defer poll.stop()
	defer retry.stop()
	poll.at(r.options.PollInterval)
	r.wake()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-poll.c():
			poll.at(r.options.PollInterval)
			r.verifyAll()
		case <-retry.c():
		case <-r.kick:
		}
		err := r.fill(ctx, cancel, &handlers)
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, request.ErrClosed), errors.Is(err, mqtt5.ErrClosed):
			return err
		case ctx.Err() == nil:
			r.event(Event{Type: EventError, Err: err})
			failures++
			retry.at(backoff(failures))
		}
	}
}

// fill starts executions until there is no slot or no execution.
func (r *Runner) fill(ctx context.Context, cancel context.CancelCauseFunc, handlers *sync.WaitGroup) error {
	for ctx.Err() == nil && r.slots() > 0 {
		e, err := r.acquire(ctx)
		if errors.Is(err, ErrNoExecution) {
			return nil
		}
		if err != nil {
			return err
		}
		again, err := r.start(ctx, cancel, handlers, e)
		if again || err != nil {
			return err
		}
	}
	return nil
}

// start begins or resumes an execution.
func (r *Runner) start(ctx context.Context, cancel context.CancelCauseFunc, handlers *sync.WaitGroup, e *Execution) (again bool, err error) {
	known, resumed := r.state.find(e)
	if e.ThingName == "" {
		e.ThingName = r.client.thing
	}
	x := newRun(r, e, known, resumed)
	r.mu.Lock()
	r.running[e.JobID] = x
	r.mu.Unlock()
	handlers.Go(func() {
		suspend := x.execute(ctx)
		r.mu.Lock()
		delete(r.running, e.JobID)
		r.mu.Unlock()
		if suspend {
			cancel(ErrSuspend)
		}
		r.wake()
	})
	if known.Phase == reported {
		// The service does not know yet what it has confirmed: do not ask at once.
		return true, fmt.Errorf("jobs: %s is over and still listed", e.JobID)
	}
	return false, nil
}

func (r *Runner) slots() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.options.Concurrency - len(r.running)
}

func (r *Runner) runs(jobID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.running[jobID]
	return ok
}

// wake makes Run look for executions.
func (r *Runner) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// verifyAll makes every execution ask whether it still belongs to this runner.
func (r *Runner) verifyAll() { r.verify(func(string) bool { return true }) }

func (r *Runner) verify(which func(jobID string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, x := range r.running {
		if which(id) {
			signal(x.doubt)
		}
	}
}

func (r *Runner) event(e Event) {
	if r.options.OnEvent != nil {
		r.options.OnEvent(e)
	}
}

// signal sets a flag that is a channel with room for one value.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// The delays after failures in a row.
const (
	minBackoff = time.Second
	maxBackoff = 2 * time.Minute
)

// backoff returns a random delay after the n-th failure in a row, from 1.
func backoff(n int) time.Duration {
	limit := min(maxBackoff, minBackoff<<min(n-1, 10))
	return minBackoff/2 + rand.N(limit)
}

// timer is a timer that may be unset.
type timer struct{ t *time.Timer }

// at sets the timer. A duration that is not positive leaves it as it is.
func (t *timer) at(d time.Duration) {
	if d <= 0 {
		return
	}
	if t.t == nil {
		t.t = time.NewTimer(d)
		return
	}
	t.t.Reset(d)
}

func (t *timer) stop() {
	if t.t != nil {
		t.t.Stop()
	}
}

func (t *timer) c() <-chan time.Time {
	if t.t == nil {
		return nil
	}
	return t.t.C
}
