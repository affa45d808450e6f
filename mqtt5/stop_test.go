// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// silent makes a broker that never answers a PUBLISH, so that a stop has
// something to wait for.
func silent(t *testing.T) *mqtttest.Server {
	return mqtttest.NewServer(t, mqtttest.Intercept(func(_ *mqtttest.Conn, p mqtttest.Packet) bool {
		_, publish := p.(mqtttest.Publish)
		return publish
	}))
}

// TestStopAndStart_lastWordWins goes through orders of Start, Stop, Close and
// the end of Stop's context: the client does what it was told last.
func TestStopAndStart_lastWordWins(t *testing.T) {
	for _, c := range []struct {
		steps string // Stop with a context of its own, Stop without an end, end of the oldest context, Start, Close
		want  mqtt5.State
	}{
		{"stop end", mqtt5.StateStopped},
		{"stop end start", mqtt5.StateConnected},
		{"stop start end", mqtt5.StateConnected},
		{"stop start end stop end", mqtt5.StateStopped},
		{"stop start stop end", mqtt5.StateStopped},
		{"stop start stop end end", mqtt5.StateStopped},
		{"stop start stop start end", mqtt5.StateConnected},
		{"stop start stop start end end", mqtt5.StateConnected},
		{"stop stop start end end", mqtt5.StateConnected},
		{"stop wait end", mqtt5.StateStopped},
		{"wait stop end start", mqtt5.StateConnected},
		{"wait stop start end", mqtt5.StateConnected},
		{"stop end start stop start end", mqtt5.StateConnected},
		{"stop close", mqtt5.StateClosed},
		{"stop start close", mqtt5.StateClosed},
		{"stop close end", mqtt5.StateClosed},
		{"stop close start end", mqtt5.StateClosed},
		{"start start", mqtt5.StateConnected},
		{"close start", mqtt5.StateClosed},
		{"close close stop", mqtt5.StateClosed},
	} {
		bubble(t, c.steps, func(t *testing.T) {
			srv := silent(t)
			d := connected(t, srv, nil)
			waits := func() { d.publish(d.ctx, message(1, "never acknowledged", "x")) }
			waits()
			var ends []context.CancelFunc
			for step := range strings.FieldsSeq(c.steps) {
				switch step {
				case "start":
					err := d.Start()
					if c.want == mqtt5.StateClosed && d.State() == mqtt5.StateClosed {
						want(t, step, err, mqtt5.ErrClosed)
					} else {
						want(t, step, err, nil)
					}
				case "stop":
					ctx, cancel := context.WithCancel(d.ctx)
					ends = append(ends, cancel)
					d.do(func() error { return d.Stop(ctx, nil) })
				case "wait":
					d.do(func() error { return d.Stop(d.ctx, nil) })
				case "end":
					ends[0]()
					ends = ends[1:]
				case "close":
					want(t, step, d.Close(), nil)
				}
				time.Sleep(10 * time.Second)
				if d.State() == mqtt5.StateConnected {
					waits()
				}
			}
			for _, cancel := range ends { // what was joined by others, and superseded
				if c.want == mqtt5.StateClosed {
					cancel()
				}
			}
			time.Sleep(time.Minute)
			if d.State() == mqtt5.StateDisconnecting || d.State() != c.want {
				t.Errorf("state %v, want %v; events %q", d.State(), c.want, d.events())
			}
			for _, cancel := range ends {
				cancel()
			}
		})
	}
}

// TestStopAndStart_fromUserCode stops with a deadline and starts again from
// everything that runs user code.
func TestStopAndStart_fromUserCode(t *testing.T) {
	type places struct {
		set func(o *mqtt5.ClientOptions, here func())
		act func(d *device, srv *mqtttest.Server) // makes the client call it; nil: it does anyway
	}
	lose := func(_ *device, srv *mqtttest.Server) { srv.Conns()[0].Reset() }
	for name, place := range map[string]places{
		"message handler": {
			func(o *mqtt5.ClientOptions, here func()) {
				o.OnMessage = func(context.Context, mqtt5.Message) { here() }
			},
			func(d *device, srv *mqtttest.Server) {
				d.subscribe(d.ctx, "in").wait()
				srv.Publish(mqtttest.Publish{Topic: "in", QoS: 1})
			},
		},
		"PublishAsync": {
			func(*mqtt5.ClientOptions, func()) {}, nil,
		},
		"OnAttemptingConnect": {func(o *mqtt5.ClientOptions, here func()) {
			o.OnAttemptingConnect = func(*mqtt5.AttemptingConnect) { here() }
		}, nil},
		"OnConnectionSuccess": {func(o *mqtt5.ClientOptions, here func()) {
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { here() }
		}, nil},
		"OnDisconnection": {func(o *mqtt5.ClientOptions, here func()) {
			o.OnDisconnection = func(*mqtt5.Disconnection) { here() }
		}, lose},
		"OnStopped": {func(o *mqtt5.ClientOptions, here func()) {
			o.OnStopped = func(*mqtt5.Stopped) { here() }
		}, func(d *device, _ *mqtttest.Server) { d.Stop(d.ctx, nil) }},
		"PrepareConnect": {func(o *mqtt5.ClientOptions, here func()) {
			o.PrepareConnect = func(context.Context, *mqtt5.ConnectPacket) error { here(); return nil }
		}, nil},
		"ShouldRetry": {func(o *mqtt5.ClientOptions, here func()) {
			failed := false
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (c net.Conn, err error) {
				if !failed {
					failed = true
					return nil, errors.New("refused")
				}
				return dial(ctx, network, address)
			}
			o.ShouldRetry = func(mqtt5.RetryInfo) bool { here(); return false }
		}, nil},
	} {
		bubble(t, name, func(t *testing.T) {
			srv := silent(t)
			var d *device
			calls := 0
			here := func() {
				if calls++; calls > 1 {
					return
				}
				ctx, cancel := context.WithTimeout(d.ctx, 300*time.Millisecond)
				defer cancel()
				begun := time.Now()
				d.Stop(ctx, nil)
				if took := time.Since(begun); took > 300*time.Millisecond {
					t.Errorf("Stop took %v", took)
				}
				want(t, "start", d.Start(), nil)
			}
			d = newDevice(t, srv, func(o *mqtt5.ClientOptions) { place.set(o, here) })
			want(t, "start", d.Start(), nil)
			time.Sleep(10 * time.Second)
			if name == "PublishAsync" {
				d.PublishAsync(&mqtt5.PublishPacket{}, func(*mqtt5.PublishResult, error) { here() })
			}
			if place.act != nil {
				place.act(d, srv)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if calls == 0 {
				t.Error("it was not called")
			}
			if s := d.State(); s != mqtt5.StateConnected {
				t.Errorf("state %v; events %q", s, d.events())
			}
		})
	}
}

// TestStop_endsWhenNothingIsLeftToWaitFor stops while operations end in ways
// other than an acknowledgement.
func TestStop_endsWhenNothingIsLeftToWaitFor(t *testing.T) {
	bubble(t, "the last one is refused when its turn comes", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](1), MaximumPacketSizeBytes: mqtttest.Ptr[uint32](100)})
			p := c.ExpectPublish()
			c.Sleep(time.Second)
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := newDevice(t, srv, nil)
		fits := d.publish(d.ctx, message(1, "a", "x"))
		large := d.publish(d.ctx, message(1, "a", strings.Repeat("x", 200)))
		d.start()
		begun := time.Now()
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("Stop took %v", took)
		}
		want(t, "publish", fits.wait(), nil)
		want(t, "publish that is too large", large.wait(), mqtt5.ErrNotSent)
	})
	bubble(t, "the last one is cancelled", func(t *testing.T) {
		d := connected(t, silent(t), nil)
		ctx, cancel := context.WithCancel(d.ctx)
		d.publish(ctx, message(1, "a", "x"))
		stop := d.do(func() error { return d.Stop(d.ctx, nil) })
		cancel()
		time.Sleep(time.Second)
		if !stop.finished() {
			t.Error("Stop goes on waiting")
		}
	})
	bubble(t, "the last one runs into its timeout", func(t *testing.T) {
		d := connected(t, silent(t), nil)
		d.publish(d.ctx, message(1, "a", "x"))
		stop := d.do(func() error { return d.Stop(d.ctx, nil) })
		time.Sleep(2 * time.Minute)
		if !stop.finished() {
			t.Error("Stop goes on waiting")
		}
	})
}

// TestStop_returnsAfterOnStopped checks the order of Stop and its event.
func TestStop_returnsAfterOnStopped(t *testing.T) {
	bubble(t, "from a goroutine", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		told := false
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnStopped = func(*mqtt5.Stopped) {
				time.Sleep(time.Second)
				told = true
			}
		})
		var stops []*async
		for range 3 {
			stops = append(stops, d.do(func() error {
				err := d.Stop(d.ctx, nil)
				if !told {
					t.Error("Stop returned before OnStopped")
				}
				return err
			}))
		}
		for _, stop := range stops {
			want(t, "stop", stop.wait(), nil)
		}
	})
	bubble(t, "at rest, while OnStopped of two runs is to come", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		told := 0
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnStopped = func(*mqtt5.Stopped) {
				time.Sleep(time.Second)
				told++
			}
		})
		first := d.do(func() error { return d.Stop(d.ctx, nil) })
		time.Sleep(100 * time.Millisecond) // it is at rest, and the first OnStopped runs
		want(t, "start", d.Start(), nil)
		second := d.do(func() error { return d.Stop(d.ctx, nil) })
		time.Sleep(100 * time.Millisecond)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if told != 2 {
			t.Errorf("Stop returned after %d of 2 OnStopped", told)
		}
		want(t, "first stop", first.wait(), nil)
		want(t, "second stop", second.wait(), nil)
	})
	bubble(t, "from a handler, which it does not wait for", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		var d *device
		var err error
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { err = d.Stop(d.ctx, nil) }
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second)
		synctest.Wait()
		want(t, "stop", err, nil)
		d.wantEvents("attempting success disconnection stopped")
	})
}

// TestStop_fromHandlers stops from a handler, while OnStopped waits for that.
func TestStop_fromHandlers(t *testing.T) {
	for _, name := range []string{"OnMessage", "PublishAsync"} {
		bubble(t, name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			returned := make(chan struct{})
			var d *device
			d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.OnMessage = func(context.Context, mqtt5.Message) {
					want(t, "stop", d.Stop(d.ctx, nil), nil)
					close(returned)
				}
				o.OnStopped = func(*mqtt5.Stopped) { <-returned }
			})
			d.start()
			if name == "OnMessage" {
				want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
				srv.Publish(mqtttest.Publish{Topic: "in"})
			} else {
				d.PublishAsync(message(0, "out", "x"), func(*mqtt5.PublishResult, error) {
					want(t, "stop", d.Stop(d.ctx, nil), nil)
					close(returned)
				})
			}
			<-returned
			synctest.Wait()
			d.wantEvents("attempting success disconnection stopped")
		})
	}
}

// TestStop_dialThatIgnoresItsContext stops an attempt whose Dial does not obey
// its context.
func TestStop_dialThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		release := make(chan struct{})
		var dials atomic.Int32
		group := eventloop.NewGroup(eventloop.Options{Loops: 1, DialLimit: 1})
		defer group.Close()
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.EventLoops = group
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					<-release
				}
				return dial(context.Background(), network, address)
			}
		})
		want(t, "start", d.Start(), nil)
		// It holds the only slot of the group until the client has given it up.
		if err := d.WaitConnected(d.ctx); err != nil {
			t.Fatal(err)
		}
		close(release) // that connection is not taken
		time.Sleep(time.Second)
		if s, n := d.State(), len(srv.Conns()); s != mqtt5.StateConnected || n != 1 {
			t.Errorf("state %v with %d connections", s, n)
		}
	})
}
