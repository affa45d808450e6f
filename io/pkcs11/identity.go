// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Options says all that is needed for an identity in one step.
type Options struct {
	// Library is an open library, which stays the caller's. It excludes
	// LibraryPath and Behavior.
	Library *Library
	// LibraryPath is the path of a library for the identity to open and close.
	LibraryPath string
	// Behavior is the one for LibraryPath. The zero value is [InitDefault].
	Behavior InitBehavior

	// Token says which token is meant and how it is opened.
	Token TokenOptions
	// Key says which key on the token is meant and where its certificate is.
	Key KeyOptions
}

// Identity is a private key on a token with its certificate, for a TLS client.
// It may be used by several goroutines, and by many connections, at once.
type Identity struct {
	token  *Token
	opts   KeyOptions
	source source
	// closers are run by Close, in order.
	closers []func() error
	closing sync.Once

	// mu guards what follows.
	mu     sync.Mutex
	flight *flight
	closed bool

	// Used by one flight at a time.
	key   *Key
	certs []tokenCertificate
	cert  *tls.Certificate
}

// KeySource is "PKCS#11", as the metrics of package iot count it.
func (*Identity) KeySource() string { return "PKCS#11" }

// flight is an attempt to get the certificate, shared by all who ask while it lasts.
type flight struct {
	done chan struct{}
	cert *tls.Certificate
	err  error
}

// New makes an identity of a token that nobody else uses. Many clients with
// keys on one token should share a [Token] and use [Token.Identity] instead.
//
// It loads the library but does not touch the device: [Identity.Certificate]
// does, at every attempt to connect. Errors are those of [Open],
// [Library.Token] and [Token.Identity].
func New(o Options) (*Identity, error) {
	lib := o.Library
	switch {
	case lib == nil && o.LibraryPath == "":
		return nil, &Error{Op: "open identity", Err: fmt.Errorf("%w: Library and LibraryPath are empty", ErrInvalidOptions), Hint: "set one of them"}
	case lib != nil && (o.LibraryPath != "" || o.Behavior != InitDefault):
		return nil, &Error{Op: "open identity", Library: lib.path,
			Err: fmt.Errorf("%w: Library excludes LibraryPath and Behavior", ErrInvalidOptions), Hint: "set Library alone, or LibraryPath and Behavior"}
	case lib == nil:
		var err error
		if lib, err = Open(o.LibraryPath, o.Behavior); err != nil {
			return nil, err
		}
		// The token has its own reference.
		defer func() { _ = lib.Close() }()
	}
	t, err := lib.Token(o.Token)
	if err != nil {
		return nil, err
	}
	id, err := t.Identity(o.Key)
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	id.closers = append(id.closers, t.Close)
	return id, nil
}

// Identity makes an identity of a key on the token. It does not touch the
// device. Errors are of type [*Error] with [ErrInvalidOptions].
func (t *Token) Identity(o KeyOptions) (*Identity, error) {
	if err := o.validate(); err != nil {
		return nil, t.failKey("open identity", o, err, "")
	}
	o.ID = bytes.Clone(o.ID)
	return &Identity{token: t, opts: o, source: newSource(t, o)}, nil
}

// String says which key and token are meant.
func (i *Identity) String() string { return i.opts.describe() + " on " + i.token.name }

// GoString says which key and token are meant.
func (i *Identity) GoString() string { return "pkcs11.Identity(" + i.String() + ")" }

// Format is GoString, whatever the verb: fmt would print the fields.
func (i *Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.GoString()) }

// Stats counts the sessions of the token.
func (i *Identity) Stats() SessionStats { return i.token.Stats() }

// Close gives up what the identity has opened: sessions and library if it was
// made by [New], nothing if it was made by [Token.Identity]. Certificates that
// it has returned do not sign any more then. Closing again does nothing. The
// error is that of finalising the library, if that was due.
func (i *Identity) Close() error {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	var errs []error
	i.closing.Do(func() {
		for _, f := range i.closers {
			errs = append(errs, f())
		}
	})
	return errors.Join(errs...)
}

// Certificate returns the certificate and the key. It is meant to be called at
// every attempt to connect: it reads the certificate again where it is, and
// finds the key again after it was replaced together with its certificate. As
// long as nothing has changed it returns the same pointer, which must not be
// written to. The private key is a [*Key].
//
// When the context ends, Certificate returns its cause; a call into the library
// that is under way goes on and serves the next attempt. Several calls at once
// share their work.
//
// Errors are as those of [Token.Key], or [ErrCertificateNotFound],
// [ErrCertificateInvalid] and [ErrCertificateMismatch].
func (i *Identity) Certificate(ctx context.Context) (*tls.Certificate, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, i.token.explainKey("get certificate", i.opts, err)
	}
	i.mu.Lock()
	if i.closed {
		i.mu.Unlock()
		return nil, i.token.failKey("get certificate", i.opts, ErrClosed, "")
	}
	f := i.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		i.flight = f
		go i.fly(context.WithoutCancel(ctx), f)
	}
	i.mu.Unlock()
	select {
	case <-f.done:
		return f.cert, f.err
	case <-ctx.Done():
		return nil, i.token.explainKey("get certificate", i.opts, context.Cause(ctx))
	}
}

// ClientCertificate is Certificate in the form of the field
// GetClientCertificate of [tls.Config]. The private key signs for this
// handshake alone: it gives up when the context of the handshake ends.
func (i *Identity) ClientCertificate(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	ctx := request.Context()
	cert, err := i.Certificate(ctx)
	if err != nil {
		return nil, err
	}
	c := *cert
	c.PrivateKey = &handshakeKey{Key: cert.PrivateKey.(*Key), handshake: ctx}
	return &c, nil
}

// handshakeKey is a key for one handshake.
type handshakeKey struct {
	*Key
	handshake context.Context
}

func (k *handshakeKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(k.handshake, random, digest, opts)
}

// fly gets the certificate for all who wait for it.
func (i *Identity) fly(ctx context.Context, f *flight) {
	f.cert, f.err = i.load(ctx)
	i.mu.Lock()
	i.flight = nil
	i.mu.Unlock()
	close(f.done)
}

func (i *Identity) load(ctx context.Context) (*tls.Certificate, error) {
	certs, err := i.source.read(ctx)
	if err != nil {
		return nil, err
	}
	known := i.key != nil && !i.key.wasReplaced()
	if known {
		if i.cert != nil && len(certs) > 0 && len(certs) == len(i.certs) && &certs[0] == &i.certs[0] {
			return i.cert, nil
		}
	} else if i.key, err = i.token.loadKey(ctx, i.opts, certs); err != nil {
		return nil, err
	}
	chain, err := i.source.chain(certs, i.key.public)
	if err != nil && known {
		// Perhaps key and certificate were replaced together.
		if i.key, err = i.token.loadKey(ctx, i.opts, certs); err != nil {
			return nil, err
		}
		chain, err = i.source.chain(certs, i.key.public)
	}
	if err != nil {
		i.key = nil
		return nil, err
	}
	i.certs, i.cert = certs, join(i.key, chain)
	return i.cert, nil
}

// explainKey makes an error for the caller.
func (t *Token) explainKey(op string, o KeyOptions, err error) error {
	return t.failKey(op, o, err, "")
}
