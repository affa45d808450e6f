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
	OutAliases   AliasMode
	OutAliasSize uint16 // most aliases that LRU uses
	InAliasMax   uint16 // Topic Alias Maximum for the server; 0: none
	// IdentifierBase is added to all packet identifiers, modulo their range. Some
	// brokers keep those of both directions in one table, and their own start at 1.
	IdentifierBase uint16
	Jitter         Jitter
	Resubscribe    bool   // restore the subscriptions of a lost session
	AskRetry       bool   // each attempt after a failed one waits for AnswerRetry
	MemoryOnly     bool   // a publish that cannot be stored is sent all the same
	MaxFilters     uint16 // most topic filters in one SUBSCRIBE of a resubscribe; 0: 8
	MaxOps         int    // most incomplete operations; 0: no limit
	MaxBytes       int64  // most bytes of incomplete operations; 0: no limit

	MinDelay        time.Duration // before a reconnect
	MaxDelay        time.Duration
	ResetDelayAfter time.Duration // connected this long: the delay starts over

	ConnectTimeout    time.Duration // dial
	ConnackTimeout    time.Duration
	PingTimeout       time.Duration
	AckTimeout        time.Duration // 0: none
	DisconnectTimeout time.Duration // to write a DISCONNECT
	CloseTimeout      time.Duration // for the transport to close

	PoisonLimit        int     // closed connections that a publish survives; 0: any number
	PublishesPerSecond float64 // 0: no limit
	BytesPerSecond     float64 // 0: no limit

	// Keep takes a change for the store; the owner calls Stored when it is
	// stored. Nil: there is no store. Undelivered is called when a kept publish
	// that nobody waits for fails. Both are called like the methods of Sink.
	Keep        func(*Change)
	Undelivered func(op *Operation, r Result)
	// KeepFilters takes all subscriptions that the client wants to have, after
	// each change. It is not about a numbered change. Nil: they are not kept.
	KeepFilters func([]Filter)

	Uniform func(n int64) int64 // uniform in [0, n)
	Buffer  func() []byte       // an empty outbound buffer; nil: allocate
}

// Todo is everything that the owner has to do after a call.
type Todo struct {
	Close    bool          // abort the attempt or close the transport; answer with TransportClosed
	Finished bool          // with Close: a DISCONNECT was written; else the server has to see a lost connection
	Dial     bool          // then begin an attempt; answer with TransportOpened or TransportFailed
	Write    bool          // begin a write with TakeOutput; none is in flight
	Load     uint64        // load publishes from the store, from this ID on; answer with Loaded; 0: none
	Deadline time.Duration // when to call Tick at the latest; the largest duration: never
}

// Result is how an operation completed. Ack and SubscribeAck hold what the
// server answered; Ack is nil when that was only Reason.
type Result struct {
	Err          error
	Reason       wire.ReasonCode
	Granted      bool // the server answered a publish with a granted QoS, which counts as success
	Ack          *wire.Ack
	SubscribeAck *wire.SubscribeAck
	Durability   uint8 // of a kept publish
	Forwarded    bool  // it completes because it is stored
}

// EventKind is the kind of a lifecycle event.
type EventKind uint8

// The lifecycle events. Each Connecting is followed by exactly one Succeeded or
// Failed, each Succeeded by exactly one Disconnected, a stop ends with one
// Stopped, and the engine with Closed.
const (
	EventConnecting EventKind = iota + 1
	EventSucceeded
	EventFailed
	EventDisconnected
	EventStopped
	EventResubscribed // the round of SUBSCRIBEs for a lost session has ended
	EventClosed
)

// Event is a lifecycle event.
type Event struct {
	Kind       EventKind
	Attempt    int           // connection attempts since the last success or start, from 1
	Err        error         // Failed, Disconnected: the first cause. Resubscribed: why a part is still to be done
	Detail     error         // Failed, Disconnected with ErrHangup: what the transport said; nil: nothing more
	Retry      bool          // Failed, Disconnected: another attempt follows
	Delay      time.Duration // Failed, Disconnected: the time until it
	Run        uint64        // Failed: to be given to AnswerRetry
	Settings   Settings      // Succeeded
	Lost       int           // Succeeded: subscriptions of the lost session that are not restored
	Connack    *wire.Connack // Succeeded, Failed if there is one
	Disconnect *wire.Disconnect
	Restored   []string        // Resubscribed: topic filters
	Refused    []RefusedFilter // Resubscribed
	Repeated   int             // Disconnected: connections in a row that resumed the session and ended with this violation
}

// RefusedFilter is a topic filter that could not be restored.
type RefusedFilter struct {
	Filter string
	Code   wire.ReasonCode
	Text   *string // the server's explanation; nil: none
	Err    error   // why it was not even sent; nil: the server refused it
}

// Message is a received PUBLISH. Its slices point into the bytes given to
// Receive.
type Message struct {
	wire.PublishView
	// Start and End are where the packet's variable header begins, and where
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
	// Deliver passes a message; m is valid during the call only.
	Deliver(m *Message)
	// Notify passes a lifecycle event.
	Notify(ev *Event)
	// Challenge passes an AUTH to answer with [Engine.Authenticate], or
	// with done the end of an exchange, to answer with [Engine.AcceptServer] or
	// [Engine.RejectServer].
	Challenge(auth *wire.Auth, done bool)
}

// never is the deadline of what has none.
const never = time.Duration(math.MaxInt64)

// Engine is the protocol state of one client. See the package comment. Its
// state is grouped by how long it lasts.
type Engine struct {
	cfg  *Config
	sink Sink
	lifecycle
	session
	operations
	keeping *keeping // nil: there is no store
	connection
	stats   Counters
	scratch *Message // of Receive; made for the first PUBLISH
}

// lifecycle is the part of the state that lasts as long as the engine.
type lifecycle struct {
	state      State
	desired    bool      // running is wanted
	stopping   bool      // a stop is under way: Stopped follows
	closed     bool      // Close was called
	draining   bool      // Connected: wait for what is queued, then disconnect
	eventOpen  EventKind // of an event whose counterpart has to follow
	closeDue   bool      // Todo.Close
	dialDue    bool      // Todo.Dial
	asked      bool      // Waiting: for AnswerRetry
	waited     bool      // Waiting: the delay is over
	attempt    int32
	stops      uint64           // number of the stop under way, or of the last one
	run        uint64           // counts the questions of AskRetry, and the stops
	stopPacket *wire.Disconnect // the user's DISCONNECT
	deadline   time.Duration    // of the current state
	delay      time.Duration    // drawn for the next attempt
	backoff    backoff
}

// session is the part of the state that the server may keep over connections.
type session struct {
	succeeded  bool // a connection succeeded since Start
	assignedID string
	ids        identifiers
	received   identifierSet // QoS 2 messages that got their PUBREC and no PUBREL yet
	unfinished []unfinished  // QoS 2 messages of lost connections that got no PUBREC
	filters    filters
	violations repeated
}

// operations are all incomplete operations, each in one of the lists.
type operations struct {
	publishes   list       // queued publishes
	droppable   *Operation // in publishes: the first that may have QoS 0; nil: none
	queuedQoS0  int        // queued publishes of QoS 0
	bytesQoS0   int64      // of those
	requests    list       // queued subscribes and unsubscribes
	restores    list       // queued subscribes of the engine's own, see filters
	resend      list       // publishes to send again, with their identifiers
	sent        awaiting   // wait for the first acknowledgement, in order of sending
	released    awaiting   // wait for PUBCOMP, in order of PUBREC
	written     list       // QoS 0 publishes in the write in flight
	answered    []answered // completions that wait for the end of the write in flight
	order       uint64
	limited     int   // operations that the limits count
	limitedSize int64 // bytes of those
	free        *Operation
	freeCount   int
}

// connection is the part of the state that belongs to one connection. A new one
// replaces it as a whole.
type connection struct {
	offer        offer // what CONNECT said
	settings     Settings
	quota        int32  // QoS>0 publishes that may still be sent
	expired      int32  // of those in flight, how many passed their ack timeout
	control      []byte // packets to send before any operation
	greeted      bool   // CONNECT was written
	finished     bool   // DISCONNECT was written
	inFlight     bool   // a write is in flight
	paused       bool   // the owner does not read
	challenged   bool   // an AUTH waits for Authenticate
	serverClosed bool   // the server ended the connection, for a reason that may be a publish
	authState    authState
	writes       uint64 // writes that were taken, never reset: numbers of old operations stay behind
	ackWrite     uint64 // writes when an acknowledgement came last
	flow         flow
	patience     patience
	connectedAt  time.Duration
	throttled    time.Duration // publishes wait until then; never: not throttled
	throttledAt  time.Duration
	rates        *rateLimits      // nil: none
	outAliases   *outboundAliases // nil: disabled
	inAliases    []string
	acks         ackQueue
	answering    identifierSet // received QoS>0 on this connection, not yet answered for good
	authDeadline time.Duration // of a re-authentication
	confirming   *wire.Connack // while Confirming
	packetEnd    int           // where the packet in hand ends in the bytes of Receive
}

// New returns a stopped engine.
func New(cfg *Config, sink Sink) *Engine {
	e := &Engine{cfg: cfg, sink: sink}
	if cfg.Keep != nil {
		e.keeping = new(keeping)
	}
	e.deadline = never
	e.flow.reset(0)
	e.throttled = never
	e.backoff = backoff{cfg: cfg}
	e.ids.base = int(cfg.IdentifierBase)
	return e
}

// State returns the current state.
func (e *Engine) State() State { return e.state }

// Settings returns what was negotiated for the current connection, or for the
// last one.
func (e *Engine) Settings() Settings { return e.settings }

// Todo returns what the owner has to do now, and forgets Close and Dial.
func (e *Engine) Todo(now time.Duration) Todo {
	var load uint64
	if e.keeps() {
		load = e.takeLoad()
		e.prepare(now)
	}
	todo := Todo{Close: e.closeDue, Finished: e.finished, Dial: e.dialDue, Write: e.canWrite(now), Load: load}
	e.closeDue, e.dialDue = false, false
	todo.Deadline = e.nextDeadline()
	return todo
}

// nextDeadline follows canWrite, which finds out until when publishes are
// throttled.
func (e *Engine) nextDeadline() time.Duration {
	d := e.deadline
	if e.state != Connected {
		return d
	}
	if !e.inFlight {
		d = min(d, e.throttled)
	}
	d = min(d, e.flowDeadline(), e.ackDeadline(&e.sent), e.ackDeadline(&e.released), e.filters.deadline())
	if e.authState == authRenewing {
		d = min(d, e.authDeadline)
	}
	return d
}

// Tick applies the deadlines that have passed. departed is how many bytes of all
// writes on this connection have left the machine, as far as that is known.
// Calling Tick early or often is harmless.
func (e *Engine) Tick(now time.Duration, departed int64) {
	e.flow.observe(now, departed)
	if now >= e.deadline {
		e.stateDeadline(now)
	}
	if e.state != Connected {
		return
	}
	e.expireAcks(now, &e.sent)
	e.expireAcks(now, &e.released)
	if e.state == Connected {
		e.keepAlive(now)
	}
	if e.state == Connected && e.authState == authRenewing && now >= e.authDeadline {
		e.disconnect(now, wire.UnspecifiedError, ErrAuthentication)
	}
	if e.state == Connected && now >= e.filters.deadline() {
		e.restore()
	}
	e.checkStall(now)
	e.checkDrained(now)
}

// stateDeadline handles the deadline of a state that is not one of rest.
func (e *Engine) stateDeadline(now time.Duration) {
	e.deadline = never
	switch e.state {
	case Connecting:
		e.conclude(now, &Event{Err: ErrConnectTimeout})
		e.beginClosing(now)
	case Handshake:
		e.handshakeDeadline(now)
	case Connected: // of draining
		e.beginDisconnect(now, e.stopPacket)
	case Disconnecting:
		e.beginClosing(now)
	case Closing:
		e.transportGone(now)
	case Waiting:
		if e.asked {
			e.waited = true
			break
		}
		e.beginConnecting(now)
	}
}

// handshakeDeadline ends a handshake whose CONNECT does not move, or is not
// answered.
func (e *Engine) handshakeDeadline(now time.Duration) {
	if moving := after(e.flow.movedAt, e.cfg.ConnackTimeout); !e.greeted && moving > now {
		e.deadline = moving
		return
	}
	if e.Confirming() {
		e.disconnect(now, wire.UnspecifiedError, ErrAuthentication)
		return
	}
	e.conclude(now, &Event{Err: ErrConnackTimeout})
	e.beginClosing(now)
}

// after adds a duration to a time, at most to never.
func after(t, d time.Duration) time.Duration {
	if d >= never-t {
		return never
	}
	return t + d
}
