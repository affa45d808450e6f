// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
	"go.uber.org/zap"
)

// Defaults of [Options].
const (
	DefaultPath             = "/mqtt"
	DefaultSubprotocol      = "mqtt"
	DefaultTransformTimeout = 30 * time.Second
	DefaultTLSTimeout       = 10 * time.Second
	DefaultUpgradeTimeout   = 20 * time.Second
)

// DialFunc opens a connection. It has the shape of net.Dialer.DialContext.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// TLSClient starts TLS on an established connection and returns with the
// handshake done, or with an error. serverName is the name that the
// certificate must carry.
type TLSClient interface {
	Client(ctx context.Context, conn net.Conn, serverName string) (*tls.Conn, error)
}

// HandshakeTransform edits the upgrade request before each attempt. It may
// change URL (scheme ws or wss, host, path and query), Header and Host, and nothing else;
// where the URL leads elsewhere, the connection goes there. URL.Host holds no port
// when it is the default of the scheme, and URL.Host, or Host if that is not empty,
// goes into the Host field as it stands. The query is sent byte for byte.
//
// The function may block, must obey ctx, and may be called from several
// goroutines at once. Its error ends the attempt. It runs before the connection
// is opened.
type HandshakeTransform func(ctx context.Context, r *http.Request) error

// Options describe how to reach a WebSocket server. The zero value connects
// with TLS, the roots of the system, path /mqtt and subprotocol mqtt. [New] keeps
// a copy.
type Options struct {
	// Plaintext connects without TLS in this layer: to a ws server, or because
	// Dial returns a connection that is secure already.
	Plaintext bool
	// TLS, if set, secures the connection.
	TLS TLSClient
	// TLSConfig is an alternative to TLS. With neither, the roots of the system are used.
	// It must not offer HTTP/2.
	TLSConfig *tls.Config
	// TLSServerName is the name to send and to expect in the certificate. The
	// default is the host of the URL. A ServerName in TLSConfig has precedence.
	TLSServerName string

	// Path is the path of the URL, unescaped. The default is "/mqtt".
	Path string
	// RawQuery is the query of the URL, escaped, without the question mark. It is a
	// secret as far as errors and logs are concerned.
	RawQuery string
	// Host replaces the host of the URL in the Host field. The default is the host of
	// the address, with the port unless it is the default of the scheme.
	Host string
	// Header holds additional fields of the upgrade request. Fields of the WebSocket
	// protocol cannot be set. No User-Agent is sent unless it is given here.
	Header http.Header
	// Subprotocols are offered in this order, and the server must choose one.
	// The default is
	// "mqtt" alone.
	Subprotocols []string
	// Transform, if set, edits the request at each attempt.
	Transform HandshakeTransform

	// Dial opens the connection below. The default is a zero net.Dialer. Its own
	// deadline, if any, bounds that stage.
	Dial DialFunc

	// TransformTimeout bounds Transform. 0 stands for DefaultTransformTimeout, a
	// negative value for no bound.
	TransformTimeout time.Duration
	// TLSTimeout bounds the TLS handshake. 0 stands for DefaultTLSTimeout, a
	// negative value for no bound.
	TLSTimeout time.Duration
	// UpgradeTimeout bounds the upgrade, from the request to the end of the answer. 0
	// stands for DefaultUpgradeTimeout, a negative value for no bound.
	UpgradeTimeout time.Duration

	// Logger gets debug entries about connections. Nil is silent.
	Logger *zap.Logger
}

// String describes the options without query and header values.
func (o Options) String() string {
	scheme, path := "wss", o.Path
	if o.Plaintext {
		scheme = "ws"
	}
	if path == "" {
		path = DefaultPath
	}
	return scheme + " " + path
}

// GoString keeps secrets out of %#v.
func (o Options) GoString() string { return "websocket.Options{" + o.String() + "}" }

// Format keeps secrets out of every verb.
func (o Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.GoString()) }

// MarshalText keeps secrets out of encoders such as encoding/json.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Validate reports everything that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("websocket: "+format, args...)) }
	if o.TLS != nil && o.TLSConfig != nil {
		fail("TLS excludes TLSConfig")
	}
	if o.Plaintext && (o.TLS != nil || o.TLSConfig != nil) {
		fail("Plaintext excludes TLS and TLSConfig")
	}
	if o.TLSConfig != nil && slices.Contains(o.TLSConfig.NextProtos, "h2") {
		fail("TLSConfig offers HTTP/2")
	}
	if o.Path != "" && !strings.HasPrefix(o.Path, "/") {
		fail("Path does not begin with a slash")
	}
	if strings.ContainsFunc(o.RawQuery, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }) {
		fail("RawQuery is not an escaped query")
	}
	if o.Host != "" && !exchange.IsHost(o.Host) {
		fail("Host is not a valid Host field")
	}
	if err := checkHeader(o.Header); err != nil {
		errs = append(errs, fmt.Errorf("websocket: %w", err))
	}
	for _, p := range o.Subprotocols {
		if !exchange.IsToken(p) { // both are tokens
			fail("invalid subprotocol %q", p)
		}
	}
	return errors.Join(errs...)
}

// checkHeader accepts fields that may be added to an upgrade request.
func checkHeader(h http.Header) error {
	for name, values := range h {
		key := http.CanonicalHeaderKey(name)
		switch {
		case !exchange.IsToken(name):
			return fmt.Errorf("invalid header name %q", name)
		case strings.HasPrefix(key, "Sec-Websocket-"),
			key == "Connection", key == "Upgrade", key == "Host",
			key == "Content-Length", key == "Transfer-Encoding", key == "Trailer":
			return fmt.Errorf("header %s cannot be set", key)
		}
		for _, v := range values {
			if !exchange.IsFieldValue(v) {
				return fmt.Errorf("invalid value of header %s", key)
			}
		}
	}
	return nil
}
