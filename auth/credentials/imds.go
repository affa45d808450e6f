// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// IMDSOptions configures [NewIMDS].
type IMDSOptions struct {
	// Endpoint is the URL of the instance metadata service. Default:
	// AWS_EC2_METADATA_SERVICE_ENDPOINT, then http://169.254.169.254, or
	// http://[fd00:ec2::254] if AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is IPv6.
	Endpoint string

	// DisableV1 refuses the fallback to version 1 of the service, which does not
	// use tokens, if no token can be had. The fallback is also off if
	// AWS_EC2_METADATA_V1_DISABLED is true.
	DisableV1 bool

	HTTP  HTTPOptions
	Cache CacheOptions
}

// NewIMDS returns a cached provider of the credentials of the role of an EC2
// instance (or an Outposts or Snow device), from version 2 of the instance
// metadata service. The error is [ErrNotConfigured] if
// AWS_EC2_METADATA_DISABLED is set to anything but "false".
func NewIMDS(o IMDSOptions) (*Provider, error) {
	if err := errors.Join(o.HTTP.validate(), o.Cache.validate()); err != nil {
		return nil, newError("IMDS", err)
	}
	return cached(instanceMetadata(o), o.Cache), nil
}

func metadataDisabled() bool {
	v := os.Getenv("AWS_EC2_METADATA_DISABLED")
	return v != "" && !strings.EqualFold(v, "false")
}

func instanceMetadata(o IMDSOptions) *Provider {
	return &Provider{name: "IMDS", retrieve: func(ctx context.Context) (aws.Credentials, error) {
		if metadataDisabled() {
			return aws.Credentials{}, fmt.Errorf("%w: AWS_EC2_METADATA_DISABLED is set", ErrNotConfigured)
		}
		env, err := config.NewEnvConfig()
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("environment: %w", err)
		}
		h := o.HTTP.withDefaults(metadataConnectTimeout, metadataTimeout)
		status := &lastStatus{client: h.client()}
		client := imds.NewFromConfig(aws.Config{
			HTTPClient:    status,
			Retryer:       h.retryer,
			ConfigSources: []any{env},
		}, func(i *imds.Options) {
			if o.Endpoint != "" {
				i.Endpoint = o.Endpoint
			}
			if o.DisableV1 {
				i.EnableFallback = aws.FalseTernary
			}
		})
		c, err := ec2rolecreds.New(func(r *ec2rolecreds.Options) { r.Client = client }).Retrieve(ctx)
		if code := int(status.code.Load()); err != nil && code >= http.StatusBadRequest {
			err = &refusedError{code: code, err: err}
		}
		return c, err
	}}
}

// lastStatus remembers the status of the latest reply: the errors of the IMDS
// client do not lead to it.
type lastStatus struct {
	client *http.Client
	code   atomic.Int32
}

func (l *lastStatus) Do(r *http.Request) (*http.Response, error) {
	resp, err := l.client.Do(r)
	if err != nil {
		l.code.Store(0)
		return nil, err
	}
	l.code.Store(int32(resp.StatusCode))
	return resp, nil
}

// refusedError adds a status to an error.
type refusedError struct {
	code int
	err  error
}

func (e *refusedError) Error() string       { return e.err.Error() }
func (e *refusedError) Unwrap() error       { return e.err }
func (e *refusedError) HTTPStatusCode() int { return e.code }
