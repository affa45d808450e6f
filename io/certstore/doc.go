// SPDX-License-Identifier: Apache-2.0

// Package certstore gives clients the identity in a Windows certificate store:
// the certificate, its intermediate CAs, and a key that signs through the
// Cryptography API: Next Generation (CNG) and never leaves its provider, be
// that software, a TPM or a smart card. It needs no cgo.
//
// Identities are named by paths such as
//
//	CurrentUser\MY\A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6
//
// that is, location, store and SHA-1 thumbprint of the certificate. On other
// systems [Open] returns [ErrUnsupported].
package certstore
