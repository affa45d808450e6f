// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// step is a packet that one side sends; a Connect begins another connection.
type step struct {
	side   Side
	packet Packet
}

func TestAudit(t *testing.T) {
	t.Parallel()
	c := func(p Packet) step { return step{FromClient, p} }
	s := func(p Packet) step { return step{FromServer, p} }
	connect := c(Connect{ClientID: "a", SessionExpiryIntervalSeconds: Ptr[uint32](100)})
	fresh, resumed := s(Connack{}), s(Connack{SessionPresent: true})
	pub := func(qos byte, id uint16) step { return c(Publish{Topic: "t", QoS: qos, PacketID: id}) }
	dup := func(qos byte, id uint16) step { return c(Publish{Topic: "t", QoS: qos, PacketID: id, Duplicate: true}) }
	in := func(qos byte, id uint16) step { return s(Publish{Topic: "t", QoS: qos, PacketID: id}) }
	sub := func(id uint16, filter string) step {
		return c(Subscribe{PacketID: id, Subscriptions: []Subscription{{TopicFilter: filter}}})
	}
	alias := func(topic string, n uint16) step { return c(Publish{Topic: topic, TopicAlias: Ptr(n)}) }
	auth := func(code ReasonCode, method string) Packet {
		return Auth{ReasonCode: code, AuthenticationMethod: Ptr(method)}
	}
	connectAuth := c(Connect{AuthenticationMethod: Ptr("m")})
	ack := func(a Connack) step { return s(a) }

	for _, tc := range []struct {
		rule  string // empty when all is well
		what  string
		steps []step
	}{
		{"", "an ordinary connection", []step{connect, fresh, pub(0, 0), pub(1, 1), s(Puback{PacketID: 1}), pub(2, 1), s(Pubrec{PacketID: 1}), c(Pubrel{PacketID: 1}),
			s(Pubcomp{PacketID: 1}), sub(1, "#"), s(Suback{PacketID: 1, ReasonCodes: []ReasonCode{0}}), c(Unsubscribe{PacketID: 1, TopicFilters: []string{"#"}}),
			s(Unsuback{PacketID: 1, ReasonCodes: []ReasonCode{0}}), pub(1, 1), c(Pingreq{}), c(Disconnect{})}},
		{"MQTT-3.1.0-1", "no CONNECT", []step{pub(0, 0)}},
		{"MQTT-3.14.4-1", "after DISCONNECT", []step{connect, fresh, c(Disconnect{}), c(Pingreq{})}},
		{"§3.14.2.2.2", "Session Expiry out of nothing", []step{c(Connect{}), fresh, c(Disconnect{SessionExpiryIntervalSeconds: Ptr[uint32](1)})}},
		{"MQTT-3.1.2-30", "before CONNACK", []step{connectAuth, c(Pingreq{})}},

		{"MQTT-2.2.1-3", "PUBLISH in flight", []step{connect, fresh, pub(1, 1), c(Publish{Topic: "other", QoS: 1, PacketID: 1})}},
		{"MQTT-2.2.1-3", "SUBSCRIBE with the id of a PUBLISH", []step{connect, fresh, pub(1, 1), sub(1, "a")}},
		{"MQTT-2.2.1-3", "an ack of another kind frees nothing", []step{connect, fresh, pub(1, 1), s(Pubcomp{PacketID: 1}), sub(1, "a")}},
		{"MQTT-2.2.1-3", "PUBREC frees nothing", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1}), c(Pubrel{PacketID: 1}), sub(1, "a")}},
		{"MQTT-2.2.1-3", "an illegal ack frees nothing", []step{connect, fresh, pub(1, 1), s(WithFlags(Puback{PacketID: 1}, 1)), sub(1, "a")}},
		{"", "PUBREC with an error frees", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1, ReasonCode: QuotaExceeded}), sub(1, "a")}},
		{"", "requests end with the connection", []step{connect, fresh, sub(1, "a"), connect, resumed, sub(1, "a")}},

		{"MQTT-3.3.4-7", "above Receive Maximum", []step{connect, ack(Connack{ReceiveMaximum: Ptr[uint16](2)}), pub(1, 1), pub(2, 2), pub(1, 3)}},
		{"", "Receive Maximum counts what is in flight", []step{connect, ack(Connack{ReceiveMaximum: Ptr[uint16](1)}), pub(0, 0), pub(1, 1), s(Puback{PacketID: 1}), pub(2, 2),
			s(Pubrec{PacketID: 2}), c(Pubrel{PacketID: 2}), s(Pubcomp{PacketID: 2}), pub(2, 3), s(Pubrec{PacketID: 3, ReasonCode: QuotaExceeded}), pub(1, 4)}},
		{"MQTT-3.3.4-7", "PUBREC gives nothing back", []step{connect, ack(Connack{ReceiveMaximum: Ptr[uint16](1)}), pub(2, 2), s(Pubrec{PacketID: 2}), pub(1, 1)}},
		{"MQTT-3.3.4-7", "what is sent again counts", []step{connect, fresh, pub(1, 1), pub(1, 2), connect,
			ack(Connack{SessionPresent: true, ReceiveMaximum: Ptr[uint16](1)}), dup(1, 1), dup(1, 2)}},
		{"", "a resumed PUBREL does not count", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1}), connect,
			ack(Connack{SessionPresent: true, ReceiveMaximum: Ptr[uint16](1)}), c(Pubrel{PacketID: 1}), pub(1, 2), s(Pubcomp{PacketID: 1}), s(Puback{PacketID: 2}), pub(1, 3)}},

		{"MQTT-3.2.2-11", "above Maximum QoS", []step{connect, ack(Connack{MaximumQoS: Ptr[byte](1)}), pub(2, 1)}},
		{"MQTT-3.2.2-14", "RETAIN", []step{connect, ack(Connack{RetainAvailable: Ptr[byte](0)}), c(Publish{Topic: "t", Retain: true})}},
		{"MQTT-3.2.2-15", "above Maximum Packet Size", []step{connect, ack(Connack{MaximumPacketSizeBytes: Ptr[uint32](5)}), pub(0, 0)}},
		{"", "at Maximum Packet Size", []step{connect, ack(Connack{MaximumPacketSizeBytes: Ptr[uint32](6)}), pub(0, 0)}},
		{"MQTT-3.2.2-17", "alias above the maximum", []step{connect, ack(Connack{TopicAliasMaximum: Ptr[uint16](1)}), alias("t", 2)}},
		{"MQTT-3.2.2-18", "alias without maximum", []step{connect, fresh, alias("t", 1)}},
		{"MQTT-3.3.2-7", "alias of another connection", []step{connect, ack(Connack{TopicAliasMaximum: Ptr[uint16](1)}), alias("t", 1), alias("", 1), connect,
			ack(Connack{TopicAliasMaximum: Ptr[uint16](1)}), alias("", 1)}},
		{"§3.2.2.3.11", "wildcard", []step{connect, ack(Connack{WildcardSubscriptionsAvailable: Ptr[byte](0)}), sub(1, "a/+")}},
		{"§3.2.2.3.13", "shared", []step{connect, ack(Connack{SharedSubscriptionsAvailable: Ptr[byte](0)}), sub(1, "$share/g/a")}},
		{"§3.2.2.3.12", "Subscription Identifier", []step{connect, ack(Connack{SubscriptionIDsAvailable: Ptr[byte](0)}),
			c(Subscribe{PacketID: 1, SubscriptionIdentifier: Ptr[uint32](1), Subscriptions: []Subscription{{TopicFilter: "a"}}})}},

		{"", "sent again in order", []step{connect, fresh, pub(1, 1), pub(2, 2), pub(2, 3), s(Pubrec{PacketID: 2}), connect, resumed, dup(1, 1), c(Pubrel{PacketID: 2}), dup(2, 3)}},
		{"MQTT-4.6.0-1", "sent again out of order", []step{connect, fresh, pub(1, 1), pub(1, 2), connect, resumed, dup(1, 2), dup(1, 1)}},
		{"MQTT-3.3.1-1", "sent again without DUP", []step{connect, fresh, pub(1, 1), connect, resumed, pub(1, 1)}},
		{"MQTT-4.4.0-1", "sent again on the same connection", []step{connect, fresh, pub(1, 1), dup(1, 1)}},
		{"MQTT-4.4.0-1", "sent again as another message", []step{connect, fresh, pub(1, 1), connect, resumed, c(Publish{Topic: "u", QoS: 1, PacketID: 1, Duplicate: true})}},
		{"MQTT-4.3.2-2", "DUP in a new session", []step{connect, fresh, pub(1, 1), connect, fresh, dup(1, 1)}},
		{"MQTT-4.3.3-2", "DUP in a new session", []step{connect, fresh, dup(2, 1)}},
		{"", "the first sending was lost", []step{connect, fresh, connect, resumed, dup(1, 1)}},
		{"MQTT-4.3.3-6", "PUBLISH after PUBREL", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1}), c(Pubrel{PacketID: 1}), connect, resumed, dup(2, 1)}},
		{"MQTT-4.3.3-4", "PUBREL without PUBREC", []step{connect, fresh, pub(2, 1), c(Pubrel{PacketID: 1})}},
		{"", "PUBREL again because PUBCOMP was lost", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1}), c(Pubrel{PacketID: 1}), s(Pubcomp{PacketID: 1}),
			connect, resumed, c(Pubrel{PacketID: 1}), s(Pubcomp{PacketID: 1}), connect, resumed, c(Pubrel{PacketID: 1})}},
		{"MQTT-4.3.3-4", "PUBREL again on the same connection", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1}), c(Pubrel{PacketID: 1}), s(Pubcomp{PacketID: 1}), c(Pubrel{PacketID: 1})}},
		{"MQTT-4.3.3-4", "PUBREL in a new session", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1}), c(Pubrel{PacketID: 1}), s(Pubcomp{PacketID: 1}), connect, fresh, c(Pubrel{PacketID: 1})}},
		{"MQTT-4.3.3-4", "PUBREL for a PUBLISH that was refused", []step{connect, fresh, pub(2, 1), s(Pubrec{PacketID: 1, ReasonCode: QuotaExceeded}), connect, resumed, c(Pubrel{PacketID: 1})}},
		{"", "the answer was lost, twice", []step{connect, fresh, pub(1, 1), pub(1, 2), pub(2, 3), s(Puback{PacketID: 1}), connect, resumed, dup(1, 1), dup(1, 2), dup(2, 3),
			connect, resumed, dup(1, 1), dup(1, 2), dup(2, 3)}},
		{"MQTT-4.6.0-1", "out of order beside one whose answer was lost", []step{connect, fresh, pub(1, 1), pub(1, 2), pub(2, 3), s(Puback{PacketID: 1}), connect, resumed,
			dup(1, 1), dup(2, 3), dup(1, 2)}},
		{"MQTT-4.6.0-4", "PUBREL out of order", []step{connect, fresh, pub(2, 1), pub(2, 2), s(Pubrec{PacketID: 2}), s(Pubrec{PacketID: 1}), c(Pubrel{PacketID: 1})}},
		{"", "PUBREC for nothing", []step{connect, fresh, s(Pubrec{PacketID: 9}), c(Pubrel{PacketID: 9, ReasonCode: PacketIdentifierNotFound})}},

		{"", "acknowledgements in order", []step{connect, fresh, in(1, 1), in(2, 2), in(1, 3), c(Pubrec{PacketID: 2}), c(Puback{PacketID: 1}), c(Puback{PacketID: 3}),
			s(Pubrel{PacketID: 2}), c(Pubcomp{PacketID: 2})}},
		{"MQTT-4.6.0-2", "PUBACK out of order", []step{connect, fresh, in(1, 1), in(1, 2), c(Puback{PacketID: 2})}},
		{"MQTT-4.6.0-3", "PUBREC out of order", []step{connect, fresh, in(2, 1), in(2, 2), c(Pubrec{PacketID: 2})}},
		{"MQTT-3.3.4-1", "PUBACK for QoS 2", []step{connect, fresh, in(2, 1), c(Puback{PacketID: 1})}},
		{"MQTT-3.3.4-1", "PUBREC for QoS 1", []step{connect, fresh, in(1, 1), c(Pubrec{PacketID: 1})}},
		{"MQTT-2.2.1-5", "PUBACK twice", []step{connect, fresh, in(1, 1), c(Puback{PacketID: 1}), c(Puback{PacketID: 1})}},
		{"MQTT-2.2.1-5", "PUBACK on another connection", []step{connect, fresh, in(1, 1), connect, resumed, c(Puback{PacketID: 1})}},
		{"MQTT-2.2.1-5", "PUBCOMP without PUBREL", []step{connect, fresh, in(2, 1), c(Pubrec{PacketID: 1}), c(Pubcomp{PacketID: 1})}},

		{"", "authentication", []step{connectAuth, s(auth(ContinueAuthentication, "m")), c(auth(ContinueAuthentication, "m")), fresh, c(auth(ReAuthenticate, "m")),
			s(auth(ContinueAuthentication, "m")), c(auth(ContinueAuthentication, "m")), s(auth(Success, "m"))}},
		{"MQTT-4.12.0-7", "AUTH without method", []step{connect, fresh, c(auth(ReAuthenticate, "m"))}},
		{"MQTT-4.12.0-5", "another method", []step{connectAuth, s(auth(ContinueAuthentication, "m")), c(auth(ContinueAuthentication, "n"))}},
		{"MQTT-4.12.1-1", "another method", []step{connectAuth, fresh, c(auth(ReAuthenticate, "n"))}},
		{"MQTT-4.12.1-1", "before CONNACK", []step{connectAuth, c(auth(ReAuthenticate, "m"))}},
		{"MQTT-4.12.0-3", "AUTH unasked", []step{connectAuth, fresh, c(auth(ContinueAuthentication, "m"))}},
		{"MQTT-4.12.0-3", "other code", []step{connectAuth, s(auth(ContinueAuthentication, "m")), c(auth(ReAuthenticate, "m"))}},
	} {
		t.Run(strings.TrimSpace(tc.rule+" "+tc.what), func(t *testing.T) {
			srv := NewServer(nil)
			defer srv.Close()
			_, nc := Pipe(0)
			conn := newConn(srv, nc, 1, "")
			var found []*Violation
			for i, st := range tc.steps {
				if len(found) > 0 {
					t.Fatalf("reported before the last step: %v", found)
				}
				b := Encode(st.packet)
				if st.side == FromServer {
					conn.sent(b[:1])
					conn.sent(b[1:])
					continue
				}
				if _, _, err := Decode(b, FromClient); err != nil {
					t.Fatal(err)
				}
				if _, ok := st.packet.(Connect); ok && i > 0 {
					conn = newConn(srv, nc, 2, "")
				}
				found = conn.received(st.packet, len(b))
			}
			switch {
			case tc.rule == "" && len(found) > 0:
				t.Errorf("unexpected: %v", found)
			case tc.rule != "" && !slices.ContainsFunc(found, func(v *Violation) bool { return v.Breaks(tc.rule) }):
				t.Errorf("found %v", found)
			}
		})
	}
	t.Run("what is read after another connection has the session", func(t *testing.T) {
		srv := NewServer(nil)
		defer srv.Close()
		_, nc := Pipe(0)
		one, two := newConn(srv, nc, 1, ""), newConn(srv, nc, 2, "")
		for _, c := range []*Conn{one, two} {
			c.received(connect.packet, 20)
			c.sent(Encode(Connack{SessionPresent: c == two}))
		}
		for _, packet := range []struct {
			c *Conn
			p Packet
		}{{two, dup(1, 1).packet}, {one, pub(1, 1).packet}, {one, Pubrel{PacketID: 2}}} {
			if found := packet.c.received(packet.p, 9); len(found) > 0 {
				t.Errorf("%v: %v", packet.p, found)
			}
		}
	})
	t.Run("a CONNACK that is sent after another connection has the session", func(t *testing.T) {
		srv := NewServer(nil)
		defer srv.Close()
		_, nc := Pipe(0)
		var conns []*Conn
		for n := range 4 {
			conns = append(conns, newConn(srv, nc, n+1, ""))
			conns[n].received(connect.packet, 20)
		}
		connack := func(n int) { conns[n-1].sent(Encode(Connack{SessionPresent: n > 1})) }
		connack(1)
		conns[1].audit.takeTurn()
		connack(3)
		connack(2)
		conns[2].received(pub(2, 7).packet, 9)
		conns[2].sent(Encode(Pubrec{PacketID: 7}))
		connack(4)
		if found := conns[3].received(Pubrel{PacketID: 7}, 4); len(found) > 0 {
			t.Errorf("found %v", found)
		}
	})
	t.Run("MQTT-3.1.0-2 second CONNECT", func(t *testing.T) {
		_, nc := Pipe(0)
		conn := newConn(NewServer(nil), nc, 1, "")
		conn.received(Connect{}, 2)
		if found := conn.received(Connect{}, 2); len(found) != 1 || !found[0].Breaks("MQTT-3.1.0-2") {
			t.Errorf("found %v", found)
		}
	})
}

func TestAllowRules(t *testing.T) {
	breach := func(p *peer) { p.send(Publish{Topic: "a"}) }
	if out := failures(t, func(c *Conn) { c.ExpectPublish() }, breach, AllowRules("MQTT-3.1.0-1")); out != "" {
		t.Errorf("reported: %s", out)
	}
}

func TestCollectFailures(t *testing.T) {
	bubble(t, func(t *testing.T) {
		srv := NewServer(t, CollectFailures())
		srv.Script(func(c *Conn) { c.ExpectPublish() })
		p := dial(t, srv)
		p.send(Publish{Topic: "a"})
		srv.Wait()
		list := srv.Failures()
		var v *Violation
		if len(list) != 1 || !errors.As(list[0], &v) || !v.Breaks("MQTT-3.1.0-1") {
			t.Errorf("%v", list)
		}
	})
}
