// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority is a CA made for a test.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	template := certificateTemplate("CA of a test")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert = issue(t, template, template, key.Public(), key)
	return a
}

func certificateTemplate(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		DNSNames:     []string{"server.test"},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func issue(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// client issues a certificate for a public key.
func (a *authority) client(t testing.TB, name string, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	return issue(t, certificateTemplate(name), a.cert, public, a.key)
}

// intermediate issues a CA.
func (a *authority) intermediate(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := certificateTemplate("intermediate CA of a test")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	return &authority{cert: issue(t, template, a.cert, key.Public(), a.key), key: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func toPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// serverConfig is that of a server that wants client certificates of the authority.
func (a *authority) serverConfig(t testing.TB, version uint16) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := issue(t, certificateTemplate("server"), a.cert, key.Public(), a.key)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    a.pool(),
		MinVersion:   version,
		MaxVersion:   version,
	}
}

func (a *authority) clientConfig(get func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{RootCAs: a.pool(), ServerName: "server.test", GetClientCertificate: get}
}

// handshake connects a client to a server and returns the client's certificate
// as the server has seen it.
func handshake(server, client *tls.Config) (*x509.Certificate, error) {
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	type result struct {
		cert *x509.Certificate
		err  error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { _ = b.Close() }()
		conn := tls.Server(b, server)
		if err := conn.Handshake(); err != nil {
			done <- result{err: fmt.Errorf("server: %w", err)}
			return
		}
		_, err := conn.Write([]byte("x"))
		done <- result{cert: conn.ConnectionState().PeerCertificates[0], err: err}
	}()
	conn := tls.Client(a, client)
	_, err := io.ReadFull(conn, make([]byte, 1))
	_ = a.Close()
	r := <-done
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return r.cert, r.err
}
