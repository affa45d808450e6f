// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// The tables say what becomes of every call (the columns) that is made in every
// state, when each thing that a network can do happens next (the rows). Events
// of the same consequences share a row. The columns that begin with "Late" are
// calls after the event. A call that waits is given two minutes.
//
//	ok      no error                        off     ErrOfflinePolicy
//	stop    ErrStopRequested                closed  ErrClosed
//	lost    ErrConnectionLost               gone    ErrSessionLost
//	acks    ErrAckTimeout                   late    the two minutes were over
//	none    ErrNotConnected                 stale   ErrAckStale
//
// An operation's error that matches ErrNotSent has a "-", one that matches
// ErrOutcomeUnknown a "?". The column cause is what the lifecycle event says of
// the end of the attempt or connection, "-" if that does not end by itself:
//
//	hangup    ErrHangup                     transport  TransportError
//	protocol  ProtocolError                 refused    ErrConnectionRefused
//	ping      ErrPingTimeout                connack    ErrConnackTimeout
//	dial      DialError                     connect    ErrConnectTimeout
//	said      ErrDisconnectReceived         stop       ErrStopRequested

// tableOfCalls is the part for the calls that start, stop and wait.
const tableOfCalls = `
state         cause     Start  Stop   StopWith StopNow Close Wait   Look events
stopped       -         ok     ok     ok       ok      ok    late   ok   nothing
dialing       connect   ok     ok     ok       ok      ok    ok     ok   nothing
dialing       dial      ok     ok     ok       ok      ok    ok     ok   dial-fails
dialing       -         ok     ok     ok       ok      ok    ok     ok   connection-opens
handshake     hangup    ok     ok     ok       ok      ok    ok     ok   close,half-close
handshake     transport ok     ok     ok       ok      ok    ok     ok   reset
handshake     protocol  ok     ok     ok       ok      ok    ok     ok   DISCONNECT,garbage,CONNACK-session-present,PUBLISH,PINGRESP,unknown-acks
handshake     -         ok     ok     ok       ok      ok    ok     ok   CONNACK
handshake     refused   ok     ok     ok       ok      ok    ok     ok   CONNACK-refusal
handshake     connack   ok     ok     ok       ok      ok    ok     ok   AUTH,wrong-ack,answer,silence,nothing
connected     hangup    ok     ok     ok       ok      ok    ok     ok   close,half-close
connected     transport ok     ok     ok       ok      ok    ok     ok   reset
connected     said      ok     ok     ok       ok      ok    ok     ok   DISCONNECT
connected     protocol  ok     ok     ok       ok      ok    ok     ok   garbage,CONNACK,CONNACK-refusal,CONNACK-session-present,AUTH
connected     -         ok     ok     ok       ok      ok    ok     ok   PUBLISH,PINGRESP,unknown-acks,nothing,wrong-ack,answer
connected     ping      ok     ok     ok       ok      ok    ok     ok   silence
draining      hangup    ok     ok     ok       ok      ok    ok     ok   close,half-close
draining      transport ok     ok     ok       ok      ok    ok     ok   reset
draining      said      ok     ok     ok       ok      ok    ok     ok   DISCONNECT
draining      protocol  ok     ok     ok       ok      ok    ok     ok   garbage,CONNACK,CONNACK-refusal,CONNACK-session-present,wrong-ack,AUTH
draining      stop      ok     ok     ok       ok      ok    ok     ok   PUBLISH,PINGRESP,unknown-acks,nothing,answer
draining      ping      ok     ok     ok       ok      ok    ok     ok   silence
disconnecting -         ok     ok     ok       ok      ok    late   ok   close,half-close,reset,DISCONNECT,garbage,CONNACK,CONNACK-refusal
disconnecting -         ok     ok     ok       ok      ok    late   ok   CONNACK-session-present,PUBLISH,PINGRESP,AUTH,unknown-acks,wrong-ack,answer
disconnecting -         ok     ok     ok       ok      ok    late   ok   silence,nothing
waiting       -         ok     ok     ok       ok      ok    ok     ok   nothing
closed        -         closed closed closed   closed  ok    closed ok   nothing
`

// tableOfOperations is the part for operations.
const tableOfOperations = `
state         Pub0    Pub1    Pub2    Async0  Async1  Async2  Sub     Unsub   LatePub0 LatePub1 events
stopped       off-    late-   late-   off-    late    late    late-   late-   off-     late-    nothing
dialing       off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       nothing,dial-fails
dialing       off-    ok      ok      off-    ok      ok      ok      ok      ok       ok       connection-opens
handshake     off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       close,half-close,reset,DISCONNECT,garbage
handshake     off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       CONNACK-session-present,PUBLISH,PINGRESP,unknown-acks
handshake     off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       CONNACK-refusal,AUTH,wrong-ack,answer,silence,nothing
handshake     off-    acks?   acks?   off-    acks?   acks?   acks?   acks?   ok       acks?    CONNACK
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      off-     ok       close,half-close,reset,DISCONNECT,garbage,CONNACK
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      off-     ok       CONNACK-refusal,CONNACK-session-present,AUTH
connected     ok      acks?   acks?   ok      acks?   acks?   acks?   acks?   ok       acks?    PUBLISH,PINGRESP,unknown-acks,nothing
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      ok       acks?    wrong-ack
connected     ok      ok      ok      ok      ok      ok      ok      ok      ok       ok       answer
connected     ok      ok      gone?   ok      ok      gone?   ok      ok      ok       ok       silence
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    close,half-close,reset,DISCONNECT,garbage,CONNACK
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    CONNACK-refusal,CONNACK-session-present,wrong-ack,AUTH
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    answer
draining      stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    PUBLISH,PINGRESP,unknown-acks,nothing,silence
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   off-     late-    close,half-close,reset
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    DISCONNECT,garbage,CONNACK,CONNACK-refusal
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    CONNACK-session-present,PUBLISH,PINGRESP,AUTH
disconnecting stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-   stop-    stop-    unknown-acks,wrong-ack,answer,silence,nothing
waiting       off-    ok      ok      off-    ok      ok      ok      ok      off-     ok       nothing
closed        closed- closed- closed- closed- closed- closed- closed- closed- closed-  closed-  nothing
`

// tableOfAcknowledgements is the part for acknowledgements, and authentication.
const tableOfAcknowledgements = `
state         Reauth         Accept Reject LateAccept events
stopped       none           stale  stale  stale      nothing
dialing       none           stale  stale  stale      nothing,dial-fails,connection-opens
handshake     none           stale  stale  stale      close,half-close,reset,DISCONNECT,garbage,CONNACK-session-present,PUBLISH,PINGRESP,unknown-acks
handshake     none           stale  stale  stale      CONNACK,CONNACK-refusal,AUTH,wrong-ack,answer,silence,nothing
connected     lost:hangup    ok     ok     stale      close,half-close
connected     lost:transport ok     ok     stale      reset
connected     lost:said      ok     ok     stale      DISCONNECT
connected     lost:protocol  ok     ok     stale      garbage,CONNACK,CONNACK-refusal,CONNACK-session-present
connected     lost:auth      ok     ok     stale      AUTH
connected     lost:auth      ok     ok     ok         PUBLISH,PINGRESP,unknown-acks,nothing,wrong-ack
connected     ok             ok     ok     ok         answer
connected     lost:ping      ok     ok     ok         silence
draining      lost:hangup    ok     ok     stale      close,half-close
draining      lost:transport ok     ok     stale      reset
draining      lost:said      ok     ok     stale      DISCONNECT
draining      lost:protocol  ok     ok     stale      garbage,CONNACK,CONNACK-refusal,CONNACK-session-present,wrong-ack
draining      lost:auth      ok     ok     stale      AUTH
draining      lost:auth      ok     ok     ok         PUBLISH,PINGRESP,unknown-acks,nothing
draining      stop           ok     ok     stale      answer
draining      lost:ping      ok     ok     ok         silence
disconnecting none           stale  stale  stale      close,half-close,reset,DISCONNECT,garbage,CONNACK,CONNACK-refusal,CONNACK-session-present
disconnecting none           stale  stale  stale      PUBLISH,PINGRESP,AUTH,unknown-acks,wrong-ack,answer,silence,nothing
waiting       none           stale  stale  stale      nothing
closed        none           stale  stale  stale      nothing
`

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

// verdict is an error as the table writes it: a lost connection with its cause,
// and whether an operation was sent.
func verdict(err error) string {
	s := cause(err)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, mqtt5.ErrConnectionLost):
		return "lost:" + s
	case errors.Is(err, mqtt5.ErrNotSent):
		return s + "-"
	case errors.Is(err, mqtt5.ErrOutcomeUnknown):
		return s + "?"
	}
	return s
}

func cause(err error) string {
	var transport *mqtt5.TransportError
	var protocol *mqtt5.ProtocolError
	var dial *mqtt5.DialError
	switch {
	case errors.As(err, &transport):
		return "transport"
	case errors.As(err, &protocol):
		return "protocol"
	case errors.As(err, &dial) && errors.Is(err, errProof):
		return "dial"
	}
	for _, v := range []struct {
		s   string
		err error
	}{
		{"off", mqtt5.ErrOfflinePolicy}, {"stop", mqtt5.ErrStopRequested}, {"closed", mqtt5.ErrClosed},
		{"gone", mqtt5.ErrSessionLost}, {"acks", mqtt5.ErrAckTimeout}, {"none", mqtt5.ErrNotConnected},
		{"stale", mqtt5.ErrAckStale}, {"said", mqtt5.ErrDisconnectReceived}, {"hangup", mqtt5.ErrHangup}, {"refused", mqtt5.ErrConnectionRefused},
		{"ping", mqtt5.ErrPingTimeout}, {"connack", mqtt5.ErrConnackTimeout}, {"connect", mqtt5.ErrConnectTimeout}, {"auth", mqtt5.ErrAuthentication}, {"late", context.DeadlineExceeded},
	} {
		if errors.Is(err, v.err) {
			return v.s
		}
	}
	return strings.ReplaceAll(fmt.Sprint(err), " ", "_")
}

// TestEverything goes through the tables.
func TestEverything(t *testing.T) {
	covered := map[string]int{}
	calls := 0
	for _, table := range []string{tableOfCalls, tableOfOperations, tableOfAcknowledgements} {
		lines := strings.Split(strings.Trim(table, "\n"), "\n")
		columns := strings.Fields(lines[0])
		for _, column := range columns {
			if slices.ContainsFunc(deeds, func(d deed) bool { return d.name == column }) {
				calls++
			}
		}
		for _, line := range lines[1:] {
			cells := strings.Fields(line)
			if len(cells) != len(columns) {
				t.Fatalf("%d cells in %q", len(cells), line)
			}
			state, events := cells[0], strings.Split(cells[len(cells)-1], ",")
			for _, event := range events {
				covered[state+" "+event]++
				checkRow(t, state, event, columns, cells)
			}
		}
	}
	if calls != len(deeds) {
		t.Errorf("%d of %d calls are in the tables", calls, len(deeds))
	}
	// Every state has its row, and with a connection one for every event.
	for _, stage := range stages {
		for event := range happenings {
			dial := event == "dial-fails" || event == "connection-opens"
			possible := event == "nothing"
			switch stage.name {
			case "dialing":
				possible = possible || dial
			case "handshake", "connected", "draining", "disconnecting":
				possible = !dial
			}
			if n := covered[stage.name+" "+event]; possible && n != 3 || !possible && n != 0 {
				t.Errorf("%s %s: in %d tables, possible %v", stage.name, event, n, possible)
			}
		}
	}
}

// checkRow makes the calls of a row.
func checkRow(t *testing.T, state, event string, columns, cells []string) {
	t.Helper()
	for i, column := range columns {
		at := slices.IndexFunc(deeds, func(d deed) bool { return d.name == column })
		if at < 0 {
			continue
		}
		bubble(t, state+"/"+event+"/"+column, func(t *testing.T) {
			result, cause := perform(t, state, event, deeds[at])
			if result != cells[i] {
				t.Errorf("%s, want %s", result, cells[i])
			}
			if column == "Look" && cause != cells[1] { // it disturbs nothing
				t.Errorf("the cause is %s, want %s", cause, cells[1])
			}
		})
	}
}

// perform is one cell of a table.
func perform(t *testing.T, state, event string, call deed) (result, cause string) {
	at := slices.IndexFunc(stages, func(s struct {
		name  string
		state mqtt5.State
		reach func(t *testing.T) *stage
	}) bool {
		return s.name == state
	})
	s := stages[at].reach(t)
	synctest.Wait()
	if got := s.State(); got != stages[at].state {
		t.Fatalf("state %v, want %v", got, stages[at].state)
	}
	failures, losses := len(s.failures), len(s.losses)
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Minute)
	defer cancel()
	happen := func() {
		happenings[event](s)
		synctest.Wait()
	}
	if call.after {
		happen()
	}
	begun := time.Now()
	made := s.do(func() error { return call.do(ctx, s) })
	if !call.after {
		happen()
	}
	err := made.wait()
	if took := time.Since(begun); took > 2*time.Minute {
		t.Errorf("took %v", took)
	}
	// Whatever it was, the client comes to rest, and leaves nothing behind.
	time.Sleep(5 * time.Minute)
	final := mqtt5.StateConnected
	switch {
	case state == "closed" || call.name == "Close":
		final = mqtt5.StateClosed
	case strings.HasPrefix(call.name, "Stop") || call.name != "Start" && slices.Contains([]string{"stopped", "draining", "disconnecting"}, state):
		final = mqtt5.StateStopped
	}
	if got := s.State(); got != final {
		t.Errorf("after five minutes %v, want %v", got, final)
	}
	cause = "-"
	if len(s.failures) > failures {
		cause = verdict(s.failures[failures].Err)
	} else if len(s.losses) > losses {
		cause = verdict(s.losses[losses].Err)
	}
	if err := s.Stop(s.ctx, nil); err != nil && !errors.Is(err, mqtt5.ErrClosed) {
		t.Errorf("stop: %v", err)
	}
	want(t, "close", s.Close(), nil)
	synctest.Wait()
	if st := s.Stats(); st.IncompleteOperations != 0 || st.IncompleteOperationBytes != 0 || st.QueuedOperations != 0 || st.UnackedOperations != 0 {
		t.Errorf("left over: %+v", st)
	}
	return verdict(err), cause
}
