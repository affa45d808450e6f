// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// NewWebsocketWithSigV4 makes a client that connects over WebSocket and signs
// each upgrade with AWS credentials (Signature Version 4). The provider is
// asked at every attempt to connect: give it one that caches, as those of
// package credentials and of the AWS SDK do. Nil stands for the default chain
// of [credentials.NewDefault], which reaches its services through the dialer
// and the proxy of the client.
//
// AWS IoT Core ends such a connection after at most 24 hours.
func NewWebsocketWithSigV4(endpoint string, provider aws.CredentialsProvider, options ...Option) (*mqtt5.Client, error) {
	s := apply(options)
	host, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, errors.Join(append([]error{err}, s.problems...)...)
	}
	if provider == nil {
		if provider, err = s.defaultCredentials(); err != nil {
			return nil, &optionError{err}
		}
	}
	region, err := credentials.ResolveRegion(context.Background(), credentials.RegionOptions{Region: s.region, Endpoint: host})
	if err != nil {
		return nil, invalid("%w; give it with WithRegion", err)
	}
	signer, err := sigv4.New(sigv4.Options{Credentials: provider, Region: region})
	if err != nil {
		return nil, &optionError{err}
	}
	transform := signer.Transform()
	return s.build(endpoint, method{
		websocket: true,
		transform: func(ctx context.Context, r *http.Request) error {
			if err := transform(ctx, r); err != nil {
				return &signingError{err}
			}
			return nil
		},
		upgradeHint: func(e *websocket.UpgradeError) string {
			return signer.Hint(signatureRefusal(e))
		},
		connectHint: func(r mqtt5.Refusal) string {
			return fmt.Sprintf("check that an IAM policy of the credentials allows iot:Connect on %s; for an identity of Cognito that is signed in, "+
				"an AWS IoT policy that is attached to the identity has to allow it as well", clientResource(r.Subject))
		},
	})
}

// defaultCredentials is the default chain, over the network of the client.
func (s *settings) defaultCredentials() (aws.CredentialsProvider, error) {
	dial, err := s.networkDialer()
	if err != nil {
		return nil, err
	}
	return credentials.NewDefault(credentials.DefaultOptions{
		Region: s.region,
		HTTP:   credentials.HTTPOptions{Dial: dial},
		Cache:  credentials.CacheOptions{Logger: s.logger},
	})
}

// signingError says that an upgrade could not be signed.
type signingError struct{ err error }

func (e *signingError) Error() string { return e.err.Error() }
func (e *signingError) Unwrap() error { return e.err }

// isCredentials reports whether credentials or a signature could not be had.
func isCredentials(err error) bool {
	var provider *credentials.Error
	var signing *signingError
	return errors.As(err, &provider) || errors.As(err, &signing)
}

// NewWebsocketWithCustomHandshake makes a client that connects over WebSocket
// and lets transform change URL, query and headers of each upgrade: to sign it
// in another way, or to put a URL in place that somebody else has signed. See
// [websocket.HandshakeTransform] for what it may do. It must not be nil.
func NewWebsocketWithCustomHandshake(endpoint string, transform websocket.HandshakeTransform, options ...Option) (*mqtt5.Client, error) {
	if transform == nil {
		return nil, invalid("NewWebsocketWithCustomHandshake: the transform is nil; give the function that signs the upgrade")
	}
	return apply(options).build(endpoint, method{
		websocket:     true,
		transform:     transform,
		transformHint: "the function given to NewWebsocketWithCustomHandshake failed",
		upgradeHint: func(e *websocket.UpgradeError) string {
			if aboutSignature(e.Body) {
				return sigv4.Hint(signatureRefusal(e))
			}
			return upgradeHint(e, "the handshake")
		},
	})
}

// NewWebsocketWithCustomAuthorizer makes a client that connects over WebSocket
// and that a custom authorizer judges, by the user name and the password of the
// CONNECT.
func NewWebsocketWithCustomAuthorizer(endpoint string, a CustomAuthorizer, options ...Option) (*mqtt5.Client, error) {
	s := apply(options)
	s.setAuthorizer(&a)
	return s.build(endpoint, method{
		websocket:   true,
		upgradeHint: func(e *websocket.UpgradeError) string { return upgradeHint(e, "the custom authorizer") },
	})
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
