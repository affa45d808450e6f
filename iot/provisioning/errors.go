// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"errors"
	"fmt"
	"strings"
)

// The conditions that errors of this package match with [errors.Is].
var (
	// ErrInvalidArgument is an argument that the service would refuse, or options
	// that contradict each other.
	ErrInvalidArgument = errors.New("provisioning: invalid argument")
	// ErrInvalidPayload is an answer that cannot be read, or that lacks something.
	ErrInvalidPayload = errors.New("provisioning: invalid payload")
	// ErrStore means that the store failed. Nothing goes on without it.
	ErrStore = errors.New("provisioning: store")
	// ErrClaim means that no connection with the claim could be made in time. The
	// error also matches the failure of the last attempt.
	ErrClaim = errors.New("provisioning: no connection with the claim")
	// ErrDevice means that no connection with the new identity could be made in
	// time. The identity is stored; the next call goes on from there. The error
	// also matches the failure of the last attempt.
	ErrDevice = errors.New("provisioning: no connection with the new identity")
)

// RejectedError is the answer of the service to a request that it rejected.
type RejectedError struct {
	// Operation is the name of the operation in the API, such as "RegisterThing".
	Operation string
	// StatusCode is like that of HTTP.
	StatusCode int
	ErrorCode  string
	Message    string
}

// Error names operation, code and message.
func (e *RejectedError) Error() string {
	s := fmt.Sprintf("provisioning: %s was rejected: %d %s", e.Operation, e.StatusCode, e.ErrorCode)
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Temporary reports whether the same request may succeed later.
func (e *RejectedError) Temporary() bool { return e.StatusCode == 429 || e.StatusCode >= 500 }

// tokenExpired reports that the ownership token is worth nothing any more.
func (e *RejectedError) tokenExpired() bool {
	return strings.Contains(strings.ToLower(e.ErrorCode), "ownershiptoken")
}

type rejection struct {
	StatusCode int    `json:"statusCode"`
	ErrorCode  string `json:"errorCode"`
	Message    string `json:"errorMessage"`
}
