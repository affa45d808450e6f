// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// AssumeRoleOptions configures [NewAssumeRole].
type AssumeRoleOptions struct {
	// RoleARN is the role to assume. Required.
	RoleARN string

	// Source gives the credentials that sign the request. Default: those of Config.
	Source aws.CredentialsProvider

	// SessionName appears in the service's logs. Default: one made from the time.
	SessionName string

	// ExternalID is what the role's trust policy may demand. Default: none.
	ExternalID string

	// Duration is the life of the credentials, from 15 minutes to the maximum of
	// the role. Default: 15 minutes.
	Duration time.Duration

	// Region of the STS endpoint. Default: that of Config, then [ResolveRegion].
	Region string

	// Endpoint overrides the URL of the service. Default: AWS_ENDPOINT_URL_STS,
	// AWS_ENDPOINT_URL, then the service's own of the region.
	Endpoint string

	// Config is an AWS SDK configuration to start from. Its HTTP client and retry
	// policy are used if HTTP is zero. Optional.
	Config *aws.Config

	HTTP  HTTPOptions
	Cache CacheOptions
}

// Format prints the options without credentials.
func (o AssumeRoleOptions) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "credentials.AssumeRoleOptions{RoleARN:%q Region:%q}", o.RoleARN, o.Region)
}

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o AssumeRoleOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// NewAssumeRole returns a cached provider of a role's credentials, from STS
// AssumeRole.
func NewAssumeRole(o AssumeRoleOptions) (*Provider, error) {
	const name = "STS AssumeRole"
	var errs []error
	source := o.Source
	if source == nil && o.Config != nil {
		source = o.Config.Credentials
	}
	switch {
	case source == nil:
		errs = append(errs, errors.New("AssumeRoleOptions.Source is required"))
	case isNil(source):
		errs = append(errs, fmt.Errorf("AssumeRoleOptions.Source: %w", errNilProvider))
	}
	if o.RoleARN == "" {
		errs = append(errs, errors.New("AssumeRoleOptions.RoleARN is required"))
	}
	if o.Duration != 0 && o.Duration < 15*time.Minute {
		errs = append(errs, errors.New("AssumeRoleOptions.Duration is below 15 minutes"))
	}
	s := service{region: o.Region, endpoint: o.Endpoint, base: o.Config, http: o.HTTP}
	errs = append(errs, s.validate(), o.Cache.validate())
	if err := errors.Join(errs...); err != nil {
		return nil, newError(name, err)
	}
	return cached(s.assumeRole(o.RoleARN, source, func(a *stscreds.AssumeRoleOptions) {
		a.RoleSessionName = o.SessionName
		if o.Duration > 0 {
			a.Duration = o.Duration
		}
		if o.ExternalID != "" {
			a.ExternalID = &o.ExternalID
		}
	}), o.Cache), nil
}

func (s service) sts(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) { o.BaseEndpoint = s.baseEndpoint(o.BaseEndpoint) })
}

func (s service) assumeRole(arn string, source aws.CredentialsProvider, opts func(*stscreds.AssumeRoleOptions)) *Provider {
	return &Provider{
		name: "STS AssumeRole of " + arn,
		retrieve: func(ctx context.Context) (aws.Credentials, error) {
			cfg, err := s.config(ctx)
			if err != nil {
				return aws.Credentials{}, err
			}
			cfg.Credentials = source
			return stscreds.NewAssumeRoleProvider(checkedSTS{s.sts(cfg)}, arn, opts).Retrieve(ctx)
		},
		invalidate: wrap("source", source).Invalidate,
	}
}

// checkedSTS turns replies without all of the credentials into errors; package
// stscreds takes them for granted.
type checkedSTS struct{ *sts.Client }

func (c checkedSTS) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, opts ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	out, err := c.Client.AssumeRole(ctx, in, opts...)
	if err == nil && (out.Credentials == nil || out.Credentials.Expiration == nil) {
		return nil, errNoCredentials
	}
	return out, err
}

func (c checkedSTS) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, opts ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	out, err := c.Client.AssumeRoleWithWebIdentity(ctx, in, opts...)
	if err == nil && (out.Credentials == nil || out.Credentials.Expiration == nil) {
		return nil, errNoCredentials
	}
	return out, err
}

// WebIdentityOptions configures [NewWebIdentity].
type WebIdentityOptions struct {
	// RoleARN is the role to assume. Default: AWS_ROLE_ARN.
	RoleARN string

	// TokenFile holds the token of the identity provider; it is read at each
	// request. Default: AWS_WEB_IDENTITY_TOKEN_FILE.
	TokenFile string

	// Token gives the token instead of a file; it is called at each request.
	Token func(ctx context.Context) (string, error)

	// SessionName appears in the service's logs. Default: AWS_ROLE_SESSION_NAME,
	// then one made from the time.
	SessionName string

	// Duration is the life of the credentials. Default: that of the service, 1 hour.
	Duration time.Duration

	// Region, Endpoint and Config are as in [AssumeRoleOptions].
	Region   string
	Endpoint string
	Config   *aws.Config

	HTTP  HTTPOptions
	Cache CacheOptions
}

// Format prints the options without credentials.
func (o WebIdentityOptions) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "credentials.WebIdentityOptions{RoleARN:%q TokenFile:%q Region:%q}", o.RoleARN, o.TokenFile, o.Region)
}

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o WebIdentityOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// NewWebIdentity returns a cached provider of a role's credentials, from STS
// AssumeRoleWithWebIdentity. The environment is read at each request; the error
// is [ErrNotConfigured] if neither it nor the options give a role and a token.
func NewWebIdentity(o WebIdentityOptions) (*Provider, error) {
	s := service{region: o.Region, endpoint: o.Endpoint, base: o.Config, http: o.HTTP}
	if err := errors.Join(s.validate(), o.Cache.validate()); err != nil {
		return nil, newError("STS web identity", err)
	}
	if o.Token != nil && o.TokenFile != "" {
		return nil, newError("STS web identity", errors.New("WebIdentityOptions.Token and TokenFile are both set"))
	}
	return cached(s.webIdentity(o), o.Cache), nil
}

func (s service) webIdentity(o WebIdentityOptions) *Provider {
	return &Provider{name: "STS web identity", retrieve: func(ctx context.Context) (aws.Credentials, error) {
		role, session := o.RoleARN, o.SessionName
		if role == "" {
			role = os.Getenv("AWS_ROLE_ARN")
		}
		if session == "" {
			session = os.Getenv("AWS_ROLE_SESSION_NAME")
		}
		file := o.TokenFile
		if file == "" {
			file = os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")
		}
		if role == "" || o.Token == nil && file == "" {
			return aws.Credentials{}, fmt.Errorf("%w: AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE are not both set", ErrNotConfigured)
		}
		token, err := o.token(ctx, file)
		if err != nil {
			return aws.Credentials{}, err
		}
		cfg, err := s.config(ctx)
		if err != nil {
			return aws.Credentials{}, err
		}
		return stscreds.NewWebIdentityRoleProvider(checkedSTS{s.sts(cfg)}, role, identityToken(token),
			func(w *stscreds.WebIdentityRoleOptions) {
				w.RoleSessionName = session
				w.Duration = o.Duration
			}).Retrieve(ctx)
	}}
}

func (o WebIdentityOptions) token(ctx context.Context, file string) (string, error) {
	var token string
	if o.Token != nil {
		t, err := o.Token(ctx)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		token = t
	} else {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("token file: %w", err)
		}
		token = string(b)
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", errors.New("the token is empty")
	}
	return token, nil
}

type identityToken string

func (t identityToken) GetIdentityToken() ([]byte, error) { return []byte(t), nil }
