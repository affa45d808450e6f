// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// restart closes a core and starts one with the same folder.
func restart(t *testing.T, c *iottest.Core, dir string) *iottest.Core {
	t.Helper()
	if c != nil {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return iottest.Start(t, plain, func(o *iottest.Options) { o.Dir = dir })
}

func TestDir_remembers(t *testing.T) {
	dir := t.TempDir()
	c := restart(t, nil, dir)
	endpoint, ca := c.Endpoint(), c.CAPEM()
	d := c.Device(t, "d", iottest.WithPolicy(statement("Allow", "iot:*", "client/* topic/* topicfilter/*")), iottest.WithThing(iottest.Thing{Type: "lamp"}))
	gone := c.Device(t, "gone")
	gone.Deregister()
	key, err := c.CreateAccessKey(iottest.AccessKeyOptions{Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.TokenKey("tokens")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []iottest.Message{{Topic: "kept", Payload: []byte("state"), Retain: true}, {Topic: "deleted", Payload: []byte("x"), Retain: true}, {Topic: "deleted", Retain: true}} {
		if err := c.Publish(m); err != nil {
			t.Fatal(err)
		}
	}
	cl := dialDevice(t, c, d)
	cl.mustConnect(connectOptions{id: "d", props: expiry(3600)})
	cl.subscribe("t/+", "$share/g/s", "old")
	cl.write(10<<4|2, u16(5), cl.properties(), str("old"))
	cl.expect(tUnsuback)
	for i := range 5 {
		if err := c.Publish(iottest.Message{Topic: "t/1", QoS: 1, Payload: fmt.Append(nil, i), UserProperties: []iottest.UserProperty{{Name: "n", Value: "v"}}}); err != nil {
			t.Fatal(err)
		}
	}
	cl.expectMessage("t/1", "0") // acknowledged
	wait(t, c, iottest.Acknowledged, "d")
	cl.expect(tPublish) // not acknowledged
	clean := dialPlain(t, c)
	clean.mustConnect(connectOptions{id: "clean"})
	clean.subscribe("t/+")

	c = restart(t, c, dir)
	if err := c.Publish(iottest.Message{Topic: "s", QoS: 1, Payload: []byte("after the restart")}); err != nil {
		t.Fatal(err)
	}
	c = restart(t, c, dir)
	if c.Endpoint() != endpoint || !bytes.Equal(c.CAPEM(), ca) {
		t.Error("another endpoint or CA")
	}
	if m := c.Retained("kept"); m == nil || string(m.Payload) != "state" || c.Retained("deleted") != nil {
		t.Errorf("retained: %v %v", m, c.Retained("deleted"))
	}
	if _, ok := c.Session("clean"); ok {
		t.Error("a session without expiry is there")
	}
	info, ok := c.Session("d")
	if !ok || strings.Join(info.Subscriptions, " ") != "$share/g/s t/+" || info.Queued != 5 {
		t.Errorf("session: %+v", info)
	}
	if again, err := c.TokenKey("tokens"); err != nil || !again.Equal(token) {
		t.Errorf("another token key, %v", err)
	}
	if !connects(t, c, key.AccessKeyID, key.SecretAccessKey, key.SessionToken) {
		t.Error("the access key is gone")
	}
	cl = dialDevice(t, c, d)
	if f := cl.mustConnect(connectOptions{id: "d", resume: true, props: expiry(3600)}); !f.present {
		t.Error("the session was not resumed")
	}
	for i := 1; i < 5; i++ {
		if f := cl.expectMessage("t/1", fmt.Sprint(i)); string(f.props[pUser]) != "n=v;" {
			t.Errorf("user properties %q", f.props[pUser])
		}
	}
	cl.expectMessage("s", "after the restart")
	expectPuback(t, cl, "allowed", iottest.Success)
	if _, err := tls.Dial("tcp", c.MTLSAddr(), gone.TLSConfig()); err == nil {
		// With TLS 1.3 the client learns of the refusal from the first read.
		wait(t, c, iottest.HandshakeFailed, "")
	}
}

// Without a goodbye, as after a kill, everything that was committed is there.
func TestDir_sessionExpiresWhileDown(t *testing.T) {
	dir := t.TempDir()
	c := restart(t, nil, dir)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a", props: expiry(1)})
	cl.subscribe("t")
	cl.write(tDisconnect << 4)
	wait(t, c, iottest.Disconnected, "a")
	c = restart(t, c, dir)
	wait(t, c, iottest.SessionExpired, "a")
	c = restart(t, c, dir)
	if _, ok := c.Session("a"); ok {
		t.Error("the session came back")
	}
}

func TestDir_inUse(t *testing.T) {
	dir := t.TempDir()
	restart(t, nil, dir)
	if c, err := iottest.New(iottest.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second core: %v %v", c, err)
	}
	if _, err := iottest.New(iottest.Options{Dir: os.DevNull + "/x"}); err == nil {
		t.Error("a folder that cannot be made")
	}
}

func TestPort_taken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := t.TempDir()
	_, err = iottest.New(iottest.Options{MTLSAddr: ln.Addr().String(), Dir: dir})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "stands for 8883") {
		t.Errorf("%v", err)
	}
	restart(t, nil, dir) // nothing of the failed start is left
}

// A test simulates the restart of a server.
func TestStopListening(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	addr := c.TCPAddr()
	c.StopListening()
	if nc, err := net.Dial("tcp", addr); err == nil {
		_ = nc.Close()
		t.Error("the port is open")
	}
	cl.ping()
	c.CutAll()
	cl.expectEnd()
	for range 2 {
		if err := c.Listen(); err != nil {
			t.Fatal(err)
		}
	}
	if c.TCPAddr() != addr {
		t.Errorf("listens on %s, was %s", c.TCPAddr(), addr)
	}
	dialPlain(t, c).mustConnect(connectOptions{id: "a"})
	dialDevice(t, c, c.Device(t, "d")).mustConnect(connectOptions{id: "d"})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err == nil {
		t.Error("a closed core listens")
	}
}

// The server's certificate may come from a CA of the user.
func TestOptions_CA(t *testing.T) {
	other := iottest.Start(t)
	ca := rootOf(t)
	c := iottest.Start(t, func(o *iottest.Options) { o.CA = ca })
	d := c.Device(t, "d")
	dialDevice(t, c, d).mustConnect(connectOptions{id: "d"})
	if block := c.CAPEM(); !bytes.Contains(block, []byte("CERTIFICATE")) || bytes.Equal(block, other.CAPEM()) {
		t.Error("not the CA that was given")
	}
	leaf := d.TLSCertificate()
	if _, err := iottest.New(iottest.Options{CA: leaf}); err == nil {
		t.Error("a certificate that is no authority was taken")
	}
}

// rootOf makes a certificate authority.
func rootOf(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "my CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
