// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func authenticated(a mqtt5.Authenticator) func(*mqtt5.ClientOptions) {
	return func(o *mqtt5.ClientOptions) { o.Authenticator = a }
}

func auth(code mqtttest.ReasonCode, data string) mqtttest.Auth {
	p := mqtttest.Auth{ReasonCode: code, AuthenticationMethod: str("M")}
	if data != "" {
		p.AuthenticationData = []byte(data)
	}
	return p
}

var (
	welcome  = mqtttest.Connack{AuthenticationMethod: str("M"), AuthenticationData: []byte("last")}
	errProof = errors.New("wrong proof")
)

func TestAuthentication(t *testing.T) {
	bubble(t, "MQTT-4.12.0-3 MQTT-4.12.0-5 MQTT-3.1.2-30 an exchange before CONNACK", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			con := c.ExpectConnect()
			if *con.AuthenticationMethod != "M" || string(con.AuthenticationData) != "hello" {
				c.Errorf("got %v", mqtttest.Describe(con))
			}
			c.ExpectSilence(time.Second)
			for _, data := range []string{"one", "two"} {
				c.Send(auth(mqtttest.ContinueAuthentication, data))
				c.ExpectPacket(auth(mqtttest.ContinueAuthentication, "to "+data))
				c.ExpectSilence(time.Second)
			}
			c.Send(welcome)
			p := c.ExpectPublish() // which waited for CONNACK
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		var last string
		d := newDevice(t, srv, authenticated(scripted{finish: func(data []byte) error {
			last = string(data)
			return nil
		}}))
		queued := d.publish(d.ctx, message(1, "a", "x"))
		d.start()
		want(t, "publish", queued.wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if last != "last" {
			t.Errorf("the authenticator was told %q", last)
		}
	})
	bubble(t, "nothing of the user's is sent before the authenticator believes the server", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(welcome)
			c.ExpectSilence(10*time.Second - 1)
			p := c.ExpectPublish()
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := newDevice(t, srv, authenticated(scripted{finish: func([]byte) error {
			time.Sleep(10 * time.Second)
			return nil
		}}))
		queued := d.publish(d.ctx, message(1, "a", "x"))
		want(t, "start", d.Start(), nil)
		want(t, "publish", queued.wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-4.12.0-7 no AUTH without a method", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			if con := accept(c); con.AuthenticationMethod != nil {
				c.Errorf("got %v", mqtttest.Describe(con))
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection) // and nothing before
		})
		d := connected(t, srv, nil)
		want(t, "re-authentication", d.Reauthenticate(d.ctx), mqtt5.ErrNoAuthentication)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "the authenticator does not believe a challenge", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(auth(mqtttest.ContinueAuthentication, "x"))
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		d := newDevice(t, srv, authenticated(scripted{next: func([]byte) ([]byte, error) { return nil, errProof }}))
		want(t, "start", d.Start(), nil)
		err := d.lastFailure().Err
		want(t, "failure", err, mqtt5.ErrAuthentication)
		want(t, "failure", err, errProof)
		time.Sleep(2 * time.Second)
	})
	bubble(t, "the authenticator does not believe CONNACK", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(welcome)
			untilDisconnect(c, mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		d := newDevice(t, srv, authenticated(scripted{finish: func([]byte) error { return errProof }}))
		want(t, "start", d.Start(), nil)
		err := d.lastFailure().Err
		want(t, "failure", err, mqtt5.ErrAuthentication)
		want(t, "failure", err, errProof)
		time.Sleep(2 * time.Second)
	})
	bubble(t, "nothing is taken from a server that has not proved itself", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(welcome, mqtttest.Publish{Topic: "with CONNACK"}) // in one segment
			c.Send(mqtttest.Publish{Topic: "later"})
			untilDisconnect(c, mqtttest.NormalDisconnection)
		})
		verdict := make(chan error)
		d := newDevice(t, srv, authenticated(scripted{finish: func([]byte) error { return <-verdict }}))
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second)
		if n := len(d.received()); d.State() != mqtt5.StateConnecting || n != 0 {
			t.Errorf("%v with %d messages before the verdict", d.State(), n)
		}
		verdict <- nil
		want(t, "connection", d.WaitConnected(t.Context()), nil)
		synctest.Wait()
		d.wantMessages("with CONNACK=", "later=")
		want(t, "stop", d.Stop(t.Context(), nil), nil)
	})
	bubble(t, "the authenticator never comes to a verdict", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(welcome)
			untilDisconnect(c, mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		verdict := make(chan error)
		d := newDevice(t, srv, authenticated(scripted{finish: func([]byte) error { return <-verdict }}))
		want(t, "start", d.Start(), nil)
		time.Sleep(30 * time.Second)
		close(verdict)
		want(t, "failure", d.lastFailure().Err, mqtt5.ErrAuthentication)
	})
	bubble(t, "the authenticator panics", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(auth(mqtttest.ContinueAuthentication, "x"))
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		d := newDevice(t, srv, authenticated(scripted{next: func([]byte) ([]byte, error) { panic("boom") }}))
		want(t, "start", d.Start(), nil)
		want(t, "failure", d.lastFailure().Err, mqtt5.ErrAuthentication)
		time.Sleep(2 * time.Second)
	})
	bubble(t, "MQTT-4.13.2-1 the server refuses", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(auth(mqtttest.ContinueAuthentication, "x"))
			c.ExpectAuth()
			c.Send(mqtttest.Connack{ReasonCode: mqtttest.BadAuthenticationMethod})
			c.ExpectClosed()
		})
		srv.HangDial()
		d := newDevice(t, srv, authenticated(scripted{}))
		want(t, "start", d.Start(), nil)
		want(t, "failure", d.lastFailure().Err, mqtt5.ErrConnectionRefused)
		time.Sleep(2 * time.Second)
	})
	bubble(t, "an exchange without end is bounded by ConnackTimeout", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			for {
				if c.TrySend(auth(mqtttest.ContinueAuthentication, "x")) != nil {
					return
				}
				if _, err := c.Receive(); err != nil {
					return
				}
				c.Sleep(time.Second)
			}
		})
		srv.HangDial()
		d := newDevice(t, srv, authenticated(scripted{}))
		want(t, "start", d.Start(), nil)
		time.Sleep(20*time.Second + time.Millisecond)
		want(t, "failure", d.lastFailure().Err, mqtt5.ErrConnackTimeout)
		time.Sleep(2 * time.Second)
	})
	bubble(t, "Begin fails", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := newDevice(t, srv, authenticated(failingBegin{}))
		want(t, "start", d.Start(), nil)
		err := d.lastFailure().Err
		want(t, "failure", err, mqtt5.ErrAuthentication)
		want(t, "failure", err, errProof)
	})
}

type failingBegin struct{ scripted }

func (failingBegin) Begin(context.Context) ([]byte, error) { return nil, errProof }

// failsOnce fails to begin the second exchange, after a second.
type failsOnce struct {
	scripted
	begun *int
}

func (f failsOnce) Begin(context.Context) ([]byte, error) {
	if *f.begun++; *f.begun == 2 {
		time.Sleep(time.Second)
		return nil, errProof
	}
	return []byte("hello"), nil
}

func TestReauthenticate(t *testing.T) {
	bubble(t, "MQTT-4.12.1-1 MQTT-4.12.0-5 with the method of CONNECT, while traffic goes on", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, welcome)
			for range 2 {
				c.ExpectPacket(auth(mqtttest.ReAuthenticate, "hello"))
				p := c.ExpectPublish()
				c.Send(mqtttest.Puback{PacketID: p.PacketID}, raw(1, 1, "in"))
				c.ExpectPuback()
				c.Sleep(time.Second)
				c.Send(auth(mqtttest.ContinueAuthentication, "more"))
				c.ExpectPacket(auth(mqtttest.ContinueAuthentication, "to more"))
				c.Send(auth(mqtttest.Success, "done"))
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		var last []string
		d := connected(t, srv, authenticated(scripted{finish: func(data []byte) error {
			last = append(last, string(data))
			return nil
		}}))
		for range 2 {
			again := d.do(func() error { return d.Reauthenticate(d.ctx) })
			want(t, "publish", d.publish(d.ctx, message(1, "a", "x")).wait(), nil)
			if again.finished() {
				t.Error("finished before the server did")
			}
			want(t, "re-authentication", again.wait(), nil)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if s := fmt.Sprint(last); s != "[last done done]" {
			t.Errorf("the authenticator was told %s", s)
		}
	})
	for _, c := range []struct {
		name   string
		a      scripted
		script func(c *mqtttest.Conn)
		loss   error
	}{
		{"MQTT-4.12.1-2 we do not believe the challenge", scripted{next: func([]byte) ([]byte, error) { return nil, errProof }}, func(c *mqtttest.Conn) {
			c.Send(auth(mqtttest.ContinueAuthentication, "more"))
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		}, errProof},
		{"MQTT-4.12.1-2 we do not believe the end", scripted{finish: func(data []byte) error {
			if string(data) == "done" {
				return errProof
			}
			return nil
		}}, func(c *mqtttest.Conn) {
			c.Send(auth(mqtttest.Success, "done"))
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		}, errProof},
		{"MQTT-4.13.2-1 the server is not satisfied", scripted{}, func(c *mqtttest.Conn) {
			c.Send(mqtttest.Disconnect{ReasonCode: mqtttest.NotAuthorized})
			c.ExpectClosed()
		}, mqtt5.ErrDisconnectReceived},
		{"the server does not answer", scripted{}, func(c *mqtttest.Conn) {
			c.ExpectSilence(20*time.Second - 1)
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		}, mqtt5.ErrAuthentication},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(con *mqtttest.Conn) {
				accept(con, welcome)
				con.ExpectAuth()
				c.script(con)
			})
			srv.HangDial()
			d := connected(t, srv, authenticated(c.a))
			want(t, "re-authentication", d.Reauthenticate(d.ctx), c.loss)
			want(t, "loss", d.lastLoss().Err, c.loss)
			time.Sleep(2 * time.Second)
			want(t, "without a connection", d.Reauthenticate(d.ctx), mqtt5.ErrNotConnected)
		})
	}
	bubble(t, "from a handler", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, welcome)
			c.ExpectAuth()
			c.Send(auth(mqtttest.ContinueAuthentication, "more"))
			c.ExpectAuth()
			c.Send(auth(mqtttest.Success, ""))
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		var d *device
		var err = errProof
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.Authenticator = scripted{}
			o.OnConnectionSuccess = func(*mqtt5.ConnectionSuccess) { err = d.Reauthenticate(d.ctx) }
		})
		d.start()
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		want(t, "re-authentication", err, nil)
	})
	for _, c := range []struct {
		name string
		end  func(d *device) error
		want error
	}{
		{"stop meanwhile", func(d *device) error { return d.Stop(d.ctx, nil) }, mqtt5.ErrStopRequested},
		{"close meanwhile", func(d *device) error { return d.Close() }, mqtt5.ErrClosed},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(con *mqtttest.Conn) {
				accept(con, welcome)
				con.ExpectAuth()
				con.Drain()
			})
			d := connected(t, srv, authenticated(scripted{}))
			again := d.do(func() error { return d.Reauthenticate(d.ctx) })
			want(t, "end", c.end(d), nil)
			want(t, "re-authentication", again.wait(), c.want)
		})
	}
	bubble(t, "twice at once, and the first does not begin", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, welcome)
			c.ExpectPacket(auth(mqtttest.ReAuthenticate, "hello"))
			c.Send(auth(mqtttest.Success, ""))
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, authenticated(failsOnce{begun: new(int)}))
		first := d.do(func() error { return d.Reauthenticate(d.ctx) })
		synctest.Wait()
		second := d.do(func() error { return d.Reauthenticate(d.ctx) })
		want(t, "first", first.wait(), errProof)
		want(t, "second", second.wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "twice at once, one after the other", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, welcome)
			for range 2 {
				c.ExpectPacket(auth(mqtttest.ReAuthenticate, "hello"))
				c.ExpectSilence(time.Second)
				c.Send(auth(mqtttest.Success, "done"))
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, authenticated(scripted{finish: func([]byte) error {
			time.Sleep(time.Second)
			return nil
		}}))
		var both []*async
		for range 2 {
			both = append(both, d.do(func() error { return d.Reauthenticate(d.ctx) }))
			synctest.Wait()
		}
		for _, one := range both {
			want(t, "re-authentication", one.wait(), nil)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "twice at once, and the connection is lost", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, welcome)
			c.ExpectAuth()
			c.Sleep(time.Second)
			c.Reset()
		})
		srv.HangDial()
		d := connected(t, srv, authenticated(scripted{}))
		first := d.do(func() error { return d.Reauthenticate(d.ctx) })
		synctest.Wait()
		second := d.do(func() error { return d.Reauthenticate(d.ctx) })
		want(t, "first", first.wait(), mqtt5.ErrConnectionLost)
		want(t, "second", second.wait(), mqtt5.ErrNotConnected)
		time.Sleep(2 * time.Second)
	})
	bubble(t, "twice at once, and given up", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, welcome)
			c.ExpectAuth()
			c.Sleep(10 * time.Second)
			c.Send(auth(mqtttest.Success, ""))
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, authenticated(scripted{}))
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		first := d.do(func() error { return d.Reauthenticate(ctx) })
		want(t, "a second one waits", d.Reauthenticate(ctx), context.DeadlineExceeded)
		want(t, "given up", first.wait(), context.DeadlineExceeded)
		time.Sleep(10 * time.Second)
		d.wantEvents("attempting success")
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}
