// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"sync"
)

// gate admits calls into a library: any number at a time, or one alone. Nobody
// waits for a call that waits to be alone, so that a call which never returns
// keeps out only those that have to be alone.
type gate struct {
	// mu guards what follows. It is never held during a call.
	mu     sync.Mutex
	inside int
	// alone is set while the call inside is alone.
	alone bool
	// left is closed when nobody is inside any more. It is nil unless a call waits.
	left chan struct{}
	// epoch counts initialisations: handles of another epoch may by now be
	// those of somebody else.
	epoch uint64
}

// enter waits until the call may begin, and returns the epoch that lasts until
// leave. The error is the cause of the context.
func (g *gate) enter(ctx context.Context, alone bool) (epoch uint64, err error) {
	for {
		g.mu.Lock()
		if !g.alone && (!alone || g.inside == 0) {
			g.inside++
			g.alone = alone
			epoch = g.epoch
			g.mu.Unlock()
			return epoch, nil
		}
		if g.left == nil {
			g.left = make(chan struct{})
		}
		left := g.left
		g.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	g.alone = false
	if g.inside == 0 && g.left != nil {
		close(g.left)
		g.left = nil
	}
}

func (g *gate) currentEpoch() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch
}

// nextEpoch makes all handles invalid for calls that have not begun.
func (g *gate) nextEpoch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.epoch++
}
