// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"unicode"
)

// stage is what the errors of this package answer when asked at which stage of
// a connection they arose.
const stage = "TLS"

// Conditions, to be found with [errors.Is].
var (
	// ErrInvalidOptions is wrapped by every complaint of [New] about the
	// options themselves.
	ErrInvalidOptions = errors.New("invalid option")
	// ErrNotPEM reports material in another form than PEM.
	ErrNotPEM = errors.New("not in PEM form")
	// ErrDamagedBlock reports PEM text with a block that cannot be decoded: cut
	// off, joined wrongly, or with characters that do not belong there.
	ErrDamagedBlock = errors.New("a PEM block is damaged")
	// ErrUnsupportedBlock reports PEM text with a container of certificates
	// that this package does not open.
	ErrUnsupportedBlock = errors.New("unsupported kind of PEM block")
	// ErrNoCertificate reports PEM text that holds no certificate.
	ErrNoCertificate = errors.New("no certificate in it")
	// ErrNoKey reports PEM text that holds no private key.
	ErrNoKey = errors.New("no private key in it")
	// ErrSeveralKeys reports PEM text with more than one private key.
	ErrSeveralKeys = errors.New("more than one private key in it")
	// ErrEncryptedKey reports a private key that is protected by a passphrase.
	ErrEncryptedKey = errors.New("the private key is encrypted")
	// ErrUnsupportedKey reports a key of a kind that TLS cannot use, or that
	// this package cannot read.
	ErrUnsupportedKey = errors.New("unsupported kind of key")
	// ErrKeyMismatch reports a private key that does not belong to the certificate.
	ErrKeyMismatch = errors.New("the private key does not belong to the certificate")
	// ErrExpired reports a client certificate whose time is over by the local clock.
	ErrExpired = errors.New("the certificate has expired")
	// ErrNotYetValid reports a client certificate whose time has not begun by
	// the local clock.
	ErrNotYetValid = errors.New("the certificate is not valid yet")
	// ErrHandshakeTimeout reports a handshake, or the fetching of material
	// before it, that took longer than [Options.HandshakeTimeout].
	ErrHandshakeTimeout = errors.New("the handshake timed out")
	// ErrSignerPending reports a handshake that ended before the signer of the
	// client certificate had made its signature.
	ErrSignerPending = errors.New("the signer of the client certificate has not answered")
	// ErrNoServerName reports an attempt without any name to verify the server against.
	ErrNoServerName = errors.New("no server name to verify")
)

// Error reports client material that cannot be used: a certificate, a key, a
// bundle or a CA.
type Error struct {
	// Object names the file or the other source of the material.
	Object string
	// Hint says what to do. It may be empty.
	Hint string
	// Err is the cause.
	Err error
}

// Error names the object, the cause and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("tlsctx: ")
	if e.Object != "" {
		b.WriteString(e.Object)
		b.WriteString(": ")
	}
	b.WriteString(e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Stage returns "TLS", the stage of a connection at which the error arose.
func (e *Error) Stage() string { return stage }

// HandshakeError reports a TLS handshake that failed, or a connection that the
// server ended with a TLS alert or reset right after the handshake. In TLS 1.3
// a server judges the client's certificate after the client's handshake is
// complete; the error then comes from the first Read of a connection made by
// [Dialer].
type HandshakeError struct {
	// ServerName is the name that was sent to the server and verified.
	ServerName string
	// Address is the address of the other end of the connection below. It may be empty.
	Address string
	// Hint says what to check. It may be empty.
	Hint string
	// Err is the cause.
	Err error
}

// Error names the server, the cause and what to check.
func (e *HandshakeError) Error() string {
	var b strings.Builder
	b.WriteString("tlsctx: TLS handshake")
	if e.ServerName != "" {
		b.WriteString(" with ")
		b.WriteString(e.ServerName)
	}
	if e.Address != "" {
		b.WriteString(" at ")
		b.WriteString(e.Address)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return printable(b.String())
}

// maxErrorText bounds what a server can put into our logs.
const maxErrorText = 4096

// printable makes a text that quotes the certificate of a server, such as the
// names in it, fit for a log: it must not forge lines there.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "…"
	}
	return s
}

// Unwrap returns the cause, and the [tls.AlertError] if the server ended the
// connection with an alert.
func (e *HandshakeError) Unwrap() []error {
	if a, ok := remoteAlert(e.Err); ok {
		return []error{e.Err, a}
	}
	return []error{e.Err}
}

// Stage returns "TLS", the stage of a connection at which the error arose.
func (e *HandshakeError) Stage() string { return stage }

// Timeout reports whether the handshake took too long, as [net.Error] asks.
func (e *HandshakeError) Timeout() bool {
	if errors.Is(e.Err, ErrHandshakeTimeout) {
		return true
	}
	var ne net.Error
	return errors.As(e.Err, &ne) && ne.Timeout()
}

// Temporary is there for [net.Error] alone, where it is deprecated. It equals Timeout.
func (e *HandshakeError) Temporary() bool { return e.Timeout() }

var _ net.Error = (*HandshakeError)(nil)
var _ error = tls.AlertError(0)
