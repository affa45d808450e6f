// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

const (
	// gatherLimit is how many bytes wait for the next write before packets
	// wait in the queue instead. Outbound buffers should have referenceSize
	// more than that, for the packet that goes beyond it.
	gatherLimit = 64 << 10
	// referencedLimit is likewise for payloads that are not copied.
	referencedLimit = 256 << 10
	// referenceSize is the payload size from which a payload is not copied to
	// the outbound buffer but written from where it is.
	referenceSize = 14 << 10
)

// Output is what one write sends: a buffer, into which payloads are to be
// inserted at given places.
type Output struct {
	buf   []byte
	refs  []reference
	bytes int // of all refs
}

// reference is a payload that belongs before buf[at:].
type reference struct {
	at      int
	payload []byte
}

// hasRoom reports whether more packets may be gathered.
func (o *Output) hasRoom() bool { return len(o.buf) < gatherLimit && o.bytes < referencedLimit }

// Len returns the number of bytes to write.
func (o *Output) Len() int { return len(o.buf) + o.bytes }

// Bytes returns the output if it is one contiguous piece.
func (o *Output) Bytes() ([]byte, bool) { return o.buf, len(o.refs) == 0 }

// Segments appends the pieces of the output to dst, in order.
func (o *Output) Segments(dst [][]byte) [][]byte {
	from := 0
	for _, r := range o.refs {
		dst = append(dst, o.buf[from:r.at], r.payload)
		from = r.at
	}
	if from < len(o.buf) {
		dst = append(dst, o.buf[from:])
	}
	return dst
}

// Release empties the output for reuse and returns its buffer, which the
// caller may give to the next one.
func (o *Output) Release() []byte {
	buf := o.buf
	o.buf = nil
	clear(o.refs)
	o.refs = o.refs[:0]
	o.bytes = 0
	return buf
}

// outBuffer returns the outbound buffer to append to.
func (e *Engine) outBuffer() []byte {
	if e.output.buf == nil {
		if e.cfg.Buffer != nil {
			e.output.buf = e.cfg.Buffer()
		} else {
			e.output.buf = make([]byte, 0, 512)
		}
	}
	return e.output.buf
}

// HasOutput reports whether a write is due: there are bytes, and no write is
// in flight.
func (e *Engine) HasOutput() bool { return !e.inFlight && len(e.output.buf) > 0 }

// OutputWhole reports whether the output is one contiguous piece.
func (e *Engine) OutputWhole() bool { return len(e.output.refs) == 0 }

// OutputFull reports whether a write is due that takes no more packets.
func (e *Engine) OutputFull() bool { return e.HasOutput() && !e.output.hasRoom() }

// TakeOutput returns everything to write now; spare becomes the output that
// gathers meanwhile. It must be followed by WriteDone, or by the end of the
// transport.
func (e *Engine) TakeOutput(now time.Duration, spare Output) Output {
	out := e.output
	e.output = spare
	e.inFlight = true
	e.writes++
	e.writeMoved = now
	e.lastSent = now
	e.stats.BytesOut += uint64(out.Len())
	for op := e.unstamped; op != nil; op = op.next {
		op.sentAt = stamp(now)
		op.sent, op.handed = true, true
	}
	e.unstamped = nil
	for op := e.gathered.head; op != nil; op = op.next {
		op.sent = true
	}
	e.writing.take(&e.gathered)
	return out
}

// stamp returns now as a time to keep where 0 stands for none: under a virtual
// clock it may be 0 itself.
func stamp(now time.Duration) time.Duration { return max(now, 1) }

// WriteDone tells that the write in flight is complete.
func (e *Engine) WriteDone(now time.Duration) {
	if !e.inFlight {
		return
	}
	e.inFlight = false
	e.lastSent = now
	e.WriteProgress(now)
	e.releasePayloads()
	for op := e.writing.popFront(); op != nil; op = e.writing.popFront() {
		e.finish(op, Result{})
	}
	switch e.state {
	case Connected:
		e.pump(now)
		e.checkDrained(now)
	case Disconnecting:
		if len(e.output.buf) == 0 {
			e.beginClosing(now)
		}
	}
}

// releasePayloads notes that no write is in flight, and completes the operations
// whose payload the last one was still reading.
func (e *Engine) releasePayloads() {
	e.written = e.writes
	if len(e.settled) == 0 {
		return
	}
	later := e.settled[:0]
	for _, s := range e.settled {
		if s.op.write > e.written { // gathered for the next write
			later = append(later, s)
			continue
		}
		s.op.phase = phaseNew
		e.end(s.op, s.result)
	}
	clear(e.settled[len(later):])
	e.settled = later
}

// writeAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. What explains gives
// way if the packet would be too large for the server [MQTT-3.4.2-2].
func (e *Engine) writeAck(t wire.Type, a *wire.Ack) {
	if a.ReasonString != nil || a.UserProperties != nil {
		trimmed := *a
		trimmed.Fit(e.settings.MaximumPacketSizeToServer)
		a = &trimmed
	}
	e.output.buf = wire.AppendAck(e.outBuffer(), t, a)
	e.stats.PacketsOut++
}
