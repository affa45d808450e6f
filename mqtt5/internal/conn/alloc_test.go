// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// endless is a connection on which the same packet arrives again and again.
type endless struct {
	net.Conn // nil
	packet   []byte
	left     []byte
}

func (c *endless) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		c.left = c.packet
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// packetOf returns a packet of that size.
func packetOf(size int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(size)), pattern(size-packetHeader)...)
}

// readPacket reads one packet and consumes it, or passes it on and releases it.
func readPacket(t testing.TB, r *Reader, detach, lasting bool) {
	for {
		if err := r.Read(); err != nil {
			t.Fatal(err)
		}
		b := r.Bytes()
		size := need(b)
		if len(b) < size {
			r.Consume(0, size)
			continue
		}
		if detach {
			r.Detach(size, 0, lasting).Release()
		} else {
			r.Consume(size, 0)
		}
		return
	}
}

// TestAllocations is not parallel: AllocsPerRun counts what other goroutines
// allocate.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("pools are not used")
	}
	near, far := loopback(t, false)
	socket := NewReader(far)
	send := make(chan []byte) // from near to far
	defer close(send)
	go func() {
		for b := range send {
			near.Write(b)
		}
	}()
	budget := func(name string, want float64, f func()) {
		t.Helper()
		f()
		if got := testing.AllocsPerRun(200, f); got > want {
			t.Errorf("%s: %v allocations, want %v", name, got, want)
		}
	}
	for _, size := range []int{10, 256, 8 * kib, 64 * kib, 300 * kib} {
		packet := packetOf(size)
		layered := NewReader(&endless{packet: packet})
		both := func(name string, want float64, detach, lasting bool) {
			t.Helper()
			budget("read "+name, want, func() { readPacket(t, layered, detach, lasting) })
			budget("read from a socket "+name, want, func() {
				send <- packet
				readPacket(t, socket, detach, lasting)
			})
		}
		both("and consume", 0, false, false)
		both("and detach", 0, true, false)
		both("and keep", 1, true, true) // the memory that is kept
	}

	payload := pattern(64 * kib)
	segments := make([][]byte, 0, 8)
	go io.Copy(io.Discard, far)
	for name, c := range map[string]net.Conn{"layered": &chunks{}, "joined": &counter{}, "a socket": near} {
		w := NewWriter(c)
		write := func(sizes ...int) func() {
			return func() {
				segments = segments[:0]
				for _, n := range sizes {
					segments = append(segments, payload[:n])
				}
				if err := w.Write(segments); err != nil {
					t.Fatal(err)
				}
			}
		}
		budget("write to "+name, 0, write(100))
		budget("write segments to "+name, 0, write(100, 64*kib, 100, 20*kib, 1))
		budget("a look at "+name, 1, func() { w.Departed() })
		if w.Tries() {
			budget("try to write to "+name, 0, func() { w.TryWrite(payload[:100]) })
		}
	}
	budget("an outbound buffer", 0, func() { GiveBuffer(append(TakeBuffer(), payload...)) })
}

// counter counts what it gets in groups.
type counter struct {
	net.Conn // nil
	wrote    int64
}

func (c *counter) WriteBuffers(buffers [][]byte) (int64, error) {
	n := int64(0)
	for _, b := range buffers {
		n += int64(len(b))
	}
	c.wrote += n
	return n, nil
}

// TestRest checks that Readers and Writers at rest hold next to no memory.
func TestRest(t *testing.T) {
	near, far := loopback(t, false)
	r, w := New(near)
	sent := bytes.Repeat(packetOf(100), 10)
	for range 3 {
		if _, err := far.Write(sent); err != nil {
			t.Fatal(err)
		}
		for left := len(sent); left > 0; {
			if err := r.Read(); err != nil {
				t.Fatal(err)
			}
			left -= len(r.Bytes())
			r.Consume(len(r.Bytes()), 0)
		}
		if !r.AtRest() || r.buf != nil {
			t.Error("holds a buffer")
		}
		if err := w.Write([][]byte{{1}, {2}}); err != nil {
			t.Fatal(err)
		}
		if w.Tries() {
			w.TryWrite([]byte{3})
		}
	}
	joined := NewWriter(&counter{})
	if err := joined.Write([][]byte{{1}, {2}, {3}}); err != nil {
		t.Fatal(err)
	}
	for _, b := range joined.pieces.group[:cap(joined.pieces.group)] {
		if b != nil {
			t.Error("holds references to what it wrote")
		}
	}
}
