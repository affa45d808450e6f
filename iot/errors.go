// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalidOptions matches errors of constructors that are about an option or
// another argument than the endpoint.
var ErrInvalidOptions = errors.New("iot: invalid options")

// optionError is one thing that is wrong with the arguments.
type optionError struct{ err error }

func invalid(format string, args ...any) error { return &optionError{fmt.Errorf(format, args...)} }

func (e *optionError) Error() string        { return "iot: " + strings.TrimPrefix(e.err.Error(), "iot: ") }
func (e *optionError) Is(target error) bool { return target == ErrInvalidOptions }
func (e *optionError) Unwrap() error        { return e.err }

// advice is the part of the text that says what to do: what follows the last
// semicolon, in the errors of this SDK.
func advice(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	if i := strings.LastIndex(text, "; "); i >= 0 {
		return text[i+2:]
	}
	return ""
}

// ConnectError says why an attempt to connect failed, or a connection was lost.
// The cause is found with errors.Is and errors.As.
type ConnectError struct {
	// Stage is where it failed: "credentials", "DNS", "TCP", "proxy", "TLS",
	// "WebSocket upgrade", "MQTT CONNECT", or "MQTT" for an established
	// connection.
	Stage string
	// Endpoint is the host.
	Endpoint string
	// Hint says what to check; "" if nothing is known beyond the cause.
	Hint string
	// Err is the cause.
	Err error
}

// Error names the cause and what to check.
func (e *ConnectError) Error() string {
	s := e.Err.Error()
	if e.Hint != "" && !strings.Contains(s, e.Hint) {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }
