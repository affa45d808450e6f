// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"testing"
)

func TestGate(t *testing.T) {
	var g gate
	const rounds, batch = 2000, 3
	go func() {
		for range rounds * batch {
			g.add()
		}
	}()
	for i := range int64(rounds) {
		if !g.wait(context.Background(), (i+1)*batch) || g.count.Load() < (i+1)*batch {
			t.Fatalf("round %d: the count is %d", i, g.count.Load())
		}
	}
	if n := testing.AllocsPerRun(100, func() { g.add(); g.wait(context.Background(), g.count.Load()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestGate_end(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var g gate
	if g.wait(ctx, 2) {
		t.Error("the count has reached 2")
	}
	// Who waits next is not woken by what the one before waited for.
	g.add()
	g.add()
	if len(g.open) > 0 {
		t.Error("somebody is woken who does not wait")
	}
	if !g.wait(ctx, 2) {
		t.Error("the count has not reached 2")
	}
}
