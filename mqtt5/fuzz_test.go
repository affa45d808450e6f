// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// FuzzServer sends random bytes to a client in the midst of everything: it must
// not panic or hang, and be connected again in the end, with no more goroutines
// than before. What it allocates meanwhile depends on how much was sent, and not
// on the lengths that the bytes claim.
func FuzzServer(f *testing.F) {
	code := []mqtttest.ReasonCode{0}
	id, alias := mqtttest.Ptr[uint32](1), mqtttest.Ptr[uint16](1)
	for _, p := range []mqtttest.Packet{
		mqtttest.Connack{}, mqtttest.Connack{SessionPresent: true}, mqtttest.Connack{ReasonCode: mqtttest.ServerBusy},
		raw(0, 0, "a"), raw(1, 1, "a"), raw(2, 1, "a"), mqtttest.Publish{Topic: "a", TopicAlias: alias, ContentType: str("x")},
		mqtttest.Puback{PacketID: 3}, mqtttest.Pubrec{PacketID: 4}, mqtttest.Pubrel{PacketID: 1}, mqtttest.Pubcomp{PacketID: 4},
		mqtttest.Suback{PacketID: 1, ReasonCodes: code}, mqtttest.Unsuback{PacketID: 2, ReasonCodes: code}, mqtttest.Pingresp{},
		mqtttest.Disconnect{ReasonCode: mqtttest.ServerMoved, ServerReference: str("x")}, mqtttest.Auth{ReasonCode: 0x18, AuthenticationMethod: str("M")},
		mqtttest.Concat(mqtttest.Pubrec{PacketID: 4}, mqtttest.Pubcomp{PacketID: 4}, mqtttest.Puback{PacketID: 3}),
		mqtttest.Publish{Topic: "a", SubscriptionIdentifiers: []uint32{*id}, UserProperties: []mqtttest.UserProperty{{Name: "k", Value: "v"}}},
		mqtttest.Raw{0x30, 0xff, 0xff, 0xff, 0x7f}, mqtttest.Raw{0x30, 0xff, 0xff, 0xff, 0xff},
		mqtttest.Raw("\x30\xff\xff\x41 1 MiB and a little more"),
	} {
		f.Add(mqtttest.Encode(p), true, uint8(0))
		f.Add(mqtttest.Encode(p), false, uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, accepted bool, piece uint8) {
		synctest.Test(t, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			serve := func(c *mqtttest.Conn) {
				c.Accept(mqtttest.Connack{AuthenticationMethod: str("M")})
				c.Serve()
			}
			srv.Script(serve)
			srv.Script(func(c *mqtttest.Conn) {
				c.SetReadSize(int(piece))
				c.ExpectConnect()
				if accepted {
					c.TrySend(mqtttest.Connack{AuthenticationMethod: str("M")})
					c.Sleep(time.Millisecond)
				}
				c.TrySend(mqtttest.Raw(b))
				c.Sleep(time.Second)
			})
			srv.Script(serve)
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				persistent(o)
				o.Authenticator = scripted{}
				o.TopicAliasing.Inbound = true
				o.Connect.ReceiveMaximum = mqtt5.Ptr[uint16](10)
				o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](10)
			})
			d.start()
			time.Sleep(time.Second)
			synctest.Wait()
			goroutines, allocated := runtime.NumGoroutine(), allocations()
			srv.Conns()[0].Reset()
			synctest.Wait()
			subscribed := d.subscribe(d.ctx, "a")
			unsubscribed := d.do(func() error {
				_, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"b"}})
				return err
			})
			var published []*async
			for qos := mqtt5.QoS(1); qos <= 2; qos++ {
				published = append(published, d.publish(d.ctx, message(qos, "a", "x")))
			}
			time.Sleep(time.Minute)
			d.await()
			if n := d.Stats().Connections; n < 2 {
				t.Error("never connected again")
			}
			for _, a := range append(published, subscribed, unsubscribed) {
				_ = a.wait() // they end, somehow
			}
			if s := d.Stats(); s.IncompleteOperations != 0 || s.QueuedOperations != 0 {
				t.Errorf("left over: %+v", s)
			}
			if n := allocations() - allocated; n > 4<<20+100*uint64(len(b)) {
				t.Errorf("%d bytes allocated for %d received", n, len(b))
			}
			synctest.Wait()
			if n := runtime.NumGoroutine(); n > goroutines {
				t.Errorf("%d goroutines, %d before", n, goroutines)
			}
		})
	})
}

// allocations returns how many bytes were ever allocated.
func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestServer_randomBytes lets one client live through hundreds of connections
// that end in random bytes: it always connects again, and has no more
// goroutines and memory in the end than after the first few.
func TestServer_randomBytes(t *testing.T) {
	const rounds, warm = 600, 200
	random := rand.New(rand.NewPCG(11, 12))
	packets := []mqtttest.Packet{
		mqtttest.Connack{}, raw(0, 0, "a"), raw(1, 1, "a"), raw(2, 1, "a"), mqtttest.Publish{Topic: "a", TopicAlias: mqtttest.Ptr[uint16](1)},
		mqtttest.Puback{PacketID: 1}, mqtttest.Pubrec{PacketID: 2}, mqtttest.Pubrel{PacketID: 1}, mqtttest.Pubcomp{PacketID: 2},
		mqtttest.Suback{PacketID: 3, ReasonCodes: []mqtttest.ReasonCode{0}}, mqtttest.Pingresp{}, mqtttest.Disconnect{ReasonCode: mqtttest.ServerBusy},
	}
	// bytes are packets of which some have a byte replaced.
	bytes := func() (b mqtttest.Raw) {
		for range 1 + random.IntN(5) {
			p := mqtttest.Encode(packets[random.IntN(len(packets))])
			if random.IntN(2) == 0 {
				p[random.IntN(len(p))] = byte(random.Uint32())
			}
			b = append(b, p...)
		}
		return b
	}
	bubble(t, "one client", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.JournalLimit(10), mqtttest.CollectFailures())
		var conns atomic.Int32
		calm := make(chan *mqtttest.Conn)
		for i := range rounds {
			if i == warm {
				srv.Script(func(c *mqtttest.Conn) {
					c.Accept()
					calm <- c
					c.Serve()
				})
			}
			b, accepted := bytes(), random.IntN(8) > 0
			srv.Script(func(c *mqtttest.Conn) {
				conns.Add(1)
				c.ExpectConnect()
				if accepted {
					c.TrySend(mqtttest.Connack{})
					c.Sleep(time.Second)
				}
				c.TrySend(b)
				c.Sleep(time.Second)
			})
		}
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			calm <- c
			c.Serve()
		})
		c, err := mqtt5.NewClient(mqtt5.ClientOptions{
			Address: "server.example:1883", Dial: srv.DialContext, Connect: mqtt5.ConnectPacket{ClientID: "device"},
			TopicAliasing: mqtt5.TopicAliasOptions{Inbound: true}, SessionBehavior: mqtt5.SessionRejoinPostSuccess,
			OnMessage: func(context.Context, mqtt5.Message) {}, MaxReconnectDelay: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want(t, "start", c.Start(), nil)
		// until publishes every second up to the next calm connection, and
		// measures there.
		until := func() (conn *mqtttest.Conn, goroutines int, heap uint64) {
			for conn == nil {
				for qos := range mqtt5.QoS(3) {
					c.PublishAsync(message(qos, "a", "x"), nil)
				}
				select {
				case conn = <-calm:
				case <-time.After(time.Second):
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return conn, runtime.NumGoroutine(), m.HeapAlloc
		}
		conn, goroutines, heap := until()
		if n := conns.Load(); n != warm {
			t.Fatalf("%d connections before the first calm one", n)
		}
		conn.Reset()
		_, n, bytes := until()
		if n > goroutines || bytes > heap+256<<10 {
			t.Errorf("%d goroutines and %d bytes, %d and %d before", n, bytes, goroutines, heap)
		}
		if n := conns.Load(); n != rounds {
			t.Errorf("%d connections before the second calm one", n)
		}
		if s := c.State(); s != mqtt5.StateConnected {
			t.Errorf("%v in the end", s)
		}
		if s := c.Stats(); s.IncompleteOperations != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}
