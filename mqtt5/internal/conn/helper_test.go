// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// chunks is a connection that returns one chunk for each read, or a part of one,
// and io.EOF after the last. What is written to it is gone.
type chunks struct {
	net.Conn // nil
	left     [][]byte
	err      error // instead of io.EOF
	withLast bool  // the error comes with the last bytes
	wrote    int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		if c.err != nil && !c.withLast {
			return 0, c.err
		}
		return 0, io.EOF
	}
	n := copy(p, c.left[0])
	if c.left[0] = c.left[0][n:]; len(c.left[0]) == 0 {
		c.left = c.left[1:]
	}
	if c.withLast && len(c.left) == 0 {
		return n, c.err
	}
	return n, nil
}

func (c *chunks) Write(p []byte) (int, error) {
	c.wrote += len(p)
	return len(p), nil
}

// pattern returns n bytes that depend on where they are.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// loopback returns both ends of a TCP connection. Socket buffers of the near end's
// output are small if small is set.
func loopback(t testing.TB, small bool) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err == nil {
			far = c.(*net.TCPConn)
		}
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	near = c.(*net.TCPConn)
	t.Cleanup(func() {
		near.Close()
		if far != nil {
			far.Close()
		}
	})
	if far == nil {
		t.Fatal("nothing accepted")
	}
	if small {
		near.SetWriteBuffer(64 << 10)
		far.SetReadBuffer(64 << 10)
	}
	return near, far
}

// eventually waits until a condition of another process or the kernel is met.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// wantPanic calls f, which has to panic with the text.
func wantPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != text {
			t.Errorf("panic with %v, want %q", got, text)
		}
	}()
	f()
}

func NewReader(c net.Conn) *Reader {
	r, _ := New(c)
	return r
}

func NewWriter(c net.Conn) *Writer {
	_, w := New(c)
	return w
}
