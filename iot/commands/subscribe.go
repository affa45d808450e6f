// SPDX-License-Identifier: Apache-2.0

package commands

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

const (
	// hangupWindow is how soon after a subscription the end of the connection is
	// taken for the server's answer to it.
	hangupWindow    = 5 * time.Second
	minHangupDelay  = time.Minute
	maxHangupDelay  = time.Hour
	hangupsInARow   = 2 // the first may be chance
	noHangupForHour = time.Hour
)

// subscribe keeps the subscriptions until ctx ends or one is refused for good.
func (x *Executor) subscribe(ctx context.Context) error {
	hangups := 0
	for {
		began := time.Now()
		err := x.listen(ctx)
		if !errors.Is(err, ErrHungUp) {
			return err
		}
		if time.Since(began) > noHangupForHour {
			hangups = 0
		}
		if hangups++; hangups < hangupsInARow {
			continue
		}
		x.event(Event{Type: EventError, Err: err})
		limit := min(maxHangupDelay, minHangupDelay<<min(hangups-hangupsInARow, 10))
		if err := sleep(ctx, limit/2+rand.N(limit/2)); err != nil {
			return err
		}
	}
}

// listen opens the streams, and returns when ctx ends, one is halted, or the
// server hangs up on them.
func (x *Executor) listen(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watch{cancel: cancel, missing: len(x.options.Formats)}
	defer x.requests.HandleEvents(w.handleEvent)()
	w.subscribed()
	for _, f := range x.options.Formats {
		s, err := x.requests.Stream(request.StreamOptions{
			Filter:    x.target.prefix() + "+" + f.requestSuffix(),
			OnMessage: func(_ context.Context, m mqtt5.Message) { x.receive(m, f) },
			OnEvent: func(_ context.Context, e request.StreamEvent) {
				switch e.Kind {
				case request.StreamEstablished, request.StreamReestablished:
					if w.established() {
						x.event(Event{Type: EventReady})
					}
				case request.StreamLost:
					w.lost()
				case request.StreamOverflowed:
					x.event(Event{Type: EventError, Err: fmt.Errorf("commands: %d commands were dropped: they arrive too fast", e.Dropped)})
				case request.StreamHalted:
					cancel(e.Err)
				}
			},
		})
		if err != nil {
			return err
		}
		defer s.Close()
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// watch finds out whether the server ends connections because of the
// subscriptions.
type watch struct {
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	missing int       // streams that are not established
	since   time.Time // when a SUBSCRIBE was last sent or answered
}

// subscribed notes that a SUBSCRIBE may leave now.
func (w *watch) subscribed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
}

// established reports whether all streams are.
func (w *watch) established() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
	w.missing--
	return w.missing == 0
}

func (w *watch) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.missing++
}

// handleEvent does not block.
func (w *watch) handleEvent(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch event.(type) {
	case *mqtt5.ConnectionSuccess:
		if w.missing > 0 { // else the session has the subscriptions
			w.since = time.Now()
		}
	case *mqtt5.Disconnection:
		if time.Since(w.since) < hangupWindow {
			w.cancel(ErrHungUp)
		}
	}
}
