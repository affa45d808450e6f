// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// Identity is a certificate and its key in a store. It is a [tlsctx.Identity],
// safe for concurrent use.
type Identity struct {
	path Path
	cert *tls.Certificate
	key  *lockedKey
}

var _ tlsctx.Identity = (*Identity)(nil)

// entry is what a store holds under a path.
type entry struct {
	chain []*x509.Certificate // the certificate, then its intermediate CAs as far as they are known here
	key   hashKey
}

// Open finds the certificate of that path, and its private key. See [ParsePath]
// for the form. It asks the user nothing: a key that wants a PIN or a
// confirmation cannot be used. An RSA key signs once, to learn whether it can
// do what TLS 1.3 needs; if not it serves for TLS 1.2.
//
// Errors are of type [*Error]. On other systems than Windows they wrap [ErrUnsupported].
func Open(path string) (*Identity, error) {
	p, err := ParsePath(path)
	if err != nil {
		return nil, err
	}
	e, err := find(p)
	if err != nil {
		return nil, asError(p, err)
	}
	return newIdentity(p, e)
}

func newIdentity(p Path, e *entry) (*Identity, error) {
	id := &Identity{path: p, key: &lockedKey{key: e.key}}
	key, err := newSigner(p.String(), e.chain[0].PublicKey, id.key)
	if err == nil {
		id.cert, err = tlsctx.NewCertificate(p.String(), e.chain, key)
	}
	if err != nil {
		id.Close()
		return nil, asError(p, err)
	}
	return id, nil
}

// Certificate returns the certificate and its key. It fails after Close.
func (id *Identity) Certificate(ctx context.Context) (*tls.Certificate, error) {
	if id.key.closed() {
		return nil, &Error{Path: id.path.String(), Err: ErrClosed}
	}
	return id.cert, ctx.Err()
}

// Close lets the key go. Handshakes that use it fail from then on; connections
// go on. It does not wait for a signature that is being made, after which the key
// is closed. Further calls do nothing.
func (id *Identity) Close() error {
	id.key.close()
	return nil
}

// String returns the path.
func (id *Identity) String() string { return id.path.String() }

func asError(p Path, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	e := &Error{Path: p.String(), Err: err}
	if status := Status(0); errors.As(err, &status) {
		e.Hint = status.hint()
	}
	if e.Hint == "" && errors.Is(err, ErrNoKey) {
		e.Hint = "import the certificate with its private key, and give this user the right to use it"
	}
	return e
}

// lockedKey serves one signature at a time: not every provider can do more with
// one handle, and a handle must not be closed in use. Nobody but another signature
// waits for one that does not return.
type lockedKey struct {
	signing sync.Mutex // held during a signature; guards key
	key     hashKey    // nil when it was closed
	over    atomic.Bool
}

func (k *lockedKey) signHash(p padding, digest []byte) ([]byte, error) {
	k.signing.Lock()
	defer k.free()
	defer k.signing.Unlock()
	if k.closed() {
		return nil, ErrClosed
	}
	return k.key.signHash(p, digest)
}

func (k *lockedKey) closed() bool { return k.over.Load() }

// close lets the key go, at once or after the signature that is being made.
func (k *lockedKey) close() {
	k.over.Store(true)
	k.free()
}

// free closes the key if it is to be closed and not in use. Who makes a signature
// calls it after that.
func (k *lockedKey) free() {
	if !k.over.Load() || !k.signing.TryLock() {
		return
	}
	defer k.signing.Unlock()
	if k.key != nil {
		k.key.close()
		k.key = nil
	}
}
