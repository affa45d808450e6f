// SPDX-License-Identifier: Apache-2.0

//go:build unix

package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
)

// script writes a handler that appends its arguments to a log.
func script(t *testing.T, dir, name, body string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// outcome runs one document and returns the final status. Programs take real
// time, so there is no virtual time here.
func outcome(t *testing.T, document string, steps *jobs.Steps) string {
	t.Helper()
	s := newService(t)
	s.create("a", document)
	done := make(chan struct{})
	runner, err := jobs.NewRunner(s.client(t), jobs.RunnerOptions{Steps: steps, OnEvent: func(e jobs.Event) {
		if e.Type == jobs.EventReported {
			close(done)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- runner.Run(ctx) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("no outcome")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	return s.status("a")
}

func action(kind, input, more string) string {
	return `{"action":{"name":"n","type":"` + kind + `","input":` + input + more + `}}`
}

func document(steps ...string) string {
	return `{"version":"1.0","includeStdOut":true,"steps":[` + strings.Join(steps, ",") + `]}`
}

func TestSteps(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	script(t, dir, "ok.sh", `echo "<$1>" "$2"`, 0o700)
	script(t, dir, "fail.sh", "echo out; echo problem >&2; exit 3", 0o700)
	script(t, dir, "noisy.sh", "echo 1 >&2; echo 2 >&2", 0o700)
	script(t, dir, "long.sh", "yes é | head -n 4000", 0o700)
	script(t, dir, "open.sh", "", 0o722)
	script(t, dir, "plain.sh", "", 0o600)
	script(t, other, "there.sh", "echo there", 0o700)
	if err := os.Symlink(filepath.Join(other, "there.sh"), filepath.Join(dir, "link.sh")); err != nil {
		t.Fatal(err)
	}
	allowed := &jobs.Steps{HandlerDirs: []string{dir, other}, Commands: []string{"echo", "false"}}
	for name, tt := range map[string]struct {
		document string
		steps    *jobs.Steps
		want     string
	}{
		"handler":           {document(action("runHandler", `{"handler":"ok.sh","args":["a b"],"path":"default"}`, "")), allowed, `SUCCEEDED {"stdout":"\u003c\u003e a b"}`},
		"other directory":   {document(action("runHandler", fmt.Sprintf(`{"handler":"there.sh","path":%q}`, other), "")), allowed, `SUCCEEDED {"stdout":"there"}`},
		"command run":       {document(action("runCommand", `{"command":"echo,a\\,b,$HOME;c"}`, "")), allowed, `SUCCEEDED {"stdout":"a,b $HOME;c"}`},
		"failure":           {document(action("runHandler", `{"handler":"fail.sh"}`, ""), action("runHandler", `{"handler":"ok.sh"}`, "")), allowed, `FAILED {"reason":"step 1 (n): exit status 3","stderr":"problem","stdout":"out"}`},
		"ignored failure":   {document(action("runHandler", `{"handler":"fail.sh"}`, `,"ignoreStepFailure":"true"`), action("runCommand", `{"command":"echo,on"}`, "")), allowed, `SUCCEEDED {"stdout":"on"}`},
		"too many lines":    {document(action("runHandler", `{"handler":"noisy.sh"}`, `,"allowStdErr":1`)), allowed, `FAILED {"reason":"step 1 (n): 2 lines on standard error, 1 are allowed","stderr":"1 2"}`},
		"lines allowed":     {document(action("runHandler", `{"handler":"noisy.sh"}`, `,"allowStdErr":2`)), allowed, `SUCCEEDED {"stderr":"1 2"}`},
		"long output":       {document(action("runHandler", `{"handler":"long.sh"}`, "")), allowed, `SUCCEEDED {"stdout":"` + strings.Repeat(" é", 512) + `"}`},
		"final step":        {`{"version":"1.0","includeStdOut":true,"steps":[` + action("runCommand", `{"command":"echo,1"}`, "") + `],"finalStep":` + action("runCommand", `{"command":"echo,last"}`, "") + `}`, allowed, `SUCCEEDED {"stdout":"last"}`},
		"older format":      {`{"operation":"fail.sh","includeStdOut":true}`, allowed, `FAILED {"reason":"step 1 (fail.sh): exit status 3","stderr":"problem","stdout":"out"}`},
		"older, command":    {`{"operation":"echo","args":["hi"],"includeStdOut":true}`, allowed, `SUCCEEDED {"stdout":"hi"}`},
		"nothing allowed":   {document(action("runHandler", `{"handler":"ok.sh"}`, "")), &jobs.Steps{}, `REJECTED {"reason":"jobs: not allowed: handler \"ok.sh\": no handlers are allowed"}`},
		"forbidden":         {document(action("runCommand", `{"command":"rm,-rf,x"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: command \"rm\""}`},
		"a later one":       {document(action("runCommand", `{"command":"false"}`, ""), action("runCommand", `{"command":"rm"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: command \"rm\""}`},
		"outside":           {document(action("runHandler", `{"handler":"../x/ok.sh"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: handler \"../x/ok.sh\": not the name of a file"}`},
		"foreign directory": {document(action("runHandler", `{"handler":"sh","path":"/bin"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: handler \"sh\": its directory is not allowed"}`},
		"writable":          {document(action("runHandler", `{"handler":"open.sh"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: handler \"open.sh\": others than its owner may write it"}`},
		"not executable":    {document(action("runHandler", `{"handler":"plain.sh"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: handler \"plain.sh\": not executable"}`},
		"link":              {document(action("runHandler", `{"handler":"link.sh"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: handler \"link.sh\": not a regular file"}`},
		"missing":           {document(action("runHandler", `{"handler":"no.sh"}`, "")), allowed, `REJECTED {"reason":"jobs: not allowed: handler \"no.sh\": no such file"}`},
		"other user":        {document(action("runCommand", `{"command":"echo"}`, `,"runAsUser":"nobody"`)), allowed, `REJECTED {"reason":"jobs: not allowed: user \"nobody\""}`},
		"version":           {`{"version":"2.0","steps":[]}`, allowed, `REJECTED {"reason":"jobs: invalid payload: job document: version \"2.0\", want \"1.0\""}`},
		"type":              {document(action("runShell", `{}`, "")), allowed, `REJECTED {"reason":"jobs: invalid payload: job document: step 1: action \"n\" has the unknown type \"runShell\""}`},
		"condition":         {`{"version":"1.0","conditions":[{"key":"operatingSystem","value":["x"],"type":"stringEqual"}],"steps":[` + action("runCommand", `{"command":"echo"}`, "") + `]}`, allowed, `REJECTED {"reason":"condition \"operatingSystem\": this device evaluates no conditions"}`},
		"condition does not apply": {`{"version":"1.0","conditions":[{"key":"operatingSystem","value":["x"],"type":"stringEqual"}],"steps":[` + action("runCommand", `{"command":"echo"}`, "") + `]}`,
			&jobs.Steps{Commands: []string{"echo"}, Condition: func(c jobs.Condition) (bool, error) { return c.Values[0] == "linux", nil }}, `REJECTED {"reason":"condition \"operatingSystem\" does not apply"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got := outcome(t, tt.document, tt.steps)
			if name == "long output" { // the cut may be before or after the blank
				got, tt.want = strings.ReplaceAll(got, " ", ""), strings.ReplaceAll(tt.want, " ", "")
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestSteps_interrupted resumes documents whose process ended during a step: a
// reboot has succeeded then, any other step starts over.
func TestSteps_interrupted(t *testing.T) {
	for name, tt := range map[string]struct{ first, kind, want string }{
		"reboot":     {"reboot.sh", "runHandler", "first second"},
		"other step": {"other.sh", "runHandler", "first first second"},
		"command":    {"reboot.sh", "runCommand", "first first second"}, // its field "handler" means nothing
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			log := filepath.Join(dir, "log")
			script(t, dir, tt.first, "echo first >>"+log+"; test -e "+dir+"/hung || { touch "+dir+"/hung; exec sleep 60; }", 0o700)
			script(t, dir, "second.sh", "echo second >>"+log, 0o700)
			s := newService(t)
			s.create("a", document(action(tt.kind, `{"handler":"`+tt.first+`","command":"`+dir+`/`+tt.first+`"}`, ""), action("runHandler", `{"handler":"second.sh"}`, "")))
			reported := make(chan struct{})
			options := jobs.RunnerOptions{StateFile: filepath.Join(dir, "state"), Steps: &jobs.Steps{HandlerDirs: []string{dir}, Commands: []string{dir + "/" + tt.first}}, OnEvent: func(e jobs.Event) {
				if e.Type == jobs.EventReported {
					close(reported)
				}
			}}
			begin := func() (stop func()) {
				runner, err := jobs.NewRunner(s.client(t), options)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error)
				go func() { ended <- runner.Run(ctx) }()
				return func() { cancel(); <-ended }
			}
			stop := begin()
			for {
				if _, err := os.Stat(filepath.Join(dir, "hung")); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			stop()
			defer begin()()
			<-reported
			data, err := os.ReadFile(log)
			if got := strings.Join(strings.Fields(string(data)), " "); err != nil || got != tt.want || s.status("a") != "SUCCEEDED" {
				t.Errorf("%q, %v, %s", got, err, s.status("a"))
			}
		})
	}
}
