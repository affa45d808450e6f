// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"
)

// Expect waits for the next packet, which has to be a T for which none of the
// matchers returns an error, and returns it. Anything else fails the test and
// ends the script.
//
//	p := mqtttest.Expect(c, mqtttest.QoS(1), mqtttest.Topic("a/b"))
func Expect[T Packet](c *Conn, match ...func(T) error) T {
	c.server.tb.Helper()
	want := fmt.Sprintf("%v", wantedType[T]())
	p := c.expect(want)
	t, ok := p.(T)
	if !ok {
		c.Fatalf("expected %s, got %s", want, Describe(p))
	}
	for _, m := range match {
		if err := m(t); err != nil {
			c.Fatalf("%w in %s", err, Describe(p))
		}
	}
	return t
}

func wantedType[T Packet]() string {
	typ := reflect.TypeFor[T]()
	if typ.Kind() == reflect.Struct {
		var zero T
		return zero.PacketType().String()
	}
	return "a packet"
}

// expect returns the next packet or ends the script.
func (c *Conn) expect(want string) Packet {
	c.server.tb.Helper()
	p, err := c.receive(c.limit())
	switch {
	case err == nil:
	case errors.Is(err, errCut):
		runtime.Goexit()
	case errors.Is(err, ErrServerClosed):
		c.Fatalf("the test ended while the script expected %s: %w", want, err)
	default:
		c.Fatalf("expected %s: %w", want, err)
	}
	return p
}

// ExpectPacket waits for a packet that equals want in every field; see [Diff].
func (c *Conn) ExpectPacket(want Packet) {
	c.server.tb.Helper()
	got := c.expect(Describe(want))
	if diff := Diff(want, got); diff != "" {
		c.Fatalf("unexpected packet:\n%s", diff)
	}
}

// ExpectAny waits for the next packet, whatever it is.
func (c *Conn) ExpectAny() Packet {
	c.server.tb.Helper()
	return c.expect("a packet")
}

// ExpectConnect waits for a CONNECT.
func (c *Conn) ExpectConnect(match ...func(Connect) error) Connect {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectPublish waits for a PUBLISH.
func (c *Conn) ExpectPublish(match ...func(Publish) error) Publish {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectPuback waits for a PUBACK.
func (c *Conn) ExpectPuback(match ...func(Puback) error) Puback {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectPubrec waits for a PUBREC.
func (c *Conn) ExpectPubrec(match ...func(Pubrec) error) Pubrec {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectPubrel waits for a PUBREL.
func (c *Conn) ExpectPubrel(match ...func(Pubrel) error) Pubrel {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectPubcomp waits for a PUBCOMP.
func (c *Conn) ExpectPubcomp(match ...func(Pubcomp) error) Pubcomp {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectSubscribe waits for a SUBSCRIBE.
func (c *Conn) ExpectSubscribe(match ...func(Subscribe) error) Subscribe {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectUnsubscribe waits for an UNSUBSCRIBE.
func (c *Conn) ExpectUnsubscribe(match ...func(Unsubscribe) error) Unsubscribe {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectPingreq waits for a PINGREQ.
func (c *Conn) ExpectPingreq() {
	c.server.tb.Helper()
	Expect[Pingreq](c)
}

// ExpectAuth waits for an AUTH.
func (c *Conn) ExpectAuth(match ...func(Auth) error) Auth {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectDisconnect waits for a DISCONNECT.
func (c *Conn) ExpectDisconnect(match ...func(Disconnect) error) Disconnect {
	c.server.tb.Helper()
	return Expect(c, match...)
}

// ExpectDisconnectWith waits for a DISCONNECT with the reason code, and then
// for the client to close.
func (c *Conn) ExpectDisconnectWith(code ReasonCode) Disconnect {
	c.server.tb.Helper()
	d := c.ExpectDisconnect()
	if d.ReasonCode != code {
		c.Fatalf("expected a DISCONNECT with %v, got %s", code, Describe(d))
	}
	c.ExpectClosed()
	return d
}

// ExpectClosed waits for the client to close or reset the connection, without
// sending anything more.
func (c *Conn) ExpectClosed() {
	c.server.tb.Helper()
	p, err := c.receive(c.limit())
	var v *Violation
	switch {
	case err == nil:
		c.Fatalf("expected the client to close, got %s", Describe(p))
	case errors.Is(err, errCut):
		runtime.Goexit()
	case errors.As(err, &v):
		c.Fatalf("expected the client to close: %w", err)
	case errors.Is(err, ErrServerClosed):
		c.Fatalf("the test ended while the script expected the client to close: %w", err)
	case isTimeout(err):
		c.Fatalf("expected the client to close, which it has not done after %v", c.limit())
	}
}

// ExpectSilence demands that for d the client neither sends a byte nor closes.
func (c *Conn) ExpectSilence(d time.Duration) {
	c.server.tb.Helper()
	p, err := c.receive(d)
	switch {
	case err == nil:
		c.Fatalf("expected silence, got %s", Describe(p))
	case errors.Is(err, errCut):
		runtime.Goexit()
	case !isTimeout(err):
		c.Fatalf("expected silence: %w", err)
	case len(c.partial) > 0:
		c.Fatalf("expected silence, got % x", c.partial)
	}
}

// Accept waits for a CONNECT and answers it with ack, a plain success when there is none.
func (c *Conn) Accept(ack ...Connack) Connect {
	c.server.tb.Helper()
	con := c.ExpectConnect()
	if len(ack) == 0 {
		ack = []Connack{{}}
		if con.ClientID == "" {
			ack[0].AssignedClientID = Ptr(fmt.Sprintf("assigned-%d", c.number))
		}
		ack[0].AuthenticationMethod = con.AuthenticationMethod
	}
	c.Send(ack[0])
	return con
}

// Topic matches a PUBLISH with the topic.
func Topic(topic string) func(Publish) error {
	return func(p Publish) error {
		if p.Topic != topic {
			return fmt.Errorf("want topic %q", topic)
		}
		return nil
	}
}

// QoS matches a PUBLISH with the quality of service.
func QoS(qos byte) func(Publish) error {
	return func(p Publish) error {
		if p.QoS != qos {
			return fmt.Errorf("want QoS %d", qos)
		}
		return nil
	}
}

// Payload matches a PUBLISH with the payload.
func Payload(payload string) func(Publish) error {
	return func(p Publish) error {
		if string(p.Payload) != payload {
			return fmt.Errorf("want payload %q", payload)
		}
		return nil
	}
}

// Resent matches a PUBLISH with DUP set.
func Resent(p Publish) error {
	if !p.Duplicate {
		return errors.New("want DUP")
	}
	return nil
}
