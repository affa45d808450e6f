// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// ALPN protocol names of AWS IoT Core.
const (
	ALPNMQTTCA = "x-amzn-mqtt-ca" // MQTT with a client certificate
	ALPNMQTT   = "mqtt"           // MQTT with a custom authorizer
	ALPNHTTPCA = "x-amzn-http-ca" // HTTPS with a client certificate
	alpnHTTP   = "http/1.1"
)

const (
	portHTTPS = "443"
	portMTLS  = "8883"
	portPlain = "1883"
)

type authKind int

const (
	authNone authKind = iota
	authX509
	authSigV4
	authCustom
)

// transport is the state of a connection before CONNECT.
type transport struct {
	raw        *faultConn
	port       string
	auth       authKind
	tlsVersion uint16
	alpn       string
	serverName string
	peer       *x509.Certificate
	webSocket  bool
	header     http.Header
	principal  *principal         // SigV4, or custom authorizer of the upgrade
	upgrade    *AuthorizerRequest // custom authorizer fields of the upgrade request
	handOff    chan *upgraded     // from the web server back to the goroutine of the connection
}

// accept serves a listener until it is closed.
func (c *Core) accept(ln net.Listener, port string) {
	c.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				time.Sleep(5 * time.Millisecond) // out of file descriptors, most likely
				continue
			}
			c.mu.Lock()
			if c.closed {
				c.mu.Unlock()
				_ = nc.Close()
				return
			}
			c.nextConn++
			raw := newFaultConn(nc, c.nextConn)
			c.raw[raw] = struct{}{}
			c.mu.Unlock()
			c.wg.Go(func() {
				defer c.release(raw)
				c.serve(raw, port)
			})
		}
	})
}

// release forgets a connection once it is closed.
func (c *Core) release(raw *faultConn) {
	<-raw.done
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.raw, raw)
}

// serve runs a TCP connection.
func (c *Core) serve(raw *faultConn, port string) {
	if f, struck := c.faults.strike(func(f *Faults) bool {
		return f.ResetConnections || f.SilentTCP || f.HandshakeDelay > 0 || f.WriteDelay > 0
	}); struck {
		switch {
		case f.ResetConnections:
			raw.reset()
			return
		case f.SilentTCP:
			<-raw.done
			return
		}
		raw.delay.Store(int64(f.WriteDelay))
		if f.HandshakeDelay > 0 {
			t := time.NewTimer(f.HandshakeDelay)
			select {
			case <-t.C:
			case <-raw.done:
				t.Stop()
				return
			}
		}
	}
	tr := &transport{raw: raw, port: port}
	if port == portPlain {
		c.serveMQTT(raw, raw, tr)
		return
	}
	conn := tls.Server(raw, c.tlsConfig(port))
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.ConnectTimeout)
	err := conn.HandshakeContext(ctx)
	cancel()
	if err != nil {
		c.emit(Event{Type: HandshakeFailed, Conn: raw.id, Err: err})
		_ = raw.Close()
		return
	}
	state := conn.ConnectionState()
	tr.tlsVersion, tr.alpn, tr.serverName = state.Version, state.NegotiatedProtocol, state.ServerName
	if len(state.PeerCertificates) > 0 {
		tr.peer = state.PeerCertificates[0]
	}
	switch {
	case port == portMTLS || tr.alpn == ALPNMQTTCA:
		tr.auth = authX509
		c.serveMQTT(raw, conn, tr)
	case tr.alpn == ALPNMQTT:
		tr.auth = authCustom
		c.serveMQTT(raw, conn, tr)
	default:
		first, ok := c.looksLikeHTTP(conn, tr)
		if !ok {
			_ = conn.Close()
			_ = raw.Close()
			return
		}
		tr.handOff = make(chan *upgraded, 1)
		c.webConns.put(&webConn{Conn: &unread{Conn: conn, first: first}, tr: tr})
		select {
		case up := <-tr.handOff:
			c.serveMQTT(raw, up.conn, up.tr)
		case <-raw.done:
		}
	}
}

// looksLikeHTTP reads the first byte of an HTTPS connection and refuses what is
// no HTTP, so that a client that speaks MQTT here is refused at once.
func (c *Core) looksLikeHTTP(conn net.Conn, tr *transport) (first []byte, ok bool) {
	first = make([]byte, 1)
	_ = conn.SetReadDeadline(time.Now().Add(c.opts.ConnectTimeout))
	if _, err := conn.Read(first); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Err: errors.New("iottest: no HTTP request within Options.ConnectTimeout")})
		}
		return nil, false
	}
	_ = conn.SetReadDeadline(time.Time{})
	if first[0] >= 'A' && first[0] <= 'Z' {
		return first, true
	}
	err := errors.New("iottest: neither HTTP nor MQTT on the port that stands for 443")
	if first[0] == packets.Connect<<4 {
		err = errors.New("iottest: MQTT without ALPN on the port that stands for 443: offer ALPN " + ALPNMQTTCA +
			" (client certificate) or " + ALPNMQTT + " (custom authorizer), or use the port that stands for 8883")
	}
	c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Err: err})
	return nil, false
}

// unread is a connection whose first bytes were read already.
type unread struct {
	net.Conn
	first []byte
}

func (u *unread) Read(b []byte) (int, error) {
	if len(u.first) > 0 {
		n := copy(b, u.first)
		u.first = u.first[n:]
		return n, nil
	}
	return u.Conn.Read(b)
}

func (c *Core) tlsConfig(port string) *tls.Config {
	base := &tls.Config{
		Certificates: []tls.Certificate{c.server},
		MinVersion:   tls.VersionTLS12,
		// A session ticket would carry a client past the check of its certificate.
		SessionTicketsDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil
			}
			return c.verifyDevice(cs.PeerCertificates[0])
		},
	}
	if port == portMTLS {
		base.NextProtos = []string{ALPNMQTTCA, ALPNMQTT}
		base.ClientAuth = tls.RequireAnyClientCert
		return base
	}
	base.NextProtos = []string{ALPNMQTTCA, ALPNHTTPCA, ALPNMQTT, alpnHTTP}
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		cfg := base.Clone()
		switch {
		case slices.Contains(hello.SupportedProtos, ALPNMQTTCA), slices.Contains(hello.SupportedProtos, ALPNHTTPCA),
			strings.Contains(hello.ServerName, ".credentials.iot."):
			cfg.ClientAuth = tls.RequireAnyClientCert
		default: // a custom authorizer may want to see one besides, over WebSocket too
			cfg.ClientAuth = tls.RequestClientCert
		}
		return cfg, nil
	}
	return base
}

// webConn is a TLS connection for the web server; it carries the transport along.
type webConn struct {
	net.Conn
	tr *transport
}

func (w *webConn) Close() error {
	err := w.Conn.Close()
	_ = w.tr.raw.Close()
	return err
}

type transportKey struct{}

func withTransport(ctx context.Context, nc net.Conn) context.Context {
	if w, ok := nc.(*webConn); ok {
		return context.WithValue(ctx, transportKey{}, w.tr)
	}
	return ctx
}

// connListener is a listener whose connections come from elsewhere.
type connListener struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newConnListener(addr net.Addr) *connListener {
	return &connListener{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *connListener) put(nc net.Conn) {
	select {
	case l.conns <- nc:
	case <-l.done:
		_ = nc.Close()
	}
}

func (l *connListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *connListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *connListener) Addr() net.Addr { return l.addr }
