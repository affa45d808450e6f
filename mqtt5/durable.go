// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/commit"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// StoreOptions make the publishes of a client durable.
type StoreOptions struct {
	// Store keeps the session. It is for this client alone. The caller closes it,
	// after the client was closed. Nil: nothing is kept.
	Store Store
	// ReturnWhenStored completes publishes of QoS 1 and 2 when they are stored
	// and not when they are acknowledged: store and forward. What becomes of one
	// after that is only reported if it fails, by OnUndelivered.
	ReturnWhenStored bool
	// OnFailure says what happens to a publish that cannot be stored.
	OnFailure StoreFailurePolicy
	// DiscardMismatch empties a store that belongs to another client identifier or
	// address, instead of failing with [ErrStoreMismatch].
	DiscardMismatch bool
}

// StoreFailurePolicy says what happens to a publish that cannot be stored.
type StoreFailurePolicy uint8

// The policies for failures of the store.
const (
	// RefuseWhenNotStored fails the publish with the error of the store. It is
	// the default.
	RefuseWhenNotStored StoreFailurePolicy = iota
	// MemoryWhenNotStored sends the publish all the same. Its result has
	// [DurabilityNone].
	MemoryWhenNotStored
)

// Undelivered is a publish that was stored, that no call waits for, and that was
// not delivered: it expired, the server refused it, or its outcome is unknown.
// It has left the store.
type Undelivered struct {
	// Topic and Payload are those of the message. They are empty for a QoS 2
	// message that the server had received already.
	Topic   string
	Payload []byte
	QoS     QoS
	// Err is as for [Client.Publish]: [ErrMessageExpired], an [*AckError],
	// [ErrSessionLost], [*RecordError], ...
	Err error
}

// StoreFailed is a failure of the store.
type StoreFailed struct {
	Err error
	// Policy is what the client does now with publishes that cannot be stored.
	Policy StoreFailurePolicy
}

// durable joins the engine of a client, its committer and its store.
type durable struct {
	c         *Client
	store     Store
	opts      StoreOptions
	committer *commit.Committer[*pendingChange]
	load      sync.WaitGroup
	alive     bool // the server may still have the session

	// Guarded by mu: changes that the committer gets when mu is released, so that
	// those of one step are stored at once.
	pending []*pendingChange
	urgent  bool // one of them is not lazy

	// Of the goroutine of the committer.
	durability Durability
	changes    uint64 // number of the last change of the engine in a batch
	reported   bool   // the present failure was reported
	broken     error  // the store is of no use any more
}

// pendingChange is a change on its way to the store.
type pendingChange struct {
	StoreChange
	engine bool // it has a number of the engine
	seen   bool // a batch had it before
}

// keptWindow is about how many publishes are read from the store at once.
const keptWindow = 1024

const (
	commitChanges = 4096
	commitBytes   = 1 << 20
	commitLinger  = 20 * time.Millisecond
	commitRetry   = time.Second
)

// newDurable returns nil if there is no store.
func newDurable(c *Client) *durable {
	if c.opts.Durable.Store == nil {
		return nil
	}
	d := &durable{c: c, store: c.opts.Durable.Store, opts: c.opts.Durable}
	d.committer = commit.New(commit.Config[*pendingChange]{
		Write: d.write, Done: d.done, Again: d.again,
		Size:       func(p *pendingChange) int { return len(p.Record.Body) + 32 },
		MaxChanges: commitChanges, MaxBytes: commitBytes, Linger: commitLinger, Retry: commitRetry,
	})
	c.config.Keep = d.keep
	c.config.Undelivered = d.undelivered
	if c.opts.Resubscribe {
		c.config.KeepFilters = d.keepFilters
	}
	c.config.MemoryOnly = d.opts.OnFailure == MemoryWhenNotStored
	return d
}

// open reads the session that the store has into the engine.
func (d *durable) open() error {
	if d == nil {
		return nil
	}
	if err := d.claim(); err != nil {
		return err
	}
	return d.restore()
}

// restore gives the session that the store has to the engine.
func (d *durable) restore() error {
	count := d.store.Count(RecordPublish)
	list, end, err := d.read(0)
	if err != nil {
		return err
	}
	var received []uint16
	if err := d.store.Iterate(RecordReceived, 0, func(r StoreRecord) bool {
		received = append(received, uint16(r.ID))
		return true
	}); err != nil {
		return err
	}
	filters, err := d.filters()
	if err != nil {
		return err
	}
	c := d.c
	now := c.lock()
	defer c.unlock(now)
	c.engine.RestoreFilters(filters)
	c.engine.Restore(now, list, end, count.Records, count.Bytes, received, d.alive)
	c.engine.ResumeIDs(count.LastID)
	return nil
}

// claim checks whose session the store has, and makes it that of this client.
func (d *durable) claim() error {
	own := storedSession{d.c.opts.Address, d.c.opts.Connect.ClientID}
	var have *storedSession
	var damaged error
	var state connectedState
	err := d.store.Iterate(RecordSession, 0, func(r StoreRecord) bool {
		s, e := decodeSession(r.Body)
		have, damaged = &s, e
		state, _ = decodeConnected(r.State)
		return false
	})
	switch {
	case err != nil:
		return err
	case damaged != nil:
		return &RecordError{Kind: RecordSession, Err: damaged}
	case have == nil:
	case *have == own:
		d.alive = !state.expired(time.Now())
		return nil
	case !d.opts.DiscardMismatch:
		return fmt.Errorf("%w: that of client %q at %s, and this is client %q at %s", ErrStoreMismatch,
			have.clientID, have.address, own.clientID, own.address)
	default:
		if err := d.discard(); err != nil {
			return err
		}
	}
	_, err = d.store.Commit([]StoreChange{{Action: StoreAppend, Record: StoreRecord{Kind: RecordSession, Body: own.encode()}}})
	return err
}

// discard removes everything from the store.
func (d *durable) discard() error {
	for kind := RecordFilter; kind <= RecordPublish; kind++ {
		var changes []StoreChange
		for {
			changes = changes[:0]
			err := d.store.Iterate(kind, 0, func(r StoreRecord) bool {
				changes = append(changes, StoreChange{Action: StoreRemove, Record: StoreRecord{Kind: kind, ID: r.ID}})
				return len(changes) < commitChanges
			})
			var record *RecordError
			if errors.As(err, &record) {
				changes = append(changes, StoreChange{Action: StoreRemove, Record: StoreRecord{Kind: kind, ID: record.ID}})
			} else if err != nil {
				return err
			}
			if len(changes) == 0 {
				break
			}
			if _, err := d.store.Commit(changes); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads publishes from an ID on: all that are in flight, and some of the
// queue. It returns whether there are no more.
func (d *durable) read(from uint64) (list []engine.Restored, end bool, err error) {
	for {
		end = true
		queued, size := 0, 0
		now, wall := d.c.loop.Now(), time.Now()
		err = d.store.Iterate(RecordPublish, from, func(r StoreRecord) bool {
			e := restored(&r, now, wall)
			if e.State.Stage == engine.KeptQueued {
				if queued >= keptWindow || size > commitBytes*4 {
					end = false
					return false
				}
				queued++
				size += len(r.Body)
			}
			list = append(list, e)
			return true
		})
		var record *RecordError
		if !errors.As(err, &record) {
			return list, end, err
		}
		list = append(list, engine.Restored{ID: record.ID, Err: err})
		if from = record.ID + 1; from == 0 {
			return list, true, nil
		}
	}
}

// restored turns a record into what the engine takes.
func restored(r *StoreRecord, now time.Duration, wall time.Time) engine.Restored {
	e := engine.Restored{ID: r.ID, Size: uint32(len(r.Body))}
	var expires time.Time
	var err error
	if e.Publish, expires, err = decodePublish(r.Body); err == nil {
		e.State, err = decodeState(r.State)
	}
	if err != nil {
		e.Err = &RecordError{Kind: RecordPublish, ID: r.ID, Err: err}
		return e
	}
	if !expires.IsZero() {
		if e.Expires = now + expires.Sub(wall); e.Expires == 0 {
			e.Expires = -1 // 0 stands for never
		}
	}
	return e
}

// kept returns what makes a publish durable; nil for one that is not.
func (d *durable) kept(p *wire.Publish) *engine.Kept {
	if d == nil || p.QoS == 0 {
		return nil
	}
	k := &engine.Kept{Forward: d.opts.ReturnWhenStored}
	var expires time.Time
	if p.Properties != nil && p.Properties.MessageExpiryInterval != nil {
		left := time.Duration(*p.Properties.MessageExpiryInterval) * time.Second
		expires, k.Expires = time.Now().Add(left), d.c.loop.Now()+left
	}
	k.Record = encodePublish(p, expires)
	return k
}

// keep takes a change of the engine. It runs while mu is held.
func (d *durable) keep(ch *engine.Change) {
	p := &pendingChange{engine: true}
	p.Record.Kind, p.Record.ID = RecordPublish, ch.ID
	if ch.Received {
		p.Record.Kind = RecordReceived
	}
	switch ch.Action {
	case engine.ChangeAppend:
		p.Action, p.Record.Body = StoreAppend, ch.Record
	case engine.ChangeUpdate:
		p.Action, p.Record.State = StoreUpdate, encodeState(ch.State)
	case engine.ChangeRemove:
		p.Action = StoreRemove
	}
	d.pending = append(d.pending, p)
	d.urgent = d.urgent || !ch.Lazy
}

// flush gives the committer what has changed. The caller holds mu.
func (d *durable) flush() {
	switch {
	case d == nil || len(d.pending) == 0:
		return
	case d.urgent:
		d.committer.Add(d.pending...)
	default:
		d.committer.AddLazy(d.pending...)
	}
	clear(d.pending)
	d.pending, d.urgent = d.pending[:0], false
}

// filters reads the subscriptions that the store has.
func (d *durable) filters() (list []engine.Filter, err error) {
	if !d.c.opts.Resubscribe {
		return nil, nil
	}
	var damaged error
	err = d.store.Iterate(RecordFilter, 0, func(r StoreRecord) bool {
		var more []engine.Filter
		if more, damaged = decodeFilters(r.Body); damaged != nil {
			damaged = &RecordError{Kind: RecordFilter, ID: r.ID, Err: damaged}
			return false
		}
		list = append(list, more...)
		return true
	})
	return list, errors.Join(err, damaged)
}

// keepFilters takes all subscriptions of the engine. It runs while mu is held.
func (d *durable) keepFilters(list []engine.Filter) {
	d.pending = append(d.pending, &pendingChange{StoreChange: StoreChange{Action: StoreAppend,
		Record: StoreRecord{Kind: RecordFilter, Body: encodeFilters(list)}}})
}

// connected notes the time of a connection, and how long its session lasts.
func (d *durable) connected(expiry uint32) {
	if d == nil {
		return
	}
	p := &pendingChange{StoreChange: StoreChange{Action: StoreUpdate,
		Record: StoreRecord{Kind: RecordSession, State: connectedState{time.Now(), expiry}.encode()}}}
	d.pending = append(d.pending, p)
}

// write commits a batch. It runs on the goroutine of the committer, as done and
// again.
func (d *durable) write(batch []*pendingChange) error {
	changes := make([]StoreChange, len(batch))
	for i, p := range batch {
		changes[i] = p.StoreChange
		if p.engine && !p.seen {
			d.changes++
		}
		p.seen = true
	}
	if d.broken != nil {
		return d.broken
	}
	return d.commit(changes)
}

// commit commits changes. A panic of the store is a failure of the store.
func (d *durable) commit(changes []StoreChange) (err error) {
	defer d.recovered(&err)
	d.durability, err = d.store.Commit(changes)
	return err
}

// recovered makes a panic of the store the error of a call.
func (d *durable) recovered(err *error) {
	if v := recover(); v != nil {
		p := &PanicError{Callback: "Store", Value: v, Stack: debug.Stack()}
		d.c.panicked(p)
		*err = p
	}
}

// again keeps what is not a new publish for the next commit: the store must not
// fall behind what the server knows.
func (d *durable) again(p *pendingChange) bool {
	return d.broken == nil && !(p.Action == StoreAppend && p.Record.Kind == RecordPublish)
}

func (d *durable) done(_ uint64, err error) {
	c := d.c
	now := c.lock()
	if err != nil && d.broken == nil && !errors.Is(err, ErrStoreFull) {
		d.broken, d.reported = err, false
	}
	if err != nil && !d.reported {
		c.events.Add(event{value: &StoreFailed{Err: err, Policy: d.opts.OnFailure}})
	}
	d.reported = err != nil
	c.engine.Stored(now, d.changes, uint8(d.durability), err, d.broken == nil)
	c.unlock(now)
}

// undelivered queues the report of a publish that nobody waits for. It runs
// while mu is held.
func (d *durable) undelivered(op *engine.Operation, r engine.Result) {
	p := &op.Publish
	u := &Undelivered{Topic: p.Topic, Payload: p.Payload, QoS: QoS(p.QoS)}
	if r.Err != nil {
		u.Err = operationError("publish", op.Sent(), r.Err)
	} else {
		u.Err = &AckError{Operation: "publish", Failures: []string{PubackReasonCode(r.Reason).String()}, ReasonCode: uint8(r.Reason)}
		if r.Ack != nil {
			u.Err.(*AckError).ReasonString = deref(r.Ack.ReasonString)
		}
	}
	d.c.events.Add(event{value: u})
}

// startLoad reads more of the backlog, on a goroutine of its own. The caller
// holds mu.
func (d *durable) startLoad(from uint64) {
	d.load.Add(1)
	go func() {
		defer d.load.Done()
		var list []engine.Restored
		var end bool
		err := errStoreGoexit
		defer func() { d.loaded(list, end, err) }()
		defer d.recovered(&err)
		list, end, err = d.read(from)
	}()
}

var errStoreGoexit = errors.New("mqtt5: the store ended the goroutine that read it")

// loaded gives the engine what startLoad has read.
func (d *durable) loaded(list []engine.Restored, end bool, err error) {
	now := d.c.lock()
	defer func() { d.c.unlock(now) }()
	if err != nil {
		d.c.events.Add(event{value: &StoreFailed{Err: err, Policy: d.opts.OnFailure}})
		d.c.engine.LoadFailed()
		return
	}
	d.c.engine.Loaded(now, list, end)
}

// close commits the remaining changes, and waits for that.
func (d *durable) close() {
	if d != nil {
		d.committer.Close()
		d.load.Wait()
	}
}

// handleUndelivered runs the user's code for a publish that was not delivered.
func (c *Client) handleUndelivered(u *Undelivered) {
	c.log.Warn("a stored publish was not delivered", zap.String("topic", u.Topic), zap.Error(u.Err))
	defer c.recovered("OnUndelivered")
	if c.opts.OnUndelivered != nil {
		c.opts.OnUndelivered(u)
	}
}

func (c *Client) handleStoreFailed(f *StoreFailed) {
	c.log.Error("the store failed", zap.Error(f.Err))
	defer c.recovered("OnStoreFailed")
	if c.opts.OnStoreFailed != nil {
		c.opts.OnStoreFailed(f)
	}
}
