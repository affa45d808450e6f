// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

func newBackoff(jitter Jitter) *backoff {
	r := rand.New(rand.NewPCG(1, 2))
	return &backoff{cfg: &Config{Jitter: jitter, MinDelay: time.Second, MaxDelay: 2 * time.Minute, Uniform: r.Int64N}}
}

// After a long outage all clients would try again on the same grid if the cap
// came after the draw.
func TestBackoffIsCappedBeforeJitter(t *testing.T) {
	const draws = 4000
	for _, failures := range []int{7, 10, 13, 1000} {
		b := newBackoff(JitterFull)
		var sum time.Duration
		atCap, low := 0, 0
		for range draws {
			b.failures = failures
			d := b.next()
			if d < b.cfg.MinDelay || d > b.cfg.MaxDelay {
				t.Fatalf("delay %v", d)
			}
			sum += d
			if d == b.cfg.MaxDelay {
				atCap++
			}
			if d < b.cfg.MaxDelay/4 {
				low++
			}
		}
		if atCap > draws/100 || low < draws/6 {
			t.Errorf("after %d failures %d of %d delays are the largest, %d are small", failures, atCap, draws, low)
		}
		if mean, want := sum/draws, (b.cfg.MinDelay+b.cfg.MaxDelay)/2; mean < want*9/10 || mean > want*11/10 {
			t.Errorf("after %d failures the mean is %v", failures, mean)
		}
	}
}

func TestDecorrelatedJitterWorks(t *testing.T) {
	b := newBackoff(JitterDecorrelated)
	last, beyond := b.cfg.MinDelay, 0
	for range 5000 {
		d := b.next()
		if d < b.cfg.MinDelay || d > min(3*last, b.cfg.MaxDelay) {
			t.Fatalf("delay %v after %v", d, last)
		}
		if d > b.cfg.MinDelay*3 {
			beyond++
		}
		last = max(d, b.cfg.MinDelay)
	}
	if beyond < 1000 {
		t.Errorf("only %d delays grew", beyond)
	}
}

func TestBackoffFloor(t *testing.T) {
	for _, jitter := range []Jitter{JitterFull, JitterDecorrelated, JitterNone} {
		b := newBackoff(jitter)
		b.cfg.Uniform = func(int64) int64 { return 0 }
		for range 20 {
			if d := b.next(); d < b.cfg.MinDelay {
				t.Fatalf("jitter %d: delay %v below the smallest", jitter, d)
			}
		}
	}
}

func TestBackoffWithoutJitter(t *testing.T) {
	b := newBackoff(JitterNone)
	var got []time.Duration
	for range 9 {
		got = append(got, b.next()/time.Second)
	}
	equal(t, "delays", got, []time.Duration{1, 2, 4, 8, 16, 32, 64, 120, 120})
	b.reset()
	if d := b.next(); d != time.Second {
		t.Errorf("delay %v after reset", d)
	}
}

func TestBackoffStartsOverOnlyAfterAStableConnection(t *testing.T) {
	r := newRig(t, &Config{Jitter: JitterNone, ResetDelayAfter: 30 * time.Second})
	var delays []time.Duration
	for _, connected := range []time.Duration{0, 10 * time.Second, 31 * time.Second, 0} {
		r.connect(&connack)
		r.pass(connected)
		r.cut()
		delays = append(delays, r.event(EventDisconnected).Delay/time.Second)
	}
	equal(t, "delays", delays, []time.Duration{1, 2, 1, 2})
}
