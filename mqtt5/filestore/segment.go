// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// segment is one file of the log.
type segment struct {
	number uint32
	salt   uint64
	size   int64 // of the header and all frames that are applied
	live   int   // records whose body lies here; guarded by Store.mu
}

const segmentSuffix = ".log"

// segmentName is the name of the file of a segment.
func segmentName(number uint32) string { return fmt.Sprintf("%010d%s", number, segmentSuffix) }

// segmentNumber is the reverse of segmentName.
func segmentNumber(name string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0
}

// scanner reads the frames of a segment.
type scanner struct {
	window
	seg    *segment
	end    int64 // of the file
	offset int64 // of the next frame
	header frameHeader
	meta   []byte // of the current frame, valid until the next
	bodies int64  // offset of the first body of the current frame
}

// next reads the frame at offset and moves behind it. An error of the file
// system is an *ioError; others say why there is no valid frame.
func (s *scanner) next() error {
	left := s.end - s.offset
	var b []byte
	if left >= frameHeaderSize {
		var err error
		if b, err = s.read(s.offset, frameHeaderSize); err != nil {
			return &ioError{err}
		}
	}
	h, err := parseFrameHeader(b, s.seg.salt, left)
	if err != nil {
		return err
	}
	b, err = s.read(s.offset, frameHeaderSize+int(h.meta))
	if err != nil {
		return &ioError{err}
	}
	meta := b[frameHeaderSize:]
	if frameSum(s.seg.salt, s.offset, b, meta) != h.sum {
		return errors.New("wrong checksum of the frame")
	}
	if err := checkMeta(h, meta); err != nil {
		return err
	}
	s.header, s.meta = h, meta
	s.bodies = s.offset + frameHeaderSize + int64(h.meta)
	s.offset += int64(h.size)
	return nil
}

// checkBodies compares the bodies of the current frame with their checksums. It
// keeps meta valid.
func (s *scanner) checkBodies() error {
	if int64(s.header.size) == frameHeaderSize+int64(s.header.meta) {
		return nil
	}
	s.meta = append([]byte(nil), s.meta...)
	at := s.bodies
	var c change
	for meta := s.meta; len(meta) > 0; {
		meta, _ = nextChange(meta, &c) // was checked
		got, err := s.sum(at, int(c.size))
		if err != nil {
			return &ioError{err}
		}
		if c.size > 0 && got != c.sum {
			return errors.New("wrong checksum of a body")
		}
		at += int64(c.size)
	}
	return nil
}

// ioError is an error of the file system.
type ioError struct{ err error }

func (e *ioError) Error() string { return e.err.Error() }

func (e *ioError) Unwrap() error { return e.err }
