// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestRetry(t *testing.T) {
	bubble(t, "delays double up to the maximum, and start over after a lasting connection", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		for range 5 {
			srv.RefuseDial(nil)
		}
		srv.Script(func(c *mqtttest.Conn) { // too short
			accept(c)
			c.Sleep(time.Second)
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Sleep(30 * time.Second)
		})
		srv.HangDial()
		var delays []time.Duration
		note := func(retry bool, d time.Duration) {
			if retry {
				delays = append(delays, d)
			}
		}
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.MaxReconnectDelay = 10 * time.Second
			o.OnConnectionFailure = func(e *mqtt5.ConnectionFailure) { note(e.WillRetry, e.Delay) }
			o.OnDisconnection = func(e *mqtt5.Disconnection) { note(e.WillRetry, e.Delay) }
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(90 * time.Second)
		synctest.Wait()
		s := func(list ...int) (out []time.Duration) {
			for _, n := range list {
				out = append(out, time.Duration(n)*time.Second)
			}
			return out
		}
		if got, want := delays, s(1, 2, 4, 8, 10, 10, 1); len(got) < 7 || [7]time.Duration(got[:7]) != [7]time.Duration(want) {
			t.Errorf("delays %v, want %v", got, want)
		}
		if n := first(d, &d.success).Attempt; n != 6 {
			t.Errorf("success after %d attempts", n)
		}
	})
	bubble(t, "ShouldRetry sees each failure and gives up", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		refused := errors.New("refused")
		for range 3 {
			srv.RefuseDial(refused)
		}
		var asked []mqtt5.RetryInfo
		var stopped error
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.ShouldRetry = func(r mqtt5.RetryInfo) bool {
				asked = append(asked, r)
				return r.Attempt < 3
			}
			o.OnStopped = func(e *mqtt5.Stopped) { stopped = e.Err }
		})
		queued := d.publish(d.ctx, message(1, "a", "x"))
		want(t, "start", d.Start(), nil)
		err := d.WaitConnected(d.ctx)
		want(t, "wait", err, mqtt5.ErrGaveUp)
		want(t, "wait", err, refused)
		want(t, "later wait", d.WaitConnected(d.ctx), mqtt5.ErrGaveUp)
		want(t, "publish", queued.wait(), mqtt5.ErrStopRequested)
		d.wantEvents("attempting failure attempting failure attempting failure stopped")
		want(t, "stopped", stopped, mqtt5.ErrGaveUp)
		if len(asked) != 3 || asked[1].Attempt != 2 || asked[1].Delay != 2*time.Second || !errors.Is(asked[1].Err, refused) {
			t.Errorf("asked %+v", asked)
		}
		d.start() // a new start forgets it
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

func TestAttempt_failures(t *testing.T) {
	noHost := &net.DNSError{Err: "no such host", Name: "server.example", IsNotFound: true}
	for _, c := range []struct {
		name   string
		plan   func(srv *mqtttest.Server)
		change func(o *mqtt5.ClientOptions)
		after  time.Duration
		check  func(err error) bool
	}{
		{"dial error", func(srv *mqtttest.Server) { srv.RefuseDial(noHost) }, nil, 0, func(err error) bool {
			var dial *mqtt5.DialError
			var dns *net.DNSError
			return errors.As(err, &dial) && dial.Address == "server.example:1883" && errors.As(err, &dns)
		}},
		{"connect timeout", func(srv *mqtttest.Server) { srv.HangDial() }, nil, 30 * time.Second, func(err error) bool {
			return errors.Is(err, mqtt5.ErrConnectTimeout)
		}},
		{"connect timeout, set", func(srv *mqtttest.Server) { srv.HangDial() }, func(o *mqtt5.ClientOptions) { o.ConnectTimeout = time.Second }, time.Second,
			func(err error) bool { return errors.Is(err, mqtt5.ErrConnectTimeout) }},
		{"CONNACK timeout", func(srv *mqtttest.Server) { srv.Script(func(c *mqtttest.Conn) { c.Drain() }) }, nil, 20 * time.Second,
			func(err error) bool { return errors.Is(err, mqtt5.ErrConnackTimeout) }},
		{"hang-up instead of CONNACK", func(srv *mqtttest.Server) { srv.Script(func(c *mqtttest.Conn) { c.ExpectConnect() }) }, nil, 0, func(err error) bool {
			var hangup *mqtt5.HangupError
			return errors.As(err, &hangup) && hangup.BeforeConnack && errors.Is(err, mqtt5.ErrHangup) && strings.Contains(err.Error(), "instead of answering CONNECT")
		}},
		{"PrepareConnect fails", func(srv *mqtttest.Server) {}, func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(context.Context, *mqtt5.ConnectPacket) error { return errProof }
		}, 0, func(err error) bool { return errors.Is(err, errProof) }},
		{"PrepareConnect makes an invalid CONNECT", func(srv *mqtttest.Server) {}, func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(_ context.Context, p *mqtt5.ConnectPacket) error {
				p.Username = str("a\x00")
				return nil
			}
		}, 0, func(err error) bool {
			var invalid *mqtt5.ValidationError
			return errors.As(err, &invalid)
		}},
		{"PrepareConnect hangs", func(srv *mqtttest.Server) {}, func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(ctx context.Context, _ *mqtt5.ConnectPacket) error {
				<-ctx.Done()
				return ctx.Err()
			}
		}, 30 * time.Second, func(err error) bool { return errors.Is(err, mqtt5.ErrConnectTimeout) }},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			c.plan(srv)
			d := newDevice(t, srv, c.change)
			want(t, "start", d.Start(), nil)
			if c.after > 0 {
				time.Sleep(c.after - 1)
				d.wantEvents("attempting")
				time.Sleep(time.Nanosecond)
			}
			d.wantEvents("attempting failure")
			if err := d.lastFailure().Err; !c.check(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	bubble(t, "PrepareConnect changes one attempt", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		for _, password := range []string{"one", "two"} {
			srv.Script(func(c *mqtttest.Conn) {
				if con := accept(c); string(con.Password) != password || con.ClientID != "device" {
					c.Errorf("got %v", mqtttest.Describe(con))
				}
				c.Sleep(time.Second)
			})
		}
		srv.HangDial()
		passwords := []string{"one", "two", "three"}
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(_ context.Context, p *mqtt5.ConnectPacket) error {
				p.Password = []byte(passwords[0])
				passwords = passwords[1:]
				return nil
			}
		})
		time.Sleep(10 * time.Second)
		d.wantEvents("attempting success disconnection attempting success disconnection attempting")
	})
}

// TestLargeConnect_refused checks that a refusal is heard while the CONNECT is
// still being written.
func TestLargeConnect_refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		go func() {
			far.Read(make([]byte, 1000)) // and never the rest
			far.Write(mqtttest.Encode(mqtttest.Connack{ReasonCode: mqtttest.PacketTooLarge}))
		}()
		failed := make(chan error, 1)
		c, err := mqtt5.NewClient(mqtt5.ClientOptions{
			Address: "server:1883",
			Dial:    func(context.Context, string, string) (net.Conn, error) { return near, nil },
			Connect: mqtt5.ConnectPacket{ClientID: "c", Will: &mqtt5.PublishPacket{Topic: "will", Payload: make([]byte, 60000)}},
			OnConnectionFailure: func(e *mqtt5.ConnectionFailure) {
				select {
				case failed <- e.Err:
				default:
				}
			},
		})
		want(t, "client", err, nil)
		defer c.Close()
		began := time.Now()
		want(t, "start", c.Start(), nil)
		want(t, "failure", <-failed, mqtt5.ErrConnectionRefused)
		if d := time.Since(began); d != 0 {
			t.Errorf("heard of it after %v", d)
		}
	})
}
