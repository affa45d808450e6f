// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"syscall"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
	"go.uber.org/zap"
)

// Dialer opens connections through a proxy. It is safe for concurrent use and
// keeps no connections of its own.
type Dialer struct {
	opts   Options
	proxy  endpoint // zero host: there is no proxy
	bypass bypass
	direct func(hostport string) bool // further rules for direct connections, may be nil
	log    *zap.Logger
}

// New returns a dialer for the proxy that opts describe. It does no I/O.
func New(opts Options) (*Dialer, error) {
	e, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	d := &Dialer{opts: opts, proxy: e}
	d.setDefaults()
	return d, nil
}

func (d *Dialer) setDefaults() {
	o := &d.opts
	// The list was validated where there is a proxy; without one it does not matter.
	d.bypass, _ = parseBypass(slices.Clone(o.NoProxy))
	o.URL, o.Username, o.Password, o.NoProxy = "", "", "", nil
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.TLSTimeout == 0 {
		o.TLSTimeout = DefaultTLSTimeout
	}
	if o.TunnelTimeout == 0 {
		o.TunnelTimeout = DefaultTunnelTimeout
	}
	d.log = o.Logger
	if d.log == nil {
		d.log = zap.NewNop()
	}
}

// String returns the URL of the proxy without credentials, or "direct".
func (d *Dialer) String() string {
	if d.proxy.host == "" {
		return "direct"
	}
	return d.proxy.String()
}

// GoString keeps credentials out of %#v.
func (d *Dialer) GoString() string { return "proxy.Dialer{" + d.String() + "}" }

// Format keeps credentials out of every verb.
func (d *Dialer) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, d.String()) }

// DialContext opens a tunnel to address, a host and a port, and returns it as
// a connection. network must be "tcp", "tcp4" or "tcp6"; it selects how the
// proxy (or a host that needs none) is reached, not how the proxy reaches the
// target. The errors are [*Error].
//
// The context bounds all stages, each of which has a deadline of its own as
// well; once connected, the end of the context does not matter. The local and
// remote addresses of the connection are those of the connection to the proxy.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := splitTarget(ctx, network, address)
	if err != nil {
		return nil, d.fail(StepTarget, address, err)
	}
	target := net.JoinHostPort(host, port)
	if d.proxy.host == "" || d.bypass.matches(host, port) || (d.direct != nil && d.direct(target)) {
		conn, err := exchange.Dial(ctx, d.opts.Dial, network, address)
		if err != nil {
			return nil, &Error{Step: StepDirect, Target: address, Err: err}
		}
		return conn, nil
	}
	conn, err := d.open(ctx, network, target)
	if err != nil {
		return nil, err
	}
	tctx, cancel := exchange.WithTimeout(ctx, d.opts.TunnelTimeout)
	defer cancel()
	if d.proxy.kind == SOCKS5 {
		conn, err = d.socks(tctx, conn, target)
	} else {
		conn, err = d.connect(tctx, conn, network, target)
	}
	if err != nil {
		d.log.Debug("no tunnel", zap.Stringer("proxy", d.proxy), zap.String("target", target), zap.Error(err))
		return nil, err
	}
	d.log.Debug("tunnel open", zap.Stringer("proxy", d.proxy), zap.String("target", target))
	return conn, nil
}

// open connects to the proxy, with TLS where that is configured.
func (d *Dialer) open(ctx context.Context, network, target string) (net.Conn, error) {
	conn, err := exchange.Dial(ctx, d.opts.Dial, network, d.proxy.address())
	if err != nil {
		return nil, d.fail(StepDial, target, err)
	}
	if d.proxy.tls == nil {
		return conn, nil
	}
	tc, err := exchange.StartTLS(ctx, conn, d.proxy.tls, d.proxy.serverName, d.opts.TLSTimeout)
	if err != nil {
		e := d.fail(StepTLS, target, err)
		if errors.As(err, new(tls.RecordHeaderError)) {
			e.Hint = "this proxy does not speak TLS: use an http or socks5 URL, without TLS and TLSConfig"
		}
		return nil, e
	}
	if p := tc.ConnectionState().NegotiatedProtocol; d.proxy.kind == HTTP && p != "" && p != "http/1.1" && p != "http/1.0" {
		_ = tc.Close()
		return nil, d.fail(StepTLS, target, fmt.Errorf("the proxy negotiated the protocol %q", p))
	}
	return tc, nil
}

func (d *Dialer) fail(s Step, target string, err error) *Error {
	e := &Error{Step: s, Target: target, Err: err}
	if d.proxy.host != "" {
		e.Proxy = d.proxy.String()
	}
	return e
}

// exchangeError gives an I/O error of the tunnel exchange its meaning.
func exchangeError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrClosed, io.ErrUnexpectedEOF)
	}
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}

// splitTarget checks an address and brings it to the form in which it goes to
// the proxy: an ASCII host and a numeric port.
func splitTarget(ctx context.Context, network, address string) (host, port string, err error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return "", "", net.UnknownNetworkError(network)
	}
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		named, err := net.DefaultResolver.LookupPort(ctx, network, port)
		if err != nil || named == 0 {
			return "", "", &net.AddrError{Err: "invalid port", Addr: address}
		}
		port = strconv.Itoa(named)
	}
	host = exchange.ASCIIHost(host)
	if !validHost(host) {
		return "", "", &net.AddrError{Err: "invalid host", Addr: strconv.Quote(address)}
	}
	for i := range len(host) {
		if host[i] >= 0x80 {
			return "", "", &net.AddrError{Err: "host name has no ASCII form", Addr: address}
		}
	}
	return host, port, nil
}
