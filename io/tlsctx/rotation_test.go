// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// peer returns the certificate that the server saw.
func peer(t *testing.T, c *tlsctx.Context, s *server) *x509.Certificate {
	t.Helper()
	if _, err := connect(t, c, s.address); err != nil {
		t.Fatal(err)
	}
	return (<-s.states).PeerCertificates[0]
}

// Certificate and key are replaced between the attempts of one Context.
// Sessions are resumed before and after, but not across: the server would go on
// seeing the old certificate.
func TestRotation_certificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, source := range []string{"FromPath", "FromPKCS12", "IdentityFunc"} {
			t.Run(tls.VersionName(version)+" "+source, func(t *testing.T) {
				t.Parallel()
				s := startServer(t, &tls.Config{
					Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")},
					ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
				})
				dir := t.TempDir()
				put := func(l leaf) {
					l.files(t, dir)
					writeFile(t, filepath.Join(dir, "device.p12"), must[[]byte](t)(gopkcs12.Modern.Encode(l.key, l.cert, nil, "secret")))
				}
				device := []leaf{ca.client(t, "first", "P-256"), ca.client(t, "second", "P-256"), ca.client(t, "third", "RSA-2048")}
				put(device[0])
				files := tlsctx.FromPath(filepath.Join(dir, "device.pem.crt"), filepath.Join(dir, "private.pem.key"))
				id := map[string]tlsctx.Identity{
					"FromPath":     files,
					"FromPKCS12":   tlsctx.FromPKCS12(filepath.Join(dir, "device.p12"), "secret"),
					"IdentityFunc": tlsctx.IdentityFunc(files.Certificate),
				}[source]
				c := newContext(t, tlsctx.Options{Identity: id, CAPEM: ca.pem(), MinVersion: version, MaxVersion: version})
				for _, want := range device {
					put(want)
					for attempt := range 2 {
						state, err := connect(t, c, s.address)
						if err != nil {
							t.Fatal(err)
						}
						if resumed := attempt > 0; state.DidResume != resumed {
							t.Errorf("%v, attempt %d: resumed is %v", want.cert.Subject, attempt, state.DidResume)
						}
						if got := (<-s.states).PeerCertificates[0]; !got.Equal(want.cert) {
							t.Errorf("the server saw %v, want %v", got.Subject, want.cert.Subject)
						}
					}
				}
			})
		}
	}
}

// While only one of two files has been replaced, attempts fail and say why;
// then they work again.
func TestRotation_halfWay(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	s := startServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
	})
	old, next := ca.client(t, "old", "P-256"), ca.client(t, "next", "P-256")
	dir := t.TempDir()
	certFile, keyFile := old.files(t, dir)
	c := newContext(t, tlsctx.Options{Identity: tlsctx.FromPath(certFile, keyFile), CAPEM: ca.pem()})
	if got := peer(t, c, s); !got.Equal(old.cert) {
		t.Errorf("saw %v", got.Subject)
	}
	writeFile(t, certFile, next.certPEM())
	_, err := connect(t, c, s.address)
	wantMaterialError(t, err, tlsctx.ErrKeyMismatch, certFile, keyFile, "CN=next")
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	_, err = connect(t, c, s.address)
	wantMaterialError(t, err, os.ErrNotExist, keyFile)
	writeFile(t, keyFile, next.keyPEM(t))
	if got := peer(t, c, s); !got.Equal(next.cert) {
		t.Errorf("saw %v", got.Subject)
	}
}

// The server changes its CA and the client's CA file follows.
func TestRotation_authorities(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t, "first CA"), newAuthority(t, "second CA")
	for _, source := range []string{"CAFile", "CADir", "CAFunc"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			current := first
			s := startServer(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				cert := current.server(t, "127.0.0.1")
				return &cert, nil
			}})
			dir := t.TempDir()
			file := writeFile(t, filepath.Join(dir, "ca.pem"), first.pem())
			opts := map[string]tlsctx.Options{
				"CAFile": {CAFile: file},
				"CADir":  {CADir: dir},
				"CAFunc": {CAFunc: func(context.Context) ([]byte, error) { return os.ReadFile(file) }},
			}[source]
			c := newContext(t, opts)
			for attempt := range 2 {
				state, err := connect(t, c, s.address)
				if err != nil || state.DidResume != (attempt > 0) {
					t.Fatalf("attempt %d: resumed %v, %v", attempt, state.DidResume, err)
				}
				<-s.states
			}

			current = second
			if source == "CADir" {
				writeFile(t, filepath.Join(dir, "ca2.pem"), second.pem())
			} else {
				writeFile(t, file, append(first.pem(), second.pem()...))
			}
			for attempt := range 2 {
				state, err := connect(t, c, s.address)
				if err != nil || state.DidResume != (attempt > 0) {
					t.Fatalf("attempt %d after the change: resumed %v, %v", attempt, state.DidResume, err)
				}
				<-s.states
			}

			// The second CA is withdrawn: a session from its time must not get
			// the server in.
			if source == "CADir" {
				os.Remove(filepath.Join(dir, "ca2.pem"))
			} else {
				writeFile(t, file, first.pem())
			}
			_, err := connect(t, c, s.address)
			if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A file that was written again with the same content, or only touched, ends no sessions.
func TestRotation_sameContent(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	s := startServer(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert})
	device := ca.client(t, "device", "P-256")
	dir := t.TempDir()
	certFile, keyFile := device.files(t, dir)
	caFile := writeFile(t, filepath.Join(dir, "ca.pem"), ca.pem())
	c := newContext(t, tlsctx.Options{Identity: tlsctx.FromPath(certFile, keyFile), CAFile: caFile})
	for attempt := range 3 {
		state, err := connect(t, c, s.address)
		if err != nil || state.DidResume != (attempt > 0) {
			t.Fatalf("attempt %d: resumed %v, %v", attempt, state.DidResume, err)
		}
		device.files(t, dir)
		writeFile(t, caFile, ca.pem())
	}
}

// Two writes within the resolution of the file system's clock leave size and
// time as they were.
func TestRotation_sameStamp(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "CA")
	dir := t.TempDir()
	first := ca.client(t, "a", "Ed25519")
	second := ca.client(t, "b", "Ed25519")
	// Text after the block makes the sizes equal.
	pad := func(l leaf) []byte { return append(l.certPEM(), bytes.Repeat([]byte{'\n'}, 2000-len(l.certPEM()))...) }
	certFile := writeFile(t, filepath.Join(dir, "crt"), pad(first))
	keyFile := writeFile(t, filepath.Join(dir, "key"), first.keyPEM(t))
	// A time to come: a file whose time lies back for some seconds is trusted to
	// have been written once, and this test may take that long.
	now := time.Now().Add(time.Hour)
	put := func(name string, data []byte) {
		t.Helper()
		// In place: the file stays the same one.
		if err := errors.Join(os.WriteFile(name, data, 0o600), os.Chtimes(name, now, now)); err != nil {
			t.Fatal(err)
		}
	}
	put(certFile, pad(first))
	put(keyFile, first.keyPEM(t))
	id := tlsctx.FromPath(certFile, keyFile)
	if got := must[*tls.Certificate](t)(id.Certificate(t.Context())); !got.Leaf.Equal(first.cert) {
		t.Fatal("not the first")
	}
	put(certFile, pad(second))
	put(keyFile, second.keyPEM(t))
	if got := must[*tls.Certificate](t)(id.Certificate(t.Context())); !got.Leaf.Equal(second.cert) {
		t.Error("the second was not noticed")
	}
}

// What did not change is not parsed again.
func TestFromPath_parsesOnce(t *testing.T) {
	t.Parallel()
	certFile, keyFile := newAuthority(t, "CA").client(t, "device", "P-256").files(t, t.TempDir())
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{certFile, keyFile} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	id := tlsctx.FromPath(certFile, keyFile)
	first := must[*tls.Certificate](t)(id.Certificate(t.Context()))
	if second := must[*tls.Certificate](t)(id.Certificate(t.Context())); first != second {
		t.Error("parsed twice")
	}
	touched := old.Add(time.Minute)
	if err := os.Chtimes(certFile, touched, touched); err != nil {
		t.Fatal(err)
	}
	if third := must[*tls.Certificate](t)(id.Certificate(t.Context())); first == third {
		t.Error("not parsed again")
	}
}
