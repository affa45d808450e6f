// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
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
	gate      *eventloop.Gate
	own       *eventloop.Group   // nil if the loops are shared
	handling  context.Context    // what message handlers get
	giveUp    context.CancelFunc // ends handling

	// mu guards everything below. It is never held across I/O or user code.
	mu        sync.Mutex
	engine    *engine.Engine
	transport *transport      // of the present attempt or connection; nil at rest
	spare     engine.Output   // the output that gathers during the next write
	timer     eventloop.Timer // runs onTimer
	armed     time.Duration   // when timer fires; never if not armed
	dispatch  dispatcher
	stats     clientStats
	kept      map[string]Subscription // filters to subscribe to again
	exchange  *exchange               // of AUTH packets; nil without an Authenticator
	room      []*waiter               // callers that wait for room in the queue
	waiters   []*waiter               // for reuse
	stopped   []chan struct{}         // callers of Stop
	connected []chan struct{}         // callers of WaitConnected
	gaveUp    error                   // why the client stopped by itself
	rested    bool                    // closed, and everything was given back
}

// NewClient returns a client that is at rest. It fails with a
// [*ValidationError] if the options are not valid.
func NewClient(options ClientOptions) (*Client, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	opts := new(ClientOptions)
	*opts = options
	if opts.Dial == nil {
		opts.Dial = new(socket.Dialer).DialContext
	}
	if opts.Limits != nil {
		limits := *opts.Limits
		opts.Limits = &limits
		if opts.Connect.ClientID == "" && limits.GenerateClientID {
			opts.Connect.ClientID = generateClientID()
		}
	}
	c := &Client{opts: opts, log: opts.Logger, armed: never}
	if c.log == nil {
		c.log = silent
	}
	group := opts.EventLoops
	if group == nil {
		c.own = eventloop.NewGroup(eventloop.Options{Loops: 1, Logger: opts.Logger})
		group = c.own
	}
	c.loop = group.Next()
	c.loop.Pin()
	c.gate = group.Gate()
	c.observers = observersOf(opts.Observer)
	if opts.Authenticator != nil {
		c.exchange = new(exchange)
	}
	c.timer.Init(c.loop, c.onTimer)
	c.config = opts.engineConfig()
	c.engine = engine.New(&c.config, (*sink)(c))
	c.handling, c.giveUp = context.WithCancel(context.Background())
	c.dispatch.run = func() { c.runDispatcher() }
	c.dispatch.limit = orDefault(opts.MaxPendingMessages, 1024)
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
		Buffer:            takeBuffer,
	}
	if o.QueueFullPolicy == DropOldestQoS0WhenFull {
		cfg.Full = engine.FullDropOldestQoS0
	}
	if o.TopicAliasing.Inbound {
		cfg.InAliasMax = orDefault(o.TopicAliasing.InboundCacheSize, 25)
	}
	if o.Limits != nil {
		cfg.PublishesPerSecond = o.Limits.PublishesPerSecond
		cfg.BytesPerSecond = o.Limits.BytesPerSecond
	}
	return cfg
}

// Start begins to connect, and to reconnect after each loss, until Stop. It
// returns at once; lifecycle handlers and [Client.WaitConnected] tell what comes
// of it. During a stop it takes effect after the [Stopped] event.
//
// It fails with [ErrClosed] only. Starting a started client does nothing.
func (c *Client) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaveUp = nil
	err := c.engine.Start(c.loop.Now())
	c.settle()
	return err
}

// Stop ends the connection with a DISCONNECT and stops connecting. If there is
// a connection, operations that are queued or in flight are first given time
// to complete, until ctx ends; new ones are refused meanwhile. What is left
// then fails with [ErrStopRequested].
//
// Stop returns nil once the client is at rest, or the error of ctx if that ends
// earlier; the client then still comes to rest by itself, soon after. A nil
// packet stands for a normal disconnection. Stopping a client at rest does
// nothing.
func (c *Client) Stop(ctx context.Context, packet *DisconnectPacket) error {
	var farewell *wire.Disconnect
	if packet != nil {
		farewell = wireDisconnect(packet)
		if err := validateDisconnect(farewell); err != nil {
			return err
		}
	}
	drainUntil := never
	if ctx.Err() != nil {
		drainUntil = 0
	}
	c.mu.Lock()
	if err := c.engine.Stop(c.loop.Now(), farewell, drainUntil); err != nil {
		c.mu.Unlock()
		return err
	}
	if c.engine.State() == engine.Stopped {
		c.settle()
		c.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	c.stopped = append(c.stopped, done)
	c.waits()
	if t := c.transport; t.writesNow() {
		t.writeNow()
	} else {
		c.settle()
		c.mu.Unlock()
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.waiting--
	select {
	case <-done:
		return nil
	default:
	}
	c.engine.Stop(c.loop.Now(), farewell, 0)
	c.settle()
	return ctx.Err()
}

// Close ends the client for good, at once: no DISCONNECT is sent, so the
// server publishes the will. What is not completed fails with [ErrClosed]. Use
// [Client.Stop] before it for an orderly end. Closing twice does nothing.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.Close(c.loop.Now())
	c.settle()
	for _, w := range c.room {
		w.complete(engine.Result{Err: ErrClosed}, false)
	}
	c.room = nil
	c.wake(&c.connected)
	return nil
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
	for {
		c.mu.Lock()
		switch {
		case c.engine.State() == engine.Connected:
			c.mu.Unlock()
			return nil
		case c.engine.State() == engine.Closed:
			c.mu.Unlock()
			return ErrClosed
		case c.gaveUp != nil:
			err := c.gaveUp
			c.mu.Unlock()
			return err
		}
		changed := make(chan struct{})
		c.connected = append(c.connected, changed)
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			c.mu.Lock()
			for i, ch := range c.connected {
				if ch == changed {
					c.connected = append(c.connected[:i], c.connected[i+1:]...)
					break
				}
			}
			c.mu.Unlock()
			return ctx.Err()
		}
	}
}

// Settings returns what was negotiated for the current connection, or for the
// last one; the zero value before the first.
func (c *Client) Settings() NegotiatedSettings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return negotiatedSettings(c.engine.Settings())
}

// settle carries out what the last call of the engine asks for. The caller
// holds mu. It starts what has to be done elsewhere, and never blocks.
func (c *Client) settle() {
	if a := c.engine.TakeActions(); a != 0 {
		if a&engine.ActionClose != 0 {
			c.transport.close()
		}
		if a&engine.ActionDial != 0 {
			c.dial()
		}
	}
	if c.engine.HasOutput() {
		c.transport.startWriter()
	}
	if len(c.room) > 0 {
		c.admit()
	}
	if d := &c.dispatch; !d.running && !d.held && !d.postponed && d.pending() {
		d.running = true
		d.startBy = 0
		go d.run()
	}
	c.dispatch.postponed = false
	if d := min(c.engine.NextDeadline(), c.dispatch.deadline()); d < c.armed {
		c.armed = d
		c.timer.Reset(d)
	}
	if c.engine.State() == engine.Closed && !c.rested {
		c.rest()
	}
}

// rest gives back what a closed client holds.
func (c *Client) rest() {
	c.rested = true
	c.giveUp()
	c.timer.Stop()
	c.loop.Unpin()
	if c.own != nil {
		go c.own.Close() // not from a goroutine that the loop may wait for
	}
}

// onTimer runs on the loop.
func (c *Client) onTimer() {
	now := c.loop.Now()
	c.mu.Lock()
	c.armed = never
	c.engine.Tick(now)
	c.dispatch.tick(c, now)
	c.settle()
	c.mu.Unlock()
}

func (c *Client) wake(list *[]chan struct{}) {
	for _, ch := range *list {
		close(ch)
	}
	*list = nil
}

// silent is the logger of clients without one.
var silent = zap.NewNop()

const never = time.Duration(1<<63 - 1)

func (c *Client) hint(r Refusal) string {
	if c.opts.Hint == nil {
		return ""
	}
	defer c.recovered("Hint")
	return strings.TrimSpace(c.opts.Hint(r))
}
