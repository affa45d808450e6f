// SPDX-License-Identifier: Apache-2.0

package request

import (
	"context"
	"errors"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Conditions that requests and streams end with. Test for them with [errors.Is].
var (
	// ErrTimeout: no answer within [Request.Timeout]. It matches
	// [context.DeadlineExceeded], too.
	ErrTimeout error = timeoutError{}
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("request: client closed")
	// ErrOffline: there is no connection, and [Request.Offline] is [FailOffline].
	ErrOffline = errors.New("request: not connected")
	// ErrNoCapacity: streams use so many subscriptions that there can be no room
	// within [Options.MaxSubscriptions].
	ErrNoCapacity = errors.New("request: no room for another subscription")
	// ErrSubscriptionLost: the server forgot the session while the request
	// waited, and with it the subscription for the answer.
	ErrSubscriptionLost = errors.New("request: subscription for the answer lost")
	// ErrInvalid: the request or the options are not valid.
	ErrInvalid = errors.New("request: invalid")
)

type timeoutError struct{}

func (timeoutError) Error() string        { return "request: no answer in time" }
func (timeoutError) Timeout() bool        { return true }
func (timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, a...))
}

// Stage is what a request does, or was doing when it failed.
type Stage uint8

// The stages of a request, in their order.
const (
	// StageQueue: the request waits for another one with the same token, for
	// room for its subscriptions, or for its turn within its [Quota].
	StageQueue Stage = iota
	// StageConnect: it waits for a connection.
	StageConnect
	// StageSubscribe: it waits for the server to accept its subscriptions.
	StageSubscribe
	// StagePublish: it waits for the acknowledgement of its message.
	StagePublish
	// StageAnswer: it waits for the answer.
	StageAnswer
)

var stageNames = [...]string{"queue", "connect", "subscribe", "publish", "answer"}

// String returns the name of the stage in lower case.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "unknown"
}

// Error describes a failed request. It matches its cause, and either
// [mqtt5.ErrNotSent] or [mqtt5.ErrOutcomeUnknown] unless the server refused the
// message.
type Error struct {
	// Topic is the topic of the request.
	Topic string
	// Stage is what the request was doing.
	Stage Stage
	// Sent reports that the message may have reached the server.
	Sent bool
	// Err is the cause. An [*mqtt5.AckError] holds the reason code of a refused
	// SUBSCRIBE or PUBLISH.
	Err error
}

// Error returns the topic, the stage and the cause.
func (e *Error) Error() string {
	return fmt.Sprintf("request: %s (%s): %v", e.Topic, e.Stage, e.Err)
}

// Is matches [mqtt5.ErrNotSent] and [mqtt5.ErrOutcomeUnknown].
func (e *Error) Is(target error) bool {
	switch target {
	case mqtt5.ErrNotSent:
		return !e.Sent
	case mqtt5.ErrOutcomeUnknown:
		var refused *mqtt5.AckError
		return e.Sent && !errors.As(e.Err, &refused)
	}
	return false
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
