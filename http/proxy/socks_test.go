// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
)

// exchange sends each text after the client sent the number of bytes before it.
type exchange struct {
	read int
	send string
}

func serveSOCKS(steps []exchange, got *strings.Builder) script {
	return func(c net.Conn, br *bufio.Reader) {
		for _, s := range steps {
			b := make([]byte, s.read)
			n, err := io.ReadFull(br, b)
			got.Write(b[:n])
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, s.send)
		}
		_, _ = io.Copy(io.Discard, br)
	}
}

func TestSOCKS5_hostileProxy(t *testing.T) {
	const request = "\x05\x01\x00\x03\x0bbroker.test\x22\xb3" // 18 bytes: the name goes to the proxy
	const login = "\x01\x04user\x10" + secret
	auth := proxy.Options{Username: "user", Password: secret}
	tests := []struct {
		name    string
		steps   []exchange
		options proxy.Options
		is      error
		reply   proxy.SOCKSReply
		sent    string
	}{
		{name: "success", steps: []exchange{{3, "\x05\x00"}, {18, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01"}}, sent: "\x05\x01\x00" + request},
		{name: "success with a name", steps: []exchange{{3, "\x05\x00"}, {18, "\x05\x00\x00\x03\x03abc\x00\x01"}}, sent: "\x05\x01\x00" + request},
		{name: "success with password", options: auth, steps: []exchange{{4, "\x05\x02"}, {len(login), "\x01\x00"}, {18, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01"}},
			sent: "\x05\x02\x00\x02" + login + request},
		{name: "password not needed", options: auth, steps: []exchange{{4, "\x05\x00"}, {18, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01"}}, sent: "\x05\x02\x00\x02" + request},
		{name: "refused", steps: []exchange{{3, "\x05\x00"}, {18, "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"}}, is: proxy.ErrRefused, reply: 2},
		{name: "unknown reply", steps: []exchange{{3, "\x05\x00"}, {18, "\x05\x7f\x00\x01\x00\x00\x00\x00\x00\x00"}}, is: proxy.ErrRefused, reply: 0x7f},
		{name: "wants a password", steps: []exchange{{3, "\x05\xff"}}, is: proxy.ErrAuthentication},
		{name: "wrong password", options: auth, steps: []exchange{{4, "\x05\x02"}, {len(login), "\x01\x01"}}, is: proxy.ErrAuthentication},
		{name: "method not offered", steps: []exchange{{3, "\x05\x03"}, {18, "\x05\x01"}}, is: proxy.ErrMalformedResponse},
		{name: "HTTP proxy", steps: []exchange{{3, "HTTP/1.1 400 Bad Request\r\n\r\n"}}, is: proxy.ErrMalformedResponse},
		{name: "SOCKS4", steps: []exchange{{3, "\x00\x5b\x00\x00\x00\x00\x00\x00"}}, is: proxy.ErrMalformedResponse},
		{name: "reply of another version", steps: []exchange{{3, "\x05\x00"}, {18, "\x04\x00\x00\x01"}}, is: proxy.ErrMalformedResponse},
		{name: "reply with unknown address", steps: []exchange{{3, "\x05\x00"}, {18, "\x05\x00\x00\x09"}}, is: proxy.ErrMalformedResponse},
		{name: "stalls at once", steps: nil, is: context.DeadlineExceeded},
		{name: "stalls after the method", steps: []exchange{{3, "\x05\x00"}}, is: context.DeadlineExceeded},
		{name: "stalls in the reply", steps: []exchange{{3, "\x05\x00"}, {18, "\x05\x00\x00"}}, is: context.DeadlineExceeded},
		{name: "stalls in the bound address", steps: []exchange{{3, "\x05\x00"}, {18, "\x05\x00\x00\x01\x7f"}}, is: context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, closes := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					var got strings.Builder
					serve := serveSOCKS(tt.steps, &got)
					if closes {
						full := serve
						serve = func(c net.Conn, br *bufio.Reader) {
							time.AfterFunc(time.Second, func() { _ = c.Close() })
							full(c, br)
						}
					}
					s := &scripted{t: t, scripts: []script{serve}}
					o := tt.options
					o.Kind, o.Host, o.Dial = proxy.SOCKS5, "proxy.test", s.dial
					conn, err := newDialer(t, o).DialContext(t.Context(), "tcp", "broker.test:8883")
					want := tt.is
					if closes && errors.Is(want, context.DeadlineExceeded) {
						want = proxy.ErrClosed
					}
					if want == nil {
						if err != nil {
							t.Fatal(err)
						}
						if conn != net.Conn(s.clients[0]) {
							t.Errorf("the connection was wrapped in %T", conn)
						}
						_ = conn.Close()
						synctest.Wait()
						if d := cmp.Diff(tt.sent, got.String()); d != "" {
							t.Errorf("sent (-want +got):\n%s", d)
						}
						return
					}
					pe := proxyError(t, err)
					if !errors.Is(err, want) || pe.Reply != tt.reply || pe.Proxy != "socks5://proxy.test:1080" || pe.Step != proxy.StepTunnel {
						t.Errorf("got %v", err)
					}
					if pe.Timeout() != errors.Is(want, context.DeadlineExceeded) {
						t.Errorf("Timeout() = %v for %v", pe.Timeout(), err)
					}
					if !s.clients[0].closed.Load() {
						t.Error("the connection was not closed")
					}
				})
			}
		})
	}
}

// Addresses go as addresses.
func TestSOCKS5_addresses(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:8883":     "\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x22\xb3",
		"[2001:db8::1]:8883": "\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x22\xb3",
	} {
		synctest.Test(t, func(t *testing.T) {
			var got strings.Builder
			s := &scripted{t: t, scripts: []script{serveSOCKS([]exchange{{3, "\x05\x00"}, {len(want) - 3, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x01"}}, &got)}}
			conn, err := newDialer(t, proxy.Options{Kind: proxy.SOCKS5, Host: "proxy.test", Dial: s.dial}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			synctest.Wait()
			if got.String() != want {
				t.Errorf("sent %q, want %q", got.String(), want)
			}
		})
	}
}

func TestSOCKS5_cancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{t: t, scripts: []script{answer()}}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := newDialer(t, proxy.Options{Kind: proxy.SOCKS5, Host: "proxy.test", Dial: s.dial}).DialContext(ctx, "tcp", "broker.test:8883")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second || !s.clients[0].closed.Load() {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}
