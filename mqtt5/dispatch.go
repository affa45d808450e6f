// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// dispatcher hands messages, completions and events to the user's code, in
// order, on one goroutine that exists only while there is something to hand
// over, or is the reader. Its fields are guarded by Client.mu, unless they say
// otherwise.
type dispatcher struct {
	running  bool
	held     bool    // not to be started: the reader goes on and adds to what waits
	run      func()  // runDispatcher, as a value: to start it takes no allocation
	arriving arrival // what the engine receives now; without bytes once the queue has it
	limit    int     // messages that wait before reading stops
	extra    int     // what is added to limit while a handler waits for an operation
	queue    *batch  // nil if nothing waits
	spare    *batch  // for queue, while running: no detour through the pool

	// While the writer goes on with full writes and adds to what waits.
	postponed bool          // not to be started by the settle that comes next
	startBy   time.Duration // when to start at the latest; 0: nothing was postponed

	// While the reader is the dispatcher.
	reader      *transport    // whose reader; nil: nobody's, or somebody else reads meanwhile
	readerSince time.Duration // when one became the dispatcher last
	handedAt    time.Duration // when one had something to hand over last, whoever did that
	watchAt     time.Duration // when to watch; 0: not armed

	// Backpressure.
	paused   *transport    // waits for room
	pausedAt time.Duration // since then, or since the last extension

	// Acknowledgements.
	handled  atomic.Uint64 // number of the last message with one that its handler is done with; not guarded
	owed     uint64        // number of the last one that was handed over
	flushAt  time.Duration // when to give acknowledgements although handlers are still busy; 0: not armed
	flushGap time.Duration

	// Only for the dispatcher goroutine.
	topics topicCache
}

// batch is what the dispatcher takes at once. The elements of the slices come
// in the order that items tells.
type batch struct {
	items       []itemKind
	arrivals    []arrival
	messages    []inbound
	aliased     []string // topics of messages that name theirs by alias only
	completions []completion
	events      []any
	buffers     [][]byte
	bytes       int // of the payloads of messages
	small       int // of those that are to be copied together

	// Only for the dispatcher goroutine.
	result publishResult // what callbacks of PublishAsync borrow
}

type itemKind uint8

const (
	itemArrival itemKind = iota // the messages after it are in its bytes
	itemMessage
	itemCompletion
	itemEvent
	itemRelease // of a buffer that the messages before it point into
)

// completion is a finished PublishAsync.
type completion struct {
	callback callback
	topic    string    // for the hint of a refusal
	ack      *wire.Ack // nil: reason says all
	err      error
	reason   wire.ReasonCode
	qos      uint8
	retain   bool
	final    bool // err is what the user gets already
	sent     bool
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// empty makes the batch ready for reuse.
func (b *batch) empty() {
	clear(b.arrivals)
	clear(b.aliased)
	clear(b.completions)
	clear(b.events)
	clear(b.buffers)
	b.result, b.bytes, b.small = publishResult{}, 0, 0
	b.items, b.arrivals, b.messages, b.aliased = b.items[:0], b.arrivals[:0], b.messages[:0], b.aliased[:0]
	b.completions, b.events, b.buffers = b.completions[:0], b.events[:0], b.buffers[:0]
}

func (d *dispatcher) fill() *batch {
	if d.queue == nil {
		if d.queue = d.spare; d.queue == nil {
			d.queue = batches.Get().(*batch)
		}
		d.spare = nil
	}
	return d.queue
}

func (d *dispatcher) pending() bool { return d.queue != nil }

func (d *dispatcher) messages() int {
	if d.queue == nil {
		return 0
	}
	return len(d.queue.messages)
}

func (d *dispatcher) full() bool {
	return d.queue != nil && (len(d.queue.messages) >= d.limit+d.extra || d.queue.bytes >= maxPendingBytes && d.extra == 0)
}

// enough reports whether so much waits that handing it over is worth waking a
// processor.
func (d *dispatcher) enough() bool {
	return d.queue != nil && (len(d.queue.messages) >= d.limit/2 || d.queue.bytes >= batchBytes)
}

const (
	// enoughCompletions is how many finished operations are worth waking a
	// processor while the writer finishes more of them. Writes of small payloads
	// finish more at once; those of large ones, which fill a write by fours, do
	// not.
	enoughCompletions = 16
	// longestPostponement bounds how long they wait if a write takes long.
	longestPostponement = time.Millisecond
)

// postpone has what waits wait for what the next write finishes. The writer
// calls it before it settles, if as much waits for the next write as that
// takes, so that nobody runs out of work; whoever else settles starts the
// dispatcher.
func (d *dispatcher) postpone(now time.Duration) {
	if d.running || d.held || d.queue == nil || len(d.queue.items) >= enoughCompletions {
		return
	}
	if d.startBy == 0 {
		d.startBy = now + longestPostponement
	}
	d.postponed = now < d.startBy
}

// batchBytes is the size of the payloads that are enough. More would keep more
// memory busy, and make the garbage collector run more often.
const batchBytes = 64 << 10

// maxPendingBytes is the size of the payloads that wait before reading stops.
const maxPendingBytes = 256 << 10

func (d *dispatcher) deliver(m *engine.Message) {
	b := d.fill()
	if d.arriving.bytes != nil {
		b.items = append(b.items, itemArrival)
		b.arrivals = append(b.arrivals, d.arriving)
		d.arriving.bytes = nil
	}
	b.items = append(b.items, itemMessage)
	b.bytes += len(m.Payload)
	if d.arriving.shared && len(m.Payload) <= smallPayload {
		b.small += len(m.Payload)
	}
	if m.AliasedTopic != "" {
		b.aliased = append(b.aliased, m.AliasedTopic)
	}
	b.messages = append(b.messages, newInbound(m))
}

func (d *dispatcher) complete(done completion) {
	b := d.fill()
	b.items = append(b.items, itemCompletion)
	b.completions = append(b.completions, done)
}

func (d *dispatcher) notify(event any) {
	b := d.fill()
	b.items = append(b.items, itemEvent)
	b.events = append(b.events, event)
}

func (d *dispatcher) release(buffer []byte) {
	b := d.fill()
	b.items = append(b.items, itemRelease)
	b.buffers = append(b.buffers, buffer)
}

const (
	// firstFlush is how long acknowledgements of handled messages wait for the
	// rest of their batch; the interval doubles up to lastFlush while handlers
	// take longer than that.
	firstFlush = 2 * time.Millisecond
	lastFlush  = 256 * time.Millisecond
	// stuckAfter is how long reading pauses before it goes on although the
	// handlers are behind, if somebody waits for an operation: it may be a
	// handler, and its answer lies behind the messages that were not read yet.
	stuckAfter = 50 * time.Millisecond
)

// deadline returns when tick has to be called.
func (d *dispatcher) deadline() time.Duration {
	at := never
	if d.flushAt != 0 {
		at = d.flushAt
	}
	if d.paused != nil {
		at = min(at, d.pausedAt+stuckAfter)
	}
	if d.startBy != 0 {
		at = min(at, d.startBy)
	}
	if d.watchAt != 0 {
		at = min(at, d.watchAt)
	}
	return at
}

// tick does what is due at now. The caller holds mu, and settles: that starts
// what was postponed.
func (d *dispatcher) tick(c *Client, now time.Duration) {
	if now >= d.startBy {
		d.startBy = 0
	}
	d.watch(now)
	if d.flushAt != 0 && now >= d.flushAt {
		d.flushAt = 0
		handled := d.handled.Load()
		c.engine.AcknowledgeThrough(now, handled)
		if handled < d.owed {
			d.flushGap = min(2*d.flushGap, lastFlush)
			d.flushAt = now + d.flushGap
		}
	}
	if d.paused != nil && now >= d.pausedAt+stuckAfter {
		d.pausedAt = now
		if c.stats.waiting > 0 {
			d.extra += d.limit + d.extra
			c.resume(now)
		}
	}
}

// pause makes the reader wait for the handlers. The caller holds mu, and
// receives from t.resume afterwards.
func (c *Client) pause(now time.Duration, t *transport) {
	if t.resume == nil {
		t.resume = make(chan struct{}, 1)
	}
	c.dispatch.paused = t
	c.dispatch.pausedAt = now
	c.engine.SetPaused(now, true)
	c.stats.pauses++
	c.settle()
}

// resume lets the reader go on.
func (c *Client) resume(now time.Duration) {
	t := c.dispatch.paused
	c.dispatch.paused = nil
	if t == nil {
		return
	}
	if t.current() {
		c.engine.SetPaused(now, false)
	}
	select {
	case t.resume <- struct{}{}:
	default: // closing did it already
	}
}

// runDispatcher runs user code until nothing waits. It reports whether it was
// called by a reader that still is the one who reads.
func (c *Client) runDispatcher() bool {
	d := &c.dispatch
	var done *batch
	for {
		now := c.loop.Now()
		c.mu.Lock()
		if d.spare == nil {
			d.spare = done
		} else if done != nil {
			batches.Put(done)
		}
		if d.owed != 0 {
			c.engine.AcknowledgeThrough(now, d.handled.Load())
		}
		b := d.queue
		d.queue = nil
		d.extra = 0
		c.resume(now)
		if b == nil {
			d.running = false
			t := d.reader
			d.reader = nil
			if d.spare != nil {
				batches.Put(d.spare)
				d.spare = nil
			}
			if t != nil && t.writesNow() {
				t.writeNow() // acknowledgements, or what handlers published
				return true
			}
			c.settle()
			c.mu.Unlock()
			return t != nil
		}
		for i := len(b.messages) - 1; i >= 0; i-- {
			if ack := b.messages[i].ack; ack != 0 {
				d.owed = ack
				if d.flushAt == 0 {
					d.flushGap = firstFlush
					d.flushAt = now + firstFlush
				}
				break
			}
		}
		c.settle()
		c.mu.Unlock()

		u := unpacking{batch: b}
		var arrivals, completions, events, buffers int
		for _, kind := range b.items {
			switch kind {
			case itemArrival:
				u.arrival = b.arrivals[arrivals]
				b.arrivals[arrivals] = arrival{} // lest it keeps payloads that the user is done with
				arrivals++
			case itemMessage:
				ack := b.messages[u.next].ack
				c.handleMessage(&u)
				if ack != 0 {
					d.handled.Store(ack)
				}
			case itemCompletion:
				c.handleCompletion(&b.completions[completions], &b.result)
				completions++
			case itemEvent:
				c.handleEvent(b.events[events])
				events++
			case itemRelease:
				if buffer := b.buffers[buffers]; cap(buffer) == bufferSize {
					giveBuffer(buffer)
				} else {
					giveLarge(buffer)
				}
				buffers++
			}
		}
		b.empty()
		done = b
	}
}

// recovered logs and reports a panic of user code. It is deferred.
func (c *Client) recovered(name string) {
	v := recover()
	if v == nil {
		return
	}
	c.panicked(&PanicError{Callback: name, Value: v, Stack: debug.Stack()})
}

func (c *Client) panicked(err *PanicError) {
	c.log.Error("panic in a handler", zap.String("handler", err.Callback), zap.Any("panic", err.Value), zap.ByteString("stack", err.Stack))
	if c.opts.OnPanic == nil {
		return
	}
	defer func() { _ = recover() }() // a panic of the panic handler has been logged in its cause
	c.opts.OnPanic(err)
}

func (c *Client) handleMessage(u *unpacking) {
	defer c.recovered("message handler")
	var m Message
	c.unpack(u, &m)
	c.route(&m)
}

func (c *Client) handleCompletion(done *completion, result *publishResult) {
	defer c.recovered("PublishAsync callback")
	switch {
	case done.final:
		done.callback(nil, done.err)
	case done.err != nil:
		done.callback(nil, operationError("publish", done.sent, done.err))
	default:
		p := wire.Publish{Topic: done.topic, QoS: done.qos, Retain: done.retain}
		done.callback(c.publishResult(result, &p, engine.Result{Reason: done.reason, Ack: done.ack}))
	}
}
