// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// Options configure an [Executor]. At least one handler is required.
type Options struct {
	// Handlers are the handlers by the name of the command.
	Handlers map[string]Handler
	// Default handles the commands that have no handler of their own. Nil: they
	// are rejected.
	Default Handler
	// Name finds the name of a command. The service does not send it, so it has to
	// be in the payload. Nil: the string in the field "command" of a JSON or CBOR
	// payload.
	Name func(*Command) string
	// Formats are the payload formats to subscribe to, one subscription for each.
	// Nil: all three.
	Formats []Format
	// DefaultTimeout is the time for commands that do not say theirs: those whose
	// messages have no expiry. 0: no limit.
	DefaultTimeout time.Duration
	// Concurrency is how many handlers run at the same time. 0: 1.
	Concurrency int
	// MaxQueued is how many commands may wait for a handler; further ones are
	// rejected. 0: 100.
	MaxQueued int
	// ProgressAfter is how long a handler may take before IN_PROGRESS is reported
	// for it. 0: 1 s. Negative: never.
	ProgressAfter time.Duration
	// Remember is how many executions are remembered to recognise those that come
	// twice. 0: 1024.
	Remember int
	// StateFile is the name of the file with which executions are remembered
	// across restarts. An execution whose process ended is reported as FAILED with
	// the reason INTERRUPTED, and never run again. Empty: none.
	StateFile string
	// RequestTimeout limits each report of a status. 0: that of the request client.
	RequestTimeout time.Duration
	// OnEvent receives what happens. Nil: nothing. It is called from several
	// goroutines and must not block.
	OnEvent func(Event)
}

// EventType is the type of an [Event].
type EventType string

// The types of events.
const (
	EventReady     EventType = "ready"     // commands can arrive
	EventReceived  EventType = "received"  // a command arrived for the first time
	EventDuplicate EventType = "duplicate" // a command arrived again
	EventReported  EventType = "reported"  // the service has the final status
	EventError     EventType = "error"     // something failed
)

// Event is something that happened in an [Executor].
type Event struct {
	Type        EventType
	ExecutionID string // empty if the event is about no execution
	Status      Status // of EventReported
	Err         error  // of EventError
}

const (
	defaultMaxQueued     = 100
	defaultRemember      = 1024
	defaultProgressAfter = time.Second
	maxConcurrency       = 100
)

// Executor runs handlers for the commands of one target.
type Executor struct {
	requests *request.Client
	target   Target
	options  Options
	memory   *memory
	active   atomic.Bool
	queue    chan *Command
	refused  chan refusal
}

// New returns an executor and reads its state file. It subscribes to nothing
// before [Executor.Run]. It fails with [ErrInvalidArgument] and [ErrState].
func New(requests *request.Client, target Target, options Options) (*Executor, error) {
	if requests == nil {
		return nil, fmt.Errorf("%w: the request client is nil", ErrInvalidArgument)
	}
	if err := target.check(); err != nil {
		return nil, err
	}
	if err := options.complete(); err != nil {
		return nil, err
	}
	m, err := openMemory(options.StateFile, target.String(), options.Remember)
	if err != nil {
		return nil, err
	}
	return &Executor{
		requests: requests, target: target, options: options, memory: m, queue: make(chan *Command, options.MaxQueued), refused: make(chan refusal, options.MaxQueued),
	}, nil
}

func (o *Options) complete() error {
	for name, h := range o.Handlers {
		if h == nil {
			return fmt.Errorf("%w: the handler of %q is nil", ErrInvalidArgument, name)
		}
	}
	switch {
	case len(o.Handlers) == 0 && o.Default == nil:
		return fmt.Errorf("%w: Options has neither Handlers nor Default", ErrInvalidArgument)
	case o.Concurrency < 0 || o.Concurrency > maxConcurrency:
		return fmt.Errorf("%w: Options.Concurrency is %d, 0 to %d is possible", ErrInvalidArgument, o.Concurrency, maxConcurrency)
	case o.MaxQueued < 0 || o.Remember < 0 || o.DefaultTimeout < 0 || o.RequestTimeout < 0:
		return fmt.Errorf("%w: MaxQueued, Remember, DefaultTimeout or RequestTimeout is negative", ErrInvalidArgument)
	}
	if o.Formats == nil {
		o.Formats = []Format{JSON, CBOR, Generic}
	}
	for _, f := range o.Formats {
		if f > Generic {
			return fmt.Errorf("%w: Options.Formats has an unknown format", ErrInvalidArgument)
		}
	}
	if o.Name == nil {
		o.Name = nameOf
	}
	o.Concurrency = orDefault(o.Concurrency, 1)
	o.MaxQueued = orDefault(o.MaxQueued, defaultMaxQueued)
	o.Remember = orDefault(o.Remember, defaultRemember)
	o.ProgressAfter = orDefault(o.ProgressAfter, defaultProgressAfter)
	return nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Run subscribes to the commands and runs their handlers until ctx ends, and
// returns the reason. It also returns when the server refuses a subscription for
// good, or the request client or its connection is closed. It returns after the
// last handler has. Only one Run is possible at a time.
func (x *Executor) Run(ctx context.Context) error {
	if !x.active.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: the executor runs already", ErrInvalidArgument)
	}
	defer x.active.Store(false)
	ctx, cancel := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel(nil)
	workers.Go(func() { x.finishEarlier(ctx) })
	workers.Go(func() { x.reportRefused(ctx) })
	for range x.options.Concurrency {
		workers.Go(func() { x.work(ctx) })
	}
	return x.subscribe(ctx)
}

// receive takes a command from its stream.
func (x *Executor) receive(m mqtt5.Message, f Format) {
	c, err := x.newCommand(&m, f)
	if err != nil {
		x.event(Event{Type: EventError, Err: err})
		return
	}
	known, first := x.memory.begin(c.ExecutionID)
	if !first {
		x.event(Event{Type: EventDuplicate, ExecutionID: c.ExecutionID})
		if known.Final == nil {
			return // it waits or runs
		}
	} else {
		x.event(Event{Type: EventReceived, ExecutionID: c.ExecutionID})
	}
	x.enqueue(c, first) // a duplicate has its status reported again
}

// enqueue lets a command wait for a handler. If there is no room, one that is not
// known yet is rejected.
func (x *Executor) enqueue(c *Command, first bool) {
	select {
	case x.queue <- c:
	default:
		x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: errors.New("commands: too many commands wait")})
		if first {
			x.refuse(c)
		}
	}
}

// refuse rejects a command for which there was no room. It does not wait for the
// report: the age of commands counts from their receipt.
func (x *Executor) refuse(c *Command) {
	u := update{Status: Rejected, Reason: newReason("QUEUE_FULL", "too many commands wait on the device")}
	if err := x.memory.finish(c.ExecutionID, u); err != nil {
		x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: err})
	}
	select {
	case x.refused <- refusal{c, u}:
	default: // a flood of commands does not become one of reports
	}
}

// refusal is a report that waits to be sent.
type refusal struct {
	command *Command
	update  update
}

// reportRefused reports one command after the other.
func (x *Executor) reportRefused(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-x.refused:
			x.report(ctx, r.command, r.update, 1)
		}
	}
}

func (x *Executor) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-x.queue:
			if !x.execute(ctx, c) {
				x.enqueue(c, true) // for the next Run
			}
		}
	}
}

func (x *Executor) event(e Event) {
	if x.options.OnEvent != nil {
		x.options.OnEvent(e)
	}
}
