// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// principal is who a connection acts for, and what it may do.
type principal struct {
	kind        string // "x509", "sigv4", "custom", "none"
	device      *Device
	policies    []*Policy // nil: everything is allowed
	accessKeyID string
	authorizer  string
	principalID string
	lifetime    time.Duration // of the connection; 0: no limit
	sourceIP    string
}

func (p *principal) thing() string {
	if p.device == nil {
		return ""
	}
	return p.device.name
}

// identifier is the principal identifier of presence messages.
func (p *principal) identifier() string {
	switch {
	case p.device != nil:
		return p.device.id
	case p.accessKeyID != "":
		return p.accessKeyID
	}
	return p.principalID
}

// allowed evaluates the policies. core.mu is held.
func (p *principal) allowed(c *Core, clientID, action, resource string) bool {
	return p.allowedWith(c, clientID, action, resource, nil)
}

func (p *principal) allowedWith(c *Core, clientID, action, resource string, more policyContext) bool {
	// With certificate and custom authorizer together both must agree.
	if d := p.device; d != nil && len(d.policies) > 0 && !p.evaluate(c, d.policies, clientID, action, resource, more) {
		return false
	}
	return p.policies == nil || p.evaluate(c, p.policies, clientID, action, resource, more)
}

func (p *principal) evaluate(c *Core, policies []*Policy, clientID, action, resource string, more policyContext) bool {
	vars := policyContext{"iot:ClientId": {clientID}, "iot:Connection.Thing.IsAttached": {"false"}}
	if d := p.device; d != nil {
		vars["iot:CertificateId"] = []string{d.id}
		vars["iot:Certificate.SerialNumber"] = []string{d.cert.SerialNumber.String()}
		vars.addName("iot:Certificate.Subject.", d.cert.Subject)
		vars.addName("iot:Certificate.Issuer.", d.cert.Issuer)
		// The service takes the thing from the client id.
		if clientID == d.name {
			if d.thing.Type != "" {
				vars["iot:Connection.Thing.ThingTypeName"] = []string{d.thing.Type}
			}
			for name, value := range d.thing.Attributes {
				vars[attributeVariable+name+"]"] = []string{value}
			}
			vars["iot:Connection.Thing.ThingName"] = []string{d.name}
			vars["iot:Connection.Thing.IsAttached"] = []string{"true"}
		}
	}
	if p.sourceIP != "" {
		vars["aws:SourceIp"] = []string{p.sourceIP}
	}
	for k, v := range more {
		vars[k] = v
	}
	arn := fmt.Sprintf("arn:aws:iot:%s:%s:%s", c.opts.Region, c.opts.AccountID, resource)
	return allowed(policies, action, arn, vars)
}

// addName adds the parts of a distinguished name that have one value.
func (vars policyContext) addName(prefix string, name pkix.Name) {
	for part, values := range map[string][]string{
		"Country": name.Country, "Organization": name.Organization, "OrganizationalUnit": name.OrganizationalUnit,
		"State": name.Province, "CommonName": {name.CommonName}, "SerialNumber": {name.SerialNumber},
	} {
		if len(values) == 1 && values[0] != "" {
			vars[prefix+part] = values
		}
	}
}

// attributes gives the value of the condition key iot:ConnectAttributes.
func (p *principal) attributes(con *packets.ConnectParams) policyContext {
	var attrs []string
	if !con.Clean {
		attrs = append(attrs, "PersistentConnect")
	}
	if con.WillFlag {
		attrs = append(attrs, "LastWill")
	}
	return policyContext{"iot:ConnectAttributes": attrs}
}

// authenticate finds the principal of a connection.
func (c *Core) authenticate(tr *transport, pk *packets.Packet) (*principal, error) {
	switch tr.auth {
	case authNone:
		return &principal{kind: "none"}, nil
	case authX509:
		return c.authenticateX509(tr)
	case authSigV4:
		return tr.principal, nil
	default:
		return c.authenticateCustom(tr, pk)
	}
}

func (c *Core) authenticateX509(tr *transport) (*principal, error) {
	if tr.peer == nil {
		return nil, fmt.Errorf("%w: no client certificate", errHangUp)
	}
	d, err := c.deviceFor(tr.peer)
	if errors.Is(err, ErrUnknownCertificate) && c.registerJustInTime(tr.peer) {
		err = ErrJustInTime
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHangUp, err)
	}
	c.mu.Lock()
	status := d.status
	c.mu.Unlock()
	if status != Active {
		return nil, fmt.Errorf("%w: %w (%v)", errHangUp, ErrCertificateInactive, status)
	}
	return &principal{kind: "x509", device: d}, nil
}
