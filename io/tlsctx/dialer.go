// SPDX-License-Identifier: Apache-2.0

package tlsctx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// ContextDialer is a dialer of the layer below: [net.Dialer], a socket dialer,
// a proxy, another Dialer.
type ContextDialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// DialFunc is a function as a [ContextDialer].
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// DialContext calls f.
func (f DialFunc) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

// Dialer puts TLS on the connections of another dialer. It is safe for concurrent use.
type Dialer struct {
	// Context makes the configuration of each connection. It is required.
	Context *Context
	// NetDialer makes the connection below. Nil means a [net.Dialer] with its defaults.
	NetDialer ContextDialer
	// ServerName overrides the name to send and to verify for this dialer,
	// unless [Options.ServerName] does. Empty means the host of the address.
	ServerName string
}

// DialContext gets the client's material, connects to the address and performs
// the handshake; in this order, so that a client that cannot authenticate does
// not bother the server. The context covers all of it; once the connection is
// there, ctx has no effect on it. The connection is a [*Conn].
//
// Errors of the dialer below are returned as they are; others are of type
// [*Error] or [*HandshakeError].
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.Context == nil {
		return nil, fmt.Errorf("tlsctx: %w: Dialer.Context is nil", ErrInvalidOptions)
	}
	name := d.ServerName
	if name == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, &Error{Object: "address " + address, Err: err, Hint: "host:port is expected"}
		}
		name = host
	}
	cfg, err := d.Context.prepare(ctx, name)
	if err != nil {
		return nil, err
	}
	var below ContextDialer = &net.Dialer{}
	if d.NetDialer != nil {
		below = d.NetDialer
	}
	conn, err := below.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tc, err := d.Context.handshake(ctx, conn, cfg)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: tc, context: d.Context, serverName: cfg.ServerName}, nil
}

// Conn is a connection made by [Dialer]. It is the [tls.Conn], but for Read,
// which explains how servers refuse a client after its side of the handshake is
// complete.
type Conn struct {
	*tls.Conn
	context    *Context
	serverName string
	heard      atomic.Bool // the server has sent something
}

// Read reads from the connection. In TLS 1.3 this is where a client learns that
// the server does not accept its certificate: an alert, or the reset of a
// connection on which nothing came, is a [*HandshakeError]. The end of a
// connection is [io.EOF] as ever.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if _, ok := remoteAlert(err); ok {
		return n, c.context.explain(c.serverName, c.NetConn(), err)
	}
	if !c.heard.Load() && errors.Is(err, errReset) {
		e := c.context.explain(c.serverName, c.NetConn(), err)
		e.Hint = "the server cut the connection before it had sent anything: it may refuse the client certificate, or what the client said first"
		return n, e
	}
	return n, err
}
