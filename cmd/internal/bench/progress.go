// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
)

// meter prints a line now and then until stop is called, and ends the run if
// nothing happens for long.
func (b *bench) meter() (stop func()) {
	every := b.report
	if every == 0 {
		every = time.Second
	}
	stopped, gone := make(chan struct{}), make(chan struct{})
	watched := cli.IsTerminal(os.Stderr)
	go func() {
		defer close(gone)
		tick := time.NewTicker(every)
		defer tick.Stop()
		began := time.Now()
		at, count, moved := began, b.progress(), began
		for {
			select {
			case <-stopped:
				if watched && b.report > 0 {
					fmt.Fprint(os.Stderr, "\r\x1b[K")
				}
				return
			case now := <-tick.C:
				n := b.progress()
				if b.report > 0 {
					b.progressLine(now.Sub(began), n, float64(n-count)/now.Sub(at).Seconds(), watched)
				}
				if n != count {
					moved = now
				} else if now.Sub(moved) > b.stall() {
					b.end(errStalled)
				}
				at, count = now, n
			}
		}
	}()
	return func() { close(stopped); <-gone }
}

// announce says on standard error what goes on, if it takes more than a second.
func announce(what string) (done func()) {
	timer := time.AfterFunc(time.Second, func() { fmt.Fprintf(os.Stderr, "awsiot: %s ...\n", what) })
	return func() { timer.Stop() }
}

// stall is how long nothing may happen.
func (b *bench) stall() time.Duration {
	if b.rate > 0 {
		return patience + time.Duration(float64(time.Second)/b.rate)
	}
	return patience
}

func (b *bench) progressLine(since time.Duration, n int64, rate float64, watched bool) {
	line := fmt.Sprintf("%.0f s: %d done, %.0f/s", since.Seconds(), n, rate)
	if !b.measuring.Load() && b.workload != "idle" {
		line = "warming up: " + line
	}
	if b.latency.n.Load() > 0 {
		q := b.latency.quantiles(.5, .99)
		line += fmt.Sprintf(", p50 %v, p99 %v", round(q[0]), round(q[1]))
	}
	line += fmt.Sprintf(", %d errors, %d connections lost", b.failed.count(), b.lost.count())
	if watched {
		fmt.Fprint(os.Stderr, "\r\x1b[K", line)
	} else {
		fmt.Fprintln(os.Stderr, line)
	}
}
