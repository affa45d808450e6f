// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// announcing is a connection whose Close informs the server that the client has
// finished, and whose end says why.
type announcing struct {
	net.Conn
	closed, aborted atomic.Int32
	end             error
}

func (c *announcing) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

func (c *announcing) Abort() error {
	c.aborted.Add(1)
	return c.Conn.Close()
}

func (c *announcing) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF && c.end != nil {
		err = c.end
	}
	return n, err
}

var errReason = errors.New("1001: token has expired")

// announced returns a client whose connection is announcing.
func announced(t *testing.T, script func(c *mqtttest.Conn)) (*device, *announcing) {
	srv := mqtttest.NewServer(t)
	srv.Script(script)
	conn := &announcing{end: fmt.Errorf("%w (%w)", io.EOF, errReason)}
	d := connected(t, srv, func(o *mqtt5.ClientOptions) {
		dial := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			conn.Conn = c
			return conn, nil
		}
	})
	return d, conn
}

func TestClose_announcesNothingWithoutDisconnect(t *testing.T) {
	bubble(t, "Stop finishes", func(t *testing.T) {
		d, conn := announced(t, func(c *mqtttest.Conn) { accept(c); c.Drain() })
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		if conn.closed.Load() != 1 || conn.aborted.Load() != 0 {
			t.Errorf("closed %d times, aborted %d times", conn.closed.Load(), conn.aborted.Load())
		}
	})
	bubble(t, "Close aborts", func(t *testing.T) {
		d, conn := announced(t, func(c *mqtttest.Conn) { accept(c); c.Drain() })
		want(t, "close", d.Close(), nil)
		synctest.Wait()
		if conn.closed.Load() != 0 || conn.aborted.Load() != 1 {
			t.Errorf("closed %d times, aborted %d times", conn.closed.Load(), conn.aborted.Load())
		}
	})
}

func TestHangupError_saysWhatTheTransportSaid(t *testing.T) {
	bubble(t, "close frame", func(t *testing.T) {
		d, _ := announced(t, func(c *mqtttest.Conn) { accept(c); c.Close() })
		synctest.Wait()
		err := d.lastLoss().Err
		want(t, "loss", err, mqtt5.ErrHangup)
		want(t, "loss", err, errReason)
	})
}
