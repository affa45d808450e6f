// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"bytes"
	"context"
	"net"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// DialFunc opens the transport of a connection: TCP, or whatever layers there
// are on top of it. It is called for every attempt, on a goroutine of its own,
// and has to obey ctx.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// SessionBehavior says when a connection asks for the session of the one before.
type SessionBehavior uint8

// The session behaviours. Rejoining needs
// [ConnectPacket.SessionExpiryIntervalSeconds] above 0.
const (
	// SessionClean starts a new session for each connection. It is the default.
	SessionClean SessionBehavior = iota
	// SessionRejoinPostSuccess starts a new session for the first connection
	// after Start, and rejoins it for those that follow.
	SessionRejoinPostSuccess
	// SessionRejoinAlways rejoins a session that an earlier process left, too.
	SessionRejoinAlways
)

// OfflineQueuePolicy says which operations survive while there is no
// connection. QoS 0 publishes never do.
type OfflineQueuePolicy uint8

// The offline queue policies.
const (
	// FailQoS0PublishOnDisconnect keeps QoS 1 and 2 publishes, subscribes and
	// unsubscribes. It is the default.
	FailQoS0PublishOnDisconnect OfflineQueuePolicy = iota
	// FailNonQoS1PublishOnDisconnect keeps QoS 1 and 2 publishes only.
	FailNonQoS1PublishOnDisconnect
	// FailAllOnDisconnect keeps only QoS 1 and 2 publishes that were sent, as
	// the session demands, and fails those, too, when the session is gone.
	FailAllOnDisconnect
)

// QueueFullPolicy says what happens to an operation that finds the queue full.
type QueueFullPolicy uint8

// The policies for a full queue.
const (
	// BlockWhenFull makes Publish, Subscribe and Unsubscribe wait for room, as
	// long as their context allows. PublishAsync, which never waits, fails
	// with [ErrQueueFull]. It is the default.
	BlockWhenFull QueueFullPolicy = iota
	// RejectWhenFull fails the new operation with [ErrQueueFull].
	RejectWhenFull
	// DropOldestQoS0WhenFull fails queued QoS 0 publishes with [ErrDropped],
	// the oldest first, and the new operation with [ErrQueueFull] if that does
	// not make room.
	DropOldestQoS0WhenFull
)

// JitterMode says how the delay before a reconnect is spread, so that a fleet
// does not come back all at once.
type JitterMode uint8

// The jitter modes, for the n-th attempt in a row, from 0. All are at least
// MinReconnectDelay and at most MaxReconnectDelay.
const (
	// JitterFull draws from [min, min*2^(n+1)]. It is the default.
	JitterFull JitterMode = iota
	// JitterDecorrelated draws from [min, 3*previous delay].
	JitterDecorrelated
	// JitterNone waits min*2^n.
	JitterNone
)

// TopicAliasMode says how topic aliases are chosen for outbound messages.
type TopicAliasMode uint8

// The outbound topic alias modes.
const (
	// TopicAliasDisabled sends full topics. It is the default.
	TopicAliasDisabled TopicAliasMode = iota
	// TopicAliasManual uses [PublishPacket.TopicAlias]; one above the server's
	// maximum is left out and the full topic sent.
	TopicAliasManual
	// TopicAliasLRU gives the most recently used topics an alias by itself.
	TopicAliasLRU
)

// TopicAliasOptions control topic aliases, which replace repeated topics by a
// number (section 3.3.2.3.4). The zero value turns them off.
type TopicAliasOptions struct {
	Outbound TopicAliasMode
	// OutboundCacheSize is how many aliases TopicAliasLRU uses at most; the
	// server's maximum holds, too. 0: 25.
	OutboundCacheSize uint16
	// Inbound lets the server use aliases.
	Inbound bool
	// InboundCacheSize is how many, if Inbound is set. 0: 25.
	InboundCacheSize uint16
}

// ClientOptions configure a [Client]. They are copied by [NewClient]; nothing
// can be changed afterwards. The zero value of each field means its default.
// Durations are [time.Duration], except in fields of packets, whose names end
// in Seconds.
type ClientOptions struct {
	// Address of the server, "host:port". Required.
	Address string
	// Dial opens the transport. Nil: plain TCP.
	Dial DialFunc
	// Connect is sent at each connection.
	Connect ConnectPacket
	// PrepareConnect, if set, may change the CONNECT of one attempt, for
	// instance to fetch a fresh password. It runs on the goroutine of the
	// attempt, within ConnectTimeout; an error fails the attempt.
	PrepareConnect func(ctx context.Context, connect *ConnectPacket) error
	// Authenticator adds enhanced authentication. Nil: none.
	Authenticator Authenticator

	// Durable keeps publishes of QoS 1 and 2 and the QoS 2 state of both directions in
	// a store, so that they survive the end of the process. It needs
	// Connect.ClientID; QoS 2 needs [SessionRejoinAlways], too.
	Durable StoreOptions

	SessionBehavior    SessionBehavior
	OfflineQueuePolicy OfflineQueuePolicy
	TopicAliasing      TopicAliasOptions
	// Limits are checked before anything is sent, and bound the rate of
	// publishes. Nil: none but the standard's and the server's.
	Limits *Limits

	// MaxQueuedOperations bounds the operations that are submitted and not
	// completed. 0: 100,000. Negative: no bound.
	MaxQueuedOperations int
	// MaxQueuedBytes bounds the same operations by the size of their packets.
	// 0: 128 MiB. Negative: no bound.
	MaxQueuedBytes  int64
	QueueFullPolicy QueueFullPolicy

	RetryJitter JitterMode
	// MinReconnectDelay is the shortest delay before a reconnect. 0: 1 s.
	MinReconnectDelay time.Duration
	// MaxReconnectDelay is the longest. 0: 2 min.
	MaxReconnectDelay time.Duration
	// MinConnectedTimeToResetReconnectDelay is how long a connection has to
	// last for the delay to start over. 0: 30 s.
	MinConnectedTimeToResetReconnectDelay time.Duration
	// ShouldRetry, if set, is asked before each attempt after a failed one, which
	// waits for the answer. False stops the client with [ErrGaveUp]; after a Stop
	// it means nothing. It runs like a lifecycle handler, after the one for the
	// failure.
	ShouldRetry func(RetryInfo) bool

	// ConnectTimeout bounds each attempt up to the CONNECT: DNS, TCP, proxy,
	// TLS, WebSocket and PrepareConnect. 0: 30 s.
	ConnectTimeout time.Duration
	// ConnackTimeout bounds the time from CONNECT to CONNACK, including the call of
	// Authenticator.Finish if there is an Authenticator. 0: 20 s.
	ConnackTimeout time.Duration
	// PingTimeout bounds the wait for an answer to PINGREQ; half the keep
	// alive interval bounds it, too. 0: 30 s. A dead link is found within
	// keep alive + ping timeout.
	PingTimeout time.Duration
	// AckTimeout bounds the wait for an acknowledgement, from the time the
	// packet was written. 0: 60 s. Negative: no bound.
	AckTimeout time.Duration
	// PoisonPublishLimit is the number of consecutive connection losses that a
	// publish in flight survives; then it fails with [ErrPoisonPublish] instead
	// of bringing down each new connection. 0: 3. Negative: no limit.
	PoisonPublishLimit int

	// OnMessage gets the messages that no handler of [Client.Handle] gets.
	OnMessage MessageHandler
	// BorrowPayloads delivers messages without copying: the payload and the
	// properties of a message are valid only until the handler returns, unless
	// it is cloned.
	BorrowPayloads bool
	// MaxPendingMessages is how many received messages wait for the handlers
	// before reading stops. 0: 1024. Reading also stops when the packets that wait
	// have 256 KiB together.
	//
	// While a handler waits for an operation, reading goes on beyond that. A
	// goroutine that a handler waits for has to use the handler's context for it.
	MaxPendingMessages int
	// RejectUnhandled acknowledges messages that no handler takes with this
	// reason code, such as [PubackImplementationSpecificError], so that their
	// sender learns of it. 0: they are acknowledged as received.
	RejectUnhandled PubackReasonCode
	// Resubscribe subscribes again to the filters of this client when a
	// connection finds that the server has no session: before anything that is
	// queued, and again, with a growing delay, until the server has answered.
	Resubscribe bool

	// The lifecycle handlers run one at a time, in the order of what happened.
	// They may block, and may call the client and wait for its operations.
	// Neither message handlers nor completions of operations delay them, nor do
	// they delay those, but for one thing: the messages of a connection are
	// handled after OnConnectionSuccess has returned.
	OnAttemptingConnect func(*AttemptingConnect)
	OnConnectionSuccess func(*ConnectionSuccess)
	OnConnectionFailure func(*ConnectionFailure)
	OnDisconnection     func(*Disconnection)
	OnStopped           func(*Stopped)
	// OnResubscribe is called with the outcome for the filters after a
	// Resubscribe.
	OnResubscribe func(*Resubscription)
	// OnUndelivered is called when a publish that was stored, and that no call
	// waits for, is not delivered. Nil: it is only logged.
	OnUndelivered func(*Undelivered)
	// OnStoreFailed is called when the store has failed. Nil: it is only logged.
	OnStoreFailed func(*StoreFailed)
	// OnPanic is called with panics in handlers, which are recovered, on the
	// goroutine of the handler: several calls at a time are possible. Nil: they
	// are only logged.
	OnPanic func(*PanicError)

	// Hint, if set, may add advice to the errors that come from refusals of
	// the server.
	Hint func(Refusal) string
	// The observers, for metrics and tracing. Nil: none.
	OperationObserver OperationObserver
	MessageObserver   MessageObserver
	StateObserver     StateObserver
	// PublishDurations counts each publish that succeeds by its duration, as in
	// [OperationObservation], at almost no cost. OperationObserver is then called
	// for the other operations only. Nil: OperationObserver is called for all.
	PublishDurations *DurationHistogram

	// EventLoops are the loops that many clients share. Nil: the client has a
	// loop of its own. A fleet should share a dialer for Dial, too.
	EventLoops *eventloop.Group
	// Logger receives diagnostic messages, never payloads or secrets. An attempt
	// that failed, a connection that was lost and an option without effect are
	// warnings; what the program asked for is information. Nil: none.
	Logger *zap.Logger
}

// RetryInfo is what [ClientOptions.ShouldRetry] is asked about.
type RetryInfo struct {
	// Attempt is the number of attempts since the last connection or start.
	Attempt int
	// Err is the failure of the last one.
	Err error
	// Delay is the time until the next one.
	Delay time.Duration
}

// Refusal is what [ClientOptions.Hint] is asked about.
type Refusal struct {
	// Operation is "connect", "publish", "subscribe", "unsubscribe",
	// "disconnect" for a DISCONNECT from the server, or "hangup" if it closed
	// the connection without one.
	Operation string
	// Subject is the client identifier, topic or topic filter.
	Subject string
	// ReasonCode is the server's reason code.
	ReasonCode uint8
	// Retain reports that a refused publish was a retained one.
	Retain bool
}

func orDefault[T int | int64 | uint16 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// unbounded maps negative values to 0, which stands for "no limit" in the engine.
func unbounded[T int | int64 | time.Duration](v, def T) T { return max(orDefault(v, def), 0) }

// Validate returns the problems of the options, as a [*ValidationError]
// that has them all, or nil. [NewClient] calls it.
func (o *ClientOptions) Validate() error {
	v := problems{subject: "ClientOptions"}
	if o.Address == "" {
		v.add("Address", "is required", "")
	} else if _, _, err := net.SplitHostPort(o.Address); err != nil {
		v.add("Address", `has to be "host:port"`, "")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"MinReconnectDelay", o.MinReconnectDelay},
		{"MaxReconnectDelay", o.MaxReconnectDelay},
		{"MinConnectedTimeToResetReconnectDelay", o.MinConnectedTimeToResetReconnectDelay},
		{"ConnectTimeout", o.ConnectTimeout},
		{"ConnackTimeout", o.ConnackTimeout},
		{"PingTimeout", o.PingTimeout},
	} {
		if d.value < 0 {
			v.add(d.name, "is negative", "")
		}
	}
	if low, high := orDefault(o.MinReconnectDelay, defaultMinDelay), orDefault(o.MaxReconnectDelay, defaultMaxDelay); low > high {
		v.add("MaxReconnectDelay", "is below MinReconnectDelay", "")
	}
	if o.Durable.Store != nil && o.Connect.ClientID == "" {
		v.add("Connect.ClientID", "is required with a store: the session belongs to it", "")
	}
	if o.Durable.OnFailure > MemoryWhenNotStored {
		v.add("Durable.OnFailure", "is unknown", "")
	}
	if o.MaxPendingMessages < 0 {
		v.add("MaxPendingMessages", "is negative", "")
	}
	if code := o.RejectUnhandled; code != 0 && (!code.Failed() || !wire.ReasonCodeValid(wire.TypePuback, wire.ReasonCode(code), false)) {
		v.add("RejectUnhandled", "is not a failure that a client may report", "MQTT-3.4.2-1")
	}
	if o.SessionBehavior > SessionRejoinAlways {
		v.add("SessionBehavior", "is not a known value", "")
	}
	if o.OfflineQueuePolicy > FailAllOnDisconnect {
		v.add("OfflineQueuePolicy", "is not a known value", "")
	}
	if o.QueueFullPolicy > DropOldestQoS0WhenFull {
		v.add("QueueFullPolicy", "is not a known value", "")
	}
	if o.RetryJitter > JitterNone {
		v.add("RetryJitter", "is not a known value", "")
	}
	if o.TopicAliasing.Outbound > TopicAliasLRU {
		v.add("TopicAliasing.Outbound", "is not a known value", "")
	}
	o.Limits.checkConnect(&v, &o.Connect)
	v.connect(&o.Connect)
	return v.err()
}

const (
	defaultMinDelay = time.Second
	defaultMaxDelay = 2 * time.Minute
)

// clone returns a copy that shares only functions, loops, logger, observers and
// histogram with the caller's.
func (o *ClientOptions) clone() *ClientOptions {
	c := *o
	c.Connect = o.Connect.clone()
	if o.Limits != nil {
		c.Limits = Ptr(*o.Limits)
	}
	return &c
}

func (p *ConnectPacket) clone() ConnectPacket {
	c := *p
	c.KeepAliveSeconds = clonePointer(p.KeepAliveSeconds)
	c.Username = clonePointer(p.Username)
	c.Password = bytes.Clone(p.Password)
	c.WillDelayIntervalSeconds = clonePointer(p.WillDelayIntervalSeconds)
	c.SessionExpiryIntervalSeconds = clonePointer(p.SessionExpiryIntervalSeconds)
	c.RequestResponseInformation = clonePointer(p.RequestResponseInformation)
	c.RequestProblemInformation = clonePointer(p.RequestProblemInformation)
	c.ReceiveMaximum = clonePointer(p.ReceiveMaximum)
	c.MaximumPacketSizeBytes = clonePointer(p.MaximumPacketSizeBytes)
	c.UserProperties = slices.Clone(p.UserProperties)
	if p.Will != nil {
		c.Will = Ptr(p.Will.clone())
	}
	return c
}

func (p *PublishPacket) clone() PublishPacket {
	c := *p
	c.Payload = bytes.Clone(p.Payload)
	c.TopicAlias = clonePointer(p.TopicAlias)
	c.PayloadFormat = clonePointer(p.PayloadFormat)
	c.MessageExpirySeconds = clonePointer(p.MessageExpirySeconds)
	c.ResponseTopic = clonePointer(p.ResponseTopic)
	c.CorrelationData = bytes.Clone(p.CorrelationData)
	c.ContentType = clonePointer(p.ContentType)
	c.SubscriptionIdentifiers = slices.Clone(p.SubscriptionIdentifiers)
	c.UserProperties = slices.Clone(p.UserProperties)
	return c
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return Ptr(*p)
}
