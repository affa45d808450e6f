// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// closings counts the connections that were opened and those that were closed.
type closings struct {
	mu             sync.Mutex
	opened, closed int
}

func (n *closings) dial(below mqtt5.DialFunc) mqtt5.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := below(ctx, network, address)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.opened++
		return &closingConn{Conn: conn, counts: n}, nil
	}
}

func (n *closings) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opened - n.closed
}

type closingConn struct {
	net.Conn
	counts *closings
	once   sync.Once
}

func (c *closingConn) Close() error {
	c.once.Do(func() {
		c.counts.mu.Lock()
		c.counts.closed++
		c.counts.mu.Unlock()
	})
	return c.Conn.Close()
}

// TestTransport_isClosed ends connections in every way there is. Each of them
// has to be closed by the client: nobody else gives the file descriptor back.
func TestTransport_isClosed(t *testing.T) {
	connect := func(c *mqtttest.Conn) {
		c.ExpectConnect()
		c.Send(mqtttest.Connack{})
	}
	for name, test := range map[string]struct {
		script func(c *mqtttest.Conn)
		change func(o *mqtt5.ClientOptions)
	}{
		"hang up":                {script: func(c *mqtttest.Conn) { connect(c); c.Close() }},
		"half-close":             {script: func(c *mqtttest.Conn) { connect(c); c.CloseWrite(); c.Sleep(time.Minute) }},
		"reset":                  {script: func(c *mqtttest.Conn) { connect(c); c.Reset() }},
		"hang up before CONNACK": {script: func(c *mqtttest.Conn) { c.ExpectConnect(); c.Close() }},
		"reset before CONNECT":   {script: func(c *mqtttest.Conn) { c.Reset() }},
		"refusal": {script: func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(mqtttest.Connack{ReasonCode: mqtttest.NotAuthorized})
		}},
		"DISCONNECT": {script: func(c *mqtttest.Conn) {
			connect(c)
			c.Send(mqtttest.Disconnect{ReasonCode: mqtttest.ServerShuttingDown})
		}},
		"malformed packet": {script: func(c *mqtttest.Conn) { connect(c); c.Send(mqtttest.Raw{0, 0}); c.Sleep(time.Minute) }},
		"part of a packet": {script: func(c *mqtttest.Conn) { connect(c); c.Send(mqtttest.Raw{0x30, 20, 0}); c.Close() }},
		"silence":          {script: func(c *mqtttest.Conn) { c.ExpectConnect(); c.Sleep(time.Minute) }},
		"no PINGRESP": {
			script: func(c *mqtttest.Conn) { connect(c); c.Sleep(time.Minute) },
			change: func(o *mqtt5.ClientOptions) { o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](2) },
		},
	} {
		bubble(t, name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.CollectFailures())
			const rounds = 3
			for range rounds {
				srv.Script(test.script)
			}
			srv.Script(func(c *mqtttest.Conn) { connect(c); c.Sleep(24 * time.Hour) })
			n := &closings{}
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.Dial = n.dial(srv.DialContext)
				o.MinReconnectDelay, o.MaxReconnectDelay = 10*time.Minute, 10*time.Minute
				if test.change != nil {
					test.change(o)
				}
			})
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			for range rounds {
				time.Sleep(9 * time.Minute)
				synctest.Wait()
				if open := n.open(); open != 0 {
					t.Fatalf("%d of %d connections are still open between two attempts", open, n.opened)
				}
				time.Sleep(time.Minute)
			}
			d.Close()
			synctest.Wait()
			if n.open() != 0 || n.opened < rounds {
				t.Errorf("%d of %d connections are still open", n.open(), n.opened)
			}
		})
	}
}
