// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/conn"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// link is one attempt to connect and the connection that comes of it. Its
// goroutines are the one that dials, the reader, and the writer while there is
// something to write; at rest there is the reader alone.
//
// Client.mu guards the fields, except where they belong to one goroutine. A
// link that the engine has given up is no longer Client.link; what its
// goroutines report is ignored then.
type link struct {
	client   *Client
	conn     net.Conn           // set before the reader starts
	cancel   context.CancelFunc // of the dial; nil before and after
	turn     eventloop.Waiter   // for a slot of the gate
	users    int32              // goroutines that may touch conn, plus a turn that is awaited
	slot     bool               // holds a slot
	closing  bool
	finished bool          // a DISCONNECT was written
	writing  bool          // somebody writes, or is about to
	paused   bool          // the reader waits for resumed
	used     bool          // for the reader: its goroutine has handled something
	resumed  chan struct{} // one slot; made when needed
	start    func()        // write, bound once: to start it then takes no allocation

	// For the reader.
	reader  *conn.Reader
	renewed time.Duration // when its goroutine was started

	// For the writer.
	writer *conn.Writer
	taken  *taken        // by the writer; nil at rest
	began  time.Duration // when it was started, or took that
}

// taken is what a writer has taken from the engine, in the form for conn.Writer.
type taken struct {
	out      engine.Output
	segments [][]byte
}

// takens holds their memory for all clients: one at rest keeps none.
var takens = sync.Pool{New: func() any { return new(taken) }}

// dial begins an attempt, when the gate lets it. The caller holds mu.
func (c *Client) dial() {
	l := &link{client: c, users: 1}
	c.link = l
	l.turn.Init(func() { go l.open() })
	c.group.Gate().Acquire(&l.turn)
}

// current reports whether what happens on l still matters.
func (l *link) current() bool { return l.client.link == l && !l.closing }

// close begins to close the link, finished if a DISCONNECT was written;
// TransportClosed follows when its last goroutine is gone. The caller holds mu.
func (l *link) close(finished bool) {
	if l == nil || l.closing {
		return
	}
	l.closing, l.finished = true, finished
	l.wakeReader()
	if l.conn != nil {
		l.users++
		go l.closeConn() // it may take time: TLS says goodbye
		return
	}
	l.giveSlot() // a Dial that does not return must not keep it
	if l.cancel != nil {
		l.cancel()
	} else if l.client.group.Gate().Cancel(&l.turn) {
		l.leave(l.client.loop.Now())
	}
}

// aborter is a connection that can end without announcing it: the server then
// publishes the will.
type aborter interface{ Abort() error }

func (l *link) closeConn() {
	if conn, ok := l.conn.(aborter); ok && !l.finished {
		conn.Abort()
	} else {
		l.conn.Close()
	}
	now := l.client.lock()
	l.leave(now)
	l.client.unlock(now)
}

// leave notes that a goroutine is done with the link. The caller holds mu.
func (l *link) leave(now time.Duration) {
	if l.users--; l.users == 0 {
		l.giveSlot()
	}
	switch {
	case l.users > 0:
	case l.conn != nil && !l.closing: // nobody is left to close it
		l.closing = true
		l.users++
		go l.closeConn()
	case l.client.link == l:
		l.client.link = nil
		l.client.engine.TransportClosed(now)
	}
}

func (l *link) giveSlot() {
	if l.slot {
		l.slot = false
		l.client.group.Gate().Release()
	}
}

// open dials, and then reads. It runs on a goroutine of its own, which the gate
// has given a slot.
func (l *link) open() {
	if l.dial() {
		l.read()
	}
}

// dial makes the connection, and reports whether there is one to be read.
func (l *link) dial() (opened bool) {
	c := l.client
	now := c.lock()
	l.slot = true
	if !l.current() {
		l.leave(now)
		c.unlock(now)
		return false
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.config.ConnectTimeout, ErrConnectTimeout)
	l.cancel = cancel
	c.engine.DialStarted(now)
	c.unlock(now)

	var connect *wire.Connect
	var nc net.Conn
	err := error(&DialError{Address: c.opts.Address, Err: errGoexit})
	defer func() { // also if the user's code ends the goroutine
		cancel()
		if opened = l.opened(connect, nc, err); !opened && nc != nil {
			nc.Close()
		}
	}()
	connect, nc, err = c.connectTransport(ctx)
	return
}

// opened reports the result of the dial to the engine. If it returns true, the
// caller is the reader. The slot is kept until the CONNECT is written.
func (l *link) opened(connect *wire.Connect, nc net.Conn, err error) bool {
	c := l.client
	now := c.lock()
	defer func() { c.unlockAndWrite(now) }()
	l.cancel, l.turn = nil, eventloop.Waiter{} // no longer needed; drop what they reference
	switch {
	case err == nil && l.current():
		l.conn = nc
		l.reader, l.writer = conn.New(nc)
		l.renewed = now - time.Hour // after the handshake it is renewed at once
		c.engine.TransportOpened(now, connect)
		return true
	case err != nil && l.current():
		l.users--
		c.link = nil
		c.engine.TransportFailed(now, err)
	default:
		l.leave(now)
	}
	l.giveSlot()
	return false
}

// mayWrite reports whether a write may be started. The caller holds mu.
func (l *link) mayWrite() bool { return l != nil && l.writer != nil && !l.writing && !l.closing }

// busy reports whether there is a writer, who calls unlock when it is done. The
// caller holds mu.
func (l *link) busy() bool { return l != nil && l.writing }

// startWriter starts the writer. The caller holds mu.
func (l *link) startWriter(now time.Duration) {
	l.writing = true
	l.began = now
	l.users++
	if l.start == nil {
		l.start = l.write
	}
	go l.start()
}

// write is the goroutine of the writer.
func (l *link) write() {
	// Goroutines that are ready to publish get to do so first, and share the
	// write. If there are none, this costs next to nothing.
	runtime.Gosched()
	l.writeAll()
}

// writeAll writes until there is nothing left. One write is in flight at a
// time, and what is submitted meanwhile leaves with the next one.
func (l *link) writeAll() {
	c := l.client
	now := c.lock()
	for l.current() && l.take(now) {
		c.unlock(now)
		now = l.written(l.writer.Write(l.taken.pieces()))
	}
	l.rest(now)
	c.unlock(now)
}

// take takes the output that is due from the engine. The caller holds mu.
func (l *link) take(now time.Duration) bool {
	if l.taken == nil {
		l.taken = takens.Get().(*taken)
	}
	l.began = now
	return l.client.engine.TakeOutput(now, &l.taken.out)
}

// rest notes that nobody writes any more. The caller holds mu.
func (l *link) rest(now time.Duration) {
	l.writing = false
	l.giveTaken()
	l.leave(now)
}

func (l *link) giveTaken() {
	if l.taken != nil {
		takens.Put(l.taken)
		l.taken = nil
	}
}

func (t *taken) pieces() [][]byte {
	t.segments = t.out.Segments(t.segments[:0])
	return t.segments
}

// release drops the written segments, and returns their buffer for reuse.
func (t *taken) release() []byte {
	clear(t.segments[:cap(t.segments)])
	return t.out.Release()
}

// tryWrite does the write that is due on a goroutine that is about to wait anyway, so
// that no other one has to be woken: the one exception to writeAll. It never
// waits itself; what the socket does not take at once is left to the writer. The
// caller holds mu, which tryWrite releases.
func (l *link) tryWrite(now time.Duration) {
	c := l.client
	if !l.take(now) {
		l.giveTaken()
		c.unlock(now) // what was due has been refused, and somebody may be told
		return
	}
	l.writing = true
	l.users++
	c.mu.Unlock()

	rest, whole := l.taken.out.Bytes()
	if whole {
		rest = rest[l.writer.TryWrite(rest):]
	}
	if !whole || len(rest) > 0 {
		go l.writeRest(len(rest))
		return
	}
	now = l.written(nil)
	l.rest(now)
	c.unlock(now)
}

// writeRest goes on with a write of which the last n bytes are left, or all if
// it has several pieces.
func (l *link) writeRest(n int) {
	pieces := l.taken.pieces()
	if len(pieces) == 1 {
		pieces[0] = pieces[0][len(pieces[0])-n:]
	}
	now := l.written(l.writer.Write(pieces))
	l.client.unlock(now)
	l.writeAll()
}

// written notes that the write in flight has ended. It takes mu.
func (l *link) written(err error) time.Duration {
	c := l.client
	conn.GiveBuffer(l.taken.release())
	now := c.lock()
	l.giveSlot() // of the write of the CONNECT
	switch {
	case !l.current():
	case err != nil:
		c.engine.TransportError(now, &TransportError{Op: "write", Err: err})
	default:
		c.observers.begin(now)
		c.engine.WriteDone(now)
		c.observers.end()
	}
	return now
}

// read is the goroutine of the reader. It reads until the connection ends.
//
// Handling packets makes a goroutine's stack grow, and a parked goroutine keeps
// it. So before it comes to rest, the reader starts a new goroutine in its place,
// at most once a second: where many clients are idle, stacks are most of the
// memory.
func (l *link) read() {
	c := l.client
	for {
		if l.used && l.reader.AtRest() {
			if now := c.loop.Now(); now-l.renewed > time.Second {
				l.renewed, l.used = now, false
				go l.read()
				return
			}
		}
		if err := l.reader.Read(); err != nil {
			l.ended(err)
			return
		}
		l.used = true
		next := l.receive()
		if next == handOver {
			next = c.deliver()
		}
		switch next {
		case leave:
			l.ended(nil)
			return
		case relieved:
			return
		}
	}
}

// next is what a reader does after it has received something.
type next uint8

const (
	readOn   next = iota
	handOver      // run the handlers
	leave         // the link does not matter any more
	relieved      // another goroutine reads
)

// receive gives the bytes that were read to the engine.
func (l *link) receive() next {
	c := l.client
	now := c.lock()
	defer func() { c.unlock(now) }()
	if !l.current() {
		return leave
	}
	data := l.reader.Bytes()
	if c.engine.State() == engine.Handshake {
		err, more := foreignProtocol(data)
		if err != nil {
			c.engine.TransportError(now, err)
			return leave
		}
		if more {
			l.reader.Consume(0, len(data)+1)
			return readOn
		}
	}
	consumed, need := c.feed(now, data)
	if c.engine.Confirming() {
		// What follows the CONNACK waits until the server has proved itself.
		if now = l.awaitConfirmation(now); !l.current() {
			return leave
		}
		var n int
		c.received = uint32(consumed)
		n, need = c.feed(now, data[consumed:])
		c.received = 0
		consumed += n
	}
	if c.messages.Unattached() > 0 {
		c.messages.Attach(l.reader.Detach(consumed, need, !c.opts.BorrowPayloads))
	} else {
		l.reader.Consume(consumed, need)
	}
	if l.handsOver(now) {
		return handOver
	}
	now = l.pause(now)
	if !l.current() {
		return leave
	}
	return readOn
}

// feed gives received bytes to the engine.
func (c *Client) feed(now time.Duration, data []byte) (consumed, need int) {
	c.observers.begin(now)
	consumed, need = c.engine.Receive(now, data)
	c.observers.end()
	return consumed, need
}

// handsOver reports whether the reader runs the handlers itself: while messages
// stream in, and nobody waits for what the server sends next. Acknowledgements
// that cannot be written without waiting would wake another goroutine all the
// same.
func (l *link) handsOver(now time.Duration) bool {
	c := l.client
	if len(c.waiting) > 0 || !l.current() || !l.writer.Tries() && c.messages.Owes() {
		return false
	}
	if !c.messages.StartOnReader(now) {
		return false
	}
	c.reading = l
	return true
}

// pause waits while too many messages wait for handlers, or too many answers for
// the server. The caller holds mu, which is released meanwhile.
func (l *link) pause(now time.Duration) time.Duration {
	c := l.client
	for l.current() && c.backlogged() {
		if l.resumed == nil {
			l.resumed = make(chan struct{}, 1)
		}
		l.paused = true
		c.stats.pauses++
		c.engine.SetPaused(now, true)
		c.askWhetherHandlersWait()
		c.unlock(now)
		<-l.resumed
		now = c.lock()
	}
	return now
}

// backlogged reports whether reading has to stop.
func (c *Client) backlogged() bool { return c.messages.Full() || c.engine.OutputBacklogged() }

// resume lets the reader go on as soon as it may. The caller holds mu.
func (l *link) resume(now time.Duration) {
	if l == nil || !l.paused || l.client.backlogged() {
		return
	}
	l.client.engine.SetPaused(now, false)
	l.wakeReader()
}

func (l *link) wakeReader() {
	if l.paused {
		l.paused = false
		l.resumed <- struct{}{}
	}
}

// ended notes that the reader is done, with the error of the connection or nil.
func (l *link) ended(err error) {
	l.reader.Close()
	c := l.client
	now := c.lock()
	if l.current() && err != nil {
		if !errors.Is(err, io.EOF) {
			err = &TransportError{Op: "read", Err: err}
		}
		c.engine.TransportError(now, err)
	}
	l.leave(now)
	c.unlock(now)
}
