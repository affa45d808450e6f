// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

const host = "broker.example"

var errDNSDown = &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}

func noSuchHost() error { return &net.DNSError{Err: "no such host", Name: host, IsNotFound: true} }

// reply is what the fake DNS answers for one network, after a delay.
type reply struct {
	addrs []string
	err   error
	delay time.Duration
}

// fakeDNS is a resolver whose answers a test sets. A network without a reply
// gets "no such host".
type fakeDNS struct {
	mu      sync.Mutex
	replies map[string]reply // by network
	queries []string         // network and host, in order
	aborted int              // queries whose context ended
}

func (f *fakeDNS) set(network string, r reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.replies == nil {
		f.replies = make(map[string]reply)
	}
	f.replies[network] = r
}

func (f *fakeDNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	f.queries = append(f.queries, network+" "+host)
	r, ok := f.replies[network]
	f.mu.Unlock()
	if !ok {
		return nil, noSuchHost()
	}
	if r.delay > 0 {
		select {
		case <-time.After(r.delay):
		case <-ctx.Done():
			f.mu.Lock()
			f.aborted++
			f.mu.Unlock()
			return nil, ctx.Err()
		}
	}
	var addrs []netip.Addr
	for _, a := range r.addrs {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, r.err
}

func (f *fakeDNS) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.queries)
}

func dns(six, four []string) *fakeDNS {
	f := new(fakeDNS)
	if six != nil {
		f.set("ip6", reply{addrs: six})
	}
	if four != nil {
		f.set("ip4", reply{addrs: four})
	}
	return f
}

// peer is how a fake address behaves when it is connected to.
type peer struct {
	after   time.Duration // until it answers; negative: never
	err     error         // nil: it accepts
	deaf    bool          // it does not notice that the context ends
	refused bool          // shorthand for ECONNREFUSED
}

// fakeNet stands for the network. Its connections are in memory.
type fakeNet struct {
	mu     sync.Mutex
	start  time.Time
	peers  map[string]peer // by IP address; others never answer
	log    []string        // attempts, with their times
	opened int
	closed int
}

func newFakeNet(peers map[string]peer) *fakeNet {
	return &fakeNet{start: time.Now(), peers: peers}
}

func (n *fakeNet) set(peers map[string]peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers = peers
}

func (n *fakeNet) connect(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	n.log = append(n.log, fmt.Sprintf("%v %s %s", time.Since(n.start), network, address))
	p, ok := n.peers[netip.MustParseAddrPort(address).Addr().String()]
	n.mu.Unlock()
	if !ok {
		p.after = -1
	}
	done := ctx.Done()
	if p.deaf {
		done = nil
	}
	var answer <-chan time.Time
	if p.after >= 0 {
		answer = time.After(p.after)
	}
	select {
	case <-answer:
	case <-done:
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("operation was canceled")}
	}
	if p.refused {
		p.err = &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	if p.err != nil {
		return nil, p.err
	}
	n.mu.Lock()
	n.opened++
	n.mu.Unlock()
	client, server := net.Pipe()
	server.Close()
	return &fakeConn{Conn: client, net: n, to: address}, nil
}

// attempts returns the log since the last call, with times relative to it if
// reset is called.
func (n *fakeNet) attempts() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.log
	n.log = nil
	return l
}

func (n *fakeNet) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.start, n.log = time.Now(), nil
}

func (n *fakeNet) open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opened - n.closed
}

type fakeConn struct {
	net.Conn
	net  *fakeNet
	to   string
	once sync.Once
}

func (c *fakeConn) Close() error {
	c.once.Do(func() {
		c.net.mu.Lock()
		c.net.closed++
		c.net.mu.Unlock()
	})
	return c.Conn.Close()
}

// dialTo dials the host and checks which address won.
func dialTo(t *testing.T, d *Dialer, want string) {
	t.Helper()
	conn, err := d.DialContext(context.Background(), "tcp", host+":8883")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.(*fakeConn).to; got != want {
		t.Errorf("connected to %s, want %s", got, want)
	}
}
