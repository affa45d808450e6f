// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		noRoute := errors.New("no route")
		srv.RefuseDial(noRoute)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(mqtttest.Connack{})
			c.Sleep(time.Minute)
			c.Send(mqtttest.Disconnect{ReasonCode: 0x8b})
		})
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.MinReconnectDelay, o.MaxReconnectDelay = 10*time.Second, 10*time.Second
		})
		made := time.Now()
		h := d.Health()
		if h.Connected || h.State != mqtt5.StateStopped || !h.Since.Equal(made) || !h.LastRead.IsZero() || h.QueueAge != 0 || h.LastError != nil || !h.LastErrorAt.IsZero() {
			t.Errorf("of a new client: %+v", h)
		}

		time.Sleep(time.Second)
		d.PublishAsync(&mqtt5.PublishPacket{Topic: "t", QoS: mqtt5.AtLeastOnce}, nil)
		time.Sleep(time.Second)
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // the first attempt has failed, the second is due in 5 s
		h = d.Health()
		if h.Connected || h.State != mqtt5.StateWaiting || !h.Since.Equal(made) || h.QueueAge != 6*time.Second {
			t.Errorf("after a failure: %+v", h)
		}
		if !errors.Is(h.LastError, noRoute) || !h.LastErrorAt.Equal(made.Add(2*time.Second)) {
			t.Errorf("the last error is %v at %v", h.LastError, h.LastErrorAt)
		}
		if age := d.Stats().QueueAge; age != h.QueueAge {
			t.Errorf("Stats has a queue age of %v, Health of %v", age, h.QueueAge)
		}

		if err := d.WaitConnected(d.ctx); err != nil {
			t.Fatal(err)
		}
		connected := time.Now()
		time.Sleep(30 * time.Second)
		h = d.Health()
		if !h.Connected || h.State != mqtt5.StateConnected || !h.Since.Equal(connected) || !h.LastRead.Equal(connected) || h.QueueAge != 0 {
			t.Errorf("connected at %v: %+v", connected, h)
		}
		if !errors.Is(h.LastError, noRoute) {
			t.Errorf("the last error went to %v with the connection", h.LastError)
		}

		time.Sleep(31 * time.Second)
		lost := connected.Add(time.Minute)
		h = d.Health()
		var refusal *mqtt5.DisconnectError
		if h.Connected || !h.Since.Equal(lost) || !h.LastRead.Equal(lost) || !h.LastErrorAt.Equal(lost) || !errors.As(h.LastError, &refusal) {
			t.Errorf("disconnected at %v: %+v", lost, h)
		}

		if err := d.WaitConnected(d.ctx); err != nil {
			t.Fatal(err)
		}
		if err := d.Stop(d.ctx, nil); err != nil {
			t.Fatal(err)
		}
		stopped := time.Now()
		h = d.Health()
		if h.Connected || h.State != mqtt5.StateStopped || !h.Since.Equal(stopped) || !errors.As(h.LastError, &refusal) {
			t.Errorf("stopped at %v, which is no failure: %+v", stopped, h)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if h = d.Health(); h.State != mqtt5.StateClosed {
			t.Errorf("closed: %+v", h)
		}
	})
}

// Observers get errors that users can tell apart: a breach of the standard is a
// ProtocolError, as in the lifecycle events.
func TestStateObserver_protocolError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(mqtttest.Connack{})
			c.Send(mqtttest.WithFlags(mqtttest.Pingresp{}, 1))
			c.ExpectDisconnect()
		})
		failures := make(chan error, 8)
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) { o.StateObserver = disconnections(failures) })
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		var protocol *mqtt5.ProtocolError
		if err := <-failures; !errors.As(err, &protocol) {
			t.Errorf("observed %T %v", err, err)
		}
		srv.Wait()
	})
}

type disconnections chan error

func (d disconnections) ObserveState(s mqtt5.StateObservation) {
	if s.Event == "disconnection" {
		d <- s.Err
	}
}
