// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// memoryDisk is a disk in memory that takes time for a commit. Programs come and go
// and open stores on it.
type memoryDisk struct {
	mu      sync.Mutex
	records map[memoryKey]mqtt5.StoreRecord
	latency time.Duration
	fail    error // the commits that begin now fail
	commits int
}

type memoryKey struct {
	kind mqtt5.RecordKind
	id   uint64
}

func newMemoryDisk(latency time.Duration) *memoryDisk {
	return &memoryDisk{records: map[memoryKey]mqtt5.StoreRecord{}, latency: latency}
}

func (d *memoryDisk) setFail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

func (d *memoryDisk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.commits
}

// open returns the store for one process.
func (d *memoryDisk) open() *memoryStore { return &memoryStore{disk: d} }

// memoryStore is the store as one process has it.
type memoryStore struct {
	disk   *memoryDisk
	killed bool       // the process is dead: nothing reaches the disk
	random *rand.Rand // whether a commit during the kill does; nil: no
}

func (s *memoryStore) kill() {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	s.killed = true
}

func (s *memoryStore) Commit(changes []mqtt5.StoreChange) (mqtt5.Durability, error) {
	d := s.disk
	d.mu.Lock()
	fail, dead := d.fail, s.killed
	d.commits++
	d.mu.Unlock()
	time.Sleep(d.latency)
	d.mu.Lock()
	defer d.mu.Unlock()
	if fail != nil {
		return mqtt5.DurabilityNone, fail
	}
	if dead || s.killed && (s.random == nil || s.random.IntN(2) == 0) {
		return mqtt5.DurabilityNone, mqtt5.ErrStoreClosed
	}
	for _, c := range changes {
		key := memoryKey{c.Record.Kind, c.Record.ID}
		old, have := d.records[key]
		switch {
		case c.Action == mqtt5.StoreAppend:
			r := c.Record
			r.State, r.Body = bytes.Clone(r.State), bytes.Clone(r.Body)
			d.records[key] = r
		case c.Action == mqtt5.StoreUpdate && have:
			old.State = bytes.Clone(c.Record.State)
			d.records[key] = old
		case c.Action == mqtt5.StoreRemove:
			delete(d.records, key)
		}
	}
	return mqtt5.DurabilitySynced, nil
}

func (s *memoryStore) Iterate(kind mqtt5.RecordKind, from uint64, yield func(mqtt5.StoreRecord) bool) error {
	for {
		s.disk.mu.Lock()
		var next *mqtt5.StoreRecord
		for key, r := range s.disk.records {
			if key.kind == kind && key.id >= from && (next == nil || key.id < next.ID) {
				next = &r
			}
		}
		s.disk.mu.Unlock()
		if next == nil || !yield(*next) {
			return nil
		}
		from = next.ID + 1
	}
}

func (s *memoryStore) Count(kind mqtt5.RecordKind) (n mqtt5.StoreCount) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	for key, r := range s.disk.records {
		if key.kind == kind {
			n.Records++
			n.Bytes += int64(len(r.Body))
			n.LastID = max(n.LastID, key.id)
		}
	}
	return n
}

func (s *memoryStore) Close() error { return nil }

// ids returns the IDs of the records of a kind.
func (d *memoryDisk) ids(kind mqtt5.RecordKind) []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []uint64
	for key := range d.records {
		if key.kind == kind {
			ids = append(ids, key.id)
		}
	}
	slices.Sort(ids)
	return ids
}
