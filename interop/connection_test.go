// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func testConnect(t *testing.T, f *fixture) {
	d := f.device(t, "d")
	for round := range 2 { // a client may be started again
		d.start()
		if err := d.WaitConnected(within(t)); err != nil {
			t.Fatal(err)
		}
		if s := d.State(); s != mqtt5.StateConnected {
			t.Errorf("state %v", s)
		}
		if e := await[*mqtt5.AttemptingConnect](d); e.Attempt != 1 {
			t.Errorf("attempt %d", e.Attempt)
		}
		e := await[*mqtt5.ConnectionSuccess](d)
		if e.Connack.ReasonCode != mqtt5.ConnectSuccess || e.Settings.RejoinedSession || e.Settings.ClientID != f.id+"d" {
			t.Errorf("round %d: CONNACK %+v, settings %+v", round, e.Connack, e.Settings)
		}
		d.stop()
		if e := await[*mqtt5.Disconnection](d); !errors.Is(e.Err, mqtt5.ErrStopRequested) || e.WillRetry {
			t.Errorf("disconnection %+v", e)
		}
		if e := await[*mqtt5.Stopped](d); e.Err != nil {
			t.Errorf("stopped: %v", e.Err)
		}
	}

	anonymous := f.connected(t, "", func(o *mqtt5.ClientOptions) { o.Connect.ClientID = "" })
	if id := anonymous.Settings().ClientID; id == "" {
		t.Error("the server assigned no client id")
	}
	anonymous.stop()
}

func testRefuse(t *testing.T, f *fixture) {
	d := f.device(t, "d", f.refuse, func(o *mqtt5.ClientOptions) {
		o.ShouldRetry = func(mqtt5.RetryInfo) bool { return false }
	})
	d.start()
	if err := d.WaitConnected(within(t)); !errors.Is(err, mqtt5.ErrGaveUp) {
		t.Errorf("WaitConnected: %v", err)
	}
	e := await[*mqtt5.ConnectionFailure](d)
	var refused *mqtt5.ConnackError
	if !errors.Is(e.Err, mqtt5.ErrConnectionRefused) || !errors.As(e.Err, &refused) || e.Connack == nil {
		t.Fatalf("connection failure %+v", e)
	}
	if code := refused.Packet.ReasonCode; !slices.Contains(f.refusedWith, code) {
		t.Errorf("refused with %v, want one of %v", code, f.refusedWith)
	}
	if e := await[*mqtt5.Stopped](d); !errors.Is(e.Err, mqtt5.ErrGaveUp) {
		t.Errorf("stopped: %v", e.Err)
	}
}

func testTakeOver(t *testing.T, f *fixture) {
	first := f.connected(t, "d", func(o *mqtt5.ClientOptions) {
		o.MinReconnectDelay, o.MaxReconnectDelay = time.Hour, time.Hour
	})
	second := f.connected(t, "d")
	e := await[*mqtt5.Disconnection](first)
	if f.saysTakenOver {
		if !errors.Is(e.Err, mqtt5.ErrDisconnectReceived) || e.Disconnect == nil ||
			e.Disconnect.ReasonCode != mqtt5.DisconnectSessionTakenOver {
			t.Errorf("disconnection %+v (%v)", e, e.Disconnect)
		}
	} else if e.Err == nil {
		t.Error("disconnection without a reason")
	}
	if !e.WillRetry || e.Delay < time.Hour {
		t.Errorf("retry %v after %v", e.WillRetry, e.Delay)
	}
	first.stop() // out of the delay
	second.publish(mqtt5.AtLeastOnce, f.topic("a"), "still here")
}

func testStopDrains(t *testing.T, f *fixture) {
	const n = 200
	watcher := f.connected(t, "w")
	watcher.subscribe(mqtt5.AtLeastOnce, f.topic("a"))
	d := f.connected(t, "d")
	results := newQueue[outcome]()
	var want []string
	for i := range n {
		want = append(want, number(i))
		d.sendAsync(mqtt5.AtLeastOnce, f.topic("a"), number(i), results)
	}
	d.stop()
	if s := d.State(); s != mqtt5.StateStopped {
		t.Errorf("state %v", s)
	}
	succeeded(t, results, n)
	watcher.expect(want...)
}

// testKeepAlive is about real time: PINGREQ is due after a second.
func testKeepAlive(t *testing.T, f *fixture) {
	d := f.connected(t, "d", func(o *mqtt5.ClientOptions) { o.Connect.KeepAliveSeconds = mqtt5.Ptr(uint16(1)) })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); d.Stats().PingRoundTrip == 0; {
		select {
		case <-ctx.Done():
			t.Fatalf("no PINGRESP; %+v", d.Stats())
		case <-tick.C:
		}
	}
}

// testHalfOpen stalls the link without closing it.
func testHalfOpen(t *testing.T, f *fixture) {
	d := f.connected(t, "d", keepSession, func(o *mqtt5.ClientOptions) {
		o.Connect.KeepAliveSeconds = mqtt5.Ptr(uint16(1))
	})
	d.relay.hold(toServer, true)
	d.relay.hold(toClient, true)
	results := newQueue[outcome]()
	d.sendAsync(mqtt5.AtLeastOnce, f.topic("a"), "stuck", results)
	if e := await[*mqtt5.Disconnection](d); !errors.Is(e.Err, mqtt5.ErrPingTimeout) {
		t.Errorf("disconnection: %v", e.Err)
	}
	d.relay.cut()
	d.relay.hold(toServer, false)
	d.relay.hold(toClient, false)
	succeeded(t, results, 1)
}
