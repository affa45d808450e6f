// SPDX-License-Identifier: Apache-2.0

//go:build !cgo

package pkcs11

// load stands in for the binding when there is no cgo.
func load(string) (cryptoki, error) { return nil, ErrUnsupported }
