// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// SyncPolicy says when commits are synced to the disk.
type SyncPolicy uint8

// The sync policies.
const (
	// SyncAlways syncs before a commit returns. It is the default.
	SyncAlways SyncPolicy = iota
	// SyncInterval syncs after [Options.Interval]. The death of the process loses
	// nothing. A loss of power, or a crash of the operating system, loses
	// at most the commits of the last interval, the newest first.
	SyncInterval
)

// Options configure a [Store]. The zero value of each field means its default.
type Options struct {
	Sync SyncPolicy
	// Interval is the longest time from a commit to its sync with SyncInterval.
	// 0: 1 s.
	Interval time.Duration
	// SegmentBytes is the size of a segment: the unit in which space is reserved
	// and given back. A record that is larger gets a segment of its own. At
	// least 4 KiB, at most 1 GiB. 0: 16 MiB.
	SegmentBytes int64
	// MaxBytes bounds the space that the store takes on the disk, but for one
	// segment that it may need to free others. At least two segments. Changes
	// that need more fail with [mqtt5.ErrStoreFull]. 0: no bound but the disk.
	MaxBytes int64
}

const (
	defaultSegment = 16 << 20
	minSegment     = 4 << 10
	maxSegment     = 1 << 30
)

func (o Options) withDefaults() (Options, error) {
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
	}
	switch {
	case o.Sync > SyncInterval:
		return o, errors.New("filestore: unknown sync policy")
	case o.Interval < 0:
		return o, errors.New("filestore: Interval is negative")
	case o.SegmentBytes < minSegment || o.SegmentBytes > maxSegment:
		return o, errors.New("filestore: SegmentBytes is not between 4 KiB and 1 GiB")
	case o.MaxBytes < 0 || o.MaxBytes > 0 && o.MaxBytes < 2*o.SegmentBytes:
		return o, errors.New("filestore: MaxBytes is less than two segments")
	}
	return o, nil
}

// Info describes an open [Store].
type Info struct {
	// DiskBytes is the size of all segments, with the reserved part of the last.
	DiskBytes int64
	// Segments is the number of files of the log.
	Segments int
	// TornBytes is the size of what Open cut off, because a crash had interrupted
	// its write. It was never reported as stored.
	TornBytes int64
}

// Store is an [mqtt5.Store] in a directory. All methods may be called from any
// goroutine.
type Store struct {
	fs   fileSystem
	path string
	opts Options
	lock io.Closer

	// writer is held by the goroutine that writes to the log, which owns log.
	writer chan struct{}
	log    log
	// closing is closed when Close begins.
	closing chan struct{}

	// mu guards everything below. It is never held over I/O.
	mu       sync.Mutex
	pending  []*request // for the next writer
	indexes  indexes
	segments []*segment // ascending, without gaps; the last one is written to
	torn     int64
	closed   bool
	syncing  *time.Timer // of SyncInterval; nil: nothing to sync
}

// Open opens the store in a directory, and creates it if there is none.
// It reads the log once; with a million small records that takes a second or
// two.
//
// Open fails with an [*Error] whose condition is [mqtt5.ErrStoreLocked],
// [mqtt5.ErrStoreCorrupt], [mqtt5.ErrStoreVersion], [mqtt5.ErrStoreReadOnly],
// [mqtt5.ErrStoreFull] or [mqtt5.ErrStoreIO], and changes nothing in a store that
// is damaged or newer. An empty dir and options that are not valid are errors
// that match none of these.
func Open(dir string, options Options) (*Store, error) {
	if dir == "" {
		return nil, errors.New("filestore: the directory has no name")
	}
	opts, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	fs, err := openDirectory(dir)
	if err != nil {
		return nil, classify("open", dir, err)
	}
	return open(fs, dir, opts)
}

func open(fs fileSystem, path string, opts Options) (*Store, error) {
	lock, err := fs.Lock()
	if err != nil {
		return nil, classify("open", path, err)
	}
	s := &Store{fs: fs, path: path, opts: opts, lock: lock, writer: make(chan struct{}, 1), closing: make(chan struct{}), indexes: indexes{}}
	s.log.store = s
	if err := s.recover(); err != nil {
		s.log.close()
		lock.Close()
		return nil, classify("open", path, err)
	}
	return s, nil
}

// file returns the path of a segment, for errors.
func (s *Store) file(number uint32) string { return filepath.Join(s.path, segmentName(number)) }

// Count counts the records of a kind.
func (s *Store) Count(kind mqtt5.RecordKind) mqtt5.StoreCount {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.indexes[kind]
	if x == nil {
		return mqtt5.StoreCount{}
	}
	return mqtt5.StoreCount{Records: x.records, Bytes: x.bytes, LastID: x.last()}
}

// Info describes the store.
func (s *Store) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Info{DiskBytes: s.diskBytes(), Segments: len(s.segments), TornBytes: s.torn}
}

// diskBytes is the space of all segments. The caller holds mu.
func (s *Store) diskBytes() int64 {
	var n int64
	for i, seg := range s.segments {
		size := seg.size
		if i == len(s.segments)-1 {
			size = max(size, s.opts.SegmentBytes)
		}
		n += size
	}
	return n
}

// Close syncs the rest and releases the store. It waits for commits
// that have begun. Closing twice does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.closing)
	s.stopTimer()
	s.mu.Unlock()
	s.writer <- struct{}{} // for good
	s.commitPending()
	err := s.log.sync()
	s.log.close()
	if e := s.lock.Close(); err == nil && e != nil {
		err = classify("close", s.path, e)
	}
	return err
}

// stopTimer ends the wait for a sync. The caller holds mu.
func (s *Store) stopTimer() {
	if s.syncing != nil {
		s.syncing.Stop()
		s.syncing = nil
	}
}

// syncLater sees to it that what was written is synced in time.
func (s *Store) syncLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.syncing == nil && !s.closed {
		s.syncing = time.AfterFunc(s.opts.Interval, s.syncNow)
	}
}

// syncNow syncs what was written. An error stays with the log, for the next
// commit.
func (s *Store) syncNow() {
	select {
	case s.writer <- struct{}{}:
	case <-s.closing: // Close syncs
		return
	}
	defer func() { <-s.writer }()
	s.mu.Lock()
	s.syncing = nil
	closed := s.closed
	s.mu.Unlock()
	if !closed && s.log.sync() == nil {
		s.removeDead()
	}
}

var errClosed = &Error{Op: "commit", Condition: mqtt5.ErrStoreClosed}
