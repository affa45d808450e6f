// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
	"strings"
)

// Conditions, to be found with [errors.Is].
var (
	// ErrUnsupported reports a program that was built without cgo.
	ErrUnsupported = errors.New("this program was built without cgo, which PKCS#11 needs: " +
		"build it with CGO_ENABLED=1 and a C compiler for the target (CC)")
	// ErrInvalidOptions is wrapped by every complaint about the options themselves.
	ErrInvalidOptions = errors.New("invalid option")
	// ErrLibraryLoad reports a file that cannot be loaded as a PKCS#11 library.
	ErrLibraryLoad = errors.New("the library cannot be loaded")
	// ErrLibraryVersion reports a library for another version of the standard
	// than 2.20 and later.
	ErrLibraryVersion = errors.New("the library speaks a version of PKCS#11 that is not supported")
	// ErrAlreadyInitialized reports a library that was to be opened with
	// [InitStrict] and was in use already.
	ErrAlreadyInitialized = errors.New("the library is initialised already")
	// ErrNotInitialized reports a library that was opened with [InitOmit] and
	// that nobody has initialised.
	ErrNotInitialized = errors.New("the library is not initialised")
	// ErrTokenNotFound reports that no token matches.
	ErrTokenNotFound = errors.New("no such token")
	// ErrTokenAmbiguous reports that several tokens match.
	ErrTokenAmbiguous = errors.New("several tokens match")
	// ErrKeyNotFound reports that no private key on the token matches.
	ErrKeyNotFound = errors.New("no such private key")
	// ErrKeyAmbiguous reports that several private keys on the token match.
	ErrKeyAmbiguous = errors.New("several private keys match")
	// ErrKeyUnsupported reports a key of a kind that TLS cannot use, or one
	// whose public half cannot be found.
	ErrKeyUnsupported = errors.New("the key cannot be used")
	// ErrCertificateNotFound reports that there is no certificate for the key.
	ErrCertificateNotFound = errors.New("no certificate for the key")
	// ErrCertificateInvalid reports a certificate that cannot be read.
	ErrCertificateInvalid = errors.New("the certificate cannot be read")
	// ErrCertificateMismatch reports a certificate that belongs to another key.
	ErrCertificateMismatch = errors.New("the private key does not belong to the certificate")
	// ErrPINRefused reports a PIN that the token has refused, now or earlier in
	// this process. This package does not send the same PIN to that token
	// again, see [Library.ForgetRefusedPINs].
	ErrPINRefused = errors.New("the token refused the PIN")
	// ErrPINLocked reports a token that does not accept any PIN until its
	// security officer unlocks it. It is an [ErrPINRefused] too.
	ErrPINLocked = fmt.Errorf("%w: it is locked", ErrPINRefused)
	// ErrPINMissing reports a token that wants a PIN, has no keypad of its own,
	// and was given none.
	ErrPINMissing = errors.New("the token wants a PIN and none was given")
	// ErrMechanism reports a kind of signature that the token does not make
	// with this key.
	ErrMechanism = errors.New("the token does not make this kind of signature")
	// ErrSessionTimeout reports that no session became free in time.
	ErrSessionTimeout = errors.New("no session became free in time")
	// ErrCallTimeout reports a call into the library that did not return within
	// [TokenOptions.CallTimeout].
	ErrCallTimeout = errors.New("the library did not answer in time")
	// ErrClosed reports the use of something that was closed.
	ErrClosed = errors.New("closed")
)

// Error reports what was tried, with what, and what was there instead. It never
// holds a PIN.
type Error struct {
	// Op is what was tried, such as "find token".
	Op string
	// Library is the path of the library as it was given.
	Library string
	// Token says by which properties the token was looked for. It is empty when
	// no token is involved.
	Token string
	// Key says by which properties the private key was looked for. It is empty
	// when no key is involved.
	Key string
	// Tokens are the tokens of the library, when the token was not found.
	Tokens []TokenInfo
	// KeyLabels are the labels of the private keys of the token, when the key
	// was not found.
	KeyLabels []string
	// Hint says what to do. It may be empty.
	Hint string
	// Err is the cause: one of the conditions of this package, a [ReturnCode], or both.
	Err error
}

// Advice returns the hint, by which package iot finds it.
func (e *Error) Advice() string { return e.Hint }

// Error names what was looked for, what was there, the cause and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("pkcs11: ")
	b.WriteString(e.Op)
	if e.Key != "" {
		b.WriteString(": " + e.Key)
	}
	if e.Token != "" {
		if e.Key != "" {
			b.WriteString(" on " + e.Token)
		} else {
			b.WriteString(": " + e.Token)
		}
	}
	if e.Library != "" {
		b.WriteString(" (library " + e.Library + ")")
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Tokens != nil {
		b.WriteString("; ")
		b.WriteString(listTokens(e.Tokens))
	}
	if e.KeyLabels != nil {
		b.WriteString("; ")
		b.WriteString(listLabels(e.KeyLabels))
	}
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Stage returns "TLS", the stage of a connection at which keys and certificates
// are needed.
func (e *Error) Stage() string { return "TLS" }

// mostListed bounds how many things an error lists in its text.
const mostListed = 10

func listTokens(tokens []TokenInfo) string {
	if len(tokens) == 0 {
		return "the library lists no token"
	}
	var names []string
	for _, t := range tokens {
		names = append(names, t.String())
	}
	return "the library lists " + list(names)
}

func listLabels(labels []string) string {
	if len(labels) == 0 {
		return "the token lists no private key"
	}
	var names []string
	for _, l := range labels {
		names = append(names, fmt.Sprintf("%q", l))
	}
	return "the token lists private keys with the labels " + list(names)
}

func list(names []string) string {
	if len(names) > mostListed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostListed], ", "), len(names)-mostListed)
	}
	return strings.Join(names, ", ")
}

// both joins a condition with what the library said, so that both can be found.
func both(condition error, cause error) error {
	if cause == nil {
		return condition
	}
	return fmt.Errorf("%w: %w", condition, cause)
}
