// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// ErrRefused is what [MirrorOptions.OnDesired] returns, possibly wrapped, if it
// will never apply a change. The change is not offered again until an
// application writes these fields anew.
var ErrRefused = errors.New("shadow: desired change refused")

// ErrMirrorClosed: the mirror was closed.
var ErrMirrorClosed = errors.New("shadow: mirror closed")

// Desired is a change that applications want, as [MirrorOptions.OnDesired] gets
// it.
type Desired[S any] struct {
	// State has the fields that change; the others are absent. Fields of type
	// [Field] distinguish null, which is a removal, from absent.
	State S
	// JSON is the change as JSON, with null for removed fields.
	JSON json.RawMessage
	// Target is the whole reported state as it will be with the change.
	Target S
	// Version is that of the shadow.
	Version int64
	// Repeated reports that the process ended while it applied some of these
	// fields the last time, so that they may have been applied.
	Repeated bool

	report object
}

// Report sets what to report in place of the change, for instance a value that
// the device rounded: an object with the fields to be changed. It is called
// before OnDesired returns nil.
func (d *Desired[S]) Report(fields any) error {
	o, err := toObject(fields)
	if err == nil {
		d.report = o
	}
	return err
}

// MirrorOptions configure a [Mirror]. The zero value of each field means its
// default.
type MirrorOptions[S any] struct {
	// OnDesired applies a desired change. When it returns nil, the mirror reports
	// exactly the fields of the change, or what [Desired.Report] named. After an
	// error it is called again, with growing delays, unless the error matches
	// [ErrRefused]; a panic is such an error. It is called by one goroutine at a
	// time, may block, and may call the mirror. ctx ends with the mirror. Nil:
	// desired changes are ignored.
	OnDesired func(ctx context.Context, change *Desired[S]) error
	// Store keeps the state across restarts. Nil: memory only; then the mirror
	// begins with the reported state of the service.
	Store Store
	// Removals makes OnDesired see the removal of desired fields, too. It costs
	// one more subscription and a message for each update of the shadow.
	Removals bool
	// Unversioned sends updates without a version. By default an update names the
	// version that the mirror knows, so that the service rejects it if somebody
	// else changed the shadow meanwhile; the mirror then gets the shadow and tries
	// again, the fourth time in a row without a version.
	Unversioned bool
	// Coalesce is how long the mirror gathers changes before it reports them. 0:
	// only while a report is in flight.
	Coalesce time.Duration
	// Resync is how often the mirror gets the shadow though nothing seems to be
	// missing. 0: never.
	Resync time.Duration
	// MinRetryDelay and MaxRetryDelay limit the delay before something is tried
	// again; it doubles with each failure in a row and is jittered. 0: 1 s and
	// 2 min.
	MinRetryDelay, MaxRetryDelay time.Duration
	// OnError is called with what went wrong and is being tried again: rejected
	// requests, failed applications, messages that cannot be read, a store that
	// fails. It is called by one goroutine at a time. Nil: errors are not reported.
	OnError func(err error)
}

const (
	defaultMirrorMinRetry = time.Second
	defaultMirrorMaxRetry = 2 * time.Minute
	maxConflicts          = 3
)

// Mirror keeps a local copy of a shadow in step with the service. The device owns
// the reported state: its values win over those of the service, and fields that
// it does not know are adopted. All methods may be called from any goroutine.
type Mirror[S any] struct {
	shadow  *Shadow[json.RawMessage]
	options MirrorOptions[S]
	ctx     context.Context // ends with the mirror
	cancel  context.CancelCauseFunc
	working sync.WaitGroup // requests, applications, saves

	// mu guards what follows. It is not held while something is sent, stored or
	// applied.
	mu      sync.Mutex
	closed  bool
	replica replica
	changed chan struct{} // closed and replaced whenever something changes

	streams   []*request.Stream
	round     int  // counts the times that streams were opened
	up        int  // streams that are established
	want      int  // streams that are needed
	halted    bool // a stream was halted: all have to be opened again
	asking    bool
	sending   bool
	gaps      int // counts the reasons to get the document
	conflicts int // in a row
	asks      retry
	sends     retry
	applies   retry
	reopens   retry
	blocked   bool // the service will not take what there is to send, until it changes
	timer     *time.Timer
	nextSync  time.Time

	saves  saves
	errors []error // to be reported
}

// retry is the back-off of one activity.
type retry struct {
	failures int
	at       time.Time // not before
}

func (r *retry) succeeded() { *r = retry{} }

func (r *retry) failed(now time.Time, low, high time.Duration) {
	d := low
	for n := r.failures; n > 0 && d < high; n-- {
		d += min(d, high-d)
	}
	r.failures++
	r.at = now.Add(d/2 + rand.N(d/2+1))
}

// OpenMirror starts a mirror of a shadow. It restores the stored state, so that
// [Mirror.Reported] is there at once; it does not wait for the service. It fails
// with [ErrStore], [ErrInvalidRequest], and the errors of [Store.Load] and
// [request.Client.Stream].
func OpenMirror[S any](s *Shadow[S], options MirrorOptions[S]) (*Mirror[S], error) {
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: the shadow is nil", ErrInvalidRequest)
	case options.Coalesce < 0 || options.Resync < 0 || options.MinRetryDelay < 0 || options.MaxRetryDelay < 0:
		return nil, fmt.Errorf("%w: Coalesce, Resync, MinRetryDelay or MaxRetryDelay is negative", ErrInvalidRequest)
	}
	if options.MinRetryDelay == 0 {
		options.MinRetryDelay = defaultMirrorMinRetry
	}
	if options.MaxRetryDelay == 0 {
		options.MaxRetryDelay = defaultMirrorMaxRetry
	}
	options.MaxRetryDelay = max(options.MaxRetryDelay, options.MinRetryDelay)
	m := &Mirror[S]{
		shadow:  &Shadow[json.RawMessage]{target: s.target, requests: s.requests, options: s.options},
		options: options,
		changed: make(chan struct{}),
		replica: replica{removals: options.Removals},
	}
	m.shadow.options.Offline = request.WaitForConnection
	m.saves.init(&m.mu)
	if options.Store != nil {
		data, err := options.Store.Load()
		if err != nil {
			return nil, err
		}
		if data != nil {
			if err := m.replica.load(s.target, data); err != nil {
				if file, ok := options.Store.(FileStore); ok {
					err = fmt.Errorf("%w; to begin with what the service has, move %s away", err, string(file))
				}
				return nil, err
			}
		}
	}
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	if err := m.openStreams(); err != nil {
		m.cancel(err)
		return nil, err
	}
	return m, nil
}

// Reported returns the reported state as the device sees it: with all reports,
// sent or not.
func (m *Mirror[S]) Reported() (S, error) {
	m.mu.Lock()
	local := m.replica.local
	m.mu.Unlock()
	var s S
	err := json.Unmarshal(encode(local), &s)
	return s, err
}

// Report changes fields of the reported state: fields is encoded as a JSON
// object, absent fields stay, null removes one. It returns when the change is
// stored, if there is a [Store], and does not wait for the service.
func (m *Mirror[S]) Report(fields any) error {
	o, err := toObject(fields)
	if err != nil {
		return err
	}
	return m.change(func(r *replica) { r.local = merge(r.local, o) })
}

// Update lets change modify the reported state, and reports what it changed.
// Fields that S does not have stay as they are. It returns like [Mirror.Report].
func (m *Mirror[S]) Update(change func(reported *S)) error {
	m.mu.Lock()
	local := m.replica.local
	m.mu.Unlock()
	var s S
	if err := json.Unmarshal(encode(local), &s); err != nil {
		return err
	}
	before, err := toObject(s)
	if err != nil {
		return err
	}
	change(&s)
	after, err := toObject(s)
	if err != nil {
		return err
	}
	return m.change(func(r *replica) { r.local = merge(r.local, diff(before, after)) })
}

// Override changes fields of the reported and of the desired state alike: the
// device decides, for instance because somebody pressed a button. A desired
// change of the same fields that has not been applied yet is dropped. Null
// removes a field. It returns like [Mirror.Report].
func (m *Mirror[S]) Override(fields any) error {
	o, err := toObject(fields)
	if err != nil {
		return err
	}
	return m.change(func(r *replica) {
		r.local = merge(r.local, o)
		r.override = compose(r.override, o)
	})
}

func (m *Mirror[S]) change(change func(r *replica)) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrMirrorClosed
	}
	if at := time.Now().Add(m.options.Coalesce); m.options.Coalesce > 0 && !m.replica.pending() && m.sends.at.Before(at) {
		m.sends.at = at
	}
	change(&m.replica)
	m.blocked = false
	m.touched()
	m.advance()
	m.mu.Unlock()
	return m.save()
}

// Status is what a mirror is doing.
type Status struct {
	// Synced: both sides agree, nothing has to be sent or applied.
	Synced bool
	// Version of the shadow, as far as it is known.
	Version int64
	// Pending are the reported fields that the service does not have yet.
	Pending json.RawMessage
	// Unapplied are the desired fields that are not applied yet.
	Unapplied json.RawMessage
}

// Status returns the present state.
func (m *Mirror[S]) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{Synced: m.synced(), Version: m.replica.version, Pending: encode(diff(m.replica.base, m.replica.local))}
	s.Unapplied = encode(m.replica.applying)
	if m.replica.applying == nil {
		s.Unapplied = encode(m.replica.nextApply())
	}
	return s
}

func (m *Mirror[S]) synced() bool {
	if m.options.OnDesired == nil {
		_, more := m.replica.nextUpdate(false)
		return m.replica.synced && m.replica.inFlight == nil && !more
	}
	return m.replica.settledNow()
}

// WaitSynced waits until both sides agree. It fails when ctx ends or the mirror
// is closed before.
func (m *Mirror[S]) WaitSynced(ctx context.Context) error {
	for {
		m.mu.Lock()
		done, closed, changed := m.synced(), m.closed, m.changed
		m.mu.Unlock()
		switch {
		case done:
			return nil
		case closed:
			return ErrMirrorClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close ends the mirror and waits for what it is doing: a running OnDesired sees
// its context end. What was not sent is kept in the store. Closing twice does
// nothing. Close must not be called from OnDesired or OnError.
func (m *Mirror[S]) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	if m.timer != nil {
		m.timer.Stop()
	}
	streams := m.streams
	m.touched()
	m.mu.Unlock()
	m.cancel(ErrMirrorClosed)
	for _, s := range streams {
		s.Close()
	}
	m.working.Wait()
	return m.save()
}

// touched notes a change of the state. The caller holds mu.
func (m *Mirror[S]) touched() {
	m.saves.generation++
	close(m.changed)
	m.changed = make(chan struct{})
}

// report queues an error for OnError. The caller holds mu.
func (m *Mirror[S]) report(err error) {
	if m.options.OnError == nil || m.closed {
		return
	}
	m.errors = append(m.errors, err)
	if len(m.errors) == 1 {
		m.begin(m.reportErrors)
	}
}

// reportErrors calls OnError with the queued errors. Should the user end the
// goroutine, another one goes on.
func (m *Mirror[S]) reportErrors() {
	for more := true; more; {
		more = m.reportError()
	}
}

// reportError calls OnError with the first error, and reports whether there are
// more.
func (m *Mirror[S]) reportError() (more bool) {
	m.mu.Lock()
	err := m.errors[0]
	m.mu.Unlock()
	returned := false
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.errors = m.errors[1:]
		if more = len(m.errors) > 0; more && !returned {
			m.begin(m.reportErrors)
		}
	}()
	m.options.OnError(err)
	returned = true
	return
}

// save returns when the present state is stored.
func (m *Mirror[S]) save() error {
	if m.options.Store == nil {
		return nil
	}
	return m.saves.run(func() []byte { return m.replica.save(m.shadow.target) }, m.options.Store.Save)
}

// saves groups stores: while one save runs, all changes wait for the
// next one.
type saves struct {
	mu         *sync.Mutex
	done       *sync.Cond
	generation uint64 // of the state
	stored     uint64
	saving     bool
}

func (s *saves) init(mu *sync.Mutex) { s.mu, s.done = mu, sync.NewCond(mu) }

// run returns when the state of now is stored. snapshot is called with mu held.
func (s *saves) run(snapshot func() []byte, store func([]byte) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for target := s.generation; s.stored < target; {
		if s.saving {
			s.done.Wait()
			continue
		}
		generation, data := s.generation, snapshot()
		if err := s.save(func() error { return store(data) }); err != nil {
			return err
		}
		s.stored = generation
	}
	return nil
}

// save calls store without mu, which it holds again even after a panic.
func (s *saves) save(store func() error) error {
	s.saving = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.saving = false
		s.done.Broadcast()
	}()
	return store()
}
