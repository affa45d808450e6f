// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package credentials_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

func TestProcess(t *testing.T) {
	t.Parallel()
	const doc = `{"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"SECRET-KEY","SessionToken":"SECRET-TOKEN","Expiration":"2100-01-01T00:00:00Z"}`
	p := must(t)(credentials.NewProcess(credentials.ProcessOptions{Command: "echo '" + doc + "'"}))
	if c := mustRetrieve(t, p); c.AccessKeyID != "AKID" || c.SessionToken != "SECRET-TOKEN" || c.Expires.Year() != 2100 || !c.CanExpire {
		t.Errorf("got %v", c.AccessKeyID)
	}
	for _, c := range []struct {
		command, contains string
		is                error
		timeout           time.Duration
	}{
		{command: "echo no luck >&2; echo SECRET-OUT; exit 3", contains: "exit status 3: no luck"},
		{command: "exit 3", contains: "exit status 3"},
		{command: "echo SECRET-OUT", contains: "not the JSON document"},
		{command: `echo '{"Version":2,"SecretAccessKey":"SECRET-KEY"}'`, contains: "Version 2"},
		{command: `echo '{"Version":1,"AccessKeyId":"A"}'`, contains: "empty access key or secret key"},
		{command: `echo '{"Version":1,"Expiration":"SECRET-TIME"}'`, contains: "not the JSON document"},
		{command: "head -c 100000 /dev/zero", is: credentials.ErrReplyTooLarge},
		{command: "exec sleep 60", is: context.DeadlineExceeded, timeout: time.Millisecond},
	} {
		p := must(t)(credentials.NewProcess(credentials.ProcessOptions{Command: c.command, Timeout: c.timeout}))
		_, err := p.Retrieve(t.Context())
		wantError(t, err, c.is, c.contains)
		if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("error %q has output of the program", err)
		}
	}
	_, err := credentials.NewProcess(credentials.ProcessOptions{Command: " ", Timeout: -1})
	wantError(t, err, nil, "Command", "Timeout")
}

// An agent that the program starts and that keeps its output open does not make
// it fail, if it ended well and said all.
func TestProcess_agentKeepsOutputOpen(t *testing.T) {
	t.Parallel()
	const agent = "sleep 30 & "
	const doc = `{"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"SECRET-KEY"}`
	for _, c := range []struct {
		command string
		is      error
		ok      bool
	}{
		{agent + "echo '" + doc + "'", nil, true},
		{agent + "echo '" + doc + "'; exit 3", nil, false},
		{agent + "echo '" + doc[:20] + "'", exec.ErrWaitDelay, false},
	} {
		p := must(t)(credentials.NewProcess(credentials.ProcessOptions{Command: c.command}))
		got, err := p.Retrieve(t.Context())
		if (err == nil) != c.ok || c.ok && got.AccessKeyID != "AKID" || !errors.Is(err, c.is) && c.is != nil {
			t.Errorf("%s: %v", c.command, err)
		}
	}
}
