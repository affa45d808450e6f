// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestReading_pauses blocks a handler: what waits behind it is bounded in number
// and in bytes, and the rest stays in the network.
func TestReading_pauses(t *testing.T) {
	for _, c := range []struct {
		name            string
		size, messages  int
		handled, beyond int // messages that the handler may have, and that may wait
	}{
		{"many messages", 100, 2000, 8 + 41, 8 + 41}, // a read brings 41 at most
		{"large messages", 20 << 10, 100, 14, 14},    // 256 KiB
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10))
			release := make(chan struct{})
			var handled atomic.Int32
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.MaxPendingMessages = 8
				o.OnMessage = func(context.Context, mqtt5.Message) {
					<-release
					handled.Add(1)
				}
			})
			d.start()
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			for range c.messages {
				srv.Publish(mqtttest.Publish{Topic: "in", Payload: make([]byte, c.size)})
			}
			time.Sleep(10 * time.Second)
			stats := d.Stats()
			if taken := int(stats.MessagesReceived) - stats.PendingMessages; taken > c.handled || stats.PendingMessages > c.beyond {
				t.Errorf("%d messages handed over, %d wait", taken, stats.PendingMessages)
			}
			if stats.ReadPauses == 0 {
				t.Error("reading did not pause")
			}
			close(release)
			time.Sleep(10 * time.Second)
			if n := int(handled.Load()); n != c.messages {
				t.Errorf("%d messages of %d", n, c.messages)
			}
		})
	}
}

// TestCallbacks_wait lets callbacks wait for operations, whose answers lie
// behind messages that were not handled yet.
func TestCallbacks_wait(t *testing.T) {
	for _, flood := range []int{0, 50, 5000} {
		bubble(t, fmt.Sprintf("publish and subscribe from a message handler, %d messages behind it", flood), func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10))
			var d *device
			var done atomic.Int32
			d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.MaxPendingMessages = 8
				o.OnMessage = func(_ context.Context, m mqtt5.Message) {
					if string(m.Payload) != "work" {
						return
					}
					if _, err := d.Subscribe(d.ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "b"}}}); err != nil {
						t.Error(err)
					}
					for qos := range mqtt5.QoS(3) {
						if _, err := d.Publish(d.ctx, message(qos, "out", "x")); err != nil {
							t.Error(err)
						}
					}
					done.Add(1)
				}
			})
			d.start()
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			begun := time.Now()
			for range 3 {
				srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("work"), QoS: 1})
				for range flood {
					srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("flood"), QoS: 0})
				}
			}
			for done.Load() < 3 && time.Since(begun) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			if done.Load() != 3 {
				t.Errorf("%d handlers done after %v: %+v", done.Load(), time.Since(begun), d.Stats())
			}
			time.Sleep(time.Second)
			if n := len(d.received()); n != 3*(flood+1) {
				t.Errorf("%d messages", n)
			}
			if flood > 50 && d.Stats().ReadPauses == 0 {
				t.Error("reading never paused")
			}
		})
	}
	bubble(t, "from every lifecycle handler, and from a PublishAsync callback", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.RefuseDial(nil)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectPublish()
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.Close()
		})
		var d *device
		var calls []string
		ok := func(where string) {
			ctx, cancel := context.WithTimeout(d.ctx, time.Second)
			defer cancel()
			_, err := d.Publish(ctx, message(1, "a", "x"))
			calls = append(calls, fmt.Sprintf("%s %v", where, err == nil))
			d.Stats()
			d.State()
			d.Settings()
		}
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnAttemptingConnect = func(*mqtt5.AttemptingConnect) { ok("attempting") }
			o.OnConnectionFailure = func(*mqtt5.ConnectionFailure) { ok("failure") }
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { ok("success") }
			o.OnDisconnection = func(*mqtt5.Disconnection) { ok("disconnection") }
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Minute)
		d.PublishAsync(message(1, "a", "x"), func(_ *mqtt5.PublishResult, err error) {
			if err != nil {
				t.Error(err)
			}
			ok("callback")
		})
		synctest.Wait()
		if !slices.Contains(calls, "success true") || !slices.Contains(calls, "callback true") || len(calls) < 6 {
			t.Errorf("calls %q", calls)
		}
	})
	bubble(t, "a blocked handler does not stop the keep alive", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Send(raw(1, 1, "in"))
			for range 30 {
				c.ExpectPingreq()
				c.Send(mqtttest.Pingresp{})
			}
			c.ExpectPuback() // when the handler is done
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](10)
			o.OnMessage = func(context.Context, mqtt5.Message) { time.Sleep(305 * time.Second) }
		})
		time.Sleep(306 * time.Second)
		d.wantEvents("attempting success")
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

func TestAcknowledgement(t *testing.T) {
	setUp := func(t *testing.T, qos byte, script func(c *mqtttest.Conn)) (*device, *mqtt5.Ack) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(raw(qos, 7, "in"))
			script(c)
		})
		srv.HangDial()
		acks := make(chan *mqtt5.Ack, 1)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(_ context.Context, m mqtt5.Message) {
				ack, err := m.TakeAck()
				if err != nil {
					t.Error(err)
				}
				if _, err := m.TakeAck(); qos > 0 && !errors.Is(err, mqtt5.ErrAckTwice) {
					t.Errorf("taken twice: %v", err)
				}
				acks <- ack
			}
		})
		return d, <-acks
	}
	bubble(t, "once", func(t *testing.T) {
		_, ack := setUp(t, 1, func(c *mqtttest.Conn) {
			c.ExpectSilence(time.Minute)
			c.ExpectPacket(mqtttest.Puback{PacketID: 7})
			c.ExpectSilence(time.Minute)
		})
		time.Sleep(time.Minute + time.Second)
		want(t, "first", ack.Accept(), nil)
		want(t, "second", ack.Accept(), mqtt5.ErrAckTwice)
		want(t, "third", ack.Reject(mqtt5.PubackQuotaExceeded, ""), mqtt5.ErrAckTwice)
		time.Sleep(2 * time.Minute)
	})
	bubble(t, "rejected", func(t *testing.T) {
		_, ack := setUp(t, 2, func(c *mqtttest.Conn) {
			c.ExpectPacket(mqtttest.Pubrec{PacketID: 7, ReasonCode: mqtttest.PayloadFormatInvalid, ReasonString: str("not JSON")})
		})
		var invalid *mqtt5.ValidationError
		for _, code := range []mqtt5.PubackReasonCode{mqtt5.PubackSuccess, mqtt5.PubackPacketIdentifierNotFound, 0x8E} {
			if err := ack.Reject(code, ""); !errors.As(err, &invalid) {
				t.Errorf("%v: %v", code, err)
			}
		}
		if err := ack.Reject(mqtt5.PubackQuotaExceeded, "a\x00"); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
		want(t, "reject", ack.Reject(mqtt5.PubackPayloadFormatInvalid, "not JSON"), nil)
		time.Sleep(2 * time.Second)
	})
	bubble(t, "stale", func(t *testing.T) {
		_, ack := setUp(t, 1, func(c *mqtttest.Conn) { c.Sleep(time.Second) })
		time.Sleep(2 * time.Second)
		want(t, "accept", ack.Accept(), mqtt5.ErrAckStale)
		want(t, "reject", ack.Reject(mqtt5.PubackQuotaExceeded, ""), mqtt5.ErrAckStale)
		time.Sleep(time.Second)
	})
	bubble(t, "QoS 0 needs none", func(t *testing.T) {
		_, ack := setUp(t, 0, func(c *mqtttest.Conn) { c.ExpectSilence(time.Second) })
		want(t, "accept", ack.Accept(), nil)
		want(t, "accept", ack.Accept(), nil)
		time.Sleep(3 * time.Second)
	})
	bubble(t, "after the end of the handler", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(raw(1, 7, "in"))
			c.ExpectPacket(mqtttest.Puback{PacketID: 7})
			c.Drain()
		})
		var kept mqtt5.Message
		connected(t, srv, func(o *mqtt5.ClientOptions) { o.OnMessage = func(_ context.Context, m mqtt5.Message) { kept = m } })
		synctest.Wait()
		if _, err := kept.TakeAck(); !errors.Is(err, mqtt5.ErrAckTwice) && !errors.Is(err, mqtt5.ErrAckStale) {
			t.Errorf("got %v", err)
		}
	})
}

func TestHandle(t *testing.T) {
	bubble(t, "MQTT-4.7.2-1 MQTT-4.7.3-4 filters match as those of a server", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		topics := []string{"a", "a/b", "a/b/c", "/a", "a/", "A", "$sys", "$sys/a", "$aws/things/x", "é", "b//c"}
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			for _, topic := range topics {
				c.Send(mqtttest.Publish{Topic: topic})
			}
			c.Drain()
		})
		matches := map[string]string{
			"a":               "a",
			"a/b":             "a/b",
			"a/+":             "a/b a/",
			"a/#":             "a a/b a/b/c a/",
			"+/b/#":           "a/b a/b/c",
			"+/+":             "a/b /a a/",
			"/+":              "/a",
			"+":               "a A é",
			"#":               "a a/b a/b/c /a a/ A é b//c",
			"$sys/#":          "$sys $sys/a",
			"$sys/+":          "$sys/a",
			"$aws/things/+":   "$aws/things/x",
			"$share/g/a/#":    "a a/b a/b/c a/",
			"$share/g/+":      "a A é",
			"$share/g/$sys/#": "$sys $sys/a",
			"b/+/c":           "b//c",
			"b//c":            "b//c",
			"nothing":         "",
		}
		got := map[string][]string{}
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(_ context.Context, m mqtt5.Message) { t.Errorf("%q has no handler", m.Topic) }
		})
		for filter := range matches {
			if _, err := d.Handle(filter, func(_ context.Context, m mqtt5.Message) { got[filter] = append(got[filter], m.Topic) }); err != nil {
				t.Fatal(err)
			}
		}
		d.start()
		synctest.Wait()
		for filter, want := range matches {
			if s := strings.Join(got[filter], " "); s != want {
				t.Errorf("%q matches %q, want %q", filter, s, want)
			}
		}
	})
	bubble(t, "a panic of one handler keeps nothing from the others", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(raw(1, 1, "a"), raw(1, 2, "b"))
			c.ExpectPuback()
			c.ExpectPuback()
			c.Drain()
		})
		var handled []string
		d := newDevice(t, srv, nil)
		for _, name := range []string{"one", "two"} {
			_, err := d.Handle("a", func(context.Context, mqtt5.Message) {
				handled = append(handled, name)
				panic(name)
			})
			want(t, "handle", err, nil)
		}
		d.start()
		d.wantMessages("b=x")
		if len(handled) != 2 {
			t.Errorf("handled by %q", handled)
		}
	})
	bubble(t, "removed, and what is wrong", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, nil)
		n := 0
		remove, err := d.Handle("a", func(context.Context, mqtt5.Message) { n++ })
		want(t, "handle", err, nil)
		other, err := d.Handle("a/b", func(context.Context, mqtt5.Message) { n += 10 })
		want(t, "handle", err, nil)
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "a/#").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "a"})
		synctest.Wait()
		remove()
		remove()
		srv.Publish(mqtttest.Publish{Topic: "a"})
		srv.Publish(mqtttest.Publish{Topic: "a/b"})
		synctest.Wait()
		other()
		if n != 11 {
			t.Errorf("handlers got %d", n)
		}
		d.wantMessages("a=")
		var invalid *mqtt5.ValidationError
		if _, err := d.Handle("a/#/b", func(context.Context, mqtt5.Message) {}); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
		if _, err := d.Handle("a", nil); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
	})
}

// TestPanics lets every callback panic: the client goes on.
func TestPanics(t *testing.T) {
	bubble(t, "everywhere", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.RefuseDial(nil)
		var mu sync.Mutex
		var panics []string
		boom := func() { panic("boom") }
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnAttemptingConnect = func(*mqtt5.AttemptingConnect) { boom() }
			o.OnConnectionFailure = func(*mqtt5.ConnectionFailure) { boom() }
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { boom() }
			o.OnDisconnection = func(*mqtt5.Disconnection) { boom() }
			o.OnStopped = func(*mqtt5.Stopped) { boom() }
			o.OnMessage = func(context.Context, mqtt5.Message) { boom() }
			o.ShouldRetry = func(mqtt5.RetryInfo) bool { boom(); return false }
			o.OnPanic = func(e *mqtt5.PanicError) {
				if e.Value != "boom" || len(e.Stack) == 0 || !strings.Contains(e.Error(), e.Callback) {
					t.Errorf("%+v", e)
				}
				mu.Lock() // lanes may panic at the same time
				panics = append(panics, e.Callback)
				mu.Unlock()
				panic("again")
			}
		})
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "#").wait(), nil)
		d.PublishAsync(message(1, "a", "x"), func(*mqtt5.PublishResult, error) { boom() })
		time.Sleep(time.Second)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for _, name := range []string{"OnAttemptingConnect", "OnConnectionFailure", "ShouldRetry", "OnConnectionSuccess", "message handler",
			"PublishAsync callback", "OnDisconnection", "OnStopped"} {
			if !slices.Contains(panics, name) {
				t.Errorf("no panic of %s in %q", name, panics)
			}
		}
	})
	for name, change := range map[string]func(*mqtt5.ClientOptions){
		"PrepareConnect": func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(context.Context, *mqtt5.ConnectPacket) error { panic("boom") }
		},
		"Dial": func(o *mqtt5.ClientOptions) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) { panic("boom") }
		},
		"Authenticator": func(o *mqtt5.ClientOptions) { o.Authenticator = panickyBegin{} },
	} {
		bubble(t, name+" fails the attempt", func(t *testing.T) {
			d := newDevice(t, mqtttest.NewServer(t), change)
			want(t, "start", d.Start(), nil)
			time.Sleep(10 * time.Second)
			var e *mqtt5.PanicError
			if f := d.lastFailure(); !errors.As(f.Err, &e) || e.Callback != name || f.Attempt < 3 {
				t.Errorf("got %+v", f)
			}
		})
	}
	bubble(t, "Hint leaves the error without one", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(mqtttest.Connack{ReasonCode: mqtttest.Banned})
			c.ExpectClosed()
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.Hint = func(mqtt5.Refusal) string { panic("boom") } })
		want(t, "failure", d.lastFailure().Err, mqtt5.ErrConnectionRefused)
	})
}

type panickyBegin struct{ scripted }

func (panickyBegin) Begin(context.Context) ([]byte, error) { panic("boom") }

func TestResubscribe(t *testing.T) {
	bubble(t, "what was granted, but for what is refused now", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectSubscribe()
			c.Send(mqtttest.Suback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{1, 1, mqtttest.NotAuthorized, 1}})
			u := c.ExpectUnsubscribe()
			c.Send(mqtttest.Unsuback{PacketID: u.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}})
			c.Close()
		})
		srv.Script(func(c *mqtttest.Conn) { // the session is still there: nothing to do
			accept(c, resumed)
			c.ExpectSilence(time.Minute)
			c.Close()
		})
		filters := func(p mqtttest.Subscribe) string {
			var list []string
			for _, s := range p.Subscriptions {
				list = append(list, fmt.Sprint(s.TopicFilter, s.QoS))
			}
			slices.Sort(list)
			return strings.Join(list, " ")
		}
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectSubscribe()
			if s := filters(p); s != "a1 b1" {
				c.Errorf("subscribes to %s", s)
			}
			codes := []mqtttest.ReasonCode{1, 1}
			for i, s := range p.Subscriptions {
				if s.TopicFilter == "b" {
					codes[i] = mqtttest.NotAuthorized
				}
			}
			c.Send(mqtttest.Suback{PacketID: p.PacketID, ReasonCodes: codes})
			c.Sleep(time.Second)
			c.Close()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectSubscribe()
			if s := filters(p); s != "a1" {
				c.Errorf("subscribes to %s", s)
			}
			c.Sleep(time.Second)
		})
		srv.HangDial()
		var reports []*mqtt5.Resubscription
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			persistent(o)
			o.Resubscribe = true
			o.OfflineQueuePolicy = mqtt5.FailAllOnDisconnect
			o.OnResubscribe = func(r *mqtt5.Resubscription) { reports = append(reports, r) }
		})
		var refused *mqtt5.AckError
		if err := d.subscribe(d.ctx, "a", "b", "c", "d").wait(); !errors.As(err, &refused) || refused.ReasonCode != 0x87 || len(refused.Failures) != 1 {
			t.Errorf("subscribe: %v", err)
		}
		_, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"d"}})
		want(t, "unsubscribe", err, nil)
		time.Sleep(75 * time.Second)
		synctest.Wait()
		if len(reports) != 2 || !slices.Equal(reports[0].Restored, []string{"a"}) || len(reports[0].Refused) != 1 || !errors.As(reports[0].Refused["b"], &refused) ||
			!errors.Is(reports[1].Err, mqtt5.ErrConnectionLost) {
			t.Errorf("reports %+v", reports)
		}
	})
}
