// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

const (
	createTopic    = "$aws/certificates/create/"
	fromCSRTopic   = "$aws/certificates/create-from-csr/"
	provisionTopic = "$aws/provisioning-templates/fleet/provision/"
)

// wireFormat is JSON or CBOR.
type wireFormat struct {
	name      string
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
}

var wireFormats = []wireFormat{{"json", json.Marshal, json.Unmarshal}, {"cbor", cbor.Marshal, cbor.Unmarshal}}

// claimClient is connected with a claim, and subscribed to all answers.
func claimClient(t *testing.T, c *iottest.Core, claim *iottest.Device, format string) *rawClient {
	t.Helper()
	cl := dialDevice(t, c, claim)
	cl.mustConnect(connectOptions{id: claim.Name()})
	for _, code := range cl.subscribe(createTopic+format+"/accepted", createTopic+format+"/rejected", fromCSRTopic+format+"/accepted",
		fromCSRTopic+format+"/rejected", provisionTopic+format+"/accepted", provisionTopic+format+"/rejected") {
		if code > 1 {
			t.Fatalf("SUBACK %#x", code)
		}
	}
	return cl
}

// call sends a request and returns the answer, which must be on topic/want.
func (f wireFormat) call(cl *rawClient, topic string, request any, want string) map[string]any {
	cl.t.Helper()
	b, err := f.marshal(request)
	if err != nil {
		cl.t.Fatal(err)
	}
	topic += f.name
	cl.request(topic, string(b))
	got := cl.expect(tPublish)
	cl.puback(got.id)
	var body map[string]any
	if err := f.unmarshal(got.payload, &body); err != nil {
		cl.t.Fatalf("%v: %x", err, got.payload)
	}
	if got.topic != topic+"/"+want {
		cl.t.Fatalf("answer on %s: %v", got.topic, body)
	}
	return body
}

func signingRequest(t *testing.T) (string, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), key
}

func addTemplate(t *testing.T, c *iottest.Core, change func(*iottest.ProvisioningTemplate)) {
	t.Helper()
	template := iottest.ProvisioningTemplate{Name: "fleet", ThingName: "thing-${SerialNumber}", Parameters: []string{"SerialNumber"},
		DeviceConfiguration: map[string]string{"a": "b"}}
	if change != nil {
		change(&template)
	}
	if err := c.AddProvisioningTemplate(template); err != nil {
		t.Fatal(err)
	}
}

// connectWith reports whether a certificate gets in.
func connectWith(t *testing.T, c *iottest.Core, certificate tls.Certificate, id string) bool {
	t.Helper()
	cfg := c.TLSConfig(iottest.ALPNMQTTCA)
	cfg.Certificates = []tls.Certificate{certificate}
	nc, err := tls.Dial("tcp", c.Addr(), cfg)
	if err != nil {
		return false
	}
	cl := newRaw(t, nc)
	cl.sendConnect(connectOptions{id: id})
	f, err := cl.read()
	return err == nil && f.kind == tConnack && f.codes[0] == 0
}

func TestProvisioning_conversation(t *testing.T) {
	t.Parallel()
	for _, format := range wireFormats {
		for _, withCSR := range []bool{false, true} {
			c := iottest.Start(t)
			addTemplate(t, c, nil)
			cl := claimClient(t, c, c.Device(t, "claim", iottest.WithPolicy(iottest.ClaimPolicy("fleet"))), format.name)
			var made map[string]any
			var keyPEM string
			if withCSR {
				csr, key := signingRequest(t)
				made = format.call(cl, fromCSRTopic, map[string]any{"certificateSigningRequest": csr}, "accepted")
				der, err := x509.MarshalECPrivateKey(key)
				if err != nil {
					t.Fatal(err)
				}
				keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
			} else {
				made = format.call(cl, createTopic, map[string]any{}, "accepted")
				keyPEM, _ = made["privateKey"].(string)
				delete(made, "privateKey")
			}
			id, _ := made["certificateId"].(string)
			certPEM, _ := made["certificatePem"].(string)
			token, _ := made["certificateOwnershipToken"].(string)
			if len(made) != 3 || len(id) != 64 || token == "" {
				t.Fatalf("answer %v", made)
			}
			certificate, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
			if err != nil {
				t.Fatal(err)
			}
			if connectWith(t, c, certificate, "new") {
				t.Error("the certificate is pending, and got in")
			}
			register := map[string]any{"certificateOwnershipToken": token, "parameters": map[string]string{"SerialNumber": "7"}}
			for range 2 { // the answer may have got lost
				done := format.call(cl, provisionTopic, register, "accepted")
				b, _ := json.Marshal(map[string]any{"t": done["thingName"], "n": len(done)})
				config, _ := json.Marshal(stringMap(done["deviceConfiguration"]))
				if string(b) != `{"n":2,"t":"thing-7"}` || string(config) != `{"a":"b"}` {
					t.Errorf("answer %v", done)
				}
			}
			if !connectWith(t, c, certificate, "new") {
				t.Error("the certificate is active, and did not get in")
			}
			c.Advance(2 * time.Hour)
			if !connectWith(t, c, certificate, "new") {
				t.Error("the certificate went with the token")
			}
		}
	}
}

// stringMap makes one type of what JSON and CBOR make of a map.
func stringMap(v any) map[string]any {
	if m, ok := v.(map[any]any); ok {
		out := map[string]any{}
		for k, v := range m {
			name, _ := k.(string)
			out[name] = v
		}
		return out
	}
	m, _ := v.(map[string]any)
	return m
}

func TestProvisioning_rejections(t *testing.T) {
	t.Parallel()
	for _, format := range wireFormats {
		c := iottest.Start(t, func(o *iottest.Options) { o.Services.ProvisionTokensOnce = true })
		addTemplate(t, c, nil)
		claim := c.Device(t, "claim", iottest.WithPolicy(iottest.ClaimPolicy("fleet")))
		cl := claimClient(t, c, claim, format.name)
		token := func() any {
			return format.call(cl, createTopic, map[string]any{}, "accepted")["certificateOwnershipToken"]
		}
		register := func(cl *rawClient, token, parameters any) map[string]any {
			t.Helper()
			return format.call(cl, provisionTopic, map[string]any{"certificateOwnershipToken": token, "parameters": parameters}, "rejected")
		}
		check := func(what string, body map[string]any, status int, code string) {
			t.Helper()
			var got float64
			switch n := body["statusCode"].(type) {
			case float64:
				got = n
			case uint64:
				got = float64(n)
			}
			if len(body) != 3 || int(got) != status || body["errorCode"] != code || body["errorMessage"] == "" {
				t.Errorf("%s: %v, want %d %s", what, body, status, code)
			}
		}
		serial := map[string]string{"SerialNumber": "1"}
		check("no token", register(cl, "", serial), 400, "InvalidCertificateOwnershipToken")
		check("unknown token", register(cl, "x", serial), 400, "InvalidCertificateOwnershipToken")
		check("no parameter", register(cl, token(), map[string]string{}), 400, "InvalidParameter")
		check("bad name", register(cl, token(), map[string]string{"SerialNumber": "a b"}), 400, "InvalidParameter")
		check("bad parameters", register(cl, token(), 5), 400, "InvalidRequest")
		check("no PEM", format.call(cl, fromCSRTopic, map[string]any{"certificateSigningRequest": "x"}, "rejected"), 400, "InvalidCertificateSigningRequest")
		check("long", format.call(cl, fromCSRTopic, map[string]any{"certificateSigningRequest": strings.Repeat("x", 4097)}, "rejected"), 400, "InvalidCertificateSigningRequest")

		other := claimClient(t, c, c.Device(t, "other"), format.name)
		foreign := token()
		check("foreign token", register(other, foreign, serial), 400, "InvalidCertificateOwnershipToken")
		format.call(cl, provisionTopic, map[string]any{"certificateOwnershipToken": foreign, "parameters": serial}, "accepted")
		check("used token", register(cl, foreign, serial), 400, "InvalidCertificateOwnershipToken")

		late := format.call(cl, createTopic, map[string]any{}, "accepted")
		c.Advance(time.Hour + time.Second)
		cl = claimClient(t, c, claim, format.name) // keep alive ended the other
		check("expired token", register(cl, late["certificateOwnershipToken"], serial), 400, "InvalidCertificateOwnershipToken")
		addTemplate(t, c, func(p *iottest.ProvisioningTemplate) { p.Disabled = true })
		check("no template", register(cl, token(), serial), 404, "ResourceNotFound")
	}
}

func TestProvisioning_hook(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	claim := c.Device(t, "claim", iottest.WithPolicy(iottest.ClaimPolicy("fleet")))
	cl := claimClient(t, c, claim, "json")
	format := wireFormats[0]
	call := func(want string, hook func(context.Context, *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error)) map[string]any {
		t.Helper()
		addTemplate(t, c, func(p *iottest.ProvisioningTemplate) { p.Hook = hook })
		token := format.call(cl, createTopic, map[string]any{}, "accepted")["certificateOwnershipToken"]
		return format.call(cl, provisionTopic, map[string]any{"certificateOwnershipToken": token, "parameters": map[string]string{"SerialNumber": "1"}}, want)
	}
	done := call("accepted", func(_ context.Context, r *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
		if r.ClaimCertificateID != claim.CertificateID() || len(r.CertificateID) != 64 || !strings.Contains(r.CertificatePEM, "BEGIN CERTIFICATE") ||
			r.TemplateARN != "arn:aws:iot:us-east-1:123456789012:provisioningtemplate/fleet" || r.ClientID != "claim" || r.Parameters["SerialNumber"] != "1" {
			t.Errorf("request %+v", r)
		}
		return &iottest.ProvisioningDecision{AllowProvisioning: true, ParameterOverrides: map[string]string{"SerialNumber": "2"}}, nil
	})
	if done["thingName"] != "thing-2" {
		t.Errorf("answer %v", done)
	}
	for name, hook := range map[string]func(context.Context, *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error){
		"refuses": func(context.Context, *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
			return &iottest.ProvisioningDecision{}, nil
		},
		"fails": func(context.Context, *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
			return nil, errors.New("no")
		},
		"says nothing": func(context.Context, *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
			return nil, nil
		},
		"panics": func(context.Context, *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
			panic("no")
		},
		"hangs": func(ctx context.Context, _ *iottest.ProvisioningRequest) (*iottest.ProvisioningDecision, error) {
			go c.Advance(6 * time.Second)
			<-ctx.Done()
			return &iottest.ProvisioningDecision{AllowProvisioning: true}, nil
		},
	} {
		if done := call("rejected", hook); done["errorCode"] != "ACCESS_DENIED" || done["statusCode"] != 403.0 {
			t.Errorf("the hook %s: %v", name, done)
		}
	}
}

// The answers have private keys: only the client that asked gets them, and only
// if it subscribed.
func TestProvisioning_answersAreSecret(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, func(o *iottest.Options) { o.Services.ProvisionRSAKeys = true })
	claim := c.Device(t, "claim")
	other := claimClient(t, c, c.Device(t, "other"), "json")
	cl := claimClient(t, c, claim, "json")
	made := wireFormats[0].call(cl, createTopic, nil, "accepted")
	if key, _ := made["privateKey"].(string); !strings.HasPrefix(key, "-----BEGIN RSA PRIVATE KEY-----") {
		t.Error("not an RSA key")
	}
	other.nothing()
	deaf := dialDevice(t, c, claim)
	deaf.mustConnect(connectOptions{id: "deaf"})
	deaf.request(createTopic+"json", "{}")
	answers := 0
	event, err := c.WaitFor(t.Context(), func(e iottest.Event) bool {
		if e.Type == iottest.ServiceAnswer {
			answers++
		}
		return answers == 2
	})
	if err != nil || strings.Contains(event.String(), "PRIVATE") {
		t.Errorf("event %v, %v", event, err)
	}
	deaf.nothing()
}

func TestProvisioning_trustedUser(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	if _, err := c.CreateProvisioningClaim("fleet"); err == nil {
		t.Error("a claim for a template that does not exist")
	}
	addTemplate(t, c, nil)
	claim, err := c.CreateProvisioningClaim("fleet")
	if err != nil {
		t.Fatal(err)
	}
	if !connectWith(t, c, claim.TLSCertificate(), "x") {
		t.Error("the claim does not get in")
	}
	c.Advance(6 * time.Minute)
	if connectWith(t, c, claim.TLSCertificate(), "x") {
		t.Error("the claim gets in after 6 minutes")
	}
	for _, template := range []iottest.ProvisioningTemplate{{Name: "a b"}, {Name: "x", Policies: []string{"{"}}} {
		if c.AddProvisioningTemplate(template) == nil {
			t.Errorf("added %+v", template)
		}
	}
}

// Tokens, templates and authorities survive a restart of the core, and so do
// certificates that wait.
func TestProvisioning_survives(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := iottest.New(iottest.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	claim := c.Device(t, "claim")
	addTemplate(t, c, func(p *iottest.ProvisioningTemplate) { p.Policies = []string{iottest.DenyAllPolicy} })
	late := c.Device(t, "8", iottest.Unregistered())
	if err := errors.Join(c.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "jitp", ThingName: "${AWS::IoT::Certificate::CommonName}"}),
		c.RegisterCA(iottest.RegisteredCA{Template: "jitp"})); err != nil {
		t.Fatal(err)
	}
	cl := claimClient(t, c, claim, "json")
	made := wireFormats[0].call(cl, createTopic, nil, "accepted")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = iottest.Start(t, func(o *iottest.Options) { o.Dir = dir })
	cfg := c.TLSConfig(iottest.ALPNMQTTCA)
	cfg.Certificates = []tls.Certificate{claim.TLSCertificate()}
	nc, err := tls.Dial("tcp", c.Addr(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cl = newRaw(t, nc)
	cl.mustConnect(connectOptions{id: "claim"})
	cl.subscribe(provisionTopic + "json/accepted")
	done := wireFormats[0].call(cl, provisionTopic, map[string]any{"certificateOwnershipToken": made["certificateOwnershipToken"],
		"parameters": map[string]string{"SerialNumber": "7"}}, "accepted")
	if done["thingName"] != "thing-7" {
		t.Errorf("answer %v", done)
	}
	registered := slices.IndexFunc(c.Devices(), func(d *iottest.Device) bool { return d.Name() == "thing-7" })
	if registered < 0 || len(c.Devices()[registered].Policies()) != 1 {
		t.Errorf("devices %v", c.Devices())
	}
	if connectWith(t, c, late.TLSCertificate(), "8") || !connectWith(t, c, late.TLSCertificate(), "8") {
		t.Error("the CA was forgotten")
	}
}
