// SPDX-License-Identifier: Apache-2.0

// Package pkcs11 uses a private key that never leaves its hardware, an HSM, a
// smart card, a secure element or a TPM with a PKCS#11 library, as the key of a
// TLS client.
//
// A [Library] is a loaded PKCS#11 library, a [Token] is one device behind it
// with a bounded pool of sessions, a [Key] is a private key on it as a
// [crypto.Signer], and an [Identity] is such a key with its certificate, ready
// for a [tls.Config] or for anything else that asks for a certificate at every
// attempt. [New] makes an identity in one step.
//
// RSA keys sign with PKCS #1 v1.5 and PSS, elliptic curve keys may be P-256,
// P-384 and P-521: TLS 1.2 and TLS 1.3 work. All of it may be used by several
// goroutines at once.
//
// # What happens when the device goes away
//
// Sessions are opened when they are needed and kept for the next signature.
// When the library says that a session, the login, the key handle or the whole
// token is gone, the package drops what it holds, looks for the token again,
// which may be in another slot by then, opens a session, logs in, finds the key
// and signs; the handshake that ran into it goes on. A library that another
// part of the program has finalised is initialised again unless [InitOmit]
// forbids it.
//
// # What happens when the library does not return
//
// A call into a library cannot be cancelled. One that hangs keeps its thread
// and its session, which counts as in use until the call returns. Nobody waits
// for it longer than wanted: its caller gets an error when the context ends or
// [TokenOptions.CallTimeout] is over, with [ErrCallTimeout], and who waits for
// a session one after [TokenOptions.SessionTimeout]. A token whose sessions all
// hang fails in this way until one of them returns.
//
// Other tokens of the library go on, for calls do not wait for each other, with
// two exceptions. A library that another part of the program has finalised
// cannot be initialised again before the call returns; until then, operations
// fail with [ErrSessionTimeout]. And in a library that cannot be called by
// several threads at once, all calls wait for the one that hangs, each within
// its own limit. Only [Open], [Library.Tokens] and [Token.Close], which have no
// context, take as long as the functions of the library that they call.
//
// # PINs
//
// Tokens count wrong PINs and lock after a few. So a PIN that a token has
// refused is not tried again by this process, however many clients retry
// however often: they fail at once with [ErrPINRefused]. Another PIN may be
// tried, and [Library.ForgetRefusedPINs] allows the same one again. PINs appear
// in no error, no log and no String.
//
// # Building
//
// The package needs cgo, a C compiler at build time and the device's library at
// run time. Without cgo it has the same API, and [Open] returns
// [ErrUnsupported].
//
// # State of the process
//
// PKCS#11 allows one initialisation per library and process. The package
// therefore keeps one registry of loaded libraries with a reference count each,
// its only package-level state. A library stays loaded once it was opened,
// because many cannot be unloaded safely. Libraries are distinguished by their
// path, symbolic links resolved.
package pkcs11
