// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"math"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// attempts counts the AttemptingConnect events of a device.
func attempts(d *device) int {
	return strings.Count(strings.Join(d.events(), " "), "attempting")
}

func TestShouldRetry_theAttemptWaitsForTheAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func() bool
		goesOn bool
	}{
		{"yes", func() bool { return true }, true},
		{"no", func() bool { return false }, false},
		{"a panic", func() bool { panic("hook") }, true},
		{"the end of the goroutine", func() bool { runtime.Goexit(); return false }, true},
	} {
		for _, slow := range []time.Duration{0, 500 * time.Millisecond, time.Hour} {
			bubble(t, c.name+" after "+slow.String(), func(t *testing.T) {
				srv := mqtttest.NewServer(t)
				srv.RefuseDial(nil)
				d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
					o.ShouldRetry = func(mqtt5.RetryInfo) bool {
						time.Sleep(slow)
						return c.answer()
					}
				})
				want(t, "start", d.Start(), nil)
				begun := time.Now()
				time.Sleep(max(slow, time.Second) - time.Millisecond)
				if n := attempts(d); n != 1 {
					t.Errorf("%d attempts before the answer", n)
				}
				err := d.WaitConnected(d.ctx)
				if !c.goesOn {
					want(t, "connection", err, mqtt5.ErrGaveUp)
					d.wantEvents("attempting failure stopped")
					return
				}
				want(t, "connection", err, nil)
				if took := time.Since(begun); took > max(slow, time.Second)+time.Millisecond {
					t.Errorf("the attempt came after %v", took)
				}
			})
		}
	}
}

// TestShouldRetry_isAskedWhatever has other user code end the goroutine before
// ShouldRetry is asked. The next attempt waits for its answer.
func TestShouldRetry_isAskedWhatever(t *testing.T) {
	for name, set := range map[string]func(o *mqtt5.ClientOptions){
		"OnConnectionFailure": func(o *mqtt5.ClientOptions) {
			o.OnConnectionFailure = func(*mqtt5.ConnectionFailure) { runtime.Goexit() }
		},
		"Hint": func(o *mqtt5.ClientOptions) {
			o.Hint = func(mqtt5.Refusal) string { runtime.Goexit(); return "" }
		},
	} {
		bubble(t, name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(c *mqtttest.Conn) {
				c.ExpectConnect()
				c.Send(mqtttest.Connack{ReasonCode: mqtttest.NotAuthorized})
			})
			asked := 0
			failures := 0
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				set(o)
				o.ShouldRetry = func(r mqtt5.RetryInfo) bool {
					asked++
					want(t, "reason", r.Err, mqtt5.ErrConnectionRefused)
					return true
				}
			})
			d.HandleEvents(func(event any) {
				if _, ok := event.(*mqtt5.ConnectionFailure); ok {
					failures++
				}
			})
			want(t, "start", d.Start(), nil)
			ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
			defer cancel()
			want(t, "connection", d.WaitConnected(ctx), nil)
			if asked != 1 || failures != 1 {
				t.Errorf("asked %d times, %d failures", asked, failures)
			}
		})
	}
}

// TestShouldRetry_answerBelongsToItsRun gives the answer when it is too late for
// it.
func TestShouldRetry_answerBelongsToItsRun(t *testing.T) {
	for name, meanwhile := range map[string]func(d *device){
		"stopped and started":          func(d *device) { d.do(func() error { return d.Stop(d.ctx, nil) }); d.Start() },
		"started, stopped and started": func(d *device) { d.Start(); d.do(func() error { return d.Stop(d.ctx, nil) }); d.Start() },
		"stopped and started, over again": func(d *device) {
			for range 3 {
				d.do(func() error { return d.Stop(d.ctx, nil) })
				d.Start()
			}
		},
	} {
		bubble(t, name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.RefuseDial(nil)
			answer := make(chan bool)
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.ShouldRetry = func(mqtt5.RetryInfo) bool { return <-answer }
			})
			want(t, "start", d.Start(), nil)
			time.Sleep(time.Minute)
			meanwhile(d)
			want(t, "connection of the next run", d.WaitConnected(d.ctx), nil)
			answer <- false
			time.Sleep(time.Minute)
			if s := d.State(); s != mqtt5.StateConnected {
				t.Errorf("state %v; events %q", s, d.events())
			}
		})
	}
	bubble(t, "an attempt of the next run failed as well", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.RefuseDial(nil)
		srv.RefuseDial(nil)
		answer := make(chan bool)
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.ShouldRetry = func(mqtt5.RetryInfo) bool { return <-answer }
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Minute)
		stop := d.do(func() error { return d.Stop(d.ctx, nil) })
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Minute)
		answer <- false // to the first question
		time.Sleep(time.Minute)
		if s := d.State(); s != mqtt5.StateWaiting {
			t.Errorf("state %v; events %q", s, d.events())
		}
		want(t, "stop", stop.wait(), nil)
		answer <- true
		want(t, "connection", d.WaitConnected(d.ctx), nil)
	})
}

// TestVeryLongDurations sets every duration to the longest one: none of them may
// turn into a very short one.
func TestVeryLongDurations(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for name, longest := range map[string]time.Duration{"the longest": forever, "30 years": 30 * 365 * 24 * time.Hour, "290 years": 290 * 365 * 24 * time.Hour} {
		set := func(o *mqtt5.ClientOptions) {
			o.ConnectTimeout, o.ConnackTimeout, o.PingTimeout, o.AckTimeout = longest, longest, longest, longest
			o.MaxReconnectDelay, o.MinConnectedTimeToResetReconnectDelay = longest, longest
			o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](math.MaxUint16)
		}
		bubble(t, name+": a slow server has its time", func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(c *mqtttest.Conn) {
				c.ExpectConnect()
				c.Sleep(time.Hour)
				c.Send(mqtttest.Connack{})
				c.AnswerPings()
				p := c.ExpectPublish()
				c.Sleep(time.Hour)
				c.Send(mqtttest.Puback{PacketID: p.PacketID})
				c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				set(o)
				dial := o.Dial
				o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					time.Sleep(time.Hour)
					return dial(ctx, network, address)
				}
			})
			d.start()
			want(t, "publish", d.publish(d.ctx, message(1, "a", "x")).wait(), nil)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
			d.wantEvents("attempting success disconnection stopped")
		})
		for _, asks := range []bool{false, true} {
			bubble(t, name+": the delay before an attempt", func(t *testing.T) {
				srv := mqtttest.NewServer(t)
				srv.RefuseDial(nil)
				d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
					set(o)
					o.MinReconnectDelay = longest
					if asks {
						o.ShouldRetry = func(mqtt5.RetryInfo) bool { return true }
					}
				})
				want(t, "start", d.Start(), nil)
				time.Sleep(24 * time.Hour)
				d.wantEvents("attempting failure")
				if s := d.State(); s != mqtt5.StateWaiting {
					t.Errorf("state %v", s)
				}
			})
		}
		bubble(t, name+": a very long stop", func(t *testing.T) {
			d := connected(t, silent(t), func(o *mqtt5.ClientOptions) { set(o) })
			d.publish(d.ctx, message(1, "a", "x"))
			ctx, cancel := context.WithTimeout(context.Background(), longest)
			defer cancel()
			stop := d.do(func() error { return d.Stop(ctx, nil) })
			time.Sleep(12 * time.Hour)
			if stop.finished() {
				t.Errorf("Stop returned: %v", stop.err)
			}
		})
	}
	if _, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "a:1", ConnectTimeout: -1}); err == nil || errors.Is(err, mqtt5.ErrClosed) {
		t.Errorf("a negative duration: %v", err)
	}
}
