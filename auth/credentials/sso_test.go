// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"crypto/sha1"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

// The token of a login is where `aws sso login` stores it: under the name of the
// session, or else under the start URL.
func TestSSO_tokenFile(t *testing.T) {
	const startURL = "https://example.awsapps.com/start"
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		w.net.Handle("portal.sso.eu-west-1.amazonaws.com:443", authtest.NewSSO(w.opts, bearer), w.pki.server("portal.sso.eu-west-1.amazonaws.com"))
		t.Setenv("HOME", w.dir)
		t.Setenv("USERPROFILE", w.dir)
		cache := filepath.Join(w.dir, ".aws", "sso", "cache")
		if err := os.MkdirAll(cache, 0o700); err != nil {
			t.Fatal(err)
		}
		config := w.file(t, "config", `
[profile session]
sso_session = company
sso_account_id = 123456789012
sso_role_name = example
[sso-session company]
sso_region = eu-west-1
sso_start_url = `+startURL+`
[profile old]
sso_region = eu-west-1
sso_start_url = `+startURL+`
sso_account_id = 123456789012
sso_role_name = example
`)
		for _, tt := range []struct {
			name, key string
			make      func() (*credentials.Provider, error)
		}{
			{"session", "company", func() (*credentials.Provider, error) {
				return credentials.NewSSO(credentials.SSOOptions{SessionName: "company", AccountID: "123456789012", RoleName: "example", Region: region, HTTP: w.http})
			}},
			{"start URL", startURL, func() (*credentials.Provider, error) {
				return credentials.NewSSO(credentials.SSOOptions{StartURL: startURL, AccountID: "123456789012", RoleName: "example", Region: region, HTTP: w.http})
			}},
			{"profile with a session", "company", func() (*credentials.Provider, error) {
				return credentials.NewProfile(credentials.ProfileOptions{Name: "session", ConfigFile: config, CredentialsFile: config, HTTP: w.http})
			}},
			{"profile with a start URL", startURL, func() (*credentials.Provider, error) {
				return credentials.NewProfile(credentials.ProfileOptions{Name: "old", ConfigFile: config, CredentialsFile: config, HTTP: w.http})
			}},
		} {
			file := filepath.Join(cache, fmt.Sprintf("%x.json", sha1.Sum([]byte(tt.key))))
			if err := os.WriteFile(file, []byte(`{"accessToken":"`+bearer+`","expiresAt":"2100-01-01T00:00:00Z"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			p := must(t)(tt.make())
			if _, err := p.Retrieve(t.Context()); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if _, err := must(t)(tt.make()).Retrieve(t.Context()); err == nil {
				t.Errorf("%s: no error without a token", tt.name)
			}
		}
	})
}

// The file of the environment is read at each request.
func TestContainer_tokenFileOfTheEnvironment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		h := authtest.NewContainer(w.opts, func() string { return bearer })
		w.net.Handle("169.254.170.2:80", h, nil)
		file := w.file(t, "token", "old")
		t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one")
		p := must(t)(credentials.NewContainer(credentials.ContainerOptions{HTTP: w.http}))
		if _, err := p.Retrieve(t.Context()); err == nil {
			t.Error("no error with a wrong token")
		}
		w.file(t, "token", bearer+"\r\n")
		mustRetrieve(t, p)
	})
}

// A header without an end is not read to its end.
func TestReply_largeHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		w.http.Attempts = 1
		w.net.Handle("169.254.170.2:80", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("X", strings.Repeat("x", 100<<10))
			_, _ = rw.Write([]byte(`{"AccessKeyId":"a","SecretAccessKey":"b","Token":"c","Expiration":"2100-01-01T00:00:00Z"}`))
		}), nil)
		_, err := must(t)(credentials.NewContainer(credentials.ContainerOptions{RelativeURI: "/x", HTTP: w.http})).Retrieve(t.Context())
		wantError(t, err, nil, "header")
	})
}

// Constructors name everything that is wrong, of each part of their options.
func TestConstructors_partsOfOptions(t *testing.T) {
	t.Parallel()
	cache, h := credentials.CacheOptions{MaxAge: -1}, credentials.HTTPOptions{Attempts: -1}
	for name, make := range map[string]func() (*credentials.Provider, error){
		"Cognito": func() (*credentials.Provider, error) {
			return credentials.NewCognito(credentials.CognitoOptions{IdentityID: identity, HTTP: h, Cache: cache})
		},
		"AssumeRole": func() (*credentials.Provider, error) {
			return credentials.NewAssumeRole(credentials.AssumeRoleOptions{RoleARN: role, Source: static(t), HTTP: h, Cache: cache})
		},
		"WebIdentity": func() (*credentials.Provider, error) {
			return credentials.NewWebIdentity(credentials.WebIdentityOptions{HTTP: h, Cache: cache})
		},
		"Container": func() (*credentials.Provider, error) {
			return credentials.NewContainer(credentials.ContainerOptions{HTTP: h, Cache: cache})
		},
		"IMDS": func() (*credentials.Provider, error) {
			return credentials.NewIMDS(credentials.IMDSOptions{HTTP: h, Cache: cache})
		},
		"SSO": func() (*credentials.Provider, error) {
			return credentials.NewSSO(credentials.SSOOptions{SessionName: "s", AccountID: "1", RoleName: "r", Region: region, HTTP: h, Cache: cache})
		},
		"X509": func() (*credentials.Provider, error) {
			return credentials.NewX509(credentials.X509Options{Endpoint: "e", RoleAlias: "a", HTTP: h, Cache: cache})
		},
		"Profile": func() (*credentials.Provider, error) {
			return credentials.NewProfile(credentials.ProfileOptions{HTTP: h, Cache: cache})
		},
		"Default": func() (*credentials.Provider, error) {
			return credentials.NewDefault(credentials.DefaultOptions{HTTP: h, Cache: cache})
		},
	} {
		_, err := make()
		if err == nil || !strings.Contains(err.Error(), "MaxAge") || !strings.Contains(err.Error(), "HTTPOptions") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := credentials.NewX509(credentials.X509Options{Endpoint: "https://u:SECRET@e", RoleAlias: "a", HTTP: credentials.HTTPOptions{TLS: newPKI(t).client}})
	wantError(t, err, nil, "user or a query")
	if strings.Contains(err.Error(), "SECRET") {
		t.Errorf("error %v", err)
	}
}
