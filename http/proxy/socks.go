// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/net/proxy"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/stage"
)

// SOCKS5 protocol numbers (RFC 1928, RFC 1929).
const (
	socksVersion      = 5
	socksNoAuth       = 0
	socksUserPass     = 2
	socksNoAcceptable = 0xff
)

// socks asks a SOCKS5 proxy for a tunnel on conn, which it closes on error.
// ctx carries the deadline of the tunnel.
func (d *Dialer) socks(ctx context.Context, conn net.Conn, target string) (net.Conn, error) {
	tap := &socksTap{Conn: conn, authOffered: d.proxy.hasAuth}
	var auth *proxy.Auth
	if d.proxy.hasAuth {
		auth = &proxy.Auth{User: d.proxy.user, Password: d.proxy.pass}
	}
	client, err := proxy.SOCKS5("tcp", d.proxy.address(), auth, opened{tap})
	if err == nil {
		err = stage.Run(ctx, conn, func() error {
			// Run watches the context, so the client gets one that never ends.
			_, err := client.(proxy.ContextDialer).DialContext(context.Background(), "tcp", target)
			return err
		})
	}
	if err == nil {
		return conn, nil
	}
	_ = conn.Close()
	e := d.fail(StepTunnel, target, exchangeError(err))
	if ctx.Err() == nil {
		tap.explain(e)
	}
	return nil, e
}

// opened is the forward dialer of the SOCKS5 client: it yields the connection
// that is already there.
type opened struct{ conn net.Conn }

func (o opened) Dial(string, string) (net.Conn, error) { return o.conn, nil }

func (o opened) DialContext(context.Context, string, string) (net.Conn, error) { return o.conn, nil }

// socksTap keeps the first bytes that the proxy sends. The client reads
// exactly the fields of the protocol and reports failures as text only; the reply code,
// and whether it was the password that failed, are in these bytes.
type socksTap struct {
	net.Conn
	authOffered bool
	seen        []byte
}

// methodKnown tells whether the proxy chose a method that the client can go on
// with. The client does not check that.
func (t *socksTap) methodKnown() bool {
	m := t.seen[1]
	return m == socksNoAuth || m == socksNoAcceptable || m == socksUserPass && t.authOffered
}

func (t *socksTap) Read(p []byte) (int, error) {
	if len(t.seen) >= 2 && !t.methodKnown() {
		return 0, ErrMalformedResponse
	}
	n, err := t.Conn.Read(p)
	if room := 8 - len(t.seen); room > 0 {
		t.seen = append(t.seen, p[:min(n, room)]...)
	}
	return n, err
}

// explain fills in what the bytes from the proxy say about a failure.
func (t *socksTap) explain(e *Error) {
	b := t.seen
	malformed := func(what string) { e.Err = fmt.Errorf("%w: %s", ErrMalformedResponse, what) }
	if len(b) >= 1 && b[0] != socksVersion {
		malformed("not SOCKS5")
		return
	}
	if len(b) < 2 {
		return // the error of the connection says it all
	}
	method := b[1]
	b = b[2:]
	switch {
	case method == socksNoAcceptable:
		e.Err = ErrAuthentication
		return
	case !t.methodKnown():
		malformed("authentication method that was not offered")
		return
	case method == socksUserPass:
		if len(b) < 2 {
			return
		}
		if b[1] != 0 {
			e.Err = ErrAuthentication
			return
		}
		b = b[2:]
	}
	switch {
	case len(b) >= 1 && b[0] != socksVersion:
		malformed("reply is not SOCKS5")
	case len(b) >= 2 && b[1] != 0:
		e.Reply = SOCKSReply(b[1])
		e.Err = ErrRefused
	case len(b) >= 4 && (b[2] != 0 || b[3] != 1 && b[3] != 3 && b[3] != 4):
		malformed("reply has an invalid field")
	}
}
