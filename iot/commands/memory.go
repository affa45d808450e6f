// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"fmt"
	"slices"
	"sync"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/statefile"
)

// record is the memory of an execution.
type record struct {
	ID string `json:"id"`
	// Started: a handler began. False while the command waits.
	Started bool `json:"started"`
	// Final is nil until the handler has ended.
	Final *update `json:"final,omitempty"`
	// Reported: the service has judged the final status.
	Reported bool `json:"reported"`
}

// memory remembers executions, in a file if it has a name.
type memory struct {
	limit int
	file  *statefile.File[record]

	mu      sync.Mutex
	records []record // the oldest first
}

func openMemory(name, target string, limit int) (*memory, error) {
	file, records, err := statefile.Open[record](name, target)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return &memory{limit: limit, file: file, records: records}, nil
}

func (m *memory) index(id string) int {
	return slices.IndexFunc(m.records, func(r record) bool { return r.ID == id })
}

// find returns the state of an execution.
func (m *memory) find(id string) (record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.index(id)
	if i < 0 {
		return record{}, false
	}
	return m.records[i], true
}

// begin remembers an execution, unless it is known.
func (m *memory) begin(id string) (known record, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.index(id); i >= 0 {
		return m.records[i], false
	}
	m.records = append(m.records, record{ID: id})
	// The oldest that are over go first; those that wait or run, never.
	for i := 0; len(m.records) > m.limit && i < len(m.records); {
		if m.records[i].Final == nil {
			i++
			continue
		}
		m.records = slices.Delete(m.records, i, i+1)
	}
	return record{ID: id}, true
}

// started notes that a handler begins, before it does.
func (m *memory) started(id string) error {
	return m.change(id, func(r *record) { r.Started = true })
}

// finish notes the final status.
func (m *memory) finish(id string, u update) error {
	return m.change(id, func(r *record) { r.Started, r.Final = true, &u })
}

// reported notes that the service has judged the final status.
func (m *memory) reported(id string) error {
	return m.change(id, func(r *record) { r.Reported = true })
}

// change returns when the change is on stable storage.
func (m *memory) change(id string, change func(*record)) error {
	m.mu.Lock()
	if i := m.index(id); i >= 0 {
		change(&m.records[i])
	}
	m.mu.Unlock()
	err := m.file.Save(func() []record {
		m.mu.Lock()
		defer m.mu.Unlock()
		return slices.DeleteFunc(slices.Clone(m.records), func(r record) bool { return !r.Started })
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return nil
}

// unreported returns the executions of an earlier process that the service may
// not have the final status of.
func (m *memory) unreported() []record {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []record
	for _, r := range m.records {
		if r.Started && !r.Reported {
			found = append(found, r)
		}
	}
	return found
}
