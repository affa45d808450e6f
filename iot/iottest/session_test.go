// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A message that comes after writing to a connection has failed, and before the
// core has noticed that the connection is lost, is one of the session.
func TestSession_keepsWhatTheConnectionDoesNotTake(t *testing.T) {
	for name, lose := range map[string]func(*client){
		"write failed": func(cl *client) { cl.writeFailed(errors.New("test")); cl.out.cond.Signal() },
		"does not read": func(cl *client) {
			cl.out.mu.Lock()
			defer cl.out.mu.Unlock()
			cl.out.buf.Write(make([]byte, hardMax))
		},
		"packet too large": func(cl *client) { cl.maxPacket = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			c := Start(t, func(o *Options) { o.PlainTCP = true })
			connectSession(t, c)
			c.mu.Lock()
			lose(c.sessions["s"].client)
			for i := range 3 {
				c.route(&Message{Topic: "t", Payload: fmt.Append(nil, i), QoS: 1}, nil)
			}
			c.mu.Unlock()
			dropped := 0
			for _, e := range c.Events() {
				if e.Type == Dropped {
					dropped++
				}
			}
			if name == "packet too large" {
				if s, _ := c.Session("s"); dropped != 3 || s.Queued+s.Unacked+s.Bytes != 0 {
					t.Fatalf("%d dropped, session %+v", dropped, s)
				}
				return
			}
			if dropped > 0 {
				t.Errorf("%d messages dropped", dropped)
			}
			br := connectSession(t, c)
			for i := range 3 {
				pk := nextPacket(t, br, packets.Publish)
				if string(pk.Payload) != fmt.Sprint(i) {
					t.Errorf("message %d is %q", i, pk.Payload)
				}
			}
		})
	}
}

// connectSession connects client id s by MQTT 3.1.1, with a subscription to t.
func connectSession(t *testing.T, c *Core) *bufio.Reader {
	t.Helper()
	nc, err := net.Dial("tcp", c.TCPAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute)) // against hanging tests only
	br := bufio.NewReader(nc)
	var buf bytes.Buffer
	con := packet(packets.Connect)
	con.ProtocolVersion = 4
	con.Connect = packets.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "s"}
	sub := packet(packets.Subscribe)
	sub.FixedHeader.Qos, sub.PacketID, sub.ProtocolVersion = 1, 1, 4
	sub.Filters = packets.Subscriptions{{Filter: "t", Qos: 1}}
	for _, err := range []error{con.ConnectEncode(&buf), sub.SubscribeEncode(&buf)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nc.Write(buf.Bytes()); err != nil {
		t.Fatal(err)
	}
	nextPacket(t, br, packets.Connack)
	if s, _ := c.Session("s"); s.Queued+s.Unacked == 0 {
		nextPacket(t, br, packets.Suback)
	}
	return br
}

func nextPacket(t *testing.T, br *bufio.Reader, kind byte) packets.Packet {
	t.Helper()
	for {
		first, err := br.ReadByte()
		if err != nil {
			t.Fatal(err)
		}
		var pk packets.Packet
		if err := pk.FixedHeader.Decode(first); err != nil {
			t.Fatal(err)
		}
		n, _, err := packets.DecodeLength(br)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, n)
		for i := range body {
			if body[i], err = br.ReadByte(); err != nil {
				t.Fatal(err)
			}
		}
		if pk.FixedHeader.Type != kind {
			continue
		}
		if kind == packets.Publish {
			pk.ProtocolVersion = 4
			if err := pk.PublishDecode(body); err != nil {
				t.Fatal(err)
			}
		}
		return pk
	}
}
