// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentity"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentity/types"
)

// CognitoOptions configures [NewCognito]. Exactly one of IdentityID and
// IdentityPoolID is required.
type CognitoOptions struct {
	// IdentityID is the id of one identity, "<region>:<uuid>".
	IdentityID string

	// IdentityPoolID is the id of an identity pool, which looks the same. The
	// provider then gets an identity of the pool, once, and keeps it: the one that
	// belongs to the logins, or a new guest. To be the same guest after a restart,
	// give an IdentityID.
	IdentityPoolID string

	// AccountID is the account of the pool; the service needs it rarely.
	AccountID string

	// Logins maps identity providers to tokens, for example
	// "accounts.google.com" to an OpenID Connect token. Default: none, which
	// makes the identity a guest.
	Logins map[string]string `json:"-"`

	// FetchLogins gives the logins instead, at each request, so that tokens which
	// expire can be fresh.
	FetchLogins func(ctx context.Context) (map[string]string, error)

	// CustomRoleARN is the role to take if the logins allow several. Default: the
	// one that the pool chooses.
	CustomRoleARN string

	// Region of the pool. Default: the one in the id.
	Region string

	// Endpoint overrides the URL of the service. Default:
	// AWS_ENDPOINT_URL_COGNITO_IDENTITY, AWS_ENDPOINT_URL, then the service's own
	// of the region.
	Endpoint string

	// Config is an AWS SDK configuration to start from. Its HTTP client and retry
	// policy are used if HTTP is zero. Optional.
	Config *aws.Config

	HTTP  HTTPOptions
	Cache CacheOptions
}

// Format prints the options without the logins.
func (o CognitoOptions) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "credentials.CognitoOptions{IdentityID:%q IdentityPoolID:%q CustomRoleARN:%q Region:%q Logins:%d}",
		o.IdentityID, o.IdentityPoolID, o.CustomRoleARN, o.Region, len(o.Logins))
}

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o CognitoOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }

// NewCognito returns a cached provider of the credentials of an Amazon Cognito
// identity (GetCredentialsForIdentity).
//
// A frequent mistake is to give the id of a pool as IdentityID. The service
// then knows no such identity, and the error is [ErrIdentity] and says so; the
// ids cannot be distinguished before. ARNs and ids of user pools are refused here.
func NewCognito(o CognitoOptions) (*Provider, error) {
	id := o.IdentityID + o.IdentityPoolID
	var errs []error
	switch {
	case o.IdentityID == "" && o.IdentityPoolID == "":
		errs = append(errs, errors.New("CognitoOptions.IdentityID or IdentityPoolID is required"))
	case o.IdentityID != "" && o.IdentityPoolID != "":
		errs = append(errs, errors.New("CognitoOptions.IdentityID and IdentityPoolID are both set"))
	default:
		errs = append(errs, checkID(id))
	}
	if o.Logins != nil && o.FetchLogins != nil {
		errs = append(errs, errors.New("CognitoOptions.Logins and FetchLogins are both set"))
	}
	s := service{region: o.Region, endpoint: o.Endpoint, base: o.Config, http: o.HTTP}
	errs = append(errs, s.validate(), o.Cache.validate())
	if err := errors.Join(errs...); err != nil {
		return nil, newError("Cognito", err)
	}
	if s.region == "" {
		s.region, _, _ = strings.Cut(id, ":")
	}
	o.Logins = maps.Clone(o.Logins)
	c := &cognito{service: s, o: o, id: o.IdentityID}
	return cached(&Provider{name: "Cognito " + id, retrieve: c.retrieve}, o.Cache), nil
}

// checkID rejects ids that are not those of identities and pools.
func checkID(id string) error {
	region, uuid, ok := strings.Cut(id, ":")
	switch {
	case strings.HasPrefix(id, "arn:") && strings.Contains(id, "identitypool/"):
		return fmt.Errorf("%w: %q is the ARN of an identity pool: set IdentityPoolID to the part after the slash", ErrIdentity, id)
	case !ok && strings.Contains(id, "_"):
		return fmt.Errorf("%w: %q looks like the id of a user pool: an identity or an identity pool is needed, <region>:<uuid>", ErrIdentity, id)
	case !ok || region == "" || uuid == "" || strings.Contains(uuid, ":"):
		return fmt.Errorf("%w: %q does not look like <region>:<uuid>", ErrIdentity, id)
	}
	return nil
}

type cognito struct {
	service
	o CognitoOptions

	mu sync.Mutex
	id string // of the identity, once it is known
}

func (c *cognito) retrieve(ctx context.Context) (aws.Credentials, error) {
	logins := c.o.Logins
	if c.o.FetchLogins != nil {
		var err error
		if logins, err = c.o.FetchLogins(ctx); err != nil {
			return aws.Credentials{}, fmt.Errorf("fetch logins: %w", err)
		}
	}
	cfg, err := c.config(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	cfg.Credentials = aws.AnonymousCredentials{}
	client := cognitoidentity.NewFromConfig(cfg, func(o *cognitoidentity.Options) {
		o.BaseEndpoint = c.baseEndpoint(o.BaseEndpoint)
	})
	id, err := c.identity(ctx, client, logins)
	if err != nil {
		return aws.Credentials{}, err
	}
	in := &cognitoidentity.GetCredentialsForIdentityInput{IdentityId: &id, Logins: logins}
	if c.o.CustomRoleARN != "" {
		in.CustomRoleArn = &c.o.CustomRoleARN
	}
	out, err := client.GetCredentialsForIdentity(ctx, in)
	if err != nil {
		return aws.Credentials{}, c.explain(err)
	}
	if out.Credentials == nil || out.Credentials.Expiration == nil {
		return aws.Credentials{}, errNoCredentials
	}
	return aws.Credentials{
		AccessKeyID:     aws.ToString(out.Credentials.AccessKeyId),
		SecretAccessKey: aws.ToString(out.Credentials.SecretKey),
		SessionToken:    aws.ToString(out.Credentials.SessionToken),
		CanExpire:       true,
		Expires:         *out.Credentials.Expiration,
		Source:          "CognitoIdentity",
	}, nil
}

// identity returns the identity, asking the pool for one the first time.
func (c *cognito) identity(ctx context.Context, client *cognitoidentity.Client, logins map[string]string) (string, error) {
	c.mu.Lock()
	id := c.id
	c.mu.Unlock()
	if id != "" {
		return id, nil
	}
	in := &cognitoidentity.GetIdInput{IdentityPoolId: &c.o.IdentityPoolID, Logins: logins}
	if c.o.AccountID != "" {
		in.AccountId = &c.o.AccountID
	}
	out, err := client.GetId(ctx, in)
	if err != nil {
		return "", c.explain(err)
	}
	if id = aws.ToString(out.IdentityId); id == "" {
		return "", errors.New("the reply has no identity id")
	}
	c.mu.Lock()
	c.id = id
	c.mu.Unlock()
	return id, nil
}

func (c *cognito) explain(err error) error {
	var notFound *types.ResourceNotFoundException
	var notAuthorized *types.NotAuthorizedException
	switch {
	case errors.As(err, &notFound) && c.o.IdentityPoolID != "":
		c.mu.Lock()
		c.id = "" // deleted since; the pool gives another
		c.mu.Unlock()
		return fmt.Errorf("no such identity pool in %s (if %q is the id of an identity, set IdentityID instead): %w", c.region, c.o.IdentityPoolID, err)
	case errors.As(err, &notFound):
		return fmt.Errorf("%w: %s knows no identity %q: if this is the id of an identity pool, set IdentityPoolID instead: %w",
			ErrIdentity, c.region, c.o.IdentityID, err)
	case errors.As(err, &notAuthorized):
		return fmt.Errorf("not authorized (guests may not be allowed in the pool, a login may have expired, or the identity belongs to other logins): %w", err)
	}
	return err
}
