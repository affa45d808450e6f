// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"
)

// What a core keeps in Options.Dir, beside the state of device services.
const (
	bucketCore       = "core"       // identity
	bucketDevices    = "devices"    // by certificate id
	bucketKeys       = "keys"       // access keys by id
	bucketTokenKeys  = "tokenkeys"  // by name
	bucketIdentities = "identities" // Cognito identity to pool
	bucketRetained   = "retained"   // by topic
	bucketSessions   = "sessions"   // by client id
	bucketQueues     = "queues"     // by queueKey
)

// keptIdentity is what makes a core the same after a restart: its endpoint and
// its authorities.
type keptIdentity struct {
	Prefix             string
	RootCert, RootKey  []byte // DER, PKCS#8
	DeviceCert, DevKey []byte
}

// loadIdentity takes the authorities from the folder, or makes and keeps new ones.
func (c *Core) loadIdentity(now time.Time) error {
	var kept keptIdentity
	err := c.state.load(bucketCore, func(key string, raw []byte) error {
		if key != "identity" {
			return nil
		}
		return json.Unmarshal(raw, &kept)
	})
	if err != nil {
		return err
	}
	if kept.Prefix != "" {
		c.prefix = kept.Prefix
		if c.rootCA, err = authorityFrom(kept.RootCert, kept.RootKey); err == nil {
			c.deviceCA, err = authorityFrom(kept.DeviceCert, kept.DevKey)
		}
	} else if c.rootCA, err = newAuthority("iottest root CA", now); err == nil {
		c.deviceCA, err = newAuthority("iottest device CA", now)
	}
	if err == nil && len(c.opts.CA.Certificate) > 0 {
		c.rootCA, err = authorityOf(c.opts.CA)
	}
	if err != nil || c.state == nil {
		return err
	}
	kept = keptIdentity{Prefix: c.prefix, RootCert: c.rootCA.cert.Raw, DeviceCert: c.deviceCA.cert.Raw}
	if kept.DevKey, err = x509.MarshalPKCS8PrivateKey(c.deviceCA.key); err != nil {
		return fmt.Errorf("iottest: encode CA key: %w", err)
	}
	if kept.RootKey, err = x509.MarshalPKCS8PrivateKey(c.rootCA.key); err != nil {
		if len(c.opts.CA.Certificate) == 0 {
			return fmt.Errorf("iottest: encode CA key: %w", err)
		}
		// A key that cannot be encoded is given anew at each start.
		kept.RootCert, kept.RootKey = kept.DeviceCert, kept.DevKey
	}
	c.state.put(bucketCore, "identity", kept)
	return nil
}

func authorityFrom(cert, key []byte) (*authority, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("iottest: stored CA key: %w", err)
	}
	return authorityOf(tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: parsed})
}

// authorityOf checks a certificate authority from outside.
func authorityOf(ca tls.Certificate) (*authority, error) {
	cert, err := x509.ParseCertificate(ca.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("iottest: CA certificate: %w", err)
	}
	key, ok := ca.PrivateKey.(crypto.Signer)
	if !ok || !cert.IsCA {
		return nil, fmt.Errorf("iottest: Options.CA needs the certificate of an authority and its private key")
	}
	if pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return nil, fmt.Errorf("iottest: Options.CA: the key does not belong to the certificate")
	}
	return &authority{cert: cert, key: key, pem: certPEM(cert.Raw)}, nil
}

type keptDevice struct {
	Name      string
	Cert, Key []byte `json:",omitempty"`
	Status    CertificateStatus
	Policies  []string
	Thing     Thing
}

// keepDevice is called after each change of a device. c.mu is held.
func (c *Core) keepDevice(d *Device) {
	if c.state == nil || c.devices[d.id] != d {
		return
	}
	kept := keptDevice{Name: d.name, Cert: d.cert.Raw, Status: d.status, Policies: documents(d.policies), Thing: d.thing}
	if d.key != nil {
		kept.Key, _ = x509.MarshalPKCS8PrivateKey(d.key) // fails for keys of tokens only, which are not here
	}
	c.state.put(bucketDevices, d.id, kept)
}

// addDevice registers a device, or one that has changed. c.mu is held.
func (c *Core) addDevice(d *Device) {
	c.devices[d.id] = d
	c.keepDevice(d)
}

// removeDevice forgets a device. c.mu is held.
func (c *Core) removeDevice(d *Device) {
	delete(c.devices, d.id)
	c.state.remove(bucketDevices, d.id)
}

func (c *Core) loadDevice(id string, raw []byte) error {
	var kept keptDevice
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	d := &Device{core: c, name: kept.Name, id: id, status: kept.Status, thing: kept.Thing}
	var err error
	if d.cert, err = x509.ParseCertificate(kept.Cert); err != nil {
		return err
	}
	if len(kept.Key) > 0 {
		key, err := x509.ParsePKCS8PrivateKey(kept.Key)
		if err != nil {
			return err
		}
		d.key, _ = key.(crypto.Signer)
	}
	if d.policies, err = parsePolicies(kept.Policies); err != nil {
		return err
	}
	c.devices[id] = d
	return nil
}

func documents(policies []*Policy) []string {
	var out []string
	for _, p := range policies {
		out = append(out, p.document)
	}
	return out
}

func parsePolicies(documents []string) ([]*Policy, error) {
	var out []*Policy
	for _, doc := range documents {
		p, err := ParsePolicy(doc)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

type keptKey struct {
	SecretAccessKey, SessionToken string
	Expires                       time.Time
	Policies                      []string
}

// addKey makes an access key known. c.mu is held.
func (c *Core) addKey(k *AccessKey) {
	c.keys[k.AccessKeyID] = k
	c.state.put(bucketKeys, k.AccessKeyID, keptKey{k.SecretAccessKey, k.SessionToken, k.Expires, documents(k.policies)})
	c.expireKey(k)
}

// expireKey forgets a temporary key a day after its end; until then there is a
// better answer than "unknown".
func (c *Core) expireKey(k *AccessKey) {
	if !k.Expires.IsZero() {
		c.alarmAt(k.Expires.Add(24*time.Hour), func() { c.removeKey(k.AccessKeyID) })
	}
}

func (c *Core) removeKey(id string) {
	delete(c.keys, id)
	c.state.remove(bucketKeys, id)
}

func (c *Core) loadKey(id string, raw []byte) error {
	var kept keptKey
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	policies, err := parsePolicies(kept.Policies)
	if err != nil {
		return err
	}
	k := &AccessKey{AccessKeyID: id, SecretAccessKey: kept.SecretAccessKey, SessionToken: kept.SessionToken, Expires: kept.Expires, policies: policies}
	c.keys[id] = k
	c.expireKey(k)
	return nil
}

// TokenKey returns the RSA key of a name, for the tokens of a custom
// authorizer: the same one after a restart with the same [Options.Dir], a new
// one otherwise. Its public half is for [Authorizer.PublicKey].
func (c *Core) TokenKey(name string) (*rsa.PrivateKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key := c.tokenKeys[name]; key != nil {
		return key, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("iottest: generate token key: %w", err)
	}
	c.tokenKeys[name] = key
	c.state.put(bucketTokenKeys, name, x509.MarshalPKCS1PrivateKey(key))
	return key, nil
}

func (c *Core) loadTokenKey(name string, raw []byte) error {
	var der []byte
	err := json.Unmarshal(raw, &der)
	if err == nil {
		c.tokenKeys[name], err = x509.ParsePKCS1PrivateKey(der)
	}
	return err
}

// restore takes everything but the identity from the folder, before there are
// connections.
func (c *Core) restore() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range []struct {
		bucket string
		load   func(key string, raw []byte) error
	}{
		{bucketDevices, c.loadDevice},
		{bucketKeys, c.loadKey},
		{bucketTokenKeys, c.loadTokenKey},
		{bucketIdentities, func(id string, raw []byte) error {
			var pool string
			err := json.Unmarshal(raw, &pool)
			c.identities[id] = pool
			return err
		}},
		{bucketRetained, c.loadRetained},
		{bucketSessions, c.loadSession},
		{bucketQueues, c.loadDelivery}, // after the sessions
	} {
		if err := c.state.load(b.bucket, b.load); err != nil {
			return err
		}
	}
	return nil
}
