// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// text is a message with a payload.
func text(qos byte, id uint16, payload string) mqtttest.Publish {
	return mqtttest.Publish{QoS: qos, PacketID: id, Topic: "in", Payload: []byte(payload)}
}

// TestReceive_flows are the acknowledged flows of section 4.3, as receiver.
func TestReceive_flows(t *testing.T) {
	for _, c := range []struct {
		name     string
		script   func(c *mqtttest.Conn)
		messages string
	}{
		{"MQTT-3.3.4-1 MQTT-4.5.0-2 MQTT-4.3.2-4 MQTT-4.3.3-8 each QoS has its answer", func(c *mqtttest.Conn) {
			c.Send(text(0, 0, "0"))
			c.ExpectSilence(time.Second)
			c.Send(text(1, 7, "1"))
			c.ExpectPacket(mqtttest.Puback{PacketID: 7})
			c.Send(text(2, 7, "2"))
			c.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			c.Send(mqtttest.Pubrel{PacketID: 7})
			c.ExpectPacket(mqtttest.Pubcomp{PacketID: 7})
		}, "0 1 2"},
		{"MQTT-4.3.2-5 QoS 1: the identifier is new after PUBACK, whatever DUP says", func(c *mqtttest.Conn) {
			for i := range 3 {
				p := text(1, 7, fmt.Sprint(i))
				p.Duplicate = i > 0
				c.Send(p)
				c.ExpectPacket(mqtttest.Puback{PacketID: 7})
			}
		}, "0 1 2"},
		{"MQTT-4.3.3-10 QoS 2: PUBREC again, but no second delivery", func(c *mqtttest.Conn) {
			for range 3 {
				p := text(2, 7, "once")
				c.Send(p)
				c.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			}
			c.Send(mqtttest.Pubrel{PacketID: 7})
			c.ExpectPacket(mqtttest.Pubcomp{PacketID: 7})
		}, "once"},
		{"MQTT-4.3.3-11 MQTT-4.3.3-12 QoS 2: the identifier is new after PUBCOMP", func(c *mqtttest.Conn) {
			for i := range 3 {
				p := text(2, 7, fmt.Sprint(i))
				p.Duplicate = i > 0
				c.Send(p)
				c.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
				c.Send(mqtttest.Pubrel{PacketID: 7})
				c.ExpectPacket(mqtttest.Pubcomp{PacketID: 7})
			}
		}, "0 1 2"},
		{"MQTT-4.3.3-9 QoS 2: the identifier is new after a failed PUBREC", func(c *mqtttest.Conn) {
			for i := range 3 {
				c.Send(text(2, 7, fmt.Sprint("refuse ", i)))
				c.ExpectPacket(mqtttest.Pubrec{PacketID: 7, ReasonCode: mqtttest.QuotaExceeded, ReasonString: str("no")})
			}
			c.Send(mqtttest.Pubrel{PacketID: 7}) // there is nothing to release
			c.ExpectPacket(mqtttest.Pubcomp{PacketID: 7, ReasonCode: mqtttest.PacketIdentifierNotFound})
		}, "refuse 0 refuse 1 refuse 2"},
		{"MQTT-4.3.3-13 QoS 2: the handshake of an expired message ends as ever", func(c *mqtttest.Conn) {
			p := text(2, 7, "old")
			p.MessageExpirySeconds = mqtttest.Ptr[uint32](1)
			c.Send(p)
			c.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			c.Sleep(time.Minute)
			c.Send(mqtttest.Pubrel{PacketID: 7})
			c.ExpectPacket(mqtttest.Pubcomp{PacketID: 7})
		}, "old"},
		{"MQTT-4.6.0-2 PUBACKs leave in the order of the messages", func(c *mqtttest.Conn) {
			ids := []uint16{5, 3, 9, 1}
			c.Send(text(1, 5, "hold a"), text(1, 3, "x"), text(1, 9, "hold b"), text(1, 1, "release"))
			for _, id := range ids {
				c.ExpectPacket(mqtttest.Puback{PacketID: id})
			}
		}, "hold a x hold b release"},
		{"MQTT-4.6.0-3 PUBRECs leave in the order of the messages", func(c *mqtttest.Conn) {
			ids := []uint16{5, 3, 9, 1}
			c.Send(text(2, 5, "hold a"), text(2, 3, "x"), text(2, 9, "hold b"), text(2, 1, "release"))
			for _, id := range ids {
				c.ExpectPacket(mqtttest.Pubrec{PacketID: id})
			}
		}, "hold a x hold b release"},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(con *mqtttest.Conn) {
				accept(con)
				c.script(con)
				con.ExpectSilence(time.Second)
				con.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			var got []string
			var held []*mqtt5.Ack
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				o.OnMessage = func(_ context.Context, m mqtt5.Message) {
					payload := string(m.Payload)
					got = append(got, payload)
					switch {
					case strings.HasPrefix(payload, "refuse"):
						ack, _ := m.TakeAck()
						if err := ack.Reject(mqtt5.PubackQuotaExceeded, "no"); err != nil {
							t.Error(err)
						}
					case strings.HasPrefix(payload, "hold"):
						ack, err := m.TakeAck()
						if err != nil {
							t.Error(err)
						}
						held = append(held, ack)
					case payload == "release":
						for _, ack := range slices.Backward(held) { // in the wrong order
							if err := ack.Accept(); err != nil {
								t.Error(err)
							}
						}
					}
				}
			})
			time.Sleep(2 * time.Minute)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
			synctest.Wait()
			if strings.Join(got, " ") != c.messages {
				t.Errorf("messages %q, want %q", got, c.messages)
			}
		})
	}
}

// TestReceive_resumed checks the receiving side of sessions.
func TestReceive_resumed(t *testing.T) {
	bubble(t, "MQTT-4.3.3-10 MQTT-4.1.0-1 exactly once over a loss of the connection", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(text(2, 7, "once"))
			c.ExpectPubrec()
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) { // the PUBREC did not arrive
			accept(c, resumed)
			p := text(2, 7, "once")
			p.Duplicate = true
			c.Send(p)
			c.ExpectPacket(mqtttest.Pubrec{PacketID: 7})
			c.Send(mqtttest.Pubrel{PacketID: 7})
			c.ExpectPacket(mqtttest.Pubcomp{PacketID: 7})
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) { // the PUBCOMP did not arrive
			accept(c, resumed)
			c.Send(mqtttest.Pubrel{PacketID: 7})
			c.ExpectPacket(mqtttest.Pubcomp{PacketID: 7, ReasonCode: mqtttest.PacketIdentifierNotFound})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, persistent)
		time.Sleep(time.Minute)
		d.wantMessages("in=once")
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "MQTT-3.3.4-1 an unanswered QoS 1 message comes again and is answered then", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(text(1, 7, "x"))
			c.Sleep(time.Second)
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, resumed)
			p := text(1, 7, "x")
			p.Duplicate = true
			c.Send(p)
			c.ExpectPacket(mqtttest.Puback{PacketID: 7})
			c.ExpectSilence(time.Minute)
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		var first *mqtt5.Ack
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			persistent(o)
			o.OnMessage = func(_ context.Context, m mqtt5.Message) {
				if !m.Duplicate {
					first, _ = m.TakeAck()
				}
			}
		})
		time.Sleep(time.Minute)
		d.wantMessages("in=x", "in=x")
		want(t, "acknowledgement of the lost connection", first.Accept(), mqtt5.ErrAckStale)
		time.Sleep(time.Minute)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
}

func TestAliases(t *testing.T) {
	inbound := func(o *mqtt5.ClientOptions) {
		o.TopicAliasing = mqtt5.TopicAliasOptions{Inbound: true, InboundCacheSize: 3}
	}
	alias := func(a uint16, topic, payload string) mqtttest.Publish {
		return mqtttest.Publish{Topic: topic, TopicAlias: &a, Payload: []byte(payload)}
	}
	bubble(t, "MQTT-3.3.2-10 every alias up to the announced maximum", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			if con := accept(c); *con.TopicAliasMaximum != 3 {
				c.Errorf("announced %d", *con.TopicAliasMaximum)
			}
			c.Send(alias(1, "one", "a"), alias(2, "two", "b"), alias(3, "three", "c"))
			c.Send(alias(3, "", "d"), alias(1, "", "e"), alias(1, "uno", "f"), alias(1, "", "g"), text(0, 0, "h"))
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, inbound)
		d.wantMessages("one=a", "two=b", "three=c", "three=d", "one=e", "uno=f", "uno=g", "in=h")
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	runViolations(t, []violation{{name: "MQTT-3.3.2-7 inbound aliases die with the connection", code: protocol, packet: "PUBLISH", rule: "3.3.4",
		change: inbound, send: []mqtttest.Packet{alias(1, "", "x")}}})
	bubble(t, "MQTT-3.3.2-7 an alias of the last connection stands for nothing", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(alias(1, "one", "a"))
			c.Sleep(time.Second)
			c.Reset()
		})
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Send(alias(1, "", "b"))
			c.ExpectDisconnectWith(protocol)
		})
		srv.HangDial()
		d := connected(t, srv, inbound)
		time.Sleep(5 * time.Second)
		d.wantMessages("one=a")
	})

	// sends runs publishes of the topics on one connection for each Topic Alias
	// Maximum, and returns what was on the wire.
	sends := func(t *testing.T, change func(*mqtt5.ClientOptions), topics []string, manual []uint16, maxima ...uint16) []string {
		srv := mqtttest.NewServer(t)
		var got []string
		for _, maximum := range maxima {
			srv.Script(func(c *mqtttest.Conn) {
				ack := mqtttest.Connack{TopicAliasMaximum: &maximum}
				if maximum == 0 {
					ack.TopicAliasMaximum = nil
				}
				accept(c, ack)
				var line []string
				for range topics {
					p := c.ExpectPublish()
					s := p.Topic
					if p.TopicAlias != nil {
						s += fmt.Sprintf("/%d", *p.TopicAlias)
					}
					line = append(line, s)
				}
				got = append(got, strings.Join(line, " "))
				c.Sleep(time.Second / 4) // lest the loss comes before the client knows that the last one was written
				c.Close()
			})
		}
		srv.HangDial()
		d := newDevice(t, srv, change)
		for range maxima {
			if len(d.events()) == 0 {
				d.start()
			}
			d.await()
			for i, topic := range topics {
				p := message(0, topic, "x")
				if manual != nil && manual[i] > 0 {
					p.TopicAlias = &manual[i]
				}
				if err := d.publish(d.ctx, p).wait(); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Second / 2)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		return got
	}
	mode := func(m mqtt5.TopicAliasMode, size uint16) func(*mqtt5.ClientOptions) {
		return func(o *mqtt5.ClientOptions) {
			o.TopicAliasing = mqtt5.TopicAliasOptions{Outbound: m, OutboundCacheSize: size}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*mqtt5.ClientOptions)
		topics string
		manual []uint16
		maxima []uint16
		want   []string
	}{
		{"disabled, whatever the packet says", mode(mqtt5.TopicAliasDisabled, 0), "a a b", []uint16{1, 1, 1}, []uint16{10}, []string{"a a b"}},
		{"MQTT-3.2.2-18 none where the server allows none", mode(mqtt5.TopicAliasLRU, 0), "a a b", nil, []uint16{0}, []string{"a a b"}},
		{"MQTT-3.2.2-18 none where the server allows none, manual", mode(mqtt5.TopicAliasManual, 0), "a a b", []uint16{1, 1, 1}, []uint16{0}, []string{"a a b"}},
		{"MQTT-3.2.2-17 MQTT-3.3.2-9 LRU stays within the server's maximum", mode(mqtt5.TopicAliasLRU, 0), "a b c a c b", nil, []uint16{2},
			[]string{"a/1 b/2 c/1 a/2 /1 b/2"}},
		{"LRU stays within its own size", mode(mqtt5.TopicAliasLRU, 1), "a a b a", nil, []uint16{20}, []string{"a/1 /1 b/1 a/1"}},
		{"MQTT-3.2.2-17 MQTT-3.3.2-9 a manual alias above the server's maximum is left out", mode(mqtt5.TopicAliasManual, 0), "a a b b", []uint16{2, 2, 3, 3}, []uint16{2},
			[]string{"a/2 /2 b b"}},
		{"manual aliases are bound again", mode(mqtt5.TopicAliasManual, 0), "a b b a", []uint16{1, 1, 1, 1}, []uint16{2}, []string{"a/1 b/1 /1 a/1"}},
		{"MQTT-3.3.2-7 LRU starts over with each connection", mode(mqtt5.TopicAliasLRU, 0), "a a", nil, []uint16{2, 2, 0}, []string{"a/1 /1", "a/1 /1", "a a"}},
		{"MQTT-3.3.2-7 manual aliases start over with each connection", mode(mqtt5.TopicAliasManual, 0), "a a", []uint16{1, 1}, []uint16{2, 2, 0}, []string{"a/1 /1", "a/1 /1", "a a"}},
	} {
		bubble(t, c.name, func(t *testing.T) {
			if got := sends(t, c.change, strings.Fields(c.topics), c.manual, c.maxima...); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	for _, m := range []mqtt5.TopicAliasMode{mqtt5.TopicAliasLRU, mqtt5.TopicAliasManual} {
		bubble(t, fmt.Sprintf("MQTT-3.3.2-7 a resent message names its topic, mode %d", m), func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			ack := mqtttest.Connack{TopicAliasMaximum: mqtttest.Ptr[uint16](2)}
			srv.Script(func(c *mqtttest.Conn) {
				accept(c, ack)
				c.ExpectPublish(mqtttest.Topic("a"))
				if p := c.ExpectPublish(mqtttest.Topic("")); *p.TopicAlias != 1 {
					c.Errorf("got %v", mqtttest.Describe(p))
				}
				c.Reset()
			})
			srv.Script(func(c *mqtttest.Conn) {
				ack.SessionPresent = true
				accept(c, ack)
				first := c.ExpectPublish(mqtttest.Topic("a"), mqtttest.Resent)
				second := c.ExpectPublish(mqtttest.Topic(""), mqtttest.Resent)
				c.Send(mqtttest.Puback{PacketID: first.PacketID}, mqtttest.Puback{PacketID: second.PacketID})
				c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := connected(t, srv, func(o *mqtt5.ClientOptions) {
				persistent(o)
				o.TopicAliasing.Outbound = m
			})
			p := message(1, "a", "x")
			p.TopicAlias = mqtt5.Ptr[uint16](1)
			one, two := d.publish(d.ctx, p), d.publish(d.ctx, p)
			want(t, "first", one.wait(), nil)
			want(t, "second", two.wait(), nil)
			want(t, "stop", d.Stop(d.ctx, nil), nil)
		})
	}
}
