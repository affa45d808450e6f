// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The server side of RFC 6455, as far as MQTT needs it.

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// errCloseFrame is the end of the stream by a Close frame of the client, which
// says goodbye like DISCONNECT.
var errCloseFrame = errors.New("iottest: WebSocket Close frame")

var errWebSocket = errors.New("iottest: WebSocket protocol error")

// acceptKey answers Sec-WebSocket-Key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// headerHas reports whether a header with a comma list has a token.
func headerHas(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for _, t := range strings.Split(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// checkUpgrade returns the subprotocol of a WebSocket upgrade, or its fault.
func checkUpgrade(r *http.Request) (protocol, wrong string) {
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	switch {
	case r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor != 1:
		return "", "a WebSocket upgrade is a GET of HTTP/1.1"
	case !headerHas(r.Header, "Connection", "upgrade") || !headerHas(r.Header, "Upgrade", "websocket"):
		return "", "not a WebSocket upgrade"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "", "Sec-WebSocket-Version is not 13"
	case err != nil || len(key) != 16:
		return "", "Sec-WebSocket-Key is not 16 bytes in base64"
	}
	for _, p := range []string{"mqtt", "mqttv3.1"} {
		if headerHas(r.Header, "Sec-WebSocket-Protocol", p) {
			return p, ""
		}
	}
	return "", "Sec-WebSocket-Protocol has no mqtt"
}

// wsConn carries a stream of bytes in binary frames.
type wsConn struct {
	net.Conn
	br       *bufio.Reader
	maxFrame int

	// reader
	left int64 // of the current frame
	mask [4]byte
	pos  int
	more bool // the message goes on in another frame

	wmu    sync.Mutex
	closed bool
}

func (w *wsConn) Read(b []byte) (int, error) {
	for w.left == 0 {
		if err := w.nextFrame(); err != nil {
			return 0, err
		}
	}
	if int64(len(b)) > w.left {
		b = b[:w.left]
	}
	n, err := w.br.Read(b)
	for i := range n {
		b[i] ^= w.mask[w.pos&3]
		w.pos++
	}
	w.left -= int64(n)
	return n, err
}

// nextFrame reads the header of the next data frame and answers control frames
// on the way.
func (w *wsConn) nextFrame() error {
	var h [2]byte
	if _, err := io.ReadFull(w.br, h[:]); err != nil {
		return err
	}
	final, op := h[0]&0x80 != 0, h[0]&0x0F
	if h[0]&0x70 != 0 || h[1]&0x80 == 0 { // no extensions; clients must mask
		return w.fail(1002)
	}
	n := int64(h[1] & 0x7F)
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(w.br, b[:]); err != nil {
			return err
		}
		n = int64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(w.br, b[:]); err != nil {
			return err
		}
		if n = int64(binary.BigEndian.Uint64(b[:])); n < 0 {
			return w.fail(1002)
		}
	}
	var mask [4]byte
	if _, err := io.ReadFull(w.br, mask[:]); err != nil {
		return err
	}
	switch op {
	case opBinary:
		if w.more {
			return w.fail(1002)
		}
	case opContinuation:
		if !w.more {
			return w.fail(1002)
		}
	case opClose, opPing, opPong:
		if !final || n > 125 {
			return w.fail(1002)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(w.br, body); err != nil {
			return err
		}
		for i := range body {
			body[i] ^= mask[i&3]
		}
		switch op {
		case opPing:
			return w.control(opPong, body)
		case opClose:
			_ = w.control(opClose, body[:min(2, len(body))])
			return errCloseFrame
		}
		return nil
	default: // text among them: MQTT is binary
		return w.fail(1003)
	}
	w.left, w.mask, w.pos, w.more = n, mask, 0, !final
	return nil
}

func (w *wsConn) fail(code uint16) error {
	_ = w.control(opClose, binary.BigEndian.AppendUint16(nil, code))
	return errWebSocket
}

func (w *wsConn) control(op byte, body []byte) error {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = op == opClose
	_, err := w.Conn.Write(append([]byte{0x80 | op, byte(len(body))}, body...))
	return err
}

// Write sends b in one binary frame, or in several messages of one frame when a
// limit is set.
func (w *wsConn) Write(b []byte) (int, error) {
	w.wmu.Lock()
	defer w.wmu.Unlock()
	if w.closed {
		return 0, net.ErrClosed
	}
	total := len(b)
	var out []byte
	for len(b) > 0 {
		n := len(b)
		if w.maxFrame > 0 {
			n = min(n, w.maxFrame)
		}
		out = append(out, 0x80|opBinary)
		switch {
		case n < 126:
			out = append(out, byte(n))
		case n < 1<<16:
			out = binary.BigEndian.AppendUint16(append(out, 126), uint16(n))
		default:
			out = binary.BigEndian.AppendUint64(append(out, 127), uint64(n))
		}
		out = append(out, b[:n]...)
		b = b[n:]
	}
	if _, err := w.Conn.Write(out); err != nil {
		return 0, err
	}
	return total, nil
}

// Close sends a close frame and closes the connection.
func (w *wsConn) Close() error {
	_ = w.Conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_ = w.control(opClose, []byte{0x03, 0xE8})
	return w.Conn.Close()
}
