// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Command is a command in the hands of a [Handler].
type Command struct {
	ExecutionID string
	// Name is what Options.Name found in the payload.
	Name   string
	Format Format
	// ContentType is the MIME type of the payload. Empty if it is not known.
	ContentType string
	// Payload is what the command was made with, unchanged.
	Payload []byte
	// ReceivedAt is when the command arrived.
	ReceivedAt time.Time
	// Deadline is when the service gives up waiting for the status, which is also
	// the end of the handler's context. Zero: not known.
	Deadline time.Time

	executor *Executor
}

// Decode reads the payload, JSON or CBOR, into v. It fails with
// [ErrInvalidPayload].
func (c *Command) Decode(v any) error { return c.Format.decode(c.Payload, v) }

// Progress reports IN_PROGRESS with a reason, and waits for the answer of the
// service. The executor does it without a reason when a handler takes long.
func (c *Command) Progress(ctx context.Context, code, description string) error {
	return c.executor.send(ctx, c.ExecutionID, c.Format, update{Status: InProgress, Reason: newReason(code, description)})
}

// Handler carries out a command. With a nil error the execution ends with
// SUCCEEDED and the result, which may be nil. A [*StatusError] says how it ends;
// any other error is FAILED with the text of the error.
//
// The context ends at the deadline, with the cause [ErrExpired]; a handler that
// returns an error then ends with TIMED_OUT. It also ends with the executor.
//
// If a result or a reason is too large for a message, or the service does not
// accept it, the status is reported without it.
type Handler func(ctx context.Context, c *Command) (Result, error)

// nameOf finds the name of a command in the field "command" of its payload.
func nameOf(c *Command) string {
	var fields struct {
		Command any `json:"command"`
	}
	if c.Format == Generic || c.Decode(&fields) != nil {
		return ""
	}
	name, _ := fields.Command.(string)
	return name
}

// name calls Options.Name. A command at which it panics has no name.
func (x *Executor) name(c *Command) (name string) {
	err := protect("Options.Name", func() error {
		name = x.options.Name(c)
		return nil
	})
	if err != nil {
		x.event(Event{Type: EventError, ExecutionID: c.ExecutionID, Err: fmt.Errorf("commands: %w", err)})
	}
	return name
}

// newCommand reads what a message says.
func (x *Executor) newCommand(m *mqtt5.Message, f Format) (*Command, error) {
	id, ok := x.target.executionID(m.Topic)
	if !ok {
		return nil, errors.Join(ErrInvalidPayload, errors.New("the topic has no execution id: "+m.Topic))
	}
	c := &Command{ExecutionID: id, Format: f, Payload: m.Payload, ReceivedAt: time.Now(), executor: x}
	if m.ContentType != nil {
		c.ContentType = *m.ContentType
	}
	switch {
	case m.MessageExpirySeconds != nil:
		c.Deadline = c.ReceivedAt.Add(time.Duration(*m.MessageExpirySeconds) * time.Second)
	case x.options.DefaultTimeout > 0:
		c.Deadline = c.ReceivedAt.Add(x.options.DefaultTimeout)
	}
	c.Name = x.name(c)
	return c, nil
}
