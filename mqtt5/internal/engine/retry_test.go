// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// failAttempt fails the attempt under way, and returns the event.
func (r *rig) failAttempt() Event {
	r.t.Helper()
	r.e.Todo(r.now)
	r.e.TransportFailed(r.now, ErrConnectTimeout)
	ev := r.event(EventFailed)
	if !ev.Retry || ev.Run == 0 {
		r.t.Fatalf("no question: %+v", ev)
	}
	return ev
}

func TestAskRetry(t *testing.T) {
	asks := func() *Config { return &Config{AskRetry: true, MinDelay: 10 * time.Second, Jitter: JitterNone} }
	t.Run("an answer before the delay is over", func(t *testing.T) {
		r := reach(t, Connecting, asks())
		ev := r.failAttempt()
		r.pass(5 * time.Second)
		r.e.AnswerRetry(r.now, ev.Run, true)
		r.state(Waiting)
		r.pass(5*time.Second - 1)
		r.state(Waiting)
		r.pass(1)
		r.state(Connecting)
	})
	t.Run("an answer after it", func(t *testing.T) {
		r := reach(t, Connecting, asks())
		ev := r.failAttempt()
		r.pass(time.Hour)
		r.state(Waiting)
		if r.deadline() != never {
			t.Error("there is nothing to wait for but the answer")
		}
		r.e.AnswerRetry(r.now, ev.Run, true)
		r.state(Connecting)
	})
	t.Run("an answer in the moment in which it is over, before the tick", func(t *testing.T) {
		r := reach(t, Connecting, asks())
		ev := r.failAttempt()
		r.now += 10 * time.Second
		r.e.AnswerRetry(r.now, ev.Run, true)
		r.state(Connecting)
	})
	t.Run("a delay without an end", func(t *testing.T) {
		cfg := asks()
		cfg.MinDelay, cfg.MaxDelay = never, never
		r := reach(t, Connecting, cfg)
		ev := r.failAttempt()
		r.pass(time.Hour)
		r.e.AnswerRetry(r.now, ev.Run, true)
		r.pass(time.Hour)
		r.state(Waiting)
	})
	t.Run("no", func(t *testing.T) {
		for _, after := range []time.Duration{0, time.Hour} {
			r := reach(t, Connecting, asks())
			ev := r.failAttempt()
			r.pass(after)
			r.e.AnswerRetry(r.now, ev.Run, false)
			r.state(Stopped)
			r.event(EventStopped)
		}
	})
	t.Run("twice", func(t *testing.T) {
		r := reach(t, Connecting, asks())
		ev := r.failAttempt()
		r.e.AnswerRetry(r.now, ev.Run, true)
		r.e.AnswerRetry(r.now, ev.Run, false)
		r.state(Waiting)
	})
	t.Run("after a stop, and after the start behind it", func(t *testing.T) {
		r := reach(t, Connecting, asks())
		ev := r.failAttempt()
		r.stop(r.now, nil, 0)
		if r.e.RetryAsked(ev.Run) {
			t.Error("the question is still open")
		}
		r.e.AnswerRetry(r.now, ev.Run, false)
		r.state(Stopped)
		r.must(r.e.Start(r.now))
		r.e.AnswerRetry(r.now, ev.Run, false)
		r.state(Connecting)
		second := r.failAttempt()
		if second.Run == ev.Run {
			t.Error("two questions have one number")
		}
		r.e.AnswerRetry(r.now, ev.Run, false)
		r.state(Waiting)
		if !r.e.RetryAsked(second.Run) {
			t.Error("the second question is not open")
		}
	})
	t.Run("nobody asks about a connection that was lost", func(t *testing.T) {
		r := reach(t, Waiting, asks())
		if ev := r.event(EventDisconnected); ev.Run != 0 {
			t.Errorf("asked: %+v", ev)
		}
		r.pass(10 * time.Second)
		r.state(Connecting)
	})
	t.Run("a question about an attempt, after one that was answered", func(t *testing.T) {
		r := reach(t, Connecting, asks())
		for range 3 {
			ev := r.failAttempt()
			r.pass(time.Hour)
			r.state(Waiting)
			r.e.AnswerRetry(r.now, ev.Run, true)
			r.state(Connecting)
		}
		ev := r.failAttempt() // and this one is answered in time
		r.e.AnswerRetry(r.now, ev.Run, true)
		r.state(Waiting)
	})
}

func TestHurryStop(t *testing.T) {
	draining := func(t *testing.T) (*rig, uint64) {
		r := reach(t, Connected, &Config{})
		r.publish("a", 1)
		r.flush()
		stop, err := r.e.Stop(r.now, nil, never)
		r.must(err)
		r.pass(time.Hour)
		r.state(Connected)
		return r, stop
	}
	t.Run("ends the waiting", func(t *testing.T) {
		r, stop := draining(t)
		r.e.HurryStop(r.now, stop)
		r.wrote("DISCONNECT 0x0")
	})
	t.Run("a later start keeps its effect", func(t *testing.T) {
		r, stop := draining(t)
		r.must(r.e.Start(r.now))
		r.e.HurryStop(r.now, stop)
		r.wrote("DISCONNECT 0x0")
		r.e.TransportClosed(r.now)
		r.event(EventConnecting)
		r.e.HurryStop(r.now, stop)
		r.state(Connecting)
		r.connect(&connack)
		r.publish("b", 1)
		r.e.HurryStop(r.now, stop)
		r.state(Connected)
		next, err := r.e.Stop(r.now, nil, never)
		r.must(err)
		if next == stop {
			t.Error("two stops have one number")
		}
		r.e.HurryStop(r.now, stop)
		r.state(Connected)
		r.e.HurryStop(r.now, next)
		r.state(Disconnecting)
	})
	t.Run("a stop that joins has the same number, and may be in more of a hurry", func(t *testing.T) {
		r, stop := draining(t)
		second, err := r.e.Stop(r.now, nil, r.now+time.Second)
		r.must(err)
		if second != stop {
			t.Errorf("numbers %d and %d", stop, second)
		}
		r.pass(time.Second)
		r.state(Disconnecting)
	})
	t.Run("of a client at rest", func(t *testing.T) {
		r := reach(t, Stopped, &Config{})
		if stop, err := r.e.Stop(r.now, nil, never); stop != 0 || err != nil {
			t.Errorf("stop %d, %v", stop, err)
		}
	})
}

func TestStopWhileDraining(t *testing.T) {
	t.Run("the last operation is refused when its turn comes", func(t *testing.T) {
		r := newRig(t, &Config{})
		large := r.newPublish("a", 1)
		large.Publish.Payload = []byte(strings.Repeat("x", 100))
		r.must(r.e.Start(r.now))
		a := r.publish("a", 1)
		r.submit(large)
		ack := connack
		ack.ReceiveMaximum, ack.MaximumPacketSize = ptr(uint16(1)), ptr(uint32(50))
		r.connect(&ack)
		r.wrote("PUBLISH a 1")
		r.stop(r.now, nil, never)
		r.ack(wire.TypePuback, 1, 0)
		r.succeeded(a)
		r.wrote("DISCONNECT 0x0")
		r.failed(large, errTooLarge)
	})
	t.Run("what handlers do is taken, nothing else", func(t *testing.T) {
		r := reach(t, Connected, &Config{})
		r.publish("a", 1)
		r.wrote("PUBLISH a 1")
		r.stop(r.now, nil, never)
		if err := r.e.Submit(r.now, r.newPublish("b", 1)); err != ErrStopRequested {
			t.Errorf("taken: %v", err)
		}
		op := r.newPublish("c", 1)
		op.Handler = true
		r.submit(op)
		r.wrote("PUBLISH c 2")
		r.ack(wire.TypePuback, 1, 0)
		r.state(Connected)
		r.ack(wire.TypePuback, 2, 0)
		r.wrote("DISCONNECT 0x0")
		r.succeeded(op)
		late := r.newPublish("d", 1)
		late.Handler = true
		if err := r.e.Submit(r.now, late); err != ErrStopRequested {
			t.Errorf("taken after the DISCONNECT: %v", err)
		}
	})
}

// TestVeryLongDurations sets each duration to the longest one.
func TestVeryLongDurations(t *testing.T) {
	long := func() *Config {
		return &Config{ConnectTimeout: never, ConnackTimeout: never, PingTimeout: never, AckTimeout: never, DisconnectTimeout: never,
			CloseTimeout: never, MinDelay: never, MaxDelay: never, ResetDelayAfter: never}
	}
	for _, state := range []State{Connecting, Handshake, Connected, Disconnecting, Closing, Waiting} {
		t.Run(state.String(), func(t *testing.T) {
			r := reach(t, state, long())
			if state == Connected {
				r.publish("a", 1)
				r.publish("b", 2)
				r.subscribe("c")
				r.flush()
				r.ack(wire.TypePubrec, 2, 0)
				r.flush()
			}
			r.pass(100 * 365 * 24 * time.Hour)
			r.state(state)
			if state == Connected && len(r.done) > 0 {
				t.Errorf("done: %+v", r.done)
			}
		})
	}
	t.Run("a dial that has its turn", func(t *testing.T) {
		r := reach(t, Connecting, long())
		r.e.DialStarted(r.now)
		r.pass(100 * 365 * 24 * time.Hour)
		r.state(Connecting)
	})
	t.Run("every jitter", func(t *testing.T) {
		for _, jitter := range []Jitter{JitterFull, JitterDecorrelated, JitterNone} {
			for _, minDelay := range []time.Duration{1, never / 3, never - 1, never} {
				b := backoff{cfg: &Config{Jitter: jitter, MinDelay: minDelay, MaxDelay: never, Uniform: func(n int64) int64 { return n - 1 }}}
				before := time.Duration(0)
				for n := range 100 {
					if d := b.next(); d < minDelay || d < before {
						t.Errorf("jitter %d, from %v: delay %d is %v after %v", jitter, minDelay, n, d, before)
					} else {
						before = d
					}
				}
			}
		}
	})
}
