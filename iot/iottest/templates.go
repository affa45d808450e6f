// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ProvisioningTemplate says what RegisterThing makes of a certificate.
type ProvisioningTemplate struct {
	// Name is the name of the template.
	Name string
	// ThingName is the name of the thing, with parameters as ${SerialNumber} or
	// ${AWS::IoT::Certificate::Id}. It is "${SerialNumber}" when empty.
	ThingName string
	// Parameters are those that a device must give.
	Parameters []string
	// Policies are the AWS IoT policies of new things, as JSON documents;
	// without any a thing may do everything.
	Policies []string
	// Thing has the type and the attributes of new things.
	Thing Thing
	// DeviceConfiguration is sent to the device.
	DeviceConfiguration map[string]string
	// Disabled templates do not exist for devices.
	Disabled bool
	// Refuses makes the template refuse every device, as a hook that lets none
	// in.
	Refuses bool
	// Hook stands for the pre-provisioning Lambda function. An error, a panic,
	// or no return within 5 seconds on the core's clock refuses the device. It
	// may be called from several goroutines at once.
	Hook func(context.Context, *ProvisioningRequest) (*ProvisioningDecision, error) `json:"-"`

	policies []*Policy
}

// ProvisioningRequest is the input of the hook.
type ProvisioningRequest struct {
	ClaimCertificateID string
	CertificateID      string
	CertificatePEM     string
	TemplateARN        string
	ClientID           string
	Parameters         map[string]string
}

// ProvisioningDecision is what the hook answers.
type ProvisioningDecision struct {
	// AllowProvisioning lets the device in.
	AllowProvisioning bool
	// ParameterOverrides replace parameters of the device, and add to them.
	ParameterOverrides map[string]string
}

var templateName = regexp.MustCompile(`^[0-9A-Za-z_-]{1,36}$`)

// AddProvisioningTemplate adds a template, or replaces the one of that name. A
// core with a folder remembers it, unless it has a hook, which cannot be
// stored: it has to be added again.
func (c *Core) AddProvisioningTemplate(t ProvisioningTemplate) error {
	if !templateName.MatchString(t.Name) {
		return fmt.Errorf("iottest: provisioning template %q: want 1 to 36 letters, digits, '-' and '_'", t.Name)
	}
	setDefault(&t.ThingName, "${SerialNumber}")
	t.Parameters, t.policies = slices.Clone(t.Parameters), nil
	for _, document := range t.Policies {
		p, err := ParsePolicy(document)
		if err != nil {
			return err
		}
		t.policies = append(t.policies, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.device.templates[t.Name] = &t
	if t.Hook != nil {
		c.state.remove(bucketTemplates, t.Name)
	} else {
		c.state.put(bucketTemplates, t.Name, t)
	}
	return nil
}

const bucketTemplates = "templates"

// loadTemplates restores the templates of the last run.
func (c *Core) loadTemplates() error {
	return c.state.load(bucketTemplates, func(name string, raw []byte) error {
		t := &ProvisioningTemplate{}
		if err := json.Unmarshal(raw, t); err != nil {
			return err
		}
		for _, document := range t.Policies {
			p, err := ParsePolicy(document)
			if err != nil {
				return err
			}
			t.policies = append(t.policies, p)
		}
		c.device.templates[name] = t
		return nil
	})
}

// ClaimPolicy is the policy of claim certificates: it allows to connect, to
// create certificates and to register with a template, and nothing else.
func ClaimPolicy(template string) string {
	topics := []string{"$aws/certificates/create/*", "$aws/certificates/create-from-csr/*",
		"$aws/provisioning-templates/" + template + "/provision/*"}
	arns := func(kind string) string {
		return `"arn:aws:iot:*:*:` + kind + "/" + strings.Join(topics, `","arn:aws:iot:*:*:`+kind+"/") + `"`
	}
	return `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"iot:Connect","Resource":"*"},
		{"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":[` + arns("topic") + `]},
		{"Effect":"Allow","Action":"iot:Subscribe","Resource":[` + arns("topicfilter") + `]}]}`
}

// claimLife is how long the certificate of a trusted user is valid.
const claimLife = 5 * time.Minute

// CreateProvisioningClaim does what a trusted user does: it returns a claim for
// a template that is valid for 5 minutes on the core's clock.
func (c *Core) CreateProvisioningClaim(template string) (*Device, error) {
	c.mu.Lock()
	known := c.device.templates[template] != nil
	c.mu.Unlock()
	if !known {
		return nil, errors.New("iottest: no such provisioning template: " + template)
	}
	now := c.now()
	return c.CreateDevice("claim-"+randomHex(8), WithPolicy(ClaimPolicy(template)), WithValidity(now.Add(-time.Minute), now.Add(claimLife)))
}
