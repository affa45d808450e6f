// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"
)

const (
	defaultRefreshBefore = 5 * time.Minute
	defaultJitter        = time.Minute
	defaultMaxAge        = 15 * time.Minute
	defaultRetryAfter    = 30 * time.Second
)

// CacheOptions configures how long credentials are reused. The zero value is
// what the other device SDKs do.
type CacheOptions struct {
	// RefreshBefore is how long before their expiry credentials are renewed.
	// Credentials that live less than twice as long are renewed at half their
	// life. Default: 5 minutes.
	RefreshBefore time.Duration

	// Jitter spreads the renewals of a fleet: each is earlier by a random time of
	// up to this. Default: 1 minute. Negative: none.
	Jitter time.Duration

	// MaxAge is how long credentials without an expiry are reused. Default: 15
	// minutes.
	MaxAge time.Duration

	// RetryAfter is how long the last good credentials serve after a renewal
	// failed, before the source is asked again. Default: 30 seconds.
	RetryAfter time.Duration

	// Now is the clock. Default: [time.Now].
	Now func() time.Time

	// Logger receives messages about renewals, never credentials. Default: silent.
	Logger *zap.Logger
}

func (o CacheOptions) validate() error {
	var errs []error
	for _, f := range [...]struct {
		name  string
		value time.Duration
	}{{"RefreshBefore", o.RefreshBefore}, {"MaxAge", o.MaxAge}, {"RetryAfter", o.RetryAfter}} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("CacheOptions.%s is negative", f.name))
		}
	}
	return errors.Join(errs...)
}

// NewCached returns a provider that reuses the credentials of p. Any number of
// goroutines may ask at once: they share one request to p. A caller whose
// context ends stops waiting; the request is canceled when no caller is left.
func NewCached(p aws.CredentialsProvider, o CacheOptions) (*Provider, error) {
	if isNil(p) {
		return nil, newError("cache", errNilProvider)
	}
	if err := o.validate(); err != nil {
		return nil, newError("cache", err)
	}
	return cached(wrap(fmt.Sprintf("%T", p), p), o), nil
}

// cached expects valid options.
func cached(p *Provider, o CacheOptions) *Provider {
	if p.anonymous {
		return p
	}
	c := &cache{
		source:        p,
		refreshBefore: cmpOr(o.RefreshBefore, defaultRefreshBefore),
		jitter:        max(cmpOr(o.Jitter, defaultJitter), 0),
		maxAge:        cmpOr(o.MaxAge, defaultMaxAge),
		retryAfter:    cmpOr(o.RetryAfter, defaultRetryAfter),
		now:           o.Now,
		log:           o.Logger,
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	c.log = c.log.Named("credentials")
	return &Provider{name: p.name, region: p.region, retrieve: c.retrieve, invalidate: c.invalidate}
}

func cmpOr(v, fallback time.Duration) time.Duration {
	if v == 0 {
		return fallback
	}
	return v
}

type cache struct {
	source        *Provider
	refreshBefore time.Duration
	jitter        time.Duration
	maxAge        time.Duration
	retryAfter    time.Duration
	now           func() time.Time
	log           *zap.Logger

	mu        sync.Mutex
	have      bool
	creds     aws.Credentials
	obtained  time.Time // by the wall clock, as all times here
	refreshAt time.Time
	flight    *flight // nil unless a request is under way
}

// flight is one request to the source. Its fields but done are guarded by the
// mutex of the cache until done is closed.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	creds   aws.Credentials
	err     error
}

func (c *cache) retrieve(ctx context.Context) (aws.Credentials, error) {
	if ctx.Err() != nil {
		return aws.Credentials{}, context.Cause(ctx)
	}
	c.mu.Lock()
	if c.have && c.usable(c.wall()) {
		creds := c.creds
		c.mu.Unlock()
		return creds, nil
	}
	f := c.flight
	if f == nil {
		// The request belongs to all who wait, not to the one who came first.
		fctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{done: make(chan struct{}), cancel: cancel}
		c.flight = f
		go c.fly(fctx, f)
	}
	f.waiters++
	c.mu.Unlock()

	select {
	case <-f.done:
		return f.creds, f.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		if c.flight == f {
			c.flight = nil // the next caller gets a request of its own
		}
	}
	return aws.Credentials{}, context.Cause(ctx)
}

// wall is the time on the wall clock alone. Credentials expire by it, and the
// monotonic reading of a [time.Time] stands still while a machine sleeps: with
// it, credentials that expired in the night would serve in the morning.
func (c *cache) wall() time.Time { return c.now().Round(0) }

// usable reports whether the credentials serve without asking the source. A
// clock that was set back behind the time at which they were obtained says
// nothing about them. The caller holds mu.
func (c *cache) usable(now time.Time) bool {
	return now.Before(c.refreshAt) && !now.Before(c.obtained) && (!c.creds.CanExpire || now.Before(c.creds.Expires))
}

// errGoexit is the error of a source that has ended its goroutine.
var errGoexit = errors.New("the provider ended its goroutine")

func (c *cache) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	var creds aws.Credentials
	err := newError(c.source.name, errGoexit)
	defer func() { c.land(f, creds, err) }()
	creds, err = c.source.Retrieve(ctx)
}

// land gives the result of a request to all who wait for it.
func (c *cache) land(f *flight, creds aws.Credentials, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	if c.flight != f {
		// Everybody left, or Invalidate came after the request was sent.
		f.creds, f.err = creds, err
		return
	}
	c.flight = nil
	now := c.wall()
	if err == nil && creds.CanExpire && !now.Before(creds.Expires) {
		err = newError(c.source.name, fmt.Errorf("%w: at %s, and the clock of this device says %s",
			ErrExpired, creds.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
	}
	switch {
	case err == nil:
		c.have, c.creds, c.obtained, c.refreshAt = true, creds, now, c.refreshTime(creds, now)
		c.log.Debug("credentials obtained", zap.String("provider", c.source.name),
			zap.Bool("expire", creds.CanExpire), zap.Time("expires", creds.Expires), zap.Time("refresh", c.refreshAt))
	case c.have && (!c.creds.CanExpire || now.Before(c.creds.Expires)):
		c.obtained, c.refreshAt = now, now.Add(c.retryAfter)
		if c.creds.CanExpire && c.refreshAt.After(c.creds.Expires) {
			c.refreshAt = c.creds.Expires
		}
		c.log.Warn("renewal of credentials failed, the last ones are still valid", zap.String("provider", c.source.name),
			zap.Time("expires", c.creds.Expires), zap.Time("retry", c.refreshAt), zap.String("error", err.Error()))
		creds, err = c.creds, nil
	default:
		c.have, c.creds = false, aws.Credentials{}
		c.log.Warn("no credentials", zap.String("provider", c.source.name), zap.String("error", err.Error()))
	}
	f.creds, f.err = creds, err
}

func (c *cache) refreshTime(creds aws.Credentials, now time.Time) time.Time {
	if !creds.CanExpire {
		return now.Add(c.maxAge)
	}
	at := creds.Expires.Add(-c.refreshBefore)
	if c.jitter > 0 {
		at = at.Add(-rand.N(c.jitter))
	}
	if half := now.Add(creds.Expires.Sub(now) / 2); at.Before(half) {
		at = half
	}
	return at
}

func (c *cache) invalidate() {
	c.mu.Lock()
	c.have, c.creds = false, aws.Credentials{}
	c.flight = nil // those who wait get its result, those who come later do not
	c.mu.Unlock()
	// Sources such as a cached provider in a chain forget as well.
	c.source.Invalidate()
}
