// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// service is what the providers that call an AWS service have in common.
type service struct {
	region   string
	endpoint string
	base     *aws.Config
	http     HTTPOptions
	profile  *config.SharedConfig // where the call is made for a profile
}

func (s service) validate() error { return s.http.validate() }

// config returns the AWS SDK configuration for one call. It is made anew each
// time so that the environment and profiles may change.
func (s service) config(ctx context.Context) (aws.Config, error) {
	var cfg aws.Config
	if s.base != nil {
		cfg = s.base.Copy()
	} else {
		env, err := config.NewEnvConfig()
		if err != nil {
			return cfg, fmt.Errorf("environment: %w", err)
		}
		cfg.ConfigSources = []any{env}
		if s.profile != nil {
			cfg.ConfigSources = append(cfg.ConfigSources, *s.profile)
		}
	}
	if s.base == nil || cfg.HTTPClient == nil || !s.http.isZero() {
		h := s.http.withDefaults(defaultConnectTimeout, defaultTimeout)
		cfg.HTTPClient = h.client()
		cfg.Retryer = h.retryer
	}
	if s.region != "" {
		cfg.Region = s.region
	}
	if cfg.Region == "" {
		region, err := ResolveRegion(ctx, RegionOptions{})
		if err != nil {
			return cfg, err
		}
		cfg.Region = region
	}
	return cfg, nil
}

// baseEndpoint returns the endpoint override for a client, nil for none.
func (s service) baseEndpoint(configured *string) *string {
	if s.endpoint != "" {
		return &s.endpoint
	}
	return configured
}

var errNoCredentials = errors.New("the reply has no credentials")
