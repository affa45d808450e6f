// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// sources is a core with everything that hands credentials out.
type sources struct {
	*iottest.Core
	t        *testing.T
	dir      string
	metadata *iottest.Metadata
	http     credentials.HTTPOptions
	key      *iottest.AccessKey // long-term
	session  *iottest.AccessKey // with a session token
	pool     string
}

const (
	sourcesRole  = "arn:aws:iam::123456789012:role/device"
	sourcesToken = "the token of the identity provider"
)

func newSources(t *testing.T) *sources {
	t.Helper()
	core := iottest.Start(t)
	s := &sources{Core: core, t: t, dir: t.TempDir()}
	// Nothing of the machine's own configuration counts.
	for _, name := range os.Environ() {
		if name, _, _ = strings.Cut(name, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("HOME", s.dir)
	s.http = credentials.HTTPOptions{Dial: core.DialContext, TLS: func(context.Context, string) (*tls.Config, error) {
		return &tls.Config{RootCAs: core.CAPool()}, nil
	}}
	s.key = s.made(core.CreateAccessKey(iottest.AccessKeyOptions{}))
	s.session = s.made(core.CreateAccessKey(iottest.AccessKeyOptions{Lifetime: time.Hour}))
	s.pool = core.AddIdentityPool(iottest.IdentityPool{Authenticate: func(logins map[string]string) error {
		if logins["provider"] != sourcesToken {
			return errors.New("wrong login")
		}
		return nil
	}})
	s.must(core.AddRole(iottest.Role{ARN: sourcesRole, ExternalID: "partner", WebIdentity: func(token string) error {
		if token != sourcesToken {
			return errors.New("wrong token")
		}
		return nil
	}}))
	s.must(core.AddRoleAlias(iottest.RoleAlias{Name: "alias"}))
	s.must(core.AddSSORole(iottest.SSORole{AccountID: "123456789012", RoleName: "device", AccessToken: sourcesToken}))
	var err error
	s.metadata, err = core.StartMetadata(iottest.MetadataOptions{})
	s.must(err)
	return s
}

func (s *sources) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sources) made(k *iottest.AccessKey, err error) *iottest.AccessKey {
	s.t.Helper()
	s.must(err)
	return k
}

func (s *sources) file(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	s.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (s *sources) environment(k *iottest.AccessKey) {
	s.t.Setenv("AWS_ACCESS_KEY_ID", k.AccessKeyID)
	s.t.Setenv("AWS_SECRET_ACCESS_KEY", k.SecretAccessKey)
	s.t.Setenv("AWS_SESSION_TOKEN", k.SessionToken)
}

func (s *sources) static(k *iottest.AccessKey) *credentials.Provider {
	p, err := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken})
	s.must(err)
	return p
}

// process is a shell command that prints a key as credential processes do.
func process(k *iottest.AccessKey) string {
	return fmt.Sprintf(`echo '{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"%s","SessionToken":"%s","Expiration":"%s"}'`,
		k.AccessKeyID, k.SecretAccessKey, k.SessionToken, k.Expires.UTC().Format(time.RFC3339))
}

func (s *sources) profile(lines string) (*credentials.Provider, error) {
	config := s.file("config", "[profile device]\nregion = "+s.Region()+"\n"+lines)
	return credentials.NewProfile(credentials.ProfileOptions{Name: "device", ConfigFile: config, CredentialsFile: s.file("credentials", ""),
		HTTP: s.http})
}

// providers are all sources of credentials. source is the endpoint that issues
// them, if one does.
var providers = []struct {
	name, source string
	make         func(s *sources) (*credentials.Provider, error)
}{
	{"static", "", func(s *sources) (*credentials.Provider, error) { return s.static(s.key), nil }},
	{"static with session token", "", func(s *sources) (*credentials.Provider, error) { return s.static(s.session), nil }},
	{"environment", "", func(s *sources) (*credentials.Provider, error) {
		s.environment(s.session)
		return credentials.NewEnvironment(), nil
	}},
	{"profile with keys", "", func(s *sources) (*credentials.Provider, error) {
		return s.profile("aws_access_key_id = " + s.key.AccessKeyID + "\naws_secret_access_key = " + s.key.SecretAccessKey)
	}},
	{"profile with source_profile", "sts", func(s *sources) (*credentials.Provider, error) {
		return s.profile("role_arn = " + sourcesRole + "\nexternal_id = partner\nsource_profile = keys\n[profile keys]\naws_access_key_id = " +
			s.key.AccessKeyID + "\naws_secret_access_key = " + s.key.SecretAccessKey)
	}},
	{"profile with credential_source", "sts", func(s *sources) (*credentials.Provider, error) {
		s.environment(s.key)
		return s.profile("role_arn = " + sourcesRole + "\nexternal_id = partner\ncredential_source = Environment")
	}},
	{"profile with credential_process", "", func(s *sources) (*credentials.Provider, error) {
		return s.profile("credential_process = " + process(s.session))
	}},
	{"profile with web identity", "sts", func(s *sources) (*credentials.Provider, error) {
		return s.profile("role_arn = " + sourcesRole + "\nrole_session_name = device\nweb_identity_token_file = " + s.file("jwt", sourcesToken))
	}},
	{"profile with SSO", "sso", func(s *sources) (*credentials.Provider, error) {
		s.must(os.MkdirAll(filepath.Join(s.dir, ".aws/sso/cache"), 0o700))
		// The name is the SHA-1 of the start URL.
		s.file(".aws/sso/cache/e8be5486177c5b5392bd9aa76563515b29358e6e.json", `{"accessToken":"`+sourcesToken+`","expiresAt":"2100-01-01T00:00:00Z"}`)
		return s.profile("sso_start_url = https://example.awsapps.com/start\nsso_region = " + s.Region() +
			"\nsso_account_id = 123456789012\nsso_role_name = device")
	}},
	{"SSO", "sso", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewSSO(credentials.SSOOptions{AccountID: "123456789012", RoleName: "device", Region: s.Region(),
			StartURL: "https://example.awsapps.com/start", HTTP: s.http,
			TokenFile: s.file("sso.json", `{"accessToken":"`+sourcesToken+`","expiresAt":"2100-01-01T00:00:00Z"}`)})
	}},
	{"process", "", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewProcess(credentials.ProcessOptions{Command: process(s.session)})
	}},
	{"assumed role", "sts", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewAssumeRole(credentials.AssumeRoleOptions{RoleARN: sourcesRole, ExternalID: "partner", Source: s.static(s.key),
			Region: s.Region(), HTTP: s.http})
	}},
	{"web identity", "sts", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewWebIdentity(credentials.WebIdentityOptions{RoleARN: sourcesRole, TokenFile: s.file("jwt", sourcesToken),
			Region: s.Region(), HTTP: s.http})
	}},
	{"container", "container", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewContainer(credentials.ContainerOptions{FullURI: s.metadata.ContainerURL,
			TokenFile: s.file("token", s.metadata.AuthorizationToken)})
	}},
	{"instance metadata", "imds", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewIMDS(credentials.IMDSOptions{Endpoint: s.metadata.Endpoint})
	}},
	{"Cognito identity", "cognito", func(s *sources) (*credentials.Provider, error) {
		id, err := s.CreateIdentity(s.pool)
		s.must(err)
		return credentials.NewCognito(credentials.CognitoOptions{IdentityID: id, Logins: map[string]string{"provider": sourcesToken}, HTTP: s.http})
	}},
	{"Cognito pool", "cognito", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewCognito(credentials.CognitoOptions{IdentityPoolID: s.pool, HTTP: s.http,
			FetchLogins: func(context.Context) (map[string]string, error) {
				return map[string]string{"provider": sourcesToken}, nil
			}})
	}},
	{"X.509 role alias", "role-alias", func(s *sources) (*credentials.Provider, error) {
		device := s.Device(s.t, "thing")
		h := s.http
		h.TLS = func(context.Context, string) (*tls.Config, error) {
			return &tls.Config{RootCAs: s.CAPool(), Certificates: []tls.Certificate{device.TLSCertificate()}}, nil
		}
		return credentials.NewX509(credentials.X509Options{Endpoint: s.CredentialsEndpoint(), RoleAlias: "alias", ThingName: "thing", HTTP: h})
	}},
	{"delegate", "", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewDelegate(s.static(s.session).Retrieve)
	}},
	{"chain", "", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewChain(credentials.NewEnvironment(), s.static(s.key))
	}},
	{"cached", "", func(s *sources) (*credentials.Provider, error) {
		return credentials.NewCached(s.static(s.session), credentials.CacheOptions{})
	}},
	{"AWS SDK's own", "", func(s *sources) (*credentials.Provider, error) {
		return credentials.FromProvider(aws.CredentialsProviderFunc(s.static(s.key).Retrieve))
	}},
	{"AWS SDK configuration", "", func(s *sources) (*credentials.Provider, error) {
		return credentials.FromConfig(aws.Config{Credentials: s.static(s.key), Region: s.Region()})
	}},
	{"default chain, environment", "", func(s *sources) (*credentials.Provider, error) {
		s.environment(s.key)
		return credentials.NewDefault(credentials.DefaultOptions{HTTP: s.http})
	}},
	{"default chain, profile", "", func(s *sources) (*credentials.Provider, error) {
		s.t.Setenv("AWS_CONFIG_FILE", s.file("config", "[default]\ncredential_process = "+process(s.session)))
		return credentials.NewDefault(credentials.DefaultOptions{HTTP: s.http})
	}},
	{"default chain, web identity", "sts", func(s *sources) (*credentials.Provider, error) {
		s.t.Setenv("AWS_ROLE_ARN", sourcesRole)
		s.t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", s.file("jwt", sourcesToken))
		s.t.Setenv("AWS_REGION", s.Region())
		return credentials.NewDefault(credentials.DefaultOptions{HTTP: s.http})
	}},
	{"default chain, container", "container", func(s *sources) (*credentials.Provider, error) {
		s.t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.metadata.ContainerURL)
		s.t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", s.metadata.AuthorizationToken)
		return credentials.NewDefault(credentials.DefaultOptions{HTTP: s.http})
	}},
	{"default chain, instance metadata", "imds", func(s *sources) (*credentials.Provider, error) {
		s.t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.metadata.Endpoint)
		return credentials.NewDefault(credentials.DefaultOptions{HTTP: s.http})
	}},
}

// The core verifies the signature that each source of credentials leads to.
func TestCredentials(t *testing.T) {
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			s := newSources(t)
			provider, err := p.make(s)
			if err != nil {
				t.Fatal(err)
			}
			e, options := watch("device")
			client, err := iot.NewWebsocketWithSigV4(s.Endpoint(), provider, append(options, iot.WithDialer(s.DialContext), iot.WithCABytes(s.CAPEM()))...)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			s.must(client.Start())
			receive(t, e.connected, e.failed, "the connection")
			if _, err := client.Publish(t.Context(), &mqtt5.PublishPacket{Topic: "a", QoS: mqtt5.AtLeastOnce}); err != nil {
				t.Error(err)
			}
			id := s.Clients()["device"].AccessKeyID
			source := ""
			for _, ev := range s.Events() {
				if ev.Type == iottest.CredentialsIssued && ev.AccessKeyID == id {
					source = ev.Source
				}
			}
			if source != p.source || id == "" {
				t.Errorf("connected with key %q of %q, want one of %q", id, source, p.source)
			}
		})
	}
}

// clock is a clock that tests move.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// Credentials that expire while a client is connected do no harm: the
// connection goes on, as with AWS IoT Core, and when it ends the client signs
// with fresh ones and loses nothing that was under way.
func TestCredentials_expireWhileConnected(t *testing.T) {
	s := newSources(t)
	var clock clock
	id, err := s.CreateIdentity(s.pool)
	s.must(err)
	provider, err := credentials.NewCognito(credentials.CognitoOptions{IdentityID: id, HTTP: s.http,
		Logins: map[string]string{"provider": sourcesToken}, Cache: credentials.CacheOptions{Now: clock.now}})
	s.must(err)
	signer, err := sigv4.New(sigv4.Options{Credentials: provider, Now: clock.now})
	s.must(err)
	e, options := watch("device")
	client, err := iot.NewWebsocketWithCustomHandshake(s.Endpoint(), signer.Transform(),
		append(options, iot.WithDialer(s.DialContext), iot.WithCABytes(s.CAPEM()), iot.WithSession(mqtt5.SessionRejoinPostSuccess, time.Hour))...)
	s.must(err)
	defer client.Close()

	const messages = 20
	topics := make(chan string, 10*messages)
	defer s.Subscribe("data/#", func(m *iottest.Message) { topics <- m.Topic })()
	s.must(client.Start())
	receive(t, e.connected, e.failed, "the connection")
	before := s.Clients()["device"].AccessKeyID

	// Publishes whose acknowledgements do not come, when the credentials expire
	// and the connection is lost.
	s.HoldAcks("device", true)
	results := make(chan error, messages)
	for i := range messages {
		client.PublishAsync(&mqtt5.PublishPacket{Topic: fmt.Sprintf("data/%d", i), QoS: mqtt5.AtLeastOnce},
			func(_ *mqtt5.PublishResult, err error) { results <- err })
	}
	clock.advance(2 * time.Hour)
	s.Advance(2 * time.Hour)
	s.Cut("device")
	receive(t, e.lost, e.failed, "the loss of the connection")
	receive(t, e.connected, e.failed, "the reconnect")
	if after := s.Clients()["device"].AccessKeyID; after == before {
		t.Error("reconnected with the expired credentials")
	}
	for range messages {
		if err := receive(t, results, e.failed, "a publish"); err != nil {
			t.Error(err)
		}
	}
	arrived := map[string]bool{}
	for len(arrived) < messages {
		arrived[receive(t, topics, e.failed, "the messages")] = true
	}
}

// A URL that was signed long ago is refused, and the error says to sign anew.
func TestCredentials_staleSignature(t *testing.T) {
	s := newSources(t)
	signer, err := sigv4.New(sigv4.Options{Credentials: s.static(s.key), Now: func() time.Time { return time.Now().Add(-10 * time.Minute) }})
	s.must(err)
	e, options := watch("device")
	client, err := iot.NewWebsocketWithCustomHandshake(s.Endpoint(), signer.Transform(), append(options, iot.WithDialer(s.DialContext), iot.WithCABytes(s.CAPEM()))...)
	s.must(err)
	defer client.Close()
	s.must(client.Start())
	select {
	case <-e.connected:
		t.Fatal("the core accepts a stale signature")
	case err := <-e.failed:
		if !strings.Contains(err.Error(), "sign anew for each attempt") {
			t.Errorf("error %v", err)
		}
	}
}
