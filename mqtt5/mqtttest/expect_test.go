// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
)

func TestExpect_everyPacket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		srv := NewServer(t)
		srv.Script(func(c *Conn) {
			if c.Server() != srv || c.Number() != 1 || c.NetConn() == nil {
				c.Errorf("wrong connection")
			}
			c.ExpectConnect()
			c.Send(Auth{ReasonCode: ContinueAuthentication, AuthenticationMethod: Ptr("m")})
			c.ExpectAuth()
			c.Send(Connack{AuthenticationMethod: Ptr("m")}, Publish{Topic: "t", QoS: 1, PacketID: 1}, Publish{Topic: "t", QoS: 2, PacketID: 2})
			c.ExpectPuback()
			c.ExpectPubrec()
			c.Send(Pubrel{PacketID: 2})
			c.ExpectPubcomp()
			c.ExpectPublish(QoS(2))
			c.Send(Pubrec{PacketID: 1})
			c.ExpectPubrel()
			c.ExpectSubscribe()
			c.ExpectUnsubscribe()
			if p, err := c.Receive(); p != (Pingreq{}) || err != nil {
				c.Errorf("received %v, %v", p, err)
			}
			if list := c.Drain(); len(list) != 2 {
				c.Errorf("drained %v", list)
			}
			if _, err := c.Receive(); !errors.Is(err, io.EOF) {
				c.Errorf("at the end: %v", err)
			}
			c.ExpectClosed()
		})
		p := dial(t, srv)
		p.send(Connect{AuthenticationMethod: Ptr("m")})
		p.want(Auth{ReasonCode: ContinueAuthentication, AuthenticationMethod: Ptr("m")})
		p.send(Auth{ReasonCode: ContinueAuthentication, AuthenticationMethod: Ptr("m")})
		p.want(Connack{AuthenticationMethod: Ptr("m")})
		p.recv()
		p.recv()
		p.send(Puback{PacketID: 1}, Pubrec{PacketID: 2})
		p.want(Pubrel{PacketID: 2})
		p.send(Pubcomp{PacketID: 2}, Publish{Topic: "t", QoS: 2, PacketID: 1})
		p.want(Pubrec{PacketID: 1})
		p.send(Pubrel{PacketID: 1}, Subscribe{PacketID: 2, Subscriptions: []Subscription{{TopicFilter: "a"}}},
			Unsubscribe{PacketID: 3, TopicFilters: []string{"a"}}, Pingreq{}, Pingreq{}, Disconnect{})
		p.conn.Close()
		srv.Wait()
	})
}

func TestExpect_resent(t *testing.T) {
	t.Parallel()
	if Resent(Publish{Duplicate: true}) != nil || Resent(Publish{}) == nil || QoS(1)(Publish{}) == nil || Payload("a")(Publish{}) == nil {
		t.Error("a matcher is wrong")
	}
}

func TestServer_waitFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		srv := NewServer(t, CollectFailures(), RefuseUnscripted())
		if _, err := srv.DialContext(t.Context(), "tcp", "x"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("unscripted: %v", err)
		}
		srv.Script(func(*Conn) {})
		srv.Wait()
		if srv.WaitFor("nothing", func([]Event) bool { return false }) {
			t.Error("WaitFor returned true")
		}
		list := srv.Failures()
		if len(list) != 2 || !strings.Contains(list[0].Error(), "1 planned connections") || !strings.Contains(list[1].Error(), "waiting for nothing") {
			t.Errorf("%v", list)
		}
	})
}

func TestServer_journalLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		srv := NewServer(t, JournalLimit(10))
		p := dial(t, srv)
		p.connect("a")
		for range 100 {
			p.send(Pingreq{})
			p.want(Pingresp{})
			if n := len(srv.Journal()); n > 20 {
				t.Fatalf("%d events", n)
			}
		}
		events := srv.Journal()
		if n := len(events); n < 10 || events[n-1].Packet != (Pingresp{}) {
			t.Errorf("%d events, the last %v", n, events[n-1])
		}
	})
}
