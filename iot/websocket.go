// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// NewWebsocketWithSigV4 makes a client that connects over WebSocket and signs
// each upgrade with AWS credentials (Signature Version 4). The provider names
// the source of the credentials and is called at every attempt to connect:
//
//	provider, err := credentials.NewDefault(credentials.DefaultOptions{})
//
// is the default chain, [sigv4.CredentialsProvider] says how a provider of the
// AWS SDK becomes one. Nil is an error.
//
// The region is that of [WithRegion], of the endpoint's name, of AWS_REGION or
// AWS_DEFAULT_REGION, or of the provider, in this order.
//
// AWS IoT Core ends such a connection after at most 24 hours.
func NewWebsocketWithSigV4(endpoint string, provider sigv4.CredentialsProvider, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, WebsocketWithSigV4(provider), options...)
}

// WebsocketWithSigV4 is the method of [NewWebsocketWithSigV4].
func WebsocketWithSigV4(provider sigv4.CredentialsProvider) Method {
	if v := reflect.ValueOf(provider); provider == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return wrong("WebsocketWithSigV4: the credentials provider is nil; name a source, such as credentials.NewDefault(credentials.DefaultOptions{})")
	}
	return Method{func(s *settings, endpoint string) method {
		m := method{upgrade: overWebsocket, signs: true}
		host, err := parseEndpoint(endpoint)
		if err != nil {
			return m // it is reported with the other problems
		}
		region, err := s.signingRegion(context.Background(), host, provider)
		if err != nil {
			s.problems = append(s.problems, &optionError{err})
			return m
		}
		if s.reconnectAhead > 0 {
			s.credentials = &usedCredentials{provider: provider}
			provider = s.credentials
		}
		signer, err := sigv4.New(sigv4.Options{Credentials: provider, Region: region})
		if err != nil {
			s.problems = append(s.problems, &optionError{err})
			return m
		}
		m.sign(signer)
		return m
	}}
}

// overWebsocket makes the dialer of the methods that use WebSockets.
func overWebsocket(s *settings, c *connector, m method, below mqtt5.DialFunc) (mqtt5.DialFunc, error) {
	o := websocket.Options{Dial: websocket.DialFunc(below), Plaintext: s.plaintext, Transform: m.transform, Logger: s.logger}
	if !s.plaintext {
		o.TLS = c.tls
	}
	for _, f := range s.websocket {
		f(&o)
	}
	d, err := websocket.New(o)
	if err != nil {
		return nil, err
	}
	return d.DialContext, nil
}

// sign signs each upgrade.
func (m *method) sign(signer *sigv4.Signer) {
	transform := signer.Transform()
	m.transform = func(ctx context.Context, r *http.Request) error {
		if err := transform(ctx, r); err != nil {
			return &signingError{err}
		}
		return nil
	}
	m.upgradeHint = func(e *websocket.UpgradeError) string {
		return signer.Hint(signatureRefusal(e))
	}
	m.connectHint = func(r mqtt5.Refusal) string {
		return fmt.Sprintf("check that an IAM policy of the credentials allows iot:Connect on %s; for an identity of Cognito that is signed in, "+
			"an AWS IoT policy that is attached to the identity has to allow it as well", clientResource(r.Subject))
	}
}

// signingRegion finds the region to sign for.
func (s *settings) signingRegion(ctx context.Context, host string, provider sigv4.CredentialsProvider) (string, error) {
	if s.region != "" {
		return s.region, nil
	}
	region, unknown := sigv4.RegionFromEndpoint(host)
	if unknown == nil {
		return region, nil
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region := os.Getenv(name); region != "" {
			return region, nil
		}
	}
	// A provider that reads profiles knows the region of its own.
	if p, ok := provider.(interface {
		Region(context.Context) (string, error)
	}); ok {
		region, err := p.Region(ctx)
		if err != nil {
			unknown = fmt.Errorf("%w; %w", unknown, err)
		}
		if region != "" {
			return region, nil
		}
	}
	return "", fmt.Errorf("%w; neither AWS_REGION, AWS_DEFAULT_REGION nor the credentials provider name one; give it with WithRegion", unknown)
}

// signingError says that an upgrade could not be signed.
type signingError struct{ err error }

func (e *signingError) Error() string { return e.err.Error() }
func (e *signingError) Unwrap() error { return e.err }

// NewWebsocketWithCustomHandshake makes a client that connects over WebSocket
// and lets transform change URL, query and headers of each upgrade: to sign it
// in another way, or to put in place a URL that was signed elsewhere. See
// [websocket.HandshakeTransform] for what it may do. Nil is an error.
func NewWebsocketWithCustomHandshake(endpoint string, transform websocket.HandshakeTransform, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, WebsocketWithCustomHandshake(transform), options...)
}

// WebsocketWithCustomHandshake is the method of
// [NewWebsocketWithCustomHandshake].
func WebsocketWithCustomHandshake(transform websocket.HandshakeTransform) Method {
	if transform == nil {
		return wrong("WebsocketWithCustomHandshake: the transform is nil; give the function that signs the upgrade")
	}
	return Method{func(*settings, string) method {
		return method{
			upgrade:       overWebsocket,
			transform:     transform,
			transformHint: "the function of WebsocketWithCustomHandshake failed",
			upgradeHint: func(e *websocket.UpgradeError) string {
				if aboutSignature(e.Body) {
					return sigv4.Hint(signatureRefusal(e))
				}
				return upgradeHint(e, "the handshake")
			},
		}
	}}
}

// NewWebsocketWithCustomAuthorizer makes a client that connects over WebSocket
// and authenticates with a custom authorizer, by the user name and the password
// of the CONNECT. [WithIdentity] adds a client certificate.
func NewWebsocketWithCustomAuthorizer(endpoint string, a CustomAuthorizer, options ...Option) (*mqtt5.Client, error) {
	return NewClient(endpoint, WebsocketWithCustomAuthorizer(a), options...)
}

// WebsocketWithCustomAuthorizer is the method of
// [NewWebsocketWithCustomAuthorizer].
func WebsocketWithCustomAuthorizer(a CustomAuthorizer) Method {
	return Method{func(s *settings, _ string) method {
		s.setAuthorizer(&a)
		return method{
			upgrade:     overWebsocket,
			upgradeHint: func(e *websocket.UpgradeError) string { return upgradeHint(e, "the custom authorizer") },
		}
	}}
}

func signatureRefusal(e *websocket.UpgradeError) sigv4.Refusal {
	r := sigv4.Refusal{Status: e.StatusCode, Body: e.Body}
	if !e.Date.IsZero() {
		r.Date = e.Date.UTC().Format(http.TimeFormat)
	}
	return r
}

// aboutSignature reports whether the service says that it found a signature
// that it does not like.
func aboutSignature(body []byte) bool {
	text := strings.ToLower(string(body))
	return strings.Contains(text, "signature") || strings.Contains(text, "security token") || strings.Contains(text, "scoped to")
}

// upgradeHint explains a refused upgrade that was not signed here.
func upgradeHint(e *websocket.UpgradeError, judge string) string {
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "check what " + judge + " sends, that the endpoint accepts this way to authenticate, and that the custom authorizer exists and is active"
	case http.StatusNotFound:
		return "check the endpoint: AWS IoT Core serves WebSockets at " + websocket.DefaultPath
	}
	return ""
}
