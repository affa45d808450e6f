// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// check returns a step of a report.
func check(t *testing.T, r *Report, step string) Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Step == step {
			return c
		}
	}
	t.Fatalf("no step %q in\n%v", step, r)
	return Check{}
}

// What an identity of the user returns is named for what it is, before anything
// is sent.
func TestDiagnose_certificate(t *testing.T) {
	certPEM, keyPEM, _ := newCertificate(t)
	good, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(good.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return leaf.NotAfter.Add(48 * time.Hour) }
	for _, tt := range []struct {
		name   string
		give   func() (*tls.Certificate, error)
		now    func() time.Time
		status CheckStatus
		is     error
		says   string
	}{
		{"nothing", func() (*tls.Certificate, error) { return nil, nil }, time.Now, CheckFailed, tlsctx.ErrNoCertificate, ""},
		{"empty", func() (*tls.Certificate, error) { return &tls.Certificate{}, nil }, time.Now, CheckFailed, tlsctx.ErrNoCertificate, ""},
		{"no key", func() (*tls.Certificate, error) { return &tls.Certificate{Certificate: good.Certificate}, nil }, time.Now, CheckFailed, tlsctx.ErrNoKey, ""},
		{"not DER", func() (*tls.Certificate, error) { return &tls.Certificate{Certificate: [][]byte{{1}}}, nil }, time.Now, CheckFailed, nil, ""},
		{"panic", func() (*tls.Certificate, error) { panic("oops") }, time.Now, CheckFailed, nil, "panicked"},
		{"error", func() (*tls.Certificate, error) { return nil, errDialed }, time.Now, CheckFailed, errDialed, ""},
		{"expired", func() (*tls.Certificate, error) { return &good, nil }, later, CheckFailed, tlsctx.ErrExpired, ""},
		{"without leaf", func() (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: good.Certificate, PrivateKey: good.PrivateKey}, nil
		}, time.Now, CheckWarning, nil, "expires in 0 days"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			identity := tlsctx.IdentityFunc(func(context.Context) (*tls.Certificate, error) { return tt.give() })
			none := func(context.Context, string, string) (net.Conn, error) { return nil, errDialed }
			r := Diagnose(t.Context(), testEndpoint, MTLSWithIdentity(identity), DiagnoseOptions{}, WithDialer(none),
				WithTLS(func(o *tlsctx.Options) { o.Now = tt.now }))
			c := check(t, r, StepCertificate)
			if c.Status != tt.status || tt.is != nil && !errors.Is(c.Err, tt.is) || !strings.Contains(c.Detail+c.Hint, tt.says) {
				t.Errorf("got %+v, want %s, %v, %q", c, tt.status, tt.is, tt.says)
			}
		})
	}
}

// A server that never ends its header is not listened to for ever.
func TestProbe_serverTimeIsBounded(t *testing.T) {
	certPEM, keyPEM, _ := newCertificate(t)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	tlsContext, err := tlsctx.New(tlsctx.Options{DangerouslyDisableServerVerification: true})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sent := make(chan int, 1)
	go func() {
		server, err := listener.Accept()
		if err != nil {
			sent <- 0
			return
		}
		defer server.Close()
		line := []byte("X: " + strings.Repeat("x", 1000) + "\r\n")
		total, _ := server.Write([]byte("HTTP/1.1 200 OK\r\n"))
		for {
			n, err := server.Write(line)
			if total += n; err != nil || total > 64<<20 {
				sent <- total
				return
			}
		}
	}()
	p := newProbe()
	p.host, p.port, p.tls = "localhost", 443, tlsContext
	p.network = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
	}
	if _, err := p.serverTime(t.Context()); err == nil {
		t.Error("no error")
	}
	// What the buffers of the kernel hold comes on top.
	if n := <-sent; n > 32<<20 {
		t.Errorf("read %d bytes of a header", n)
	}
}

// A diagnosis that ends before the attempt does says how far that came.
func TestDiagnose_abandoned(t *testing.T) {
	hangs := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	for name, start := range map[string]func() (context.Context, context.CancelFunc){
		"no answer before the time": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 10*time.Millisecond)
		},
		"interrupted": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		ctx, cancel := start()
		r := Diagnose(ctx, testEndpoint, ForBroker(), DiagnoseOptions{}, WithDialer(hangs))
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), name) || !errors.Is(err, ctx.Err()) {
			t.Errorf("%v, want %q in\n%v", err, name, r)
		}
		if c := check(t, r, StepRoundTrip); c.Status != CheckNotReached {
			t.Errorf("round trip: %+v", c)
		}
		cancel()
	}
}

// The clock is compared with the server's, whose answer is about something else.
func TestProbe_clock(t *testing.T) {
	tlsContext, err := tlsctx.New(tlsctx.Options{DangerouslyDisableServerVerification: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		ahead  time.Duration // of the server
		signed bool
		status CheckStatus
		says   string
	}{
		{"right", 0, true, CheckOK, "agrees with the server's"},
		{"a minute", time.Minute, true, CheckOK, "ahead of the server"},
		{"minus a minute", -time.Minute, true, CheckOK, "behind the server"},
		{"an hour", time.Hour, false, CheckWarning, "ahead of the server"},
		{"minus an hour, signed", -time.Hour, true, CheckFailed, "behind the server"},
	} {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-tt.ahead).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusForbidden)
		}))
		p := newProbe()
		p.host, p.port, p.tls, p.signed = "localhost", 443, tlsContext, tt.signed
		p.network = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
		}
		p.ok(StageTLS, 0, "")
		p.clock(t.Context())
		if c := check(t, p.report(), StepClock); c.Status != tt.status || !strings.Contains(c.Detail, tt.says) || (c.Err != nil) != (tt.status == CheckFailed) {
			t.Errorf("%s: %+v", tt.name, c)
		}
		srv.Close()
	}
}
