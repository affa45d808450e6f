// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

// Dialer opens WebSocket connections. It is safe for concurrent use and keeps
// no connections of its own.
type Dialer struct {
	opts Options
	tls  exchange.TLSClient
	log  *zap.Logger
}

// New returns a dialer. It does no I/O.
func New(opts Options) (*Dialer, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	d := &Dialer{opts: opts, log: opts.Logger}
	o := &d.opts
	o.Header = o.Header.Clone()
	o.Subprotocols = slices.Clone(o.Subprotocols)
	if o.Path == "" {
		o.Path = DefaultPath
	}
	if len(o.Subprotocols) == 0 {
		o.Subprotocols = []string{DefaultSubprotocol}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.TransformTimeout == 0 {
		o.TransformTimeout = DefaultTransformTimeout
	}
	if o.TLSTimeout == 0 {
		o.TLSTimeout = DefaultTLSTimeout
	}
	if o.UpgradeTimeout == 0 {
		o.UpgradeTimeout = DefaultUpgradeTimeout
	}
	switch {
	case o.TLS != nil:
		d.tls = o.TLS
	case o.TLSConfig != nil:
		d.tls = exchange.Config{Config: o.TLSConfig.Clone()}
	default:
		d.tls = exchange.Config{}
	}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	return d, nil
}

// String describes the dialer without query and header values.
func (d *Dialer) String() string { return d.opts.String() }

// Format keeps secrets out of every verb.
func (d *Dialer) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, d.String()) }

// DialContext connects to the WebSocket server at address, a host and a port.
// network is passed to the layer below. The connection is a [*Conn]. The errors
// are [*Error] and [*UpgradeError].
//
// The context bounds all stages, each of which has a deadline of its own as
// well; once connected, the end of the context does not matter.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	req, err := d.request(ctx, address)
	if err != nil {
		return nil, &Error{Step: StepTransform, Address: address, Err: err}
	}
	secure := secureScheme(req.URL.Scheme)
	if want := d.url(address); req.URL.Host != want.Host || secure != secureScheme(want.Scheme) {
		address = hostPort(req.URL)
	}

	conn, err := exchange.Dial(ctx, d.opts.Dial, network, address)
	if err != nil {
		return nil, &Error{Step: StepDial, Address: address, Err: err}
	}
	if secure {
		name := d.opts.TLSServerName
		if name == "" {
			name = req.URL.Hostname()
		}
		tc, err := exchange.StartTLS(ctx, conn, d.tls, name, d.opts.TLSTimeout)
		if err != nil {
			return nil, &Error{Step: StepTLS, Address: address, Err: err}
		}
		if p := tc.ConnectionState().NegotiatedProtocol; p == "h2" {
			_ = tc.Close()
			return nil, &Error{Step: StepTLS, Address: address, Err: fmt.Errorf("the server negotiated the protocol %q", p)}
		}
		conn = tc
	}
	c, err := d.upgrade(ctx, conn, req, address)
	if err != nil {
		_ = conn.Close()
		d.log.Debug("no websocket", zap.String("address", address), zap.Error(err))
		return nil, err
	}
	d.log.Debug("websocket open", zap.String("address", address))
	return c, nil
}

func secureScheme(s string) bool { return s == "wss" || s == "https" }

// url is the URL of a server as the options give it.
func (d *Dialer) url(address string) *url.URL {
	u := &url.URL{Scheme: "wss", Host: address, Path: d.opts.Path, RawQuery: d.opts.RawQuery}
	def := ":443"
	if d.opts.Plaintext {
		u.Scheme, def = "ws", ":80"
	}
	u.Host = strings.TrimSuffix(u.Host, def)
	return u
}

// hostPort is where a URL leads.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case secureScheme(u.Scheme):
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// request builds the upgrade request and lets the transform edit it.
func (d *Dialer) request(ctx context.Context, address string) (*http.Request, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, err
	}
	ctx, cancel := exchange.WithTimeout(ctx, d.opts.TransformTimeout)
	defer cancel()
	r := (&http.Request{
		Method: http.MethodGet,
		URL:    d.url(address),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host:   d.opts.Host,
		Header: d.opts.Header.Clone(),
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if d.opts.Transform != nil {
		if ctx.Err() != nil {
			return nil, exchange.Cause(ctx)
		}
		if err := d.opts.Transform(ctx, r); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, exchange.Cause(ctx)
		}
		if r.Header == nil {
			r.Header = http.Header{}
		}
	}
	switch {
	case r.Method != http.MethodGet || r.Body != nil:
		return nil, errors.New("the handshake transform changed the method or set a body")
	case r.URL == nil || r.URL.Hostname() == "" || r.URL.Opaque != "":
		return nil, errors.New("the handshake transform left a URL without a host")
	}
	switch r.URL.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return nil, errors.New("the handshake transform left a URL with an unknown scheme")
	}
	return r, checkHeader(r.Header)
}

// upgrade performs the opening handshake on conn. The caller closes conn on error.
func (d *Dialer) upgrade(ctx context.Context, conn net.Conn, r *http.Request, address string) (*Conn, error) {
	ctx, cancel := exchange.WithTimeout(ctx, d.opts.UpgradeTimeout)
	defer cancel()
	h := &handshake{ctx: ctx, conn: conn, key: newKey()}
	err := exchange.Run(ctx, conn, func() error { return h.exchange(d.upgradeRequest(r, h.key)) })
	switch {
	case h.resp == nil:
		if ctx.Err() != nil {
			err = exchange.Cause(ctx)
		}
		return nil, &Error{Step: StepUpgrade, Address: address, Err: err}
	case h.resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, h.refused(r.URL, ErrRefused)
	case ctx.Err() != nil:
		return nil, &Error{Step: StepUpgrade, Address: address, Err: exchange.Cause(ctx)}
	}
	if err := h.check(d.opts.Subprotocols); err != nil {
		return nil, h.refused(r.URL, err)
	}
	return newConn(exchange.WithPrefix(conn, h.early), h.resp.Header.Get("Sec-Websocket-Protocol")), nil
}

// upgradeRequest adds the fields of the protocol.
func (d *Dialer) upgradeRequest(r *http.Request, key string) *http.Request {
	out := r.Clone(r.Context())
	out.URL.Fragment, out.URL.RawFragment = "", ""
	if u := out.URL.User; u != nil && out.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		out.SetBasicAuth(u.Username(), password)
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // otherwise net/http adds its own
	}
	out.Header.Set("Connection", "Upgrade")
	out.Header.Set("Upgrade", "websocket")
	out.Header.Set("Sec-WebSocket-Version", "13")
	out.Header.Set("Sec-WebSocket-Key", key)
	out.Header.Set("Sec-WebSocket-Protocol", strings.Join(d.opts.Subprotocols, ","))
	return out
}
