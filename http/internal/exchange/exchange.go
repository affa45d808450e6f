// SPDX-License-Identifier: Apache-2.0

// Package exchange runs an exchange that opens a connection (a TLS handshake, a
// tunnel request, a WebSocket upgrade) under a deadline of its own, and checks
// the request head that is sent in it.
package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// longAgo makes pending and future I/O fail at once. It must not be the zero
// time, which means "no deadline".
var longAgo = time.Unix(1, 0)

// TimeoutError reports that a step did not finish within its own deadline, as
// opposed to the deadline of the caller's context.
type TimeoutError struct{ After time.Duration }

// Error implements error.
func (e *TimeoutError) Error() string { return fmt.Sprintf("no answer within %v", e.After) }

// Timeout implements net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *TimeoutError) Temporary() bool { return true }

// Is makes the error look like the deadline errors of the standard library.
func (e *TimeoutError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// WithTimeout derives a context that ends after d with a [*TimeoutError] as
// its cause. With d <= 0 the context has no deadline of its own.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, &TimeoutError{After: d})
}

// Cause explains why ctx ended. The result matches ctx.Err as well as the
// cause, so that callers may test for either.
func Cause(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	var own *TimeoutError
	switch {
	case errors.As(cause, &own), errors.Is(cause, err):
		return cause
	default:
		return fmt.Errorf("%w: %w", err, cause)
	}
}

// Run calls f, which does I/O on conn. When ctx ends, pending I/O on conn
// fails and Run returns the cause of the context, even if f succeeded at the
// last moment: conn is then unusable, because its deadline may have passed.
// Run never closes conn.
func Run(ctx context.Context, conn net.Conn, f func() error) error {
	if ctx.Err() != nil {
		return Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(longAgo) })
	err := f()
	if !stop() {
		return Cause(ctx)
	}
	return err
}

// Dial calls dial and makes sure that the outcome agrees with ctx: a
// connection that comes too late is closed, and an error that came because
// ctx ended says so.
func Dial(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), network, address string) (net.Conn, error) {
	if ctx.Err() != nil {
		return nil, Cause(ctx)
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			return nil, fmt.Errorf("%w: %w", Cause(ctx), err)
		}
		return nil, err
	}
	if ctx.Err() != nil {
		_ = conn.Close()
		return nil, Cause(ctx)
	}
	return conn, nil
}

// TLSClient starts TLS on an established connection. It returns with the
// handshake done.
type TLSClient interface {
	Client(ctx context.Context, conn net.Conn, serverName string) (*tls.Conn, error)
}

// Config adapts a tls.Config to [TLSClient]. The server name of the
// configuration has precedence.
type Config struct{ *tls.Config }

// Client implements [TLSClient].
func (c Config) Client(ctx context.Context, conn net.Conn, serverName string) (*tls.Conn, error) {
	cfg := c.Config
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = serverName
	}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return tc, nil
}

// StartTLS runs the client's part of TLS on conn under a deadline. On error
// conn is closed.
func StartTLS(ctx context.Context, conn net.Conn, client TLSClient, serverName string, timeout time.Duration) (*tls.Conn, error) {
	ctx, cancel := WithTimeout(ctx, timeout)
	defer cancel()
	var tc *tls.Conn
	err := Run(ctx, conn, func() (err error) {
		tc, err = client.Client(ctx, conn, serverName)
		if err == nil {
			err = tc.HandshakeContext(ctx)
		}
		return err
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return tc, nil
}
