// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// recover reads the log and makes it ready to be appended to. It changes nothing
// before all of it was read.
func (s *Store) recover() error {
	names, err := s.fs.List()
	if err != nil {
		return err
	}
	var numbers []uint32
	for _, name := range names {
		if n, ok := segmentNumber(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	unborn, err := s.unborn(numbers)
	if err != nil {
		return err
	}
	if unborn {
		last := numbers[len(numbers)-1]
		numbers = numbers[:len(numbers)-1]
		s.log.dead = append(s.log.dead, last)
	}
	// What a crash brought back of removed segments is in front of a gap, or is
	// dead.
	for i := len(numbers) - 1; i > 0; i-- {
		if numbers[i-1] != numbers[i]-1 {
			s.log.dead = append(s.log.dead, numbers[:i]...)
			numbers = numbers[i:]
			break
		}
	}
	for i, n := range numbers {
		if err := s.replay(n, i == len(numbers)-1); err != nil {
			return err
		}
	}
	if err := s.checkFirst(); err != nil {
		return err
	}
	return s.prepare()
}

// unborn reports whether the last segment is one whose creation was
// interrupted: it has no header yet, and nothing behind it.
func (s *Store) unborn(numbers []uint32) (bool, error) {
	if len(numbers) == 0 {
		return false, nil
	}
	last := numbers[len(numbers)-1]
	f, err := s.fs.Open(segmentName(last))
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	w := window{f: f}
	header, err := w.read(0, int(min(size, headerSize)))
	if err != nil {
		return false, err
	}
	if _, err := parseHeader(header, last); err == nil || errors.Is(err, errNewer) {
		return false, nil
	}
	used, err := w.used(min(size, headerSize), size)
	return !used, err
}

// used reports whether there is anything but zeros between two offsets.
func (w *window) used(from, to int64) (bool, error) {
	for from < to {
		b, err := w.read(from, int(min(to-from, windowSize)))
		if err != nil {
			return false, err
		}
		if len(bytes.Trim(b, "\x00")) > 0 {
			return true, nil
		}
		from += int64(len(b))
	}
	return false, nil
}

// replay applies the frames of a segment.
func (s *Store) replay(number uint32, last bool) error {
	path := s.file(number)
	f, err := s.fs.Open(segmentName(number))
	if err != nil {
		return err
	}
	if last {
		s.log.file = f
	} else {
		defer f.Close()
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	seg := &segment{number: number, size: headerSize}
	sc := &scanner{window: window{f: f}, seg: seg, end: size, offset: headerSize}
	header, err := sc.read(0, headerSize)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	seg.salt, err = parseHeader(header, number)
	switch {
	case errors.Is(err, errNewer):
		return &Error{Op: "open", Path: path, Condition: mqtt5.ErrStoreVersion}
	case err != nil:
		return corrupt(path, 0, "%v", err)
	}
	s.segments = append(s.segments, seg)
	for sc.offset < sc.end {
		from := sc.offset
		err := sc.next()
		if err == nil && last {
			err = sc.checkBodies() // of others a sync has returned
		}
		var failed *ioError
		if errors.As(err, &failed) {
			return failed.err
		}
		if err != nil && !last {
			return corrupt(path, from, "%v", err)
		}
		if err != nil {
			sc.offset = from
			if err := s.checkTorn(sc, path, err); err != nil {
				return err
			}
			break
		}
		seg.size = sc.offset
		s.replayFrame(sc, seg)
	}
	if last {
		s.log.seg, s.log.size = seg, seg.size
	}
	return nil
}

func (s *Store) replayFrame(sc *scanner, seg *segment) {
	at := sc.bodies
	var c change
	for meta := sc.meta; len(meta) > 0; at += int64(c.size) {
		meta, _ = nextChange(meta, &c) // was checked
		if c.action == actionFirst {
			s.log.first = uint32(c.id)
			continue
		}
		s.applyChange(&c, seg, at)
	}
}

// checkTorn decides whether what follows the last valid frame is space that was
// never used or torn by a crash, or whether it was synced and is damaged.
func (s *Store) checkTorn(sc *scanner, path string, cause error) error {
	from := sc.offset
	used, err := sc.used(from, sc.end)
	if err != nil || !used {
		return err
	}
	var marker [4]byte
	binary.LittleEndian.PutUint32(marker[:], uint32(sc.seg.salt))
	for at := from + 1; at+frameHeaderSize <= sc.end; {
		b, err := sc.read(at, int(min(sc.end-at, windowSize)))
		if err != nil {
			return err
		}
		i := bytes.Index(b, marker[:])
		if i < 0 {
			at += int64(max(len(b)-len(marker)+1, 1))
			continue
		}
		at += int64(i)
		sc.offset = at
		if err := sc.next(); err == nil && int64(sc.header.synced) > from {
			return corrupt(path, from, "%v, but a later frame says that this was synced", cause)
		}
		at++
	}
	s.torn = sc.end - from
	return nil
}

// checkFirst checks that the log is complete at its beginning, and forgets the
// segments that it says are no part of it.
func (s *Store) checkFirst() error {
	if len(s.segments) == 0 {
		return nil
	}
	first := max(s.log.first, 1)
	begin, end := s.segments[0].number, s.segments[len(s.segments)-1].number
	if begin > first || first > end {
		return corrupt(s.file(first), 0, "the segment is missing: the log has segments %d to %d", begin, end)
	}
	for s.segments[0].number < first {
		if s.segments[0].live > 0 {
			return corrupt(s.file(s.segments[0].number), 0, "the segment has records, but the log begins at segment %d", first)
		}
		s.log.dead = append(s.log.dead, s.segments[0].number)
		s.segments = s.segments[1:]
	}
	return nil
}

// prepare makes the log ready to be appended to.
func (s *Store) prepare() error {
	l := &s.log
	for len(l.dead) > 0 {
		if err := s.fs.Remove(segmentName(l.dead[0])); err != nil {
			return err
		}
		l.dead = l.dead[1:]
	}
	if len(s.segments) == 0 {
		f, err := l.create(1)
		if err != nil {
			return err
		}
		seg := &segment{number: 1, salt: rand.Uint64(), size: headerSize}
		if err := l.begin(f, seg); err != nil {
			f.Close()
			return err
		}
		return nil
	}
	size, err := l.file.Size()
	if err != nil {
		return err
	}
	// Behind the end nothing may be left that could be taken for a frame later.
	if size > l.size {
		if err := l.file.Truncate(l.size); err != nil {
			return err
		}
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.written, l.synced = l.size, l.size
	return nil
}
