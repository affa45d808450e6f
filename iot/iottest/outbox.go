// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// outbox gathers packets; a goroutine writes them. Its size is bounded: by max
// for QoS 0 messages, by the windows for QoS 1 messages, and by hardMax for
// all.
type outbox struct {
	mu      sync.Mutex
	cond    *sync.Cond
	buf     bytes.Buffer
	writing int // bytes that a write has taken out of buf and not finished
	closing bool
	corked  bool // more packets come at once: the writer waits for them
	over    bool // hardMax was reached
	max     int
	limit   int // bytes until the connection is cut, -1 for none
}

// hardMax is how many bytes may wait for a client beyond outbox.max and its
// window of QoS 1 messages. Only one that goes on sending requests and never
// reads the answers gets there: its connection is closed.
const hardMax = 32 << 20

func (o *outbox) cutAfter(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.limit = n
	o.cond.Signal()
}

// cork makes the packets that follow leave in one write, at the uncork.
func (o *outbox) cork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corked = true
}

func (o *outbox) uncork() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.corked = false
	if o.buf.Len() > 0 {
		o.cond.Signal()
	}
}

// crowded reports whether QoS 1 messages should wait for acknowledgements
// rather than in the outbox.
func (o *outbox) crowded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Len()+o.writing >= hardMax/2
}

// overflowed reports whether the outbox was too full even for an answer.
func (o *outbox) overflowed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over
}

// put adds a packet. It fails with errTooLarge when the packet is larger than
// the client takes, with errNotReading when there is no room, and with
// errEnding when the connection ends.
func (o *outbox) put(pk *packets.Packet, maxSize uint32) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting := o.buf.Len() + o.writing
	if o.closing {
		return errEnding
	}
	if pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos == 0 && waiting >= o.max {
		return errNotReading
	}
	if waiting >= hardMax {
		o.over = true
		return errNotReading
	}
	before := o.buf.Len()
	if err := encode(&o.buf, pk); err != nil {
		return err
	}
	if maxSize > 0 && uint32(o.buf.Len()-before) > maxSize {
		o.buf.Truncate(before)
		return errTooLarge
	}
	if !o.corked {
		o.cond.Signal()
	}
	return nil
}

// writeLoop writes until the outbox is closing and empty, or writing fails;
// then it closes the connection.
func (cl *client) writeLoop() {
	o := &cl.out
	var spare bytes.Buffer
	for {
		o.mu.Lock()
		o.writing = 0
		for (o.buf.Len() == 0 || o.corked) && !o.closing && o.limit != 0 {
			o.cond.Wait()
		}
		spare, o.buf = o.buf, spare
		b := spare.Bytes()
		o.writing = len(b)
		cut := o.limit >= 0 && o.limit <= len(b)
		if cut {
			b = b[:o.limit]
		} else if o.limit > 0 {
			o.limit -= len(b)
		}
		closing := o.closing
		o.mu.Unlock()
		if len(b) > 0 {
			if _, err := cl.nc.Write(b); err != nil {
				cl.writeFailed(err)
				return
			}
		}
		if cut {
			_ = cl.raw.Close()
			return
		}
		if closing {
			_ = cl.nc.Close()
			_ = cl.raw.Close()
			return
		}
		if spare.Cap() > 64<<10 {
			spare = bytes.Buffer{}
		}
		spare.Reset()
	}
}

// writeFailed closes a connection that cannot be written to, and releases what
// waits for it.
func (cl *client) writeFailed(err error) {
	cl.writeErr.Store(&err)
	_ = cl.raw.Close()
	cl.out.mu.Lock()
	defer cl.out.mu.Unlock()
	cl.out.closing, cl.out.buf, cl.out.writing = true, bytes.Buffer{}, 0
}

// finish lets the writer send the queue and then close the connection.
func (cl *client) finish() {
	cl.out.mu.Lock()
	defer cl.out.mu.Unlock()
	if !cl.out.closing {
		cl.out.closing = true
		cl.out.cond.Signal()
		// Whoever does not read any more must not hold up the end.
		cl.raw.hurry(5 * time.Second)
	}
}
