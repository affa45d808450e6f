// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// signingKey finds the state of the signature of a handshake in its context.
type signingKey struct{}

// signing is set while the signer of a handshake is at work.
type signing struct{ atomic.Bool }

// signWithin returns the certificate with a key that stops to wait for its
// signer when the handshake ends: [crypto.Signer] has no context, and a device
// or a service that does not answer would hold the handshake for ever.
func signWithin(handshake context.Context, cert *tls.Certificate) *tls.Certificate {
	switch cert.PrivateKey.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return cert
	}
	key, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return cert
	}
	c := *cert
	c.PrivateKey = &handshakeSigner{key: key, handshake: handshake}
	return &c
}

// handshakeSigner is the signer of one handshake.
type handshakeSigner struct {
	key       crypto.Signer
	handshake context.Context
}

func (s *handshakeSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s *handshakeSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.wait(func() ([]byte, error) { return s.key.Sign(random, digest, opts) })
}

// SignMessage is what crypto/tls calls from Go 1.26 on.
func (s *handshakeSigner) SignMessage(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.wait(func() ([]byte, error) { return crypto.SignMessage(s.key, random, message, opts) })
}

func (s *handshakeSigner) wait(sign func() ([]byte, error)) ([]byte, error) {
	type result struct {
		signature []byte
		err       error
	}
	state, _ := s.handshake.Value(signingKey{}).(*signing)
	if state != nil {
		state.Store(true)
	}
	done := make(chan result, 1)
	go func() {
		// What is returned if sign ends the goroutine.
		r := result{err: errors.New("the signer did not return")}
		defer func() { done <- r }()
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("the signer panicked: %v", p)
			}
		}()
		r.signature, r.err = sign()
	}()
	select {
	case r := <-done:
		if state != nil {
			state.Store(false)
		}
		return r.signature, r.err
	case <-s.handshake.Done():
		// crypto/tls replaces it by the error of the context.
		return nil, ErrSignerPending
	}
}
