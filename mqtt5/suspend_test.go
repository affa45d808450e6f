// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// After a suspend a client asks at once whether the server is there, and does
// not wait any longer for its next attempt.
func TestSuspend(t *testing.T) {
	bubble(t, "a dead connection and a long delay", func(t *testing.T) {
		m := eventloop.NewManual()
		defer m.Group().Close()
		// settle runs the loop and all goroutines until nothing is left to do.
		settle := func() {
			for range 10 {
				m.Run()
				synctest.Wait()
			}
		}
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) { c.Accept(); c.ExpectPingreq(); c.Drain() })
		srv.Script(func(c *mqtttest.Conn) { accept(c); c.Drain() })
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.EventLoops = m.Group()
			o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](1200)
			o.PingTimeout = 10 * time.Second
			o.MinReconnectDelay, o.MaxReconnectDelay = time.Hour, time.Hour
		})
		want(t, "Start", d.Start(), nil)
		settle()
		d.wantEvents("attempting success")

		m.Suspend(8 * time.Hour)
		m.Advance(15 * time.Second) // the suspend is noticed, and PINGREQ sent
		settle()
		m.Advance(10 * time.Second)
		settle()
		d.wantEvents("attempting success disconnection")
		want(t, "Disconnection", d.lastLoss().Err, mqtt5.ErrPingTimeout)

		m.Suspend(time.Hour)
		m.Advance(15 * time.Second)
		settle()
		d.wantEvents("attempting success disconnection attempting success")
		want(t, "Close", d.Close(), nil)
		settle()
	})
}

// RetryNow ends the delay before the next attempt.
func TestRetryNow(t *testing.T) {
	bubble(t, "after a loss", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) { accept(c); c.Close() })
		srv.Script(func(c *mqtttest.Conn) { accept(c); c.Drain() })
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.MinReconnectDelay, o.MaxReconnectDelay = time.Hour, time.Hour
		})
		want(t, "Start", d.Start(), nil)
		d.wantEvents("attempting success disconnection")
		begin := time.Now()
		d.RetryNow()
		d.wantEvents("attempting success disconnection attempting success")
		if took := time.Since(begin); took >= time.Second {
			t.Errorf("took %v", took)
		}
	})
}
