// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"
	"time"
)

func TestBucketIsFullAtStart(t *testing.T) {
	b := newBucket(100, 100, time.Second)
	for range 100 {
		if wait := b.ready(1, time.Second); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
		b.take(1)
	}
	wait := b.ready(1, time.Second)
	if wait < 9*time.Millisecond || wait > 11*time.Millisecond {
		t.Errorf("wait %v when empty", wait)
	}
	if again := b.ready(1, time.Second+wait); again != 0 {
		t.Errorf("%v more to wait after the wait", again)
	}
}

func TestBucketLargerRequestThanBucket(t *testing.T) {
	b := newBucket(100, 100, 0)
	if wait := b.ready(1000, 0); wait != 0 {
		t.Fatalf("a full bucket makes it wait for %v", wait)
	}
	b.take(1000)
	if wait := b.ready(1, 0); wait < 9*time.Second || wait > 10*time.Second {
		t.Errorf("wait %v in debt", wait)
	}
}

func TestThrottleAtStartBurst(t *testing.T) {
	r := newRig(t, &Config{PublishesPerSecond: 3})
	r.connect(&connack)
	for range 5 {
		r.publish("a", 0)
	}
	if n := len(r.flush()); n != 3 {
		t.Fatalf("%d publishes leave at once", n)
	}
	if d := r.deadline() - r.now; d <= 0 || d > time.Second/3+time.Millisecond {
		t.Fatalf("next publish in %v", d)
	}
	for range 2 {
		r.pass(time.Second/3 + time.Millisecond)
		r.wrote("PUBLISH a")
	}
	if w := r.e.Stats().ThrottleWait; w < 600*time.Millisecond {
		t.Errorf("the wait shows as %v", w)
	}
}

// A bucket that charges a whole segment per write caps small packets at 120/s.
func TestThrottleChargesRealBytes(t *testing.T) {
	r := newRig(t, &Config{BytesPerSecond: 1000})
	r.connect(&connack)
	for range 100 {
		r.publish("a", 0) // 6 bytes each
	}
	if n := len(r.flush()); n != 100 {
		t.Errorf("%d publishes of 600 bytes leave within 1000", n)
	}
}

func TestThrottleHoldsNothingElseBack(t *testing.T) {
	r := newRig(t, &Config{PublishesPerSecond: 1})
	r.connect(&connack)
	r.publish("a", 0)
	r.publish("b", 1)
	r.subscribe("s")
	r.message(1, 7)
	r.e.AcknowledgeThrough(r.now, r.acks[0])
	r.wrote("PUBACK 7, PUBLISH a, SUBSCRIBE 1")
}

func TestThrottleDoesNotChargeRefused(t *testing.T) {
	r := newRig(t, &Config{PublishesPerSecond: 1})
	ack := connack
	ack.MaximumQoS = ptr(uint8(0))
	r.connect(&ack)
	r.publish("a", 1)
	r.publish("b", 0)
	r.wrote("PUBLISH b")
}
