// SPDX-License-Identifier: Apache-2.0

package defender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// MinInterval is the shortest interval between two reports of a thing.
const MinInterval = 5 * time.Minute

var thingNames = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)

// Options configure a [Reporter].
type Options struct {
	Format Format
	// Read returns the metrics of the system. Nil: those of [Linux]. Systems
	// without /proc need a function of their own, such as [CustomOnly].
	Read func() (*Metrics, error)
	// Custom returns the custom metrics by name. Nil: none.
	Custom func(ctx context.Context) (map[string]Custom, error)
	// Interval is the time between reports, at least [MinInterval]. 0: MinInterval.
	Interval time.Duration
	// Timeout limits each report. 0: that of the request client.
	Timeout time.Duration
	// OnReport is called after each report of [Reporter.Run], with its error or
	// nil. Nil: nothing.
	OnReport func(id int64, err error)
}

// CustomOnly is for [Options.Read] of devices that report no metrics of the
// system.
func CustomOnly() (*Metrics, error) { return &Metrics{}, nil }

// Reporter sends the reports of one thing. Its methods may be called from several
// goroutines.
type Reporter struct {
	requests *request.Client
	topic    string
	thing    string
	options  Options

	// turn is held, by its one value, while a report is made and sent.
	turn chan struct{}

	// Guarded by turn.
	lastID      int64
	lastTraffic *Traffic // of the last report that was accepted

	mu   sync.Mutex
	next time.Time // when the next report may be sent
}

// New returns a reporter. It fails with [ErrInvalidArgument].
func New(requests *request.Client, thing string, options Options) (*Reporter, error) {
	switch {
	case requests == nil:
		return nil, fmt.Errorf("%w: the request client is nil", ErrInvalidArgument)
	case !thingNames.MatchString(thing):
		return nil, fmt.Errorf("%w: thing name %q: 1 to 128 letters, digits, ':', '_' or '-'", ErrInvalidArgument, thing)
	case options.Format > CBOR:
		return nil, fmt.Errorf("%w: unknown format", ErrInvalidArgument)
	case options.Interval != 0 && options.Interval < MinInterval:
		return nil, fmt.Errorf("%w: Options.Interval is %v, at least %v is possible", ErrInvalidArgument, options.Interval, MinInterval)
	case options.Timeout < 0:
		return nil, fmt.Errorf("%w: Options.Timeout is negative", ErrInvalidArgument)
	}
	if options.Read == nil {
		options.Read = Linux{}.Read
	}
	if options.Interval == 0 {
		options.Interval = MinInterval
	}
	topic := "$aws/things/" + thing + "/defender/metrics/" + options.Format.String()
	return &Reporter{requests: requests, topic: topic, thing: thing, options: options, turn: make(chan struct{}, 1)}, nil
}

// Run reports until ctx ends or the connection is closed for good, and returns
// the reason. The first report is sent after a random part of the interval, so
// that a fleet which is switched on at once does not report at once. The
// traffic of a report that the service rejected, or never got, is part of the
// next one.
func (r *Reporter) Run(ctx context.Context) error {
	wait := rand.N(r.options.Interval)
	for {
		t := time.NewTimer(max(wait, time.Until(r.earliest())))
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
		began := time.Now()
		id, err := r.Report(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, request.ErrClosed) || errors.Is(err, mqtt5.ErrClosed) {
			return err
		}
		if r.options.OnReport != nil {
			r.options.OnReport(id, err)
		}
		wait = r.options.Interval - time.Since(began)
	}
}

// Report sends one report and waits for the answer. It returns the number of the
// report, which is the time in seconds, increased where necessary.
//
// It fails with [ErrTooSoon] within five minutes after the last report that may
// have been received, with a [*RejectedError], [ErrMetrics],
// [ErrInvalidArgument], and the errors of Options.Custom and of
// [request.Client.Do]. What the first report lacks is the traffic: there is
// nothing to compare the counters with.
func (r *Reporter) Report(ctx context.Context) (id int64, err error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	if wait := time.Until(r.earliest()); wait > 0 {
		return 0, fmt.Errorf("%w: wait for %v", ErrTooSoon, wait.Round(time.Second))
	}
	m, err := r.options.Read()
	if err != nil {
		return 0, err
	}
	if m == nil {
		return 0, fmt.Errorf("%w: Read returned nil", ErrMetrics)
	}
	custom, err := r.custom(ctx)
	if err != nil {
		return 0, err
	}
	traffic := difference(m.Traffic, r.lastTraffic)
	id = max(time.Now().Unix(), r.lastID+1)
	if m.TCPPorts == nil && m.UDPPorts == nil && m.Connections == nil && traffic == nil && len(custom) == 0 {
		if m.Traffic == nil {
			return 0, fmt.Errorf("%w: there is nothing to report", ErrMetrics)
		}
		traffic = &Traffic{} // alone, and the first
	}
	payload, err := r.options.Format.encode(id, m, traffic, custom)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	r.lastID = id
	err = r.send(ctx, id, payload)
	if err == nil || acknowledged(err) {
		r.lastTraffic = m.Traffic
	}
	return id, err
}

// acknowledged reports that the server has a report whose answer did not come.
// Its traffic must not be reported twice.
func acknowledged(err error) bool {
	var failed *request.Error
	return errors.As(err, &failed) && failed.Sent && failed.Stage == request.StageAnswer
}

func (r *Reporter) custom(ctx context.Context) (map[string]Custom, error) {
	if r.options.Custom == nil {
		return nil, nil
	}
	custom, err := r.options.Custom(ctx)
	if err != nil {
		return nil, err
	}
	for name, c := range custom {
		if err := c.check(name); err != nil {
			return nil, err
		}
	}
	return custom, nil
}

func (r *Reporter) send(ctx context.Context, id int64, payload []byte) error {
	m, err := r.requests.Do(ctx, &request.Request{
		Topic:       r.topic,
		Payload:     payload,
		Replies:     []request.Reply{{Topic: r.topic + "/accepted"}, {Topic: r.topic + "/rejected"}},
		Correlation: request.Uncorrelated{},
		Timeout:     r.options.Timeout,
		Quota:       request.Quota{Name: "defender " + r.thing, InFlight: 1},
	})
	var failed *request.Error
	if err == nil || !errors.As(err, &failed) || failed.Sent {
		r.mu.Lock()
		r.next = time.Now().Add(MinInterval)
		r.mu.Unlock()
	}
	if err != nil {
		return err
	}
	if strings.HasSuffix(m.Topic, "/rejected") {
		return r.options.Format.rejection(id, m.Payload)
	}
	return nil
}

// earliest returns when the next report may be sent.
func (r *Reporter) earliest() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// difference returns the traffic since before, or nil if there is none to compare
// with. A counter that has become smaller started again at 0.
func difference(now, before *Traffic) *Traffic {
	if now == nil || before == nil {
		return nil
	}
	since := func(now, before uint64) uint64 {
		if now < before {
			return now
		}
		return now - before
	}
	return &Traffic{
		BytesIn: since(now.BytesIn, before.BytesIn), BytesOut: since(now.BytesOut, before.BytesOut),
		PacketsIn: since(now.PacketsIn, before.PacketsIn), PacketsOut: since(now.PacketsOut, before.PacketsOut),
	}
}
