// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// memory is what messages arrived in. It checks how it is used.
type memory struct {
	t        *testing.T
	b        []byte
	lasting  bool
	released int
}

func (m *memory) Bytes() []byte {
	if m.released > 0 {
		m.t.Error("Bytes after Release")
	}
	return m.b
}

func (m *memory) Lasting() bool { return m.lasting }

func (m *memory) Release() {
	if m.released++; m.released > 1 {
		m.t.Error("released twice")
	}
	if !m.lasting {
		for i := range m.b {
			m.b[i] = 0xDB
		}
	}
}

// bench is a lane of messages with what came out of it.
type bench struct {
	Messages
	t       *testing.T
	ack     uint64
	handled []string
	bodies  [][]byte
	each    func(*Message)
}

func newBench(t *testing.T, limit int, borrow bool) *bench {
	b := &bench{t: t}
	b.Init(limit, borrow)
	return b
}

// arrive lets messages with these payloads arrive in one memory.
func (b *bench) arrive(lasting bool, payloads ...string) *memory {
	m := &memory{t: b.t, lasting: lasting}
	for _, p := range payloads {
		b.add(m, Record{}, "topic", "", p)
	}
	b.Attach(m)
	return m
}

// add appends a packet to m. Without a topic, the message has that of an alias.
func (b *bench) add(m *memory, r Record, topic, alias, payload string) {
	b.ack++
	r.Ack = b.ack
	r.Start, r.Topic = uint32(len(m.b)), uint16(len(topic))
	m.b = append(append(m.b, byte(len(topic)>>8), byte(len(topic))), topic...)
	r.Payload = uint32(len(m.b))
	m.b = append(m.b, payload...)
	r.End = uint32(len(m.b))
	b.Add(r, alias)
}

func (b *bench) one(m *Message) {
	b.handled = append(b.handled, m.Name+"="+string(m.Body))
	b.bodies = append(b.bodies, m.Body)
	if b.each != nil {
		b.each(m)
	}
}

// run delivers until no message is left, as its goroutine does.
func (b *bench) run(now time.Duration) {
	if !b.Start() {
		return
	}
	for {
		b.Handle(b.one)
		if more, _ := b.Take(now); !more {
			return
		}
	}
}

func (b *bench) want(payloads ...string) {
	b.t.Helper()
	for i, p := range payloads {
		payloads[i] = "topic=" + p
	}
	if !slices.Equal(b.handled, payloads) {
		b.t.Errorf("handled %.200q, want %.200q", b.handled, payloads)
	}
}

func TestMessages_inOrder(t *testing.T) {
	b := newBench(t, 100, false)
	first := b.arrive(false, "1", "2")
	second := b.arrive(true, "3")
	if first.released+second.released > 0 {
		t.Error("released before they were handled")
	}
	b.run(0)
	b.want("1", "2", "3")
	if first.released != 1 || second.released != 1 {
		t.Errorf("released %d and %d times", first.released, second.released)
	}
	if b.Handled() != 3 || b.Pending() != 0 || b.Full() || b.CheckAt() != 0 {
		t.Errorf("handled through %d, %d wait", b.Handled(), b.Pending())
	}
}

// TestMessages_full counts messages, and the bytes of whole packets.
func TestMessages_full(t *testing.T) {
	t.Run("by number", func(t *testing.T) {
		b := newBench(t, 3, false)
		for n := range 3 {
			if b.Full() {
				t.Errorf("full with %d of 3", n)
			}
			b.arrive(false, "x")
		}
		if !b.Full() {
			t.Error("3 of 3 wait, and it is not full")
		}
	})
	for name, add := range map[string]func(b *bench, m *memory, size int){
		"by payload": func(b *bench, m *memory, size int) { b.add(m, Record{}, "t", "", strings.Repeat("p", size)) },
		"by topic":   func(b *bench, m *memory, size int) { b.add(m, Record{}, strings.Repeat("t", size), "", "p") },
		"by the topic of an alias": func(b *bench, m *memory, size int) {
			b.add(m, Record{More: true}, "", strings.Repeat("t", size), "p")
		},
	} {
		t.Run(name, func(t *testing.T) {
			const size = 32 << 10
			b := newBench(t, 1000, false)
			for range maxBytes/size - 1 {
				m := &memory{t: t}
				add(b, m, size)
				b.Attach(m)
			}
			if b.Full() {
				t.Errorf("full with %d messages", b.Pending())
			}
			m := &memory{t: t}
			add(b, m, size)
			b.Attach(m)
			if !b.Full() {
				t.Errorf("not full with %d messages", b.Pending())
			}
			b.Start()
			b.Take(0) // they are in hand, and do not wait any more
			if b.Full() {
				t.Error("full with nothing")
			}
		})
	}
	t.Run("small messages count for more than their bytes", func(t *testing.T) {
		b := newBench(t, 1<<30, false)
		for !b.Full() {
			b.arrive(false, "")
		}
		if b.Pending() > maxBytes/overhead {
			t.Errorf("%d messages", b.Pending())
		}
	})
	t.Run("while a handler waits for the server", func(t *testing.T) {
		b := newBench(t, 1, false)
		b.arrive(false, "x", "y")
		b.HandlerWaits(true)
		b.HandlerWaits(true)
		if b.Full() {
			t.Error("the answer cannot be read")
		}
		for range maxBytesWaiting >> 20 {
			if b.Full() {
				t.Error("full with less than 64 MiB")
			}
			b.Add(Record{End: 1 << 20}, "")
		}
		if !b.Full() {
			t.Error("not full with 64 MiB")
		}
		b.HandlerWaits(false)
		b.HandlerWaits(false)
		if !b.Full() {
			t.Error("not full with more than one message")
		}
	})
	t.Run("what waits behind what is in hand", func(t *testing.T) {
		b := newBench(t, 2, false)
		b.arrive(false, "1")
		b.Start()
		b.Take(0)
		b.arrive(false, "2")
		if b.Full() || b.Pending() != 1 {
			t.Errorf("full: %v, %d wait", b.Full(), b.Pending())
		}
		b.arrive(false, "3")
		if !b.Full() {
			t.Error("not full with 2 of 2")
		}
	})
}

// TestMessages_gates holds messages until their number is opened.
func TestMessages_gates(t *testing.T) {
	b := newBench(t, 100, false)
	b.arrive(false, "before")
	b.Hold(1)
	b.arrive(false, "1a")
	b.arrive(false, "1b")
	b.Hold(2)
	b.arrive(false, "2")
	b.run(0)
	b.want("before")
	if b.Pending() != 3 || b.Start() {
		t.Errorf("%d wait", b.Pending())
	}
	b.Hold(3)
	last := b.arrive(false, "3")
	b.Open(1)
	b.run(0)
	b.want("before", "1a", "1b")
	b.Open(3) // the second one, too
	b.Open(2)
	b.run(0)
	b.want("before", "1a", "1b", "2", "3")
	if last.released != 1 || b.Pending() != 0 || b.bytes != 0 {
		t.Errorf("%d wait, %d bytes", b.Pending(), b.bytes)
	}
	b.arrive(false, "after")
	b.run(0)
	b.want("before", "1a", "1b", "2", "3", "after")
}

func TestMessages_heldOnesCount(t *testing.T) {
	b := newBench(t, 100, false)
	b.arrive(false, "x")
	b.Hold(1)
	b.arrive(false, strings.Repeat("p", maxBytes))
	b.run(0)
	if !b.Full() {
		t.Error("what waits behind a gate does not count")
	}
}

// TestMessages_roles follows the goroutine that reads.
func TestMessages_roles(t *testing.T) {
	const now = time.Hour
	b := newBench(t, 100, false)
	if b.StartOnReader(now) {
		t.Error("it runs handlers, and there are no messages")
	}
	b.arrive(false, "1")
	if b.StartOnReader(now + time.Second) {
		t.Error("it runs handlers of messages that do not stream")
	}
	if b.Relieve() {
		t.Error("there is nothing to relieve it of")
	}
	if !b.StartOnReader(now + time.Second + stream - 1) {
		t.Error("messages stream, and it does not run the handlers")
	}
	if b.Start() || b.StartOnReader(now+time.Second+stream) {
		t.Error("a second goroutine would run handlers")
	}
	b.arrive(false, "2")
	if more, reads := b.Take(now); !more || !reads {
		t.Errorf("more: %v, reads: %v", more, reads)
	}
	b.Handle(b.one)
	if more, reads := b.Take(now); more || !reads {
		t.Errorf("at the end: more %v, reads: %v", more, reads)
	}
	if b.Relieve() {
		t.Error("it still counts as the one that runs handlers")
	}
	b.want("1", "2")

	b.addedAt = now
	b.arrive(false, "3")
	if !b.StartOnReader(now) {
		t.Fatal("it does not run the handlers")
	}
	if !b.Relieve() || b.Relieve() {
		t.Error("it is relieved once")
	}
	b.Take(now)
	b.Handle(b.one)
	if more, reads := b.Take(now); more || reads {
		t.Errorf("relieved: more %v, reads %v", more, reads)
	}
}

func TestMessages_owes(t *testing.T) {
	b := newBench(t, 100, false)
	if b.Owes() {
		t.Error("nothing waits")
	}
	m := &memory{t: t, b: make([]byte, 10)}
	b.Add(Record{End: 10, Topic: 1, Ack: 5}, "")
	if b.Attach(m); !b.Owes() {
		t.Error("the last message has to be acknowledged")
	}
	b.Add(Record{End: 10, Topic: 1}, "")
	if b.Attach(m); b.Owes() {
		t.Error("the last message needs no acknowledgement")
	}
	b.Start()
	b.Take(0)
	if b.Owes() {
		t.Error("nothing waits")
	}
}

// TestMessages_check plans looks at slow handlers: later and later.
func TestMessages_check(t *testing.T) {
	b := newBench(t, 100, false)
	b.arrive(false, "1")
	b.Start()
	now := time.Hour
	b.Take(now)
	var gaps []time.Duration
	for range 12 {
		gaps = append(gaps, b.CheckAt()-now)
		now = b.CheckAt()
		b.Check(now)
	}
	want := []time.Duration{2, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256}
	for i := range want {
		want[i] *= time.Millisecond
	}
	if !slices.Equal(gaps, want) {
		t.Errorf("checked after %v, want %v", gaps, want)
	}
	b.Handle(b.one)
	b.Take(now)
	if b.CheckAt() != 0 {
		t.Error("there is nothing to check")
	}
}

// TestMessages_payloads checks what handlers may keep.
func TestMessages_payloads(t *testing.T) {
	big := strings.Repeat("b", smallPayload+1)
	payloads := []string{"", "one", big, "two", strings.Repeat("s", smallPayload), strings.Repeat("t", smallPayload), strings.Repeat("u", smallPayload), "three", strings.Repeat("v", smallPayload), "four"}
	for _, c := range []struct{ borrow, lasting, mayKeep, sameMemory bool }{
		{false, false, true, false},
		{false, true, true, true},
		{true, false, false, true},
		{true, true, true, true},
	} {
		t.Run(fmt.Sprintf("borrow %v, lasting %v", c.borrow, c.lasting), func(t *testing.T) {
			b := newBench(t, 1000, c.borrow)
			var all []string
			var memories []*memory
			for range 20 {
				memories = append(memories, b.arrive(c.lasting, payloads...))
				all = append(all, payloads...)
			}
			n := 0
			b.each = func(m *Message) {
				if string(m.Body) != all[n] {
					t.Errorf("payload %d is %.20q", n, m.Body)
				}
				if cap(m.Body) != len(m.Body) && (c.sameMemory || len(m.Body) <= smallPayload) {
					t.Errorf("an append to payload %d would reach the next", n)
				}
				if len(m.Body) > 0 {
					in := memories[n/len(payloads)].b
					at := uintptr(unsafe.Pointer(&m.Body[0])) - uintptr(unsafe.Pointer(&in[0]))
					if (at < uintptr(len(in))) != c.sameMemory {
						t.Errorf("payload %d is in the memory it arrived in: %v", n, !c.sameMemory)
					}
				}
				n++
			}
			b.run(0)
			if n != len(all) {
				t.Errorf("%d messages", n)
			}
			for i, body := range b.bodies {
				if (string(body) == all[i]) != (c.mayKeep || len(body) == 0) {
					t.Errorf("payload %d later: %.20q", i, body)
				}
			}
		})
	}
}

// TestMessages_slabs checks that small payloads share allocations, and a single
// one does not get more than it needs.
func TestMessages_slabs(t *testing.T) {
	payload := strings.Repeat("p", 100)
	count := func(n int) float64 {
		b := newBench(t, 1000, false)
		b.topics = &topicCache{last: "topic"}
		many := slices.Repeat([]string{payload}, n)
		handle := func(*Message) {}
		return testing.AllocsPerRun(100, func() {
			m := b.arrive(false, many...)
			m.t = t
			b.Start()
			b.Take(0)
			b.Handle(handle)
			b.Take(0)
		})
	}
	if more := count(300) - count(1); more > 300*100/slabSize+20 {
		t.Errorf("300 messages take %v allocations more than one", more)
	}
	b := newBench(t, 10, false)
	b.arrive(false, "x")
	b.Start()
	b.Take(0)
	b.each = func(*Message) {
		if n := cap(b.current.slab); n > 8 {
			t.Errorf("one byte in a slab of %d", n)
		}
	}
	b.Handle(b.one)
}

// TestMessages_goexit lets handlers end the goroutine: the next one goes on with
// the next message.
func TestMessages_goexit(t *testing.T) {
	b := newBench(t, 100, false)
	first, second := b.arrive(false, "1", "2", "3"), b.arrive(false, "4")
	b.each = func(*Message) { runtime.Goexit() }
	b.Start()
	b.Take(0)
	for round := range 4 {
		done := make(chan bool)
		go func() {
			defer close(done)
			b.Handle(b.one)
			t.Error("Handle returned")
		}()
		<-done
		if got, want := b.Handled(), uint64(round+1); got != want {
			t.Errorf("handled through %d, want %d", got, want)
		}
	}
	b.Handle(b.one)
	b.want("1", "2", "3", "4")
	if more, _ := b.Take(0); more || first.released != 1 || second.released != 1 {
		t.Errorf("more: %v, released %d and %d times", more, first.released, second.released)
	}
}

// TestMessages_handled follows the acknowledgements: messages that need none do
// not count.
func TestMessages_handled(t *testing.T) {
	b := newBench(t, 100, false)
	m := &memory{t: t, b: make([]byte, 10)}
	for _, ack := range []uint64{0, 7, 0, 8, 0} {
		b.Add(Record{End: 10, Topic: 1, Ack: ack}, "")
	}
	b.Attach(m)
	var during []uint64
	b.each = func(*Message) { during = append(during, b.Handled()) }
	b.run(0)
	if want := []uint64{0, 0, 7, 7, 8}; !slices.Equal(during, want) || b.Handled() != 8 {
		t.Errorf("handled through %v during the calls, want %v, and %d at the end", during, want, b.Handled())
	}
}

func TestMessages_properties(t *testing.T) {
	b := newBench(t, 100, true)
	m := &memory{t: t}
	b.add(m, Record{More: true}, "topic", "", "with")
	b.add(m, Record{}, "topic", "", "without")
	b.Attach(m)
	var seen []string
	b.each = func(m *Message) { seen = append(seen, string(m.Properties)) }
	b.run(0)
	if want := []string{"\x00\x05topicwith", ""}; !slices.Equal(seen, want) {
		t.Errorf("properties %q, want %q", seen, want)
	}
}

func TestTopics_areInterned(t *testing.T) {
	var c topicCache
	for _, topic := range []string{"a", "a", "b", "a", "b", ""} {
		if got := c.intern([]byte(topic)); got != topic {
			t.Errorf("%q became %q", topic, got)
		}
	}
	name := []byte("device/one/data")
	other := []byte("device/two/data")
	if n := testing.AllocsPerRun(100, func() { c.intern(name); c.intern(name); c.intern(other) }); n > 0 {
		t.Errorf("%v allocations for topics seen before", n)
	}
	clear(name)
	if got := c.intern([]byte("device/one/data")); got != "device/one/data" {
		t.Errorf("the cache refers to the bytes it was given: %q", got)
	}
	for i := range 10 * maxTopics {
		c.intern(fmt.Appendf(nil, "topic %d", i))
	}
	if len(c.seen) > maxTopics+2 {
		t.Errorf("%d topics are kept", len(c.seen))
	}
	if !bytes.Equal([]byte(c.intern([]byte("topic 1"))), []byte("topic 1")) {
		t.Error("a topic that was forgotten")
	}
}
