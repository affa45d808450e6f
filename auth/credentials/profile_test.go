// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

// everything is a world with all services of a profile.
func everything(t *testing.T) (w *world, sts *authtest.STS) {
	t.Helper()
	w = newWorld(t)
	keys := map[string]string{"AKIDBASE": "SECRET-BASE", "AKIDENV": "SECRET-ENV"}
	sts = authtest.NewSTS(w.opts, &authtest.Verifier{
		Region: region, Service: "sts",
		Lookup: func(id string) (aws.Credentials, bool) {
			if strings.HasPrefix(id, "ASIAEXAMPLE") { // issued by one of the others
				var n int
				for _, c := range strings.TrimPrefix(id, "ASIAEXAMPLE") {
					n = n*10 + int(c-'0')
				}
				c := authtest.Credentials(n, w.pki.ca.NotAfter)
				return c, true
			}
			secret, ok := keys[id]
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, ok
		},
	})
	w.net.Handle("sts.eu-west-1.amazonaws.com:443", sts, w.pki.server("sts.eu-west-1.amazonaws.com"))
	w.net.Handle("portal.sso.eu-west-1.amazonaws.com:443", authtest.NewSSO(w.opts, bearer), w.pki.server("portal.sso.eu-west-1.amazonaws.com"))
	w.net.Handle("169.254.169.254:80", authtest.NewIMDS(w.opts, "example", false), nil)
	w.net.Handle("169.254.170.2:80", authtest.NewContainer(w.opts, nil), nil)
	return w, sts
}

const configFile = `
[default]
region = eu-west-1
[profile keys]
region = eu-central-1
aws_access_key_id = AKIDKEYS
aws_secret_access_key = SECRET-KEYS
aws_session_token = SECRET-TOKEN
[profile base]
aws_access_key_id = AKIDBASE
aws_secret_access_key = SECRET-BASE
[profile role]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/example
source_profile = base
external_id = ext
[profile role-of-role]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/second
source_profile = role
[profile mfa]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/example
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me
[profile from-env]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/example
credential_source = Environment
[profile from-imds]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/example
credential_source = Ec2InstanceMetadata
[profile from-ecs]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/example
credential_source = EcsContainer
[profile web]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/example
web_identity_token_file = DIR/jwt
role_session_name = web-session
[profile process]
credential_process = echo '{"Version":1,"AccessKeyId":"AKIDPROCESS","SecretAccessKey":"SECRET-PROCESS"}'
[profile bad-process]
credential_process = echo SECRET-OUTPUT
[profile no-credentials]
region = eu-west-2
[profile sso]
region = us-west-2
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = example
`

func TestProfile(t *testing.T) {
	w, sts := everything(t)
	t.Setenv("HOME", w.dir)
	file := w.file(t, "config", strings.ReplaceAll(configFile, "DIR", w.dir))
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "SECRET-ENV")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")
	w.file(t, "jwt", jwt)
	provider := func(name string) *credentials.Provider {
		return must(t)(credentials.NewProfile(credentials.ProfileOptions{
			Name: name, HTTP: w.http, Metadata: credentials.HTTPOptions{Dial: w.net.Dial}, Cache: w.cache,
			MFACode: map[bool]func() (string, error){true: func() (string, error) { return "123456", nil }}[name == "mfa"],
		}))
	}
	for _, c := range []struct{ name, key, request string }{
		{"keys", "AKIDKEYS", ""},
		{"role", "ASIAEXAMPLE", "ExternalId=ext"},
		{"role-of-role", "ASIAEXAMPLE", "role%2Fsecond"},
		{"mfa", "ASIAEXAMPLE", "TokenCode=123456"},
		{"from-env", "ASIAEXAMPLE", "AssumeRole"},
		{"from-imds", "ASIAEXAMPLE", "AssumeRole"},
		{"from-ecs", "ASIAEXAMPLE", "AssumeRole"},
		{"web", "ASIAEXAMPLE", "web-session"},
		{"process", "AKIDPROCESS", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustRetrieve(t, provider(c.name))
			if !strings.HasPrefix(got.AccessKeyID, c.key) {
				t.Errorf("got %s, want %s", got.AccessKeyID, c.key)
			}
			requests := sts.Requests()
			if c.request != "" && !strings.Contains(string(requests[len(requests)-1].Body), c.request) {
				t.Errorf("last request %s lacks %s", requests[len(requests)-1].Body, c.request)
			}
		})
	}
	_, err := provider("nobody").Retrieve(t.Context())
	wantError(t, err, credentials.ErrNotConfigured, `"nobody"`)
	_, err = provider("no-credentials").Retrieve(t.Context())
	wantError(t, err, credentials.ErrNotConfigured, "no credentials")
	_, err = provider("sso").Retrieve(t.Context())
	wantError(t, err, nil, "log in again")
	_, err = provider("bad-process").Retrieve(t.Context())
	wantError(t, err, nil, "not the JSON document")
	_, err = must(t)(credentials.NewProfile(credentials.ProfileOptions{Name: "mfa"})).Retrieve(t.Context())
	wantError(t, err, nil, "MFACode")

	// The file is read again.
	p := provider("keys")
	mustRetrieve(t, p)
	w.file(t, "config", "[profile keys]\naws_access_key_id = AKIDNEW\naws_secret_access_key = s\n")
	p.Invalidate()
	if c := mustRetrieve(t, p); c.AccessKeyID != "AKIDNEW" {
		t.Errorf("got %s from a rotated file", c.AccessKeyID)
	}
}

func TestDefault_order(t *testing.T) {
	w, _ := everything(t)
	file := w.file(t, "config", "[default]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n")
	jwtFile := w.file(t, "jwt", jwt)
	t.Setenv("AWS_REGION", region)
	p := must(t)(credentials.NewDefault(credentials.DefaultOptions{
		HTTP: w.http, Metadata: credentials.HTTPOptions{Dial: w.net.Dial}, Cache: w.cache,
	}))
	source := func() string {
		t.Helper()
		p.Invalidate()
		return mustRetrieve(t, p).Source
	}
	if got := source(); got != "EC2RoleProvider" {
		t.Errorf("nothing set: from %s", got)
	}
	t.Setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")
	if got := source(); got != "CredentialsEndpointProvider" {
		t.Errorf("container: from %s", got)
	}
	t.Setenv("AWS_ROLE_ARN", role)
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", jwtFile)
	if got := source(); got != "WebIdentityCredentials" {
		t.Errorf("web identity: from %s", got)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	p.Invalidate()
	if got := mustRetrieve(t, p).AccessKeyID; got != "AKIDPROFILE" {
		t.Errorf("profile: got %s", got)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "SECRET-ENV")
	if got := source(); got != "Environment" {
		t.Errorf("environment: from %s", got)
	}
}

func TestDefault_nothing(t *testing.T) {
	w := newWorld(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	p := must(t)(credentials.NewDefault(credentials.DefaultOptions{HTTP: w.http, Metadata: w.http}))
	_, err := p.Retrieve(t.Context())
	wantError(t, err, credentials.ErrNoCredentials, "AWS_ACCESS_KEY_ID", "profile", "AWS_ROLE_ARN", "AWS_EC2_METADATA_DISABLED")
	if d := w.net.Dialed(); len(d) != 0 {
		t.Errorf("dialed %v", d)
	}
}

func TestResolveRegion(t *testing.T) {
	w := newWorld(t)
	resolve := func(o credentials.RegionOptions) string {
		t.Helper()
		got, err := credentials.ResolveRegion(t.Context(), o)
		if err != nil {
			t.Error(err)
		}
		return got
	}
	_, err := credentials.ResolveRegion(t.Context(), credentials.RegionOptions{Endpoint: "iot.example.com"})
	if err == nil || !strings.HasPrefix(err.Error(), sigv4.ErrRegion.Error()) || !strings.Contains(err.Error(), "custom domain") {
		t.Errorf("error %v", err)
	}
	file := w.file(t, "config", "[default]\nregion = r-default\n[profile p]\nregion = r-p\n")
	t.Setenv("AWS_CONFIG_FILE", file)
	if got := resolve(credentials.RegionOptions{}); got != "r-default" {
		t.Errorf("profile: %s", got)
	}
	if got := resolve(credentials.RegionOptions{Profile: "p"}); got != "r-p" {
		t.Errorf("named profile: %s", got)
	}
	t.Setenv("AWS_PROFILE", "p")
	if got := resolve(credentials.RegionOptions{}); got != "r-p" {
		t.Errorf("AWS_PROFILE: %s", got)
	}
	t.Setenv("AWS_DEFAULT_REGION", "r-2")
	if got := resolve(credentials.RegionOptions{Endpoint: "iot.example.com"}); got != "r-2" {
		t.Errorf("AWS_DEFAULT_REGION: %s", got)
	}
	t.Setenv("AWS_REGION", "r-1")
	if got := resolve(credentials.RegionOptions{}); got != "r-1" {
		t.Errorf("AWS_REGION: %s", got)
	}
	if got := resolve(credentials.RegionOptions{Endpoint: "a-ats.iot.eu-west-1.amazonaws.com"}); got != region {
		t.Errorf("endpoint: %s", got)
	}
	if got := resolve(credentials.RegionOptions{Region: "r-0", Endpoint: "a-ats.iot.eu-west-1.amazonaws.com"}); got != "r-0" {
		t.Errorf("option: %s", got)
	}
}
