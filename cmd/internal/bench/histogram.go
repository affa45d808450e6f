// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets that are at most 1/128 wide. It may be
// used from many goroutines, and takes no allocation.
type histogram struct {
	counts  [(64 - subBits) << subBits]atomic.Uint32
	n       atomic.Int64
	longest atomic.Int64
}

const subBits = 7

func bucket(ns int64) int {
	v := uint64(max(ns, 0))
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// middle is the duration in the middle of a bucket.
func middle(i int) int64 {
	shift := max(i>>subBits-1, 0)
	low := int64(i-shift<<subBits) << shift
	return low + (int64(1)<<shift)/2
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(int64(d))].Add(1)
	h.n.Add(1)
	for {
		old := h.longest.Load()
		if int64(d) <= old || h.longest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// quantiles are the durations below which the given parts of all are.
func (h *histogram) quantiles(parts ...float64) []time.Duration {
	out := make([]time.Duration, len(parts))
	n := h.n.Load()
	if n == 0 {
		return out
	}
	var seen int64
	next := 0
	for i := range h.counts {
		c := int64(h.counts[i].Load())
		if c == 0 {
			continue
		}
		seen += c
		for next < len(parts) && float64(seen) > parts[next]*float64(n-1) {
			out[next] = time.Duration(min(middle(i), h.longest.Load()))
			next++
		}
	}
	return out
}

func (h *histogram) reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.n.Store(0)
	h.longest.Store(0)
}
