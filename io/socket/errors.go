// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Conditions that errors of this package wrap.
var (
	// ErrInvalidOptions says that fields of the [Dialer] have values that they
	// must not have.
	ErrInvalidOptions = errors.New("invalid option")

	// ErrUnsupported says that the platform, or the kind of socket, lacks an
	// option that was asked for. It wraps [errors.ErrUnsupported].
	ErrUnsupported = fmt.Errorf("option not available: %w", errors.ErrUnsupported)

	// ErrInvalidAddress says that the network or the address given to
	// DialContext makes no sense.
	ErrInvalidAddress = errors.New("invalid address")
)

// ResolveError says that no usable address was found for a host, which is the
// DNS stage of a connection.
type ResolveError struct {
	Host string // as asked for

	// Err is the cause: an error of the resolver, often a [*net.DNSError], or
	// that of the context or of the deadline. It is never nil.
	Err error
}

// Error names the host and the cause.
func (e *ResolveError) Error() string {
	cause := e.Err.Error()
	var dns *net.DNSError
	if errors.As(e.Err, &dns) && dns == e.Err {
		cause = dns.Err // without the host once more
		if dns.Server != "" {
			cause += " (asked " + dns.Server + ")"
		}
	}
	return fmt.Sprintf("socket: resolving %q: %s", e.Host, cause)
}

// Unwrap returns the cause.
func (e *ResolveError) Unwrap() error { return e.Err }

// Stage returns "DNS", the stage of a connection at which the error arose.
func (e *ResolveError) Stage() string { return "DNS" }

// Timeout reports whether it was for want of time.
func (e *ResolveError) Timeout() bool { return isTimeout(e.Err) }

// Temporary is part of [net.Error]. It says the same as Timeout.
func (e *ResolveError) Temporary() bool { return e.Timeout() }

// NotFound reports whether the DNS said that there is no such host, or that it
// has no address of the family asked for.
func (e *ResolveError) NotFound() bool { return isNotFound(e.Err) }

// Attempt is the failure to connect to one address.
type Attempt struct {
	Address string // ip:port, or the path of a Unix socket
	Err     error  // never nil
}

// ConnectError says that no connection could be opened to any of the addresses
// of a host, which is the TCP stage of a connection, or to a Unix socket.
type ConnectError struct {
	Network string // as asked for: tcp, tcp4, tcp6 or unix
	Address string // as asked for

	// Attempts are the addresses that were tried, in the order in which they
	// were, with what went wrong for each.
	Attempts []Attempt

	// Err is what ended the stage before all addresses had failed: the error of
	// the context, or one that wraps [context.DeadlineExceeded] when
	// ConnectTimeout passed. It is nil when all addresses failed by themselves.
	Err error
}

// Error names the address asked for, and every address tried with its failure.
func (e *ConnectError) Error() string {
	var b strings.Builder
	b.WriteString("socket: connecting to ")
	b.WriteString(e.Address)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if len(e.Attempts) == 1 && e.Attempts[0].Address == e.Address {
		if e.Err == nil {
			b.WriteString(": ")
			b.WriteString(reason(e.Attempts[0].Err))
		}
		return b.String()
	}
	sep := ": "
	if e.Err != nil {
		sep = "; tried "
	}
	for _, a := range e.Attempts {
		b.WriteString(sep)
		b.WriteString(a.Address)
		b.WriteString(" (")
		b.WriteString(reason(a.Err))
		b.WriteString(")")
		sep = ", "
	}
	return b.String()
}

// Unwrap returns Err, if there is one, and the errors of the attempts.
func (e *ConnectError) Unwrap() []error {
	errs := make([]error, 0, len(e.Attempts)+1)
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// Stage returns the stage of a connection at which the error arose, "TCP" or "Unix".
func (e *ConnectError) Stage() string {
	if e.Network == "unix" {
		return "Unix"
	}
	return "TCP"
}

// Timeout reports whether time ran out, for the stage or for each of the addresses.
func (e *ConnectError) Timeout() bool {
	if e.Err != nil {
		return isTimeout(e.Err)
	}
	for _, a := range e.Attempts {
		if !isTimeout(a.Err) {
			return false
		}
	}
	return len(e.Attempts) > 0
}

// Temporary is part of [net.Error]. It says the same as Timeout.
func (e *ConnectError) Temporary() bool { return e.Timeout() }

// OptionError says that an option of a [Dialer] cannot be applied.
type OptionError struct {
	Option string // the name of the field
	Err    error  // wraps ErrInvalidOptions or ErrUnsupported, or is what the system says
}

// Error names the option and the cause.
func (e *OptionError) Error() string { return "socket: " + e.Option + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OptionError) Unwrap() error { return e.Err }

// optionError gives the system's refusal of an option its type.
func optionError(option string, err error) error {
	if isNoOption(err) {
		err = fmt.Errorf("%w (%w)", ErrUnsupported, err)
	}
	return &OptionError{Option: option, Err: err}
}

func invalidAddress(network, address, rule string) error {
	return fmt.Errorf("socket: %w: %s %q: %s", ErrInvalidAddress, network, address, rule)
}

// reason is the text of a failure without the addresses that stand beside it anyway.
func reason(err error) string {
	if op, ok := err.(*net.OpError); ok && op.Err != nil {
		err = op.Err
	}
	if sys, ok := err.(*os.SyscallError); ok && sys.Err != nil {
		err = sys.Err
	}
	return err.Error()
}

// contextError is the error of a context that has ended; it wraps the context's
// cause too, when there is another.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// timeoutError is the error of a stage that took too long.
func timeoutError(what string, limit time.Duration) error {
	return &stageTimeout{what, limit}
}

type stageTimeout struct {
	what  string
	limit time.Duration
}

func (e *stageTimeout) Error() string { return e.what + " " + e.limit.String() }
func (e *stageTimeout) Unwrap() error { return context.DeadlineExceeded }
func (e *stageTimeout) Timeout() bool { return true }

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
