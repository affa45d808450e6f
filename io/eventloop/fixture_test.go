// SPDX-License-Identifier: Apache-2.0

package eventloop

import (
	"context"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// bubble runs f in a synctest bubble with a group of one loop, which it shuts
// down at the end.
func bubble(t *testing.T, opts Options, f func(t *testing.T, g *Group, l *Loop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if opts.Loops == 0 {
			opts.Loops = 1
		}
		g := NewGroup(opts)
		defer g.Shutdown(context.Background())
		defer g.Close()
		f(t, g, g.Next())
	})
}

// onLoop runs f as a task and waits for it.
func onLoop(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); f() }) {
		t.Fatal("task refused")
	}
	<-done
}

func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}
