// SPDX-License-Identifier: Apache-2.0

package exchange

import "net"

// WithPrefix returns a connection that reads prefix before what conn has. It
// is conn itself when there is nothing to put in front, so that the usual case
// keeps the concrete type. The prefix is copied.
func WithPrefix(conn net.Conn, prefix []byte) net.Conn {
	if len(prefix) == 0 {
		return conn
	}
	return &prefixConn{Conn: conn, prefix: append([]byte(nil), prefix...)}
}

type prefixConn struct {
	net.Conn
	prefix []byte // owned by the reader
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.prefix)
	if c.prefix = c.prefix[n:]; len(c.prefix) == 0 {
		c.prefix = nil
	}
	return n, nil
}

// NetConn returns the connection underneath, as tls.Conn does.
func (c *prefixConn) NetConn() net.Conn { return c.Conn }

// CloseWrite half-closes the connection where the one underneath can.
func (c *prefixConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return net.ErrClosed
}
