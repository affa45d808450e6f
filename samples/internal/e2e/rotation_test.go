// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// reconnect cuts the connection of a client and waits for the next one.
func reconnect(t *testing.T, core *iottest.Core, e *events, id string) {
	t.Helper()
	core.Cut(id)
	receive(t, e.lost, e.failed, "the loss of the connection")
	receive(t, e.connected, e.failed, "the reconnect")
}

// Certificates that are replaced on disk are used by the next attempt.
func TestRotation_certificate(t *testing.T) {
	core := iottest.Start(t)
	first, second := core.Device(t, "first"), core.Device(t, "second")
	f, err := first.WriteFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e, options := watch("rotating")
	client, err := iot.NewMTLSFromPath(core.Endpoint(), f.Cert, f.Key, append(options, iot.WithDialer(core.DialContext), iot.WithCAFile(f.CA))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, e.connected, e.failed, "the connection")
	if got := core.Clients()["rotating"].Thing; got != "first" {
		t.Errorf("connected as %q", got)
	}
	for path, data := range map[string][]byte{f.Cert: second.CertPEM(), f.Key: second.KeyPEM()} {
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	reconnect(t, core, e, "rotating")
	if got := core.Clients()["rotating"].Thing; got != "second" {
		t.Errorf("after the rotation connected as %q", got)
	}
}

// Credentials are asked for at every attempt.
func TestRotation_credentials(t *testing.T) {
	core := iottest.Start(t)
	var asked atomic.Int32
	provider := sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
		asked.Add(1)
		k, err := core.CreateAccessKey(iottest.AccessKeyOptions{})
		if err != nil {
			return sigv4.Credentials{}, err
		}
		return sigv4.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey}, nil
	})
	e, options := watch("rotating")
	client, err := iot.NewWebsocketWithSigV4(core.Endpoint(), provider, append(options, iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, e.connected, e.failed, "the connection")
	before := core.Clients()["rotating"].AccessKeyID
	reconnect(t, core, e, "rotating")
	if after := core.Clients()["rotating"].AccessKeyID; after == before || asked.Load() != 2 {
		t.Errorf("%d requests, access keys %s and %s", asked.Load(), before, after)
	}
}

// Tokens for a custom authorizer are asked for at every attempt, and user names
// do not add up.
func TestRotation_token(t *testing.T) {
	core := iottest.Start(t)
	addAuthorizers(t, core)
	var asked atomic.Int32
	token := signed(t)
	a := iot.CustomAuthorizer{Name: "signed", TokenKeyName: "token", Refresh: func(_ context.Context, a *iot.CustomAuthorizer) error {
		asked.Add(1)
		a.TokenValue, a.Signature = token.TokenValue, token.Signature
		return nil
	}}
	e, options := watch("rotating")
	options = append(options, iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM()), iot.WithUsername("bob"))
	client, err := iot.NewDirectWithCustomAuthorizer(core.Endpoint(), a, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, e.connected, e.failed, "the connection")
	before := core.Clients()["rotating"].Username
	reconnect(t, core, e, "rotating")
	if after := core.Clients()["rotating"].Username; after != before || asked.Load() != 2 {
		t.Errorf("%d requests, user names %q and %q", asked.Load(), before, after)
	}
}

// The proxy of the environment is used only when asked for.
func TestProxyFromEnvironment(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	core := iottest.Start(t)
	o, p := startProxy(t, core, "http")
	t.Setenv("HTTPS_PROXY", "http://"+proxyUser+":pass%3Aword@"+o.URL[len("http://"):])
	for _, tt := range []struct {
		options []iot.Option
		tunnels int32
	}{
		{[]iot.Option{iot.WithDialer(core.DialContext)}, 0},
		{[]iot.Option{iot.WithProxyFromEnvironment()}, 1},
	} {
		p.tunnels.Store(0)
		e, options := watch("environment")
		client, err := made(with(tt.options...)(t, core, append(options, iot.WithCABytes(core.CAPEM()))))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		receive(t, e.connected, e.failed, "the connection")
		client.Close()
		if got := p.tunnels.Load(); got != tt.tunnels {
			t.Errorf("%d tunnels, want %d", got, tt.tunnels)
		}
	}
}

// A broker that is not of AWS gets no metrics and no limits.
func TestOtherBroker(t *testing.T) {
	core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
	e, options := watch("elsewhere")
	client, err := iot.NewForBroker("127.0.0.1", append(options, iot.WithPlaintext(), iot.WithPort(core.TCPPort()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	receive(t, e.connected, e.failed, "the connection")
	if info := core.Clients()["elsewhere"]; info.HasUsername {
		t.Errorf("the user name is %q", info.Username)
	}
	// The core itself keeps to the limits and hangs up; what counts is that
	// the client let the message go.
	_, err = client.Publish(context.Background(), &mqtt5.PublishPacket{Topic: "1/2/3/4/5/6/7/8/9", QoS: mqtt5.AtMostOnce})
	if err != nil && !errors.Is(err, mqtt5.ErrOutcomeUnknown) {
		t.Error(err)
	}
}
