// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	gopkcs12 "software.sslmate.com/src/go-pkcs12"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// testContext is for what has no context of its own; tests end by their own deadlines.
var testContext = context.Background()

// method is a way to connect, and how the core is to see it.
type method struct {
	name string
	make func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error)

	auth, alpn, port string
	webSocket        bool
	plain            bool // no TLS
	need             func(t *testing.T)
}

// files are the certificate and the key of a new device.
func files(t *testing.T, core *iottest.Core, opts ...iottest.DeviceOption) iottest.Files {
	t.Helper()
	f, err := core.Device(t, "device", opts...).WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// bundle writes a PKCS#12 file for a new device.
func bundle(t *testing.T, core *iottest.Core, password string) string {
	t.Helper()
	device := core.Device(t, "device")
	data, err := gopkcs12.Modern.Encode(device.PrivateKey(), device.X509(), nil, password)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "device.p12")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withPKCS11 connects with a key in a token.
func withPKCS11(endpoint string, o pkcs11.Options, options ...iot.Option) (*attempt, error) {
	identity, err := pkcs11.New(o)
	if err != nil {
		return nil, err
	}
	return to(endpoint, iot.MTLSWithIdentity(identity), options...)
}

// attempt is what a client is made of, or what the doctor examines.
type attempt struct {
	endpoint string
	method   iot.Method
	options  []iot.Option
}

// to says how to connect.
func to(endpoint string, m iot.Method, options ...iot.Option) (*attempt, error) {
	return &attempt{endpoint, m, options}, nil
}

// made makes the client of an attempt.
func made(a *attempt, err error) (*mqtt5.Client, error) {
	if err != nil {
		return nil, err
	}
	return iot.NewClient(a.endpoint, a.method, a.options...)
}

// fixed are credentials that the core knows, with secrets that can be searched for.
func fixed(t *testing.T, core *iottest.Core, token string) *credentials.Provider {
	t.Helper()
	k := iottest.AccessKey{AccessKeyID: "AKIAFIXED", SecretAccessKey: secretKey, SessionToken: token}
	core.AddAccessKey(k)
	p, err := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// static are credentials that the core has made.
func static(t *testing.T, core *iottest.Core, o iottest.AccessKeyOptions) *credentials.Provider {
	t.Helper()
	key, err := core.CreateAccessKey(o)
	if err != nil {
		t.Fatal(err)
	}
	p, err := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey, SessionToken: key.SessionToken})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// signingKey signs the tokens of the authorizer "signed".
var signingKey = func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}()

func sign(t *testing.T, token string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(token))
	sig, err := rsa.SignPKCS1v15(rand.Reader, signingKey, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// addAuthorizers registers "unsigned", which wants alice's password, and "signed".
func addAuthorizers(t *testing.T, core *iottest.Core) {
	t.Helper()
	allow := &iottest.AuthorizerResponse{IsAuthenticated: true, PrincipalID: "alice", Policies: []string{iottest.AllowAllPolicy}}
	for _, a := range []iottest.Authorizer{
		{Name: "unsigned", SigningDisabled: true, Handler: func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			if string(r.Password) != "pass\x00word" {
				return &iottest.AuthorizerResponse{}, nil
			}
			return allow, nil
		}},
		{Name: "signed", TokenKeyName: "token", PublicKey: &signingKey.PublicKey, Handler: func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			if r.Token != "to/ken +1" {
				return nil, errors.New("another token")
			}
			return allow, nil
		}},
		{Name: "both", SigningDisabled: true, Handler: func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			if r.CertificateID == "" {
				return &iottest.AuthorizerResponse{}, nil
			}
			return allow, nil
		}},
	} {
		if err := core.AddAuthorizer(a); err != nil {
			t.Fatal(err)
		}
	}
}

func unsigned() iot.CustomAuthorizer {
	return iot.CustomAuthorizer{Name: "unsigned", Username: "alice?lang=go", Password: []byte("pass\x00word")}
}

func signed(t *testing.T) iot.CustomAuthorizer {
	return iot.CustomAuthorizer{Name: "signed", TokenKeyName: "token", TokenValue: "to/ken +1", Signature: sign(t, "to/ken +1")}
}

// methods are all ways to connect but the one that needs Windows.
var methods = []method{
	{name: "MTLSFromPath", auth: "x509", alpn: "x-amzn-mqtt-ca", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			f := files(t, core)
			return to(core.Endpoint(), iot.MTLSFromPath(f.Cert, f.Key), append(options, iot.WithCAFile(f.CA))...)
		}},
	{name: "MTLSFromPath RSA on 8883", auth: "x509", alpn: "", port: "8883",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			f := files(t, core, iottest.WithRSA())
			return to(core.Endpoint(), iot.MTLSFromPath(f.Cert, f.Key), append(options, iot.WithPort(8883))...)
		}},
	{name: "MTLSFromBytes", auth: "x509", alpn: "x-amzn-mqtt-ca", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			d := core.Device(t, "device")
			return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), d.KeyPKCS8PEM()), options...)
		}},
	{name: "MTLSWithPKCS12", auth: "x509", alpn: "x-amzn-mqtt-ca", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			return to(core.Endpoint(), iot.MTLSWithPKCS12(bundle(t, core, "pass"), "pass"), options...)
		}},
	{name: "MTLSWithSigner", auth: "x509", alpn: "x-amzn-mqtt-ca", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			d := core.Device(t, "device")
			return to(core.Endpoint(), iot.MTLSWithSigner(d.CertPEM(), d.PrivateKey()), options...)
		}},
	{name: "MTLSWithIdentity, PKCS#12 in memory", auth: "x509", alpn: "x-amzn-mqtt-ca", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			data, err := os.ReadFile(bundle(t, core, "pass"))
			if err != nil {
				t.Fatal(err)
			}
			return to(core.Endpoint(), iot.MTLSWithIdentity(tlsctx.FromPKCS12Bytes(data, "pass")), options...)
		}},
	{name: "MTLSWithPKCS11", auth: "x509", alpn: "x-amzn-mqtt-ca", port: "443", need: needSoftHSM,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			return withPKCS11(core.Endpoint(), inToken(t, core), options...)
		}},
	{name: "WebsocketWithSigV4", auth: "sigv4", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			return to(core.Endpoint(), iot.WebsocketWithSigV4(fixed(t, core, "")), options...)
		}},
	{name: "WebsocketWithSigV4 session token", auth: "sigv4", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			return to(core.Endpoint(), iot.WebsocketWithSigV4(fixed(t, core, sessionToken)), append(options, iot.WithRegion(core.Region()))...)
		}},
	{name: "WebsocketWithSigV4 default chain", auth: "sigv4", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			key, err := core.CreateAccessKey(iottest.AccessKeyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("AWS_ACCESS_KEY_ID", key.AccessKeyID)
			t.Setenv("AWS_SECRET_ACCESS_KEY", key.SecretAccessKey)
			t.Setenv("AWS_SESSION_TOKEN", "")
			p, err := credentials.NewDefault(credentials.DefaultOptions{HTTP: httpOptions(core)})
			if err != nil {
				t.Fatal(err)
			}
			return to(core.Endpoint(), iot.WebsocketWithSigV4(p), options...)
		}},
	{name: "WebsocketWithSigV4 Cognito", auth: "sigv4", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			pool := core.AddIdentityPool(iottest.IdentityPool{})
			p, err := credentials.NewCognito(credentials.CognitoOptions{IdentityPoolID: pool, HTTP: httpOptions(core)})
			if err != nil {
				t.Fatal(err)
			}
			return to(core.Endpoint(), iot.WebsocketWithSigV4(p), options...)
		}},
	{name: "WebsocketWithSigV4 role alias", auth: "sigv4", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			if err := core.AddRoleAlias(iottest.RoleAlias{Name: "alias"}); err != nil {
				t.Fatal(err)
			}
			d := core.Device(t, "device")
			ctx, err := tlsctx.New(tlsctx.Options{Identity: tlsctx.FromBytes(d.CertPEM(), d.KeyPEM()), CAPEM: core.CAPEM()})
			if err != nil {
				t.Fatal(err)
			}
			p, err := credentials.NewX509(credentials.X509Options{Endpoint: core.CredentialsEndpoint(), RoleAlias: "alias", ThingName: "device",
				HTTP: credentials.HTTPOptions{Dial: core.DialContext, TLS: ctx.Config}})
			if err != nil {
				t.Fatal(err)
			}
			return to(core.Endpoint(), iot.WebsocketWithSigV4(p), options...)
		}},
	{name: "WebsocketWithCustomHandshake", auth: "sigv4", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			signer, err := sigv4.New(sigv4.Options{Credentials: static(t, core, iottest.AccessKeyOptions{})})
			if err != nil {
				t.Fatal(err)
			}
			return to(core.Endpoint(), iot.WebsocketWithCustomHandshake(func(ctx context.Context, r *http.Request) error {
				signed, err := signer.Presign(ctx, core.Endpoint()) // as somebody else might
				if err != nil {
					return err
				}
				r.URL, err = url.Parse(signed)
				return err
			}), options...)
		}},
	{name: "DirectWithCustomAuthorizer", auth: "custom", alpn: "mqtt", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			addAuthorizers(t, core)
			return to(core.Endpoint(), iot.DirectWithCustomAuthorizer(unsigned()), options...)
		}},
	{name: "DirectWithCustomAuthorizer signed", auth: "custom", alpn: "mqtt", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			addAuthorizers(t, core)
			return to(core.Endpoint(), iot.DirectWithCustomAuthorizer(signed(t)), options...)
		}},
	{name: "DirectWithCustomAuthorizer and certificate", auth: "custom", alpn: "mqtt", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			addAuthorizers(t, core)
			d := core.Device(t, "device")
			return to(core.Endpoint(), iot.DirectWithCustomAuthorizer(iot.CustomAuthorizer{Name: "both"}), append(options, iot.WithIdentity(tlsctx.FromBytes(d.CertPEM(), d.KeyPEM())))...)
		}},
	{name: "WebsocketWithCustomAuthorizer", auth: "custom", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			addAuthorizers(t, core)
			return to(core.Endpoint(), iot.WebsocketWithCustomAuthorizer(unsigned()), options...)
		}},
	{name: "WebsocketWithCustomAuthorizer signed", auth: "custom", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			addAuthorizers(t, core)
			token := signed(t)
			a := iot.CustomAuthorizer{Name: token.Name, TokenKeyName: token.TokenKeyName, Refresh: func(_ context.Context, a *iot.CustomAuthorizer) error {
				a.TokenValue, a.Signature = token.TokenValue, token.Signature
				return nil
			}}
			return to(core.Endpoint(), iot.WebsocketWithCustomAuthorizer(a), options...)
		}},
	{name: "WebsocketWithCustomAuthorizer and certificate", auth: "custom", port: "443", webSocket: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			addAuthorizers(t, core)
			d := core.Device(t, "device")
			return to(core.Endpoint(), iot.WebsocketWithCustomAuthorizer(iot.CustomAuthorizer{Name: "both"}), append(options, iot.WithIdentity(tlsctx.FromBytes(d.CertPEM(), d.KeyPEM())))...)
		}},
	{name: "MTLSFromBytes, custom authorizer and certificate", auth: "custom", alpn: "mqtt", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			addAuthorizers(t, core)
			d := core.Device(t, "device")
			return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), d.KeyPEM()), append(options, iot.WithCustomAuthorizer(iot.CustomAuthorizer{Name: "both"}))...)
		}},
	{name: "Default with certificate", auth: "x509", alpn: "x-amzn-mqtt-ca", port: "443",
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			f := files(t, core)
			return to(core.Endpoint(), iot.ForBroker(), append(options, iot.WithIdentity(tlsctx.FromPath(f.Cert, f.Key)))...)
		}},
	{name: "Default in plaintext", auth: "none", port: "1883", plain: true,
		make: func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
			return to(core.Endpoint(), iot.ForBroker(), append(options, iot.WithPlaintext())...)
		}},
}

func httpOptions(core *iottest.Core) credentials.HTTPOptions {
	ctx, _ := tlsctx.New(tlsctx.Options{CAPEM: core.CAPEM()})
	return credentials.HTTPOptions{Dial: core.DialContext, TLS: ctx.Config}
}
