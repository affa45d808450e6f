// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
)

// SSOOptions configures [NewSSO].
type SSOOptions struct {
	// AccountID and RoleName say whose credentials are wanted. Required.
	AccountID, RoleName string

	// Region of the identity center. Required, unless Config gives it.
	Region string

	// SessionName is the sso-session under which the login stored its token; such
	// a token is renewed when it can be. Give this or StartURL.
	SessionName string

	// StartURL is the user portal, for logins without an sso-session.
	StartURL string

	// TokenFile is where the login stored its token. Default: the file in
	// ~/.aws/sso/cache that belongs to SessionName or StartURL.
	TokenFile string

	// Endpoint overrides the URL of the portal service; Config is as in
	// [AssumeRoleOptions].
	Endpoint string
	Config   *aws.Config

	HTTP  HTTPOptions
	Cache CacheOptions
}

// Format prints the options without credentials.
func (o SSOOptions) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "credentials.SSOOptions{AccountID:%q RoleName:%q Region:%q SessionName:%q StartURL:%q}",
		o.AccountID, o.RoleName, o.Region, o.SessionName, o.StartURL)
}

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o SSOOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// NewSSO returns a cached provider of credentials from IAM Identity Center. It
// needs a login that a person made before, for example with `aws sso login`.
func NewSSO(o SSOOptions) (*Provider, error) {
	s := service{region: o.Region, endpoint: o.Endpoint, base: o.Config, http: o.HTTP}
	errs := []error{s.validate(), o.Cache.validate()}
	if o.AccountID == "" || o.RoleName == "" {
		errs = append(errs, errors.New("SSOOptions.AccountID and RoleName are required"))
	}
	if o.SessionName == "" && o.StartURL == "" && o.TokenFile == "" {
		errs = append(errs, errors.New("one of SSOOptions.SessionName, StartURL and TokenFile is required"))
	}
	if o.Region == "" && (o.Config == nil || o.Config.Region == "") {
		errs = append(errs, errors.New("SSOOptions.Region is required"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, newError("SSO", err)
	}
	return cached(s.sso(o), o.Cache), nil
}

func (s service) sso(o SSOOptions) *Provider {
	return &Provider{name: "SSO role " + o.RoleName, retrieve: func(ctx context.Context) (aws.Credentials, error) {
		cfg, err := s.config(ctx)
		if err != nil {
			return aws.Credentials{}, err
		}
		client := sso.NewFromConfig(cfg, func(c *sso.Options) { c.BaseEndpoint = s.baseEndpoint(c.BaseEndpoint) })
		file := o.TokenFile
		if file == "" {
			key := o.SessionName
			if key == "" {
				key = o.StartURL
			}
			if file, err = ssocreds.StandardCachedTokenFilepath(key); err != nil {
				return aws.Credentials{}, err
			}
		}
		c, err := ssocreds.New(checkedSSO{client}, o.AccountID, o.RoleName, o.StartURL, func(p *ssocreds.Options) {
			p.CachedTokenFilepath = file
			if o.SessionName != "" {
				oidc := ssooidc.NewFromConfig(cfg, func(c *ssooidc.Options) { c.BaseEndpoint = s.baseEndpoint(c.BaseEndpoint) })
				p.SSOTokenProvider = ssocreds.NewSSOTokenProvider(oidc, file)
			}
		}).Retrieve(ctx)
		var invalid *ssocreds.InvalidTokenError
		if errors.As(err, &invalid) {
			err = fmt.Errorf("%w: log in again, for example with `aws sso login`", err)
		}
		return c, err
	}}
}

// checkedSSO turns a reply without credentials into an error; package ssocreds
// takes them for granted.
type checkedSSO struct{ *sso.Client }

func (c checkedSSO) GetRoleCredentials(ctx context.Context, in *sso.GetRoleCredentialsInput, opts ...func(*sso.Options)) (*sso.GetRoleCredentialsOutput, error) {
	out, err := c.Client.GetRoleCredentials(ctx, in, opts...)
	if err == nil && out.RoleCredentials == nil {
		return nil, errNoCredentials
	}
	return out, err
}
