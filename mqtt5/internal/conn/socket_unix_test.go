// SPDX-License-Identifier: Apache-2.0

//go:build unix

package conn

import "testing"

// TestSocket_rest checks that a socket does not keep what it wrote or read alive.
func TestSocket_rest(t *testing.T) {
	near, far := loopback(t, false)
	w, r := NewWriter(near), NewReader(far)
	if err := w.Write([][]byte{{1}, {2}}); err != nil {
		t.Fatal(err)
	}
	w.TryWrite([]byte{3})
	if w.socket.segments != nil || w.socket.one[0] != nil {
		t.Error("holds references to what it wrote")
	}
	for left := 3; left > 0; {
		if err := r.Read(); err != nil {
			t.Fatal(err)
		}
		n := len(r.Bytes())
		left -= n
		r.Consume(n, 0)
	}
	if r.socket.buf != nil || r.socket.into != nil {
		t.Error("holds the buffer of a read")
	}
}
