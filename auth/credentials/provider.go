// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

// Provider is a source of AWS credentials made by this package. It is a
// [sigv4.CredentialsProvider], which signs connections of this SDK, and an
// [aws.CredentialsProvider], which serves clients of the AWS SDK. It is safe for
// concurrent use.
type Provider struct {
	// Functions only: package fmt prints unexported fields of foreign structs by
	// reflection but cannot see what a function holds.
	retrieve   func(context.Context) (aws.Credentials, error)
	invalidate func()
	region     func(context.Context) (string, error)
	name       string
	anonymous  bool
}

var (
	_ aws.CredentialsProvider   = (*Provider)(nil)
	_ sigv4.CredentialsProvider = (*Provider)(nil)
)

// errNilProvider is the error of a program that does not look at the error of a
// constructor.
var errNilProvider = errors.New("the provider is nil: the constructor that should have made it returned an error")

// isNil reports whether there is no provider, also when an interface holds a nil
// pointer to one of ours.
func isNil(p aws.CredentialsProvider) bool {
	own, ok := p.(*Provider)
	return p == nil || ok && own == nil
}

// Credentials returns what Retrieve does, in the form that package sigv4 signs
// with.
func (p *Provider) Credentials(ctx context.Context) (sigv4.Credentials, error) {
	if p != nil && p.anonymous {
		return sigv4.Credentials{Anonymous: true}, nil
	}
	c, err := p.Retrieve(ctx)
	if err != nil {
		return sigv4.Credentials{}, err
	}
	s := sigv4.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	if c.CanExpire {
		s.Expires = c.Expires
	}
	return s, nil
}

// Region returns the region that the source of the credentials names: that of
// the profile for [NewProfile] and [NewDefault], that of the configuration for
// [FromConfig]. It is "" if the source names none.
func (p *Provider) Region(ctx context.Context) (string, error) {
	if p == nil || p.region == nil {
		return "", nil
	}
	return p.region(ctx)
}

// Retrieve returns credentials. Errors are of type [*Error].
//
// It blocks for as long as the source needs, and no longer than ctx allows. If
// ctx ends, the error wraps its cause; a request that other callers wait for
// goes on, one that nobody waits for is canceled.
func (p *Provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if p == nil {
		return aws.Credentials{}, newError("nil", errNilProvider)
	}
	c, err := p.attempt(ctx)
	if err == nil && !p.anonymous && (c.AccessKeyID == "" || c.SecretAccessKey == "") {
		err = errors.New("the source gave an empty access key or secret key")
	}
	if err != nil {
		return aws.Credentials{}, newError(p.name, err)
	}
	return c, nil
}

// attempt turns a panic of user code, or of a library that trusts the reply of
// a server, into an error.
func (p *Provider) attempt(ctx context.Context) (c aws.Credentials, err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value is left out: it may quote a reply.
			err = fmt.Errorf("panic (%T) while getting credentials", r)
		}
	}()
	return p.retrieve(ctx)
}

// Invalidate makes a cached provider forget its credentials, so that the next
// Retrieve asks the source. Call it when a service refused the credentials
// although they have not expired. It does nothing for uncached providers.
func (p *Provider) Invalidate() {
	if p != nil && p.invalidate != nil {
		p.invalidate()
	}
}

// IsCredentialsProvider tells the AWS SDK that a provider from [NewAnonymous]
// stands for [aws.AnonymousCredentials].
func (p *Provider) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	switch target.(type) {
	case aws.AnonymousCredentials, *aws.AnonymousCredentials:
		return p != nil && p.anonymous
	case *Provider:
		return target == aws.CredentialsProvider(p)
	}
	return false
}

// String names the source, without secrets.
func (p *Provider) String() string {
	if p == nil {
		return "credentials.Provider(nil)"
	}
	return "credentials.Provider(" + p.name + ")"
}

// Format prints what String returns, for every verb.
func (p *Provider) Format(f fmt.State, _ rune) { fmt.Fprint(f, p.String()) }

// StaticOptions are fixed credentials.
type StaticOptions struct {
	// AccessKeyID and SecretAccessKey are required.
	AccessKeyID     string `json:"-"`
	SecretAccessKey string `json:"-"`
	// SessionToken is required for temporary credentials.
	SessionToken string `json:"-"`
}

// Format prints nothing of the credentials.
func (o StaticOptions) Format(f fmt.State, _ rune) { fmt.Fprint(f, "credentials.StaticOptions{…}") }

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o StaticOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// NewStatic returns a provider of fixed credentials. They should not be part of
// a device's firmware; use them for tests and tools.
func NewStatic(o StaticOptions) (*Provider, error) {
	if o.AccessKeyID == "" || o.SecretAccessKey == "" {
		return nil, newError("static", errors.New("StaticOptions.AccessKeyID and SecretAccessKey are required"))
	}
	return &Provider{
		name: "static",
		retrieve: func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     o.AccessKeyID,
				SecretAccessKey: o.SecretAccessKey,
				SessionToken:    o.SessionToken,
				Source:          "Static",
			}, nil
		},
	}, nil
}

// NewAnonymous returns a provider that gives empty credentials: package sigv4
// and the clients of the AWS SDK then send requests unsigned.
func NewAnonymous() *Provider {
	return &Provider{
		name:      "anonymous",
		anonymous: true,
		retrieve: func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{Source: "Anonymous"}, nil
		},
	}
}

// NewDelegate returns a provider that calls fn each time credentials are
// wanted. fn must be safe for concurrent use and obey its context.
func NewDelegate(fn func(ctx context.Context) (aws.Credentials, error)) (*Provider, error) {
	if fn == nil {
		return nil, newError("delegate", errors.New("the function is nil"))
	}
	return &Provider{name: "delegate", retrieve: fn}, nil
}

// FromConfig returns the provider of an AWS SDK configuration, which comes with
// a cache of the SDK's own.
func FromConfig(cfg aws.Config) (*Provider, error) {
	if isNil(cfg.Credentials) {
		return nil, newError("aws.Config", errors.New("Config.Credentials is not set"))
	}
	p := *wrap("aws.Config", cfg.Credentials)
	p.region = func(context.Context) (string, error) { return cfg.Region, nil }
	return &p, nil
}

// FromProvider makes a provider of the AWS SDK one of this package. What it
// caches stays cached.
func FromProvider(p aws.CredentialsProvider) (*Provider, error) {
	if isNil(p) {
		return nil, newError("provider", errNilProvider)
	}
	return wrap(fmt.Sprintf("%T", p), p), nil
}

// wrap makes a foreign provider one of ours.
func wrap(name string, p aws.CredentialsProvider) *Provider {
	if own, ok := p.(*Provider); ok {
		return own
	}
	anonymous := aws.IsCredentialsProvider(p, aws.AnonymousCredentials{}) ||
		aws.IsCredentialsProvider(p, (*aws.AnonymousCredentials)(nil))
	if anonymous {
		return NewAnonymous()
	}
	wrapped := &Provider{name: name, retrieve: p.Retrieve}
	if i, ok := p.(interface{ Invalidate() }); ok {
		wrapped.invalidate = i.Invalidate
	}
	return wrapped
}
