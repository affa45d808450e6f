// SPDX-License-Identifier: Apache-2.0

// Package scram authenticates MQTT clients by SCRAM-SHA-256 (RFC 5802, RFC 7677)
// in the AUTH packets of MQTT 5.0: neither the password nor anything that could
// stand for it goes over the wire, and the server proves that it knows the
// password too.
//
//	a, err := scram.New("user", "password")
//	...
//	client, err := mqtt5.NewClient(mqtt5.ClientOptions{Authenticator: a, ...})
//
// AWS IoT Core does not offer enhanced authentication; other servers do.
package scram
