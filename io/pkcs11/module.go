// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// process holds the libraries that this process has loaded. PKCS#11 has one
// initialisation per library and process, so this is state of the process
// whether it is written down here or not.
var process = &registry{load: load}

// registry finds the module of a path.
type registry struct {
	load func(path string) (cryptoki, error)

	mu      sync.Mutex
	modules map[string]*module
}

// open returns the module of a path with one more reference to it.
func (r *registry) open(path string, behavior InitBehavior) (*module, error) {
	r.mu.Lock()
	key := canonical(path)
	m := r.modules[key]
	if m == nil {
		m = &module{path: path, load: r.load, setup: make(chan struct{}, 1), tokens: map[string]*tokenState{}}
		if r.modules == nil {
			r.modules = map[string]*module{}
		}
		r.modules[key] = m
	}
	r.mu.Unlock()
	if err := m.open(path, behavior); err != nil {
		return nil, err
	}
	return m, nil
}

// canonical makes one name of the names of a file. A name without a directory
// is searched for by the dynamic linker and stays what it is.
func canonical(path string) string {
	if !strings.ContainsRune(path, filepath.Separator) {
		return path
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

// module is a loaded library. It is never unloaded.
type module struct {
	path string
	load func(path string) (cryptoki, error)

	// setup is held, by whoever has put a value in it, while the library is
	// loaded, initialised or finalised; it guards writes of api, managed and
	// strict. It is taken before gate and mu.
	setup chan struct{}
	// api is there once the library is loaded, and stays.
	api cryptoki
	// secret keys the digests of refused PINs. It is there with api.
	secret [32]byte

	// mu guards what follows. It is never held during a call into the library.
	mu sync.Mutex
	// refs counts libraries and tokens.
	refs int
	// managed is set once this package has initialised the library and until it
	// has finalised it.
	managed bool
	// strict is set while the library is to be finalised with the last reference.
	strict bool
	tokens map[string]*tokenState

	// gate admits calls into the library, one alone while it is initialised or finalised.
	gate gate
	// serial is set for libraries that cannot be called by several threads at once.
	serial atomic.Bool
}

// tokenState is what all users of one token in this process share.
type tokenState struct {
	// login is held during a login, by whoever has put a value in it. Logins of
	// one token come one after the other, so that a PIN which several clients
	// have is refused once and not once for each.
	login chan struct{}
	// mu guards refused.
	mu sync.Mutex
	// refused has the digests of the PINs that the token has refused, with its answer.
	refused map[[sha256.Size]byte]ReturnCode
}

// open adds a reference, to a library that is loaded and initialised as the
// behavior says.
func (m *module) open(path string, behavior InitBehavior) error {
	m.setup <- struct{}{}
	defer func() { <-m.setup }()
	fail := func(err error, hint string) error {
		return &Error{Op: "open library", Library: path, Err: err, Hint: hint}
	}
	if m.api == nil {
		if err := m.loadOnce(path); err != nil {
			hint := ""
			if errors.Is(err, ErrLibraryLoad) {
				hint, err = diagnose(path, err)
			}
			return fail(err, hint)
		}
	}
	started, hint, err := m.begin(behavior)
	if err != nil {
		return fail(err, hint)
	}
	err = m.checkVersion()
	if hasCode(err, rvCryptokiNotInitialized) && m.isManaged() && behavior != InitOmit {
		// Finalised by another part of the program since.
		if err = m.initialize(context.Background()); err == nil || hasCode(err, rvCryptokiAlreadyInitialized) {
			err = m.checkVersion()
		}
	}
	if err != nil {
		if started {
			_ = m.finalize()
		}
		if hasCode(err, rvCryptokiNotInitialized) {
			return fail(both(ErrNotInitialized, err), "InitOmit leaves it to the program to initialise the library first: do so, or use InitDefault")
		}
		return fail(err, "")
	}
	m.retain()
	return nil
}

// loadOnce loads the library. The caller holds setup.
func (m *module) loadOnce(path string) error {
	api, err := m.load(path)
	if err != nil {
		return err
	}
	if _, err := rand.Read(m.secret[:]); err != nil {
		return err
	}
	m.api = api
	return nil
}

// begin initialises the library as the behavior says, unless that was done
// before. It reports whether the library is to be finalised again if it cannot
// be used. The caller holds setup.
func (m *module) begin(behavior InitBehavior) (started bool, hint string, err error) {
	m.mu.Lock()
	refs, managed, strict := m.refs, m.managed, m.strict
	m.mu.Unlock()
	switch {
	case behavior == InitOmit, behavior == InitStrict && strict, behavior == InitDefault && managed:
		return false, "", nil
	case behavior == InitStrict && (managed || refs > 0):
		return false, "this program has opened it before with another behavior: use one behavior throughout", ErrAlreadyInitialized
	}
	err = m.initialize(context.Background())
	if hasCode(err, rvCryptokiAlreadyInitialized) {
		if behavior == InitStrict {
			return false, "another part of this program uses the library: use InitDefault", both(ErrAlreadyInitialized, err)
		}
		err = nil
	}
	if err != nil {
		return false, initializeHint, err
	}
	m.mu.Lock()
	m.managed, m.strict = true, behavior == InitStrict
	m.mu.Unlock()
	return behavior == InitStrict, "", nil
}

func (m *module) isManaged() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.managed
}

const initializeHint = "check the configuration of the library, its environment variables, and that this user may read its files"

// checkVersion looks whether the library is one that this package can use.
// Version 3 libraries show the functions of version 2 to those who ask in the
// old way, as the binding does.
func (m *module) checkVersion() error {
	return m.call(context.Background(), func(api cryptoki) error {
		major, minor, err := api.Version()
		if err == nil && (major < 2 || major == 2 && minor < 20) {
			err = fmt.Errorf("%w: it says %d.%d, and 2.20 is needed", ErrLibraryVersion, major, minor)
		}
		return err
	})
}

// initialize calls C_Initialize when no other call is under way. The caller holds setup.
func (m *module) initialize(ctx context.Context) error {
	if _, err := m.gate.enter(ctx, true); err != nil {
		return err
	}
	defer m.gate.leave()
	m.gate.nextEpoch()
	err := m.api.Initialize(flagOSLocking)
	if hasCode(err, rvCantLock, rvNeedToCreateThreads) {
		if err = m.api.Initialize(0); err == nil {
			m.serial.Store(true)
		}
	}
	return err
}

// finalize calls C_Finalize when no other call is under way. The caller holds setup.
func (m *module) finalize() error {
	if _, err := m.gate.enter(context.Background(), true); err != nil {
		return err
	}
	defer m.gate.leave()
	m.gate.nextEpoch()
	m.mu.Lock()
	m.managed, m.strict = false, false
	m.mu.Unlock()
	err := m.api.Finalize()
	if hasCode(err, rvCryptokiNotInitialized) {
		err = nil
	}
	return err
}

// retain adds a reference.
func (m *module) retain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refs++
}

// release gives a reference back and finalises the library with the last one if
// that was agreed.
func (m *module) release() error {
	m.mu.Lock()
	m.refs--
	m.mu.Unlock()
	if !m.over() {
		return nil
	}
	m.setup <- struct{}{}
	defer func() { <-m.setup }()
	// It may have been opened again, or finalised, meanwhile.
	if !m.over() {
		return nil
	}
	if err := m.finalize(); err != nil {
		return &Error{Op: "finalise library", Library: m.path, Err: err}
	}
	return nil
}

// over reports whether the library is to be finalised.
func (m *module) over() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refs == 0 && m.strict
}

// revive initialises the library again after another part of the program has
// finalised it. The epoch is that in which this was noticed. The context bounds
// the wait for calls that are under way.
func (m *module) revive(ctx context.Context, epoch uint64) error {
	select {
	case m.setup <- struct{}{}:
		defer func() { <-m.setup }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.gate.currentEpoch() != epoch {
		return nil
	}
	if !m.isManaged() {
		m.gate.nextEpoch()
		return both(ErrNotInitialized, rvCryptokiNotInitialized)
	}
	if err := m.initialize(ctx); err != nil && !hasCode(err, rvCryptokiAlreadyInitialized) {
		return err
	}
	return nil
}

// call runs f with the library. The context bounds the wait for other calls, not f.
func (m *module) call(ctx context.Context, f func(cryptoki) error) error {
	if _, err := m.gate.enter(ctx, m.serial.Load()); err != nil {
		return err
	}
	defer m.gate.leave()
	return f(m.api)
}

// use is call, if the handles that f uses, which are of an epoch, are still
// those of their owner.
func (m *module) use(ctx context.Context, epoch uint64, f func(cryptoki) error) error {
	current, err := m.gate.enter(ctx, m.serial.Load())
	if err != nil {
		return err
	}
	defer m.gate.leave()
	if current != epoch {
		return errStale
	}
	return f(m.api)
}

// token returns the shared state of a token.
func (m *module) token(info TokenInfo) *tokenState {
	key := strings.Join([]string{info.Manufacturer, info.Model, info.Serial, info.Label}, "\x00")
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.tokens[key]
	if s == nil {
		s = &tokenState{login: make(chan struct{}, 1), refused: map[[sha256.Size]byte]ReturnCode{}}
		m.tokens[key] = s
	}
	return s
}

// forget allows refused PINs again.
func (m *module) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.tokens {
		s.mu.Lock()
		clear(s.refused)
		s.mu.Unlock()
	}
}

// digest stands for a PIN in memory that outlives it.
func (m *module) digest(pin string) (d [sha256.Size]byte) {
	h := hmac.New(sha256.New, m.secret[:])
	h.Write([]byte(pin))
	copy(d[:], h.Sum(nil))
	return d
}

func (s *tokenState) refusal(digest [sha256.Size]byte) (ReturnCode, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.refused[digest]
	return c, ok
}

func (s *tokenState) refuse(digest [sha256.Size]byte, c ReturnCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[digest] = c
}
