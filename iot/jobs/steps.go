// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"encoding/json"
	"fmt"
	"strings"
)

// stepsVersion is the one version of the schema.
const stepsVersion = "1.0"

// stepsDocument is a job document in the format of the AWS IoT Device Client and
// of the managed job templates.
type stepsDocument struct {
	Version       string      `json:"version"`
	IncludeStdout bool        `json:"includeStdOut"`
	Conditions    []Condition `json:"conditions"`
	Steps         []step      `json:"steps"`
	FinalStep     *step       `json:"finalStep"`
}

// Condition restricts a job document to some devices.
type Condition struct {
	Key    string   `json:"key"`
	Values []string `json:"value"`
	Type   string   `json:"type"`
}

type step struct {
	Action action `json:"action"`
}

// The types of actions.
const (
	runHandler = "runHandler"
	runCommand = "runCommand"
)

type action struct {
	Name          string `json:"name"`
	Type          string `json:"type"`
	RunAsUser     string `json:"runAsUser"`
	IgnoreFailure flag   `json:"ignoreStepFailure"`
	// AllowStderr is the number of lines on standard error that are no failure.
	AllowStderr *int  `json:"allowStdErr"`
	Input       input `json:"input"`
	// legacy actions do not get the user as their first argument.
	legacy bool
}

type input struct {
	Handler string   `json:"handler"`
	Args    []string `json:"args"`
	Path    string   `json:"path"`
	// Command is separated by commas; "\," stands for a comma.
	Command string `json:"command"`
}

// flag is a boolean that the format writes as a string.
type flag bool

// UnmarshalJSON reads "true", "false", true and false.
func (f *flag) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"true"`, `true`:
		*f = true
	case `"false"`, `false`, `""`, `null`:
		*f = false
	default:
		return fmt.Errorf("%.20q is neither true nor false", data)
	}
	return nil
}

// legacyDocument is the older format with one operation.
type legacyDocument struct {
	Operation     string   `json:"operation"`
	Args          []string `json:"args"`
	Path          string   `json:"path"`
	IncludeStdout bool     `json:"includeStdOut"`
	AllowStderr   int      `json:"allowStdErr"`
}

// parseSteps reads a document of either format. It reports false for a document
// that has none of them.
func parseSteps(document json.RawMessage) (*stepsDocument, bool, error) {
	var kind struct {
		Version   json.RawMessage `json:"version"`
		Steps     json.RawMessage `json:"steps"`
		Operation json.RawMessage `json:"operation"`
	}
	if err := json.Unmarshal(document, &kind); err != nil {
		return nil, false, fmt.Errorf("%w: job document: %w", ErrInvalidPayload, err)
	}
	switch {
	case kind.Steps != nil:
		d, err := parseStepsDocument(document)
		return d, true, err
	case kind.Operation != nil:
		d, err := parseLegacy(document)
		return d, true, err
	default:
		return nil, false, nil
	}
}

func parseStepsDocument(document json.RawMessage) (*stepsDocument, error) {
	var d stepsDocument
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, fmt.Errorf("%w: job document: %w", ErrInvalidPayload, err)
	}
	if d.Version != stepsVersion {
		return nil, fmt.Errorf("%w: job document: version %q, want %q", ErrInvalidPayload, d.Version, stepsVersion)
	}
	if len(d.Steps) == 0 {
		return nil, fmt.Errorf("%w: job document: no steps", ErrInvalidPayload)
	}
	for i := range d.Steps {
		if err := d.Steps[i].Action.check(); err != nil {
			return nil, fmt.Errorf("%w: job document: step %d: %w", ErrInvalidPayload, i+1, err)
		}
	}
	if d.FinalStep != nil {
		if err := d.FinalStep.Action.check(); err != nil {
			return nil, fmt.Errorf("%w: job document: final step: %w", ErrInvalidPayload, err)
		}
	}
	return &d, nil
}

func parseLegacy(document json.RawMessage) (*stepsDocument, error) {
	var l legacyDocument
	if err := json.Unmarshal(document, &l); err != nil {
		return nil, fmt.Errorf("%w: job document: %w", ErrInvalidPayload, err)
	}
	a := action{
		Name: l.Operation, Type: runHandler, AllowStderr: &l.AllowStderr, legacy: true,
		Input: input{Handler: l.Operation, Args: l.Args, Path: l.Path},
	}
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("%w: job document: %w", ErrInvalidPayload, err)
	}
	return &stepsDocument{Version: stepsVersion, IncludeStdout: l.IncludeStdout, Steps: []step{{a}}}, nil
}

func (a *action) check() error {
	switch a.Type {
	case runHandler:
		if a.Input.Handler == "" {
			return fmt.Errorf("action %q names no handler", a.Name)
		}
	case runCommand:
		command := splitCommand(a.Input.Command)
		if command[0] == "" || strings.ContainsAny(command[0], " \t\n") {
			return fmt.Errorf("action %q: the program of the command is empty or has spaces", a.Name)
		}
	default:
		return fmt.Errorf("action %q has the unknown type %q", a.Name, a.Type)
	}
	for _, arg := range append(a.Input.Args, a.Input.Handler, a.Input.Command, a.RunAsUser) {
		if strings.ContainsRune(arg, 0) {
			return fmt.Errorf("action %q has a NUL character", a.Name)
		}
	}
	return nil
}

// splitCommand splits at commas that no backslash precedes. It returns at least
// one part.
func splitCommand(command string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(command); i++ {
		switch {
		case command[i] == '\\' && i+1 < len(command) && command[i+1] == ',':
			part.WriteByte(',')
			i++
		case command[i] == ',':
			parts = append(parts, strings.TrimSpace(part.String()))
			part.Reset()
		default:
			part.WriteByte(command[i])
		}
	}
	return append(parts, strings.TrimSpace(part.String()))
}
