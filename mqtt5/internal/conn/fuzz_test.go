// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
)

// A packet of these tests is its size, header included, and bytes of a pattern.
const packetHeader = 4

// need returns the size of the packet that starts at b[0], as far as it is known.
func need(b []byte) int {
	if len(b) < packetHeader {
		return packetHeader
	}
	return int(binary.BigEndian.Uint32(b))
}

// kept is a packet that the user keeps, and what it was.
type kept struct{ now, want []byte }

// owner is one owner of a Buffer, and what the Buffer held.
type owner struct {
	b    *Buffer
	want []byte
}

// FuzzReader reads packets from a connection that cuts the stream anywhere, as a client
// does that passes on some buffers and not others, and compares them with the
// stream. Buffers live on for a while, lasting ones for ever.
func FuzzReader(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, []byte{200, 0, 17, 3, 255, 90, 4, 1, 30, 60, 61, 62, 99, 210, 254})
	}
	f.Add(uint64(1), []byte{250, 250, 250, 250, 250, 250})
	f.Add(uint64(2), []byte{160, 160, 160, 160, 240, 160, 160, 160})
	f.Fuzz(func(t *testing.T, seed uint64, sizes []byte) {
		if len(sizes) > 40 {
			sizes = sizes[:40]
		}
		random := rand.New(rand.NewPCG(seed, 0))
		var stream []byte
		for _, s := range sizes {
			// Sizes of all magnitudes up to 2.6 MB, and the same large size
			// again and again.
			size := packetHeader + random.IntN(1<<(uint(s)/20))*10
			if s%4 == 0 {
				size = packetHeader + 1<<(uint(s)/16)
			}
			stream = binary.BigEndian.AppendUint32(stream, uint32(size))
			stream = append(stream, pattern(size-packetHeader)...)
		}
		readAll(t, random, NewReader(&chunks{left: shred(random, stream)}), stream)
	})
}

// readAll reads the stream up to its end and checks what arrives.
func readAll(t *testing.T, random *rand.Rand, reader *Reader, stream []byte) {
	t.Helper()
	user := &user{t: t, random: random, want: stream}
	for {
		err := reader.Read()
		if err == io.EOF { // what was left for later stays available
			for left := -1; left != len(user.want); user.take(reader) {
				left = len(user.want)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		user.take(reader)
	}
	if len(user.want) > 0 || !reader.AtRest() {
		t.Errorf("%d bytes of %d are missing", len(user.want), len(stream))
	}
	user.releaseTo(0)
	churn()
	for _, k := range user.kept {
		if !bytes.Equal(k.now, k.want) {
			t.Fatal("bytes of a lasting buffer changed")
		}
	}
}

// TestReader_socket reads streams from a socket, which cuts them itself.
func TestReader_socket(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 1))
		var stream []byte
		for range 60 {
			stream = append(stream, packetOf(packetHeader+random.IntN(1<<random.IntN(19)))...)
		}
		near, far := loopback(t, seed%2 == 0)
		go func() {
			defer far.Close()
			for _, part := range shred(rand.New(rand.NewPCG(seed, 2)), stream) {
				if _, err := far.Write(part); err != nil {
					return
				}
			}
		}()
		readAll(t, random, NewReader(near), stream)
	}
}

// shred cuts the stream into what one read returns each: often at random, at times one
// byte or a great deal.
func shred(random *rand.Rand, stream []byte) [][]byte {
	var parts [][]byte
	for stream := bytes.Clone(stream); len(stream) > 0; {
		n := min(1+random.IntN(1<<random.IntN(21)), len(stream))
		parts = append(parts, stream[:n:n])
		stream = stream[n:]
	}
	return parts
}

// user does with a Reader what a client might do.
type user struct {
	t      *testing.T
	random *rand.Rand
	want   []byte // what is still to come
	owners []owner
	kept   []kept
}

// take consumes some of the whole packets.
func (u *user) take(r *Reader) {
	b := r.Bytes()
	if len(b) > len(u.want) || !bytes.Equal(b, u.want[:len(b)]) {
		u.t.Fatal("the bytes are not those of the stream")
	}
	n := 0
	for len(b)-n >= need(b[n:]) {
		n += need(b[n:])
		if u.random.IntN(50) == 0 {
			break // the rest later
		}
	}
	size := 0
	if rest := b[n:]; len(rest) > 0 && u.random.IntN(10) > 0 {
		size = need(rest)
	}
	want := u.want[:n]
	u.want = u.want[n:]
	how := u.random.IntN(3)
	if n == 0 || how == 0 {
		r.Consume(n, size)
	} else {
		own := r.Detach(n, size, how == 1)
		if !bytes.Equal(own.Bytes(), want) {
			u.t.Fatal("the detached bytes are others")
		}
		if own.Lasting() {
			if how != 1 {
				u.t.Error("a buffer lasts that need not")
			}
			if over := cap(own.b); over > 2*n {
				u.t.Errorf("keeps %d bytes for %d", over, n)
			}
			u.kept = append(u.kept, kept{own.Bytes(), want})
		}
		u.owners = append(u.owners, owner{own, want})
		u.releaseTo(u.random.IntN(6))
	}
	if rest := r.Bytes(); len(rest) != len(b)-n || !bytes.Equal(rest, u.want[:len(rest)]) {
		u.t.Fatal("the rest is not what follows")
	}
	if r.AtRest() != (len(b) == n) {
		u.t.Error("at rest with bytes, or holds memory without")
	}
}

// releaseTo releases the oldest buffers until there are n.
func (u *user) releaseTo(n int) {
	for len(u.owners) > n {
		o := u.owners[0]
		u.owners = u.owners[1:]
		if !bytes.Equal(o.b.Bytes(), o.want) {
			u.t.Fatal("the bytes changed before the release")
		}
		o.b.Release()
	}
}
