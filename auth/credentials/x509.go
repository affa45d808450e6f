// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// X509Options configures [NewX509].
type X509Options struct {
	// Endpoint is the host of the credentials endpoint of the account, as
	// `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` prints
	// it, optionally with a port. Required. It is not the data endpoint.
	Endpoint string

	// RoleAlias names the role alias whose role is assumed. Required.
	RoleAlias string

	// ThingName is sent to the service, for policies with thing variables. The
	// thing must be attached to the certificate. Default: not sent.
	ThingName string

	// HTTP reaches the endpoint. HTTP.TLS is required: it presents the
	// certificate and key of the device.
	HTTP HTTPOptions

	Cache CacheOptions
}

// NewX509 returns a cached provider that exchanges the X.509 certificate of the
// device for credentials, at the AWS IoT credentials endpoint. The certificate
// is asked for at each request, so it may be rotated.
func NewX509(o X509Options) (*Provider, error) {
	var errs []error
	host := strings.TrimSuffix(strings.TrimPrefix(o.Endpoint, "https://"), "/")
	switch {
	case o.Endpoint == "":
		errs = append(errs, errors.New("X509Options.Endpoint is required"))
	case strings.ContainsAny(host, "?#@"): // may hold a secret
		errs = append(errs, errors.New("X509Options.Endpoint is not a host name: it has a user or a query"))
	case strings.ContainsAny(host, "/ ") || !validHost(host):
		errs = append(errs, fmt.Errorf("X509Options.Endpoint %q is not a host name", o.Endpoint))
	case strings.Contains(host, "-ats.iot."):
		errs = append(errs, fmt.Errorf("X509Options.Endpoint %q is a data endpoint: use that of type iot:CredentialProvider", o.Endpoint))
	}
	if o.RoleAlias == "" {
		errs = append(errs, errors.New("X509Options.RoleAlias is required"))
	}
	if strings.ContainsFunc(o.ThingName, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		errs = append(errs, errors.New("X509Options.ThingName has characters that thing names cannot have"))
	}
	if o.HTTP.TLS == nil {
		errs = append(errs, errors.New("X509Options.HTTP.TLS is required: it presents the certificate of the device"))
	}
	errs = append(errs, o.HTTP.validate(), o.Cache.validate())
	if err := errors.Join(errs...); err != nil {
		return nil, newError("X.509 role alias", err)
	}
	h := o.HTTP.withDefaults(defaultConnectTimeout, defaultTimeout)
	x := &roleAlias{
		url:     "https://" + host + "/role-aliases/" + url.PathEscape(o.RoleAlias) + "/credentials",
		thing:   o.ThingName,
		client:  h.client(),
		retryer: h.retryer(),
	}
	return cached(&Provider{name: "X.509 role alias " + o.RoleAlias, retrieve: x.retrieve}, o.Cache), nil
}

func validHost(host string) bool {
	u, err := url.Parse("https://" + host)
	return err == nil && u.Hostname() != ""
}

type roleAlias struct {
	url     string
	thing   string
	client  *http.Client
	retryer aws.Retryer
}

func (x *roleAlias) retrieve(ctx context.Context) (aws.Credentials, error) {
	for attempt := 1; ; attempt++ {
		creds, err := x.ask(ctx)
		if err == nil || ctx.Err() != nil || attempt >= x.retryer.MaxAttempts() || !retryable(err) {
			return creds, err
		}
		delay, delayErr := x.retryer.RetryDelay(attempt, err)
		if delayErr != nil {
			return creds, err
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return creds, err
		}
	}
}

func retryable(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.code >= 500 || status.code == http.StatusTooManyRequests
	}
	if errors.Is(err, ErrReplyTooLarge) {
		return false
	}
	var hook *tlsHookError
	var verify *tls.CertificateVerificationError
	var syntax *replyError
	return !errors.As(err, &hook) && !errors.As(err, &verify) && !errors.As(err, &syntax) && !alerted(err)
}

// alerted recognizes a TLS alert from the server, such as that it wants another
// certificate. Package crypto/tls marks it only by the operation.
func alerted(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

func (x *roleAlias) ask(ctx context.Context) (aws.Credentials, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.url, nil)
	if err != nil {
		return aws.Credentials{}, err
	}
	if x.thing != "" {
		r.Header.Set("X-Amzn-Iot-Thingname", x.thing)
	}
	resp, err := x.client.Do(r)
	if err != nil {
		return aws.Credentials{}, explainTLS(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("read reply: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return aws.Credentials{}, refusedAlias(resp.StatusCode, body)
	}
	var reply struct {
		Credentials *struct {
			AccessKeyID     string    `json:"accessKeyId"`
			SecretAccessKey string    `json:"secretAccessKey"`
			SessionToken    string    `json:"sessionToken"`
			Expiration      time.Time `json:"expiration"`
		} `json:"credentials"`
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return aws.Credentials{}, &replyError{err}
	}
	c := reply.Credentials
	if c == nil || c.AccessKeyID == "" || c.SecretAccessKey == "" || c.SessionToken == "" || c.Expiration.IsZero() {
		return aws.Credentials{}, &replyError{errNoCredentials}
	}
	return aws.Credentials{
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: c.SecretAccessKey,
		SessionToken:    c.SessionToken,
		CanExpire:       true,
		Expires:         c.Expiration,
		Source:          "X509RoleAlias",
	}, nil
}

// statusError is a reply that refuses.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string       { return e.text }
func (e *statusError) HTTPStatusCode() int { return e.code }

func refusedAlias(code int, body []byte) error {
	text := fmt.Sprintf("the endpoint replied %d %s", code, http.StatusText(code))
	var reply struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &reply) == nil && reply.Message != "" {
		text += fmt.Sprintf(" (%.200q)", reply.Message)
	}
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		text += ": the usual causes: the policy of the certificate does not allow iot:AssumeRoleWithCertificate on the role alias, " +
			"the certificate is not active or not registered, the thing name is not attached to the certificate, " +
			"or the role does not trust credentials.iot.amazonaws.com"
	case http.StatusNotFound:
		text += ": the role alias does not exist in this account and region"
	}
	return &statusError{code: code, text: text}
}

func explainTLS(err error) error {
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%w: the endpoint's certificate is not signed by a trusted CA: trust Amazon Root CA 1 and 3", err)
	case alerted(err):
		return fmt.Errorf("%w: the endpoint refused the certificate of the device", err)
	}
	return err
}
