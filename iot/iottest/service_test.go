// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// By the names that the core stands for, and by its own ports, DialContext finds it.
func TestDialContext(t *testing.T) {
	c := iottest.Start(t, plain)
	port := func(n int) string { return fmt.Sprint(n) }
	for _, tc := range []struct{ host, port, want string }{
		{c.Endpoint(), "443", c.Addr()}, {c.Endpoint(), "8443", c.Addr()}, {c.Endpoint(), port(c.Port()), c.Addr()},
		{c.Endpoint(), "8883", c.MTLSAddr()}, {c.Endpoint(), port(c.MTLSPort()), c.MTLSAddr()},
		{c.Endpoint(), "1883", c.TCPAddr()}, {c.Endpoint(), port(c.TCPPort()), c.TCPAddr()},
		{c.CredentialsEndpoint(), "443", c.Addr()}, {"sts.amazonaws.com", "443", c.Addr()}, {"cognito-identity." + c.Region() + ".amazonaws.com", "443", c.Addr()},
		{"127.0.0.1", port(c.TCPPort()), c.TCPAddr()},
	} {
		conn, err := c.DialContext(t.Context(), "tcp", net.JoinHostPort(tc.host, tc.port))
		if err != nil {
			t.Errorf("%s:%s: %v", tc.host, tc.port, err)
			continue
		}
		if got := conn.RemoteAddr().String(); got != tc.want {
			t.Errorf("%s:%s leads to %s, want %s", tc.host, tc.port, got, tc.want)
		}
		_ = conn.Close()
	}
	for _, address := range []string{c.Endpoint(), c.Endpoint() + ":22", net.JoinHostPort(iottest.Start(t).Endpoint(), "1883")} {
		core := c
		if strings.HasSuffix(address, ":1883") {
			core = iottest.Start(t) // without that port
			if core.TCPAddr() != "" || core.TCPPort() != 0 {
				t.Error("there is a port without TLS")
			}
		}
		if _, err := core.DialContext(t.Context(), "tcp", address); err == nil {
			t.Errorf("%s leads somewhere", address)
		}
	}
}

// A certificate of somebody else's can be registered, its state and policies
// changed, and be forgotten again.
func TestRegisterCertificate(t *testing.T) {
	c := iottest.Start(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "own"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	connect := func() (*rawClient, *frame) {
		t.Helper()
		cfg := c.TLSConfig(iottest.ALPNMQTTCA)
		cfg.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
		nc, err := tls.Dial("tcp", c.Addr(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		cl := newRaw(t, nc)
		cl.sendConnect(connectOptions{id: "own"})
		f, _ := cl.read()
		return cl, f
	}
	if _, f := connect(); f != nil {
		t.Error("connected before it was registered")
	}
	d, err := c.RegisterCertificate("own", cert)
	if err != nil {
		t.Fatal(err)
	}
	if d.PrivateKey() != nil || d.KeyPEM() != nil || d.KeyPKCS8PEM() != nil || d.X509() != cert || d.Name() != "own" {
		t.Errorf("the device has a key: %v", d)
	}
	cl, f := connect()
	if f == nil || f.codes[0] != 0 {
		t.Fatalf("CONNACK %+v", f)
	}
	d.SetStatus(iottest.Inactive)
	cl.expectDisconnect(iottest.NotAuthorized)
	if _, f := connect(); f != nil {
		t.Error("connected with an inactive certificate")
	}
	d.SetStatus(iottest.Active)
	if err := d.SetPolicies(iottest.DenyAllPolicy); err != nil {
		t.Fatal(err)
	}
	if _, f := connect(); f == nil || f.codes[0] != byte(iottest.NotAuthorized) {
		t.Errorf("CONNACK %+v", f)
	}
	if d.SetPolicies("{") == nil {
		t.Error("a policy that is none was taken")
	}
	d.Deregister()
	if _, f := connect(); f != nil {
		t.Error("connected after it was forgotten")
	}
	if _, err := c.RegisterCertificate("own", cert, iottest.WithPolicy("{")); err == nil {
		t.Error("a policy that is none was taken")
	}
}

// The key may be elsewhere, in a token for instance.
func TestWithPublicKey(t *testing.T) {
	c := iottest.Start(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := c.Device(t, "thing", iottest.WithPublicKey(key.Public()))
	files, err := d.WriteFiles(t.TempDir())
	if err != nil || files.Key != "" || d.PrivateKey() != nil {
		t.Errorf("a key was made: %+v, %v", files, err)
	}
	cfg := c.TLSConfig(iottest.ALPNMQTTCA)
	cfg.Certificates = []tls.Certificate{{Certificate: [][]byte{d.X509().Raw}, PrivateKey: key}}
	nc, err := tls.Dial("tcp", c.Addr(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	newRaw(t, nc).mustConnect(connectOptions{id: "thing"})
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := c.WriteCA(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != string(c.CAPEM()) {
		t.Errorf("got %s, %v", b, err)
	}
}

// DISCONNECT may end the session, and the core may.
func TestSession_ends(t *testing.T) {
	c := iottest.Start(t, plain)
	o := connectOptions{id: "a", resume: true, props: [][]byte{prop(pSessionExpiry, u32(600))}}
	cl := dialPlain(t, c)
	cl.mustConnect(o)
	cl.subscribe("t")
	cl.write(tDisconnect<<4, []byte{0, 5}, prop(pSessionExpiry, u32(0)))
	wait(t, c, iottest.Disconnected, "a")
	if f := dialPlain(t, c).mustConnect(o); f.present {
		t.Error("the session outlived the DISCONNECT that ended it")
	}

	cl = dialPlain(t, c)
	if f := cl.mustConnect(o); !f.present {
		t.Error("the session is not there")
	}
	if !c.EndSession("a") {
		t.Error("there was a session")
	}
	cl.expectDisconnect(iottest.AdministrativeAction)
	if f := dialPlain(t, c).mustConnect(o); f.present {
		t.Error("the session is there after its end")
	}
	if c.EndSession("nobody") {
		t.Error("there was no session")
	}
}

// MQTT 3.1.1 has its own words for refusals, and where it has none the connection ends.
func TestMQTT3_refusals(t *testing.T) {
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.Quotas.ConnectRate = 1 })
	dial := func() *rawClient {
		cl := dialPlain(t, c)
		cl.version = 4
		return cl
	}
	for _, tc := range []struct {
		test string
		o    connectOptions
		want byte
	}{
		{"$ id", connectOptions{id: "$x"}, 2},
		{"no id, but a session", connectOptions{resume: true}, 2},
		{"will with QoS 2", connectOptions{id: "w", will: "t", willFlags: 2 << 3}, 3},
	} {
		if f := dial().connect(tc.o); f.codes[0] != tc.want {
			t.Errorf("%s: CONNACK %d, want %d", tc.test, f.codes[0], tc.want)
		}
	}
	c.SetFaults(iottest.Faults{RefuseConnects: iottest.BadUserNameOrPassword, Times: 1})
	if f := dial().connect(connectOptions{id: "b"}); f.codes[0] != 4 {
		t.Errorf("bad password: CONNACK %d", f.codes[0])
	}
	cl := dial()
	cl.version = 6
	if f := cl.connect(connectOptions{id: "six"}); f.codes[0] != 1 && f.codes[0] != byte(iottest.UnsupportedProtocolVersion) {
		t.Errorf("version 6: CONNACK %#x", f.codes[0])
	}
	cl = dial()
	cl.mustConnect(connectOptions{id: "c"})
	c.Disconnect("c", iottest.AdministrativeAction)
	cl.expectEnd()
}

// Requests without an answer are dropped, and those that a fault refuses get its code.
func TestFault_dropAndRefuse(t *testing.T) {
	c := iottest.Start(t, plain)
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	cl.subscribe("t")
	if !c.Drop("a", true) || c.Drop("nobody", true) {
		t.Error("Drop tells wrongly who was connected")
	}
	cl.write(tPingreq << 4)
	cl.publish("t", "lost", 1, 1)
	wait(t, c, iottest.PublishRefused, "a")
	if err := c.Publish(iottest.Message{Topic: "t", Payload: []byte("from the service")}); err != nil {
		t.Fatal(err)
	}
	cl.expectMessage("t", "from the service")
	c.Drop("a", false)
	cl.publish("t", "heard", 1, 2)
	if f := cl.expect(tPuback); f.id != 2 {
		t.Errorf("PUBACK for %d", f.id)
	}
	cl.expectMessage("t", "heard")

	c.RefuseOperations("a", iottest.UnspecifiedError)
	expectPuback(t, cl, "t", iottest.UnspecifiedError)
	if got := cl.subscribe("x", "y"); string(got) != "\x80\x80" {
		t.Errorf("SUBACK %x", got)
	}
	c.RefuseOperations("a", iottest.Success)
	expectPuback(t, cl, "x", iottest.Success)
	c.RefuseOperations("a", iottest.QuotaExceeded)
	cl.publish("t", "", 0, 0)
	cl.expectDisconnect(iottest.QuotaExceeded)
}

// A will that is retained needs the permission for that.
func TestWill_retained(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing", iottest.WithPolicy(statement("Allow", "iot:Connect iot:Publish", "*")))
	const retain = 1 << 5
	if f := dialDevice(t, c, d).connect(connectOptions{id: "thing", will: "t", willFlags: retain}); f.codes[0] != byte(iottest.NotAuthorized) {
		t.Errorf("CONNACK %#x", f.codes[0])
	}
	dialDevice(t, c, d).mustConnect(connectOptions{id: "thing", will: "t"})
}

// Events can be printed, and have nothing secret.
func TestEvent_string(t *testing.T) {
	seen := make(chan string, 100)
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.OnEvent = func(e iottest.Event) { seen <- e.String() } })
	cl := dialPlain(t, c)
	cl.mustConnect(connectOptions{id: "a"})
	cl.subscribe("x/#")
	cl.publish("x/1", "hush", 1, 9)
	cl.expect(tPuback)
	c.Disconnect("a", iottest.ServerBusy)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, want := range []string{`Connected conn=1 client="a"`, `Subscribed conn=1 client="a" filter="x/#" id=77 reason="0x01"`,
		`Published conn=1 client="a" topic="x/1" qos=1 retain=false bytes=4 id=9`, `Delivered conn=1 client="a" topic="x/1" qos=1 retain=false bytes=4 id=1`,
		`Disconnected conn=1 client="a" reason="server busy (0x89)"`} {
		select {
		case got := <-seen:
			if !strings.HasPrefix(got, want) || strings.Contains(got, "hush") {
				t.Errorf("got %s, want %s", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("no %s", want)
		}
	}
	if got := iottest.EventType(99).String(); got != "EventType(99)" {
		t.Errorf("got %s", got)
	}
	for s, want := range map[iottest.CertificateStatus]string{iottest.Active: "ACTIVE", iottest.Inactive: "INACTIVE", iottest.Revoked: "REVOKED"} {
		if s.String() != want {
			t.Errorf("got %v, want %s", s, want)
		}
	}
}
