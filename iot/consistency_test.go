// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// An option without effect is an error if it contradicts another, and a warning
// in the log otherwise.
func TestOptions_withoutEffect(t *testing.T) {
	shared, err := tlsctx.New(tlsctx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client := func(f func(*mqtt5.ClientOptions)) Option { return WithClientOptions(f) }
	for _, tt := range []struct {
		test    string
		method  Method
		options []Option
		problem string // in the error
		warning string // in the log
	}{
		{"nothing", ForBroker(), nil, "", ""},
		{"socket and dialer", ForBroker(), []Option{WithSocket(&socket.Dialer{}), WithDialer((&dialed{}).dial)}, "WithSocket has no effect beside WithDialer", ""},
		{"rejoin without expiry", ForBroker(), []Option{WithSession(mqtt5.SessionRejoinAlways, 0)}, "the session expiry is 0", ""},
		{"rejoin without expiry, by hand", ForBroker(), []Option{client(func(o *mqtt5.ClientOptions) { o.SessionBehavior = mqtt5.SessionRejoinPostSuccess })}, "the session expiry is 0", ""},
		{"rejoin, expiry of each attempt", ForBroker(), []Option{client(func(o *mqtt5.ClientOptions) {
			o.SessionBehavior = mqtt5.SessionRejoinPostSuccess
			o.PrepareConnect = func(context.Context, *mqtt5.ConnectPacket) error { return nil }
		})}, "", ""},
		{"will delay without will", ForBroker(), []Option{client(func(o *mqtt5.ClientOptions) { o.Connect.WillDelayIntervalSeconds = mqtt5.Ptr[uint32](1) })}, "without a will", ""},
		{"TLS context and plaintext", ForBroker(), []Option{WithTLSContext(shared), WithPlaintext()}, "WithPlaintext", ""},
		{"TLS context and CA", ForBroker(), []Option{WithTLSContext(shared), WithCABytes(nil)}, "give them to the context", ""},
		{"TLS context and certificate", MTLSFromBytes([]byte("x"), []byte("x")), []Option{WithTLSContext(shared)}, "excludes another certificate", ""},
		{"TLS context", ForBroker(), []Option{WithTLSContext(shared)}, "", ""},
		{"TLS options without TLS", ForBroker(), []Option{WithPlaintext(), WithServerName("x")}, "", "there is no TLS"},
		{"WebSocket options without WebSocket", ForBroker(), []Option{WithWebsocket(func(*websocket.Options) {})}, "", "the connection is direct"},
		{"region without signature", ForBroker(), []Option{WithRegion("eu-west-1")}, "", "nothing is signed"},
		{"region with signature", WebsocketWithSigV4(fixedCredentials), []Option{WithRegion("eu-west-1")}, "", ""},
		{"keep alive of a second", WebsocketWithSigV4(fixedCredentials), []Option{WithRegion("r"), WithKeepAlive(time.Second)}, "", "seconds=1 inEffect=30"},
		{"no keep alive", DirectWithCustomAuthorizer(CustomAuthorizer{}), []Option{WithKeepAlive(0)}, "", "seconds=0 inEffect=1200"},
		{"keep alive of an hour", DirectWithCustomAuthorizer(CustomAuthorizer{}), []Option{WithKeepAlive(time.Hour)}, "", "seconds=3600 inEffect=1200"},
		{"keep alive as documented", DirectWithCustomAuthorizer(CustomAuthorizer{}), []Option{WithKeepAlive(30 * time.Second)}, "", ""},
		{"keep alive of another broker", ForBroker(), []Option{WithKeepAlive(time.Second)}, "", ""},
		{"client id of the service", DirectWithCustomAuthorizer(CustomAuthorizer{}), []Option{WithClientID("$GEN/1")}, "begins with $", ""},
		{"client id of another broker", ForBroker(), []Option{WithClientID("$GEN/1")}, "", ""},
		{"reconnect before the expiry of nothing", ForBroker(), []Option{WithReconnectBeforeExpiry(time.Minute)}, "", "neither a certificate nor credentials"},
		{"reconnect before the expiry, not ahead of it", ForBroker(), []Option{WithReconnectBeforeExpiry(0)}, "not above 0", ""},
		{"no method", Method{}, nil, "zero value", ""},
	} {
		t.Run(tt.test, func(t *testing.T) {
			var log strings.Builder
			options := append([]Option{WithSlog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))}, tt.options...)
			client, err := NewClient("iot.example", tt.method, options...)
			if err == nil {
				client.Close()
			}
			switch {
			case tt.problem == "" && err != nil, tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("got %v, want %q", err, tt.problem)
			case err != nil && !errors.Is(err, ErrInvalidOptions):
				t.Errorf("%v is no ErrInvalidOptions", err)
			}
			if got := log.String(); (got != "") != (tt.warning != "") || !strings.Contains(got, tt.warning) {
				t.Errorf("logged %q, want %q", got, tt.warning)
			}
		})
	}
}

// All problems come at once, one line each; every missing file is named.
func TestConstructors_reportAllProblems(t *testing.T) {
	_, err := NewMTLSFromPath("https://x", "/nope/device.crt", "/nope/device.key",
		WithCAFile("/nope/ca.pem"), WithPort(-1), WithProxyURL("ftp://x"), WithClientID("$x"), WithCustomAuthorizer(CustomAuthorizer{TokenValue: "x"}))
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		"iot: invalid endpoint", "iot: WithPort(-1)", "iot: tlsctx: /nope/ca.pem:", "iot: tlsctx: /nope/device.crt: no such file",
		"iot: tlsctx: /nope/device.key:", "iot: proxy: the scheme", `iot: the client id "$x"`, "iot: a custom authorizer with signing",
	}
	var got []string
	for i, line := range strings.Split(err.Error(), "\n") {
		if i < len(want) && strings.HasPrefix(line, want[i]) {
			line = want[i]
		}
		got = append(got, line)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
