// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestReconnect(t *testing.T) {
	bubble(t, "the session and what is in flight go on, with fresh material", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.ExpectPublish()
			untilDisconnect(c, mqtttest.Success)
		})
		srv.Script(func(c *mqtttest.Conn) {
			if con := accept(c, resumed); con.CleanStart || con.Username == nil || *con.Username != "second" {
				c.Errorf("CONNECT %+v", con)
			}
			p := c.ExpectPublish()
			if !p.Duplicate {
				c.Errorf("not sent again: %+v", p)
			}
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectClosed()
		})
		name := "first"
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			persistent(o)
			o.MinReconnectDelay, o.MaxReconnectDelay = time.Hour, time.Hour
			o.PrepareConnect = func(_ context.Context, c *mqtt5.ConnectPacket) error {
				c.Username = mqtt5.Ptr(name)
				return nil
			}
		})
		p := d.publish(d.ctx, message(1, "t", "x"))
		start := time.Now()
		name = "second"
		want(t, "Reconnect", d.Reconnect(d.ctx), nil)
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
		want(t, "Publish", p.wait(), nil)
		d.wantEvents("attempting success disconnection attempting success")
		want(t, "Disconnection", d.lastLoss().Err, mqtt5.ErrReconnectRequested)
		if h := d.Health(); h.LastError != nil || !h.Connected {
			t.Errorf("health %+v", h)
		}
	})
	bubble(t, "a failure ends the wait with its context, not the client", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) { accept(c); untilDisconnect(c, mqtttest.Success) })
		srv.RefuseDial(errors.New("no network"))
		srv.Script(func(c *mqtttest.Conn) { accept(c); c.ExpectClosed() })
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.MinReconnectDelay = 10 * time.Second })
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		want(t, "Reconnect", d.Reconnect(ctx), context.DeadlineExceeded)
		d.await()
	})
	bubble(t, "during the delay", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.RefuseDial(errors.New("no network"))
		srv.Script(func(c *mqtttest.Conn) { accept(c); c.ExpectClosed() })
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) { o.MinReconnectDelay, o.MaxReconnectDelay = time.Hour, time.Hour })
		want(t, "Start", d.Start(), nil)
		synctest.Wait()
		start := time.Now()
		want(t, "Reconnect", d.Reconnect(d.ctx), nil)
		if time.Since(start) > time.Second {
			t.Error("it waited for the delay")
		}
	})
	bubble(t, "from a message handler", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(mqtttest.Publish{Topic: "rotate"})
			untilDisconnect(c, mqtttest.Success)
		})
		srv.Script(func(c *mqtttest.Conn) { accept(c); c.ExpectClosed() })
		done := make(chan error, 1)
		var client *mqtt5.Client
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(ctx context.Context, _ mqtt5.Message) { done <- client.Reconnect(context.WithoutCancel(ctx)) }
		})
		client = d.Client
		d.start()
		want(t, "Reconnect", <-done, nil)
	})
	bubble(t, "without a client that runs", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, nil)
		want(t, "before Start", d.Reconnect(d.ctx), mqtt5.ErrNotConnected)
		d.Close()
		want(t, "after Close", d.Reconnect(d.ctx), mqtt5.ErrClosed)
	})
}
