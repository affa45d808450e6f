// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestLeak starts and stops clients, and wants every goroutine back.
func TestLeak(t *testing.T) {
	before := runtime.NumGoroutine()
	srv := mqtttest.NewServer(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	one, err := mqtt5.NewClient(options(srv))
	if err != nil {
		t.Fatal(err)
	}
	cycle := func(c *mqtt5.Client) {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitConnected(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a", QoS: 1}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Publish(ctx, message(1, "a", "x")); err != nil {
			t.Fatal(err)
		}
		if err := c.Stop(ctx, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		cycle(one)
	}
	for range 100 {
		c, err := mqtt5.NewClient(options(srv))
		if err != nil {
			t.Fatal(err)
		}
		cycle(c)
		c.Close()
	}
	one.Close()
	srv.Close()
	if list := srv.Failures(); len(list) > 0 {
		t.Error(list)
	}
	// Goroutines that are done may need a moment to be gone.
	for range 10_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines at first, %d now:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
}

// peer is the other end of a client's connection, without the allocations that
// a real server makes: it accepts, answers each QoS 1 message, and sends what
// it is given.
type peer struct {
	conn net.Conn
}

func newPeer(t *testing.T, change func(*mqtt5.ClientOptions)) (*mqtt5.Client, *peer) {
	t.Helper()
	p := &peer{}
	near, far := net.Pipe()
	p.conn = far
	go p.serve()
	o := mqtt5.ClientOptions{
		Address: "server:1883",
		Dial:    func(context.Context, string, string) (net.Conn, error) { return near, nil },
		Connect: mqtt5.ConnectPacket{ClientID: "c"},
	}
	if change != nil {
		change(&o)
	}
	c, err := mqtt5.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		far.Close()
	})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	return c, p
}

// serve answers. Its packets are shorter than 128 bytes.
func (p *peer) serve() {
	b := make([]byte, 128)
	ack := []byte{0x40, 2, 0, 0}
	for {
		if _, err := io.ReadFull(p.conn, b[:2]); err != nil {
			return
		}
		n := int(b[1])
		if _, err := io.ReadFull(p.conn, b[2:2+n]); err != nil {
			return
		}
		switch b[0] {
		case 0x10:
			p.conn.Write([]byte{0x20, 3, 0, 0, 0})
		case 0x32:
			topic := int(b[2])<<8 | int(b[3])
			ack[2], ack[3] = b[4+topic], b[5+topic]
			p.conn.Write(ack)
		}
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates, too: nothing is measured")
		return
	}
	for _, tt := range []struct {
		name    string
		qos     mqtt5.QoS
		measure *mqtt5.DurationHistogram
	}{
		{"QoS 0", 0, nil}, {"QoS 1", 1, nil},
		{"QoS 0, measured", 0, mqtt5.NewDurationHistogram(time.Second)}, {"QoS 1, measured", 1, mqtt5.NewDurationHistogram(time.Second)},
	} {
		t.Run("PublishAsync "+tt.name, func(t *testing.T) {
			c, _ := newPeer(t, func(o *mqtt5.ClientOptions) { o.PublishDurations = tt.measure })
			p := message(tt.qos, "a/b", "payload")
			done := make(chan struct{}, 1)
			callback := func(_ *mqtt5.PublishResult, err error) {
				if err != nil {
					t.Error(err)
				}
				done <- struct{}{}
			}
			publish := func() {
				c.PublishAsync(p, callback)
				<-done
			}
			for range 1000 {
				publish()
			}
			if n := testing.AllocsPerRun(2000, publish); n != 0 {
				t.Errorf("%v allocations a message", n)
			}
		})
	}
	for _, c := range []struct {
		name   string
		borrow bool
		size   int
		limit  float64
	}{
		{"delivery", false, 10, 1}, // the payload
		{"delivery of large messages", false, 64 << 10, 1},
		{"delivery of borrowed messages", true, 10, 0},
		{"delivery of large borrowed messages", true, 64 << 10, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(chan struct{}, 1)
			_, p := newPeer(t, func(o *mqtt5.ClientOptions) {
				o.BorrowPayloads = c.borrow
				o.OnMessage = func(_ context.Context, m mqtt5.Message) {
					if len(m.Payload) != c.size {
						t.Errorf("%d bytes of payload", len(m.Payload))
					}
					got <- struct{}{}
				}
			})
			b := mqtttest.Encode(mqtttest.Publish{Topic: "a/b", QoS: 0, Payload: make([]byte, c.size)})
			receive := func() {
				p.conn.Write(b)
				<-got
			}
			for range 1000 {
				receive()
			}
			if n := testing.AllocsPerRun(2000, receive); n > c.limit {
				t.Errorf("%v allocations a message, at most %v are allowed", n, c.limit)
			}
		})
	}
}
