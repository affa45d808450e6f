// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"context"
	"fmt"
	"time"
)

// Credentials sign requests. AccessKeyID and SecretAccessKey are required
// unless Anonymous is set.
type Credentials struct {
	AccessKeyID     string `json:"-"`
	SecretAccessKey string `json:"-"`
	// SessionToken is required for temporary credentials.
	SessionToken string `json:"-"`
	// Expires is when the credentials expire; zero if never or not known.
	Expires time.Time
	// Anonymous means that requests are sent unsigned.
	Anonymous bool
}

// Format prints nothing of the credentials, for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprint(f, "sigv4.Credentials{…}") }

// MarshalText keeps secrets out of encoders such as encoding/json.
func (c Credentials) MarshalText() ([]byte, error) { return fmt.Append(nil, c), nil }

// CredentialsProvider is a source of credentials. Implementations are safe for
// concurrent use and obey the context.
//
// Every provider of package credentials is one. A provider of the AWS SDK for
// Go becomes one by credentials.FromProvider, an aws.Config by
// credentials.FromConfig. This package does not import the AWS SDK, so that
// programs which sign nothing do not compile it.
type CredentialsProvider interface {
	Credentials(ctx context.Context) (Credentials, error)
}

// CredentialsFunc is a function as a [CredentialsProvider].
type CredentialsFunc func(ctx context.Context) (Credentials, error)

// Credentials calls f.
func (f CredentialsFunc) Credentials(ctx context.Context) (Credentials, error) { return f(ctx) }
