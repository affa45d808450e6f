// SPDX-License-Identifier: Apache-2.0

// Package request sends requests over MQTT and waits for their answers.
//
// A [Client] adds requests and streams to a connection, usually a
// [*mqtt5.Client]:
//
//   - [Client.Call] publishes a payload with an MQTT 5 response topic and
//     correlation data, and returns the answer.
//   - [Client.Do] does the same for services with conventions of their own: the
//     topics of the answers are named by [Reply], and a [Correlation] finds the
//     token that ties an answer to its request. The device services of AWS IoT
//     Core have it in a JSON field of the payload.
//   - [Client.Stream] receives the messages of one topic filter and reports when
//     its subscription is established, lost, re-established or halted.
//
// # Subscriptions
//
// Requests and streams share their subscriptions. The subscriptions for answers
// stay after the answer: a second request costs one PUBLISH in each direction.
// [Options.MaxSubscriptions] limits how many filters the client holds at the
// server. When a new filter finds no room, the least recently used filter that
// nobody needs is unsubscribed. A request whose filters are subscribed already
// never waits for one whose filters are not.
//
// # Time
//
// Each request has a time-out, which covers everything from the call to the
// answer, and a context. An error says at which [Stage] the request failed, and
// matches [mqtt5.ErrNotSent] or [mqtt5.ErrOutcomeUnknown], unless the server
// refused it: then it holds an [*mqtt5.AckError] with the server's reason code.
//
// # Handlers
//
// Answers arrive through the message handlers of the connection, which run one
// at a time. [Client.Do] must therefore not be called from a handler of the
// connection itself ([mqtt5.Client.Handle] or [mqtt5.ClientOptions]): the answer
// would wait for that handler, and the request fails with [ErrTimeout]. Start a
// goroutine for it there. The functions of a [StreamOptions] run on a
// goroutine of the stream and may call the client.
package request
