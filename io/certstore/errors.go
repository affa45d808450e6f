// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"errors"
	"fmt"
	"strings"
)

// Conditions, to be found with [errors.Is].
var (
	// ErrUnsupported reports that this system has no Windows certificate store,
	// or that a key in it is of a kind that cannot be used.
	ErrUnsupported = errors.New("not supported")
	// ErrPath reports a path that cannot be understood.
	ErrPath = errors.New("not a path to a certificate in a store")
	// ErrNotFound reports that there is no such store, or no such certificate in it.
	ErrNotFound = errors.New("not found")
	// ErrNoKey reports a certificate without a private key that this process can use.
	ErrNoKey = errors.New("no usable private key")
	// ErrClosed reports the use of an identity after Close.
	ErrClosed = errors.New("the identity is closed")
)

// Error reports an identity that cannot be opened or used.
type Error struct {
	// Path names the certificate.
	Path string
	// Hint says what to do. It may be empty.
	Hint string
	// Err is the cause. It may be, or wrap, a [Status].
	Err error
}

// Error names the certificate, the cause and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("certstore: ")
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

// Stage returns "TLS", the stage of a connection at which the error arose.
func (e *Error) Stage() string { return "TLS" }

// Status is a result of the Windows cryptography functions.
type Status uint32

// The results that have an explanation.
const (
	statusBadKeyset     Status = 0x80090016 // NTE_BAD_KEYSET
	statusNoKey         Status = 0x8009000D // NTE_NO_KEY
	statusPermission    Status = 0x80090010 // NTE_PERM
	statusSilent        Status = 0x80090022 // NTE_SILENT_CONTEXT
	statusNotSupported  Status = 0x80090029 // NTE_NOT_SUPPORTED
	statusProviderType  Status = 0x80090014 // NTE_BAD_PROV_TYPE
	statusInvalidHandle Status = 0x80090026 // NTE_INVALID_HANDLE
	statusDeviceGone    Status = 0x80090035 // NTE_DEVICE_NOT_FOUND
	statusNotFound      Status = 0x80092004 // CRYPT_E_NOT_FOUND
	statusNoProperty    Status = 0x8009200B // CRYPT_E_NO_KEY_PROPERTY
	statusWrongPIN      Status = 0x8010006B // SCARD_W_WRONG_CHV
	statusBlockedPIN    Status = 0x8010006C // SCARD_W_CHV_BLOCKED
	statusNoCard        Status = 0x80100069 // SCARD_W_REMOVED_CARD
)

var statusNames = map[Status]struct{ name, meaning, hint string }{
	statusBadKeyset:     {"NTE_BAD_KEYSET", "the key container does not exist or cannot be opened", "import the certificate with its private key, and give this user the right to read it"},
	statusNoKey:         {"NTE_NO_KEY", "the key does not exist", "import the certificate with its private key"},
	statusPermission:    {"NTE_PERM", "access denied", "give this user the right to use the private key (Manage Private Keys in certlm.msc)"},
	statusSilent:        {"NTE_SILENT_CONTEXT", "the provider wants to ask the user", "use a key without PIN prompt or strong protection"},
	statusNotSupported:  {"NTE_NOT_SUPPORTED", "the provider does not support this", "limit MaxVersion to TLS 1.2, or use a key of another provider"},
	statusProviderType:  {"NTE_BAD_PROV_TYPE", "the key is in a provider of the old CryptoAPI", `import it into CNG: certutil -csp "Microsoft Software Key Storage Provider" -importpfx FILE`},
	statusInvalidHandle: {"NTE_INVALID_HANDLE", "the key is no longer there", "open the identity again"},
	statusDeviceGone:    {"NTE_DEVICE_NOT_FOUND", "the device with the key is not there", "insert it"},
	statusNotFound:      {"CRYPT_E_NOT_FOUND", "not found", ""},
	statusNoProperty:    {"CRYPT_E_NO_KEY_PROPERTY", "the certificate has no private key", "import the certificate together with its private key"},
	statusWrongPIN:      {"SCARD_W_WRONG_CHV", "the PIN of the card is wrong", ""},
	statusBlockedPIN:    {"SCARD_W_CHV_BLOCKED", "the PIN of the card is blocked", ""},
	statusNoCard:        {"SCARD_W_REMOVED_CARD", "the card was removed", "insert it"},
}

// Error names the status.
func (s Status) Error() string {
	if n, ok := statusNames[s]; ok {
		return fmt.Sprintf("%s (%s, 0x%08X)", n.meaning, n.name, uint32(s))
	}
	return fmt.Sprintf("status 0x%08X", uint32(s))
}

// hint says what to do about a status.
func (s Status) hint() string { return statusNames[s].hint }
