// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// InitBehavior says who initialises and finalises a library. There is one
// initialisation per library and process, shared by all who use the library.
type InitBehavior int

const (
	// InitDefault initialises the library unless another part of the program has
	// done so already, and never finalises it. Nearly all programs want it.
	InitDefault InitBehavior = iota
	// InitOmit neither initialises nor finalises the library: the program does.
	InitOmit
	// InitStrict initialises the library, fails with [ErrAlreadyInitialized] if
	// anybody has done so before, and finalises it when the last [Library],
	// [Token] and [Identity] of this package that uses it is closed. Several
	// that were opened with InitStrict share one initialisation.
	InitStrict
)

// String returns the name of the behavior in lower case.
func (b InitBehavior) String() string {
	switch b {
	case InitDefault:
		return "default"
	case InitOmit:
		return "omit"
	case InitStrict:
		return "strict"
	}
	return fmt.Sprintf("InitBehavior(%d)", int(b))
}

// Library is a loaded PKCS#11 library. It may be used by several goroutines at once.
type Library struct {
	path string
	mod  *module

	mu     sync.Mutex
	closed bool
}

// Open loads a PKCS#11 library, the .so, .dylib or .dll of the maker of the
// device, and initialises it as the behavior says. Opening one path several
// times gives several libraries that share one initialisation.
//
// Errors are of type [*Error] with [ErrLibraryLoad], [ErrLibraryVersion],
// [ErrAlreadyInitialized], [ErrNotInitialized], [ErrInvalidOptions], a
// [ReturnCode], or [ErrUnsupported] in a program that was built without cgo.
func Open(path string, behavior InitBehavior) (*Library, error) {
	return process.library(path, behavior)
}

func (r *registry) library(path string, behavior InitBehavior) (*Library, error) {
	var invalid error
	switch {
	case path == "":
		invalid = fmt.Errorf("%w: the path is empty", ErrInvalidOptions)
	case behavior < InitDefault || behavior > InitStrict:
		invalid = fmt.Errorf("%w: there is no behavior %d", ErrInvalidOptions, int(behavior))
	}
	if invalid != nil {
		return nil, &Error{Op: "open library", Library: path, Err: invalid,
			Hint: "give the path of the PKCS#11 library of the device and one of InitDefault, InitOmit, InitStrict"}
	}
	m, err := r.open(path, behavior)
	if err != nil {
		return nil, err
	}
	return &Library{path: path, mod: m}, nil
}

// Path returns the path that was given to [Open].
func (l *Library) Path() string { return l.path }

// String returns the path.
func (l *Library) String() string { return l.path }

// GoString returns the path.
func (l *Library) GoString() string { return fmt.Sprintf("pkcs11.Library(%q)", l.path) }

// Format is GoString, whatever the verb: fmt would print the fields.
func (l *Library) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.GoString()) }

// Close gives the library up. Tokens and identities made with it keep working
// until they are closed themselves. Closing again does nothing.
func (l *Library) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	return l.mod.release()
}

// retain gives a token its own reference to the module.
func (l *Library) retain() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return &Error{Op: "use library", Library: l.path, Err: ErrClosed}
	}
	l.mod.retain()
	return nil
}

// ForgetRefusedPINs allows PINs again that tokens of this library have refused
// in this process: after the PIN on the token has been changed to the one that
// the program has, or after the token was unlocked. The next attempt to sign
// then tries to log in, and counts as a try on the token.
func (l *Library) ForgetRefusedPINs() { l.mod.forget() }

// TokenInfo describes a token.
type TokenInfo struct {
	// SlotID is the number of the slot that the token is in. It may be another
	// one after a restart.
	SlotID uint
	// Label is the name that the token was given when it was initialised.
	Label string
	// Serial is the serial number, as text.
	Serial string
	// Manufacturer and Model name the make.
	Manufacturer, Model string

	flags uint
}

// String describes the token for a person.
func (t TokenInfo) String() string {
	s := fmt.Sprintf("token %q with serial %q in slot %d", t.Label, t.Serial, t.SlotID)
	if !t.Initialized() {
		s += " (not initialised)"
	}
	return s
}

// Initialized reports whether the token has been set up.
func (t TokenInfo) Initialized() bool { return t.flags&flagInitialized != 0 }

// ProtectedAuthenticationPath reports whether the token asks for the PIN by its
// own means, such as a keypad.
func (t TokenInfo) ProtectedAuthenticationPath() bool { return t.flags&flagProtectedPath != 0 }

// PINLocked reports whether the token says that its PIN is locked.
func (t TokenInfo) PINLocked() bool { return t.flags&flagPINLocked != 0 }

// Tokens returns the tokens that the library lists now. It returns when the library does.
func (l *Library) Tokens() ([]TokenInfo, error) {
	if err := l.retain(); err != nil {
		return nil, err
	}
	defer func() { _ = l.mod.release() }()
	tokens, err := l.mod.list(context.Background())
	if err != nil {
		return nil, &Error{Op: "list tokens", Library: l.path, Err: err}
	}
	return tokens, nil
}

// list returns the tokens that are there. A token that goes away meanwhile is left out.
func (m *module) list(ctx context.Context) (tokens []TokenInfo, err error) {
	err = m.call(ctx, func(api cryptoki) error {
		slots, err := api.Slots()
		if err != nil {
			return err
		}
		tokens = make([]TokenInfo, 0, len(slots))
		for _, slot := range slots {
			info, err := api.Token(slot)
			switch {
			case err == nil:
				tokens = append(tokens, info)
			case hasCode(err, rvCryptokiNotInitialized):
				return err
			}
		}
		return nil
	})
	return tokens, err
}
