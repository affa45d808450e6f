// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// service is fleet provisioning behind a broker: a client of the broker that
// answers the requests.
type service struct {
	t      *testing.T
	broker *mqtttest.Server
	client *mqtt5.Client
	ca     *ecdsa.PrivateKey
	// fault may spoil a request: "lose" it or its "answer", answer with a
	// "foreign" certificate, or reject it with a status code and an error code.
	fault func(operation string) string

	mu      sync.Mutex
	tokens  map[string]bool // true: used
	created int
	things  []string // in the order of registration
	format  string
}

// The operations, as fault gets them.
const (
	fromCSR  = "create-from-csr"
	keys     = "create"
	register = "provision"
)

func newService(t *testing.T, options ...mqtttest.Option) *service {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, broker: mqtttest.NewServer(t, options...), ca: ca, tokens: map[string]bool{}, fault: func(string) string { return "" }}
	s.client = s.connect("service", func(o *mqtt5.ClientOptions) { o.OnMessage = s.serve })
	t.Cleanup(func() { _ = s.client.Close() })
	if err := s.client.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Subscribe(context.Background(), &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{
		{TopicFilter: "$aws/certificates/+/+", QoS: 1}, {TopicFilter: "$aws/provisioning-templates/+/provision/+", QoS: 1},
	}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// connect returns a client of the broker.
func (s *service) connect(id string, change func(*mqtt5.ClientOptions)) *mqtt5.Client {
	s.t.Helper()
	o := mqtt5.ClientOptions{
		Address: "broker:1883", Dial: s.broker.DialContext,
		Connect: mqtt5.ConnectPacket{ClientID: id, KeepAliveSeconds: mqtt5.Ptr[uint16](0)},
	}
	if change != nil {
		change(&o)
	}
	c, err := mqtt5.NewClient(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// options are those of a device, with a store in dir.
func (s *service) options(t *testing.T, store provisioning.Store) provisioning.Options {
	return provisioning.Options{
		Template: "fleet", Parameters: map[string]string{"SerialNumber": "7"}, Store: store,
		NewClaim: func(context.Context) (*mqtt5.Client, error) { return s.connect("claim", nil), nil },
		NewDevice: func(_ context.Context, identity *provisioning.Identity) (*mqtt5.Client, error) {
			return s.connect(identity.ThingName, nil), nil
		},
	}
}

func (s *service) serve(ctx context.Context, m mqtt5.Message) {
	levels := strings.Split(m.Topic, "/")
	operation, format := levels[2], levels[len(levels)-1]
	if levels[1] == "provisioning-templates" {
		operation = register
	}
	unmarshal, marshal := json.Unmarshal, json.Marshal
	if format == "cbor" {
		unmarshal, marshal = cbor.Unmarshal, cbor.Marshal
	}
	var in struct {
		CSR        string            `json:"certificateSigningRequest"`
		Token      string            `json:"certificateOwnershipToken"`
		Parameters map[string]string `json:"parameters"`
	}
	if err := unmarshal(m.Payload, &in); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	s.format = format
	fault := s.fault(operation)
	var out map[string]any
	switch {
	case fault == "lose":
	case fault == "" || fault == "answer":
		out = s.answer(operation, in.CSR, in.Token, in.Parameters)
	case fault == "foreign":
		out = s.answer(operation, in.CSR, in.Token, in.Parameters)
		out["certificatePem"] = s.issue(&s.ca.PublicKey)["certificatePem"]
	default:
		out = rejection(fault)
	}
	s.mu.Unlock()
	if out == nil || fault == "answer" {
		return
	}
	topic := m.Topic + "/accepted"
	if out["statusCode"] != nil {
		topic = m.Topic + "/rejected"
	}
	payload, err := marshal(out)
	if err != nil {
		s.t.Error(err)
	}
	if _, err := s.client.Publish(ctx, &mqtt5.PublishPacket{Topic: topic, Payload: payload, QoS: 1}); err != nil && ctx.Err() == nil {
		s.t.Error(err)
	}
}

// rejection makes one of "400 InvalidToken some text".
func rejection(text string) map[string]any {
	var code int
	var name string
	if _, err := fmt.Sscan(text, &code, &name); err != nil {
		panic(err)
	}
	return map[string]any{"statusCode": code, "errorCode": name, "errorMessage": "the message"}
}

func (s *service) answer(operation, csr, token string, parameters map[string]string) map[string]any {
	switch operation {
	case register:
		used, known := s.tokens[token]
		if !known || used {
			return rejection("400 InvalidCertificateOwnershipToken")
		}
		s.tokens[token] = true
		name := "thing-" + parameters["SerialNumber"]
		s.things = append(s.things, name)
		return map[string]any{"thingName": name, "deviceConfiguration": map[string]string{"color": "red"}}
	case keys:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			s.t.Error(err)
		}
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			s.t.Error(err)
		}
		out := s.issue(&key.PublicKey)
		out["privateKey"] = string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
		return out
	default:
		block, _ := pem.Decode([]byte(csr))
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil || request.CheckSignature() != nil {
			s.t.Errorf("signing request: %v", err)
		}
		return s.issue(request.PublicKey)
	}
}

func (s *service) issue(key any) map[string]any {
	s.created++
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(s.created)), Subject: pkix.Name{CommonName: "device"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key, s.ca)
	if err != nil {
		s.t.Error(err)
	}
	token := fmt.Sprint("token-", s.created)
	s.tokens[token] = false
	return map[string]any{
		"certificateId": fmt.Sprintf("%064x", s.created), "certificateOwnershipToken": token,
		"certificatePem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	}
}

// wantCounts checks how many certificates were made and how many registrations
// succeeded.
func (s *service) wantCounts(certificates, registrations int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.created != certificates || len(s.things) != registrations {
		s.t.Errorf("%d certificates and %d registrations, want %d and %d", s.created, len(s.things), certificates, registrations)
	}
}

// bubble runs a test with virtual time.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

func provision(t *testing.T, o provisioning.Options) (*provisioning.Device, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Hour)
	defer cancel()
	d, err := provisioning.Provision(ctx, o)
	if d != nil {
		t.Cleanup(func() { _ = d.Client.Close() })
	}
	return d, err
}
