// SPDX-License-Identifier: Apache-2.0

package authtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// Network connects HTTP clients to handlers in memory, by the address they
// dial. It opens no socket, so that it works with the virtual clock of
// testing/synctest, and no client can reach anything else through it. The zero
// value is ready to use.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
	servers   []*http.Server
	dialed    []string
}

// Handle serves h at an address such as "169.254.169.254:80". A non-nil config
// makes it speak TLS. Call [Network.Close] in the end.
func (n *Network) Handle(address string, h http.Handler, cfg *tls.Config) {
	l := &pipeListener{address: pipeAddr(address), conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	n.mu.Lock()
	if n.listeners == nil {
		n.listeners = map[string]*pipeListener{}
	}
	n.listeners[address] = l
	n.servers = append(n.servers, srv)
	n.mu.Unlock()
	var accept net.Listener = l
	if cfg != nil {
		accept = tls.NewListener(l, cfg)
	}
	go func() { _ = srv.Serve(accept) }()
}

// Dial is a dialer for the network; it refuses addresses without a handler.
func (n *Network) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dialed = append(n.dialed, address)
	l := n.listeners[address]
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Addr: pipeAddr(address), Err: errors.New("connection refused")}
	}
	client, server := newPipe(l.address)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
	case <-ctx.Done():
	}
	_ = client.Close()
	_ = server.Close()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("dial %s: %w", address, net.ErrClosed)
}

// Dialed returns the addresses that were dialed, in order.
func (n *Network) Dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.dialed...)
}

// Close ends all servers and their connections.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.servers {
		_ = s.Close()
	}
	n.servers, n.listeners = nil, nil
}

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

type pipeListener struct {
	address pipeAddr
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.address }
