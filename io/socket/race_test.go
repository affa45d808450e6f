// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	v6a, v6b, v6c = "2001:db8::a", "2001:db8::b", "2001:db8::c"
	v4a, v4b, v4c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
)

const ms = time.Millisecond

func TestRace(t *testing.T) {
	for _, test := range []struct {
		name   string
		dialer *Dialer
		dns    map[string]reply
		peers  map[string]peer
		want   []string // attempts
		took   time.Duration
	}{{
		name:  "first address answers",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a, v6b}}, "ip4": {addrs: []string{v4a}}},
		peers: map[string]peer{v6a: {after: 249 * ms}},
		want:  []string{"0s tcp6 [2001:db8::a]:8883"},
		took:  249 * ms,
	}, {
		name:  "families take turns, dead addresses cost a delay each",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a, v6b, v6c}}, "ip4": {addrs: []string{v4a, v4b}}},
		peers: map[string]peer{v6c: {after: 10 * ms}},
		want: []string{
			"0s tcp6 [2001:db8::a]:8883", "250ms tcp4 192.0.2.1:8883", "500ms tcp6 [2001:db8::b]:8883",
			"750ms tcp4 192.0.2.2:8883", "1s tcp6 [2001:db8::c]:8883",
		},
		took: 1010 * ms,
	}, {
		name:  "a failure starts the next at once",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a}}, "ip4": {addrs: []string{v4a, v4b}}},
		peers: map[string]peer{v6a: {refused: true}, v4a: {refused: true, after: 20 * ms}, v4b: {after: 5 * ms}},
		want:  []string{"0s tcp6 [2001:db8::a]:8883", "0s tcp4 192.0.2.1:8883", "20ms tcp4 192.0.2.2:8883"},
		took:  25 * ms,
	}, {
		name:  "an earlier attempt may still win",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a}}, "ip4": {addrs: []string{v4a}}},
		peers: map[string]peer{v6a: {after: 300 * ms}, v4a: {after: 100 * ms}},
		want:  []string{"0s tcp6 [2001:db8::a]:8883", "250ms tcp4 192.0.2.1:8883"},
		took:  300 * ms,
	}, {
		name:   "own delay",
		dialer: &Dialer{AttemptDelay: 2 * time.Second},
		dns:    map[string]reply{"ip4": {addrs: []string{v4a, v4b}}},
		peers:  map[string]peer{v4b: {}},
		want:   []string{"0s tcp4 192.0.2.1:8883", "2s tcp4 192.0.2.2:8883"},
		took:   2 * time.Second,
	}, {
		name:  "IPv6 addresses a little late come first",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a}, delay: 40 * ms}, "ip4": {addrs: []string{v4a}}},
		peers: map[string]peer{v6a: {}, v4a: {}},
		want:  []string{"40ms tcp6 [2001:db8::a]:8883"},
		took:  40 * ms,
	}, {
		name:  "IPv6 addresses that come later join",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a}, delay: 100 * ms}, "ip4": {addrs: []string{v4a, v4b}}},
		peers: map[string]peer{v6a: {}},
		want:  []string{"50ms tcp4 192.0.2.1:8883", "300ms tcp6 [2001:db8::a]:8883"},
		took:  300 * ms,
	}, {
		name:  "a lost answer for IPv6 does not matter",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a}, delay: time.Hour}, "ip4": {addrs: []string{v4a}}},
		peers: map[string]peer{v4a: {}},
		want:  []string{"50ms tcp4 192.0.2.1:8883"},
		took:  50 * ms,
	}, {
		name:  "nor one for IPv4",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a}}, "ip4": {addrs: []string{v4a}, delay: time.Hour}},
		peers: map[string]peer{v6a: {}},
		want:  []string{"0s tcp6 [2001:db8::a]:8883"},
	}, {
		name:  "no IPv6 addresses need no wait",
		dns:   map[string]reply{"ip4": {addrs: []string{v4a}}},
		peers: map[string]peer{v4a: {}},
		want:  []string{"0s tcp4 192.0.2.1:8883"},
	}, {
		name:  "the DNS fails for one family",
		dns:   map[string]reply{"ip6": {err: errDNSDown, delay: 30 * ms}, "ip4": {addrs: []string{v4a}}},
		peers: map[string]peer{v4a: {}},
		want:  []string{"30ms tcp4 192.0.2.1:8883"},
		took:  30 * ms,
	}, {
		name:  "addresses that come after all others failed",
		dns:   map[string]reply{"ip6": {addrs: []string{v6a}, delay: time.Second}, "ip4": {addrs: []string{v4a}}},
		peers: map[string]peer{v4a: {refused: true}, v6a: {}},
		want:  []string{"50ms tcp4 192.0.2.1:8883", "1s tcp6 [2001:db8::a]:8883"},
		took:  time.Second,
	}, {
		name:   "IPv4 only",
		dialer: &Dialer{Family: IPv4},
		dns:    map[string]reply{"ip6": {addrs: []string{v6a}}, "ip4": {addrs: []string{v4a}}},
		peers:  map[string]peer{v4a: {}, v6a: {}},
		want:   []string{"0s tcp4 192.0.2.1:8883"},
	}, {
		name:   "IPv6 only",
		dialer: &Dialer{Family: IPv6},
		dns:    map[string]reply{"ip6": {addrs: []string{v6a}, delay: 70 * ms}, "ip4": {addrs: []string{v4a}}},
		peers:  map[string]peer{v4a: {}, v6a: {}},
		want:   []string{"70ms tcp6 [2001:db8::a]:8883"},
		took:   70 * ms,
	}, {
		name:   "the family of the local address",
		dialer: &Dialer{LocalAddress: netip.MustParseAddr("192.0.2.9")},
		dns:    map[string]reply{"ip6": {addrs: []string{v6a}}, "ip4": {addrs: []string{v4a}}},
		peers:  map[string]peer{v4a: {}, v6a: {}},
		want:   []string{"0s tcp4 192.0.2.1:8883"},
	}, {
		name:  "doubles and mapped addresses count once",
		dns:   map[string]reply{"ip4": {addrs: []string{v4a, "::ffff:192.0.2.1", v4a, v6a, v4b}}},
		peers: map[string]peer{v4a: {refused: true}, v4b: {}},
		want:  []string{"0s tcp4 192.0.2.1:8883", "0s tcp4 192.0.2.2:8883"},
	}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := test.dialer
				if d == nil {
					d = new(Dialer)
				}
				d = &Dialer{AttemptDelay: d.AttemptDelay, Family: d.Family, LocalAddress: d.LocalAddress}
				network := newFakeNet(test.peers)
				d.Resolver, d.connect = &fakeDNS{replies: test.dns}, network.connect
				start := time.Now()
				conn, err := d.DialContext(context.Background(), "tcp", host+":8883")
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				synctest.Wait()
				if d := cmp.Diff(test.want, network.attempts()); d != "" {
					t.Error(d)
				}
				if n := network.open(); n != 1 {
					t.Errorf("%d connections are open", n)
				}
				conn.Close()
			})
		})
	}
}

func TestRace_losersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newFakeNet(map[string]peer{
			v6a: {after: 500 * ms, deaf: true}, // connects in spite of its context, too late
			v4a: {after: 100 * ms},
		})
		d := &Dialer{Resolver: dns([]string{v6a}, []string{v4a}), connect: network.connect}
		conn, err := d.DialContext(context.Background(), "tcp", host+":1")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		if network.opened != 2 || network.open() != 1 {
			t.Errorf("%d opened, %d left open", network.opened, network.open())
		}
	})
}

func TestRace_allFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unreachable := &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
		network := newFakeNet(map[string]peer{v6a: {err: unreachable}, v4a: {refused: true}, v4b: {refused: true}})
		d := &Dialer{Resolver: dns([]string{v6a}, []string{v4a, v4b}), connect: network.connect}
		_, err := d.DialContext(context.Background(), "tcp", host+":8883")
		var e *ConnectError
		if !errors.As(err, &e) {
			t.Fatalf("%T %v", err, err)
		}
		want := "socket: connecting to broker.example:8883: [2001:db8::a]:8883 (network is unreachable), " +
			"192.0.2.1:8883 (connection refused), 192.0.2.2:8883 (connection refused)"
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, syscall.ENETUNREACH) {
			t.Error("the causes are not found")
		}
		if e.Stage() != "TCP" || e.Network != "tcp" || e.Address != host+":8883" || len(e.Attempts) != 3 || e.Err != nil || e.Timeout() {
			t.Errorf("%+v", e)
		}
	})
}

func TestRace_connectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newFakeNet(map[string]peer{v6a: {refused: true}})
		fake := new(fakeDNS)
		fake.set("ip6", reply{addrs: []string{v6a}, delay: 9 * time.Second})
		fake.set("ip4", reply{addrs: []string{v4a, v4b}, delay: 9 * time.Second})
		d := &Dialer{Resolver: fake, connect: network.connect}
		start := time.Now()
		_, err := d.DialContext(context.Background(), "tcp", host+":8883")
		if took := time.Since(start); took != 19*time.Second {
			t.Errorf("took %v: the stages have 10 seconds each", took)
		}
		var e *ConnectError
		var ne net.Error
		if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("%T %v", err, err)
		}
		want := "socket: connecting to broker.example:8883: no connection within 10s; tried [2001:db8::a]:8883 (connection refused), " +
			"192.0.2.1:8883 (no connection within 10s), 192.0.2.2:8883 (no connection within 10s)"
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	})
}

func TestRace_resolveTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(fakeDNS)
		fake.set("ip6", reply{delay: time.Hour})
		fake.set("ip4", reply{delay: time.Hour})
		d := &Dialer{Resolver: fake, ResolveTimeout: 4 * time.Second}
		start := time.Now()
		_, err := d.DialContext(context.Background(), "tcp", host+":8883")
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %v", took)
		}
		var e *ResolveError
		if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || !e.Timeout() || e.Host != host || e.Stage() != "DNS" {
			t.Fatalf("%T %v", err, err)
		}
		if want := `socket: resolving "broker.example": no answer within 4s`; err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
		synctest.Wait()
		if fake.aborted != 2 {
			t.Errorf("%d queries cancelled", fake.aborted)
		}
	})
}

func TestRace_resolveTimeoutWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newFakeNet(nil)
		fake := dns(nil, []string{v4a})
		fake.set("ip6", reply{delay: time.Hour})
		d := &Dialer{Resolver: fake, connect: network.connect, ResolveTimeout: time.Second, ConnectTimeout: 5 * time.Second}
		start := time.Now()
		_, err := d.DialContext(context.Background(), "tcp", host+":8883")
		if took := time.Since(start); took != 5*time.Second+50*ms {
			t.Errorf("took %v", took)
		}
		var e *ConnectError
		if !errors.As(err, &e) || len(e.Attempts) != 1 {
			t.Errorf("%T %v", err, err)
		}
	})
}

func TestRace_nothingFound(t *testing.T) {
	for _, test := range []struct {
		name      string
		six, four error
		notFound  bool
		want      string
	}{
		{"neither", noSuchHost(), noSuchHost(), true, "no such host"},
		{"the other one failed", noSuchHost(), errDNSDown, false, "server misbehaving"},
		{"the first one failed", errDNSDown, noSuchHost(), false, "server misbehaving"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := new(fakeDNS)
			fake.set("ip6", reply{err: test.six})
			fake.set("ip4", reply{err: test.four})
			_, err := (&Dialer{Resolver: fake}).DialContext(context.Background(), "tcp", host+":8883")
			var e *ResolveError
			var de *net.DNSError
			if !errors.As(err, &e) || !errors.As(err, &de) || e.NotFound() != test.notFound {
				t.Fatalf("%T %v", err, err)
			}
			if want := `socket: resolving "broker.example": ` + test.want; err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	}
}

// TestRace_contextEnds relies on the bubbles, which do not end before their
// goroutines have.
func TestRace_contextEnds(t *testing.T) {
	cause := errors.New("the client was stopped")
	for _, test := range []struct {
		name  string
		after time.Duration
		stage string
	}{
		{"before", 0, "DNS"},
		{"resolving", 500 * ms, "DNS"},
		{"connecting", 1500 * ms, "TCP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newFakeNet(nil)
				fake := new(fakeDNS)
				fake.set("ip4", reply{addrs: []string{v4a, v4b, v4c}, delay: time.Second})
				d := &Dialer{Resolver: fake, connect: network.connect}
				ctx, cancel := context.WithCancelCause(context.Background())
				if test.after == 0 {
					cancel(cause)
				} else {
					time.AfterFunc(test.after, func() { cancel(cause) })
				}
				start := time.Now()
				_, err := d.DialContext(ctx, "tcp", host+":8883")
				if took := time.Since(start); took != test.after {
					t.Errorf("took %v", took)
				}
				if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
					t.Errorf("%T %v", err, err)
				}
				var staged interface{ Stage() string }
				if !errors.As(err, &staged) || staged.Stage() != test.stage {
					t.Errorf("%T %v", err, err)
				}
				synctest.Wait()
				if len(d.cache.failed) != 0 {
					t.Error("addresses are blamed for the caller's change of mind")
				}
			})
		})
	}
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			network := newFakeNet(nil)
			d := &Dialer{connect: network.connect}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := d.DialContext(ctx, "tcp", v4a+":8883")
			var e *ConnectError
			if !errors.As(err, &e) || !errors.Is(err, context.DeadlineExceeded) || !e.Timeout() {
				t.Errorf("%T %v", err, err)
			}
			if want := "socket: connecting to 192.0.2.1:8883: context deadline exceeded"; err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
		})
	})
}

func TestRace_failedAddressesComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newFakeNet(map[string]peer{v6a: {refused: true}, v6b: {refused: true, after: 10 * ms}, v4a: {}, v4b: {}})
		cache := NewResolverCache(CacheOptions{Resolver: dns([]string{v6a, v6b}, []string{v4a, v4b})})
		first := &Dialer{Resolver: cache, connect: network.connect, Family: IPv6}
		if _, err := first.DialContext(context.Background(), "tcp", host+":8883"); err == nil {
			t.Fatal("connected")
		}
		second := &Dialer{Resolver: cache, connect: network.connect}
		network.reset()
		dialTo(t, second, v4a+":8883")
		network.peers[v4a] = peer{refused: true}
		network.peers[v4b] = peer{refused: true}
		if _, err := second.DialContext(context.Background(), "tcp", host+":8883"); err == nil {
			t.Fatal("connected")
		}
		want := []string{
			"0s tcp4 192.0.2.1:8883", // the second dial
			"0s tcp4 192.0.2.1:8883", "0s tcp4 192.0.2.2:8883", "0s tcp6 [2001:db8::a]:8883", "0s tcp6 [2001:db8::b]:8883",
		}
		if d := cmp.Diff(want, network.attempts()); d != "" {
			t.Error(d)
		}

		// Another port is another matter.
		network.peers[v6a] = peer{}
		conn, err := second.DialContext(context.Background(), "tcp", host+":443")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if to := conn.(*fakeConn).to; to != "[2001:db8::a]:443" {
			t.Errorf("connected to %s", to)
		}

		// All have failed: the first to fail is the first to be tried again,
		// and a success is remembered too.
		time.Sleep(time.Second)
		dialTo(t, second, "[2001:db8::a]:8883")
		dialTo(t, second, "[2001:db8::a]:8883")
		network.reset()
		network.peers[v6a] = peer{refused: true}
		second.DialContext(context.Background(), "tcp", host+":8883")
		if got := network.attempts(); len(got) != 4 || got[0] != "0s tcp6 [2001:db8::a]:8883" {
			t.Errorf("attempts %v", got)
		}

		// Failures are forgotten.
		time.Sleep(failedMemory)
		network.peers[v6a] = peer{refused: true, after: ms} // by then the addresses of both families are known
		network.reset()
		second.DialContext(context.Background(), "tcp", host+":8883")
		want = []string{"0s tcp6 [2001:db8::a]:8883", "1ms tcp4 192.0.2.1:8883", "1ms tcp6 [2001:db8::b]:8883", "11ms tcp4 192.0.2.2:8883"}
		if d := cmp.Diff(want, network.attempts()); d != "" {
			t.Error(d)
		}
	})
}

func TestRace_silentAddressesComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newFakeNet(nil)
		d := &Dialer{Resolver: dns(nil, []string{v4a, v4b}), connect: network.connect, ConnectTimeout: 200 * ms}
		d.DialContext(context.Background(), "tcp", host+":8883")
		network.reset()
		d.DialContext(context.Background(), "tcp", host+":8883")
		if diff := cmp.Diff([]string{"0s tcp4 192.0.2.2:8883"}, network.attempts()); diff != "" {
			t.Error(diff)
		}
	})
}
