// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/engine"

// SetRandom makes a client that was not started draw its delays from uniform,
// which returns a number in [0, n).
func (c *Client) SetRandom(uniform func(n int64) int64) {
	c.config.Uniform = uniform
	c.engine = engine.New(&c.config, (*sink)(c))
}

// WriterWaits reports whether a write waits for the socket.
func (c *Client) WriterWaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link.busy() && c.link.writer.Waits()
}

// SetIdentifierBase makes packet identifiers of a client that was not started
// begin after base. Clients with a store keep theirs.
func (c *Client) SetIdentifierBase(base uint16) {
	if c.durable != nil {
		return // the engine has the session already
	}
	c.config.IdentifierBase = base
	c.engine = engine.New(&c.config, (*sink)(c))
}
