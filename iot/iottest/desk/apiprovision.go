// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// provisioningRoutes are templates, claims and authorities: what a fleet needs to get in.
func (c *Control) provisioningRoutes() {
	c.handle("PUT /v1/provisioning-templates/{name}", c.putTemplate)
	c.handle("POST /v1/claims", c.createClaim)
	c.handle("POST /v1/authorities", c.registerAuthority)
	c.handle("POST /v1/direct", c.sendDirect)
}

func (c *Control) putTemplate(r *http.Request) (any, error) {
	var q struct {
		ThingName           string            `json:"thingName"`
		Parameters          []string          `json:"parameters"`
		Policies            []json.RawMessage `json:"policies"`
		DeviceConfiguration map[string]string `json:"deviceConfiguration"`
		Disabled            bool              `json:"disabled"`
		Refuse              bool              `json:"refuse"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	t := iottest.ProvisioningTemplate{Name: r.PathValue("name"), ThingName: q.ThingName, Parameters: q.Parameters,
		Policies: policyDocuments(q.Policies), DeviceConfiguration: q.DeviceConfiguration, Disabled: q.Disabled, Refuses: q.Refuse}
	return nil, c.core.AddProvisioningTemplate(t)
}

// createClaim makes a claim: one of a trusted user, which is valid for 5
// minutes, or a device that may do nothing else.
func (c *Control) createClaim(r *http.Request) (any, error) {
	var q struct {
		Template    string `json:"template"`
		Name        string `json:"name"`
		TrustedUser bool   `json:"trustedUser"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if q.TrustedUser == (q.Name != "") {
		return nil, bad("want a name, or trustedUser")
	}
	var d *iottest.Device
	var err error
	if q.TrustedUser {
		d, err = c.core.CreateProvisioningClaim(q.Template)
	} else {
		d, err = c.core.CreateDevice(q.Name, iottest.WithPolicy(iottest.ClaimPolicy(q.Template)))
	}
	if err != nil {
		return nil, err
	}
	v := viewOf(d)
	v.Certificate, v.PrivateKey = string(d.CertPEM()), string(d.KeyPEM())
	return v, nil
}

// registerAuthority registers the CA of the core, and makes a device of it that
// is not registered yet.
func (c *Control) registerAuthority(r *http.Request) (any, error) {
	var q struct {
		Template string `json:"template"`
		Device   string `json:"device"`
		Delay    int64  `json:"delayMilliseconds"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if err := c.core.RegisterCA(iottest.RegisteredCA{Template: q.Template, Delay: time.Duration(q.Delay) * time.Millisecond}); err != nil {
		return nil, err
	}
	d, err := c.core.CreateDevice(q.Device, iottest.Unregistered())
	if err != nil {
		return nil, err
	}
	v := viewOf(d)
	v.Certificate, v.PrivateKey = string(d.CertPEM()), string(d.KeyPEM())
	return v, nil
}

// sendDirect sends a direct message and does not wait for an acknowledgement.
func (c *Control) sendDirect(r *http.Request) (any, error) {
	var q struct {
		ClientID      string `json:"clientId"`
		Topic         string `json:"topic"`
		Payload       string `json:"payload"`
		ContentType   string `json:"contentType"`
		ResponseTopic string `json:"responseTopic"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return nil, c.core.SendDirectMessage(r.Context(), q.ClientID, iottest.Message{Topic: q.Topic, Payload: []byte(q.Payload),
		ContentType: q.ContentType, ResponseTopic: q.ResponseTopic})
}
