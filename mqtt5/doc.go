// SPDX-License-Identifier: Apache-2.0

// Package mqtt5 is an MQTT 5 client for AWS IoT Core and any other MQTT 5
// server.
//
// A [Client] keeps itself connected between [Client.Start] and [Client.Stop]:
// it reconnects with growing, jittered delays, resumes sessions, repeats
// unacknowledged QoS 1 and 2 messages, and queues operations while offline,
// within bounds. [Client.Publish], [Client.Subscribe] and [Client.Unsubscribe]
// wait for the server's answer as long as their context allows;
// [Client.PublishAsync] does not wait.
//
// Received messages, lifecycle events and the results of PublishAsync each come
// in order, one at a time; none of the three waits for another, except that the
// messages of a connection follow its OnConnectionSuccess. Handlers may block,
// and may call the client and wait for its operations.
//
// The package is independent of AWS. Package iot of this SDK builds clients for
// AWS IoT Core with each of its ways to authenticate.
package mqtt5
