// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// NewMTLSWithPKCS11 makes a client whose private key is in hardware with a
// PKCS#11 library: an HSM, a smart card, a secure element. Library, token, key
// and certificate are looked up at every attempt to connect.
//
// It needs a program that was built with cgo; without, the error is
// [pkcs11.ErrUnsupported]. The library stays open for the rest of the process.
// To close it, or to share a token among clients, give an identity of package
// pkcs11 to [NewMTLSWithIdentity].
func NewMTLSWithPKCS11(endpoint string, o pkcs11.Options, options ...Option) (*mqtt5.Client, error) {
	identity, err := pkcs11.New(o)
	if err != nil {
		return nil, &optionError{err}
	}
	client, err := newMTLS(endpoint, identity, sourcePKCS11, options)
	if err != nil {
		_ = identity.Close()
		return nil, err
	}
	return client, nil
}
