// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a connection that notes what one call of Write gets.
type recorder struct {
	net.Conn // nil
	calls    []int
	got      []byte
	takes    func(size int) time.Duration // how long a call takes
	short    bool                         // Write returns one byte less
}

func (c *recorder) Write(p []byte) (int, error) {
	if c.takes != nil {
		time.Sleep(c.takes(len(p)))
	}
	c.calls = append(c.calls, len(p))
	c.got = append(c.got, p...)
	if c.short {
		return len(p) - 1, nil
	}
	return len(p), nil
}

// joiner is a recorder that takes several slices at once.
type joiner struct{ recorder }

func (c *joiner) WriteBuffers(buffers [][]byte) (int64, error) {
	n, err := c.Write(bytes.Join(buffers, nil))
	return int64(n), err
}

// cut returns the bytes in segments of these sizes and one of the rest.
func cut(b []byte, sizes ...int) [][]byte {
	var segments [][]byte
	for _, n := range sizes {
		segments = append(segments, b[:n])
		b = b[n:]
	}
	return append(segments, b)
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestWrite_pieces(t *testing.T) {
	const piece, frame = largestPiece, largestPiece - frameHeader
	for _, tt := range []struct {
		name   string
		total  int
		sizes  []int
		pieces []int
		frames []int
	}{
		{"nothing", 0, nil, nil, nil},
		{"nothing in many", 0, []int{0, 0}, nil, nil},
		{"one", 100, nil, []int{100}, []int{100}},
		{"a piece", piece, nil, []int{piece}, []int{frame, frameHeader}},
		{"one byte more", piece + 1, nil, []int{piece, 1}, []int{frame, frameHeader + 1}},
		{"small ones", 300, []int{100, 0, 100}, []int{100, 100, 100}, []int{300}},
		{"a header and a payload", 100 + 2*piece, []int{100}, []int{100, piece, piece}, []int{frame, frame, 100 + 2*frameHeader}},
		{"payloads", 3*piece + 6, []int{1, piece, 2, piece, 3}, []int{1, piece, 2, piece, 3, piece}, []int{frame, frame, frame, 6 + 3*frameHeader}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := pattern(tt.total)
			run := func(c net.Conn, r *recorder, calls []int) {
				t.Helper()
				w := NewWriter(c)
				if w.pieces != nil {
					w.pieces.size = w.pieces.largest
				}
				if w.Tries() {
					t.Error("it is no plain socket")
				}
				if err := w.Write(cut(want, tt.sizes...)); err != nil {
					t.Fatal(err)
				}
				if !equal(r.calls, calls) {
					t.Errorf("calls of %v bytes, want %v", r.calls, calls)
				}
				if !bytes.Equal(r.got, want) {
					t.Error("the bytes are others")
				}
				if got := w.Departed(); got != int64(tt.total) {
					t.Errorf("departed %d, want %d", got, tt.total)
				}
			}
			plain, joined := &recorder{}, &joiner{}
			run(plain, plain, tt.pieces)
			run(joined, &joined.recorder, tt.frames)
		})
	}
}

func TestWrite_short(t *testing.T) {
	for _, c := range []net.Conn{&recorder{short: true}, &joiner{recorder{short: true}}} {
		w := NewWriter(c)
		if err := w.Write([][]byte{pattern(100)}); err != io.ErrShortWrite {
			t.Errorf("error %v", err)
		}
		if got := w.Departed(); got != 99 {
			t.Errorf("departed %d, want 99", got)
		}
	}
}

// TestWrite_pace lets a link of some speed become slow and fast again.
func TestWrite_pace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := 1300 // bytes per second
		c := &recorder{takes: func(n int) time.Duration { return time.Duration(n) * time.Second / time.Duration(rate) }}
		w := NewWriter(c)
		write := func(n int) {
			t.Helper()
			c.calls = nil
			if err := w.Write([][]byte{pattern(n)}); err != nil {
				t.Fatal(err)
			}
		}
		write(4 * largestPiece)
		if c.calls[0] != firstPiece || c.calls[1] != smallestPiece || c.calls[len(c.calls)-1] != smallestPiece {
			t.Errorf("pieces on a slow link: %v", c.calls)
		}
		rate = 100_000 // 10 kB in 100 ms
		write(40 * largestPiece)
		for _, n := range c.calls[:len(c.calls)-1] {
			if took := c.takes(n); took > slowPiece+fastPiece {
				t.Errorf("a piece of %d bytes took %v", n, took)
			}
		}
		rate = 1 << 30
		write(40 * largestPiece)
		if last := c.calls[len(c.calls)-2]; last != largestPiece {
			t.Errorf("pieces on a fast link: %v", c.calls)
		}
	})
}

// TestDeparted_pipe checks that Departed moves when the peer reads, and only then.
func TestDeparted_pipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		w := NewWriter(near)
		done := make(chan error, 1)
		go func() { done <- w.Write([][]byte{pattern(100), pattern(3 * largestPiece)}) }()
		departed := int64(0)
		step := func(read int, want int64) {
			t.Helper()
			if _, err := io.ReadFull(far, make([]byte, read)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Hour)
			if departed = w.Departed(); departed != want {
				t.Errorf("departed %d, want %d", departed, want)
			}
		}
		step(0, 0)
		step(99, 0)
		step(1, 100) // after two hours: what follows is a small piece
		step(smallestPiece-1, 100)
		step(1, 100+smallestPiece)
		step(0, 100+smallestPiece)
		step(smallestPiece, 100+2*smallestPiece)
		near.Close()
		if err := <-done; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v", err)
		}
		step(0, departed)
	})
}

// TestWrite_sockets writes much to a peer that does not read at first.
func TestWrite_sockets(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap func(net.Conn) net.Conn
	}{
		{"plain", func(c net.Conn) net.Conn { return c }},
		{"wrapped", func(c net.Conn) net.Conn { return layer{c} }},
		{"wrapped twice", func(c net.Conn) net.Conn { return layer{layer{c}} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			near, far := loopback(t, true)
			w := NewWriter(tt.wrap(near))
			const payload = 3 << 20
			want := pattern(payload + 300)
			done := make(chan error, 1)
			go func() { done <- w.Write(cut(bytes.Clone(want), 100, 0, payload, 200)) }()

			// Once the buffers are full, nothing moves.
			last, same := int64(-1), 0
			eventually(t, "the socket is full", func() bool {
				now := w.Departed()
				if now < last {
					t.Fatalf("departed fell from %d to %d", last, now)
				}
				if now != last || now == 0 {
					last, same = now, 0
				}
				same++
				return same > 20
			})
			if last >= int64(len(want)) {
				t.Fatalf("departed %d of %d though nobody reads", last, len(want))
			}
			if runtime.GOOS == "linux" && last >= w.written.Load() {
				t.Errorf("departed %d of %d written though the socket is full", last, w.written.Load())
			}
			got := make([]byte, 0, len(want))
			read := func(n int) {
				t.Helper()
				at := len(got)
				got = got[:at+n]
				if _, err := io.ReadFull(far, got[at:]); err != nil {
					t.Fatal(err)
				}
			}
			// What the peer has read has departed, and a good part of what it
			// had not yet.
			read(int(last))
			eventually(t, "more departs", func() bool { return w.Departed() > last })
			read(len(want) - len(got))
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("the bytes are others")
			}
			eventually(t, "all departed", func() bool { return w.Departed() == int64(len(want)) })
			w.departed.Add(1)
			if got := w.Departed(); got != int64(len(want))+1 {
				t.Errorf("departed fell to %d", got)
			}
			near.Close()
			if got := w.Departed(); got != int64(len(want))+1 {
				t.Errorf("departed %d after Close", got)
			}
		})
	}
}

// layer is a connection over another, such as TLS.
type layer struct{ net.Conn }

func (l layer) NetConn() net.Conn { return l.Conn }

// TestWrite_manySegments writes more segments than one system call takes.
func TestWrite_manySegments(t *testing.T) {
	near, far := loopback(t, false)
	want := pattern(1000)
	segments := make([][]byte, 0, 500)
	for at := 0; at < len(want); at += 4 {
		segments = append(segments, want[at:at+4], nil)
	}
	w := NewWriter(near)
	if err := w.Write(segments); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes are others")
	}
}

// TestTryWrite fills a socket without waiting, and lets Write do the rest.
func TestTryWrite(t *testing.T) {
	t.Parallel()
	near, far := loopback(t, true)
	w := NewWriter(near)
	if !w.Tries() {
		t.Skip("no raw sockets on this platform")
	}
	want := pattern(1 << 20)
	at, full := 0, false
	for !full {
		chunk := want[at:min(at+64*kib, len(want))]
		n := w.TryWrite(chunk)
		at += n
		full = n < len(chunk)
		if len(chunk) == 0 {
			t.Fatal("the socket took everything")
		}
	}
	done := make(chan error, 1)
	go func() { done <- w.Write(cut(want[at:])) }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the bytes are others")
	}
	eventually(t, "all departed", func() bool { return w.Departed() == int64(len(want)) })
}

// TestWrite_errors checks that errors are those of net.Conn.
func TestWrite_errors(t *testing.T) {
	t.Run("closed here", func(t *testing.T) {
		near, _ := loopback(t, false)
		r, w := New(near)
		near.Close()
		if n := 0; w.Tries() {
			if n = w.TryWrite([]byte{1}); n != 0 {
				t.Errorf("wrote %d", n)
			}
		}
		for op, err := range map[string]error{"write": w.Write([][]byte{{1}}), "read": r.Read()} {
			var oe *net.OpError
			if !errors.Is(err, net.ErrClosed) || !errors.As(err, &oe) || oe.Op != op || strings.Contains(err.Error(), "raw") {
				t.Errorf("%s: %v", op, err)
			}
		}
	})
	t.Run("closed while it waits", func(t *testing.T) {
		near, _ := loopback(t, true)
		w := NewWriter(near)
		done := make(chan error, 1)
		go func() { done <- w.Write([][]byte{pattern(8 << 20)}) }()
		eventually(t, "it writes", func() bool { return w.Departed() > 0 })
		near.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		near, far := loopback(t, false)
		r, w := New(near)
		far.SetLinger(0)
		far.Close()
		err := r.Read()
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read: %v", err)
		}
		err = w.Write([][]byte{{1}, {2}})
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.As(err, new(*net.OpError)) {
			t.Errorf("write: %v", err)
		}
	})
	t.Run("end", func(t *testing.T) {
		near, far := loopback(t, false)
		far.Close()
		if err := NewReader(near).Read(); err != io.EOF {
			t.Errorf("error %v", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		near, _ := loopback(t, false)
		near.SetReadDeadline(time.Unix(1, 0))
		if err := NewReader(near).Read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// A write to a socket waits only while the other end does not read; of others
// that is not known.
func TestWriter_waits(t *testing.T) {
	near, far := loopback(t, true)
	w := NewWriter(near)
	if !w.Tries() {
		if !w.Waits() {
			t.Error("a write that may wait does not say so")
		}
		return
	}
	if err := w.Write([][]byte{pattern(100)}); err != nil || w.Waits() {
		t.Fatalf("after a short write: %v, waits %v", err, w.Waits())
	}
	const size = 16 << 20
	data := pattern(size)
	for w.TryWrite(data) > 0 {
	}
	if w.Waits() {
		t.Error("TryWrite waits")
	}
	done := make(chan error)
	go func() { done <- w.Write([][]byte{data}) }()
	eventually(t, "the write waits", w.Waits)
	go io.Copy(io.Discard, far)
	if err := <-done; err != nil || w.Waits() {
		t.Errorf("after the write: %v, waits %v", err, w.Waits())
	}
	if w := NewWriter(&recorder{}); !w.Waits() {
		t.Error("a layer does not say when it waits")
	}
}
