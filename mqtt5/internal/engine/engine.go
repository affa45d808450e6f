// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// State is where the client is. Only Stopped, Connected and Closed are states
// of rest; every other one has a deadline.
type State uint8

// The states, in the order in which a connection passes through them.
const (
	Stopped       State = iota
	Connecting          // the owner dials
	Handshake           // CONNECT is on its way, CONNACK is awaited
	Connected           // CONNACK was accepted
	Disconnecting       // a DISCONNECT is being written
	Closing             // the owner closes the transport
	Waiting             // for the delay before the next attempt
	Closed              // for good
)

var stateNames = [...]string{"stopped", "connecting", "handshake", "connected", "disconnecting", "closing", "waiting", "closed"}

func (s State) String() string { return stateNames[s] }

// SessionBehavior says when a connection asks for the session of the one before.
type SessionBehavior uint8

// The session behaviours of the other AWS IoT device SDKs.
const (
	SessionClean             SessionBehavior = iota // Clean Start 1, always
	SessionRejoinPostSuccess                        // Clean Start 0 after the first success since Start
	SessionRejoinAlways                             // Clean Start 0, always
)

// OfflinePolicy says which operations survive without a connection.
type OfflinePolicy uint8

// The offline queue policies of the other AWS IoT device SDKs.
const (
	FailQoS0OnDisconnect OfflinePolicy = iota
	FailNonQoS1OnDisconnect
	FailAllOnDisconnect
)

// FullPolicy says what happens to an operation that finds the queue full.
type FullPolicy uint8

// The policies for a full queue.
const (
	FullReject FullPolicy = iota
	FullDropOldestQoS0
)

// Config is fixed for the life of an engine.
type Config struct {
	Session      SessionBehavior
	Offline      OfflinePolicy
	Full         FullPolicy
	MaxOps       int   // most incomplete operations; 0: no limit
	MaxBytes     int64 // most bytes of incomplete operations; 0: no limit
	OutAliases   AliasMode
	OutAliasSize uint16 // most aliases that LRU uses
	InAliasMax   uint16 // Topic Alias Maximum for the server; 0: none

	Jitter          Jitter
	MinDelay        time.Duration // before a reconnect
	MaxDelay        time.Duration
	ResetDelayAfter time.Duration // connected this long: the delay starts over

	ConnectTimeout    time.Duration // dial
	ConnackTimeout    time.Duration
	PingTimeout       time.Duration
	AckTimeout        time.Duration // 0: none
	DisconnectTimeout time.Duration // to write a DISCONNECT
	CloseTimeout      time.Duration // for the transport to close

	PoisonLimit        int     // hang-ups that an operation in flight survives; 0: any number
	PublishesPerSecond float64 // 0: no limit
	BytesPerSecond     float64 // 0: no limit

	Uniform func(n int64) int64 // uniform in [0, n)
	Buffer  func() []byte       // an empty outbound buffer; nil: allocate
}

// Action is a set of things that the owner must do to the transport.
type Action uint8

// The actions. Both may be due: first close, then dial.
const (
	ActionDial  Action = 1 << iota // begin an attempt; answer with TransportOpened or TransportFailed
	ActionClose                    // abort the attempt or close the transport; answer with TransportClosed
)

// Result is how an operation completed. Ack and SubscribeAck hold what the
// server answered; Ack is nil when that was only Reason.
type Result struct {
	Err          error
	Reason       wire.ReasonCode
	Ack          *wire.Ack
	SubscribeAck *wire.SubscribeAck
}

// EventKind is the kind of a lifecycle event.
type EventKind uint8

// The lifecycle events. Each Connecting is followed by exactly one Succeeded or
// Failed, each Succeeded by exactly one Disconnected, and a stop ends with one
// Stopped.
const (
	EventConnecting EventKind = iota + 1
	EventSucceeded
	EventFailed
	EventDisconnected
	EventStopped
)

// Event is a lifecycle event.
type Event struct {
	Kind       EventKind
	Attempt    int           // connection attempts since the last success or start, from 1
	Err        error         // Failed, Disconnected: the first cause
	Retry      bool          // Failed, Disconnected: another attempt follows
	Delay      time.Duration // Failed, Disconnected: the time until it
	Settings   Settings      // Succeeded
	Connack    *wire.Connack // Succeeded, Failed if there is one
	Disconnect *wire.Disconnect
}

// Message is a received PUBLISH. Its slices point into the bytes given to
// Receive.
type Message struct {
	wire.PublishView
	// Start and End tell where the packet's variable header begins, and where
	// the packet ends, in the bytes given to Receive.
	Start, End int
	// AliasedTopic is the topic of a message that names it by alias only.
	AliasedTopic string
	// Ack identifies the acknowledgement that the message needs; 0: none.
	Ack uint64
}

// Sink takes the outputs that are not bytes. Its methods are called during
// calls of the engine, and must not call the engine.
type Sink interface {
	// Complete is called exactly once for each submitted operation.
	// The operation must not be used after it returns.
	Complete(op *Operation, r Result)
	// Deliver hands over a message; m is valid during the call only.
	Deliver(m *Message)
	// Notify hands over a lifecycle event.
	Notify(ev *Event)
	// Challenge hands over an AUTH to answer with [Engine.Authenticate], or
	// with done the end of an exchange, to answer with [Engine.AcceptServer] or
	// [Engine.RejectServer].
	Challenge(auth *wire.Auth, done bool)
}

// never is the deadline of what has none.
const never = time.Duration(math.MaxInt64)

// Engine is the protocol state of one client. See the package comment.
type Engine struct {
	cfg  *Config
	sink Sink

	// Lifecycle.
	state     State
	desired   bool // running is wanted
	stopping  bool // a stop is under way: Stopped follows
	closed    bool // Close was called
	draining  bool // Connected: wait for what is queued, then disconnect
	eventOpen EventKind
	actions   Action
	attempt   int
	farewell  *wire.Disconnect // the user's DISCONNECT
	overdue   bool             // Connected: Tick has something to do at once
	deadline  time.Duration    // of the current state
	delay     time.Duration    // drawn for the next attempt
	backoff   backoff

	// Session.
	succeeded  bool // a connection succeeded since Start
	assignedID string
	ids        identifiers
	received   identifierSet // QoS 2 from the server, not yet released

	// Operations. Each incomplete one is in one of these lists.
	publishes    list       // queued publishes
	droppable    *Operation // in publishes: the first that may have QoS 0; nil: none
	queuedQoS0   int        // queued publishes of QoS 0
	bytesQoS0    int64      // of those
	requests     list       // queued subscribes and unsubscribes
	resend       list       // publishes to send again, with their identifiers
	sent         list       // wait for the first acknowledgement, in order of sending
	released     list       // wait for PUBCOMP, in order of PUBREC
	late         list       // as sent, after their ack timeout: nobody waits, but the server may still answer
	lateReleased list       // as released, likewise
	gathered     list       // QoS 0 publishes in out
	writing      list       // QoS 0 publishes in the write in flight
	settled      []settled  // completions that wait for the end of the write in flight
	unstamped    *Operation
	order        uint64
	held         int   // operations of all lists, what the limits are about
	heldBytes    int64 // of those
	starved      bool  // one was refused though nobody waits for any of them
	free         *Operation
	freeCount    int

	// Connection.
	offer        offer // what CONNECT said
	settings     Settings
	quota        int // QoS>0 publishes that may still be sent
	timedOut     int // of those in flight, how many timed out
	output       Output
	inFlight     bool          // a write is in flight
	writes       uint64        // writes that were taken
	written      uint64        // those of them that are over
	writeMoved   time.Duration // when the write in flight began, or went on last
	lastSent     time.Duration
	lastHeard    time.Duration
	pingSentAt   time.Duration
	pingDue      time.Duration // a PINGREQ waits for its answer since then; never: none
	pingWrite    uint64        // number of the write that it leaves with
	paused       bool          // the owner does not read
	connectedAt  time.Duration
	throttled    time.Duration // publishes wait until then; never: not throttled
	throttledAt  time.Duration
	rates        *rateLimits      // nil: none
	outAliases   *outboundAliases // nil: disabled
	inAliases    []string
	acks         ackQueue
	answering    identifierSet // received QoS>0 on this connection, not yet answered for good
	authState    authState
	challenged   bool          // an AUTH waits for Authenticate
	authDeadline time.Duration // of a re-authentication
	confirming   *wire.Connack // while Confirming
	view         *Message      // scratch of Receive, made for the first PUBLISH
	packetEnd    int           // where the packet in hand ends in the bytes of Receive

	stats Stats
}

// New returns a stopped engine.
func New(cfg *Config, sink Sink) *Engine {
	return &Engine{
		cfg:       cfg,
		sink:      sink,
		deadline:  never,
		pingDue:   never,
		throttled: never,
		backoff:   backoff{jitter: cfg.Jitter, min: cfg.MinDelay, max: cfg.MaxDelay, uniform: cfg.Uniform},
	}
}

// State returns the current state.
func (e *Engine) State() State { return e.state }

// Settings returns what was negotiated for the current connection, or for the
// last one.
func (e *Engine) Settings() Settings { return e.settings }

// TakeActions returns what the owner must do now, and forgets it.
func (e *Engine) TakeActions() Action {
	a := e.actions
	e.actions = 0
	return a
}

// NextDeadline returns when Tick has to be called at the latest, or the
// largest duration if never.
func (e *Engine) NextDeadline() time.Duration {
	d := e.deadline
	if e.state == Connected {
		if e.overdue {
			return 0
		}
		d = min(d, e.throttled, e.pingDeadline(), e.ackDeadline(&e.sent), e.ackDeadline(&e.released))
		if e.authState == authRenewing {
			d = min(d, e.authDeadline)
		}
	}
	return d
}

// Tick does what is due at now. Calling it early or often is harmless.
func (e *Engine) Tick(now time.Duration) {
	if now >= e.deadline {
		e.stateDeadline(now)
	}
	if e.state != Connected {
		return
	}
	e.overdue = false
	e.expireAcks(now, &e.sent)
	e.expireAcks(now, &e.released)
	if e.state == Connected {
		e.keepAlive(now)
	}
	if e.state == Connected && e.authState == authRenewing && now >= e.authDeadline {
		e.disconnect(now, wire.UnspecifiedError, ErrAuthentication)
	}
	if e.state == Connected {
		e.pump(now)
		e.checkStall(now)
		e.checkDrained(now)
	}
}

// stateDeadline handles the deadline of a state that is not one of rest.
func (e *Engine) stateDeadline(now time.Duration) {
	e.deadline = never
	switch e.state {
	case Connecting:
		e.conclude(now, &Event{Err: ErrConnectTimeout})
		e.beginClosing(now)
	case Handshake:
		if e.Confirming() {
			e.disconnect(now, wire.UnspecifiedError, ErrAuthentication)
			return
		}
		e.conclude(now, &Event{Err: ErrConnackTimeout})
		e.beginClosing(now)
	case Connected: // of draining
		e.beginDisconnect(now, e.farewell)
	case Disconnecting:
		e.beginClosing(now)
	case Closing:
		e.transportGone(now)
	case Waiting:
		e.beginConnecting(now)
	}
}
