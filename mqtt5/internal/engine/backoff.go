// SPDX-License-Identifier: Apache-2.0

package engine

import "time"

// Jitter says how the delay before a reconnect is spread.
type Jitter uint8

// The jitter modes of the other AWS IoT device SDKs.
const (
	JitterFull Jitter = iota
	JitterDecorrelated
	JitterNone
)

// backoff computes the delay before each attempt to reconnect. The cap is
// applied before the draw, so that a fleet stays spread out however long an
// outage lasts, and the smallest delay is a floor for every draw.
type backoff struct {
	cfg      *Config
	failures int           // attempts since the last reset
	last     time.Duration // previous delay
}

// ceiling returns the smallest delay times 2^n, at most the largest.
func (b *backoff) ceiling(n int) time.Duration {
	d := b.cfg.MinDelay
	for range n {
		if d >= b.cfg.MaxDelay/2 {
			return b.cfg.MaxDelay
		}
		d *= 2
	}
	return min(d, b.cfg.MaxDelay)
}

// next returns the delay and counts one more attempt.
func (b *backoff) next() time.Duration {
	var d time.Duration
	switch b.cfg.Jitter {
	case JitterNone:
		d = b.ceiling(b.failures)
	case JitterDecorrelated:
		last := max(b.last, b.cfg.MinDelay)
		upper := b.cfg.MaxDelay
		if last < b.cfg.MaxDelay/3 {
			upper = 3 * last
		}
		d = b.between(b.cfg.MinDelay, upper)
	default:
		// One doubling ahead of JitterNone: with the floor at min, the first
		// delay would otherwise have no jitter at all.
		d = b.between(b.cfg.MinDelay, b.ceiling(b.failures+1))
	}
	b.last = d
	b.failures++
	return d
}

// between draws uniformly from [low, high].
func (b *backoff) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(b.cfg.Uniform(int64(high-low)+1))
}

func (b *backoff) reset() { b.failures, b.last = 0, 0 }
