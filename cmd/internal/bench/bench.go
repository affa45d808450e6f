// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// bench is one run.
type bench struct {
	*config
	result   *result
	maker    maker
	packets  []mqtt5.PublishPacket // the mix of messages, without topics
	fleet    []*member
	opened   atomic.Int64 // how many of the fleet are connected
	progress func() int64 // how many messages or connections are done
	exits    []func()     // at the end, the last first

	// ctx ends with Ctrl-C, after -duration, or by an error. stopping then tells
	// those who publish, who could not afford to ask ctx for each message.
	outer     context.Context
	ctx       context.Context
	end       context.CancelCauseFunc
	stopping  atomic.Bool
	measuring atomic.Bool

	_       [64]byte // what follows is written while others read stopping
	latency histogram
	failed  failures // operations
	lost    failures // connections
}

// Why a run ends before its messages are through.
var (
	errElapsed = errors.New("the -duration is over")
	errStalled = errors.New("nothing has happened for 30 s")
)

// patience is how long nothing may happen, and how long a connection may take
// to come up or to end.
const patience = 30 * time.Second

func newBench(ctx context.Context, c *config) *bench {
	b := &bench{config: c, result: c.blank(), packets: c.packets(), outer: ctx, progress: func() int64 { return 0 }}
	b.ctx, b.end = context.WithCancelCause(ctx)
	context.AfterFunc(b.ctx, func() { b.stopping.Store(true) })
	return b
}

// run does the workload, which fills in the result.
func (b *bench) run() (err error) {
	b.result.RSSBase = status("VmRSS")
	defer b.end(nil)
	defer func() {
		for _, f := range slices.Backward(b.exits) {
			f()
		}
	}()
	if b.maker, err = b.newMaker(); err != nil {
		return err
	}
	err = workloads[b.workload](b)
	interrupted := b.outer.Err() != nil // by Ctrl-C
	if cause := context.Cause(b.ctx); cause != nil && (err == nil || errors.Is(err, cause) || errors.Is(err, context.Canceled)) {
		// What was under way when the run ended fails for that reason alone.
		err = nil
		if cause != errElapsed && !(interrupted && b.result.measured()) {
			err = cause
		}
	}
	b.end(nil)
	b.result.finish(b)
	b.close()
	if n := b.failed.count(); err == nil && n > 0 {
		err = fmt.Errorf("%d operations failed, the first: %w", n, b.failed.first())
	}
	return err
}

// onExit runs f when the run is over.
func (b *bench) onExit(f func()) { b.exits = append(b.exits, f) }

// fail counts an operation that failed, and reports whether that counts: not
// if it was the end of the run that made it fail. A failure before what is
// measured ends the run.
func (b *bench) fail(err error) bool {
	const tooMany = 1000
	switch {
	case b.ctx.Err() != nil:
		return false
	case !b.measuring.Load() || b.failed.add(err) == tooMany:
		b.end(err)
	}
	return true
}

// each calls do for all clients at the same time, with their shares of n.
func (b *bench) each(n int, do func(m *member, n int64) error) error {
	share := func(i int) int64 {
		k := len(b.fleet)
		return int64(n/k + min(1, max(0, n%k-i)))
	}
	if len(b.fleet) == 1 {
		return do(b.fleet[0], int64(n))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(b.fleet))
	for i, m := range b.fleet {
		wg.Go(func() {
			if errs[i] = do(m, share(i)); errs[i] != nil {
				b.end(errs[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
