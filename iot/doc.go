// SPDX-License-Identifier: Apache-2.0

// Package iot makes MQTT 5 clients for AWS IoT Core: one call for each way to
// authenticate.
//
//	client, err := iot.NewMTLSFromPath("abc123-ats.iot.eu-west-1.amazonaws.com", "device.pem.crt", "private.pem.key",
//		iot.WithClientID("thermostat-7"),
//		iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) { fmt.Println(m.Topic, string(m.Payload)) }))
//
// Each constructor returns a stopped [mqtt5.Client]; its Start begins to
// connect. What is not an option here is reached with [WithClientOptions].
// Options apply in the order in which they are given, and the later one wins.
// A constructor NewX(endpoint, ...) is [NewClient] with the [Method] X(...), a
// value, for programs that choose at run time, and for [Diagnose].
//
// # Defaults
//
// Connections go to port 443, which passes most firewalls, with the TLS
// application protocol (ALPN) that AWS IoT Core wants there; [WithPort] of 8883
// leaves it out. The keep alive interval is 20 minutes, the longest that the
// service allows. The CAs of the system are trusted; Amazon's are among them. A
// client whose session the server has lost subscribes again to all its filters.
//
// The rules of AWS IoT Core apply, whatever the host, because it may be a custom
// domain: quotas and rates are checked before a packet is sent, a missing client
// identifier is generated, and refusals carry hints about policies and
// certificates. [WithAWSProfile] turns this off. [NewForBroker] is for other
// brokers, and applies none of it.
//
// The user name says which SDK connects, for hosts of AWS only; see [Metrics].
// [WithoutMetrics] leaves it as it is.
//
// # Material and credentials
//
// Every attempt to connect takes certificate, key, CAs, credentials and tokens
// anew: files that were replaced are read again, providers are called again.
// None of them needs a new client.
//
// # Errors
//
// Constructors report all faults of their arguments at once:
// [ErrInvalidEndpoint] and [ErrInvalidOptions]. Failures to connect reach
// OnConnectionFailure as a [*ConnectError], which names the stage that failed
// and what to check. [Explain] says the same of any error of this SDK.
package iot
