// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

var update = flag.Bool("update", false, "write the golden files")

// listen serves each connection on a free port of this machine.
func listen(t *testing.T, serve func(net.Conn)) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				serve(conn)
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}

// answer waits for the first bytes of a client and sends text.
func answer(text string) func(net.Conn) {
	return func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, text)
		_, _ = conn.Read(buf) // until the client has read it
	}
}

// webServer answers in HTTP over TLS. It returns its port and a file with its CA.
func webServer(t *testing.T) (port, ca string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "a portal", http.StatusBadRequest)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return port, writeFile(t, "web.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// webServerWithoutALPN is one that does not look at application protocols, as
// portals and interceptors do.
func webServerWithoutALPN(t *testing.T) (port, ca string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	config := &tls.Config{Certificates: server.TLS.Certificates}
	port = listen(t, func(conn net.Conn) {
		answer("HTTP/1.1 400 Bad Request\r\nServer: portal\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")(tls.Server(conn, config))
	})
	return port, writeFile(t, "web.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// closingWebSocket is a server that accepts a WebSocket, and closes it when it
// has read the CONNECT, with a code and a text.
func closingWebSocket(t *testing.T, code uint16, text string) (port, ca string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	t.Cleanup(server.Close)
	config := &tls.Config{Certificates: server.TLS.Certificates}
	port = listen(t, func(raw net.Conn) {
		conn := tls.Server(raw, config)
		in := bufio.NewReader(conn)
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		accept := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
		_, _ = in.ReadByte()
		frame := append([]byte{0x88, byte(2 + len(text)), byte(code >> 8), byte(code)}, text...)
		_, _ = conn.Write(frame)
		_, _ = io.Copy(io.Discard, in)
	})
	return port, writeFile(t, "server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// replace changes the values of flags.
func replace(args []string, values ...string) []string {
	args = slices.Clone(args)
	for i := 0; i < len(values); i += 2 {
		if at := slices.Index(args, values[i]); at >= 0 {
			args[at+1] = values[i+1]
		} else {
			args = append(args, values[i], values[i+1])
		}
	}
	return args
}

func value(args []string, name string) string { return args[slices.Index(args, name)+1] }

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// proxied are the flags to connect through a proxy that answers so.
func proxied(t *testing.T, core *iottest.Core, response string) []string {
	return replace(target(t, core, "device"), "-proxy", "http://127.0.0.1:"+listen(t, answer(response)))
}

// setUp is a set-up of somebody whose connection does not work, or does.
type setUp struct {
	name   string
	status int
	args   func(t *testing.T, core *iottest.Core) (args, env []string)
}

func with(f func(t *testing.T, core *iottest.Core) []string) func(*testing.T, *iottest.Core) ([]string, []string) {
	return func(t *testing.T, core *iottest.Core) ([]string, []string) { return f(t, core), nil }
}

var setUps = []setUp{
	{"success", 0, with(func(t *testing.T, core *iottest.Core) []string {
		return append(target(t, core, "device"), "-take-over")
	})},
	{"client-id-of-a-device", 0, with(func(t *testing.T, core *iottest.Core) []string { return target(t, core, "device") })},
	{"policy-for-one-client-id", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return target(t, core, "device", iottest.WithPolicy(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"},
			{"Effect":"Deny","Action":"iot:Connect","Resource":"arn:aws:iot:us-east-1:123456789012:client/device-doctor"}]}`))
	})},
	{"web-server-on-the-port", 1, with(func(t *testing.T, core *iottest.Core) []string {
		port, ca := webServer(t)
		return replace(target(t, core, "device"), "-endpoint", "127.0.0.1", "-port", port, "-ca", ca)
	})},
	{"web-server-without-alpn", 1, with(func(t *testing.T, core *iottest.Core) []string {
		port, ca := webServerWithoutALPN(t)
		return replace(target(t, core, "device"), "-endpoint", "127.0.0.1", "-port", port, "-ca", ca)
	})},
	{"plain-mqtt-to-a-tls-port", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return []string{"-endpoint", "localhost", "-port", fmt.Sprint(core.Port()), "-plaintext"}
	})},
	{"tls-to-a-plain-port", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return replace(target(t, core, "device"), "-port", fmt.Sprint(core.TCPPort()))
	})},
	{"mqtt-3-broker", 1, with(func(t *testing.T, _ *iottest.Core) []string {
		return []string{"-endpoint", "localhost", "-port", listen(t, answer("\x20\x02\x00\x01")), "-plaintext"}
	})},
	{"proxy-without-credentials", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return proxied(t, core, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n")
	})},
	{"proxy-with-negotiate-only", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return proxied(t, core, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")
	})},
	{"proxy-that-redirects", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return proxied(t, core, "HTTP/1.1 302 Found\r\nLocation: http://portal.example/login?x=1\r\nContent-Length: 0\r\n\r\n")
	})},
	{"proxy-url-of-another-kind", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return replace(target(t, core, "device"), "-proxy", "ftp://127.0.0.1:3128")
	})},
	{"proxy-url-without-a-scheme", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return replace(target(t, core, "device"), "-proxy", "127.0.0.1:3128")
	})},
	{"websocket-closed-with-a-reason", 1, with(func(t *testing.T, _ *iottest.Core) []string {
		port, ca := closingWebSocket(t, 1001, "token of the session has expired")
		return []string{"-endpoint", "127.0.0.1", "-port", port, "-ca", ca, "-method", "websocket-custom-auth", "-username", "ali"}
	})},
	{"keep-alive-of-a-second", 0, with(func(t *testing.T, core *iottest.Core) []string {
		return append(target(t, core, "device"), "-keep-alive", "1s")
	})},
	{"silent-server", 1, with(func(t *testing.T, core *iottest.Core) []string {
		silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		return replace(target(t, core, "device"), "-port", silent, "-timeout", "2s")
	})},
	{"server-without-connack", 1, with(func(t *testing.T, core *iottest.Core) []string {
		silent := listen(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		return []string{"-endpoint", "localhost", "-port", silent, "-plaintext", "-timeout", "2s"}
	})},
	{"ca-is-a-private-key", 1, with(func(t *testing.T, core *iottest.Core) []string {
		args := target(t, core, "device")
		return replace(args, "-ca", value(args, "-key"))
	})},
	{"cert-is-a-ca", 1, with(func(t *testing.T, core *iottest.Core) []string {
		args := target(t, core, "device")
		return replace(args, "-cert", value(args, "-ca"))
	})},
	{"key-of-another-certificate", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return replace(target(t, core, "device"), "-key", value(target(t, core, "other"), "-key"))
	})},
	{"swapped-files", 1, with(func(t *testing.T, core *iottest.Core) []string {
		args := target(t, core, "device")
		return replace(args, "-cert", value(args, "-key"), "-key", value(args, "-cert"))
	})},
	{"missing-files", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return replace(target(t, core, "device"), "-cert", "/nope/device.crt", "-key", "/nope/device.key")
	})},
	{"damaged-intermediate", 1, with(func(t *testing.T, core *iottest.Core) []string {
		args := target(t, core, "device")
		cert, err := os.ReadFile(value(args, "-cert"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(cert)
		damaged := pem.EncodeToMemory(block)
		damaged = bytes.Replace(damaged, []byte("MII"), []byte("M!I"), 1)
		return replace(args, "-cert", writeFile(t, "chain.pem", append(cert, damaged...)))
	})},
	{"expired-certificate", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return target(t, core, "device", iottest.WithValidity(time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)))
	})},
	{"unknown-certificate", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return target(t, core, "device", iottest.Unregistered())
	})},
	{"no-ca", 1, with(func(t *testing.T, core *iottest.Core) []string {
		args := target(t, core, "device")
		at := slices.Index(args, "-ca")
		return slices.Delete(args, at, at+2)
	})},
	{"wrong-endpoint", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return replace(target(t, core, "device"), "-endpoint", "https://localhost:8883/mqtt")
	})},
	{"nobody-listens", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return replace(target(t, core, "device"), "-port", listenAndClose(t))
	})},
	{"policy-without-connect", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return append(target(t, core, "device", iottest.WithPolicy(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:Publish","Resource":"*"}]}`)), "-take-over")
	})},
	{"authorizer-refuses", 1, with(func(t *testing.T, core *iottest.Core) []string {
		if err := core.AddAuthorizer(iottest.Authorizer{Name: "gate", SigningDisabled: true, Handler: nobody}); err != nil {
			t.Fatal(err)
		}
		ca := value(target(t, core, "device"), "-ca")
		return append(reach(core, ca), "-authorizer", "gate", "-username", "ali", "-password", "hush")
	})},
	{"access-key-with-line-break", 1, func(t *testing.T, core *iottest.Core) ([]string, []string) {
		key, err := core.CreateAccessKey(iottest.AccessKeyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ca := value(target(t, core, "device"), "-ca")
		return append(reach(core, ca), "-method", "sigv4", "-region", core.Region()),
			[]string{"AWS_ACCESS_KEY_ID=" + key.AccessKeyID + "\n", "AWS_SECRET_ACCESS_KEY=" + key.SecretAccessKey, "AWS_SESSION_TOKEN=" + key.SessionToken}
	}},
	{"no-credentials", 1, with(func(t *testing.T, core *iottest.Core) []string {
		return append(reach(core, value(target(t, core, "device"), "-ca")), "-method", "sigv4", "-region", core.Region())
	})},
	{"no-region", 1, func(t *testing.T, core *iottest.Core) ([]string, []string) {
		return append(reach(core, value(target(t, core, "device"), "-ca")), "-method", "sigv4"), []string{"AWS_ACCESS_KEY_ID=AKIA", "AWS_SECRET_ACCESS_KEY=hush"}
	}},
}

func nobody(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
	return &iottest.AuthorizerResponse{}, nil
}

// listenAndClose is a port where nobody listens any more.
func listenAndClose(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// What the doctor says in each set-up is in a golden file, for people to read.
func TestDoctor(t *testing.T) {
	for _, s := range setUps {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
			args, env := s.args(t, core)
			out, errs, status := runWith(t, environment(env...), "", append([]string{"doctor"}, args...)...)
			if status != s.status {
				t.Errorf("status %d, want %d; %s", status, s.status, errs)
			}
			got := stable(out)
			for _, api := range regexp.MustCompile(`\bWith[A-Z]\w+|CAFile|CAPEM|AddSystemCAs|constructor|hush`).FindAllString(out, -1) {
				t.Errorf("it says %s, which is no flag", api)
			}
			golden := filepath.Join("testdata", "doctor", s.name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// stable replaces what differs from run to run. Line ends may move with it, so
// that wrapped lines are joined first.
func stable(text string) string {
	text = regexp.MustCompile(`\n {21,}(\S)`).ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(strings.TrimSpace(s), "→") {
			return s
		}
		return " " + strings.TrimSpace(s)
	})
	for _, r := range []struct{ pattern, with string }{
		{`(localhost|127\.0\.0\.1|\[::1\]):\d+`, "$1:PORT"},
		{`a[0-9a-z]{13}-ats\.iot`, "PREFIX-ats.iot"},
		{` \([0-9.]+(µs|ms|s)\)`, " (TIME)"},
		{`\d{4}-\d\d-\d\d(T[0-9:.]+Z)?`, "DATE"},
		{regexp.QuoteMeta(os.TempDir()) + `/\S*/`, "DIR/"},
		{`relative to \S+`, "relative to DIR"},
		{`awsiot-[0-9a-f]{12}`, "awsiot-RANDOM"},
		{`CN=[^",]+`, "CN=NAME"},
		{`TLS_[A-Z0-9_]+`, "SUITE"},
		{`[0-9a-f]{40,}`, "HEX"},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

// The report for machines has what the page has.
func TestDoctor_json(t *testing.T) {
	core := iottest.Start(t)
	args := target(t, core, "device")
	out, _, status := run(t, "", append([]string{"doctor", "-json"}, replace(args, "-ca", value(args, "-key"))...)...)
	var report struct {
		OK     bool
		Checks []struct{ Step, Status, Detail, Hint string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	if status != 1 || report.OK || report.Checks[0].Status != "failed" || report.Checks[0].Hint == "" {
		t.Errorf("status %d, %+v", status, report)
	}
}

// The doctor does not end the connection of a running device without
// -take-over.
func TestDoctor_runningDevice(t *testing.T) {
	core := iottest.Start(t)
	args := target(t, core, "device")
	s := start(t, append([]string{"sub", "a/#"}, args...)...)
	s.next(s.errs, "subscribed to a/#")
	connections := func() (n int) {
		for _, e := range core.Events() {
			if e.Type == iottest.Connected && e.ClientID == "device" {
				n++
			}
		}
		return n
	}
	if out, errs, status := run(t, "", append([]string{"doctor"}, args...)...); status != 0 || !strings.Contains(out, "examined as device-doctor") {
		t.Errorf("status %d, %s%s", status, out, errs)
	}
	if n := connections(); n != 1 {
		t.Errorf("the device has connected %d times", n)
	}
	if _, _, status := run(t, "", append([]string{"doctor", "-take-over"}, args...)...); status > 1 {
		t.Errorf("status %d", status)
	}
	s.next(s.errs, "connection lost")
	s.end()
}
