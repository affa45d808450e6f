// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// A session ends when it is due, without a call of Advance, and a shared
// subscription goes on with those that are left.
func TestSessionExpiry(t *testing.T) {
	c := iottest.Start(t, plain)
	for id, seconds := range map[string]int{"expires": 1, "stays": 600} {
		cl := dialPlain(t, c)
		cl.mustConnect(connectOptions{id: id, props: expiry(seconds)})
		cl.subscribe("$share/g/a")
		cl.write(tDisconnect << 4)
		wait(t, c, iottest.Disconnected, id)
	}
	wait(t, c, iottest.SessionExpired, "expires")
	if _, ok := c.Session("expires"); ok {
		t.Error("the session is there after its end")
	}
	for i := range 10 {
		if err := c.Publish(iottest.Message{Topic: "a", QoS: 1, Payload: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "stays", resume: true, props: expiry(600)})
	for i := range 10 {
		cl.expectMessage("a", fmt.Sprint(i))
	}
}

// A session that is resumed does not end with the time of the connection before.
func TestSessionExpiry_resumed(t *testing.T) {
	c := iottest.Start(t, plain)
	for range 3 {
		cl := dialPlain(t, c)
		cl.mustConnect(connectOptions{id: "a", resume: true, props: expiry(60)})
		c.Advance(40 * time.Second)
		cl.ping()
		cl.write(tDisconnect << 4)
		for {
			if info, ok := c.Session("a"); !ok {
				t.Fatal("the session ended while it was in use")
			} else if !info.Connected {
				break
			}
		}
		c.Advance(40 * time.Second)
	}
	c.Advance(40 * time.Second)
	if _, ok := c.Session("a"); ok {
		t.Error("the session is there after its end")
	}
}

// What waits for a client that does not read is bounded, and others do not notice.
func TestSlowReader(t *testing.T) {
	c := iottest.Start(t, plain)
	slow, fast := dialPlain(t, c), dialPlain(t, c)
	slow.mustConnect(connectOptions{id: "slow"})
	slow.subscribe("big")
	fast.mustConnect(connectOptions{id: "fast"})
	payload := make([]byte, 100<<10)
	for range 400 { // what the system buffers is far less than 40 MB
		if err := c.Publish(iottest.Message{Topic: "big", Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	if e := wait(t, c, iottest.Dropped, "slow"); e.Err == nil || e.Message.Topic != "big" {
		t.Errorf("dropped: %v", e)
	}
	fast.ping()
	if _, ok := c.Clients()["slow"]; !ok {
		t.Error("the slow client was cut off")
	}
	for {
		slow.expect(tPublish)
		if err := c.Publish(iottest.Message{Topic: "big", QoS: 0, Payload: []byte("small")}); err != nil {
			t.Fatal(err)
		}
		if slow.r.Buffered() == 0 {
			break
		}
	}
	slow.write(tPingreq << 4)
	for {
		f, err := slow.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.kind == tPingresp {
			return
		}
	}
}

// MQTT on the HTTPS port without ALPN, and what is no CONNECT elsewhere, is
// refused at once, with an event that says why.
func TestWrongProtocolOnPort(t *testing.T) {
	c := iottest.Start(t, plain)
	d := c.Device(t, "d")
	connect := "\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00"
	request := "GET /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, tc := range []struct {
		name, addr, alpn, send, want string
		typ                          iottest.EventType
	}{
		{"MQTT without ALPN", c.Addr(), "", connect, "MQTT without ALPN", iottest.RequestRefused},
		{"MQTT with ALPN of HTTP", c.Addr(), "http/1.1", connect, "MQTT without ALPN", iottest.RequestRefused},
		{"garbage without ALPN", c.Addr(), "", "\x00\x01", "neither HTTP nor MQTT", iottest.RequestRefused},
		{"HTTP on 8883", c.MTLSAddr(), "", request, "HTTP request on a port for MQTT", iottest.ConnectRefused},
		{"HTTP with ALPN of MQTT", c.Addr(), iottest.ALPNMQTTCA, request, "HTTP request on a port for MQTT", iottest.ConnectRefused},
		{"PINGREQ first", c.MTLSAddr(), "", "\xC0\x00", "no CONNECT", iottest.ConnectRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var alpn []string
			if tc.alpn != "" {
				alpn = []string{tc.alpn}
			}
			nc, err := tls.Dial("tcp", tc.addr, d.TLSConfig(alpn...))
			if err != nil {
				t.Fatal(err)
			}
			cl := newRaw(t, nc)
			if _, err := nc.Write([]byte(tc.send)); err != nil {
				t.Fatal(err)
			}
			cl.expectEnd()
			_, err = c.WaitFor(t.Context(), func(e iottest.Event) bool {
				return e.Type == tc.typ && e.Err != nil && strings.Contains(e.Err.Error(), tc.want)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
