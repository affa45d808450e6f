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

// everyOperation is every call that sends something and waits for what comes of
// it.
func everyOperation(d *device) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{
		"subscribe": func(ctx context.Context) error {
			_, err := d.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a"}}})
			return err
		},
		"unsubscribe": func(ctx context.Context) error {
			_, err := d.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"a"}})
			return err
		},
	}
	for qos := range mqtt5.QoS(3) {
		calls["publish "+qos.String()] = func(ctx context.Context) error {
			_, err := d.Publish(ctx, message(qos, "a", "x"))
			return err
		}
	}
	return calls
}

// sentOperations counts what of the user's reached the server.
func sentOperations(srv *mqtttest.Server) int {
	journal := srv.Journal()
	return len(mqtttest.PacketsOf[mqtttest.Publish](journal)) + len(mqtttest.PacketsOf[mqtttest.Subscribe](journal)) +
		len(mqtttest.PacketsOf[mqtttest.Unsubscribe](journal))
}

// wantNotSent checks the error of an operation whose context ended in time.
func wantNotSent(t *testing.T, name string, err, cause error) {
	t.Helper()
	if !errors.Is(err, mqtt5.ErrNotSent) || errors.Is(err, mqtt5.ErrOutcomeUnknown) || !errors.Is(err, cause) {
		t.Errorf("%s: %v, want it not sent because of %v", name, err, cause)
	}
}

func TestEndedContext_sendsNothing(t *testing.T) {
	errWhy := errors.New("why")
	bubble(t, "ended before the call", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, nil)
		ctx, cancel := context.WithCancelCause(d.ctx)
		cancel(errWhy)
		for name, call := range everyOperation(d) {
			err := call(ctx)
			wantNotSent(t, name, err, errWhy)
			wantNotSent(t, name, err, context.Canceled)
		}
		synctest.Wait()
		if n := sentOperations(srv); n > 0 {
			t.Errorf("%d operations reached the server", n)
		}
	})
	bubble(t, "ended in the queue, before there is a connection", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, nil)
		ctx, cancel := context.WithCancelCause(d.ctx)
		waiting := map[string]*async{}
		for name, call := range everyOperation(d) {
			if name == "publish QoS 0" {
				continue // does not wait for a connection
			}
			waiting[name] = d.do(func() error { return call(ctx) })
			if waiting[name].finished() {
				t.Errorf("%s does not wait: %v", name, waiting[name].err)
			}
		}
		cancel(errWhy)
		for name, a := range waiting {
			wantNotSent(t, name, a.wait(), errWhy)
		}
		d.start()
		time.Sleep(time.Minute)
		if n := sentOperations(srv); n > 0 {
			t.Errorf("%d operations reached the server", n)
		}
	})
	bubble(t, "ended while it waited for room in the queue", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) { o.MaxQueuedOperations = 1 })
		first := d.publish(d.ctx, message(1, "first", "x"))
		ctx, cancel := context.WithCancelCause(d.ctx)
		second := d.publish(ctx, message(1, "second", "x"))
		cancel(errWhy)
		wantNotSent(t, "publish", second.wait(), errWhy)
		d.start()
		want(t, "the one before it", first.wait(), nil)
		if sent := mqtttest.PacketsOf[mqtttest.Publish](srv.Journal()); len(sent) != 1 || sent[0].Topic != "first" {
			t.Errorf("sent %v", sent)
		}
	})
	bubble(t, "ended before a re-authentication", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(welcome)
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := newDevice(t, srv, authenticated(scripted{}))
		d.start()
		ctx, cancel := context.WithCancel(d.ctx)
		cancel()
		want(t, "re-authentication", d.Reauthenticate(ctx), context.Canceled)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

// stopAtOnce stops with a context that has ended. The client may be at rest
// before Stop looks at it.
func stopAtOnce(d *device) {
	ctx, cancel := context.WithCancel(d.ctx)
	cancel()
	if err := d.Stop(ctx, nil); err != nil && !errors.Is(err, context.Canceled) {
		d.t.Errorf("stop: %v", err)
	}
}

// TestHandlerContext checks when the context of message handlers ends.
func TestHandlerContext(t *testing.T) {
	for name, end := range map[string]func(d *device){
		"close": func(d *device) { d.Close() },
		"a stop that gives up waiting": func(d *device) {
			pending := d.publish(d.ctx, message(1, "never acknowledged", "x"))
			ctx, cancel := context.WithTimeout(d.ctx, time.Second)
			defer cancel()
			want(t, "stop", d.Stop(ctx, nil), context.DeadlineExceeded)
			want(t, "publish", pending.wait(), mqtt5.ErrStopRequested)
		},
		"a stop that does not wait": func(d *device) {
			stopAtOnce(d)
		},
	} {
		bubble(t, name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.Intercept(func(_ *mqtttest.Conn, p mqtttest.Packet) bool {
				_, publish := p.(mqtttest.Publish)
				return publish
			}))
			var ended, entered bool
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.OnMessage = func(ctx context.Context, _ mqtt5.Message) {
					entered = true
					<-ctx.Done()
					ended = true
				}
			})
			d.start()
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			srv.Publish(mqtttest.Publish{Topic: "in"})
			time.Sleep(time.Hour)
			synctest.Wait()
			if !entered || ended {
				t.Fatalf("the handler runs: %v, its context has ended: %v", entered, ended)
			}
			end(d)
			synctest.Wait()
			if !ended {
				t.Error("the context of the handler has not ended")
			}
		})
	}
	bubble(t, "a handler after a stop and a start has a context of its own", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		var contexts []context.Context
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(ctx context.Context, _ mqtt5.Message) { contexts = append(contexts, ctx) }
		})
		for range 2 {
			d.start()
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			srv.Publish(mqtttest.Publish{Topic: "in"})
			synctest.Wait()
			stopAtOnce(d)
			synctest.Wait()
		}
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "in"})
		synctest.Wait()
		if len(contexts) != 3 || contexts[0].Err() == nil || contexts[1].Err() == nil || contexts[2].Err() != nil {
			t.Errorf("contexts %v", contexts)
		}
	})
	bubble(t, "a stop that was over does not end it after a start", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		var ended, entered bool
		release := make(chan struct{})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnStopped = func(*mqtt5.Stopped) { <-release }
			o.OnMessage = func(ctx context.Context, _ mqtt5.Message) {
				entered = true
				select {
				case <-ctx.Done():
					ended = true
				case <-time.After(time.Hour):
				}
			}
		})
		ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
		defer cancel()
		stop := d.do(func() error { return d.Stop(ctx, nil) })
		joined := d.do(func() error { return d.Stop(ctx, nil) })
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second)
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		srv.Publish(mqtttest.Publish{Topic: "in"})
		want(t, "stop", stop.wait(), context.DeadlineExceeded)
		want(t, "joined stop", joined.wait(), context.DeadlineExceeded)
		release <- struct{}{} // the message waits for OnConnectionSuccess, and that for OnStopped
		time.Sleep(time.Minute)
		synctest.Wait()
		if !entered || ended {
			t.Errorf("entered %v, ended %v", entered, ended)
		}
		close(release)
	})
	bubble(t, "of messages that are handled after the client was closed", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		handled := 0
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(ctx context.Context, _ mqtt5.Message) {
				<-ctx.Done()
				handled++
			}
		})
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		for range 4 {
			srv.Publish(mqtttest.Publish{Topic: "in"})
			time.Sleep(time.Second) // each is taken for itself
		}
		d.Close()
		synctest.Wait()
		if handled != 4 {
			t.Errorf("%d handlers of 4 have returned", handled)
		}
	})
}
