// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// violation is something that a server may not send, and what the client has to
// make of it: DISCONNECT with the code, the end of the connection, an event
// that names packet and rule, and a new connection after the delay.
type violation struct {
	name   string
	code   mqtttest.ReasonCode
	packet string
	rule   string
	change func(*mqtt5.ClientOptions)
	// send is what the server sends after CONNACK, at once.
	send []mqtttest.Packet
	// answer, if there is one, answers what the device did by itself.
	do     func(d *device)
	answer func(c *mqtttest.Conn)
	// handshake replaces CONNACK: the violation is there.
	handshake []mqtttest.Packet
}

const (
	malformed = mqtttest.MalformedPacket
	protocol  = mqtttest.ProtocolError
)

func str(s string) *string { return &s }

// raw is a message with a packet identifier that is not written for QoS 0.
func raw(qos byte, id uint16, topic string) mqtttest.Publish {
	return mqtttest.Publish{QoS: qos, PacketID: id, Topic: topic, Payload: []byte("x")}
}

func with(p mqtttest.Publish, properties ...byte) mqtttest.Publish {
	p.ExtraProperties = properties
	return p
}

func (v *violation) run(t *testing.T) {
	srv := mqtttest.NewServer(t)
	srv.Script(func(c *mqtttest.Conn) {
		if v.handshake != nil {
			c.ExpectConnect()
			c.Send(v.handshake...)
		} else {
			c.Accept()
			c.Send(v.send...)
		}
		if v.answer != nil {
			v.answer(c)
		}
		untilDisconnect(c, v.code)
	})
	srv.Script(func(c *mqtttest.Conn) {
		accept(c)
		c.Serve()
	})
	d := newDevice(t, srv, v.change)
	begun := time.Now()
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	if v.do != nil {
		if err := d.WaitConnected(d.ctx); err != nil {
			t.Fatal(err)
		}
		go v.do(d)
	}
	synctest.Wait()
	var err error
	var delay time.Duration
	if v.handshake != nil {
		f := d.lastFailure()
		err, delay = f.Err, f.Delay
		d.wantEvents("attempting failure")
	} else {
		l := d.lastLoss()
		err, delay = l.Err, l.Delay
		d.wantEvents("attempting success disconnection")
	}
	var broken *mqtt5.ProtocolError
	switch {
	case !errors.As(err, &broken):
		t.Fatalf("the event says %v", err)
	case broken.Rule != v.rule || broken.Packet != v.packet || uint8(broken.ReasonCode) != uint8(v.code):
		t.Errorf("the event says %+v, want %s of %s, %v", broken, v.rule, v.packet, v.code)
	case broken.Text == "" || !strings.Contains(err.Error(), broken.Text):
		t.Errorf("error without an explanation: %v", err)
	}
	if delay != time.Second {
		t.Errorf("delay %v", delay)
	}
	d.await()
	if took := time.Since(begun); took != delay {
		t.Errorf("connected again after %v, want the delay of %v", took, delay)
	}
	if n := d.Stats().ProtocolErrors; n != 1 {
		t.Errorf("ProtocolErrors %d", n)
	}
	if err := d.Stop(d.ctx, nil); err != nil {
		t.Error(err)
	}
}

func runViolations(t *testing.T, list []violation) {
	t.Helper()
	for i := range list {
		v := &list[i]
		t.Run(v.name, func(t *testing.T) { synctest.Test(t, v.run) })
	}
}

func TestHostile_handshake(t *testing.T) {
	ok := mqtttest.Connack{}
	runViolations(t, []violation{
		{name: "MQTT-3.2.0-1 PUBLISH before CONNACK", code: protocol, packet: "PUBLISH", rule: "MQTT-3.2.0-1",
			handshake: []mqtttest.Packet{raw(0, 0, "a"), ok}},
		{name: "MQTT-3.2.0-1 PINGRESP before CONNACK", code: protocol, packet: "PINGRESP", rule: "MQTT-3.2.0-1",
			handshake: []mqtttest.Packet{mqtttest.Pingresp{}}},
		{name: "MQTT-3.14.0-1 DISCONNECT before CONNACK", code: protocol, packet: "DISCONNECT", rule: "MQTT-3.14.0-1",
			handshake: []mqtttest.Packet{mqtttest.Disconnect{ReasonCode: mqtttest.ServerBusy}}},
		{name: "MQTT-3.2.2-1 reserved CONNACK flags", code: malformed, packet: "CONNACK", rule: "MQTT-3.2.2-1",
			handshake: []mqtttest.Packet{mqtttest.Corrupted(ok, 2, 0x80)}},
		{name: "MQTT-3.2.2-4 MQTT-3.2.2-2 MQTT-3.1.2-4 session present after a clean start", code: protocol, packet: "CONNACK", rule: "MQTT-3.2.2-4",
			handshake: []mqtttest.Packet{mqtttest.Connack{SessionPresent: true}}},
		{name: "MQTT-3.2.2-6 session present in a refusal", code: protocol, packet: "CONNACK", rule: "MQTT-3.2.2-6",
			handshake: []mqtttest.Packet{mqtttest.Connack{SessionPresent: true, ReasonCode: mqtttest.NotAuthorized}}},
		{name: "MQTT-3.2.2-8 reason code that is neither success nor failure", code: protocol, packet: "CONNACK", rule: "MQTT-3.2.2-8",
			handshake: []mqtttest.Packet{mqtttest.Connack{ReasonCode: 0x01}}},
		{name: "MQTT-3.2.2-16 no client identifier assigned", code: protocol, packet: "CONNACK", rule: "MQTT-3.2.2-16",
			change: func(o *mqtt5.ClientOptions) { o.Connect.ClientID = "" }, handshake: []mqtttest.Packet{ok}},
		{name: "MQTT-4.12.0-6 authentication method that was not asked for", code: protocol, packet: "CONNACK", rule: "MQTT-4.12.0-6",
			handshake: []mqtttest.Packet{mqtttest.Connack{AuthenticationMethod: str("M")}}},
		{name: "MQTT-4.12.0-6 AUTH though CONNECT had no method", code: protocol, packet: "AUTH", rule: "MQTT-4.12.0-6",
			handshake: []mqtttest.Packet{mqtttest.Auth{ReasonCode: mqtttest.ContinueAuthentication, AuthenticationMethod: str("M")}}},
		{name: "MQTT-3.1.2-28 response information that was not asked for", code: protocol, packet: "CONNACK", rule: "MQTT-3.1.2-28",
			handshake: []mqtttest.Packet{mqtttest.Connack{ResponseInformation: str("r")}}},
		{name: "MQTT-3.1.2-24 CONNACK above our Maximum Packet Size", code: mqtttest.PacketTooLarge, packet: "CONNACK", rule: "MQTT-3.1.2-24",
			change:    func(o *mqtt5.ClientOptions) { o.Connect.MaximumPacketSizeBytes = mqtt5.Ptr[uint32](20) },
			handshake: []mqtttest.Packet{mqtttest.Connack{ReasonString: str("a long explanation")}}},
		{name: "Receive Maximum 0", code: protocol, packet: "CONNACK", rule: "3.2.2.3",
			handshake: []mqtttest.Packet{mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](0)}}},
		{name: "Maximum QoS 2", code: protocol, packet: "CONNACK", rule: "3.2.2.3",
			handshake: []mqtttest.Packet{mqtttest.Connack{MaximumQoS: mqtttest.Ptr[byte](2)}}},
		{name: "property twice", code: protocol, packet: "CONNACK", rule: "3.2.2.3",
			handshake: []mqtttest.Packet{mqtttest.Connack{ServerKeepAliveSeconds: mqtttest.Ptr[uint16](9), ExtraProperties: mqtttest.Uint16Property(0x13, 9)}}},
		{name: "property of another packet", code: malformed, packet: "CONNACK", rule: "2.2.2.2",
			handshake: []mqtttest.Packet{mqtttest.Connack{ExtraProperties: mqtttest.Uint16Property(0x23, 9)}}},
		{name: "MQTT-1.5.4-1 ill-formed string", code: malformed, packet: "CONNACK", rule: "MQTT-1.5.4-1",
			handshake: []mqtttest.Packet{mqtttest.Connack{ReasonString: str("\xff")}}},
	})
}

func TestHostile_form(t *testing.T) {
	pub := raw(1, 1, "a")
	list := []violation{
		{name: "packet type 0", code: malformed, packet: "type 0", rule: "2.1.2", send: []mqtttest.Packet{mqtttest.Raw{0, 0}}},
		{name: "MQTT-1.5.5-1 over-long length", code: malformed, packet: "PINGRESP", rule: "MQTT-1.5.5-1",
			send: []mqtttest.Packet{mqtttest.WithOverlongLength(mqtttest.Pingresp{})}},
		{name: "PINGRESP with a body", code: malformed, packet: "PINGRESP", rule: "3.13.1", send: []mqtttest.Packet{mqtttest.Raw{0xD0, 1, 0}}},
		{name: "MQTT-3.3.1-4 QoS 3", code: malformed, packet: "PUBLISH", rule: "MQTT-3.3.1-4", send: []mqtttest.Packet{mqtttest.WithFlags(pub, 6)}},
		{name: "MQTT-3.3.1-2 DUP with QoS 0", code: malformed, packet: "PUBLISH", rule: "MQTT-3.3.1-2", send: []mqtttest.Packet{mqtttest.WithFlags(raw(0, 0, "a"), 8)}},
		{name: "MQTT-2.2.1-4 packet identifier 0", code: protocol, packet: "PUBLISH", rule: "MQTT-2.2.1-4", send: []mqtttest.Packet{raw(1, 0, "a")}},
		{name: "MQTT-1.5.4-1 ill-formed topic", code: malformed, packet: "PUBLISH", rule: "MQTT-1.5.4-1", send: []mqtttest.Packet{raw(0, 0, "a\xff")}},
		{name: "MQTT-1.5.4-2 U+0000 in a topic", code: malformed, packet: "PUBLISH", rule: "MQTT-1.5.4-2", send: []mqtttest.Packet{raw(0, 0, "a\x00")}},
		{name: "MQTT-3.3.2-2 wildcard in a topic", code: protocol, packet: "PUBLISH", rule: "MQTT-3.3.2-2", send: []mqtttest.Packet{raw(0, 0, "a/+")}},
		{name: "MQTT-3.3.2-14 wildcard in a response topic", code: protocol, packet: "PUBLISH", rule: "MQTT-3.3.2-14",
			send: []mqtttest.Packet{mqtttest.Publish{Topic: "a", ResponseTopic: str("#")}}},
		{name: "payload format 2", code: protocol, packet: "PUBLISH", rule: "3.3.2.3", send: []mqtttest.Packet{with(pub, mqtttest.ByteProperty(1, 2)...)}},
		{name: "subscription identifier 0", code: protocol, packet: "PUBLISH", rule: "3.3.2.3", send: []mqtttest.Packet{with(pub, mqtttest.VarintProperty(0x0B, 0)...)}},
		{name: "property twice", code: protocol, packet: "PUBLISH", rule: "3.3.2.3",
			send: []mqtttest.Packet{with(pub, append(mqtttest.ByteProperty(1, 1), mqtttest.ByteProperty(1, 1)...)...)}},
		{name: "property of another packet", code: malformed, packet: "PUBLISH", rule: "2.2.2.2", send: []mqtttest.Packet{with(pub, mqtttest.Uint16Property(0x13, 1)...)}},
		{name: "unknown property", code: malformed, packet: "PUBLISH", rule: "2.2.2.2", send: []mqtttest.Packet{with(pub, 0x7F, 0)}},
		{name: "cut off within the topic", code: malformed, packet: "PUBLISH", rule: "3.3.2", send: []mqtttest.Packet{mqtttest.Truncated(pub, 2)}},
		{name: "trailing bytes", code: malformed, packet: "PUBACK", rule: "2.1.4", send: []mqtttest.Packet{mqtttest.WithTrailing(mqtttest.LongForm(mqtttest.Puback{PacketID: 1}), 1)}},
		{name: "MQTT-3.1.2-24 MQTT-3.1.2-25 message above our Maximum Packet Size", code: mqtttest.PacketTooLarge, packet: "PUBLISH", rule: "MQTT-3.1.2-24",
			change: func(o *mqtt5.ClientOptions) { o.Connect.MaximumPacketSizeBytes = mqtt5.Ptr[uint32](20) },
			send:   []mqtttest.Packet{mqtttest.Publish{Topic: "a", Payload: make([]byte, 16)}}},
		{name: "MQTT-3.14.2-2 session expiry interval in DISCONNECT", code: protocol, packet: "DISCONNECT", rule: "MQTT-3.14.2-2",
			send: []mqtttest.Packet{mqtttest.Disconnect{ReasonCode: mqtttest.ServerBusy, SessionExpiryIntervalSeconds: mqtttest.Ptr[uint32](1)}}},
		{name: "MQTT-3.2.0-2 second CONNACK", code: protocol, packet: "CONNACK", rule: "MQTT-3.2.0-2", send: []mqtttest.Packet{mqtttest.Connack{}}},
	}
	for name, p := range map[string]mqtttest.Packet{
		"CONNECT":     mqtttest.Connect{ClientID: "x"},
		"SUBSCRIBE":   mqtttest.Subscribe{PacketID: 1, Subscriptions: []mqtttest.Subscription{{TopicFilter: "a"}}},
		"UNSUBSCRIBE": mqtttest.Unsubscribe{PacketID: 1, TopicFilters: []string{"a"}},
		"PINGREQ":     mqtttest.Pingreq{},
	} {
		list = append(list, violation{name: name + " from a server", code: protocol, packet: name, rule: "4.13.1", send: []mqtttest.Packet{p}})
	}
	// The flags of a server's packets, in table 2-2.
	for name, c := range map[string]struct {
		p    mqtttest.Packet
		rule string
	}{
		"MQTT-2.1.3-1 flags of CONNACK":     {mqtttest.Connack{}, "MQTT-2.1.3-1"},
		"MQTT-2.1.3-1 flags of PUBACK":      {mqtttest.Puback{PacketID: 1}, "MQTT-2.1.3-1"},
		"MQTT-2.1.3-1 flags of PUBREC":      {mqtttest.Pubrec{PacketID: 1}, "MQTT-2.1.3-1"},
		"MQTT-3.6.1-1 flags of PUBREL":      {mqtttest.Pubrel{PacketID: 1}, "MQTT-3.6.1-1"},
		"MQTT-2.1.3-1 flags of PUBCOMP":     {mqtttest.Pubcomp{PacketID: 1}, "MQTT-2.1.3-1"},
		"MQTT-2.1.3-1 flags of SUBACK":      {mqtttest.Suback{PacketID: 1, ReasonCodes: []mqtttest.ReasonCode{0}}, "MQTT-2.1.3-1"},
		"MQTT-2.1.3-1 flags of UNSUBACK":    {mqtttest.Unsuback{PacketID: 1, ReasonCodes: []mqtttest.ReasonCode{0}}, "MQTT-2.1.3-1"},
		"MQTT-2.1.3-1 flags of PINGRESP":    {mqtttest.Pingresp{}, "MQTT-2.1.3-1"},
		"MQTT-3.14.1-1 flags of DISCONNECT": {mqtttest.Disconnect{}, "MQTT-3.14.1-1"},
		"MQTT-3.15.1-1 flags of AUTH":       {mqtttest.Auth{AuthenticationMethod: str("M")}, "MQTT-3.15.1-1"},
	} {
		_, packet, _ := strings.Cut(name, " of ")
		list = append(list, violation{name: name, code: malformed, packet: packet, rule: c.rule, send: []mqtttest.Packet{mqtttest.WithFlags(c.p, 1)}})
	}
	runViolations(t, list)
}

func TestHostile_aliases(t *testing.T) {
	two := func(o *mqtt5.ClientOptions) {
		o.TopicAliasing = mqtt5.TopicAliasOptions{Inbound: true, InboundCacheSize: 2}
	}
	aliased := func(alias uint16, topic string) mqtttest.Publish {
		return mqtttest.Publish{Topic: topic, TopicAlias: &alias}
	}
	runViolations(t, []violation{
		{name: "MQTT-3.1.2-27 alias though we allow none", code: mqtttest.TopicAliasInvalid, packet: "PUBLISH", rule: "MQTT-3.3.2-11",
			send: []mqtttest.Packet{aliased(1, "a")}},
		{name: "MQTT-3.1.2-26 MQTT-3.3.2-11 alias above our maximum", code: mqtttest.TopicAliasInvalid, packet: "PUBLISH", rule: "MQTT-3.3.2-11",
			change: two, send: []mqtttest.Packet{aliased(2, "a"), aliased(3, "a")}},
		{name: "MQTT-3.3.2-8 alias 0", code: mqtttest.TopicAliasInvalid, packet: "PUBLISH", rule: "MQTT-3.3.2-8", change: two,
			send: []mqtttest.Packet{aliased(0, "a")}},
		{name: "alias that stands for nothing", code: protocol, packet: "PUBLISH", rule: "3.3.4", change: two,
			send: []mqtttest.Packet{aliased(1, "a"), aliased(2, "")}},
		{name: "MQTT-4.7.3-1 neither topic nor alias", code: protocol, packet: "PUBLISH", rule: "3.3.2.1", change: two,
			send: []mqtttest.Packet{mqtttest.Publish{}}},
	})
}

func TestHostile_acknowledgements(t *testing.T) {
	publish := func(qos mqtt5.QoS) func(*device) {
		return func(d *device) { d.Publish(d.ctx, message(qos, "a", "x")) }
	}
	subscribe := func(d *device) {
		d.Subscribe(d.ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a"}, {TopicFilter: "b"}}})
	}
	unsubscribe := func(d *device) {
		d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"a", "b"}})
	}
	// reply answers the first packet of the client, whatever it is.
	reply := func(p mqtttest.Packet) func(c *mqtttest.Conn) {
		return func(c *mqtttest.Conn) {
			c.ExpectAny()
			c.Send(p)
		}
	}
	quiet := func(o *mqtt5.ClientOptions) { o.Connect.RequestProblemInformation = mqtt5.Ptr(false) }
	codes := func(list ...mqtttest.ReasonCode) []mqtttest.ReasonCode { return list }
	user := []mqtttest.UserProperty{{Name: "k", Value: "v"}}
	runViolations(t, []violation{
		{name: "MQTT-2.2.1-5 PUBACK of a QoS 2 message", code: protocol, packet: "PUBACK", rule: "MQTT-2.2.1-5", do: publish(2), answer: reply(mqtttest.Puback{PacketID: 1})},
		{name: "MQTT-2.2.1-5 PUBREC of a QoS 1 message", code: protocol, packet: "PUBREC", rule: "MQTT-2.2.1-5", do: publish(1), answer: reply(mqtttest.Pubrec{PacketID: 1})},
		{name: "MQTT-2.2.1-5 PUBCOMP of a QoS 1 message", code: protocol, packet: "PUBCOMP", rule: "MQTT-2.2.1-5", do: publish(1), answer: reply(mqtttest.Pubcomp{PacketID: 1})},
		{name: "MQTT-2.2.1-5 PUBACK of a SUBSCRIBE", code: protocol, packet: "PUBACK", rule: "MQTT-2.2.1-5", do: subscribe, answer: reply(mqtttest.Puback{PacketID: 1})},
		{name: "PUBCOMP before PUBREC", code: protocol, packet: "PUBCOMP", rule: "MQTT-4.3.3-5", do: publish(2), answer: reply(mqtttest.Pubcomp{PacketID: 1})},
		{name: "MQTT-2.2.1-6 SUBACK of a PUBLISH", code: protocol, packet: "SUBACK", rule: "MQTT-2.2.1-6", do: publish(1),
			answer: reply(mqtttest.Suback{PacketID: 1, ReasonCodes: codes(0)})},
		{name: "MQTT-3.8.4-2 SUBACK of an UNSUBSCRIBE", code: protocol, packet: "SUBACK", rule: "MQTT-2.2.1-6", do: unsubscribe,
			answer: reply(mqtttest.Suback{PacketID: 1, ReasonCodes: codes(0, 0)})},
		{name: "MQTT-3.10.4-5 UNSUBACK of a SUBSCRIBE", code: protocol, packet: "UNSUBACK", rule: "MQTT-2.2.1-6", do: subscribe,
			answer: reply(mqtttest.Unsuback{PacketID: 1, ReasonCodes: codes(0, 0)})},
		{name: "MQTT-3.8.4-6 SUBACK with one code too few", code: protocol, packet: "SUBACK", rule: "MQTT-3.8.4-6", do: subscribe,
			answer: reply(mqtttest.Suback{PacketID: 1, ReasonCodes: codes(0)})},
		{name: "MQTT-3.8.4-6 SUBACK with one code too many", code: protocol, packet: "SUBACK", rule: "MQTT-3.8.4-6", do: subscribe,
			answer: reply(mqtttest.Suback{PacketID: 1, ReasonCodes: codes(0, 0, 0)})},
		{name: "UNSUBACK with one code too few", code: protocol, packet: "UNSUBACK", rule: "3.11.3", do: unsubscribe,
			answer: reply(mqtttest.Unsuback{PacketID: 1, ReasonCodes: codes(0)})},
		{name: "MQTT-3.9.3-2 MQTT-3.8.4-7 SUBACK that grants QoS 3", code: protocol, packet: "SUBACK", rule: "MQTT-3.9.3-2", do: subscribe,
			answer: reply(mqtttest.Suback{PacketID: 1, ReasonCodes: codes(0, 3)})},
		{name: "MQTT-3.11.3-2 UNSUBACK with an unknown success", code: protocol, packet: "UNSUBACK", rule: "MQTT-3.11.3-2", do: unsubscribe,
			answer: reply(mqtttest.Unsuback{PacketID: 1, ReasonCodes: codes(0, 2)})},
		{name: "MQTT-3.4.2-1 PUBACK with an unknown success", code: protocol, packet: "PUBACK", rule: "MQTT-3.4.2-1", do: publish(1),
			answer: reply(mqtttest.Puback{PacketID: 1, ReasonCode: 0x03})},
		{name: "MQTT-3.1.2-29 unwanted reason string in PUBACK", code: protocol, packet: "PUBACK", rule: "MQTT-3.1.2-29", change: quiet, do: publish(1),
			answer: reply(mqtttest.Puback{PacketID: 1, ReasonString: str("why")})},
		{name: "MQTT-3.1.2-29 unwanted user property in PUBREC", code: protocol, packet: "PUBREC", rule: "MQTT-3.1.2-29", change: quiet, do: publish(2),
			answer: reply(mqtttest.Pubrec{PacketID: 1, UserProperties: user})},
		{name: "MQTT-3.1.2-29 unwanted reason string in SUBACK", code: protocol, packet: "SUBACK", rule: "MQTT-3.1.2-29", change: quiet, do: subscribe,
			answer: reply(mqtttest.Suback{PacketID: 1, ReasonCodes: codes(0, 0), ReasonString: str("why")})},
		{name: "MQTT-3.1.2-29 unwanted user property in UNSUBACK", code: protocol, packet: "UNSUBACK", rule: "MQTT-3.1.2-29", change: quiet, do: unsubscribe,
			answer: reply(mqtttest.Unsuback{PacketID: 1, ReasonCodes: codes(0, 0), UserProperties: user})},
		{name: "PUBACK with packet identifier 0", code: protocol, packet: "PUBACK", rule: "2.2.1", send: []mqtttest.Packet{mqtttest.Puback{}}},
	})
}

func TestHostile_flow(t *testing.T) {
	limit := func(o *mqtt5.ClientOptions) {
		o.Connect.ReceiveMaximum = mqtt5.Ptr[uint16](2)
		o.OnMessage = func(_ context.Context, m mqtt5.Message) { m.TakeAck() } // and never gives it
	}
	runViolations(t, []violation{
		{name: "MQTT-3.3.4-9 QoS 1 messages beyond our Receive Maximum", code: mqtttest.ReceiveMaximumExceeded, packet: "PUBLISH", rule: "MQTT-3.3.4-9",
			change: limit, send: []mqtttest.Packet{raw(1, 1, "a"), raw(1, 2, "a"), raw(0, 0, "a"), raw(1, 3, "a")}},
		{name: "MQTT-3.3.4-9 QoS 2 messages beyond our Receive Maximum", code: mqtttest.ReceiveMaximumExceeded, packet: "PUBLISH", rule: "MQTT-3.3.4-9",
			change: func(o *mqtt5.ClientOptions) { o.Connect.ReceiveMaximum = mqtt5.Ptr[uint16](2) },
			send:   []mqtttest.Packet{raw(2, 1, "a"), raw(2, 2, "a"), raw(2, 3, "a")}},
		{name: "PUBREL before our PUBREC", code: protocol, packet: "PUBREL", rule: "MQTT-4.3.3-8", change: limit,
			send: []mqtttest.Packet{raw(2, 1, "a"), mqtttest.Pubrel{PacketID: 1}}},
	})
}

// scripted is an Authenticator that says what a test wants.
type scripted struct {
	next   func(data []byte) ([]byte, error)
	finish func(data []byte) error
}

func (scripted) Method() string                        { return "M" }
func (scripted) Begin(context.Context) ([]byte, error) { return []byte("hello"), nil }

func (a scripted) Continue(data []byte) ([]byte, error) {
	if a.next == nil {
		return append([]byte("to "), data...), nil
	}
	return a.next(data)
}

func (a scripted) Finish(data []byte) error {
	if a.finish == nil {
		return nil
	}
	return a.finish(data)
}

func TestHostile_authentication(t *testing.T) {
	use := func(o *mqtt5.ClientOptions) { o.Authenticator = scripted{} }
	auth := func(code mqtttest.ReasonCode, method string) mqtttest.Auth {
		return mqtttest.Auth{ReasonCode: code, AuthenticationMethod: &method}
	}
	list := []violation{
		{name: "MQTT-4.12.0-5 CONNACK without the method", code: protocol, packet: "CONNACK", rule: "MQTT-4.12.0-5", handshake: []mqtttest.Packet{mqtttest.Connack{}}},
		{name: "MQTT-4.12.0-5 CONNACK with another method", code: protocol, packet: "CONNACK", rule: "MQTT-4.12.0-5",
			handshake: []mqtttest.Packet{mqtttest.Connack{AuthenticationMethod: str("N")}}},
		{name: "MQTT-4.12.0-5 AUTH with another method", code: protocol, packet: "AUTH", rule: "MQTT-4.12.0-5", handshake: []mqtttest.Packet{auth(0x18, "N")}},
		{name: "MQTT-4.12.0-2 AUTH that asks to re-authenticate", code: protocol, packet: "AUTH", rule: "MQTT-3.15.2-1", handshake: []mqtttest.Packet{auth(0x19, "M")}},
		{name: "MQTT-4.12.0-2 AUTH with success instead of CONNACK", code: protocol, packet: "AUTH", rule: "MQTT-3.15.2-1", handshake: []mqtttest.Packet{auth(0, "M")}},
		{name: "AUTH before our answer to the last one", code: protocol, packet: "AUTH", rule: "4.12",
			handshake: []mqtttest.Packet{mqtttest.Concat(auth(0x18, "M"), auth(0x18, "M"))}},
		{name: "AUTH without a method", code: protocol, packet: "AUTH", rule: "3.15.2.2.2", handshake: []mqtttest.Packet{mqtttest.Auth{ReasonCode: 0x18}}},
	}
	for i := range list {
		list[i].change = use
	}
	runViolations(t, list)

	bubble(t, "AUTH though we started no re-authentication", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept(mqtttest.Connack{AuthenticationMethod: str("M")})
			c.Sleep(time.Second)
			c.Send(auth(0x18, "M"))
			c.ExpectDisconnectWith(protocol)
		})
		srv.HangDial()
		d := connected(t, srv, use)
		time.Sleep(2 * time.Second)
		var broken *mqtt5.ProtocolError
		if err := d.lastLoss().Err; !errors.As(err, &broken) || broken.Rule != "4.12.1" {
			t.Errorf("got %v", err)
		}
	})
}

// TestHostile_ignored are oddities that must not cost the connection.
func TestHostile_ignored(t *testing.T) {
	for _, c := range []struct {
		name   string
		send   mqtttest.Packet
		answer mqtttest.Packet
	}{
		{name: "PUBACK of nothing", send: mqtttest.Puback{PacketID: 7}},
		{name: "PUBCOMP of nothing", send: mqtttest.Pubcomp{PacketID: 7}},
		{name: "SUBACK of nothing", send: mqtttest.Suback{PacketID: 7, ReasonCodes: []mqtttest.ReasonCode{0}}},
		{name: "UNSUBACK of nothing", send: mqtttest.Unsuback{PacketID: 7, ReasonCodes: []mqtttest.ReasonCode{0}}},
		{name: "PINGRESP unasked", send: mqtttest.Pingresp{}},
		{name: "failed PUBREC of nothing", send: mqtttest.Pubrec{PacketID: 7, ReasonCode: mqtttest.PacketIdentifierNotFound}},
		{name: "PUBREC of nothing", send: mqtttest.Pubrec{PacketID: 7},
			answer: mqtttest.Pubrel{PacketID: 7, ReasonCode: mqtttest.PacketIdentifierNotFound}},
		{name: "MQTT-4.3.3-11 PUBREL of nothing", send: mqtttest.Pubrel{PacketID: 7},
			answer: mqtttest.Pubcomp{PacketID: 7, ReasonCode: mqtttest.PacketIdentifierNotFound}},
		{name: "MQTT-3.3.2-3 message that matches no subscription", send: raw(1, 7, "unasked"), answer: mqtttest.Puback{PacketID: 7}},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.AllowRules("MQTT-4.3.3-4", "§3.6.2.1"))
			srv.Script(func(con *mqtttest.Conn) {
				con.Accept()
				con.Send(c.send)
				if c.answer != nil {
					con.ExpectPacket(c.answer)
				}
				con.ExpectSilence(time.Hour)
				con.ExpectDisconnectWith(mqtttest.NormalDisconnection)
			})
			d := connected(t, srv, nil)
			time.Sleep(2 * time.Hour)
			if err := d.Stop(d.ctx, nil); err != nil {
				t.Error(err)
			}
			d.wantEvents("attempting success disconnection stopped")
		})
	}
}

// TestHostile_refusals are reasons to close that the server gives itself: there
// is nothing to answer.
func TestHostile_refusals(t *testing.T) {
	bubble(t, "MQTT-4.13.2-1 CONNACK with a failure", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			c.Send(mqtttest.Connack{ReasonCode: mqtttest.NotAuthorized, ReasonString: str("no")})
			c.ExpectClosed()
		})
		d := connected(t, srv, nil)
		f := d.lastFailure()
		var refused *mqtt5.ConnackError
		if !errors.As(f.Err, &refused) || !errors.Is(f.Err, mqtt5.ErrConnectionRefused) || f.Connack == nil ||
			f.Connack.ReasonCode != mqtt5.ConnectNotAuthorized || *refused.Packet.ReasonString != "no" {
			t.Errorf("failure %+v", f)
		}
		d.wantEvents("attempting failure attempting success")
	})
	for name, code := range map[string]mqtttest.ReasonCode{
		"MQTT-4.13.2-1 DISCONNECT with a failure": mqtttest.SessionTakenOver,
		"DISCONNECT without a failure":            mqtttest.NormalDisconnection,
		"DISCONNECT with a code it may not have":  mqtttest.Banned,
	} {
		bubble(t, name, func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept()
				c.Send(mqtttest.Disconnect{ReasonCode: code, ReasonString: str("bye")}, raw(1, 1, "late"))
				c.ExpectClosed()
			})
			d := connected(t, srv, nil)
			l := d.lastLoss()
			var said *mqtt5.DisconnectError
			if !errors.As(l.Err, &said) || !errors.Is(l.Err, mqtt5.ErrDisconnectReceived) || l.Disconnect == nil ||
				uint8(l.Disconnect.ReasonCode) != uint8(code) || !l.WillRetry {
				t.Errorf("disconnection %+v", l)
			}
			time.Sleep(2 * time.Second)
			d.await()
			d.wantMessages()
			d.wantEvents("attempting success disconnection attempting success")
		})
	}
}

// TestHostile_otherProtocols answers CONNECT in another protocol, at once or
// byte by byte: the failure names it.
func TestHostile_otherProtocols(t *testing.T) {
	for protocol, answer := range map[string]string{
		mqtt5.ProtocolMQTT3: "\x20\x02\x00\x01",
		mqtt5.ProtocolHTTP:  "HTTP/1.1 400 Bad Request\r\n\r\n",
		mqtt5.ProtocolTLS:   "\x15\x03\x01\x00\x02\x02\x28",
		mqtt5.ProtocolSSH:   "SSH-2.0-server\r\n",
	} {
		for _, slow := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, byte by byte: %v", protocol, slow), func(t *testing.T) {
				srv := mqtttest.NewServer(t)
				srv.Script(func(c *mqtttest.Conn) {
					c.ExpectConnect()
					if !slow {
						c.Send(mqtttest.Raw(answer))
						return
					}
					for i := range answer {
						if c.TrySend(mqtttest.Raw(answer[i:i+1])) != nil {
							return // it has seen enough
						}
						c.Sleep(time.Millisecond)
					}
				})
				d := newDevice(t, srv, nil)
				want(t, "start", d.Start(), nil)
				time.Sleep(time.Second / 2)
				var foreign *mqtt5.ForeignProtocolError
				if err := d.lastFailure().Err; !errors.As(err, &foreign) || foreign.Protocol != protocol {
					t.Errorf("the event says %v", err)
				}
			})
		}
	}
}
