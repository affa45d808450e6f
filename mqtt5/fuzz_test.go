// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// FuzzServer sends random bytes to a client in the midst of everything: it must
// not panic or hang, and be connected again in the end.
func FuzzServer(f *testing.F) {
	code := []mqtttest.ReasonCode{0}
	id, alias := mqtttest.Ptr[uint32](1), mqtttest.Ptr[uint16](1)
	for _, p := range []mqtttest.Packet{
		mqtttest.Connack{}, mqtttest.Connack{SessionPresent: true}, mqtttest.Connack{ReasonCode: mqtttest.ServerBusy},
		raw(0, 0, "a"), raw(1, 1, "a"), raw(2, 1, "a"), mqtttest.Publish{Topic: "a", TopicAlias: alias, ContentType: str("x")},
		mqtttest.Puback{PacketID: 3}, mqtttest.Pubrec{PacketID: 4}, mqtttest.Pubrel{PacketID: 1}, mqtttest.Pubcomp{PacketID: 4},
		mqtttest.Suback{PacketID: 1, ReasonCodes: code}, mqtttest.Unsuback{PacketID: 2, ReasonCodes: code}, mqtttest.Pingresp{},
		mqtttest.Disconnect{ReasonCode: mqtttest.ServerMoved, ServerReference: str("x")}, mqtttest.Auth{ReasonCode: 0x18, AuthenticationMethod: str("M")},
		mqtttest.Concat(mqtttest.Pubrec{PacketID: 4}, mqtttest.Pubcomp{PacketID: 4}, mqtttest.Puback{PacketID: 3}),
		mqtttest.Publish{Topic: "a", SubscriptionIdentifiers: []uint32{*id}, UserProperties: []mqtttest.UserProperty{{Name: "k", Value: "v"}}},
		mqtttest.Raw{0x30, 0xff, 0xff, 0xff, 0x7f}, mqtttest.Raw{0x30, 0xff, 0xff, 0xff, 0xff},
	} {
		f.Add(mqtttest.Encode(p), true, uint8(0))
		f.Add(mqtttest.Encode(p), false, uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, accepted bool, piece uint8) {
		synctest.Test(t, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(c *mqtttest.Conn) {
				c.SetReadSize(int(piece))
				c.ExpectConnect()
				if accepted {
					c.TrySend(mqtttest.Connack{AuthenticationMethod: str("M")})
					c.Sleep(time.Millisecond)
				}
				c.TrySend(mqtttest.Raw(b))
				c.Sleep(time.Second)
			})
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				persistent(o)
				o.Authenticator = scripted{}
				o.TopicAliasing.Inbound = true
				o.Connect.ReceiveMaximum = mqtt5.Ptr[uint16](10)
				o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](10)
			})
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept(mqtttest.Connack{AuthenticationMethod: str("M")})
				c.Serve()
			})
			subscribed := d.subscribe(d.ctx, "a")
			unsubscribed := d.do(func() error {
				_, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"b"}})
				return err
			})
			var published []*async
			for qos := mqtt5.QoS(1); qos <= 2; qos++ {
				published = append(published, d.publish(d.ctx, message(qos, "a", "x")))
			}
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			d.await()
			if n := d.Stats().Connections; n == 0 {
				t.Error("never connected")
			}
			for _, a := range append(published, subscribed, unsubscribed) {
				_ = a.wait() // they end, somehow
			}
			if s := d.Stats(); s.IncompleteOperations != 0 || s.QueuedOperations != 0 {
				t.Errorf("left over: %+v", s)
			}
		})
	})
}
