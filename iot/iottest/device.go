// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// CertificateStatus is the state of a registered certificate.
type CertificateStatus int

// States of a certificate. Only an active one may connect.
const (
	Active CertificateStatus = iota
	Inactive
	Revoked
	PendingActivation
)

// String gives the name the service uses.
func (s CertificateStatus) String() string {
	switch s {
	case Active:
		return "ACTIVE"
	case Inactive:
		return "INACTIVE"
	case Revoked:
		return "REVOKED"
	case PendingActivation:
		return "PENDING_ACTIVATION"
	}
	return fmt.Sprintf("CertificateStatus(%d)", int(s))
}

// Device is a thing with a registered certificate. Its methods may be used from
// any goroutine.
type Device struct {
	core *Core
	name string
	id   string
	cert *x509.Certificate
	key  crypto.Signer // nil when the key is held elsewhere

	// guarded by core.mu
	status   CertificateStatus
	policies []*Policy
	thing    Thing
}

// Thing is the state of a thing besides its name, see [WithThing].
type Thing struct {
	// Type is the name of its thing type, for the policy variable
	// iot:Connection.Thing.ThingTypeName.
	Type string
	// Attributes are for the policy variables iot:Connection.Thing.Attributes[name].
	Attributes map[string]string
	// Exclusive attaches the certificate to this thing alone. Presence messages
	// then name the thing.
	Exclusive bool
}

type deviceConfig struct {
	rsaBits             int
	public              crypto.PublicKey
	notBefore, notAfter time.Time
	status              CertificateStatus
	policies            []string
	unregistered        bool
	thing               Thing
}

// DeviceOption changes how [Core.CreateDevice] makes a device.
type DeviceOption func(*deviceConfig)

// WithRSA gives the device an RSA key of 2048 bits. The default is ECDSA on
// P-256, which is much faster to make.
func WithRSA() DeviceOption { return func(c *deviceConfig) { c.rsaBits = 2048 } }

// WithPublicKey issues the certificate for a key that is held elsewhere, such
// as in a hardware token. The device then has no private key: [Device.KeyPEM]
// is nil.
func WithPublicKey(pub crypto.PublicKey) DeviceOption {
	return func(c *deviceConfig) { c.public = pub }
}

// WithValidity sets the period in which the certificate is valid. The default
// is from yesterday, for a year.
func WithValidity(notBefore, notAfter time.Time) DeviceOption {
	return func(c *deviceConfig) { c.notBefore, c.notAfter = notBefore, notAfter }
}

// WithStatus registers the certificate in another state than [Active].
func WithStatus(s CertificateStatus) DeviceOption { return func(c *deviceConfig) { c.status = s } }

// WithPolicy attaches an AWS IoT policy, given as its JSON document, and may be
// repeated. A device without any policy may do everything, unlike in AWS, where
// it may do nothing: attach [DenyAllPolicy] for that.
func WithPolicy(document string) DeviceOption {
	return func(c *deviceConfig) { c.policies = append(c.policies, document) }
}

// WithThing describes the thing.
func WithThing(t Thing) DeviceOption {
	t.Attributes = maps.Clone(t.Attributes)
	return func(c *deviceConfig) { c.thing = t }
}

// Unregistered issues the certificate but does not register it, so that the
// service does not know it.
func Unregistered() DeviceOption { return func(c *deviceConfig) { c.unregistered = true } }

// CreateDevice makes a thing with the given name and issues and registers a
// certificate for it.
func (c *Core) CreateDevice(name string, opts ...DeviceOption) (*Device, error) {
	if name == "" {
		return nil, errors.New("iottest: a device needs a name")
	}
	now := c.now()
	cfg := deviceConfig{notBefore: now.Add(-24 * time.Hour), notAfter: now.Add(365 * 24 * time.Hour)}
	for _, o := range opts {
		o(&cfg)
	}
	d := &Device{core: c, name: name, status: cfg.status, thing: cfg.thing}
	for _, doc := range cfg.policies {
		p, err := ParsePolicy(doc)
		if err != nil {
			return nil, err
		}
		d.policies = append(d.policies, p)
	}
	pub := cfg.public
	if pub == nil {
		var err error
		if cfg.rsaBits > 0 {
			d.key, err = rsa.GenerateKey(rand.Reader, cfg.rsaBits)
		} else {
			d.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			return nil, fmt.Errorf("iottest: generate device key: %w", err)
		}
		pub = d.key.Public()
	}
	cert, err := c.deviceCA.deviceCertificate(name, pub, cfg.notBefore, cfg.notAfter)
	if err != nil {
		return nil, err
	}
	d.cert, d.id = cert, certificateID(cert)
	if !cfg.unregistered {
		c.mu.Lock()
		c.addDevice(d)
		c.mu.Unlock()
	}
	return d, nil
}

// Device is [Core.CreateDevice] for tests: it ends the test when it fails.
func (c *Core) Device(tb TB, name string, opts ...DeviceOption) *Device {
	tb.Helper()
	d, err := c.CreateDevice(name, opts...)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return d
}

// RegisterCertificate registers a certificate that was issued by someone else,
// as AWS IoT Core allows, for a thing of the given name. Of the options only
// [WithStatus], [WithPolicy] and [WithThing]
// matter.
func (c *Core) RegisterCertificate(name string, cert *x509.Certificate, opts ...DeviceOption) (*Device, error) {
	if cert == nil {
		return nil, errors.New("iottest: no certificate to register")
	}
	var cfg deviceConfig
	for _, o := range opts {
		o(&cfg)
	}
	d := &Device{core: c, name: name, cert: cert, id: certificateID(cert), status: cfg.status, thing: cfg.thing}
	for _, doc := range cfg.policies {
		p, err := ParsePolicy(doc)
		if err != nil {
			return nil, err
		}
		d.policies = append(d.policies, p)
	}
	c.mu.Lock()
	c.addDevice(d)
	c.mu.Unlock()
	return d, nil
}

// Name is the name of the thing.
func (d *Device) Name() string { return d.name }

// CertificateID is the service's id of the certificate: its SHA-256 in hexadecimal.
func (d *Device) CertificateID() string { return d.id }

// X509 is the certificate.
func (d *Device) X509() *x509.Certificate { return d.cert }

// PrivateKey is the device's key, nil when it is held elsewhere.
func (d *Device) PrivateKey() crypto.Signer { return d.key }

// CertPEM is the certificate in PEM.
func (d *Device) CertPEM() []byte { return certPEM(d.cert.Raw) }

// KeyPEM is the private key in PEM, in the form the service issues: PKCS#1 for
// RSA, SEC 1 for ECDSA. It is nil when the key is held elsewhere.
func (d *Device) KeyPEM() []byte {
	switch k := d.key.(type) {
	case *rsa.PrivateKey:
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(k)
		if err != nil {
			return nil
		}
		return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	}
	return nil
}

// KeyPKCS8PEM is the private key in PEM as PKCS#8, nil when the key is held elsewhere.
func (d *Device) KeyPKCS8PEM() []byte {
	if d.key == nil {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(d.key)
	if err != nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// TLSCertificate is certificate and key for crypto/tls.
func (d *Device) TLSCertificate() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{d.cert.Raw}, PrivateKey: d.key, Leaf: d.cert}
}

// TLSConfig is a client configuration for this device: its certificate, the
// core's CA and the given ALPN protocols. ServerName is the core's endpoint.
func (d *Device) TLSConfig(alpn ...string) *tls.Config {
	cfg := d.core.TLSConfig(alpn...)
	cfg.Certificates = []tls.Certificate{d.TLSCertificate()}
	return cfg
}

// Files are the paths [Device.WriteFiles] wrote.
type Files struct {
	Cert string // device certificate, PEM
	Key  string // private key, PEM; empty when the key is held elsewhere
	CA   string // the core's root CA, PEM
}

// WriteFiles writes certificate, private key and the root CA to a folder, under
// the names the service's console gives them, the key readable by its owner
// only. The folder is made if need be.
func (d *Device) WriteFiles(dir string) (Files, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Files{}, fmt.Errorf("iottest: %w", err)
	}
	base := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || r < ' ' {
			return '_'
		}
		return r
	}, d.name)
	f := Files{
		Cert: filepath.Join(dir, base+".cert.pem"),
		CA:   filepath.Join(dir, "AmazonRootCA1.pem"),
	}
	if err := os.WriteFile(f.Cert, d.CertPEM(), 0o644); err != nil {
		return Files{}, fmt.Errorf("iottest: %w", err)
	}
	if err := os.WriteFile(f.CA, d.core.CAPEM(), 0o644); err != nil {
		return Files{}, fmt.Errorf("iottest: %w", err)
	}
	if key := d.KeyPEM(); key != nil {
		f.Key = filepath.Join(dir, base+".private.key")
		if err := os.WriteFile(f.Key, key, 0o600); err != nil {
			return Files{}, fmt.Errorf("iottest: %w", err)
		}
	}
	return f, nil
}

// SetStatus changes the state of the certificate. Unless it is [Active],
// connections with the certificate end. The service needs minutes for that.
func (d *Device) SetStatus(s CertificateStatus) {
	d.core.mu.Lock()
	defer d.core.mu.Unlock()
	d.status = s
	d.core.keepDevice(d)
	if s != Active {
		d.disconnect("the certificate is " + s.String())
	}
}

// disconnect ends the connections that use the certificate. core.mu is held.
func (d *Device) disconnect(why string) {
	for cl := range d.core.clients {
		if cl.session != nil && cl.principal.device == d {
			cl.endLocked(NotAuthorized, why, ReasonAuthError)
		}
	}
}

// SetPolicies replaces the policies of the device, given as JSON documents;
// none means that everything is allowed. It takes effect at once, for
// connections that exist too.
func (d *Device) SetPolicies(documents ...string) error {
	policies := make([]*Policy, 0, len(documents))
	for _, doc := range documents {
		p, err := ParsePolicy(doc)
		if err != nil {
			return err
		}
		policies = append(policies, p)
	}
	d.core.mu.Lock()
	defer d.core.mu.Unlock()
	d.policies = policies
	d.core.keepDevice(d)
	return nil
}

// Errors of client certificates, as [Event.Err]. The first two make the TLS
// handshake fail ([HandshakeFailed]), the third makes the core close the
// connection without an answer to CONNECT ([ConnectRefused]).
var (
	ErrUnknownCertificate  = errors.New("iottest: certificate is not registered")
	ErrCertificateExpired  = errors.New("iottest: certificate is not valid at this time")
	ErrCertificateInactive = errors.New("iottest: certificate is not active")
)

// Deregister makes the core forget the certificate. Connections with it end.
func (d *Device) Deregister() {
	d.core.mu.Lock()
	defer d.core.mu.Unlock()
	d.core.removeDevice(d)
	d.disconnect("the certificate is no longer registered")
}

// verifyDevice is the check during the TLS handshake. An inactive certificate
// passes here: the service closes such a connection when CONNECT arrives.
func (c *Core) verifyDevice(cert *x509.Certificate) error {
	if c.opts.LateCertificateErrors {
		return nil
	}
	_, err := c.deviceFor(cert)
	if errors.Is(err, ErrUnknownCertificate) && c.mayRegister(cert) {
		return nil
	}
	return err
}

// deviceFor finds the device of a certificate whose key the client was proved to hold.
func (c *Core) deviceFor(cert *x509.Certificate) (*Device, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.devices[certificateID(cert)]
	if d == nil {
		return nil, ErrUnknownCertificate
	}
	if now := c.nowLocked(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, ErrCertificateExpired
	}
	return d, nil
}
