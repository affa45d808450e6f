// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestMessages_collectsFromTheCallOn begins the loop late.
func TestMessages_collectsFromTheCallOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(1<<10))
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.MaxPendingMessages = 10 })
		ctx, cancel := context.WithCancel(d.ctx)
		seq, err := d.Messages(ctx, "in")
		want(t, "messages", err, nil)
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		const all = 300
		for n := range all {
			srv.Publish(mqtttest.Publish{Topic: "in", QoS: 1, Payload: fmt.Append(nil, n)})
		}
		time.Sleep(time.Minute)
		if n := d.Stats().PendingMessages; n > 100 {
			t.Errorf("%d messages wait", n)
		}
		n := 0
		for m := range seq {
			if string(m.Payload) != fmt.Sprint(n) {
				t.Errorf("message %d is %s", n, m.Payload)
			}
			if n++; n == all {
				break
			}
		}
		cancel()
		synctest.Wait()
		if s := d.Stats(); s.UnhandledMessages != 0 {
			t.Errorf("%d count as unhandled", s.UnhandledMessages)
		}
		if acks := mqtttest.PacketsOf[mqtttest.Puback](srv.Journal()); len(acks) < all {
			t.Errorf("%d of %d are acknowledged", len(acks), all)
		}
	})
}

// TestMessages_leftOnes leaves the loop, or never begins it: what was collected
// counts once, and holds back nothing.
func TestMessages_leftOnes(t *testing.T) {
	for _, c := range []struct {
		name  string
		loops int // messages that the loop takes
		sent  int
		code  mqtt5.PubackReasonCode
	}{
		{"never begun", 0, 10, 0},
		{"never begun, and more than it has room for", 0, 100, 0},
		{"left after some", 3, 10, 0},
		{"left after some, and rejected", 3, 10, mqtt5.PubackImplementationSpecificError},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.RejectUnhandled = c.code })
			ctx, cancel := context.WithCancel(d.ctx)
			seq, err := d.Messages(ctx, "in")
			want(t, "messages", err, nil)
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			for range c.sent {
				srv.Publish(mqtttest.Publish{Topic: "in", QoS: 1})
			}
			time.Sleep(time.Minute)
			n := 0
			if c.loops > 0 {
				for range seq {
					if n++; n == c.loops {
						break
					}
				}
			}
			cancel()
			time.Sleep(time.Minute)
			synctest.Wait()
			stats := d.Stats()
			if left := c.sent - len(d.received()) - c.loops; stats.UnhandledMessages != uint64(left) {
				t.Errorf("%d count as unhandled, %d were left", stats.UnhandledMessages, left)
			}
			acks := mqtttest.PacketsOf[mqtttest.Puback](srv.Journal())
			rejected := 0
			for _, a := range acks {
				if a.ReasonCode == mqtttest.ReasonCode(c.code) && c.code != 0 {
					rejected++
				}
			}
			if wantRejected := int(stats.UnhandledMessages); len(acks) != c.sent || c.code != 0 && rejected != wantRejected {
				t.Errorf("%d of %d acknowledged, %d rejected", len(acks), c.sent, rejected)
			}
		})
	}
}

// TestUnhandled_isCountedAndRejected has no handler at all.
func TestUnhandled_isCountedAndRejected(t *testing.T) {
	for _, code := range []mqtt5.PubackReasonCode{0, mqtt5.PubackImplementationSpecificError} {
		bubble(t, code.String(), func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(c *mqtttest.Conn) {
				accept(c)
				c.Send(mqtttest.Publish{Topic: "in"}, mqtttest.Publish{Topic: "in", QoS: 1, PacketID: 1}, mqtttest.Publish{Topic: "in", QoS: 2, PacketID: 2})
				c.ExpectPacket(mqtttest.Puback{PacketID: 1, ReasonCode: mqtttest.ReasonCode(code)})
				c.ExpectPacket(mqtttest.Pubrec{PacketID: 2, ReasonCode: mqtttest.ReasonCode(code)})
				c.Drain()
			})
			o := options(srv)
			o.RejectUnhandled = code
			c, err := mqtt5.NewClient(o)
			want(t, "client", err, nil)
			want(t, "start", c.Start(), nil)
			time.Sleep(time.Second)
			synctest.Wait()
			if n := c.Stats().UnhandledMessages; n != 3 {
				t.Errorf("%d unhandled messages of 3", n)
			}
			c.Close()
			srv.Wait()
		})
	}
}

// TestChannel_letsGo closes the client while the channel is full.
func TestChannel_letsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, nil)
		ch, err := d.Channel(context.Background(), "in", 1)
		want(t, "channel", err, nil)
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		for n := range 3 {
			srv.Publish(mqtttest.Publish{Topic: "in", Payload: fmt.Append(nil, n)})
		}
		synctest.Wait()
		d.Close() // or the bubble finds the goroutine that puts the second message
		if m := <-ch; string(m.Payload) != "0" {
			t.Errorf("message %s", m.Payload)
		}
		synctest.Wait()
		if n := d.Stats().UnhandledMessages; n == 0 {
			t.Error("messages are lost without a word")
		}
	})
}

// TestTakeAck_overALoss loses the connection before a QoS 2 message is accepted:
// it comes again, and gets its PUBREC when it is accepted then.
func TestTakeAck_overALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		p := mqtttest.Publish{Topic: "in", QoS: 2, PacketID: 7}
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(p)
			c.ExpectSilence(time.Second)
			c.Close()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, resumed)
			c.ExpectSilence(time.Second)
			p.Duplicate = true
			c.Send(p)
			c.ExpectSilence(time.Second)
			c.Send(p)
			c.ExpectPubrec()
			c.Send(mqtttest.Pubrel{PacketID: 7})
			c.ExpectPubcomp()
			c.Drain()
		})
		var acks []*mqtt5.Ack
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			persistent(o)
			o.OnMessage = func(_ context.Context, m mqtt5.Message) {
				ack, err := m.TakeAck()
				want(t, "take", err, nil)
				acks = append(acks, ack)
			}
		})
		time.Sleep(2 * time.Second)
		want(t, "accept", acks[0].Accept(), mqtt5.ErrAckStale)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(acks) != 2 {
			t.Fatalf("%d deliveries", len(acks))
		}
		want(t, "accept", acks[1].Accept(), nil)
		want(t, "accept again", acks[1].Accept(), mqtt5.ErrAckTwice)
		time.Sleep(time.Second)
		if n := len(d.received()); n != 2 {
			t.Errorf("%d deliveries", n)
		}
	})
}

// TestResubscribe_comesFirst restores the filters of a lost session before
// handlers return, and before queued publishes.
func TestResubscribe_comesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			s := c.ExpectSubscribe()
			c.Send(mqtttest.Suback{PacketID: s.PacketID, ReasonCodes: []mqtttest.ReasonCode{1}}, mqtttest.Publish{Topic: "in"})
			c.Sleep(time.Second)
			c.Close()
		})
		srv.Script(func(c *mqtttest.Conn) { // has no session, and ends before it answers
			accept(c)
			c.ExpectSubscribe()
			c.Close()
		})
		srv.Script(func(c *mqtttest.Conn) { // resumes the empty session of the second
			accept(c, resumed)
			s := c.ExpectSubscribe()
			c.Send(mqtttest.Suback{PacketID: s.PacketID, ReasonCodes: []mqtttest.ReasonCode{1}})
			for range 12 {
				p := c.ExpectPublish()
				c.Send(mqtttest.Puback{PacketID: p.PacketID})
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		busy := make(chan struct{})
		var restored []string
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			persistent(o)
			o.Resubscribe = true
			o.OnMessage = func(context.Context, mqtt5.Message) { <-busy }
			o.OnResubscribe = func(r *mqtt5.Resubscription) { restored = append(restored, r.Restored...) }
		})
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		time.Sleep(2500 * time.Millisecond) // the handler is busy, and the second connection has come and gone
		var queued []*async
		for range 12 {
			queued = append(queued, d.publish(d.ctx, message(1, "out", "x")))
		}
		for _, p := range queued {
			want(t, "publish", p.wait(), nil)
		}
		close(busy)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if !slices.Equal(restored, []string{"in"}) {
			t.Errorf("restored %q", restored)
		}
	})
}

// TestStop_handlersGoOn lets handlers publish while a stop waits.
func TestStop_handlersGoOn(t *testing.T) {
	for _, own := range []bool{false, true} {
		bubble(t, fmt.Sprintf("context of the handler: %v", own), func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.WithBroker(mqtttest.BrokerOptions{Delay: time.Second}))
			var d *device
			begun := make(chan struct{})
			var sync, async error
			d = connected(t, srv, func(o *mqtt5.ClientOptions) {
				o.OnMessage = func(ctx context.Context, _ mqtt5.Message) {
					<-begun
					if !own {
						ctx = d.ctx
					}
					_, sync = d.Publish(ctx, message(1, "out", "x"))
					d.PublishAsync(message(1, "out", "y"), nil)
				}
			})
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			srv.Publish(mqtttest.Publish{Topic: "in"})
			time.Sleep(2 * time.Second)
			first := d.publish(d.ctx, message(1, "out", "first"))
			stop := d.do(func() error { return d.Stop(d.ctx, nil) })
			_, async = d.Publish(d.ctx, message(1, "out", "refused"))
			want(t, "publish of another goroutine", async, mqtt5.ErrStopRequested)
			close(begun)
			want(t, "publish before it", first.wait(), nil)
			want(t, "stop", stop.wait(), nil)
			synctest.Wait() // a stop does not wait for the handlers
			want(t, "publish of the handler", sync, nil)
		})
	}
}
