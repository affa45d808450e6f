// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

const (
	defaultProcessTimeout = time.Minute
	// maxStderr is how much of what a failing program says goes into the error.
	maxStderr = 512
)

// ProcessOptions configures [NewProcess].
type ProcessOptions struct {
	// Command is a command line for the shell (sh, on Windows cmd.exe, which gets
	// it as written, quotes included). It must print the JSON document of a
	// credential_process and end. What it starts may go on. Required.
	Command string

	// Timeout bounds a run of the command. Default: 1 minute.
	Timeout time.Duration

	Cache CacheOptions
}

// Format leaves out the command, which may contain secrets.
func (o ProcessOptions) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "credentials.ProcessOptions{Timeout:%v}", o.Timeout)
}

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o ProcessOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// NewProcess returns a cached provider that runs a program. If the program
// fails, the beginning of what it wrote to its standard error is part of the
// error; what it wrote to its standard output never is.
func NewProcess(o ProcessOptions) (*Provider, error) {
	var errs []error
	if strings.TrimSpace(o.Command) == "" {
		errs = append(errs, errors.New("ProcessOptions.Command is required"))
	}
	if o.Timeout < 0 {
		errs = append(errs, errors.New("ProcessOptions.Timeout is negative"))
	}
	errs = append(errs, o.Cache.validate())
	if err := errors.Join(errs...); err != nil {
		return nil, newError("process", err)
	}
	return cached(process(o), o.Cache), nil
}

// The provider of the AWS SDK is not used here: its errors quote the output of
// the program, keys included.
func process(o ProcessOptions) *Provider {
	return &Provider{name: "process", retrieve: func(ctx context.Context) (aws.Credentials, error) {
		out, err := o.run(ctx)
		if err != nil {
			return aws.Credentials{}, err
		}
		var doc struct {
			Version         int
			AccessKeyID     string `json:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      *time.Time
			AccountID       string `json:"AccountId"`
		}
		if err := json.Unmarshal(out, &doc); err != nil {
			return aws.Credentials{}, errors.New("the output of the program is not the JSON document of a credential_process")
		}
		if doc.Version != 1 {
			return aws.Credentials{}, fmt.Errorf("the output of the program has Version %d, want 1", doc.Version)
		}
		c := aws.Credentials{
			AccessKeyID:     doc.AccessKeyID,
			SecretAccessKey: doc.SecretAccessKey,
			SessionToken:    doc.SessionToken,
			AccountID:       doc.AccountID,
			Source:          "Process",
		}
		if doc.Expiration != nil {
			c.CanExpire, c.Expires = true, *doc.Expiration
		}
		return c, nil
	}}
}

func (o ProcessOptions) run(ctx context.Context) ([]byte, error) {
	timeout := cmpOr(o.Timeout, defaultProcessTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := shellCommand(ctx, o.Command)
	// Children of the shell may hold the pipes after it has ended or was killed.
	cmd.WaitDelay = time.Second
	stdout := headBuffer{limit: maxReply}
	stderr := headBuffer{limit: maxStderr}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success() && json.Valid(stdout.head) {
		// An agent that the program has started holds its output. The document is whole.
		err = nil
	}
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		return nil, fmt.Errorf("the program did not end within %v: %w", timeout, ctx.Err())
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		if said := strings.TrimSpace(string(stderr.head)); said != "" {
			return nil, fmt.Errorf("the program failed: %w: %s", err, said)
		}
		return nil, fmt.Errorf("the program failed: %w", err)
	case stdout.cut:
		return nil, ErrReplyTooLarge
	}
	return stdout.head, nil
}

// headBuffer keeps the first bytes written to it. It does not embed a
// bytes.Buffer, whose ReadFrom would get around the limit.
type headBuffer struct {
	head  []byte
	limit int
	cut   bool
}

func (b *headBuffer) Write(p []byte) (int, error) {
	n := len(p)
	if room := b.limit - len(b.head); len(p) > room {
		p, b.cut = p[:room], true
	}
	b.head = append(b.head, p...)
	return n, nil
}
