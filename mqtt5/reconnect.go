// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "context"

// Reconnect ends the connection in order, with a DISCONNECT, and connects again
// at once, without the delay that follows a loss: with the certificate, the
// credentials and the CONNECT of a new attempt. It waits until the client is
// connected; if the first attempt fails, the client goes on as after a lost
// connection.
//
// The server does not publish the will. A session continues as
// [ClientOptions.SessionBehavior] says. Queued operations wait; those in flight
// are sent again, except a QoS 2 publish without a session, which fails with
// [ErrSessionLost]. The events are those of a lost connection, with
// [ErrReconnectRequested]. An attempt under way begins again, and a delay before
// the next one ends.
//
// Reconnect fails with the error of ctx if that ends first, which takes nothing
// back; with [ErrNotConnected] if the client is not started, with
// [ErrStopRequested] during a stop, with [ErrClosed] after Close, and with
// [ErrGaveUp] if [ClientOptions.ShouldRetry] ended the attempts.
func (c *Client) Reconnect(ctx context.Context) error {
	now := c.lock()
	err := c.engine.Reconnect(now)
	c.unlock(now)
	if err != nil {
		return err
	}
	return c.WaitConnected(ctx)
}
