// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// wantHandshakeError checks the type of an error and that it says all these words.
func wantHandshakeError(t *testing.T, err error, words ...string) *tlsctx.HandshakeError {
	t.Helper()
	e := (*tlsctx.HandshakeError)(nil)
	if !errors.As(err, &e) {
		t.Fatalf("got %T %v, want a *HandshakeError", err, err)
	}
	if e.Stage() != "TLS" {
		t.Errorf("stage %q", e.Stage())
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Count(err.Error(), "tlsctx: ") != 1 {
		t.Errorf("prefix of %q", err)
	}
	return e
}

func TestHandshake_serverNotTrusted(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "home CA"), newAuthority(t, "other CA")
	s := startServer(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "broker.example")}})
	for name, tt := range map[string]struct {
		opts  tlsctx.Options
		words []string
	}{
		"by the system": {tlsctx.Options{}, []string{"system's CAs", "give the CA of the server with CAFile"}},
		"by the CA":     {tlsctx.Options{CAPEM: other.pem()}, []string{"CA given as bytes", "AddSystemCAs"}},
		"by both":       {tlsctx.Options{CAPEM: other.pem(), AddSystemCAs: true}, []string{"CA given as bytes and the system's CAs"}},
		"by the pool":   {tlsctx.Options{RootCAs: other.pool()}, []string{"the given pool"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connect(t, newContext(t, tt.opts), s.address)
			e := wantHandshakeError(t, err, append(tt.words, `"CN=broker.example"`, `"CN=home CA"`, "127.0.0.1", s.address)...)
			if e.ServerName != "127.0.0.1" || e.Address != s.address || e.Timeout() {
				t.Errorf("%+v", e)
			}
			if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) || unknown.Cert == nil {
				t.Error("no UnknownAuthorityError in it")
			}
			<-s.errs
		})
	}
}

func TestHandshake_serverNames(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	s := startServer(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "broker.example")}})
	dial := func(name string) error {
		conn := dialTCP(t, s.address)
		tc, err := newContext(t, tlsctx.Options{CAPEM: ca.pem()}).Client(t.Context(), conn, name)
		if err == nil {
			tc.Close()
		}
		return err
	}
	for _, name := range []string{"broker.example", "broker.example.", "Broker.Example", "127.0.0.1", "[127.0.0.1]"} {
		if err := dial(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := dial("other.example")
	wantHandshakeError(t, err, "other.example", "broker.example, 127.0.0.1", "set ServerName")
	if host := (x509.HostnameError{}); !errors.As(err, &host) {
		t.Error("no HostnameError in it")
	}
	err = dial("")
	wantMaterialError(t, err, tlsctx.ErrNoServerName, "ServerName")
}

func TestHandshake_serverExpired(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	s := startServer(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")}})
	now := time.Now().Add(24 * time.Hour)
	_, err := connect(t, newContext(t, tlsctx.Options{CAPEM: ca.pem(), Now: func() time.Time { return now }}), s.address)
	wantHandshakeError(t, err, "clock says "+now.UTC().Format(time.RFC3339), "check the clock")
	if invalid := (x509.CertificateInvalidError{}); !errors.As(err, &invalid) {
		t.Error("no CertificateInvalidError in it")
	}
}

func TestHandshake_verificationOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, &tls.Config{Certificates: []tls.Certificate{newAuthority(t, "CA").server(t, "broker.example")}})
	c := newContext(t, tlsctx.Options{DangerouslyDisableServerVerification: true})
	if _, err := connect(t, c, s.address); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Config(t.Context(), ""); err != nil {
		t.Errorf("without a name: %v", err)
	}
}

// What a server says against the client comes from the handshake or, in TLS
// 1.3, from the first Read.
func TestHandshake_alerts(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "CA"), newAuthority(t, "other CA")
	device := other.client(t, "device", "P-256")
	identity := tlsctx.FromBytes(device.certPEM(), device.keyPEM(t))
	mutual := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool() }
	for _, tt := range []struct {
		name   string
		server func(*tls.Config)
		client tlsctx.Options
		alerts []tls.AlertError // one of them
		words  []string
	}{
		{"no certificate, 1.2", mutual, tlsctx.Options{MaxVersion: tls.VersionTLS12}, []tls.AlertError{42, 40}, []string{"set Identity"}},
		{"no certificate, 1.3", mutual, tlsctx.Options{}, []tls.AlertError{116}, []string{"certificate required", "set Identity"}},
		{"unknown CA, 1.2", mutual, tlsctx.Options{Identity: identity, MaxVersion: tls.VersionTLS12}, []tls.AlertError{48}, []string{"CA of the client certificate"}},
		{"unknown CA, 1.3", mutual, tlsctx.Options{Identity: identity}, []tls.AlertError{48}, []string{"CA of the client certificate"}},
		{"not accepted", func(c *tls.Config) {
			c.ClientAuth = tls.RequireAnyClientCert
			c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return errors.New("no") }
		}, tlsctx.Options{Identity: identity}, []tls.AlertError{42}, []string{"registered and active"}},
		{"protocol", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, tlsctx.Options{ALPN: []string{"mqtt", "x"}}, []tls.AlertError{120}, []string{"mqtt, x"}},
		{"version", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, tlsctx.Options{MaxVersion: tls.VersionTLS12}, []tls.AlertError{70}, []string{"MaxVersion TLS 1.2"}},
		{"cipher suite", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
		},
			tlsctx.Options{Identity: identity, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, []tls.AlertError{40}, []string{"in common"}},
		{"name", func(c *tls.Config) {
			c.Certificates = nil
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
		}, tlsctx.Options{}, []tls.AlertError{112}, []string{"SNI"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := &tls.Config{Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")}}
			tt.server(cfg)
			s := startServer(t, cfg)
			tt.client.CAPEM = ca.pem()
			_, err := connect(t, newContext(t, tt.client), s.address)
			wantHandshakeError(t, err, append(tt.words, s.address)...)
			alert := tls.AlertError(0)
			if !errors.As(err, &alert) {
				t.Fatalf("no alert in %v", err)
			}
			for _, a := range tt.alerts {
				if a == alert {
					return
				}
			}
			t.Errorf("alert %d, want one of %d", alert, tt.alerts)
		})
	}
}

// A server that resets the connection in silence is explained, one that has
// spoken is not, and an end is io.EOF.
func TestConn_cut(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	for name, tt := range map[string]struct {
		speak, reset bool
		want         error
		word         string
	}{
		"end":                  {false, false, io.EOF, ""},
		"reset":                {false, true, tlsctx.ErrReset, "before it had sent anything"},
		"reset after speaking": {true, true, tlsctx.ErrReset, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			defer l.Close()
			wg.Go(func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				s := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "host")}, SessionTicketsDisabled: true})
				if s.Handshake() != nil {
					return
				}
				if tt.speak {
					s.Write([]byte{1})
				}
				s.Read(make([]byte, 1)) // the client has heard it
				if tt.reset {
					conn.(*net.TCPConn).SetLinger(0)
				}
			})
			d := &tlsctx.Dialer{Context: newContext(t, tlsctx.Options{CAPEM: ca.pem()})}
			conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if tt.speak {
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := conn.Write([]byte{2}); err != nil {
				t.Fatal(err)
			}
			_, err = conn.Read(make([]byte, 1))
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if tt.word != "" {
				wantHandshakeError(t, err, tt.word)
			} else if e := (*tlsctx.HandshakeError)(nil); errors.As(err, &e) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// answer starts a server that answers each connection with these bytes, after
// it has read something, and hangs up.
func answer(t *testing.T, data string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 64<<10)
			conn.Read(buf)
			io.WriteString(conn, data)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestHandshake_noTLS(t *testing.T) {
	t.Parallel()
	c := newContext(t, tlsctx.Options{})
	_, err := connect(t, c, answer(t, "HTTP/1.1 400 Bad Request\r\n\r\n"))
	wantHandshakeError(t, err, "plain HTTP")
	for _, page := range []string{"<html><body>Log in</body></html>", "\r\n<!DOCTYPE html>"} {
		_, err = connect(t, c, answer(t, page))
		wantHandshakeError(t, err, "a web page came in place of TLS: a portal or proxy")
	}
	_, err = connect(t, c, answer(t, "\x20\x02\x00\x05 and more"))
	wantHandshakeError(t, err, "does not speak TLS")
	_, err = connect(t, c, answer(t, ""))
	wantHandshakeError(t, err, "closed the connection during the handshake", "ALPN")
	if !errors.Is(err, io.EOF) {
		t.Errorf("no EOF in %v", err)
	}
}

// silent returns one end of a connection whose other end reads and never answers.
func silent() net.Conn {
	client, server := net.Pipe()
	go io.Copy(io.Discard, server)
	return client
}

func TestClient_timeout(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ given, want time.Duration }{
		"default": {0, 10 * time.Second},
		"given":   {time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newContext(t, tlsctx.Options{HandshakeTimeout: tt.given})
				begin := time.Now()
				conn := silent()
				_, err := c.Client(t.Context(), conn, "broker.example")
				if took := time.Since(begin); took != tt.want {
					t.Errorf("took %v", took)
				}
				e := wantHandshakeError(t, err, "broker.example", "timed out", "check that the port speaks TLS")
				if !e.Timeout() || !errors.Is(err, tlsctx.ErrHandshakeTimeout) {
					t.Errorf("not a timeout: %v", err)
				}
				if _, err := conn.Write([]byte{1}); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the connection is open: %v", err)
				}
			})
		})
	}
}

func TestClient_noTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newContext(t, tlsctx.Options{HandshakeTimeout: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		_, err := c.Client(ctx, silent(), "broker.example")
		if took := time.Since(begin); took != time.Hour {
			t.Errorf("took %v", took)
		}
		e := wantHandshakeError(t, err)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tlsctx.ErrHandshakeTimeout) || !e.Timeout() {
			t.Errorf("got %v", err)
		}
	})
}

func TestClient_cancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newContext(t, tlsctx.Options{})
		stopped := errors.New("the client was stopped")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stopped) })
		begin := time.Now()
		_, err := c.Client(ctx, silent(), "broker.example")
		if took := time.Since(begin); took != time.Second {
			t.Errorf("took %v", took)
		}
		wantHandshakeError(t, err, "the client was stopped")
		if !errors.Is(err, stopped) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Time limits cover material too, and a connection is not left open when there is none.
func TestClient_slowIdentity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newContext(t, tlsctx.Options{Identity: tlsctx.IdentityFunc(func(ctx context.Context) (*tls.Certificate, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})})
		conn := silent()
		_, err := c.Client(t.Context(), conn, "broker.example")
		wantMaterialError(t, err, tlsctx.ErrHandshakeTimeout, "identity callback")
		if _, err := conn.Write([]byte{1}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection is open: %v", err)
		}
	})
}
