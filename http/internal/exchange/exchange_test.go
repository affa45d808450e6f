// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

func TestRun(t *testing.T) {
	reason := errors.New("reason")
	tests := []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		is   []error
		took time.Duration
	}{
		{"own deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return exchange.WithTimeout(ctx, time.Second)
		},
			[]error{context.DeadlineExceeded, os.ErrDeadlineExceeded}, time.Second},
		{"deadline of the caller", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			inner, cancel2 := exchange.WithTimeout(ctx, time.Hour)
			return inner, func() { cancel2(); cancel() }
		}, []error{context.DeadlineExceeded}, time.Second},
		{"cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Second, func() { cancel(reason) })
			inner, cancel2 := exchange.WithTimeout(ctx, -1)
			return inner, cancel2
		}, []error{context.Canceled, reason}, time.Second},
		{"cancelled before", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, []error{context.Canceled}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := net.Pipe()
				defer func() { _, _ = a.Close(), b.Close() }()
				ctx, cancel := tt.ctx(t.Context())
				defer cancel()
				start := time.Now()
				err := exchange.Run(ctx, a, func() error { _, err := a.Read(make([]byte, 1)); return err })
				for _, is := range tt.is {
					if !errors.Is(err, is) {
						t.Errorf("%v is not %v", err, is)
					}
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// Success after the end of the context is no success: the deadline may have hit
// the connection.
func TestRun_lateSuccess(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	if err := exchange.Run(ctx, a, func() error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDial_tooLate(t *testing.T) {
	a, b := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := exchange.Dial(ctx, func(context.Context, string, string) (net.Conn, error) { cancel(); return a, nil }, "tcp", "x:1")
	if conn != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", conn, err)
	}
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection is open: %v", err)
	}
}

func TestWithPrefix(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if c := exchange.WithPrefix(a, nil); c != a {
		t.Errorf("wrapped in %T", c)
	}
	go func() { _, _ = io.WriteString(b, "world") }()
	c := exchange.WithPrefix(a, []byte("hello "))
	got := make([]byte, 11)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello world" {
		t.Errorf("%q, %v", got, err)
	}
	if c.(interface{ NetConn() net.Conn }).NetConn() != a {
		t.Error("NetConn is another")
	}
}
