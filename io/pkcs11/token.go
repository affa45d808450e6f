// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Defaults of [TokenOptions].
const (
	// DefaultMaxSessions is the number of sessions that a token opens at most.
	DefaultMaxSessions = 8
	// DefaultSessionTimeout is how long a signature waits for a session.
	DefaultSessionTimeout = 30 * time.Second
	// DefaultCallTimeout is how long a signature waits for the library once it
	// has a session.
	DefaultCallTimeout = 2 * time.Minute
)

// TokenOptions says which token is meant and how it is opened. All of SlotID,
// Label, Serial, Manufacturer and Model that are given must match. If none is
// given, the only initialised token is meant.
type TokenOptions struct {
	// SlotID is the number of the slot that the token is in. Many libraries
	// number slots anew when they start: prefer Label or Serial. Nil means any.
	SlotID *uint
	// Label is the name of the token. Empty means any.
	Label string
	// Serial is the serial number of the token. Empty means any.
	Serial string
	// Manufacturer and Model name the make of the token. Empty means any.
	Manufacturer, Model string

	// PIN is the PIN of the normal user. If it is empty and PINFunc is nil, the
	// token must ask for the PIN by its own means (a protected authentication
	// path, such as a keypad), or want none.
	PIN PIN
	// PINFunc is asked for the PIN at every login, instead of PIN. It may be
	// called by several goroutines at once.
	PINFunc func(ctx context.Context) (PIN, error)

	// MaxSessions is the number of sessions that are open at once at most. More
	// signatures at once than sessions wait for each other. Zero means
	// [DefaultMaxSessions]. If the token has fewer, those are used.
	MaxSessions int
	// SessionTimeout is how long a signature waits for a session, including the
	// time to find the token, to open the session and to log in. Zero means
	// [DefaultSessionTimeout].
	SessionTimeout time.Duration
	// CallTimeout is how long a signature, or a search for a key or a
	// certificate, waits for the library once it has a session. It has to cover
	// the time that a person needs to touch the token or to type on its keypad.
	// Zero means [DefaultCallTimeout].
	CallTimeout time.Duration

	// Logger receives messages about lost sessions and refused PINs. Nil: none.
	Logger *zap.Logger
}

// Format names the token and leaves out the PIN, whatever the verb.
func (o TokenOptions) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "pkcs11.TokenOptions{Label:%q Serial:%q Manufacturer:%q Model:%q}", o.Label, o.Serial, o.Manufacturer, o.Model)
}

func (o TokenOptions) validate() error {
	var errs []error
	if o.PIN != "" && o.PINFunc != nil {
		errs = append(errs, errors.New("PIN and PINFunc exclude each other"))
	}
	if strings.ContainsRune(string(o.PIN), 0) {
		errs = append(errs, errors.New("PIN contains a zero byte"))
	}
	if o.MaxSessions < 0 {
		errs = append(errs, errors.New("MaxSessions is negative"))
	}
	if o.SessionTimeout < 0 {
		errs = append(errs, errors.New("SessionTimeout is negative"))
	}
	if o.CallTimeout < 0 {
		errs = append(errs, errors.New("CallTimeout is negative"))
	}
	return invalid(errs)
}

// invalid joins complaints about options.
func invalid(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	texts := make([]string, len(errs))
	for i, e := range errs {
		texts[i] = e.Error()
	}
	return fmt.Errorf("%w: %s", ErrInvalidOptions, strings.Join(texts, "; "))
}

// describe says which token is meant.
func (o TokenOptions) describe() string {
	var parts []string
	if o.SlotID != nil {
		parts = append(parts, fmt.Sprintf("in slot %d", *o.SlotID))
	}
	for _, p := range []struct{ name, value string }{
		{"label", o.Label}, {"serial", o.Serial}, {"manufacturer", o.Manufacturer}, {"model", o.Model},
	} {
		if p.value != "" {
			parts = append(parts, fmt.Sprintf("with %s %q", p.name, p.value))
		}
	}
	if len(parts) == 0 {
		return "the only token"
	}
	return "token " + strings.Join(parts, " and ")
}

func (o TokenOptions) matches(t TokenInfo) bool {
	if o.SlotID != nil && *o.SlotID != t.SlotID {
		return false
	}
	is := func(want, have string) bool { return want == "" || want == have }
	return t.Initialized() && is(o.Label, t.Label) && is(o.Serial, t.Serial) &&
		is(o.Manufacturer, t.Manufacturer) && is(o.Model, t.Model)
}

// Token is a device, or a part of one, with a bounded pool of sessions that all
// its keys share. It may be used by several goroutines at once. Many clients of
// one process should share one Token.
type Token struct {
	name string
	path string
	mod  *module
	opts TokenOptions
	pin  func(context.Context) (string, error)
	log  *zap.Logger
	pool pool

	// setup is held while the token is looked for and a session is opened; it
	// guards what follows.
	setup chan struct{}
	// found is the generation in which info and shared were found; 0 is never.
	found  uint64
	info   *TokenInfo
	shared *tokenState

	closing sync.Once
}

// Token prepares the use of a token. It does not touch the device: the search for
// the token and the login follow when the first key is used. Errors are of
// type [*Error] with [ErrInvalidOptions] or [ErrClosed].
func (l *Library) Token(o TokenOptions) (*Token, error) {
	if err := o.validate(); err != nil {
		return nil, &Error{Op: "open token", Library: l.path, Token: o.describe(), Err: err}
	}
	if o.SlotID != nil {
		id := *o.SlotID
		o.SlotID = &id
	}
	if o.MaxSessions == 0 {
		o.MaxSessions = DefaultMaxSessions
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = DefaultSessionTimeout
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = DefaultCallTimeout
	}
	if err := l.retain(); err != nil {
		return nil, err
	}
	t := &Token{name: o.describe(), path: l.path, mod: l.mod, setup: make(chan struct{}, 1), log: o.Logger}
	if t.log == nil {
		t.log = zap.NewNop()
	}
	t.log = t.log.With(zap.String("library", l.path), zap.String("token", t.name))
	// The PIN is kept where no verb of package fmt finds it.
	pin, ask := string(o.PIN), pinFunc(o.PINFunc)
	t.pin = func(ctx context.Context) (string, error) {
		if ask == nil {
			return pin, nil
		}
		return ask.call(ctx)
	}
	o.PIN, o.PINFunc = "", nil
	t.opts = o
	t.pool.init(o.MaxSessions, t.openSession, t.closeSession)
	return t, nil
}

// String says which token is meant.
func (t *Token) String() string { return t.name }

// GoString says which token is meant.
func (t *Token) GoString() string { return "pkcs11.Token(" + t.name + ")" }

// Format is GoString, whatever the verb: fmt would print the fields.
func (t *Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.GoString()) }

// SessionStats counts the sessions of a [Token].
type SessionStats struct {
	// Open is the number of sessions, in use or not.
	Open int
	// InUse is the number of sessions that are in use.
	InUse int
	// Waiting is the number of signatures that wait for a session.
	Waiting int
	// Limit is the number of sessions that may be open.
	Limit int
}

// Stats counts the sessions.
func (t *Token) Stats() SessionStats { return t.pool.stats() }

// Close closes the sessions. Those in use are closed when they are not used any
// more; what waits for one, and what comes later, fails with [ErrClosed]. Other
// users of the device, in this process or not, keep their sessions. Closing
// again does nothing. The error is that of finalising the library, if that was
// due.
func (t *Token) Close() error {
	var err error
	t.closing.Do(func() {
		// The last session to be closed gives up the library, because none can
		// outlive it. That may be later, when nobody asks for the error any
		// more.
		result := make(chan error, 1)
		t.pool.close(func() { result <- t.mod.release() })
		select {
		case err = <-result:
		default:
		}
	})
	return err
}

func (t *Token) fail(op string, err error, hint string) error {
	return &Error{Op: op, Library: t.path, Token: t.name, Err: err, Hint: hint}
}

// mostRecoveries bounds how often one operation starts anew.
const mostRecoveries = 3

// do runs f with a session, anew with everything if the library says that
// something is gone. The context, SessionTimeout and CallTimeout bound how long
// the caller waits. They do not end a call into the library: f runs on, and
// must keep its results to itself but for what it returns.
func do[T any](ctx context.Context, t *Token, op string, f func(ctx context.Context, s session) (T, error)) (T, error) {
	for attempt := 0; ; attempt++ {
		generation := t.pool.currentGeneration()
		epoch := t.mod.gate.currentEpoch()
		value, err := once(ctx, t, f)
		if err == nil {
			return value, nil
		}
		if attempt == mostRecoveries || !recoverable(err) || ctx.Err() != nil {
			return value, t.explain(op, err)
		}
		t.log.Warn("token lost, opening it again", zap.String("operation", op), zap.Error(err))
		if err := t.recover(ctx, generation, epoch, err); err != nil {
			return value, t.explain(op, err)
		}
	}
}

// once runs f with a session that it returns when f has returned, even if
// nobody waits any more.
func once[T any](ctx context.Context, t *Token, f func(ctx context.Context, s session) (T, error)) (value T, err error) {
	waiting, cancelWaiting := context.WithTimeoutCause(ctx, t.opts.SessionTimeout, ErrSessionTimeout)
	defer cancelWaiting()
	s, err := t.pool.acquire(waiting)
	if err != nil {
		return value, err
	}
	calling, cancelCalling := context.WithTimeoutCause(ctx, t.opts.CallTimeout, ErrCallTimeout)
	defer cancelCalling()
	return await(calling, func() (value T, err error) {
		healthy := false
		defer func() { t.pool.release(s, healthy) }()
		value, err = f(calling, s)
		// After an answer of the library that was not expected, the session may
		// be in the middle of something.
		_, answered := codeOf(err)
		healthy = err == nil || !answered && !errors.Is(err, errStale)
		return value, err
	}, func(T, error) {})
}

// recover drops what belongs to a generation, and initialises the library again
// if the error says that it was finalised.
func (t *Token) recover(ctx context.Context, generation, epoch uint64, cause error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.opts.SessionTimeout, ErrSessionTimeout)
	defer cancel()
	_, err := await(ctx, func() (struct{}, error) {
		defer t.pool.reset(generation)
		if hasCode(cause, rvCryptokiNotInitialized) {
			return struct{}{}, t.mod.revive(ctx, epoch)
		}
		return struct{}{}, nil
	}, func(struct{}, error) {})
	return err
}

// explain makes an error for the caller.
func (t *Token) explain(op string, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	hint := ""
	pending := (*pendingError)(nil)
	switch {
	case errors.As(err, &pending):
		hint = "it goes on, and its session counts as in use until it returns: look into the log of the device or of its library"
	case errors.Is(err, errStale):
		err = rvCryptokiNotInitialized
		hint = "another part of the program keeps finalising the library"
	case errors.Is(err, ErrSessionTimeout):
		hint = fmt.Sprintf("%d sessions are in use and none became free in %v: raise MaxSessions or SessionTimeout, "+
			"or let fewer handshakes run at once", t.Stats().InUse, t.opts.SessionTimeout)
	case errors.Is(err, ErrNotInitialized):
		hint = "the program has finalised the library: with InitOmit it must initialise it again"
	case hasCode(err, rvSessionCount):
		hint = "the token has no session left for this process: set MaxSessions lower where it is used, or close other programs that use it"
	case hasCode(err, rvDeviceRemoved, rvTokenNotPresent):
		hint = "the token was removed: put it back"
	case hasCode(err, rvDeviceError, rvGeneralError, rvFunctionFailed):
		hint = "look into the log of the device or of its library"
	}
	return t.fail(op, err, hint)
}

// openSession opens a session on the token, logged in. The token is looked for
// if the generation is new.
func (t *Token) openSession(ctx context.Context, generation uint64) (session, error) {
	select {
	case t.setup <- struct{}{}:
		defer func() { <-t.setup }()
	case <-ctx.Done():
		return session{}, context.Cause(ctx)
	}
	epoch := t.mod.gate.currentEpoch()
	if t.found != generation {
		if err := t.find(ctx); err != nil {
			return session{}, err
		}
		t.found = generation
	}
	s := session{epoch: epoch, generation: generation, info: t.info, shared: t.shared}
	state := uint(statePublicRO)
	err := t.mod.use(ctx, epoch, func(api cryptoki) (err error) {
		if s.handle, err = api.OpenSession(s.info.SlotID); err != nil {
			return err
		}
		if state, err = api.SessionState(s.handle); err != nil {
			// Not worth failing for: logging in twice is harmless.
			state = statePublicRO
		}
		return nil
	})
	if err != nil {
		return session{}, err
	}
	if public(state) && s.info.flags&flagLoginRequired != 0 {
		if err := t.login(ctx, s); err != nil {
			t.closeSession(s)
			return session{}, err
		}
	}
	return s, nil
}

func public(state uint) bool { return state == statePublicRO || state == statePublicRW }

// closeSession closes a session that is still ours.
func (t *Token) closeSession(s session) {
	_ = t.mod.use(context.Background(), s.epoch, func(api cryptoki) error { return api.CloseSession(s.handle) })
}

// find looks for the token. The caller holds setup.
func (t *Token) find(ctx context.Context) error {
	tokens, err := t.mod.list(ctx)
	if err != nil {
		return err
	}
	var matching []TokenInfo
	for _, info := range tokens {
		if t.opts.matches(info) {
			matching = append(matching, info)
		}
	}
	if len(matching) != 1 {
		e := &Error{Op: "find token", Library: t.path, Token: t.name, Tokens: tokens, Err: ErrTokenNotFound}
		switch {
		case len(matching) > 1:
			e.Err, e.Hint = ErrTokenAmbiguous, "say which one with Label, Serial or SlotID"
		case len(tokens) == 0:
			e.Hint = "check that the device is connected and that the library is configured for it"
		default:
			e.Hint = "check Label, Serial and SlotID; upper and lower case matter"
		}
		return e
	}
	t.info = &matching[0]
	t.shared = t.mod.token(matching[0])
	return nil
}
