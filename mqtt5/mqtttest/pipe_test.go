// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipe_transfer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := Pipe(100)
		want := bytes.Repeat([]byte("0123456789"), 1000)
		var wg sync.WaitGroup
		for _, c := range [][2]*PipeConn{{a, b}, {b, a}} {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if n, err := c[0].Write(want); n != len(want) || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
				c[0].CloseWrite()
			}()
			wg.Add(1)
			go func() {
				defer wg.Done()
				got, err := io.ReadAll(c[1])
				if !bytes.Equal(got, want) || err != nil {
					t.Errorf("read %d bytes, %v", len(got), err)
				}
			}()
		}
		wg.Wait()
	})
}

func TestPipe_limit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := Pipe(10)
		if n, err := a.Write(make([]byte, 10)); n != 10 || err != nil {
			t.Fatal(n, err)
		}
		if a.Buffered() != 10 || b.Buffered() != 0 {
			t.Errorf("buffered %d and %d", a.Buffered(), b.Buffered())
		}
		done := false
		go func() {
			a.Write(make([]byte, 5))
			done = true
		}()
		synctest.Wait()
		if done {
			t.Error("a write went beyond the limit")
		}
		b.Read(make([]byte, 4))
		synctest.Wait()
		if done {
			t.Error("a write went beyond the limit")
		}
		b.Read(make([]byte, 1))
		synctest.Wait()
		if !done {
			t.Error("the write did not go on")
		}
	})
}

func TestPipe_deadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := Pipe(4)
		buf := make([]byte, 8)
		check := func(what string, n int, err error, after time.Duration, start time.Time, wantN int) {
			t.Helper()
			var ne net.Error
			if n != wantN || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != after {
				t.Errorf("%s: %d, %v after %v", what, n, err, time.Since(start))
			}
		}
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		n, err := a.Read(buf)
		check("read", n, err, time.Second, start, 0)
		n, err = a.Read(buf)
		check("read past the deadline", n, err, time.Second, start, 0)

		start = time.Now()
		a.SetWriteDeadline(start.Add(time.Minute))
		n, err = a.Write(buf)
		check("write", n, err, time.Minute, start, 4)

		// A deadline that moves while somebody waits.
		start = time.Now()
		a.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { a.SetReadDeadline(time.Now().Add(time.Second)) })
		n, err = a.Read(buf)
		check("later deadline", n, err, 2*time.Second, start, 0)

		start = time.Now()
		a.SetDeadline(time.Now().Add(time.Second))
		a.SetDeadline(time.Time{})
		time.AfterFunc(time.Hour, func() { b.Write([]byte("x")) })
		if n, err := a.Read(buf); n != 1 || err != nil || time.Since(start) != time.Hour {
			t.Errorf("read without deadline: %d, %v after %v", n, err, time.Since(start))
		}
		a.SetDeadline(time.Now().Add(-time.Second))
		n, err = a.Write(nil)
		check("write with a deadline in the past", n, err, time.Hour, start, 0)
		a.Close()
		if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestPipe_close(t *testing.T) {
	buf := make([]byte, 8)
	for _, tc := range []struct {
		name                   string
		end                    func(a *PipeConn)
		readSelf, writeSelf    error
		rest                   int // bytes that the other end still reads
		readOther, writeOther  error
		readWaiting, writeWait error // of calls of the other end that wait already
	}{
		{"Close", func(a *PipeConn) { a.Close(); a.Close() }, net.ErrClosed, net.ErrClosed, 4, io.EOF, syscall.EPIPE, io.EOF, syscall.EPIPE},
		{"Reset", func(a *PipeConn) { a.Reset() }, net.ErrClosed, net.ErrClosed, 0, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := Pipe(4)
				a.Write(buf[:4])
				tc.end(a)
				if _, err := a.Read(buf); !errors.Is(err, tc.readSelf) {
					t.Errorf("own read: %v", err)
				}
				if _, err := a.Write(buf); !errors.Is(err, tc.writeSelf) {
					t.Errorf("own write: %v", err)
				}
				if tc.rest > 0 {
					if n, err := b.Read(buf); n != tc.rest || err != nil {
						t.Errorf("other read: %d, %v", n, err)
					}
				}
				if _, err := b.Read(buf); !errors.Is(err, tc.readOther) {
					t.Errorf("other read: %v", err)
				}
				if _, err := b.Write(buf); !errors.Is(err, tc.writeOther) {
					t.Errorf("other write: %v", err)
				}

				a, b = Pipe(4)
				var readErr, writeErr, readOwn error
				var wg sync.WaitGroup
				wg.Go(func() { _, readErr = b.Read(buf) })
				wg.Go(func() { _, writeErr = b.Write(make([]byte, 5)) })
				synctest.Wait()
				tc.end(a)
				wg.Wait()
				if !errors.Is(readErr, tc.readWaiting) || !errors.Is(writeErr, tc.writeWait) {
					t.Errorf("waiting calls: %v, %v", readErr, writeErr)
				}

				a, _ = Pipe(4)
				wg.Go(func() { _, readOwn = a.Read(make([]byte, 1)) })
				synctest.Wait()
				a.Close()
				wg.Wait()
				if !errors.Is(readOwn, net.ErrClosed) {
					t.Errorf("own waiting read: %v", readOwn)
				}
			})
		})
	}
	t.Run("CloseWrite", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			a, b := Pipe(0)
			a.Write([]byte("bye"))
			a.CloseWrite()
			if _, err := a.Write(buf); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("own write: %v", err)
			}
			if got, err := io.ReadAll(b); string(got) != "bye" || err != nil {
				t.Errorf("other read: %q, %v", got, err)
			}
			if _, err := b.Write([]byte("x")); err != nil {
				t.Errorf("other write: %v", err)
			}
			if n, err := a.Read(buf); n != 1 || err != nil {
				t.Errorf("own read: %d, %v", n, err)
			}
		})
	})
}

func TestPipe_interface(t *testing.T) {
	a, b := Pipe(0)
	var c net.Conn = a
	if c.LocalAddr().String() != b.RemoteAddr().String() || c.RemoteAddr().Network() != "memory" {
		t.Errorf("%v, %v", c.LocalAddr(), b.RemoteAddr())
	}
	b.Write([]byte("abc"))
	b.SetPeerReadSize(2)
	buf := make([]byte, 9)
	if n, _ := a.Read(buf); n != 2 {
		t.Errorf("read %d", n)
	}
	b.SetPeerReadSize(0)
	b.Write([]byte("de"))
	if n, _ := a.Read(buf); n != 3 {
		t.Errorf("read %d", n)
	}
}

// TestPipe_resetWhileRead resets a connection on which the same end reads, and
// closes as soon as reading fails: the other end has to see a reset even so.
func TestPipe_resetWhileRead(t *testing.T) {
	for range 2000 {
		near, far := Pipe(0)
		go func() {
			near.Read(make([]byte, 1))
			near.Close()
		}()
		failed := make(chan error)
		go func() {
			_, err := far.Read(make([]byte, 1))
			failed <- err
		}()
		runtime.Gosched() // they read
		near.Reset()
		if err := <-failed; !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("got %v, want a reset", err)
		}
	}
}
