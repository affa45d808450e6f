// SPDX-License-Identifier: Apache-2.0

package commands

import "errors"

// The conditions that errors of this package match with [errors.Is].
var (
	// ErrInvalidArgument is a target, a result or an option that the service would
	// refuse.
	ErrInvalidArgument = errors.New("commands: invalid argument")
	// ErrInvalidPayload is a command or an answer that cannot be read.
	ErrInvalidPayload = errors.New("commands: invalid payload")
	// ErrExpired is the cause of the context of a handler whose time is over, and
	// the error of a command that came too late to be run.
	ErrExpired = errors.New("commands: the time of the command is over")
	// ErrHungUp is the error of an event: the server ended the connection after
	// the subscription for commands, which it does where commands are not
	// available or not allowed. The executor waits before it tries again.
	ErrHungUp = errors.New("commands: the server ended the connection after the subscription")
	// ErrState means that the state file cannot be read or written.
	ErrState = errors.New("commands: state file")
)

// The error codes of the service, in [RejectedError].
const (
	CodeInvalidTopic           = "InvalidTopic"
	CodeInvalidJSON            = "InvalidJson"
	CodeInvalidRequest         = "InvalidRequest"
	CodeInvalidStateTransition = "InvalidStateTransition"
	CodeResourceNotFound       = "ResourceNotFound"
	CodeInternalError          = "InternalError"
	CodeRequestThrottled       = "RequestThrottled"
	CodeTerminalStateReached   = "TerminalStateReached"
)

// RejectedError is the answer of the service to a status that it rejected.
type RejectedError struct {
	ExecutionID string
	Code        string
	Message     string
}

// Error names execution, code and message.
func (e *RejectedError) Error() string {
	s := "commands: the status of " + e.ExecutionID + " was rejected: " + e.Code
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Temporary reports whether the same status may be accepted later.
func (e *RejectedError) Temporary() bool {
	return e.Code == CodeInternalError || e.Code == CodeRequestThrottled
}

// StatusError is an error of a [Handler] that says how the execution ends.
type StatusError struct {
	// Status is [Failed], [Rejected] or [TimedOut].
	Status Status
	// Code is a reason for programs: up to 64 capital letters, digits, '_' and
	// '-'. Empty: DEVICE, or none if there is no Description either.
	Code string
	// Description is a reason for people, of which 1024 characters are reported.
	Description string
}

// Error returns status, code and description.
func (e *StatusError) Error() string {
	s := "commands: " + string(e.Status)
	if e.Code != "" {
		s += ": " + e.Code
	}
	if e.Description != "" {
		s += ": " + e.Description
	}
	return s
}

// Fail makes a handler end with FAILED and a reason.
func Fail(code, description string) error { return &StatusError{Failed, code, description} }

// Reject makes a handler end with REJECTED and a reason.
func Reject(code, description string) error { return &StatusError{Rejected, code, description} }
