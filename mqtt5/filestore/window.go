// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"hash/crc32"
	"io"
)

// windowSize is how much of a file is read at once.
const windowSize = 64 << 10

// window reads a file at mostly ascending offsets: what is near comes with one
// read, what is far between is not read.
type window struct {
	f     file
	buf   []byte
	start int64
}

// read returns n bytes at an offset, valid until the next read. They must be
// within the file: less is an error.
func (w *window) read(offset int64, n int) ([]byte, error) {
	if offset >= w.start && offset+int64(n) <= w.start+int64(len(w.buf)) {
		at := int(offset - w.start)
		return w.buf[at : at+n : at+n], nil
	}
	size := max(n, windowSize)
	if cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	got, err := w.f.ReadAt(w.buf[:size], offset)
	w.buf, w.start = w.buf[:got], offset
	if got >= n {
		return w.buf[:n:n], nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// sum returns the checksum of n bytes at an offset.
func (w *window) sum(offset int64, n int) (uint32, error) {
	var s uint32
	for n > 0 {
		b, err := w.read(offset, min(n, windowSize))
		if err != nil {
			return 0, err
		}
		s = crc32.Update(s, castagnoli, b)
		offset += int64(len(b))
		n -= len(b)
	}
	return s, nil
}
