// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/logincreds"
	"github.com/aws/aws-sdk-go-v2/service/signin"
)

// login uses the token that `aws login` stored. The token is renewed, and
// stored again, when it has expired.
func (s service) login(session string) *Provider {
	return &Provider{name: "login session", retrieve: func(ctx context.Context) (aws.Credentials, error) {
		cfg, err := s.config(ctx)
		if err != nil {
			return aws.Credentials{}, err
		}
		file, err := logincreds.StandardCachedTokenFilepath(session, os.Getenv("AWS_LOGIN_CACHE_DIRECTORY"))
		if err != nil {
			return aws.Credentials{}, err
		}
		if err := checkLogin(file); err != nil {
			return aws.Credentials{}, fmt.Errorf("the token of login_session %q: %w: log in again with `aws login`", session, err)
		}
		client := signin.NewFromConfig(cfg, func(o *signin.Options) { o.BaseEndpoint = s.baseEndpoint(o.BaseEndpoint) })
		c, err := logincreds.New(client, file, func(l *logincreds.Options) {
			l.RestrictPermissions = true
		}).Retrieve(ctx)
		return c, err
	}}
}

// checkLogin reads the file of a login session. Package logincreds trusts the
// key in it, and panics if it is damaged.
func checkLogin(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var token struct {
		AccessToken json.RawMessage `json:"accessToken"`
		DPoPKey     string          `json:"dpopKey"`
	}
	if err := json.Unmarshal(data, &token); err != nil || token.AccessToken == nil {
		return fmt.Errorf("%s is damaged", file) // the error of package json may quote the file
	}
	block, _ := pem.Decode([]byte(token.DPoPKey))
	if block == nil {
		return fmt.Errorf("%s has a dpopKey that is not in PEM form", file)
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err != nil || key.Curve.Params().BitSize != 256 {
		return fmt.Errorf("%s has a dpopKey that is not a P-256 key", file)
	}
	return nil
}
