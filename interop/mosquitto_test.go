// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// mosquitto is a running mosquitto with a listener for each transport; that of
// WebSockets is before it.
type mosquitto struct {
	broker
	authority               *authority
	client                  identity
	tcp, tls, mtls, ws, wss string // addresses
}

// startMosquitto runs mosquitto until the end of the test.
func startMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	path := tool(t, "mosquitto")
	a := newAuthority(t)
	dir := t.TempDir()
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id := a.issue(t, "localhost")
	write("ca.pem", a.pem)
	write("cert.pem", id.cert)
	write("key.pem", id.key)
	passwords := filepath.Join(dir, "passwords")
	if out, err := exec.Command(tool(t, "mosquitto_passwd"), "-c", "-b", passwords, "user", "right").CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_passwd: %v\n%s", err, out)
	}

	m := &mosquitto{authority: a, client: a.issue(t, "device"), broker: broker{
		name:            "mosquitto",
		qos2:            true,
		shared:          true,
		subscriptionIDs: true,
		retainedToWild:  true,
		willOnRequest:   true,
		refuse: func(o *mqtt5.ClientOptions) {
			o.Connect.Username, o.Connect.Password = mqtt5.Ptr("user"), []byte("wrong")
		},
		refusedWith: []mqtt5.ConnectReasonCode{mqtt5.ConnectNotAuthorized, mqtt5.ConnectBadUsernameOrPassword},
	}}
	var running *program
	startProgram(t, "mosquitto", func() (p *program, err error) {
		running, err = m.configure(path, dir)
		return running, err
	})
	wantLoopback(t, running.pid)
	m.ws = webSocketFront(t, func() string { return m.tcp }, nil)
	m.wss = webSocketFront(t, func() string { return m.tcp }, &id)
	return m
}

// configure writes a configuration with free ports.
func (m *mosquitto) configure(path, dir string) (*program, error) {
	config := []string{
		"allow_anonymous true",
		"password_file " + filepath.Join(dir, "passwords"),
		"persistence false",
		"set_tcp_nodelay true",
		"max_queued_messages 0", // no limit: none may get lost
		"log_dest stderr",
		"log_type error", "log_type warning", "log_type notice",
	}
	if os.Geteuid() == 0 {
		config = append(config, "user root") // to read the keys
	}
	secure := []string{
		"cafile " + filepath.Join(dir, "ca.pem"),
		"certfile " + filepath.Join(dir, "cert.pem"),
		"keyfile " + filepath.Join(dir, "key.pem"),
	}
	var addresses []string
	for _, l := range []struct {
		address *string
		lines   []string
	}{
		{&m.tcp, nil},
		{&m.tls, secure},
		{&m.mtls, append([]string{"require_certificate true"}, secure...)},
	} {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		*l.address = fmt.Sprintf("127.0.0.1:%d", port)
		addresses = append(addresses, *l.address)
		config = append(config, fmt.Sprintf("listener %d 127.0.0.1", port))
		config = append(config, l.lines...)
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	return &program{path: path, arguments: []string{"-c", file}, addresses: addresses}, nil
}

func (m *mosquitto) secure(name string, below layer) *route {
	return &route{name: name, address: m.mtls, layers: stack(below, tlsLayer(m.authority.pem, &m.client))}
}

func (m *mosquitto) websocket(name string, below layer) *route {
	return &route{name: name, address: m.ws, layers: stack(below, wsLayer(websocket.Options{}))}
}

func TestMosquitto(t *testing.T) {
	m := startMosquitto(t)
	runSuite(t, &m.broker, []*route{
		{name: "tcp", address: m.tcp},
		{name: "tls", address: m.tls, layers: tlsLayer(m.authority.pem, nil)},
		m.secure("mtls", nil),
		m.websocket("ws", nil),
		{name: "wss", address: m.wss, layers: wssLayer(m.authority.pem, websocket.Options{})},
	})
}
