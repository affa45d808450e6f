// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"fmt"
	"slices"
	"sync"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/statefile"
)

const (
	// keptOutcomes is how many executions that are over are remembered.
	keptOutcomes = 32
	// maxRecords is how many executions are remembered at all.
	maxRecords = 256
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
	// QueuedAt distinguishes an execution from that of a deleted job with the same id.
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
	file *statefile.File[record]

	mu      sync.Mutex
	records []record // the oldest first
}

func openState(name, thing string) (*state, error) {
	file, records, err := statefile.Open[record](name, thing)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return &state{file: file, records: records}, nil
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
func (s *state) put(r record) error {
	s.mu.Lock()
	s.records = slices.DeleteFunc(s.records, func(old record) bool {
		return old.JobID == r.JobID && old.ExecutionNumber == r.ExecutionNumber && old.QueuedAt == r.QueuedAt
	})
	s.records = append(s.records, r)
	s.forget()
	s.mu.Unlock()
	return s.save()
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

func (s *state) save() error {
	err := s.file.Save(func() []record {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(s.records)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}
