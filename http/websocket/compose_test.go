// SPDX-License-Identifier: Apache-2.0

//go:build unix

package websocket_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy/proxytest"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// echoHandler is a WebSocket server, by the library, that echoes messages.
func echoHandler(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/mqtt" {
		http.Error(w, "no such path", http.StatusForbidden)
		return
	}
	c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(-1)
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), typ, p); err != nil {
			return
		}
	}
}

// servers are a ws and a wss server; the latter wants a client certificate.
type servers struct {
	ws, wss *httptest.Server
	tls     *tlsctx.Context // verifies the server, authenticates the client
	roots   *x509.CertPool
}

func startServers(t testing.TB) servers {
	t.Helper()
	var s servers
	s.ws = httptest.NewServer(http.HandlerFunc(echoHandler))
	t.Cleanup(s.ws.Close)
	s.wss = httptest.NewUnstartedServer(http.HandlerFunc(echoHandler))
	s.wss.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.wss.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.wss.StartTLS()
	t.Cleanup(s.wss.Close)
	s.roots = x509.NewCertPool()
	s.roots.AddCert(s.wss.Certificate())
	// The server's own certificate serves as the client's: any will do.
	cert := s.wss.TLS.Certificates[0]
	var err error
	s.tls, err = tlsctx.New(tlsctx.Options{
		RootCAs:              s.roots,
		ALPN:                 []string{"http/1.1"},
		Identity:             tlsctx.IdentityFunc(func(context.Context) (*tls.Certificate, error) { return &cert, nil }),
		DisableValidityCheck: true,
		HandshakeTimeout:     time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func checkEcho(t *testing.T, conn net.Conn) {
	t.Helper()
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	data := bytes.Repeat([]byte("0123456789abcdef"), 8<<10) // 128 KiB
	done := make(chan error, 1)
	go func() {
		_, err := conn.Write(data[:5])
		for rest := data[5:]; err == nil && len(rest) > 0; {
			n := min(len(rest), 50000)
			_, err = conn.Write(rest[:n])
			rest = rest[n:]
		}
		done <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatalf("reading the echo: %v", err)
	}
	if err := <-done; err != nil || !bytes.Equal(got, data) {
		t.Errorf("write: %v, or the echo differs", err)
	}
}

// Every path from TCP to WebSocket, with real proxies in between.
func TestCompose(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	const user, password = "device7", "Sesame4711"
	paths := map[string]func(t *testing.T) proxy.Options{
		"direct": nil,
		"squid": func(t *testing.T) proxy.Options {
			return proxy.Options{URL: proxytest.StartSquid(t, proxytest.Config{}).URL()}
		},
		"squid TLS basic": func(t *testing.T) proxy.Options {
			p := proxytest.StartSquid(t, proxytest.Config{TLS: true, Username: user, Password: password})
			ctx, err := tlsctx.New(tlsctx.Options{RootCAs: p.RootCAs, HandshakeTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			return proxy.Options{URL: p.URL(), TLS: ctx}
		},
		"tinyproxy basic": func(t *testing.T) proxy.Options {
			return proxy.Options{URL: proxytest.StartTinyproxy(t, proxytest.Config{Username: user, Password: password}).URL()}
		},
		"dante": func(t *testing.T) proxy.Options {
			return proxy.Options{URL: proxytest.StartDante(t, proxytest.Config{}).URL()}
		},
		"microsocks password": func(t *testing.T) proxy.Options {
			return proxy.Options{URL: proxytest.StartMicrosocks(t, proxytest.Config{Username: user, Password: password}).URL()}
		},
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			below := (&net.Dialer{}).DialContext
			if path != nil {
				o := path(t)
				o.TLSTimeout, o.TunnelTimeout = -1, -1 // the machine may be busy
				p, err := proxy.New(o)
				if err != nil {
					t.Fatal(err)
				}
				below = p.DialContext
			}
			secured := &tlsctx.Dialer{Context: s.tls, NetDialer: tlsctx.DialFunc(below)}
			for scheme, c := range map[string]struct {
				options websocket.Options
				server  *httptest.Server
			}{
				"ws":            {websocket.Options{Plaintext: true, Dial: below}, s.ws},
				"wss":           {websocket.Options{TLS: s.tls, Dial: below}, s.wss},
				"ws over TLS":   {websocket.Options{Plaintext: true, Dial: secured.DialContext}, s.wss},
				"wss by Config": {websocket.Options{TLSConfig: &tls.Config{RootCAs: s.roots, Certificates: s.wss.TLS.Certificates}, Dial: below}, s.wss},
			} {
				t.Run(scheme, func(t *testing.T) {
					c.options.TLSTimeout, c.options.UpgradeTimeout = -1, -1
					d, err := websocket.New(c.options)
					if err != nil {
						t.Fatal(err)
					}
					address := c.server.Listener.Addr().String()
					conn, err := d.DialContext(t.Context(), "tcp", address)
					if err != nil {
						t.Fatal(err)
					}
					checkEcho(t, conn)

					c.options.Path = "/elsewhere"
					if d, err = websocket.New(c.options); err != nil {
						t.Fatal(err)
					}
					_, err = d.DialContext(t.Context(), "tcp", address)
					var ue *websocket.UpgradeError
					if !errors.As(err, &ue) || ue.StatusCode != http.StatusForbidden || string(ue.Body) != "no such path\n" {
						t.Errorf("wrong path: %v", err)
					}
				})
			}
		})
	}
}

// The errors of all layers are found from the outermost one, and name their stage.
func TestCompose_errors(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	address := s.wss.Listener.Addr().String()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refusing.Close()
	refused, err := proxy.New(proxy.Options{URL: refusing.URL})
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := tlsctx.New(tlsctx.Options{RootCAs: x509.NewCertPool()})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(o websocket.Options) error {
		t.Helper()
		d, err := websocket.New(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.DialContext(t.Context(), "tcp", address)
		return err
	}
	check := func(err error, stage string) {
		t.Helper()
		var s interface{ Stage() string }
		if !errors.As(err, &s) || s.Stage() != stage {
			t.Errorf("stage is not %s: %v", stage, err)
		}
	}

	err = dial(websocket.Options{Dial: refused.DialContext})
	var pe *proxy.Error
	if !errors.As(err, &pe) || pe.StatusCode != http.StatusForbidden {
		t.Errorf("got %v", err)
	}
	check(err, "proxy")

	err = dial(websocket.Options{TLS: strangers})
	var he *tlsctx.HandshakeError
	if !errors.As(err, &he) {
		t.Errorf("got %v", err)
	}
	check(err, "TLS")

	err = dial(websocket.Options{TLS: s.tls, Path: "/x"})
	check(err, "WebSocket upgrade")

	err = dial(websocket.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }})
	check(err, "TCP")
}

// At each stage the end of the context is obeyed at once, and nothing is left
// open. A listener that accepts and says nothing stalls whichever stage comes first.
func TestCompose_cancel(t *testing.T) {
	t.Parallel()
	s := startServers(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	tunnels := httptest.NewServer(http.HandlerFunc(connectHandler))
	defer tunnels.Close()
	through := func(o proxy.Options) websocket.DialFunc {
		d, err := proxy.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return d.DialContext
	}
	quiet := "http://" + silent.Addr().String()
	tests := []struct {
		name    string
		options websocket.Options
		step    websocket.Step
		proxy   proxy.Step
	}{
		{"CONNECT", websocket.Options{TLS: s.tls, Dial: through(proxy.Options{URL: quiet})}, websocket.StepDial, proxy.StepTunnel},
		{"TLS to the proxy", websocket.Options{TLS: s.tls, Dial: through(proxy.Options{URL: quiet, TLS: s.tls})}, websocket.StepDial, proxy.StepTLS},
		{"SOCKS5", websocket.Options{TLS: s.tls, Dial: through(proxy.Options{URL: "socks5://" + silent.Addr().String()})}, websocket.StepDial, proxy.StepTunnel},
		{"TLS in a tunnel", websocket.Options{TLS: s.tls, Dial: through(proxy.Options{URL: tunnels.URL})}, websocket.StepTLS, 0},
		{"TLS", websocket.Options{TLS: s.tls}, websocket.StepTLS, 0},
		{"upgrade", websocket.Options{Plaintext: true}, websocket.StepUpgrade, 0},
		{"upgrade in a tunnel", websocket.Options{Plaintext: true, Dial: through(proxy.Options{URL: tunnels.URL})}, websocket.StepUpgrade, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := websocket.New(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			reason := errors.New("stopped by the user")
			result := make(chan error, 1)
			go func() {
				_, err := d.DialContext(ctx, "tcp", silent.Addr().String())
				result <- err
			}()
			far := <-accepted
			defer func() { _ = far.Close() }()
			_ = far.SetDeadline(time.Now().Add(time.Minute))
			if _, err := far.Read(make([]byte, 1)); err != nil { // the stage has begun
				t.Fatal(err)
			}
			cancel(reason)
			err = <-result
			var we *websocket.Error
			if !errors.As(err, &we) || we.Step != tt.step || !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
				t.Errorf("got %v", err)
			}
			var pe *proxy.Error
			if tt.proxy != 0 && (!errors.As(err, &pe) || pe.Step != tt.proxy) {
				t.Errorf("got %v", err)
			}
			// The end of the stream, or a reset, shows that the connection was closed.
			var ne net.Error
			if _, err := io.Copy(io.Discard, far); errors.As(err, &ne) && ne.Timeout() {
				t.Error("the connection stays open")
			}
		})
	}
}

// connectHandler is an HTTP proxy.
func connectHandler(w http.ResponseWriter, r *http.Request) {
	target, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = target.Close() }()
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }()
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(target, client)
		_ = target.Close()
	}()
	_, _ = io.Copy(client, target)
}
