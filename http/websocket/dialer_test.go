// SPDX-License-Identifier: Apache-2.0

package websocket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
)

// What goes over the wire, for addresses, options and transforms.
func TestRequest(t *testing.T) {
	const query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Signature=00&X-Amz-Security-Token=t%2Fo%2Bk%3D%3D"
	tests := []struct {
		name    string
		options websocket.Options
		address string
		dials   string // where the connection goes, if elsewhere
		uri     string
		host    string
		header  http.Header // besides those of the protocol
	}{
		{"MQTT-6.0.0-3 default", websocket.Options{}, "broker.test:80", "", "/mqtt", "broker.test", nil},
		{"other port", websocket.Options{}, "broker.test:443", "", "/mqtt", "broker.test:443", nil},
		{"IPv6", websocket.Options{}, "[2001:db8::1]:8080", "", "/mqtt", "[2001:db8::1]:8080", nil},
		{"IPv6 default port", websocket.Options{}, "[2001:db8::1]:80", "", "/mqtt", "[2001:db8::1]", nil},
		{"path, query, host, header", websocket.Options{Path: "/a b/ü", RawQuery: query, Host: "other.test", Header: http.Header{"x-token": {"t"}, "User-Agent": {"me"}}},
			"broker.test:80", "", "/a%20b/%C3%BC?" + query, "other.test", http.Header{"X-Token": {"t"}, "User-Agent": {"me"}}},
		{"transform query and header", websocket.Options{Transform: func(_ context.Context, r *http.Request) error {
			r.URL.RawQuery = query
			r.Header.Set("Authorization", "Bearer x")
			return nil
		}}, "broker.test:80", "", "/mqtt?" + query, "broker.test", http.Header{"Authorization": {"Bearer x"}}},
		{"transform that takes the header away", websocket.Options{Header: http.Header{"X-Token": {"t"}}, Transform: func(_ context.Context, r *http.Request) error {
			r.Header = nil
			return nil
		}}, "broker.test:80", "", "/mqtt", "broker.test", nil},
		{"transform host field", websocket.Options{Transform: func(_ context.Context, r *http.Request) error {
			r.Host = "signed.test"
			return nil
		}}, "broker.test:80", "", "/mqtt", "signed.test", nil},
		{"transform URL", websocket.Options{Transform: func(_ context.Context, r *http.Request) error {
			r.URL.Host, r.URL.Path = "elsewhere.test", "/x"
			return nil
		}}, "broker.test:80", "elsewhere.test:80", "/x", "elsewhere.test", nil},
		{"transform to ws", websocket.Options{TLSConfig: &tls.Config{}, Transform: func(_ context.Context, r *http.Request) error {
			if r.URL.String() != "wss://broker.test/mqtt" {
				return errors.New(r.URL.String())
			}
			r.URL.Scheme, r.URL.Host = "ws", "[::1]:99"
			return nil
		}}, "broker.test:443", "[::1]:99", "/mqtt", "[::1]:99", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var req *http.Request
				o, client := pipe(func(s *server) {
					if s.upgrade() {
						req = s.req
						s.drain()
					}
				})
				dial, dialed := o.Dial, ""
				o = tt.options
				o.Plaintext = tt.options.TLSConfig == nil
				o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
					dialed = address
					return dial(ctx, network, address)
				}
				d, err := websocket.New(o)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := d.DialContext(t.Context(), "tcp", tt.address)
				if err != nil {
					t.Fatal(err)
				}
				if p := conn.(*websocket.Conn).Subprotocol(); p != "mqtt" {
					t.Errorf("subprotocol %q", p)
				}
				_ = conn.Close()
				<-client.served
				if tt.dials == "" {
					tt.dials = tt.address
				}
				if dialed != tt.dials || req.RequestURI != tt.uri || req.Host != tt.host || req.Method != "GET" || req.Proto != "HTTP/1.1" {
					t.Errorf("dialed %s; %s %s %s, host %s", dialed, req.Method, req.RequestURI, req.Proto, req.Host)
				}
				want := http.Header{
					"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Protocol": {"mqtt"},
					"Sec-Websocket-Key": req.Header["Sec-Websocket-Key"],
				}
				for k, v := range tt.header {
					want[k] = v
				}
				if d := cmp.Diff(want, req.Header); d != "" {
					t.Errorf("header differs (-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestTransform_failures(t *testing.T) {
	boom := errors.New("no credentials")
	tests := []struct {
		name string
		f    websocket.HandshakeTransform
		is   error
	}{
		{"error", func(context.Context, *http.Request) error { return boom }, boom},
		{"never ends", func(ctx context.Context, _ *http.Request) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded},
		{"ends too late", func(ctx context.Context, _ *http.Request) error { <-ctx.Done(); return nil }, context.DeadlineExceeded},
		{"method", func(_ context.Context, r *http.Request) error { r.Method = "POST"; return nil }, nil},
		{"body", func(_ context.Context, r *http.Request) error {
			r.Body = io.NopCloser(strings.NewReader("x"))
			return nil
		}, nil},
		{"no URL", func(_ context.Context, r *http.Request) error { r.URL = nil; return nil }, nil},
		{"no host", func(_ context.Context, r *http.Request) error { r.URL.Host = ""; return nil }, nil},
		{"scheme", func(_ context.Context, r *http.Request) error { r.URL.Scheme = "ftp"; return nil }, nil},
		{"extension", func(_ context.Context, r *http.Request) error {
			r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
			return nil
		}, nil},
		{"injection", func(_ context.Context, r *http.Request) error { r.Header.Set("X", secret+"\r\nY: z"); return nil }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, err := websocket.New(websocket.Options{Transform: tt.f, TransformTimeout: 5 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
					t.Error("dialed")
					return nil, boom
				}})
				if err != nil {
					t.Fatal(err)
				}
				_, err = d.DialContext(t.Context(), "tcp", "broker.test:443")
				noSecrets(t, err)
				var we *websocket.Error
				if !errors.As(err, &we) || we.Step != websocket.StepTransform || tt.is != nil && !errors.Is(err, tt.is) || we.Stage() != "WebSocket upgrade" {
					t.Errorf("got %v", err)
				}
			})
		})
	}

	t.Run("request that cannot be sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, _ := pipe(func(s *server) { s.drain() })
			for _, f := range []websocket.HandshakeTransform{
				func(_ context.Context, r *http.Request) error { r.URL.RawQuery = secret + "\x00"; return nil },
				func(_ context.Context, r *http.Request) error { r.Host = secret + " x"; return nil },
			} {
				o.Transform = f
				_, err := dial(t, o)
				noSecrets(t, err)
				var we *websocket.Error
				if !errors.As(err, &we) || we.Step != websocket.StepUpgrade {
					t.Errorf("got %v", err)
				}
				o, _ = pipe(func(s *server) { s.drain() })
			}
		})
	})
}

// The transform runs at each attempt and gets a fresh request.
func TestTransform_eachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		transform := func(_ context.Context, r *http.Request) error {
			if r.URL.RawQuery != "a=b" || r.Header.Get("X") != "" {
				t.Errorf("attempt %d begins with %s %v", n, r.URL, r.Header)
			}
			n++
			r.URL.RawQuery = fmt.Sprint(n)
			r.Header.Set("X", "y")
			return nil
		}
		var uris []string
		scripted, _ := pipe(nil)
		scripted.RawQuery, scripted.Transform = "a=b", transform
		scripted.Header = http.Header{}
		scripted.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			o, _ := pipe(func(s *server) {
				if s.readRequest() {
					uris = append(uris, s.req.RequestURI)
				}
			})
			return o.Dial(ctx, network, address)
		}
		d, err := websocket.New(scripted)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := d.DialContext(t.Context(), "tcp", "broker.test:80"); err == nil {
				t.Fatal("connected")
			}
		}
		if d := cmp.Diff([]string{"/mqtt?1", "/mqtt?2"}, uris); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestOptions_invalid(t *testing.T) {
	for name, o := range map[string]websocket.Options{
		"plaintext and TLS": {Plaintext: true, TLSConfig: &tls.Config{}},
		"HTTP/2":            {TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}},
		"path":              {Path: "mqtt"},
		"query":             {RawQuery: secret + " x"},
		"query fragment":    {RawQuery: secret + "#x"},
		"host":              {Host: "a\r\nb"},
		"header name":       {Header: http.Header{"a b": {secret}}},
		"header value":      {Header: http.Header{"a": {secret + "\n"}}},
		"protocol header":   {Header: http.Header{"sec-websocket-key": {secret}}},
		"connection":        {Header: http.Header{"Connection": {"close"}}},
		"subprotocol":       {Subprotocols: []string{"a,b"}},
		"empty subprotocol": {Subprotocols: []string{""}},
	} {
		_, err := websocket.New(o)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		noSecrets(t, err)
	}
	o := websocket.Options{RawQuery: secret, Header: http.Header{"Authorization": {secret}}}
	d, err := websocket.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if s := fmt.Sprintf(verb+verb, o, d); strings.Contains(s, "ZEBRA") {
			t.Errorf("%s tells secrets: %s", verb, s)
		}
	}
}
