// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// stage is a client in one of the states, and the server that it is connected
// to, if it is.
type stage struct {
	*device
	srv   *mqtttest.Server
	conn  *mqtttest.Conn // what the network events happen to; nil without a connection
	ack   *mqtt5.Ack     // of a message of the first connection
	dials chan error     // in state dialing: what the dial comes to

	mu      sync.Mutex
	answers bool // the server answers requests
	mute    bool // it does not even answer pings
	got     []mqtttest.Packet
}

// answer is what a server says to a packet; nil: nothing.
func answer(p mqtttest.Packet) mqtttest.Packet {
	switch p := p.(type) {
	case mqtttest.Publish:
		switch p.QoS {
		case 1:
			return mqtttest.Puback{PacketID: p.PacketID}
		case 2:
			return mqtttest.Pubrec{PacketID: p.PacketID}
		}
	case mqtttest.Pubrel:
		return mqtttest.Pubcomp{PacketID: p.PacketID}
	case mqtttest.Subscribe:
		return mqtttest.Suback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}}
	case mqtttest.Unsubscribe:
		return mqtttest.Unsuback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}}
	case mqtttest.Auth:
		return auth(mqtttest.Success, "")
	}
	return nil
}

// mistake is an acknowledgement of the wrong type, or of nothing.
func mistake(p mqtttest.Packet) mqtttest.Packet {
	switch p := p.(type) {
	case mqtttest.Publish:
		switch p.QoS {
		case 1:
			return mqtttest.Pubrec{PacketID: p.PacketID}
		case 2:
			return mqtttest.Puback{PacketID: p.PacketID}
		}
	case mqtttest.Subscribe:
		return mqtttest.Unsuback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}}
	case mqtttest.Unsubscribe:
		return mqtttest.Suback{PacketID: p.PacketID, ReasonCodes: []mqtttest.ReasonCode{0}}
	}
	return nil
}

// play reads what the client sends on the connection that the test is about.
func (s *stage) play(c *mqtttest.Conn) {
	for {
		p, err := c.Receive()
		if err != nil {
			return
		}
		s.mu.Lock()
		var reply mqtttest.Packet
		if _, ping := p.(mqtttest.Pingreq); ping && !s.mute {
			reply = mqtttest.Pingresp{}
		} else if s.answers {
			reply = answer(p)
		} else {
			s.got = append(s.got, p)
		}
		s.mu.Unlock()
		if reply != nil && c.TrySend(reply) != nil {
			return
		}
	}
}

// replies sends what f makes of each packet that was not answered.
func (s *stage) replies(f func(mqtttest.Packet) mqtttest.Packet) {
	s.mu.Lock()
	got := slices.Clone(s.got)
	s.mu.Unlock()
	for _, p := range got {
		if reply := f(p); reply != nil {
			s.conn.TrySend(reply)
		}
	}
}

// newStage makes a client that had a connection, and got a message on it that
// is not acknowledged yet. script goes on with that connection.
func newStage(t *testing.T, script func(s *stage, c *mqtttest.Conn), change func(*mqtt5.ClientOptions), server ...mqtttest.Option) *stage {
	t.Helper()
	s := new(stage)
	// All connections but the first are those of a broker that knows AUTH.
	s.srv = mqtttest.NewServer(t, append(server, mqtttest.Intercept(func(c *mqtttest.Conn, p mqtttest.Packet) bool {
		switch p := p.(type) {
		case mqtttest.Connect:
			c.TrySend(mqtttest.Connack{AuthenticationMethod: p.AuthenticationMethod})
			c.Serve()
			return true
		case mqtttest.Auth:
			c.TrySend(answer(p))
			return true
		}
		return false
	}))...)
	s.srv.Script(func(c *mqtttest.Conn) {
		c.Accept(mqtttest.Connack{AuthenticationMethod: str("M")})
		c.Send(raw(1, 1, "late"))
		script(s, c)
	})
	acks := make(chan *mqtt5.Ack, 1)
	s.device = connected(t, s.srv, func(o *mqtt5.ClientOptions) {
		o.Authenticator = scripted{}
		o.Connect.KeepAliveSeconds = mqtt5.Ptr[uint16](10)
		o.OnMessage = func(_ context.Context, m mqtt5.Message) {
			if m.Topic == "late" {
				ack, _ := m.TakeAck()
				acks <- ack
			}
		}
		if change != nil {
			change(o)
		}
	})
	s.ack = <-acks
	return s
}

// stay keeps a connection.
func stay(s *stage, c *mqtttest.Conn) {
	s.conn = c
	s.play(c)
}

// lose ends a connection after a second.
func lose(_ *stage, c *mqtttest.Conn) {
	c.Sleep(time.Second)
	c.Reset()
}

var stages = []struct {
	name  string
	state mqtt5.State
	reach func(t *testing.T) *stage
}{

	{"stopped", mqtt5.StateStopped, func(t *testing.T) *stage {
		s := newStage(t, func(_ *stage, c *mqtttest.Conn) { c.Drain() }, nil)
		s.Stop(gone(), nil)
		return s
	}},
	{"dialing", mqtt5.StateConnecting, func(t *testing.T) *stage {
		dials := make(chan error, 1)
		s := newStage(t, lose, func(o *mqtt5.ClientOptions) {
			dial, n := o.Dial, 0
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if n++; n == 2 {
					select {
					case err := <-dials:
						if err != nil {
							return nil, err
						}
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				return dial(ctx, network, address)
			}
		})
		s.dials = dials
		time.Sleep(2*time.Second + time.Millisecond)
		return s
	}},
	{"handshake", mqtt5.StateConnecting, func(t *testing.T) *stage {
		s := newStage(t, lose, nil)
		s.srv.Script(func(c *mqtttest.Conn) {
			c.ExpectConnect()
			stay(s, c)
		})
		time.Sleep(2*time.Second + time.Millisecond)
		return s
	}},
	{"connected", mqtt5.StateConnected, func(t *testing.T) *stage { return newStage(t, stay, nil) }},
	{"draining", mqtt5.StateConnected, func(t *testing.T) *stage {
		s := newStage(t, stay, nil)
		s.publish(s.ctx, message(1, "a", "not acknowledged"))
		s.do(func() error { return s.Stop(s.ctx, nil) })
		return s
	}},
	{"disconnecting", mqtt5.StateDisconnecting, func(t *testing.T) *stage {
		s := newStage(t, func(s *stage, c *mqtttest.Conn) {
			s.conn = c
			c.Hang()
		}, nil, mqtttest.BufferSize(1000))
		s.publish(s.ctx, message(0, "a", strings.Repeat("x", 2000))) // the write is stuck
		s.do(func() error { return s.Stop(gone(), nil) })
		return s
	}},
	{"waiting", mqtt5.StateWaiting, func(t *testing.T) *stage {
		s := newStage(t, lose, nil)
		time.Sleep(time.Second + time.Millisecond)
		return s
	}},
	{"closed", mqtt5.StateClosed, func(t *testing.T) *stage {
		s := newStage(t, func(_ *stage, c *mqtttest.Conn) { c.Drain() }, nil)
		want(t, "close", s.Close(), nil)
		return s
	}},
}

// happenings are what the network, and time, can do.
var happenings = map[string]func(s *stage){
	"nothing":                 func(*stage) {},
	"dial-fails":              func(s *stage) { s.dials <- errProof },
	"connection-opens":        func(s *stage) { s.dials <- nil },
	"close":                   func(s *stage) { s.conn.Close() },
	"half-close":              func(s *stage) { s.conn.CloseWrite() },
	"reset":                   func(s *stage) { s.conn.Reset() },
	"DISCONNECT":              func(s *stage) { s.conn.TrySend(mqtttest.Disconnect{ReasonCode: mqtttest.ServerBusy}) },
	"garbage":                 func(s *stage) { s.conn.TrySend(mqtttest.Raw{0, 0, 0}) },
	"CONNACK":                 func(s *stage) { s.conn.TrySend(mqtttest.Connack{AuthenticationMethod: str("M")}) },
	"CONNACK-refusal":         func(s *stage) { s.conn.TrySend(mqtttest.Connack{ReasonCode: mqtttest.ServerBusy}) },
	"CONNACK-session-present": func(s *stage) { s.conn.TrySend(mqtttest.Connack{SessionPresent: true, AuthenticationMethod: str("M")}) },
	"PUBLISH":                 func(s *stage) { s.conn.TrySend(raw(1, 2, "in")) },
	"PINGRESP":                func(s *stage) { s.conn.TrySend(mqtttest.Pingresp{}) },
	"AUTH":                    func(s *stage) { s.conn.TrySend(auth(mqtttest.ContinueAuthentication, "x")) },
	"unknown-acks": func(s *stage) {
		s.conn.TrySend(mqtttest.Puback{PacketID: 999}, mqtttest.Pubcomp{PacketID: 999}, mqtttest.Suback{PacketID: 999, ReasonCodes: []mqtttest.ReasonCode{0}})
	},
	"wrong-ack": func(s *stage) { s.replies(mistake) },
	"answer": func(s *stage) {
		s.mu.Lock()
		s.answers = true
		s.mu.Unlock()
		s.replies(answer)
	},
	"silence": func(s *stage) {
		s.mu.Lock()
		s.mute = true
		s.mu.Unlock()
	},
}

// deed is a call of the client.
type deed struct {
	name  string
	after bool // is made after what happens
	do    func(ctx context.Context, s *stage) error
}

var deeds = []deed{
	{"Start", false, func(_ context.Context, s *stage) error { return s.Start() }},
	{"Stop", false, func(ctx context.Context, s *stage) error { return s.Stop(ctx, nil) }},
	{"StopWith", false, func(ctx context.Context, s *stage) error {
		return s.Stop(ctx, &mqtt5.DisconnectPacket{ReasonCode: mqtt5.DisconnectWithWillMessage})
	}},
	{"StopNow", false, func(_ context.Context, s *stage) error {
		if err := s.Stop(gone(), nil); !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}},
	{"Close", false, func(_ context.Context, s *stage) error { return s.Close() }},
	{"Pub0", false, func(ctx context.Context, s *stage) error { return publishing("a", 1, 0)(s.within(ctx)) }},
	{"Pub1", false, func(ctx context.Context, s *stage) error { return publishing("a", 1, 1)(s.within(ctx)) }},
	{"Pub2", false, func(ctx context.Context, s *stage) error { return publishing("a", 1, 2)(s.within(ctx)) }},
	{"Async0", false, func(ctx context.Context, s *stage) error { return s.publishAsync(ctx, 0) }},
	{"Async1", false, func(ctx context.Context, s *stage) error { return s.publishAsync(ctx, 1) }},
	{"Async2", false, func(ctx context.Context, s *stage) error { return s.publishAsync(ctx, 2) }},
	{"Sub", false, func(ctx context.Context, s *stage) error { return subscribing(nil, 0, "a")(s.within(ctx)) }},
	{"Unsub", false, func(ctx context.Context, s *stage) error {
		_, err := s.Unsubscribe(ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"a"}})
		return err
	}},
	{"Reauth", false, func(ctx context.Context, s *stage) error { return s.Reauthenticate(ctx) }},
	{"Wait", false, func(ctx context.Context, s *stage) error { return s.WaitConnected(ctx) }},
	{"Accept", false, func(_ context.Context, s *stage) error { return s.ack.Accept() }},
	{"Reject", false, func(_ context.Context, s *stage) error { return s.ack.Reject(mqtt5.PubackQuotaExceeded, "no") }},
	{"LateAccept", true, func(_ context.Context, s *stage) error { return s.ack.Accept() }},
	{"LatePub0", true, func(ctx context.Context, s *stage) error { return publishing("a", 1, 0)(s.within(ctx)) }},
	{"LatePub1", true, func(ctx context.Context, s *stage) error { return publishing("a", 1, 1)(s.within(ctx)) }},
	{"Look", false, func(_ context.Context, s *stage) error { // what never fails
		s.State()
		s.Stats()
		s.Settings()
		remove, err := s.Handle("b", func(context.Context, mqtt5.Message) {})
		if err == nil {
			remove()
		}
		return err
	}},
}

// within returns the device with another context for its operations.
func (s *stage) within(ctx context.Context) *device {
	return &device{Client: s.Client, t: s.t, ctx: ctx}
}

func (s *stage) publishAsync(ctx context.Context, qos mqtt5.QoS) error {
	done := make(chan error, 1)
	s.PublishAsync(message(qos, "a", "x"), func(_ *mqtt5.PublishResult, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
