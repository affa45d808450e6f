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
	jitter   Jitter
	min, max time.Duration
	failures int           // attempts since the last reset
	last     time.Duration // previous delay
	uniform  func(n int64) int64
}

// ceiling returns min * 2^n, at most max.
func (b *backoff) ceiling(n int) time.Duration {
	d := b.min
	for range n {
		if d >= b.max/2 {
			return b.max
		}
		d *= 2
	}
	return min(d, b.max)
}

// next returns the delay and counts one more attempt.
func (b *backoff) next() time.Duration {
	var d time.Duration
	switch b.jitter {
	case JitterNone:
		d = b.ceiling(b.failures)
	case JitterDecorrelated:
		last := max(b.last, b.min)
		upper := b.max
		if last < b.max/3 {
			upper = 3 * last
		}
		d = b.between(b.min, upper)
	default:
		// One doubling ahead of JitterNone: with the floor at min, the first
		// delay would otherwise have no jitter at all.
		d = b.between(b.min, b.ceiling(b.failures+1))
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
	return low + time.Duration(b.uniform(int64(high-low)+1))
}

func (b *backoff) reset() { b.failures, b.last = 0, 0 }
