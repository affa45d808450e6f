// SPDX-License-Identifier: Apache-2.0

// Package socket opens TCP and Unix connections for clients that stay connected
// for long and come back often.
//
// A [Dialer] resolves the host itself, through a cache that survives outages of
// the DNS, and then tries all addresses in the manner of Happy Eyeballs version
// 2 (RFC 8305): IPv6 and IPv4 take turns, the next attempt starts when the one
// before it has failed or has taken a quarter of a second, the first connection
// wins and the others are closed. Addresses that failed lately are tried last.
// Both stages, DNS and TCP, have deadlines of their own and obey the context.
//
// Options that tune the socket are fields of the Dialer. An option that the
// platform or the kind of socket lacks is an error, never silently left out.
//
// # Errors
//
// A [*ResolveError] says that no address was found, a [*ConnectError] that no
// address could be connected to and why for each of them, an [*OptionError]
// that an option cannot be applied. They wrap their causes: [errors.Is] finds
// [context.Canceled], [context.DeadlineExceeded], the cause of the context, and
// system errors such as [syscall.ECONNREFUSED].
package socket
