// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"net"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// layer puts a layer of a transport on top of a dialer.
type layer = func(t *testing.T, below dialFunc) dialFunc

// stack puts layers on each other, the lowest first. Nil stands for none.
func stack(layers ...layer) layer {
	return func(t *testing.T, below dialFunc) dialFunc {
		for _, l := range layers {
			if l != nil {
				below = l(t, below)
			}
		}
		return below
	}
}

// goTo replaces the address, as a name server would.
func goTo(address string) layer {
	return func(_ *testing.T, below dialFunc) dialFunc {
		return func(ctx context.Context, network, _ string) (net.Conn, error) { return below(ctx, network, address) }
	}
}

// tlsLayer is TLS that trusts ca, with a client certificate unless id is nil.
func tlsLayer(ca []byte, id *identity, alpn ...string) layer {
	return func(t *testing.T, below dialFunc) dialFunc {
		return (&tlsctx.Dialer{Context: tlsContext(t, ca, id, alpn...), NetDialer: tlsctx.DialFunc(below)}).DialContext
	}
}

func tlsContext(t *testing.T, ca []byte, id *identity, alpn ...string) *tlsctx.Context {
	t.Helper()
	o := tlsctx.Options{CAPEM: ca, ALPN: alpn, HandshakeTimeout: patience}
	if id != nil {
		o.Identity = tlsctx.FromBytes(id.cert, id.key)
	}
	c, err := tlsctx.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wsLayer is WebSocket without TLS, wssLayer with it.
func wsLayer(o websocket.Options) layer {
	return func(t *testing.T, below dialFunc) dialFunc {
		t.Helper()
		o := o
		o.Dial = below
		o.Plaintext = o.TLS == nil
		o.TLSTimeout, o.UpgradeTimeout = patience, patience
		d, err := websocket.New(o)
		if err != nil {
			t.Fatal(err)
		}
		return d.DialContext
	}
}

func wssLayer(ca []byte, o websocket.Options) layer {
	return func(t *testing.T, below dialFunc) dialFunc {
		o := o
		o.TLS = tlsContext(t, ca, nil)
		return wsLayer(o)(t, below)
	}
}
