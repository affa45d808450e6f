// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// Sign signs a digest with the private key on the token, as [crypto.Signer]
// says: RSA with PSS if the options are [*rsa.PSSOptions] and with PKCS #1 v1.5
// otherwise, ECDSA as an ASN.1 sequence. The reader gives the salt of a PSS
// signature where the token itself has no PSS; nil means [rand.Reader].
//
// It waits for a session no longer than [TokenOptions.SessionTimeout] and for
// the signature no longer than [TokenOptions.CallTimeout], and recovers from
// lost sessions, a lost login and a token that was away. Errors are as those of
// [Token.Key], or [ErrMechanism].
func (k *Key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.SignContext(context.Background(), random, digest, opts)
}

// SignContext is Sign that returns when the context ends, with its cause. A
// call into the library that is under way then goes on, and its session counts
// as in use until it returns.
func (k *Key) SignContext(ctx context.Context, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil {
		opts = crypto.Hash(0)
	}
	recipes, err := k.recipes(random, digest, opts)
	if err != nil {
		return nil, err
	}
	pin := ""
	if k.authenticate {
		if pin, err = k.token.askPIN(ctx); err != nil {
			return nil, err
		}
	}
	return do(ctx, k.token, "sign", func(ctx context.Context, s session) (signature []byte, err error) {
		if k.authenticate {
			unlock, err := s.shared.lockLogin(ctx)
			if err != nil {
				return nil, err
			}
			defer unlock()
		}
		err = k.token.mod.use(ctx, s.epoch, func(api cryptoki) (err error) {
			signature, err = k.signIn(api, s, recipes, pin)
			return err
		})
		return signature, err
	})
}

// signIn signs in a session. The caller holds the login lock of the token if
// the key asks for the PIN at every signature.
func (k *Key) signIn(api cryptoki, s session, recipes []recipe, pin string) ([]byte, error) {
	handle, err := k.handleIn(api, s)
	if err != nil {
		return nil, err
	}
	return k.cook(recipes, func(r recipe) ([]byte, error) {
		if err := api.SignInit(s.handle, r.mechanism, handle); err != nil {
			return nil, err
		}
		if k.authenticate {
			if err := k.token.showPIN(api, s, userContextSpecific, pin); err != nil {
				return nil, err
			}
		}
		return api.Sign(s.handle, r.data)
	})
}

// recipe is one way to have the token make a signature.
type recipe struct {
	mechanism mechanism
	data      []byte
}

// recipes returns the ways to make a signature, the best first.
func (k *Key) recipes(random io.Reader, digest []byte, opts crypto.SignerOpts) (list []recipe, err error) {
	hash := opts.HashFunc()
	if hash != 0 && len(digest) != hash.Size() {
		return nil, k.fail("sign", fmt.Errorf("the digest has %d bytes and %v makes %d", len(digest), hash, hash.Size()), "")
	}
	if len(digest) == 0 {
		return nil, k.fail("sign", errors.New("the digest is empty"), "")
	}
	hint := "use another key, or a token that has the mechanism"
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		hint = "the token has no CKM_ECDSA"
		if k.can.ecdsa {
			// Of a longer digest ECDSA uses the first bytes; some tokens refuse the rest.
			if n := (public.Curve.Params().N.BitLen() + 7) / 8; len(digest) > n {
				digest = digest[:n]
			}
			list = append(list, recipe{mechanism{kind: mechECDSA}, digest})
		}
	case *rsa.PublicKey:
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			hint = "the token has neither CKM_RSA_PKCS_PSS nor CKM_RSA_X_509: TLS 1.3 needs one of them with an RSA key, TLS 1.2 does not"
			list, err = k.pssRecipes(random, public, hash, digest, pss)
		} else {
			hint = "the token has neither CKM_RSA_PKCS nor CKM_RSA_X_509"
			list, err = k.pkcs1Recipes(public, hash, digest)
		}
		if err != nil {
			return nil, k.fail("sign", err, "")
		}
	default:
		return nil, k.fail("sign", ErrKeyUnsupported, "")
	}
	if len(list) == 0 {
		return nil, k.fail("sign", ErrMechanism, hint)
	}
	return list, nil
}

// cook follows the recipes until one succeeds, and gives the signature the form
// that Go wants.
func (k *Key) cook(recipes []recipe, sign func(recipe) ([]byte, error)) ([]byte, error) {
	var err error
	for _, r := range recipes {
		var signature []byte
		if signature, err = sign(r); err == nil {
			return k.finish(signature)
		}
		if !otherMechanism(err) {
			return nil, err
		}
	}
	return nil, k.fail("sign", both(ErrMechanism, err), "check that the key may sign (CKA_SIGN) and by which mechanisms (CKA_ALLOWED_MECHANISMS)")
}

func (k *Key) finish(signature []byte) ([]byte, error) {
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		size := public.Size()
		if len(signature) > size {
			return nil, k.fail("sign", fmt.Errorf("the token returned a signature of %d bytes for a key of %d", len(signature), size), "")
		}
		return append(make([]byte, size-len(signature), size), signature...), nil
	case *ecdsa.PublicKey:
		der, err := encodeECDSA(signature, (public.Curve.Params().N.BitLen()+7)/8)
		if err != nil {
			return nil, k.fail("sign", err, "")
		}
		return der, nil
	}
	return nil, k.fail("sign", ErrKeyUnsupported, "")
}

// encodeECDSA turns the two numbers of a signature, size bytes each at most,
// into an ASN.1 sequence.
func encodeECDSA(signature []byte, size int) ([]byte, error) {
	type pair struct{ R, S *big.Int }
	if n := len(signature); n == 0 || n%2 != 0 || n > 2*size {
		// Some tokens return the sequence itself.
		var p pair
		if rest, err := asn1.Unmarshal(signature, &p); err == nil && len(rest) == 0 && p.R.Sign() > 0 && p.S.Sign() > 0 {
			return signature, nil
		}
		return nil, fmt.Errorf("the token returned an ECDSA signature of %d bytes for a key of %d", n, size)
	}
	half := len(signature) / 2
	p := pair{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])}
	if p.R.Sign() == 0 || p.S.Sign() == 0 {
		return nil, errors.New("the token returned an ECDSA signature of zeros")
	}
	return asn1.Marshal(p)
}

// decodeUlong reads a number of the library (CK_ULONG), which has 4 or 8 bytes
// in the order of the machine.
func decodeUlong(b []byte) uint {
	switch len(b) {
	case 4:
		return uint(binary.NativeEndian.Uint32(b))
	case 8:
		return uint(binary.NativeEndian.Uint64(b))
	}
	return ^uint(0)
}

// saltSource is where salts come from if the caller has no source.
func saltSource(random io.Reader) io.Reader {
	if random == nil {
		return rand.Reader
	}
	return random
}
