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
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ask looks the host up and describes the outcome.
func ask(c *ResolverCache, network string) string {
	start := time.Now()
	addrs, err := c.LookupNetIP(context.Background(), network, host)
	s := fmt.Sprint(addrs)
	if err != nil {
		var de *net.DNSError
		if s = err.Error(); errors.As(err, &de) {
			s = de.Err
		}
	}
	if took := time.Since(start); took > 0 {
		s += " after " + took.String()
	}
	return s
}

func TestCache_timeToLive(t *testing.T) {
	for _, test := range []struct {
		ttl  time.Duration
		at   []time.Duration
		want int
	}{
		{0, []time.Duration{0, 1, DefaultTTL - 1}, 1},
		{0, []time.Duration{0, DefaultTTL}, 2},
		{time.Hour, []time.Duration{0, time.Hour - 1, time.Hour, time.Hour + 1}, 2},
		{-1, []time.Duration{0, 0, 0}, 3},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := dns(nil, []string{v4a})
			c := NewResolverCache(CacheOptions{Resolver: fake, TTL: test.ttl})
			start := time.Now()
			for _, at := range test.at {
				time.Sleep(time.Until(start.Add(at)))
				if got := ask(c, "ip4"); got != "[192.0.2.1]" {
					t.Error(got)
				}
			}
			if n := fake.count(); n != test.want {
				t.Errorf("TTL %v, asked at %v: %d queries", test.ttl, test.at, n)
			}
		})
	}
}

func TestCache_answersCannotBeChanged(t *testing.T) {
	c := NewResolverCache(CacheOptions{Resolver: dns(nil, []string{v4a})})
	for range 2 {
		addrs, err := c.LookupNetIP(context.Background(), "ip4", host)
		if err != nil || addrs[0] != netip.MustParseAddr(v4a) {
			t.Fatal(addrs, err)
		}
		addrs[0] = netip.MustParseAddr(v4b)
	}
}

func TestCache_namesIgnoreCase(t *testing.T) {
	fake := dns(nil, []string{v4a})
	c := NewResolverCache(CacheOptions{Resolver: fake})
	c.LookupNetIP(context.Background(), "ip4", "Broker.Example")
	ask(c, "ip4")
	if fake.count() != 1 {
		t.Errorf("queries: %v", fake.queries)
	}
}

func TestCache_oneQueryForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(fakeDNS)
		fake.set("ip4", reply{addrs: []string{v4a}, delay: time.Second})
		c := NewResolverCache(CacheOptions{Resolver: fake})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx := context.Background()
				if i < 50 { // half of them lose patience
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(i+1)*ms)
					defer cancel()
				}
				_, err := c.LookupNetIP(ctx, "ip4", host)
				if i < 50 != (err != nil) || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(i, err)
				}
			})
		}
		wg.Wait()
		if fake.count() != 1 || fake.aborted != 0 {
			t.Errorf("%d queries, %d cancelled", fake.count(), fake.aborted)
		}
	})
}

func TestCache_queryNobodyWaitsForIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(fakeDNS)
		fake.set("ip4", reply{addrs: []string{v4a}, delay: time.Minute})
		c := NewResolverCache(CacheOptions{Resolver: fake})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := c.LookupNetIP(ctx, "ip4", host); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		fake.set("ip4", reply{addrs: []string{v4b}})
		if got := ask(c, "ip4"); got != "[192.0.2.2]" {
			t.Error(got)
		}
		synctest.Wait()
		if fake.aborted != 1 {
			t.Errorf("%d cancelled", fake.aborted)
		}
		if got := ask(c, "ip4"); got != "[192.0.2.2]" {
			t.Error("the cancelled query changed the answer:", got)
		}
		if _, err := c.LookupNetIP(ctx, "ip4", host); !errors.Is(err, context.DeadlineExceeded) {
			t.Error("a context that has ended:", err)
		}
	})
}

func TestCache_staleAnswers(t *testing.T) {
	type step struct {
		sleep time.Duration
		reply *reply
		want  string
		asks  int
	}
	down, gone := &reply{err: errDNSDown}, &reply{err: noSuchHost()}
	up, moved := &reply{addrs: []string{v4a}}, &reply{addrs: []string{v4b}}
	slow := &reply{addrs: []string{v4b}, delay: 10 * time.Second}
	for _, test := range []struct {
		name  string
		opts  CacheOptions
		steps []step
	}{{
		name: "DNS down",
		steps: []step{
			{0, up, "[192.0.2.1]", 1},
			{time.Minute, down, "[192.0.2.1]", 1},
			{4 * time.Second, down, "[192.0.2.1]", 0}, // not asked again so soon
			{2 * time.Second, down, "[192.0.2.1]", 1},
			{time.Minute, moved, "[192.0.2.2]", 1},
		},
	}, {
		name: "DNS silent",
		steps: []step{
			{0, up, "[192.0.2.1]", 1},
			{time.Minute, slow, "[192.0.2.1] after 3s", 1},
			{0, slow, "[192.0.2.1]", 0},
			{6 * time.Second, moved, "[192.0.2.2]", 1},
		},
	}, {
		name: "not for ever",
		steps: []step{
			{0, up, "[192.0.2.1]", 1},
			{DefaultTTL + DefaultMaxStale - time.Second, down, "[192.0.2.1]", 1},
			{time.Second, down, "server misbehaving", 1},
		},
	}, {
		name: "own limit",
		opts: CacheOptions{TTL: time.Second, MaxStale: 10 * time.Second},
		steps: []step{
			{0, up, "[192.0.2.1]", 1},
			{10 * time.Second, down, "[192.0.2.1]", 1},
			{time.Second, down, "server misbehaving", 1},
		},
	}, {
		name: "off",
		opts: CacheOptions{MaxStale: -1},
		steps: []step{
			{0, up, "[192.0.2.1]", 1},
			{DefaultTTL, down, "server misbehaving", 1},
		},
	}, {
		name: "without caching of fresh ones",
		opts: CacheOptions{TTL: -1},
		steps: []step{
			{0, up, "[192.0.2.1]", 1},
			{0, moved, "[192.0.2.2]", 1},
			{0, down, "[192.0.2.2]", 1},
		},
	}, {
		name: "the host is gone",
		steps: []step{
			{0, up, "[192.0.2.1]", 1},
			{time.Minute, gone, "no such host", 1},
			{time.Minute, down, "server misbehaving", 1},
		},
	}, {
		name: "never an answer",
		steps: []step{
			{0, down, "server misbehaving", 1},
			{0, slow, "[192.0.2.2] after 10s", 1},
		},
	}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(fakeDNS)
				test.opts.Resolver = fake
				c := NewResolverCache(test.opts)
				for i, s := range test.steps {
					time.Sleep(s.sleep)
					fake.set("ip4", *s.reply)
					before := fake.count()
					if got := ask(c, "ip4"); got != s.want {
						t.Errorf("step %d: %s, want %s", i, got, s.want)
					}
					if n := fake.count() - before; n != s.asks {
						t.Errorf("step %d: %d queries", i, n)
					}
				}
			})
		})
	}
}

func TestCache_missingFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(fakeDNS)
		c := NewResolverCache(CacheOptions{Resolver: fake})
		for range 3 { // a host without addresses is asked for every time: it may appear at any moment
			ask(c, "ip6")
			ask(c, "ip4")
			ask(c, "ip")
		}
		if n := fake.count(); n != 9 {
			t.Errorf("%d queries", n)
		}
		fake.set("ip4", reply{addrs: []string{v4a}})
		ask(c, "ip4")
		ask(c, "ip6")
		before := fake.count()
		for range 3 {
			if got := ask(c, "ip6"); got != "no such host" {
				t.Error(got)
			}
		}
		if n := fake.count() - before; n != 0 {
			t.Errorf("%d queries for a family that the host does not have", n)
		}
		time.Sleep(DefaultTTL)
		ask(c, "ip6")
		if n := fake.count() - before; n != 1 {
			t.Errorf("%d queries after the TTL", n)
		}
	})
}

func TestCache_boundedAndForgetful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := dns(nil, []string{v4a})
		c := NewResolverCache(CacheOptions{Resolver: fake, MaxHosts: 3})
		look := func(hosts ...string) (queries int) {
			before := fake.count()
			for _, h := range hosts {
				time.Sleep(ms)
				if _, err := c.LookupNetIP(context.Background(), "ip4", h); err != nil {
					t.Error(err)
				}
			}
			return fake.count() - before
		}
		if n := look("a", "b", "c", "a", "b", "c"); n != 3 {
			t.Errorf("%d queries", n)
		}
		if n := look("a", "d"); n != 1 {
			t.Errorf("%d queries", n)
		}
		if n := look("a", "c", "d"); n != 0 {
			t.Errorf("%d queries: want b to have gone", n)
		}
		if n := look("b"); n != 1 {
			t.Errorf("%d queries", n)
		}
		if n := len(c.hosts); n != 3 {
			t.Errorf("%d hosts", n)
		}
		c.Forget()
		if n := look("d"); n != 1 {
			t.Errorf("%d queries after Forget", n)
		}

		for i := range maxFailed + 10 {
			c.notConnected(netip.AddrPortFrom(netip.MustParseAddr(v4a), uint16(i)))
		}
		if n := len(c.failed); n > maxFailed {
			t.Errorf("%d failures are remembered", n)
		}
	})
}

func TestCache_unknownNetwork(t *testing.T) {
	var unknown net.UnknownNetworkError
	if _, err := NewResolverCache(CacheOptions{}).LookupNetIP(context.Background(), "tcp", host); !errors.As(err, &unknown) {
		t.Error(err)
	}
}

func TestDialer_privateCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := dns([]string{v6a}, []string{v4a})
		network := newFakeNet(map[string]peer{v6a: {after: ms}})
		d := &Dialer{Resolver: fake, connect: network.connect}
		for range 5 {
			dialTo(t, d, "[2001:db8::a]:8883")
		}
		if fake.count() != 2 {
			t.Errorf("queries %v", fake.queries)
		}
	})
}

func TestDialer_staleAddressesWhileTheDNSIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := dns([]string{v6a}, []string{v4a})
		network := newFakeNet(map[string]peer{v4a: {}})
		d := &Dialer{Resolver: fake, connect: network.connect}
		dialTo(t, d, v4a+":8883")
		time.Sleep(time.Hour)
		for _, r := range []reply{{err: errDNSDown}, {delay: time.Hour}} {
			fake.set("ip4", r)
			fake.set("ip6", r)
			network.reset()
			dialTo(t, d, v4a+":8883")
			time.Sleep(time.Minute)
		}
		if diff := cmp.Diff([]string{"3s tcp6 [2001:db8::a]:8883", "3.25s tcp4 192.0.2.1:8883"}, network.attempts()); diff != "" {
			t.Error(diff)
		}
	})
}

// When every address that is remembered fails, the next attempt asks the DNS,
// which knows where the host has moved.
func TestDialer_asksAgainWhenAllAddressesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := dns(nil, []string{v4a})
		network := newFakeNet(map[string]peer{v4a: {}})
		d := &Dialer{Resolver: fake, connect: network.connect}
		dialTo(t, d, v4a+":8883")
		asked := fake.count()
		network.set(map[string]peer{v4a: {refused: true}, v4b: {}})
		fake.set("ip4", reply{addrs: []string{v4b}})
		if _, err := d.DialContext(context.Background(), "tcp", host+":8883"); !errors.Is(err, syscall.ECONNREFUSED) || fake.count() != asked {
			t.Fatalf("%v, %d queries", err, fake.count()-asked)
		}
		dialTo(t, d, v4b+":8883")
		// A caller who leaves says nothing of the addresses.
		asked = fake.count()
		ctx, cancel := context.WithCancel(context.Background())
		network.set(nil)
		time.AfterFunc(time.Second, cancel)
		_, _ = d.DialContext(ctx, "tcp", host+":8883")
		network.set(map[string]peer{v4b: {}})
		dialTo(t, d, v4b+":8883")
		if fake.count() != asked {
			t.Errorf("%d more queries", fake.count()-asked)
		}
		// Without an answer of the DNS the addresses that are known still serve.
		network.set(map[string]peer{v4b: {refused: true}})
		_, _ = d.DialContext(context.Background(), "tcp", host+":8883")
		network.set(map[string]peer{v4b: {}})
		fake.set("ip4", reply{err: errDNSDown})
		fake.set("ip6", reply{err: errDNSDown})
		dialTo(t, d, v4b+":8883")
	})
}
