// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

type presence struct {
	topic                                                        string
	ClientID, ThingName, EventType, DisconnectReason, IPAddress  string
	SessionIdentifier, PrincipalIdentifier, ConnectFailureReason string
	ClientInitiatedDisconnect                                    *bool
	VersionNumber                                                *int64
	Timestamp                                                    int64
	Topics                                                       []string
}

// watch returns the next life cycle message of the core.
func watch(t *testing.T, c *iottest.Core) func() presence {
	t.Helper()
	got := make(chan *iottest.Message, 100)
	t.Cleanup(c.Subscribe("$aws/events/#", func(m *iottest.Message) { got <- m }))
	return func() presence {
		t.Helper()
		select {
		case m := <-got:
			p := presence{topic: m.Topic}
			if err := json.Unmarshal(m.Payload, &p); err != nil {
				t.Fatalf("%s: %v", m.Payload, err)
			}
			return p
		case <-time.After(30 * time.Second): // against hanging tests only
			t.Fatal("no message")
			return presence{}
		}
	}
}

func TestPresence_versions(t *testing.T) {
	c := iottest.Start(t, plain)
	next := watch(t, c)
	var last presence
	for i := range 3 {
		cl := dialPlain(t, c)
		cl.mustConnect(connectOptions{id: "site/1", props: expiry(600), resume: true})
		on := next()
		if on.topic != "$aws/events/presence/connected/site/1" || on.IPAddress != "127.0.0.1" || on.VersionNumber == nil || *on.VersionNumber != int64(i) {
			t.Fatalf("connected: %+v", on)
		}
		if i > 0 && on.SessionIdentifier != last.SessionIdentifier || on.SessionIdentifier == "" {
			t.Errorf("session identifier %q, was %q", on.SessionIdentifier, last.SessionIdentifier)
		}
		cl.write(tDisconnect << 4)
		off := next()
		if off.EventType != "disconnected" || off.VersionNumber == nil || *off.VersionNumber != int64(i) || off.SessionIdentifier != on.SessionIdentifier ||
			off.ClientInitiatedDisconnect == nil || !*off.ClientInitiatedDisconnect || off.DisconnectReason != iottest.ReasonClientInitiated {
			t.Fatalf("disconnected: %+v", off)
		}
		last = on
	}
	c.Advance(2 * time.Hour)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "site/1"})
	if on := next(); *on.VersionNumber != 0 || on.SessionIdentifier == last.SessionIdentifier {
		t.Errorf("after two hours: %+v", on)
	}
}

func TestPresence_reasons(t *testing.T) {
	c := iottest.Start(t, plain)
	d := c.Device(t, "thing", iottest.WithThing(iottest.Thing{Exclusive: true}))
	denied := c.Device(t, "denied", iottest.WithPolicy(statement("Allow", "iot:Connect", "*")))
	admin := webClient(c, c.Device(t, "admin"), iottest.ALPNHTTPCA)
	addAuthorizer(t, c, iottest.Authorizer{Name: "x", SigningDisabled: true, Default: true, Handler: allow})
	next := watch(t, c)
	for _, tc := range []struct {
		name   string
		dial   func() *rawClient
		end    func(cl *rawClient)
		reason string
		will   bool
	}{
		{"lost", nil, func(cl *rawClient) { _ = cl.nc.Close() }, iottest.ReasonConnectionLost, true},
		{"protocol error", nil, func(cl *rawClient) { cl.write(0xF0) }, iottest.ReasonClientError, true},
		{"core", nil, func(*rawClient) { c.Disconnect("id", iottest.ServerBusy) }, iottest.ReasonServerInitiated, true},
		{"take over", nil, func(*rawClient) {
			dialPlain(t, c).mustConnect(connectOptions{id: "id"})
		}, iottest.ReasonDuplicateID, true},
		{"API", nil, func(*rawClient) {
			if status, body := do(t, admin, "DELETE", "https://"+c.Endpoint()+"/connections/id", ""); status != 200 {
				t.Errorf("DeleteConnection: %d %s", status, body)
			}
		}, iottest.ReasonAPIInitiated, true},
		{"API without will", nil, func(*rawClient) {
			if status, body := do(t, admin, "DELETE", "https://"+c.Endpoint()+"/connections/id?preventWillMessage=true", ""); status != 200 {
				t.Errorf("DeleteConnection: %d %s", status, body)
			}
		}, iottest.ReasonAPIInitiated, false},
		{"end of custom authorization", func() *rawClient { return dialCustom(t, c) }, func(*rawClient) { c.Advance(25 * time.Hour) }, iottest.ReasonCustomAuthTTL, true},
		{"forbidden", func() *rawClient { return dialDevice(t, c, denied) }, func(cl *rawClient) { cl.publish("t", "", 0, 0) }, iottest.ReasonForbidden, false},
		{"WebSocket closed", func() *rawClient { return webSocket(t, c) }, func(cl *rawClient) { closeFrame(t, cl) }, iottest.ReasonClientInitiated, false},
		{"certificate inactive", func() *rawClient { return dialDevice(t, c, d) }, func(*rawClient) { d.SetStatus(iottest.Inactive) }, iottest.ReasonAuthError, true},
		{"certificate gone", func() *rawClient { d.SetStatus(iottest.Active); return dialDevice(t, c, d) }, func(*rawClient) { d.Deregister() }, iottest.ReasonAuthError, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dial := tc.dial
			if dial == nil {
				dial = func() *rawClient { return dialPlain(t, c) }
			}
			wills := len(published(c, iottest.WillPublished))
			cl := dial()
			o := connectOptions{id: "id", will: "will", willPayload: "bye"}
			if tc.reason == iottest.ReasonForbidden {
				o.will = "" // the policy allows none
			}
			cl.mustConnect(o)
			on := next()
			if strings.HasPrefix(tc.name, "certificate") != (on.ThingName == "thing") {
				t.Errorf("thing name %q", on.ThingName)
			}
			tc.end(cl)
			off := next()
			for off.EventType != "disconnected" {
				off = next()
			}
			if off.DisconnectReason != tc.reason || *off.VersionNumber != *on.VersionNumber {
				t.Errorf("disconnected: %+v, want %s", off, tc.reason)
			}
			if e := wait(t, c, iottest.Disconnected, "id"); e.DisconnectReason == "" {
				t.Errorf("event %v", e)
			}
			if got := len(published(c, iottest.WillPublished)) > wills; got != tc.will {
				t.Errorf("will published: %v", got)
			}
			if tc.name == "take over" {
				next()
				c.EndSession("id")
				next()
			}
		})
	}
}

func published(c *iottest.Core, typ iottest.EventType) (out []iottest.Event) {
	for _, e := range c.Events() {
		if e.Type == typ {
			out = append(out, e)
		}
	}
	return out
}

func TestPresence_connectFailed(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "d", iottest.WithPolicy(iottest.DenyAllPolicy))
	next := watch(t, c)
	if f := dialDevice(t, c, d).connect(connectOptions{id: "d"}); f.codes[0] != byte(iottest.NotAuthorized) {
		t.Fatalf("CONNACK %#x", f.codes[0])
	}
	p := next()
	if p.topic != "$aws/events/presence/connect_failed/d" || p.ConnectFailureReason != "AUTHORIZATION_FAILED" || p.IPAddress != "127.0.0.1" || p.PrincipalIdentifier != d.CertificateID() {
		t.Errorf("%+v", p)
	}
}

// Filters that were refused, and such that were not there, are in no message.
func TestPresence_subscriptions(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "d", iottest.WithPolicy(statement("Allow", "iot:*", "client/* topicfilter/ok* topic/ok*")))
	cl := dialDevice(t, c, d)
	cl.mustConnect(connectOptions{id: "d"})
	next := watch(t, c)
	cl.subscribe("no")
	cl.subscribe("ok1", "no", "ok2")
	if p := next(); p.topic != "$aws/events/subscriptions/subscribed/d" || strings.Join(p.Topics, " ") != "ok1 ok2" {
		t.Errorf("%+v", p)
	}
	cl.write(10<<4|2, u16(5), cl.properties(), str("ok1"), str("never"))
	if p := next(); p.topic != "$aws/events/subscriptions/unsubscribed/d" || strings.Join(p.Topics, " ") != "ok1" {
		t.Errorf("%+v", p)
	}
}

// A policy may name the topic of a shared subscription, or its $share form.
func TestPolicy_sharedSubscriptions(t *testing.T) {
	c := iottest.Start(t)
	for _, resources := range []string{"topic/$share/g/t", "topic/t", "topic/other"} {
		d := c.Device(t, "d", iottest.WithPolicy(statement("Allow", "iot:*", "client/* topicfilter/$share/g/t "+resources)))
		cl := dialDevice(t, c, d)
		cl.mustConnect(connectOptions{id: "d"})
		if got := cl.subscribe("$share/g/t"); got[0] != 1 {
			t.Fatalf("%s: SUBACK %x", resources, got)
		}
		if err := c.Publish(iottest.Message{Topic: "t", QoS: 1, Payload: []byte("m")}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(resources, "other") {
			cl.expectMessage("t", "m")
		}
		cl.ping() // and nothing else
		cl.write(tDisconnect << 4)
		cl.expectEnd()
	}
}

func TestPolicy_thingVariables(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing", iottest.WithThing(iottest.Thing{Type: "lamp", Attributes: map[string]string{"site": "north"}}),
		iottest.WithPolicy(statement("Allow", "iot:Connect iot:Publish", "client/* topic/${iot:Connection.Thing.ThingTypeName}/${iot:Connection.Thing.Attributes[site]} topic/x/${iot:Connection.Thing.Attributes[none]}")))
	cl := dialDevice(t, c, d)
	cl.mustConnect(connectOptions{id: "thing"})
	expectPuback(t, cl, "lamp/north", iottest.Success)
	expectPuback(t, cl, "lamp/south", iottest.NotAuthorized)
	expectPuback(t, cl, "x/", iottest.NotAuthorized)
	other := dialDevice(t, c, d)
	other.mustConnect(connectOptions{id: "other"}) // is not the thing
	expectPuback(t, other, "lamp/north", iottest.NotAuthorized)
}

// webSocket opens one for the default authorizer.
func webSocket(t *testing.T, c *iottest.Core) *rawClient {
	t.Helper()
	resp, cl := upgrade(t, c, upgradeOptions{})
	if cl == nil {
		t.Fatalf("upgrade: %s", resp.Status)
	}
	return cl
}

// closeFrame says goodbye as a WebSocket does, with code 1000.
func closeFrame(t *testing.T, cl *rawClient) {
	t.Helper()
	if _, err := cl.nc.(*clientFrames).Conn.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8}); err != nil {
		t.Fatal(err)
	}
}
