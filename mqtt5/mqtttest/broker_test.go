// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func subscribe(filter string, qos byte) Subscribe {
	return Subscribe{PacketID: 1, Subscriptions: []Subscription{{TopicFilter: filter, QoS: qos}}}
}

func granted(codes ...ReasonCode) Suback { return Suback{PacketID: 1, ReasonCodes: codes} }

// resume connects with a session that outlives the connection.
func (p *peer) resume(id string, present bool) {
	p.t.Helper()
	p.send(Connect{ClientID: id, SessionExpiryIntervalSeconds: Ptr[uint32](100)})
	p.want(Connack{SessionPresent: present})
}

func (p *peer) leave() {
	p.t.Helper()
	p.send(Disconnect{})
	p.wantErr(io.EOF)
	p.conn.Close()
}

func brokerTest(t *testing.T, name string, f func(*testing.T, *Server), opts ...Option) {
	t.Run(name, func(t *testing.T) {
		bubble(t, func(t *testing.T) { f(t, NewServer(t, opts...)) })
	})
}

func TestBroker_requests(t *testing.T) {
	brokerTest(t, "all flows", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.connect("a")
		p.send(Pingreq{})
		p.want(Pingresp{})
		p.send(Publish{Topic: "t", QoS: 1, PacketID: 5})
		p.want(Puback{PacketID: 5})
		p.send(Publish{Topic: "t", QoS: 2, PacketID: 6})
		p.want(Pubrec{PacketID: 6})
		p.send(Pubrel{PacketID: 6})
		p.want(Pubcomp{PacketID: 6})
		p.send(Pubrel{PacketID: 6, ReasonCode: PacketIdentifierNotFound})
		p.want(Pubcomp{PacketID: 6, ReasonCode: PacketIdentifierNotFound})
		p.send(subscribe("a", 2))
		p.want(granted(GrantedQoS2))
		if subs := srv.Subscriptions("a"); len(subs) != 1 || subs[0].TopicFilter != "a" {
			t.Errorf("subscriptions: %v", subs)
		}
		p.send(Unsubscribe{PacketID: 2, TopicFilters: []string{"a", "b"}})
		p.want(Unsuback{PacketID: 2, ReasonCodes: []ReasonCode{Success, NoSubscriptionExisted}})
		p.leave()
	})
	brokerTest(t, "assigned identifier", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.send(Connect{})
		p.want(Connack{AssignedClientID: Ptr("assigned-1")})
	})
	brokerTest(t, "refusals", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.send(Connect{Username: Ptr("nobody")})
		p.want(Connack{ReasonCode: NotAuthorized})
		p.wantErr(io.EOF)
		p = dial(t, srv)
		p.send(Connect{AuthenticationMethod: Ptr("m")})
		p.want(Connack{ReasonCode: BadAuthenticationMethod})
		p.wantErr(io.EOF)
		p = dial(t, srv)
		p.send(Connect{ClientID: "a"})
		p.want(Connack{MaximumQoS: Ptr[byte](1), SharedSubscriptionsAvailable: Ptr[byte](0)})
		p.send(Subscribe{PacketID: 1, Subscriptions: []Subscription{{TopicFilter: "secret"}, {TopicFilter: "a", QoS: 2}}})
		p.want(granted(NotAuthorized, GrantedQoS1))
	}, WithBroker(BrokerOptions{
		Connack: Connack{MaximumQoS: Ptr[byte](1), SharedSubscriptionsAvailable: Ptr[byte](0)},
		Authenticate: func(c Connect) ReasonCode {
			if c.Username != nil {
				return NotAuthorized
			}
			return Success
		},
		Authorize: func(_ string, s Subscription) ReasonCode {
			if s.TopicFilter == "secret" {
				return NotAuthorized
			}
			return Success
		},
	}))
	brokerTest(t, "malformed", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.connect("a")
		p.send(Raw{0xC1, 0})
		p.want(Disconnect{ReasonCode: MalformedPacket})
		p.wantErr(io.EOF)
		p = dial(t, srv)
		p.send(Corrupted(Connect{}, 8, 1))
		p.want(Connack{ReasonCode: UnsupportedProtocolVersion})
		p.wantErr(io.EOF)
		srv.Close()
		if n := len(srv.Failures()); n != 2 {
			t.Errorf("%d failures: %v", n, srv.Failures())
		}
	}, CollectFailures())
	brokerTest(t, "keep-alive", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.send(Connect{KeepAliveSeconds: 10, ClientID: "a"})
		p.want(Connack{})
		start := time.Now()
		p.want(Disconnect{ReasonCode: KeepAliveTimeout})
		if d := time.Since(start); d != 15*time.Second {
			t.Errorf("closed after %v", d)
		}
		p.wantErr(io.EOF)
	})
	brokerTest(t, "keep-alive during a packet", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.send(Connect{KeepAliveSeconds: 10, ClientID: "a"})
		p.want(Connack{})
		packet := Encode(Publish{Topic: "t", QoS: 1, PacketID: 1, Payload: make([]byte, 10)})
		for _, b := range packet[:len(packet)-1] {
			_, _ = p.conn.Write([]byte{b})
			time.Sleep(14 * time.Second)
		}
		_, _ = p.conn.Write(packet[len(packet)-1:])
		p.want(Puback{PacketID: 1})
		start := time.Now()
		_, _ = p.conn.Write(packet[:3])
		p.want(Disconnect{ReasonCode: KeepAliveTimeout})
		if d := time.Since(start); d != 15*time.Second {
			t.Errorf("closed %v after a part of a packet", d)
		}
	})
	brokerTest(t, "delay", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		start := time.Now()
		p.connect("a")
		if d := time.Since(start); d != time.Second {
			t.Errorf("answered after %v", d)
		}
	}, WithBroker(BrokerOptions{Delay: time.Second}))
	brokerTest(t, "intercept", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.connect("a")
		p.send(Publish{Topic: "t", QoS: 1, PacketID: 1})
		p.want(Puback{PacketID: 1, ReasonCode: QuotaExceeded})
		p.send(Pingreq{})
		p.want(Pingresp{})
	}, Intercept(func(c *Conn, p Packet) bool {
		pub, ok := p.(Publish)
		if ok {
			c.Send(Puback{PacketID: pub.PacketID, ReasonCode: QuotaExceeded})
		}
		return ok
	}))
	brokerTest(t, "stall and cut from outside", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.connect("a")
		synctest.Wait()
		c := srv.Conns()[0]
		c.Stall()
		p.send(Pingreq{})
		p.conn.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := p.recv(); !isTimeout(err) {
			t.Errorf("while stalled: %v", err)
		}
		p.conn.SetReadDeadline(time.Time{})
		c.Resume()
		p.want(Pingresp{})
		c.CutAfterSending(1)
		p.send(Pingreq{})
		p.wantErr(io.ErrUnexpectedEOF)
		if !srv.WaitFor("the end of the connection", func(events []Event) bool { return events[len(events)-1].Kind == Closed }) {
			t.Error("not closed")
		}
	})
	brokerTest(t, "after a script", func(t *testing.T, srv *Server) {
		srv.Script(func(c *Conn) { c.Accept(); c.ExpectPingreq(); c.Serve() })
		srv.Script(func(c *Conn) { c.ExpectConnect(); c.Serve() })
		srv.Script(func(c *Conn) { c.Accept(Connack{ReasonCode: Banned}); c.Serve() })
		p := dial(t, srv)
		p.connect("a")
		p.send(Pingreq{}, subscribe("x", 0))
		p.want(granted(Success))
		p.leave()
		p = dial(t, srv)
		p.connect("a")
		p.leave()
		p = dial(t, srv)
		p.send(Connect{})
		p.want(Connack{ReasonCode: Banned})
		p.wantErr(io.EOF)
		srv.Wait()
	})
}

func TestBroker_routing(t *testing.T) {
	brokerTest(t, "between clients", func(t *testing.T, srv *Server) {
		a, b := dial(t, srv), dial(t, srv)
		a.connect("a")
		b.connect("b")
		a.send(Subscribe{PacketID: 1, SubscriptionIdentifier: Ptr[uint32](7), Subscriptions: []Subscription{{TopicFilter: "x/+", QoS: 1}}})
		a.want(granted(GrantedQoS1))
		a.send(subscribe("x/#", 2))
		a.want(granted(GrantedQoS2))
		b.send(Publish{Topic: "x/y", QoS: 2, PacketID: 9, Payload: []byte("hi"), UserProperties: []UserProperty{{"k", "v"}}})
		b.want(Pubrec{PacketID: 9})
		a.want(Publish{Topic: "x/y", QoS: 2, PacketID: 1, Payload: []byte("hi"), UserProperties: []UserProperty{{"k", "v"}}, SubscriptionIdentifiers: []uint32{7}})
		a.send(Pubrec{PacketID: 1})
		a.want(Pubrel{PacketID: 1})
		a.send(Pubcomp{PacketID: 1})
		srv.Publish(Publish{Topic: "x", QoS: 1})
		a.want(Publish{Topic: "x", QoS: 1, PacketID: 2})
		a.send(Puback{PacketID: 2})
		srv.Publish(Publish{Topic: "$SYS/x"})
		srv.Publish(Publish{Topic: "x/z"})
		a.want(Publish{Topic: "x/z", SubscriptionIdentifiers: []uint32{7}})
	})
	brokerTest(t, "options", func(t *testing.T, srv *Server) {
		srv.Publish(Publish{Topic: "kept", Retain: true, Payload: []byte("1")})
		srv.Publish(Publish{Topic: "gone", Retain: true, Payload: []byte("1")})
		srv.Publish(Publish{Topic: "gone", Retain: true})
		p := dial(t, srv)
		p.connect("a")
		id := uint16(0)
		all := func(handling byte) Subscribe {
			id++
			return Subscribe{PacketID: id, Subscriptions: []Subscription{{TopicFilter: "#", NoLocal: true, RetainAsPublished: true, RetainHandling: handling}}}
		}
		p.send(all(1))
		p.want(granted(0))
		p.want(Publish{Topic: "kept", Retain: true, Payload: []byte("1")})
		p.send(all(1), all(2), all(0))
		for id := range uint16(3) {
			p.want(Suback{PacketID: id + 2, ReasonCodes: []ReasonCode{0}})
		}
		p.want(Publish{Topic: "kept", Retain: true, Payload: []byte("1")})
		p.send(Publish{Topic: "mine"})
		srv.Publish(Publish{Topic: "other", Retain: true, Payload: []byte("2")})
		p.want(Publish{Topic: "other", Retain: true, Payload: []byte("2")})
	})
	brokerTest(t, "shared", func(t *testing.T, srv *Server) {
		a, b := dial(t, srv), dial(t, srv)
		for id, p := range map[string]*peer{"a": a, "b": b} {
			p.connect(id)
			p.send(subscribe("$share/g/t/#", 0))
			p.want(granted(0))
		}
		srv.Publish(Publish{Topic: "t", Payload: []byte("1")})
		srv.Publish(Publish{Topic: "t/u", Payload: []byte("2")})
		a.want(Publish{Topic: "t", Payload: []byte("1")})
		b.want(Publish{Topic: "t/u", Payload: []byte("2")})
	})
	brokerTest(t, "aliases", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.send(Connect{ClientID: "a"})
		p.want(Connack{TopicAliasMaximum: Ptr[uint16](2)})
		p.send(subscribe("#", 0))
		p.want(granted(0))
		p.send(Publish{Topic: "t", TopicAlias: Ptr[uint16](2)}, Publish{TopicAlias: Ptr[uint16](2), Payload: []byte("x")})
		p.want(Publish{Topic: "t"})
		p.want(Publish{Topic: "t", Payload: []byte("x")})
	}, WithBroker(BrokerOptions{Connack: Connack{TopicAliasMaximum: Ptr[uint16](2)}}))
	brokerTest(t, "limits of the client", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.send(Connect{ClientID: "a", ReceiveMaximum: Ptr[uint16](1), MaximumPacketSizeBytes: Ptr[uint32](20)})
		p.want(Connack{})
		p.send(subscribe("#", 1))
		p.want(granted(1))
		srv.Publish(Publish{Topic: "t", QoS: 1, Payload: []byte("1")})
		srv.Publish(Publish{Topic: "t", QoS: 1, Payload: make([]byte, 100)})
		srv.Publish(Publish{Topic: "t", Payload: make([]byte, 100)})
		srv.Publish(Publish{Topic: "t", QoS: 1, Payload: []byte("2")})
		srv.Publish(Publish{Topic: "t", Payload: []byte("3")})
		p.want(Publish{Topic: "t", QoS: 1, PacketID: 1, Payload: []byte("1")})
		p.want(Publish{Topic: "t", Payload: []byte("3")})
		p.send(Puback{PacketID: 1})
		p.want(Publish{Topic: "t", QoS: 1, PacketID: 2, Payload: []byte("2")})
	})
}

func TestBroker_sessions(t *testing.T) {
	message := func(payload string) Publish { return Publish{Topic: "t", QoS: 2, Payload: []byte(payload)} }
	sent := func(payload string, id uint16, dup bool) Publish {
		return Publish{Topic: "t", QoS: 2, Payload: []byte(payload), PacketID: id, Duplicate: dup}
	}
	brokerTest(t, "resumed", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.resume("a", false)
		p.send(subscribe("t", 2))
		p.want(granted(2))
		srv.Publish(message("1"))
		srv.Publish(message("2"))
		p.want(sent("1", 1, false))
		p.want(sent("2", 2, false))
		p.send(Pubrec{PacketID: 1}, Publish{Topic: "up", QoS: 2, PacketID: 1})
		p.want(Pubrel{PacketID: 1})
		p.want(Pubrec{PacketID: 1})
		p.conn.Close()
		synctest.Wait()
		srv.Publish(message("3"))

		p = dial(t, srv)
		p.resume("a", true)
		p.want(Pubrel{PacketID: 1})
		p.want(sent("2", 2, true))
		p.want(sent("3", 3, false))
		p.send(Pubcomp{PacketID: 1}, Pubrec{PacketID: 2, ReasonCode: UnspecifiedError}, Pubrec{PacketID: 3}, Pubrel{PacketID: 1})
		p.want(Pubrel{PacketID: 3})
		p.want(Pubcomp{PacketID: 1})
		p.send(Pubcomp{PacketID: 3})
		p.leave()

		p = dial(t, srv)
		p.resume("a", true)
		p.leave()
		time.Sleep(101 * time.Second)
		p = dial(t, srv)
		p.resume("a", false)
		p.leave()
		srv.ForgetSessions()
		p = dial(t, srv)
		p.resume("a", false)
	})
	brokerTest(t, "taken over", func(t *testing.T, srv *Server) {
		p, q := dial(t, srv), dial(t, srv)
		p.resume("a", false)
		q.resume("a", true)
		p.want(Disconnect{ReasonCode: SessionTakenOver})
		p.wantErr(io.EOF)
		q.send(Pingreq{})
		q.want(Pingresp{})
	})
	brokerTest(t, "expired message", func(t *testing.T, srv *Server) {
		p := dial(t, srv)
		p.resume("a", false)
		p.send(subscribe("t", 1))
		p.want(granted(1))
		p.leave()
		srv.Publish(Publish{Topic: "t", QoS: 1, MessageExpirySeconds: Ptr[uint32](10)})
		srv.Publish(Publish{Topic: "t", QoS: 1, MessageExpirySeconds: Ptr[uint32](90)})
		time.Sleep(20 * time.Second)
		p = dial(t, srv)
		p.resume("a", true)
		p.want(Publish{Topic: "t", QoS: 1, PacketID: 1, MessageExpirySeconds: Ptr[uint32](70)})
	})
}

func TestBroker_will(t *testing.T) {
	connect := func(delay, expiry uint32) Connect {
		return Connect{ClientID: "a", SessionExpiryIntervalSeconds: Ptr(expiry), Will: &Will{Topic: "w", Payload: []byte("gone"), DelayIntervalSeconds: Ptr(delay)}}
	}
	for _, tc := range []struct {
		name  string
		delay uint32
		end   func(t *testing.T, srv *Server, p *peer)
		after time.Duration // negative when the will is not sent
	}{
		{"lost", 0, func(t *testing.T, _ *Server, p *peer) { p.conn.Close() }, 0},
		{"disconnected", 0, func(t *testing.T, _ *Server, p *peer) { p.leave() }, -1},
		{"disconnected with will", 0, func(t *testing.T, _ *Server, p *peer) { p.send(Disconnect{ReasonCode: DisconnectWithWillMessage}) }, 0},
		{"delayed", 30, func(t *testing.T, _ *Server, p *peer) { p.conn.Close() }, 30 * time.Second},
		{"session ends before", 1000, func(t *testing.T, _ *Server, p *peer) { p.conn.Close() }, 100 * time.Second},
		{"back in time", 30, func(t *testing.T, srv *Server, p *peer) {
			p.conn.Close()
			time.Sleep(time.Second)
			p = dial(t, srv)
			p.resume("a", true)
		}, -1},
		{"back with a clean start", 30, func(t *testing.T, srv *Server, p *peer) {
			p.conn.Close()
			time.Sleep(time.Second)
			p = dial(t, srv)
			p.connect("a")
		}, time.Second},
	} {
		brokerTest(t, tc.name, func(t *testing.T, srv *Server) {
			watch := dial(t, srv)
			watch.connect("watch")
			watch.send(subscribe("w", 0))
			watch.want(granted(0))
			p := dial(t, srv)
			p.send(connect(tc.delay, 100))
			p.want(Connack{})
			start := time.Now()
			tc.end(t, srv, p)
			watch.conn.SetReadDeadline(start.Add(time.Hour))
			got, err := watch.recv()
			if tc.after < 0 {
				if !isTimeout(err) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if d := Diff(Publish{Topic: "w", Payload: []byte("gone")}, got); d != "" || errors.Is(err, io.EOF) || time.Since(start) != tc.after {
				t.Errorf("got %v, %v after %v", got, err, time.Since(start))
			}
		})
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		filter, topic string
		want          bool
	}{
		{"a", "a", true}, {"a", "A", false}, {"a", "a/", false}, {"a/", "a", false}, {"a/b", "a", false}, {"a", "a/b", false},
		{"+", "a", true}, {"+", "/a", false}, {"/+", "/a", true}, {"+/+", "/a", true}, {"a/+", "a", false}, {"a/+", "a/", true},
		{"a/+/c", "a/b/c", true}, {"a/+/c", "a/b/d", false}, {"+/b/#", "a/b", true}, {"+/b/#", "a/b/c/d", true},
		{"#", "a/b", true}, {"#", "/", true}, {"a/#", "a", true}, {"a/#", "a/", true}, {"a/#", "ab", false},
		{"#", "$SYS", false}, {"+/a", "$SYS/a", false}, {"$SYS/#", "$SYS/a", true}, {"$SYS/+", "$SYS/a", true}, {"a/+", "a/$b", true},
	} {
		if got := matches(tc.filter, tc.topic); got != tc.want {
			t.Errorf("matches(%q, %q) = %v", tc.filter, tc.topic, got)
		}
	}
}
