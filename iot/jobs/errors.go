// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"errors"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
)

// The conditions that errors of this package match with [errors.Is].
var (
	// ErrInvalidArgument is a name or request that the service would refuse.
	ErrInvalidArgument = errors.New("jobs: invalid argument")
	// ErrInvalidPayload is an answer or notification that cannot be read.
	ErrInvalidPayload = errors.New("jobs: invalid payload")
	// ErrNoExecution means that no execution is pending.
	ErrNoExecution = errors.New("jobs: no execution is pending")
	// ErrCanceled is the cause of the context of a handler whose execution was
	// canceled, removed or changed by somebody else.
	ErrCanceled = errors.New("jobs: the execution was canceled")
	// ErrSuspend is returned by a handler whose execution goes on in a later
	// process, for instance after a reboot. Nothing is reported; [Runner.Run]
	// takes no more jobs and returns it.
	ErrSuspend = errors.New("jobs: the execution goes on in a later process")
	// ErrState means that the state file of a runner cannot be read or written.
	ErrState = errors.New("jobs: state file")
	// ErrHash means that a download does not have the expected SHA-256.
	ErrHash = errors.New("jobs: the download has another hash")
	// ErrDownload means that a download failed.
	ErrDownload = errors.New("jobs: download failed")
	// ErrNotAllowed means that a job document asks for something that the
	// options do not allow.
	ErrNotAllowed = errors.New("jobs: not allowed")
)

// ErrorCode is the code of a request that the service rejected.
type ErrorCode string

// The error codes of the service.
const (
	InvalidTopic           ErrorCode = "InvalidTopic"
	InvalidJSON            ErrorCode = "InvalidJson"
	InvalidRequest         ErrorCode = "InvalidRequest"
	InvalidStateTransition ErrorCode = "InvalidStateTransition"
	ResourceNotFound       ErrorCode = "ResourceNotFound"
	VersionMismatch        ErrorCode = "VersionMismatch"
	InternalError          ErrorCode = "InternalError"
	RequestThrottled       ErrorCode = "RequestThrottled"
	TerminalStateReached   ErrorCode = "TerminalStateReached"
)

// RejectedError is the answer of the service to a request that it rejected.
type RejectedError struct {
	// Operation is the name of the operation in the API, such as
	// "UpdateJobExecution".
	Operation string
	JobID     string
	Code      ErrorCode
	Message   string
	// State is the present state of the execution after InvalidStateTransition
	// and VersionMismatch. Nil otherwise.
	State *ExecutionState
}

// Error names operation, code and message.
func (e *RejectedError) Error() string {
	s := "jobs: " + e.Operation + " was rejected: " + string(e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Temporary reports whether the same request may succeed later.
func (e *RejectedError) Temporary() bool {
	return e.Code == InternalError || e.Code == RequestThrottled
}

// rejection is the payload of a rejected request.
type rejection struct {
	Code    ErrorCode       `json:"code"`
	Message string          `json:"message"`
	State   *ExecutionState `json:"executionState"`
}

func decodeRejection(operation, jobID string, payload []byte) error {
	var r rejection
	if err := decode(payload, &r); err != nil {
		return err
	}
	if r.Code == "" {
		r.Code = "unknown"
	}
	return &RejectedError{Operation: operation, JobID: jobID, Code: r.Code, Message: r.Message, State: r.State}
}

// decode reads a JSON object. Fields that are not known are ignored.
func decode(payload []byte, v any) error {
	if err := jsonobject.Decode(payload, v); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidPayload, err)
	}
	return nil
}
