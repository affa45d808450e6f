// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// keepAlive sets the keep alive interval.
func keepAlive(n uint16) func(*mqtt5.ClientOptions) {
	return func(o *mqtt5.ClientOptions) { o.Connect.KeepAliveSeconds = &n }
}

// TestLiveness_slowUplink uploads over links on which bytes move all the time,
// but slowly: none of them is dead.
func TestLiveness_slowUplink(t *testing.T) {
	for _, c := range []struct {
		name      string
		keepAlive uint16
		buffer    int // of the network
		piece     int
		gap       time.Duration
		messages  int
		size      int
		qos       mqtt5.QoS
	}{
		{"one large message", 4, 4 << 10, 4 << 10, 440 * time.Millisecond, 1, 400_000, 1},
		{"one large message of QoS 2", 4, 4 << 10, 4 << 10, 440 * time.Millisecond, 1, 200_000, 2},
		{"many small messages", 4, 4 << 10, 1 << 10, 440 * time.Millisecond, 150, 1000, 0},
		{"a message of AWS IoT's size on 1.3 kB/s", 30, 2 << 10, 650, 500 * time.Millisecond, 1, 128 << 10, 1},
		{"long gaps", 4, 4 << 10, 4 << 10, 1500 * time.Millisecond, 1, 100_000, 1},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.JournalLimit(10))
			srv.Script(acknowledgeAll)
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				keepAlive(c.keepAlive)(o)
				o.AckTimeout = -1
				o.Dial = slowUplink(o.Dial, c.buffer, c.piece, c.gap)
			})
			var up []*async
			for range c.messages {
				up = append(up, d.publish(d.ctx, &mqtt5.PublishPacket{Topic: "up", QoS: c.qos, Payload: make([]byte, c.size)}))
			}
			for _, p := range up {
				want(t, "publish", p.wait(), nil)
			}
			time.Sleep(time.Minute)
			d.wantEvents("attempting success")
			d.Close()
			time.Sleep(2 * c.gap) // until the network is gone
		})
	}
}

// acknowledgeAll serves a client that uploads. It does not mind how long a packet
// takes.
func acknowledgeAll(c *mqtttest.Conn) {
	accept(c)
	for {
		p, err := c.Receive()
		if err != nil {
			return
		}
		switch p := p.(type) {
		case mqtttest.Pingreq:
			c.TrySend(mqtttest.Pingresp{})
		case mqtttest.Pubrel:
			c.TrySend(mqtttest.Pubcomp{PacketID: p.PacketID})
		case mqtttest.Publish:
			switch p.QoS {
			case 1:
				c.TrySend(mqtttest.Puback{PacketID: p.PacketID})
			case 2:
				c.TrySend(mqtttest.Pubrec{PacketID: p.PacketID})
			}
		}
	}
}

// slowUplink puts a slow network into the direction to the server: it holds some
// bytes, and a piece of them leaves after each gap.
func slowUplink(dial mqtt5.DialFunc, buffer, piece int, gap time.Duration) mqtt5.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		far, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		client, near := mqtttest.Pipe(buffer)
		pump := func(to, from net.Conn, size int, gap time.Duration) {
			defer to.Close()
			b := make([]byte, size)
			for {
				n, err := from.Read(b)
				if err != nil {
					return
				}
				time.Sleep(gap)
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
		}
		go pump(far, near, piece, gap)
		go pump(near, far, 64<<10, 0)
		return client, nil
	}
}

// TestLiveness_stuckUplink stops the bytes of the client: that is a dead link
// after the keep alive interval and the ping timeout, whatever comes in.
func TestLiveness_stuckUplink(t *testing.T) {
	for name, talk := range map[string]func(c *mqtttest.Conn) error{
		"the server is silent":           func(*mqtttest.Conn) error { return nil },
		"the server sends messages":      func(c *mqtttest.Conn) error { return c.TrySend(mqtttest.Publish{Topic: "in"}) },
		"the server answers no question": func(c *mqtttest.Conn) error { return c.TrySend(mqtttest.Pingresp{}) },
		"the server wants answers": func(c *mqtttest.Conn) error {
			return c.TrySend(mqtttest.Publish{Topic: "in", QoS: 1, PacketID: 7}, mqtttest.Pubrel{PacketID: 9})
		},
	} {
		for _, qos := range []mqtt5.QoS{0, 1} {
			bubble(t, name+", "+qos.String(), func(t *testing.T) {
				srv := mqtttest.NewServer(t, mqtttest.BufferSize(2<<10))
				srv.Script(func(c *mqtttest.Conn) {
					c.Accept()
					for range 1000 {
						if talk(c) != nil {
							return
						}
						time.Sleep(200 * time.Millisecond)
					}
				})
				d := connected(t, srv, func(o *mqtt5.ClientOptions) {
					keepAlive(4)(o)
					o.PingTimeout = time.Second
					o.MinReconnectDelay, o.MaxReconnectDelay = 24*time.Hour, 24*time.Hour
				})
				begun := time.Now()
				up := d.publish(d.ctx, &mqtt5.PublishPacket{Topic: "up", QoS: qos, Payload: make([]byte, 1<<20)})
				for len(d.events()) < 3 {
					time.Sleep(100 * time.Millisecond)
					if time.Since(begun) > time.Minute {
						t.Fatalf("a write that does not move is not noticed; events %q", d.events())
					}
				}
				if took := time.Since(begun); took < 4*time.Second || took > 5500*time.Millisecond {
					t.Errorf("noticed after %v", took)
				}
				want(t, "loss", d.lastLoss().Err, mqtt5.ErrPingTimeout)
				if qos == 0 {
					want(t, "publish", up.wait(), mqtt5.ErrOutcomeUnknown)
				}
			})
		}
	}
}

// TestLiveness_stuckSocket is likewise on a socket, below which the system
// buffers what it does not send.
func TestLiveness_stuckSocket(t *testing.T) {
	lost := make(chan error, 8)
	address := rawServer(t, func(c net.Conn) {
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		if _, err := readRaw(c); err != nil {
			return
		}
		c.Write(mqtttest.Encode(mqtttest.Connack{}))
		for {
			if _, err := c.Write(mqtttest.Encode(mqtttest.Publish{Topic: "in"})); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:           address,
		Connect:           mqtt5.ConnectPacket{ClientID: "device", KeepAliveSeconds: mqtt5.Ptr[uint16](1)},
		MinReconnectDelay: time.Hour, MaxReconnectDelay: time.Hour,
		OnDisconnection: func(d *mqtt5.Disconnection) { lost <- d.Err },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want(t, "start", c.Start(), nil)
	want(t, "connection", c.WaitConnected(context.Background()), nil)
	c.PublishAsync(&mqtt5.PublishPacket{Topic: "up", QoS: 1, Payload: make([]byte, 32<<20)}, nil)
	want(t, "loss", <-lost, mqtt5.ErrPingTimeout)
}

// TestLiveness_pingBehindAnUpload sends a PINGREQ behind bytes that take long:
// its answer is not late before it has left.
func TestLiveness_pingBehindAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.JournalLimit(10))
		srv.Script(acknowledgeAll)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			keepAlive(4)(o)
			o.Dial = slowUplink(o.Dial, 1<<10, 1<<10, 800*time.Millisecond)
		})
		var up []*async
		for range 200 { // something is always on its way
			up = append(up, d.publish(d.ctx, &mqtt5.PublishPacket{Topic: "up", QoS: 0, Payload: make([]byte, 500)}))
		}
		for _, p := range up {
			want(t, "publish", p.wait(), nil)
		}
		d.wantEvents("attempting success")
		if d.Stats().PingRoundTrip == 0 {
			t.Error("there was no PINGREQ")
		}
		d.Close()
		time.Sleep(2 * time.Second) // until the network is gone
	})
}
