// SPDX-License-Identifier: Apache-2.0

// Package iot makes MQTT 5 clients for AWS IoT Core: one call for each way to
// authenticate.
//
//	client, err := iot.NewMTLSFromPath("abc123-ats.iot.eu-west-1.amazonaws.com", "device.pem.crt", "private.pem.key",
//		iot.WithClientID("thermostat-7"),
//		iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) { fmt.Println(m.Topic, string(m.Payload)) }))
//
// Each constructor returns a [mqtt5.Client] at rest; its Start begins to
// connect. What is not an option here is reached with [WithClientOptions].
// Options say what differs from the defaults, and what they set is never
// overwritten.
//
// # Defaults
//
// Connections go to port 443, which passes most firewalls, with the TLS
// application protocol (ALPN) that AWS IoT Core wants there; [WithPort] of 8883
// leaves it out. The keep alive interval is 20 minutes, the longest that the
// service allows. The system's CAs are trusted, which know Amazon's.
//
// Endpoints of AWS, recognized by their names, are treated by the rules of AWS
// IoT Core: its quotas are checked before a packet is sent, a missing client
// identifier is made up, refusals carry hints about policies and certificates,
// and the user name tells the service which SDK connects. With other hosts, a
// local broker for instance, none of this happens. [WithAWSProfile] turns the
// rules on for a custom domain, or off; [WithoutMetrics] keeps the user name
// as it is.
//
// # Material and credentials
//
// Certificates, keys, CAs, credentials and tokens are asked for at every
// attempt to connect: files that were replaced are read again, providers are
// called again. None of them needs a new client.
//
// # Errors
//
// Constructors report what is wrong with their arguments, all at once:
// [ErrInvalidEndpoint] and [ErrInvalidOptions]. Failures to connect reach
// OnConnectionFailure as a [*ConnectError], which names the stage that failed
// and what to check. [Explain] tells the same of any error of this SDK.
package iot
