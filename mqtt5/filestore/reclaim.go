// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// relocateBytes bounds what one commit copies from the oldest segment.
const relocateBytes = 256 << 10

// recordOverhead is about what a record takes beside its body.
const recordOverhead = 32

// reclaim returns the requests that free space: the log says that its oldest
// segments are dead, and copies what keeps the oldest one alive when that pays.
// The caller holds writer, and everything placed is applied.
//
// Only the oldest segments ever leave the log: the changes in a segment are about
// records in itself and in older ones.
func (s *Store) reclaim() []*request {
	var own []*request
	s.mu.Lock()
	var oldest *segment
	for _, seg := range s.segments[:len(s.segments)-1] {
		if seg.live > 0 {
			oldest = seg
			break
		}
	}
	first := s.segments[len(s.segments)-1].number
	if oldest != nil {
		first = oldest.number
	}
	var live int64
	for _, x := range s.indexes {
		live += x.bytes + int64(x.records)*recordOverhead
	}
	total := s.diskBytes()
	s.mu.Unlock()

	if first > s.log.first && first > 1 {
		r := &request{own: true, changes: []mqtt5.StoreChange{{Action: actionFirst, Record: mqtt5.StoreRecord{ID: uint64(first)}}}}
		r.meta = appendChange(nil, &r.changes[0])
		own = append(own, r)
	}
	pressed := s.log.full != nil && total > live+2*s.opts.SegmentBytes
	if oldest != nil && (pressed || total > 2*live+3*s.opts.SegmentBytes) {
		if r := s.log.relocation.next(s, oldest); r != nil {
			own = append(own, r)
		}
	}
	return own
}

// relocation is how far the oldest segment was copied.
type relocation struct {
	segment uint32
	from    int64    // what is before was copied
	to      int64    // what request copies
	request *request // the last one; nil: none, or the segment cannot be read
}

// next returns the request that copies the next part of a segment; nil if
// there is nothing to copy.
func (l *relocation) next(s *Store, seg *segment) *request {
	switch {
	case l.segment != seg.number:
		*l = relocation{segment: seg.number, from: headerSize}
	case l.request == nil:
		return nil // it was read to its end, or it cannot be read: it stays
	case l.request.err == nil:
		l.from = l.to
	}
	l.request, l.to = s.relocate(seg, l.from)
	return l.request
}

// relocate returns a request that writes records of a segment again, from a
// frame on, and where it ended. If the segment cannot be read it returns nil.
func (s *Store) relocate(seg *segment, from int64) (*request, int64) {
	f, err := s.fs.Open(segmentName(seg.number))
	if err != nil {
		return nil, 0
	}
	defer f.Close()
	sc := scanner{window: window{f: f}, seg: seg, end: seg.size, offset: from}
	r := &request{own: true}
	for sc.offset < sc.end && r.bodies < relocateBytes {
		if sc.next() != nil {
			return nil, 0
		}
		at := sc.bodies
		var c change
		for meta := append([]byte(nil), sc.meta...); len(meta) > 0; at += int64(c.size) {
			meta, _ = nextChange(meta, &c) // was checked
			if c.action != mqtt5.StoreAppend {
				continue
			}
			state, ok := s.lives(&c, seg, at)
			if !ok {
				continue
			}
			record := mqtt5.StoreRecord{Kind: c.kind, ID: c.id, State: state}
			if c.size > 0 {
				b, err := sc.read(at, int(c.size))
				if err != nil || sum(b) != c.sum {
					return nil, 0
				}
				record.Body = append([]byte(nil), b...)
			}
			r.changes = append(r.changes, mqtt5.StoreChange{Action: mqtt5.StoreAppend, Record: record})
			r.bodies += int64(c.size)
		}
	}
	if len(r.changes) == 0 {
		return nil, 0
	}
	for i := range r.changes {
		r.meta = appendChange(r.meta, &r.changes[i])
	}
	return r, sc.offset
}

// lives returns the state of a record if its body is the one at that offset.
func (s *Store) lives(c *change, seg *segment, offset int64) (state []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.indexes[c.kind]
	if x == nil {
		return nil, false
	}
	l, ok := x.get(c.id)
	return x.states[c.id], ok && l.segment == seg.number && int64(l.offset) == offset
}

// removeDead removes the segments that are no part of the log any more, once
// the disk has the frame that says so. Then it does not matter in which order a
// crash undoes the removals. The caller holds writer.
func (s *Store) removeDead() {
	l := &s.log
	if l.failed != nil || l.firstAt.segment == l.seg.number && l.synced < l.firstAt.offset {
		return
	}
	s.mu.Lock()
	for len(s.segments) > 1 && s.segments[0].number < l.first {
		l.dead = append(l.dead, s.segments[0].number)
		s.segments[0] = nil
		s.segments = s.segments[1:]
	}
	s.mu.Unlock()
	for len(l.dead) > 0 {
		if s.fs.Remove(segmentName(l.dead[0])) != nil {
			return // an iterator may have it open; the next commit tries again
		}
		l.dead = l.dead[1:]
	}
}
