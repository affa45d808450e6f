// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"sync/atomic"
)

// gate counts, and lets one goroutine wait until the count has reached a number.
// Counting costs two atomic operations and never blocks. The zero value is ready.
type gate struct {
	count  atomic.Int64
	target atomic.Int64 // the count that somebody waits for; 0: nobody does
	open   chan struct{}
}

// add counts one.
func (g *gate) add() {
	n := g.count.Add(1)
	// Each count is seen by one goroutine. Either it finds the target here, or
	// wait finds the count after it has set the target; who takes the target
	// back decides.
	if n == g.target.Load() && g.target.CompareAndSwap(n, 0) {
		g.open <- struct{}{}
	}
}

// wait returns true once the count has reached n, or false if ctx ended before.
func (g *gate) wait(ctx context.Context, n int64) bool {
	if g.count.Load() >= n {
		return true
	}
	if g.open == nil {
		g.open = make(chan struct{}, 1)
	}
	g.target.Store(n)
	if g.count.Load() >= n && g.target.CompareAndSwap(n, 0) {
		return true
	}
	select {
	case <-g.open:
		return true
	case <-ctx.Done():
		if !g.target.CompareAndSwap(n, 0) {
			<-g.open
			return true
		}
		return false
	}
}
