// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

const (
	region   = "eu-west-1"
	identity = "eu-west-1:11111111-2222-3333-4444-555555555555"
	pool     = "eu-west-1:99999999-8888-7777-6666-555555555555"
	role     = "arn:aws:iam::123456789012:role/example"
	jwt      = "eyJ.SECRET-LOGIN.sig"
	bearer   = "SECRET-BEARER"
	source   = "SECRET-SOURCE-KEY"
)

// secrets are strings that may never be printed, in addition to what the
// servers give out ("secret/key+n", "session/token+n==").
var secrets = []string{"SECRET-", "secret/key", "session/token"}

// TestMain removes the settings of the developer's own account.
func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		if bytes.HasPrefix([]byte(kv), []byte("AWS_")) {
			name, _, _ := bytes.Cut([]byte(kv), []byte("="))
			_ = os.Unsetenv(string(name))
		}
	}
	dir, err := os.MkdirTemp("", "credentials")
	if err != nil {
		panic(err)
	}
	_ = os.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	_ = os.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is an in-memory internet with one service.
type world struct {
	net  authtest.Network
	fail atomic.Pointer[authtest.Failure]
	opts authtest.Options
	pki  pki
	http credentials.HTTPOptions
	// cache is what the providers get; without jitter, so that tests are exact.
	cache credentials.CacheOptions
	dir   string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{pki: newPKI(t), dir: t.TempDir()}
	w.opts.Fail = func(int) *authtest.Failure { return w.fail.Load() }
	w.http = credentials.HTTPOptions{Dial: w.net.Dial, TLS: w.pki.client}
	w.cache.Jitter = -1
	t.Cleanup(w.net.Close)
	return w
}

func (w *world) file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// counter is the part of the handlers that tests look at.
type counter interface {
	http.Handler
	Calls() int
	Issued() int
	Requests() []authtest.Request
}

// remote is a provider that asks a server.
type remote struct {
	name string
	// build starts the server and makes the provider.
	build func(t *testing.T, w *world) (*credentials.Provider, counter)
}

func static(t *testing.T) *credentials.Provider {
	t.Helper()
	p, err := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: "AKIDSOURCE", SecretAccessKey: source})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func must(t *testing.T) func(*credentials.Provider, error) *credentials.Provider {
	return func(p *credentials.Provider, err error) *credentials.Provider {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

var remotes = []remote{
	{"Cognito", func(t *testing.T, w *world) (*credentials.Provider, counter) {
		h := authtest.NewCognito(w.opts, []string{identity}, nil)
		w.net.Handle("cognito-identity.eu-west-1.amazonaws.com:443", h, w.pki.server("cognito-identity.eu-west-1.amazonaws.com"))
		return must(t)(credentials.NewCognito(credentials.CognitoOptions{
			IdentityID: identity, Logins: map[string]string{"login.example": jwt}, HTTP: w.http, Cache: w.cache,
		})), h
	}},
	{"STS AssumeRole", func(t *testing.T, w *world) (*credentials.Provider, counter) {
		h := authtest.NewSTS(w.opts, &authtest.Verifier{
			Region: region, Service: "sts",
			Lookup: func(id string) (aws.Credentials, bool) {
				return aws.Credentials{AccessKeyID: id, SecretAccessKey: source}, id == "AKIDSOURCE"
			},
		})
		w.net.Handle("sts.eu-west-1.amazonaws.com:443", h, w.pki.server("sts.eu-west-1.amazonaws.com"))
		return must(t)(credentials.NewAssumeRole(credentials.AssumeRoleOptions{
			RoleARN: role, Source: static(t), Region: region, HTTP: w.http, Cache: w.cache,
		})), h
	}},
	{"STS web identity", func(t *testing.T, w *world) (*credentials.Provider, counter) {
		h := authtest.NewSTS(w.opts, nil)
		w.net.Handle("sts.eu-west-1.amazonaws.com:443", h, w.pki.server("sts.eu-west-1.amazonaws.com"))
		return must(t)(credentials.NewWebIdentity(credentials.WebIdentityOptions{
			RoleARN: role, TokenFile: w.file(t, "jwt", jwt+"\n"), Region: region, HTTP: w.http, Cache: w.cache,
		})), h
	}},
	{"container", func(t *testing.T, w *world) (*credentials.Provider, counter) {
		h := authtest.NewContainer(w.opts, func() string { return bearer })
		w.net.Handle("169.254.170.2:80", h, nil)
		return must(t)(credentials.NewContainer(credentials.ContainerOptions{
			RelativeURI: "/v2/credentials/1", TokenFile: w.file(t, "token", bearer+"\n"), HTTP: w.http, Cache: w.cache,
		})), h
	}},
	{"IMDS", func(t *testing.T, w *world) (*credentials.Provider, counter) {
		h := authtest.NewIMDS(w.opts, "example", false)
		w.net.Handle("169.254.169.254:80", h, nil)
		return must(t)(credentials.NewIMDS(credentials.IMDSOptions{DisableV1: true, HTTP: w.http, Cache: w.cache})), h
	}},
	{"SSO", func(t *testing.T, w *world) (*credentials.Provider, counter) {
		h := authtest.NewSSO(w.opts, bearer)
		w.net.Handle("portal.sso.eu-west-1.amazonaws.com:443", h, w.pki.server("portal.sso.eu-west-1.amazonaws.com"))
		token := w.file(t, "sso.json", `{"accessToken":"`+bearer+`","expiresAt":"2100-01-01T00:00:00Z"}`)
		return must(t)(credentials.NewSSO(credentials.SSOOptions{
			AccountID: "123456789012", RoleName: "example", Region: region, StartURL: "https://example.awsapps.com/start",
			TokenFile: token, HTTP: w.http, Cache: w.cache,
		})), h
	}},
	{"X.509 role alias", func(t *testing.T, w *world) (*credentials.Provider, counter) {
		h := authtest.NewRoleAlias(w.opts, "alias", "thing")
		w.net.Handle("abc.credentials.iot.eu-west-1.amazonaws.com:443", h, w.pki.server("abc.credentials.iot.eu-west-1.amazonaws.com"))
		return must(t)(credentials.NewX509(credentials.X509Options{
			Endpoint: "abc.credentials.iot.eu-west-1.amazonaws.com", RoleAlias: "alias", ThingName: "thing", HTTP: w.http, Cache: w.cache,
		})), h
	}},
}

// pki is a certificate authority with a client certificate.
type pki struct {
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey
	pool  *x509.CertPool
	cert  tls.Certificate
	t     *testing.T
	calls *atomic.Int32
}

func newPKI(t *testing.T) pki {
	t.Helper()
	p := pki{t: t, pool: x509.NewCertPool(), calls: new(atomic.Int32)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	p.caKey = key
	p.pool.AddCert(p.ca)
	p.cert = p.issue("device")
	return p
}

func (p pki) issue(name string) tls.Certificate {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, p.ca, &key.PublicKey, p.caKey)
	if err != nil {
		p.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (p pki) server(name string) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{p.issue(name)}, ClientCAs: p.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// client is a TLS hook. It asks for a protocol that no server here speaks.
func (p pki) client(_ context.Context, serverName string) (*tls.Config, error) {
	p.calls.Add(1)
	return &tls.Config{
		RootCAs: p.pool, Certificates: []tls.Certificate{p.cert}, ServerName: serverName, NextProtos: []string{"x-amzn-mqtt-ca"},
	}, nil
}
