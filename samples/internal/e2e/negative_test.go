// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// mistakes are what people get wrong, from the certificate to the packet.
var mistakes = []mistake{
	// Certificates.
	{"inactive certificate", device(iottest.WithStatus(iottest.Inactive)), nil, iot.StageConnect, `closed the connection instead of answering CONNECT`, `certificate is active`},
	{"revoked certificate", device(iottest.WithStatus(iottest.Revoked)), nil, iot.StageConnect, `closed the connection instead of answering CONNECT`, `certificate is active`},
	{"unknown certificate", device(iottest.Unregistered()), nil, iot.StageTLS, `bad certificate`, `registered`},
	{"certificate of another core", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		d := iottest.Start(t).Device(t, "device")
		return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), d.KeyPEM()), options...)
	}, nil, iot.StageTLS, `bad certificate`, `registered`},
	{"expired certificate", device(iottest.WithValidity(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour))), nil, iot.StageTLS, `expired`, `new`},
	{"certificate that the server finds expired", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		d := core.Device(t, "device", iottest.WithValidity(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)))
		return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), d.KeyPEM()), append(options, iot.WithTLS(func(o *tlsctx.Options) { o.DisableValidityCheck = true }))...)
	}, nil, iot.StageTLS, `certificate`, `client certificate`},
	{"no certificate", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.ForBroker(), options...)
	}, nil, iot.StageTLS, `certificate required`, `client certificate`},
	{"wrong CA", with(iot.WithTLS(func(o *tlsctx.Options) { o.CAPEM = nil })), nil, iot.StageTLS, `unknown authority`, `CA|authority`},
	{"wrong server name", with(iot.WithServerName("other.example")), nil, iot.StageTLS, `not other\.example`, `check the endpoint`},
	{"wrong ALPN", with(iot.WithALPN("h2")), nil, iot.StageTLS, `no application protocol`, `ALPN`},
	{"swapped certificate and key", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		f := files(t, core)
		return to(core.Endpoint(), iot.MTLSFromPath(f.Key, f.Cert), options...)
	}, nil, iot.StageTLS, `private\.key: no certificate in it`, `swapped`},
	{"PKCS#12 with the wrong password", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.MTLSWithPKCS12(bundle(t, core, "pass"), "hush"), options...)
	}, nil, iot.StageTLS, `password is wrong`, `openssl pkcs12`},

	{"key of another certificate", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		d, other := core.Device(t, "device"), core.Device(t, "other")
		return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), other.KeyPEM()), options...)
	}, nil, iot.StageTLS, `does not belong to the certificate`, `key`},
	{"certificate file that is not there", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		f := files(t, core)
		return to(core.Endpoint(), iot.MTLSFromPath(filepath.Join(t.TempDir(), "device.pem.crt"), f.Key), options...)
	}, nil, iot.StageTLS, `device\.pem\.crt: no such file`, `path`},
	{"CA file that is not there", with(iot.WithCAFile("AmazonRootCA1.pem")), nil, iot.StageTLS, `AmazonRootCA1\.pem: no such file`, `path`},
	{"PKCS#12 that is none", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.MTLSWithPKCS12(files(t, core).Cert, "hush"), options...)
	}, nil, iot.StageTLS, `not a PKCS#12 bundle`, `PEM`},
	{"Windows certificate store elsewhere", func(_ *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.MTLSWithWindowsCertStore(`CurrentUser\MY\A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6`), options...)
	}, nil, iot.StageTLS, `no Windows certificate store`, `use a PEM file, a PKCS#12 bundle, PKCS#11`},
	{"TLS version that nobody speaks", with(iot.WithMinTLSVersion(0x0301)), nil, iot.StageOptions, `MinVersion is TLS 1\.0`, `TLS 1\.2`},
	{"certificate without TLS", with(iot.WithPlaintext()), nil, iot.StageOptions, `requires TLS`, `leave out WithPlaintext`},
	{"old endpoint", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		d := core.Device(t, "device")
		return to(strings.Replace(core.Endpoint(), "-ats", "", 1), iot.MTLSFromBytes(d.CertPEM(), d.KeyPEM()), append(options, iot.WithTLS(func(o *tlsctx.Options) { o.CAPEM = nil }))...)
	}, nil, iot.StageTLS, `unknown authority`, `use the one with -ats; .*describe-endpoint`},

	// Tokens.
	{"unknown token", inTokenWith(func(o *pkcs11.Options) { o.Token.Label = "other" }), nil, iot.StageTLS, `no such token`, `check Label, Serial and SlotID`},
	{"unknown slot", inTokenWith(func(o *pkcs11.Options) { o.Token.SlotID = mqtt5.Ptr(uint(7)) }), nil, iot.StageTLS, `no such token`, `check Label, Serial and SlotID`},
	{"unknown key", inTokenWith(func(o *pkcs11.Options) { o.Key.Label = "other" }), nil, iot.StageTLS, `no such private key`, `check Label and ID`},
	{"certificate of another key than the token's", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return inTokenWith(func(o *pkcs11.Options) { o.Key.CertificatePEM = core.Device(t, "other").CertPEM() })(t, core, options)
	}, nil, iot.StageTLS, `does not belong to the certificate`, `issued for this key`},
	{"no certificate in the token", inTokenWith(func(o *pkcs11.Options) { o.Key.CertificatePEM = nil }), nil, iot.StageTLS, `no certificate for the key`, `CertificateFile or CertificatePEM`},
	{"PKCS#11 library that is not there", inTokenWith(func(o *pkcs11.Options) { o.LibraryPath = "/nowhere/libsofthsm2.so" }), nil, iot.StageTLS, `libsofthsm2\.so.*cannot be loaded`, `package with the library is installed`},

	// Policies.
	{"policy without iot:Connect", device(iottest.WithPolicy(iottest.DenyAllPolicy)), nil, iot.StageConnect, `not authorized \(0x87\)`, `iot:Connect on .*client/mistaken`},
	{"policy for another client id", device(iottest.WithPolicy(policy([2]string{"iot:Connect", "client/other"}))), nil, iot.StageConnect, `not authorized \(0x87\)`, `iot:Connect on .*client/mistaken`},
	{"policy without iot:Publish", device(iottest.WithPolicy(policy(mayConnect))), publish("a/b", 1, false), iot.StageMQTT, `not authorized`, `iot:Publish on .*topic/a/b`},
	{"policy without iot:RetainPublish", device(iottest.WithPolicy(policy(mayConnect, [2]string{"iot:Publish", "topic/*"}))), publish("a/b", 1, true), iot.StageMQTT, `not authorized`, `iot:RetainPublish on .*topic/a/b`},
	{"policy without iot:Subscribe", device(iottest.WithPolicy(policy(mayConnect))), subscribe("a/+"), iot.StageMQTT, `not authorized`, `iot:Subscribe on .*topicfilter/a/\+, and iot:Receive on .*topic/a/\*`},
	{"policy without the shared subscription", device(iottest.WithPolicy(policy(mayConnect, [2]string{"iot:Subscribe", "topicfilter/a/+"}))), subscribe("$share/g/a/+"), iot.StageMQTT, `not authorized`, `iot:Subscribe on .*topicfilter/\$share/g/a/\+, and iot:Receive on .*:topic/a/\*`},
	{"policy for some filters only", device(iottest.WithPolicy(policy(mayConnect, [2]string{"iot:Subscribe", "topicfilter/ok"}))), subscribe("ok", "no"), iot.StageMQTT, `not authorized`, `topicfilter/no`},
	{"policy of the credentials", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		return static(t, core, iottest.AccessKeyOptions{Policies: []string{iottest.DenyAllPolicy}})
	}), nil, iot.StageConnect, `not authorized \(0x87\)`, `IAM policy of the credentials allows iot:Connect on .*client/mistaken`},

	// No server reports this one: the doctor finds it.
	{"policy without iot:Receive", func(t *testing.T, core *iottest.Core, _ []iot.Option) (*attempt, error) {
		allowed := policy(mayConnect, [2]string{"iot:Publish", "topic/*"}, [2]string{"iot:Subscribe", "topicfilter/*"})
		return nil, diagnose(t, core, iot.DiagnoseOptions{Topic: "a/b", RoundTripTimeout: 100 * time.Millisecond}, device(iottest.WithPolicy(allowed))).Err()
	}, nil, iot.StageMQTT, `did not come back`, `iot:Receive on .*topic/a/b`},
	{"retained message on a topic of the service", with(withoutChecks), publish("$aws/things/x/shadow/update", 1, true), iot.StageMQTT, `0x90`, `begin with \$ belong to the service`},
	{"publish to a reserved topic", with(withoutChecks), publish("$other/x", 1, false), iot.StageMQTT, `0x90`, `begin with \$ belong to the service`},
	{"subscription to a reserved topic", with(withoutChecks), subscribe("$SYS/#"), iot.StageMQTT, `0x8f|0x8F`, `begin with \$ belong to the service`},
	{"subscriptions beyond the quota", with(), subscribeMany(51), iot.StageMQTT, `quota exceeded`, `50 subscriptions`},
	{"client id of the service", with(withoutChecks, iot.WithClientID("$mine")), nil, iot.StageConnect, `0x85`, `does not begin with \$`},
	{"client id that is too long", with(iot.WithClientID(strings.Repeat("x", 129))), nil, iot.StageOptions, `ClientID`, `AWS IoT Core would refuse it`},
	{"will with QoS 2", with(withoutChecks, iot.WithWill(&mqtt5.PublishPacket{Topic: "a", QoS: mqtt5.ExactlyOnce})), nil, iot.StageConnect, `0x9b|0x9B`, `no QoS 2`},

	// Arguments.
	{"no endpoint", at(""), nil, iot.StageOptions, `it is empty`, `describe-endpoint`},
	{"endpoint with https://", at("https://abc-ats.iot.us-east-1.amazonaws.com/mqtt"), nil, iot.StageOptions, `it is a URL`, `host name alone: "abc-ats\.iot`},
	{"endpoint with a port", at("abc-ats.iot.us-east-1.amazonaws.com:8883"), nil, iot.StageOptions, `it has a port`, `WithPort\(8883\)`},
	{"endpoint with blanks", at(" abc-ats.iot.us-east-1.amazonaws.com\n"), nil, iot.StageOptions, `blanks`, `host name alone`},
	{"endpoint of the credentials provider", at("abc.credentials.iot.us-east-1.amazonaws.com"), nil, iot.StageOptions, `endpoint for credentials`, `iot:Data-ATS`},
	{"endpoint without the account", at("iot.us-east-1.amazonaws.com"), nil, iot.StageOptions, `lacks the prefix`, `describe-endpoint`},
	{"port that is none", with(iot.WithPort(99999)), nil, iot.StageOptions, `WithPort\(99999\)`, `443 and 8883`},
	{"keep alive that is none", with(iot.WithKeepAlive(-time.Second)), nil, iot.StageOptions, `WithKeepAlive\(-1s\)`, `20 min`},
	{"two certificates", with(iot.WithIdentity(tlsctx.FromPath("a", "b"))), nil, iot.StageOptions, `has a certificate already`, `NewForBroker`},
	{"missing region", func(t *testing.T, _ *iottest.Core, options []iot.Option) (*attempt, error) {
		for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"} {
			t.Setenv(name, "")
		}
		t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
		return to("iot.example.com", iot.WebsocketWithSigV4(staticOf(t, "AKIA", "hush", "")), options...)
	}, nil, iot.StageOptions, `region`, `WithRegion`},
	{"no handshake function", func(_ *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.WebsocketWithCustomHandshake(nil), options...)
	}, nil, iot.StageOptions, `transform is nil`, `signs the upgrade`},
	{"no signer", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.MTLSWithSigner(core.Device(t, "device").CertPEM(), nil), options...)
	}, nil, iot.StageOptions, `signer is nil`, `crypto\.Signer`},
	{"scheme of the proxy", with(iot.WithProxyURL("ftp://user:hush@proxy.example")), nil, iot.StageOptions, `scheme`, `http, https`},

	// Custom authorizers.
	{"wrong password", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Password = []byte("hush") }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer "unsigned" exists and is active; that it accepts this user name and password`},
	{"no password", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Password = nil }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer`},
	{"unknown authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Name = "nobody" }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer "nobody" exists`},
	{"no default authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Name = "" }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `has a default authorizer`},
	{"unsigned token for a signing authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Name = "signed" }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer "signed".* if it wants a signed token, token key name, token and signature`},
	{"signature of another token", authorized(func(t *testing.T, a *iot.CustomAuthorizer) { a.Signature = sign(t, "other") }, true), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer`},
	{"token key of another authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.TokenKeyName = "other" }, true), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer`},
	{"half-given token", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Signature = "" }, true), nil, iot.StageOptions, `has no Signature`, `give all three`},
	{"signature decoded as a form", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Signature = "ab cd" }, true), nil, iot.StageOptions, `plus sign`, `give it in base64`},
	{"name with its parameter", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Name = "x-amz-customauthorizer-name=" + a.Name }, false), nil, iot.StageOptions, `begins with`, `give the name alone`},
	{"two user names", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return authorized(func(*testing.T, *iot.CustomAuthorizer) {}, false)(t, core, append(options, iot.WithUsername("bob")))
	}, nil, iot.StageOptions, `two different user names`, `give one`},
	{"authorizer that is not active", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		if err := core.AddAuthorizer(iottest.Authorizer{Name: "off", SigningDisabled: true, Inactive: true,
			Handler: func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
				return nil, nil
			}}); err != nil {
			t.Fatal(err)
		}
		return to(core.Endpoint(), iot.DirectWithCustomAuthorizer(iot.CustomAuthorizer{Name: "off"}), options...)
	}, nil, iot.StageConnect, `not authorized`, `authorizer "off" exists and is active`},
	{"authorizer whose policies allow nothing", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		if err := core.AddAuthorizer(iottest.Authorizer{Name: "strict", SigningDisabled: true,
			Handler: func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
				return &iottest.AuthorizerResponse{IsAuthenticated: true, PrincipalID: "p"}, nil
			}}); err != nil {
			t.Fatal(err)
		}
		return to(core.Endpoint(), iot.WebsocketWithCustomAuthorizer(iot.CustomAuthorizer{Name: "strict"}), options...)
	}, nil, iot.StageConnect, `not authorized`, `policies it returns allow iot:Connect on .*client/mistaken`},
	{"authorizer that is not there, over WebSocket", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		addAuthorizers(t, core)
		return to(core.Endpoint(), iot.WebsocketWithCustomAuthorizer(iot.CustomAuthorizer{Name: "nobody"}), options...)
	}, nil, iot.StageConnect, `not authorized`, `authorizer "nobody" exists`},
	{"refresh that fails", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) {
		a.Refresh = func(context.Context, *iot.CustomAuthorizer) error { return errors.New("no token today") }
	}, true), nil, iot.StageCredentials, `no token today`, `Refresh`},
	{"custom authorizer on a port for certificates", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		addAuthorizers(t, core)
		return to(core.Endpoint(), iot.DirectWithCustomAuthorizer(unsigned()), append(options, iot.WithPort(8883))...)
	}, nil, iot.StageTLS, `certificate required`, `client certificate`},

	// Signatures.
	{"unknown access key", sigv4With(func(t *testing.T, _ *iottest.Core) sigv4.CredentialsProvider {
		return staticOf(t, "AKIANOBODY", "hush", "")
	}), nil, iot.StageUpgrade, `403`, `access key|token`},
	{"wrong secret key", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		return staticOf(t, accessKey(t, core, iottest.AccessKeyOptions{}).AccessKeyID, "hush", "")
	}), nil, iot.StageUpgrade, `403`, `secret key|region|signature`},
	{"secret key in quotes", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		k := accessKey(t, core, iottest.AccessKeyOptions{})
		return staticOf(t, k.AccessKeyID, `"`+k.SecretAccessKey+`"`, "")
	}), nil, iot.StageUpgrade, `403`, `white space or quotes are in the secret key`},
	{"no session token", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		k := accessKey(t, core, iottest.AccessKeyOptions{Lifetime: time.Hour})
		return staticOf(t, k.AccessKeyID, k.SecretAccessKey, "")
	}), nil, iot.StageUpgrade, `403`, `session token`},
	{"wrong region", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		return static(t, core, iottest.AccessKeyOptions{})
	}, iot.WithRegion("eu-west-1")), nil, iot.StageUpgrade, `403`, `region`},
	{"expired credentials", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		k := accessKey(t, core, iottest.AccessKeyOptions{Lifetime: time.Minute})
		core.Advance(2 * time.Minute)
		return staticOf(t, k.AccessKeyID, k.SecretAccessKey, k.SessionToken)
	}), nil, iot.StageUpgrade, `403`, `expired`},
	{"wrong clock", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		p := static(t, core, iottest.AccessKeyOptions{})
		core.Advance(time.Hour)
		return p
	}), nil, iot.StageUpgrade, `403`, `clock of this device is .*behind`},
	{"provider that fails", sigv4With(func(t *testing.T, _ *iottest.Core) sigv4.CredentialsProvider {
		return sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
			return sigv4.Credentials{}, errors.New("no credentials today")
		})
	}), nil, iot.StageCredentials, `no credentials today`, `credentials provider failed`},
	{"no credentials at all", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
			t.Setenv(name, "")
		}
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
		p, err := credentials.NewDefault(credentials.DefaultOptions{HTTP: httpOptions(core)})
		if err != nil {
			t.Fatal(err)
		}
		return to(core.Endpoint(), iot.WebsocketWithSigV4(p), options...)
	}, nil, iot.StageCredentials, `no provider of the chain gave credentials`, `AWS_ACCESS_KEY_ID`},
	{"pool id for identity id", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		p, err := credentials.NewCognito(credentials.CognitoOptions{IdentityID: core.AddIdentityPool(iottest.IdentityPool{}), HTTP: httpOptions(core)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}), nil, iot.StageCredentials, `not a Cognito identity id`, `IdentityPoolID`},
	{"unknown role alias", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		d := core.Device(t, "device")
		ctx, err := tlsctx.New(tlsctx.Options{Identity: tlsctx.FromBytes(d.CertPEM(), d.KeyPEM()), CAPEM: core.CAPEM()})
		if err != nil {
			t.Fatal(err)
		}
		p, err := credentials.NewX509(credentials.X509Options{Endpoint: core.CredentialsEndpoint(), RoleAlias: "nobody", HTTP: credentials.HTTPOptions{Dial: core.DialContext, TLS: ctx.Config, Attempts: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}), nil, iot.StageCredentials, `404 Not Found`, `check the names and ids`},
	{"certificate that is not active, for credentials", roleAlias(iottest.RoleAlias{Name: "alias"}, iottest.WithStatus(iottest.Inactive)), nil, iot.StageCredentials, `403`, `certificate is active, its policy allows iot:AssumeRoleWithCertificate`},
	{"identity pool that is not there", sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		p, err := credentials.NewCognito(credentials.CognitoOptions{IdentityPoolID: "us-east-1:00000000-0000-0000-0000-000000000000", HTTP: httpOptions(core)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}), nil, iot.StageCredentials, `Cognito`, `check the names and ids`},
	{"WebSocket on the port for certificates", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.WebsocketWithSigV4(static(t, core, iottest.AccessKeyOptions{})), append(options, iot.WithPort(8883))...)
	}, nil, iot.StageTLS, `certificate required`, `check the port`},
	{"WebSocket with a certificate that is not registered", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		addAuthorizers(t, core)
		d := core.Device(t, "device", iottest.Unregistered())
		return to(core.Endpoint(), iot.WebsocketWithCustomAuthorizer(iot.CustomAuthorizer{Name: "both"}), append(options, iot.WithIdentity(tlsctx.FromBytes(d.CertPEM(), d.KeyPEM())))...)
	}, nil, iot.StageTLS, `bad certificate`, `registered and active`},
	{"upgrade that is not found", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		core.SetFaults(iottest.Faults{UpgradeStatus: http.StatusNotFound})
		return to(core.Endpoint(), iot.WebsocketWithCustomHandshake(func(context.Context, *http.Request) error { return nil }), options...)
	}, nil, iot.StageUpgrade, `404`, `serves WebSockets at /mqtt`},
	{"handshake without a signature", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.WebsocketWithCustomHandshake(func(context.Context, *http.Request) error { return nil }), options...)
	}, nil, iot.StageUpgrade, `40[13]`, `authenticate`},
	{"handshake that fails", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.WebsocketWithCustomHandshake(func(context.Context, *http.Request) error { return errors.New("no signature today") }), options...)
	}, nil, iot.StageUpgrade, `no signature today`, `function of WebsocketWithCustomHandshake failed`},

	// Network.
	{"endpoint that does not exist", func(t *testing.T, _ *iottest.Core, options []iot.Option) (*attempt, error) {
		return to("nobody.invalid", iot.ForBroker(), append(options, iot.WithDialer(nil))...)
	}, nil, iot.StageDNS, `nobody\.invalid`, `check the endpoint|network`},
	{"closed port", func(t *testing.T, _ *iottest.Core, options []iot.Option) (*attempt, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		ln.Close()
		return to("127.0.0.1", iot.ForBroker(), append(options, iot.WithDialer(nil), iot.WithPort(port))...)
	}, nil, iot.StageTCP, `refused`, `port`},
	{"TLS to a port without", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		d := core.Device(t, "device")
		return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), d.KeyPEM()), append(options, iot.WithPort(1883))...)
	}, nil, iot.StageTLS, `EOF|reset`, `TLS|port`},
	{"connection reset", faulty(iottest.Faults{ResetConnections: true}), nil, iot.StageTLS + "|" + iot.StageTCP, `reset|EOF|broken pipe`, `port`},
	{"server that does not answer TLS", faulty(iottest.Faults{SilentTCP: true}, iot.WithTLS(func(o *tlsctx.Options) { o.HandshakeTimeout = 50 * time.Millisecond })),
		nil, iot.StageTLS, `timed out`, `check that the port speaks TLS`},
	{"server that does not answer the upgrade", func(_ *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.WebsocketWithCustomHandshake(func(context.Context, *http.Request) error { return nil }), append(options, iot.WithPlaintext(), iot.WithPort(1883))...)
	}, nil, iot.StageUpgrade, `upgrade step`, `not how a WebSocket server answers`},
	{"service that is not there for WebSockets", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		core.SetFaults(iottest.Faults{UpgradeStatus: http.StatusServiceUnavailable})
		return to(core.Endpoint(), iot.WebsocketWithSigV4(static(t, core, iottest.AccessKeyOptions{})), options...)
	}, nil, iot.StageUpgrade, `503`, `tries again by itself`},
	{"too many upgrades", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		core.SetFaults(iottest.Faults{UpgradeStatus: http.StatusTooManyRequests})
		return to(core.Endpoint(), iot.WebsocketWithSigV4(static(t, core, iottest.AccessKeyOptions{})), options...)
	}, nil, iot.StageUpgrade, `429`, `less often`},
	{"header of the proxy that fails", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		o, _ := startProxy(t, core, "http")
		o.ConnectHeader = func(context.Context, proxy.ConnectRequest) (http.Header, error) {
			return nil, errors.New("no ticket today")
		}
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `no ticket today`, `ConnectHeader`},
	{"CONNECT cut", faulty(iottest.Faults{CutConnects: true}), nil, iot.StageConnect, `closed the connection instead of answering CONNECT`, `certificate is active`},
	{"CONNECT without an answer", faulty(iottest.Faults{DropConnects: true}, iot.WithClientOptions(func(o *mqtt5.ClientOptions) { o.ConnackTimeout = 50 * time.Millisecond })),
		nil, iot.StageConnect, `CONNACK`, `did not answer CONNECT`},
	{"CONNECT refused for quota", faulty(iottest.Faults{RefuseConnects: iottest.QuotaExceeded}), nil, iot.StageConnect, `quota exceeded`, `once a second`},
	{"server unavailable", faulty(iottest.Faults{RefuseConnects: iottest.ServerUnavailable}), nil, iot.StageConnect, `unavailable`, `tries again by itself`},
	{"wrong password of the proxy", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		o, _ := startProxy(t, core, "http")
		o.Password = "hush"
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `407|authentication`, `check the proxy's user name and password`},
	{"wrong password of the SOCKS5 proxy", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		o, _ := startProxy(t, core, "socks5")
		o.Password = "hush"
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `requires authentication`, `user name and password`},
	{"https to a proxy without TLS", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		o, _ := startProxy(t, core, "http")
		o.URL = "https" + o.URL[len("http"):]
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `tls step|EOF`, `proxy speaks TLS`},
	{"HTTP spoken to a SOCKS5 proxy", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		o, _ := startProxy(t, core, "socks5")
		o.URL = "http" + o.URL[len("socks5"):]
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `it speaks SOCKS5`, `this is a SOCKS5 proxy`},
	{"proxy that cannot reach the endpoint", func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		o, _ := startProxy(t, core, "http")
		return with(iot.WithDialer(nil), iot.WithProxy(o), iot.WithPort(9999))(t, core, options)
	}, nil, iot.StageProxy, `502`, `the network of the proxy`},
	{"proxy that is not there", with(iot.WithDialer(nil), iot.WithProxy(proxy.Options{URL: "http://127.0.0.1:1"})), nil, iot.StageProxy, `refused`, `host and port of the proxy`},

	// MQTT.
	{"QoS 2", with(), publish("a", 2, false), iot.StageOptions, `(?i)qos`, `AWS IoT Core would refuse it`},
	{"topic too long", with(), publish(longTopic, 1, false), iot.StageOptions, `256`, `AWS IoT Core would refuse it`},
	{"too many slashes", with(), publish("1/2/3/4/5/6/7/8/9", 1, false), iot.StageOptions, `slashes`, `AWS IoT Core would refuse it`},
	{"too many filters", with(), subscribe("1", "2", "3", "4", "5", "6", "7", "8", "9"), iot.StageOptions, `9 filters, more than 8`, `AWS IoT Core would refuse it`},
	{"wildcard in a topic", with(), publish("a/#", 1, false), iot.StageOptions, `wildcard`, `correct what the error names`},
}
