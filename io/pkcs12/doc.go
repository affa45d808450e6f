// SPDX-License-Identifier: Apache-2.0

// Package pkcs12 reads the bundle of a certificate, its chain and its private
// key from a PKCS#12 file (.p12, .pfx), on every platform and without cgo.
//
// It reads what is found in practice: files of OpenSSL 3 with its defaults
// (AES, PBKDF2 and HMAC-SHA-256), files of older programs (RC2 or triple DES
// with SHA-1), exports of the macOS keychain and of Windows, with RSA, ECDSA
// and Ed25519 keys.
package pkcs12
