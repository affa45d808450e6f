// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
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

// process holds the libraries that this process has loaded. PKCS#11 has one initialisation per library and process, so
// this is state of the process whether it is written down here or not.
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
		m = &module{path: path, load: r.load, tokens: map[string]*tokenState{}}
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

// canonical makes one name of the names of a file. A name without a directory is searched for by the dynamic linker and
// stays what it is.
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

	// mu guards what follows; it is taken before gate.
	mu  sync.Mutex
	api cryptoki
	// refs counts libraries and tokens.
	refs int
	// managed is set once this package has initialised the library and until it has finalised it.
	managed bool
	// strict is set while the library is to be finalised with the last reference.
	strict bool
	tokens map[string]*tokenState
	// secret keys the digests of refused PINs.
	secret [32]byte

	// gate is held shared by calls into the library and exclusively while it is initialised or finalised. It guards
	// epoch.
	gate sync.RWMutex
	// epoch counts initialisations: handles of another epoch may by now be those of somebody else.
	epoch uint64
	// serial is set for libraries that cannot be called by several threads at once.
	serial atomic.Bool
}

// tokenState is what all users of one token in this process share.
type tokenState struct {
	// login is held during a login, by whoever has put a value in it. Logins of one token come one after the other, so
	// that a PIN which several clients have is refused once and not once for each.
	login chan struct{}
	// mu guards refused.
	mu sync.Mutex
	// refused has the digests of the PINs that the token has refused, with its answer.
	refused map[[sha256.Size]byte]ReturnCode
}

func (m *module) open(path string, behavior InitBehavior) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error, hint string) error {
		return &Error{Op: "open library", Library: path, Err: err, Hint: hint}
	}
	if m.api == nil {
		api, err := m.load(path)
		if err != nil {
			if errors.Is(err, ErrLibraryLoad) {
				var hint string
				hint, err = diagnose(path, err)
				return fail(err, hint)
			}
			return fail(err, "")
		}
		if _, err := rand.Read(m.secret[:]); err != nil {
			return fail(err, "")
		}
		m.api = api
	}
	started := false
	switch behavior {
	case InitOmit:
	case InitStrict:
		if m.strict {
			break
		}
		if m.managed || m.refs > 0 {
			return fail(ErrAlreadyInitialized, "this program has opened it before with another behavior: use one behavior throughout")
		}
		if err := m.initialize(); err != nil {
			if hasCode(err, rvCryptokiAlreadyInitialized) {
				return fail(both(ErrAlreadyInitialized, err), "another part of this program uses the library: use InitDefault")
			}
			return fail(err, initializeHint)
		}
		m.managed, m.strict, started = true, true, true
	default:
		if m.managed {
			break
		}
		if err := m.initialize(); err != nil && !hasCode(err, rvCryptokiAlreadyInitialized) {
			return fail(err, initializeHint)
		}
		m.managed = true
	}
	err := m.checkVersion()
	if hasCode(err, rvCryptokiNotInitialized) && m.managed && behavior != InitOmit {
		// Finalised by another part of the program since.
		if err = m.initialize(); err == nil || hasCode(err, rvCryptokiAlreadyInitialized) {
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
	m.refs++
	return nil
}

const initializeHint = "check the configuration of the library, its environment variables, and that this user may read its files"

// checkVersion looks whether the library is one that this package can use. Version 3 libraries show the functions of
// version 2 to those who ask in the old way, as the binding does.
func (m *module) checkVersion() error {
	return m.call(func(api cryptoki) error {
		major, minor, err := api.Version()
		if err == nil && (major < 2 || major == 2 && minor < 20) {
			err = fmt.Errorf("%w: it says %d.%d, and 2.20 is needed", ErrLibraryVersion, major, minor)
		}
		return err
	})
}

// initialize calls C_Initialize. The caller holds mu.
func (m *module) initialize() error {
	m.gate.Lock()
	defer m.gate.Unlock()
	m.epoch++
	err := m.api.Initialize(flagOSLocking)
	if hasCode(err, rvCantLock, rvNeedToCreateThreads) {
		if err = m.api.Initialize(0); err == nil {
			m.serial.Store(true)
		}
	}
	return err
}

// finalize calls C_Finalize. The caller holds mu.
func (m *module) finalize() error {
	m.gate.Lock()
	defer m.gate.Unlock()
	m.epoch++
	m.managed, m.strict = false, false
	err := m.api.Finalize()
	if hasCode(err, rvCryptokiNotInitialized) {
		err = nil
	}
	return err
}

// retain adds a reference. The caller has one already.
func (m *module) retain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refs++
}

// release gives a reference back and finalises the library with the last one if that was agreed.
func (m *module) release() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refs--
	if m.refs > 0 || !m.strict {
		return nil
	}
	if err := m.finalize(); err != nil {
		return &Error{Op: "finalise library", Library: m.path, Err: err}
	}
	return nil
}

// revive initialises the library again after another part of the program has finalised it. The epoch is that in which
// this was noticed.
func (m *module) revive(epoch uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.currentEpoch() != epoch {
		return nil
	}
	if !m.managed {
		m.gate.Lock()
		m.epoch++
		m.gate.Unlock()
		return both(ErrNotInitialized, rvCryptokiNotInitialized)
	}
	if err := m.initialize(); err != nil && !hasCode(err, rvCryptokiAlreadyInitialized) {
		return err
	}
	return nil
}

func (m *module) currentEpoch() uint64 {
	m.gate.RLock()
	defer m.gate.RUnlock()
	return m.epoch
}

// call runs f with the library.
func (m *module) call(f func(cryptoki) error) error {
	defer m.enter()()
	return f(m.api)
}

// use runs f with the library if the handles that f uses, which are of an epoch, are still those of their owner.
func (m *module) use(epoch uint64, f func(cryptoki) error) error {
	defer m.enter()()
	if m.epoch != epoch {
		return errStale
	}
	return f(m.api)
}

func (m *module) enter() (leave func()) {
	if m.serial.Load() {
		m.gate.Lock()
		return m.gate.Unlock
	}
	m.gate.RLock()
	return m.gate.RUnlock
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
