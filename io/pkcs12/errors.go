// SPDX-License-Identifier: Apache-2.0

package pkcs12

import (
	"errors"
	"fmt"
	"strings"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"
)

// Conditions, to be found with [errors.Is].
var (
	// ErrPassword reports a wrong password. A bundle that was changed or
	// damaged cannot be distinguished from it.
	ErrPassword = errors.New("the password is wrong")
	// ErrBER reports a bundle in BER form with lengths that are left open, as
	// some programs on Windows write it.
	ErrBER = errors.New("the bundle is in BER form, and only DER is supported")
	// ErrNoKey reports a bundle without a private key.
	ErrNoKey = errors.New("no private key in the bundle")
	// ErrSeveralKeys reports a bundle with more than one private key.
	ErrSeveralKeys = errors.New("more than one private key in the bundle")
	// ErrNoCertificate reports a bundle without a certificate, or without the
	// certificate of its key.
	ErrNoCertificate = errors.New("no certificate in the bundle")
	// ErrFormat reports data that is not PKCS#12, or damaged.
	ErrFormat = errors.New("not a PKCS#12 bundle")
	// ErrUnsupported reports a bundle with an algorithm or a part that is not supported.
	ErrUnsupported = errors.New("unsupported PKCS#12 bundle")
)

// Error reports a bundle that cannot be used.
type Error struct {
	// Path is the file, if there is one and Err does not name it.
	Path string
	// Hint says what to do. It may be empty.
	Hint string
	// Err is the cause.
	Err error
}

// Error names the file, the cause and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("pkcs12: ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

const again = "openssl pkcs12 -in FILE -nodes -out all.pem && openssl pkcs12 -export -in all.pem -out new.p12"

func berError() error {
	return &Error{Err: ErrBER, Hint: "write it anew with " + again}
}

// severalKeys is how the decoder reports the second private key of a bundle.
const severalKeys = "expected exactly one key bag"

// explain gives the failures of the decoder their names. It knows them by their
// texts where it has no others.
func explain(err error, password string) error {
	text := strings.TrimPrefix(err.Error(), "pkcs12: ")
	has := func(s string) bool { return strings.Contains(text, s) }
	var unsupported gopkcs12.NotImplementedError
	switch {
	case errors.Is(err, gopkcs12.ErrIncorrectPassword), errors.Is(err, gopkcs12.ErrDecryption), has("incorrect padding"):
		hint := "check the password with openssl pkcs12 -info -noout -in FILE"
		if password == "" {
			hint = "the bundle has a password and none was given"
		}
		return &Error{Err: ErrPassword, Hint: hint}
	case has(severalKeys):
		return &Error{Err: ErrSeveralKeys, Hint: "make a bundle with one certificate and its key"}
	case has("private key missing"):
		return &Error{Err: ErrNoKey, Hint: "export certificate and key together"}
	case has("certificate missing"):
		return &Error{Err: ErrNoCertificate, Hint: "export certificate and key together"}
	case has("no MAC in data"):
		return &Error{Err: fmt.Errorf("%w: it has a password but no MAC", ErrUnsupported),
			Hint: "if it was made without a password give none, else write it anew with " + again}
	case has("not DER"), has("non-minimal"), has("indefinite"):
		return berError()
	case has("UCS-2"):
		return &Error{Err: ErrPassword, Hint: "it has characters that PKCS#12 passwords cannot hold"}
	case errors.As(err, &unsupported):
		return &Error{Err: fmt.Errorf("%w: %s", ErrUnsupported, text), Hint: "write it anew with " + again}
	case has("asn1: "), has("reading P12"), has("trailing data"):
		return &Error{Err: fmt.Errorf("%w: %s", ErrFormat, text), Hint: "the file is damaged or something else"}
	}
	return &Error{Err: fmt.Errorf("%w: %s", ErrUnsupported, text)}
}
