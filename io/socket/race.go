// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// resolutionDelay is how long to wait for the answers of other lookups when all
// that is known is IPv4 addresses or addresses that failed lately; RFC 8305,
// section 3.
const resolutionDelay = 50 * time.Millisecond

// race finds the addresses of one host and connects to the one that answers
// first. It is driven by one goroutine; lookups and attempts report to it and
// are gone, with what they have opened, when it ends.
type race struct {
	dialer  *Dialer
	ctx     context.Context // the caller's
	network string
	address string
	host    string
	port    uint16
	family  Family
	literal bool // the host is an address
	cache   *ResolverCache
	connect connectFunc

	inner   context.Context // of lookups and attempts
	over    chan struct{}   // closed when nobody listens any more
	answers chan lookupAnswer
	results chan attemptResult

	lookups    int            // under way
	lookupErrs []error        // of those that found nothing
	waiting    [2][]candidate // of IPv4 and of IPv6
	good6      bool           // an IPv6 address is known that did not fail lately
	latest     Family         // of the latest attempt
	attempts   []attempt
	running    int

	resolveLimit, connectLimit time.Duration
	resolving, connecting      timer // until these limits
	// patient is set while the address that is to be first has the chance to
	// become known; late ends that.
	patient bool
	late    timer
	next    timer // until the next attempt begins although others run
}

// candidate is an address that has not been tried.
type candidate struct {
	addr   netip.AddrPort
	failed time.Time // when it failed lately, or zero
}

type attempt struct {
	addr netip.AddrPort
	err  error // nil while it runs
}

type lookupAnswer struct {
	addrs []netip.Addr
	err   error
}

type attemptResult struct {
	index int
	conn  net.Conn
	err   error
}

// runLiteral connects to the only address there is: no race, but the same errors.
func (r *race) runLiteral(literal netip.Addr) (net.Conn, error) {
	r.literal = true
	r.add([]netip.Addr{literal})
	addr := r.pick()
	r.attempts = []attempt{{addr: addr}}
	limit := orDefault(r.dialer.ConnectTimeout, DefaultConnectTimeout)
	limited, cancel := context.WithTimeout(r.ctx, limit)
	defer cancel()
	conn, err := r.connect(limited, networkOf(r.latest), addr.String())
	switch {
	case err == nil:
		r.cache.connected(addr)
		return conn, nil
	case r.ctx.Err() != nil:
		if errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
			r.blame()
		}
		return nil, r.fail(nil)
	case limited.Err() != nil:
		r.blame()
		return nil, r.fail(timeoutError("no connection within", limit))
	}
	r.attempts[0].err = err
	r.cache.notConnected(addr)
	return nil, r.fail(nil)
}

func networkOf(f Family) string {
	if f == IPv6 {
		return "tcp6"
	}
	return "tcp4"
}

// run looks the host up and connects to its addresses.
func (r *race) run() (net.Conn, error) {
	inner, cancel := context.WithCancel(r.ctx)
	defer cancel()
	r.inner = inner
	r.over = make(chan struct{})
	defer close(r.over)
	r.answers = make(chan lookupAnswer)
	r.results = make(chan attemptResult)
	r.resolveLimit = orDefault(r.dialer.ResolveTimeout, DefaultResolveTimeout)
	r.connectLimit = orDefault(r.dialer.ConnectTimeout, DefaultConnectTimeout)
	for _, t := range []*timer{&r.resolving, &r.connecting, &r.late, &r.next} {
		defer t.stop()
	}

	r.patient = true
	r.lookUp()
	if r.lookups > 0 {
		r.resolving.start(r.resolveLimit)
	}
	for {
		if err := r.ctx.Err(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				r.blame()
			}
			return nil, r.fail(nil)
		}
		r.proceed()
		if r.lookups == 0 && r.running == 0 && r.candidates() == 0 {
			return nil, r.fail(nil)
		}
		if conn, err := r.await(); conn != nil || err != nil {
			return conn, err
		}
	}
}

// proceed begins the next attempt if there is an address for it and its time has come.
func (r *race) proceed() {
	if r.lookups == 0 || r.good6 {
		r.patient = false
	}
	switch {
	case r.candidates() == 0:
	case r.patient:
		if !r.late.armed() {
			r.late.start(resolutionDelay)
		}
	case r.running == 0 || !r.next.armed():
		if len(r.attempts) == 0 {
			r.connecting.start(r.connectLimit)
		}
		r.attempt()
		if r.lookups > 0 || r.candidates() > 0 { // otherwise there is nothing to go on to
			r.next.start(orDefault(r.dialer.AttemptDelay, DefaultAttemptDelay))
		}
	}
}

// await waits until something happens. It returns the connection that won, or
// the error that ends the race, or neither.
func (r *race) await() (net.Conn, error) {
	select {
	case a := <-r.answers:
		r.lookups--
		r.answered(a)
	case res := <-r.results:
		return r.finished(res), nil
	case <-r.next.c:
		r.next.stop()
	case <-r.late.c:
		r.patient = false
		r.late.stop()
	case <-r.resolving.c:
		r.resolving.stop()
		err := timeoutError("no answer within", r.resolveLimit)
		if len(r.attempts) == 0 && r.candidates() == 0 {
			return nil, r.fail(err)
		}
		// The stage ends with the addresses that are known; what comes later is ignored.
		r.answers = nil
		r.lookups = 0
		r.lookupErrs = append(r.lookupErrs, err)
	case <-r.connecting.c:
		r.blame()
		return nil, r.fail(timeoutError("no connection within", r.connectLimit))
	case <-r.ctx.Done():
	}
	return nil, nil
}

// finished notes the end of an attempt and returns its connection, nil if it failed.
func (r *race) finished(res attemptResult) net.Conn {
	r.running--
	t := &r.attempts[res.index]
	if res.err == nil {
		r.cache.connected(t.addr)
		return res.conn
	}
	t.err = res.err
	if r.ctx.Err() == nil {
		r.cache.notConnected(t.addr)
	}
	r.next.stop()
	return nil
}

// lookUp starts the lookups, one a family, so that a lost answer for one does
// not hold up the other.
func (r *race) lookUp() {
	networks := []string{"ip6", "ip4"}
	switch r.family {
	case IPv4:
		networks = networks[1:]
	case IPv6:
		networks = networks[:1]
	}
	for _, n := range networks {
		if addrs, err, ok := r.cache.peek(n, r.host); ok {
			r.answered(lookupAnswer{addrs, err})
			continue
		}
		r.lookups++
		answers := r.answers
		go func() {
			addrs, err := r.cache.LookupNetIP(r.inner, n, r.host)
			select {
			case answers <- lookupAnswer{addrs, err}:
			case <-r.over:
			}
		}()
	}
}

func (r *race) answered(a lookupAnswer) {
	if a.err != nil {
		r.lookupErrs = append(r.lookupErrs, a.err)
		return
	}
	r.add(a.addrs)
}

// add makes addresses candidates: in the resolver's order of preference, after
// them those that failed lately, the one that failed longest ago first.
func (r *race) add(addrs []netip.Addr) {
	for _, a := range addrs {
		f := 0
		if familyOf(a) == IPv6 {
			f = 1
		}
		p := netip.AddrPortFrom(a, r.port)
		c := candidate{p, r.cache.lastFailure(p)}
		if f == 1 && c.failed.IsZero() {
			r.good6 = true
		}
		r.waiting[f] = append(r.waiting[f], c)
	}
	for f := range r.waiting {
		slices.SortStableFunc(r.waiting[f], func(a, b candidate) int { return a.failed.Compare(b.failed) })
	}
}

func (r *race) candidates() int { return len(r.waiting[0]) + len(r.waiting[1]) }

// pick takes out the candidate to try next: families take turns, beginning with
// IPv6, and what failed lately comes last.
func (r *race) pick() netip.AddrPort {
	f := 1
	if r.latest == IPv6 {
		f = 0
	}
	mine, other := r.waiting[f], r.waiting[1-f]
	if len(mine) == 0 || len(other) > 0 && !mine[0].failed.IsZero() && other[0].failed.IsZero() {
		f = 1 - f
	}
	c := r.waiting[f][0]
	r.waiting[f] = r.waiting[f][1:]
	r.latest = familyOf(c.addr.Addr())
	return c.addr
}

// attempt starts to connect to the next candidate.
func (r *race) attempt() {
	addr := r.pick()
	index := len(r.attempts)
	r.attempts = append(r.attempts, attempt{addr: addr})
	r.running++
	network := networkOf(r.latest)
	go func() {
		conn, err := r.connect(r.inner, network, addr.String())
		select {
		case r.results <- attemptResult{index, conn, err}:
		case <-r.over:
			if err == nil {
				conn.Close()
			}
		}
	}()
}

// blame notes that the addresses which have not answered in time failed.
func (r *race) blame() {
	for _, a := range r.attempts {
		if a.err == nil {
			r.cache.notConnected(a.addr)
		}
	}
}

// fail makes the error of a race without a winner. The cause is what ended it
// early, if not the caller's context.
func (r *race) fail(cause error) error {
	if r.ctx.Err() != nil {
		cause = contextError(r.ctx)
	}
	if len(r.attempts) == 0 && !r.literal {
		if cause == nil {
			cause = worst(r.lookupErrs)
		}
		return &ResolveError{Host: r.host, Err: cause}
	}
	if !r.literal && !errors.Is(r.ctx.Err(), context.Canceled) {
		r.cache.expire(r.host)
	}
	e := &ConnectError{Network: r.network, Address: r.address, Err: cause}
	for _, a := range r.attempts {
		if a.err == nil {
			a.err = cause
		}
		e.Attempts = append(e.Attempts, Attempt{Address: a.addr.String(), Err: a.err})
	}
	return e
}

// worst returns the error that says most about why there are no addresses: one
// that is not "no such host", if any.
func worst(errs []error) error {
	for _, err := range errs {
		if !isNotFound(err) {
			return err
		}
	}
	return errs[len(errs)-1]
}

// timer is a runtime timer that is made when it is first started. Its channel
// is nil while it is not armed.
type timer struct {
	t *time.Timer
	c <-chan time.Time
}

func (t *timer) start(d time.Duration) {
	if t.t == nil {
		t.t = time.NewTimer(d)
	} else {
		t.t.Reset(d)
	}
	t.c = t.t.C
}

func (t *timer) stop() {
	if t.c != nil {
		t.t.Stop()
		t.c = nil
	}
}

func (t *timer) armed() bool { return t.c != nil }
