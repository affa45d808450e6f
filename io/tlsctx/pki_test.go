// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// keyKinds are the kinds of keys that a client may have.
var keyKinds = []string{"RSA-2048", "P-256", "P-384", "P-521", "Ed25519"}

// rsaKey is shared because making one is slow.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "RSA-2048":
		return rsaKey()
	case "P-224":
		key, err = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("unknown kind of key %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// authority is a CA made for a test.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	return (*authority)(nil).authority(t, name)
}

// authority issues a CA; the nil authority issues roots.
func (a *authority) authority(t testing.TB, name string) *authority {
	t.Helper()
	template := template(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	key := newKey(t, "P-256")
	return &authority{cert: a.sign(t, template, key), key: key}
}

func (a *authority) sign(t testing.TB, template *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	parent, parentKey := template, key
	if a != nil {
		parent, parentKey = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// template is valid from an hour ago to an hour from now, whatever the
// certificate is for.
func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

// leaf is a certificate with its key.
type leaf struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (a *authority) client(t testing.TB, name, kind string) leaf {
	t.Helper()
	key := newKey(t, kind)
	return leaf{cert: a.sign(t, template(name), key), key: key}
}

func (a *authority) server(t testing.TB, host string) tls.Certificate {
	t.Helper()
	template := template(host)
	template.DNSNames = []string{host}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	key := newKey(t, "P-256")
	cert := a.sign(t, template, key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) pem() []byte { return certPEM(a.cert) }

func certPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func (l leaf) certPEM() []byte { return certPEM(l.cert) }

func (l leaf) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(l.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// writeFile puts a file into place by renaming it, as a careful rotation does.
func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// files writes the certificate and the key of a client.
func (l leaf) files(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	return writeFile(t, filepath.Join(dir, "device.pem.crt"), l.certPEM()),
		writeFile(t, filepath.Join(dir, "private.pem.key"), l.keyPEM(t))
}

// server is a TLS server on loopback that answers each connection with one byte.
type server struct {
	address string
	states  chan tls.ConnectionState // one per completed handshake
	errs    chan error               // one per failed handshake
}

func startServer(t testing.TB, cfg *tls.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: l.Addr().String(), states: make(chan tls.ConnectionState, 64), errs: make(chan error, 64)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(conn, cfg) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return s
}

func (s *server) serve(conn net.Conn, cfg *tls.Config) {
	defer conn.Close()
	tc := tls.Server(conn, cfg)
	if err := tc.Handshake(); err != nil {
		s.errs <- err
		return
	}
	s.states <- tc.ConnectionState()
	tc.Write([]byte{'!'})
	// The client hangs up; only then is it sure to have read the byte and, in
	// TLS 1.3, the tickets before it.
	tc.Read(make([]byte, 1))
}

func dialTCP(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
