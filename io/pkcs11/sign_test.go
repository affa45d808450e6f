// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
)

var sharedRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// oddRSA has a modulus whose length is not a whole number of bytes.
var oddRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2049)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func digestOf(hash crypto.Hash) []byte {
	h := hash.New()
	h.Write([]byte("to be signed"))
	return h.Sum(nil)
}

func TestSign_RSA(t *testing.T) {
	mechanisms := map[string][]uint{
		"all":             {mechRSAPKCS1, mechRSAPSS, mechRSARaw},
		"raw alone":       {mechRSARaw},
		"without raw":     {mechRSAPKCS1, mechRSAPSS},
		"raw and PKCS #1": {mechRSAPKCS1, mechRSARaw},
	}
	for name, list := range mechanisms {
		for _, private := range []*rsa.PrivateKey{sharedRSA(), oddRSA()} {
			t.Run(name, func(t *testing.T) {
				token := newFakeToken(1, "a", fakeKey("k", 1, private)...)
				token.mechanisms = list
				k := mustKey(t, newFake(token).token(t, TokenOptions{}), KeyOptions{})
				if !private.PublicKey.Equal(k.Public()) {
					t.Fatal("wrong public key")
				}
				if got := k.SupportedSignatureAlgorithms(); got != nil {
					t.Errorf("restricted to %v", got)
				}
				for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
					digest := digestOf(hash)
					sig, err := k.Sign(rand.Reader, digest, hash)
					if err != nil {
						t.Fatal(err)
					}
					if err := rsa.VerifyPKCS1v15(&private.PublicKey, hash, digest, sig); err != nil {
						t.Errorf("PKCS #1 v1.5 with %v: %v", hash, err)
					}
					for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto, 0 + 7} {
						sig, err := k.Sign(nil, digest, &rsa.PSSOptions{SaltLength: salt, Hash: hash})
						if err != nil {
							t.Fatal(err)
						}
						if err := rsa.VerifyPSS(&private.PublicKey, hash, digest, sig, &rsa.PSSOptions{SaltLength: salt}); err != nil {
							t.Errorf("PSS with %v and salt %d: %v", hash, salt, err)
						}
					}
				}
			})
		}
	}
}

func TestSign_RSAwithoutPSS(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, sharedRSA())...)
	token.mechanisms = []uint{mechRSAPKCS1}
	f := newFake(token)
	tok := f.token(t, TokenOptions{})
	ca := newAuthority(t)
	id, err := tok.Identity(KeyOptions{CertificatePEM: toPEM(ca.client(t, "device", &sharedRSA().PublicKey))})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := id.Certificate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cert.SupportedSignatureAlgorithms {
		if s == tls.PSSWithSHA256 {
			t.Error("PSS is offered")
		}
	}
	if len(cert.SupportedSignatureAlgorithms) == 0 {
		t.Error("the certificate is not restricted")
	}
	if _, err := handshake(ca.serverConfig(t, tls.VersionTLS12), ca.clientConfig(id.ClientCertificate)); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
	if _, err := handshake(ca.serverConfig(t, tls.VersionTLS13), ca.clientConfig(id.ClientCertificate)); err == nil {
		t.Error("TLS 1.3 works without PSS")
	}
	_, err = cert.PrivateKey.(crypto.Signer).Sign(rand.Reader, digestOf(crypto.SHA256), &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: -1})
	if !errors.Is(err, ErrMechanism) || !strings.Contains(err.Error(), "CKM_RSA_PKCS_PSS") {
		t.Errorf("got %v", err)
	}
}

// A mechanism may be in the list of the token and yet be refused.
func TestSign_mechanismRefused(t *testing.T) {
	token := newFakeToken(1, "a", fakeKey("k", 1, sharedRSA())...)
	f := newFake(token)
	k := mustKey(t, f.token(t, TokenOptions{}), KeyOptions{})
	f.edit(func() { token.mechanisms = []uint{mechRSARaw} })
	digest := digestOf(crypto.SHA384)
	sig, err := k.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA384})
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPSS(&sharedRSA().PublicKey, crypto.SHA384, digest, sig, nil); err != nil {
		t.Error(err)
	}
	f.edit(func() { token.mechanisms = nil })
	_, err = k.Sign(rand.Reader, digest, crypto.SHA384)
	var c ReturnCode
	if !errors.Is(err, ErrMechanism) || !errors.As(err, &c) || c.String() != "CKR_MECHANISM_INVALID" {
		t.Errorf("got %v", err)
	}
}

func TestSign_ECDSA(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		for _, form := range []string{"standard", "raw point", "signature is a sequence", "point on the private key"} {
			t.Run(curve.Params().Name+"/"+form, func(t *testing.T) {
				private := ecKey(t, curve)
				objects := fakeKey("k", 1, private)
				switch form {
				case "raw point":
					raw, _ := private.PublicKey.Bytes()
					objects[1].attributes[attrECPoint] = raw
				case "signature is a sequence":
					objects[0].der = true
				case "point on the private key":
					objects[0].attributes[attrECPoint] = objects[1].attributes[attrECPoint]
					objects = objects[:1]
				}
				k := mustKey(t, newFake(newFakeToken(1, "a", objects...)).token(t, TokenOptions{}), KeyOptions{Label: "k", ID: []byte{1}})
				if !private.PublicKey.Equal(k.Public()) {
					t.Fatal("wrong public key")
				}
				for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
					sig, err := k.Sign(rand.Reader, digestOf(hash), hash)
					if err != nil {
						t.Fatal(err)
					}
					if !ecdsa.VerifyASN1(&private.PublicKey, digestOf(hash), sig) {
						t.Errorf("%v: the signature is wrong", hash)
					}
				}
			})
		}
	}
}

// A point that is not wrapped can look as if it were.
func TestECPublic_ambiguousPoint(t *testing.T) {
	params, _ := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	for {
		public := ecKey(t, elliptic.P256()).PublicKey
		raw, _ := public.Bytes()
		if raw[1] != 63 {
			continue
		}
		got, err := ecPublic(params, raw)
		if err != nil || !public.Equal(got) {
			t.Errorf("got %v", err)
		}
		return
	}
}

func TestEncodeECDSA(t *testing.T) {
	one := []byte{0, 1}
	for name, c := range map[string]struct {
		in   []byte
		size int
		r, s int64
	}{
		"full":          {append([]byte{0x12, 0x34}, 0x56, 0x78), 2, 0x1234, 0x5678},
		"leading zeros": {append(one, one...), 2, 1, 1},
		"high bit":      {[]byte{0xff, 0xff, 0x80, 0x00}, 2, 0xffff, 0x8000},
		"short":         {[]byte{5, 6}, 2, 5, 6},
	} {
		t.Run(name, func(t *testing.T) {
			der, err := encodeECDSA(c.in, c.size)
			if err != nil {
				t.Fatal(err)
			}
			var p struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(der, &p); err != nil {
				t.Fatal(err)
			}
			if p.R.Int64() != c.r || p.S.Int64() != c.s {
				t.Errorf("got %v and %v", p.R, p.S)
			}
		})
	}
	for name, in := range map[string][]byte{"empty": nil, "odd": {1, 2, 3}, "long": make([]byte, 6), "zeros": make([]byte, 4), "half zero": {0, 0, 1, 1}} {
		if der, err := encodeECDSA(in, 2); err == nil {
			t.Errorf("%s: got %x", name, der)
		}
	}
}

func FuzzEncodeECDSA(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4}, 2)
	f.Add(make([]byte, 132), 66)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size <= 0 || size > 100 {
			return
		}
		der, err := encodeECDSA(in, size)
		if err != nil {
			return
		}
		var p struct{ R, S *big.Int }
		if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) > 0 || p.R.Sign() <= 0 || p.S.Sign() <= 0 {
			t.Errorf("%x became %x", in, der)
		}
	})
}

func TestSign_badInput(t *testing.T) {
	f := newFake(newFakeToken(1, "a", append(fakeKey("r", 1, sharedRSA()), fakeKey("e", 2, ecKey(t, elliptic.P256()))...)...))
	tok := f.token(t, TokenOptions{})
	r, e := mustKey(t, tok, KeyOptions{Label: "r"}), mustKey(t, tok, KeyOptions{Label: "e"})
	before := f.count("Sign")
	for name, try := range map[string]func() ([]byte, error){
		"digest too short": func() ([]byte, error) { return r.Sign(nil, []byte{1}, crypto.SHA256) },
		"empty":            func() ([]byte, error) { return e.Sign(nil, nil, nil) },
		"unknown hash":     func() ([]byte, error) { return r.Sign(nil, make([]byte, 20), crypto.RIPEMD160) },
		"PSS without hash": func() ([]byte, error) { return r.Sign(nil, make([]byte, 20), &rsa.PSSOptions{}) },
		"salt too long": func() ([]byte, error) {
			return r.Sign(nil, digestOf(crypto.SHA256), &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 300})
		},
		"too long": func() ([]byte, error) { return r.Sign(nil, make([]byte, 250), nil) },
	} {
		if sig, err := try(); err == nil {
			t.Errorf("%s: got %x", name, sig)
		}
	}
	if f.count("Sign") != before {
		t.Error("the token was bothered")
	}
}

func TestSign_alwaysAuthenticate(t *testing.T) {
	objects := fakeKey("k", 1, ecKey(t, elliptic.P256()))
	objects[0].always = true
	token := newFakeToken(1, "a", objects...)
	f := newFake(token)
	tok := f.token(t, TokenOptions{MaxSessions: 3})
	k := mustKey(t, tok, KeyOptions{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := k.Sign(rand.Reader, digestOf(crypto.SHA256), crypto.SHA256); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.count("Login"); got < 11 {
		t.Errorf("%d logins for 10 signatures", got)
	}
	// The PIN was changed: it is tried once more, and never again.
	f.edit(func() { token.pin = "other" })
	before := f.count("Login")
	for range 5 {
		if _, err := k.Sign(rand.Reader, digestOf(crypto.SHA256), crypto.SHA256); !errors.Is(err, ErrPINRefused) {
			t.Fatalf("got %v", err)
		}
	}
	if got := f.count("Login") - before; got != 1 {
		t.Errorf("the refused PIN was shown %d times", got)
	}
}
