// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// mosquitto is a running mosquitto with a listener for each transport.
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

	const attempts = 3 // another process may take a free port before mosquitto does
	var err error
	for range attempts {
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
		if err = m.run(t, path, dir); err == nil {
			return m
		}
	}
	t.Fatalf("mosquitto does not start: %v", err)
	return nil
}

func (m *mosquitto) run(t *testing.T, path, dir string) error {
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
	listeners := []struct {
		address *string
		lines   []string
	}{
		{&m.tcp, nil},
		{&m.tls, secure},
		{&m.mtls, append([]string{"require_certificate true"}, secure...)},
		{&m.ws, []string{"protocol websockets"}},
		{&m.wss, append([]string{"protocol websockets"}, secure...)},
	}
	for _, l := range listeners {
		port, err := freePort()
		if err != nil {
			return err
		}
		*l.address = fmt.Sprintf("127.0.0.1:%d", port)
		config = append(config, fmt.Sprintf("listener %d 127.0.0.1", port))
		config = append(config, l.lines...)
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		return err
	}

	var log output
	cmd := exec.Command(path, "-c", file)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	stop := func() {
		_ = cmd.Process.Kill()
		<-exited
	}
	for _, l := range listeners {
		if err := answers(*l.address, exited); err != nil {
			stop()
			return fmt.Errorf("%w\n%s", err, log.String())
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("log of mosquitto:\n%s", log.String())
		}
	})
	return nil
}

// answers waits until a program accepts connections.
func answers(address string, exited <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-exited:
			return errors.New("the program ended")
		case <-deadline:
			return err
		case <-tick.C:
		}
	}
}

// tool finds a program, also where the PATH of a user does not lead.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" || os.Getenv("SDK_TEST_REQUIRE_TOOLS") != "" {
		t.Fatalf("the program %s is not installed", name)
	}
	t.Skipf("NOT TESTED: the program %s is not installed", name)
	return ""
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// output is what a program writes, bounded.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() < 1<<20 {
		o.buf.Write(p)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
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
