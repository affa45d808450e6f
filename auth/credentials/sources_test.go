// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

func wantError(t *testing.T, err error, is error, contains ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	var e *credentials.Error
	if !errors.As(err, &e) {
		t.Errorf("error %T is not *credentials.Error", err)
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("error %q is not %q", err, is)
	}
	for _, s := range contains {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not contain %q", err, s)
		}
	}
}

func TestCognito_pool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		h := authtest.NewCognito(w.opts, nil, map[string]string{pool: identity})
		w.net.Handle("cognito-identity.eu-west-1.amazonaws.com:443", h, w.pki.server("cognito-identity.eu-west-1.amazonaws.com"))
		fetched := 0
		p := must(t)(credentials.NewCognito(credentials.CognitoOptions{
			IdentityPoolID: pool, AccountID: "123456789012", CustomRoleARN: role, HTTP: w.http, Cache: w.cache,
			FetchLogins: func(context.Context) (map[string]string, error) {
				fetched++
				return map[string]string{"login.example": jwt}, nil
			},
		}))
		mustRetrieve(t, p)
		p.Invalidate()
		mustRetrieve(t, p)
		if fetched != 2 || h.Calls() != 3 {
			t.Errorf("%d logins fetched, %d calls; want 2 and 3 (the identity is kept)", fetched, h.Calls())
		}
		var got []map[string]any
		for _, r := range h.Requests() {
			var body map[string]any
			if err := json.Unmarshal(r.Body, &body); err != nil {
				t.Fatal(err)
			}
			if r.Header.Get("Authorization") != "" {
				t.Error("the request is signed")
			}
			got = append(got, body)
		}
		if got[0]["IdentityPoolId"] != pool || got[0]["AccountId"] != "123456789012" {
			t.Errorf("GetId %v", got[0])
		}
		if got[1]["IdentityId"] != identity || got[1]["CustomRoleArn"] != role || got[1]["Logins"].(map[string]any)["login.example"] != jwt {
			t.Errorf("GetCredentialsForIdentity %v", got[1])
		}
	})
}

func TestCognito_mistakenIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		w.net.Handle("cognito-identity.eu-west-1.amazonaws.com:443", authtest.NewCognito(w.opts, nil, map[string]string{pool: identity}),
			w.pki.server("cognito-identity.eu-west-1.amazonaws.com"))
		p := must(t)(credentials.NewCognito(credentials.CognitoOptions{IdentityID: pool, HTTP: w.http}))
		_, err := p.Retrieve(t.Context())
		wantError(t, err, credentials.ErrIdentity, "identity pool", "IdentityPoolID")
		p = must(t)(credentials.NewCognito(credentials.CognitoOptions{IdentityPoolID: identity, HTTP: w.http}))
		_, err = p.Retrieve(t.Context())
		wantError(t, err, nil, "set IdentityID")
	})
	for _, c := range []struct{ id, contains string }{
		{"arn:aws:cognito-identity:eu-west-1:123456789012:identitypool/" + pool, "ARN of an identity pool"},
		{"eu-west-1_AbCdEfGhI", "user pool"},
		{"nonsense", "<region>:<uuid>"},
		{":", "<region>:<uuid>"},
	} {
		_, err := credentials.NewCognito(credentials.CognitoOptions{IdentityID: c.id})
		wantError(t, err, credentials.ErrIdentity, c.contains)
	}
	_, err := credentials.NewCognito(credentials.CognitoOptions{})
	wantError(t, err, nil, "required")
	_, err = credentials.NewCognito(credentials.CognitoOptions{IdentityID: identity, IdentityPoolID: pool})
	wantError(t, err, nil, "both set")
}

func TestX509_request(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		h := authtest.NewRoleAlias(w.opts, "my alias/1", "thing")
		h2 := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.TLS.NegotiatedProtocol != "" {
				t.Errorf("ALPN %q", r.TLS.NegotiatedProtocol)
			}
			h.ServeHTTP(rw, r)
		})
		cfg := w.pki.server("abc.credentials.example")
		cfg.NextProtos = []string{"x-amzn-mqtt-ca"}
		w.net.Handle("abc.credentials.example:8443", h2, cfg)
		o := credentials.X509Options{
			Endpoint: "abc.credentials.example:8443", RoleAlias: "my alias/1", ThingName: "thing",
			HTTP: w.http, Cache: w.cache,
		}
		p := must(t)(credentials.NewX509(o))
		mustRetrieve(t, p)
		p.Invalidate()
		mustRetrieve(t, p)
		if n := w.pki.calls.Load(); n != 2 {
			t.Errorf("the certificate was asked for %d times, want at each of 2 requests", n)
		}
		if r := h.Requests()[0]; r.URI != "/role-aliases/my%20alias%2F1/credentials" || r.Header.Get("X-Amzn-Iot-Thingname") != "thing" {
			t.Errorf("request %s %v", r.URI, r.Header)
		}
		o.ThingName = "stranger"
		_, err := must(t)(credentials.NewX509(o)).Retrieve(t.Context())
		wantError(t, err, nil, "403", "iot:AssumeRoleWithCertificate", "thing name")
		o.RoleAlias = "other"
		_, err = must(t)(credentials.NewX509(o)).Retrieve(t.Context())
		wantError(t, err, nil, "404", "role alias does not exist")
	})
}

func TestX509_tls(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name     string
		hook     func(w *world) func(context.Context, string) (*tls.Config, error)
		is       error
		contains string
	}{
		{"hook fails", func(*world) func(context.Context, string) (*tls.Config, error) {
			return func(context.Context, string) (*tls.Config, error) { return nil, boom }
		}, boom, "TLS configuration"},
		{"unknown CA", func(w *world) func(context.Context, string) (*tls.Config, error) {
			return func(context.Context, string) (*tls.Config, error) {
				return &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{w.pki.cert}}, nil
			}
		}, nil, "Amazon Root CA"},
		{"no certificate", func(w *world) func(context.Context, string) (*tls.Config, error) {
			return func(context.Context, string) (*tls.Config, error) { return &tls.Config{RootCAs: w.pki.pool}, nil }
		}, nil, "certificate"},
		{"nil", func(w *world) func(context.Context, string) (*tls.Config, error) {
			return func(context.Context, string) (*tls.Config, error) { return nil, nil }
		}, nil, "certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer settle(w)
				w.net.Handle("abc.example:443", authtest.NewRoleAlias(w.opts, "alias"), w.pki.server("abc.example"))
				w.http.TLS = c.hook(w)
				_, err := must(t)(credentials.NewX509(credentials.X509Options{Endpoint: "https://abc.example/", RoleAlias: "alias", HTTP: w.http})).Retrieve(t.Context())
				wantError(t, err, c.is, c.contains)
				// The alert about a missing certificate comes after the handshake and may
				// lose the race against the end of the connection.
				if n := len(w.net.Dialed()); n > 1 && c.contains != "certificate" {
					t.Errorf("%d attempts at what cannot succeed", n)
				}
			})
		})
	}
}

func TestX509_retriesConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		_, err := must(t)(credentials.NewX509(credentials.X509Options{Endpoint: "nobody.example", RoleAlias: "alias", HTTP: w.http})).Retrieve(t.Context())
		wantError(t, err, nil, "connection refused")
		if n := len(w.net.Dialed()); n != 3 {
			t.Errorf("%d attempts, want 3", n)
		}
	})
}

func TestX509_validates(t *testing.T) {
	t.Parallel()
	_, err := credentials.NewX509(credentials.X509Options{ThingName: "a b"})
	wantError(t, err, nil, "Endpoint", "RoleAlias", "ThingName", "HTTP.TLS")
	_, err = credentials.NewX509(credentials.X509Options{Endpoint: "abc-ats.iot.eu-west-1.amazonaws.com"})
	wantError(t, err, nil, "data endpoint")
	_, err = credentials.NewX509(credentials.X509Options{Endpoint: "a.example/path?x"})
	wantError(t, err, nil, "not a host name")
}

func TestContainer_hosts(t *testing.T) {
	for _, c := range []struct {
		uri     string
		lookup  []string
		dialed  string
		refused bool
	}{
		{uri: "http://169.254.170.2/x", dialed: "169.254.170.2:80"},
		{uri: "http://169.254.170.23/v1/credentials", dialed: "169.254.170.23:80"},
		{uri: "http://[fd00:ec2::23]/v1/credentials", dialed: "[fd00:ec2::23]:80"},
		{uri: "http://127.3.2.1:8080/x", dialed: "127.3.2.1:8080"},
		{uri: "http://[::1]:8080/x", dialed: "[::1]:8080"},
		{uri: "http://[::ffff:127.0.0.1]:8080/x", dialed: "127.0.0.1:8080"},
		{uri: "http://agent.example:8080/x", lookup: []string{"127.0.0.1", "::1"}, dialed: "127.0.0.1:8080"},
		{uri: "http://agent.example/x", lookup: []string{"127.0.0.1", "192.0.2.1"}, refused: true},
		{uri: "http://192.0.2.1/x", refused: true},
		{uri: "http://169.254.169.254/x", refused: true},
		{uri: "http://[fd00:ec2::24]/x", refused: true},
		{uri: "https://agent.example/x", dialed: "agent.example:443"},
	} {
		t.Run(c.uri, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer settle(w)
				if c.dialed != "" {
					var cfg *tls.Config
					if strings.HasPrefix(c.uri, "https") {
						cfg = w.pki.server("agent.example")
					}
					w.net.Handle(c.dialed, authtest.NewContainer(w.opts, nil), cfg)
				}
				p := must(t)(credentials.NewContainer(credentials.ContainerOptions{
					FullURI: c.uri, HTTP: w.http,
					Lookup: func(context.Context, string) (addrs []netip.Addr, err error) {
						for _, a := range c.lookup {
							addrs = append(addrs, netip.MustParseAddr(a))
						}
						return addrs, nil
					},
				}))
				_, err := p.Retrieve(t.Context())
				if c.refused {
					wantError(t, err, credentials.ErrHost)
					if d := w.net.Dialed(); len(d) != 0 {
						t.Errorf("dialed %v", d)
					}
				} else if err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An agent listens on one of the addresses of localhost alone. All that were
// checked are tried, in their order, at each attempt.
func TestContainer_severalAddresses(t *testing.T) {
	for _, c := range []struct{ lookup, served string }{
		{"::1 127.0.0.1", "127.0.0.1:8080"},
		{"127.0.0.1 ::1", "[::1]:8080"},
		{"::1 ::1 127.0.0.2 127.0.0.1", "127.0.0.1:8080"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer settle(w)
			w.net.Handle(c.served, authtest.NewContainer(w.opts, nil), nil)
			h := w.http
			h.Attempts = 2
			failed := false
			dial := h.Dial
			h.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == c.served && !failed {
					failed = true // the first attempt as a whole fails
					return nil, errors.New("not yet")
				}
				return dial(ctx, network, address)
			}
			p := must(t)(credentials.NewContainer(credentials.ContainerOptions{
				FullURI: "http://localhost:8080/x", HTTP: h,
				Lookup: func(context.Context, string) (addrs []netip.Addr, err error) {
					for _, a := range strings.Fields(c.lookup) {
						addrs = append(addrs, netip.MustParseAddr(a))
					}
					return addrs, nil
				},
			}))
			if _, err := p.Retrieve(t.Context()); err != nil {
				t.Errorf("%s: %v", c.lookup, err)
			}
		})
	}
}

func TestContainer_tokenRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		token := "one"
		w.net.Handle("169.254.170.2:80", authtest.NewContainer(w.opts, func() string { return token }), nil)
		file := w.file(t, "token", "one")
		p := must(t)(credentials.NewContainer(credentials.ContainerOptions{RelativeURI: "/x", TokenFile: file, HTTP: w.http}))
		mustRetrieve(t, p)
		token = "two"
		w.file(t, "token", "two\n")
		p.Invalidate()
		mustRetrieve(t, p)
		p.Invalidate()
		w.file(t, "token", "three\nInjected: header")
		_, err := p.Retrieve(t.Context())
		wantError(t, err, nil, "newline")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		_, err = p.Retrieve(t.Context())
		wantError(t, err, os.ErrNotExist)
	})
}

func TestContainer_environment(t *testing.T) {
	p := must(t)(credentials.NewContainer(credentials.ContainerOptions{}))
	_, err := p.Retrieve(t.Context())
	wantError(t, err, credentials.ErrNotConfigured)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "ftp://SECRET-URL")
	_, err = p.Retrieve(t.Context())
	wantError(t, err, nil, "not an http or https URL")
	if strings.Contains(err.Error(), "SECRET-URL") {
		t.Errorf("error repeats the URL: %v", err)
	}
}

func TestIMDS_versions(t *testing.T) {
	for _, c := range []struct {
		name          string
		v1, disableV1 bool
		ok            bool
	}{{"v2", false, true, true}, {"v1 by fallback", true, false, true}, {"v1 refused", true, true, false}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer settle(w)
				w.net.Handle("169.254.169.254:80", authtest.NewIMDS(w.opts, "example", c.v1), nil)
				_, err := must(t)(credentials.NewIMDS(credentials.IMDSOptions{DisableV1: c.disableV1, HTTP: w.http})).Retrieve(t.Context())
				if (err == nil) != c.ok {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

func TestIMDS_environment(t *testing.T) {
	w := newWorld(t)
	h := authtest.NewIMDS(w.opts, "example", false)
	w.net.Handle("[fd00:ec2::254]:80", h, nil)
	w.net.Handle("192.0.2.7:1234", h, nil)
	p := must(t)(credentials.NewIMDS(credentials.IMDSOptions{HTTP: w.http}))
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")
	mustRetrieve(t, p)
	p.Invalidate()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.7:1234")
	mustRetrieve(t, p)
	p.Invalidate()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	_, err := p.Retrieve(t.Context())
	wantError(t, err, credentials.ErrNotConfigured)
}

func TestEnvironment(t *testing.T) {
	p := credentials.NewEnvironment()
	_, err := p.Retrieve(t.Context())
	wantError(t, err, credentials.ErrNotConfigured)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	_, err = p.Retrieve(t.Context())
	wantError(t, err, nil, "AWS_SECRET_ACCESS_KEY is not")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("AWS_SESSION_TOKEN", "t")
	if c := mustRetrieve(t, p); c.AccessKeyID != "AKID" || c.SecretAccessKey != "s" || c.SessionToken != "t" || c.CanExpire {
		t.Errorf("got %+v", c)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	_, err = p.Retrieve(t.Context())
	wantError(t, err, nil, "AWS_ACCESS_KEY_ID is not")
}

func TestSSO_loginExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		file := w.file(t, "sso.json", `{"accessToken":"SECRET-BEARER","expiresAt":"1999-01-01T00:00:00Z"}`)
		p := must(t)(credentials.NewSSO(credentials.SSOOptions{AccountID: "1", RoleName: "r", Region: region, TokenFile: file, HTTP: w.http}))
		_, err := p.Retrieve(t.Context())
		wantError(t, err, nil, "log in again")
	})
	_, err := credentials.NewSSO(credentials.SSOOptions{})
	wantError(t, err, nil, "AccountID", "StartURL", "Region")
}

func TestSTS_requests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer settle(w)
		h := authtest.NewSTS(w.opts, nil)
		w.net.Handle("sts.internal:443", h, w.pki.server("sts.internal"))
		token := "first"
		cfg := aws.Config{Region: "sa-east-1", Credentials: static(t)}
		mustRetrieve(t, must(t)(credentials.NewWebIdentity(credentials.WebIdentityOptions{
			RoleARN: role, SessionName: "session", Token: func(context.Context) (string, error) { return token, nil },
			Endpoint: "https://sts.internal", Config: &cfg, HTTP: w.http,
		})))
		mustRetrieve(t, must(t)(credentials.NewAssumeRole(credentials.AssumeRoleOptions{
			RoleARN: role, SessionName: "session", ExternalID: "external", Duration: 20 * time.Minute,
			Endpoint: "https://sts.internal", Config: &cfg, HTTP: w.http,
		})))
		for i, want := range [][]string{
			{"Action=AssumeRoleWithWebIdentity", "RoleSessionName=session", "WebIdentityToken=first"},
			{"Action=AssumeRole&", "RoleSessionName=session", "ExternalId=external", "DurationSeconds=1200"},
		} {
			r := h.Requests()[i]
			for _, s := range want {
				if !strings.Contains(string(r.Body), s) {
					t.Errorf("request %d: body %s lacks %s", i, r.Body, s)
				}
			}
			if scope := "/sa-east-1/sts/"; i == 1 && !strings.Contains(r.Header.Get("Authorization"), scope) {
				t.Errorf("authorization lacks %s", scope)
			}
		}
		token = ""
		_, err := must(t)(credentials.NewWebIdentity(credentials.WebIdentityOptions{
			RoleARN: role, Token: func(context.Context) (string, error) { return token, nil }, Config: &cfg,
		})).Retrieve(t.Context())
		wantError(t, err, nil, "token is empty")
	})
	_, err := credentials.NewAssumeRole(credentials.AssumeRoleOptions{Duration: time.Second})
	wantError(t, err, nil, "Source", "RoleARN", "Duration")
}

func TestSTS_endpointFromEnvironment(t *testing.T) {
	w := newWorld(t)
	w.net.Handle("sts.internal:8443", authtest.NewSTS(w.opts, nil), w.pki.server("sts.internal"))
	t.Setenv("AWS_ENDPOINT_URL_STS", "https://sts.internal:8443")
	mustRetrieve(t, must(t)(credentials.NewAssumeRole(credentials.AssumeRoleOptions{
		RoleARN: role, Source: static(t), Region: region, HTTP: w.http,
	})))
}

func TestSSO_sessionToken(t *testing.T) {
	w := newWorld(t)
	w.net.Handle("portal.sso.eu-west-1.amazonaws.com:443", authtest.NewSSO(w.opts, bearer), w.pki.server("portal.sso.eu-west-1.amazonaws.com"))
	file := w.file(t, "sso.json", `{"accessToken":"`+bearer+`","expiresAt":"2100-01-01T00:00:00Z"}`)
	mustRetrieve(t, must(t)(credentials.NewSSO(credentials.SSOOptions{
		SessionName: "company", AccountID: "1", RoleName: "r", Region: region, TokenFile: file, HTTP: w.http,
	})))
}
