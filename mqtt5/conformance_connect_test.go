// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestConnect(t *testing.T) {
	bubble(t, "MQTT-3.1.0-1 MQTT-4.2.0-1 CONNECT is first, and nothing goes before CONNACK", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.SetReadSize(1) // a byte stream has no packets
			con := c.ExpectConnect()
			if con.ClientID != "device" || !con.CleanStart || con.KeepAliveSeconds != 1200 {
				c.Errorf("got %v", mqtttest.Describe(con))
			}
			c.ExpectSilence(time.Second)
			c.SendSlowly(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](7)}, time.Millisecond)
			p := c.ExpectPublish()
			c.SendSlowly(mqtttest.Puback{PacketID: p.PacketID, ReasonString: str("slowly")}, time.Second)
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) { o.Connect.KeepAliveSeconds = nil })
		queued := d.publish(d.ctx, message(1, "a", "x"))
		d.start()
		want(t, "publish", queued.wait(), nil)
		if n := d.Settings().ReceiveMaximumFromServer; n != 7 {
			t.Errorf("Receive Maximum %d", n)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-3.1.3-2 an assigned client identifier is used again", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		for i := range 3 {
			srv.Script(func(c *mqtttest.Conn) {
				ack := mqtttest.Connack{}
				if i == 0 {
					ack.AssignedClientID = str("assigned")
				}
				con := accept(c, ack)
				if con.ClientID != []string{"", "assigned", "assigned"}[i] {
					c.Errorf("connection %d has client identifier %q", i, con.ClientID)
				}
				c.Sleep(time.Second)
			})
		}
		srv.HangDial()
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.Connect.ClientID = "" })
		if id := d.Settings().ClientID; id != "assigned" {
			t.Errorf("settings name %q", id)
		}
		time.Sleep(30 * time.Second)
		if n := d.Stats().Connections; n != 3 {
			t.Errorf("%d connections", n)
		}
	})
	bubble(t, "an assigned client identifier that is reserved is not used again", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		for range 2 {
			srv.Script(func(c *mqtttest.Conn) {
				if con := accept(c, mqtttest.Connack{AssignedClientID: str("$GEN/1")}); con.ClientID != "" {
					c.Errorf("client identifier %q", con.ClientID)
				}
				c.Sleep(time.Second)
			})
		}
		srv.HangDial()
		connected(t, srv, func(o *mqtt5.ClientOptions) { o.Connect.ClientID = "" })
		time.Sleep(10 * time.Second)
	})
	for _, c := range []struct {
		name    string
		session mqtt5.SessionBehavior
		clean   []bool // of each connection; a restart comes before the last
		present bool
	}{
		{"MQTT-3.1.2-4 SessionClean", mqtt5.SessionClean, []bool{true, true, true}, false},
		{"MQTT-3.1.2-23 SessionRejoinPostSuccess", mqtt5.SessionRejoinPostSuccess, []bool{true, false, true}, true},
		{"MQTT-3.1.2-23 SessionRejoinAlways", mqtt5.SessionRejoinAlways, []bool{false, false, false}, true},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			for i, clean := range c.clean {
				srv.Script(func(con *mqtttest.Conn) {
					p := con.ExpectConnect()
					if p.CleanStart != clean {
						con.Errorf("connection %d: clean start %v", i, p.CleanStart)
					}
					con.Send(mqtttest.Connack{SessionPresent: !clean && c.present})
					if i > 0 {
						con.ExpectDisconnectWith(mqtttest.NormalDisconnection)
					} else {
						con.Sleep(time.Second)
					}
				})
			}
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				o.SessionBehavior = c.session
				o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr[uint32](60)
			})
			time.Sleep(10 * time.Second)
			if got := d.Settings().RejoinedSession; got != (c.present && !c.clean[1]) {
				t.Errorf("RejoinedSession %v", got)
			}
			want(t, "stop", d.Stop(d.ctx, nil), nil)
			d.start()
			want(t, "stop", d.Stop(d.ctx, nil), nil)
			d.wantEvents("attempting success disconnection attempting success disconnection stopped attempting success disconnection stopped")
		})
	}
	bubble(t, "settings are those of CONNACK, and the standard's without", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		zero := mqtttest.Ptr[byte](0)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(mqtttest.Connack{
				SessionExpiryIntervalSeconds: mqtttest.Ptr[uint32](5), ReceiveMaximum: mqtttest.Ptr[uint16](6), MaximumQoS: mqtttest.Ptr[byte](1),
				RetainAvailable: zero, MaximumPacketSizeBytes: mqtttest.Ptr[uint32](1000), TopicAliasMaximum: mqtttest.Ptr[uint16](8),
				WildcardSubscriptionsAvailable: zero, SubscriptionIDsAvailable: zero, SharedSubscriptionsAvailable: zero,
				ServerKeepAliveSeconds: mqtttest.Ptr[uint16](9), ResponseInformation: str("info"), ServerReference: str("ref"), ReasonString: str("why"),
				UserProperties: []mqtttest.UserProperty{{Name: "k", Value: "v"}},
			})
			c.Sleep(time.Second)
		})
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr[uint32](60)
			o.Connect.RequestResponseInformation = mqtt5.Ptr(true)
			o.TopicAliasing.Inbound = true
		})
		if got, want := d.Settings(), (mqtt5.NegotiatedSettings{MaximumQoS: 1, SessionExpiryIntervalSeconds: 5, ReceiveMaximumFromServer: 6,
			MaximumPacketSizeToServer: 1000, TopicAliasMaximumToServer: 8, TopicAliasMaximumToClient: 25, ServerKeepAliveSeconds: 9,
			ClientID: "device"}); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		ack := first(d, &d.success).Connack
		if *ack.ResponseInformation != "info" || *ack.ServerReference != "ref" || *ack.ReasonString != "why" || len(ack.UserProperties) != 1 {
			t.Errorf("event %+v", ack)
		}
		time.Sleep(5 * time.Second)
		if got, want := d.Settings(), (mqtt5.NegotiatedSettings{MaximumQoS: 2, SessionExpiryIntervalSeconds: 60, ReceiveMaximumFromServer: 65535,
			MaximumPacketSizeToServer: 268435460, TopicAliasMaximumToClient: 25, ClientID: "device", RetainAvailable: true,
			WildcardSubscriptionsAvailable: true, SubscriptionIDsAvailable: true, SharedSubscriptionsAvailable: true}); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

func TestDisconnect(t *testing.T) {
	bubble(t, "MQTT-3.14.4-1 MQTT-3.14.4-2 nothing follows DISCONNECT but the end", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.ExpectPublish()
			c.Send(raw(1, 1, "in"), raw(2, 2, "in")) // answers of which must not come later
			c.ExpectPuback()
			c.ExpectPubrec()
			p := c.ExpectDisconnect()
			if p.ReasonCode != mqtttest.DisconnectWithWillMessage || *p.ReasonString != "bye" || *p.SessionExpiryIntervalSeconds != 7 || len(p.UserProperties) != 1 {
				c.Errorf("got %v", mqtttest.Describe(p))
			}
			c.ExpectClosed()
		})
		d := connected(t, srv, persistent)
		d.publish(d.ctx, message(0, "a", "x"))
		if err := d.Stop(d.ctx, &mqtt5.DisconnectPacket{ReasonCode: mqtt5.DisconnectWithWillMessage, ReasonString: str("bye"),
			SessionExpiryIntervalSeconds: mqtt5.Ptr[uint32](7), UserProperties: []mqtt5.UserProperty{{Name: "k", Value: "v"}}}); err != nil {
			t.Error(err)
		}
		d.wantEvents("attempting success disconnection stopped")
		want(t, "loss", d.lastLoss().Err, mqtt5.ErrStopRequested)
	})
	bubble(t, "a session expiry that CONNECT does not allow is left out", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			if p := c.ExpectDisconnectWith(mqtttest.NormalDisconnection); p.SessionExpiryIntervalSeconds != nil {
				c.Errorf("got %v", mqtttest.Describe(p))
			}
		})
		d := connected(t, srv, nil)
		want(t, "stop", d.Stop(d.ctx, &mqtt5.DisconnectPacket{SessionExpiryIntervalSeconds: mqtt5.Ptr[uint32](7)}), nil)
	})
	bubble(t, "MQTT-3.14.2-1 a code that only servers send", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, nil)
		var invalid *mqtt5.ValidationError
		if err := d.Stop(d.ctx, &mqtt5.DisconnectPacket{ReasonCode: mqtt5.DisconnectSessionTakenOver}); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
		if d.State() != mqtt5.StateConnected {
			t.Errorf("state %v", d.State())
		}
	})
}

func TestKeepAlive(t *testing.T) {
	keepAlive := func(s uint16) func(*mqtt5.ClientOptions) {
		return func(o *mqtt5.ClientOptions) { o.Connect.KeepAliveSeconds = &s }
	}
	bubble(t, "MQTT-3.1.2-20 PINGREQ after silence, and only then", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			for range 3 {
				c.ExpectSilence(10*time.Second - 2*time.Millisecond) // it begins 1 ms after the PINGREQ
				c.ExpectPingreq()
				c.Sleep(time.Millisecond)
				c.Send(mqtttest.Pingresp{})
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, keepAlive(10))
		time.Sleep(30*time.Second + 500*time.Millisecond)
		if rtt := d.Stats().PingRoundTrip; rtt != time.Millisecond {
			t.Errorf("round trip %v", rtt)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	for _, interval := range []uint16{7, 0} {
		bubble(t, fmt.Sprintf("MQTT-3.1.2-21 MQTT-3.2.2-21 Server Keep Alive %d replaces the client's", interval), func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept(mqtttest.Connack{ServerKeepAliveSeconds: &interval})
				if interval == 0 {
					c.ExpectSilence(time.Hour)
				} else {
					c.ExpectSilence(7*time.Second - 1)
					c.ExpectPingreq()
					c.Send(mqtttest.Pingresp{})
				}
				c.Reset()
			})
			srv.Script(func(c *mqtttest.Conn) { // it holds for one connection
				c.Accept()
				c.ExpectSilence(30*time.Second - 1)
				c.ExpectPingreq()
				c.Send(mqtttest.Pingresp{})
				c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := connected(t, srv, keepAlive(30))
			if n := d.Settings().ServerKeepAliveSeconds; n != interval {
				t.Errorf("settings say %d", n)
			}
			if interval == 0 {
				time.Sleep(time.Hour)
			} else {
				time.Sleep(7 * time.Second)
			}
			time.Sleep(32 * time.Second)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
	}
	bubble(t, "MQTT-3.12.4-1 no PINGRESP: the link is dead", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.ExpectSilence(10*time.Second - 1)
			c.ExpectPingreq()
			c.ExpectSilence(3*time.Second - 1)
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			keepAlive(10)(o)
			o.PingTimeout = 3 * time.Second
		})
		time.Sleep(14 * time.Second)
		want(t, "loss", d.lastLoss().Err, mqtt5.ErrPingTimeout)
	})
	bubble(t, "half the keep alive bounds the ping timeout", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.ExpectPingreq()
			c.ExpectSilence(5*time.Second - 1)
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		d := connected(t, srv, keepAlive(10))
		time.Sleep(16 * time.Second)
		want(t, "loss", d.lastLoss().Err, mqtt5.ErrPingTimeout)
	})
	bubble(t, "anything received answers a ping", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			for range 20 { // never a PINGRESP
				c.ExpectPingreq()
				c.Sleep(4 * time.Second)
				c.Send(raw(0, 0, "a"))
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, keepAlive(10))
		time.Sleep(20*10*time.Second + 5*time.Second)
		d.wantEvents("attempting success")
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "PINGREQ is due although we talk all the time", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			for range 11 {
				c.ExpectPublish()
			}
			c.ExpectPingreq()
			for range 5 {
				c.ExpectPublish()
			}
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		d := connected(t, srv, keepAlive(10))
		for range 17 {
			time.Sleep(900 * time.Millisecond)
			d.publish(d.ctx, message(0, "a", "x"))
		}
		time.Sleep(time.Second)
		want(t, "loss", d.lastLoss().Err, mqtt5.ErrPingTimeout)
	})
	bubble(t, "a half-open link with a stuck write is found in time, and callers are freed", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(1000))
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Hang()
		})
		srv.HangDial()
		d := connected(t, srv, keepAlive(10))
		begun := time.Now()
		p := message(0, "a", "")
		p.Payload = make([]byte, 100_000)
		stuck := d.publish(d.ctx, p)
		acked := d.publish(d.ctx, message(1, "a", "x"))
		err := stuck.wait()
		want(t, "stuck publish", err, mqtt5.ErrConnectionLost)
		want(t, "stuck publish", err, mqtt5.ErrOutcomeUnknown)
		if took := time.Since(begun); took < 15*time.Second || took > 15*time.Second+15*time.Second/32 {
			t.Errorf("freed after %v", took)
		}
		want(t, "loss", d.lastLoss().Err, mqtt5.ErrPingTimeout)
		if acked.finished() {
			t.Errorf("the acknowledged publish did not wait for the next connection: %v", acked.err)
		}
		time.Sleep(2 * time.Second)
	})
}
