// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

var tlsVersions = []uint16{tls.VersionTLS12, tls.VersionTLS13}

// certifyKey issues a certificate for a key that stays where it is.
func (a *authority) certifyKey(t *testing.T, name string, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, public, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// secureBroker is a broker that wants client certificates.
type secureBroker struct {
	*broker
	address string // by the name of its certificate
	ca      []byte
	below   layer // leads to the address
	resumes bool  // TLS sessions; the core looks at the certificate each time
	// certify makes a certificate in PEM that the broker accepts.
	certify func(t *testing.T, name string, public crypto.PublicKey) []byte
	// seen returns the certificate's name and the TLS version of a connected
	// client, as far as the broker reports that.
	seen func(clientID string) (name string, version uint16, ok bool)
}

// issue makes a key, and a certificate that the broker accepts, both in PEM.
func (s *secureBroker) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return s.certify(t, name, k.Public()), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// files makes what issue does, in files.
func (s *secureBroker) files(t *testing.T, name string) (cert, key string) {
	t.Helper()
	c, k := s.issue(t, name)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	replaceFile(t, cert, c)
	replaceFile(t, key, k)
	return cert, key
}

// secureBrokers starts the brokers.
func secureBrokers(t *testing.T) []*secureBroker {
	t.Helper()
	c, m := startCore(t), startMosquitto(t)
	clients := newAuthority(t)
	core := &secureBroker{broker: &c.broker, address: c.Endpoint() + ":8883", ca: c.CAPEM(), below: goTo(c.MTLSAddr())}
	core.certify = func(t *testing.T, name string, public crypto.PublicKey) []byte {
		t.Helper()
		cert := clients.certifyKey(t, name, public)
		if _, err := c.RegisterCertificate(name, cert); err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	core.seen = func(clientID string) (string, uint16, bool) {
		info, ok := c.Clients()[clientID]
		return info.Thing, info.TLSVersion, ok
	}
	other := &secureBroker{broker: &m.broker, address: m.mtls, ca: m.authority.pem, resumes: true}
	other.certify = func(t *testing.T, name string, public crypto.PublicKey) []byte {
		t.Helper()
		cert := m.authority.certifyKey(t, name, public)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	other.seen = func(string) (string, uint16, bool) { return "", 0, false }
	return []*secureBroker{core, other}
}

// handshakes is a layer of TLS that notes how each connection came about.
type handshakes struct {
	mu     sync.Mutex
	states []tls.ConnectionState
}

func (h *handshakes) layer(o tlsctx.Options) layer {
	o.HandshakeTimeout = patience
	return func(t *testing.T, below dialFunc) dialFunc {
		t.Helper()
		c, err := tlsctx.New(o)
		if err != nil {
			t.Fatal(err)
		}
		d := &tlsctx.Dialer{Context: c, NetDialer: tlsctx.DialFunc(below)}
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, address)
			if err == nil {
				h.mu.Lock()
				h.states = append(h.states, conn.(*tlsctx.Conn).ConnectionState())
				h.mu.Unlock()
			}
			return conn, err
		}
	}
}

func (h *handshakes) all() []tls.ConnectionState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]tls.ConnectionState(nil), h.states...)
}

// fixture is a case of a broker, whose clients are known by an identity.
func (s *secureBroker) fixture(id tlsctx.Identity, change func(*tlsctx.Options)) (*fixture, *handshakes) {
	o := tlsctx.Options{CAPEM: s.ca, Identity: id}
	if change != nil {
		change(&o)
	}
	h := &handshakes{}
	return newFixture(s.broker, &route{address: s.address, layers: stack(s.below, h.layer(o))}), h
}
