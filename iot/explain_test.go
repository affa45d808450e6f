// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestExplain_foreignProtocol(t *testing.T) {
	t.Parallel()
	for protocol, want := range map[string]string{
		mqtt5.ProtocolHTTP:  "a web server, a proxy or a portal answers here, not MQTT",
		mqtt5.ProtocolHTTP2: "a web server",
		mqtt5.ProtocolTLS:   "this port wants TLS",
		mqtt5.ProtocolSSH:   "another service is on this port",
		mqtt5.ProtocolMQTT3: "this server knows MQTT 3.1.1 only",
	} {
		e := Explain(&mqtt5.ForeignProtocolError{Protocol: protocol})
		if e.Stage != StageConnect || !strings.HasPrefix(e.Hint, want) {
			t.Errorf("%s: stage %q, hint %q", protocol, e.Stage, e.Hint)
		}
		c := &connector{host: "host"}
		var explained *ConnectError
		if err := c.explainFailure(&mqtt5.ForeignProtocolError{Protocol: protocol}, "id"); !errors.As(err, &explained) || explained.Stage != StageConnect || explained.Hint != e.Hint {
			t.Errorf("%s: %+v", protocol, explained)
		}
	}
}

// connectFailure makes one attempt to connect and returns the error of its event.
func connectFailure(t *testing.T, endpoint string, m method, options ...Option) *ConnectError {
	t.Helper()
	failed := make(chan error, 1)
	options = append(options, WithOnConnectionFailure(func(f *mqtt5.ConnectionFailure) {
		select {
		case failed <- f.Err:
		default:
		}
	}))
	client, err := apply(options).build(endpoint, m)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Start()
	select {
	case err := <-failed:
		var e *ConnectError
		if !errors.As(err, &e) {
			t.Fatalf("%T %v", err, err)
		}
		return e
	case <-time.After(time.Minute):
		t.Fatal("no failure")
		return nil
	}
}

// A web server answers on a port of TLS; the handshake succeeds without the
// application protocol that was offered.
func TestConnectionFailure_withoutALPN(t *testing.T) {
	t.Parallel()
	certPEM, keyPEM, _ := newCertificate(t)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				// The first byte of CONNECT is enough for a web server to complain.
				if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
					_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
				}
				_, _ = conn.Read(make([]byte, 1))
			}()
		}
	}()
	for _, offered := range []bool{true, false} {
		options := []Option{WithPort(l.Addr().(*net.TCPAddr).Port), WithTLS(func(o *tlsctx.Options) { o.DangerouslyDisableServerVerification = true })}
		if offered {
			options = append(options, WithALPN("x-amzn-mqtt-ca"))
		}
		e := connectFailure(t, "127.0.0.1", method{}, options...)
		if e.Stage != StageConnect || strings.Contains(e.Hint, "agreed to no application protocol (ALPN), although x-amzn-mqtt-ca was offered") != offered {
			t.Errorf("offered %v: stage %q, hint %q", offered, e.Stage, e.Hint)
		}
	}
}

func TestConnectionFailure_unknownName(t *testing.T) {
	t.Parallel()
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: "host.invalid", IsNotFound: true}}
	}
	for name, m := range map[string]method{"TLS": {}, "WebSocket": {upgrade: overWebsocket}} {
		for _, direct := range []bool{false, true} {
			options := []Option{WithDialer(dial)}
			if direct { // through the layer of the proxy, which is not used for this host
				options = append(options, WithProxy(proxy.Options{URL: "http://127.0.0.1:3128", NoProxy: []string{"*"}}))
			}
			if e := connectFailure(t, "host.invalid", m, options...); e.Stage != StageDNS || !strings.Contains(e.Hint, "check the endpoint") {
				t.Errorf("%s, direct %v: stage %q, hint %q", name, direct, e.Stage, e.Hint)
			}
		}
	}
}

// A connection that ends without an answer to CONNECT: AWS IoT Core refuses in
// this way, other brokers may want TLS.
func TestExplainFailure_silence(t *testing.T) {
	t.Parallel()
	secure, err := tlsctx.New(tlsctx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c    *connector
		want string
	}{
		{&connector{profile: true, certificate: true, tls: secure}, "check that the certificate is active and registered"},
		{&connector{profile: true, tls: secure}, "check that the credentials or the token are valid"},
		{&connector{tls: secure}, "check what the server logs"},
		{&connector{}, "the port probably requires TLS: leave out WithPlaintext"},
	} {
		var e *ConnectError
		if err := tt.c.explainFailure(mqtt5.ErrHangup, "dev"); !errors.As(err, &e) || e.Stage != StageConnect || !strings.HasPrefix(e.Hint, tt.want) {
			t.Errorf("%v, hint %q, want %q", err, e.Hint, tt.want)
		}
	}
}

// The connection to a proxy is opened as WithDialer says, unless the options of
// the proxy have a dialer of their own.
func TestWithProxy_dialer(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:3")
	t.Setenv("NO_PROXY", "")
	for name, option := range map[string]Option{"given": WithProxyURL("http://127.0.0.1:3"), "environment": WithProxyFromEnvironment()} {
		var d dialed
		c, err := apply([]Option{option, WithDialer(d.dial)}).connector(testEndpoint, method{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.options.Dial(t.Context(), "tcp", c.options.Address); !errors.Is(err, errDialed) || len(d.addresses) != 1 || d.addresses[0] != "127.0.0.1:3" {
			t.Errorf("%s: dialed %q, %v", name, d.addresses, err)
		}
	}
}
