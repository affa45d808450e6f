// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// stream is the connection as the WebSocket library sees it. It stands between
// the library, which reads frames and answers pings and closes, and the network, and gives
// three guarantees that the library does not:
//
//   - The library gets a frame header, or a control frame, whole or not at all. So a
//     read deadline never interrupts it in the middle of one, and reading can go on later.
//   - It is known how many payload bytes the library holds, so that a reader can take
//     what is there without waiting for the rest of the frame.
//   - Data frames, which [Conn] writes itself, and the control frames of the library never mix.
type stream struct {
	conn net.Conn

	// Owned by the reader.
	held     [maxControlFrame]byte // an incomplete header or control frame
	heldLen  int
	payload  int64 // bytes missing from the current data frame
	avail    int64 // payload bytes handed to the library that Conn has not taken
	ended    bool  // a header was passed on that ends the connection: do not interpret what follows
	pending  error // of a read that also yielded bytes
	timedOut bool  // the last read ran into its deadline
	ioErr    error // any other failure of the last read

	live atomic.Bool // the upgrade succeeded

	wmu       sync.Mutex
	werr      error // a frame was torn: nothing can be written any more
	closeSent bool
	mask      maskSource
}

const (
	maxHeader       = 10 // from a server: no mask
	maxControlFrame = 2 + 125
)

var errMaskedFrame = errors.New("the server sent a masked frame")

func newStream(conn net.Conn) *stream { return &stream{conn: conn} }

// Read implements io.Reader for the library. p is its read buffer, which is
// much larger than what may be held back.
func (s *stream) Read(p []byte) (int, error) {
	if !s.live.Load() {
		return 0, io.EOF // the library looks for a body when it does not like the answer
	}
	s.timedOut = false
	for {
		if s.ended {
			return 0, io.ErrUnexpectedEOF
		}
		if len(p) <= s.heldLen {
			return 0, io.ErrShortBuffer
		}
		if err := s.pending; err != nil {
			s.pending = nil
			return 0, s.failed(err)
		}
		n, err := s.conn.Read(p[s.heldLen:])
		if n <= 0 {
			if err == nil {
				continue
			}
			return 0, s.failed(err)
		}
		s.pending = err
		n += copy(p, s.held[:s.heldLen])
		whole, err := s.scan(p[:n])
		s.heldLen = copy(s.held[:], p[whole:n])
		if err != nil {
			s.pending, s.heldLen = err, 0
		}
		if whole > 0 {
			return whole, nil
		}
	}
}

func (s *stream) failed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.timedOut = true
	} else {
		s.ioErr = err
		if err == io.EOF {
			// Inside a message the library takes io.EOF for the end of the message.
			return io.ErrUnexpectedEOF
		}
	}
	return err
}

// scan follows the frames in b and returns how much of it may be passed on.
// Frames that break the rules are passed on, with all that follows: it is the library
// that rejects them.
func (s *stream) scan(b []byte) (whole int, err error) {
	i := 0
	for i < len(b) {
		if s.payload > 0 {
			n := min(s.payload, int64(len(b)-i))
			s.payload -= n
			s.avail += n
			i += int(n)
			continue
		}
		f := b[i:]
		if len(f) < 2 {
			break
		}
		if f[1]&0x80 != 0 {
			return i, errMaskedFrame
		}
		header, length := 2, int64(f[1])
		switch length {
		case 126:
			header = 4
		case 127:
			header = maxHeader
		}
		if len(f) < header {
			break
		}
		switch header {
		case 4:
			length = int64(binary.BigEndian.Uint16(f[2:]))
		case maxHeader:
			length = int64(binary.BigEndian.Uint64(f[2:]))
		}
		control := f[0]&0x08 != 0
		switch {
		case length < 0, control && (length > 125 || f[0]&0x80 == 0):
			s.ended = true
			return len(b), nil
		case !control:
			s.payload = length
			i += header
		case len(f) < header+int(length):
			return i, nil
		default:
			i += header + int(length)
		}
	}
	return i, nil
}

// Write implements io.Writer for the library, which writes control frames, one
// a call.
func (s *stream) Write(p []byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.werr != nil {
		return 0, s.werr
	}
	if len(p) > 0 && p[0]&0x0f == opClose {
		s.closeSent = true
	}
	n, err := s.conn.Write(p)
	if err != nil {
		s.werr = err
	}
	return n, err
}

// Close implements io.Closer for the library.
func (s *stream) Close() error { return s.conn.Close() }
