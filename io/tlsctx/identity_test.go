// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// opaque hides a key behind the interface of a signer, as hardware does.
type opaque struct {
	key     crypto.Signer
	schemes []tls.SignatureScheme
	signed  chan crypto.SignerOpts
}

func (o *opaque) Public() crypto.PublicKey { return o.key.Public() }

func (o *opaque) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	o.signed <- opts
	return o.key.Sign(random, digest, opts)
}

func (o *opaque) SupportedSignatureAlgorithms() []tls.SignatureScheme { return o.schemes }

func TestIdentity_sources(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root")
	ca := root.authority(t, "intermediate")
	device := ca.client(t, "device", "P-256")
	dir := t.TempDir()
	chain := certPEM(device.cert, ca.cert)
	both := writeFile(t, filepath.Join(dir, "both.pem"), append(device.keyPEM(t), chain...))
	certFile := writeFile(t, filepath.Join(dir, "device.crt"), chain)
	keyFile := writeFile(t, filepath.Join(dir, "device.key"), device.keyPEM(t))
	bundle := must[[]byte](t)(gopkcs12.Modern.Encode(device.key, device.cert, []*x509.Certificate{ca.cert}, "secret"))
	bundleFile := writeFile(t, filepath.Join(dir, "device.p12"), bundle)
	signer := &opaque{key: device.key, signed: make(chan crypto.SignerOpts, 16)}

	for name, id := range map[string]tlsctx.Identity{
		"FromPath":               tlsctx.FromPath(certFile, keyFile),
		"FromPath, one file":     tlsctx.FromPath(both, both),
		"FromBytes":              tlsctx.FromBytes(chain, device.keyPEM(t)),
		"FromBytes, CA first":    tlsctx.FromBytes(certPEM(ca.cert, device.cert), device.keyPEM(t)),
		"FromSigner":             tlsctx.FromSigner(chain, signer),
		"FromPKCS12":             tlsctx.FromPKCS12(bundleFile, "secret"),
		"FromPKCS12Bytes":        tlsctx.FromPKCS12Bytes(bundle, "secret"),
		"IdentityFunc":           tlsctx.IdentityFunc(tlsctx.FromPath(certFile, keyFile).Certificate),
		"IdentityFunc, bare":     tlsctx.IdentityFunc(bare(device, ca)),
		"of an unknown type":     foreign{bare(device, ca)},
		"IdentityFunc with file": tlsctx.IdentityFunc(tlsctx.FromPKCS12(bundleFile, "secret").Certificate),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, &tls.Config{
				Certificates: []tls.Certificate{root.server(t, "127.0.0.1")},
				ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: root.pool(),
			})
			if _, err := connect(t, newContext(t, tlsctx.Options{Identity: id, CAPEM: root.pem()}), s.address); err != nil {
				t.Fatal(err)
			}
			if got := (<-s.states).PeerCertificates; len(got) != 2 || !got[0].Equal(device.cert) || !got[1].Equal(ca.cert) {
				t.Errorf("the server saw %d certificates, first %v", len(got), got[0].Subject)
			}
		})
	}
}

type foreign struct{ tlsctx.IdentityFunc }

// bare returns a certificate as a careless callback makes it, without its leaf.
func bare(device leaf, ca *authority) tlsctx.IdentityFunc {
	return func(context.Context) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{device.cert.Raw, ca.cert.Raw}, PrivateKey: device.key}, nil
	}
}

// A server that names other authorities than the issuer gets the certificate
// all the same.
func TestIdentity_serverNamesOtherAuthorities(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "CA"), newAuthority(t, "other CA")
	device := ca.client(t, "device", "P-256")
	s := startServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")},
		ClientAuth:   tls.RequireAnyClientCert, ClientCAs: other.pool(),
	})
	c := newContext(t, tlsctx.Options{Identity: tlsctx.FromBytes(device.certPEM(), device.keyPEM(t)), CAPEM: ca.pem()})
	if _, err := connect(t, c, s.address); err != nil {
		t.Fatal(err)
	}
	if state := <-s.states; !state.PeerCertificates[0].Equal(device.cert) {
		t.Error("another certificate")
	}
}

// A signer that lacks PSS says so, and TLS 1.2 is then done with PKCS#1 v1.5.
func TestFromSigner_supportedSignatureAlgorithms(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	device := ca.client(t, "device", "RSA-2048")
	s := startServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
	})
	signer := &opaque{key: device.key, signed: make(chan crypto.SignerOpts, 1),
		schemes: []tls.SignatureScheme{tls.PKCS1WithSHA256, tls.PKCS1WithSHA384}}
	c := newContext(t, tlsctx.Options{Identity: tlsctx.FromSigner(device.certPEM(), signer), CAPEM: ca.pem(), MaxVersion: tls.VersionTLS12})
	if _, err := connect(t, c, s.address); err != nil {
		t.Fatal(err)
	}
	if opts := <-signer.signed; opts.HashFunc() != crypto.SHA256 {
		t.Errorf("signed with %T of %v", opts, opts.HashFunc())
	}
}

func TestNew_material(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	device, other := ca.client(t, "device", "P-256"), ca.client(t, "other", "P-256")
	dir := t.TempDir()
	certFile, keyFile := device.files(t, dir)
	otherKey := writeFile(t, filepath.Join(dir, "other.key"), other.keyPEM(t))
	bundle := writeFile(t, filepath.Join(dir, "device.p12"),
		must[[]byte](t)(gopkcs12.Modern.Encode(device.key, device.cert, nil, "secret")))
	huge := writeFile(t, filepath.Join(dir, "huge"), make([]byte, 5<<20))
	missing := filepath.Join(dir, "missing.pem")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		opts  tlsctx.Options
		want  error // nil: any
		words []string
	}{
		{"key of another", tlsctx.Options{Identity: tlsctx.FromPath(certFile, otherKey)}, tlsctx.ErrKeyMismatch, []string{certFile, otherKey, "CN=device"}},
		{"swapped", tlsctx.Options{Identity: tlsctx.FromPath(keyFile, certFile)}, tlsctx.ErrNoCertificate, []string{keyFile, "swapped"}},
		{"certificate twice", tlsctx.Options{Identity: tlsctx.FromPath(certFile, certFile)}, tlsctx.ErrNoKey, []string{certFile, "swapped"}},
		{"missing certificate", tlsctx.Options{Identity: tlsctx.FromPath(missing, keyFile)}, fs.ErrNotExist, []string{missing, "check the path"}},
		{"missing key", tlsctx.Options{Identity: tlsctx.FromPath(certFile, missing)}, fs.ErrNotExist, []string{missing}},
		{"relative", tlsctx.Options{Identity: tlsctx.FromPath("no/such.pem", keyFile)}, fs.ErrNotExist, []string{"no/such.pem", "relative to /"}},
		{"no name", tlsctx.Options{Identity: tlsctx.FromPath("", keyFile)}, nil, []string{"empty"}},
		{"directory", tlsctx.Options{Identity: tlsctx.FromPath(dir, keyFile)}, nil, []string{dir, "directory"}},
		{"too large", tlsctx.Options{Identity: tlsctx.FromPath(huge, keyFile)}, nil, []string{huge, "4 MiB"}},
		{"bytes of another", tlsctx.Options{Identity: tlsctx.FromBytes(device.certPEM(), other.keyPEM(t))}, tlsctx.ErrKeyMismatch, []string{"given as bytes"}},
		{"bytes swapped", tlsctx.Options{Identity: tlsctx.FromBytes(device.keyPEM(t), device.certPEM())}, tlsctx.ErrNoCertificate, []string{"swapped"}},
		{"no signer", tlsctx.Options{Identity: tlsctx.FromSigner(device.certPEM(), nil)}, tlsctx.ErrNoKey, []string{"nil"}},
		{"signer of another", tlsctx.Options{Identity: tlsctx.FromSigner(device.certPEM(), other.key)}, tlsctx.ErrKeyMismatch, []string{"CN=device"}},
		{"signer without certificate", tlsctx.Options{Identity: tlsctx.FromSigner(nil, other.key)}, tlsctx.ErrNotPEM, []string{"signer"}},
		{"signer with P-224", tlsctx.Options{Identity: tlsctx.FromSigner(device.certPEM(), newKey(t, "P-224"))}, tlsctx.ErrUnsupportedKey, []string{"P-256"}},
		{"password", tlsctx.Options{Identity: tlsctx.FromPKCS12(bundle, "hunter")}, pkcs12.ErrPassword, []string{bundle, "password"}},
		{"bundle missing", tlsctx.Options{Identity: tlsctx.FromPKCS12(missing, "")}, fs.ErrNotExist, []string{missing}},
		{"bundle of bytes", tlsctx.Options{Identity: tlsctx.FromPKCS12Bytes(nil, "")}, pkcs12.ErrFormat, []string{"bytes", "empty"}},
		{"bundle as PEM", tlsctx.Options{Identity: tlsctx.FromPath(bundle, bundle)}, tlsctx.ErrNotPEM, []string{bundle, "FromPKCS12"}},
		{"CA missing", tlsctx.Options{CAFile: missing}, fs.ErrNotExist, []string{missing}},
		{"CA is a key", tlsctx.Options{CAFile: keyFile}, tlsctx.ErrNoCertificate, []string{keyFile}},
		{"CA bytes", tlsctx.Options{CAPEM: []byte("x")}, tlsctx.ErrNotPEM, []string{"CA given as bytes"}},
		{"CA directory missing", tlsctx.Options{CADir: missing}, fs.ErrNotExist, []string{missing}},
		{"CA directory empty", tlsctx.Options{CADir: empty}, tlsctx.ErrNoCertificate, []string{empty}},
		{"CA directory is a file", tlsctx.Options{CADir: certFile}, nil, []string{certFile}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tlsctx.New(tt.opts)
			if c != nil || err == nil {
				t.Fatalf("got %v, %v", c, err)
			}
			want := tt.want
			if want == nil {
				want = err
			}
			wantMaterialError(t, err, want, tt.words...)
			if s := fmt.Sprintf("%v %+v", err, tt.opts); strings.Contains(s, "secret") || strings.Contains(s, "hunter") {
				t.Errorf("a password shows: %s", s)
			}
		})
	}
}

func TestNew_validity(t *testing.T) {
	t.Parallel()
	device := newAuthority(t, "CA").client(t, "device", "P-256")
	certFile, keyFile := device.files(t, t.TempDir())
	id := tlsctx.FromPath(certFile, keyFile)
	for name, tt := range map[string]struct {
		now  time.Time
		want error
		hint string
	}{
		"expired": {device.cert.NotAfter.Add(time.Second), tlsctx.ErrExpired, "issue a new certificate"},
		"early":   {device.cert.NotBefore.Add(-time.Second), tlsctx.ErrNotYetValid, "set the clock"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := tlsctx.Options{Identity: id, Now: func() time.Time { return tt.now }}
			_, err := tlsctx.New(opts)
			wantMaterialError(t, err, tt.want, certFile, tt.hint, tt.now.UTC().Format(time.RFC3339),
				device.cert.NotBefore.UTC().Format(time.RFC3339), device.cert.NotAfter.UTC().Format(time.RFC3339))
			opts.DisableValidityCheck = true
			newContext(t, opts)
		})
	}
}

// A certificate that expires under a running client is noticed at the next attempt.
func TestConfig_expiresLater(t *testing.T) {
	t.Parallel()
	device := newAuthority(t, "CA").client(t, "device", "P-256")
	now := time.Now()
	c := newContext(t, tlsctx.Options{Identity: tlsctx.FromBytes(device.certPEM(), device.keyPEM(t)), Now: func() time.Time { return now }})
	if _, err := c.Config(t.Context(), "host"); err != nil {
		t.Fatal(err)
	}
	now = device.cert.NotAfter.Add(time.Second)
	_, err := c.Config(t.Context(), "host")
	wantMaterialError(t, err, tlsctx.ErrExpired)
}

func TestConfig_callbacks(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	device, other := ca.client(t, "device", "P-256"), ca.client(t, "other", "P-256")
	boom := errors.New("the vault is closed")
	identity := func(cert *tls.Certificate, err error) tlsctx.Identity {
		return tlsctx.IdentityFunc(func(context.Context) (*tls.Certificate, error) { return cert, err })
	}
	for name, tt := range map[string]struct {
		opts tlsctx.Options
		want error // nil: any
		word string
	}{
		"fails":          {tlsctx.Options{Identity: identity(nil, boom)}, boom, "callback"},
		"returns none":   {tlsctx.Options{Identity: identity(nil, nil)}, tlsctx.ErrNoCertificate, "callback"},
		"returns empty":  {tlsctx.Options{Identity: identity(&tls.Certificate{}, nil)}, tlsctx.ErrNoCertificate, "callback"},
		"returns no key": {tlsctx.Options{Identity: identity(&tls.Certificate{Certificate: [][]byte{device.cert.Raw}}, nil)}, tlsctx.ErrNoKey, "crypto.Signer"},
		"returns junk":   {tlsctx.Options{Identity: identity(&tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: device.key}, nil)}, nil, "callback"},
		"mixes up":       {tlsctx.Options{Identity: identity(&tls.Certificate{Certificate: [][]byte{device.cert.Raw}, PrivateKey: other.key}, nil)}, tlsctx.ErrKeyMismatch, "CN=device"},
		"panics":         {tlsctx.Options{Identity: tlsctx.IdentityFunc(func(context.Context) (*tls.Certificate, error) { panic("oh") })}, nil, "panicked: oh"},
		"CA fails":       {tlsctx.Options{CAFunc: func(context.Context) ([]byte, error) { return nil, boom }}, boom, "CA from the callback"},
		"CA is empty":    {tlsctx.Options{CAFunc: func(context.Context) ([]byte, error) { return nil, nil }}, tlsctx.ErrNotPEM, "CA from the callback"},
		"CA panics":      {tlsctx.Options{CAFunc: func(context.Context) ([]byte, error) { panic("oh") }}, nil, "panicked: oh"},
		"hook panics":    {tlsctx.Options{Configure: func(*tls.Config) { panic("oh") }}, nil, "panicked: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := newContext(t, tt.opts).Config(t.Context(), "host")
			if cfg != nil {
				t.Error("a configuration nevertheless")
			}
			want := tt.want
			if want == nil {
				want = err
			}
			wantMaterialError(t, err, want, tt.word)
		})
	}
}

// The context of the attempt reaches the callbacks.
func TestConfig_context(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("nobody waits")
	cancel(gone)
	waits := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	for _, opts := range []tlsctx.Options{
		{Identity: tlsctx.IdentityFunc(func(ctx context.Context) (*tls.Certificate, error) { return nil, waits(ctx) })},
		{CAFunc: func(ctx context.Context) ([]byte, error) { return nil, waits(ctx) }},
	} {
		if _, err := newContext(t, opts).Config(ctx, "host"); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	}
}

func TestNewCertificate_leafFirst(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root")
	ca := root.authority(t, "intermediate")
	device := ca.client(t, "device", "Ed25519")
	cert, err := tlsctx.NewCertificate("token", []*x509.Certificate{root.cert, ca.cert, device.cert}, device.key)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]byte{device.cert.Raw, root.cert.Raw, ca.cert.Raw}
	if !slices.EqualFunc(cert.Certificate, want, slices.Equal) || cert.Leaf != device.cert {
		t.Error("wrong order")
	}
	_, err = tlsctx.NewCertificate("token", nil, device.key)
	wantMaterialError(t, err, tlsctx.ErrNoCertificate, "token")
}
