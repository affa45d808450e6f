// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"sync"
	"sync/atomic"
	"time"
)

// Memory is the bytes that messages arrived in. It belongs to the lane from
// [Messages.Attach] on, until the lane releases it.
type Memory interface {
	Bytes() []byte
	Lasting() bool // slices of it may be kept after Release
	Release()
}

// Record is where the parts of a received PUBLISH are in its memory. It has no
// pointers, so that the garbage collector need not look at what waits.
type Record struct {
	Ack     uint64 // number of the acknowledgement that the message needs; 0: none
	Start   uint32 // of the variable header
	Payload uint32
	End     uint32
	Topic   uint16 // its length; 0: given to Add
	QoS     uint8
	Retain  bool
	Dup     bool
	More    bool // there are properties, or a topic alias
}

// Message is a message for its handlers.
type Message struct {
	Record
	Name       string // topic
	Body       []byte // payload, as the handlers may have it
	Properties []byte // variable header and payload, if More
}

const (
	// maxBytes is how many bytes of packets wait before reading stops.
	maxBytes = 256 << 10
	// maxBytesWaiting is likewise while a handler waits for the server: its answer
	// lies behind other messages.
	maxBytesWaiting = 64 << 20
	// overhead is what a message counts for beside the bytes of its packet.
	overhead = 64
)

const (
	// quick is how long handlers may keep the goroutine that reads, and how long
	// acknowledgements of handled messages wait for the rest of their batch.
	quick = 2 * time.Millisecond
	// slowest bounds the interval at which acknowledgements leave while handlers
	// are slow.
	slowest = 256 * time.Millisecond
	// stream is how soon messages have to follow each other for the goroutine that
	// reads to run the handlers. For others, watching it would cost more than it
	// saves.
	stream = quick / 8
)

// Messages is the lane of received messages.
type Messages struct {
	limit int // messages that wait before reading stops

	queue      []*batch // waits; more than one only behind gates
	spare      *batch   // for queue, while running
	pending    int      // messages in queue
	bytes      int      // of those
	unattached int      // messages that wait for Attach
	gate       uint64   // of what is added from now on
	open       uint64   // gates up to this number are open
	waiting    int      // handlers that wait for the server

	borrow   bool // payloads are valid only until the handler returns
	running  bool
	onReader bool          // the goroutine that reads is the one that runs the handlers
	begun    time.Duration // when the batch in hand was taken
	checkAt  time.Duration // when Check is due; 0: nothing is in hand
	addedAt  time.Duration // when StartOnReader was called last

	// For the goroutine that runs the handlers, without the lock.
	current *batch
	topics  *topicCache   // nil before the first message
	handled atomic.Uint64 // acknowledgement number of the last message whose handlers have returned
}

// batch is the messages that are taken at once.
type batch struct {
	gate    uint64 // has to be open before it is taken
	groups  []group
	records []Record
	aliased []string // topics of messages that name theirs by alias only
	small   int      // bytes of payloads that may share a slab

	// Where the handling is.
	group, record, alias int
	left                 int // records of the group in hand
	bytes                []byte
	lasting              bool
	slab                 []byte
	message              Message
}

// group is the records of one memory.
type group struct {
	memory Memory
	n      int
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// empty makes the batch ready for reuse.
func (b *batch) empty() {
	clear(b.groups)
	clear(b.aliased)
	*b = batch{groups: b.groups[:0], records: b.records[:0], aliased: b.aliased[:0]}
}

// Init sets the number of messages that wait before reading stops, and whether
// payloads are valid only until their handler returns.
func (m *Messages) Init(limit int, borrow bool) { m.limit, m.borrow = limit, borrow }

// Add queues a message, whose memory follows with Attach. topic is needed if
// the packet has none.
func (m *Messages) Add(r Record, topic string) {
	b := m.last()
	b.records = append(b.records, r)
	m.pending++
	m.bytes += int(r.End-r.Start) + len(topic) + overhead
	if n := int(r.End - r.Payload); n <= smallPayload {
		b.small += n
	}
	if r.Topic == 0 {
		b.aliased = append(b.aliased, topic)
	}
	m.unattached++
}

// last returns the batch that messages are added to.
func (m *Messages) last() *batch {
	if n := len(m.queue); n > 0 && m.queue[n-1].gate == m.gate {
		return m.queue[n-1]
	}
	b := m.spare
	m.spare = nil
	if b == nil {
		b = batches.Get().(*batch)
	}
	b.gate = m.gate
	m.queue = append(m.queue, b)
	return b
}

// Unattached returns how many messages were added since the last Attach.
func (m *Messages) Unattached() int { return m.unattached }

// Attach gives the memory of the messages that were added since the last call.
func (m *Messages) Attach(memory Memory) {
	b := m.last()
	b.groups = append(b.groups, group{memory, m.unattached})
	m.unattached = 0
}

// Hold lets the messages that are added from now on wait until Open is called
// with that number or a larger one. Numbers grow.
func (m *Messages) Hold(number uint64) { m.gate = number }

// Open lets the messages go on that wait for this number or a smaller one.
func (m *Messages) Open(number uint64) { m.open = max(m.open, number) }

// Pending returns how many messages wait.
func (m *Messages) Pending() int { return m.pending }

// Full reports whether reading has to stop.
func (m *Messages) Full() bool {
	if m.waiting > 0 {
		return m.bytes >= maxBytesWaiting
	}
	return m.pending >= m.limit || m.bytes >= maxBytes
}

// HandlerWaits notes that a handler begins to wait for the server, or with
// false that it has its answer.
func (m *Messages) HandlerWaits(begins bool) {
	if begins {
		m.waiting++
	} else {
		m.waiting--
	}
}

// ready reports whether messages wait, and no goroutine runs the handlers.
func (m *Messages) ready() bool {
	return !m.running && m.pending > 0 && m.queue[0].gate <= m.open
}

// Start reports whether a goroutine has to be started that runs the handlers.
func (m *Messages) Start() bool {
	if !m.ready() {
		return false
	}
	m.running = true
	return true
}

// StartOnReader is Start for the goroutine that reads, when it would run the
// handlers itself: to wake another one costs more than most handlers take.
func (m *Messages) StartOnReader(now time.Duration) bool {
	streams := now-m.addedAt < stream
	m.addedAt = now
	if !streams || !m.ready() {
		return false
	}
	m.running, m.onReader = true, true
	return true
}

// Running reports whether a goroutine runs the handlers.
func (m *Messages) Running() bool { return m.running }

// Owes reports whether the last message that waits has to be acknowledged.
func (m *Messages) Owes() bool {
	if m.pending == 0 {
		return false
	}
	records := m.last().records
	return len(records) > 0 && records[len(records)-1].Ack != 0
}

// Relieve reports whether another goroutine has to read from now on, because
// the one that did is running handlers.
func (m *Messages) Relieve() bool {
	relieves := m.onReader
	m.onReader = false
	return relieves
}

// Take takes messages that wait, to be handled by Handle. It reports false if
// there are none to take: the goroutine is then done with handing over, and
// reads reports whether the caller still reads from the connection.
func (m *Messages) Take(now time.Duration) (more, reads bool) {
	if done := m.current; done != nil {
		m.current = nil
		done.empty()
		if m.spare == nil {
			m.spare = done
		} else {
			batches.Put(done)
		}
	}
	m.running, m.checkAt = false, 0
	if !m.ready() {
		if m.spare != nil && len(m.queue) == 0 {
			batches.Put(m.spare)
			m.spare = nil
		}
		return false, m.Relieve()
	}
	m.running = true
	m.current = m.queue[0]
	m.queue = m.queue[:copy(m.queue, m.queue[1:])]
	m.pending -= len(m.current.records)
	m.bytes = 0
	for _, b := range m.queue {
		m.bytes += b.size()
	}
	m.begun, m.checkAt = now, now+quick
	return true, m.onReader
}

// size returns what the messages of the batch count for.
func (b *batch) size() (bytes int) {
	for i := range b.records {
		bytes += int(b.records[i].End-b.records[i].Start) + overhead
	}
	for _, topic := range b.aliased {
		bytes += len(topic)
	}
	return bytes
}

// Handled returns the number of the last acknowledgement whose message has been
// handled. It needs no lock.
func (m *Messages) Handled() uint64 { return m.handled.Load() }

// CheckAt returns when Check is due; 0: not.
func (m *Messages) CheckAt() time.Duration { return m.checkAt }

// Check plans the next check of slow handlers: the longer they take, the later.
func (m *Messages) Check(now time.Duration) {
	m.checkAt = now + min(max(now-m.begun, quick), slowest)
}

// Handle calls f for each message that Take took, and releases their memory.
// The message is valid during the call. Handle must be called without the lock.
// If f ends the goroutine, another call of Handle goes on with the next message.
func (m *Messages) Handle(f func(*Message)) {
	b := m.current
	if b == nil {
		return
	}
	for b.left > 0 || b.nextGroup() {
		for b.left > 0 {
			m.handleOne(b, f)
		}
	}
}

// nextGroup releases the memory in hand and goes on to the next group.
func (b *batch) nextGroup() bool {
	if b.group > 0 {
		b.groups[b.group-1].memory.Release()
	}
	if b.group == len(b.groups) {
		return false
	}
	g := &b.groups[b.group]
	b.group++
	b.left, b.bytes, b.lasting = g.n, g.memory.Bytes(), g.memory.Lasting()
	return true
}

func (m *Messages) handleOne(b *batch, f func(*Message)) {
	msg := &b.message
	msg.Record = b.records[b.record]
	b.record++
	b.left--
	if msg.Ack != 0 {
		defer m.handled.Store(msg.Ack)
	}
	packet := b.bytes[msg.Start:msg.End:msg.End]
	if msg.Topic > 0 {
		if m.topics == nil {
			m.topics = new(topicCache)
		}
		msg.Name = m.topics.intern(packet[2:][:msg.Topic])
	} else {
		msg.Name = b.aliased[b.alias]
		b.alias++
	}
	msg.Body = packet[msg.Payload-msg.Start:]
	if !m.borrow {
		b.keep(msg)
	}
	msg.Properties = nil
	if msg.More {
		msg.Properties = packet
	}
	f(msg)
}
