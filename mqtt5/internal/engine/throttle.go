// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

// rateLimits are those of one connection.
type rateLimits struct {
	publishes, bytes bucket
}

// newRateLimits returns nil if there are none.
func newRateLimits(cfg *Config, now time.Duration) *rateLimits {
	if cfg.PublishesPerSecond <= 0 && cfg.BytesPerSecond <= 0 {
		return nil
	}
	return &rateLimits{
		publishes: newBucket(cfg.PublishesPerSecond, cfg.PublishesPerSecond, now),
		bytes:     newBucket(cfg.BytesPerSecond, cfg.BytesPerSecond, now),
	}
}

// ready returns 0 if a publish of that many bytes may leave now, or how long it
// has to wait.
func (r *rateLimits) ready(now time.Duration, size uint32) time.Duration {
	return max(r.publishes.ready(1, now), r.bytes.ready(float64(size), now))
}

// bucket is a token bucket. It starts full, so that a client that was quiet
// may send a burst at once, and it is charged for the bytes that are sent.
type bucket struct {
	rate    float64 // tokens per second; 0: no limit
	size    float64 // most tokens held
	tokens  float64
	updated time.Duration
}

func newBucket(rate, size float64, now time.Duration) bucket {
	return bucket{rate: rate, size: size, tokens: size, updated: now}
}

func (b *bucket) refill(now time.Duration) {
	if now > b.updated {
		b.tokens = min(b.size, b.tokens+b.rate*(now-b.updated).Seconds())
		b.updated = now
	}
}

// ready returns 0 if n tokens may be taken now, or how long to wait for them.
// A request larger than the bucket waits for a full bucket and then goes into
// debt: otherwise it could never be sent.
func (b *bucket) ready(n float64, now time.Duration) time.Duration {
	if b.rate <= 0 {
		return 0
	}
	b.refill(now)
	missing := min(n, b.size) - b.tokens
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing/b.rate*float64(time.Second)) + 1
}

func (b *bucket) take(n float64) {
	if b.rate > 0 {
		b.tokens -= n
	}
}
