// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
)

// Cable is a network that can be unplugged, below everything that connects.
type Cable struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu        sync.Mutex
	unplugged bool
	conns     []net.Conn
}

// Cable returns a plugged one, for the dialer of a client.
func (a *App) Cable() *Cable {
	if a.Local() {
		return &Cable{dial: a.Core.DialContext}
	}
	return &Cable{dial: (&socket.Dialer{}).DialContext}
}

// DialContext opens a connection unless the cable is unplugged.
func (c *Cable) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	unplugged := c.unplugged
	c.mu.Unlock()
	if unplugged {
		return nil, errors.New("the network cable is unplugged")
	}
	conn, err := c.dial(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

// Unplug cuts all connections and lets no new ones come up.
func (c *Cable) Unplug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unplugged = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// Plug ends Unplug.
func (c *Cable) Plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unplugged = false
}

// Unplugged reports whether the cable is unplugged.
func (c *Cable) Unplugged() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unplugged
}
