// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// dialed is what a test's own dialer was asked for.
type dialed struct{ addresses []string }

var errDialed = errors.New("dialed")

func (d *dialed) dial(_ context.Context, _, address string) (net.Conn, error) {
	d.addresses = append(d.addresses, address)
	return nil, errDialed
}

// onWrite is a writer that gives each line to a function.
type onWrite func(string)

func (f onWrite) Write(p []byte) (int, error) { f(string(p)); return len(p), nil }

// optionCase is an option: what it stands for in the other device SDKs, and what
// is to be found in the client that it is given to.
type optionCase struct {
	feature, name string
	option        func(*testing.T) Option
	holds         func(t *testing.T, s *settings, c *connector) bool
}

// optionCases are all options of this package.
var optionCases = []optionCase{
	// CONNECT.
	{"client id", "WithClientID", func(*testing.T) Option { return WithClientID("dev") },
		func(_ *testing.T, _ *settings, c *connector) bool { return c.options.Connect.ClientID == "dev" }},
	{"keep alive", "WithKeepAlive", func(*testing.T) Option { return WithKeepAlive(45 * time.Second) },
		func(_ *testing.T, _ *settings, c *connector) bool { return *c.options.Connect.KeepAliveSeconds == 45 }},
	{"user name", "WithUsername", func(*testing.T) Option { return WithUsername("bob") },
		func(_ *testing.T, _ *settings, c *connector) bool { return *c.options.Connect.Username == "bob" }},
	{"password", "WithPassword", func(*testing.T) Option { return WithPassword([]byte{0, 0xff}) },
		func(_ *testing.T, _ *settings, c *connector) bool {
			return bytes.Equal(c.options.Connect.Password, []byte{0, 0xff})
		}},
	{"will", "WithWill", func(*testing.T) Option { return WithWill(&mqtt5.PublishPacket{Topic: "gone"}) },
		func(_ *testing.T, _ *settings, c *connector) bool { return c.options.Connect.Will.Topic == "gone" }},
	{"session behavior and expiry", "WithSession", func(*testing.T) Option { return WithSession(mqtt5.SessionRejoinAlways, time.Hour) },
		func(_ *testing.T, _ *settings, c *connector) bool {
			return c.options.SessionBehavior == mqtt5.SessionRejoinAlways && *c.options.Connect.SessionExpiryIntervalSeconds == 3600
		}},
	{"reconnect before expiry", "WithReconnectBeforeExpiry", func(*testing.T) Option { return WithReconnectBeforeExpiry(time.Hour) },
		func(_ *testing.T, s *settings, _ *connector) bool { return s.reconnectAhead == time.Hour }},
	{"no resubscribe", "WithoutResubscribe", func(*testing.T) Option { return WithoutResubscribe() },
		func(_ *testing.T, _ *settings, c *connector) bool { return !c.options.Resubscribe }},
	{"custom authorizer beside a certificate", "WithCustomAuthorizer", func(*testing.T) Option { return WithCustomAuthorizer(CustomAuthorizer{Name: "auth"}) },
		func(t *testing.T, _ *settings, c *connector) bool {
			return strings.Contains(username(t, c), "x-amz-customauthorizer-name=auth")
		}},
	{"metrics off", "WithoutMetrics", func(*testing.T) Option { return WithoutMetrics() },
		func(t *testing.T, _ *settings, c *connector) bool {
			return !strings.Contains(username(t, c), LibraryName)
		}},

	// Events.
	{"message callback", "WithOnMessage", func(*testing.T) Option {
		return WithOnMessage(func(_ context.Context, m mqtt5.Message) { m.Payload[0] = 'y' })
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		m := mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Payload: []byte("x")}}
		c.options.OnMessage(context.Background(), m)
		return string(m.Payload) == "y"
	}},
	{"event attempting connect", "WithOnAttemptingConnect", func(*testing.T) Option {
		return WithOnAttemptingConnect(func(e *mqtt5.AttemptingConnect) { e.Attempt = 77 })
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		e := &mqtt5.AttemptingConnect{}
		c.options.OnAttemptingConnect(e)
		return e.Attempt == 77
	}},
	{"event connection success", "WithOnConnectionSuccess", func(*testing.T) Option {
		return WithOnConnectionSuccess(func(e *mqtt5.ConnectionSuccess) { e.Settings.ClientID = "seen" })
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		e := &mqtt5.ConnectionSuccess{}
		c.options.OnConnectionSuccess(e)
		return e.Settings.ClientID == "seen"
	}},
	{"event connection failure", "WithOnConnectionFailure", func(t *testing.T) Option {
		return WithOnConnectionFailure(func(e *mqtt5.ConnectionFailure) { t.Setenv("SEEN", Explain(e.Err).Stage) })
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		c.options.OnConnectionFailure(&mqtt5.ConnectionFailure{Err: mqtt5.ErrConnackTimeout})
		return os.Getenv("SEEN") == StageConnect
	}},
	{"event disconnection", "WithOnDisconnection", func(t *testing.T) Option {
		return WithOnDisconnection(func(e *mqtt5.Disconnection) { t.Setenv("SEEN", Explain(e.Err).Stage) })
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		c.options.OnDisconnection(&mqtt5.Disconnection{Err: mqtt5.ErrHangup})
		return os.Getenv("SEEN") == StageMQTT
	}},
	{"event stopped", "WithOnStopped", func(t *testing.T) Option {
		return WithOnStopped(func(*mqtt5.Stopped) { t.Setenv("SEEN", "stopped") })
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		c.options.OnStopped(&mqtt5.Stopped{})
		return os.Getenv("SEEN") == "stopped"
	}},

	{"log to slog", "WithSlog", func(t *testing.T) Option {
		return WithSlog(slog.New(slog.NewTextHandler(onWrite(func(line string) { t.Setenv("SEEN", line) }), nil)))
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		c.options.Logger.Named("mqtt5").Warn("heard")
		return strings.Contains(os.Getenv("SEEN"), "level=WARN msg=heard logger=mqtt5")
	}},
	{"shared TLS", "WithTLSContext", func(t *testing.T) Option {
		shared, err := tlsctx.New(tlsctx.Options{ServerName: "shared.example"})
		if err != nil {
			t.Fatal(err)
		}
		return WithTLSContext(shared)
	}, func(t *testing.T, s *settings, c *connector) bool {
		config, err := c.tls.Config(t.Context(), "x")
		return c.tls == s.tlsContext && err == nil && config.ServerName == "shared.example"
	}},

	// Everything else of the client.
	{"all options of the client", "WithClientOptions", func(*testing.T) Option {
		return WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.OfflineQueuePolicy, o.RetryJitter, o.AckTimeout = mqtt5.FailAllOnDisconnect, mqtt5.JitterNone, time.Second
			o.TopicAliasing.Outbound, o.MinReconnectDelay, o.PingTimeout = mqtt5.TopicAliasLRU, time.Second, 2*time.Second
			o.Limits.PublishesPerSecond = 7
		})
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		o := c.options
		return o.OfflineQueuePolicy == mqtt5.FailAllOnDisconnect && o.RetryJitter == mqtt5.JitterNone && o.AckTimeout == time.Second &&
			o.TopicAliasing.Outbound == mqtt5.TopicAliasLRU && o.MinReconnectDelay == time.Second && o.PingTimeout == 2*time.Second &&
			o.Limits.PublishesPerSecond == 7 && o.Limits.BytesPerSecond == 512<<10
	}},
	{"event loop group", "WithEventLoops", func(t *testing.T) Option {
		g := eventloop.NewGroup(eventloop.Options{})
		t.Cleanup(func() { _ = g.Close() })
		return WithEventLoops(g)
	}, func(_ *testing.T, _ *settings, c *connector) bool { return c.options.EventLoops != nil }},
	{"logger", "WithLogger", func(*testing.T) Option { return WithLogger(zap.NewNop()) },
		func(_ *testing.T, _ *settings, c *connector) bool {
			return c.options.Logger != nil && c.tlsOpts.Logger != nil
		}},
	{"checks of quotas on or off", "WithAWSProfile", func(*testing.T) Option { return WithAWSProfile(false) },
		func(_ *testing.T, _ *settings, c *connector) bool {
			return c.options.Limits == nil && c.options.Hint == nil
		}},
	{"region", "WithRegion", func(*testing.T) Option { return WithRegion("ap-south-1") },
		func(_ *testing.T, s *settings, _ *connector) bool { return s.region == "ap-south-1" }},

	// TLS.
	{"port", "WithPort", func(*testing.T) Option { return WithPort(8883) },
		func(_ *testing.T, _ *settings, c *connector) bool { return c.options.Address == testEndpoint+":8883" }},
	{"ALPN list", "WithALPN", func(*testing.T) Option { return WithALPN("a", "b") },
		func(_ *testing.T, _ *settings, c *connector) bool {
			return slices.Equal(c.tlsOpts.ALPN, []string{"a", "b"})
		}},
	{"CA from file", "WithCAFile", func(t *testing.T) Option {
		cert, _, _ := newCertificate(t)
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, cert, 0o600); err != nil {
			t.Fatal(err)
		}
		return WithCAFile(path)
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		return strings.HasSuffix(c.tlsOpts.CAFile, "ca.pem")
	}},
	{"CA from folder", "WithCADir", func(t *testing.T) Option {
		cert, _, _ := newCertificate(t)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), cert, 0o600); err != nil {
			t.Fatal(err)
		}
		return WithCADir(dir)
	}, func(_ *testing.T, _ *settings, c *connector) bool { return c.tlsOpts.CADir != "" }},
	{"CA from bytes", "WithCABytes", func(t *testing.T) Option { cert, _, _ := newCertificate(t); return WithCABytes(cert) },
		func(_ *testing.T, _ *settings, c *connector) bool { return len(c.tlsOpts.CAPEM) > 0 }},
	{"server name (SNI)", "WithServerName", func(*testing.T) Option { return WithServerName("other.example") },
		func(t *testing.T, _ *settings, c *connector) bool {
			return c.tlsOpts.ServerName == "other.example" && config(t, c).ServerName == "other.example"
		}},
	{"minimum TLS version", "WithMinTLSVersion", func(*testing.T) Option { return WithMinTLSVersion(tls.VersionTLS13) },
		func(t *testing.T, _ *settings, c *connector) bool { return config(t, c).MinVersion == tls.VersionTLS13 }},
	{"verification off, cipher suites, own tls.Config", "WithTLS", func(*testing.T) Option {
		return WithTLS(func(o *tlsctx.Options) {
			o.DangerouslyDisableServerVerification = true
			o.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			o.Configure = func(c *tls.Config) { c.DynamicRecordSizingDisabled = true }
		})
	}, func(t *testing.T, _ *settings, c *connector) bool {
		got := config(t, c)
		return got.InsecureSkipVerify && got.DynamicRecordSizingDisabled && len(got.CipherSuites) == 1
	}},
	{"certificate beside a custom authorizer", "WithIdentity", func(t *testing.T) Option {
		cert, key, _ := newCertificate(t)
		return WithIdentity(tlsctx.FromBytes(cert, key))
	}, func(_ *testing.T, _ *settings, c *connector) bool { return c.tlsOpts.Identity != nil }},
	{"no TLS", "WithPlaintext", func(*testing.T) Option { return WithPlaintext() },
		func(_ *testing.T, _ *settings, c *connector) bool { return c.tls == nil }},

	// Network.
	{"own dialer", "WithDialer", func(t *testing.T) Option { return WithDialer((&dialed{}).dial) },
		func(_ *testing.T, _ *settings, c *connector) bool {
			_, err := c.options.Dial(context.Background(), "tcp", c.options.Address)
			return errors.Is(err, errDialed)
		}},
	{"socket options", "WithSocket", func(*testing.T) Option {
		return WithSocket(&socket.Dialer{Control: func(string, string, syscall.RawConn) error { return errDialed }})
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		_, err := c.options.Dial(context.Background(), "tcp", "127.0.0.1:1")
		return errors.Is(err, errDialed)
	}},
	{"proxy with TLS, password, NO_PROXY list", "WithProxy", func(*testing.T) Option {
		return WithProxy(proxy.Options{Host: "127.0.0.1", Port: 3, Username: "u", Password: "p", NoProxy: []string{"direct.example"}, Dial: (&dialed{}).dial})
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		var e *proxy.Error
		_, err := c.options.Dial(context.Background(), "tcp", c.options.Address)
		_, direct := c.options.Dial(context.Background(), "tcp", "direct.example:443")
		return errors.As(err, &e) && e.Step == proxy.StepDial && errors.As(direct, &e) && e.Step == proxy.StepDirect
	}},
	{"proxy by URL, SOCKS5", "WithProxyURL", func(*testing.T) Option { return WithProxyURL("socks5://127.0.0.1:1") },
		func(_ *testing.T, _ *settings, c *connector) bool {
			var e *proxy.Error
			_, err := c.options.Dial(context.Background(), "tcp", c.options.Address)
			return errors.As(err, &e) && e.Proxy == "socks5://127.0.0.1:1"
		}},
	{"proxy from the environment", "WithProxyFromEnvironment", func(t *testing.T) Option {
		t.Setenv("HTTPS_PROXY", "127.0.0.1:1")
		t.Setenv("NO_PROXY", "")
		return WithProxyFromEnvironment(func(o *proxy.Options) { o.NoProxy, o.Dial = []string{"direct.example"}, (&dialed{}).dial }, nil)
	}, func(_ *testing.T, _ *settings, c *connector) bool {
		var e *proxy.Error
		_, err := c.options.Dial(context.Background(), "tcp", c.options.Address)
		_, direct := c.options.Dial(context.Background(), "tcp", "direct.example:443")
		return errors.As(err, &e) && e.Proxy == "http://127.0.0.1:1" && errors.Is(err, errDialed) && errors.As(direct, &e) && e.Step == proxy.StepDirect
	}},
	{"WebSocket path, headers, subprotocols", "WithWebsocket", func(t *testing.T) Option {
		return WithWebsocket(func(o *websocket.Options) { o.Path = "/other"; t.Setenv("SEEN", "websocket") })
	}, func(t *testing.T, s *settings, _ *connector) bool {
		_, err := s.connector(testEndpoint, method{upgrade: overWebsocket})
		return err == nil && os.Getenv("SEEN") == "websocket"
	}},
}

// username is the user name of a CONNECT.
func username(t *testing.T, c *connector) string {
	t.Helper()
	packet := c.options.Connect
	if f := c.options.PrepareConnect; f != nil {
		if err := f(context.Background(), &packet); err != nil {
			t.Fatal(err)
		}
	}
	if packet.Username == nil {
		return ""
	}
	return *packet.Username
}

func config(t *testing.T, c *connector) *tls.Config {
	t.Helper()
	got, err := c.tls.Config(context.Background(), c.host)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Each option has its effect, and the client that it makes is one.
func TestOptions(t *testing.T) {
	for _, tt := range optionCases {
		t.Run(tt.name, func(t *testing.T) {
			s := apply([]Option{tt.option(t)})
			c, err := s.connector(testEndpoint, method{})
			if err != nil {
				t.Fatal(err)
			}
			if !tt.holds(t, s, c) {
				t.Errorf("%s: no effect", tt.feature)
			}
			client, err := mqtt5.NewClient(c.options)
			if err != nil {
				t.Fatal(err)
			}
			_ = client.Close()
		})
	}
}

// Options without a line above would be options without a test.
func TestOptions_areAllTested(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "With") {
				continue
			}
			found++
			if !slices.ContainsFunc(optionCases, func(o optionCase) bool { return o.name == f.Name.Name }) {
				t.Errorf("%s is not tested", f.Name.Name)
			}
		}
	}
	if found != len(optionCases) {
		t.Errorf("%d options, %d lines", found, len(optionCases))
	}
}

// The options of TLS are asked once for each client, so that they may count.
func TestOptions_hooksRunOnce(t *testing.T) {
	calls := 0
	c, err := apply([]Option{WithTLS(func(*tlsctx.Options) { calls++ })}).connector(testEndpoint, method{})
	if err != nil {
		t.Fatal(err)
	}
	if username(t, c); calls != 1 {
		t.Errorf("%d calls", calls)
	}
}
