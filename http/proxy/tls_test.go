// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
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

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// A proxy with a private CA that wants a client certificate, and TLS to the
// target inside: two handshakes with two contexts.
func TestTLSInTLS_clientCertificate(t *testing.T) {
	t.Parallel()
	target := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") }))
	defer target.Close()
	p := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = far.Close() }()
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = near.Close() }()
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(far, near)
			_ = far.Close()
		}()
		_, _ = io.Copy(near, far)
	}))
	p.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	defer p.Close()

	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	host, port, _ := net.SplitHostPort(p.Listener.Addr().String())
	context := func(o tlsctx.Options) *tlsctx.Context {
		o.RootCAs, o.HandshakeTimeout, o.DisableValidityCheck = roots, time.Minute, true
		c, err := tlsctx.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := proxy.Options{URL: "https://" + net.JoinHostPort(host, port), TLSTimeout: time.Minute}

	identity := proxy.Options{TLSConfig: &tls.Config{RootCAs: roots, Certificates: p.TLS.Certificates}, URL: base.URL, TLSTimeout: base.TLSTimeout}
	d := newDialer(t, identity)
	inner := &tlsctx.Dialer{Context: context(tlsctx.Options{}), NetDialer: tlsctx.DialFunc(d.DialContext)}
	conn, err := inner.DialContext(t.Context(), "tcp", target.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	text, err := io.ReadAll(conn)
	_ = conn.Close()
	if err != nil || len(text) < 6 || string(text[len(text)-6:]) != "inside" {
		t.Errorf("%q, %v", text, err)
	}

	// Without a certificate TLS 1.3 lets the client find out after the handshake.
	base.TLS = context(tlsctx.Options{})
	_, err = newDialer(t, base).DialContext(t.Context(), "tcp", target.Listener.Addr().String())
	if pe := proxyError(t, err); pe.Step != proxy.StepTLS && pe.Step != proxy.StepTunnel {
		t.Errorf("got %v", err)
	}
	// The name in the certificate counts.
	base.TLSServerName = "other.test"
	_, err = newDialer(t, base).DialContext(t.Context(), "tcp", target.Listener.Addr().String())
	var he *tlsctx.HandshakeError
	if pe := proxyError(t, err); pe.Step != proxy.StepTLS || !errors.As(err, &he) {
		t.Errorf("got %v", err)
	}
	// A proxy must not be talked into HTTP/2.
	base.TLS, base.TLSServerName = nil, ""
	h2 := httptest.NewUnstartedServer(http.NotFoundHandler())
	h2.EnableHTTP2 = true
	h2.StartTLS()
	defer h2.Close()
	base.URL, base.TLSConfig = h2.URL, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}
	_, err = newDialer(t, base).DialContext(t.Context(), "tcp", target.Listener.Addr().String())
	if pe := proxyError(t, err); pe.Step != proxy.StepTLS {
		t.Errorf("got %v", err)
	}
}
