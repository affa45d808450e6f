// SPDX-License-Identifier: Apache-2.0

// Package tlsctx builds the client side of TLS for connections that live long
// and come back often.
//
// A [Context] holds the settings of one client or of a fleet: who the client is
// ([Identity]), whom it trusts (the CA options), which protocol versions and
// application protocols it offers. Every attempt asks the Context for a fresh
// [crypto/tls.Config]: files that changed since the last attempt are read again
// and callbacks are called again, so a certificate, its key and the trusted CAs
// can rotate under a running client. What did not change is parsed only once,
// and TLS sessions are resumed across attempts for as long as identity and
// trust stay the same.
//
// A device key may live in a PEM file, in memory, in a PKCS#12 bundle, or
// behind any [crypto.Signer]: an HSM, a TPM, a remote signing service, or an
// operating system's key store. All of them are an [Identity].
//
// [Dialer] puts TLS on top of any dialer below it (a socket, a proxy tunnel)
// and is itself a dialer.
//
// # Errors
//
// Material that cannot be used gives an [*Error] that names the file or object;
// a failed handshake gives a [*HandshakeError] that names the server, says what
// it presented and keeps the cause for [errors.As]. Both carry a hint that says
// what to do. No error, and nothing that is logged, contains a key or a
// password.
package tlsctx
