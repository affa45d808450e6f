// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// policy allows statements, each an action and a resource.
func policy(statements ...[2]string) string {
	s := `{"Version":"2012-10-17","Statement":[`
	for i, st := range statements {
		if i > 0 {
			s += ","
		}
		s += `{"Effect":"Allow","Action":"` + st[0] + `","Resource":"arn:aws:iot:us-east-1:123456789012:` + st[1] + `"}`
	}
	return s + "]}"
}

var mayConnect = [2]string{"iot:Connect", "client/*"}

// mistake is something that a person gets wrong, and what they are told.
type mistake struct {
	name  string
	make  func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error)
	do    func(ctx context.Context, client *mqtt5.Client) error // after connecting; nil: the connection fails
	stage string
	text  string // of the error, as a regular expression
	hint  string // of Explain, as a regular expression
}

// device makes a client of a device with options.
func device(opts ...iottest.DeviceOption) func(*testing.T, *iottest.Core, []iot.Option) (*mqtt5.Client, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		d := core.Device(t, "device", opts...)
		return iot.NewMTLSFromBytes(core.Endpoint(), d.CertPEM(), d.KeyPEM(), options...)
	}
}

// with makes a client of a good device with more options.
func with(more ...iot.Option) func(*testing.T, *iottest.Core, []iot.Option) (*mqtt5.Client, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		d := core.Device(t, "device")
		return iot.NewMTLSFromBytes(core.Endpoint(), d.CertPEM(), d.KeyPEM(), append(options, more...)...)
	}
}

// faulty makes a client of a good device, and disturbs connections.
func faulty(f iottest.Faults, more ...iot.Option) func(*testing.T, *iottest.Core, []iot.Option) (*mqtt5.Client, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		core.SetFaults(f)
		return with(more...)(t, core, options)
	}
}

// authorized makes a client for a custom authorizer.
func authorized(change func(t *testing.T, a *iot.CustomAuthorizer), signing bool) func(*testing.T, *iottest.Core, []iot.Option) (*mqtt5.Client, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		addAuthorizers(t, core)
		a := unsigned()
		if signing {
			a = signed(t)
		}
		change(t, &a)
		return iot.NewDirectWithCustomAuthorizer(core.Endpoint(), a, options...)
	}
}

// sigv4With makes a client with credentials, after prepare has spoilt something.
func sigv4With(provider func(t *testing.T, core *iottest.Core) aws.CredentialsProvider, more ...iot.Option) func(*testing.T, *iottest.Core, []iot.Option) (*mqtt5.Client, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		return iot.NewWebsocketWithSigV4(core.Endpoint(), provider(t, core), append(options, more...)...)
	}
}

func staticOf(t *testing.T, id, secret, token string) aws.CredentialsProvider {
	p, err := credentials.NewStatic(credentials.StaticOptions{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func accessKey(t *testing.T, core *iottest.Core, o iottest.AccessKeyOptions) *iottest.AccessKey {
	key, err := core.CreateAccessKey(o)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publish(topic string, qos mqtt5.QoS, retain bool) func(context.Context, *mqtt5.Client) error {
	return func(ctx context.Context, client *mqtt5.Client) error {
		_, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: topic, QoS: qos, Retain: retain, Payload: []byte("x")})
		return err
	}
}

func subscribe(filters ...string) func(context.Context, *mqtt5.Client) error {
	return func(ctx context.Context, client *mqtt5.Client) error {
		p := &mqtt5.SubscribePacket{}
		for _, f := range filters {
			p.Subscriptions = append(p.Subscriptions, mqtt5.Subscription{TopicFilter: f, QoS: mqtt5.AtLeastOnce})
		}
		_, err := client.Subscribe(ctx, p)
		return err
	}
}

var mistakes = []mistake{
	// Certificates.
	{"inactive certificate", device(iottest.WithStatus(iottest.Inactive)), nil, iot.StageConnect, `closed the connection instead of answering CONNECT`, `certificate is active`},
	{"revoked certificate", device(iottest.WithStatus(iottest.Revoked)), nil, iot.StageConnect, `closed the connection instead of answering CONNECT`, `certificate is active`},
	{"unknown certificate", device(iottest.Unregistered()), nil, iot.StageTLS, `bad certificate`, `registered`},
	{"certificate of another core", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		d := iottest.Start(t).Device(t, "device")
		return iot.NewMTLSFromBytes(core.Endpoint(), d.CertPEM(), d.KeyPEM(), options...)
	}, nil, iot.StageTLS, `bad certificate`, `registered`},
	{"expired certificate", device(iottest.WithValidity(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour))), nil, iot.StageTLS, `expired`, `new`},
	{"certificate that the server finds expired", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		d := core.Device(t, "device", iottest.WithValidity(time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)))
		return iot.NewMTLSFromBytes(core.Endpoint(), d.CertPEM(), d.KeyPEM(), append(options, iot.WithTLS(func(o *tlsctx.Options) { o.DisableValidityCheck = true }))...)
	}, nil, iot.StageTLS, `certificate`, `client certificate`},
	{"no certificate", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		return iot.NewDefault(core.Endpoint(), options...)
	}, nil, iot.StageTLS, `certificate required`, `client certificate`},
	{"wrong CA", with(iot.WithTLS(func(o *tlsctx.Options) { o.CAPEM = nil })), nil, iot.StageTLS, `unknown authority`, `CA|authority`},
	{"wrong server name", with(iot.WithServerName("other.example")), nil, iot.StageTLS, `not other\.example`, `check the endpoint`},
	{"wrong ALPN", with(iot.WithALPN("h2")), nil, iot.StageTLS, `no application protocol`, `ALPN`},
	{"swapped certificate and key", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		f := files(t, core)
		return iot.NewMTLSFromPath(core.Endpoint(), f.Key, f.Cert, options...)
	}, nil, iot.StageTLS, `private\.key: no certificate in it`, `swapped`},
	{"PKCS#12 with the wrong password", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		return iot.NewMTLSWithPKCS12(core.Endpoint(), bundle(t, core, "pass"), "hush", options...)
	}, nil, iot.StageTLS, `password is wrong`, `openssl pkcs12`},

	// Policies.
	{"policy without iot:Connect", device(iottest.WithPolicy(iottest.DenyAllPolicy)), nil, iot.StageConnect, `not authorized \(0x87\)`, `iot:Connect on .*client/mistaken`},
	{"policy for another client id", device(iottest.WithPolicy(policy([2]string{"iot:Connect", "client/other"}))), nil, iot.StageConnect, `not authorized \(0x87\)`, `iot:Connect on .*client/mistaken`},
	{"policy without iot:Publish", device(iottest.WithPolicy(policy(mayConnect))), publish("a/b", 1, false), iot.StageMQTT, `not authorized`, `iot:Publish on .*topic/a/b`},
	{"policy without iot:RetainPublish", device(iottest.WithPolicy(policy(mayConnect, [2]string{"iot:Publish", "topic/*"}))), publish("a/b", 1, true), iot.StageMQTT, `not authorized`, `iot:RetainPublish on .*topic/a/b`},
	{"policy without iot:Subscribe", device(iottest.WithPolicy(policy(mayConnect))), subscribe("a/+"), iot.StageMQTT, `not authorized`, `iot:Subscribe on .*topicfilter/a/\+, and iot:Receive on .*topic/a/\*`},
	{"policy for some filters only", device(iottest.WithPolicy(policy(mayConnect, [2]string{"iot:Subscribe", "topicfilter/ok"}))), subscribe("ok", "no"), iot.StageMQTT, `not authorized`, `topicfilter/no`},
	{"policy of the credentials", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
		return static(t, core, iottest.AccessKeyOptions{Policies: []string{iottest.DenyAllPolicy}})
	}), nil, iot.StageConnect, `not authorized \(0x87\)`, `IAM policy of the credentials allows iot:Connect on .*client/mistaken`},

	// Custom authorizers.
	{"wrong password", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Password = []byte("hush") }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer "unsigned" exists and is active; that it accepts this user name and password`},
	{"no password", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Password = nil }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer`},
	{"unknown authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Name = "nobody" }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer "nobody" exists`},
	{"no default authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Name = "" }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `has a default authorizer`},
	{"unsigned token for a signing authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Name = "signed" }, false), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer "signed".* if it wants a signed token, token key name, token and signature`},
	{"signature of another token", authorized(func(t *testing.T, a *iot.CustomAuthorizer) { a.Signature = sign(t, "other") }, true), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer`},
	{"token key of another authorizer", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.TokenKeyName = "other" }, true), nil, iot.StageConnect, `not authorized \(0x87\)`, `authorizer`},
	{"half-given token", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Signature = "" }, true), nil, iot.StageOptions, `Signature is missing`, `give all three`},
	{"signature decoded as a form", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) { a.Signature = "ab cd" }, true), nil, iot.StageOptions, `plus sign`, `give it in base64`},
	{"refresh that fails", authorized(func(_ *testing.T, a *iot.CustomAuthorizer) {
		a.Refresh = func(context.Context, *iot.CustomAuthorizer) error { return errors.New("no token today") }
	}, true), nil, iot.StageCredentials, `no token today`, `Refresh`},
	{"custom authorizer on a port for certificates", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		addAuthorizers(t, core)
		return iot.NewDirectWithCustomAuthorizer(core.Endpoint(), unsigned(), append(options, iot.WithPort(8883))...)
	}, nil, iot.StageTLS, `certificate required`, `client certificate`},

	// Signatures.
	{"unknown access key", sigv4With(func(t *testing.T, _ *iottest.Core) aws.CredentialsProvider {
		return staticOf(t, "AKIANOBODY", "hush", "")
	}), nil, iot.StageUpgrade, `403`, `access key|token`},
	{"wrong secret key", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
		return staticOf(t, accessKey(t, core, iottest.AccessKeyOptions{}).AccessKeyID, "hush", "")
	}), nil, iot.StageUpgrade, `403`, `secret key|region|signature`},
	{"no session token", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
		k := accessKey(t, core, iottest.AccessKeyOptions{Lifetime: time.Hour})
		return staticOf(t, k.AccessKeyID, k.SecretAccessKey, "")
	}), nil, iot.StageUpgrade, `403`, `session token`},
	{"wrong region", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
		return static(t, core, iottest.AccessKeyOptions{})
	}, iot.WithRegion("eu-west-1")), nil, iot.StageUpgrade, `403`, `region`},
	{"expired credentials", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
		k := accessKey(t, core, iottest.AccessKeyOptions{Lifetime: time.Minute})
		core.Advance(2 * time.Minute)
		return staticOf(t, k.AccessKeyID, k.SecretAccessKey, k.SessionToken)
	}), nil, iot.StageUpgrade, `403`, `expired`},
	{"wrong clock", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
		p := static(t, core, iottest.AccessKeyOptions{})
		core.Advance(time.Hour)
		return p
	}), nil, iot.StageUpgrade, `403`, `clock of this device is .*behind`},
	{"provider that fails", sigv4With(func(t *testing.T, _ *iottest.Core) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("no credentials today")
		})
	}), nil, iot.StageCredentials, `no credentials today`, `credentials provider failed`},
	{"no credentials at all", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
			t.Setenv(name, "")
		}
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
		return iot.NewWebsocketWithSigV4(core.Endpoint(), nil, options...)
	}, nil, iot.StageCredentials, `no provider of the chain gave credentials`, `AWS_ACCESS_KEY_ID`},
	{"pool id for identity id", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
		p, err := credentials.NewCognito(credentials.CognitoOptions{IdentityID: core.AddIdentityPool(iottest.IdentityPool{}), HTTP: httpOptions(core)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}), nil, iot.StageCredentials, `not a Cognito identity id`, `IdentityPoolID`},
	{"unknown role alias", sigv4With(func(t *testing.T, core *iottest.Core) aws.CredentialsProvider {
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
	}), nil, iot.StageCredentials, `404 Not Found`, `check the name`},
	{"handshake without a signature", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		return iot.NewWebsocketWithCustomHandshake(core.Endpoint(), func(context.Context, *http.Request) error { return nil }, options...)
	}, nil, iot.StageUpgrade, `40[13]`, `authenticate`},
	{"handshake that fails", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		return iot.NewWebsocketWithCustomHandshake(core.Endpoint(), func(context.Context, *http.Request) error { return errors.New("no signature today") }, options...)
	}, nil, iot.StageUpgrade, `no signature today`, `function given to NewWebsocketWithCustomHandshake failed`},

	// Network.
	{"endpoint that does not exist", func(t *testing.T, _ *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		return iot.NewDefault("nobody.invalid", append(options, iot.WithDialer(nil))...)
	}, nil, iot.StageDNS, `nobody\.invalid`, `check the endpoint|network`},
	{"closed port", func(t *testing.T, _ *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		ln.Close()
		return iot.NewDefault("127.0.0.1", append(options, iot.WithDialer(nil), iot.WithPort(port))...)
	}, nil, iot.StageTCP, `refused`, `port`},
	{"TLS to a port without", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		d := core.Device(t, "device")
		return iot.NewMTLSFromBytes(core.Endpoint(), d.CertPEM(), d.KeyPEM(), append(options, iot.WithPort(1883))...)
	}, nil, iot.StageTLS, `EOF|reset`, `TLS|port`},
	{"connection reset", faulty(iottest.Faults{ResetConnections: true}), nil, iot.StageTLS, `reset|EOF|broken pipe`, `port`},
	{"CONNECT cut", faulty(iottest.Faults{CutConnects: true}), nil, iot.StageConnect, `closed the connection instead of answering CONNECT`, `certificate is active`},
	{"CONNECT without an answer", faulty(iottest.Faults{DropConnects: true}, iot.WithClientOptions(func(o *mqtt5.ClientOptions) { o.ConnackTimeout = 50 * time.Millisecond })),
		nil, iot.StageConnect, `CONNACK`, `did not answer CONNECT`},
	{"CONNECT refused for quota", faulty(iottest.Faults{RefuseConnects: iottest.QuotaExceeded}), nil, iot.StageConnect, `quota exceeded`, `once a second`},
	{"server unavailable", faulty(iottest.Faults{RefuseConnects: iottest.ServerUnavailable}), nil, iot.StageConnect, `unavailable`, `tries again by itself`},
	{"wrong password of the proxy", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		o, _ := startProxy(t, core, "http")
		o.Password = "hush"
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `407|authentication`, `proxy's user name and password`},
	{"wrong password of the SOCKS5 proxy", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		o, _ := startProxy(t, core, "socks5")
		o.Password = "hush"
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `requires authentication`, `proxy's user name and password`},
	{"https to a proxy without TLS", func(t *testing.T, core *iottest.Core, options []iot.Option) (*mqtt5.Client, error) {
		o, _ := startProxy(t, core, "http")
		o.URL = "https" + o.URL[len("http"):]
		return with(iot.WithDialer(nil), iot.WithProxy(o))(t, core, options)
	}, nil, iot.StageProxy, `tls step|EOF`, `proxy speaks TLS`},
	{"proxy that is not there", with(iot.WithDialer(nil), iot.WithProxy(proxy.Options{URL: "http://127.0.0.1:1"})), nil, iot.StageProxy, `refused`, `host and port of the proxy`},

	// MQTT.
	{"QoS 2", with(), publish("a", 2, false), iot.StageOptions, `(?i)qos`, `AWS IoT Core would refuse it`},
	{"topic too long", with(), publish(longTopic, 1, false), iot.StageOptions, `256`, `AWS IoT Core would refuse it`},
	{"too many slashes", with(), publish("1/2/3/4/5/6/7/8/9", 1, false), iot.StageOptions, `slashes`, `AWS IoT Core would refuse it`},
	{"too many filters", with(), subscribe("1", "2", "3", "4", "5", "6", "7", "8", "9"), iot.StageOptions, `9 filters, more than 8`, `AWS IoT Core would refuse it`},
	{"wildcard in a topic", with(), publish("a/#", 1, false), iot.StageOptions, `wildcard`, `correct what the error names`},
}

var longTopic = func() string {
	b := make([]byte, 257)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}()

func TestMistakes(t *testing.T) {
	if len(mistakes) < 40 {
		t.Errorf("%d mistakes", len(mistakes))
	}
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
			e, options := watch("mistaken")
			options = append(options, iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM()))
			err := m.provoke(t, core, e, options)
			if err == nil {
				t.Fatal("no error")
			}
			t.Log(err)
			explained := iot.Explain(err)
			if m.stage == "" || m.text == "" || m.hint == "" {
				t.Error("stage, text and hint have to be told")
			}
			if explained.Stage != m.stage {
				t.Errorf("the stage is %q, want %q", explained.Stage, m.stage)
			}
			if !regexp.MustCompile(m.text).MatchString(err.Error()) {
				t.Errorf("the error lacks %s: %v", m.text, err)
			}
			if !regexp.MustCompile(m.hint).MatchString(explained.Hint) {
				t.Errorf("the hint lacks %s: %q, in %v", m.hint, explained.Hint, err)
			}
			if regexp.MustCompile(`hush|X-Amz-Signature=[0-9a-f]`).MatchString(err.Error()) {
				t.Errorf("a secret is shown: %v", err)
			}
		})
	}
}

// provoke makes the mistake and returns the error that the user sees.
func (m *mistake) provoke(t *testing.T, core *iottest.Core, e *events, options []iot.Option) error {
	client, err := m.make(t, core, options)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		return err
	}
	if m.do == nil {
		select {
		case err := <-e.failed:
			return err
		case <-e.connected:
			t.Fatal("connected")
		case <-time.After(patience):
			t.Fatal("nothing happened")
		}
	}
	receive(t, e.connected, e.failed, "the connection")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return m.do(ctx, client)
}

// Another client with the same identifier takes the connection over.
func TestMistakes_duplicateClientID(t *testing.T) {
	core := iottest.Start(t)
	first, options := watch("twice")
	reach := []iot.Option{iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM())}
	a, err := with()(t, core, append(options, reach...))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, first.connected, first.failed, "the first client")
	second, options := watch("twice")
	b, err := with()(t, core, append(options, reach...))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, second.connected, second.failed, "the second client")
	lost := receive(t, first.lost, first.failed, "the loss of the first client")
	explained := iot.Explain(lost)
	if explained.Stage != iot.StageMQTT || !regexp.MustCompile(`another connection uses the client id "twice"`).MatchString(explained.Hint) {
		t.Errorf("got %+v for %v", explained, lost)
	}
}
