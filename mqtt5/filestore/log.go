// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"math/rand/v2"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// gatherSize is how many bytes of frames are gathered for one write.
const gatherSize = 1 << 20

// log is the end of the log, where frames are appended. It belongs to the
// goroutine that holds Store.writer.
type log struct {
	store      *Store
	file       file     // of seg
	seg        *segment // the last one
	ready      bool     // the space of seg is reserved
	size       int64    // where the next frame goes
	written    int64    // what of it was handed to the file; the rest is in buf
	synced     int64    // what of it is on the disk
	buf        []byte
	placed     []*request // in seg since the last commit
	first      uint32     // segments below it are no part of the log
	firstAt    position   // behind the frame that says so
	dead       []uint32   // segments that are to be removed
	relocation relocation
	failed     error // a sync failed: the contents of the disk are unknown
	full       error // of this commit: there is no room for another segment
}

// position is a place in the log.
type position struct {
	segment uint32
	offset  int64
}

// limit is how far a segment may be filled. A part of it is reserved for changes
// that append nothing: they lead to free space, and must not fail for lack of it.
func (l *log) limit(appends bool) int64 {
	n := l.store.opts.SegmentBytes
	if appends {
		n -= n / 64
	}
	return n
}

// write commits requests: afterwards each has its result.
func (l *log) write(requests []*request) {
	l.full = nil
	for _, r := range requests {
		if err := l.place(r); err != nil {
			r.err = err
		}
	}
	l.commit()
}

// place gathers the frame of a request.
func (l *log) place(r *request) error {
	if l.failed != nil {
		return l.failed
	}
	if err := l.room(r); err != nil {
		return err
	}
	r.offset = l.size
	l.buf = appendFrame(l.buf, l.seg.salt, l.size, l.synced, r.meta, r.bodies)
	for i := range r.changes {
		l.buf = append(l.buf, body(&r.changes[i])...)
	}
	l.size += r.size()
	l.placed = append(l.placed, r)
	if len(l.buf) >= gatherSize {
		if err := l.flush(); err != nil {
			l.abandon(err)
			return nil // abandon gave r its result
		}
	}
	return nil
}

// room sees to it that the frame of a request fits in the segment.
func (l *log) room(r *request) error {
	if !l.ready {
		// After a restart. An error is one of the disk: let the write find out.
		l.ready = l.file.Allocate(max(l.store.opts.SegmentBytes, l.size)) == nil
	}
	if l.size == headerSize || l.size+r.size() <= l.limit(r.appends) {
		return nil
	}
	if l.full != nil && r.appends {
		return l.full
	}
	if err := l.roll(r); err != nil {
		l.full = err
		return err
	}
	return l.failed
}

// roll goes on in a new segment. The old one is complete and synced before the
// new one has a header: a segment with a successor is never torn.
func (l *log) roll(r *request) error {
	s := l.store
	if limit := s.opts.MaxBytes; limit > 0 && !r.own {
		s.mu.Lock()
		total := s.diskBytes() - max(l.seg.size, s.opts.SegmentBytes) + l.size + max(s.opts.SegmentBytes, headerSize+r.size())
		s.mu.Unlock()
		if total > limit {
			return &Error{Op: "commit", Path: s.path, Condition: mqtt5.ErrStoreFull, Err: errors.New("MaxBytes is reached")}
		}
	}
	number := l.seg.number + 1
	f, err := l.create(number)
	if err != nil {
		return classify("commit", s.file(number), err)
	}
	if err := l.seal(); err != nil {
		f.Close()
		s.fs.Remove(segmentName(number))
		return err
	}
	seg := &segment{number: number, salt: rand.Uint64(), size: headerSize}
	if err := l.begin(f, seg); err != nil {
		f.Close()
		// A header may be on the disk, and the old segment is closed.
		l.failed = classify("commit", s.file(number), err)
		return l.failed
	}
	return nil
}

// create makes the file of a segment with all of its space.
func (l *log) create(number uint32) (file, error) {
	fs := l.store.fs
	f, err := fs.Create(segmentName(number))
	if err != nil {
		return nil, err
	}
	if err := f.Allocate(l.store.opts.SegmentBytes); err != nil {
		f.Close()
		fs.Remove(segmentName(number))
		return nil, err
	}
	return f, nil
}

// seal makes the segment complete: commits the placed records, cuts off the space
// that is left, and syncs both.
func (l *log) seal() error {
	err := l.flush()
	if err != nil {
		l.abandon(err)
		return l.placedError(err)
	}
	if err = l.file.Truncate(l.size); err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.fail(err)
		return l.failed
	}
	l.synced = l.size
	l.finish(mqtt5.DurabilitySynced)
	return nil
}

// placedError is the error of a commit whose write failed.
func (l *log) placedError(err error) error {
	if l.failed != nil {
		return l.failed
	}
	return classify("commit", l.store.file(l.seg.number), err)
}

// begin writes the header of a new segment and goes on there.
func (l *log) begin(f file, seg *segment) error {
	s := l.store
	if _, err := f.WriteAt(appendHeader(nil, seg.number, seg.salt), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := s.fs.SyncDirectory(); err != nil {
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.seg, l.ready = f, seg, true
	l.size, l.written, l.synced = headerSize, headerSize, headerSize
	s.mu.Lock()
	s.segments = append(s.segments, seg)
	s.mu.Unlock()
	return nil
}

// flush writes the gathered bytes to the file.
func (l *log) flush() error {
	if len(l.buf) == 0 {
		return nil
	}
	_, err := l.file.WriteAt(l.buf, l.written)
	if err != nil {
		return err
	}
	l.written = l.size
	if cap(l.buf) > 2*gatherSize {
		l.buf = nil
	} else {
		l.buf = l.buf[:0]
	}
	return nil
}

// commit makes the placed records as durable as the policy promises.
func (l *log) commit() {
	if len(l.placed) == 0 {
		return
	}
	if err := l.flush(); err != nil {
		l.abandon(err)
		return
	}
	if l.store.opts.Sync == SyncInterval {
		l.finish(mqtt5.DurabilityWritten)
		l.store.syncLater()
		return
	}
	if err := l.sync(); err == nil {
		l.finish(mqtt5.DurabilitySynced)
	}
}

// sync syncs everything that was handed to the file. A failure is final: the
// operating system may have dropped what it could not write, and the next sync
// would not know.
func (l *log) sync() error {
	if l.failed != nil || l.synced == l.written {
		return l.failed
	}
	if err := l.file.Sync(); err != nil {
		l.fail(err)
		return l.failed
	}
	l.synced = l.written
	return nil
}

// finish reports the result of the placed records.
func (l *log) finish(d mqtt5.Durability) {
	l.store.apply(l.seg, l.size, l.placed, d)
	l.placed = nil
}

// abandon removes the placed records, because their write failed. The log goes on
// where it was, without the frames of which a part may have been written.
func (l *log) abandon(cause error) {
	l.buf = nil
	l.size = l.seg.size
	l.written = l.size
	l.ready = false
	err := l.file.Truncate(l.size)
	if err == nil {
		// Without it a crash could bring back a frame that was whole.
		err = l.file.Sync()
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.synced = l.size
	for _, r := range l.placed {
		r.err = l.placedError(cause)
	}
	l.placed = nil
}

// fail ends the log: the contents of the disk are unknown.
func (l *log) fail(cause error) {
	l.failed = classify("commit", l.store.file(l.seg.number), cause)
	for _, r := range l.placed {
		r.err = l.failed
	}
	l.placed = nil
}

func (l *log) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
