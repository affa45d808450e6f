// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"context"
	"log/slog"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
	"github.com/gocrt/aws-iot-device-sdk-go/io/slogbridge"
	"github.com/gocrt/aws-iot-device-sdk-go/io/socket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Option changes how a constructor of this package makes a client. Options
// apply in the order in which they are given. Of two options that set the same
// value the later one wins; that holds for an option and a function of
// [WithClientOptions], [WithTLS] or [WithWebsocket] that sets the field behind
// it, too.
type Option func(*settings)

// settings are what the options say.
type settings struct {
	port       int
	alpn       []string
	alpnSet    bool
	region     string
	logger     *zap.Logger
	identity   tlsctx.Identity
	authorizer *CustomAuthorizer
	plaintext  bool

	dial   mqtt5.DialFunc
	socket *socket.Dialer
	proxy  *proxy.Options
	tunnel func(s *settings, below mqtt5.DialFunc) (mqtt5.DialFunc, error) // through proxy

	tls        []func(*tlsctx.Options)
	tlsContext *tlsctx.Context
	websocket  []func(*websocket.Options)
	client     []func(*mqtt5.ClientOptions)

	profile   *bool
	noMetrics bool
	probe     prober

	reconnectAhead time.Duration // 0: not before the expiry
	credentials    *usedCredentials

	problems []error
}

func (s *settings) problem(format string, args ...any) {
	s.problems = append(s.problems, invalid(format, args...))
}

func (s *settings) onClient(f func(*mqtt5.ClientOptions)) { s.client = append(s.client, f) }

// WithClientOptions lets f change the options of the MQTT client: everything
// that has no option here. f sees what the options before it have set, and the
// defaults of this package; options after it change what f has set. So of two
// that set one field the later one wins. It may replace Dial, or wrap it, and
// may set Limits to nil to turn the checks of AWS IoT Core's quotas off.
//
// f is called once, by the constructor. What it cannot change: a custom
// authorizer and the metrics complete the user name after PrepareConnect, and
// the errors of events become [*ConnectError]s.
func WithClientOptions(f func(*mqtt5.ClientOptions)) Option {
	return func(s *settings) {
		if f != nil {
			s.onClient(f)
		}
	}
}

// WithClientID sets the client identifier. AWS IoT Core allows one connection
// for each; policies usually name the ones that a device may use. Default: with
// AWS hosts a new random one, otherwise one that the server assigns.
func WithClientID(id string) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.Connect.ClientID = id }) }
}

// WithKeepAlive sets the longest silence before the client asks whether the
// connection is alive, in whole seconds up to 65,535; 0 turns that off. AWS IoT
// Core replaces intervals below 30 seconds by 30, and 0 and those above 1200 by
// 1200; the log then has a warning. Default: 1200 seconds.
func WithKeepAlive(d time.Duration) Option {
	return func(s *settings) {
		seconds, ok := wholeSeconds(d, 65535)
		if !ok {
			s.problem("WithKeepAlive(%v): not between 0 and 65535 s; AWS IoT Core allows 30 s to 20 min", d)
			return
		}
		s.onClient(func(o *mqtt5.ClientOptions) { o.Connect.KeepAliveSeconds = mqtt5.Ptr(uint16(seconds)) })
	}
}

// wholeSeconds rounds up to seconds.
func wholeSeconds(d time.Duration, most int64) (int64, bool) {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	return seconds, d >= 0 && seconds <= most
}

// WithUsername sets the user name of the CONNECT. AWS IoT Core ignores it
// except for custom authorizers.
func WithUsername(name string) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.Connect.Username = &name }) }
}

// WithPassword sets the password of the CONNECT, which may be any bytes.
func WithPassword(password []byte) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.Connect.Password = password }) }
}

// WithWill sets the message that the server publishes when the connection ends
// without a normal DISCONNECT.
func WithWill(will *mqtt5.PublishPacket) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.Connect.Will = will }) }
}

// WithSession makes connections rejoin the session of the one before, and the
// server keep it for expiry after a connection ended: an hour at most in AWS
// IoT Core, unless the account's quota is higher. To rejoin needs an expiry above
// 0. Default: a new session for each connection.
func WithSession(behavior mqtt5.SessionBehavior, expiry time.Duration) Option {
	return func(s *settings) {
		seconds, ok := wholeSeconds(expiry, 1<<32-1)
		if !ok {
			s.problem("WithSession: expiry of %v is not between 0 and 4294967295 s; AWS IoT Core allows an hour unless the quota of the account is higher", expiry)
			return
		}
		s.onClient(func(o *mqtt5.ClientOptions) {
			o.SessionBehavior = behavior
			o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr(uint32(seconds))
		})
	}
}

// WithoutResubscribe leaves the client without its subscriptions when a
// connection finds that the server has no session for it. Default: the client
// subscribes again to all filters that it is subscribed to, before anything else
// is sent; see [mqtt5.ClientOptions] for the event.
func WithoutResubscribe() Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.Resubscribe = false }) }
}

// WithOnMessage sets the handler of received messages that no handler of
// [mqtt5.Client.Handle] gets. A panic in it is recovered, logged as an error and
// given to OnPanic of the client's options, as with every handler.
func WithOnMessage(f mqtt5.MessageHandler) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.OnMessage = f }) }
}

// WithOnAttemptingConnect sets the handler for the beginning of each attempt to
// connect.
func WithOnAttemptingConnect(f func(*mqtt5.AttemptingConnect)) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.OnAttemptingConnect = f }) }
}

// WithOnConnectionSuccess sets the handler for established connections.
func WithOnConnectionSuccess(f func(*mqtt5.ConnectionSuccess)) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.OnConnectionSuccess = f }) }
}

// WithOnConnectionFailure sets the handler for attempts that failed. The error
// in the event is a [*ConnectError].
func WithOnConnectionFailure(f func(*mqtt5.ConnectionFailure)) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.OnConnectionFailure = f }) }
}

// WithOnDisconnection sets the handler for connections that ended. Unless Stop
// or Close ended it, the error in the event is a [*ConnectError].
func WithOnDisconnection(f func(*mqtt5.Disconnection)) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.OnDisconnection = f }) }
}

// WithOnStopped sets the handler called when the client has stopped.
func WithOnStopped(f func(*mqtt5.Stopped)) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.OnStopped = f }) }
}

// WithEventLoops makes the client share the loops of a group with other
// clients. Default: a loop of its own.
func WithEventLoops(group *eventloop.Group) Option {
	return func(s *settings) { s.onClient(func(o *mqtt5.ClientOptions) { o.EventLoops = group }) }
}

// WithLogger makes all layers of the connection log; never payloads or secrets.
// An attempt to connect that failed, a connection or subscriptions that were lost,
// and an option without effect are warnings. A connection that was made, or ended
// by the program, is information. Default: silence.
func WithLogger(logger *zap.Logger) Option { return func(s *settings) { s.logger = logger } }

// WithSlog is [WithLogger] for a logger of log/slog; see package slogbridge. Nil
// means silence.
func WithSlog(logger *slog.Logger) Option { return WithLogger(slogbridge.Logger(logger)) }

// WithPort sets the port. Default: 443, and what [NewForBroker] says. On port
// 8883 no application protocol (ALPN) is offered.
func WithPort(port int) Option {
	return func(s *settings) {
		if port < 1 || port > 65535 {
			s.problem("WithPort(%d): not between 1 and 65535; AWS IoT Core has 443 and 8883", port)
		}
		s.port = port
	}
}

// WithALPN sets the application protocols to offer in the TLS handshake, none
// if there is no argument. It is for custom domains whose configuration wants
// others than the documented ones.
func WithALPN(protocols ...string) Option {
	return func(s *settings) { s.alpn, s.alpnSet = protocols, true }
}

// WithRegion sets the AWS region for signatures. Default: the one in the name
// of the endpoint, then AWS_REGION, AWS_DEFAULT_REGION and the region of the
// profile. It has an effect with [NewWebsocketWithSigV4] only.
func WithRegion(region string) Option { return func(s *settings) { s.region = region } }

// WithCAFile trusts the CAs in a PEM file, in place of the system's. The file
// is read again when it changes. With an empty path it has no effect.
func WithCAFile(path string) Option {
	return WithTLS(func(o *tlsctx.Options) { o.CAFile = path })
}

// WithCADir trusts the CAs in the PEM files of a directory, in place of the
// system's. With an empty path it has no effect.
func WithCADir(path string) Option {
	return WithTLS(func(o *tlsctx.Options) { o.CADir = path })
}

// WithCABytes trusts CAs in PEM form, in place of the system's. Without any bytes
// it has no effect.
func WithCABytes(pem []byte) Option {
	return WithTLS(func(o *tlsctx.Options) { o.CAPEM = pem })
}

// WithServerName sets the name that is sent to the server and that its
// certificate must be valid for. Default: the endpoint. Custom domains behind
// an address, and tests, want it.
func WithServerName(name string) Option {
	return WithTLS(func(o *tlsctx.Options) { o.ServerName = name })
}

// WithMinTLSVersion sets the lowest TLS version, crypto/tls.VersionTLS12 (the
// default) or VersionTLS13.
func WithMinTLSVersion(version uint16) Option {
	return WithTLS(func(o *tlsctx.Options) { o.MinVersion = version })
}

// WithTLS lets f change everything about TLS. f sees what the options before it
// have set, and the defaults of this package.
func WithTLS(f func(*tlsctx.Options)) Option {
	return func(s *settings) {
		if f != nil {
			s.tls = append(s.tls, f)
		}
	}
}

// WithIdentity adds a client certificate: to a custom authorizer, for domains
// that require both, or to [NewForBroker].
func WithIdentity(identity tlsctx.Identity) Option {
	return func(s *settings) { s.identity = identity }
}

// WithCustomAuthorizer adds custom authorization on top of the client
// certificate, for domains that require both.
func WithCustomAuthorizer(a CustomAuthorizer) Option {
	return func(s *settings) { s.authorizer = &a }
}

// WithTLSContext takes TLS from a context that many clients share, so that a fleet
// has its CAs and sessions in memory once. Certificate, CAs and ALPN are those of
// the context: the constructor must not bring a certificate, and other options
// about TLS are errors beside it.
func WithTLSContext(c *tlsctx.Context) Option {
	return func(s *settings) { s.tlsContext = c }
}

// WithDialer opens the connections below TLS, and below the proxy if there is
// one. It excludes [WithSocket]. Default: a [socket.Dialer] with its defaults.
func WithDialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(s *settings) { s.dial = dial }
}

// WithSocket opens TCP connections with a dialer whose options tune the
// sockets. Clients may share one. It excludes [WithDialer].
func WithSocket(dialer *socket.Dialer) Option {
	return func(s *settings) { s.socket = dialer }
}

// WithProxy connects through an HTTP or SOCKS5 proxy. The connection to the
// proxy is opened as [WithDialer] or [WithSocket] say, unless o.Dial does.
func WithProxy(o proxy.Options) Option {
	return func(s *settings) { s.proxy, s.tunnel = &o, throughProxy }
}

// WithProxyURL is WithProxy for a URL such as
// "http://user:password@proxy.example:3128"; see [proxy.Options].
func WithProxyURL(url string) Option { return WithProxy(proxy.Options{URL: url}) }

func throughProxy(s *settings, below mqtt5.DialFunc) (mqtt5.DialFunc, error) {
	return tunnelDialer(proxy.New(s.proxyOptions(below)))
}

// WithProxyFromEnvironment connects through the proxy that HTTPS_PROXY or
// ALL_PROXY name, except to hosts that NO_PROXY lists; see
// [proxy.FromEnvironment]. The environment is read once, by the constructor. The
// functions change what the environment does not say: the CA of an https proxy
// (TLSConfig), the callback for other schemes of authentication (ConnectHeader),
// further hosts to connect to directly (NoProxy).
// Default: the environment is not consulted.
func WithProxyFromEnvironment(change ...func(*proxy.Options)) Option {
	return func(s *settings) {
		o := &proxy.Options{}
		for _, f := range change {
			if f != nil {
				f(o)
			}
		}
		s.proxy, s.tunnel = o, throughEnvironmentProxy
	}
}

func throughEnvironmentProxy(s *settings, below mqtt5.DialFunc) (mqtt5.DialFunc, error) {
	return tunnelDialer(proxy.FromEnvironment(s.proxyOptions(below)))
}

// proxyOptions completes the options of the proxy.
func (s *settings) proxyOptions(below mqtt5.DialFunc) proxy.Options {
	o := *s.proxy
	if o.Dial == nil {
		o.Dial = proxy.DialFunc(below)
	}
	if o.Logger == nil {
		o.Logger = s.logger
	}
	return o
}

func tunnelDialer(d *proxy.Dialer, err error) (mqtt5.DialFunc, error) {
	if err != nil {
		return nil, err
	}
	return d.DialContext, nil
}

// WithWebsocket lets f change how WebSocket connections are opened. It has no
// effect on direct connections, which is a warning in the log.
func WithWebsocket(f func(*websocket.Options)) Option {
	return func(s *settings) {
		if f != nil {
			s.websocket = append(s.websocket, f)
		}
	}
}

// WithAWSProfile says whether the rules of AWS IoT Core apply: the checks of
// its quotas, rates and names, the generated client identifier, and the hints.
// Default: they do, whatever the host, because a custom domain or an address may
// stand for AWS IoT Core; with [NewForBroker] only if the host is one of AWS.
func WithAWSProfile(on bool) Option { return func(s *settings) { s.profile = &on } }

// WithoutMetrics keeps the name of this SDK out of the user name; see
// [Metrics].
func WithoutMetrics() Option { return func(s *settings) { s.noMetrics = true } }
