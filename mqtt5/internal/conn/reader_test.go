// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// state of a Reader that holds have bytes in a buffer of some origin.
type state struct {
	origin origin
	size   int // capacity; 0 for pooled
	have   int
}

// enter makes a Reader with that state, whose bytes are a pattern.
func enter(s state) *Reader {
	r := NewReader(&chunks{})
	content := pattern(s.have)
	switch s.origin {
	case pooled:
		r.buf = newPooled()
	case large:
		r.buf = newLarge(s.size)
	default:
		r.buf = newCollected(s.size)
	}
	r.buf.b = append(r.buf.b, content...)
	return r
}

// check compares the state of r, whose bytes are the end of the pattern of total.
func check(t *testing.T, r *Reader, want state, total int) {
	t.Helper()
	if want.have == 0 {
		if !r.AtRest() || r.Bytes() != nil {
			t.Errorf("not at rest, %d bytes", len(r.Bytes()))
		}
		return
	}
	if want.origin == pooled {
		want.size = bufferSize
	}
	if got := (state{r.buf.origin, cap(r.buf.b), len(r.buf.b)}); got != want {
		t.Errorf("state %+v, want %+v", got, want)
	}
	if !bytes.Equal(r.Bytes(), pattern(total)[total-want.have:]) {
		t.Error("the bytes are others")
	}
	if len(r.buf.b) == cap(r.buf.b) {
		t.Error("no room")
	}
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// transitions is every way from one state to another.
var transitions = []struct {
	name    string
	from    state
	n, need int
	to      state
	expect  int
	lasting bool // what Detach with lasting returns
	copied  bool // it is a copy, and the Reader keeps its memory
}{
	{"a small packet", state{pooled, 0, 100}, 100, 0, state{}, 0, true, true},
	{"just small", state{pooled, 0, smallRead - 1}, smallRead - 1, 0, state{}, 0, true, true},
	{"not small any more", state{pooled, 0, smallRead}, smallRead, 0, state{}, 0, false, false},
	{"a need of the next header", state{pooled, 0, 100}, 100, 2, state{}, 0, true, true},
	{"a full buffer", state{pooled, 0, bufferSize}, bufferSize, 0, state{}, 0, false, false},
	{"nothing yet", state{pooled, 0, 1}, 0, 2, state{pooled, 0, 1}, 0, true, true},
	{"half a small packet behind a small one", state{pooled, 0, 150}, 100, 100, state{pooled, 0, 50}, 0, true, true},
	{"half a small packet behind many", state{pooled, 0, bufferSize}, bufferSize - 50, 100, state{pooled, 0, 50}, 0, false, false},
	{"of unknown size", state{pooled, 0, 5001}, 5000, 0, state{pooled, 0, 1}, 0, false, false},
	{"whole packets stay", state{pooled, 0, 70 * kib}, 0, 0, state{pooled, 0, 70 * kib}, 0, true, true},
	{"the start of a large packet", state{pooled, 0, 50}, 0, 64 * kib, state{large, 64 * kib, 50}, 0, true, true},
	{"the start of a large packet behind others", state{pooled, 0, 8*kib + 50}, 8 * kib, largePacket, state{large, largePacket, 50}, 0, false, false},
	{"of one that is not quite large", state{pooled, 0, 8*kib + 50}, 8 * kib, largePacket - 1, state{pooled, 0, 50}, 0, false, false},
	{"half a large packet", state{pooled, 0, 8*kib + 20*kib}, 8 * kib, 40 * kib, state{pooled, 0, 20 * kib}, 0, false, false},
	{"half of one too large for the pool", state{pooled, 0, bufferSize}, 0, bufferSize + 1, state{large, bufferSize + 1, bufferSize}, 0, true, true},
	{"the start of a trusted packet", state{pooled, 0, 50}, 0, trustedSize, state{large, trustedSize, 50}, 0, true, true},
	{"the start of a huge packet", state{pooled, 0, 50}, 0, 200 * mib, state{collected, trustedSize, 50}, 0, true, true},
	{"more of a large packet", state{large, 64 * kib, 40 * kib}, 0, 64 * kib, state{large, 64 * kib, 40 * kib}, 0, true, true},
	{"a large packet", state{large, 64 * kib, 64 * kib}, 64 * kib, 0, state{}, 64 * kib, true, false},
	{"a smaller one than expected", state{large, 64 * kib, 40 * kib}, 40 * kib, 0, state{}, 0, true, false},
	{"a much smaller one", state{large, 64 * kib, 32 * kib}, 32 * kib, 0, state{}, 0, true, true},
	{"a small one where a large one was expected", state{large, 64 * kib, 100}, 100, 0, state{}, 0, true, true},
	{"part of a small one there", state{large, 64 * kib, 100}, 0, 300, state{pooled, 0, 100}, 0, true, true},
	{"part of a larger one there", state{large, 64 * kib, 100}, 0, 65 * kib, state{large, 65 * kib, 100}, 0, true, true},
	{"a large one and the start of the next", state{large, 64 * kib, 64 * kib}, 60 * kib, 60 * kib, state{large, 60 * kib, 4 * kib}, 0, true, false},
	{"a huge packet grows", state{collected, trustedSize, trustedSize}, 0, 200 * mib, state{collected, 2 * trustedSize, trustedSize}, 0, true, true},
	{"a huge packet with room", state{collected, 2 * trustedSize, trustedSize + 1}, 0, 200 * mib, state{collected, 2 * trustedSize, trustedSize + 1}, 0, true, true},
	{"a huge packet has its size", state{collected, 2 * mib, 2 * mib}, 0, 3 * mib, state{collected, 3 * mib, 2 * mib}, 0, true, true},
	{"whole packets in all the room", state{pooled, 0, bufferSize}, 0, 0, state{large, bufferSize + 1, bufferSize}, 0, true, true},
	{"whole packets too large for the pool", state{collected, 3 * mib, 3 * mib}, mib + 1, 0, state{collected, 2 * mib, 2*mib - 1}, 0, true, true},
	{"many of them behind some", state{large, 300 * kib, 300 * kib}, 200 * kib, 0, state{large, 100*kib + 1, 100 * kib}, 0, true, false},
	{"a huge packet", state{collected, 3 * mib, 3 * mib}, 3 * mib, 0, state{}, 0, true, false},
}

func TestConsume(t *testing.T) {
	for _, tt := range transitions {
		t.Run(tt.name, func(t *testing.T) {
			r := enter(tt.from)
			r.Consume(tt.n, tt.need)
			check(t, r, tt.to, tt.from.have)
			if r.expect != tt.expect {
				t.Errorf("expects %d, want %d", r.expect, tt.expect)
			}
			r.Close()
			check(t, r, state{}, 0)
		})
	}
}

func TestDetach(t *testing.T) {
	for _, tt := range transitions {
		for _, lasting := range []bool{false, true} {
			name := tt.name + ", borrowed"
			if lasting {
				name = tt.name + ", lasting"
			}
			t.Run(name, func(t *testing.T) {
				r := enter(tt.from)
				before := r.buf
				b := r.Detach(tt.n, tt.need, lasting)
				to := tt.to
				if copied := lasting && tt.copied; !copied {
					if b != before {
						t.Error("the memory did not get the new owner")
					}
					// What is left moves, and finds the room it needs as if it was new.
					if to.have > 0 && to.origin == collected {
						to.size = min(max(tt.need, to.have+1), max(trustedSize, 2*to.have))
					}
				} else if b == before || cap(b.Bytes()) != tt.n {
					t.Errorf("not a copy of %d bytes: capacity %d", tt.n, cap(b.Bytes()))
				}
				if to.have > 0 && !(lasting && tt.copied) {
					to.origin, to.size = held(to.have, tt.need)
				}
				check(t, r, to, tt.from.have)
				if r.expect != tt.expect {
					t.Errorf("expects %d, want %d", r.expect, tt.expect)
				}
				if want := lasting && tt.lasting; b.Lasting() != want {
					t.Errorf("lasting is %v, want %v", b.Lasting(), want)
				}
				kept := b.Bytes()
				if !bytes.Equal(kept, pattern(tt.from.have)[:tt.n]) {
					t.Error("the bytes are others")
				}
				isLasting := b.Lasting()
				b.Release()
				churn()
				if isLasting && !bytes.Equal(kept, pattern(tt.from.have)[:tt.n]) {
					t.Error("the bytes did not last")
				}
				r.Close()
			})
		}
	}
}

// held is where a copy of have bytes goes, of a packet of need bytes.
func held(have, need int) (origin, int) {
	need = max(need, have+1)
	switch {
	case need <= bufferSize && (need < largePacket || have >= need/2):
		return pooled, bufferSize
	case need <= trustedSize:
		return large, need
	}
	return collected, min(need, max(trustedSize, 2*have))
}

// churn overwrites memory that is in the pools.
func churn() {
	var taken []*Buffer
	for range 4 {
		taken = append(taken, newPooled(), newLarge(64*kib), newLarge(60*kib))
	}
	for _, b := range taken {
		overwrite(b.b[:cap(b.b)])
		b.recycle()
	}
}

func TestRead_afterRest(t *testing.T) {
	t.Run("the first read is small", func(t *testing.T) {
		r := NewReader(&chunks{left: [][]byte{pattern(100)}})
		for _, want := range []int{firstRead, 100} {
			if err := r.Read(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.Bytes(), pattern(100)[:want]) {
				t.Errorf("%d bytes, want %d", len(r.Bytes()), want)
			}
		}
		if err := r.Read(); err != io.EOF {
			t.Errorf("error %v, want EOF", err)
		}
		if len(r.Bytes()) != 100 {
			t.Error("the bytes before the error are gone")
		}
		r.Close()
	})
	t.Run("an error at rest takes no buffer", func(t *testing.T) {
		want := errors.New("broken")
		r := NewReader(&chunks{err: want})
		if err := r.Read(); err != want || !r.AtRest() {
			t.Errorf("error %v, at rest %v", err, r.AtRest())
		}
	})
	t.Run("an error with bytes comes after them", func(t *testing.T) {
		want := errors.New("broken")
		r := NewReader(&chunks{left: [][]byte{{1}, {2}}, err: want, withLast: true})
		if err := errors.Join(r.Read(), r.Read()); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(); err != want || !bytes.Equal(r.Bytes(), []byte{1, 2}) {
			t.Errorf("error %v, bytes %v", err, r.Bytes())
		}
		if err := r.Read(); err != io.EOF {
			t.Errorf("then error %v, want what the connection returns", err)
		}
		r.Close()
	})
	t.Run("no bytes and no error", func(t *testing.T) {
		r := NewReader(&chunks{left: [][]byte{{}, {1}, {}}})
		if err := r.Read(); err != io.ErrNoProgress || !r.AtRest() {
			t.Errorf("error %v", err)
		}
		if err := r.Read(); err != nil {
			t.Errorf("error %v", err)
		}
		if err := r.Read(); err != io.ErrNoProgress {
			t.Errorf("error %v", err)
		}
		r.Close()
	})
	t.Run("a full buffer grows", func(t *testing.T) {
		want := pattern(5 * bufferSize)
		r := NewReader(&chunks{left: [][]byte{bytes.Clone(want)}})
		for len(r.Bytes()) < len(want) {
			if err := r.Read(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(r.Bytes(), want) {
			t.Error("the bytes are others")
		}
		r.Close()
	})
}

// TestRead_lengthAlone checks that a length field takes no memory that the sender did
// not pay for.
func TestRead_lengthAlone(t *testing.T) {
	const need = 200 * mib
	r := NewReader(&chunks{left: [][]byte{pattern(3 * mib)}})
	for {
		if err := r.Read(); err != nil {
			break
		}
		r.Consume(0, need)
		if have, room := len(r.Bytes()), cap(r.buf.b); room > max(trustedSize, 2*have) {
			t.Fatalf("room of %d for %d bytes", room, have)
		}
	}
	if !bytes.Equal(r.Bytes(), pattern(3*mib)) {
		t.Error("the bytes are others")
	}
	r.Close()
}

func TestBuffer_misuse(t *testing.T) {
	b := enter(state{pooled, 0, 8 * kib}).Detach(8*kib, 0, false)
	content := b.Bytes()
	b.Release()
	wantPanic(t, "conn: Buffer released twice", b.Release)
	if !raceEnabled {
		return
	}
	wantPanic(t, "conn: Bytes of a Buffer that was released", func() { b.Bytes() })
	if !bytes.Equal(content[:len(poison)], poison[:]) || !bytes.Equal(content[len(poison):], poison[:]) {
		t.Error("released memory is not overwritten")
	}
	for range 100 {
		if newPooled() == b {
			t.Fatal("a released Buffer was used again")
		}
	}
	out := append(TakeBuffer(), pattern(100)...)
	GiveBuffer(out)
	if !bytes.Equal(out, poison[:100]) {
		t.Error("an outbound buffer is not overwritten")
	}
}
