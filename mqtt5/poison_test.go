// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestPoison_countsOnlyWhatPointsAtThePublish ends connections in a row on which
// a publish is in flight.
func TestPoison_countsOnlyWhatPointsAtThePublish(t *testing.T) {
	disconnect := func(code mqtttest.ReasonCode) func(*mqtttest.Conn) {
		return func(c *mqtttest.Conn) { c.Send(mqtttest.Disconnect{ReasonCode: code}); c.ExpectClosed() }
	}
	for _, test := range []struct {
		name string
		end  func(c *mqtttest.Conn)
		want error
	}{
		{"reset", func(c *mqtttest.Conn) { c.Reset() }, nil},
		{"FIN", func(c *mqtttest.Conn) { c.Close() }, mqtt5.ErrPoisonPublish},
		{"DISCONNECT: packet too large", disconnect(mqtttest.PacketTooLarge), mqtt5.ErrPoisonPublish},
		{"DISCONNECT: not authorized", disconnect(mqtttest.NotAuthorized), mqtt5.ErrPoisonPublish},
		{"DISCONNECT: unspecified error", disconnect(mqtttest.UnspecifiedError), mqtt5.ErrPoisonPublish},
		{"DISCONNECT: server busy", disconnect(mqtttest.ServerBusy), nil},
		{"DISCONNECT: server shutting down", disconnect(mqtttest.ServerShuttingDown), nil},
		{"DISCONNECT: session taken over", disconnect(mqtttest.SessionTakenOver), nil},
		{"DISCONNECT: keep alive timeout", disconnect(mqtttest.KeepAliveTimeout), nil},
		{"DISCONNECT: administrative action", disconnect(mqtttest.AdministrativeAction), nil},
		{"DISCONNECT: message rate too high", disconnect(mqtttest.MessageRateTooHigh), nil},
		{"no answer to PINGREQ", func(c *mqtttest.Conn) { c.ExpectPingreq(); c.ExpectDisconnect(); c.ExpectClosed() }, nil},
		{"a packet that the standard forbids", func(c *mqtttest.Conn) { c.Send(mqtttest.Raw{0, 0}); c.ExpectDisconnect(); c.ExpectClosed() }, nil},
	} {
		bubble(t, test.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.RefuseUnscripted())
			for n := range 5 {
				srv.Script(func(c *mqtttest.Conn) {
					ack := resumed
					ack.SessionPresent = n > 0
					c.Accept(ack)
					p := c.ExpectPublish(mqtttest.Topic("suspect"))
					if p.Duplicate != (n > 0) {
						c.Errorf("DUP is %v on connection %d", p.Duplicate, n)
					}
					test.end(c)
				})
				if n == 2 && test.want != nil {
					break
				}
			}
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept(resumed)
				if test.want == nil {
					p := c.ExpectPublish(mqtttest.Topic("suspect"), mqtttest.Resent)
					c.Send(mqtttest.Puback{PacketID: p.PacketID})
				}
				c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				persistent(o)
				keepAlive(10)(o)
			})
			p := d.publish(d.ctx, message(1, "suspect", "x"))
			err := p.wait()
			want(t, "publish", err, test.want)
			if test.want != nil {
				want(t, "publish", err, mqtt5.ErrOutcomeUnknown)
			}
			d.await()
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
	}
}

// TestPoison_oneOfMany has several publishes in flight: one of them is at fault.
func TestPoison_oneOfMany(t *testing.T) {
	bubble(t, "what was acknowledged after it clears it", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.RefuseUnscripted())
		for n := range 6 {
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept(mqtttest.Connack{SessionPresent: n > 0})
				c.ExpectPublish(mqtttest.Topic("slow"))
				p := c.ExpectPublish(mqtttest.Topic("quick"))
				c.Send(mqtttest.Puback{PacketID: p.PacketID})
				c.Sleep(time.Second)
				c.Close()
			})
		}
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(resumed)
			p := c.ExpectPublish(mqtttest.Topic("slow"))
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, persistent)
		slow := d.publish(d.ctx, message(1, "slow", "x"))
		for range 6 {
			want(t, "quick", d.publish(d.ctx, message(1, "quick", "x")).wait(), nil)
			time.Sleep(500 * time.Millisecond)
			if s := d.State(); s != mqtt5.StateConnected {
				t.Fatalf("state %v", s)
			}
			time.Sleep(time.Second)
			d.await()
		}
		want(t, "slow", slow.wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "only the oldest is blamed, and the others go on", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.RefuseUnscripted())
		for n := range 3 {
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept(mqtttest.Connack{SessionPresent: n > 0})
				for _, topic := range []string{"bad", "b", "c"} {
					c.ExpectPublish(mqtttest.Topic(topic))
				}
				c.Close()
			})
		}
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(resumed)
			for _, topic := range []string{"b", "c"} {
				p := c.ExpectPublish(mqtttest.Topic(topic))
				c.Send(mqtttest.Puback{PacketID: p.PacketID})
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := newDevice(t, srv, persistent)
		bad := d.publish(d.ctx, message(1, "bad", "x"))
		b := d.publish(d.ctx, message(1, "b", "x"))
		c := d.publish(d.ctx, message(1, "c", "x"))
		d.start()
		want(t, "bad", bad.wait(), mqtt5.ErrPoisonPublish)
		want(t, "b", b.wait(), nil)
		want(t, "c", c.wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

// TestGrantedQoS_isSuccess takes the granted QoS of a broker in the acknowledgement of a
// publish for success, and nothing else.
func TestGrantedQoS_isSuccess(t *testing.T) {
	for _, c := range []struct {
		code mqtttest.ReasonCode
		qos  mqtt5.QoS
		ok   bool
	}{{1, 1, true}, {2, 1, true}, {1, 2, true}, {2, 2, true}, {3, 1, false}, {4, 2, false}, {0x11, 1, false}} {
		bubble(t, c.code.String()+" "+c.qos.String(), func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.AllowRules("MQTT-4.3.3-4")) // it does not take that PUBREC for one
			answer := func(id uint16) mqtttest.Packet {
				if c.qos == 1 {
					return mqtttest.Puback{PacketID: id, ReasonCode: c.code}
				}
				return mqtttest.Pubrec{PacketID: id, ReasonCode: c.code}
			}
			srv.Script(func(conn *mqtttest.Conn) {
				conn.Accept()
				p := conn.ExpectPublish()
				conn.Send(answer(p.PacketID))
				if !c.ok {
					conn.ExpectDisconnectWith(mqtttest.ProtocolError)
					return
				}
				if c.qos == 2 {
					conn.ExpectPubrel()
					conn.Send(mqtttest.Pubcomp{PacketID: p.PacketID})
				}
				conn.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := connected(t, srv, nil)
			p := d.publish(d.ctx, message(c.qos, "a", "x"))
			if !c.ok {
				srv.Wait()
				return
			}
			want(t, "publish", p.wait(), nil)
			if code := p.result.Puback.ReasonCode; code != mqtt5.PubackSuccess {
				t.Errorf("reason code %v", code)
			}
			if n := d.Stats().GrantedAcks; n != 1 {
				t.Errorf("%d granted acknowledgements are counted", n)
			}
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
	}
}

// TestIdentifiers_doNotStartWithOne keeps them from those that brokers with one
// table for both directions use first.
func TestIdentifiers_doNotStartWithOne(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		first := map[uint16]bool{}
		for range 20 {
			srv := mqtttest.NewServer(t)
			o := options(srv)
			c, err := mqtt5.NewClient(o)
			if err != nil {
				t.Fatal(err)
			}
			want(t, "start", c.Start(), nil)
			_, err = c.Publish(t.Context(), message(1, "a", "x"))
			want(t, "publish", err, nil)
			c.Close()
			id := mqtttest.PacketsOf[mqtttest.Publish](srv.Journal())[0].PacketID
			if id < 500 {
				t.Errorf("the first identifier is %d", id)
			}
			first[id] = true
		}
		if len(first) < 5 {
			t.Errorf("first identifiers of 20 clients: %v", first)
		}
	})
}
