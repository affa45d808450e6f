// SPDX-License-Identifier: Apache-2.0

package conn

import "net"

// New returns what reads from a connection, at rest, and what writes to it.
func New(c net.Conn) (*Reader, *Writer) {
	both := new(struct {
		Reader
		Writer
	})
	r, w := &both.Reader, &both.Writer
	r.conn = c
	if s := newSocket(c, &w.written); s != nil {
		r.socket, w.socket, w.below = s, s, s.raw
	} else {
		r.first = make([]byte, firstRead)
		w.pieces, w.below = newPieces(c), bottom(c)
	}
	return r, w
}
