// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"math"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// readAhead is how many records Iterate finds at once, without their bodies.
const readAhead = 64

// errChecksum is the cause of a [mqtt5.RecordError].
var errChecksum = errors.New("wrong checksum of the body")

// Iterate passes records to yield as [mqtt5.Store] says. It holds one file open,
// and no lock while it reads or while yield runs.
func (s *Store) Iterate(kind mqtt5.RecordKind, from uint64, yield func(mqtt5.StoreRecord) bool) error {
	r := reader{store: s}
	defer r.close()
	batch := make([]found, 0, readAhead)
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return &Error{Op: "read", Path: s.path, Condition: mqtt5.ErrStoreClosed}
		}
		batch = batch[:0]
		if x := s.indexes[kind]; x != nil {
			batch = x.collect(batch, from)
		}
		s.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		for i := range batch {
			record := mqtt5.StoreRecord{Kind: kind, ID: batch[i].id, State: batch[i].state}
			var err error
			removed := false
			for {
				if record.Body, err = r.body(batch[i].at); err == nil {
					break
				}
				lives, moved := s.moved(kind, &batch[i])
				if removed = moved && !lives; removed || !moved {
					break
				}
			}
			if removed {
				continue
			}
			if errors.Is(err, errChecksum) {
				return &mqtt5.RecordError{Kind: kind, ID: record.ID, Err: err}
			}
			if err != nil {
				return classify("read", s.file(batch[i].at.segment), err)
			}
			if !yield(record) {
				return nil
			}
		}
		last := batch[len(batch)-1].id
		if last == math.MaxUint64 {
			return nil
		}
		from = last + 1
	}
}

// moved reports whether a record is not where it was any more, and with lives
// whether it is elsewhere.
func (s *Store) moved(kind mqtt5.RecordKind, f *found) (lives, moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, lives := s.indexes.of(kind).get(f.id)
	if lives && l == f.at {
		return false, false
	}
	f.at = l
	return lives, true
}

// reader reads bodies, most of which lie one behind the other.
type reader struct {
	store   *Store
	segment uint32
	window  window
}

func (r *reader) body(at location) ([]byte, error) {
	if at.size == 0 {
		return nil, nil
	}
	if r.segment != at.segment {
		r.close()
		f, err := r.store.fs.Open(segmentName(at.segment))
		if err != nil {
			return nil, err
		}
		r.segment, r.window = at.segment, window{f: f, buf: r.window.buf[:0]}
	}
	var b []byte
	if at.size > windowSize {
		b = make([]byte, at.size)
		if _, err := r.window.f.ReadAt(b, int64(at.offset)); err != nil {
			return nil, err
		}
	} else {
		part, err := r.window.read(int64(at.offset), int(at.size))
		if err != nil {
			return nil, err
		}
		b = append([]byte(nil), part...)
	}
	if sum(b) == at.sum {
		return b, nil
	}
	// The window may be from a time before the record was written.
	if _, err := r.window.f.ReadAt(b, int64(at.offset)); err != nil {
		return nil, err
	}
	if sum(b) != at.sum {
		return nil, errChecksum
	}
	return b, nil
}

func (r *reader) close() {
	if r.segment != 0 {
		r.window.f.Close()
		r.segment = 0
	}
}

var _ mqtt5.Store = (*Store)(nil)
