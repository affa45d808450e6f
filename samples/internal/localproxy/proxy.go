// SPDX-License-Identifier: Apache-2.0

// Package localproxy is a small HTTP proxy for the sample that connects through
// one.
package localproxy

import (
	"bufio"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const userInfo = "sample-user:sample-password"

// Proxy is a running proxy. It listens on 127.0.0.1, tunnels (CONNECT), and
// wants a password.
type Proxy struct {
	listener net.Listener
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	report   func(target string)

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// Start starts a proxy that reaches targets with dial, and calls report for
// each tunnel.
func Start(dial func(ctx context.Context, network, address string) (net.Conn, error), report func(target string)) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: ln, dial: dial, report: report, conns: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.hold(conn)
			p.wg.Go(func() {
				defer p.drop(conn)
				p.serve(conn)
			})
		}
	})
	return p, nil
}

// URL is the address of the proxy, with user name and password.
func (p *Proxy) URL() string { return "http://" + userInfo + "@" + p.listener.Addr().String() }

// Close ends the proxy and its tunnels.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) hold(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = conn.Close()
		return
	}
	p.conns[conn] = true
}

func (p *Proxy) drop(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

func (p *Proxy) serve(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(userInfo))
		switch {
		case subtle.ConstantTimeCompare([]byte(request.Header.Get("Proxy-Authorization")), []byte(want)) == 0:
			_, _ = fmt.Fprint(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"sample\"\r\nContent-Length: 0\r\n\r\n")
		case request.Method != http.MethodConnect:
			_, _ = fmt.Fprint(conn, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
			return
		default:
			p.tunnel(conn, r, request.Host)
			return
		}
	}
}

func (p *Proxy) tunnel(conn net.Conn, r io.Reader, host string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	target, err := p.dial(ctx, "tcp", host)
	cancel()
	if err != nil {
		_, _ = fmt.Fprint(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	p.hold(target)
	defer p.drop(target)
	p.report(host)
	if _, err := fmt.Fprint(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	p.wg.Go(func() {
		_, _ = io.Copy(conn, target)
		_ = conn.Close()
	})
	_, _ = io.Copy(target, r)
}
