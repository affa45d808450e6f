// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestOffline checks what each policy does with operations queued and in
// flight when the connection is lost.
func TestOffline(t *testing.T) {
	lost, policy := mqtt5.ErrConnectionLost, mqtt5.ErrOfflinePolicy
	for _, c := range []struct {
		name                          string
		policy                        mqtt5.OfflineQueuePolicy
		sub, inFlight1                error // in flight at the loss
		queued0, queued1, queuedSub   error // queued at the loss
		submitted0, submitted1, subNo error // submitted without a connection
	}{
		{"FailQoS0PublishOnDisconnect", mqtt5.FailQoS0PublishOnDisconnect, nil, nil, policy, nil, nil, policy, nil, nil},
		{"FailNonQoS1PublishOnDisconnect", mqtt5.FailNonQoS1PublishOnDisconnect, lost, nil, policy, nil, policy, policy, nil, policy},
		{"FailAllOnDisconnect", mqtt5.FailAllOnDisconnect, lost, nil, policy, policy, policy, policy, policy, policy},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(con *mqtttest.Conn) {
				con.Accept(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](1)})
				con.ExpectSubscribe()
				con.ExpectPublish()
				con.Sleep(time.Second)
				con.Reset()
			})
			srv.Script(func(con *mqtttest.Conn) {
				accept(con, resumed)
				con.Serve()
			})
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				persistent(o)
				o.OfflineQueuePolicy = c.policy
			})
			sub := d.subscribe(d.ctx, "a")
			inFlight := d.publish(d.ctx, message(1, "a", "x"))
			queued1 := d.publish(d.ctx, message(1, "a", "x")) // behind the Receive Maximum
			queued0 := d.publish(d.ctx, message(0, "a", "x"))
			time.Sleep(time.Second + time.Millisecond)
			if s := d.State(); s != mqtt5.StateWaiting {
				t.Fatalf("state %v", s)
			}
			submitted0 := d.publish(d.ctx, message(0, "a", "x"))
			submitted1 := d.publish(d.ctx, message(1, "a", "x"))
			offlineSub := d.subscribe(d.ctx, "b")
			for what, r := range map[string]struct {
				a    *async
				want error
			}{
				"subscribe in flight": {sub, c.sub}, "QoS 1 in flight": {inFlight, c.inFlight1},
				"QoS 0 queued": {queued0, c.queued0}, "QoS 1 queued": {queued1, c.queued1},
				"QoS 0 offline": {submitted0, c.submitted0}, "QoS 1 offline": {submitted1, c.submitted1}, "subscribe offline": {offlineSub, c.subNo},
			} {
				want(t, what, r.a.wait(), r.want)
				if r.want == policy {
					want(t, what, r.a.err, mqtt5.ErrNotSent)
				}
				if r.want == lost {
					want(t, what, r.a.err, mqtt5.ErrOutcomeUnknown)
				}
			}
		})
	}
}

// stuck returns a client with room for three operations, of which the server
// takes one at a time and answers none until it is told.
func stuck(t *testing.T, change func(*mqtt5.ClientOptions)) (d *device, answer func()) {
	t.Helper()
	srv := mqtttest.NewServer(t)
	next := make(chan struct{}, 100)
	srv.Script(func(c *mqtttest.Conn) {
		c.Accept(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](1)})
		for {
			p, err := c.Receive()
			if err != nil {
				return
			}
			if p, ok := p.(mqtttest.Publish); ok && p.QoS > 0 {
				if _, ok := <-next; !ok {
					return
				}
				if c.TrySend(mqtttest.Puback{PacketID: p.PacketID}) != nil {
					return
				}
			}
		}
	})
	d = connected(t, srv, func(o *mqtt5.ClientOptions) {
		o.MaxQueuedOperations = 3
		o.AckTimeout = -1
		if change != nil {
			change(o)
		}
	})
	t.Cleanup(func() { close(next) })
	return d, func() {
		next <- struct{}{}
		synctest.Wait()
	}
}

func TestQueueFull(t *testing.T) {
	full := func(policy mqtt5.QueueFullPolicy) func(*mqtt5.ClientOptions) {
		return func(o *mqtt5.ClientOptions) { o.QueueFullPolicy = policy }
	}
	fill := func(d *device, qos mqtt5.QoS) []*async {
		list := []*async{d.publish(d.ctx, message(1, "a", "0"))}
		for i := range 2 {
			list = append(list, d.publish(d.ctx, message(qos, "a", fmt.Sprint(i+1))))
		}
		return list
	}
	bubble(t, "BlockWhenFull waits for room, in order", func(t *testing.T) {
		d, answer := stuck(t, full(mqtt5.BlockWhenFull))
		list := fill(d, 1)
		for i := range 3 {
			list = append(list, d.publish(d.ctx, message(1, "a", fmt.Sprint(i+3))))
		}
		if s := d.Stats(); s.IncompleteOperations != 3 {
			t.Errorf("%d operations", s.IncompleteOperations)
		}
		var async error
		d.PublishAsync(message(1, "a", "async"), func(_ *mqtt5.PublishResult, err error) { async = err })
		synctest.Wait()
		want(t, "PublishAsync does not wait", async, mqtt5.ErrQueueFull)
		for i, a := range list {
			if a.finished() {
				t.Errorf("%d finished before its answer", i)
			}
			answer()
			want(t, "publish", a.wait(), nil)
		}
	})
	bubble(t, "the wait for room ends with the context", func(t *testing.T) {
		d, answer := stuck(t, full(mqtt5.BlockWhenFull))
		fill(d, 1)
		ctx, cancel := context.WithCancelCause(d.ctx)
		waiting := d.publish(ctx, message(1, "a", "x"))
		behind := d.publish(d.ctx, message(1, "a", "y"))
		cancel(errProof)
		err := waiting.wait()
		want(t, "publish", err, errProof)
		want(t, "publish", err, mqtt5.ErrNotSent)
		for range 4 {
			answer()
		}
		want(t, "the one behind", behind.wait(), nil)
	})
	bubble(t, "the wait for room ends with a stop", func(t *testing.T) {
		d, _ := stuck(t, full(mqtt5.BlockWhenFull))
		fill(d, 1)
		waiting := d.publish(d.ctx, message(1, "a", "x"))
		d.stopNow()
		want(t, "publish", waiting.wait(), mqtt5.ErrStopRequested)
	})
	bubble(t, "RejectWhenFull", func(t *testing.T) {
		d, answer := stuck(t, full(mqtt5.RejectWhenFull))
		fill(d, 1)
		err := d.publish(d.ctx, message(1, "a", "x")).wait()
		want(t, "publish", err, mqtt5.ErrQueueFull)
		want(t, "publish", err, mqtt5.ErrNotSent)
		want(t, "subscribe", d.subscribe(d.ctx, "a").wait(), mqtt5.ErrQueueFull)
		if n := d.Stats().Rejected; n != 2 {
			t.Errorf("Rejected %d", n)
		}
		answer()
		if d.publish(d.ctx, message(1, "a", "x")).finished() {
			t.Error("refused although there is room")
		}
	})
	bubble(t, "DropOldestQoS0WhenFull during a write that is stuck", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10))
		srv.Script(func(c *mqtttest.Conn) { c.Accept(); c.Stall(); c.Sleep(time.Minute) })
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.QueueFullPolicy = mqtt5.DropOldestQoS0WhenFull
			o.MaxQueuedOperations = 2
		})
		large := message(0, "a", strings.Repeat("x", 64<<10))
		d.PublishAsync(large, nil)
		synctest.Wait() // it is being written
		dropped := 0
		for range 3 {
			d.PublishAsync(message(0, "a", "x"), func(_ *mqtt5.PublishResult, err error) {
				if errors.Is(err, mqtt5.ErrDropped) {
					dropped++
				}
			})
		}
		synctest.Wait()
		if dropped != 2 {
			t.Errorf("%d callbacks of 2", dropped)
		}
	})
	bubble(t, "DropOldestQoS0WhenFull", func(t *testing.T) {
		d, _ := stuck(t, full(mqtt5.DropOldestQoS0WhenFull))
		list := fill(d, 0) // behind a QoS 1 message that holds them back: no, QoS 0 passes
		want(t, "QoS 0 is not held back", list[1].wait(), nil)
		d.publish(d.ctx, message(1, "a", "x")) // waits for the Receive Maximum
		zero := d.publish(d.ctx, message(0, "a", "y"))
		newer := d.publish(d.ctx, message(1, "a", "z"))
		want(t, "oldest QoS 0", zero.wait(), mqtt5.ErrDropped)
		want(t, "oldest QoS 0", zero.err, mqtt5.ErrNotSent)
		if newer.finished() {
			t.Errorf("newer: %v", newer.err)
		}
		want(t, "nothing left to drop", d.publish(d.ctx, message(1, "a", "z")).wait(), mqtt5.ErrQueueFull)
	})
	bubble(t, "bounded by bytes", func(t *testing.T) {
		d, _ := stuck(t, func(o *mqtt5.ClientOptions) {
			o.MaxQueuedOperations = -1
			o.MaxQueuedBytes = 1000
			o.QueueFullPolicy = mqtt5.RejectWhenFull
		})
		big := strings.Repeat("x", 400)
		d.publish(d.ctx, message(1, "a", big))
		d.publish(d.ctx, message(1, "a", big))
		want(t, "third", d.publish(d.ctx, message(1, "a", big)).wait(), mqtt5.ErrQueueFull)
		if d.publish(d.ctx, message(1, "a", "small")).finished() {
			t.Error("a small one does not fit")
		}
	})
	bubble(t, "one operation larger than the bound fits alone", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.MaxQueuedBytes = 10 })
		want(t, "publish", d.publish(d.ctx, message(1, "a", strings.Repeat("x", 100))).wait(), nil)
	})
}

func TestContext(t *testing.T) {
	bubble(t, "ended before", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, nil)
		err := d.publish(gone(), message(1, "a", "x")).wait()
		want(t, "publish", err, context.Canceled)
		want(t, "publish", err, mqtt5.ErrNotSent)
	})
	bubble(t, "while queued: withdrawn", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.ExpectSilence(time.Minute)
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := newDevice(t, srv, nil)
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		err := d.publish(ctx, message(1, "a", "x")).wait()
		want(t, "publish", err, late)
		want(t, "publish", err, mqtt5.ErrNotSent)
		want(t, "subscribe", d.subscribe(ctx, "a").wait(), late)
		d.start()
		time.Sleep(2 * time.Minute)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "in flight: the session goes on with it, the payload may be reused", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.ExpectPublish(mqtttest.Payload("first"))
			c.Sleep(10 * time.Second)
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, resumed)
			p := c.ExpectPublish(mqtttest.Resent, mqtttest.Payload("first"))
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, persistent)
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		p := message(1, "a", "first")
		err := d.publish(ctx, p).wait()
		want(t, "publish", err, late)
		want(t, "publish", err, mqtt5.ErrOutcomeUnknown)
		copy(p.Payload, "other")
		time.Sleep(time.Minute)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "subscribe in flight", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectSubscribe()
			c.Sleep(10 * time.Second)
			c.Send(mqtttest.Suback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}}) // nobody waits any more
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		err := d.subscribe(ctx, "a").wait()
		want(t, "subscribe", err, late)
		want(t, "subscribe", err, mqtt5.ErrOutcomeUnknown)
		time.Sleep(time.Minute)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

func TestAckTimeout(t *testing.T) {
	bubble(t, "counts from the write, not from the call", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Drain()
		})
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) { o.AckTimeout = 10 * time.Second })
		a := d.publish(d.ctx, message(1, "a", "x"))
		time.Sleep(time.Hour)
		if a.finished() {
			t.Fatalf("finished while queued: %v", a.err)
		}
		d.start()
		begun := time.Now()
		err := a.wait()
		want(t, "publish", err, mqtt5.ErrAckTimeout)
		want(t, "publish", err, mqtt5.ErrOutcomeUnknown)
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		if n := d.Stats().AckTimeouts; n != 1 {
			t.Errorf("AckTimeouts %d", n)
		}
	})
	bubble(t, "the identifier is not used again while the server may hold it", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			first := c.ExpectPublish()
			for range 20 {
				p := c.ExpectPublish()
				if p.PacketID == first.PacketID {
					c.Errorf("identifier %d again", p.PacketID)
				}
				c.Send(mqtttest.Puback{PacketID: p.PacketID})
			}
			c.Send(mqtttest.Puback{PacketID: first.PacketID}) // late
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.AckTimeout = time.Second })
		want(t, "first", d.publish(d.ctx, message(1, "a", "x")).wait(), mqtt5.ErrAckTimeout)
		for range 20 {
			want(t, "publish", d.publish(d.ctx, message(1, "a", "x")).wait(), nil)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if n := d.Stats().UnknownAcks; n != 0 {
			t.Errorf("UnknownAcks %d", n)
		}
	})
	bubble(t, "swallowed messages that use up the Receive Maximum end the connection", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](2)})
			c.ExpectPublish()
			c.ExpectPublish()
			c.ExpectDisconnectWith(mqtttest.ImplementationSpecificError)
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.AckTimeout = time.Second })
		one, two := d.publish(d.ctx, message(1, "a", "1")), d.publish(d.ctx, message(1, "a", "2"))
		three := d.publish(d.ctx, message(1, "a", "3"))
		want(t, "one", one.wait(), mqtt5.ErrAckTimeout)
		want(t, "two", two.wait(), mqtt5.ErrAckTimeout)
		want(t, "loss", d.lastLoss().Err, mqtt5.ErrStalled)
		want(t, "three", three.wait(), nil) // on the next connection
	})
}

func TestPoison(t *testing.T) {
	for _, limit := range []int{0, 1, -1} {
		bubble(t, fmt.Sprintf("limit %d", limit), func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			attempts := map[int]int{0: 3, 1: 1, -1: 5}[limit]
			for i := range attempts {
				srv.Script(func(c *mqtttest.Conn) {
					accept(c, mqtttest.Connack{SessionPresent: i > 0})
					c.ExpectPublish() // and chokes on it
				})
			}
			if limit >= 0 {
				srv.Script(func(c *mqtttest.Conn) {
					accept(c, resumed)
					p := c.ExpectPublish(mqtttest.Payload("good"))
					c.Send(mqtttest.Puback{PacketID: p.PacketID})
					c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
				})
			} else {
				srv.HangDial()
			}
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				persistent(o)
				o.PoisonPublishLimit = limit
			})
			bad := d.publish(d.ctx, message(1, "a", "bad"))
			time.Sleep(40 * time.Second)
			if limit < 0 {
				if bad.finished() {
					t.Errorf("got %v", bad.err)
				}
				return
			}
			err := bad.wait()
			want(t, "bad", err, mqtt5.ErrPoisonPublish)
			want(t, "bad", err, mqtt5.ErrOutcomeUnknown)
			want(t, "good", d.publish(d.ctx, message(1, "a", "good")).wait(), nil)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
	}
}

func TestValidation_allProblemsAtOnce(t *testing.T) {
	bubble(t, "publish", func(t *testing.T) {
		d := newDevice(t, mqtttest.NewServer(t), nil)
		_, err := d.Publish(d.ctx, &mqtt5.PublishPacket{
			Topic: "a/#", QoS: 3, PayloadFormat: mqtt5.Ptr(mqtt5.PayloadUTF8), Payload: []byte{0xff}, TopicAlias: mqtt5.Ptr[uint16](0),
			ResponseTopic: str("+"), ContentType: str("\xff"), SubscriptionIdentifiers: []uint32{1}, UserProperties: []mqtt5.UserProperty{{Name: "\x00"}},
		})
		var invalid *mqtt5.ValidationError
		if !errors.As(err, &invalid) || !errors.Is(err, mqtt5.ErrNotSent) {
			t.Fatalf("got %v", err)
		}
		ids := map[string]bool{}
		for _, p := range invalid.Problems {
			ids[p.ID] = true
			if p.Field == "" || p.Rule == "" {
				t.Errorf("%+v", p)
			}
		}
		for _, id := range []string{"MQTT-3.3.1-4", "MQTT-3.3.2-2", "MQTT-3.3.2-8", "MQTT-3.3.2-14", "MQTT-3.3.2-19", "MQTT-3.3.4-6", "MQTT-1.5.7-1", "3.3.2.3.2"} {
			if !ids[id] {
				t.Errorf("%s is missing in %v", id, err)
			}
		}
	})
	bubble(t, "MQTT-3.8.3-2 MQTT-3.10.3-2 nothing to subscribe to", func(t *testing.T) {
		d := newDevice(t, mqtttest.NewServer(t), nil)
		var invalid *mqtt5.ValidationError
		if _, err := d.Subscribe(d.ctx, &mqtt5.SubscribePacket{}); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
		if _, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{}); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("options", func(t *testing.T) {
		_, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "nowhere", ConnectTimeout: -1, MinReconnectDelay: time.Hour, MaxPendingMessages: -1,
			SessionBehavior: 9, OfflineQueuePolicy: 9, QueueFullPolicy: 9, RetryJitter: 9, TopicAliasing: mqtt5.TopicAliasOptions{Outbound: 9},
			Connect: mqtt5.ConnectPacket{ClientID: "\x00", ReceiveMaximum: mqtt5.Ptr[uint16](0)}})
		var invalid *mqtt5.ValidationError
		if !errors.As(err, &invalid) || len(invalid.Problems) != 11 {
			t.Errorf("got %v", err)
		}
	})
}
