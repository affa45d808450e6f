// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// websocketConn is the server's side of a WebSocket connection as a stream. The
// first Read answers the upgrade request. It knows what the clients of a
// comparison send, and no more.
type websocketConn struct {
	net.Conn
	open bool
	left uint64 // payload missing from the current frame
	key  [4]byte
	at   int // index into key
}

func (c *websocketConn) Read(p []byte) (int, error) {
	if !c.open {
		if err := c.upgrade(); err != nil {
			return 0, err
		}
		c.open = true
	}
	for c.left == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(p[:min(uint64(len(p)), c.left)])
	for i := range p[:n] {
		p[i] ^= c.key[c.at&3]
		c.at++
	}
	c.left -= uint64(n)
	return n, err
}

// upgrade reads the request, behind which a client waits for the answer.
func (c *websocketConn) upgrade() error {
	r, err := http.ReadRequest(bufio.NewReader(c.Conn))
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(c.Conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	return err
}

// next reads the header of a frame. Of the control frames, a client at rest
// sends only the close frame.
func (c *websocketConn) next() error {
	var h [8]byte
	if _, err := io.ReadFull(c.Conn, h[:2]); err != nil {
		return err
	}
	if h[0]&0xf != 2 { // binary
		return io.EOF
	}
	c.left = uint64(h[1] & 0x7f)
	switch c.left {
	case 126:
		if _, err := io.ReadFull(c.Conn, h[:2]); err != nil {
			return err
		}
		c.left = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		if _, err := io.ReadFull(c.Conn, h[:8]); err != nil {
			return err
		}
		c.left = binary.BigEndian.Uint64(h[:])
	}
	c.at = 0
	_, err := io.ReadFull(c.Conn, c.key[:])
	return err
}

func (c *websocketConn) Write(p []byte) (int, error) {
	header := []byte{0x82, 127}
	switch {
	case len(p) < 126:
		header[1] = byte(len(p))
	case len(p) < 1<<16:
		header[1] = 126
		header = binary.BigEndian.AppendUint16(header, uint16(len(p)))
	default:
		header = binary.BigEndian.AppendUint64(header, uint64(len(p)))
	}
	if _, err := c.Conn.Write(append(header, p...)); err != nil {
		return 0, err
	}
	return len(p), nil
}
