// SPDX-License-Identifier: Apache-2.0

// Package conn moves bytes between a net.Conn and buffers. It knows neither packets
// nor sessions, takes no locks, and starts no goroutines.
//
// A [Reader] collects received bytes in a [Buffer] and either reuses that buffer
// or gives it to a new owner. A [Writer] writes the segments of an output and
// counts the bytes that have left. At rest, neither holds memory for data.
//
// On a plain socket both use the file descriptor directly: the Reader takes a
// buffer only when there is something to read, and the Writer counts each partial
// write. Plain sockets are the types *net.TCPConn and *net.UnixConn alone. A
// type that embeds one of them may hold received bytes that have to be read first.
package conn
