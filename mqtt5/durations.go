// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"slices"
	"sync/atomic"
	"time"
)

// DurationHistogram counts durations in buckets. It takes no lock and does not
// allocate. All methods may be called from any goroutine, and several clients may
// share a histogram. The zero value has one bucket. A histogram must not be copied.
type DurationHistogram struct {
	bounds []time.Duration
	counts []atomic.Uint64 // of the buckets that end at a bound
	above  atomic.Uint64   // of the last one
	sum    atomic.Int64
}

// DurationSnapshot is what a [DurationHistogram] has counted since it was made.
type DurationSnapshot struct {
	// Bounds are the largest durations of the buckets, except that of the last
	// bucket, which has no bound.
	Bounds []time.Duration
	// Counts are those of the buckets, not cumulative. There is one more than Bounds.
	Counts []uint64
	// Sum of all durations.
	Sum time.Duration
}

// NewDurationHistogram returns a histogram whose buckets end at the bounds: a
// duration counts in the first bucket whose bound it does not exceed. The order of
// the bounds does not matter.
func NewDurationHistogram(bounds ...time.Duration) *DurationHistogram {
	bounds = slices.Clone(bounds)
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	return &DurationHistogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds))}
}

// Record counts a duration. A negative one counts as 0.
func (h *DurationHistogram) Record(d time.Duration) {
	var one durations
	one.add(h, d)
	one.flush(h)
}

// bucket returns the count that a duration belongs to.
func (h *DurationHistogram) bucket(d time.Duration) *atomic.Uint64 {
	for i, bound := range h.bounds { // most are in one of the first
		if d <= bound {
			return &h.counts[i]
		}
	}
	return &h.above
}

// durations are some that belong to one bucket, and are not in the histogram yet:
// many of them cost it no more than one.
type durations struct {
	bucket *atomic.Uint64
	n      uint64
	sum    time.Duration
}

func (s *durations) add(h *DurationHistogram, d time.Duration) {
	d = max(d, 0)
	if b := h.bucket(d); b != s.bucket {
		s.flush(h)
		s.bucket = b
	}
	s.n++
	s.sum += d
}

func (s *durations) flush(h *DurationHistogram) {
	if s.n > 0 {
		s.bucket.Add(s.n)
		h.sum.Add(int64(s.sum))
		s.n, s.sum = 0, 0
	}
}

// Snapshot returns the present counts. What is recorded meanwhile may be in the
// counts and not yet in the sum.
func (h *DurationHistogram) Snapshot() DurationSnapshot {
	s := DurationSnapshot{
		Sum:    time.Duration(h.sum.Load()),
		Bounds: slices.Clone(h.bounds),
		Counts: make([]uint64, 0, len(h.counts)+1),
	}
	for i := range h.counts {
		s.Counts = append(s.Counts, h.counts[i].Load())
	}
	s.Counts = append(s.Counts, h.above.Load())
	return s
}

// Count returns the number of durations.
func (s *DurationSnapshot) Count() (n uint64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}
