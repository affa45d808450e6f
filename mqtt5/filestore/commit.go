// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"fmt"
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// request is one call of Commit.
type request struct {
	changes []mqtt5.StoreChange
	meta    []byte
	bodies  int64
	appends bool // it needs space for records, and may not use the reserve
	own     bool // of the store itself, to free space: MaxBytes does not hold
	offset  int64
	result  mqtt5.Durability
	err     error
	done    chan struct{}
}

func newRequest(changes []mqtt5.StoreChange) (*request, error) {
	r := &request{changes: changes, done: make(chan struct{})}
	for i := range changes {
		c := &changes[i]
		switch c.Action {
		case mqtt5.StoreAppend:
			r.appends = true
			r.bodies += int64(len(c.Record.Body))
		case mqtt5.StoreUpdate, mqtt5.StoreRemove:
		default:
			return nil, fmt.Errorf("filestore: change %d: unknown action %d", i, c.Action)
		}
		r.meta = appendChange(r.meta, c)
	}
	if r.size() > maxFrame {
		return nil, fmt.Errorf("filestore: a commit of %d bytes is larger than 1 GiB", r.size())
	}
	return r, nil
}

// size is the size of the frame.
func (r *request) size() int64 { return frameHeaderSize + int64(len(r.meta)) + r.bodies }

// body returns the body that a change writes.
func body(c *mqtt5.StoreChange) []byte {
	if c.Action != mqtt5.StoreAppend {
		return nil
	}
	return c.Record.Body
}

// Commit applies changes as [mqtt5.Store] says. Calls at the same time share one
// write and one sync.
func (s *Store) Commit(changes []mqtt5.StoreChange) (mqtt5.Durability, error) {
	r, err := newRequest(changes)
	if err != nil {
		return mqtt5.DurabilityNone, err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return mqtt5.DurabilityNone, errClosed
	}
	s.pending = append(s.pending, r)
	s.mu.Unlock()
	select {
	case s.writer <- struct{}{}:
		s.commitPending()
		<-s.writer
	case <-r.done:
	}
	<-r.done
	return r.result, r.err
}

// commitPending commits what waits. The caller holds writer.
func (s *Store) commitPending() {
	s.mu.Lock()
	group := s.pending
	s.pending = nil
	s.mu.Unlock()
	if len(group) == 0 {
		return
	}
	own := s.reclaim()
	s.log.write(append(own, group...))
	s.removeDead()
	for _, r := range group {
		close(r.done)
	}
}

// apply makes requests visible that are in the log. The caller holds writer.
func (s *Store) apply(seg *segment, end int64, requests []*request, d mqtt5.Durability) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.size = end
	for _, r := range requests {
		r.result = d
		at := r.offset + frameHeaderSize + int64(len(r.meta))
		meta := r.meta
		var c change
		for len(meta) > 0 {
			meta, _ = nextChange(meta, &c) // our own
			if c.action == actionFirst {
				s.log.first, s.log.firstAt = uint32(c.id), position{seg.number, end}
				continue
			}
			s.applyChange(&c, seg, at)
			at += int64(c.size)
		}
	}
}

// applyChange makes one change visible; the body is at that offset of seg. The
// caller holds mu.
func (s *Store) applyChange(c *change, seg *segment, offset int64) {
	x := s.indexes.of(c.kind)
	switch c.action {
	case mqtt5.StoreAppend:
		s.release(x.put(c.id, location{segment: seg.number, offset: uint32(offset), size: c.size, sum: c.sum}))
		seg.live++
		x.setState(c.id, slices.Clone(c.state))
	case mqtt5.StoreUpdate:
		if _, ok := x.get(c.id); ok {
			x.setState(c.id, slices.Clone(c.state))
		}
	case mqtt5.StoreRemove:
		s.release(x.remove(c.id))
	}
}

// release notes that a segment has one record less. The caller holds mu.
func (s *Store) release(l location) {
	if l.segment != 0 {
		s.segment(l.segment).live--
	}
}

// segment returns the segment with that number. The caller holds mu.
func (s *Store) segment(number uint32) *segment {
	return s.segments[number-s.segments[0].number]
}
