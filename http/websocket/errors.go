// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Conditions that errors of this package may wrap.
var (
	// ErrRefused means that the server answered the upgrade with another status than 101.
	ErrRefused = errors.New("the server refused the upgrade")
	// ErrSubprotocol means that the server did not choose an offered subprotocol.
	ErrSubprotocol = errors.New("the server did not confirm the subprotocol")
	// ErrInvalidUpgrade means that a 101 answer breaks the rules of the upgrade: a wrong
	// accept key, a missing field, an extension that was not offered.
	ErrInvalidUpgrade = errors.New("invalid upgrade response")
	// ErrMalformedResponse means that the answer is not HTTP/1.1.
	ErrMalformedResponse = errors.New("malformed response from the server")
	// ErrHeaderTooLarge means that the header of the answer exceeds 64 KiB.
	ErrHeaderTooLarge = errors.New("response header of the server is too large")
	// ErrProtocol means that the server broke the rules of RFC 6455 on an open
	// connection.
	ErrProtocol = errors.New("websocket protocol violation")
	// ErrTextFrame means that the server sent a text frame where only binary
	// frames are allowed.
	ErrTextFrame = errors.New("text frame received")
)

// Step is a part of opening a connection.
type Step uint8

const (
	// StepTransform prepares the request and calls Options.Transform.
	StepTransform Step = iota + 1
	// StepDial opens the connection below.
	StepDial
	// StepTLS is the TLS handshake with the server.
	StepTLS
	// StepUpgrade is the exchange of request and answer.
	StepUpgrade
)

// String returns the name of the step.
func (s Step) String() string {
	switch s {
	case StepTransform:
		return "transform"
	case StepDial:
		return "dial"
	case StepTLS:
		return "tls"
	case StepUpgrade:
		return "upgrade"
	default:
		return "step(" + strconv.Itoa(int(s)) + ")"
	}
}

// Error says why there is no connection when the server gave no answer to the
// upgrade request.
type Error struct {
	// Step is the step that failed.
	Step Step
	// Address is the host:port of the server.
	Address string
	// Err is the cause: a context error, the error of the transform or of the
	// layer below,
	// or a condition of this package.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	return "websocket: " + e.Step.String() + " step to " + e.Address + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// stageName is the stage of a connection that this package is.
const stageName = "WebSocket upgrade"

// Stage returns the stage of a connection at which the error arose: "WebSocket
// upgrade", "TLS", or what the error of the layer below names, such as "proxy".
// A TLS alert in place of an answer is of stage "TLS": with TLS 1.3 it is how a
// server refuses the client's certificate.
func (e *Error) Stage() string {
	var below interface{ Stage() string }
	switch {
	case e.Step == StepUpgrade && isAlert(e.Err):
		return "TLS"
	case e.Step != StepDial && e.Step != StepTLS:
		return stageName
	case errors.As(e.Err, &below):
		return below.Stage()
	case e.Step == StepTLS:
		return "TLS"
	case errors.As(e.Err, new(*net.DNSError)):
		return "DNS" // of a dialer that is not ours
	default:
		return "TCP"
	}
}

// isAlert reports whether the server ended the connection with a TLS alert.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// Timeout reports whether a deadline passed. It makes the error a net.Error.
func (e *Error) Timeout() bool {
	var ne net.Error
	return errors.As(e.Err, &ne) && ne.Timeout()
}

// Temporary is the same as Timeout; it completes net.Error.
func (e *Error) Temporary() bool { return e.Timeout() }

var _ net.Error = (*Error)(nil)

// UpgradeError is an answer of the server that does not lead to a WebSocket
// connection. 403 usually means a wrong path, signature or policy; 426 and 403 may
// mean that the clocks differ, see Date.
type UpgradeError struct {
	// URL is the URL of the request without user and query.
	URL string
	// StatusCode is the status of the answer. 101 means that the rest of the answer was
	// wrong; Err says how.
	StatusCode int
	// Reason is the reason phrase, shortened, without control characters.
	Reason string
	// Date is the time of the server according to the answer, zero if it gave none.
	Date time.Time
	// Header holds the fields of the answer that help to find the cause. A
	// Location is without user and query.
	Header http.Header
	// Body is the beginning of the body, at most 1 KiB, as it came. It may
	// repeat parts of the request, so it is not part of the error text.
	Body []byte
	// Err is ErrRefused, ErrSubprotocol or ErrInvalidUpgrade, possibly with more text.
	Err error
}

// Error implements error.
func (e *UpgradeError) Error() string {
	var b strings.Builder
	b.WriteString("websocket: ")
	b.WriteString(e.Err.Error())
	b.WriteString(" to ")
	b.WriteString(e.URL)
	b.WriteString(" (status ")
	b.WriteString(strconv.Itoa(e.StatusCode))
	if e.Reason != "" {
		b.WriteString(" ")
		b.WriteString(e.Reason)
	}
	b.WriteString(")")
	return b.String()
}

// Unwrap returns the condition.
func (e *UpgradeError) Unwrap() error { return e.Err }

// Stage returns "WebSocket upgrade", the stage of a connection at which the
// error arose.
func (e *UpgradeError) Stage() string { return stageName }

// StatusCode is a close code of RFC 6455 section 7.4.
type StatusCode uint16

// Close codes with a meaning of their own in this package.
const (
	StatusNormalClosure   StatusCode = 1000
	StatusGoingAway       StatusCode = 1001
	StatusUnsupportedData StatusCode = 1003
	statusProtocolError   StatusCode = 1002
	// StatusNoStatus stands for a close frame without a code.
	StatusNoStatus StatusCode = 1005
)

// CloseError means that the server closed the connection with a close frame.
type CloseError struct {
	// Code is the code in the frame, StatusNoStatus if it had none.
	Code StatusCode
	// Reason is the text in the frame, without control characters.
	Reason string
}

// Error implements error.
func (e *CloseError) Error() string {
	s := "websocket: closed by the server with code " + strconv.Itoa(int(e.Code))
	if e.Reason != "" {
		s += " " + strconv.Quote(e.Reason)
	}
	return s
}

// Is makes a close with code 1000, 1001 or none that gives no reason look like
// io.EOF to errors.Is, and a close with another code like io.ErrUnexpectedEOF.
func (e *CloseError) Is(target error) bool {
	switch e.Code {
	case StatusNormalClosure, StatusGoingAway, StatusNoStatus:
		return target == io.EOF && e.Reason == ""
	default:
		return target == io.ErrUnexpectedEOF
	}
}
