// SPDX-License-Identifier: Apache-2.0

// Package proxy reaches hosts through an HTTP or SOCKS5 proxy.
//
// A [Dialer] is one layer of a connection: its DialContext opens a connection
// to the proxy with the layer below (plain TCP by default), asks the
// proxy for a tunnel to the address, and returns the tunnel as a net.Conn. What
// runs inside (TLS, WebSocket, MQTT, HTTP) is the business of the layer above,
// so the same dialer serves an MQTT client and an [net/http.Transport]:
//
//	d, err := proxy.New(proxy.Options{URL: "http://proxy.example:3128"})
//	...
//	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
//
// # Tunnels
//
// An HTTP proxy is asked with CONNECT for every host and port, also for
// plaintext targets. A SOCKS5 proxy (RFC 1928, RFC 1929) resolves the names
// itself. Either can be spoken to over TLS; see [Options.TLS] and
// [Options.TLSConfig].
//
// # Authentication
//
// A user name and password serve the Basic scheme of HTTP (RFC 7617) and the
// user name method of SOCKS5. An HTTP proxy gets them in answer to its 407, once; a
// second 407 is reported. Other schemes of HTTP proxies (Digest, NTLM,
// Negotiate) are not part of this package: [Options.ConnectHeader] is called
// before every CONNECT request, sees the challenge of the 407 before it, and
// returns the headers to send. While the proxy keeps the connection open, all rounds
// of one tunnel use the same connection, which the schemes that
// authenticate a connection need.
//
// # Errors
//
// Every error of DialContext is an [*Error] that names the step, the proxy and
// the target, and wraps the cause. Passwords never appear in errors, in logs or
// in the formatted form of [Options] and [Dialer].
package proxy
