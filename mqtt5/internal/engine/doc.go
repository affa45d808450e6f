// SPDX-License-Identifier: Apache-2.0

// Package engine is the protocol engine of the MQTT 5 client: a state machine
// without goroutines, clock, sockets, logger or randomness of its own.
//
// Inputs are calls: what the user asks ([Engine.Start], [Engine.Stop],
// [Engine.Submit], ...), what the transport did ([Engine.TransportOpened],
// [Engine.Receive], [Engine.WriteDone], ...) and the passing of time
// ([Engine.Tick]); each carries the time, as the duration since some fixed
// start. Outputs are the bytes to write ([Engine.TakeOutput]), what to do with
// the transport ([Engine.TakeActions]), the time of the next [Engine.Tick]
// ([Engine.NextDeadline]), and calls of the [Sink]: completions, messages and
// lifecycle events, in order. Equal inputs give equal outputs, so the whole
// protocol can be simulated and fuzzed for millions of steps.
//
// An Engine is not safe for concurrent use: its owner serialises the calls.
package engine
