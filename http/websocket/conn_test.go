// SPDX-License-Identifier: Apache-2.0

package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
)

// dataFrames are the frames that a write of the payload makes.
func dataFrames(payload []byte) (frames []clientFrame) {
	const longest = 16<<10 - 8
	for len(payload) > longest {
		frames = append(frames, clientFrame{0x82, string(payload[:longest])})
		payload = payload[longest:]
	}
	return append(frames, clientFrame{0x82, string(payload)})
}

func TestWrite_frames(t *testing.T) {
	payload := []byte(strings.Repeat("The quick brown fox. ", 1<<13)) // 168 KiB
	synctest.Test(t, func(t *testing.T) {
		var frames []clientFrame
		o, client := pipe(func(s *server) {
			if !s.upgrade() {
				return
			}
			for {
				f, err := readFrame(s.br)
				if err != nil {
					if err != io.EOF {
						t.Error(err)
					}
					return
				}
				frames = append(frames, f)
			}
		})
		conn := mustDial(t, o)
		var want []clientFrame
		for _, n := range []int{1, 2, 7, 8, 9, 31, 32, 33, 125, 126, 4081, 4082, 4083, 4096, 16<<10 - 9, 16<<10 - 8, 16<<10 - 7, 32 << 10, 0xffff, 0x10000, len(payload)} {
			if got, err := conn.Write(payload[:n]); got != n || err != nil {
				t.Fatalf("write of %d bytes: %d, %v", n, got, err)
			}
			want = append(want, dataFrames(payload[:n])...)
		}
		for _, parts := range [][]int{{1, 2, 3}, {0, 5, 0}, {3, 4093}, {5000, 1, 40000, 3, 70000}, {7}} {
			var bufs [][]byte
			off := 0
			for _, n := range parts {
				bufs = append(bufs, payload[off:off+n])
				off += n
			}
			if got, err := conn.WriteBuffers(bufs); got != int64(off) || err != nil {
				t.Fatalf("write of %v: %d, %v", parts, got, err)
			}
			want = append(want, dataFrames(payload[:off])...)
		}
		if n, err := conn.Write(nil); n != 0 || err != nil {
			t.Errorf("empty write: %d, %v", n, err)
		}
		if n, err := conn.WriteBuffers([][]byte{nil, {}}); n != 0 || err != nil {
			t.Errorf("empty buffers: %d, %v", n, err)
		}
		want = append(want, clientFrame{0x88, "\x03\xe8"})
		if err := conn.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		<-client.served
		if d := cmp.Diff(want, frames); d != "" {
			t.Errorf("frames differ (-want +got):\n%.2000s", d)
		}
		if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

// A deadline may pass at any byte of any frame, and reading goes on afterwards
// as if nothing had happened.
func TestRead_deadlineAtEachByte(t *testing.T) {
	stream := bytes.Join([][]byte{
		frame(0x02, []byte("ab")), frame(0x89, []byte("ping")), frame(0x00, bytes.Repeat([]byte("c"), 130)), frame(0x80, nil),
		frame(0x82, []byte("d")),
	}, nil)
	want := "ab" + strings.Repeat("c", 130) + "d"
	for cut := range len(stream) + 1 {
		synctest.Test(t, func(t *testing.T) {
			resume := make(chan struct{})
			o, client := pipe(func(s *server) {
				if !s.upgrade(stream[:cut]) {
					return
				}
				go func() {
					<-resume
					_, _ = s.Write(stream[cut:])
				}()
				s.drain()
			})
			conn := mustDial(t, o)
			var got []byte
			p := make([]byte, 50)
			timeouts := 0
			for len(got) < len(want) {
				if timeouts < 2 {
					_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				} else {
					_ = conn.SetReadDeadline(time.Time{})
				}
				n, err := conn.Read(p)
				got = append(got, p[:n]...)
				var ne net.Error
				switch {
				case err == nil:
				case errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &ne) && ne.Timeout():
					if timeouts++; timeouts == 2 {
						close(resume)
					}
				default:
					t.Fatalf("cut %d: %v", cut, err)
				}
			}
			if string(got) != want {
				t.Errorf("cut %d: read %q", cut, got)
			}
			if timeouts == 0 {
				close(resume)
			}
			_ = conn.Close()
			<-client.served
		})
	}
}

func TestWrite_deadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan int64)
		o, client := pipe(func(s *server) {
			if !s.upgrade() {
				return
			}
			for n := range read {
				if _, err := io.CopyN(io.Discard, s, n); err != nil {
					return
				}
			}
		})
		conn := mustDial(t, o)
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := conn.Write([]byte("nobody reads")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		// Nothing of the frame left, so writing can go on.
		_ = conn.SetWriteDeadline(time.Time{})
		go func() { read <- 6 + 5 }()
		if n, err := conn.Write([]byte("hello")); n != 5 || err != nil {
			t.Errorf("after the deadline: %d, %v", n, err)
		}
		// A torn frame cannot be mended.
		go func() { read <- 4 + 4 + 100 }()
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := conn.Write(make([]byte, 1000)); n != 100 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("torn: %d, %v", n, err)
		}
		_ = conn.SetWriteDeadline(time.Time{})
		if _, err := conn.Write([]byte("more")); err == nil {
			t.Error("wrote into a torn frame")
		}
		_ = conn.Close()
		close(read)
		<-client.served
	})
}

// Close comes from another goroutine, whatever the others are waiting for.
func TestClose_unblocks(t *testing.T) {
	tests := []struct {
		name  string
		serve func(*server)
		block func(*websocket.Conn) error
		max   time.Duration
	}{
		{"read", func(s *server) { s.drain() }, func(c *websocket.Conn) error { _, err := c.Read(make([]byte, 1)); return err }, 0},
		{"read within a frame", func(s *server) {
			_, _ = s.Write([]byte{0x82, 126, 1})
			s.drain()
		}, func(c *websocket.Conn) error { _, err := c.Read(make([]byte, 1)); return err }, 0},
		{"write to a peer that does not read", func(s *server) { _, _ = s.Write([]byte{0x82}) }, func(c *websocket.Conn) error { _, err := c.Write(make([]byte, 100)); return err }, 0},
		{"read, peer does not read", func(s *server) {
			// The close frame cannot be delivered.
			_, _ = s.Write([]byte{0x82})
			time.Sleep(time.Minute)
		}, func(c *websocket.Conn) error { _, err := c.Read(make([]byte, 1)); return err }, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, client := pipe(func(s *server) {
					if s.upgrade() {
						tt.serve(s)
					}
				})
				conn := mustDial(t, o)
				result := make(chan error, 1)
				go func() { result <- tt.block(conn) }()
				time.Sleep(time.Second)
				start := time.Now()
				if err := conn.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if err := <-result; !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(start); took > tt.max {
					t.Errorf("took %v", took)
				}
				<-client.served
			})
		})
	}
}

// Pings are answered between the frames of a busy writer, never within one.
func TestConcurrent_pingsAndWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, writes, pings = 4, 50, 100
		counts := map[byte]int{}
		o, client := pipe(func(s *server) {
			if !s.upgrade() {
				return
			}
			ping := func() { go func() { _, _ = s.Write(frame(0x89, []byte("are you there"))) }() }
			ping()
			for {
				f, err := readFrame(s.br)
				if err != nil {
					return
				}
				counts[f.First]++
				if f.First == 0x82 && strings.Trim(f.Payload, f.Payload[:1]) != "" {
					t.Error("frames are mixed")
				}
				if f.First == 0x8a && counts[0x8a] < pings {
					ping()
				}
				if counts[0x82] == writers*writes*3 && counts[0x8a] == pings {
					_, _ = s.Write(closeFrame(1000, ""))
				}
			}
		})
		conn := mustDial(t, o)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				p := bytes.Repeat([]byte{byte('a' + i)}, 40000)
				for range writes {
					if _, err := conn.WriteBuffers([][]byte{p[:1], p[1:]}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read %d, %v", n, err)
		}
		wg.Wait()
		<-client.served
		delete(counts, 0x88) // no answer to the close if the end of a write is in the way
		if d := cmp.Diff(map[byte]int{0x82: writers * writes * 3, 0x8a: pings}, counts); d != "" {
			t.Errorf("frames differ (-want +got):\n%s", d)
		}
	})
}

// repeater is a connection that, once told to, yields the same frames for ever
// and takes everything.
type repeater struct {
	net.Conn
	frames []byte // nil: behave as Conn
	off    int
}

func (r *repeater) Read(p []byte) (int, error) {
	if r.frames == nil {
		return r.Conn.Read(p)
	}
	n := copy(p, r.frames[r.off:])
	r.off = (r.off + n) % len(r.frames)
	return n, nil
}

func (r *repeater) Write(p []byte) (int, error) {
	if r.frames == nil {
		return r.Conn.Write(p)
	}
	return len(p), nil
}

// repeating returns a connection to a peer that sends frames for ever.
func repeating(t testing.TB, frames []byte) *websocket.Conn {
	t.Helper()
	o, client := pipe(func(s *server) { s.upgrade() })
	r := &repeater{Conn: client}
	dial := o.Dial
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		_, err := dial(ctx, network, address)
		return r, err
	}
	d, err := websocket.New(o)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := d.DialContext(t.Context(), "tcp", "broker.test:80")
	if err != nil {
		t.Fatal(err)
	}
	r.frames = frames
	return conn.(*websocket.Conn)
}

func TestAllocations(t *testing.T) {
	small, large := bytes.Repeat([]byte("s"), 100), bytes.Repeat([]byte("l"), 100<<10)
	bufs := [][]byte{small, large, small}
	for name, b := range map[string][]byte{"small": small, "large": large} {
		conn := repeating(t, append(frame(0x82, b), append(frame(0x02, b), frame(0x80, nil)...)...))
		p := make([]byte, 4<<10)
		for op, f := range map[string]func() error{
			"Read":         func() error { _, err := conn.Read(p); return err },
			"Write":        func() error { _, err := conn.Write(b); return err },
			"WriteBuffers": func() error { _, err := conn.WriteBuffers(bufs); return err },
		} {
			var err error
			n := testing.AllocsPerRun(100, func() { err = errors.Join(err, f()) })
			if n != 0 || err != nil {
				t.Errorf("%s %s: %v allocations, error %v", op, name, n, err)
			}
		}
		_ = conn.Close()
	}
}

func BenchmarkWrite(b *testing.B) {
	conn := repeating(b, frame(0x82, []byte("x")))
	defer func() { _ = conn.Close() }()
	p := make([]byte, 256)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	conn := repeating(b, frame(0x82, make([]byte, 256)))
	defer func() { _ = conn.Close() }()
	p := make([]byte, 4096)
	b.SetBytes(256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Read(p); err != nil {
			b.Fatal(err)
		}
	}
}
