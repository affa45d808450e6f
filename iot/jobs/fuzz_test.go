// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzPayload reads any payload as everything that the service sends.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{
		`{"execution":{"jobId":"a","jobDocument":{"x":1},"queuedAt":1787600000123,"statusDetails":{"k":"v"}}}`,
		`{"jobs":{"IN_PROGRESS":[{"jobId":"a"}]},"timestamp":1}`, `{"code":"VersionMismatch","executionState":{"versionNumber":1}}`,
		`{"inProgressJobs":[null],"queuedJobs":{}}`, `{"timestamp":1e400}`, `[]`, `null`, "\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&Pending{}, &ExecutionsChanged{}, &NextExecutionChanged{}, &UpdateResult{}, &Execution{}} {
			if err := decode(data, v); err != nil && !errors.Is(err, ErrInvalidPayload) {
				t.Error(err)
			}
		}
		err := decodeRejection("op", "id", data)
		var rejected *RejectedError
		if !errors.As(err, &rejected) && !errors.Is(err, ErrInvalidPayload) {
			t.Error(err)
		}
	})
}

// FuzzDocument reads any job document. An accepted one runs allowed commands only.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{
		`{"version":"1.0","steps":[{"action":{"name":"n","type":"runHandler","input":{"handler":"a.sh","args":["x"],"path":"default"},"runAsUser":"root"}}]}`,
		`{"version":"1.0","steps":[{"action":{"name":"n","type":"runCommand","input":{"command":"echo,a\\,b"},"ignoreStepFailure":"true"}}],"finalStep":{"action":{}}}`,
		`{"operation":"../x","args":["a"],"allowStdErr":1}`, `{"steps":null}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = operationField(data)
		d, ok, err := parseSteps(data)
		if err != nil || !ok {
			return
		}
		nothing := &Steps{}
		for i := range d.Steps {
			if c, err := nothing.command(&d.Steps[i].Action); err == nil {
				t.Errorf("would run %q", c)
			}
		}
	})
}

// FuzzState opens any state file.
func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"owner":"t","records":[{"jobId":"a","phase":"started"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openState(name, "t"); err != nil && !errors.Is(err, ErrState) {
			t.Error(err)
		}
	})
}
