// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "errors"

// Store keeps the session of one client across restarts of the program:
// publishes of QoS 1 and 2 that are not done, the QoS 2 state of both
// directions, and who the session belongs to.
//
// A store is independent of MQTT. It keeps records, each with a kind and a
// number that is unique within its kind, and applies changes to them in
// batches. What it returns is either what was committed or an error: it has to
// detect damage. All methods may be called from any goroutine. A Commit that
// panics, or ends its goroutine, has failed.
//
// Package filestore has the implementation for a local disk.
type Store interface {
	// Commit applies changes in order, as one unit: after a crash all of them
	// are there or none. It returns once they are as durable as the store's
	// sync policy promises, and how durable that is.
	//
	// Concurrent calls may share one write and one sync. Changes of a call that
	// began after another one returned never survive without those of the
	// other. Commit does not keep what the changes refer to.
	//
	// If it fails with [ErrStoreFull], nothing of this call is stored and the
	// store can still be used. After other errors the changes may be stored or
	// not, and later calls may fail, too.
	Commit(changes []StoreChange) (Durability, error)

	// Iterate passes the records of a kind whose ID is at least from to yield,
	// in ascending order of ID, until yield returns false. The store reads
	// ahead by a bounded amount only. Records that are committed or removed
	// meanwhile may be passed or not. The slices of a record belong to yield.
	//
	// Iterate stops with a [*RecordError] at a record that is damaged; a call
	// that starts after its ID continues behind it.
	Iterate(kind RecordKind, from uint64, yield func(StoreRecord) bool) error

	// Count counts the records of a kind without reading them.
	Count(kind RecordKind) StoreCount

	// Close makes everything that was committed durable and releases the store.
	// Later calls fail with [ErrStoreClosed]. Closing twice does nothing.
	Close() error
}

// StoreCount counts the records of one kind.
type StoreCount struct {
	Records int
	Bytes   int64  // of their bodies
	LastID  uint64 // the highest of their IDs; 0: none
}

// RecordKind is the kind of a [StoreRecord].
type RecordKind uint8

// The kinds of record. Stores keep other values, too: later versions of the
// client may use them.
const (
	// RecordSession describes the session: one record with ID 0.
	RecordSession RecordKind = iota + 1
	// RecordFilter has the topic filters that the client has to subscribe to again
	// when the server has lost the session: one record with ID 0.
	RecordFilter
	// RecordReceived is a QoS 2 message from the server that is not released:
	// its ID is the packet identifier, and it has no body.
	RecordReceived
	// RecordPublish is a publish that is not done. IDs ascend in the order of
	// submission, the body is the message, and the state says how far it got.
	RecordPublish
)

// StoreRecord is one record of a [Store].
type StoreRecord struct {
	Kind RecordKind
	ID   uint64
	// State is small and changes during the life of a record. A store may keep
	// it in memory.
	State []byte
	// Body never changes. It may be as large as an MQTT packet, and a store
	// should keep it on disk.
	Body []byte
}

// StoreAction is what a [StoreChange] does.
type StoreAction uint8

// The actions of a change.
const (
	// StoreAppend adds a record, or replaces the one with the same kind and ID.
	StoreAppend StoreAction = iota + 1
	// StoreUpdate replaces the state of a record. It does nothing if there is
	// no such record.
	StoreUpdate
	// StoreRemove removes a record. It does nothing if there is no such record.
	StoreRemove
)

// StoreChange is one change of a record. StoreUpdate ignores the body of
// Record, StoreRemove ignores its state and body.
type StoreChange struct {
	Action StoreAction
	Record StoreRecord
}

// Durability is what committed changes survive.
type Durability uint8

// The degrees of durability.
const (
	// DurabilityNone: memory only.
	DurabilityNone Durability = iota
	// DurabilityWritten: the operating system has the changes. They survive the
	// death of the process, but not yet a loss of power.
	DurabilityWritten
	// DurabilitySynced: the changes are on the disk.
	DurabilitySynced
)

func (d Durability) String() string {
	switch d {
	case DurabilityNone:
		return "none"
	case DurabilityWritten:
		return "written"
	case DurabilitySynced:
		return "synced"
	}
	return "unknown durability"
}

// Conditions that a [Store] fails with. Test for them with [errors.Is].
var (
	// ErrStoreClosed: the store was closed.
	ErrStoreClosed = errors.New("mqtt5: store is closed")
	// ErrStoreLocked: another process, or another part of this one, has the
	// store open.
	ErrStoreLocked = errors.New("mqtt5: store is in use")
	// ErrStoreFull: there is no space left for the changes.
	ErrStoreFull = errors.New("mqtt5: store is full")
	// ErrStoreReadOnly: the store cannot be written to.
	ErrStoreReadOnly = errors.New("mqtt5: store is read-only")
	// ErrStoreIO: reading, writing or syncing failed.
	ErrStoreIO = errors.New("mqtt5: store failed")
	// ErrStoreCorrupt: the store holds other bytes than were written.
	ErrStoreCorrupt = errors.New("mqtt5: store is damaged")
	// ErrStoreMismatch: the store belongs to another client identifier or server.
	ErrStoreMismatch = errors.New("mqtt5: store belongs to another session")
	// ErrStoreVersion: the store was written by a newer version of this SDK.
	ErrStoreVersion = errors.New("mqtt5: store has a newer format")
)

// RecordError says that one record of a [Store] is damaged. The others can be
// used. It matches [ErrStoreCorrupt].
type RecordError struct {
	Kind RecordKind
	ID   uint64
	Err  error // what is wrong with it
}

func (e *RecordError) Error() string {
	return "mqtt5: stored record is damaged: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// Is matches ErrStoreCorrupt.
func (e *RecordError) Is(target error) bool { return target == ErrStoreCorrupt }
