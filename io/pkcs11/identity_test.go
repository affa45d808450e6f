// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestToken_selection(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	a, b := newFakeToken(1, "a", fakeKey("k", 1, key)...), newFakeToken(2, "b", fakeKey("k", 1, key)...)
	twin := newFakeToken(3, "a", fakeKey("k", 1, key)...)
	twin.info.Serial, twin.info.Model = "twin", "Other"
	blank := newFakeToken(4, "")
	blank.info.flags = 0
	slot := func(n uint) *uint { return &n }
	all := []*fakeToken{a, b, twin, blank}
	for name, c := range map[string]struct {
		tokens []*fakeToken
		o      TokenOptions
		want   error
		text   string
	}{
		"by label":                    {all, TokenOptions{Label: "b"}, nil, ""},
		"by slot":                     {all, TokenOptions{SlotID: slot(3)}, nil, ""},
		"by serial":                   {all, TokenOptions{Serial: "twin"}, nil, ""},
		"by label and model":          {all, TokenOptions{Label: "a", Model: "Other"}, nil, ""},
		"the only one":                {[]*fakeToken{a, blank}, TokenOptions{}, nil, ""},
		"several, none named":         {all, TokenOptions{}, ErrTokenAmbiguous, `"twin"`},
		"several with the label":      {all, TokenOptions{Label: "a"}, ErrTokenAmbiguous, "Serial"},
		"no such label":               {all, TokenOptions{Label: "A"}, ErrTokenNotFound, `token "b" with serial "0815-b" in slot 2`},
		"label right, slot wrong":     {all, TokenOptions{Label: "a", SlotID: slot(2)}, ErrTokenNotFound, `in slot 2 and with label "a"`},
		"not initialised":             {all, TokenOptions{SlotID: slot(4)}, ErrTokenNotFound, "not initialised"},
		"no token":                    {nil, TokenOptions{}, ErrTokenNotFound, "connected"},
		"manufacturer does not match": {all, TokenOptions{Manufacturer: "x"}, ErrTokenNotFound, "upper and lower case"},
	} {
		t.Run(name, func(t *testing.T) {
			tok := newFake(c.tokens...).token(t, c.o)
			_, err := tok.Key(context.Background(), KeyOptions{})
			if !errors.Is(err, c.want) || c.want != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v", err)
			}
			var e *Error
			if errors.As(err, &e) && (len(e.Tokens) != len(c.tokens) || e.Library == "" || e.Token == "") {
				t.Errorf("got %#v", e)
			}
		})
	}
}

func TestLibrary_Tokens(t *testing.T) {
	got, err := newFake(newFakeToken(1, "a"), newFakeToken(5, "b")).library(t, InitDefault).Tokens()
	if err != nil || len(got) != 2 || got[1].Label != "b" || got[1].SlotID != 5 || !got[1].Initialized() || got[1].PINLocked() || got[1].ProtectedAuthenticationPath() {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestKey_selection(t *testing.T) {
	one, two := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	objects := append(fakeKey("k", 1, one), fakeKey("k", 2, two)...)
	objects = append(objects, fakeKey("other", 3, two)...)
	f := newFake(newFakeToken(1, "a", objects...))
	tok := f.token(t, TokenOptions{})
	for name, c := range map[string]struct {
		o      KeyOptions
		want   error
		labels []string
	}{
		"by label and id":   {KeyOptions{Label: "k", ID: []byte{1}}, nil, nil},
		"by id":             {KeyOptions{ID: []byte{2}}, nil, nil},
		"by label":          {KeyOptions{Label: "other"}, nil, nil},
		"label of several":  {KeyOptions{Label: "k"}, ErrKeyAmbiguous, []string{"k", "k"}},
		"several":           {KeyOptions{}, ErrKeyAmbiguous, []string{"k", "k", "other"}},
		"wrong label":       {KeyOptions{Label: "K"}, ErrKeyNotFound, []string{"k", "k", "other"}},
		"wrong combination": {KeyOptions{Label: "other", ID: []byte{1}}, ErrKeyNotFound, []string{"k", "k", "other"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := f.count("Login")
			_, err := tok.Key(context.Background(), c.o)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v", err)
			}
			var e *Error
			if errors.As(err, &e) {
				if d := cmp.Diff(c.labels, e.KeyLabels); d != "" {
					t.Error(d)
				}
				if !strings.Contains(err.Error(), `"other"`) && len(c.labels) > 2 {
					t.Errorf("got %v", err)
				}
			}
			if f.count("Login") > before+1 {
				t.Error("it logged in again and again")
			}
		})
	}
}

func TestKey_unsupported(t *testing.T) {
	p224 := ecKey(t, elliptic.P224())
	objects := fakeKey("p224", 1, ecKey(t, elliptic.P256()))
	objects[0].attributes[attrECParams] = []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21}
	_ = p224
	dsa := fakeKey("dsa", 2, ecKey(t, elliptic.P256()))
	dsa[0].attributes[attrKeyType] = ulong(1)
	lonely := fakeKey("lonely", 3, ecKey(t, elliptic.P256()))
	broken := fakeKey("broken", 4, ecKey(t, elliptic.P256()))
	broken[1].attributes[attrECPoint] = []byte{4, 1, 2}
	token := newFakeToken(1, "a", append(append(append(objects, dsa...), lonely[0]), broken...)...)
	tok := newFake(token).token(t, TokenOptions{})
	for _, label := range []string{"p224", "dsa", "lonely", "broken"} {
		if _, err := tok.Key(context.Background(), KeyOptions{Label: label}); !errors.Is(err, ErrKeyUnsupported) {
			t.Errorf("%s: got %v", label, err)
		}
	}
}

// Many tokens hold the private half of an elliptic curve key alone.
func TestKey_publicHalfFromCertificate(t *testing.T) {
	ca := newAuthority(t)
	for name, key := range map[string]crypto.Signer{"EC": ecKey(t, elliptic.P384()), "RSA": sharedRSA()} {
		private := fakeKey("k", 1, key)[0]
		delete(private.attributes, attrModulus)
		other := ca.client(t, "other", ecKey(t, elliptic.P256()).Public())
		mine := ca.client(t, "mine", key.Public())
		for where, c := range map[string]struct {
			objects []*fakeObject
			o       KeyOptions
			want    error
		}{
			"given":          {nil, KeyOptions{CertificatePEM: toPEM(ca.cert, other, mine)}, nil},
			"on the token":   {[]*fakeObject{fakeCertificate("x", other), fakeCertificate("y", mine)}, KeyOptions{}, nil},
			"for other keys": {nil, KeyOptions{CertificatePEM: toPEM(other, ca.client(t, "n", newRSAlike(key)))}, ErrCertificateMismatch},
			"nowhere":        {nil, KeyOptions{}, ErrKeyUnsupported},
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				f := newFake(newFakeToken(1, "a", append(c.objects, private)...))
				tok := f.token(t, TokenOptions{})
				id, err := tok.Identity(c.o)
				if err != nil {
					t.Fatal(err)
				}
				cert, err := id.Certificate(context.Background())
				if !errors.Is(err, c.want) {
					t.Fatalf("got %v", err)
				}
				if err == nil && !cert.Leaf.Equal(mine) {
					t.Errorf("got the certificate of %s", cert.Leaf.Subject)
				}
			})
		}
	}
}

// newRSAlike returns another public key of the kind of a key.
func newRSAlike(key crypto.Signer) crypto.PublicKey {
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		return &sharedRSA().PublicKey
	}
	return &oddRSA().PublicKey
}

func TestIdentity_certificateFile(t *testing.T) {
	ca := newAuthority(t)
	middle := ca.intermediate(t)
	key := ecKey(t, elliptic.P256())
	token := newFakeToken(1, "a", fakeKey("k", 1, key)...)
	f := newFake(token)
	file := filepath.Join(t.TempDir(), "cert.pem")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id, err := f.token(t, TokenOptions{}).Identity(KeyOptions{CertificateFile: file})
	if err != nil {
		t.Fatal(err)
	}
	fails := func(want error, text string) {
		t.Helper()
		if _, err := id.Certificate(context.Background()); !errors.Is(err, want) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "cert.pem") {
			t.Fatalf("got %v", err)
		}
	}
	works := func(name string) *tls.Certificate {
		t.Helper()
		cert, err := id.Certificate(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := cert.Leaf.Subject.CommonName; got != name {
			t.Fatalf("got %s, want %s", got, name)
		}
		return cert
	}
	fails(ErrCertificateInvalid, "no such file")
	first := middle.client(t, "first", key.Public())
	write(first.Raw)
	fails(ErrCertificateInvalid, "DER")
	write([]byte("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"))
	fails(ErrCertificateInvalid, "it holds a private key")
	write([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
	fails(ErrCertificateInvalid, "certificate 1")
	write(append(toPEM(first), toPEM(middle.cert)[:200]...))
	fails(ErrCertificateInvalid, "block 2 (CERTIFICATE, line ")
	write(toPEM(middle.cert))
	fails(ErrCertificateMismatch, "intermediate CA")

	// The order in the file does not matter.
	write(toPEM(middle.cert, first))
	cert := works("first")
	if len(cert.Certificate) != 2 || string(cert.Certificate[0]) != string(first.Raw) {
		t.Error("the client's certificate is not first, or the chain is gone")
	}
	if _, err := handshake(ca.serverConfig(t, tls.VersionTLS13), ca.clientConfig(id.ClientCertificate)); err != nil {
		t.Error(err)
	}

	before := f.count("Find")
	if works("first") != cert {
		t.Error("a new certificate without a reason")
	}
	if f.count("Find") != before {
		t.Error("the token was searched again without a reason")
	}
	write(toPEM(ca.client(t, "second", key.Public())))
	works("second")
	next := ecKey(t, elliptic.P521())
	write(toPEM(ca.client(t, "third", next.Public())))
	fails(ErrCertificateMismatch, "third")
	f.edit(func() { token.objects = fakeKey("k", 1, next) })
	works("third")
}

func TestIdentity_certificateOnToken(t *testing.T) {
	ca := newAuthority(t)
	outer := ca.intermediate(t)
	inner := outer.intermediate(t)
	key := ecKey(t, elliptic.P256())
	old := inner.client(t, "old", key.Public())
	template := certificateTemplate("new")
	template.NotBefore = old.NotBefore.Add(time.Hour)
	renewed := issue(t, template, inner.cert, key.Public(), inner.key)
	token := newFakeToken(1, "a", append(fakeKey("k", 1, key),
		fakeCertificate("root", ca.cert), fakeCertificate("outer", outer.cert), fakeCertificate("inner", inner.cert),
		fakeCertificate("old", old), fakeCertificate("stranger", ca.client(t, "stranger", ecKey(t, elliptic.P256()).Public())),
		&fakeObject{attributes: map[uint][]byte{attrClass: ulong(classCertificate), attrCertificateType: ulong(certificateX509), attrValue: {1, 2, 3}}})...)
	f := newFake(token)
	tok := f.token(t, TokenOptions{})
	id, err := tok.Identity(KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(id *Identity) *tls.Certificate {
		t.Helper()
		cert, err := id.Certificate(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	cert := get(id)
	if !cert.Leaf.Equal(old) || len(cert.Certificate) != 3 {
		t.Errorf("got %s in a chain of %d", cert.Leaf.Subject, len(cert.Certificate))
	}
	if get(id) != cert {
		t.Error("a new certificate without a reason")
	}
	if _, err := handshake(ca.serverConfig(t, tls.VersionTLS12), ca.clientConfig(id.ClientCertificate)); err != nil {
		t.Error(err)
	}
	f.edit(func() { token.objects = append(token.objects, fakeCertificate("new", renewed)) })
	if got := get(id); !got.Leaf.Equal(renewed) {
		t.Errorf("got %s", got.Leaf.Subject)
	}
	named, _ := tok.Identity(KeyOptions{CertificateLabel: "old"})
	if got := get(named); !got.Leaf.Equal(old) {
		t.Errorf("got %s", got.Leaf.Subject)
	}
	stranger, _ := tok.Identity(KeyOptions{CertificateLabel: "stranger"})
	if _, err := stranger.Certificate(context.Background()); !errors.Is(err, ErrCertificateNotFound) || !strings.Contains(err.Error(), `"stranger"`) {
		t.Errorf("got %v", err)
	}
	f.edit(func() { token.objects = fakeKey("k", 1, key) })
	if _, err := id.Certificate(context.Background()); !errors.Is(err, ErrCertificateNotFound) || !strings.Contains(err.Error(), "CertificateFile") {
		t.Errorf("got %v", err)
	}
}

func TestIdentity_context(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		key := ecKey(t, elliptic.P256())
		f := newFake(newFakeToken(1, "a", fakeKey("k", 1, key)...))
		answer := make(chan PIN)
		asked := 0
		tok := f.token(t, TokenOptions{PINFunc: func(context.Context) (PIN, error) { asked++; return <-answer, nil }})
		id, err := tok.Identity(KeyOptions{CertificatePEM: toPEM(ca.client(t, "d", key.Public()))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		// The PIN takes its time; the attempt does not.
		if _, err := id.Certificate(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err := id.Certificate(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := id.Certificate(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		answer <- fakePIN
		wg.Wait()
		if asked != 1 {
			t.Errorf("the PIN was asked for %d times", asked)
		}
	})
}

func TestIdentity_close(t *testing.T) {
	ca := newAuthority(t)
	key := ecKey(t, elliptic.P256())
	f := newFake(newFakeToken(1, "a", fakeKey("k", 1, key)...))
	lib := f.library(t, InitStrict)
	id, err := New(Options{Library: lib, Token: TokenOptions{PIN: fakePIN}, Key: KeyOptions{CertificatePEM: toPEM(ca.client(t, "d", key.Public()))}})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := id.Certificate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if s := id.Stats(); s.Open != 1 || s.Limit != DefaultMaxSessions {
		t.Errorf("got %+v", s)
	}
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}
	if err := signs(t, cert.PrivateKey.(*Key)); err != nil {
		t.Errorf("after its library was closed: %v", err)
	}
	for range 2 {
		if err := id.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if f.openSessions() != 0 || f.count("Finalize") != 1 {
		t.Errorf("%d sessions left, finalised %d times", f.openSessions(), f.count("Finalize"))
	}
	if _, err := id.Certificate(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := signs(t, cert.PrivateKey.(*Key)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}
