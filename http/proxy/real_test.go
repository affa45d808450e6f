// SPDX-License-Identifier: Apache-2.0

//go:build unix

package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy/proxytest"
)

// echoServer greets and echoes, so that the server speaks first.
func echoServer(t *testing.T) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "hello")
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func checkEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	defer func() { _ = conn.Close() }()
	data := bytes.Repeat([]byte("0123456789abcdef"), 16<<10) // 256 KiB
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = conn.Write(data) }()
	got := make([]byte, 5+len(data))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("reading the echo: %v", err)
	}
	if string(got[:5]) != "hello" || !bytes.Equal(got[5:], data) {
		t.Error("the echo differs")
	}
}

func TestRealProxies(t *testing.T) {
	t.Parallel()
	echo := echoServer(t)
	closedPort := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		return port
	}()
	const user, password = "device7", "Sesame4711"
	auth := proxytest.Config{Username: user, Password: password}
	odd := proxytest.Config{Username: "dé@vice 7", Password: "a:b@c/d%20é#?"}
	refuse := proxytest.Config{Refuse: []string{"refused.test"}}
	refuseAddr := proxytest.Config{Refuse: []string{"127.0.0.2"}}

	type start func(testing.TB, proxytest.Config) *proxytest.Server
	// What a refused and an unreachable target look like.
	type answer struct {
		status int
		reply  proxy.SOCKSReply
	}
	tests := []struct {
		name        string
		start       start
		config      proxytest.Config
		refused     *answer
		unreachable answer
	}{
		{"squid open", proxytest.StartSquid, refuse, &answer{status: 403}, answer{status: 503}},
		{"squid basic", proxytest.StartSquid, auth, nil, answer{status: 503}},
		{"squid odd credentials", proxytest.StartSquid, odd, nil, answer{status: 503}},
		{"squid TLS", proxytest.StartSquid, proxytest.Config{TLS: true, Refuse: refuse.Refuse}, &answer{status: 403}, answer{status: 503}},
		{"squid TLS basic", proxytest.StartSquid, proxytest.Config{TLS: true, Username: user, Password: password}, nil, answer{status: 503}},
		{"tinyproxy open", proxytest.StartTinyproxy, refuse, &answer{status: 403}, answer{status: 500}},
		{"tinyproxy basic", proxytest.StartTinyproxy, auth, nil, answer{status: 500}},
		{"dante", proxytest.StartDante, refuseAddr, &answer{reply: 2}, answer{reply: 5}},
		{"microsocks open", proxytest.StartMicrosocks, proxytest.Config{}, nil, answer{reply: 5}},
		{"microsocks password", proxytest.StartMicrosocks, auth, nil, answer{reply: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := tt.start(t, tt.config)
			options := func(edit ...func(*proxy.Options)) proxy.Options {
				o := proxy.Options{URL: s.URL(), TunnelTimeout: time.Minute, TLSTimeout: time.Minute}
				if tt.config.TLS {
					o.TLSConfig = &tls.Config{RootCAs: s.RootCAs}
				}
				for _, f := range edit {
					f(&o)
				}
				return o
			}
			dial := func(o proxy.Options, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				return newDialer(t, o).DialContext(ctx, "tcp", address)
			}
			ok := func(o proxy.Options, host string) {
				t.Helper()
				conn, err := dial(o, net.JoinHostPort(host, echo))
				if err != nil {
					t.Fatalf("dial %s: %v", host, err)
				}
				checkEcho(t, conn)
			}
			fails := func(o proxy.Options, address string, want answer, is error) {
				t.Helper()
				conn, err := dial(o, address)
				if err == nil {
					_ = conn.Close()
					t.Fatal("the tunnel opened")
				}
				pe := proxyError(t, err)
				if pe.StatusCode != want.status || pe.Reply != want.reply || !errors.Is(err, is) {
					t.Errorf("got %v, want %+v and %v", err, want, is)
				}
				if !strings.HasSuffix(pe.Proxy, s.Addr) || tt.config.Password != "" && strings.Contains(err.Error(), tt.config.Password) {
					t.Errorf("error text: %v", err)
				}
			}
			ok(options(), "127.0.0.1")
			ok(options(), "localhost") // resolved by the proxy
			if strings.HasPrefix(s.URL(), "http") {
				ok(options(func(o *proxy.Options) { o.PreemptiveAuth = true }), "127.0.0.1")
			}
			fails(options(), "127.0.0.1:"+closedPort, tt.unreachable, proxy.ErrRefused)
			if tt.refused != nil {
				fails(options(), net.JoinHostPort(tt.config.Refuse[0], "443"), *tt.refused, proxy.ErrRefused)
			}
			if tt.config.Username != "" {
				status := answer{}
				if strings.HasPrefix(s.URL(), "http") {
					status.status = 407
				}
				wrong := func(o *proxy.Options) { o.Username, o.Password = tt.config.Username, "wrong" }
				refusal := status
				if s.Program == "tinyproxy" {
					refusal.status = 401 // its own idea
				}
				fails(options(wrong), "127.0.0.1:"+echo, refusal, proxy.ErrAuthentication)
				none := options()
				scheme, _, _ := strings.Cut(none.URL, "://")
				none.URL = scheme + "://" + s.Addr
				fails(none, "127.0.0.1:"+echo, status, proxy.ErrAuthentication)
			}
			if tt.config.TLS {
				_, err := dial(options(func(o *proxy.Options) { o.TLSConfig = nil }), "127.0.0.1:"+echo)
				var unknown *tls.CertificateVerificationError
				if pe := proxyError(t, err); pe.Step != proxy.StepTLS || !errors.As(err, &unknown) {
					t.Errorf("unknown authority: %v", err)
				}
			}
		})
	}
}

// Names that only the proxy can resolve are left to it.
func TestRealProxy_resolvesNames(t *testing.T) {
	t.Parallel()
	s := proxytest.StartSquid(t, proxytest.Config{Hosts: map[string]string{"broker.test": "127.0.0.1"}})
	conn, err := newDialer(t, proxy.Options{URL: s.URL()}).DialContext(t.Context(), "tcp", "broker.test:"+echoServer(t))
	if err != nil {
		t.Fatal(err)
	}
	checkEcho(t, conn)
}

// One dialer serves a plain HTTP client, with and without TLS to the target, and
// to the proxy: TLS in TLS.
func TestRealProxy_httpClient(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") })
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	s := proxytest.StartSquid(t, proxytest.Config{TLS: true})
	d := newDialer(t, proxy.Options{URL: s.URL(), TLSConfig: &tls.Config{RootCAs: s.RootCAs}})
	transport := secure.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = d.DialContext
	defer transport.CloseIdleConnections()
	for _, u := range []string{plain.URL, secure.URL} {
		resp, err := (&http.Client{Transport: transport}).Get(u)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != "content" {
			t.Errorf("%s: %q, %v", u, body, err)
		}
	}
}
