// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"errors"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// Conditions that an [*RejectedError] matches, by its code. Test for them with
// [errors.Is].
var (
	// ErrInvalidRequest: code 400, 415, or a request that was not sent because it
	// is not valid.
	ErrInvalidRequest = errors.New("shadow: invalid request")
	// ErrNotAuthorized: code 401 or 403.
	ErrNotAuthorized = errors.New("shadow: not authorized")
	// ErrNotFound: code 404, there is no such shadow or thing.
	ErrNotFound = errors.New("shadow: not found")
	// ErrVersionConflict: code 409, the shadow has another version than the
	// update named.
	ErrVersionConflict = errors.New("shadow: version conflict")
	// ErrTooLarge: code 413, or an update that was not sent because its state
	// exceeds [Options.MaxDocumentBytes].
	ErrTooLarge = errors.New("shadow: document too large")
	// ErrThrottled: code 429, too many requests are in flight.
	ErrThrottled = errors.New("shadow: too many requests")
	// ErrService: code 500, the service failed.
	ErrService = errors.New("shadow: service failure")
)

// RejectedError is a request that the service rejected.
type RejectedError struct {
	// Operation is "get", "update" or "delete".
	Operation string
	// Thing and Shadow name the shadow; Shadow is empty for the classic one.
	Thing, Shadow string
	// Code is an HTTP status code, such as 404.
	Code int
	// Message is the text of the service.
	Message string
	// Timestamp is the time of the service; zero if it named none.
	Timestamp time.Time
	// ClientToken is that of the request.
	ClientToken string
	// Hint is what to check; "" if there is nothing to say.
	Hint string
}

// Error returns the operation, the shadow, code and message, and the hint.
func (e *RejectedError) Error() string {
	s := fmt.Sprintf("shadow: %s of %s: %d %s", e.Operation, describe(e.Thing, e.Shadow), e.Code, e.Message)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Is matches the condition of the code.
func (e *RejectedError) Is(target error) bool {
	switch e.Code {
	case 400, 415:
		return target == ErrInvalidRequest
	case 401, 403:
		return target == ErrNotAuthorized
	case 404:
		return target == ErrNotFound
	case 409:
		return target == ErrVersionConflict
	case 413:
		return target == ErrTooLarge
	case 429:
		return target == ErrThrottled
	}
	return e.Code >= 500 && target == ErrService
}

// PayloadError is a message of the service that could not be read.
type PayloadError struct {
	// Topic of the message.
	Topic string
	// Payload is the message.
	Payload []byte
	// Err is the cause.
	Err error
}

// errNoState reports a delta without a state. Such a delta must not be taken for
// one without differences.
var errNoState = errors.New("the state is missing")

// errNegative reports a version that the service never gives.
var errNegative = errors.New("the version is negative")

// Error returns the topic and the cause, not the payload.
func (e *PayloadError) Error() string {
	return fmt.Sprintf("shadow: message on %s cannot be read: %v", e.Topic, e.Err)
}

// Unwrap returns the cause.
func (e *PayloadError) Unwrap() error { return e.Err }

func describe(thing, name string) string {
	if name == "" {
		return fmt.Sprintf("the classic shadow of %q", thing)
	}
	return fmt.Sprintf("shadow %q of %q", name, thing)
}

// failed explains a request that got no answer of the service.
func (t target) failed(operation string, err error) error {
	hint := ""
	var refused *mqtt5.AckError
	var failed *request.Error
	switch {
	case errors.As(err, &refused) && refused.Hint != "":
	case errors.As(err, &refused) && refused.Operation == "subscribe":
		hint = fmt.Sprintf("check that a policy allows iot:Subscribe on topicfilter/%s and topicfilter/%s",
			t.accepted(operation).Filter, t.rejected(operation).Filter)
	case errors.As(err, &refused):
		hint = fmt.Sprintf("check that a policy allows iot:Publish on topic/%s", t.topic(operation))
	case errors.Is(err, request.ErrTimeout) && errors.As(err, &failed) && failed.Stage >= request.StagePublish:
		hint = fmt.Sprintf("check that a policy allows iot:Publish on topic/%s, and iot:Receive on topic/%s and topic/%s",
			t.topic(operation), t.accepted(operation).Topic, t.rejected(operation).Topic)
	}
	if hint != "" {
		return fmt.Errorf("shadow: %s of %s: %w; %s", operation, describe(t.thing, t.name), err, hint)
	}
	return fmt.Errorf("shadow: %s of %s: %w", operation, describe(t.thing, t.name), err)
}

// hint is what to check after a rejection.
func (t target) hint(operation string, code int) string {
	switch code {
	case 401, 403:
		action := map[string]string{"get": "iot:GetThingShadow", "update": "iot:UpdateThingShadow", "delete": "iot:DeleteThingShadow"}[operation]
		return fmt.Sprintf("check that a policy allows iot:Publish on topic/%s, and %s on thing/%s for calls over HTTP", t.topic(operation), action, t.thing)
	case 404:
		if operation != "update" {
			return "an update creates the shadow"
		}
	case 409:
		return "get the shadow, apply the change to it and try again with its version, or leave the version out"
	case 413:
		return "a document has at most 8 KiB without metadata, unless the quota of the account is higher"
	case 429:
		return "at most 10 requests may be in flight on a connection"
	}
	return ""
}
