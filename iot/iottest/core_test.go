// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func plain(o *iottest.Options) { o.PlainTCP = true }

// wait waits for an event of a type and client.
func wait(t *testing.T, c *iottest.Core, typ iottest.EventType, clientID string) iottest.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	e, err := c.WaitFor(ctx, func(e iottest.Event) bool { return e.Type == typ && e.ClientID == clientID })
	if err != nil {
		t.Fatalf("%v %q: %v", typ, clientID, err)
	}
	return e
}

func TestConnack(t *testing.T) {
	c := iottest.Start(t)
	cl := dialDevice(t, c, c.Device(t, "thing"))
	f := cl.mustConnect(connectOptions{id: "thing", keepAlive: 5, props: [][]byte{prop(pSessionExpiry, u32(7200))}})
	for _, want := range []struct {
		name  string
		prop  byte
		value int
	}{
		{"receive maximum", pReceiveMax, 100},
		{"topic alias maximum", pAliasMax, 8},
		{"maximum QoS", pMaxQoS, 1},
		{"retain available", pRetain, 1},
		{"maximum packet size", pMaxPacket, 149504},
		{"wildcard subscriptions", pWildcard, 1},
		{"subscription identifiers", pSubIDs, 0},
		{"shared subscriptions", pShared, 1},
		{"server keep alive", pServerKA, 30},
		{"session expiry", pSessionExpiry, 3600},
	} {
		if _, ok := f.props[want.prop]; !ok || f.num(want.prop) != want.value {
			t.Errorf("%s is %v, want %d", want.name, f.props[want.prop], want.value)
		}
	}
	info := c.Clients()["thing"]
	if info.Auth != "x509" || info.Thing != "thing" || info.ALPN != iottest.ALPNMQTTCA || info.ServerName != c.Endpoint() || info.Port != "443" {
		t.Errorf("info %+v", info)
	}
}

func TestConnack_keepAliveInsideBounds(t *testing.T) {
	c := iottest.Start(t, plain)
	for keepAlive, want := range map[int]int{0: 1200, 29: 30, 30: -1, 1200: -1, 1201: 1200} {
		f := dialPlain(t, c).mustConnect(connectOptions{id: "a", keepAlive: keepAlive})
		got := -1
		if _, ok := f.props[pServerKA]; ok {
			got = f.num(pServerKA)
		}
		if got != want {
			t.Errorf("keep alive %d: server keep alive %d, want %d", keepAlive, got, want)
		}
	}
}

func TestAssignedClientID(t *testing.T) {
	c := iottest.Start(t, plain)
	f := dialPlain(t, c).mustConnect(connectOptions{})
	id := string(f.props[pAssignedID])
	if !strings.HasPrefix(id, "$GEN/") {
		t.Fatalf("assigned client id %q", id)
	}
	if f := dialPlain(t, c).connect(connectOptions{id: id}); f.codes[0] != byte(iottest.ClientIdentifierNotValid) {
		t.Errorf("reconnect with the assigned id: %#x", f.codes[0])
	}
}

func TestPorts(t *testing.T) {
	c := iottest.Start(t)
	for _, rsa := range []bool{false, true} {
		var opts []iottest.DeviceOption
		if rsa {
			opts = append(opts, iottest.WithRSA())
		}
		d := c.Device(t, fmt.Sprint("thing-", rsa), opts...)
		for _, tc := range []struct {
			addr string
			alpn []string
		}{
			{net.JoinHostPort(c.Endpoint(), "443"), []string{iottest.ALPNMQTTCA}},
			{net.JoinHostPort(c.Endpoint(), "8883"), nil},
			{net.JoinHostPort(c.Endpoint(), "8883"), []string{iottest.ALPNMQTTCA}},
			{fmt.Sprintf("localhost:%d", c.MTLSPort()), nil},
			{fmt.Sprintf("127.0.0.1:%d", c.Port()), []string{iottest.ALPNMQTTCA}},
		} {
			nc, err := c.DialContext(t.Context(), "tcp", tc.addr)
			if err != nil {
				t.Fatal(err)
			}
			cfg := d.TLSConfig(tc.alpn...)
			cfg.ServerName, _, _ = net.SplitHostPort(tc.addr)
			newRaw(t, tls.Client(nc, cfg)).mustConnect(connectOptions{id: d.Name()})
		}
	}
}

func TestPublishSubscribe(t *testing.T) {
	c := iottest.Start(t, plain)
	for _, version := range []byte{4, 5} {
		a, b := dialPlain(t, c), dialPlain(t, c)
		a.version, b.version = version, version
		a.mustConnect(connectOptions{id: "a"})
		b.mustConnect(connectOptions{id: "b"})
		if codes := b.subscribe("x/+", "y/#", "z"); string(codes) != "\x01\x01\x01" {
			t.Fatalf("SUBACK %x", codes)
		}
		a.publish("x/1", "zero", 0, 0)
		a.publish("y/1/2", "one", 1, 7)
		if f := a.expect(tPuback); f.id != 7 || f.codes[0] != 0 {
			t.Errorf("PUBACK %+v", f)
		}
		a.publish("y", "not selected by y/#", 0, 0)
		a.publish("z", "last", 1, 8)
		a.expect(tPuback)
		b.expectMessage("x/1", "zero")
		b.expectMessage("y/1/2", "one")
		b.expectMessage("z", "last")
		b.ping()
	}
}

func TestPublish_properties(t *testing.T) {
	c := iottest.Start(t, plain)
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a"})
	a.subscribe("t")
	a.publish("t", "p", 1, 1, prop(pFormat, []byte{1}), prop(pExpiry, u32(100)), prop(pContentType, str("text")),
		prop(pResponseTopic, str("answer")), prop(pCorrelation, str("c1")), prop(pUser, cat(str("k"), str("v"))),
		prop(pUser, cat(str("k"), str("w"))), prop(pAlias, u16(3)))
	a.expect(tPuback)
	f := a.expectMessage("t", "p")
	if f.num(pFormat) != 1 || f.num(pExpiry) < 1 || f.num(pExpiry) > 100 || string(f.props[pContentType]) != "text" ||
		string(f.props[pResponseTopic]) != "answer" || string(f.props[pCorrelation]) != "c1" || string(f.props[pUser]) != "k=v;k=w;" {
		t.Errorf("properties %q", f.props)
	}
	a.publish("", "by alias", 0, 0, prop(pAlias, u16(3)))
	a.expectMessage("t", "by alias")
}

func TestOutboundAliases(t *testing.T) {
	c := iottest.Start(t, plain)
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a", props: [][]byte{prop(pAliasMax, u16(2))}})
	a.subscribe("#")
	for _, topic := range []string{"1", "2", "3", "1", "2", "3"} {
		if err := c.Publish(iottest.Message{Topic: topic, Payload: []byte(topic)}); err != nil {
			t.Fatal(err)
		}
	}
	for i, topic := range []string{"1", "2", "3", "1", "2", "3"} {
		f := a.expectMessage(topic, topic)
		if want := []int{1, 2, 0, 1, 2, 0}[i]; f.num(pAlias) != want {
			t.Errorf("message %d has alias %d, want %d", i, f.num(pAlias), want)
		}
	}
}

func TestRetained(t *testing.T) {
	c := iottest.Start(t, plain)
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a"})
	a.publishFlags("r/1", "kept", 3, 1)
	a.expect(tPuback)
	if m := c.Retained("r/1"); m == nil || string(m.Payload) != "kept" {
		t.Fatalf("retained %+v", m)
	}
	a.subscribe("r/#") // wildcards get no retained messages
	a.subscribe("$share/g/r/1")
	a.ping()
	a.subscribe("r/1")
	if f := a.expectMessage("r/1", "kept"); f.flags&1 != 1 {
		t.Error("retain flag is not set")
	}
	a.publishFlags("r/1", "", 3, 2)
	a.expect(tPuback)
	if m := c.Retained("r/1"); m != nil {
		t.Errorf("retained %+v", m)
	}
}

func TestWill(t *testing.T) {
	c := iottest.Start(t, plain)
	w := dialPlain(t, c)
	w.mustConnect(connectOptions{id: "watcher"})
	w.subscribe("wills")
	will := connectOptions{id: "a", will: "wills", willPayload: "gone", willFlags: 1 << 3}

	dialPlain(t, c).mustConnect(will)
	if !c.Cut("a") {
		t.Fatal("not connected")
	}
	w.expectMessage("wills", "gone")

	a := dialPlain(t, c)
	a.mustConnect(will)
	a.write(tDisconnect << 4) // normal: no will
	a.expectEnd()
	wait(t, c, iottest.Disconnected, "a")

	a = dialPlain(t, c)
	a.mustConnect(will)
	a.write(tDisconnect<<4, []byte{4}) // with will
	w.expectMessage("wills", "gone")
	w.ping()
}

func TestTakeOver(t *testing.T) {
	c := iottest.Start(t, plain)
	expiry := [][]byte{prop(pSessionExpiry, u32(60))}
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a", props: expiry})
	a.subscribe("t")
	b := dialPlain(t, c)
	if f := b.mustConnect(connectOptions{id: "a", resume: true, props: expiry}); !f.present {
		t.Error("no session present")
	}
	a.expectDisconnect(iottest.SessionTakenOver)
	b.publish("t", "p", 0, 0)
	b.expectMessage("t", "p")
	if n := len(c.Clients()); n != 1 {
		t.Errorf("%d clients", n)
	}
}

func TestSessionResume(t *testing.T) {
	c := iottest.Start(t, plain)
	expiry := [][]byte{prop(pSessionExpiry, u32(600))}
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a", props: expiry})
	a.subscribe("t")
	publish := func(payload string) {
		t.Helper()
		if err := c.Publish(iottest.Message{Topic: "t", Payload: []byte(payload), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	publish("unacknowledged")
	first := a.expect(tPublish)
	c.Cut("a")
	wait(t, c, iottest.Disconnected, "a")
	publish("1")
	publish("2")
	if err := c.Publish(iottest.Message{Topic: "t", Payload: []byte("QoS 0 is not stored")}); err != nil {
		t.Fatal(err)
	}
	if s, ok := c.Session("a"); !ok || s.Connected || s.Queued != 2 || s.Unacked != 1 {
		t.Errorf("session %+v %t", s, ok)
	}
	a = dialPlain(t, c)
	if f := a.mustConnect(connectOptions{id: "a", resume: true, props: expiry}); !f.present {
		t.Fatal("no session present")
	}
	again := a.expectMessage("t", "unacknowledged")
	if again.flags&8 != 0 || again.id == first.id {
		t.Errorf("redelivery with DUP %t, id %d after %d", again.flags&8 != 0, again.id, first.id)
	}
	a.expectMessage("t", "1")
	a.expectMessage("t", "2")
	a.ping()
	if s, _ := c.Session("a"); s.Unacked != 0 || s.Queued != 0 {
		t.Errorf("session %+v", s)
	}

	c.Cut("a")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.WaitFor(ctx, func(e iottest.Event) bool { s, ok := c.Session("a"); return ok && !s.Connected }); err != nil {
		t.Fatal(err)
	}
	c.Advance(601 * time.Second)
	if f := dialPlain(t, c).mustConnect(connectOptions{id: "a", resume: true}); f.present {
		t.Error("session is present after its expiry")
	}
}

func TestSession_ofOtherVersionIsNotResumed(t *testing.T) {
	c := iottest.Start(t, plain)
	a := dialPlain(t, c)
	a.version = 4
	a.mustConnect(connectOptions{id: "a", resume: true})
	a.write(tDisconnect << 4)
	wait(t, c, iottest.Disconnected, "a")
	if f := dialPlain(t, c).mustConnect(connectOptions{id: "a", resume: true}); f.present {
		t.Error("MQTT 5 resumed a session of 3.1.1")
	}
}

func TestSharedSubscription(t *testing.T) {
	c := iottest.Start(t, plain)
	a, b := dialPlain(t, c), dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a"})
	b.mustConnect(connectOptions{id: "b"})
	a.subscribe("$share/g/t/+")
	b.subscribe("$share/g/t/+")
	for range 4 {
		if err := c.Publish(iottest.Message{Topic: "t/1", Payload: []byte("p"), QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, cl := range []*rawClient{a, b} {
		cl.expectMessage("t/1", "p")
		cl.expectMessage("t/1", "p")
		cl.ping()
	}
}

func TestManyMessages(t *testing.T) {
	const n = 20000
	c := iottest.Start(t, plain)
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a"})
	a.subscribe("t")
	for i := range n {
		if err := c.Publish(iottest.Message{Topic: "t", Payload: []byte(fmt.Sprint(i)), QoS: byte(i & 1)}); err != nil {
			t.Fatal(err)
		}
	}
	next := [2]int{0, 1}
	for range n {
		f := a.expect(tPublish)
		q := f.qos()
		if want := fmt.Sprint(next[q]); string(f.payload) != want {
			t.Fatalf("QoS %d message %s, want %s", q, f.payload, want)
		}
		next[q] += 2
		if q == 1 {
			a.puback(f.id)
		}
	}
}

func TestDisconnectAndClose(t *testing.T) {
	c := iottest.Start(t, plain)
	a, b := dialPlain(t, c), dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a"})
	b.mustConnect(connectOptions{id: "b"})
	if !c.Disconnect("a", iottest.AdministrativeAction) || c.Disconnect("nobody", 0) {
		t.Error("Disconnect tells wrongly who was connected")
	}
	a.expectDisconnect(iottest.AdministrativeAction)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b.expectDisconnect(iottest.ServerShuttingDown)
}

func TestKeepAlive(t *testing.T) {
	c := iottest.Start(t, plain)
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a", keepAlive: 60})
	a.ping()
	c.Advance(85 * time.Second)
	a.ping()
	c.Advance(91 * time.Second)
	a.expectDisconnect(iottest.KeepAliveTimeout)
}

func TestSubscribeInProcess(t *testing.T) {
	c := iottest.Start(t, plain)
	cancel := c.Subscribe("$aws/things/+/shadow/get", func(m *iottest.Message) {
		_ = c.Publish(iottest.Message{Topic: m.Topic + "/accepted", Payload: []byte("{}"), QoS: 1})
	})
	defer cancel()
	a := dialPlain(t, c)
	a.mustConnect(connectOptions{id: "a"})
	a.subscribe("$aws/things/a/shadow/get/accepted")
	a.publish("$aws/things/a/shadow/get", "", 1, 1)
	a.expect(tPuback)
	a.expectMessage("$aws/things/a/shadow/get/accepted", "{}")
}
