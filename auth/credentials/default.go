// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// DefaultOptions configures [NewDefault]. The zero value is the usual chain.
type DefaultOptions struct {
	// Profile is the profile to use. Default: AWS_PROFILE, then "default".
	Profile string

	// ConfigFile and CredentialsFile hold the profiles. Default: AWS_CONFIG_FILE
	// and AWS_SHARED_CREDENTIALS_FILE, then the files in ~/.aws.
	ConfigFile, CredentialsFile string

	// Region of STS. Default: that of the profile, then [ResolveRegion].
	Region string

	// HTTP reaches STS and the SSO portal, Metadata the container and instance
	// metadata endpoints.
	HTTP, Metadata HTTPOptions

	Cache CacheOptions
}

// NewDefault returns a cached chain of the sources that devices and gateways
// usually have, in the order of the other device SDKs:
//
//  1. the environment ([NewEnvironment]);
//  2. the profile ([NewProfile]);
//  3. an STS web identity from the environment ([NewWebIdentity]);
//  4. the container endpoint ([NewContainer]) if its environment variables are
//     set, otherwise instance metadata ([NewIMDS]) unless it is disabled.
//
// The first that gives credentials wins, at each renewal.
func NewDefault(o DefaultOptions) (*Provider, error) {
	if err := errors.Join(o.HTTP.validate(), o.Metadata.validate(), o.Cache.validate()); err != nil {
		return nil, newError("default chain", err)
	}
	webIdentity := service{region: o.Region, http: o.HTTP}
	inContainer := container(ContainerOptions{HTTP: o.Metadata})
	onInstance := instanceMetadata(IMDSOptions{HTTP: o.Metadata})
	metadata := &Provider{name: "container or IMDS", retrieve: func(ctx context.Context) (aws.Credentials, error) {
		if os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" || os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "" {
			return inContainer.Retrieve(ctx)
		}
		return onInstance.Retrieve(ctx)
	}}
	chain, err := NewChain(
		NewEnvironment(),
		profile(ProfileOptions{
			Name: o.Profile, ConfigFile: o.ConfigFile, CredentialsFile: o.CredentialsFile,
			Region: o.Region, HTTP: o.HTTP, Metadata: o.Metadata,
		}),
		webIdentity.webIdentity(WebIdentityOptions{}),
		metadata,
	)
	if err != nil {
		return nil, err
	}
	chain.name = "default chain"
	chain.region = profileRegion(o.Region, o.Profile, o.ConfigFile, o.CredentialsFile)
	return cached(chain, o.Cache), nil
}
