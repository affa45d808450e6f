// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// NewChain returns a provider that asks the given ones in order, each time, and
// gives the credentials of the first that has some. If none has, the error is
// [ErrNoCredentials] together with the errors of all.
func NewChain(providers ...aws.CredentialsProvider) (*Provider, error) {
	if len(providers) == 0 {
		return nil, newError("chain", errors.New("no providers given"))
	}
	links := make([]*Provider, len(providers))
	names := make([]string, len(providers))
	for i, p := range providers {
		if isNil(p) {
			return nil, newError("chain", fmt.Errorf("provider %d: %w", i, errNilProvider))
		}
		links[i] = wrap(fmt.Sprintf("%T", p), p)
		names[i] = links[i].name
	}
	return &Provider{
		name: "chain of " + strings.Join(names, ", "),
		retrieve: func(ctx context.Context) (aws.Credentials, error) {
			errs := []error{ErrNoCredentials}
			for _, p := range links {
				c, err := p.Retrieve(ctx)
				if err == nil {
					return c, nil
				}
				if ctx.Err() != nil {
					return aws.Credentials{}, err
				}
				errs = append(errs, err)
			}
			return aws.Credentials{}, errors.Join(errs...)
		},
		invalidate: func() {
			for _, p := range links {
				p.Invalidate()
			}
		},
	}, nil
}
