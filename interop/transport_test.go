// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// tlsLayer is TLS that trusts ca, with a client certificate unless id is nil. serverName is
// the name to verify, "" for the host of the address.
func tlsLayer(ca []byte, id *identity, serverName string, alpn ...string) func(*testing.T, dialFunc) dialFunc {
	return func(t *testing.T, tcp dialFunc) dialFunc {
		return (&tlsctx.Dialer{
			Context:    tlsContext(t, ca, id, alpn...),
			NetDialer:  tlsctx.DialFunc(tcp),
			ServerName: serverName,
		}).DialContext
	}
}

func tlsContext(t *testing.T, ca []byte, id *identity, alpn ...string) *tlsctx.Context {
	t.Helper()
	o := tlsctx.Options{CAPEM: ca, ALPN: alpn}
	if id != nil {
		o.Identity = tlsctx.FromBytes(id.cert, id.key)
	}
	c, err := tlsctx.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
