// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// userName is a user name without its query, in which custom authorizers have
// their tokens.
func userName(s string) string {
	name, _, _ := strings.Cut(s, "?")
	return name
}

func (c *Control) deviceRoutes() {
	c.handle("GET /v1/devices", c.devices)
	c.handle("POST /v1/devices", c.createDevice)
	c.handle("PUT /v1/devices/{name}", c.changeDevice)
	c.handle("DELETE /v1/devices/{name}", c.deleteDevice)
}

type deviceView struct {
	Name          string   `json:"name"`
	CertificateID string   `json:"certificateId"`
	Status        string   `json:"status"`
	Policies      []string `json:"policies"`
	Certificate   string   `json:"certificatePem,omitempty"`
	PrivateKey    string   `json:"privateKey,omitempty"`
}

func viewOf(d *iottest.Device) deviceView {
	v := deviceView{Name: d.Name(), CertificateID: d.CertificateID(), Status: d.Status().String(), Policies: d.Policies()}
	if v.Policies == nil {
		v.Policies = []string{}
	}
	return v
}

func (c *Control) devices(*http.Request) (any, error) {
	out := []deviceView{}
	for _, d := range c.core.Devices() {
		out = append(out, viewOf(d))
	}
	return out, nil
}

func statusOf(name string) (iottest.CertificateStatus, error) {
	for _, s := range []iottest.CertificateStatus{iottest.Active, iottest.Inactive, iottest.Revoked, iottest.PendingActivation} {
		if name == s.String() || name == "" && s == iottest.Active {
			return s, nil
		}
	}
	return 0, bad("status must be ACTIVE, INACTIVE, REVOKED or PENDING_ACTIVATION")
}

// policyDocuments takes policies as JSON objects, or as strings that hold one.
func policyDocuments(raw []json.RawMessage) []string {
	var out []string
	for _, p := range raw {
		var s string
		if json.Unmarshal(p, &s) != nil {
			s = string(p)
		}
		out = append(out, s)
	}
	return out
}

func (c *Control) createDevice(r *http.Request) (any, error) {
	var q struct {
		Name       string            `json:"name"`
		Policies   []json.RawMessage `json:"policies"`
		Status     string            `json:"status"`
		Type       string            `json:"type"`
		Attributes map[string]string `json:"attributes"`
		RSA        bool              `json:"rsa"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	status, err := statusOf(q.Status)
	if err != nil {
		return nil, err
	}
	opts := []iottest.DeviceOption{iottest.WithStatus(status), iottest.WithThing(iottest.Thing{Type: q.Type, Attributes: q.Attributes})}
	for _, p := range policyDocuments(q.Policies) {
		opts = append(opts, iottest.WithPolicy(p))
	}
	if q.RSA {
		opts = append(opts, iottest.WithRSA())
	}
	d, err := c.core.CreateDevice(q.Name, opts...)
	if err != nil {
		return nil, err
	}
	v := viewOf(d)
	v.Certificate, v.PrivateKey = string(d.CertPEM()), string(d.KeyPEM())
	return v, nil
}

// named returns the devices of a thing.
func (c *Control) named(r *http.Request) ([]*iottest.Device, error) {
	var out []*iottest.Device
	for _, d := range c.core.Devices() {
		if d.Name() == r.PathValue("name") {
			out = append(out, d)
		}
	}
	if out == nil {
		return nil, notFound("no device %q", r.PathValue("name"))
	}
	return out, nil
}

func (c *Control) changeDevice(r *http.Request) (any, error) {
	var q struct {
		Policies *[]json.RawMessage `json:"policies"`
		Status   *string            `json:"status"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	devices, err := c.named(r)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if q.Policies != nil {
			if err := d.SetPolicies(policyDocuments(*q.Policies)...); err != nil {
				return nil, err
			}
		}
		if q.Status != nil {
			status, err := statusOf(*q.Status)
			if err != nil {
				return nil, err
			}
			d.SetStatus(status)
		}
	}
	return nil, nil
}

func (c *Control) deleteDevice(r *http.Request) (any, error) {
	devices, err := c.named(r)
	for _, d := range devices {
		d.Deregister()
	}
	return nil, err
}

func (c *Control) serviceRoutes() {
	c.handle("GET /v1/shadows", c.shadows)
	c.handle("PUT /v1/shadows", c.updateShadow)
	c.handle("DELETE /v1/shadows", func(r *http.Request) (any, error) {
		return result(c.core.DeleteShadow(r.URL.Query().Get("thing"), r.URL.Query().Get("name")))
	})
	c.handle("GET /v1/jobs", c.jobs)
	c.handle("POST /v1/jobs", c.createJob)
	c.handle("DELETE /v1/jobs/{id}", c.cancelJob)
	c.handle("GET /v1/commands", c.commands)
	c.handle("POST /v1/commands", c.sendCommand)
}

func result(out []byte, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *Control) shadows(r *http.Request) (any, error) {
	if thing := r.URL.Query().Get("thing"); thing != "" {
		return result(c.core.GetShadow(thing, r.URL.Query().Get("name")))
	}
	type view struct {
		Thing    string          `json:"thing"`
		Name     string          `json:"name,omitempty"`
		Version  int64           `json:"version"`
		Document json.RawMessage `json:"document,omitempty"`
	}
	out := []view{}
	for _, s := range c.core.Shadows() {
		out = append(out, view{Thing: s.Thing, Name: s.Name, Version: s.Version, Document: s.State})
	}
	return out, nil
}

func (c *Control) updateShadow(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bad("body: %v", err)
	}
	return result(c.core.UpdateShadow(r.URL.Query().Get("thing"), r.URL.Query().Get("name"), body))
}

func (c *Control) jobs(*http.Request) (any, error) {
	type view struct {
		JobID         string            `json:"jobId"`
		Thing         string            `json:"thing"`
		Number        int64             `json:"executionNumber"`
		Status        iottest.JobStatus `json:"status"`
		StatusDetails map[string]string `json:"statusDetails,omitempty"`
		Version       int64             `json:"versionNumber"`
		QueuedAt      time.Time         `json:"queuedAt"`
		LastUpdatedAt time.Time         `json:"lastUpdatedAt"`
	}
	out := []view{}
	for _, e := range c.core.AllJobExecutions() {
		out = append(out, view{e.JobID, e.Thing, e.Number, e.Status, e.StatusDetails, e.Version, e.QueuedAt.UTC(), e.LastUpdatedAt.UTC()})
	}
	return out, nil
}

func (c *Control) createJob(r *http.Request) (any, error) {
	var q struct {
		ID         string            `json:"jobId"`
		Things     []string          `json:"things"`
		Document   json.RawMessage   `json:"document"`
		Parameters map[string]string `json:"parameters"`
		Namespace  string            `json:"namespace"`
		Timeout    int64             `json:"inProgressTimeoutMinutes"`
		Retries    int               `json:"retries"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	id, err := c.core.CreateJob(iottest.Job{ID: q.ID, Things: q.Things, Document: string(q.Document), Parameters: q.Parameters,
		Namespace: q.Namespace, InProgressTimeout: time.Duration(q.Timeout) * time.Minute, Retries: q.Retries})
	if err != nil {
		return nil, err
	}
	return map[string]string{"jobId": id}, nil
}

func (c *Control) cancelJob(r *http.Request) (any, error) {
	force, err := queryBool(r, "force")
	if err != nil {
		return nil, err
	}
	return nil, c.core.CancelJob(r.PathValue("id"), force)
}

func (c *Control) commands(*http.Request) (any, error) {
	type view struct {
		ExecutionID string                `json:"executionId"`
		CommandID   string                `json:"commandId"`
		Thing       string                `json:"thing,omitempty"`
		ClientID    string                `json:"clientId,omitempty"`
		Status      iottest.CommandStatus `json:"status"`
		ReasonCode  string                `json:"reasonCode,omitempty"`
		Reason      string                `json:"reason,omitempty"`
		Result      map[string]any        `json:"result,omitempty"`
		CreatedAt   time.Time             `json:"createdAt"`
	}
	out := []view{}
	for _, x := range c.core.CommandExecutions() {
		out = append(out, view{x.ID, x.CommandID, x.Thing, x.ClientID, x.Status, x.ReasonCode, x.ReasonText, values(x.Result), x.CreatedAt.UTC()})
	}
	return out, nil
}

// values are the results of a command as JSON has them; bytes in base64.
func values(result map[string]iottest.CommandValue) map[string]any {
	out := map[string]any{}
	for name, v := range result {
		switch v.Kind {
		case "b":
			out[name] = v.Flag
		case "bin":
			out[name] = v.Bytes
		default:
			out[name] = v.Text
		}
	}
	return out
}

func (c *Control) sendCommand(r *http.Request) (any, error) {
	var q struct {
		ID          string            `json:"commandId"`
		Thing       string            `json:"thing"`
		ClientID    string            `json:"clientId"`
		Payload     json.RawMessage   `json:"payload"` // JSON, or a string that is sent as it is
		ContentType string            `json:"contentType"`
		Parameters  map[string]string `json:"parameters"`
		Timeout     int64             `json:"timeoutSeconds"`
		Token       string            `json:"clientToken"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	payload := []byte(q.Payload)
	var text string
	if json.Unmarshal(q.Payload, &text) == nil && q.ContentType != "" {
		payload = []byte(text)
	}
	id, err := c.core.SendCommand(iottest.Command{ID: q.ID, Thing: q.Thing, ClientID: q.ClientID, Payload: payload, ContentType: q.ContentType,
		Parameters: q.Parameters, Timeout: time.Duration(q.Timeout) * time.Second, Token: q.Token})
	if err != nil {
		return nil, err
	}
	return map[string]string{"executionId": id}, nil
}
