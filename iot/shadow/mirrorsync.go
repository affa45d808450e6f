// SPDX-License-Identifier: Apache-2.0

package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/jsonobject"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// unsync notes that the document has to be got again. What is being got now may
// be too old. The caller holds mu.
func (m *Mirror[S]) unsync() {
	m.replica.synced = false
	m.gaps++
}

// openStreams subscribes to the topics of changes. The caller does not hold mu.
func (m *Mirror[S]) openStreams() error {
	topics := map[string]func(topic string, payload []byte){"update/delta": m.onDelta, "delete/accepted": m.onDeleted}
	if m.options.Removals {
		topics["update/documents"] = m.onChange
	}
	m.mu.Lock()
	m.round++
	m.want, m.up, m.halted = len(topics), 0, false
	round := m.round
	m.mu.Unlock()
	var opened []*request.Stream
	for operation, handle := range topics {
		stream, err := m.shadow.requests.Stream(request.StreamOptions{
			Filter:    m.shadow.topic(operation),
			OnMessage: func(_ context.Context, msg mqtt5.Message) { handle(msg.Topic, msg.Payload) },
			OnEvent:   func(_ context.Context, e request.StreamEvent) { m.onStream(round, e) },
		})
		if err != nil {
			for _, s := range opened {
				s.Close()
			}
			return err
		}
		opened = append(opened, stream)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		for _, s := range opened {
			s.Close()
		}
		return nil
	}
	m.streams = opened
	return nil
}

// onStream follows the subscriptions: after each gap the document is got.
func (m *Mirror[S]) onStream(round int, e request.StreamEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || round != m.round {
		return
	}
	switch e.Kind {
	case request.StreamEstablished, request.StreamReestablished:
		m.up++
		m.unsync()
		m.asks.succeeded()
		m.reopens.succeeded()
	case request.StreamLost:
		m.up--
		m.unsync()
	case request.StreamOverflowed:
		m.unsync()
	case request.StreamHalted:
		m.report(fmt.Errorf("shadow: mirror of %s: %w", describe(m.shadow.thing, m.shadow.name), e.Err))
		if errors.Is(e.Err, request.ErrClosed) || errors.Is(e.Err, mqtt5.ErrClosed) {
			break
		}
		m.unsync()
		if !m.halted {
			m.halted = true
			m.reopens.failed(time.Now(), m.options.MinRetryDelay, m.options.MaxRetryDelay)
		}
	}
	m.touched()
	m.advance()
}

// reopen subscribes anew after the subscriptions were halted.
func (m *Mirror[S]) reopen() {
	m.mu.Lock()
	streams := m.streams
	m.streams = nil
	m.mu.Unlock()
	for _, s := range streams {
		s.Close()
	}
	if err := m.openStreams(); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.report(err)
		m.halted = true
		m.reopens.failed(time.Now(), m.options.MinRetryDelay, m.options.MaxRetryDelay)
		m.advance()
	}
}

// onDelta takes a delta message.
func (m *Mirror[S]) onDelta(topic string, payload []byte) {
	d, err := readDelta(topic, payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return
	case err != nil:
		m.report(err)
		m.unsync()
	case m.replica.gotDelta(d):
		m.unsync()
	}
	m.touched()
	m.advance()
}

// onChange takes a documents message.
func (m *Mirror[S]) onChange(topic string, payload []byte) {
	type snapshot struct {
		State struct {
			Desired  object `json:"desired"`
			Reported object `json:"reported"`
		} `json:"state"`
		Version int64 `json:"version"`
	}
	var body struct {
		Previous snapshot `json:"previous"`
		Current  snapshot `json:"current"`
	}
	err := jsonobject.DecodeNumbers(payload, &body)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return
	case err != nil:
		m.report(&PayloadError{Topic: topic, Payload: payload, Err: err})
		m.unsync()
	default:
		m.replica.gotChange(parsedChange{reportedBefore: body.Previous.State.Reported, reported: body.Current.State.Reported,
			desired: body.Current.State.Desired, version: body.Current.Version})
	}
	m.touched()
	m.advance()
}

// onDeleted notes that somebody deleted the shadow. An update of some fields
// would create it without the others.
func (m *Mirror[S]) onDeleted(topic string, payload []byte) {
	var body struct {
		Version int64 `json:"version"`
	}
	err := jsonobject.Decode(payload, &body)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return
	case err != nil:
		m.report(&PayloadError{Topic: topic, Payload: payload, Err: err})
	default:
		m.replica.gotDeletion(body.Version)
	}
	m.unsync()
	m.touched()
	m.advance()
}

func readDelta(topic string, payload []byte) (parsedDelta, error) {
	var body struct {
		State    object `json:"state"`
		Metadata object `json:"metadata"`
		Version  int64  `json:"version"`
	}
	err := jsonobject.DecodeNumbers(payload, &body)
	switch {
	case err != nil:
	case body.State == nil:
		err = errNoState
	case body.Version < 0:
		err = errNegative
	}
	if err != nil {
		return parsedDelta{}, &PayloadError{Topic: topic, Payload: payload, Err: err}
	}
	return parsedDelta{state: body.State, meta: body.Metadata, version: body.Version}, nil
}

func readDocument(topic string, payload []byte) (parsedDocument, error) {
	var body struct {
		State struct {
			Desired  object `json:"desired"`
			Reported object `json:"reported"`
			Delta    object `json:"delta"`
		} `json:"state"`
		Metadata struct {
			Desired object `json:"desired"`
		} `json:"metadata"`
		Version int64 `json:"version"`
	}
	err := jsonobject.DecodeNumbers(payload, &body)
	if err == nil && body.Version < 0 {
		err = errNegative
	}
	if err != nil {
		return parsedDocument{}, &PayloadError{Topic: topic, Payload: payload, Err: err}
	}
	return parsedDocument{
		desired:  body.State.Desired,
		reported: body.State.Reported,
		delta:    parsedDelta{state: body.State.Delta, meta: shape(body.Metadata.Desired, body.State.Delta), version: body.Version},
		version:  body.Version,
	}, nil
}

// advance starts whatever can be done now, and arms the timer for the rest. The
// caller holds mu.
func (m *Mirror[S]) advance() {
	if m.closed {
		return
	}
	now := time.Now()
	var next time.Time
	due := func(at time.Time) bool {
		if !at.After(now) {
			return true
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
		return false
	}
	if m.halted && due(m.reopens.at) {
		m.halted, m.up = false, 0
		m.begin(m.reopen)
	}
	if m.options.Resync > 0 && m.replica.synced && !m.asking && !m.sending && due(m.nextSync) {
		m.unsync()
	}
	if m.up == m.want && !m.replica.synced && !m.asking && !m.sending && due(m.asks.at) {
		m.asking = true
		m.replica.askedForDocument()
		gaps := m.gaps
		m.begin(func() { m.ask(gaps) })
	}
	if !m.sending && !m.asking && !m.blocked {
		if update, ok := m.replica.nextUpdate(m.versioned()); ok && due(m.sends.at) {
			m.sending = true
			m.replica.beginUpdate(update)
			m.saves.generation++
			m.begin(func() { m.send(update) })
		}
	}
	if m.options.OnDesired != nil {
		if changes := m.replica.nextApply(); changes != nil && due(m.applies.at) {
			repeated := m.replica.beginApply(changes)
			meta := shape(m.replica.wantedMeta, changes)
			target := merge(m.replica.local, changes)
			version := m.replica.version
			m.saves.generation++
			m.begin(func() { m.apply(changes, meta, target, version, repeated) })
		}
	}
	m.arm(now, next)
}

func (m *Mirror[S]) versioned() bool { return !m.options.Unversioned && m.conflicts < maxConflicts }

// begin runs work on a goroutine that Close waits for. The caller holds mu.
func (m *Mirror[S]) begin(work func()) {
	m.working.Add(1)
	go func() {
		defer m.working.Done()
		work()
	}()
}

func (m *Mirror[S]) arm(now, next time.Time) {
	switch {
	case next.IsZero():
		if m.timer != nil {
			m.timer.Stop()
		}
	case m.timer == nil:
		m.timer = time.AfterFunc(next.Sub(now), func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.advance()
		})
	default:
		m.timer.Reset(next.Sub(now))
	}
}

// ask gets the document. It is of use if there is no other gap meanwhile.
func (m *Mirror[S]) ask(gaps int) {
	document, err := m.shadow.Get(m.ctx)
	var parsed parsedDocument
	if err == nil {
		parsed, err = readDocument(m.shadow.topic("get/accepted"), document.Raw)
	} else if errors.Is(err, ErrNotFound) {
		err = nil // an update creates it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asking = false
	if m.closed {
		return
	}
	now := time.Now()
	switch {
	case err != nil:
		m.asks.failed(now, m.options.MinRetryDelay, m.options.MaxRetryDelay)
		m.report(err)
	case m.gaps != gaps:
	default:
		m.asks.succeeded()
		m.replica.gotDocument(parsed)
		m.nextSync = now.Add(m.options.Resync)
	}
	m.touched()
	m.advance()
}

// send sends an update, after its record is stored.
func (m *Mirror[S]) send(update outgoing) {
	if err := m.save(); err != nil {
		m.sent(0, err, true)
		return
	}
	var u Update[json.RawMessage]
	if len(update.reported) > 0 {
		u.Reported = Value(encode(update.reported))
	}
	if len(update.desired) > 0 {
		u.Desired = Value(encode(update.desired))
	}
	u.Version = update.version
	accepted, err := m.shadow.Update(m.ctx, u)
	if err != nil {
		m.sent(0, err, false)
		return
	}
	m.sent(accepted.Version, nil, false)
}

// sent takes the outcome of an update. unsent: it is certain that the service
// does not have it.
func (m *Mirror[S]) sent(version int64, err error, unsent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sending = false
	var rejected *RejectedError
	var invalid *mqtt5.ValidationError // too large for a message
	now := time.Now()
	unsent = unsent || errors.Is(err, mqtt5.ErrNotSent) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrInvalidRequest)
	switch {
	case err == nil:
		if m.replica.updateAccepted(version) && !m.options.Unversioned {
			m.unsync()
		}
		m.conflicts = 0
		m.sends = retry{at: now.Add(m.options.Coalesce)}
	case errors.Is(err, ErrVersionConflict):
		m.conflicts++
		m.replica.updateFailed()
		m.unsync()
	case errors.As(err, &rejected) && rejected.Code < 500 || unsent:
		m.replica.updateFailed()
		m.blocked = errors.Is(err, ErrTooLarge) || errors.Is(err, ErrInvalidRequest) || errors.As(err, &invalid)
		m.sends.failed(now, m.options.MinRetryDelay, m.options.MaxRetryDelay)
	default:
		m.replica.updateUnknown()
		m.sends.failed(now, m.options.MinRetryDelay, m.options.MaxRetryDelay)
	}
	if m.closed {
		return
	}
	if err != nil && !errors.Is(err, ErrVersionConflict) {
		m.report(err)
	}
	m.touched()
	m.advance()
}

// apply has the user apply desired changes. Before that it stores that it does,
// and after that the outcome: a crash in between is reported as Repeated.
func (m *Mirror[S]) apply(changes, meta, target object, version int64, repeated bool) {
	change := &Desired[S]{JSON: encode(changes), Version: version, Repeated: repeated}
	err := m.save()
	if err == nil {
		if err = json.Unmarshal(change.JSON, &change.State); err == nil {
			err = json.Unmarshal(encode(target), &change.Target)
		}
		if err != nil {
			// It will not get better: the type of the state is another one.
			err = fmt.Errorf("%w: %w", ErrRefused, &PayloadError{Topic: m.shadow.topic("update/delta"), Payload: change.JSON, Err: err})
		} else {
			err = m.protect(change)
		}
	}
	m.mu.Lock()
	var report object
	if err == nil {
		if report = change.report; report == nil {
			report = changes
		}
		m.applies.succeeded()
	} else if !errors.Is(err, ErrRefused) {
		m.applies.failed(time.Now(), m.options.MinRetryDelay, m.options.MaxRetryDelay)
	}
	if !m.closed || err == nil {
		m.replica.endApply(changes, meta, report, err == nil || errors.Is(err, ErrRefused))
		m.touched()
	}
	if err != nil {
		m.report(err)
	}
	m.mu.Unlock()
	err = m.save()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.report(err)
	}
	m.advance()
}

// protect calls OnDesired. A panic or a call of runtime.Goexit becomes an error:
// the change is not applied.
func (m *Mirror[S]) protect(change *Desired[S]) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = errors.New("shadow: OnDesired called runtime.Goexit")
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("shadow: OnDesired panicked: %v\n%s", p, debug.Stack())
			}
		}()
		err = m.options.OnDesired(m.ctx, change)
	}()
	<-done
	return err
}
