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

// situation is a state of the client and how to get there.
type situation struct {
	name  string
	state mqtt5.State
	reach func(t *testing.T) (*device, *mqtttest.Server)
}

// gone is a context that has ended.
func gone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// stopNow stops without waiting for anything. Stop succeeds if the client comes
// to rest before it looks.
func (d *device) stopNow() {
	d.t.Helper()
	if err := d.Stop(gone(), nil); err != nil {
		want(d.t, "stop", err, context.Canceled)
	}
}

var situations = []situation{
	{"stopped", mqtt5.StateStopped, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		return newDevice(t, srv, nil), srv
	}},
	{"dialing", mqtt5.StateConnecting, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		srv.HangDial()
		d := newDevice(t, srv, nil)
		want(t, "start", d.Start(), nil)
		return d, srv
	}},
	{"handshake", mqtt5.StateConnecting, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Drain()
		})
		d := newDevice(t, srv, nil)
		want(t, "start", d.Start(), nil)
		return d, srv
	}},
	{"connected", mqtt5.StateConnected, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		return connected(t, srv, nil), srv
	}},
	{"draining", mqtt5.StateConnected, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Drain()
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.AckTimeout = -1 })
		d.publish(d.ctx, message(1, "a", "never acknowledged"))
		d.do(func() error { return d.Stop(d.ctx, nil) })
		return d, srv
	}},
	{"disconnecting", mqtt5.StateDisconnecting, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(1000))
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Hang()
		})
		d := connected(t, srv, nil)
		d.publish(d.ctx, message(0, "a", string(make([]byte, 2000)))) // the write is stuck
		d.do(func() error { return d.Stop(gone(), nil) })
		return d, srv
	}},
	{"waiting", mqtt5.StateWaiting, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		srv.RefuseDial(nil)
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) { o.MinReconnectDelay, o.MaxReconnectDelay = time.Minute, time.Minute })
		want(t, "start", d.Start(), nil)
		return d, srv
	}},
	{"closed", mqtt5.StateClosed, func(t *testing.T) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, nil)
		want(t, "close", d.Close(), nil)
		return d, srv
	}},
}

// calls are the public calls that may wait or fail. The context ends after a
// second.
var calls = []struct {
	name string
	do   func(ctx context.Context, d *device) error
}{

	{"Start", func(_ context.Context, d *device) error { return d.Start() }},
	{"Stop", func(ctx context.Context, d *device) error { return d.Stop(ctx, nil) }},
	{"Close", func(_ context.Context, d *device) error { return d.Close() }},
	{"Publish0", func(ctx context.Context, d *device) error {
		_, err := d.Publish(ctx, message(0, "a", "x"))
		return err
	}},
	{"Publish1", func(ctx context.Context, d *device) error {
		_, err := d.Publish(ctx, message(1, "a", "x"))
		return err
	}},
	{"Publish2", func(ctx context.Context, d *device) error {
		_, err := d.Publish(ctx, message(2, "a", "x"))
		return err
	}},
	{"PublishAsync1", func(ctx context.Context, d *device) error {
		done := make(chan error, 1)
		d.PublishAsync(message(1, "a", "x"), func(_ *mqtt5.PublishResult, err error) { done <- err })
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}},
	{"Subscribe", func(ctx context.Context, d *device) error {
		_, err := d.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a"}}})
		return err
	}},
	{"Unsubscribe", func(ctx context.Context, d *device) error {
		_, err := d.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"a"}})
		return err
	}},
	{"WaitConnected", func(ctx context.Context, d *device) error { return d.WaitConnected(ctx) }},
	{"Reauthenticate", func(ctx context.Context, d *device) error { return d.Reauthenticate(ctx) }},
	{"Handle", func(_ context.Context, d *device) error {
		remove, err := d.Handle("a/#", func(context.Context, mqtt5.Message) {})
		if err == nil {
			remove()
			remove()
		}
		return err
	}},
}

// outcomes has the result of each call in each situation, in the order of calls.
var outcomes = map[string][]error{
	//               Start Stop Close Publish0 Publish1 Publish2 Async1 Subscribe Unsubscribe WaitConnected Reauthenticate Handle
	"stopped":       {nil, nil, nil, mqtt5.ErrOfflinePolicy, late, late, late, late, late, late, mqtt5.ErrNoAuthentication, nil},
	"dialing":       {nil, nil, nil, mqtt5.ErrOfflinePolicy, late, late, late, late, late, late, mqtt5.ErrNoAuthentication, nil},
	"handshake":     {nil, nil, nil, mqtt5.ErrOfflinePolicy, late, late, late, late, late, late, mqtt5.ErrNoAuthentication, nil},
	"connected":     {nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, mqtt5.ErrNoAuthentication, nil},
	"draining":      {nil, late, nil, stopping, stopping, stopping, stopping, stopping, stopping, nil, mqtt5.ErrNoAuthentication, nil},
	"disconnecting": {nil, late, nil, stopping, stopping, stopping, stopping, stopping, stopping, late, mqtt5.ErrNoAuthentication, nil},
	"waiting":       {nil, nil, nil, mqtt5.ErrOfflinePolicy, late, late, late, late, late, late, mqtt5.ErrNoAuthentication, nil},
	"closed": {mqtt5.ErrClosed, mqtt5.ErrClosed, nil, mqtt5.ErrClosed, mqtt5.ErrClosed, mqtt5.ErrClosed, mqtt5.ErrClosed, mqtt5.ErrClosed, mqtt5.ErrClosed,
		mqtt5.ErrClosed, mqtt5.ErrNoAuthentication, nil},
}

var (
	late     = context.DeadlineExceeded
	stopping = mqtt5.ErrStopRequested
)

// TestCalls_everyState makes every call in every state.
func TestCalls_everyState(t *testing.T) {
	for _, s := range situations {
		for i, c := range calls {
			bubble(t, s.name+"/"+c.name, func(t *testing.T) {
				d, _ := s.reach(t)
				synctest.Wait()
				if got := d.State(); got != s.state {
					t.Fatalf("state %v, want %v", got, s.state)
				}
				ctx, cancel := context.WithTimeout(d.ctx, time.Second)
				defer cancel()
				begun := time.Now()
				err := c.do(ctx, d)
				wanted := outcomes[s.name][i]
				want(t, c.name, err, wanted)
				if took := time.Since(begun); took > 0 && wanted != late {
					t.Errorf("took %v", took)
				}
				if wanted == late || errors.Is(err, mqtt5.ErrStopRequested) || errors.Is(err, mqtt5.ErrOfflinePolicy) {
					var op *mqtt5.OperationError
					if errors.As(err, &op) && !errors.Is(err, mqtt5.ErrNotSent) {
						t.Errorf("%v does not say that nothing was sent", err)
					}
				}
				// It always comes to rest.
				ctx, cancel = context.WithTimeout(d.ctx, time.Minute)
				defer cancel()
				if err := d.Stop(ctx, nil); err != nil && !errors.Is(err, mqtt5.ErrClosed) && !errors.Is(err, late) {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				if got := d.State(); got != mqtt5.StateStopped && got != mqtt5.StateClosed {
					t.Errorf("in the end %v", got)
				}
				if s.name == "stopped" {
					want(t, "close", d.Close(), nil) // what was queued before the first start is still there
				}
				if s := d.Stats(); s.IncompleteOperations != 0 || s.IncompleteOperationBytes != 0 {
					t.Errorf("left over: %+v", s)
				}
			})
		}
	}
}

// TestNetwork_everyState lets the network do everything in every state that
// has a connection.
func TestNetwork_everyState(t *testing.T) {
	events := []struct {
		name string
		do   func(c *mqtttest.Conn)
	}{
		{"end of stream", func(c *mqtttest.Conn) { c.Close() }},
		{"half close", func(c *mqtttest.Conn) { c.CloseWrite() }},
		{"reset", func(c *mqtttest.Conn) { c.Reset() }},
		{"DISCONNECT", func(c *mqtttest.Conn) { c.TrySend(mqtttest.Disconnect{ReasonCode: mqtttest.ServerBusy}) }},
		{"garbage", func(c *mqtttest.Conn) { c.TrySend(mqtttest.Raw{0, 0, 0}) }},
		{"CONNACK refusal", func(c *mqtttest.Conn) { c.TrySend(mqtttest.Connack{ReasonCode: mqtttest.ServerBusy}) }},
		{"silence", func(c *mqtttest.Conn) {}},
	}
	for _, s := range situations {
		if s.name == "stopped" || s.name == "dialing" || s.name == "waiting" || s.name == "closed" {
			continue
		}
		for _, e := range events {
			bubble(t, s.name+"/"+e.name, func(t *testing.T) {
				d, srv := s.reach(t)
				synctest.Wait()
				list := srv.Conns()
				if len(list) != 1 {
					t.Fatalf("%d connections", len(list))
				}
				e.do(list[0])
				time.Sleep(30 * time.Second)
				events := d.events()
				switch {
				case s.name == "connected" && e.name == "silence":
					d.wantEvents("attempting success")
				case s.name == "draining" && e.name == "silence":
					d.wantEvents("attempting success")
					return
				case s.name == "draining", s.name == "disconnecting":
					d.wantEvents("attempting success disconnection stopped")
					if l := d.lastLoss(); l.WillRetry {
						t.Errorf("%+v", l)
					}
					return
				case s.name == "handshake" && (e.name == "silence"):
					want(t, "failure", d.lastFailure().Err, mqtt5.ErrConnackTimeout)
				case s.name == "handshake":
					if len(events) < 2 || events[1] != "failure" || !first(d, &d.failures).WillRetry {
						t.Errorf("events %q", events)
					}
				default:
					if len(events) < 3 || events[2] != "disconnection" || !first(d, &d.losses).WillRetry {
						t.Errorf("events %q", events)
					}
				}
				d.await() // and it is back
				want(t, "publish", d.publish(d.ctx, message(1, "a", "x")).wait(), nil)
			})
		}
	}
}

func TestStop(t *testing.T) {
	bubble(t, "drains what is queued and in flight", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](1)})
			for range 3 {
				p := c.ExpectPublish()
				c.Sleep(time.Second)
				c.Send(mqtttest.Puback{PacketID: p.PacketID})
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		var sent []*async
		for range 3 {
			sent = append(sent, d.publish(d.ctx, message(1, "a", "x")))
		}
		begun := time.Now()
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		for _, a := range sent {
			want(t, "publish", a.wait(), nil)
		}
	})
	bubble(t, "ends the draining with its context", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.ExpectPublish()
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		a := d.publish(d.ctx, message(1, "a", "x"))
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		want(t, "stop", d.Stop(ctx, nil), late)
		err := a.wait()
		want(t, "publish", err, mqtt5.ErrStopRequested)
		want(t, "publish", err, mqtt5.ErrOutcomeUnknown)
		d.wantEvents("attempting success disconnection stopped")
	})
	bubble(t, "twice, and both return", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, nil)
		one := d.do(func() error { return d.Stop(d.ctx, nil) })
		two := d.do(func() error { return d.Stop(d.ctx, nil) })
		want(t, "one", one.wait(), nil)
		want(t, "two", two.wait(), nil)
		want(t, "at rest", d.Stop(d.ctx, nil), nil)
		d.wantEvents("attempting success disconnection stopped")
	})
	bubble(t, "start during stop takes effect after Stopped", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectPublish()
			c.Sleep(time.Second)
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		d.publish(d.ctx, message(1, "a", "x"))
		stop := d.do(func() error { return d.Stop(d.ctx, nil) })
		want(t, "start", d.Start(), nil)
		want(t, "stop", stop.wait(), nil)
		d.await()
		d.wantEvents("attempting success disconnection stopped attempting success")
	})
	bubble(t, "in the middle of a dial, which ends at once", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.HangDial()
		d := newDevice(t, srv, nil)
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second)
		begun := time.Now()
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if time.Since(begun) != 0 {
			t.Errorf("took %v", time.Since(begun))
		}
		d.wantEvents("attempting failure stopped")
		want(t, "failure", d.lastFailure().Err, mqtt5.ErrStopRequested)
	})
	bubble(t, "from every handler", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(raw(1, 1, "in"))
			c.Drain()
		})
		var d *device
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(context.Context, mqtt5.Message) {
				if err := d.Stop(d.ctx, nil); err != nil {
					t.Error(err)
				}
			}
			o.OnDisconnection = func(*mqtt5.Disconnection) { want(t, "stop", d.Stop(d.ctx, nil), nil) }
			o.OnStopped = func(*mqtt5.Stopped) {
				want(t, "stop", d.Stop(d.ctx, nil), nil)
				want(t, "close", d.Close(), nil)
			}
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Minute)
		if s := d.State(); s != mqtt5.StateClosed {
			t.Errorf("state %v, events %q", s, d.events())
		}
	})
}

func TestClose(t *testing.T) {
	bubble(t, "at once, without DISCONNECT, and everything fails", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](1)})
			c.ExpectPublish()
			c.ExpectClosed()
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.MaxQueuedOperations = 2 })
		sent := d.publish(d.ctx, message(1, "a", "x"))
		queued := d.publish(d.ctx, message(1, "a", "x"))
		waiting := d.publish(d.ctx, message(1, "a", "x"))
		want(t, "close", d.Close(), nil)
		want(t, "close", d.Close(), nil)
		for a, outcome := range map[*async]error{sent: mqtt5.ErrOutcomeUnknown, queued: mqtt5.ErrNotSent, waiting: mqtt5.ErrNotSent} {
			err := a.wait()
			want(t, "publish", err, mqtt5.ErrClosed)
			want(t, "publish", err, outcome)
		}
		d.wantEvents("attempting success disconnection stopped")
		want(t, "loss", d.lastLoss().Err, mqtt5.ErrClosed)
	})
	bubble(t, "a client that never started", func(t *testing.T) {
		d := newDevice(t, mqtttest.NewServer(t), nil)
		waiting := d.do(func() error { return d.WaitConnected(d.ctx) })
		want(t, "close", d.Close(), nil)
		want(t, "wait", waiting.wait(), mqtt5.ErrClosed)
		d.wantEvents("")
	})
}

func TestWaitConnected(t *testing.T) {
	bubble(t, "many wait, over failed attempts", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.RefuseDial(nil)
		srv.RefuseDial(nil)
		d := newDevice(t, srv, nil)
		ctx, cancel := context.WithTimeout(d.ctx, time.Second/2)
		defer cancel()
		short := d.do(func() error { return d.WaitConnected(ctx) })
		var all []*async
		for range 5 {
			all = append(all, d.do(func() error { return d.WaitConnected(d.ctx) }))
		}
		begun := time.Now()
		want(t, "start", d.Start(), nil)
		want(t, "short", short.wait(), late)
		for _, a := range all {
			want(t, "wait", a.wait(), nil)
		}
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
