// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

const testEndpoint = "abc-ats.iot.eu-west-1.amazonaws.com"

// newCertificate makes a certificate and its key.
func newCertificate(t testing.TB) (certPEM, keyPEM []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "device"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), key
}

func TestConnector_portAndALPN(t *testing.T) {
	cert, key, _ := newCertificate(t)
	identity := WithIdentity(tlsctx.FromBytes(cert, key))
	authorizer := WithCustomAuthorizer(CustomAuthorizer{Name: "auth"})
	for _, tt := range []struct {
		test    string
		options []Option
		method  method
		address string
		alpn    []string
	}{
		{"certificate", []Option{identity}, method{}, ":443", []string{"x-amzn-mqtt-ca"}},
		{"certificate, 443", []Option{identity, WithPort(443)}, method{}, ":443", []string{"x-amzn-mqtt-ca"}},
		{"certificate, 8883", []Option{identity, WithPort(8883)}, method{}, ":8883", nil},
		{"certificate, other port", []Option{identity, WithPort(1234)}, method{}, ":1234", []string{"x-amzn-mqtt-ca"}},
		{"certificate, own ALPN", []Option{identity, WithALPN("a", "b")}, method{}, ":443", []string{"a", "b"}},
		{"certificate, no ALPN", []Option{identity, WithALPN()}, method{}, ":443", nil},
		{"certificate, ALPN by hook", []Option{identity, WithTLS(func(o *tlsctx.Options) { o.ALPN = []string{"x"} })}, method{}, ":443", []string{"x"}},
		{"custom authorizer", []Option{authorizer}, method{}, ":443", []string{"mqtt"}},
		{"custom authorizer and certificate", []Option{authorizer, identity}, method{}, ":443", []string{"mqtt"}},
		{"custom authorizer and certificate, 8883", []Option{authorizer, identity, WithPort(8883)}, method{}, ":8883", nil},
		{"WebSocket", nil, method{upgrade: overWebsocket}, ":443", nil},
		{"WebSocket with custom authorizer", []Option{authorizer}, method{upgrade: overWebsocket}, ":443", nil},
		{"default", nil, method{broker: true}, ":8883", nil},
		{"default with certificate", []Option{identity}, method{broker: true}, ":443", []string{"x-amzn-mqtt-ca"}},
		{"default with custom authorizer", []Option{authorizer}, method{broker: true}, ":443", []string{"mqtt"}},
		{"plaintext", []Option{WithPlaintext()}, method{broker: true}, ":1883", nil},
		{"plaintext, own port", []Option{WithPlaintext(), WithPort(1)}, method{broker: true}, ":1", nil},
	} {
		t.Run(tt.test, func(t *testing.T) {
			c, err := apply(tt.options).connector(testEndpoint, tt.method)
			if err != nil {
				t.Fatal(err)
			}
			if want := testEndpoint + tt.address; c.options.Address != want {
				t.Errorf("the address is %s, want %s", c.options.Address, want)
			}
			if diff := cmp.Diff(tt.alpn, c.tlsOpts.ALPN); diff != "" {
				t.Errorf("ALPN (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConnector_profile(t *testing.T) {
	for _, tt := range []struct {
		test, endpoint string
		options        []Option
		limits, hints  bool
		metrics        bool
	}{
		{"AWS", testEndpoint, nil, true, true, true},
		{"AWS, off", testEndpoint, []Option{WithAWSProfile(false)}, false, false, true},
		{"AWS, without metrics", testEndpoint, []Option{WithoutMetrics()}, true, true, false},
		{"custom domain", "iot.example", nil, true, true, false},
		{"custom domain, off", "iot.example", []Option{WithAWSProfile(false)}, false, false, false},
		{"address", "127.0.0.1", nil, true, true, false},
		{"limits off", testEndpoint, []Option{WithClientOptions(func(o *mqtt5.ClientOptions) { o.Limits = nil })}, false, true, true},
	} {
		t.Run(tt.test, func(t *testing.T) {
			c, err := apply(tt.options).connector(tt.endpoint, method{})
			if err != nil {
				t.Fatal(err)
			}
			if got := c.options.Limits != nil; got != tt.limits {
				t.Errorf("limits: %v", got)
			}
			if got := c.options.Hint != nil; got != tt.hints {
				t.Errorf("hints: %v", got)
			}
			packet := c.options.Connect
			if f := c.options.PrepareConnect; f != nil {
				if err := f(context.Background(), &packet); err != nil {
					t.Fatal(err)
				}
			}
			if got := packet.Username != nil && strings.Contains(*packet.Username, LibraryName); got != tt.metrics {
				t.Errorf("metrics: %v", got)
			}
		})
	}
}

// What the user sets is what the client gets.
func TestConnector_overwritesNothing(t *testing.T) {
	own := mqtt5.ClientOptions{
		Address: "elsewhere.example:1234",
		Connect: mqtt5.ConnectPacket{ClientID: "id", KeepAliveSeconds: mqtt5.Ptr[uint16](77), Username: mqtt5.Ptr("user"), Password: []byte("p")},
		Limits:  &mqtt5.Limits{MaxTopicBytes: 1},
		Hint:    func(mqtt5.Refusal) string { return "mine" },
		Dial:    func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("mine") },
	}
	c, err := apply([]Option{WithClientOptions(func(o *mqtt5.ClientOptions) { *o = own })}).connector(testEndpoint, method{})
	if err != nil {
		t.Fatal(err)
	}
	got := c.options
	if got.Address != own.Address || got.Limits != own.Limits || got.Hint(mqtt5.Refusal{}) != "mine" {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(own.Connect, got.Connect); diff != "" {
		t.Errorf("CONNECT (-want +got):\n%s", diff)
	}
	if _, err := got.Dial(context.Background(), "tcp", ""); err == nil || err.Error() != "mine" {
		t.Errorf("Dial says %v", err)
	}
}

func TestConnector_userName(t *testing.T) {
	plain := WithoutMetrics()
	for _, tt := range []struct {
		test    string
		options []Option
		want    string
	}{
		{"given", []Option{plain, WithUsername("bob")}, "bob"},
		{"with authorizer", []Option{plain, WithUsername("bob"), WithCustomAuthorizer(CustomAuthorizer{Name: "auth"})}, "bob?x-amz-customauthorizer-name=auth"},
		{"of each attempt", []Option{plain, WithCustomAuthorizer(CustomAuthorizer{Name: "auth"}), WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.PrepareConnect = func(_ context.Context, p *mqtt5.ConnectPacket) error { p.Username = mqtt5.Ptr("fresh"); return nil }
		})}, "fresh?x-amz-customauthorizer-name=auth"},
		{"refreshed", []Option{plain, WithCustomAuthorizer(CustomAuthorizer{Name: "auth", TokenKeyName: "k", Refresh: func(_ context.Context, a *CustomAuthorizer) error {
			a.TokenValue, a.Signature = "t", "c2ln"
			return nil
		}})}, "?x-amz-customauthorizer-name=auth&x-amz-customauthorizer-signature=c2ln&k=t"},
		{"with metrics", []Option{WithUsername("bob"), WithCustomAuthorizer(CustomAuthorizer{Name: "auth"})}, Metrics{Features: "F/5,G/A"}.Username("bob?x-amz-customauthorizer-name=auth")},
	} {
		t.Run(tt.test, func(t *testing.T) {
			c, err := apply(tt.options).connector(testEndpoint, method{})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // attempts do not add up
				packet := c.options.Connect
				if f := c.options.PrepareConnect; f != nil {
					if err := f(context.Background(), &packet); err != nil {
						t.Fatal(err)
					}
				}
				if got := *packet.Username; strings.ReplaceAll(got, "G/B", "G/A") != tt.want {
					t.Errorf("the user name is %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestConstructors_arguments(t *testing.T) {
	cert, key, signer := newCertificate(t)
	_, otherKey, _ := newCertificate(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certFile, keyFile := write("cert.pem", cert), write("key.pem", key)
	identity := tlsctx.FromBytes(cert, key)
	for _, tt := range []struct {
		test  string
		build func() (*mqtt5.Client, error)
		want  error
		text  string
	}{
		{"no certificate file", func() (*mqtt5.Client, error) { return NewMTLSFromPath(testEndpoint, filepath.Join(dir, "no"), keyFile) }, os.ErrNotExist, "no such file"},
		{"swapped files", func() (*mqtt5.Client, error) { return NewMTLSFromPath(testEndpoint, keyFile, certFile) }, ErrInvalidOptions, "key.pem"},
		{"key of another certificate", func() (*mqtt5.Client, error) { return NewMTLSFromBytes(testEndpoint, cert, otherKey) }, tlsctx.ErrKeyMismatch, ""},
		{"no CA file", func() (*mqtt5.Client, error) {
			return NewMTLSFromBytes(testEndpoint, cert, key, WithCAFile(filepath.Join(dir, "no")))
		}, os.ErrNotExist, "no such file"},
		{"CA that is none", func() (*mqtt5.Client, error) {
			return NewMTLSFromBytes(testEndpoint, cert, key, WithCABytes([]byte("x")))
		}, ErrInvalidOptions, ""},
		{"no bundle", func() (*mqtt5.Client, error) { return NewMTLSWithPKCS12(testEndpoint, filepath.Join(dir, "no"), "pw") }, os.ErrNotExist, "no such file"},
		{"bundle that is none", func() (*mqtt5.Client, error) { return NewMTLSWithPKCS12(testEndpoint, certFile, "hush") }, ErrInvalidOptions, "cert.pem"},
		{"nil signer", func() (*mqtt5.Client, error) { return NewMTLSWithSigner(testEndpoint, cert, nil) }, ErrInvalidOptions, "nil"},
		{"nil identity", func() (*mqtt5.Client, error) { return NewMTLSWithIdentity(testEndpoint, nil) }, ErrInvalidOptions, "nil"},
		{"nil handshake", func() (*mqtt5.Client, error) { return NewWebsocketWithCustomHandshake(testEndpoint, nil) }, ErrInvalidOptions, "nil"},
		{"two identities", func() (*mqtt5.Client, error) {
			return NewMTLSWithSigner(testEndpoint, cert, signer, WithIdentity(identity))
		}, ErrInvalidOptions, "already"},
		{"two authorizers", func() (*mqtt5.Client, error) {
			return NewDirectWithCustomAuthorizer(testEndpoint, CustomAuthorizer{}, WithCustomAuthorizer(CustomAuthorizer{}))
		}, ErrInvalidOptions, "already"},
		{"certificate without TLS", func() (*mqtt5.Client, error) { return NewMTLSFromBytes(testEndpoint, cert, key, WithPlaintext()) }, ErrInvalidOptions, "requires TLS"},
		{"port", func() (*mqtt5.Client, error) { return NewForBroker(testEndpoint, WithPort(70000)) }, ErrInvalidOptions, "WithPort(70000)"},
		{"keep alive", func() (*mqtt5.Client, error) { return NewForBroker(testEndpoint, WithKeepAlive(-1)) }, ErrInvalidOptions, "WithKeepAlive"},
		{"keep alive a nanosecond too long", func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, WithKeepAlive(65535*time.Second+1))
		}, ErrInvalidOptions, "WithKeepAlive"},
		{"longest keep alive", func() (*mqtt5.Client, error) { return NewForBroker(testEndpoint, WithKeepAlive(math.MaxInt64)) }, ErrInvalidOptions, "WithKeepAlive"},
		{"session expiry", func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, WithSession(mqtt5.SessionRejoinAlways, -1))
		}, ErrInvalidOptions, "WithSession"},
		{"longest session expiry", func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, WithSession(mqtt5.SessionRejoinAlways, math.MaxInt64))
		}, ErrInvalidOptions, "WithSession"},
		{"two authorizers over WebSocket", func() (*mqtt5.Client, error) {
			return NewWebsocketWithCustomAuthorizer(testEndpoint, CustomAuthorizer{}, WithCustomAuthorizer(CustomAuthorizer{}))
		}, ErrInvalidOptions, "already"},
		{"proxy", func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, WithProxy(proxy.Options{URL: "ftp://p"}))
		}, ErrInvalidOptions, "scheme"},
		{"proxy with password", func() (*mqtt5.Client, error) { return NewForBroker(testEndpoint, WithProxyURL("http://u:hush@:x")) }, ErrInvalidOptions, ""},
		{"TLS version", func() (*mqtt5.Client, error) { return NewForBroker(testEndpoint, WithMinTLSVersion(1)) }, ErrInvalidOptions, ""},
		{"endpoint and port", func() (*mqtt5.Client, error) { return NewForBroker("https://x", WithPort(-1)) }, ErrInvalidEndpoint, "WithPort(-1)"},
		{"no region", func() (*mqtt5.Client, error) { return NewWebsocketWithSigV4("iot.example", fixedCredentials) }, ErrInvalidOptions, "WithRegion"},
		{"no credentials", func() (*mqtt5.Client, error) { return NewWebsocketWithSigV4(testEndpoint, nil) }, ErrInvalidOptions, "credentials.NewDefault"},
		{"no credentials in an interface", func() (*mqtt5.Client, error) {
			return NewWebsocketWithSigV4(testEndpoint, (*credentials.Provider)(nil))
		}, ErrInvalidOptions, "credentials.NewDefault"},
		{"client id", func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, WithClientID(strings.Repeat("x", 129)))
		}, ErrInvalidOptions, "ClientID"},
		{"port and will", func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, WithPort(-1), WithWill(&mqtt5.PublishPacket{}))
		}, mqtt5.ErrNotSent, "Connect.Will.Topic"},
		{"port, before a will", func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, WithPort(-1), WithWill(&mqtt5.PublishPacket{}))
		}, ErrInvalidOptions, "WithPort(-1)"},
	} {
		t.Run(tt.test, func(t *testing.T) {
			t.Setenv("AWS_REGION", "")
			t.Setenv("AWS_DEFAULT_REGION", "")
			t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "none"))
			client, err := tt.build()
			if err == nil {
				client.Close()
				t.Fatal("no error")
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v and %q", err, tt.want, tt.text)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("shows a secret: %v", err)
			}
			if Explain(err).Stage == "" {
				t.Errorf("no stage for %v", err)
			}
		})
	}
}

var fixedCredentials = sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
	return sigv4.Credentials{AccessKeyID: "AKID", SecretAccessKey: "hush"}, nil
})

// The region of a profile serves an endpoint whose name has none.
func TestNewWebsocketWithSigV4_regionOfTheProvider(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[profile device]\nregion = eu-south-1\naws_access_key_id = AKID\naws_secret_access_key = hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	provider, err := credentials.NewProfile(credentials.ProfileOptions{Name: "device", ConfigFile: file, CredentialsFile: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	region, err := apply(nil).signingRegion(t.Context(), "iot.example", provider)
	if region != "eu-south-1" || err != nil {
		t.Errorf("got %q, %v", region, err)
	}
}

func TestConstructors_succeed(t *testing.T) {
	cert, key, signer := newCertificate(t)
	for name, build := range map[string]func() (*mqtt5.Client, error){
		"bytes":   func() (*mqtt5.Client, error) { return NewMTLSFromBytes(testEndpoint, cert, key) },
		"signer":  func() (*mqtt5.Client, error) { return NewMTLSWithSigner(testEndpoint, cert, signer) },
		"SigV4":   func() (*mqtt5.Client, error) { return NewWebsocketWithSigV4(testEndpoint, fixedCredentials) },
		"default": func() (*mqtt5.Client, error) { return NewForBroker("localhost", WithPlaintext()) },
		"env":     func() (*mqtt5.Client, error) { return NewForBroker(testEndpoint, WithProxyFromEnvironment()) },
		"nil opts": func() (*mqtt5.Client, error) {
			return NewForBroker(testEndpoint, nil, WithClientOptions(nil), WithTLS(nil))
		},
	} {
		client, err := build()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		client.Close()
	}
}

// A bundle or key that is in memory must not be changed by building a client.
func TestConstructors_keepArguments(t *testing.T) {
	cert, key, _ := newCertificate(t)
	c, k := bytes.Clone(cert), bytes.Clone(key)
	client, err := NewMTLSFromBytes(testEndpoint, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if !bytes.Equal(c, cert) || !bytes.Equal(k, key) {
		t.Error("arguments changed")
	}
}
