// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// This file is just-in-time registration and provisioning: a device with a
// certificate of a registered CA gets in without being registered before, but
// not at its first attempt.

// ErrJustInTime is why the first connection of such a device is closed without
// an answer to CONNECT.
var ErrJustInTime = errors.New("iottest: the certificate is being registered just in time")

// RegisteredCA is a certificate authority whose certificates are registered
// when they are used first.
type RegisteredCA struct {
	// Certificate is the certificate of the CA; nil is the CA that signs the
	// devices of this core, so that devices made with [Unregistered] are
	// registered just in time.
	Certificate *x509.Certificate
	// Template makes things of the devices (just-in-time provisioning).
	// Parameters of its ThingName are those of the certificate, such as
	// ${AWS::IoT::Certificate::CommonName}. Without a template certificates
	// stay [PendingActivation] until [Device.SetStatus], and a message on
	// $aws/events/certificates/registered/<CA> says so (just-in-time
	// registration).
	Template string
	// Delay is how long provisioning takes, on the core's clock. The first
	// connection fails even without one.
	Delay time.Duration
}

// RegisterCA registers a certificate authority.
func (c *Core) RegisterCA(ca RegisteredCA) error {
	if ca.Certificate == nil {
		ca.Certificate = c.deviceCA.cert
	}
	if !ca.Certificate.IsCA {
		return errors.New("iottest: the certificate is not one of a CA")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ca.Template != "" && c.device.templates[ca.Template] == nil {
		return fmt.Errorf("iottest: no such provisioning template: %s", ca.Template)
	}
	id := certificateID(ca.Certificate)
	c.device.authorities[id] = &ca
	c.state.put(bucketAuthorities, id, keptAuthority{ca.Certificate.Raw, ca.Template, ca.Delay})
	return nil
}

const bucketAuthorities = "authorities"

type keptAuthority struct {
	Certificate []byte
	Template    string
	Delay       time.Duration
}

// loadAuthorities restores the registered authorities of the last run.
func (c *Core) loadAuthorities() error {
	return c.state.load(bucketAuthorities, func(id string, raw []byte) error {
		var kept keptAuthority
		if err := json.Unmarshal(raw, &kept); err != nil {
			return err
		}
		cert, err := x509.ParseCertificate(kept.Certificate)
		if err != nil {
			return err
		}
		c.device.authorities[id] = &RegisteredCA{Certificate: cert, Template: kept.Template, Delay: kept.Delay}
		return nil
	})
}

// authorityOf finds the registered CA of a certificate that is valid now, nil
// if there is none. c.mu is held.
func (c *Core) authorityOf(cert *x509.Certificate) *RegisteredCA {
	if now := c.nowLocked(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil
	}
	for _, ca := range c.device.authorities {
		if cert.CheckSignatureFrom(ca.Certificate) == nil {
			return ca
		}
	}
	return nil
}

// mayRegister reports whether a certificate that is not registered may get as
// far as CONNECT.
func (c *Core) mayRegister(cert *x509.Certificate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authorityOf(cert) != nil
}

// registerJustInTime registers the certificate of a device that connects for
// the first time, if it has a registered CA.
func (c *Core) registerJustInTime(cert *x509.Certificate) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ca, id := c.authorityOf(cert), certificateID(cert)
	if ca == nil || c.devices[id] != nil {
		return false
	}
	d := &Device{core: c, name: cert.Subject.CommonName, id: id, cert: cert, status: PendingActivation}
	c.addDevice(d)
	c.emitCertificate(d)
	if ca.Template == "" {
		caID := certificateID(ca.Certificate)
		now := c.nowLocked().UnixMilli()
		c.route(&Message{Topic: "$aws/events/certificates/registered/" + caID, QoS: 1, Payload: encodeJSON(map[string]any{
			"certificateId": id, "caCertificateId": caID, "timestamp": now, "certificateStatus": PendingActivation.String(),
			"awsAccountId": c.opts.AccountID, "certificateRegistrationTimestamp": now,
		})}, nil)
		return true
	}
	c.alarmIn(ca.Delay, func() { c.provisionJustInTime(ca.Template, d) })
	c.runAlarms()
	return true
}

// provisionJustInTime makes a thing of a device that is pending, as the
// template says now. c.mu is held.
func (c *Core) provisionJustInTime(template string, d *Device) {
	t := c.device.templates[template]
	if t == nil || t.Disabled || c.devices[d.id] != d {
		return
	}
	if _, err := c.provisionDevice(t, d, map[string]string{}); err != nil {
		c.emitService(ServiceChanged, &ServiceEvent{Service: ServiceProvisioning, Key: d.id, Status: d.status.String()}, err, nil)
	}
}
