// SPDX-License-Identifier: Apache-2.0

package provisioning

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

var templates = regexp.MustCompile(`^[0-9A-Za-z_-]{1,36}$`)

// maxCSR is the length of the longest certificate signing request.
const maxCSR = 4096

// ClientOptions configure a [Client]. The zero value is the default.
type ClientOptions struct {
	Format Format
	// Timeout limits each request. 0: that of the request client.
	Timeout time.Duration
}

// Client calls the operations of fleet provisioning. Answers carry no token, so
// only one request of a kind is under way at a time; others wait. Its methods may
// be called from several goroutines.
type Client struct {
	requests *request.Client
	options  ClientOptions
}

// NewClient returns a client. It subscribes to nothing until it is used.
func NewClient(requests *request.Client, options ClientOptions) (*Client, error) {
	switch {
	case requests == nil:
		return nil, fmt.Errorf("%w: the request client is nil", ErrInvalidArgument)
	case options.Format > CBOR:
		return nil, fmt.Errorf("%w: unknown format", ErrInvalidArgument)
	case options.Timeout < 0:
		return nil, fmt.Errorf("%w: ClientOptions.Timeout is negative", ErrInvalidArgument)
	}
	return &Client{requests: requests, options: options}, nil
}

// Certificate is a new certificate. It becomes active when [Client.RegisterThing]
// is called with its ownership token within an hour; otherwise the service deletes
// it.
type Certificate struct {
	CertificateID  string `json:"certificateId"`
	CertificatePEM string `json:"certificatePem"`
	// OwnershipToken is a secret.
	OwnershipToken string `json:"certificateOwnershipToken"`
}

// KeysAndCertificate is a new certificate with its key, which the service made.
type KeysAndCertificate struct {
	CertificateID  string `json:"certificateId"`
	CertificatePEM string `json:"certificatePem"`
	PrivateKeyPEM  string `json:"privateKey"`
	OwnershipToken string `json:"certificateOwnershipToken"`
}

// Registration is the answer to [Client.RegisterThing].
type Registration struct {
	ThingName           string            `json:"thingName"`
	DeviceConfiguration map[string]string `json:"deviceConfiguration"`
}

// CreateCertificateFromCSR asks for a certificate for the key that signed a
// certificate signing request in PEM. The key stays on the device.
//
// Like the other calls it fails with a [*RejectedError] if the service rejected
// the request, with [ErrInvalidPayload] if the answer cannot be read or lacks a
// field, and with the errors of [request.Client.Do]. A certificate whose answer
// was lost is deleted by the service after an hour.
func (c *Client) CreateCertificateFromCSR(ctx context.Context, csr string) (*Certificate, error) {
	if len(csr) == 0 || len(csr) > maxCSR {
		return nil, fmt.Errorf("%w: a CSR of %d characters, want 1 to %d", ErrInvalidArgument, len(csr), maxCSR)
	}
	body := struct {
		CSR string `json:"certificateSigningRequest"`
	}{csr}
	var answer Certificate
	if err := c.call(ctx, "CreateCertificateFromCsr", "$aws/certificates/create-from-csr/", body, &answer); err != nil {
		return nil, err
	}
	if answer.CertificateID == "" || answer.CertificatePEM == "" || answer.OwnershipToken == "" {
		return nil, fmt.Errorf("%w: CreateCertificateFromCsr: fields are missing", ErrInvalidPayload)
	}
	return &answer, nil
}

// CreateKeysAndCertificate asks for a key and its certificate. Prefer
// [Client.CreateCertificateFromCSR] where the device can make a key.
func (c *Client) CreateKeysAndCertificate(ctx context.Context) (*KeysAndCertificate, error) {
	var answer KeysAndCertificate
	if err := c.call(ctx, "CreateKeysAndCertificate", "$aws/certificates/create/", struct{}{}, &answer); err != nil {
		return nil, err
	}
	if answer.CertificateID == "" || answer.CertificatePEM == "" || answer.OwnershipToken == "" || answer.PrivateKeyPEM == "" {
		return nil, fmt.Errorf("%w: CreateKeysAndCertificate: fields are missing", ErrInvalidPayload)
	}
	return &answer, nil
}

// RegisterThing makes the thing and activates the certificate, as the
// provisioning template says.
func (c *Client) RegisterThing(ctx context.Context, template, ownershipToken string, parameters map[string]string) (*Registration, error) {
	if !templates.MatchString(template) {
		return nil, fmt.Errorf("%w: template name %q: 1 to 36 letters, digits, '_' or '-'", ErrInvalidArgument, template)
	}
	if ownershipToken == "" {
		return nil, fmt.Errorf("%w: no ownership token", ErrInvalidArgument)
	}
	body := struct {
		Token      string            `json:"certificateOwnershipToken"`
		Parameters map[string]string `json:"parameters,omitempty"`
	}{ownershipToken, parameters}
	var answer Registration
	if err := c.call(ctx, "RegisterThing", "$aws/provisioning-templates/"+template+"/provision/", body, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

func (c *Client) call(ctx context.Context, operation, topic string, body, answer any) error {
	payload, err := c.options.Format.encode(body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	topic += c.options.Format.String()
	m, err := c.requests.Do(ctx, &request.Request{
		Topic:       topic,
		Payload:     payload,
		Replies:     []request.Reply{{Topic: topic + "/accepted"}, {Topic: topic + "/rejected"}},
		Correlation: request.Uncorrelated{},
		Timeout:     c.options.Timeout,
		Quota:       request.Quota{Name: "provisioning"},
		Throttled:   c.throttled,
	})
	if err != nil {
		return err
	}
	if !strings.HasSuffix(m.Topic, "/rejected") {
		return c.options.Format.decode(m.Payload, answer)
	}
	var r rejection
	if err := c.options.Format.decode(m.Payload, &r); err != nil {
		return err
	}
	return &RejectedError{Operation: operation, StatusCode: r.StatusCode, ErrorCode: r.ErrorCode, Message: r.Message}
}

func (c *Client) throttled(m *mqtt5.Message) bool {
	var r rejection
	return strings.HasSuffix(m.Topic, "/rejected") && c.options.Format.decode(m.Payload, &r) == nil && r.StatusCode == 429
}
