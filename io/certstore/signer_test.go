// SPDX-License-Identifier: Apache-2.0

package certstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// cng does with a key in memory what the Windows functions do with one of theirs.
type cng struct {
	key      crypto.Signer
	noPSS    bool          // as old providers
	longSalt bool          // as old TPMs, which take as much salt as fits
	fail     error         // for every signature
	hang     chan struct{} // a signature takes until it is closed; nil: no time
	answer   []byte        // instead of a signature
	closed   int
	used     []padding
}

func (k *cng) close() { k.closed++ }

func (k *cng) signHash(p padding, digest []byte) ([]byte, error) {
	k.used = append(k.used, p)
	if k.hang != nil {
		<-k.hang
	}
	if k.fail != nil || k.answer != nil {
		return k.answer, k.fail
	}
	switch key := k.key.(type) {
	case *ecdsa.PrivateKey:
		n := (key.Curve.Params().BitSize + 7) / 8
		if len(digest) > n || p != (padding{}) {
			return nil, statusNotSupported
		}
		der, err := key.Sign(rand.Reader, digest, nil)
		if err != nil {
			return nil, err
		}
		var sig struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			return nil, err
		}
		return append(sig.R.FillBytes(make([]byte, n)), sig.S.FillBytes(make([]byte, n))...), nil
	case *rsa.PrivateKey:
		var hash crypto.Hash
		for h, name := range hashNames {
			if name == p.hash {
				hash = h
			}
		}
		switch p.kind {
		case paddingPKCS1:
			return rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
		case paddingPSS:
			if k.noPSS {
				return nil, statusNotSupported
			}
			opts := &rsa.PSSOptions{SaltLength: p.salt, Hash: hash}
			if k.longSalt {
				opts.SaltLength = rsa.PSSSaltLengthAuto
			}
			return rsa.SignPSS(rand.Reader, key, hash, digest, opts)
		}
	}
	return nil, statusNotSupported
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
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

// selfSignedCert makes a certificate for a client and a server.
func selfSignedCert(t testing.TB, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "certstore test"}, DNSNames: []string{"server.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func open(t testing.TB, key *cng) (*Identity, error) {
	t.Helper()
	cert := selfSignedCert(t, key.key)
	return newIdentity(Path{CurrentUser, "MY", sha1.Sum(cert.Raw)}, &entry{chain: []*x509.Certificate{cert}, key: key})
}

// handshake shows the identity to a server and returns the version spoken.
func handshake(t testing.TB, id *Identity, maxVersion uint16) (uint16, error) {
	t.Helper()
	serverKey := ecKey(t, elliptic.P256())
	serverCert := selfSignedCert(t, serverKey)
	roots := x509.NewCertPool()
	roots.AddCert(serverCert)
	clients := x509.NewCertPool()
	clients.AddCert(id.cert.Leaf)
	near, far := net.Pipe()
	defer near.Close()
	seen := make(chan tls.ConnectionState, 1)
	go func() {
		defer far.Close()
		s := tls.Server(far, &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{serverCert.Raw}, PrivateKey: serverKey}},
			ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients,
		})
		if s.Handshake() == nil {
			seen <- s.ConnectionState()
			s.Close()
		}
	}()
	c, err := tlsctx.New(tlsctx.Options{Identity: id, RootCAs: roots, MaxVersion: maxVersion})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Client(t.Context(), near, "server.example")
	if err != nil {
		return 0, err
	}
	if _, err := io.ReadAll(conn); err != nil {
		return 0, err
	}
	state := <-seen
	if !state.PeerCertificates[0].Equal(id.cert.Leaf) {
		t.Error("the server saw another certificate")
	}
	return state.Version, nil
}

func TestIdentity_handshake(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]*cng{
		"RSA":                  {key: rsaKey()},
		"RSA without PSS":      {key: rsaKey(), noPSS: true},
		"RSA with its own PSS": {key: rsaKey(), longSalt: true},
		"P-256":                {key: ecKey(t, elliptic.P256())},
		"P-384":                {key: ecKey(t, elliptic.P384())},
		"P-521":                {key: ecKey(t, elliptic.P521())},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				id, err := open(t, key)
				if err != nil {
					t.Fatal(err)
				}
				defer id.Close()
				got, err := handshake(t, id, version)
				if version == tls.VersionTLS13 && (key.noPSS || key.longSalt) {
					// TLS 1.3 has no other way for RSA, and the server does not
					// fall back by itself.
					if err == nil {
						t.Errorf("%s without PSS", tls.VersionName(got))
					}
					return
				}
				if err != nil || got != version {
					t.Errorf("%s, %v", tls.VersionName(got), err)
				}
			})
		}
	}
}

func TestSigner_allHashes(t *testing.T) {
	t.Parallel()
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		h := hash.New()
		h.Write([]byte("message"))
		digest := h.Sum(nil)
		for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
			key := ecKey(t, curve)
			s := &signer{pub: key.Public(), key: &cng{key: key}}
			sig, err := s.Sign(nil, digest, hash)
			if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest, sig) {
				t.Errorf("%v on %s: %v", hash, curve.Params().Name, err)
			}
		}
		key := rsaKey()
		s := &signer{pub: key.Public(), key: &cng{key: key}}
		sig, err := s.Sign(nil, digest, hash)
		if err == nil {
			err = rsa.VerifyPKCS1v15(&key.PublicKey, hash, digest, sig)
		}
		if err != nil {
			t.Errorf("%v with PKCS#1: %v", hash, err)
		}
		for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto, 0 + 20} {
			opts := &rsa.PSSOptions{SaltLength: salt, Hash: hash}
			sig, err := s.Sign(nil, digest, opts)
			if err == nil {
				err = rsa.VerifyPSS(&key.PublicKey, hash, digest, sig, opts)
			}
			if err != nil {
				t.Errorf("%v with PSS and salt %d: %v", hash, salt, err)
			}
		}
	}
}

// Numbers with leading zeros and a high bit keep their value and their shortest form.
func TestEncodeECDSA(t *testing.T) {
	t.Parallel()
	pub := &ecKey(t, elliptic.P256()).PublicKey
	raw := make([]byte, 64)
	raw[31], raw[32] = 1, 0x80
	sig, err := encodeECDSA(raw, pub)
	want := append([]byte{0x30, 0x26, 2, 1, 1, 2, 0x21, 0, 0x80}, make([]byte, 31)...)
	if err != nil || string(sig) != string(want) {
		t.Errorf("got %x, %v; want %x", sig, err, want)
	}
	// The structure of P-521 is longer than 127 bytes, which takes a longer length.
	full := make([]byte, 132)
	for i := range full {
		full[i] = 0xff
	}
	sig, err = encodeECDSA(full, &ecKey(t, elliptic.P521()).PublicKey)
	if err != nil || sig[1] != 0x81 || len(sig) != int(sig[2])+3 {
		t.Errorf("got %x, %v", sig, err)
	}
	for _, bad := range [][]byte{nil, raw[:63], append(raw, 0), make([]byte, 64)} {
		if sig, err := encodeECDSA(bad, pub); err == nil {
			t.Errorf("%x gives %x", bad, sig)
		}
	}
}

func TestSigner_errors(t *testing.T) {
	t.Parallel()
	digest := make([]byte, 32)
	key := rsaKey()
	small := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 511), E: 65537}
	for name, tt := range map[string]struct {
		s      *signer
		digest []byte
		opts   crypto.SignerOpts
		want   error
		word   string
	}{
		"no hash":       {&signer{pub: key.Public(), key: &cng{key: key}}, digest, crypto.Hash(0), nil, "hash"},
		"no options":    {&signer{pub: key.Public(), key: &cng{key: key}}, digest, nil, ErrUnsupported, "hash"},
		"short":         {&signer{pub: key.Public(), key: &cng{key: key}}, digest[:20], crypto.SHA256, nil, "20 bytes"},
		"MD5":           {&signer{pub: key.Public(), key: &cng{key: key}}, digest[:16], crypto.MD5, ErrUnsupported, "MD5"},
		"too much salt": {&signer{pub: key.Public(), key: &cng{key: key}}, digest, &rsa.PSSOptions{SaltLength: 999, Hash: crypto.SHA256}, ErrUnsupported, "999"},
		"small key":     {&signer{pub: small, key: &cng{key: key}}, make([]byte, 64), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA512}, ErrUnsupported, "512 bits"},
		"status":        {&signer{pub: key.Public(), key: &cng{fail: statusSilent}}, digest, crypto.SHA256, statusSilent, "NTE_SILENT_CONTEXT"},
		"other status":  {&signer{pub: key.Public(), key: &cng{fail: Status(0x80091234)}}, digest, crypto.SHA256, Status(0x80091234), "0x80091234"},
		"odd answer":    {&signer{pub: key.Public(), key: &cng{answer: []byte{1}}}, digest, crypto.SHA256, nil, "1 bytes instead of 256"},
		"odd EC answer": {&signer{pub: ecKey(t, elliptic.P256()).Public(), key: &cng{answer: []byte{1}}}, digest, crypto.SHA256, nil, "1 bytes instead of 64"},
	} {
		tt.s.path = "here"
		_, err := tt.s.Sign(nil, tt.digest, tt.opts)
		if err == nil || (tt.want != nil && !errors.Is(err, tt.want)) || !strings.Contains(err.Error(), tt.word) || !strings.HasPrefix(err.Error(), "certstore: here: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewIdentity_errors(t *testing.T) {
	t.Parallel()
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key  *cng
		want error
		hint string
	}{
		"Ed25519":       {&cng{key: edKey}, ErrUnsupported, "RSA and ECDSA"},
		"asks the user": {&cng{key: rsaKey(), fail: statusSilent}, statusSilent, "PIN prompt"},
		"no permission": {&cng{key: rsaKey(), fail: statusPermission}, statusPermission, "Manage Private Keys"},
	} {
		_, err := open(t, tt.key)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.hint) || !strings.Contains(err.Error(), `CurrentUser\MY\`) {
			t.Errorf("%s: %v", name, err)
		}
		if tt.key.closed != 1 {
			t.Errorf("%s: closed %d times", name, tt.key.closed)
		}
	}
}

func TestIdentity_close(t *testing.T) {
	t.Parallel()
	key := &cng{key: ecKey(t, elliptic.P256())}
	id, err := open(t, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := id.Certificate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(id.Close(), id.Close()); err != nil || key.closed != 1 {
		t.Errorf("%v after %d", err, key.closed)
	}
	if _, err := id.Certificate(t.Context()); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), id.String()) {
		t.Errorf("got %v", err)
	}
	if _, err := cert.PrivateKey.(crypto.Signer).Sign(nil, make([]byte, 32), crypto.SHA256); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// A provider that does not return, such as one that waits for a card, keeps
// neither attempts to connect nor Close waiting.
func TestIdentity_hangingSignature(t *testing.T) {
	t.Parallel()
	key := &cng{key: ecKey(t, elliptic.P256())}
	id, err := open(t, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := id.Certificate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sign := func() error {
		_, err := cert.PrivateKey.(crypto.Signer).Sign(nil, make([]byte, 32), crypto.SHA256)
		return err
	}
	key.hang = make(chan struct{})
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- sign() }()
	}
	for id.key.signing.TryLock() { // until one of them signs
		id.key.signing.Unlock()
		runtime.Gosched()
	}
	if _, err := id.Certificate(t.Context()); err != nil {
		t.Error(err)
	}
	if err := id.Close(); err != nil {
		t.Error(err)
	}
	close(key.hang)
	if one, other := <-results, <-results; (one == nil) == (other == nil) && one != nil {
		t.Errorf("signatures: %v, %v", one, other)
	}
	if err := sign(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if key.closed != 1 {
		t.Errorf("closed %d times", key.closed)
	}
}
