// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// WithReconnectBeforeExpiry makes the client connect again, as
// [mqtt5.Client.Reconnect] does, before the client certificate or the AWS
// credentials of the connection expire. It begins to look for a quiet moment,
// without operations under way, when ahead is left, a quarter of it later at
// most, so that a fleet is spread; after half of ahead it no longer waits for
// one. It does nothing as long as the source has no certificate or credentials
// that expire later, and then looks again; choose ahead so that the source has
// renewed them by then. Default: the connection lasts until the server ends it.
func WithReconnectBeforeExpiry(ahead time.Duration) Option {
	return func(s *settings) {
		if ahead <= 0 {
			s.problem("WithReconnectBeforeExpiry(%v): not above 0; give the time that a reconnect may take, such as 5 min", ahead)
		}
		s.reconnectAhead = ahead
	}
}

// expiring is what a client authenticates with.
type expiring interface {
	// Expiry returns when what the last attempt used expires; zero: never, or not known.
	Expiry() time.Time
	// NextExpiry returns the same of what an attempt would use now.
	NextExpiry(ctx context.Context) (time.Time, error)
}

// usedCredentials remembers when the credentials that were used last expire.
type usedCredentials struct {
	provider sigv4.CredentialsProvider
	mu       sync.Mutex
	expires  time.Time
}

func (u *usedCredentials) Credentials(ctx context.Context) (sigv4.Credentials, error) {
	c, err := u.provider.Credentials(ctx)
	if err == nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.expires = c.Expires
	}
	return c, err
}

func (u *usedCredentials) Expiry() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.expires
}

func (u *usedCredentials) NextExpiry(ctx context.Context) (time.Time, error) {
	c, err := u.provider.Credentials(ctx)
	return c.Expires, err
}

// renewal makes a client connect again ahead of an expiry.
type renewal struct {
	ahead   time.Duration
	spread  time.Duration // how much later this client begins
	sources []expiring
	log     *zap.Logger
	client  *mqtt5.Client

	mu         sync.Mutex
	connection uint64 // counts connections and their ends
	timer      *time.Timer
}

const (
	quietCheck = 250 * time.Millisecond // until the next look for a quiet moment
	freshCheck = 10 * time.Second       // until the next look for fresh material, at least
)

// watchExpiry begins to watch the connections of a client.
func watchExpiry(client *mqtt5.Client, ahead time.Duration, sources []expiring, log *zap.Logger) {
	if log == nil {
		log = zap.NewNop()
	}
	r := &renewal{ahead: ahead, spread: rand.N(ahead/4 + 1), sources: sources, log: log, client: client}
	client.HandleEvents(func(event any) {
		switch event.(type) {
		case *mqtt5.ConnectionSuccess:
			r.begin()
		case *mqtt5.Disconnection:
			r.end()
		}
	})
}

// begin watches a connection.
func (r *renewal) begin() {
	_, expires := r.earliest()
	if expires.IsZero() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule(time.Until(expires) - r.ahead + r.spread)
}

// end stops watching it.
func (r *renewal) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connection++
	if r.timer != nil {
		r.timer.Stop()
	}
}

// schedule sets the time of the next step. The caller holds mu.
func (r *renewal) schedule(d time.Duration) {
	connection := r.connection
	r.timer = time.AfterFunc(d, func() {
		next := r.step()
		r.mu.Lock()
		defer r.mu.Unlock()
		if next > 0 && connection == r.connection {
			r.schedule(next)
		}
	})
}

// step reconnects if it is time for it, or returns when to look again; 0: never.
func (r *renewal) step() time.Duration {
	source, expires := r.earliest()
	left := time.Until(expires)
	if source == nil || left <= 0 {
		return 0 // the server has ended the connection, or is about to
	}
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	fresh, err := nextExpiry(ctx, source)
	if err != nil || !fresh.After(expires) {
		r.log.Debug("no certificate or credentials that expire later", zap.Time("expires", expires), zap.Error(err))
		return max(left/4, freshCheck)
	}
	if stats := r.client.Stats(); left > r.ahead/2 && stats.IncompleteOperations+stats.PendingMessages > 0 {
		return quietCheck
	}
	r.log.Info("connecting again before the certificate or the credentials expire", zap.Time("expires", expires))
	cancel() // nobody waits for the new connection
	_ = r.client.Reconnect(ctx)
	return 0
}

// nextExpiry keeps a panic of the user's code from ending the process.
func nextExpiry(ctx context.Context, source expiring) (expires time.Time, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("iot: panic (%T) while looking for a later expiry", v) // the value may hold anything
		}
	}()
	return source.NextExpiry(ctx)
}

// earliest returns what expires first, and when by the wall clock; nil if
// nothing does.
func (r *renewal) earliest() (first expiring, expires time.Time) {
	for _, s := range r.sources {
		if t := s.Expiry().Round(0); !t.IsZero() && (first == nil || t.Before(expires)) {
			first, expires = s, t
		}
	}
	return first, expires
}
