// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"sync"
)

// KeyOptions says which private key on the token is meant, and where its
// certificate is. Label and ID must match if they are given. If neither is
// given, the only private key is meant.
type KeyOptions struct {
	// Label is the name of the key (CKA_LABEL). Empty means any.
	Label string
	// ID is the identifier of the key (CKA_ID), in bytes. Empty means any.
	// Programs such as pkcs11-tool show it in hexadecimal digits.
	ID []byte

	// CertificateFile is a file with the certificate in PEM form, followed by
	// the intermediate CAs if there are any. It is read at every attempt, so
	// that it can be replaced.
	CertificateFile string
	// CertificatePEM is the same as bytes.
	CertificatePEM []byte
	// CertificateLabel is the name of the certificate on the token (CKA_LABEL).
	// It is needed only to choose between several certificates for the same
	// key.
	//
	// If CertificateFile, CertificatePEM and CertificateLabel are empty, the
	// certificate on the token that belongs to the key is used, the latest if
	// there are several. Intermediate CAs on the token are sent along.
	CertificateLabel string
}

func (o KeyOptions) validate() error {
	sources := 0
	for _, given := range []bool{o.CertificateFile != "", len(o.CertificatePEM) > 0, o.CertificateLabel != ""} {
		if given {
			sources++
		}
	}
	if sources > 1 {
		return invalid([]error{errors.New("CertificateFile, CertificatePEM and CertificateLabel exclude each other")})
	}
	return nil
}

// describe says which key is meant.
func (o KeyOptions) describe() string {
	var parts []string
	if o.Label != "" {
		parts = append(parts, fmt.Sprintf("with label %q", o.Label))
	}
	if len(o.ID) > 0 {
		parts = append(parts, fmt.Sprintf("with id %x", o.ID))
	}
	if len(parts) == 0 {
		return "the only private key"
	}
	return "private key " + strings.Join(parts, " and ")
}

// Key is a private key on a token. It is a [crypto.Signer] for RSA keys (PKCS
// #1 v1.5 and PSS) and for ECDSA keys on the curves P-256, P-384 and P-521, and
// may be used by several goroutines at once. It needs no closing.
type Key struct {
	token  *Token
	opts   KeyOptions
	name   string
	public crypto.PublicKey
	// readable reports whether the token shows the public half, so that it can
	// be compared after the key was found anew.
	readable bool
	// authenticate reports whether the token wants the PIN for every signature
	// (CKA_ALWAYS_AUTHENTICATE).
	authenticate bool
	can          abilities

	// mu guards what follows.
	mu sync.Mutex
	// handle is valid in sessions of generation.
	handle     uint
	generation uint64
	// replaced is set when another key has been found in the place of this one.
	replaced bool
}

var _ crypto.Signer = (*Key)(nil)

// abilities are the mechanisms by which the token signs.
type abilities struct{ pkcs1, pss, raw, ecdsa bool }

// Key finds a private key. It is for those who need the key without a
// certificate, to sign a certificate request for example; [Token.Identity] is
// for TLS. The public half comes from the token, or else from the certificate
// that the options name.
//
// Errors are of type [*Error] with [ErrTokenNotFound], [ErrTokenAmbiguous],
// [ErrKeyNotFound], [ErrKeyAmbiguous], [ErrKeyUnsupported], [ErrPINRefused],
// [ErrPINMissing], [ErrSessionTimeout], [ErrCallTimeout], [ErrInvalidOptions],
// [ErrClosed], the cause of the context, or a [ReturnCode]. Key returns when
// the context ends; a call into the library that is under way then goes on, and
// its session counts as in use until it returns.
func (t *Token) Key(ctx context.Context, o KeyOptions) (*Key, error) {
	if err := o.validate(); err != nil {
		return nil, t.failKey("find key", o, err, "")
	}
	o.ID = bytes.Clone(o.ID)
	source := newSource(t, o)
	certs, err := source.read(ctx)
	if err != nil {
		return nil, err
	}
	return t.loadKey(ctx, o, certs)
}

func (t *Token) failKey(op string, o KeyOptions, err error, hint string) error {
	return &Error{Op: op, Library: t.path, Token: t.name, Key: o.describe(), Err: err, Hint: hint}
}

// Public returns the public half: an [*rsa.PublicKey] or an [*ecdsa.PublicKey].
func (k *Key) Public() crypto.PublicKey { return k.public }

// String says which key it is.
func (k *Key) String() string { return k.name }

// GoString says which key it is.
func (k *Key) GoString() string { return "pkcs11.Key(" + k.name + ")" }

// Format is GoString, whatever the verb: fmt would print the fields.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.GoString()) }

// SupportedSignatureAlgorithms returns what a TLS certificate with this key is
// to be restricted to, or nil if the token signs by all the schemes that go
// with the key. It is not nil for RSA keys on tokens that have neither PSS nor
// raw RSA: they cannot be used with TLS 1.3, which demands PSS.
func (k *Key) SupportedSignatureAlgorithms() []tls.SignatureScheme {
	if _, ok := k.public.(*rsa.PublicKey); ok && !k.can.pss && !k.can.raw {
		return []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512}
	}
	return nil
}

// loadKey finds a key and its public half. The certificates may help with the latter.
func (t *Token) loadKey(ctx context.Context, o KeyOptions, certs []tokenCertificate) (*Key, error) {
	return do(ctx, t, "find key", func(ctx context.Context, s session) (k *Key, err error) {
		err = t.mod.use(ctx, s.epoch, func(api cryptoki) (err error) {
			k, err = t.readKey(api, s, o, certs)
			return err
		})
		return k, err
	})
}

func (t *Token) readKey(api cryptoki, s session, o KeyOptions, certs []tokenCertificate) (*Key, error) {
	handle, err := t.findKey(api, s, o)
	if err != nil {
		return nil, err
	}
	k := &Key{token: t, opts: o, name: o.describe() + " on " + t.name, handle: handle, generation: s.generation}
	if b, err := optional(api, s, handle, attrAlwaysAuthenticate); err != nil {
		return nil, err
	} else if len(b) == 1 && b[0] != 0 {
		k.authenticate = true
	}
	k.can = readAbilities(api, s)
	public, err := t.readPublic(api, s, handle, o)
	switch {
	case err != nil:
		return nil, err
	case public != nil:
		k.public, k.readable = public, true
		return k, nil
	}
	k.public, err = k.proven(api, s, certs)
	return k, err
}

// findKey returns the handle of the key.
func (t *Token) findKey(api cryptoki, s session, o KeyOptions) (uint, error) {
	template := []attribute{{attrClass, uint(classPrivateKey)}}
	if o.Label != "" {
		template = append(template, attribute{attrLabel, o.Label})
	}
	if len(o.ID) > 0 {
		template = append(template, attribute{attrID, o.ID})
	}
	// A token lists no private keys before a login, and does
	// not say so. Others in this process may log out and in at any time, so
	// that both before and after have to be looked at.
	if err := loggedIn(api, s); err != nil {
		return 0, err
	}
	handles, err := api.Find(s.handle, template)
	if err != nil {
		return 0, err
	}
	if len(handles) == 1 {
		return handles[0], nil
	}
	if err := loggedIn(api, s); err != nil {
		return 0, err
	}
	e := &Error{Op: "find key", Library: t.path, Token: t.name, Key: o.describe(), Err: ErrKeyNotFound}
	if len(handles) > 1 {
		e.Err, e.Hint = ErrKeyAmbiguous, "say which one with Label and ID"
	} else {
		e.Hint = "check Label and ID, which are those of the private key and not of its certificate"
		if handles, err = api.Find(s.handle, template[:1]); err != nil {
			return 0, err
		}
	}
	e.KeyLabels = make([]string, 0, len(handles))
	for _, h := range handles {
		label, err := optional(api, s, h, attrLabel)
		if err != nil {
			return 0, err
		}
		e.KeyLabels = append(e.KeyLabels, string(label))
	}
	return 0, e
}

// loggedIn returns an error if a session should be logged in and is not.
func loggedIn(api cryptoki, s session) error {
	if s.info.flags&flagLoginRequired == 0 {
		return nil
	}
	state, err := api.SessionState(s.handle)
	if err == nil && public(state) {
		return rvUserNotLoggedIn
	}
	if recoverable(err) {
		return err
	}
	return nil
}

// optional returns an attribute, or nil if the object does not have or show it.
func optional(api cryptoki, s session, object, attribute uint) ([]byte, error) {
	b, err := api.Attribute(s.handle, object, attribute)
	if hasCode(err, rvAttributeTypeInvalid, rvAttributeSensitive) {
		return nil, nil
	}
	return b, err
}

// readAbilities asks the token for its mechanisms. What it does not answer is
// taken for a yes, and found out later.
func readAbilities(api cryptoki, s session) abilities {
	can := func(mechanism uint) bool {
		ok, err := api.CanSign(s.info.SlotID, mechanism)
		return ok || err != nil && !hasCode(err, rvMechanismInvalid)
	}
	return abilities{pkcs1: can(mechRSAPKCS1), pss: can(mechRSAPSS), raw: can(mechRSARaw), ecdsa: can(mechECDSA)}
}

// readPublic returns the public half of a key, or nil if the token does not show it.
func (t *Token) readPublic(api cryptoki, s session, handle uint, o KeyOptions) (crypto.PublicKey, error) {
	kind, err := keyType(api, s, handle)
	if err != nil {
		return nil, err
	}
	objects := []uint{handle}
	more, err := publicObjects(api, s, handle)
	if err != nil {
		return nil, err
	}
	objects = append(objects, more...)
	// Attributes are read from the private key where it has them, and else from
	// the public one.
	read := func(attribute uint) ([]byte, error) {
		for _, object := range objects {
			if b, err := optional(api, s, object, attribute); err != nil || len(b) > 0 {
				return b, err
			}
		}
		return nil, nil
	}
	var first, second []byte
	switch kind {
	case keyRSA:
		if first, err = read(attrModulus); err == nil {
			second, err = read(attrPublicExponent)
		}
	case keyEC:
		if first, err = read(attrECParams); err == nil {
			second, err = read(attrECPoint)
		}
	default:
		return nil, t.failKey("read key", o, fmt.Errorf("%w: it is of type 0x%x", ErrKeyUnsupported, kind), "TLS needs an RSA or an elliptic curve key")
	}
	if err != nil || len(first) == 0 || len(second) == 0 {
		return nil, err
	}
	var public crypto.PublicKey
	if kind == keyRSA {
		public, err = rsaPublic(first, second)
	} else {
		public, err = ecPublic(first, second)
	}
	if err != nil {
		return nil, t.failKey("read key", o, err, "")
	}
	return public, nil
}

func keyType(api cryptoki, s session, handle uint) (uint, error) {
	b, err := api.Attribute(s.handle, handle, attrKeyType)
	if err != nil {
		return 0, err
	}
	return decodeUlong(b), nil
}

// publicObjects returns the public keys that go with a private key: those with
// the same ID, and without one those with the same label.
func publicObjects(api cryptoki, s session, handle uint) ([]uint, error) {
	for _, by := range []uint{attrID, attrLabel} {
		value, err := optional(api, s, handle, by)
		if err != nil {
			return nil, err
		}
		if len(value) > 0 {
			return api.Find(s.handle, []attribute{{attrClass, uint(classPublicKey)}, {by, value}})
		}
	}
	return nil, nil
}

func rsaPublic(modulus, exponent []byte) (*rsa.PublicKey, error) {
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() >= 1<<31 {
		return nil, fmt.Errorf("%w: its public exponent is too large", ErrKeyUnsupported)
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())}, nil
}

var curves = []struct {
	oid   asn1.ObjectIdentifier
	curve elliptic.Curve
}{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}, elliptic.P256()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 34}, elliptic.P384()},
	{asn1.ObjectIdentifier{1, 3, 132, 0, 35}, elliptic.P521()},
}

func ecPublic(params, point []byte) (*ecdsa.PublicKey, error) {
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(params, &oid); err != nil {
		return nil, fmt.Errorf("%w: its curve is not given by name", ErrKeyUnsupported)
	}
	for _, c := range curves {
		if !c.oid.Equal(oid) {
			continue
		}
		// The standard wraps the point in an OCTET STRING; some tokens do not.
		// Both begin with the same byte, so that only the length distinguishes them.
		raw := point
		if len(point) != 1+2*((c.curve.Params().BitSize+7)/8) {
			if rest, err := asn1.Unmarshal(point, &raw); err != nil || len(rest) > 0 {
				return nil, fmt.Errorf("%w: its public point is not in a known form", ErrKeyUnsupported)
			}
		}
		public, err := ecdsa.ParseUncompressedPublicKey(c.curve, raw)
		if err != nil {
			return nil, fmt.Errorf("%w: its public point: %w", ErrKeyUnsupported, err)
		}
		return public, nil
	}
	return nil, fmt.Errorf("%w: its curve is %v, and P-256, P-384 and P-521 are supported", ErrKeyUnsupported, oid)
}

// proven returns the public key of the certificate that verifies what the key
// signs. It is for tokens that do not show public halves.
func (k *Key) proven(api cryptoki, s session, certs []tokenCertificate) (crypto.PublicKey, error) {
	kind, err := keyType(api, s, k.handle)
	if err != nil {
		return nil, err
	}
	if k.authenticate {
		return nil, k.fail("read key", fmt.Errorf("%w: the token does not show its public half", ErrKeyUnsupported), "store the public key on the token, with the same ID")
	}
	digest := sha256.Sum256([]byte("which certificate belongs to this key?"))
	candidates := 0
	for _, c := range certs {
		trial := &Key{token: k.token, opts: k.opts, name: k.name, public: c.cert.PublicKey, can: k.can}
		switch c.cert.PublicKey.(type) {
		case *rsa.PublicKey:
			if kind != keyRSA {
				continue
			}
		case *ecdsa.PublicKey:
			if kind != keyEC {
				continue
			}
		default:
			continue
		}
		candidates++
		recipes, err := trial.recipes(nil, digest[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		signature, err := trial.cook(recipes, func(r recipe) ([]byte, error) {
			if err := api.SignInit(s.handle, r.mechanism, k.handle); err != nil {
				return nil, err
			}
			return api.Sign(s.handle, r.data)
		})
		if err == nil && verifies(c.cert.PublicKey, digest[:], signature) {
			return c.cert.PublicKey, nil
		}
		if _, ok := codeOf(err); ok {
			return nil, err
		}
	}
	if candidates > 0 {
		return nil, k.fail("read key", ErrCertificateMismatch, "give the certificate that was issued for this key")
	}
	return nil, k.fail("read key", fmt.Errorf("%w: the token does not show its public half", ErrKeyUnsupported),
		"store the public key on the token with the same ID, or give the certificate with CertificateFile or CertificatePEM")
}

func verifies(public crypto.PublicKey, digest, signature []byte) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(public, digest, signature)
	}
	return false
}

func (k *Key) fail(op string, err error, hint string) error {
	return k.token.failKey(op, k.opts, err, hint)
}

// handleIn returns the handle of the key in a session, and finds it anew if the
// session is of another generation.
func (k *Key) handleIn(api cryptoki, s session) (uint, error) {
	k.mu.Lock()
	handle, generation := k.handle, k.generation
	k.mu.Unlock()
	if generation == s.generation {
		return handle, nil
	}
	handle, err := k.token.findKey(api, s, k.opts)
	if err != nil {
		return 0, err
	}
	if k.readable {
		public, err := k.token.readPublic(api, s, handle, k.opts)
		if err != nil {
			return 0, err
		}
		if !samePublicKey(public, k.public) {
			k.mu.Lock()
			k.replaced = true
			k.mu.Unlock()
			return 0, k.fail("sign", fmt.Errorf("%w any more: another one has taken its place", ErrKeyNotFound), "the next attempt uses the new key")
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.generation > k.generation {
		k.handle, k.generation = handle, s.generation
	}
	return handle, nil
}

func (k *Key) wasReplaced() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.replaced
}

func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
