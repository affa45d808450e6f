// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"context"
	"crypto/tls"
	"io"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// newContext fails the test if the options are not good.
func newContext(t testing.TB, opts tlsctx.Options) *tlsctx.Context {
	t.Helper()
	c, err := tlsctx.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// connect dials, reads the byte of the server and hangs up. It returns what the
// client knows of the connection.
func connect(t testing.TB, c *tlsctx.Context, address string) (tls.ConnectionState, error) {
	t.Helper()
	conn, err := (&tlsctx.Dialer{Context: c}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.(*tlsctx.Conn).ConnectionState(), nil
}

func TestDialer_mutualTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test CA")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, kind := range keyKinds {
			t.Run(tls.VersionName(version)+" "+kind, func(t *testing.T) {
				t.Parallel()
				s := startServer(t, &tls.Config{
					Certificates: []tls.Certificate{ca.server(t, "broker.example")},
					ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
					NextProtos: []string{"mqtt"},
				})
				device := ca.client(t, "device", kind)
				certFile, keyFile := device.files(t, t.TempDir())
				c := newContext(t, tlsctx.Options{
					Identity: tlsctx.FromPath(certFile, keyFile), CAPEM: ca.pem(), ServerName: "broker.example",
					ALPN: []string{"mqtt"}, MinVersion: version, MaxVersion: version,
				})
				if _, err := connect(t, c, s.address); err != nil {
					t.Fatal(err)
				}
				state := <-s.states
				if state.Version != version || state.ServerName != "broker.example" || state.NegotiatedProtocol != "mqtt" {
					t.Errorf("version %s, SNI %q, ALPN %q", tls.VersionName(state.Version), state.ServerName, state.NegotiatedProtocol)
				}
				if !state.PeerCertificates[0].Equal(device.cert) {
					t.Errorf("the server saw another certificate: %v", state.PeerCertificates[0].Subject)
				}
			})
		}
	}
}

func TestClient_withoutDialer(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "test CA")
	s := startServer(t, &tls.Config{Certificates: []tls.Certificate{ca.server(t, "broker.example")}})
	c := newContext(t, tlsctx.Options{CAPEM: ca.pem()})
	conn := dialTCP(t, s.address)
	tc, err := c.Client(context.Background(), conn, "broker.example")
	if err != nil {
		t.Fatal(err)
	}
	defer tc.Close()
	if state := <-s.states; state.ServerName != "broker.example" || len(state.PeerCertificates) != 0 {
		t.Errorf("SNI %q, %d certificates", state.ServerName, len(state.PeerCertificates))
	}
}
