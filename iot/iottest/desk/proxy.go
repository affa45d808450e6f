// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// proxy is an HTTP proxy that opens tunnels (CONNECT) to the names that the
// core stands for, and to this machine. It takes nobody elsewhere.
type proxy struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

func newProxy(dial func(ctx context.Context, network, address string) (net.Conn, error)) *proxy {
	return &proxy{dial: dial, conns: map[net.Conn]struct{}{}}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "this proxy opens tunnels only: CONNECT", http.StatusMethodNotAllowed)
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil || !strings.HasSuffix(host, ".amazonaws.com") && !loopback(host) {
		http.Error(w, "this proxy takes nobody to "+r.Host, http.StatusForbidden)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	target, err := p.dial(ctx, "tcp", r.Host)
	cancel()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = target.Close()
		return
	}
	if !p.add(client, target) {
		return
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
	forward := func(dst io.Writer, from io.Reader) {
		_, _ = io.Copy(dst, from)
		p.remove(client, target)
	}
	p.wg.Go(func() { forward(client, target) })
	p.wg.Go(func() { forward(target, rw) })
}

func (p *proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed {
			_ = c.Close()
		} else {
			p.conns[c] = struct{}{}
		}
	}
	return !p.closed
}

func (p *proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}

// close ends all tunnels.
func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
