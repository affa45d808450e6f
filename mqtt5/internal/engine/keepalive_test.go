// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

func alive(t *testing.T, seconds uint16, cfg *Config) *rig {
	r := newRig(t, cfg)
	r.connectAs(&wire.Connect{ClientID: "c", KeepAlive: seconds}, &connack)
	return r
}

func TestPingWhenBothSidesAreQuiet(t *testing.T) {
	t.Run("MQTT-3.1.2-20", func(t *testing.T) {
		r := alive(t, 10, &Config{})
		r.pass(10*time.Second - 1)
		r.wrote("")
		r.pass(1)
		r.wrote("PINGREQ")
		r.pass(time.Second / 2)
		r.receive(wiretest.AppendPingresp(nil))
		if s := r.e.Stats(); s.PingRoundTrip != time.Second/2 || s.PacketsOut != 2 || s.PacketsIn != 2 {
			t.Errorf("round trip %v, %d packets out, %d in", s.PingRoundTrip, s.PacketsOut, s.PacketsIn)
		}
	})
}

func TestPingWhenOnlyOneSideTalks(t *testing.T) {
	t.Run("only the client", func(t *testing.T) {
		r := alive(t, 10, &Config{})
		for range 9 {
			r.pass(time.Second)
			r.publish("a", 0)
			r.wrote("PUBLISH a")
		}
		r.pass(time.Second)
		r.wrote("PINGREQ")
	})
	t.Run("only the server", func(t *testing.T) {
		r := alive(t, 10, &Config{})
		for range 9 {
			r.pass(time.Second)
			r.message(0, 0)
		}
		r.pass(time.Second)
		r.wrote("PINGREQ")
	})
}

func TestTrafficPutsPingOff(t *testing.T) {
	r := alive(t, 10, &Config{})
	for range 5 {
		r.pass(9 * time.Second)
		r.publish("a", 0)
		r.message(0, 0)
		r.wrote("PUBLISH a")
	}
}

func TestAnyBytesAnswerPing(t *testing.T) {
	r := alive(t, 10, &Config{PingTimeout: 3 * time.Second})
	r.pass(10 * time.Second)
	r.wrote("PINGREQ")
	r.pass(2 * time.Second)
	r.e.Receive(r.now, []byte{0x30}) // a part of a packet
	r.pass(5 * time.Second)
	r.state(Connected)
}

func TestPingTimeout(t *testing.T) {
	for _, c := range []struct {
		keepAlive uint16
		timeout   time.Duration
		want      time.Duration
	}{{10, 3 * time.Second, 13 * time.Second}, {10, time.Minute, 15 * time.Second}, {1, time.Minute, 1500 * time.Millisecond}} {
		r := alive(t, c.keepAlive, &Config{PingTimeout: c.timeout})
		from := r.now
		var packets []wire.Frame
		for r.e.State() == Connected {
			r.pass(r.deadline() - r.now)
			if r.e.State() == Connected {
				packets = append(packets, r.flush()...)
			}
		}
		if s := describe(t, packets); s != "PINGREQ" {
			t.Errorf("wrote %q", s)
		}
		if d := r.now - from; d != c.want {
			t.Errorf("keep alive %d s, ping timeout %v: lost after %v, want %v", c.keepAlive, c.timeout, d, c.want)
		}
		if ev := r.event(EventDisconnected); ev.Err != ErrPingTimeout {
			t.Errorf("event %+v", ev)
		}
		r.wrote("DISCONNECT 0x80") // 0x8D is the server's
	}
}

// With a write that never ends, no PINGREQ can leave.
func TestStuckWriteDoesNotDisablePings(t *testing.T) {
	r := alive(t, 10, &Config{PingTimeout: 3 * time.Second})
	r.publish("a", 1)
	r.take()
	r.pass(13 * time.Second)
	r.state(Closing)
	if ev := r.event(EventDisconnected); ev.Err != ErrPingTimeout {
		t.Errorf("event %+v", ev)
	}
	if !r.e.Todo(r.now).Close {
		t.Error("the transport is not closed")
	}
}

func TestStuckWriteWhileReadingIsPaused(t *testing.T) {
	r := alive(t, 10, &Config{PingTimeout: 3 * time.Second})
	r.pass(9 * time.Second)
	r.publish("a", 1)
	r.take()
	r.e.SetPaused(r.now, true)
	r.pass(12 * time.Second)
	r.state(Connected)
	r.pass(time.Second)
	r.state(Closing)
}

// The system takes what is written, and none of it leaves: more writes are no
// sign of life, and neither is what the server says.
func TestWritesThatDoNotLeave(t *testing.T) {
	r := alive(t, 10, &Config{PingTimeout: 3 * time.Second})
	r.tick()
	before := r.e.flow.taken
	for second := range 13 {
		r.state(Connected)
		if r.publish("a", 0); second%2 == 0 {
			r.message(0, 0)
		}
		r.take()
		r.e.WriteDone(r.now)
		r.now += time.Second
		r.e.Tick(r.now, before)
	}
	r.state(Closing)
	if ev := r.event(EventDisconnected); ev.Err != ErrPingTimeout {
		t.Errorf("event %+v", ev)
	}
}

// A write that takes long on a slow link is no dead link as long as it moves.
func TestSlowWriteIsNotStuck(t *testing.T) {
	for _, paused := range []bool{false, true} {
		r := alive(t, 10, &Config{PingTimeout: 3 * time.Second})
		r.submit(r.large("a", 1))
		r.take()
		r.e.SetPaused(r.now, paused)
		for range 20 {
			r.pass(2900 * time.Millisecond)
			r.departed++
			r.tick()
		}
		r.state(Connected)
		if paused {
			continue
		}
		r.e.WriteDone(r.now)
		r.wrote("PINGREQ")
		r.pass(2900 * time.Millisecond)
		r.state(Connected)
		for range 11 {
			r.state(Connected)
			r.publish("b", 1) // writes after the PINGREQ prove nothing
			r.flush()
			r.pass(time.Second)
		}
		if ev := r.event(EventDisconnected); ev.Err != ErrPingTimeout {
			t.Errorf("event %+v", ev)
		}
	}
}

func TestKeepAliveOfServerWins(t *testing.T) {
	t.Run("MQTT-3.1.2-21", func(t *testing.T) {
		r := newRig(t, &Config{})
		ack := connack
		ack.ServerKeepAlive = ptr(uint16(2))
		r.connectAs(&wire.Connect{ClientID: "c", KeepAlive: 60}, &ack)
		r.pass(2 * time.Second)
		r.wrote("PINGREQ")
	})
	t.Run("off", func(t *testing.T) {
		r := newRig(t, &Config{})
		ack := connack
		ack.ServerKeepAlive = ptr(uint16(0))
		r.connectAs(&wire.Connect{ClientID: "c", KeepAlive: 60}, &ack)
		if d := r.deadline(); d != never {
			t.Errorf("deadline %v without keep alive", d)
		}
	})
}

func TestPingWhileReadingIsPaused(t *testing.T) {
	r := alive(t, 10, &Config{PingTimeout: 3 * time.Second})
	r.e.SetPaused(r.now, true)
	for range 5 { // the server goes on counting, and its silence means nothing
		r.pass(10 * time.Second)
		r.wrote("PINGREQ")
	}
	if n := r.e.Stats().PacketsOut; n != 6 {
		t.Errorf("%d packets out", n)
	}
	r.e.SetPaused(r.now, false)
	r.pass(10 * time.Second)
	r.wrote("PINGREQ")
	r.pass(3 * time.Second)
	r.state(Disconnecting)
}

func TestProbe(t *testing.T) {
	for _, keepAlive := range []uint16{0, 1200} {
		r := alive(t, keepAlive, &Config{PingTimeout: 3 * time.Second})
		r.pass(time.Minute)
		r.e.Probe(r.now)
		r.wrote("PINGREQ")
		r.receive(wiretest.AppendPingresp(nil))
		r.pass(10 * time.Second)
		r.state(Connected)
		r.e.Probe(r.now)
		r.e.Probe(r.now) // one is enough
		r.wrote("PINGREQ")
		r.pass(3 * time.Second)
		if ev := r.event(EventDisconnected); ev.Err != ErrPingTimeout {
			t.Errorf("event %+v", ev)
		}
	}
}

// Bytes that waited to leave before a suspend get the ping timeout after it, and
// not the keep alive interval in addition, unless something was received.
func TestProbe_behindBytesThatDoNotLeave(t *testing.T) {
	for _, hears := range []bool{false, true} {
		r := alive(t, 1200, &Config{PingTimeout: 3 * time.Second})
		r.publish("a", 1)
		r.take()
		r.pass(time.Minute)
		r.e.Probe(r.now)
		r.pass(2900 * time.Millisecond)
		r.state(Connected)
		if hears {
			r.message(0, 0)
		}
		r.pass(100 * time.Millisecond)
		if hears {
			r.state(Connected)
			continue
		}
		r.state(Closing)
		if ev := r.event(EventDisconnected); ev.Err != ErrPingTimeout {
			t.Errorf("event %+v", ev)
		}
	}
}

func TestRetryNow(t *testing.T) {
	r := newRig(t, &Config{MinDelay: time.Hour, MaxDelay: time.Hour})
	r.connect(&connack)
	r.e.RetryNow(r.now)
	r.state(Connected)
	r.cut()
	r.state(Waiting)
	r.e.RetryNow(r.now)
	r.state(Connecting)
}

func TestReconnect(t *testing.T) {
	for state, want := range map[State]struct {
		writes string
		event  EventKind // 0: none
		err    error
	}{
		Stopped:       {"", 0, ErrNotConnected},
		Connecting:    {"", EventFailed, nil},
		Handshake:     {"DISCONNECT 0x0", EventFailed, nil},
		Connected:     {"DISCONNECT 0x0", EventDisconnected, nil},
		Disconnecting: {"", 0, nil},
		Closing:       {"", 0, nil},
		Waiting:       {"", 0, nil},
		Closed:        {"", 0, ErrClosed},
	} {
		t.Run(fmt.Sprint(state), func(t *testing.T) {
			r := reach(t, state, &Config{MinDelay: time.Hour, MaxDelay: time.Hour})
			if err := r.e.Reconnect(r.now); err != want.err {
				t.Fatalf("got %v, want %v", err, want.err)
			}
			if want.err != nil {
				return
			}
			if want.event != 0 {
				if ev := r.event(want.event); ev.Err != ErrReconnectRequested || !ev.Retry || ev.Delay != 0 {
					t.Errorf("event %+v", ev)
				}
			}
			if want.writes != "" {
				r.wrote(want.writes)
			}
			if r.e.State() != Connecting {
				r.e.TransportClosed(r.now)
				r.e.Tick(r.now, 0)
			}
			r.state(Connecting)
		})
	}
}
