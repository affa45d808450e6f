// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

var hello = wire.Connect{ClientID: "c"}

// reach brings a new engine to a state.
func reach(t *testing.T, state State, cfg *Config) *rig {
	r := newRig(t, cfg)
	switch state {
	case Stopped:
	case Connecting:
		r.must(r.e.Start(r.now))
	case Handshake:
		r.dial(&hello)
	case Connected, Disconnecting, Closing, Waiting:
		r.connect(&connack)
		switch state {
		case Disconnecting:
			r.receive([]byte{0, 0})
		case Closing:
			r.receive(wire.AppendDisconnect(nil, &wire.Disconnect{ReasonCode: wire.ServerBusy}))
		case Waiting:
			r.cut()
		}
	case Closed:
		r.e.Close(r.now)
	}
	r.state(state)
	return r
}

var restless = []State{Connecting, Handshake, Disconnecting, Closing, Waiting}

// A state without a deadline is one in which a client can hang.
func TestEveryStateHasADeadline(t *testing.T) {
	for _, state := range restless {
		t.Run(state.String(), func(t *testing.T) {
			r := reach(t, state, &Config{})
			if r.deadline() == never {
				t.Fatal("no deadline")
			}
			for range 10 { // nothing answers, not even the transport
				if r.e.State() != state {
					return
				}
				r.pass(r.deadline() - r.now)
			}
			t.Errorf("hangs in %v", state)
		})
	}
}

func TestCloseFromEveryState(t *testing.T) {
	for _, state := range []State{Stopped, Connecting, Handshake, Connected, Disconnecting, Closing, Waiting, Closed} {
		t.Run(state.String(), func(t *testing.T) {
			r := reach(t, state, &Config{Session: SessionRejoinAlways})
			var op *Operation
			if state != Closed {
				op = r.publish("a", 1)
				r.take()
			}
			r.e.Close(r.now)
			if op != nil && r.e.State() == Closing {
				r.open(op)
			}
			r.pass(10 * time.Second)
			r.state(Closed)
			if op != nil {
				r.failed(op, ErrClosed)
			}
			last := []EventKind{EventStopped, EventClosed}
			if state == Stopped || state == Closed {
				last = last[1:]
			}
			kinds := r.kinds()
			equal(t, "last events", kinds[max(0, len(kinds)-len(last)):], last)
			if n := r.count(EventStopped) + r.count(EventClosed); n != len(last) {
				t.Errorf("events %v", kinds)
			}
			if err := r.e.Submit(r.now, r.newPublish("a", 1)); err != ErrClosed {
				t.Errorf("Submit: %v", err)
			}
			_, err := r.e.Stop(r.now, nil, 0)
			if err := errors.Join(r.e.Start(r.now), err); !errors.Is(err, ErrClosed) {
				t.Errorf("Start and Stop: %v", err)
			}
			if r.deadline() != never {
				t.Error("deadline after the end")
			}
		})
	}
}

// The native client skips STOPPED when a start follows a stop quickly.
func TestStoppedEventIsNeverSkipped(t *testing.T) {
	for _, state := range append(restless, Connected) {
		t.Run(state.String(), func(t *testing.T) {
			r := reach(t, state, &Config{})
			r.stop(r.now, nil, 0)
			r.must(r.e.Start(r.now))
			r.stop(r.now, nil, 0) // is part of the first, unless that has ended
			r.must(r.e.Start(r.now))
			for r.e.State() != Connecting || len(r.events) == 0 || r.events[len(r.events)-1].Kind != EventConnecting || r.count(EventStopped) == 0 {
				r.pass(r.deadline() - r.now)
			}
			want := 1
			if state == Waiting {
				want = 2
			}
			if n := r.count(EventStopped); n != want {
				t.Errorf("%d stops in %v", n, r.kinds())
			}
			if ev := r.events[len(r.events)-1]; ev.Attempt != 1 {
				t.Errorf("the new start counts its attempts from %d", ev.Attempt)
			}
		})
	}
}

func (r *rig) count(kind EventKind) (n int) {
	for _, ev := range r.events {
		if ev.Kind == kind {
			n++
		}
	}
	return n
}

func TestConnectingCanBeStopped(t *testing.T) {
	r := reach(t, Connecting, &Config{})
	r.stop(r.now, nil, 0)
	if todo := r.e.Todo(r.now); !todo.Close || todo.Dial {
		t.Fatalf("todo %+v", todo)
	}
	r.e.TransportFailed(r.now, errors.New("aborted"))
	r.state(Stopped)
	equal(t, "events", r.kinds(), []EventKind{EventConnecting, EventFailed, EventStopped})
	if r.events[1].Err != ErrStopRequested || r.events[1].Retry {
		t.Errorf("event %+v", r.events[1])
	}
}

// In the native client a PUBACK in front of DISCONNECT keeps it from leaving.
func TestAcknowledgementsDoNotBlockDisconnect(t *testing.T) {
	r := newRig(t, &Config{})
	r.connect(&connack)
	r.publish("a", 0)
	r.take() // a write is in flight
	r.message(1, 1)
	r.e.AcknowledgeThrough(r.now, r.acks[0])
	r.stop(r.now, nil, 0)
	r.e.Receive(r.now, wire.AppendPublish(nil, &wire.Publish{Topic: "late", QoS: 1, PacketID: 2}))
	if len(r.messages) != 1 {
		t.Errorf("messages %v after DISCONNECT was decided", r.messages)
	}
	r.e.WriteDone(r.now)
	t.Run("MQTT-3.14.4-1", func(t *testing.T) { r.wrote("PUBACK 1, DISCONNECT 0x0") })
	r.state(Closing)
}

func TestStuckDisconnect(t *testing.T) {
	r := newRig(t, &Config{DisconnectTimeout: 3 * time.Second, CloseTimeout: 2 * time.Second})
	r.connect(&connack)
	r.publish("a", 1)
	r.take()
	r.stop(r.now, nil, 0)
	r.pass(3*time.Second - 1)
	r.state(Disconnecting)
	r.pass(1)
	r.state(Closing)
	r.pass(2 * time.Second)
	r.state(Stopped)
}

func TestStopDrains(t *testing.T) {
	t.Run("until all is done", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		a, b := r.publish("a", 1), r.publish("b", 0)
		r.stop(r.now, nil, never)
		if err := r.e.Submit(r.now, r.newPublish("c", 1)); err != ErrStopRequested {
			t.Errorf("Submit: %v", err)
		}
		r.wrote("PUBLISH a 1, PUBLISH b")
		r.state(Connected)
		r.ack(wire.TypePuback, 1, 0)
		r.succeeded(a, b)
		r.wrote("DISCONNECT 0x0")
	})
	t.Run("until the deadline", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		a := r.publish("a", 1)
		r.stop(r.now, nil, r.now+5*time.Second)
		r.flush()
		r.pass(5*time.Second - 1)
		r.state(Connected)
		r.pass(1)
		r.wrote("DISCONNECT 0x0")
		r.cut()
		r.failed(a, ErrStopRequested)
	})
	t.Run("until a second Stop", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		r.publish("a", 1)
		r.stop(r.now, &wire.Disconnect{ReasonCode: wire.DisconnectWithWill}, never)
		r.stop(r.now, nil, 0)
		r.wrote("DISCONNECT 0x4")
	})
	t.Run("until the last one is withdrawn", func(t *testing.T) {
		r := newRig(t, &Config{PublishesPerSecond: 0.001})
		r.connect(&connack)
		r.publish("a", 0)
		r.flush()
		b := r.publish("b", 0)
		r.stop(r.now, nil, never)
		if !r.e.Cancel(r.now, b, errCancelled) {
			t.Error("was not withdrawn")
		}
		r.pass(1)
		r.wrote("DISCONNECT 0x0")
	})
	t.Run("until the connection is lost", func(t *testing.T) {
		r := newRig(t, &Config{})
		r.connect(&connack)
		a := r.publish("a", 1)
		r.stop(r.now, nil, never)
		r.cut()
		r.state(Stopped)
		r.failed(a, ErrStopRequested)
	})
}

func TestFirstCauseWins(t *testing.T) {
	r := newRig(t, &Config{})
	r.connect(&connack)
	r.receive([]byte{0, 0})
	r.e.TransportError(r.now, io.EOF)
	r.cut()
	equal(t, "events", r.kinds(), []EventKind{EventConnecting, EventSucceeded, EventDisconnected})
	var broken *wire.Error
	if err := r.event(EventDisconnected).Err; !errors.As(err, &broken) {
		t.Errorf("cause %v", err)
	}
}

func TestSecondConnackIsAProtocolError(t *testing.T) {
	t.Run("MQTT-3.2.0-2", func(t *testing.T) {
		r := reach(t, Connected, &Config{})
		r.receive(wiretest.AppendConnack(nil, &connack))
		r.wrote("DISCONNECT 0x82")
	})
}

func TestRefusedConnack(t *testing.T) {
	r := reach(t, Handshake, &Config{})
	r.receive(wiretest.AppendConnack(nil, &wire.Connack{ReasonCode: wire.NotAuthorized}))
	r.wrote("")
	if ev := r.event(EventFailed); ev.Err != ErrConnectionRefused || ev.Connack.ReasonCode != wire.NotAuthorized || !ev.Retry {
		t.Errorf("event %+v", ev)
	}
	r.state(Closing)
}

func TestTimeoutsOfAnAttempt(t *testing.T) {
	r := reach(t, Connecting, &Config{ConnectTimeout: 2 * time.Second, ConnackTimeout: 3 * time.Second})
	r.pass(5 * time.Second) // waits for its turn
	r.state(Connecting)
	r.e.DialStarted(r.now)
	r.pass(2*time.Second + dialGrace)
	if ev := r.event(EventFailed); ev.Err != ErrConnectTimeout {
		t.Errorf("event %+v", ev)
	}
	r.dial(&hello)
	r.pass(3 * time.Second)
	if ev := r.event(EventFailed); ev.Err != ErrConnackTimeout || ev.Attempt != 2 {
		t.Errorf("event %+v", ev)
	}
}

func TestSessionExpiryOfDisconnect(t *testing.T) {
	for _, c := range []struct {
		connect *uint32
		kept    bool
	}{{nil, false}, {ptr(uint32(0)), false}, {ptr(uint32(5)), true}} {
		r := newRig(t, &Config{})
		r.connectAs(&wire.Connect{ClientID: "c", SessionExpiryInterval: c.connect}, &connack)
		r.stop(r.now, &wire.Disconnect{SessionExpiryInterval: ptr(uint32(9))}, 0)
		packets := r.flush()
		var d wire.Disconnect
		if err := wire.ParseDisconnect(&packets[0], &d, false); err != nil {
			t.Fatal(err)
		}
		if kept := d.SessionExpiryInterval != nil; kept != c.kept {
			t.Errorf("CONNECT has %v: kept %v", c.connect, kept)
		}
	}
}
