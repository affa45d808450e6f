// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/atomicfile"
)

const (
	// stateVersion is the version of the format.
	stateVersion = 1
	// keptOutcomes is how many executions that are over are remembered.
	keptOutcomes = 32
	// maxRecords is how many executions are remembered at all.
	maxRecords = 256
	// maxState is the size of the largest state file that is read.
	maxState = 16 << 20
)

// phase is how far an execution has come.
type phase string

const (
	started   phase = "started"   // a handler runs, or the process ended while it ran
	suspended phase = "suspended" // a later process goes on
	finished  phase = "finished"  // the outcome is known and not reported
	reported  phase = "reported"  // the service knows the outcome
)

// record is what a runner remembers of an execution.
type record struct {
	JobID           string `json:"jobId"`
	ExecutionNumber int64  `json:"executionNumber"`
	// QueuedAt tells an execution from that of a deleted job with the same id.
	QueuedAt   int64             `json:"queuedAt"`
	Phase      phase             `json:"phase"`
	Attempts   int               `json:"attempts"`
	Checkpoint []byte            `json:"checkpoint,omitempty"`
	Status     Status            `json:"status,omitempty"`
	Details    map[string]string `json:"details,omitempty"`
}

func (r *record) is(e *Execution) bool {
	return r.JobID == e.JobID && r.ExecutionNumber == e.ExecutionNumber && r.QueuedAt == e.QueuedAt.Unix()
}

// state is the memory of a runner, in a file if it has a name.
type state struct {
	name string

	mu      sync.Mutex
	records []record // the oldest first

	// writing is held, by its one value, while the file is written. The content
	// is taken after that, so that the last write has the newest.
	writing chan struct{}
}

type stateFile struct {
	Version    int      `json:"version"`
	Thing      string   `json:"thing"`
	Executions []record `json:"executions"`
}

func openState(name, thing string) (*state, error) {
	s := &state{name: name, writing: make(chan struct{}, 1)}
	if name == "" {
		return s, nil
	}
	data, err := atomicfile.Read(name, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	var f stateFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrState, name, err)
	}
	if f.Version != stateVersion {
		return nil, fmt.Errorf("%w: %s has version %d, want %d", ErrState, name, f.Version, stateVersion)
	}
	if f.Thing != thing {
		return nil, fmt.Errorf("%w: %s belongs to thing %q, not %q", ErrState, name, f.Thing, thing)
	}
	s.records = f.Executions
	return s, nil
}

// find returns the state of an execution.
func (s *state) find(e *Execution) (record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r.is(e) {
			return r, true
		}
	}
	return record{}, false
}

// put remembers a record, and returns when it is on stable storage.
func (s *state) put(thing string, r record) error {
	s.mu.Lock()
	s.records = slices.DeleteFunc(s.records, func(old record) bool {
		return old.JobID == r.JobID && old.ExecutionNumber == r.ExecutionNumber && old.QueuedAt == r.QueuedAt
	})
	s.records = append(s.records, r)
	s.forget()
	s.mu.Unlock()
	return s.save(thing)
}

// forget drops the oldest records beyond the limits: first of those that are
// reported, then of any, since the service may never mention an execution again
// that was canceled while no runner was connected.
func (s *state) forget() {
	over := -keptOutcomes
	for _, r := range s.records {
		if r.Phase == reported {
			over++
		}
	}
	s.records = slices.DeleteFunc(s.records, func(r record) bool {
		if r.Phase != reported || over <= 0 {
			return false
		}
		over--
		return true
	})
	s.records = slices.Delete(s.records, 0, max(0, len(s.records)-maxRecords))
}

func (s *state) save(thing string) error {
	if s.name == "" {
		return nil
	}
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	data, err := json.Marshal(stateFile{Version: stateVersion, Thing: thing, Executions: s.records})
	s.mu.Unlock()
	if err == nil {
		err = atomicfile.Write(s.name, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}
