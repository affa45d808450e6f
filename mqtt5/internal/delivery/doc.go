// SPDX-License-Identifier: Apache-2.0

// Package delivery brings messages, completions and events to the user's code.
//
// A [Lane] runs one kind of things in order, on a goroutine that exists only
// while there are any. Lanes do not wait for each other. [Messages] is the lane
// of received messages: it bounds what waits, knows which messages were handled,
// and lets the goroutine that reads run the handlers as long as they are quick.
//
// The package has no lock, no socket and no clock. Its owner calls the methods
// of a lane with its own lock held, unless they say otherwise.
package delivery
