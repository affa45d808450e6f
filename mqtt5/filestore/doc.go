// SPDX-License-Identifier: Apache-2.0

// Package filestore is a store for the sessions of MQTT clients on a local disk:
// the implementation of [mqtt5.Store] that survives kill -9 and loss of power.
//
// A store is a directory, used by one client, with a log in segments of 16 MiB.
// A commit appends its changes to the log and syncs it; all commits that begin
// during a write or sync share the next one. A segment leaves the disk
// when all of its records are removed; what keeps an old segment alive is copied
// to the end of the log when the log is mostly dead.
//
// Every frame of the log has a checksum. [Open] reads the log, cuts off what
// a crash tore at its end, and fails with [mqtt5.ErrStoreCorrupt] when
// something that was synced is damaged. Bodies of records are read and
// checked when they are asked for, so that an open store needs 16 bytes of
// memory for each record, however large the records are. Damage to the very last
// commit cannot be distinguished from a write that a crash tore.
//
// The directory must be on a local file system. A lock in it keeps other
// processes out.
package filestore
