// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"maps"
	"slices"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

var errSimStore = errors.New("the store fails")

// simStore is the store of a scenario, and the owner's part of it: changes are
// stored some time after they are made, several at a time, or fail. A store that
// is full fails for a while, and all but new publishes is tried again; one that
// is broken fails for good.
type simStore struct {
	pending   []simChange // not stored, in order
	again     []Change    // failed, to be tried again
	through   uint64      // number of the last change that was reported
	made      uint64      // number of the last change
	broken    bool
	publishes map[uint64]KeptState // that are stored
	received  map[uint64]bool      // QoS 2 messages that are stored
	failed    map[uint64]bool      // publishes that could not be stored
}

type simChange struct {
	Change
	number uint64
}

// keepAll gives the scenario a store.
func (s *simulation) keepAll() {
	st := &simStore{publishes: map[uint64]KeptState{}, received: map[uint64]bool{}, failed: map[uint64]bool{}}
	s.store = st
	s.cfg.MemoryOnly = s.one(2)
	s.cfg.Keep = func(ch *Change) {
		st.made++
		st.pending = append(st.pending, simChange{*ch, st.made})
	}
	s.cfg.Undelivered = func(*Operation, Result) {}
}

// busy reports whether something is not stored yet.
func (st *simStore) busy() bool { return st != nil && len(st.pending)+len(st.again) > 0 }

// commit stores some of the changes, or fails.
func (s *simulation) commit() {
	st := s.store
	if !st.busy() {
		return
	}
	k := len(st.pending)
	if k > 1 && s.one(2) {
		k = 1 + s.n(k)
	}
	list := st.pending[:k]
	st.pending = st.pending[k:]
	if k > 0 {
		st.through = list[k-1].number
	}
	st.broken = st.broken || s.fault(300)
	var err error
	if st.broken || s.fault(6) {
		err = errSimStore
		s.tally.unstored++
	}
	for _, ch := range st.again {
		if err == nil {
			st.apply(&ch)
		}
	}
	if err == nil || st.broken {
		st.again = nil
	}
	for i := range list {
		ch := &list[i].Change
		switch {
		case err == nil:
			st.apply(ch)
		case ch.Action == ChangeAppend && !ch.Received:
			st.failed[ch.ID] = true
		case !st.broken:
			st.again = append(st.again, *ch)
		}
	}
	if s.tracing {
		s.trace("changes up to %d are stored: %v", st.through, err)
	}
	s.tally.stored += k
	s.e.Stored(s.now, st.through, 1, err, !st.broken)
}

func (st *simStore) apply(ch *Change) {
	_, known := st.publishes[ch.ID]
	switch {
	case ch.Received && ch.Action == ChangeRemove:
		delete(st.received, ch.ID)
	case ch.Received:
		st.received[ch.ID] = true
	case ch.Action == ChangeRemove:
		delete(st.publishes, ch.ID)
	case ch.Action == ChangeAppend || known:
		st.publishes[ch.ID] = ch.State
	}
}

// checkPublish checks that a publish is sent only after the store has it, one of
// QoS 2 with its identifier.
func (st *simStore) checkPublish(s *simulation, so *simOp, id uint16) {
	if st == nil || st.broken || so.kept == 0 || st.failed[so.kept] && s.cfg.MemoryOnly {
		return
	}
	state, ok := st.publishes[so.kept]
	if !ok || so.qos == 2 && (state.Stage != KeptSent || state.PacketID != id) {
		s.fail("operation %d is sent with identifier %d; the store has it: %v, %+v", so.serial, id, ok, state)
	}
}

// checkAck checks that an acknowledgement is sent only after the store has what
// it says.
func (st *simStore) checkAck(s *simulation, t wire.Type, a *wire.Ack) {
	if st == nil || st.broken || a.ReasonCode != wire.Success {
		return
	}
	switch t {
	case wire.TypePubrec:
		// It may overtake the change if the message is one of a lost connection
		// that came again: the handler of the first one has just returned.
		if !st.received[uint64(a.PacketID)] && !st.receives(uint64(a.PacketID)) {
			s.fail("PUBREC for %d, which the store does not get", a.PacketID)
		}
	case wire.TypePubcomp:
		if st.received[uint64(a.PacketID)] {
			s.fail("PUBCOMP for %d, which the store still has", a.PacketID)
		}
	case wire.TypePubrel:
		so := s.tap.holders[a.PacketID]
		if so == nil || so.kept == 0 || st.failed[so.kept] {
			return
		}
		if state := st.publishes[so.kept]; state.Stage != KeptReleased || state.PacketID != a.PacketID {
			s.fail("PUBREL for %d, and the store has %+v", a.PacketID, state)
		}
	}
}

// receives reports whether the store is about to get a received message.
func (st *simStore) receives(id uint64) bool {
	for _, ch := range st.pending {
		if ch.Received && ch.ID == id && ch.Action == ChangeAppend {
			return true
		}
	}
	return slices.ContainsFunc(st.again, func(ch Change) bool { return ch.Received && ch.ID == id && ch.Action == ChangeAppend })
}

// checkStore checks that a store that did not break has no completed publishes.
func (s *simulation) checkStore() {
	st := s.store
	if st == nil {
		return
	}
	for st.busy() {
		s.commit()
	}
	if st.broken || s.e.state == Closed {
		return
	}
	if len(st.publishes) > 0 {
		s.fail("the store still has %v", maps.Clone(st.publishes))
	}
	if n := len(s.e.keeping.received); n != len(st.received) {
		s.fail("the store has %d received messages, the engine %d", len(st.received), n)
	}
}
