// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/connect"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// session is a client of a command, and what it says about itself on standard
// error: only what needs attention, and how long connecting takes.
type session struct {
	flags   *connect.Flags
	quiet   bool
	retry   bool
	timeout time.Duration
	thing   bool // the command is about a thing

	client   *mqtt5.Client
	endpoint string
	begun    time.Time
	failed   chan error // why the first attempt failed, if there is no other

	mu        sync.Mutex
	connected int
}

// endOfInput is what ends the input of a terminal.
var endOfInput = map[bool]string{false: "Ctrl-D", true: "Ctrl-Z and Enter"}[runtime.GOOS == "windows"]

// defineSession defines the flags of commands that connect.
func defineSession(set *cli.Flags) *session {
	s := &session{flags: connect.Define(set)}
	set.Group("What is said about it", func() {
		set.BoolVar(&s.quiet, "q", false, "say nothing but errors")
		set.BoolVar(&s.flags.Verbose, "v", false, "log what the layers of the connection do")
		set.BoolVar(&s.retry, "retry", false, "keep trying when the first attempt fails")
		set.DurationVar(&s.timeout, "timeout", 30*time.Second, "longest `time` for connecting, and for each operation")
	})
	return s
}

// open connects.
func (s *session) open(ctx context.Context, options ...iot.Option) error {
	if err := s.start(options...); err != nil {
		return err
	}
	return s.await(ctx)
}

// start makes the client and has it connect.
func (s *session) start(options ...iot.Option) error {
	t, err := s.flags.Target()
	if err != nil {
		return err
	}
	if s.thing && s.flags.Thing() == "" {
		return cli.Usagef("-thing is missing: the name of the thing")
	}
	s.endpoint = t.Endpoint
	failed := make(chan error, 1)
	s.failed = failed
	options = append(append(t.Options, options...),
		iot.WithOnConnectionSuccess(func(e *mqtt5.ConnectionSuccess) {
			s.mu.Lock()
			s.connected++
			again := s.connected > 1
			s.mu.Unlock()
			if again {
				s.sayf("connected again (session present: %v)", e.Settings.RejoinedSession)
			}
		}),
		iot.WithOnConnectionFailure(func(e *mqtt5.ConnectionFailure) {
			if s.retry || s.connections() > 0 {
				s.sayf("%s; trying again", explain(e.Err))
			}
		}),
		iot.WithOnDisconnection(func(e *mqtt5.Disconnection) {
			if !errors.Is(e.Err, mqtt5.ErrStopRequested) && !errors.Is(e.Err, mqtt5.ErrReconnectRequested) && !errors.Is(e.Err, mqtt5.ErrClosed) {
				s.sayf("connection lost: %s; connecting again", explain(e.Err))
			}
		}),
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.ShouldRetry = func(r mqtt5.RetryInfo) bool {
				if s.retry || s.connections() > 0 {
					return true
				}
				select {
				case failed <- r.Err:
				default:
				}
				return false
			}
		}),
	)
	if s.client, err = iot.NewClient(t.Endpoint, t.Method, options...); err != nil {
		return err
	}
	s.begun = time.Now()
	return s.client.Start()
}

// await waits for the connection.
func (s *session) await(ctx context.Context) error {
	done := s.progress("connecting to " + s.endpoint)
	defer func() { done() }()
	wait, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if s.retry {
		wait = ctx
	}
	err := s.client.WaitConnected(wait)
	done()
	switch {
	case errors.Is(err, mqtt5.ErrGaveUp):
		return <-s.failed
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no connection to %s within %v; give more time with -timeout, or ask `awsiot doctor` with the same flags", s.endpoint, s.timeout)
	case err != nil:
		return err
	}
	s.sayf("connected to %s as %s in %v", s.endpoint, s.client.Settings().ClientID, time.Since(s.begun).Round(time.Millisecond))
	return nil
}

func (s *session) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

// close ends the connection with a DISCONNECT, after Ctrl-C too.
func (s *session) close() {
	if s.client != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.client.Stop(ctx, nil)
		_ = s.client.Close()
	}
	s.flags.Close()
}

// limit bounds one operation.
func (s *session) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

func (s *session) sayf(format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(os.Stderr, "awsiot: "+format+"\n", args...)
	}
}

// stdin reads standard input to its end, or until ctx ends.
func (s *session) stdin(ctx context.Context, what string) ([]byte, error) {
	if cli.IsTerminal(os.Stdin) {
		s.sayf("type %s, then %s", what, endOfInput)
	}
	type input struct {
		data []byte
		err  error
	}
	read := make(chan input, 1)
	go func() {
		data, err := io.ReadAll(os.Stdin)
		read <- input{data, err}
	}()
	select {
	case in := <-read:
		return in.data, in.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// progress says what goes on if it takes more than a second.
func (s *session) progress(what string) (done func()) {
	timer := time.AfterFunc(time.Second, func() { s.sayf("%s ...", what) })
	return func() { timer.Stop() }
}
