// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func TestCertificates(t *testing.T) {
	c := iottest.Start(t)
	other := iottest.Start(t)
	now := time.Now()
	for _, tc := range []struct {
		name string
		d    *iottest.Device
		want error
		typ  iottest.EventType
	}{
		{"unregistered", c.Device(t, "unregistered", iottest.Unregistered()), iottest.ErrUnknownCertificate, iottest.HandshakeFailed},
		{"of another account", other.Device(t, "foreign"), iottest.ErrUnknownCertificate, iottest.HandshakeFailed},
		{"expired", c.Device(t, "expired", iottest.WithValidity(now.Add(-2*time.Hour), now.Add(-time.Hour))), iottest.ErrCertificateExpired, iottest.HandshakeFailed},
		{"future", c.Device(t, "future", iottest.WithValidity(now.Add(time.Hour), now.Add(2*time.Hour))), iottest.ErrCertificateExpired, iottest.HandshakeFailed},
		{"inactive", c.Device(t, "inactive", iottest.WithStatus(iottest.Inactive)), iottest.ErrCertificateInactive, iottest.ConnectRefused},
		{"revoked", c.Device(t, "revoked", iottest.WithStatus(iottest.Revoked)), iottest.ErrCertificateInactive, iottest.ConnectRefused},
	} {
		before := len(c.Events())
		cfg := c.TLSConfig(iottest.ALPNMQTTCA)
		cfg.Certificates = []tls.Certificate{tc.d.TLSCertificate()}
		nc, err := tls.Dial("tcp", c.Addr(), cfg)
		if err == nil {
			cl := newRaw(t, nc)
			_, _ = nc.Write([]byte("\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04name"))
			cl.expectEnd()
		}
		e, err := c.WaitFor(t.Context(), func(e iottest.Event) bool { before--; return before < 0 && e.Type == tc.typ })
		if err != nil || !errors.Is(e.Err, tc.want) {
			t.Errorf("%s: %v, %v; want %v", tc.name, e, err, tc.want)
		}
	}
	if _, err := tls.Dial("tcp", c.Addr(), c.TLSConfig("unknown")); err == nil {
		t.Error("unknown ALPN protocol is accepted")
	}
	d := c.Device(t, "again", iottest.WithStatus(iottest.Inactive))
	d.SetStatus(iottest.Active)
	dialDevice(t, c, d).mustConnect(connectOptions{id: "again"})
	reg, err := c.RegisterCertificate("registered", other.Device(t, "foreign").X509())
	if err != nil || reg.KeyPEM() != nil {
		t.Errorf("RegisterCertificate: %v", err)
	}
}

func TestCertificates_late(t *testing.T) {
	c := iottest.Start(t, func(o *iottest.Options) { o.LateCertificateErrors = true })
	d := c.Device(t, "thing")
	dialDevice(t, c, d).mustConnect(connectOptions{id: "thing"})
	d.Deregister()
	cl := dialDevice(t, c, d)
	cl.sendConnect(connectOptions{id: "late"})
	cl.expectEnd()
	if e := wait(t, c, iottest.ConnectRefused, "late"); !errors.Is(e.Err, iottest.ErrUnknownCertificate) {
		t.Errorf("event %v", e)
	}
}

func TestConnect_refused(t *testing.T) {
	c := iottest.Start(t, plain)
	for _, tc := range []struct {
		name string
		o    connectOptions
		want iottest.ReasonCode
	}{
		{"$ id", connectOptions{id: "$x"}, iottest.ClientIdentifierNotValid},
		{"long id", connectOptions{id: strings.Repeat("i", 129)}, iottest.ClientIdentifierNotValid},
		{"will QoS 2", connectOptions{id: "a", will: "t", willFlags: 2 << 3}, iottest.QoSNotSupported},
		{"will wildcard", connectOptions{id: "a", will: "t/#"}, iottest.TopicNameInvalid},
		{"will long topic", connectOptions{id: "a", will: strings.Repeat("t", 257)}, iottest.TopicNameInvalid},
		{"enhanced authentication", connectOptions{id: "a", props: [][]byte{prop(pAuthMethod, str("x"))}}, iottest.BadAuthenticationMethod},
	} {
		cl := dialPlain(t, c)
		if f := cl.connect(tc.o); f.codes[0] != byte(tc.want) {
			t.Errorf("%s: CONNACK %#x, want %v", tc.name, f.codes[0], tc.want)
		}
		cl.expectEnd()
	}
	dialPlain(t, c).mustConnect(connectOptions{id: strings.Repeat("i", 128)})
	for version, want := range map[byte]byte{2: 1, 6: byte(iottest.UnsupportedProtocolVersion)} {
		cl := dialPlain(t, c)
		cl.version = version
		if f := cl.connect(connectOptions{id: "a"}); f.codes[0] != want {
			t.Errorf("version %d: %#x, want %#x", version, f.codes[0], want)
		}
	}
}

func TestProtocolErrors(t *testing.T) {
	c := iottest.Start(t, plain)
	for _, tc := range []struct {
		name string
		act  func(*rawClient)
		want iottest.ReasonCode
	}{
		{"second CONNECT", func(cl *rawClient) { cl.sendConnect(connectOptions{id: "a"}) }, iottest.ProtocolError},
		{"AUTH", func(cl *rawClient) { cl.write(0xF0, []byte{0x18, 0}) }, iottest.ProtocolError},
		{"alias 0", func(cl *rawClient) { cl.publish("t", "", 0, 0, prop(pAlias, u16(0))) }, iottest.TopicAliasInvalid},
		{"alias 9", func(cl *rawClient) { cl.publish("t", "", 0, 0, prop(pAlias, u16(9))) }, iottest.TopicAliasInvalid},
		{"unknown alias", func(cl *rawClient) { cl.publish("", "", 0, 0, prop(pAlias, u16(1))) }, iottest.ProtocolError},
		{"no topic", func(cl *rawClient) { cl.publish("", "", 0, 0) }, iottest.ProtocolError},
		{"QoS 3", func(cl *rawClient) { cl.write(0x36, str("t"), u16(1), []byte{0}) }, iottest.ProtocolError},
		{"wildcard topic", func(cl *rawClient) { cl.publish("a/+", "", 1, 1) }, iottest.TopicNameInvalid},
		{"subscription id", func(cl *rawClient) { cl.sendSubscribe(1, prop(pSubID, []byte{1}), "t") }, iottest.SubscriptionIDsNotSupported},
		{"nine filters", func(cl *rawClient) { cl.sendSubscribe(1, nil, strings.Fields("1 2 3 4 5 6 7 8 9")...) }, iottest.QuotaExceeded},
		{"no filter", func(cl *rawClient) { cl.sendSubscribe(1, nil) }, iottest.ProtocolError},
		{"cut SUBSCRIBE", func(cl *rawClient) { cl.write(0x82, u16(1), []byte{0}, str("t")) }, iottest.MalformedPacket},
		{"flags", func(cl *rawClient) { cl.write(0x80, u16(1), []byte{0}, str("t"), []byte{0}) }, iottest.MalformedPacket},
		{"packet too large", func(cl *rawClient) { cl.write(0x30, str("t"), []byte{0}, make([]byte, 149504)) }, iottest.PacketTooLarge},
		{"session expiry raised", func(cl *rawClient) { cl.write(0xE0, []byte{0, 5}, prop(pSessionExpiry, u32(9))) }, iottest.ProtocolError},
		{"QoS 0 on long topic", func(cl *rawClient) { cl.publish(strings.Repeat("t", 257), "", 0, 0) }, iottest.TopicNameInvalid},
		{"QoS 0 on $x", func(cl *rawClient) { cl.publish("$x", "", 0, 0) }, iottest.TopicNameInvalid},
		{"large QoS 0", func(cl *rawClient) { cl.publish("t", strings.Repeat("x", 128<<10+1), 0, 0) }, iottest.QuotaExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cl := dialPlain(t, c)
			cl.mustConnect(connectOptions{id: tc.name})
			tc.act(cl)
			f := cl.expect(tDisconnect)
			if f.codes[0] != byte(tc.want) {
				t.Errorf("DISCONNECT %#x %s, want %v", f.codes[0], f.props[pReasonString], tc.want)
			}
		})
	}
}

func TestPublish_refusedByAck(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	for topic, want := range map[string]iottest.ReasonCode{
		"1/2/3/4/5/6/7/8":                           0,
		"1/2/3/4/5/6/7/8/9":                         iottest.TopicNameInvalid,
		strings.Repeat("t", 256):                    0,
		strings.Repeat("t", 257):                    iottest.TopicNameInvalid,
		"$other":                                    iottest.TopicNameInvalid,
		"$aws/events/presence/connected/x":          iottest.TopicNameInvalid,
		"$aws/rules/r/1/2/3/4/5/6/7/8":              0,
		"$aws/rules/r/1/2/3/4/5/6/7/8/9":            iottest.TopicNameInvalid,
		"$aws/commands/things/a/executions/1/2/3/4": 0,
	} {
		cl.publish(topic, "p", 1, 5)
		if f := cl.expect(tPuback); f.codes[0] != byte(want) {
			t.Errorf("%s: PUBACK %#x, want %v", topic, f.codes[0], want)
		}
	}
	cl.publish("t", strings.Repeat("x", 128<<10), 1, 5)
	if f := cl.expect(tPuback); f.codes[0] != 0 {
		t.Errorf("128 KiB: %#x", f.codes[0])
	}
	cl.publish("t", strings.Repeat("x", 128<<10+1), 1, 5)
	if f := cl.expect(tPuback); f.codes[0] != byte(iottest.QuotaExceeded) {
		t.Errorf("128 KiB and a byte: %#x", f.codes[0])
	}
	cl.publishFlags("$aws/things/a/shadow/update", "p", 3, 5)
	if f := cl.expect(tPuback); f.codes[0] != byte(iottest.TopicNameInvalid) {
		t.Errorf("retained on a reserved topic: %#x", f.codes[0])
	}
}

func TestSubscribe_codes(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	invalid := byte(iottest.TopicFilterInvalid)
	for filter, want := range map[string]byte{
		"a/#": 1, "#": 1, "+": 1, "a#": invalid, "a/#/b": invalid, "a+": invalid, "$share/g/t": 1, "$share/g": invalid,
		"$share//t": invalid, "$share/g+/t": invalid, "$aws/things/a/#": 1, "$aws/rules/r/t": invalid, "$SYS/#": invalid,
		"1/2/3/4/5/6/7/8": 1, "1/2/3/4/5/6/7/8/9": invalid, "$share/g/1/2/3/4/5/6/7/8": 1, "": invalid,
	} {
		if got := cl.subscribe(filter); got[0] != want {
			t.Errorf("%q: SUBACK %#x, want %#x", filter, got[0], want)
		}
	}
	cl.write(tUnsubscribe<<4|2, u16(3), []byte{0}, str("a/#"), str("never"))
	if f := cl.expect(tUnsuback); f.id != 3 || string(f.codes) != "\x00\x00" {
		t.Errorf("UNSUBACK %+v", f)
	}
	cl = dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "b"})
	for i := range 50 {
		if got := cl.subscribe(fmt.Sprint(i)); got[0] != 1 {
			t.Fatalf("subscription %d: %#x", i, got[0])
		}
	}
	if got := cl.subscribe("one more", "0"); string(got) != string([]byte{byte(iottest.QuotaExceeded), 1}) {
		t.Errorf("SUBACK %x", got)
	}
}

// The service does not answer requests for QoS 2 at all.
func TestQoS2_hasNoAnswer(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	cl.publish("t", "p", 2, 1)
	cl.write(tSubscribe<<4|2, u16(2), []byte{0}, str("t"), []byte{2})
	cl.ping()
	if s, _ := c.Session("a"); len(s.Subscriptions) != 0 {
		t.Errorf("session %+v", s)
	}
}

func TestMessageExpiry(t *testing.T) {
	c := iottest.Start(t, plain)
	expiry := [][]byte{prop(pSessionExpiry, u32(3600))}
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a", props: expiry})
	cl.subscribe("t")
	cl.write(tDisconnect << 4)
	wait(t, c, iottest.Disconnected, "a")
	for i, d := range []time.Duration{10 * time.Second, 100 * time.Second} {
		if err := c.Publish(iottest.Message{Topic: "t", QoS: 1, Payload: fmt.Append(nil, i), Expiry: d}); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(40 * time.Second)
	cl = dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a", resume: true, props: expiry})
	f := cl.expectMessage("t", "1")
	if left := f.num(pExpiry); left < 30 || left > 60 {
		t.Errorf("message expiry %d s", left)
	}
}

func TestReceiveMaximum(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a", props: [][]byte{prop(pReceiveMax, u16(2))}})
	cl.subscribe("t")
	for i := range 5 {
		if err := c.Publish(iottest.Message{Topic: "t", QoS: 1, Payload: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := cl.expect(tPublish), cl.expect(tPublish)
	cl.ping() // and no third one
	cl.puback(b.id)
	third := cl.expectMessage("t", "2")
	cl.expectMessage("t", "3")
	cl.expectMessage("t", "4")
	cl.ping() // the acknowledgements have arrived
	if third.id == a.id {
		t.Error("a packet id in use was used again")
	}
	if n := c.Redeliver("a"); n != 1 {
		t.Errorf("%d redelivered", n)
	}
	if f := cl.expectMessage("t", "0"); f.flags&8 != 0 {
		t.Error("DUP is set")
	}
}

func TestReceiveMaximum_exceeded(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	c.HoldAcks("a", true)
	for i := range 101 {
		cl.publish("t", "p", 1, i+1)
	}
	cl.expectDisconnect(iottest.ReceiveMaximumExceeded)
}

func TestRateQuotas(t *testing.T) {
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.Quotas = iottest.Quotas{PublishRate: 3, ConnectRate: 1} })
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	// The bucket refills with real time too, so only the shape is certain:
	// three in, and some are refused.
	refused := 0
	for i := range 50 {
		cl.publish("t", "p", 1, i+1)
	}
	for range 50 {
		if cl.expect(tPuback).codes[0] == byte(iottest.QuotaExceeded) {
			refused++
		}
	}
	if refused == 0 || refused > 47 {
		t.Errorf("%d of 50 refused", refused)
	}
	c.Advance(time.Second)
	cl.publish("t", "p", 1, 1)
	if f := cl.expect(tPuback); f.codes[0] != 0 {
		t.Errorf("after a second: %#x", f.codes[0])
	}
}

func TestPresence(t *testing.T) {
	c := iottest.Start(t, plain)
	w := dialPlain(t, c)
	w.mustConnect(connectOptions{id: "w"})
	w.subscribe("$aws/events/presence/#", "$aws/events/subscriptions/subscribed/a")
	next := func(topic string, parts ...string) {
		t.Helper()
		for {
			f := w.expect(tPublish)
			w.puback(f.id)
			if f.topic != topic {
				continue
			}
			for _, p := range parts {
				if !strings.Contains(string(f.payload), p) {
					t.Errorf("%s: %s has no %s", topic, f.payload, p)
				}
			}
			return
		}
	}
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a"})
	next("$aws/events/presence/connected/a", `"clientId":"a"`, `"eventType":"connected"`)
	a.subscribe("x", "y")
	next("$aws/events/subscriptions/subscribed/a", `"topics":["x","y"]`)
	a.write(tDisconnect << 4)
	next("$aws/events/presence/disconnected/a", `"clientInitiatedDisconnect":true`)
}

func TestFirstPacketIsNotConnect(t *testing.T) {
	c := iottest.Start(t, plain)
	for _, junk := range []string{"\xC0\x00", "GET / HTTP/1.1\r\n\r\n", "\x10\xFF\xFF\xFF\xFF\xFF", "\x10\x02\x00\x04"} {
		nc, err := net.Dial("tcp", c.TCPAddr())
		if err != nil {
			t.Fatal(err)
		}
		cl := newRaw(t, nc)
		if _, err := nc.Write([]byte(junk)); err != nil {
			t.Fatal(err)
		}
		cl.expectEnd()
	}
}

func TestConnectRate(t *testing.T) {
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.Quotas.ConnectRate = 1 })
	dialPlain(t, c).mustConnect(connectOptions{id: "a"})
	c.Advance(-10 * time.Second) // so that no time passes for the quota
	if f := dialPlain(t, c).connect(connectOptions{id: "a"}); f.codes[0] != byte(iottest.QuotaExceeded) {
		t.Errorf("CONNACK %#x", f.codes[0])
	}
	dialPlain(t, c).mustConnect(connectOptions{id: "b"})
	c.Advance(20 * time.Second)
	dialPlain(t, c).mustConnect(connectOptions{id: "a"})
}

// The rates below are proved by the least time that must pass; how much more
// does not matter.

func TestReplayRate(t *testing.T) {
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.Quotas.ReplayRate = 3 })
	expiry := [][]byte{prop(pSessionExpiry, u32(600))}
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a", props: expiry})
	cl.subscribe("t")
	cl.write(tDisconnect << 4)
	wait(t, c, iottest.Disconnected, "a")
	for i := range 5 {
		if err := c.Publish(iottest.Message{Topic: "t", QoS: 1, Payload: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	cl = dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a", resume: true, props: expiry})
	for i := range 5 {
		cl.expectMessage("t", fmt.Sprint(i))
	}
	var times []time.Time
	for _, e := range c.Events() {
		if e.Type == iottest.Delivered {
			times = append(times, e.Time)
		}
	}
	if d := times[3].Sub(times[0]); d < 900*time.Millisecond {
		t.Errorf("the fourth message came %v after the first", d)
	}
}

func TestThroughput(t *testing.T) {
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.Quotas.Throughput = 20000 })
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	start := time.Now()
	for i := range 2 {
		cl.publish("t", strings.Repeat("x", 15000), 1, i+1)
	}
	cl.expect(tPuback)
	cl.expect(tPuback)
	if d := time.Since(start); d < 400*time.Millisecond {
		t.Errorf("30,000 bytes passed in %v", d)
	}
}
