// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"testing"
	"time"
)

func TestHistogram_buckets(t *testing.T) {
	last := -1
	for _, ns := range []int64{0, 1, 2, 127, 128, 255, 256, 257, 999, 1000, 12_345, 1e6, 1e9, 1e12, math.MaxInt64} {
		i := bucket(ns)
		if i < last || i >= len(histogram{}.counts) {
			t.Errorf("%d ns is in bucket %d, after %d, of %d", ns, i, last, len(histogram{}.counts))
		}
		last = i
		if off := math.Abs(float64(middle(i)-ns)) / float64(max(ns, 1)); off > 1.0/128 {
			t.Errorf("%d ns is in the bucket of %d ns, off by %.3f", ns, middle(i), off)
		}
	}
	if bucket(-1) != 0 {
		t.Error("a clock that was set back is not a duration of 0")
	}
}

func TestHistogram_quantiles(t *testing.T) {
	var h histogram
	if q := h.quantiles(.5); q[0] != 0 {
		t.Errorf("the median of nothing is %v", q[0])
	}
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Millisecond)
	}
	q := h.quantiles(0, .5, .9, .99, 1)
	for i, want := range []time.Duration{1, 500, 900, 990, 1000} {
		want *= time.Millisecond
		if off := math.Abs(float64(q[i]-want)) / float64(want); off > .01 {
			t.Errorf("quantile %d is %v, want %v", i, q[i], want)
		}
	}
	if h.longest.Load() != int64(time.Second) {
		t.Errorf("the longest is %v", time.Duration(h.longest.Load()))
	}
	h.reset()
	if q := h.quantiles(.5); q[0] != 0 || h.n.Load() != 0 || h.longest.Load() != 0 {
		t.Error("something is left after reset")
	}
	if n := testing.AllocsPerRun(100, func() { h.add(time.Second) }); n != 0 {
		t.Errorf("add makes %v allocations", n)
	}
}
