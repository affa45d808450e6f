// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func TestFault_cutAndReset(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing")
	for _, cut := range []func(string) bool{c.Cut, c.Reset, func(string) bool { return c.CutAll() == 1 }} {
		cl := dialDevice(t, c, d)
		cl.mustConnect(connectOptions{id: "thing"})
		if !cut("thing") {
			t.Error("not connected")
		}
		cl.expectEnd() // without DISCONNECT
		for len(c.Clients()) > 0 {
			if _, err := c.WaitFor(t.Context(), func(e iottest.Event) bool { return e.Type == iottest.Disconnected && len(c.Clients()) == 0 }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFault_cutMidPacket(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	cl.subscribe("t")
	c.CutAfter("a", 10)
	if err := c.Publish(iottest.Message{Topic: "t", Payload: []byte(strings.Repeat("x", 100))}); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(cl.r)
	if len(b) != 10 || b[0] != 0x30 {
		t.Errorf("the client got %x", b)
	}
}

func TestFault_freeze(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	cl.subscribe("t")
	c.Freeze("a")
	if err := c.Publish(iottest.Message{Topic: "t", Payload: []byte("p")}); err != nil {
		t.Fatal(err)
	}
	cl.write(tPingreq << 4)
	_ = cl.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := cl.read(); err == nil {
		t.Error("a frozen connection was heard")
	}
	_ = cl.nc.SetReadDeadline(time.Time{})
	c.Thaw("a")
	cl.expectMessage("t", "p")
	cl.expect(tPingresp)

	// The client id can be taken over from a frozen connection, and Close does
	// not hang on it.
	c.Freeze("a")
	dialPlain(t, c).mustConnect(connectOptions{id: "a"})
}

func TestFault_holdAcks(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	c.HoldAcks("a", true)
	cl.publish("t", "1", 1, 1)
	cl.sendSubscribe(2, nil, "t")
	cl.publish("t", "2", 1, 3)
	cl.write(tPingreq << 4)
	cl.expectMessage("t", "2") // the subscription is in force, though not acknowledged
	wait(t, c, iottest.Pinged, "a")
	c.HoldAcks("a", false)
	cl.expect(tPuback)
	cl.expect(tSuback)
	cl.expect(tPuback)
	cl.expect(tPingresp)
}

func TestFaults_ofNewConnections(t *testing.T) {
	c := iottest.Start(t, plain)
	d := c.Device(t, "thing")
	k := accessKey(t, c, iottest.AccessKeyOptions{})
	dial := func() *rawClient {
		t.Helper()
		return dialPlain(t, c)
	}

	c.SetFaults(iottest.Faults{ResetConnections: true, Times: 1})
	if nc, err := net.Dial("tcp", c.TCPAddr()); err == nil { // the reset may hit the dial already
		newRaw(t, nc).expectEnd()
	}

	c.SetFaults(iottest.Faults{SilentTCP: true, Times: 1})
	nc, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Millisecond))
	if err := tls.Client(nc, d.TLSConfig(iottest.ALPNMQTTCA)).Handshake(); !errors.As(err, new(net.Error)) {
		t.Errorf("handshake: %v", err)
	}

	c.SetFaults(iottest.Faults{DropConnects: true, Times: 1})
	cl := dial()
	cl.sendConnect(connectOptions{id: "dropped"})
	wait(t, c, iottest.ConnectRefused, "dropped")

	c.SetFaults(iottest.Faults{CutConnects: true, Times: 2})
	for range 2 {
		cl = dial()
		cl.sendConnect(connectOptions{id: "cut"})
		cl.expectEnd()
	}

	c.SetFaults(iottest.Faults{RefuseConnects: iottest.ServerBusy, ConnackDelay: time.Millisecond, Times: 1})
	if f := dial().connect(connectOptions{id: "busy"}); f.codes[0] != byte(iottest.ServerBusy) {
		t.Errorf("CONNACK %#x", f.codes[0])
	}

	c.SetFaults(iottest.Faults{UpgradeStatus: 503, Times: 1})
	if resp, _ := upgrade(t, c, upgradeOptions{query: signFor(c, k).query()}); resp.StatusCode != 503 {
		t.Errorf("status %d", resp.StatusCode)
	}

	c.SetFaults(iottest.Faults{HandshakeDelay: time.Millisecond, WriteDelay: time.Millisecond, Times: 1})
	dialDevice(t, c, d).mustConnect(connectOptions{id: "thing"})

	// All are used up.
	dial().mustConnect(connectOptions{id: "a"})
}

func TestClose_withConnectionsInAllStates(t *testing.T) {
	c := iottest.Start(t, plain)
	d := c.Device(t, "thing")
	c.SetFaults(iottest.Faults{SilentTCP: true, Times: 1})
	silent, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	tcp, err := net.Dial("tcp", c.TCPAddr()) // never sends CONNECT
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	web, err := tls.Dial("tcp", c.Addr(), c.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	frozen := dialDevice(t, c, d)
	frozen.mustConnect(connectOptions{id: "thing"})
	c.Freeze("thing")
	slow := dialPlain(t, c)
	slow.mustConnect(connectOptions{id: "slow"})
	c.Delay("slow", time.Hour)
	c.Disconnect("slow", iottest.AdministrativeAction)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
