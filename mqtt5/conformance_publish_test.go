// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestPublish_flows are the acknowledged flows of section 4.3, as sender.
func TestPublish_flows(t *testing.T) {
	bubble(t, "MQTT-4.3.2-1 MQTT-4.3.2-2 MQTT-4.3.2-3 MQTT-2.2.1-5 QoS 1, acknowledged out of order", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			var ids []uint16
			for i := range 3 {
				p := c.ExpectPublish(mqtttest.QoS(1), mqtttest.Payload(fmt.Sprint(i)))
				if p.Duplicate || p.PacketID == 0 || slices.Contains(ids, p.PacketID) {
					c.Errorf("got %v", mqtttest.Describe(p))
				}
				ids = append(ids, p.PacketID)
			}
			c.ExpectSilence(10 * time.Second) // no resending while connected
			for _, i := range []int{2, 0, 1} {
				c.Send(mqtttest.Puback{PacketID: ids[i]})
				c.Sleep(time.Second)
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		var sent []*async
		for i := range 3 {
			sent = append(sent, d.publish(d.ctx, message(1, "a", fmt.Sprint(i))))
		}
		time.Sleep(10*time.Second + 500*time.Millisecond)
		for _, i := range []int{2, 0, 1} {
			for j, a := range sent {
				if a.finished() != (j == i || slices.Contains([]int{2, 0, 1}[:slices.Index([]int{2, 0, 1}, i)], j)) {
					t.Errorf("publish %d after the acknowledgement of %d: finished %v", j, i, a.finished())
				}
			}
			want(t, "publish", sent[i].err, nil)
			time.Sleep(time.Second)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-4.3.3-1 MQTT-4.3.3-2 MQTT-4.3.3-3 MQTT-4.3.3-4 MQTT-4.3.3-5 QoS 2, four packets", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectPublish(mqtttest.QoS(2))
			q := c.ExpectPublish(mqtttest.QoS(2))
			if p.Duplicate || q.Duplicate || p.PacketID == q.PacketID {
				c.Errorf("%v, %v", mqtttest.Describe(p), mqtttest.Describe(q))
			}
			c.ExpectSilence(10 * time.Second)
			c.Send(mqtttest.Pubrec{PacketID: q.PacketID})
			c.ExpectPacket(mqtttest.Pubrel{PacketID: q.PacketID})
			c.ExpectSilence(10 * time.Second)
			c.Send(mqtttest.Pubrec{PacketID: p.PacketID, ReasonCode: mqtttest.NoMatchingSubscribers})
			c.ExpectPacket(mqtttest.Pubrel{PacketID: p.PacketID})
			c.Send(mqtttest.Pubcomp{PacketID: p.PacketID})
			c.Sleep(time.Second)
			c.Send(mqtttest.Pubcomp{PacketID: q.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		p := d.publish(d.ctx, message(2, "a", "p"))
		q := d.publish(d.ctx, message(2, "a", "q"))
		time.Sleep(20*time.Second + time.Millisecond)
		if !p.finished() || q.finished() {
			t.Errorf("finished before PUBCOMP, or not after it: %v, %v", p.finished(), q.finished())
		}
		want(t, "first", p.wait(), nil)
		want(t, "second", q.wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-4.3.3-6 PUBREC again is answered by PUBREL, never by PUBLISH", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			p := c.ExpectPublish()
			for range 3 {
				c.Send(mqtttest.Pubrec{PacketID: p.PacketID})
				c.ExpectPacket(mqtttest.Pubrel{PacketID: p.PacketID})
			}
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, resumed)
			rel := c.ExpectPubrel()
			c.Send(mqtttest.Pubcomp{PacketID: rel.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, persistent)
		want(t, "publish", d.publish(d.ctx, message(2, "a", "x")).wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-4.3.3-7 MQTT-3.3.1-1 MQTT-4.4.0-1 an expired message that was sent goes on", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		var id uint16
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			id = c.ExpectPublish().PacketID
			c.Sleep(time.Minute) // longer than the message is worth anything
			c.Close()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, resumed)
			p := c.ExpectPublish(mqtttest.Resent, mqtttest.QoS(2))
			if p.PacketID != id || *p.MessageExpirySeconds != 1 {
				c.Errorf("resent %v", mqtttest.Describe(p))
			}
			c.Send(mqtttest.Pubrec{PacketID: id})
			c.ExpectPubrel()
			c.Send(mqtttest.Pubcomp{PacketID: id})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			persistent(o)
			o.AckTimeout = -1
		})
		p := message(2, "a", "x")
		p.MessageExpirySeconds = mqtt5.Ptr[uint32](1)
		want(t, "publish", d.publish(d.ctx, p).wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	for qos := mqtt5.QoS(1); qos <= 2; qos++ {
		bubble(t, fmt.Sprintf("MQTT-4.4.0-2 a refused message is not sent again, %v", qos), func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(c *mqtttest.Conn) {
				accept(c)
				p := c.ExpectPublish()
				if qos == 1 {
					c.Send(mqtttest.Puback{PacketID: p.PacketID, ReasonCode: mqtttest.QuotaExceeded, ReasonString: str("full")})
				} else {
					c.Send(mqtttest.Pubrec{PacketID: p.PacketID, ReasonCode: mqtttest.QuotaExceeded, ReasonString: str("full")})
				}
				c.ExpectSilence(time.Minute)
				c.Close()
			})
			srv.Script(func(c *mqtttest.Conn) {
				accept(c, resumed)
				c.ExpectSilence(time.Minute)
				c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := connected(t, srv, persistent)
			a := d.publish(d.ctx, message(qos, "a", "x"))
			var refused *mqtt5.AckError
			if err := a.wait(); !errors.As(err, &refused) || refused.ReasonCode != 0x97 || refused.ReasonString != "full" {
				t.Errorf("got %v", err)
			}
			if a.result == nil || a.result.Puback.ReasonCode != mqtt5.PubackQuotaExceeded {
				t.Errorf("result %+v", a.result)
			}
			time.Sleep(3 * time.Minute)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
	}
}

// TestPublish_resend checks what goes again after a reconnect, and how.
func TestPublish_resend(t *testing.T) {
	bubble(t, "MQTT-4.6.0-1 MQTT-4.4.0-1 MQTT-3.3.1-1 MQTT-4.1.0-1 MQTT-3.1.2-23 in the order of the first sending", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			con := accept(c)
			if !con.CleanStart {
				c.Errorf("no clean start at first")
			}
			for i := range 5 {
				p := c.ExpectPublish(mqtttest.Payload(fmt.Sprint(i)))
				if i == 2 {
					c.Send(mqtttest.Puback{PacketID: p.PacketID})
				}
			}
			c.Sleep(time.Second)
			c.Reset()
		})
		for range 2 { // twice: the second time they go a third time
			srv.Script(func(c *mqtttest.Conn) {
				con := accept(c, resumed)
				if con.CleanStart || *con.SessionExpiryIntervalSeconds != 3600 || con.ClientID != "device" {
					c.Errorf("got %v", mqtttest.Describe(con))
				}
				for _, i := range []int{0, 1, 3, 4} {
					p := c.ExpectPublish(mqtttest.Resent, mqtttest.Payload(fmt.Sprint(i)), mqtttest.QoS(byte(1+i%2)))
					if int(p.PacketID) != i+1 {
						c.Errorf("message %d has identifier %d", i, p.PacketID)
					}
				}
				c.Reset()
			})
		}
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, resumed)
			for range 4 {
				p := c.ExpectPublish(mqtttest.Resent)
				if p.QoS == 1 {
					c.Send(mqtttest.Puback{PacketID: p.PacketID})
				} else {
					c.Send(mqtttest.Pubrec{PacketID: p.PacketID, ReasonCode: mqtttest.QuotaExceeded})
				}
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			persistent(o)
			o.PoisonPublishLimit = -1
		})
		var sent []*async
		for i := range 5 {
			sent = append(sent, d.publish(d.ctx, message(mqtt5.QoS(1+i%2), "a", fmt.Sprint(i))))
		}
		for i, a := range sent {
			if err := a.wait(); (err != nil) != (i%2 == 1) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if n := d.Stats().Retries; n != 12 {
			t.Errorf("retries %d", n)
		}
	})
	bubble(t, "MQTT-3.2.2-5 MQTT-4.3.2-2 what a lost session held starts over", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(raw(2, 9, "in"))
			c.ExpectPubrec()
			for range 4 {
				p := c.ExpectPublish()
				if string(p.Payload) == "released" {
					c.Send(mqtttest.Pubrec{PacketID: p.PacketID})
					c.ExpectPubrel()
				}
			}
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) {
			con := accept(c) // no session
			if con.CleanStart {
				c.Errorf("did not ask for the session")
			}
			one := c.ExpectPublish(mqtttest.QoS(1), mqtttest.Payload("one"))
			two := c.ExpectPublish(mqtttest.QoS(1), mqtttest.Payload("two"))
			if one.Duplicate || two.Duplicate {
				c.Errorf("DUP in a new session")
			}
			c.Send(raw(2, 9, "in")) // a new message, for the session is new
			c.ExpectPubrec()
			c.Send(mqtttest.Puback{PacketID: one.PacketID}, mqtttest.Puback{PacketID: two.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, persistent)
		one := d.publish(d.ctx, message(1, "a", "one"))
		released := d.publish(d.ctx, message(2, "a", "released"))
		sent := d.publish(d.ctx, message(2, "a", "sent"))
		two := d.publish(d.ctx, message(1, "a", "two"))
		want(t, "QoS 1", one.wait(), nil)
		want(t, "QoS 1", two.wait(), nil)
		for _, a := range []*async{released, sent} {
			err := a.wait()
			want(t, "QoS 2", err, mqtt5.ErrSessionLost)
			want(t, "QoS 2", err, mqtt5.ErrOutcomeUnknown)
		}
		d.wantMessages("in=x", "in=x")
		if s := d.Settings(); s.RejoinedSession {
			t.Error("settings say that the session was rejoined")
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-3.1.2-4 a clean start drops what was in flight", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.ExpectPublish()
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) {
			if con := accept(c); !con.CleanStart {
				c.Errorf("no clean start")
			}
			p := c.ExpectPublish()
			if p.Duplicate {
				c.Errorf("DUP after a clean start")
			}
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		want(t, "publish", d.publish(d.ctx, message(1, "a", "x")).wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-3.3.1-3 DUP does not follow from a received DUP", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			in := raw(1, 1, "in")
			in.Duplicate = true
			c.Send(in)
			p := c.ExpectPublish()
			if p.Duplicate {
				c.Errorf("DUP in a message that is new")
			}
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectPuback()
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		var d *device
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(_ context.Context, m mqtt5.Message) { // forwards what it got
				p := m.PublishPacket
				p.Topic = "out"
				if !p.Duplicate {
					t.Error("DUP was not told")
				}
				if _, err := d.Publish(d.ctx, &p); err != nil {
					t.Error(err)
				}
			}
		})
		d.start()
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-4.6.0-4 PUBRELs leave in the order of the PUBRECs", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		order := []uint16{3, 1, 2}
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			for range order {
				c.ExpectPublish()
			}
			var recs []mqtttest.Packet
			for _, id := range order {
				recs = append(recs, mqtttest.Pubrec{PacketID: id})
			}
			c.Send(recs...)
			for _, id := range order {
				c.ExpectPacket(mqtttest.Pubrel{PacketID: id})
			}
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, resumed)
			for _, id := range order {
				c.ExpectPacket(mqtttest.Pubrel{PacketID: id})
				c.Send(mqtttest.Pubcomp{PacketID: id})
			}
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, persistent)
		var sent []*async
		for range order {
			sent = append(sent, d.publish(d.ctx, message(2, "a", "x")))
		}
		for _, a := range sent {
			want(t, "publish", a.wait(), nil)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

// TestPublish_receiveMaximum checks the flow control of section 4.9.
func TestPublish_receiveMaximum(t *testing.T) {
	bubble(t, "MQTT-4.9.0-1 MQTT-4.9.0-2 MQTT-3.3.4-7 never more than the server's Receive Maximum", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](2)})
			one := c.ExpectPublish(mqtttest.QoS(1))
			two := c.ExpectPublish(mqtttest.QoS(2))
			c.ExpectSilence(time.Second)
			c.Send(mqtttest.Puback{PacketID: one.PacketID})
			three := c.ExpectPublish(mqtttest.QoS(1))
			c.ExpectSilence(time.Second)
			c.Send(mqtttest.Pubrec{PacketID: two.PacketID}) // gives nothing back yet
			c.ExpectPubrel()
			c.ExpectSilence(time.Second)
			c.Send(mqtttest.Pubcomp{PacketID: two.PacketID})
			four := c.ExpectPublish(mqtttest.QoS(2))
			c.ExpectSilence(time.Second)
			c.Send(mqtttest.Pubrec{PacketID: four.PacketID, ReasonCode: mqtttest.UnspecifiedError}) // gives back
			five := c.ExpectPublish(mqtttest.QoS(1))
			c.Send(mqtttest.Puback{PacketID: three.PacketID}, mqtttest.Puback{PacketID: five.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		var sent []*async
		for _, qos := range []mqtt5.QoS{1, 2, 1, 2, 1} {
			sent = append(sent, d.publish(d.ctx, message(qos, "a", "x")))
		}
		for i, a := range sent {
			if err := a.wait(); (err != nil) != (i == 3) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-3.3.4-8 MQTT-4.9.0-3 other packets pass a used-up Receive Maximum", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](1), ServerKeepAliveSeconds: mqtttest.Ptr[uint16](10)})
			p := c.ExpectPublish(mqtttest.QoS(1), mqtttest.Payload("first"))
			sub := c.ExpectSubscribe()
			c.Send(mqtttest.Suback{PacketID: sub.PacketID, ReasonCodes: []mqtttest.ReasonCode{1}})
			uns := c.ExpectUnsubscribe()
			c.Send(mqtttest.Unsuback{PacketID: uns.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}})
			c.Send(raw(1, 1, "in"))
			c.ExpectPuback()
			c.Send(raw(2, 2, "in"))
			c.ExpectPubrec()
			c.Send(mqtttest.Pubrel{PacketID: 2})
			c.ExpectPubcomp()
			c.ExpectPingreq()
			c.Send(mqtttest.Pingresp{}, mqtttest.Puback{PacketID: p.PacketID})
			p = c.ExpectPublish(mqtttest.Payload("second"))
			c.Send(mqtttest.Puback{PacketID: p.PacketID})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		first := d.publish(d.ctx, message(1, "a", "first"))
		second := d.publish(d.ctx, message(1, "a", "second"))
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		_, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"in"}})
		want(t, "unsubscribe", err, nil)
		if first.finished() || second.finished() {
			t.Error("a publish finished without acknowledgement")
		}
		want(t, "first", first.wait(), nil)
		want(t, "second", second.wait(), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

// filter44 is a topic filter with which SUBSCRIBE has 52 bytes, and UNSUBSCRIBE 51.
const filter44 = "12345678901234567890123456789012345678901234"

// TestPublish_limits checks what CONNACK forbids: nothing of it leaves.
func TestPublish_limits(t *testing.T) {
	none, one := mqtttest.Ptr[byte](0), mqtttest.Ptr[byte](1)
	publish := func(qos mqtt5.QoS, change func(*mqtt5.PublishPacket)) func(*device) error {
		return func(d *device) error {
			p := message(qos, "a", "x")
			if change != nil {
				change(p)
			}
			_, err := d.Publish(d.ctx, p)
			return err
		}
	}
	subscribe := func(filter string, id *uint32) func(*device) error {
		return func(d *device) error {
			_, err := d.Subscribe(d.ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: filter}}, SubscriptionIdentifier: id})
			return err
		}
	}
	for _, c := range []struct {
		name string
		ack  mqtttest.Connack
		do   func(*device) error
		id   string
	}{
		{"MQTT-3.2.2-11 QoS 2 where 1 is allowed", mqtttest.Connack{MaximumQoS: one}, publish(2, nil), "MQTT-3.2.2-11"},
		{"MQTT-3.2.2-11 QoS 1 where 0 is allowed", mqtttest.Connack{MaximumQoS: none}, publish(1, nil), "MQTT-3.2.2-11"},
		{"MQTT-3.2.2-14 retained message where none is allowed", mqtttest.Connack{RetainAvailable: none},
			publish(0, func(p *mqtt5.PublishPacket) { p.Retain = true }), "MQTT-3.2.2-14"},
		{"MQTT-3.2.2-15 PUBLISH above the Maximum Packet Size", mqtttest.Connack{MaximumPacketSizeBytes: mqtttest.Ptr[uint32](50)},
			publish(0, func(p *mqtt5.PublishPacket) { p.Payload = make([]byte, 45) }), "MQTT-3.2.2-15"},
		{"MQTT-3.2.2-15 SUBSCRIBE above the Maximum Packet Size", mqtttest.Connack{MaximumPacketSizeBytes: mqtttest.Ptr[uint32](50)},
			subscribe(filter44, nil), "MQTT-3.2.2-15"},
		{"MQTT-3.2.2-15 UNSUBSCRIBE above the Maximum Packet Size", mqtttest.Connack{MaximumPacketSizeBytes: mqtttest.Ptr[uint32](50)},
			func(d *device) error {
				_, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{filter44}})
				return err
			}, "MQTT-3.2.2-15"},
		{"wildcard where none is allowed", mqtttest.Connack{WildcardSubscriptionsAvailable: none}, subscribe("a/+", nil), "3.2.2.3.11"},
		{"subscription identifier where none is allowed", mqtttest.Connack{SubscriptionIDsAvailable: none}, subscribe("a", mqtt5.Ptr[uint32](1)), "3.2.2.3.12"},
		{"shared subscription where none is allowed", mqtttest.Connack{SharedSubscriptionsAvailable: none}, subscribe("$share/g/a", nil), "3.2.2.3.13"},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(con *mqtttest.Conn) {
				con.Accept(c.ack)
				con.ExpectPublish(mqtttest.Topic("after")) // and nothing before
				con.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := connected(t, srv, nil)
			err := c.do(d)
			var invalid *mqtt5.ValidationError
			if !errors.As(err, &invalid) || !errors.Is(err, mqtt5.ErrNotSent) || invalid.Problems[0].ID != c.id {
				t.Errorf("got %v", err)
			}
			want(t, "after", d.publish(d.ctx, message(0, "after", "")).wait(), nil)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
	}
	bubble(t, "MQTT-3.2.2-15 as large as the Maximum Packet Size", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(mqtttest.Connack{MaximumPacketSizeBytes: mqtttest.Ptr[uint32](50)})
			if p := c.ExpectPublish(); len(p.Payload) != 44 { // 2+3+1+44
				c.Errorf("payload of %d bytes", len(p.Payload))
			}
			c.Send(raw(1, 1, "in"))
			if a := c.ExpectPuback(); a.ReasonString != nil { // the explanation does not fit
				c.Errorf("got %v", mqtttest.Describe(a))
			}
			if p := c.ExpectDisconnectWith(mqtttest.NormalDisconnection); p.ReasonString != nil {
				c.Errorf("got %v", mqtttest.Describe(p))
			}
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(_ context.Context, m mqtt5.Message) {
				ack, err := m.TakeAck()
				if err != nil {
					t.Error(err)
				}
				if err := ack.Reject(mqtt5.PubackQuotaExceeded, "an explanation that has more than fifty bytes all by itself"); err != nil {
					t.Error(err)
				}
			}
		})
		p := message(0, "a", "")
		p.Payload = make([]byte, 44)
		want(t, "publish", d.publish(d.ctx, p).wait(), nil)
		want(t, "stop", d.Stop(d.ctx, &mqtt5.DisconnectPacket{ReasonString: str("an explanation that has more than fifty bytes all by itself")}), nil)
	})
}
