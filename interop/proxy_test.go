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
	number := 0
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
		// A proxy sees bytes alone: one way to each broker is enough, in turn.
		number++
		webSocketToCore := number%2 == 0
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			through := proxyLayer(start(t))
			toCore, toMosquitto := c.alpn("mtls", through), m.websocket("ws", through)
			if webSocketToCore {
				toCore, toMosquitto = c.websocket("wss", through), m.secure("mtls", through)
			}
			t.Run("core", func(t *testing.T) { runSuite(t, &c.broker, []*route{toCore}) })
			t.Run("mosquitto", func(t *testing.T) { runSuite(t, &m.broker, []*route{toMosquitto}) })
		})
	}
}
