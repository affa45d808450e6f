// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// ChangeAction is what a [Change] does.
type ChangeAction uint8

// The actions of a change.
const (
	ChangeAppend ChangeAction = iota + 1
	ChangeUpdate
	ChangeRemove
)

// Change is something that a durable store has to note. Changes have numbers,
// from 1, in the order of the calls of [Config.Keep].
type Change struct {
	Action   ChangeAction
	Received bool   // it is about a received QoS 2 message, whose packet identifier is ID; else about a publish
	ID       uint64 // of the publish
	Record   []byte // ChangeAppend: of [Kept.Record]
	State    KeptState
	Lazy     bool // nothing waits for it
}

// KeptStage is how far a kept publish got.
type KeptStage uint8

// The stages of a kept publish.
const (
	KeptQueued   KeptStage = iota
	KeptSent               // it has its packet identifier
	KeptReleased           // QoS 2: PUBREC was received
)

// KeptState is the part of a kept publish that changes.
type KeptState struct {
	Stage    KeptStage
	PacketID uint16
	Order    uint64 // KeptReleased: ascends in the order of the PUBRECs
}

// Kept is what an operation has that a store keeps.
type Kept struct {
	ID      uint64        // ascends in the order of submission; Submit sets it
	Record  []byte        // the publish as the store has it; nil once it is handed over
	Expires time.Duration // when it is not worth sending any more; 0: never
	Forward bool          // it completes when it is stored; the engine goes on with it
	// Durability is what the owner told Stored, once that is known.
	Durability uint8

	waits   uint64 // number of the change that has to be stored before it goes on
	pending bool   // PUBREL waits for that change
	left    bool   // the operation ended, but the store has it still
}

// keeping is the part of the state that is about a durable store.
type keeping struct {
	changes    uint64 // number of the last change
	stored     uint64 // number of the last change that is stored
	nextID     uint64 // of the next publish
	lastStored uint64 // ID of the newest publish that is stored
	releases   uint64 // KeptState.Order given last
	appended   []keptRef
	releasing  []keptRef             // PUBREL waits, in order of PUBREC
	behind     map[*Operation]uint64 // of those, publishes in memory only, with their number
	completing []completing          // PUBCOMP waits
	received   map[uint16]struct{}   // received QoS 2 messages that the store has
	unbound    int                   // publishes in the queue that need their identifier stored
	backlog    uint64                // first publish that is in the store and in no list; 0: none
	parked     map[uint64]*Operation // of the backlog, those that somebody waits for
	withdrawn  map[uint64]struct{}   // of the backlog, removed while a load runs
	loading    bool                  // the owner loads from the backlog
	loadFailed bool                  // it could not, since the last connection began
	loadUpTo   uint64                // ID of the newest publish that the load finds for certain
}

// keptRef refers to a kept operation that may be done meanwhile, and its memory
// used for another one.
type keptRef struct {
	op     *Operation
	id     uint64
	number uint64 // of the change
}

func (r keptRef) valid() bool { return r.op.Kept != nil && r.op.Kept.ID == r.id }

// completing is a PUBCOMP that waits until the store has forgotten the
// identifier: the server may use it again as soon as it has the PUBCOMP.
type completing struct {
	id     uint16
	number uint64
}

// keptWindow is how many queued publishes are in memory when a store has more.
const keptWindow = 1024

// keeps reports whether there is a store.
func (e *Engine) keeps() bool { return e.keeping != nil }

// keep submits a change to the store and returns its number.
func (e *Engine) keep(ch Change) uint64 {
	e.keeping.changes++
	e.cfg.Keep(&ch)
	return e.keeping.changes
}

// keepPublish hands a submitted publish to the store, and queues it.
func (e *Engine) keepPublish(op *Operation) {
	k, kp := op.Kept, e.keeping
	if kp.nextID == 0 {
		kp.nextID = 1
	}
	k.ID = kp.nextID
	kp.nextID++
	k.waits = e.keep(Change{Action: ChangeAppend, ID: k.ID, Record: k.Record})
	k.Record = nil
	kp.appended = append(kp.appended, keptRef{op, k.ID, k.waits})
	if kp.backlog == 0 && e.publishes.n < keptWindow {
		e.enqueue(op)
		return
	}
	if kp.backlog == 0 {
		kp.backlog = k.ID
	}
	if kp.parked == nil {
		kp.parked = make(map[uint64]*Operation)
	}
	op.phase = phaseParked
	kp.parked[k.ID] = op
}

// unkeep removes a completed publish from the store. After Close it does nothing:
// another process continues the session.
func (e *Engine) unkeep(op *Operation, r Result) {
	if op.Kept == nil || e.closed {
		return
	}
	e.keep(Change{Action: ChangeRemove, ID: op.Kept.ID, Lazy: true})
	if op.orphaned && (r.Err != nil || r.Reason >= 0x80) && e.cfg.Undelivered != nil {
		e.cfg.Undelivered(op, r)
	}
}

// Stored reports that all changes up to a number are stored, as durably as
// durability says, or that those after the last report failed. A publish that
// could not be stored fails. The owner tries other changes again if retried is
// set, and what waits for them goes on waiting; else it goes on as if
// they were stored.
func (e *Engine) Stored(now time.Duration, through uint64, durability uint8, err error, retried bool) {
	kp := e.keeping
	if err == nil || !retried {
		kp.stored = max(kp.stored, through)
	}
	for len(kp.appended) > 0 && kp.appended[0].number <= through {
		ref := kp.appended[0]
		kp.appended = kp.appended[1:]
		kp.lastStored = ref.id
		if ref.valid() {
			e.appendDone(ref.op, durability, err)
		}
	}
	for len(kp.releasing) > 0 && kp.releasing[0].number <= kp.stored {
		ref := kp.releasing[0]
		kp.releasing = kp.releasing[1:]
		if kp.release(ref) && e.state == Connected {
			e.writeAck(wire.TypePubrel, &wire.Ack{PacketID: ref.op.Publish.PacketID})
			ref.op.sentAt, ref.op.end = now, 0
		}
	}
	for len(kp.completing) > 0 && kp.completing[0].number <= kp.stored {
		if e.state == Connected { // else the server asks again
			e.writeAck(wire.TypePubcomp, &wire.Ack{PacketID: kp.completing[0].id})
		}
		kp.completing = kp.completing[1:]
	}
	e.flushAcks(now)
	e.checkDrained(now)
}

// appendDone goes on with a publish that the store has, or could not take.
func (e *Engine) appendDone(op *Operation, durability uint8, err error) {
	if err != nil {
		if e.cfg.MemoryOnly {
			if op.phase == phaseParked { // it cannot be loaded
				delete(e.keeping.parked, op.Kept.ID)
				op.phase = phaseQueued
				e.enqueue(op)
			}
			if op.phase == phaseQueued && op.needsBinding() {
				e.keeping.unbound--
			}
			op.Kept = nil // it is like any other now
			return
		}
		if op.phase == phaseQueued || op.phase == phaseParked {
			e.dequeue(op)
			e.finish(op, Result{Err: err})
		}
		return
	}
	op.Kept.Durability = durability
	if !op.Kept.Forward || op.orphaned {
		return
	}
	if op.phase != phaseParked {
		e.orphan(op, nil)
		return
	}
	// The store has it, and memory need not.
	delete(e.keeping.parked, op.Kept.ID)
	e.account(op)
	e.complete(op, Result{Forwarded: true})
	e.recycle(op)
}

// prepare does what has to be done before publishes can be sent: it drops those
// that have expired, and binds the identifiers of QoS 2 publishes, which the
// store must have before the server sees them.
func (e *Engine) prepare(now time.Duration) {
	for op := e.publishes.head; op != nil && op.Kept != nil && op.Kept.Expires != 0 && op.Kept.Expires <= now; op = e.publishes.head {
		e.dequeue(op)
		e.finish(op, Result{Err: ErrMessageExpired})
	}
	if e.state != Connected || e.keeping.unbound == 0 {
		return
	}
	room := e.quota
	for op := e.publishes.head; op != nil && room > 0; op = op.next {
		if op.Publish.QoS == 0 {
			continue
		}
		room--
		if !op.needsBinding() {
			continue
		}
		id := e.ids.allocate(op)
		if id == 0 {
			return
		}
		op.Publish.PacketID = id
		e.keeping.unbound--
		op.Kept.waits = e.keep(Change{Action: ChangeUpdate, ID: op.Kept.ID, State: KeptState{Stage: KeptSent, PacketID: id}})
	}
}

// needsBinding reports whether the store must have the identifier of a publish
// before it is sent, and it has none.
func (op *Operation) needsBinding() bool {
	return op.Kept != nil && op.Publish.QoS == 2 && op.Publish.PacketID == 0
}

// ready reports whether the store does not hold a publish back.
func (e *Engine) ready(op *Operation) bool {
	return op.Kept == nil || op.Kept.waits <= e.keeping.stored && (op.Publish.QoS < 2 || op.Publish.PacketID != 0)
}

// keepSent notes the identifier that a QoS 1 publish was sent with. Nothing waits
// for it: without it the publish is sent again as a new one, which QoS 1 allows.
func (e *Engine) keepSent(op *Operation) {
	if op.Kept != nil && op.Publish.QoS == 1 {
		e.keep(Change{Action: ChangeUpdate, ID: op.Kept.ID, State: KeptState{Stage: KeptSent, PacketID: op.Publish.PacketID}, Lazy: true})
	}
}

// keepReleased notes a PUBREC, and reports whether PUBREL has to wait until that
// is stored: else a restart could send the PUBLISH again after the server has
// forgotten its identifier.
func (e *Engine) keepReleased(op *Operation) bool {
	kp := e.keeping
	switch {
	case kp == nil, op.Kept == nil && len(kp.releasing) == 0:
		return false
	case op.Kept == nil: // PUBRELs leave in the order of the PUBRECs [MQTT-4.6.0-4]
		if kp.behind == nil {
			kp.behind = make(map[*Operation]uint64)
		}
		kp.behind[op] = kp.releasing[len(kp.releasing)-1].number
		kp.releasing = append(kp.releasing, keptRef{op, uint64(op.Publish.PacketID), kp.behind[op]})
		return true
	}
	kp.releases++
	n := e.keep(Change{Action: ChangeUpdate, ID: op.Kept.ID,
		State: KeptState{Stage: KeptReleased, PacketID: op.Publish.PacketID, Order: kp.releases}})
	op.Kept.pending = true
	kp.releasing = append(kp.releasing, keptRef{op, op.Kept.ID, n})
	return true
}

// releasePending reports whether the PUBREL of a publish waits for the store.
func (e *Engine) releasePending(op *Operation) bool {
	if op.Kept != nil {
		return op.Kept.pending
	}
	if e.keeping == nil || len(e.keeping.behind) == 0 {
		return false
	}
	_, ok := e.keeping.behind[op]
	return ok
}

// release ends the wait of a PUBREL, and reports whether it is still due.
func (kp *keeping) release(ref keptRef) bool {
	op := ref.op
	if number, ok := kp.behind[op]; ok && number == ref.number && op.Kept == nil {
		delete(kp.behind, op)
		return op.phase == phaseReleased && uint64(op.Publish.PacketID) == ref.id
	}
	if !ref.valid() || !op.Kept.pending {
		return false
	}
	op.Kept.pending = false
	return true
}

// keepQueued notes that a publish starts over, without identifier.
func (e *Engine) keepQueued(op *Operation) {
	if op.Kept != nil {
		e.keep(Change{Action: ChangeUpdate, ID: op.Kept.ID, Lazy: true})
	}
}

// unbind takes the identifiers of a lost session from publishes that were not
// sent.
func (e *Engine) unbind() {
	if !e.keeps() {
		return
	}
	for op := e.publishes.head; op != nil; op = op.next {
		if op.Publish.PacketID != 0 {
			op.Publish.PacketID = 0
			e.keeping.unbound++
			e.keepQueued(op)
		}
	}
	for id := range e.keeping.received {
		e.keep(Change{Action: ChangeRemove, Received: true, ID: uint64(id), Lazy: true})
	}
	clear(e.keeping.received)
}

// keepReceived notes a received QoS 2 message, and returns the number of the
// change. PUBREC waits for it: a message that comes again after a restart has to
// be known.
func (e *Engine) keepReceived(id uint16) uint64 {
	if !e.keeps() {
		return 0
	}
	kp := e.keeping
	if kp.received == nil {
		kp.received = make(map[uint16]struct{})
	}
	kp.received[id] = struct{}{}
	return e.keep(Change{Action: ChangeAppend, Received: true, ID: uint64(id)})
}

// unkeepReceived notes a PUBREL, and reports whether PUBCOMP has to wait.
func (e *Engine) unkeepReceived(id uint16) bool {
	if !e.keeps() {
		return false
	}
	kp := e.keeping
	if _, ok := kp.received[id]; !ok {
		return false
	}
	delete(kp.received, id)
	n := e.keep(Change{Action: ChangeRemove, Received: true, ID: uint64(id)})
	kp.completing = append(kp.completing, completing{id, n})
	return true
}

// remainingExpiry returns the properties of a publish with the time that is left
// of its message expiry interval.
func (op *Operation) remainingExpiry(now time.Duration, p *wire.PublishProperties) *wire.PublishProperties {
	if op.Kept == nil || op.Kept.Expires == 0 || p == nil || p.MessageExpiryInterval == nil {
		return p
	}
	left := uint32(max((op.Kept.Expires-now+time.Second-1)/time.Second, 1))
	own := *p
	own.MessageExpiryInterval = &left
	return &own
}

// takeLoad returns the ID from which the owner has to load publishes; 0: none.
func (e *Engine) takeLoad() uint64 {
	kp := e.keeping
	if kp.backlog == 0 || kp.loading || kp.loadFailed || e.closed || e.publishes.n >= keptWindow/2 || kp.backlog > kp.lastStored {
		return 0
	}
	kp.loading, kp.loadUpTo = true, kp.lastStored
	return kp.backlog
}

// Restored is a publish that comes from the store.
type Restored struct {
	ID      uint64
	State   KeptState
	Publish wire.Publish
	Size    uint32        // of its record
	Expires time.Duration // 0: never
	Err     error         // it is damaged: only the ID is known
}

// Loaded queues publishes of the backlog: the first ones from the ID on that
// Todo.Load said, and with end all of them.
func (e *Engine) Loaded(now time.Duration, list []Restored, end bool) {
	kp := e.keeping
	kp.loading = false
	if e.closed {
		return
	}
	next := kp.backlog
	for i := range list {
		r := &list[i]
		next = r.ID + 1
		if _, ok := kp.withdrawn[r.ID]; ok {
			continue
		}
		op := kp.parked[r.ID]
		if op == nil {
			op = e.restoredOperation(now, r)
		}
		delete(kp.parked, r.ID)
		if r.Err != nil {
			e.finish(op, Result{Err: r.Err})
			continue
		}
		op.phase = phaseQueued
		e.enqueue(op)
	}
	if end {
		next = max(next, kp.loadUpTo+1)
	}
	kp.backlog = next
	if next >= kp.nextID {
		kp.backlog = 0
	}
	clear(kp.withdrawn)
}

// restoredOperation makes an operation of a publish that nobody waits for.
func (e *Engine) restoredOperation(now time.Duration, r *Restored) *Operation {
	op := e.NewOperation(KindPublish)
	op.Publish = r.Publish
	op.Submitted = now
	op.size = r.Size
	op.orphaned, op.limited = true, true
	op.Kept = &Kept{ID: r.ID, Expires: r.Expires}
	return op
}

// Restore continues with the session that a store has. It is called once, before
// Start. publishes are the first ones in order of ID, among them all that
// are in flight; records and bytes count all that the store has. alive tells
// that the server may have the session.
func (e *Engine) Restore(now time.Duration, publishes []Restored, end bool, records int, bytes int64, received []uint16, alive bool) {
	kp := e.keeping
	kp.nextID = 1
	e.limited, e.limitedSize = records, bytes
	var released []*Operation
	for i := range publishes {
		r := &publishes[i]
		kp.nextID = r.ID + 1
		op := e.restoredOperation(now, r)
		if r.Err != nil {
			e.finish(op, Result{Err: r.Err})
			continue
		}
		if r.State.Stage == KeptQueued || !e.ids.take(r.State.PacketID, op) {
			op.phase = phaseQueued
			e.enqueue(op)
			continue
		}
		op.Publish.PacketID = r.State.PacketID
		op.sent, op.handed = true, true
		op.closures = 0
		if r.State.Stage == KeptSent {
			op.phase = phaseResend
			e.resend.pushBack(op)
			continue
		}
		kp.releases = max(kp.releases, r.State.Order)
		op.phase = phaseReleased
		op.order = r.State.Order
		released = append(released, op)
	}
	slices.SortFunc(released, func(a, b *Operation) int { return int(a.order) - int(b.order) })
	for _, op := range released {
		e.released.pushBack(op)
	}
	for _, id := range received {
		e.received.add(id)
		if kp.received == nil {
			kp.received = make(map[uint16]struct{})
		}
		kp.received[id] = struct{}{}
	}
	kp.lastStored = kp.nextID - 1
	if !end {
		kp.backlog = kp.nextID
	}
	e.succeeded = alive
}

// LoadFailed reports that the backlog could not be read. It is tried again with
// the next connection.
func (e *Engine) LoadFailed() { e.keeping.loading, e.keeping.loadFailed = false, true }

// ResumeIDs says which ID the next publish gets at least: above all that the
// store has.
func (e *Engine) ResumeIDs(last uint64) {
	kp := e.keeping
	kp.nextID = max(kp.nextID, last+1)
	kp.lastStored = max(kp.lastStored, last)
}

// unpark takes a publish out of the backlog that is withdrawn.
func (e *Engine) unpark(op *Operation) {
	kp := e.keeping
	delete(kp.parked, op.Kept.ID)
	if kp.loading {
		if kp.withdrawn == nil {
			kp.withdrawn = make(map[uint64]struct{})
		}
		kp.withdrawn[op.Kept.ID] = struct{}{}
	}
}

// failParked ends the wait for the backlog at a stop. The store keeps it.
func (e *Engine) failParked(cause error) {
	if !e.keeps() {
		return
	}
	for id, op := range e.keeping.parked {
		delete(e.keeping.parked, id)
		op.Kept.left = true
		if e.closed {
			op.phase = phaseNew
			e.finish(op, Result{Err: cause})
			continue
		}
		e.account(op)
		e.complete(op, Result{Err: cause})
		e.recycle(op)
	}
}

// Filter is a subscription that the client wants to have.
type Filter struct {
	wire.Subscription
	ID         *uint32
	Properties []wire.UserProperty
}

// keepFilters stores the subscriptions that the client wants to have.
func (e *Engine) keepFilters() {
	if e.cfg.KeepFilters == nil {
		return
	}
	list := make([]Filter, len(e.filters.order))
	for i, s := range e.filters.order {
		list[i] = Filter{s.Subscription, s.id, s.properties}
	}
	e.cfg.KeepFilters(list)
}

// RestoreFilters continues with the subscriptions that a store has. It is called
// before Start.
func (e *Engine) RestoreFilters(list []Filter) {
	for _, f := range list {
		e.filters.granted(&wire.Subscribe{Subscriptions: []wire.Subscription{f.Subscription}, SubscriptionID: f.ID, UserProperties: f.Properties},
			[]wire.ReasonCode{0})
	}
}
