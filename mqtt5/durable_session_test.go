// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestDurable_sessionLost restarts with publishes in flight, and the server has
// forgotten the session.
func TestDurable_sessionLost(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(con *mqtttest.Conn) { // takes everything and answers nothing
			con.Accept()
			con.Receive()
			con.Receive()
			con.Hang()
		})
		disk := newMemoryDisk(time.Millisecond)
		store := disk.open()
		d := connected(t, srv, durable(store))
		for qos := mqtt5.AtLeastOnce; qos <= mqtt5.ExactlyOnce; qos++ {
			d.publish(d.ctx, message(qos, "t", fmt.Sprint(int(qos))))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		store.kill()
		d.Close()
		watcher := watch(t, srv)
		var undelivered []*mqtt5.Undelivered
		next := connected(t, srv, func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.OnUndelivered = func(u *mqtt5.Undelivered) { undelivered = append(undelivered, u) }
		})
		time.Sleep(time.Second)
		next.Close()
		watcher.want("1") // again, as a new message; the QoS 2 message could come twice
		if len(undelivered) != 1 || string(undelivered[0].Payload) != "2" || undelivered[0].QoS != mqtt5.ExactlyOnce ||
			!errors.Is(undelivered[0].Err, mqtt5.ErrSessionLost) || !errors.Is(undelivered[0].Err, mqtt5.ErrOutcomeUnknown) {
			t.Errorf("%+v", undelivered)
		}
		if ids := disk.ids(mqtt5.RecordPublish); len(ids) != 0 {
			t.Errorf("left in the store: %v", ids)
		}
	})
}

// TestDurable_received kills the client between its PUBREC and the PUBREL of the
// server: the message is not handled a second time.
func TestDurable_received(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept()
			con.Send(mqtttest.Publish{QoS: 2, Topic: "t", PacketID: 7, Payload: []byte("once")})
			con.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			con.Hang()
		})
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept(mqtttest.Connack{SessionPresent: true})
			con.Send(mqtttest.Publish{QoS: 2, Topic: "t", PacketID: 7, Payload: []byte("once"), Duplicate: true})
			con.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			con.Send(mqtttest.Pubrel{PacketID: 7})
			con.ExpectPacket(mqtttest.Pubcomp{PacketID: 7})
			con.Hang()
		})
		disk := newMemoryDisk(time.Second)
		handled := 0
		run := func(length time.Duration) {
			store := disk.open()
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				durable(store)(o)
				o.OnMessage = func(context.Context, mqtt5.Message) { handled++ }
			})
			time.Sleep(length)
			synctest.Wait()
			store.kill()
			d.Close()
		}
		run(5 * time.Second)
		if ids := disk.ids(mqtt5.RecordReceived); len(ids) != 1 || ids[0] != 7 {
			t.Errorf("received: %v", ids)
		}
		run(10 * time.Second)
		if handled != 1 {
			t.Errorf("handled %d times", handled)
		}
		if ids := disk.ids(mqtt5.RecordReceived); len(ids) != 0 {
			t.Errorf("received: %v", ids)
		}
	})
}

// TestDurable_refused refuses a QoS 2 message: after a restart another message
// may have its packet identifier.
func TestDurable_refused(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept()
			con.Send(mqtttest.Publish{QoS: 2, Topic: "t", PacketID: 7, Payload: []byte("one")})
			con.ExpectPacket(mqtttest.Pubrec{PacketID: 7, ReasonCode: mqtttest.QuotaExceeded})
			con.Hang()
		})
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept(resumed)
			con.Send(mqtttest.Publish{QoS: 2, Topic: "t", PacketID: 7, Payload: []byte("two")})
			con.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			con.Hang()
		})
		disk := newMemoryDisk(time.Second)
		var handled []string
		for range 2 {
			store := disk.open()
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				durable(store)(o)
				o.OnMessage = func(_ context.Context, m mqtt5.Message) {
					handled = append(handled, string(m.Payload))
					if len(handled) == 1 {
						ack, err := m.TakeAck()
						want(t, "take", err, nil)
						want(t, "reject", ack.Reject(mqtt5.PubackQuotaExceeded, ""), nil)
					}
				}
			})
			time.Sleep(5 * time.Second)
			synctest.Wait()
			store.kill()
			d.Close()
		}
		if !slices.Equal(handled, []string{"one", "two"}) {
			t.Errorf("handled %q", handled)
		}
	})
}

// TestDurable_pubcompOfALostConnection loses the connection while a PUBCOMP
// waits for the store: on the next one only a PUBREL asks for it.
func TestDurable_pubcompOfALostConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept()
			con.Send(mqtttest.Publish{QoS: 2, Topic: "t", PacketID: 7, Payload: []byte("x")})
			con.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			con.Send(mqtttest.Pubrel{PacketID: 7})
			con.Sleep(100 * time.Millisecond)
			con.Close()
		})
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept(resumed)
			con.ExpectSilence(20 * time.Second)
			con.Send(mqtttest.Pubrel{PacketID: 7})
			con.ExpectPubcomp()
			con.ExpectSilence(20 * time.Second)
			con.Hang()
		})
		disk := newMemoryDisk(10 * time.Second)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.MinReconnectDelay, o.MaxReconnectDelay = time.Second, time.Second
			o.OnMessage = func(context.Context, mqtt5.Message) {}
		})
		time.Sleep(2 * time.Minute)
		d.Close()
	})
}

// TestDurable_pubcompBeforePubrel gets a PUBCOMP while the PUBREL waits for the
// store.
func TestDurable_pubcompBeforePubrel(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept()
			p := con.ExpectPublish(mqtttest.QoS(2))
			con.Send(mqtttest.Pubrec{PacketID: p.PacketID}, mqtttest.Pubcomp{PacketID: p.PacketID})
			con.ExpectDisconnectWith(mqtttest.ProtocolError)
		})
		srv.Script(func(con *mqtttest.Conn) {
			con.Accept(resumed)
			p := con.ExpectPubrel()
			con.Send(mqtttest.Pubcomp{PacketID: p.PacketID})
			con.Hang()
		})
		disk := newMemoryDisk(time.Second)
		d := connected(t, srv, durable(disk.open()))
		want(t, "publish", d.publish(d.ctx, message(mqtt5.ExactlyOnce, "t", "x")).wait(), nil)
		if n := d.Stats().ProtocolErrors; n != 1 {
			t.Errorf("%d protocol errors", n)
		}
		d.Close()
	})
}

// TestDurable_filters restarts when the server has lost the session.
func TestDurable_filters(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Millisecond)
		var restored []string
		change := func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.Resubscribe = true
			o.OnResubscribe = func(r *mqtt5.Resubscription) { restored = r.Restored }
		}
		d := connected(t, srv, change)
		if err := d.subscribe(d.ctx, "a", "b", "c").wait(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"b"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		d.Close()
		srv.ForgetSessions()
		connected(t, srv, change)
		if fmt.Sprint(restored) != "[a c]" {
			t.Errorf("restored %v", restored)
		}
	})
}

// TestDurable_stop stops and starts a client: what was stored goes on.
func TestDurable_stop(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(time.Millisecond)
		d := newDevice(t, srv, durable(disk.open()))
		srv.RefuseDial(errors.New("no network"))
		d.Start()
		p := d.publish(d.ctx, message(mqtt5.AtLeastOnce, "t", "kept"))
		time.Sleep(100 * time.Millisecond)
		d.Stop(d.ctx, nil)
		if err := p.wait(); !errors.Is(err, mqtt5.ErrStopRequested) || !errors.Is(err, mqtt5.ErrOutcomeUnknown) {
			t.Errorf("%v", err)
		}
		watcher := watch(t, srv)
		d.start()
		time.Sleep(time.Second)
		watcher.want("kept")
	})
}

// TestDurable_bounds counts what the store has in the limits of the queue.
func TestDurable_bounds(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		disk := newMemoryDisk(0)
		change := func(o *mqtt5.ClientOptions) {
			durable(disk.open())(o)
			o.Durable.ReturnWhenStored = true
			o.MaxQueuedOperations = 1500 // more than the client has in memory
			o.QueueFullPolicy = mqtt5.RejectWhenFull
		}
		fill := func(d *device) (n int) {
			for {
				if _, err := d.Publish(d.ctx, message(mqtt5.AtLeastOnce, "t", "")); err != nil {
					if !errors.Is(err, mqtt5.ErrQueueFull) {
						t.Fatal(err)
					}
					return n
				}
				n++
			}
		}
		d := newDevice(t, srv, change)
		if n := fill(d); n != 1500 {
			t.Errorf("room for %d", n)
		}
		d.Close()
		d = newDevice(t, srv, change)
		if n := fill(d); n != 0 {
			t.Errorf("room for %d after a restart", n)
		}
		d.start()
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := d.Stop(d.ctx, nil); err != nil {
			t.Fatal(err)
		}
		srv.RefuseDial(errors.New("no network"))
		d.Start()
		if n := fill(d); n != 1500 {
			t.Errorf("room for %d after everything was sent", n)
		}
	})
}
