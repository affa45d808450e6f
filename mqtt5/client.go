// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/conn"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/delivery"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// Client is an MQTT 5 client that keeps itself connected between
// [Client.Start] and [Client.Stop]. All methods may be called from any
// goroutine, including from handlers.
type Client struct {
	opts      *ClientOptions
	config    engine.Config
	log       *zap.Logger
	loop      *eventloop.Loop
	observers *observers // nil: none
	router    router     // has a lock of its own
	listeners listeners  // likewise
	group     *eventloop.Group
	durable   *durable // nil: no store

	// mu guards everything below. It is never held across I/O or user code. It is
	// taken by lock and released by unlock.
	mu          sync.Mutex
	engine      *engine.Engine
	link        *link           // of the present attempt or connection; nil at rest
	timer       eventloop.Timer // runs onTimer
	suspend     eventloop.SuspendWatch
	armed       time.Duration // when timer fires; never if not armed
	events      delivery.Lane[event]
	completions delivery.Lane[completion]
	messages    delivery.Messages
	connections uint64 // counts ConnectionSuccess events
	reading     *link  // whose reader runs the message handlers
	handlers    handlerContext
	handling    context.Context // of the message handlers that run; only for who runs them
	borrowed    *publishResult  // of the callback that runs; likewise
	stats       clientStats
	record      connectionRecord
	exchange    *exchange // of AUTH packets; nil without an Authenticator
	waiting     []*waiter // goroutines that wait for the client
	room        []*waiter // those of waiting that wait for room in the queue
	idle        *waiter   // a list of them, for reuse
	gaveUp      error     // why the client stopped by itself
	received    uint32    // bytes of the present read that Receive had before
	untold      int32     // Stopped events that are not handled yet
	idleCount   uint8     // waiters in idle
	saidGranted bool      // the log says that acknowledgements carry a granted QoS
	closed      bool      // Close was called
	ended       bool      // and everything was given back
	ownLoop     bool      // the group is the client's own

	start starts // bound once, when first needed: to start a goroutine then takes no allocation
}

// starts are functions of a client as values.
type starts struct {
	deliver func()
	handle  func(*delivery.Message)
}

// startDelivery starts the goroutine that runs the message handlers.
func (c *Client) startDelivery() {
	if c.start.deliver == nil {
		c.start.deliver = func() { c.deliver() }
	}
	go c.start.deliver()
}

// NewClient returns a stopped client. It fails with a
// [*ValidationError] if the options are not valid. With a store it reads the
// session from there, and fails with the error of the store or with
// [ErrStoreMismatch].
func NewClient(options ClientOptions) (*Client, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	opts := options.clone()
	if opts.Dial == nil {
		opts.Dial = new(socket.Dialer).DialContext
	}
	if opts.Limits != nil && opts.Limits.GenerateClientID && opts.Connect.ClientID == "" {
		opts.Connect.ClientID = generateClientID()
	}
	c := &Client{opts: opts, log: opts.Logger, group: opts.EventLoops, armed: never}
	if c.log == nil {
		c.log = silent
	}
	c.warnWithoutEffect()
	if c.group == nil {
		c.group = eventloop.NewGroup(eventloop.Options{Loops: 1, Logger: opts.Logger})
		c.ownLoop = true
	}
	c.loop = c.group.Next()
	c.loop.Pin()
	c.observers = newObservers(c, opts)
	if opts.Authenticator != nil {
		c.exchange = new(exchange)
	}
	c.timer.Init(c.loop, c.onTimer)
	c.suspend.Start(c.loop, c.onSuspend)
	c.record.changed = c.loop.Now()
	c.config = opts.engineConfig()
	c.durable = newDurable(c)
	c.engine = engine.New(&c.config, (*sink)(c))
	c.events.Init(eventLane{(*laneLock)(c)}, nil)
	c.completions.Init(completionLane{(*laneLock)(c)}, &completions)
	c.messages.Init(orDefault(opts.MaxPendingMessages, 1024), opts.BorrowPayloads)
	if err := c.durable.open(); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// generateClientID makes up an identifier as the other AWS IoT device SDKs do:
// those that AWS IoT Core assigns cannot be used to connect again.
func generateClientID() string {
	return fmt.Sprintf("gen%016x%016x", rand.Uint64(), rand.Uint64())
}

func (o *ClientOptions) engineConfig() engine.Config {
	cfg := engine.Config{
		Session:           engine.SessionBehavior(o.SessionBehavior),
		Offline:           engine.OfflinePolicy(o.OfflineQueuePolicy),
		MaxOps:            unbounded(o.MaxQueuedOperations, 100_000),
		MaxBytes:          unbounded(o.MaxQueuedBytes, 128<<20),
		OutAliases:        engine.AliasMode(o.TopicAliasing.Outbound),
		OutAliasSize:      orDefault(o.TopicAliasing.OutboundCacheSize, 25),
		Jitter:            engine.Jitter(o.RetryJitter),
		MinDelay:          orDefault(o.MinReconnectDelay, defaultMinDelay),
		MaxDelay:          orDefault(o.MaxReconnectDelay, defaultMaxDelay),
		ResetDelayAfter:   orDefault(o.MinConnectedTimeToResetReconnectDelay, 30*time.Second),
		ConnectTimeout:    orDefault(o.ConnectTimeout, 30*time.Second),
		ConnackTimeout:    orDefault(o.ConnackTimeout, 20*time.Second),
		PingTimeout:       orDefault(o.PingTimeout, 30*time.Second),
		AckTimeout:        unbounded(o.AckTimeout, time.Minute),
		DisconnectTimeout: 5 * time.Second,
		CloseTimeout:      5 * time.Second,
		PoisonLimit:       unbounded(o.PoisonPublishLimit, 3),
		Uniform:           rand.Int64N,
		Buffer:            conn.TakeBuffer,
		IdentifierBase:    uint16(1000 + rand.IntN(60_000)),
		Resubscribe:       o.Resubscribe,
		AskRetry:          o.ShouldRetry != nil,
	}
	if o.QueueFullPolicy == DropOldestQoS0WhenFull {
		cfg.Full = engine.FullDropOldestQoS0
	}
	if o.TopicAliasing.Inbound {
		cfg.InAliasMax = orDefault(o.TopicAliasing.InboundCacheSize, 25)
	}
	if o.Limits != nil {
		cfg.MaxFilters = uint16(min(max(o.Limits.MaxSubscriptionsPerSubscribe, 0), math.MaxUint16))
		cfg.PublishesPerSecond = o.Limits.PublishesPerSecond
		cfg.BytesPerSecond = o.Limits.BytesPerSecond
	}
	return cfg
}

// Start begins to connect, and to reconnect after each loss, until Stop. It
// returns at once; lifecycle handlers and [Client.WaitConnected] report the
// outcome. During a stop it takes effect after the [Stopped] event.
//
// It fails with [ErrClosed] only. Starting a started client does nothing.
func (c *Client) Start() error {
	now := c.lock()
	defer c.unlock(now)
	c.gaveUp = nil
	return c.engine.Start(now)
}

// Stop ends the connection with a DISCONNECT and stops connecting. If there is
// a connection, operations that are queued or in flight are first given time
// to complete, until ctx ends; new ones are refused meanwhile. What is left
// then fails with [ErrStopRequested].
//
// Stop returns nil once the client has stopped and [ClientOptions.OnStopped] has
// returned; a call from a handler of the client does not wait for OnStopped. It
// returns the error of ctx if that ends earlier; the client then ends the connection at
// once, and the context of handlers that are still running ends. A Start during
// the stop keeps its effect in any case. A nil packet stands for a normal
// disconnection. Stopping a stopped client does nothing. Stop fails with
// [ErrClosed] after Close, and with a [*ValidationError] if packet is not valid.
func (c *Client) Stop(ctx context.Context, packet *DisconnectPacket) error {
	var disconnect *wire.Disconnect
	if packet != nil {
		disconnect = wireDisconnect(packet)
		if err := validateDisconnect(disconnect); err != nil {
			return err
		}
	}
	drainUntil := never
	if ctx.Err() != nil {
		drainUntil = 0
	}
	now := c.lock()
	fromHandler := c.runsHandler() && (ctx.Value(handlerKey{}) != nil || inHandler())
	w := c.begin(ctx)
	w.until, w.early = untilStopped, fromHandler
	stop, err := c.engine.Stop(now, disconnect, drainUntil)
	w.joined = stop == 0 && err == nil && !fromHandler && c.untold > 0
	if stop == 0 && !w.joined {
		c.done(w)
		c.unlock(now)
		return err
	}
	if drainUntil == 0 {
		c.handlers.end()
	}
	c.unlockAndWrite(now)
	now = c.wait(ctx, w)
	if !w.completed {
		err = ctx.Err()
		if c.engine.HurryStop(now, stop) { // else handlers may be those after a Start
			c.handlers.end()
		}
	}
	c.forget(w) // not kept: the event may still refer to it
	c.unlock(now)
	return err
}

// Close ends the client for good, at once: no DISCONNECT is sent, so the
// server publishes the will. What is not completed fails with [ErrClosed]. Use
// [Client.Stop] before it for an orderly end. With a store it waits until what
// was accepted is stored; the store can be closed then. Closing twice does nothing.
func (c *Client) Close() error {
	defer c.durable.close()
	now := c.lock()
	defer c.unlock(now)
	c.engine.Close(now)
	c.closed = true
	c.handlers.end()
	completeAll(&c.room, ErrClosed)
	c.reached(untilConnected, ErrClosed)
	return nil
}

// RetryNow ends the delay before the next attempt to connect, for instance
// because a network has come up. Without such a delay it does nothing.
func (c *Client) RetryNow() {
	now := c.lock()
	defer c.unlock(now)
	c.engine.RetryNow(now)
}

// State returns where the client is.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state()
}

func (c *Client) state() State {
	switch c.engine.State() {
	case engine.Connecting, engine.Handshake:
		return StateConnecting
	case engine.Connected:
		return StateConnected
	case engine.Disconnecting, engine.Closing:
		return StateDisconnecting
	case engine.Waiting:
		return StateWaiting
	case engine.Closed:
		return StateClosed
	default:
		return StateStopped
	}
}

// WaitConnected waits until the client is connected. It fails when ctx ends,
// and with [ErrClosed] or [ErrGaveUp] when there is nothing left to wait for.
// It does not start the client.
func (c *Client) WaitConnected(ctx context.Context) error {
	now := c.lock()
	defer func() { c.unlock(now) }()
	switch {
	case c.engine.State() == engine.Connected:
		return nil
	case c.engine.State() == engine.Closed:
		return ErrClosed
	case c.gaveUp != nil:
		return c.gaveUp
	}
	w := c.begin(ctx)
	w.until = untilConnected
	c.unlock(now)
	now = c.wait(ctx, w)
	err := w.result.Err
	if !w.completed {
		err = ctx.Err()
	}
	c.forget(w) // not kept: most clients call this once
	return err
}

// Settings returns the negotiated values of the current connection, or for the
// last one; the zero value before the first.
func (c *Client) Settings() NegotiatedSettings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return negotiatedSettings(c.engine.Settings())
}

// end releases the resources of a closed client.
func (c *Client) end() {
	c.ended = true
	c.timer.Stop()
	c.suspend.Stop()
	c.loop.Unpin()
	if c.ownLoop {
		go c.group.Close() // not from a goroutine that the loop may wait for
	}
}

// silent is the logger of clients without one.
var silent = zap.NewNop()

// hint asks for advice, on a goroutine of its own: who needs the error is told
// of it even if Hint ends its goroutine.
func (c *Client) hint(r Refusal) (text string) {
	if c.opts.Hint == nil {
		return ""
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.recovered("Hint")
		text = strings.TrimSpace(c.opts.Hint(r))
	}()
	<-done
	return text
}
