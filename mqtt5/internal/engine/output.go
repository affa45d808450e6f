// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

const (
	// copiedLimit is how many bytes one write gathers in its buffer. Outbound
	// buffers should have referenceSize more than that, for the packet that goes
	// beyond it.
	copiedLimit = 64 << 10
	// referencedLimit is likewise for payloads that are not copied.
	referencedLimit = 512 << 10
	// referenceSize is the payload size from which a payload is not copied to
	// the outbound buffer but written from where it is.
	referenceSize = 14 << 10
	// answersLimit is how many bytes of answers wait for a write before the owner
	// has to stop reading: a server that does not read must not make them grow.
	answersLimit = 256 << 10
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

// hasRoom reports whether the write takes more packets.
func (o *Output) hasRoom() bool { return len(o.buf) < copiedLimit && o.bytes < referencedLimit }

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

// Release empties the output for reuse and returns its buffer.
func (o *Output) Release() []byte {
	buf := o.buf
	o.buf = nil
	clear(o.refs)
	o.refs = o.refs[:0]
	o.bytes = 0
	return buf
}

// controlBuffer returns the buffer that packets are appended to which leave
// before any operation: answers, PINGREQ, AUTH and DISCONNECT.
func (e *Engine) controlBuffer() []byte {
	if e.control == nil {
		e.control = e.newBuffer()
	}
	return e.control
}

func (e *Engine) newBuffer() []byte {
	if e.cfg.Buffer != nil {
		return e.cfg.Buffer()
	}
	return make([]byte, 0, 512)
}

// OutputBacklogged reports whether so many answers wait for a write that the
// owner has to stop reading until WriteDone.
func (e *Engine) OutputBacklogged() bool { return len(e.control) >= answersLimit }

// canWrite reports whether there is something to write, and no write in flight.
func (e *Engine) canWrite(now time.Duration) bool {
	if e.inFlight {
		return false
	}
	return e.next(now) != nil || len(e.control) > 0
}

// TakeOutput begins a write and puts everything that is to be sent now into
// out, which is empty. It reports whether there is anything: if so, it must be
// followed by WriteDone or by the end of the transport.
func (e *Engine) TakeOutput(now time.Duration, out *Output) bool {
	e.writes++
	e.inFlight = true // what is refused now must not look as if nothing were written
	out.buf, e.control = e.control, nil
	for out.hasRoom() {
		if e.keeps() {
			e.prepare(now)
		}
		op := e.next(now)
		if op == nil {
			break
		}
		e.send(now, op, out)
	}
	if out.Len() == 0 {
		e.inFlight = false
		e.checkDrained(now) // what was refused may have been the last
		return false
	}
	e.stats.BytesOut += uint64(out.Len())
	e.flow.take(now, out.Len())
	return true
}

// WriteDone reports that the write in flight is complete.
func (e *Engine) WriteDone(now time.Duration) {
	if !e.inFlight {
		return
	}
	e.inFlight = false
	e.flow.done(now)
	e.completeAnswered()
	for op := e.written.popFront(); op != nil; op = e.written.popFront() {
		e.finish(op, Result{})
	}
	switch e.state {
	case Handshake:
		if !e.greeted {
			e.greeted = true
			e.deadline = after(now, e.cfg.ConnackTimeout)
		}
	case Connected:
		e.checkDrained(now)
	case Disconnecting:
		if len(e.control) == 0 {
			e.finished = true
			e.beginClosing(now)
		}
	}
}

// completeAnswered completes the operations whose payload the last write was
// still reading.
func (e *Engine) completeAnswered() {
	for _, a := range e.answered {
		a.op.phase = phaseNew
		e.end(a.op, a.result)
	}
	clear(e.answered)
	e.answered = e.answered[:0]
}

// writeAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. What explains gives
// way if the packet would be too large for the server [MQTT-3.4.2-2].
func (e *Engine) writeAck(t wire.Type, a *wire.Ack) {
	if a.ReasonString != nil || a.UserProperties != nil {
		trimmed := *a
		trimmed.Fit(e.settings.MaximumPacketSizeToServer)
		a = &trimmed
	}
	e.control = wire.AppendAck(e.controlBuffer(), t, a)
	e.stats.PacketsOut++
}
