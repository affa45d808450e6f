// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// next returns the operation that is sent next, or nil if none may be sent
// now. First come the publishes of a resumed session, then the subscriptions of
// a lost one, then what is queued. Publishes keep their order among themselves;
// a request waits for older publishes, but not for publishes that Receive
// Maximum or a rate limit holds back [MQTT-3.3.4-8].
func (e *Engine) next(now time.Duration) *Operation {
	if e.throttled != never {
		e.stats.ThrottleWait += now - e.throttledAt
		e.throttled = never
	}
	if e.state != Connected {
		return nil
	}
	publish, request := e.resend.head, e.restores.head
	resending, restoring := publish != nil, request != nil
	if !resending {
		publish = e.publishes.head
	}
	if !restoring {
		request = e.requests.head
	}
	if e.ids.used == maxIdentifiers { // what needs a new one waits
		request = nil
		if publish != nil && publish.Publish.QoS > 0 && publish.Publish.PacketID == 0 {
			publish = nil
		}
	}
	if publish != nil && !e.ready(publish) {
		publish = nil
	}
	switch {
	case publish == nil:
		return request
	case request == nil:
	case restoring && !resending, !restoring && request.order < publish.order:
		return request
	}
	if publish.Publish.QoS > 0 && e.quota == 0 || e.rates != nil && !e.withinRate(now, publish) {
		return request
	}
	return publish
}

// withinRate reports whether the rate limits, of which there are some, allow a
// publish now. If not, they say when.
func (e *Engine) withinRate(now time.Duration, op *Operation) bool {
	wait := e.rates.ready(now, op.size)
	if wait > 0 {
		e.throttled, e.throttledAt = after(now, wait), now
	}
	return wait == 0
}

// send puts an operation into the output, or completes it if the connection's
// limits forbid it.
func (e *Engine) send(now time.Duration, op *Operation, out *Output) {
	e.dequeue(op)
	if err := e.check(op); err != nil {
		e.refuse(op, err)
		return
	}
	if out.buf == nil {
		out.buf = e.newBuffer()
	}
	if op.Kind == KindPublish {
		e.sendPublish(now, op, out)
		return
	}
	size := op.encodedSize()
	if size > int(e.settings.MaximumPacketSizeToServer) {
		e.refuse(op, errTooLarge)
		return
	}
	*op.identifier() = e.ids.allocate(op)
	if op.Kind == KindSubscribe {
		out.buf = wire.AppendSubscribe(out.buf, op.Subscribe)
	} else {
		out.buf = wire.AppendUnsubscribe(out.buf, op.Unsubscribe)
	}
	e.stats.PacketsOut++
	if e.rates != nil {
		e.rates.bytes.take(float64(size))
	}
	e.await(now, op, out)
}

// refuse completes an operation that may not be sent on this connection.
func (e *Engine) refuse(op *Operation, err error) {
	e.stats.Refused++
	if op.Kind == KindPublish && op.handed {
		e.abandon(op, err)
		return
	}
	e.finish(op, Result{Err: err})
}

func (e *Engine) sendPublish(now time.Duration, op *Operation, out *Output) {
	p := op.Publish
	p.Dup = op.handed // not after a lost session, where it starts over
	p.Properties = op.remainingExpiry(now, p.Properties)
	e.outAliases.resolve(&p)
	size := int(op.size)
	if p.TopicAlias != 0 || op.Publish.TopicAlias != 0 {
		size = wire.PublishSize(&p)
	}
	if size > int(e.settings.MaximumPacketSizeToServer) {
		e.outAliases.undo(&p, op.Publish.Topic)
		e.refuse(op, errTooLarge)
		return
	}
	if p.QoS > 0 && p.PacketID == 0 {
		p.PacketID = e.ids.allocate(op)
		op.Publish.PacketID = p.PacketID
		e.keepSent(op)
	}
	op.referenced = len(p.Payload) >= referenceSize
	if op.referenced {
		out.buf = wire.AppendPublishHeader(out.buf, &p)
		out.refs = append(out.refs, reference{len(out.buf), p.Payload})
		out.bytes += len(p.Payload)
	} else {
		out.buf = wire.AppendPublish(out.buf, &p)
	}
	e.stats.PacketsOut++
	e.stats.MessagesOut++
	e.stats.PayloadOut += uint64(len(p.Payload))
	if e.rates != nil {
		e.rates.publishes.take(1)
		e.rates.bytes.take(float64(size))
	}
	if p.QoS == 0 {
		op.sent = true
		op.phase = phaseWritten
		e.written.pushBack(op)
		return
	}
	e.quota--
	op.charged = true
	e.await(now, op, out)
}

// await puts an operation where its acknowledgement finds it.
func (e *Engine) await(now time.Duration, op *Operation, out *Output) {
	op.sent, op.handed, op.expired = true, true, false
	op.sentAt = now
	op.write = e.writes
	op.end = e.flow.taken + int64(out.Len())
	op.phase = phaseSent
	e.sent.pushBack(op)
}
