// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

// RegionOptions are the places that may name the region.
type RegionOptions struct {
	// Region is taken if it is set.
	Region string

	// Endpoint is an AWS IoT endpoint, read by [sigv4.RegionFromEndpoint].
	Endpoint string

	// Profile is the profile to look in. Default: AWS_PROFILE, then "default".
	Profile string

	// ConfigFile and CredentialsFile hold the profile. Default: AWS_CONFIG_FILE
	// and AWS_SHARED_CREDENTIALS_FILE, then the files in ~/.aws.
	ConfigFile, CredentialsFile string
}

// ResolveRegion returns the first of: the Region option, the region of the
// endpoint, AWS_REGION, AWS_DEFAULT_REGION, the region of the profile. If none
// tells, the error is [sigv4.ErrRegion].
func ResolveRegion(ctx context.Context, o RegionOptions) (string, error) {
	if o.Region != "" {
		return o.Region, nil
	}
	cause := error(sigv4.ErrRegion)
	if o.Endpoint != "" {
		region, err := sigv4.RegionFromEndpoint(o.Endpoint)
		if err == nil {
			return region, nil
		}
		cause = err
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region := os.Getenv(name); region != "" {
			return region, nil
		}
	}
	shared, err := loadProfile(ctx, o.Profile, o.ConfigFile, o.CredentialsFile)
	if err == nil && shared.Region != "" {
		return shared.Region, nil
	}
	if err != nil && !errors.Is(err, ErrNotConfigured) {
		return "", fmt.Errorf("%w; %w", cause, err)
	}
	return "", fmt.Errorf("%w: neither the options nor AWS_REGION, AWS_DEFAULT_REGION or the profile name one", cause)
}

// profileRegion returns the function that finds the region of a provider: the
// one given, else that of the profile.
func profileRegion(region, profile, configFile, credentialsFile string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if region != "" {
			return region, nil
		}
		shared, err := loadProfile(ctx, profile, configFile, credentialsFile)
		if err != nil && !errors.Is(err, ErrNotConfigured) {
			return "", err
		}
		return shared.Region, nil
	}
}

// loadProfile reads a profile; it is ErrNotConfigured if there is none.
func loadProfile(ctx context.Context, name, configFile, credentialsFile string) (config.SharedConfig, error) {
	if name == "" {
		name = os.Getenv("AWS_PROFILE")
	}
	if name == "" {
		name = "default"
	}
	shared, err := config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) {
		if configFile == "" {
			configFile = os.Getenv("AWS_CONFIG_FILE")
		}
		if configFile != "" {
			o.ConfigFiles = []string{configFile}
		}
		if credentialsFile == "" {
			credentialsFile = os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
		}
		if credentialsFile != "" {
			o.CredentialsFiles = []string{credentialsFile}
		}
	})
	var missing config.SharedConfigProfileNotExistError
	switch {
	case errors.As(err, &missing):
		return shared, fmt.Errorf("%w: there is no profile %q", ErrNotConfigured, name)
	case err != nil:
		return shared, fmt.Errorf("profile %q: %w", name, err)
	}
	return shared, nil
}
