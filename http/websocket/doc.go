// SPDX-License-Identifier: Apache-2.0

// Package websocket carries a byte stream, such as MQTT, over WebSocket (RFC
// 6455).
//
// A [Dialer] is one layer of a connection: its DialContext opens a connection
// with the layer below (plain TCP, or a tunnel through a proxy), adds TLS unless
// configured otherwise, performs the upgrade, and returns a net.Conn. The
// stream goes in binary frames whose borders mean nothing; one Write is one
// frame up to 16 KiB, and several beyond that, so that answers to pings go in
// between.
//
// # Handshake
//
// The request is a GET of [Options.Path] with the subprotocol mqtt, which the
// server must confirm. No extensions are offered. A [HandshakeTransform] may rewrite
// URL, query and headers at every attempt, for example to sign the request with
// fresh credentials.
//
// # Errors
//
// An answer that does not lead to a WebSocket connection is an [*UpgradeError]
// with status, date and the beginning of the body. Any other failure to connect is an
// [*Error] that names the step and wraps the cause. A close frame of the server
// surfaces from Read and Write as a [*CloseError]. Queries of URLs, which hold
// signatures and tokens, and header values sent never appear in errors.
package websocket
