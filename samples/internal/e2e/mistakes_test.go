// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
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
	name string
	make func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error)
	do   func(ctx context.Context, client *mqtt5.Client) error // after connecting; nil: the connection fails
	// What Explain says, and the text of the error, as regular expressions.
	stage, text, hint string
}

// device makes a client of a device with options.
func device(opts ...iottest.DeviceOption) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		d := core.Device(t, "device", opts...)
		return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), d.KeyPEM()), options...)
	}
}

// with makes a client of a good device with more options.
func with(more ...iot.Option) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		d := core.Device(t, "device")
		return to(core.Endpoint(), iot.MTLSFromBytes(d.CertPEM(), d.KeyPEM()), append(options, more...)...)
	}
}

// faulty makes a client of a good device, and disturbs connections.
func faulty(f iottest.Faults, more ...iot.Option) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		core.SetFaults(f)
		return with(more...)(t, core, options)
	}
}

// authorized makes a client for a custom authorizer.
func authorized(change func(t *testing.T, a *iot.CustomAuthorizer), signing bool) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		addAuthorizers(t, core)
		a := unsigned()
		if signing {
			a = signed(t)
		}
		change(t, &a)
		return to(core.Endpoint(), iot.DirectWithCustomAuthorizer(a), options...)
	}
}

// sigv4With makes a client with credentials, after prepare has spoilt something.
func sigv4With(provider func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider, more ...iot.Option) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(core.Endpoint(), iot.WebsocketWithSigV4(provider(t, core)), append(options, more...)...)
	}
}

func staticOf(t *testing.T, id, secret, token string) sigv4.CredentialsProvider {
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

// at makes a client for an endpoint.
func at(endpoint string) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return func(_ *testing.T, _ *iottest.Core, options []iot.Option) (*attempt, error) {
		return to(endpoint, iot.ForBroker(), options...)
	}
}

// withoutChecks lets through what the service is to refuse.
var withoutChecks = iot.WithClientOptions(func(o *mqtt5.ClientOptions) { o.Limits = nil })

// inTokenWith makes a client with a key in a token, after change has spoilt something.
func inTokenWith(change func(*pkcs11.Options)) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		o := inToken(t, core)
		change(&o)
		return withPKCS11(core.Endpoint(), o, options...)
	}
}

// roleAlias makes a client whose device asks for credentials.
func roleAlias(a iottest.RoleAlias, opts ...iottest.DeviceOption) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
	return sigv4With(func(t *testing.T, core *iottest.Core) sigv4.CredentialsProvider {
		if err := core.AddRoleAlias(a); err != nil {
			t.Fatal(err)
		}
		d := core.Device(t, "device", opts...)
		ctx, err := tlsctx.New(tlsctx.Options{Identity: tlsctx.FromBytes(d.CertPEM(), d.KeyPEM()), CAPEM: core.CAPEM()})
		if err != nil {
			t.Fatal(err)
		}
		p, err := credentials.NewX509(credentials.X509Options{Endpoint: core.CredentialsEndpoint(), RoleAlias: "alias",
			HTTP: credentials.HTTPOptions{Dial: core.DialContext, TLS: ctx.Config, Attempts: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
}

// subscribeMany makes so many subscriptions, one after the other.
func subscribeMany(n int) func(context.Context, *mqtt5.Client) error {
	return func(ctx context.Context, client *mqtt5.Client) error {
		for i := range n {
			if err := subscribe(fmt.Sprint(i))(ctx, client); err != nil {
				return err
			}
		}
		return nil
	}
}

var longTopic = func() string {
	b := make([]byte, 257)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}()

func TestMistakes(t *testing.T) {
	if len(mistakes) < 100 {
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
			if !regexp.MustCompile("^(" + m.stage + ")$").MatchString(explained.Stage) {
				t.Errorf("the stage is %q, want %q", explained.Stage, m.stage)
			}
			if !regexp.MustCompile(m.text).MatchString(err.Error()) {
				t.Errorf("the error lacks %s: %v", m.text, err)
			}
			// Events have it in their text, too.
			event := (*iot.ConnectError)(nil)
			if !regexp.MustCompile(m.hint).MatchString(explained.Hint) || errors.As(err, &event) && !strings.Contains(err.Error(), explained.Hint) {
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
	client, err := made(m.make(t, core, options))
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
	a, err := made(with()(t, core, append(options, reach...)))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, first.connected, first.failed, "the first client")
	second, options := watch("twice")
	b, err := made(with()(t, core, append(options, reach...)))
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

// PINs are tried in programs of their own: whoever is logged in to a token is so
// for a whole process.
func TestMistakes_pin(t *testing.T) {
	core := iottest.Start(t)
	o := inToken(t, core)
	dir := t.TempDir()
	cert, ca := filepath.Join(dir, "device.pem"), filepath.Join(dir, "ca.pem")
	if err := errors.Join(os.WriteFile(cert, o.Key.CertificatePEM, 0o600), core.WriteCA(ca)); err != nil {
		t.Fatal(err)
	}
	args := []string{"-endpoint", "localhost", "-port", fmt.Sprint(core.Port()), "-ca", ca, "-count", "1",
		"-library", o.LibraryPath, "-token-label", o.Token.Label, "-key-label", o.Key.Label, "-cert", cert}
	for _, tt := range []struct{ pin, want string }{
		{softhsm.PIN, ""},
		{"hush", `failed at stage TLS: .*the token refused the PIN: .*; check the PIN; `},
		{"", `failed at stage TLS: .*the token wants a PIN and none was given; set PIN`},
	} {
		t.Setenv("PKCS11_PIN", tt.pin)
		stdout, stderr, status := run(t, "", program(t, "pkcs11"), args...)
		if status != 0 && tt.want == "" || status == 0 && tt.want != "" || !regexp.MustCompile(tt.want).MatchString(stderr) {
			t.Errorf("exit status %d, want %q\n%s\n%s", status, tt.want, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "hush") {
			t.Errorf("the PIN is shown:\n%s%s", stdout, stderr)
		}
	}
}
