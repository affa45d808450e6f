// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Resolver finds the addresses of host names. A [*net.Resolver] is one. It must
// be safe for use by several goroutines at a time and return when ctx ends.
type Resolver interface {
	// LookupNetIP returns the addresses of a host. The network is "ip4" or
	// "ip6", or "ip" for both. Errors should be of type [*net.DNSError];
	// IsNotFound there says that the host has no such address, anything else
	// that the DNS could not tell.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Defaults of [CacheOptions].
const (
	DefaultTTL      = 30 * time.Second
	DefaultMaxStale = 24 * time.Hour
	DefaultMaxHosts = 64
)

const (
	stalePatience = 3 * time.Second // how long to wait for the DNS when there is an old answer
	staleRecheck  = 5 * time.Second // how long to go on with an old answer before the DNS is asked again
	failedMemory  = 5 * time.Minute // how long an address that failed is tried last
	maxFailed     = 1024
)

// CacheOptions are the settings of a [ResolverCache]. The zero value is usable.
type CacheOptions struct {
	// Resolver resolves names that are not in the cache. Nil means [net.DefaultResolver].
	Resolver Resolver

	// TTL is how long an answer is used without asking again. Zero means
	// [DefaultTTL]; with a negative value every lookup asks.
	TTL time.Duration

	// MaxStale is how long after its TTL an answer may still be used when the
	// DNS gives none, or none within 3 seconds. Zero means [DefaultMaxStale]; a
	// negative value turns this off. An answer that the host does not exist is
	// an answer.
	MaxStale time.Duration

	// MaxHosts bounds the cache; the host that was not asked for longest goes
	// first. Zero or less means [DefaultMaxHosts].
	MaxHosts int
}

// ResolverCache is a [Resolver] that remembers. Share one among the dialers of
// a process: lookups of the same host at the same time become one query. It has
// no goroutine at rest. A ResolverCache must be made with [NewResolverCache]
// and may be used by several goroutines at a time.
//
// It also remembers for five minutes which addresses could not be connected to,
// so that dialers try those last. When none of a host's addresses can be
// connected to, the next lookup asks again, whatever the TTL.
type ResolverCache struct {
	resolver Resolver
	ttl      time.Duration
	maxStale time.Duration
	maxHosts int

	mu     sync.Mutex
	hosts  map[string]*cachedHost
	failed map[netip.AddrPort]time.Time
}

type cachedHost struct {
	used    time.Time
	answers [3]answer // by index of the network
}

// answer is the latest answer for one network. The zero value is none.
type answer struct {
	addrs   []netip.Addr // never changed once set
	missing error        // the DNS says that there are no addresses
	fresh   time.Time    // until then it is used without asking
	stale   time.Time    // until then it is used when the DNS does not answer
	query   *query       // under way, or nil
}

// query is a lookup that all who ask for the same thing wait for.
type query struct {
	cancel  context.CancelFunc
	waiters int // guarded by ResolverCache.mu; at zero the query is cancelled
	done    chan struct{}
	addrs   []netip.Addr // set before done is closed
	err     error
}

// NewResolverCache makes an empty cache.
func NewResolverCache(opts CacheOptions) *ResolverCache {
	c := &ResolverCache{resolver: opts.Resolver, ttl: opts.TTL, maxStale: opts.MaxStale, maxHosts: opts.MaxHosts}
	if c.resolver == nil {
		c.resolver = net.DefaultResolver
	}
	if c.ttl == 0 {
		c.ttl = DefaultTTL
	}
	if c.maxStale == 0 {
		c.maxStale = DefaultMaxStale
	}
	if c.maxHosts <= 0 {
		c.maxHosts = DefaultMaxHosts
	}
	return c
}

// LookupNetIP implements [Resolver]. Literal addresses are not treated
// specially. When ctx ends first, it returns the context's error, and a query
// that nobody else waits for is cancelled.
func (c *ResolverCache) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	index, ok := networkIndex(network)
	if !ok {
		return nil, net.UnknownNetworkError(network)
	}
	if err := ctx.Err(); err != nil {
		return nil, contextError(ctx)
	}
	now := time.Now()
	c.mu.Lock()
	h := c.host(host, now)
	if addrs, err, ok := h.cached(index, now); ok {
		c.mu.Unlock()
		return append([]netip.Addr(nil), addrs...), err
	}
	a := &h.answers[index]
	q := a.query
	if q == nil {
		q = c.ask(ctx, a, network, host)
	}
	q.waiters++
	var old []netip.Addr
	if now.Before(a.stale) {
		old = a.addrs
	}
	c.mu.Unlock()

	var patience <-chan time.Time
	if old != nil {
		t := time.NewTimer(stalePatience)
		defer t.Stop()
		patience = t.C
	}
	select {
	case <-q.done:
	case <-patience:
		c.leave(a, q, true)
		return append([]netip.Addr(nil), old...), nil
	case <-ctx.Done():
		c.leave(a, q, false)
		return nil, contextError(ctx)
	}
	if q.err != nil && old != nil && !isNotFound(q.err) {
		return append([]netip.Addr(nil), old...), nil
	}
	return append([]netip.Addr(nil), q.addrs...), q.err
}

// peek returns what LookupNetIP would return at once.
func (c *ResolverCache) peek(network, host string) ([]netip.Addr, error, bool) {
	index, _ := networkIndex(network)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hosts[strings.ToLower(host)] == nil {
		return nil, nil, false
	}
	return c.host(host, now).cached(index, now)
}

// Forget drops everything that is remembered about addresses, for instance
// after the machine moved to another network. Lookups that are under way go on.
func (c *ResolverCache) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts, c.failed = nil, nil
}

// expire makes the next lookup of a host ask the DNS, because none of its
// addresses could be connected to: the host may have moved. The addresses still
// serve as old ones, should the DNS not answer.
func (c *ResolverCache) expire(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[strings.ToLower(name)]; h != nil {
		for i := range h.answers {
			h.answers[i].fresh = time.Time{}
		}
	}
}

// host returns the entry of a host, which it makes if need be. The caller holds mu.
func (c *ResolverCache) host(name string, now time.Time) *cachedHost {
	name = strings.ToLower(name)
	h := c.hosts[name]
	if h == nil {
		for len(c.hosts) >= c.maxHosts {
			oldest := ""
			for n, o := range c.hosts {
				if oldest == "" || o.used.Before(c.hosts[oldest].used) {
					oldest = n
				}
			}
			delete(c.hosts, oldest)
		}
		if c.hosts == nil {
			c.hosts = make(map[string]*cachedHost)
		}
		h = new(cachedHost)
		c.hosts[name] = h
	}
	h.used = now
	return h
}

// cached returns the answer that needs no query, if there is one. That a host
// has no address of one family is believed only while it has one of the other:
// a name that does not exist yet, or a network that is not up yet, must not
// delay a client.
func (h *cachedHost) cached(index int, now time.Time) ([]netip.Addr, error, bool) {
	a := &h.answers[index]
	if !now.Before(a.fresh) {
		return nil, nil, false
	}
	if a.missing != nil {
		other := -1
		switch index {
		case index4:
			other = index6
		case index6:
			other = index4
		}
		if other < 0 || len(h.answers[other].addrs) == 0 || !now.Before(h.answers[other].fresh) {
			return nil, nil, false
		}
	}
	return a.addrs, a.missing, true
}

// ask starts a query. The caller holds mu.
func (c *ResolverCache) ask(ctx context.Context, a *answer, network, host string) *query {
	// The query serves others too, so that it lives as long as anyone waits for it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	q := &query{cancel: cancel, done: make(chan struct{})}
	a.query = q
	go func() {
		defer cancel()
		addrs, err := c.resolver.LookupNetIP(ctx, network, host)
		if err == nil {
			addrs = usable(addrs, network)
			if len(addrs) == 0 {
				err = &net.DNSError{Err: "no suitable address", Name: host, IsNotFound: true}
			}
		}
		if err != nil {
			addrs = nil
		}
		now := time.Now()
		c.mu.Lock()
		q.addrs, q.err = addrs, err
		if a.query == q {
			a.query = nil
			switch {
			case err == nil:
				a.addrs, a.missing, a.fresh = addrs, nil, now.Add(c.ttl)
				a.stale = a.fresh.Add(max(c.maxStale, 0))
			case isNotFound(err):
				a.addrs, a.missing, a.fresh, a.stale = nil, err, now.Add(c.ttl), time.Time{}
			default:
				a.keep(now)
			}
		}
		c.mu.Unlock()
		close(q.done)
	}()
	return q
}

// keep goes on with an old answer for a while. The caller holds mu.
func (a *answer) keep(now time.Time) {
	if now.Before(a.stale) {
		a.fresh = now.Add(staleRecheck)
		if a.stale.Before(a.fresh) {
			a.fresh = a.stale
		}
	}
}

// leave is called by who does not wait for the query any longer, because it is
// slow or for reasons of their own.
func (c *ResolverCache) leave(a *answer, q *query, slow bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slow {
		a.keep(time.Now())
	}
	if q.waiters--; q.waiters == 0 {
		q.cancel()
		if a.query == q {
			a.query = nil
		}
	}
}

// connected and notConnected remember how an attempt to connect went.

func (c *ResolverCache) connected(a netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, a)
}

func (c *ResolverCache) notConnected(a netip.AddrPort) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = make(map[netip.AddrPort]time.Time)
	}
	if len(c.failed) >= maxFailed {
		for k, t := range c.failed {
			if now.Sub(t) >= failedMemory {
				delete(c.failed, k)
			}
		}
		if len(c.failed) >= maxFailed {
			clear(c.failed)
		}
	}
	c.failed[a] = now
}

// lastFailure returns when connecting to an address failed lately, else the zero time.
func (c *ResolverCache) lastFailure(a netip.AddrPort) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.failed[a]
	if ok && time.Since(t) >= failedMemory {
		delete(c.failed, a)
		return time.Time{}
	}
	return t
}

const (
	indexAny = iota
	index4
	index6
)

func networkIndex(network string) (int, bool) {
	switch network {
	case "ip":
		return indexAny, true
	case "ip4":
		return index4, true
	case "ip6":
		return index6, true
	}
	return 0, false
}

// usable returns the addresses that belong to the network, each once.
func usable(addrs []netip.Addr, network string) []netip.Addr {
	out := make([]netip.Addr, 0, len(addrs))
	seen := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		a = a.Unmap()
		if !a.IsValid() || seen[a] || network == "ip4" && !a.Is4() || network == "ip6" && !a.Is6() {
			continue
		}
		seen[a] = true
		out = append(out, a)
	}
	return out
}
