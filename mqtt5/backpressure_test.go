// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestAnswers_areBounded floods the client with what it has to answer, while
// the server reads none of that: reading has to stop.
func TestAnswers_areBounded(t *testing.T) {
	for name, flood := range map[string]mqtttest.Packet{
		"PUBREL":                   mqtttest.Pubrel{PacketID: 7},
		"PUBREC":                   mqtttest.Pubrec{PacketID: 7},
		"a repeated QoS 2 message": mqtttest.Publish{Topic: "in", QoS: 2, PacketID: 7},
		"QoS 1 messages":           mqtttest.Publish{Topic: "in", QoS: 1, PacketID: 7},
	} {
		bubble(t, name, func(t *testing.T) {
			const buffer, total = 4 << 10, 8 << 20
			srv := mqtttest.NewServer(t, mqtttest.BufferSize(buffer), mqtttest.JournalLimit(10))
			many := bytes.Repeat(mqtttest.Encode(flood), 1000)
			var sent atomic.Int64
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept()
				nc := c.NetConn()
				for range total / len(many) {
					n, err := nc.Write(many)
					sent.Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				o.PingTimeout = time.Second
				keepAlive(10)(o)
				o.MinReconnectDelay, o.MaxReconnectDelay = 24*time.Hour, 24*time.Hour
			})
			time.Sleep(9 * time.Second)
			if s := d.State(); s != mqtt5.StateConnected {
				t.Fatalf("state %v", s)
			}
			taken, answers := sent.Load(), int64(d.Stats().PacketsSent)*4
			if answers > 2*256<<10+2*buffer+80<<10 || taken > total/2 {
				t.Errorf("the client took %d bytes, to which it has %d bytes of answers", taken, answers)
			}
			time.Sleep(time.Minute)
			want(t, "loss", d.lastLoss().Err, mqtt5.ErrPingTimeout) // none of the answers moves
		})
		if name == "a repeated QoS 2 message" {
			continue // not each of them is answered
		}
		bubble(t, name+", and the server reads at last", func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.JournalLimit(10))
			many := bytes.Repeat(mqtttest.Encode(flood), 1000)
			const rounds = 400
			written := make(chan struct{})
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept()
				nc := c.NetConn()
				go func() {
					defer close(written)
					for range rounds {
						if _, err := nc.Write(many); err != nil {
							c.Errorf("%v", err)
							return
						}
					}
				}()
				c.Sleep(5 * time.Second)
				b := make([]byte, 64<<10)
				for answers := 0; answers < rounds*1000*4; {
					n, err := nc.Read(b)
					if err != nil {
						c.Errorf("after %d bytes of answers: %v", answers, err)
						break
					}
					answers += n
				}
				<-written
			})
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				keepAlive(10)(o)
				o.MinReconnectDelay, o.MaxReconnectDelay = 24*time.Hour, 24*time.Hour
			})
			d.start()
			srv.Wait()
		})
	}
}

// TestPending_boundedWhileOthersWait keeps handlers busy while other goroutines
// wait for operations all the time: they are no handlers, and do not let more
// messages in.
func TestPending_boundedWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10), mqtttest.WithBroker(mqtttest.BrokerOptions{Delay: 10 * time.Millisecond}),
			mqtttest.JournalLimit(10))
		var handled atomic.Int32
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.MaxPendingMessages = 64
			o.OnMessage = func(context.Context, mqtt5.Message) {
				time.Sleep(20 * time.Millisecond)
				handled.Add(1)
			}
		})
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		ctx, cancel := context.WithCancel(d.ctx)
		for range 4 {
			go func() {
				for ctx.Err() == nil {
					d.Publish(ctx, message(1, "out", "x"))
				}
			}()
		}
		const all = 5000
		for range all {
			srv.Publish(mqtttest.Publish{Topic: "in", Payload: make([]byte, 50)})
		}
		most := 0
		for handled.Load() < all {
			time.Sleep(50 * time.Millisecond)
			most = max(most, d.Stats().PendingMessages)
		}
		cancel()
		if limit := 64 + 4096/55; most > limit { // a read brings that many at most
			t.Errorf("%d messages waited, limit %d", most, limit)
		}
	})
}

// TestPending_boundedAfterAHandlerWaited floods a client whose handlers are slow,
// after one of them has published and has its answer.
func TestPending_boundedAfterAHandlerWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10), mqtttest.WithBroker(mqtttest.BrokerOptions{Delay: 10 * time.Millisecond}),
			mqtttest.JournalLimit(10))
		var d *device
		handled := 0
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.MaxPendingMessages = 64
			o.OnMessage = func(ctx context.Context, m mqtt5.Message) {
				if m.Topic == "ask" {
					_, err := d.Publish(ctx, message(1, "answer", "x"))
					want(t, "publish", err, nil)
					return
				}
				time.Sleep(20 * time.Millisecond)
				handled++
			}
		})
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "in", "ask").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "ask"})
		time.Sleep(time.Second)
		const all = 500
		for range all {
			srv.Publish(mqtttest.Publish{Topic: "in", Payload: make([]byte, 50)})
		}
		most := 0
		for range 1000 {
			time.Sleep(20 * time.Millisecond)
			most = max(most, d.Stats().PendingMessages)
		}
		synctest.Wait()
		if limit := 64 + 4096/55; handled != all || most > limit { // a read brings that many at most
			t.Errorf("%d messages handled, %d waited, limit %d", handled, most, limit)
		}
	})
}

// TestPending_countsWholePackets hoards everything but payload.
func TestPending_countsWholePackets(t *testing.T) {
	for name, p := range map[string]mqtttest.Publish{
		"user properties":  {Topic: "in", UserProperties: []mqtttest.UserProperty{{Name: "k", Value: strings.Repeat("v", 40<<10)}}},
		"correlation data": {Topic: "in", CorrelationData: make([]byte, 40<<10)},
		"topic":            {Topic: strings.Repeat("t", 40<<10)},
		"payload":          {Topic: "in", Payload: make([]byte, 40<<10)},
	} {
		for _, borrow := range []bool{false, true} {
			bubble(t, name, func(t *testing.T) {
				srv := mqtttest.NewServer(t, mqtttest.JournalLimit(10))
				const all = 60
				srv.Script(func(c *mqtttest.Conn) {
					c.Accept()
					for range all {
						c.Send(p)
					}
					c.Drain()
				})
				release := make(chan struct{})
				var handled atomic.Int32
				d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
					o.BorrowPayloads = borrow
					o.OnMessage = func(context.Context, mqtt5.Message) {
						<-release
						handled.Add(1)
					}
				})
				d.start()
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := d.Stats().MessagesReceived; n > 2*(256/40+3) { // in hand, and waiting
					t.Errorf("%d messages were read", n)
				}
				close(release)
				time.Sleep(time.Minute)
				if n := handled.Load(); n != all {
					t.Errorf("%d messages of %d", n, all)
				}
			})
		}
	}
}

// TestBurst_beforeTheEnd ends connections behind more messages than may wait.
func TestBurst_beforeTheEnd(t *testing.T) {
	const messages = 1100
	burst := func() (list []mqtttest.Packet) {
		for range messages {
			list = append(list, mqtttest.Publish{Topic: "in", Payload: []byte("0123456789")})
		}
		return list
	}
	for name, end := range map[string]func(c *mqtttest.Conn){
		"DISCONNECT": func(c *mqtttest.Conn) {
			c.Send(append(burst(), mqtttest.Disconnect{ReasonCode: mqtttest.ServerShuttingDown})...)
			c.ExpectClosed()
		},
		"DISCONNECT and FIN": func(c *mqtttest.Conn) {
			c.Send(append(burst(), mqtttest.Disconnect{ReasonCode: mqtttest.ServerShuttingDown})...)
			c.Close()
		},
		"FIN":   func(c *mqtttest.Conn) { c.Send(burst()...); c.Close() },
		"reset": func(c *mqtttest.Conn) { c.Send(burst()...); c.Sleep(time.Millisecond); c.Reset() },
	} {
		for _, limit := range []int{1, 8, 1024, 5000} {
			bubble(t, name, func(t *testing.T) {
				srv := mqtttest.NewServer(t, mqtttest.JournalLimit(10))
				srv.Script(func(c *mqtttest.Conn) {
					c.Accept()
					end(c)
				})
				release := make(chan struct{})
				var handled atomic.Int32
				d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
					o.MaxPendingMessages = limit
					o.OnMessage = func(context.Context, mqtt5.Message) { <-release; handled.Add(1) }
				})
				want(t, "start", d.Start(), nil)
				time.Sleep(time.Second / 2)
				if name == "FIN" { // which is read when there is room
					close(release)
				}
				time.Sleep(time.Second + 10*time.Millisecond)
				if s := d.State(); s != mqtt5.StateConnected && name != "reset" {
					t.Errorf("state %v; events %q", s, d.events())
				}
				if name != "FIN" {
					close(release)
				}
				time.Sleep(3 * time.Second)
				if n := handled.Load(); n != messages && name != "reset" {
					t.Errorf("%d messages of %d", n, messages)
				}
				if s := d.State(); s != mqtt5.StateConnected {
					t.Errorf("state %v; events %q", s, d.events())
				}
			})
		}
	}
}

// TestHandler_mayWaitWhileReadingPauses lets a handler call everything that
// waits, while more messages than may wait lie before the answer.
func TestHandler_mayWaitWhileReadingPauses(t *testing.T) {
	flood := func(c *mqtttest.Conn) {
		for range 50 {
			c.Send(mqtttest.Publish{Topic: "in", Payload: make([]byte, 1000)})
		}
	}
	const (
		otherContext = iota // the handler waits, with a context of its own
		ownContext          // with the one that it got
		helper              // a goroutine that it has started waits, with the context of the handler
	)
	for _, way := range []int{otherContext, ownContext, helper} {
		// waiting calls f as the handler says.
		waiting := func(ctx, other context.Context, f func(context.Context)) {
			switch way {
			case otherContext:
				f(other)
			case ownContext:
				f(ctx)
			case helper:
				var helpers sync.WaitGroup
				helpers.Go(func() { f(ctx) })
				helpers.Wait()
			}
		}
		bubble(t, "re-authenticate", func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10))
			srv.Script(func(c *mqtttest.Conn) {
				c.ExpectConnect()
				c.Send(welcome)
				flood(c)
				c.ExpectAuth()
				c.Send(auth(mqtttest.Success, "again"))
				c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			var d *device
			done := false
			d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.Authenticator = scripted{}
				o.MaxPendingMessages = 2
				o.OnMessage = func(ctx context.Context, _ mqtt5.Message) {
					if done {
						return
					}
					time.Sleep(time.Second) // until reading pauses
					waiting(ctx, d.ctx, func(ctx context.Context) {
						want(t, "re-authentication", d.Reauthenticate(ctx), nil)
					})
					done = true
				}
			})
			d.start()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if !done {
				t.Error("the handler waits for ever")
			}
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
		bubble(t, "wait for a connection after this one", func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10))
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept()
				flood(c)
				c.Close()
			})
			var d *device
			done := false
			d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.MaxPendingMessages = 2
				o.OnMessage = func(ctx context.Context, _ mqtt5.Message) {
					if done {
						return
					}
					waiting(ctx, d.ctx, func(ctx context.Context) {
						_, err := d.Publish(ctx, message(1, "out", "x")) // acknowledged by the next server
						want(t, "publish", err, nil)
					})
					done = true
				}
			})
			want(t, "start", d.Start(), nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			if !done {
				t.Error("the handler waits for ever")
			}
		})
	}
}

// rawServer serves connections on the loopback interface, byte by byte.
func rawServer(t *testing.T, serve func(c net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

// readRaw reads a packet.
func readRaw(c net.Conn) (mqtttest.Packet, error) {
	var b []byte
	one := make([]byte, 1)
	for {
		if _, err := c.Read(one); err != nil {
			return nil, err
		}
		b = append(b, one[0])
		if p, _, err := mqtttest.Decode(b, mqtttest.FromClient); err == nil {
			return p, nil
		}
	}
}
