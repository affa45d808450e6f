// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// This file is fleet provisioning as devices see it, on $aws/certificates/ and
// $aws/provisioning-templates/; templates.go has what a backend sets up.

const (
	opCreateKeys = "create"
	opCreateCSR  = "create-from-csr"
	opProvision  = "provision"

	ownershipTokenLife = time.Hour
	maxCSR             = 4096
)

// ownership is what the holder of a token may register.
type ownership struct {
	CertificateID string // pending activation, until it is registered
	Owner         string // principal that made it
	Expires       time.Time
	ThingName     string            // empty until it is registered
	Config        map[string]string // of the template it was registered with
}

func provisioningError(status int, code, format string, args ...any) *ServiceError {
	return &ServiceError{Service: ServiceProvisioning, Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalidToken(text string) *ServiceError {
	return provisioningError(400, "InvalidCertificateOwnershipToken", "%s", text)
}

// handleCertificates handles a message on $aws/certificates/; levels is what follows.
func (c *Core) handleCertificates(r *request, levels []string) {
	if len(levels) != 2 || levels[0] != opCreateKeys && levels[0] != opCreateCSR {
		return
	}
	r.Operation = levels[0]
	c.provisioningCall(r, levels[1], func() (map[string]any, *ServiceError) { return c.createCertificate(r, levels[1]) })
}

// handleTemplates handles a message on $aws/provisioning-templates/; levels is
// what follows.
func (c *Core) handleTemplates(r *request, levels []string) {
	if len(levels) != 3 || levels[1] != opProvision {
		return
	}
	r.Operation, r.Key = opProvision, levels[0]
	c.provisioningCall(r, levels[2], func() (map[string]any, *ServiceError) { return c.registerThing(r, levels[2]) })
}

// provisioningCall runs a call, which may take long (keys, hooks), on a
// goroutine of its own and without the lock, and answers the client that asked,
// and nobody else: the answers have private keys. c.mu is held.
func (c *Core) provisioningCall(r *request, format string, call func() (map[string]any, *ServiceError)) {
	if format != formatJSON && format != formatCBOR {
		return
	}
	r.Service = ServiceProvisioning
	if r.client != nil {
		r.owner = r.client.principal.identifier()
	}
	err, answered := c.admit(r)
	if !answered {
		c.received(r, nil)
		return
	}
	finish := func(body map[string]any, err *ServiceError) {
		c.received(r, err)
		a := answer{operation: r.Operation, topic: r.topic + "/accepted", only: r.from, subscribed: true}
		if err != nil {
			a.topic = r.topic + "/rejected"
			body = map[string]any{"statusCode": err.Status, "errorCode": err.Code, "errorMessage": err.Message}
		}
		a.payload = encodeAs(format, body)
		c.answer(r, a)
	}
	if err != nil || c.closed {
		finish(nil, err)
		return
	}
	release := c.occupy(r)
	c.wg.Go(func() {
		body, err := call()
		c.mu.Lock()
		defer c.mu.Unlock()
		release()
		finish(body, err)
	})
}

// createCertificate carries out CreateKeysAndCertificate and CreateCertificateFromCsr.
func (c *Core) createCertificate(r *request, format string) (map[string]any, *ServiceError) {
	var body struct {
		CSR string `json:"certificateSigningRequest"`
	}
	if err := decodeAs(format, r.payload, &body); err != nil {
		return nil, provisioningError(400, "InvalidRequest", "The payload is not valid %s", format)
	}
	answer := map[string]any{}
	var public crypto.PublicKey
	if r.Operation == opCreateCSR {
		request, err := parseCSR(body.CSR)
		if err != nil {
			return nil, provisioningError(400, "InvalidCertificateSigningRequest", "%v", err)
		}
		public = request.PublicKey
	} else {
		key, err := c.newDeviceKey()
		if err != nil {
			return nil, provisioningError(500, "InternalFailure", "Internal failure")
		}
		public = key.Public()
		answer["privateKey"] = string((&Device{key: key}).KeyPEM())
	}
	now := c.now()
	cert, err := c.deviceCA.deviceCertificate("AWS IoT Certificate", public, now.Add(-24*time.Hour), now.Add(10*365*24*time.Hour))
	if err != nil {
		return nil, provisioningError(400, "InvalidCertificateSigningRequest", "%v", err)
	}
	d := &Device{core: c, id: certificateID(cert), cert: cert, status: PendingActivation}
	token := randomHex(64)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addDevice(d)
	c.addToken(token, &ownership{CertificateID: d.id, Owner: r.owner, Expires: c.nowLocked().Add(ownershipTokenLife)})
	c.emitCertificate(d)
	answer["certificateId"], answer["certificatePem"], answer["certificateOwnershipToken"] = d.id, string(d.CertPEM()), token
	return answer, nil
}

func (c *Core) newDeviceKey() (crypto.Signer, error) {
	if c.device.opts.ProvisionRSAKeys {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func parseCSR(text string) (*x509.CertificateRequest, error) {
	if len(text) > maxCSR {
		return nil, fmt.Errorf("the certificate signing request is longer than %d characters", maxCSR)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || !strings.HasSuffix(block.Type, "CERTIFICATE REQUEST") {
		return nil, errors.New("the certificate signing request is not in PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, errors.New("the certificate signing request cannot be parsed")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, errors.New("the certificate signing request has a wrong signature")
	}
	return request, nil
}

func (c *Core) emitCertificate(d *Device) {
	c.emitService(ServiceChanged, &ServiceEvent{Service: ServiceProvisioning, Thing: d.name, Key: d.id, Status: d.status.String()}, nil, nil)
}

const bucketTokens = "tokens"

// addToken makes a token valid until it expires; the certificate is deleted
// then, if it was not registered. c.mu is held.
func (c *Core) addToken(token string, o *ownership) {
	c.device.tokens[token] = o
	c.state.put(bucketTokens, token, o)
	c.alarmAt(o.Expires, func() {
		delete(c.device.tokens, token)
		c.state.remove(bucketTokens, token)
		if d := c.devices[o.CertificateID]; d != nil && o.ThingName == "" {
			c.removeDevice(d)
			c.emitService(ServiceChanged, &ServiceEvent{Service: ServiceProvisioning, Key: d.id, Status: "DELETED"}, nil, nil)
		}
	})
}

// loadTokens restores the tokens of the last run.
func (c *Core) loadTokens() error {
	return c.state.load(bucketTokens, func(token string, raw []byte) error {
		o := &ownership{}
		if err := json.Unmarshal(raw, o); err != nil {
			return err
		}
		c.addToken(token, o)
		return nil
	})
}

// registerThing carries out RegisterThing.
func (c *Core) registerThing(r *request, format string) (map[string]any, *ServiceError) {
	var body struct {
		Token      string            `json:"certificateOwnershipToken"`
		Parameters map[string]string `json:"parameters"`
	}
	if err := decodeAs(format, r.payload, &body); err != nil {
		return nil, provisioningError(400, "InvalidRequest", "The payload is not valid %s", format)
	}
	c.mu.Lock()
	t, o := c.device.templates[r.Key], c.device.tokens[body.Token]
	var d *Device
	if o != nil {
		d = c.devices[o.CertificateID]
	}
	c.mu.Unlock()
	switch {
	case body.Token == "":
		return nil, invalidToken("Certificate ownership token cannot be empty")
	case t == nil || t.Disabled:
		return nil, provisioningError(404, "ResourceNotFound", "Template %s does not exist or is not enabled", r.Key)
	case d == nil || o.Owner != r.owner:
		return nil, invalidToken("Certificate ownership token is not valid or has expired")
	}
	parameters := maps.Clone(body.Parameters)
	if parameters == nil {
		parameters = map[string]string{}
	}
	for _, name := range t.Parameters {
		if _, ok := parameters[name]; !ok {
			return nil, provisioningError(400, "InvalidParameter", "Parameter %s is missing", name)
		}
	}
	if t.Refuses {
		return nil, provisioningError(403, "ACCESS_DENIED", "Access denied: the template refuses every device")
	}
	if t.Hook != nil {
		clientID := ""
		if r.from != nil {
			clientID = r.from.clientID
		}
		overrides, err := c.callHook(t, &ProvisioningRequest{
			ClaimCertificateID: o.Owner, CertificateID: d.id, CertificatePEM: string(d.CertPEM()),
			TemplateARN: "arn:aws:iot:" + c.opts.Region + ":" + c.opts.AccountID + ":provisioningtemplate/" + t.Name,
			ClientID:    clientID, Parameters: maps.Clone(parameters),
		})
		if err != nil {
			return nil, provisioningError(403, "ACCESS_DENIED", "Access denied: %v", err)
		}
		maps.Copy(parameters, overrides)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finishRegistration(t, body.Token, parameters)
}

// finishRegistration makes the thing, unless the token has expired meanwhile.
// c.mu is held.
func (c *Core) finishRegistration(t *ProvisioningTemplate, token string, parameters map[string]string) (map[string]any, *ServiceError) {
	o := c.device.tokens[token]
	switch {
	case o == nil || c.devices[o.CertificateID] == nil:
		return nil, invalidToken("Certificate ownership token is not valid or has expired")
	case o.ThingName == "":
		thing, err := c.provisionDevice(t, c.devices[o.CertificateID], parameters)
		if err != nil {
			return nil, err
		}
		o.ThingName, o.Config = thing.name, t.DeviceConfiguration
		c.state.put(bucketTokens, token, o)
	case c.device.opts.ProvisionTokensOnce:
		return nil, invalidToken("Certificate ownership token was used already")
	}
	config := o.Config
	if config == nil {
		config = map[string]string{}
	}
	return map[string]any{"thingName": o.ThingName, "deviceConfiguration": config}, nil
}

var templateVariable = regexp.MustCompile(`\$\{([^}]*)\}`)

// provisionDevice replaces a device that is pending by an active one with the
// name and policies of a template.
func (c *Core) provisionDevice(t *ProvisioningTemplate, pending *Device, parameters map[string]string) (*Device, *ServiceError) {
	missing := ""
	subject := pending.cert.Subject
	values := map[string]string{
		"AWS::IoT::Certificate::Id":           pending.id,
		"AWS::IoT::Certificate::CommonName":   subject.CommonName,
		"AWS::IoT::Certificate::SerialNumber": pending.cert.SerialNumber.String(),
		"AWS::IoT::Certificate::Organization": strings.Join(subject.Organization, ","),
		"AWS::IoT::Certificate::Country":      strings.Join(subject.Country, ","),
	}
	maps.Copy(values, parameters)
	name := templateVariable.ReplaceAllStringFunc(t.ThingName, func(s string) string {
		value, ok := values[s[2:len(s)-1]]
		if !ok {
			missing = s
		}
		return value
	})
	if missing != "" {
		return nil, provisioningError(400, "InvalidParameter", "Parameter %s is missing", missing)
	}
	if !thingName.MatchString(name) {
		return nil, provisioningError(400, "InvalidParameter", "%q is not a thing name", name)
	}
	d := &Device{core: c, name: name, id: pending.id, cert: pending.cert, status: Active, policies: slices.Clone(t.policies), thing: t.Thing}
	c.addDevice(d)
	c.emitCertificate(d)
	return d, nil
}

// hookTime is how long a hook may take.
const hookTime = 5 * time.Second

// callHook asks the hook of a template. An error, a panic, a refusal or silence
// for 5 seconds of the core's clock refuses.
func (c *Core) callHook(t *ProvisioningTemplate, r *ProvisioningRequest) (overrides map[string]string, _ error) {
	ctx, cancel := context.WithCancelCause(c.device.ctx)
	defer cancel(nil)
	c.mu.Lock()
	limit := c.alarmIn(hookTime, func() { cancel(errors.New("the hook took too long")) })
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cancelAlarm(limit)
	}()
	type result struct {
		decision *ProvisioningDecision
		err      error
	}
	done := make(chan result, 1)
	go func() {
		var r1 result
		defer func() {
			if v := recover(); v != nil {
				r1 = result{err: fmt.Errorf("the hook panicked: %v", v)}
			}
			done <- r1
		}()
		r1.decision, r1.err = t.Hook(ctx, r)
	}()
	select {
	case r := <-done:
		switch {
		case r.err != nil:
			return nil, r.err
		case r.decision == nil || !r.decision.AllowProvisioning:
			return nil, errors.New("the hook refused")
		}
		return r.decision.ParameterOverrides, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
