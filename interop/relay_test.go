// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// dialFunc opens a connection, as net.Dialer.DialContext does.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// direction is that of bytes through a relay.
type direction int

const (
	toServer direction = iota
	toClient
)

// relay is a TCP relay on the loopback interface that cuts and stalls
// connections on demand. Its dial leads to the address asked for, through the relay.
type relay struct {
	done sync.WaitGroup

	mu        sync.Mutex
	changed   *sync.Cond // held, or a link was cut or ended
	listeners map[string]net.Listener
	links     map[*link]struct{}
	held      [2]bool
	refusing  bool
	closed    bool
	tap       func(k *link, d direction, b []byte)
	budget    func() (d direction, bytes int, limited bool) // of the next link
}

// link is one relayed connection.
type link struct {
	relay          *relay
	client, server *net.TCPConn
	cut            bool   // guarded by relay.mu
	left           [2]int // bytes until it is cut; negative: no limit
	tap            func(k *link, d direction, b []byte)
}

func newRelay(t *testing.T) *relay {
	r := &relay{listeners: map[string]net.Listener{}, links: map[*link]struct{}{}}
	r.changed = sync.NewCond(&r.mu)
	t.Cleanup(r.close)
	return r
}

func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	for _, l := range r.listeners {
		_ = l.Close()
	}
	r.mu.Unlock()
	r.cut()
	r.done.Wait()
}

// dial connects to the address through the relay.
func (r *relay) dial(ctx context.Context, network, address string) (net.Conn, error) {
	front, err := r.front(address)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, front)
}

// front returns the address that leads to another one through the relay.
func (r *relay) front(address string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return "", net.ErrClosed
	}
	l, ok := r.listeners[address]
	if !ok {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return "", err
		}
		r.listeners[address] = l
		r.done.Go(func() { r.accept(l, address) })
	}
	return l.Addr().String(), nil
}

func (r *relay) accept(l net.Listener, address string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		client := conn.(*net.TCPConn)
		upstream, err := net.Dial("tcp", address)
		if err != nil {
			_ = client.Close()
			continue
		}
		k := &link{relay: r, client: client, server: upstream.(*net.TCPConn), left: [2]int{-1, -1}}
		r.mu.Lock()
		if r.closed || r.refusing {
			r.mu.Unlock()
			k.end()
			continue
		}
		if r.budget != nil {
			if d, n, limited := r.budget(); limited {
				k.left[d] = n
			}
		}
		k.tap = r.tap
		r.links[k] = struct{}{}
		r.mu.Unlock()
		r.done.Go(func() {
			var both sync.WaitGroup
			both.Go(func() { k.pump(toServer, k.server, k.client) })
			both.Go(func() { k.pump(toClient, k.client, k.server) })
			both.Wait()
			_ = k.client.Close() // no reset: the last bytes may be on their way
			_ = k.server.Close()
			r.mu.Lock()
			delete(r.links, k)
			r.changed.Broadcast()
			r.mu.Unlock()
		})
	}
}

// refuse makes the relay reset new connections, or stops that.
func (r *relay) refuse(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusing = yes
}

// hold stops what goes in a direction, or lets it go on. Nothing is lost as
// long as the connection is not cut.
func (r *relay) hold(d direction, yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[d] = yes
	r.changed.Broadcast()
}

// limit makes the relay cut each connection that comes from now on after a
// number of bytes in one direction. budget is called for one at a time.
func (r *relay) limit(budget func() (d direction, bytes int, limited bool)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.budget = budget
}

// watch makes the relay show what goes over the connections that come from now on.
func (r *relay) watch(tap func(k *link, d direction, b []byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tap = tap
}

// cut resets all connections. What is held is lost.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.links {
		k.cut = true
		k.end()
	}
	r.changed.Broadcast()
}

// ended waits until both sides have closed all connections.
func (r *relay) ended(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.links) > 0 && ctx.Err() == nil {
		r.changed.Wait()
	}
	return ctx.Err()
}

// end resets both sides: bytes that are on their way are lost.
func (k *link) end() {
	_ = k.client.SetLinger(0)
	_ = k.server.SetLinger(0)
	_ = k.client.Close()
	_ = k.server.Close()
}

// pass waits until n bytes may go on, and returns how many of them do.
func (k *link) pass(d direction, n int) (int, bool) {
	r := k.relay
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.held[d] && !k.cut {
		r.changed.Wait()
	}
	if k.cut {
		return 0, false
	}
	if k.left[d] < 0 || n == 0 {
		return n, true
	}
	n = min(n, k.left[d])
	k.left[d] -= n
	return n, k.left[d] > 0
}

func (k *link) pump(d direction, dst, src *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			n, goesOn := k.pass(d, n)
			if k.tap != nil {
				k.tap(k, d, buf[:n])
			}
			if _, werr := dst.Write(buf[:n]); werr != nil || !goesOn {
				k.end()
				return
			}
		}
		if err != nil {
			// A link that is held must look dead, not closed.
			if _, goesOn := k.pass(d, 0); !goesOn {
				return
			}
		}
		if err == io.EOF {
			// The other direction may still have something to say.
			_ = dst.CloseWrite()
			return
		}
		if err != nil {
			k.end()
			return
		}
	}
}
