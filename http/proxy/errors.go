// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// Conditions that an [Error] may wrap.
var (
	// ErrRefused means that the proxy answered and did not open the tunnel.
	ErrRefused = errors.New("the proxy refused the tunnel")
	// ErrAuthentication means that the proxy wants credentials, or does not
	// accept those it got.
	ErrAuthentication = errors.New("the proxy requires authentication")
	// ErrMalformedResponse means that the answer is not in the protocol of the proxy.
	ErrMalformedResponse = errors.New("malformed response from the proxy")
	// ErrHeaderTooLarge means that the header of the answer exceeds 64 KiB.
	ErrHeaderTooLarge = errors.New("response header of the proxy is too large")
	// ErrClosed means that the proxy closed the connection in the middle of the exchange.
	ErrClosed = errors.New("the proxy closed the connection")
)

// Step is a part of opening a tunnel.
type Step uint8

const (
	// StepDial opens the connection to the proxy.
	StepDial Step = iota + 1
	// StepTLS is the TLS handshake with the proxy.
	StepTLS
	// StepHeader is the call of Options.ConnectHeader.
	StepHeader
	// StepTunnel is the CONNECT or SOCKS5 exchange.
	StepTunnel
	// StepDirect opens a connection to a host that needs no proxy.
	StepDirect
	// StepTarget checks the address to connect to, before any I/O.
	StepTarget
)

// String returns the name of the step.
func (s Step) String() string {
	switch s {
	case StepDial:
		return "dial"
	case StepTLS:
		return "tls"
	case StepHeader:
		return "header"
	case StepTunnel:
		return "tunnel"
	case StepDirect:
		return "direct"
	case StepTarget:
		return "target"
	default:
		return "step(" + strconv.Itoa(int(s)) + ")"
	}
}

// Error says why there is no tunnel.
type Error struct {
	// Step is the step that failed.
	Step Step
	// Proxy is the URL of the proxy without credentials. Empty for StepDirect.
	Proxy string
	// Target is the host:port asked for.
	Target string
	// StatusCode is the status of an HTTP proxy's answer, 0 if there was none.
	StatusCode int
	// Reason is the reason phrase of that answer, shortened, without control characters.
	Reason string
	// Header holds those headers of that answer that help to find the cause,
	// such as Proxy-Authenticate, Proxy-Status, Retry-After and Via.
	Header http.Header
	// Reply is the reply code of a SOCKS5 proxy, 0 if there was none.
	Reply SOCKSReply
	// Hint says what to do. It may be empty.
	Hint string
	// Err is the cause. It matches one of the conditions of this package,
	// a context error, or the error of the layer below.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("proxy: ")
	b.WriteString(e.Step.String())
	b.WriteString(" step")
	if e.Proxy != "" {
		b.WriteString(" of ")
		b.WriteString(e.Proxy)
	}
	b.WriteString(" to ")
	b.WriteString(e.Target)
	b.WriteString(": ")
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	if e.StatusCode != 0 {
		b.WriteString(" (status ")
		b.WriteString(strconv.Itoa(e.StatusCode))
		if e.Reason != "" {
			b.WriteString(" ")
			b.WriteString(e.Reason)
		}
		b.WriteString(")")
	}
	if e.Reply != 0 {
		b.WriteString(" (")
		b.WriteString(e.Reply.String())
		b.WriteString(")")
	}
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Stage returns "proxy", the stage of a connection at which the error arose; for
// a direct connection, the stage that the error of the layer below names, or "TCP".
func (e *Error) Stage() string {
	if e.Step != StepDirect {
		return "proxy"
	}
	var below interface{ Stage() string }
	switch {
	case errors.As(e.Err, &below):
		return below.Stage()
	case errors.As(e.Err, new(*net.DNSError)):
		return "DNS" // of a dialer that is not ours
	}
	return "TCP"
}

// Timeout reports whether a deadline passed. It makes the error a net.Error.
func (e *Error) Timeout() bool {
	var ne net.Error
	return errors.As(e.Err, &ne) && ne.Timeout()
}

// Temporary is the same as Timeout; it completes net.Error.
func (e *Error) Temporary() bool { return e.Timeout() }

var _ net.Error = (*Error)(nil)

// SOCKSReply is a reply code of RFC 1928 section 6.
type SOCKSReply uint8

// String describes the reply in words.
func (r SOCKSReply) String() string {
	names := [...]string{
		"succeeded", "general SOCKS server failure", "connection not allowed by ruleset",
		"network unreachable", "host unreachable", "connection refused", "TTL expired",
		"command not supported", "address type not supported",
	}
	if int(r) < len(names) {
		return "SOCKS reply " + strconv.Itoa(int(r)) + ": " + names[r]
	}
	return "SOCKS reply " + strconv.Itoa(int(r))
}
