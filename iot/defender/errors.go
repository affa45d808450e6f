// SPDX-License-Identifier: Apache-2.0

package defender

import (
	"errors"
	"fmt"
)

// The conditions that errors of this package match with [errors.Is].
var (
	// ErrInvalidArgument is a name, a value or an option that the service would
	// refuse.
	ErrInvalidArgument = errors.New("defender: invalid argument")
	// ErrTooSoon means that the last report is less than five minutes old.
	ErrTooSoon = errors.New("defender: the last report is less than five minutes old")
	// ErrMetrics means that a metric could not be read.
	ErrMetrics = errors.New("defender: metrics")
)

// The error codes of the service, in [RejectedError].
const (
	CodeInvalidPayload = "InvalidPayload"
	CodeMissingHeader  = "MissingHeader"
	CodeThrottled      = "Throttled"
)

// RejectedError is the answer of the service to a report that it rejected.
type RejectedError struct {
	ReportID int64
	Code     string
	Message  string
}

// Error says what the service did not like, and what to check.
func (e *RejectedError) Error() string {
	s := fmt.Sprintf("defender: report %d was rejected: %s", e.ReportID, e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	switch e.Code {
	case CodeThrottled:
		s += " (another process reports for this thing, or a report was sent by hand)"
	case CodeInvalidPayload:
		s += " (custom metrics have to be defined in the account with the same type)"
	}
	return s
}
