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
	r.conn, w.conn = c, c
	r.socket, w.socket, w.below = newSockets(c, &w.written)
	if r.socket == nil {
		r.first = make([]byte, firstRead)
		w.below = bottom(c)
	}
	w.largest, w.piece = largestPiece, firstPiece
	if joined, ok := c.(buffersWriter); ok {
		w.joined, w.largest = joined, largestPiece-frameHeader
	}
	return r, w
}
