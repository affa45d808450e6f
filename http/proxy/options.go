// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
	"go.uber.org/zap"
)

// Defaults of [Options].
const (
	DefaultTLSTimeout    = 10 * time.Second
	DefaultTunnelTimeout = 30 * time.Second
)

// DialFunc opens a connection. It has the shape of net.Dialer.DialContext.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// TLSClient starts TLS on an established connection and returns with the
// handshake done, or with an error. serverName is the name that the
// certificate must carry.
type TLSClient interface {
	Client(ctx context.Context, conn net.Conn, serverName string) (*tls.Conn, error)
}

// Kind is the protocol spoken with the proxy.
type Kind uint8

const (
	// HTTP asks for tunnels with the CONNECT method.
	HTTP Kind = iota
	// SOCKS5 is RFC 1928; target names are resolved by the proxy.
	SOCKS5
)

// String returns "http" or "socks5".
func (k Kind) String() string {
	switch k {
	case HTTP:
		return "http"
	case SOCKS5:
		return "socks5"
	default:
		return "kind(" + strconv.Itoa(int(k)) + ")"
	}
}

// ConnectRequest describes a CONNECT request about to be sent.
type ConnectRequest struct {
	// Target is the host:port that the tunnel leads to.
	Target string
	// Round counts the requests for this tunnel, from 0. It is above 0 after a 407.
	Round int
	// Challenge is the header of the 407 answer to the request before, nil in
	// round 0. The schemes that the proxy offers are in its Proxy-Authenticate fields.
	Challenge http.Header
}

// Options describe a proxy and how to use it. The proxy is given either as
// URL or as Kind, Host and Port. [New] keeps a copy.
type Options struct {
	// URL is the address of the proxy as
	// scheme://[user[:password]@]host[:port]. Schemes are http, https (TLS to
	// the proxy), socks5 and socks5h (the same thing here: the proxy resolves
	// names). Default ports are 80, 443 and 1080. User name and password are
	// percent-decoded. Without a scheme it is http, and blanks around it do not
	// count. Excludes Kind, Host and Port.
	URL string

	// Kind is the protocol of the proxy named by Host. The default is HTTP.
	Kind Kind
	// Host is the name or address of the proxy.
	Host string
	// Port is the port of the proxy. 0 stands for the default of the kind: 80, 443
	// with TLS, or 1080.
	Port int

	// Username and Password authenticate to the proxy: Basic for HTTP, RFC 1929 for
	// SOCKS5. They override those in URL. Both are sent in UTF-8. A user name
	// may not hold a colon for Basic, and each is limited to 255 bytes for SOCKS5.
	Username, Password string
	// PreemptiveAuth sends Basic credentials with the first CONNECT request
	// instead of waiting for the 407. That saves a round trip, and tells the
	// password to a proxy that may not have asked for it.
	PreemptiveAuth bool
	// ConnectHeader, if set, is called before every CONNECT request and returns
	// headers to add, for instance Proxy-Authorization of a scheme that this
	// package does not know. Returning none is allowed. After a 407, a
	// Proxy-Authorization in the result makes the dialer ask again; otherwise
	// Username and Password are tried, once. A dial asks at most 8 times. An
	// error ends the dial. The function must obey ctx, which carries the
	// deadline of the tunnel, and may be called from several goroutines at
	// once.
	ConnectHeader func(ctx context.Context, r ConnectRequest) (http.Header, error)

	// TLS, if set, secures the connection to the proxy.
	TLS TLSClient
	// TLSConfig is an alternative to TLS. With neither, an https URL uses the
	// roots of the system; other URLs use plain TCP.
	TLSConfig *tls.Config
	// TLSServerName is the name to expect in the certificate of the proxy. The
	// default is the proxy's host. A ServerName in TLSConfig has precedence.
	TLSServerName string

	// Dial opens the connection to the proxy, and to hosts that need none. Its own
	// deadline, if any, bounds that stage. Nil: a net.Dialer with its defaults.
	Dial DialFunc

	// NoProxy lists hosts that are dialed directly: names ("example.com" with
	// its subdomains, ".example.com" for the subdomains alone), IP addresses
	// and prefixes in CIDR notation, each but the last optionally with ":port",
	// or "*" for all. Names are compared without resolving them. Loopback is
	// not special.
	NoProxy []string

	// TLSTimeout bounds the TLS handshake with the proxy. 0 stands for
	// DefaultTLSTimeout, a negative value for no bound.
	TLSTimeout time.Duration
	// TunnelTimeout bounds the exchange that opens the tunnel: all requests, answers
	// and calls of ConnectHeader. The proxy connects to the target in that
	// time. 0 stands for DefaultTunnelTimeout, a negative value for no bound.
	TunnelTimeout time.Duration

	// Logger gets debug entries about tunnels. Nil is silent.
	Logger *zap.Logger
}

// String describes the proxy without credentials.
func (o Options) String() string {
	p, err := o.resolve()
	if err != nil {
		return "proxy options (invalid)"
	}
	return p.String()
}

// GoString keeps credentials out of %#v.
func (o Options) GoString() string { return "proxy.Options{" + o.String() + "}" }

// Format keeps credentials out of every verb.
func (o Options) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.GoString()) }

// MarshalText keeps credentials out of encoders such as encoding/json.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Validate reports everything that is wrong with the options.
func (o Options) Validate() error {
	_, err := o.resolve()
	return err
}

// endpoint is a validated proxy address.
type endpoint struct {
	kind       Kind
	tls        TLSClient // nil for plain TCP
	serverName string
	host, port string
	user, pass string
	hasAuth    bool
}

func (e endpoint) address() string { return net.JoinHostPort(e.host, e.port) }

// String is the URL of the proxy without credentials.
func (e endpoint) String() string {
	scheme := e.kind.String()
	if e.tls != nil {
		if e.kind == HTTP {
			scheme = "https"
		} else {
			scheme += "+tls"
		}
	}
	return scheme + "://" + e.address()
}

// complaints collects the faults of options.
type complaints []error

func (c *complaints) add(format string, args ...any) {
	*c = append(*c, fmt.Errorf("proxy: "+format, args...))
}

func (o Options) resolve() (endpoint, error) {
	var errs complaints
	e := endpoint{kind: o.Kind, host: o.Host, user: o.Username, pass: o.Password}
	secure := false
	switch {
	case o.URL != "":
		if o.Host != "" || o.Port != 0 || o.Kind != HTTP {
			errs.add("URL excludes Kind, Host and Port")
		}
		u, err := parseURL(o.URL)
		if err != nil {
			return e, errors.Join(append(errs, err)...)
		}
		e.kind, e.host, e.port, secure = u.kind, u.host, u.port, u.secure
		if e.user == "" && e.pass == "" {
			e.user, e.pass = u.user, u.pass
		}
	case o.Host == "":
		errs.add("neither URL nor Host is set")
	default:
		e.host = strings.TrimSuffix(strings.TrimPrefix(e.host, "["), "]")
		if !validHost(e.host) {
			errs.add("Host is not a host name or address")
		}
		if o.Port < 0 || o.Port > 65535 {
			errs.add("Port %d is out of range", o.Port)
		}
		if o.Port != 0 {
			e.port = strconv.Itoa(o.Port)
		}
	}
	if e.kind > SOCKS5 {
		errs.add("unknown Kind %d", e.kind)
	}
	o.resolveTLS(&e, secure, &errs)
	if e.port == "" {
		e.port = defaultPort(e)
	}
	e.hasAuth = e.user != "" || e.pass != ""
	if e.hasAuth {
		checkLogin(e, &errs)
	}
	if e.kind == SOCKS5 && (o.ConnectHeader != nil || o.PreemptiveAuth) {
		errs.add("ConnectHeader and PreemptiveAuth have no meaning for SOCKS5")
	}
	if _, err := parseBypass(o.NoProxy); err != nil {
		errs = append(errs, err)
	}
	return e, errors.Join(errs...)
}

// resolveTLS sets what a connection to the proxy uses of TLS. It is secure if
// the URL says so.
func (o Options) resolveTLS(e *endpoint, secure bool, errs *complaints) {
	switch {
	case o.TLS != nil && o.TLSConfig != nil:
		errs.add("TLS excludes TLSConfig")
	case o.TLS != nil:
		e.tls = o.TLS
	case o.TLSConfig != nil:
		e.tls = exchange.Config{Config: o.TLSConfig.Clone()}
	case secure:
		e.tls = exchange.Config{}
	}
	e.serverName = o.TLSServerName
	if e.serverName == "" {
		e.serverName = e.host
	}
}

func defaultPort(e endpoint) string {
	switch {
	case e.kind == SOCKS5:
		return "1080"
	case e.tls != nil:
		return "443"
	}
	return "80"
}

// checkLogin looks whether the protocol can carry user name and password.
func checkLogin(e endpoint, errs *complaints) {
	switch e.kind {
	case HTTP:
		if strings.Contains(e.user, ":") {
			errs.add("a user name with a colon cannot be sent with Basic authentication")
		}
		if hasControl(e.user) || hasControl(e.pass) {
			errs.add("user name and password must not hold control characters")
		}
	case SOCKS5:
		if e.user == "" || len(e.user) > 255 || len(e.pass) > 255 {
			errs.add("SOCKS5 needs a user name of 1 to 255 bytes and a password of at most 255")
		}
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// validHost reports whether s may stand for a host in a request line.
func validHost(s string) bool {
	if s == "" || !exchange.IsHost(s) {
		return false
	}
	return !strings.ContainsAny(s, " \t/?#@\\\"<>[]")
}
