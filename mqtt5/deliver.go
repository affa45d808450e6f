// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/delivery"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// deliver runs the message handlers until no message waits. If the reader calls
// it, it returns whether that goroutine still reads.
func (c *Client) deliver() next {
	handles := false
	defer func() {
		if handles { // a handler has ended the goroutine
			now := c.lock()
			c.relieve()
			c.startDelivery()
			c.unlock(now)
		}
	}()
	if c.start.handle == nil {
		c.start.handle = c.handleMessage
	}
	for {
		handles = true
		c.messages.Handle(c.start.handle)
		handles = false
		now := c.lock()
		c.engine.AcknowledgeThrough(now, c.messages.Handled())
		c.handling = c.handlers.current(c.closed)
		more, reads := c.messages.Take(now)
		if more {
			c.unlock(now)
			continue
		}
		if !reads {
			c.unlock(now)
			return relieved
		}
		c.unlockAndWrite(now) // acknowledgements, or what handlers published
		return readOn
	}
}

// relieve starts another goroutine to read if the reader is running handlers.
// The caller holds mu.
func (c *Client) relieve() {
	if c.messages.Relieve() {
		go c.reading.read()
	}
}

// handlerContext is the context that message handlers get. It ends when the
// client is closed, and when a stop gives up waiting for them.
type handlerContext struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// handlerKey marks contexts of handlers.
type handlerKey struct{}

// current returns the context, which has ended if the client is closed.
func (h *handlerContext) current(closed bool) context.Context {
	if h.ctx == nil {
		h.ctx, h.cancel = context.WithCancel(context.WithValue(context.Background(), handlerKey{}, true))
	}
	if closed {
		h.cancel()
	}
	return h.ctx
}

// end cancels the context. Handlers that begin later get another one.
func (h *handlerContext) end() {
	if h.cancel != nil {
		h.cancel()
		h.ctx, h.cancel = nil, nil
	}
}

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

	durability Durability
	forwarded  bool
}

// completions holds the memory of completions that wait, for all clients: one
// at rest keeps none.
var completions sync.Pool

// handleMessage runs the handlers of a message.
func (c *Client) handleMessage(d *delivery.Message) {
	defer c.recovered("message handler")
	var m Message
	m.Topic, m.Payload = d.Name, d.Body
	m.QoS, m.Retain, m.Duplicate = QoS(d.QoS), d.Retain, d.Dup
	if d.Ack != 0 {
		m.client, m.ack = c, d.Ack
	}
	if d.Properties != nil {
		m.setProperties(d.Properties)
	}
	defer c.route(&m) // even if an observer ends the goroutine
	if c.observers != nil && c.observers.messages != nil {
		c.observers.message(c, &m)
	}
}

// handleCompletion runs the callback of a PublishAsync.
func (c *Client) handleCompletion(done *completion) {
	defer c.recovered("PublishAsync callback")
	switch {
	case done.final:
		done.callback(nil, done.err)
	case done.err != nil:
		done.callback(nil, operationError("publish", done.sent, done.err))
	default:
		if c.borrowed == nil {
			c.borrowed = new(publishResult)
		}
		*c.borrowed = publishResult{}
		p := wire.Publish{Topic: done.topic, QoS: done.qos, Retain: done.retain}
		done.callback(c.publishResult(c.borrowed, &p, engine.Result{Reason: done.reason, Ack: done.ack,
			Durability: uint8(done.durability), Forwarded: done.forwarded}))
	}
}

// setProperties reads the properties of a packet, which the engine has found to
// be valid.
func (m *Message) setProperties(packet []byte) {
	f := wire.Frame{Type: wire.TypePublish, Flags: uint8(m.QoS) << 1, Body: packet}
	var v wire.PublishView
	wire.ParsePublish(&f, &v)
	if v.TopicAlias != 0 {
		m.TopicAlias = Ptr(v.TopicAlias)
	}
	if len(v.Properties) == 0 {
		return
	}
	var p wire.PublishProperties
	v.Decode(&p)
	m.PayloadFormat = (*PayloadFormat)(p.PayloadFormat)
	m.MessageExpirySeconds = p.MessageExpiryInterval
	m.ResponseTopic = p.ResponseTopic
	m.CorrelationData = p.CorrelationData
	m.ContentType = p.ContentType
	m.SubscriptionIdentifiers = p.SubscriptionIDs
	m.UserProperties = userProperties(p.UserProperties)
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
	c.log.Error("panic in a handler", zap.String("handler", err.Callback), zap.String("panic", fmt.Sprint(err.Value)), zap.ByteString("stack", err.Stack))
	if c.opts.OnPanic == nil {
		return
	}
	defer func() { _ = recover() }() // a panic of the panic handler has been logged in its cause
	c.opts.OnPanic(err)
}

// handlerFrames are the methods that run handlers, as the runtime names them.
var handlerFrames = [...]string{"/mqtt5.(*Client).handleMessage", "/mqtt5.(*Client).handleCompletion", "/mqtt5.(*Client).handleEvent"}

// runsHandler reports whether a handler of this client is running, or is about
// to. The caller holds mu.
func (c *Client) runsHandler() bool {
	return c.messages.Running() || c.events.Running() || c.completions.Running()
}

// inHandler reports whether the calling goroutine runs a handler of some
// client. It walks the stack, so it is for rare cases.
func inHandler() bool {
	var pcs [32]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			for _, name := range handlerFrames {
				if strings.HasSuffix(f.Function, name) {
					return true
				}
			}
		}
	}
}
