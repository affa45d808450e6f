// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "time"

// A reader that has something to hand over often does it itself: to wake the
// dispatcher costs more than most handlers take. Nobody reads meanwhile, so
// another goroutine goes on with that when the handlers take long, or somebody
// begins to wait for the server.

const (
	// longestHandOver bounds how long nobody reads: it does not take twice as long.
	longestHandOver = 2 * time.Millisecond
	// oftenHandedOver is how soon there has to be something to hand over again,
	// so that a reader does it. The timer that watches it costs as much as a few
	// wake-ups.
	oftenHandedOver = longestHandOver / 8
)

// handsOver reports whether the reader of t is the dispatcher from now on, and
// has to call runDispatcher when it has released mu, which the caller holds.
// Another goroutine may read from then on.
func (t *transport) handsOver(now time.Duration) bool {
	c := t.client
	d := &c.dispatch
	if d.running || !d.pending() || !t.current() {
		return false
	}
	often := now-d.handedAt < oftenHandedOver
	d.handedAt = now
	switch {
	case !often:
		return false
	case c.stats.waiting > 0: // maybe in a handler
		return false
	case t.source.raw == nil && d.queue.owes():
		return false // the writer would have to be woken instead, and more often
	}
	d.running, d.held, d.startBy = true, false, 0
	d.reader, d.readerSince = t, now
	if d.watchAt == 0 {
		d.watchAt = now + longestHandOver
	}
	return true
}

// owes reports whether messages of the batch are to be acknowledged.
func (b *batch) owes() bool {
	n := len(b.messages)
	return n > 0 && b.messages[n-1].ack != 0
}

// watch sees whether the reader is still handing over what it was when watch
// last looked.
func (d *dispatcher) watch(now time.Duration) {
	if d.watchAt == 0 || now < d.watchAt {
		return
	}
	d.watchAt = 0
	if now-d.readerSince < longestHandOver {
		d.watchAt = now + longestHandOver
	} else {
		d.relieve()
	}
}

// relieve has another goroutine read, if the reader is handing over. The
// caller holds mu.
func (d *dispatcher) relieve() {
	if t := d.reader; t != nil {
		d.reader = nil
		go t.read()
	}
}

// waits notes that a goroutine is about to wait for the server. It may be that
// of a handler, so somebody has to read. The caller holds mu.
func (c *Client) waits() {
	c.stats.waiting++
	c.dispatch.relieve()
}
