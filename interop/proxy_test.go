// SPDX-License-Identifier: Apache-2.0

//go:build unix

package interop

import (
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy/proxytest"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// proxyLayer goes through a proxy.
func proxyLayer(s *proxytest.Server) layer {
	return func(t *testing.T, below dialFunc) dialFunc {
		t.Helper()
		o := proxy.Options{URL: s.URL(), Dial: below, TLSTimeout: patience, TunnelTimeout: patience}
		if s.RootCAs != nil {
			c, err := tlsctx.New(tlsctx.Options{RootCAs: s.RootCAs, HandshakeTimeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			o.TLS = c
		}
		d, err := proxy.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return d.DialContext
	}
}

// TestProxy goes through each proxy to each broker, by TLS and by WebSocket.
func TestProxy(t *testing.T) {
	c, m := startCore(t), startMosquitto(t)
	const user, password = "device7", "Sesame4711"
	basic := proxytest.Config{Username: user, Password: password}
	both := proxytest.Config{Username: user, Password: password, TLS: true}
	for name, start := range map[string]func(t *testing.T) *proxytest.Server{
		"squid":       func(t *testing.T) *proxytest.Server { return proxytest.StartSquid(t, proxytest.Config{}) },
		"squid basic": func(t *testing.T) *proxytest.Server { return proxytest.StartSquid(t, basic) },
		"squid TLS basic": func(t *testing.T) *proxytest.Server {
			return proxytest.StartSquid(t, both)
		},
		"tinyproxy":       func(t *testing.T) *proxytest.Server { return proxytest.StartTinyproxy(t, proxytest.Config{}) },
		"tinyproxy basic": func(t *testing.T) *proxytest.Server { return proxytest.StartTinyproxy(t, basic) },
		"dante":           func(t *testing.T) *proxytest.Server { return proxytest.StartDante(t, proxytest.Config{}) },
		"microsocks":      func(t *testing.T) *proxytest.Server { return proxytest.StartMicrosocks(t, proxytest.Config{}) },
		"microsocks user": func(t *testing.T) *proxytest.Server { return proxytest.StartMicrosocks(t, basic) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			through := proxyLayer(start(t))
			t.Run("core", func(t *testing.T) {
				runSuite(t, &c.broker, []*route{c.alpn("mtls", through), c.websocket("wss", through)})
			})
			t.Run("mosquitto", func(t *testing.T) {
				runSuite(t, &m.broker, []*route{m.secure("mtls", through), m.websocket("ws", through)})
			})
		})
	}
}
