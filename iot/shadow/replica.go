// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
)

// replica is what a mirror knows, and its rules: no goroutine, no clock, no
// network. The caller serializes its calls.
//
// local is the reported state as the device sees it, base the reported state
// that the service is known to have. What has to be sent is their difference, so
// that nothing has to be remembered about single changes.
type replica struct {
	local object
	base  object

	// In flight: the patches of an update whose outcome is open. While override
	// waits or is in flight, the device decides about these desired fields.
	inFlight         object // nil: no update is in flight
	inFlightOverride object
	override         object // desired fields to be set by the device

	// wanted is the newest delta, with the times of its fields. settled are the
	// desired values that were applied or refused, with theirs: a value with the
	// same time is not applied again, even if the device reports another one.
	wanted, wantedMeta   object
	settled, settledMeta object
	desired              object // as last seen in a whole document; for removals
	removed              object // nulls: desired fields that were removed, not yet applied
	applying             object // being applied; survives a crash
	interrupted          bool   // applying is from before a crash

	// overridden are the desired fields that accepted updates of the device have
	// set since the last document, the last of them with version overriddenAt:
	// deltas from before know nothing of them.
	overridden   object
	overriddenAt int64

	synced       bool
	deleted      bool  // since wanted, which is empty then
	version      int64 // highest version seen since the last document
	known        int64 // up to this version, nobody else has changed the reported state
	lastDelta    int64 // version of wanted
	lastAccepted int64 // version of the last accepted update of this replica
	sinceGet     int64 // version of the newest delta since a document was asked for; 0: none
	olderSince   int64 // that of the newest one that was not newer than wanted; 0: none
	removals     bool  // follow removals of desired fields
}

// parsedDelta is a delta message or the delta of a document.
type parsedDelta struct {
	state, meta object
	version     int64
}

// gotDelta takes a delta. It reports whether the delta is too old to be used,
// which is a reason to get the document: the shadow may have been deleted.
func (r *replica) gotDelta(d parsedDelta) (stale bool) {
	if !r.synced {
		switch {
		case d.version > r.lastDelta:
			r.sinceGet = d.version
			r.take(d)
		case d.version > r.sinceGet:
			r.olderSince = max(r.olderSince, d.version)
		}
		return false
	}
	if d.version < r.lastDelta || d.version == r.lastDelta && r.deleted {
		return true
	}
	// A delta comes from each update while the sections differ. One with a change
	// to the desired state most likely changed nothing else.
	if d.version == r.known+1 && r.asksForMore(d) {
		r.known = d.version
	}
	r.take(d)
	return false
}

// asksForMore reports whether a delta has a desired value that the newest one
// did not have, or the same one set again.
func (r *replica) asksForMore(d parsedDelta) bool {
	return len(pick(d.state, []object{d.meta, r.wanted, r.wantedMeta}, func(v any, along []any) bool {
		return along[1] == nil || !equal(v, along[1]) || !equal(along[0], along[2])
	})) > 0
}

func (r *replica) take(d parsedDelta) {
	if d.version < r.overriddenAt {
		d.state = without(d.state, r.overridden)
	}
	r.wanted, r.wantedMeta, r.lastDelta, r.deleted = d.state, d.meta, d.version, false
	r.version = max(r.version, d.version)
}

// askedForDocument notes that a document was asked for: deltas from now on may
// be newer than it.
func (r *replica) askedForDocument() {
	r.synced, r.sinceGet, r.olderSince = false, 0, 0
}

// parsedDocument is a whole shadow; the zero value is one that does not exist.
type parsedDocument struct {
	desired, reported object
	delta             parsedDelta
	version           int64
}

// gotDocument takes the answer to a get, or the zero document if there is none.
// No update is in flight.
func (r *replica) gotDocument(d parsedDocument) {
	r.local = adopt(r.local, r.base, d.reported)
	r.base = merge(nil, d.reported)
	r.version, r.known, r.lastAccepted = d.version, d.version, 0
	r.overridden, r.overriddenAt = nil, 0
	if r.sinceGet > d.version {
		r.version = r.sinceGet // the delta that is newer than the document stays
	} else {
		// A shadow that is created again goes on with the old version, mostly; so
		// deltas from before it was deleted are old, a copy of the last one, too.
		last := r.lastDelta
		r.take(d.delta)
		if d.version == 0 {
			r.lastDelta, r.deleted = last, true
		}
	}
	r.settled = pick(r.settled, []object{d.desired}, func(_ any, along []any) bool { return along[0] != nil })
	r.settledMeta = shape(r.settledMeta, r.settled)
	r.seeDesired(d.desired)
	// A delta with a number from before is an old one, or that of a shadow that was
	// created again. The next document says which.
	r.synced = r.olderSince <= d.version
}

// seeDesired compares the desired state of a whole document with the last one.
func (r *replica) seeDesired(desired object) {
	if r.removals && r.desired != nil {
		gone := pick(r.desired, []object{desired, r.local}, func(_ any, along []any) bool {
			return along[0] == nil && along[1] != nil
		})
		back := func(_ any, along []any) bool { return along[0] == nil }
		r.removed = pick(compose(r.removed, nulls(gone)), []object{desired}, back)
	}
	r.desired = desired
}

// nulls returns o with null in the place of each leaf.
func nulls(o object) object {
	out := object{}
	for k, v := range o {
		if inner, ok := v.(object); ok && len(inner) > 0 {
			out[k] = nulls(inner)
		} else {
			out[k] = nil
		}
	}
	return out
}

// parsedChange is the state before and after an update of anybody.
type parsedChange struct {
	reportedBefore, reported object
	desired                  object
	version                  int64
}

func (r *replica) gotChange(c parsedChange) {
	if !r.synced {
		return
	}
	if c.version == r.known+1 && equal(c.reportedBefore, c.reported) {
		r.known = c.version
	}
	if c.version >= r.version {
		r.version = c.version
		r.seeDesired(c.desired)
	}
}

// gotDeletion notes that the shadow was deleted, and which version it had: deltas
// up to that one want nothing any more.
func (r *replica) gotDeletion(version int64) {
	if version >= r.lastDelta {
		r.wanted, r.wantedMeta, r.lastDelta, r.deleted = nil, nil, version, true
	}
}

// nextApply returns the desired changes that have to be applied now, with nulls
// for what was removed; nil if there are none.
func (r *replica) nextApply() object {
	if !r.synced || r.applying != nil && !r.interrupted {
		return nil
	}
	open := pick(r.wanted, []object{r.wantedMeta, r.settled, r.settledMeta, r.override, r.inFlightOverride}, func(v any, along []any) bool {
		done := along[1] != nil && equal(v, along[1]) && equal(along[0], along[2])
		return !done && along[3] == nil && along[4] == nil
	})
	// What the device has already needs no application. If the service does not
	// know that the device has it, the report is repeated.
	r.repair()
	has := pick(open, []object{r.local}, func(v any, along []any) bool { return holds(along[0], v) })
	r.settle(has)
	open = without(open, has)
	r.removed = pick(r.removed, []object{r.local}, func(_ any, along []any) bool { return along[0] != nil })
	if open = compose(open, r.removed); len(open) == 0 {
		r.applying, r.interrupted = nil, false
		return nil
	}
	return open
}

// repair makes the next update report what the device has and the service asks
// for. A delta from before the last accepted update says nothing about it.
func (r *replica) repair() {
	if r.lastDelta < r.lastAccepted {
		return
	}
	r.base = without(r.base, pick(r.wanted, []object{r.local, r.inFlight}, func(v any, along []any) bool {
		return holds(along[0], v) && along[1] == nil
	}))
}

// holds reports whether have needs no change to be what is wanted. An object
// without fields wants nothing of the fields of another.
func holds(have, wanted any) bool {
	if o, ok := wanted.(object); ok && len(o) == 0 {
		_, ok = have.(object)
		return ok
	}
	return equal(have, wanted)
}

// settle remembers the wanted values of some fields as dealt with.
func (r *replica) settle(fields object) {
	r.settled = overlay(r.settled, fields)
	r.settledMeta = overlay(r.settledMeta, shape(r.wantedMeta, fields))
}

// beginApply notes that changes are being applied. It reports whether they were
// being applied before a crash, too.
func (r *replica) beginApply(changes object) (repeated bool) {
	repeated = r.interrupted && len(pick(changes, []object{r.applying}, func(v any, along []any) bool { return equal(v, along[0]) })) > 0
	r.applying, r.interrupted = changes, false
	return repeated
}

// endApply notes that the application of changes has ended. report is what to
// report; nil if the changes were not applied. settled: they are not to be
// applied again.
func (r *replica) endApply(changes, meta, report object, settled bool) {
	r.applying = nil
	if settled {
		values := pick(changes, nil, func(v any, _ []any) bool { return v != nil })
		r.settled = overlay(r.settled, values)
		r.settledMeta = overlay(r.settledMeta, meta)
		r.removed = without(r.removed, changes)
	}
	if report != nil {
		r.local = merge(r.local, report)
	}
}

// outgoing is an update to be sent.
type outgoing struct {
	reported, desired object
	version           int64 // 0: any
}

// nextUpdate returns what has to be sent now; false if nothing.
func (r *replica) nextUpdate(versioned bool) (outgoing, bool) {
	if !r.synced || r.inFlight != nil {
		return outgoing{}, false
	}
	o := outgoing{reported: diff(r.base, r.local), desired: r.override}
	if len(o.reported) == 0 && len(o.desired) == 0 {
		return outgoing{}, false
	}
	if versioned {
		o.version = r.version
	}
	return o, true
}

// pending reports whether the service lacks something.
func (r *replica) pending() bool {
	return r.inFlight != nil || len(r.override) > 0 || len(diff(r.base, r.local)) > 0
}

// beginUpdate notes that an update is in flight.
func (r *replica) beginUpdate(o outgoing) {
	r.inFlight, r.inFlightOverride, r.override = o.reported, o.desired, nil
	if r.inFlight == nil {
		r.inFlight = object{}
	}
}

// updateAccepted takes the answer to the update in flight. It reports whether
// there were updates before it that the mirror has not seen, which happens if it
// named no version.
func (r *replica) updateAccepted(version int64) (gap bool) {
	r.base = merge(r.base, r.inFlight)
	if r.inFlightOverride != nil {
		r.overridden, r.overriddenAt = compose(r.overridden, r.inFlightOverride), version
		if r.lastDelta < version {
			r.wanted = without(r.wanted, r.inFlightOverride)
		}
	}
	r.inFlight, r.inFlightOverride = nil, nil
	r.version, r.lastAccepted = max(r.version, version), version
	if version > r.known+1 {
		return true
	}
	r.known = max(r.known, version)
	return false
}

// updateFailed notes that the service did not take the update in flight.
func (r *replica) updateFailed() {
	if r.inFlightOverride != nil {
		r.override = compose(r.inFlightOverride, r.override)
	}
	r.inFlight, r.inFlightOverride = nil, nil
}

// updateUnknown notes that the service may have taken the update in flight. The
// document has to be got.
func (r *replica) updateUnknown() {
	r.base = overlay(r.base, r.inFlight)
	r.updateFailed()
	r.synced = false
}

// settledNow reports whether both sides agree: nothing to send or to apply.
func (r *replica) settledNow() bool {
	if !r.synced || r.applying != nil || r.inFlight != nil {
		return false
	}
	if r.nextApply() != nil {
		return false
	}
	_, more := r.nextUpdate(false)
	return !more
}

// record is the stored form of a replica.
type record struct {
	Format      int    `json:"format"`
	Thing       string `json:"thing"`
	Shadow      string `json:"shadow,omitempty"`
	Local       object `json:"local"`
	Base        object `json:"base"`
	Override    object `json:"override,omitempty"`
	Settled     object `json:"settled,omitempty"`
	SettledMeta object `json:"settledMeta,omitempty"`
	Desired     object `json:"desired,omitempty"`
	Removed     object `json:"removed,omitempty"`
	Applying    object `json:"applying,omitempty"`
	LastDelta   int64  `json:"lastDelta,omitempty"`
}

const recordFormat = 1

// save returns the stored form. What is in flight counts as known and as not
// sent.
func (r *replica) save(t target) []byte {
	override := r.override
	if r.inFlightOverride != nil {
		override = compose(r.inFlightOverride, r.override)
	}
	data, err := json.Marshal(record{
		Format: recordFormat, Thing: t.thing, Shadow: t.name,
		Local: r.local, Base: overlay(r.base, r.inFlight), Override: override,
		Settled: r.settled, SettledMeta: r.settledMeta,
		Desired: r.desired, Removed: r.removed, Applying: r.applying, LastDelta: r.lastDelta,
	})
	if err != nil {
		panic("shadow: " + err.Error())
	}
	return data
}

// load restores what save returned.
func (r *replica) load(t target, data []byte) error {
	var rec record
	if err := jsonobject.DecodeNumbers(data, &rec); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	switch {
	case rec.Format != recordFormat:
		return fmt.Errorf("%w: format %d is unknown", ErrStore, rec.Format)
	case rec.Thing != t.thing || rec.Shadow != t.name:
		return fmt.Errorf("%w: it belongs to %s", ErrStore, describe(rec.Thing, rec.Shadow))
	}
	r.local, r.base, r.override = rec.Local, rec.Base, rec.Override
	r.settled, r.settledMeta, r.desired, r.removed = rec.Settled, rec.SettledMeta, rec.Desired, rec.Removed
	r.lastDelta = rec.LastDelta
	r.applying, r.interrupted = rec.Applying, rec.Applying != nil
	return nil
}

// ErrStore: what a [Store] holds cannot be used.
var ErrStore = errors.New("shadow: stored state cannot be used")
