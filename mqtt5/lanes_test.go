// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestLanes_doNotWaitForEachOther blocks one kind of handler, and looks at the
// others.
func TestLanes_doNotWaitForEachOther(t *testing.T) {
	bubble(t, "lifecycle events while a message handler is busy", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		release := make(chan struct{})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(context.Context, mqtt5.Message) { <-release }
		})
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "in"})
		time.Sleep(10 * time.Millisecond)
		srv.Conns()[0].Close()
		d.wantEvents("attempting success disconnection")
		time.Sleep(time.Minute)
		d.wantEvents("attempting success disconnection attempting success")
		close(release)
	})
	bubble(t, "lifecycle events while a message handler waits for an answer that never comes", func(t *testing.T) {
		srv := silent(t)
		var d *device
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(ctx context.Context, _ mqtt5.Message) { d.Publish(ctx, message(1, "out", "x")) }
		})
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "in"})
		synctest.Wait()
		srv.Conns()[0].Close()
		d.wantEvents("attempting success disconnection")
	})
	bubble(t, "completions while lifecycle and message handlers are busy", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		release := make(chan struct{})
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { <-release }
			o.OnMessage = func(context.Context, mqtt5.Message) { <-release }
		})
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "in"})
		want(t, "publish", d.publish(d.ctx, message(1, "out", "x")).wait(), nil)
		completed := false
		d.PublishAsync(message(1, "out", "y"), func(*mqtt5.PublishResult, error) { completed = true })
		synctest.Wait()
		if !completed {
			t.Error("PublishAsync did not complete")
		}
		close(release)
	})
	bubble(t, "messages and events while a completion is handled", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		release := make(chan struct{})
		d := connected(t, srv, nil)
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		d.PublishAsync(message(1, "out", "y"), func(*mqtt5.PublishResult, error) { <-release })
		synctest.Wait()
		srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("m")})
		d.wantMessages("in=m")
		srv.Conns()[0].Close()
		d.wantEvents("attempting success disconnection")
		close(release)
	})
}

// TestLanes_messagesFollowOnConnectionSuccess checks the one thing that lanes
// wait for.
func TestLanes_messagesFollowOnConnectionSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		for range 3 {
			srv.Script(func(c *mqtttest.Conn) {
				c.ExpectConnect()
				c.Send(mqtttest.Connack{}, mqtttest.Publish{Topic: "in", Payload: []byte("at once")})
				c.Sleep(500 * time.Millisecond)
				c.Send(mqtttest.Publish{Topic: "in", Payload: []byte("later")})
				c.Sleep(2 * time.Second)
			})
		}
		handling, handled := false, 0
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) {
				handling = true
				time.Sleep(time.Second)
				handling = false
				runtime.Goexit() // which counts as a return
			}
			o.OnMessage = func(context.Context, mqtt5.Message) {
				if handling {
					t.Error("a message was handled before OnConnectionSuccess returned")
				}
				handled++
			}
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if handled != 6 {
			t.Errorf("%d messages of 6", handled)
		}
	})
}

// TestGoexit lets everything of the user's end its goroutine, as a failed test
// does. The client must go on.
func TestGoexit(t *testing.T) {
	for name, set := range map[string]func(o *mqtt5.ClientOptions, once func()){
		"OnMessage": func(o *mqtt5.ClientOptions, once func()) {
			o.OnMessage = func(context.Context, mqtt5.Message) { once() }
		},
		"OnAttemptingConnect": func(o *mqtt5.ClientOptions, once func()) {
			o.OnAttemptingConnect = func(*mqtt5.AttemptingConnect) { once() }
		},
		"OnConnectionSuccess": func(o *mqtt5.ClientOptions, once func()) {
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { once() }
		},
		"OnConnectionFailure": func(o *mqtt5.ClientOptions, once func()) {
			o.OnConnectionFailure = func(*mqtt5.ConnectionFailure) { once() }
		},
		"OnDisconnection": func(o *mqtt5.ClientOptions, once func()) {
			o.OnDisconnection = func(*mqtt5.Disconnection) { once() }
		},
		"OnStopped": func(o *mqtt5.ClientOptions, once func()) {
			o.OnStopped = func(*mqtt5.Stopped) { once() }
		},
		"OnPanic": func(o *mqtt5.ClientOptions, once func()) {
			o.OnMessage = func(context.Context, mqtt5.Message) { panic("a handler") }
			o.OnPanic = func(*mqtt5.PanicError) { once() }
		},
		"ShouldRetry": func(o *mqtt5.ClientOptions, once func()) {
			o.ShouldRetry = func(mqtt5.RetryInfo) bool { once(); return true }
		},
		"PrepareConnect": func(o *mqtt5.ClientOptions, once func()) {
			o.PrepareConnect = func(context.Context, *mqtt5.ConnectPacket) error { once(); return nil }
		},
		"Dial": func(o *mqtt5.ClientOptions, once func()) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				once()
				return dial(ctx, network, address)
			}
		},
		"OperationObserver": func(o *mqtt5.ClientOptions, once func()) { o.OperationObserver = exiting{once} },
		"MessageObserver":   func(o *mqtt5.ClientOptions, once func()) { o.MessageObserver = exiting{once} },
		"StateObserver":     func(o *mqtt5.ClientOptions, once func()) { o.StateObserver = exiting{once} },
	} {
		bubble(t, name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.RefuseDial(nil)
			exits := 0
			stopped := false
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.PingTimeout = time.Second
				set(o, func() {
					if exits++; exits == 1 {
						runtime.Goexit()
					}
				})
				user := o.OnStopped
				o.OnStopped = func(e *mqtt5.Stopped) {
					stopped = true
					call(user, e)
				}
			})
			want(t, "start", d.Start(), nil)
			connect := func() {
				ctx, cancel := context.WithTimeout(d.ctx, 20*time.Second)
				defer cancel()
				want(t, "connection", d.WaitConnected(ctx), nil)
				synctest.Wait()
			}
			connect()
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			for range 3 {
				srv.Publish(mqtttest.Publish{Topic: "in", QoS: 1})
			}
			time.Sleep(time.Second)
			if n := len(d.received()); n != 3 {
				t.Errorf("%d messages of 3", n)
			}
			completed := 0
			for range 2 {
				d.PublishAsync(message(1, "out", "x"), func(*mqtt5.PublishResult, error) {
					completed++
					runtime.Goexit()
				})
			}
			want(t, "publish", d.publish(d.ctx, message(1, "out", "x")).wait(), nil)
			time.Sleep(time.Second)
			synctest.Wait()
			if completed != 2 {
				t.Errorf("%d completions of 2", completed)
			}
			srv.Conns()[0].Send(mqtttest.Disconnect{ReasonCode: mqtttest.ServerBusy})
			time.Sleep(10 * time.Second)
			connect()
			want(t, "publish", d.publish(d.ctx, message(2, "out", "x")).wait(), nil)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
			synctest.Wait()
			if exits == 0 || !stopped {
				t.Errorf("called %d times, stopped: %v", exits, stopped)
			}
		})
	}
	for _, where := range []string{"begin", "continue", "finish"} {
		bubble(t, "Authenticator "+where, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			script := func(c *mqtttest.Conn) {
				if _, err := c.Receive(); err != nil {
					return
				}
				c.Send(auth(mqtttest.ContinueAuthentication, "one"))
				if p, err := c.Receive(); err != nil || p.PacketType() != mqtttest.TypeAuth {
					return
				}
				c.Send(welcome)
				c.Drain()
			}
			for range 2 {
				srv.Script(script)
			}
			a := &exitingAuthenticator{where: where}
			d := newDevice(t, srv, authenticated(a))
			want(t, "start", d.Start(), nil)
			ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
			defer cancel()
			want(t, "connection", d.WaitConnected(ctx), nil)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
			synctest.Wait()
			if !a.exited {
				t.Error("it was not called")
			}
			if where == "begin" { // then no connection was made for the first script
				d.start()
				want(t, "stop", d.Stop(d.ctx, nil), nil)
			}
		})
	}
	bubble(t, "Authenticator that begins again", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(welcome)
			c.ExpectAuth()
			c.Send(auth(mqtttest.Success, "again"))
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		a := &exitingAuthenticator{}
		d := newDevice(t, srv, authenticated(a))
		d.start()
		a.where = "begin"
		go d.Reauthenticate(d.ctx)
		synctest.Wait()
		if !a.exited {
			t.Error("it was not called")
		}
		want(t, "re-authentication", d.do(func() error { return d.Reauthenticate(d.ctx) }).wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

// exiting is every observer.
type exiting struct{ once func() }

func (e exiting) ObserveOperation(mqtt5.OperationObservation) { e.once() }
func (e exiting) ObserveMessage(mqtt5.MessageObservation)     { e.once() }
func (e exiting) ObserveState(mqtt5.StateObservation)         { e.once() }

// TestGoexit_inAStream ends the goroutine that reads: in a stream it runs the
// handlers.
func TestGoexit_inAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 100
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			for range messages {
				c.Send(mqtttest.Publish{Topic: "in"})
				c.Sleep(100 * time.Microsecond)
			}
			c.ExpectPublish()
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		handled := 0
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(context.Context, mqtt5.Message) {
				if handled++; handled%10 == 0 {
					runtime.Goexit()
				}
			}
		})
		d.start()
		time.Sleep(time.Second)
		synctest.Wait()
		if handled != messages {
			t.Errorf("%d messages of %d", handled, messages)
		}
		want(t, "publish", d.publish(d.ctx, message(0, "out", "x")).wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

// exitingAuthenticator ends its goroutine once.
type exitingAuthenticator struct {
	where  string
	exited bool
}

func (a *exitingAuthenticator) at(where string) {
	if a.where == where && !a.exited {
		a.exited = true
		runtime.Goexit()
	}
}

func (*exitingAuthenticator) Method() string { return "M" }

func (a *exitingAuthenticator) Begin(context.Context) ([]byte, error) {
	a.at("begin")
	return []byte("hello"), nil
}

func (a *exitingAuthenticator) Continue([]byte) ([]byte, error) {
	a.at("continue")
	return []byte("proof"), nil
}

func (a *exitingAuthenticator) Finish([]byte) error {
	a.at("finish")
	return nil
}

// TestNil_isAnError checks what users give and return by mistake.
func TestNil_isAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		dials := 0
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				switch dials++; dials {
				case 1:
					return nil, nil
				case 2:
					var conn *net.TCPConn // never set
					return conn, nil
				}
				return dial(ctx, network, address)
			}
		})
		d.start()
		if f := d.lastFailure(); f.Err == nil || f.Attempt != 2 {
			t.Errorf("Dial returned neither a connection nor an error, and the attempt %d failed with %v", f.Attempt, f.Err)
		}
		var invalid *mqtt5.ValidationError
		check := func(what string, err error) {
			t.Helper()
			if !errors.As(err, &invalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := d.Publish(d.ctx, nil)
		check("publish", err)
		_, err = d.Subscribe(d.ctx, nil)
		check("subscribe", err)
		_, err = d.Unsubscribe(d.ctx, nil)
		check("unsubscribe", err)
		_, err = d.Handle("a", nil)
		check("handle", err)
		err = nil
		d.PublishAsync(nil, func(_ *mqtt5.PublishResult, e error) { err = e })
		synctest.Wait()
		check("PublishAsync", err)
		d.PublishAsync(nil, nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}
