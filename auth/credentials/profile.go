// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
)

// ProfileOptions configures [NewProfile].
type ProfileOptions struct {
	// Name is the profile. Default: AWS_PROFILE, then "default".
	Name string

	// ConfigFile and CredentialsFile hold the profiles. Default: AWS_CONFIG_FILE
	// and AWS_SHARED_CREDENTIALS_FILE, then the files in ~/.aws.
	ConfigFile, CredentialsFile string

	// Region of the services that the profile needs. Default: that of the
	// profile, then [ResolveRegion].
	Region string

	// MFACode gives the code for profiles with an mfa_serial. Default: such
	// profiles are refused.
	MFACode func() (string, error)

	// HTTP reaches STS and the SSO portal, Metadata the container and instance
	// metadata endpoints.
	HTTP, Metadata HTTPOptions

	Cache CacheOptions
}

// NewProfile returns a cached provider of the credentials that a profile of the
// AWS configuration files describes. The files are read again at each renewal.
//
// A profile may hold keys, or name a source_profile or credential_source
// (Environment, Ec2InstanceMetadata, EcsContainer) together with a role_arn, a
// web_identity_token_file, an SSO login, a login_session, or a
// credential_process. The error is [ErrNotConfigured] if the profile does not
// exist or describes no credentials.
func NewProfile(o ProfileOptions) (*Provider, error) {
	if err := errors.Join(o.HTTP.validate(), o.Metadata.validate(), o.Cache.validate()); err != nil {
		return nil, newError("profile", err)
	}
	return cached(profile(o), o.Cache), nil
}

func profile(o ProfileOptions) *Provider {
	name := "profile"
	if o.Name != "" {
		name += " " + o.Name
	}
	return &Provider{name: name, region: profileRegion(o.Region, o.Name, o.ConfigFile, o.CredentialsFile), retrieve: func(ctx context.Context) (aws.Credentials, error) {
		shared, err := loadProfile(ctx, o.Name, o.ConfigFile, o.CredentialsFile)
		if err != nil {
			return aws.Credentials{}, err
		}
		region := o.Region
		if region == "" {
			region = shared.Region
		}
		p, err := o.provider(&shared, service{region: region, http: o.HTTP, profile: &shared})
		if err != nil {
			return aws.Credentials{}, err
		}
		return p.Retrieve(ctx)
	}}
}

// provider makes what a profile describes, and assumes its role with it.
func (o ProfileOptions) provider(shared *config.SharedConfig, s service) (*Provider, error) {
	source, err := o.source(shared, s)
	if err != nil || shared.RoleARN == "" {
		return source, err
	}
	if shared.WebIdentityTokenFile != "" && shared.Source == nil && shared.CredentialSource == "" && !shared.Credentials.HasKeys() {
		return source, nil // the role is assumed by the token itself
	}
	if shared.MFASerial != "" && o.MFACode == nil {
		return nil, fmt.Errorf("profile %q has an mfa_serial: ProfileOptions.MFACode is required", shared.Profile)
	}
	return s.assumeRole(shared.RoleARN, source, func(a *stscreds.AssumeRoleOptions) {
		a.RoleSessionName = shared.RoleSessionName
		if d := shared.RoleDurationSeconds; d != nil && *d > 15*time.Minute {
			a.Duration = *d
		}
		if shared.ExternalID != "" {
			a.ExternalID = &shared.ExternalID
		}
		if shared.MFASerial != "" {
			a.SerialNumber = &shared.MFASerial
			a.TokenProvider = o.MFACode
		}
	}), nil
}

func (o ProfileOptions) source(shared *config.SharedConfig, s service) (*Provider, error) {
	switch {
	case shared.Source != nil:
		return o.provider(shared.Source, s)
	case shared.Credentials.HasKeys():
		c := shared.Credentials
		return NewStatic(StaticOptions{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken})
	case shared.CredentialSource != "":
		switch shared.CredentialSource {
		case "Environment":
			return NewEnvironment(), nil
		case "Ec2InstanceMetadata":
			return instanceMetadata(IMDSOptions{HTTP: o.Metadata}), nil
		case "EcsContainer":
			return container(ContainerOptions{HTTP: o.Metadata}), nil
		}
		return nil, fmt.Errorf("profile %q: credential_source %q is none of Environment, Ec2InstanceMetadata, EcsContainer", shared.Profile, shared.CredentialSource)
	case shared.WebIdentityTokenFile != "":
		return s.webIdentity(WebIdentityOptions{
			RoleARN:     shared.RoleARN,
			TokenFile:   shared.WebIdentityTokenFile,
			SessionName: shared.RoleSessionName,
		}), nil
	case shared.SSOSession != nil:
		s.region = shared.SSOSession.SSORegion
		return s.sso(SSOOptions{
			AccountID: shared.SSOAccountID, RoleName: shared.SSORoleName,
			SessionName: shared.SSOSession.Name, StartURL: shared.SSOSession.SSOStartURL,
		}), nil
	case shared.SSOStartURL != "":
		s.region = shared.SSORegion
		return s.sso(SSOOptions{AccountID: shared.SSOAccountID, RoleName: shared.SSORoleName, StartURL: shared.SSOStartURL}), nil
	case shared.LoginSession != "":
		return s.login(shared.LoginSession), nil
	case shared.CredentialProcess != "":
		return process(ProcessOptions{Command: shared.CredentialProcess}), nil
	}
	return nil, fmt.Errorf("%w: profile %q describes no credentials", ErrNotConfigured, shared.Profile)
}
