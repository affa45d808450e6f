// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
)

const (
	secret = "p@ss:wörd-ZEBRA"
	ok200  = "HTTP/1.1 200 Connection established\r\n\r\n"
)

// script serves one connection of a proxy that plays a part.
type script func(conn net.Conn, br *bufio.Reader)

// scripted is a dial function whose connections are served by the scripts in
// turn. It fails the test when a connection leaks.
type scripted struct {
	t       *testing.T
	scripts []script
	dialed  []string
	clients []*trackedConn
}

type trackedConn struct {
	net.Conn
	closed atomic.Bool
}

func (c *trackedConn) Close() error { c.closed.Store(true); return c.Conn.Close() }

func (s *scripted) dial(_ context.Context, _, address string) (net.Conn, error) {
	s.dialed = append(s.dialed, address)
	if len(s.scripts) == 0 {
		return nil, errors.New("unexpected dial")
	}
	next := s.scripts[0]
	s.scripts = s.scripts[1:]
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		next(server, bufio.NewReader(server))
	}()
	c := &trackedConn{Conn: client}
	s.clients = append(s.clients, c)
	return c, nil
}

// request reads a request up to its blank line.
func request(br *bufio.Reader) (*http.Request, error) { return http.ReadRequest(br) }

// answer replies to each request with the next text, then waits for the end.
func answer(texts ...string) script {
	return func(conn net.Conn, br *bufio.Reader) {
		for _, text := range texts {
			if _, err := request(br); err != nil {
				return
			}
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, br)
	}
}

// answerAndClose replies and closes.
func answerAndClose(text string) script {
	return func(conn net.Conn, br *bufio.Reader) {
		if _, err := request(br); err == nil {
			_, _ = io.WriteString(conn, text)
		}
	}
}

func newDialer(t *testing.T, o proxy.Options) *proxy.Dialer {
	t.Helper()
	d, err := proxy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func proxyError(t *testing.T, err error) *proxy.Error {
	t.Helper()
	var pe *proxy.Error
	if !errors.As(err, &pe) {
		t.Fatalf("error %v (%T) is not a *proxy.Error", err, err)
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", pe)} {
		if strings.Contains(text, "ZEBRA") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("user:"+secret))) {
			t.Errorf("error tells the password: %s", text)
		}
	}
	return pe
}

func TestConnect_hostileProxy(t *testing.T) {
	const unauthorized = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x, Digest\"\r\n" +
		"Content-Length: 5\r\n\r\nsorry"
	auth := proxy.Options{Username: "user", Password: secret}
	tests := []struct {
		name    string
		scripts []script
		options proxy.Options
		is      error
		stage   proxy.Step
		status  int
		reason  string
		dials   int
	}{
		{name: "closes at once", scripts: []script{func(net.Conn, *bufio.Reader) {}}, is: proxy.ErrClosed},
		{name: "closes after the request", scripts: []script{answerAndClose("")}, is: proxy.ErrClosed},
		{name: "closes in the status line", scripts: []script{answerAndClose("HTTP/1.1 20")}, is: proxy.ErrClosed},
		{name: "closes in the header", scripts: []script{answerAndClose("HTTP/1.1 200 OK\r\nVia: x\r\n")}, is: io.ErrUnexpectedEOF},
		{name: "stalls", scripts: []script{answer("")}, is: context.DeadlineExceeded},
		{name: "stalls in the status line", scripts: []script{answer("HTTP/1.1")}, is: os.ErrDeadlineExceeded},
		{name: "never reads", scripts: []script{func(c net.Conn, _ *bufio.Reader) { _, _ = c.Write([]byte("H")) }}, is: context.DeadlineExceeded},
		{name: "garbage", scripts: []script{answer("\x16\x03\x01\x02\x00garbage\r\n")}, is: proxy.ErrMalformedResponse},
		{name: "SSH banner", scripts: []script{answer("SSH-2.0-OpenSSH_9.2\r\n")}, is: proxy.ErrMalformedResponse},
		{name: "HTTP/2", scripts: []script{answer("HTTP/2 200\r\n\r\n")}, is: proxy.ErrMalformedResponse},
		{name: "ICY", scripts: []script{answer("ICY 200 OK\r\n\r\n")}, is: proxy.ErrMalformedResponse},
		{name: "status not a number", scripts: []script{answer("HTTP/1.1 2OO OK\r\n\r\n")}, is: proxy.ErrMalformedResponse},
		{name: "status of four digits", scripts: []script{answer("HTTP/1.1 2000 OK\r\n\r\n")}, is: proxy.ErrMalformedResponse},
		{name: "status signed", scripts: []script{answer("HTTP/1.1 +20 OK\r\n\r\n")}, is: proxy.ErrMalformedResponse},
		{name: "header line too large", scripts: []script{answerAndClose("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n")}, is: proxy.ErrHeaderTooLarge},
		{name: "endless line", scripts: []script{func(c net.Conn, br *bufio.Reader) {
			_, _ = request(br)
			for {
				if _, err := io.WriteString(c, strings.Repeat("a", 4096)); err != nil {
					return
				}
			}
		}}, is: proxy.ErrHeaderTooLarge},
		{name: "many headers", scripts: []script{answerAndClose("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 12<<10) + "\r\n")}, is: proxy.ErrHeaderTooLarge},
		{name: "endless 1xx", scripts: []script{answerAndClose(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100))}, is: proxy.ErrMalformedResponse},
		{name: "101", scripts: []script{answer("HTTP/1.1 101 Switching Protocols\r\n\r\n")}, is: proxy.ErrRefused, status: 101, reason: "Switching Protocols"},
		{name: "redirect", scripts: []script{answer("HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n")}, is: proxy.ErrRefused, status: 302, reason: "Found"},
		{name: "403", scripts: []script{answer("HTTP/1.1 403 Forbidden\r\n\r\n")}, is: proxy.ErrRefused, status: 403, reason: "Forbidden"},
		{name: "502", scripts: []script{answer("HTTP/1.0 502 Bad Gateway\r\n\r\n<html>")}, is: proxy.ErrRefused, status: 502, reason: "Bad Gateway"},
		{name: "503 without reason", scripts: []script{answer("HTTP/1.1 503\r\n\r\n")}, is: proxy.ErrRefused, status: 503},
		{name: "reason with escapes", scripts: []script{answer("HTTP/1.1 403 \x1b[31mNo\x00\xff\r\n\r\n")}, is: proxy.ErrRefused, status: 403, reason: "[31mNo"},
		{name: "407 without credentials", scripts: []script{answer(unauthorized)}, is: proxy.ErrAuthentication, status: 407, reason: "Proxy Authentication Required"},
		{name: "407 twice on one connection", scripts: []script{answer(unauthorized, unauthorized)}, options: auth, is: proxy.ErrAuthentication, status: 407, reason: "Proxy Authentication Required"},
		{name: "407 twice and closing", scripts: []script{answerAndClose("HTTP/1.0 407 No\r\n\r\n"), answerAndClose("HTTP/1.0 407 No\r\n\r\n")}, options: auth, is: proxy.ErrAuthentication, status: 407, reason: "No", dials: 2},
		{name: "407 for another scheme", scripts: []script{answer("HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n\r\n")}, options: auth, is: proxy.ErrAuthentication, status: 407, reason: "No"},
		{name: "407 to preemptive credentials", scripts: []script{answer(unauthorized)},
			options: proxy.Options{Username: "user", Password: secret, PreemptiveAuth: true}, is: proxy.ErrAuthentication, status: 407, reason: "Proxy Authentication Required"},
		{name: "407 with endless body", scripts: []script{func(c net.Conn, br *bufio.Reader) {
			_, _ = request(br)
			_, _ = io.WriteString(c, "HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "400\r\n"+strings.Repeat("z", 1024)+"\r\n"); err != nil {
					return
				}
			}
		}, answer("HTTP/1.1 403 Forbidden\r\n\r\n")}, options: auth, is: proxy.ErrRefused, status: 403, reason: "Forbidden", dials: 2},
		{name: "407 with stalling body", scripts: []script{answer("HTTP/1.1 407 No\r\nContent-Length: 10\r\n\r\nabc"), answer("HTTP/1.1 403 Forbidden\r\n\r\n")},
			options: auth, is: proxy.ErrRefused, status: 403, reason: "Forbidden", dials: 2},
		{name: "407 with a silly length", scripts: []script{answer("HTTP/1.1 407 No\r\nContent-Length: 99999999999999999999\r\n\r\n"), answer("HTTP/1.1 403 Forbidden\r\n\r\n")},
			options: auth, is: proxy.ErrRefused, status: 403, reason: "Forbidden", dials: 2},
		{name: "keeps closing in spite of its promise", scripts: []script{answerAndClose(unauthorized), answerAndClose("")}, options: auth, is: proxy.ErrClosed, dials: 2},
		{name: "gone after the 407", scripts: []script{answerAndClose("HTTP/1.0 407 No\r\n\r\n")}, options: auth, is: nil, stage: proxy.StepDial, dials: 2},
		{name: "plain HTTP on an https proxy", scripts: []script{func(c net.Conn, _ *bufio.Reader) {
			go func() { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }()
			_, _ = io.Copy(io.Discard, c)
		}}, options: proxy.Options{URL: "https://proxy.test:3128"}, stage: proxy.StepTLS},
		{name: "silent https proxy", scripts: []script{func(c net.Conn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, c) }},
			options: proxy.Options{URL: "https://proxy.test:3128"}, stage: proxy.StepTLS, is: context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{t: t, scripts: tt.scripts}
				o := tt.options
				o.Dial = s.dial
				if o.URL == "" {
					o.Host, o.Port = "proxy.test", 3128
				}
				conn, err := newDialer(t, o).DialContext(t.Context(), "tcp", "broker.test:8883")
				if conn != nil || err == nil {
					t.Fatalf("got connection %v, error %v", conn, err)
				}
				pe := proxyError(t, err)
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error %v is not %v", err, tt.is)
				}
				if tt.stage == 0 {
					tt.stage = proxy.StepTunnel
				}
				want := proxy.Error{Step: tt.stage, Target: "broker.test:8883", StatusCode: tt.status, Reason: tt.reason, Proxy: "http://proxy.test:3128"}
				if o.URL != "" {
					want.Proxy = "https://proxy.test:3128"
				}
				got := *pe
				got.Err, got.Header, got.Hint = nil, nil, ""
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("error differs (-want +got):\n%s", d)
				}
				if want := max(tt.dials, 1); len(s.dialed) != want {
					t.Errorf("dialed %d times, want %d", len(s.dialed), want)
				}
				if wantTimeout := errors.Is(tt.is, context.DeadlineExceeded) || errors.Is(tt.is, os.ErrDeadlineExceeded); pe.Timeout() != wantTimeout {
					t.Errorf("Timeout() = %v", pe.Timeout())
				}
				for i, c := range s.clients {
					if !c.closed.Load() {
						t.Errorf("connection %d was not closed", i)
					}
				}
			})
		})
	}
}

// The answer may come in any pieces and may stop anywhere; and a context that
// ends at any byte is obeyed at once.
func TestConnect_stopsAtEachByte(t *testing.T) {
	const text = "HTTP/1.1 200 OK\r\nVia: 1.1 x\r\n\r\n"
	for i := range len(text) {
		for name, after := range map[string]func(net.Conn){
			"stall": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
			"close": func(net.Conn) {},
		} {
			for _, cancelled := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					s := &scripted{t: t, scripts: []script{func(c net.Conn, br *bufio.Reader) {
						_, _ = request(br)
						for j := range i {
							_, _ = c.Write([]byte{text[j]})
						}
						after(c)
					}}}
					d := newDialer(t, proxy.Options{Host: "proxy.test", Dial: s.dial, TunnelTimeout: 7 * time.Second})
					ctx, cancel := context.WithCancelCause(t.Context())
					defer cancel(nil)
					reason := errors.New("user left")
					if cancelled {
						time.AfterFunc(time.Second, func() { cancel(reason) })
					}
					start := time.Now()
					_, err := d.DialContext(ctx, "tcp", "broker.test:8883")
					pe := proxyError(t, err)
					switch {
					case name == "close":
						if !errors.Is(err, proxy.ErrClosed) || pe.Timeout() || time.Since(start) != 0 {
							t.Errorf("byte %d: %v after %v", i, err, time.Since(start))
						}
					case cancelled:
						if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) || time.Since(start) != time.Second {
							t.Errorf("byte %d: %v after %v", i, err, time.Since(start))
						}
					default:
						if !errors.Is(err, context.DeadlineExceeded) || !pe.Timeout() || time.Since(start) != 7*time.Second {
							t.Errorf("byte %d: %v after %v", i, err, time.Since(start))
						}
					}
					if !s.clients[0].closed.Load() {
						t.Error("connection was not closed")
					}
				})
			}
		}
	}
}

func TestConnect_success(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret))
	const challenge = "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"basic\", nonce=\"x\"\r\nProxy-Authenticate: bAsIc\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\nTrailer: x\r\n\r\n"
	tests := []struct {
		name    string
		answers []string
		options proxy.Options
		auth    []string // Proxy-Authorization per request
		read    string   // what the tunnel yields first
	}{
		{name: "plain", answers: []string{ok200}, auth: []string{""}},
		{name: "HTTP/1.0", answers: []string{"HTTP/1.0 200 OK\r\n\r\n"}, auth: []string{""}},
		{name: "204 and bare line feeds", answers: []string{"HTTP/1.1 204\nVia: x\n\n"}, auth: []string{""}},
		{name: "folded header", answers: []string{"HTTP/1.1 200 OK\r\nVia: x\r\n\ty\r\n\r\n"}, auth: []string{""}},
		{name: "line without colon", answers: []string{"HTTP/1.1 200 OK\r\nbroken\r\nVia: x\r\n\r\n"}, auth: []string{""}},
		{name: "continuation first", answers: []string{"HTTP/1.1 200 OK\r\n x\r\n\r\n"}, auth: []string{""}},
		{name: "space before colon", answers: []string{"HTTP/1.1 200 OK\r\nVia : x\r\n y\r\n\r\nearly"}, auth: []string{""}, read: "early"},
		{name: "control character", answers: []string{"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n"}, auth: []string{""}},
		{name: "odd line beside a challenge", answers: []string{"HTTP/1.1 407 No\r\n(odd)\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", ok200},
			options: proxy.Options{Username: "user", Password: secret}, auth: []string{"", basic}},
		{name: "length to be ignored", answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\x20\x09"}, auth: []string{""}, read: "\x20\x09"},
		{name: "informational first", answers: []string{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok200}, auth: []string{""}},
		{name: "early bytes", answers: []string{ok200 + "\x20\x03\x00\x00\x00"}, auth: []string{""}, read: "\x20\x03\x00\x00\x00"},
		{name: "credentials unasked", answers: []string{ok200}, options: proxy.Options{Username: "user", Password: secret}, auth: []string{""}},
		{name: "credentials on challenge", answers: []string{challenge, ok200 + "early"}, options: proxy.Options{Username: "user", Password: secret}, auth: []string{"", basic}, read: "early"},
		{name: "credentials preemptive", answers: []string{ok200}, options: proxy.Options{Username: "user", Password: secret, PreemptiveAuth: true}, auth: []string{basic}},
		{name: "credentials in the URL", answers: []string{challenge, ok200}, options: proxy.Options{URL: "http://user:p%40ss%3Aw%C3%B6rd-ZEBRA@proxy.test:3128"}, auth: []string{"", basic}},
		{name: "challenge without schemes", answers: []string{"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", ok200}, options: proxy.Options{Username: "user", Password: secret}, auth: []string{"", basic}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var auth []string
				s := &scripted{t: t, scripts: []script{func(c net.Conn, br *bufio.Reader) {
					for _, text := range tt.answers {
						r, err := request(br)
						if err != nil {
							t.Error(err)
							return
						}
						if r.Method != "CONNECT" || r.RequestURI != "[2001:db8::1]:8883" || r.Host != "[2001:db8::1]:8883" {
							t.Errorf("request %s %s, host %s", r.Method, r.RequestURI, r.Host)
						}
						auth = append(auth, r.Header.Get("Proxy-Authorization"))
						_, _ = io.WriteString(c, text)
					}
					_, _ = io.Copy(c, br) // echo
				}}}
				o := tt.options
				o.Dial = s.dial
				if o.URL == "" {
					o.Host, o.Port = "proxy.test", 3128
				}
				conn, err := newDialer(t, o).DialContext(t.Context(), "tcp", "[2001:db8::1]:8883")
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				if d := cmp.Diff(tt.auth, auth); d != "" {
					t.Errorf("authorization differs (-want +got):\n%s", d)
				}
				if tt.read == "" && conn != net.Conn(s.clients[0]) {
					t.Errorf("the connection was wrapped in %T without need", conn)
				}
				go func() { _, _ = io.WriteString(conn, "ping") }()
				got := make([]byte, len(tt.read)+4)
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != tt.read+"ping" {
					t.Errorf("read %q, %v", got, err)
				}
				// The deadline of the tunnel must not outlive the exchange.
				time.Sleep(time.Hour)
				go func() { _, _ = io.WriteString(conn, "pong") }()
				if _, err := io.ReadFull(conn, got[:4]); err != nil {
					t.Errorf("after an hour: %v", err)
				}
			})
		})
	}
}

// A proxy answers 407, does not say that it closes the connection, and closes
// it: before the request comes, or when it has read it.
func TestConnect_promiseNotKept(t *testing.T) {
	const unauthorized = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nContent-Length: 5\r\n\r\nsorry"
	for name, first := range map[string]script{
		"at once": answerAndClose(unauthorized),
		"after the next request": func(c net.Conn, br *bufio.Reader) {
			answerAndClose(unauthorized)(c, br)
			_, _ = request(br)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{t: t, scripts: []script{first, answer(ok200)}}
				d := newDialer(t, proxy.Options{Host: "proxy.test", Dial: s.dial, Username: "user", Password: secret})
				conn, err := d.DialContext(t.Context(), "tcp", "broker.test:8883")
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close()
				if len(s.dialed) != 2 || !s.clients[0].closed.Load() {
					t.Errorf("dialed %d times, the first is closed: %v", len(s.dialed), s.clients[0].closed.Load())
				}
			})
		})
	}
}

func TestConnectHeader(t *testing.T) {
	const challenge = "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM leg\r\nContent-Length: 0\r\n\r\n"
	t.Run("rounds on one connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var seen []string
			s := &scripted{t: t, scripts: []script{func(c net.Conn, br *bufio.Reader) {
				for _, text := range []string{challenge, challenge, ok200} {
					r, err := request(br)
					if err != nil {
						return
					}
					seen = append(seen, r.Header.Get("Proxy-Authorization")+"/"+r.Header.Get("X-Trace"))
					_, _ = io.WriteString(c, text)
				}
			}}}
			d := newDialer(t, proxy.Options{Host: "proxy.test", Dial: s.dial, ConnectHeader: func(ctx context.Context, r proxy.ConnectRequest) (http.Header, error) {
				if _, ok := ctx.Deadline(); !ok || r.Target != "broker.test:443" {
					t.Errorf("deadline %v, target %s", ok, r.Target)
				}
				if (r.Round > 0) != (r.Challenge.Get("Proxy-Authenticate") == "NTLM leg") {
					t.Errorf("round %d has challenge %v", r.Round, r.Challenge)
				}
				h := http.Header{"x-trace": {"t"}}
				if r.Round > 0 {
					h.Set("Proxy-Authorization", fmt.Sprintf("NTLM %d", r.Round))
				}
				return h, nil
			}})
			conn, err := d.DialContext(t.Context(), "tcp", "broker.test:443")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if d := cmp.Diff([]string{"/t", "NTLM 1/t", "NTLM 2/t"}, seen); d != "" {
				t.Errorf("requests differ (-want +got):\n%s", d)
			}
		})
	})

	boom := errors.New("no ticket")
	give := func(h http.Header, err error) func(context.Context, proxy.ConnectRequest) (http.Header, error) {
		return func(context.Context, proxy.ConnectRequest) (http.Header, error) { return h, err }
	}
	tests := []struct {
		name   string
		header func(context.Context, proxy.ConnectRequest) (http.Header, error)
		stage  proxy.Step
		is     error
		rounds int
	}{
		{"error", give(nil, boom), proxy.StepHeader, boom, 0},
		{"invalid name", give(http.Header{"a b": {"c"}}, nil), proxy.StepHeader, nil, 0},
		{"injection", give(http.Header{"X": {"a\r\nHost: evil"}}, nil), proxy.StepHeader, nil, 0},
		{"framing", give(http.Header{"content-length": {"3"}}, nil), proxy.StepHeader, nil, 0},
		{"no answer to the challenge", give(nil, nil), proxy.StepTunnel, proxy.ErrAuthentication, 1},
		{"endless rounds", give(http.Header{"Proxy-Authorization": {"NTLM x"}}, nil), proxy.StepTunnel, proxy.ErrAuthentication, 8},
		{"waits for the context", func(ctx context.Context, _ proxy.ConnectRequest) (http.Header, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}, proxy.StepHeader, context.DeadlineExceeded, 0},
		{"returns too late", func(ctx context.Context, _ proxy.ConnectRequest) (http.Header, error) {
			<-ctx.Done()
			return nil, nil
		}, proxy.StepHeader, context.DeadlineExceeded, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rounds := 0
				s := &scripted{t: t, scripts: []script{func(c net.Conn, br *bufio.Reader) {
					for {
						if _, err := request(br); err != nil {
							return
						}
						rounds++
						_, _ = io.WriteString(c, challenge)
					}
				}}}
				_, err := newDialer(t, proxy.Options{Host: "proxy.test", Dial: s.dial, ConnectHeader: tt.header}).DialContext(t.Context(), "tcp", "broker.test:443")
				pe := proxyError(t, err)
				if pe.Step != tt.stage || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("stage %v, error %v", pe.Step, err)
				}
				if rounds != tt.rounds || !s.clients[0].closed.Load() {
					t.Errorf("rounds %d, closed %v", rounds, s.clients[0].closed.Load())
				}
			})
		})
	}
}

func TestDial_stages(t *testing.T) {
	boom := errors.New("unreachable")
	d := newDialer(t, proxy.Options{Host: "proxy.test", Dial: func(context.Context, string, string) (net.Conn, error) { return nil, boom }})
	_, err := d.DialContext(t.Context(), "tcp", "broker.test:8883")
	if pe := proxyError(t, err); pe.Step != proxy.StepDial || !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	for _, address := range []string{"broker.test", ":443", "broker.test:", "broker.test:0", "broker.test:70000", "bro ker:443", "a\r\nb:443", "user@host:443", "host/path:443", "host:no-such-service"} {
		_, err := d.DialContext(t.Context(), "tcp", address)
		if pe := proxyError(t, err); pe.Step != proxy.StepTarget {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := d.DialContext(t.Context(), "tcp", "broker.test:https"); proxyError(t, err).Target != "broker.test:443" {
		t.Errorf("service name: %v", err)
	}
	if _, err := d.DialContext(t.Context(), "udp", "broker.test:443"); proxyError(t, err).Step != proxy.StepTarget {
		t.Errorf("udp: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.DialContext(ctx, "tcp", "broker.test:443"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
}
