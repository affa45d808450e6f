// SPDX-License-Identifier: Apache-2.0

package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
)

const secret = "ZEBRA-signature"

// server is the WebSocket server on one connection.
type server struct {
	net.Conn
	br  *bufio.Reader
	req *http.Request
}

type trackedConn struct {
	net.Conn
	closed atomic.Bool
	served chan struct{} // closed when the server is done
}

func (c *trackedConn) Close() error { c.closed.Store(true); return c.Conn.Close() }

// pipe returns options whose connections are served by f, and the client's
// end of the last connection.
func pipe(f func(*server)) (websocket.Options, *trackedConn) {
	client, far := net.Pipe()
	tracked := &trackedConn{Conn: client, served: make(chan struct{})}
	return websocket.Options{
		Plaintext: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			go func() {
				defer close(tracked.served)
				defer func() { _ = far.Close() }()
				f(&server{Conn: far, br: bufio.NewReader(far)})
			}()
			return tracked, nil
		},
	}, tracked
}

func (s *server) readRequest() bool {
	var err error
	s.req, err = http.ReadRequest(s.br)
	return err == nil
}

func (s *server) accept() string {
	sum := sha1.Sum([]byte(s.req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (s *server) upgradeText() string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + s.accept() +
		"\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
}

// upgrade completes a proper handshake, followed at once by early bytes.
func (s *server) upgrade(early ...[]byte) bool {
	if !s.readRequest() {
		return false
	}
	_, err := s.Write(append([]byte(s.upgradeText()), bytes.Join(early, nil)...))
	return err == nil
}

// drain reads until the client leaves.
func (s *server) drain() { _, _ = io.Copy(io.Discard, s.br) }

// frame encodes a frame as servers do, without a mask.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}

func closeFrame(code uint16, reason string) []byte {
	return frame(0x88, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

type clientFrame struct {
	First   byte
	Payload string
}

// readFrame decodes a frame of a client.
func readFrame(br *bufio.Reader) (clientFrame, error) {
	var h [2]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		return clientFrame{}, err
	}
	if h[1]&0x80 == 0 {
		return clientFrame{}, errors.New("client sent an unmasked frame")
	}
	n := uint64(h[1] & 0x7f)
	var ext [8]byte
	switch n {
	case 126:
		if _, err := io.ReadFull(br, ext[6:]); err != nil {
			return clientFrame{}, err
		}
		if n = binary.BigEndian.Uint64(ext[:]); n < 126 {
			return clientFrame{}, errors.New("length is not minimal")
		}
	case 127:
		if _, err := io.ReadFull(br, ext[:]); err != nil {
			return clientFrame{}, err
		}
		if n = binary.BigEndian.Uint64(ext[:]); n <= 0xffff {
			return clientFrame{}, errors.New("length is not minimal")
		}
	}
	var key [4]byte
	if _, err := io.ReadFull(br, key[:]); err != nil {
		return clientFrame{}, err
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(br, p); err != nil {
		return clientFrame{}, err
	}
	for i := range p {
		p[i] ^= key[i%4]
	}
	return clientFrame{h[0], string(p)}, nil
}

func mustDial(t *testing.T, o websocket.Options) *websocket.Conn {
	t.Helper()
	conn, err := dial(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*websocket.Conn)
}

func dial(t *testing.T, o websocket.Options) (net.Conn, error) {
	t.Helper()
	d, err := websocket.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d.DialContext(t.Context(), "tcp", "broker.test:80")
}

func noSecrets(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
		if strings.Contains(text, "ZEBRA") {
			t.Errorf("error tells the secret: %s", text)
		}
	}
}

func TestUpgrade_hostileServer(t *testing.T) {
	send := func(text string) func(*server) {
		return func(s *server) {
			if s.readRequest() {
				_, _ = io.WriteString(s, strings.ReplaceAll(text, "$ACCEPT", s.accept()))
				s.drain()
			}
		}
	}
	sendAndClose := func(text string) func(*server) {
		return func(s *server) {
			if s.readRequest() {
				_, _ = io.WriteString(s, text)
			}
		}
	}
	const up = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	tests := []struct {
		name   string
		serve  func(*server)
		is     error
		status int // 0: an Error and no UpgradeError
		body   string
	}{
		{"closes at once", func(*server) {}, io.ErrClosedPipe, 0, ""},
		{"closes after the request", sendAndClose(""), io.ErrUnexpectedEOF, 0, ""},
		{"closes in the header", sendAndClose(up), io.ErrUnexpectedEOF, 0, ""},
		{"stalls", send(""), context.DeadlineExceeded, 0, ""},
		{"stalls in the header", send(up), context.DeadlineExceeded, 0, ""},
		{"never reads", func(s *server) { _, _ = s.Write([]byte("H")) }, context.DeadlineExceeded, 0, ""},
		{"garbage", send("\x16\x03\x01garbage\r\n\r\n"), websocket.ErrMalformedResponse, 0, ""},
		{"HTTP/2", send("HTTP/2 101\r\n\r\n"), nil, 0, ""},
		{"endless 1xx", sendAndClose(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50)), websocket.ErrMalformedResponse, 0, ""},
		{"oversized header", sendAndClose(up + "X: " + strings.Repeat("a", 70<<10)), websocket.ErrHeaderTooLarge, 0, ""},
		{"many headers", sendAndClose(up + strings.Repeat("X: y\r\n", 20<<10)), websocket.ErrHeaderTooLarge, 0, ""},
		{"HTTP/1.0", send("HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $ACCEPT\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"),
			websocket.ErrMalformedResponse, 0, ""},
		{"wrong accept key", send(up + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), websocket.ErrInvalidUpgrade, 101, ""},
		{"no accept key", send(up + "Sec-WebSocket-Protocol: mqtt\r\n\r\n"), websocket.ErrInvalidUpgrade, 101, ""},
		{"no upgrade field", send("HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $ACCEPT\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), websocket.ErrInvalidUpgrade, 101, ""},
		{"no connection field", send("HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: $ACCEPT\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), websocket.ErrInvalidUpgrade, 101, ""},
		{"MQTT-6.0.0-4 wrong subprotocol", send(up + "Sec-WebSocket-Accept: $ACCEPT\r\nSec-WebSocket-Protocol: chat\r\n\r\n"), websocket.ErrSubprotocol, 101, ""},
		{"MQTT-6.0.0-4 no subprotocol", send(up + "Sec-WebSocket-Accept: $ACCEPT\r\n\r\n"), websocket.ErrSubprotocol, 101, ""},
		{"extension", send(up + "Sec-WebSocket-Accept: $ACCEPT\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), websocket.ErrInvalidUpgrade, 101, ""},
		{"200", send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), websocket.ErrRefused, 200, "hello"},
		{"redirect", send("HTTP/1.1 302 Found\r\nLocation: http://u:pw@other.test/mqtt?X-Amz-Signature=x#y\r\nContent-Length: 0\r\n\r\n"), websocket.ErrRefused, 302, ""},
		{"403", send("HTTP/1.1 403 Forbidden\r\nDate: Tue, 03 Mar 2026 10:00:00 GMT\r\nX-Amzn-RequestId: 17\r\nSet-Cookie: a=b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
			websocket.ErrRefused, 403, "abc"},
		{"403 with long body", sendAndClose("HTTP/1.1 403 Forbidden\r\n\r\n" + strings.Repeat("b", 5000)), websocket.ErrRefused, 403, strings.Repeat("b", 1024)},
		{"403 with stalling body", send("HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nabc"), websocket.ErrRefused, 403, "abc"},
		{"407 is only a status here", send("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"), websocket.ErrRefused, 407, ""},
		{"426", send("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\nContent-Length: 0\r\n\r\n"), websocket.ErrRefused, 426, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, client := pipe(tt.serve)
				o.RawQuery = "X-Amz-Signature=" + secret
				conn, err := dial(t, o)
				if conn != nil || err == nil {
					t.Fatalf("got %v, %v", conn, err)
				}
				noSecrets(t, err)
				if tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error %v is not %v", err, tt.is)
				}
				if !client.closed.Load() {
					t.Error("the connection was not closed")
				}
				var ue *websocket.UpgradeError
				var we *websocket.Error
				if tt.status == 0 {
					if !errors.As(err, &we) || we.Step != websocket.StepUpgrade || we.Address != "broker.test:80" || we.Timeout() != (tt.is == context.DeadlineExceeded) {
						t.Errorf("got %#v", err)
					}
					return
				}
				if !errors.As(err, &ue) || ue.StatusCode != tt.status || string(ue.Body) != tt.body || ue.URL != "ws://broker.test/mqtt" {
					t.Errorf("got %#v", err)
				}
				if location := ue.Header.Get("Location"); tt.name == "redirect" && location != "http://other.test/mqtt" {
					t.Errorf("redirected to %s", location)
				}
				if tt.name == "403" {
					if want := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC); !ue.Date.Equal(want) {
						t.Errorf("date %v", ue.Date)
					}
					want := http.Header{"Date": {"Tue, 03 Mar 2026 10:00:00 GMT"}, "X-Amzn-Requestid": {"17"}}
					if d := cmp.Diff(want, ue.Header); d != "" {
						t.Errorf("header differs (-want +got):\n%s", d)
					}
				}
			})
		})
	}
}

// What a reader gets from an open connection, whatever pieces it comes in.
func TestRead_hostileServer(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<13) // 128 KiB
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	eof := func(err error) bool {
		return errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, websocket.ErrProtocol)
	}
	protocol := func(err error) bool { return errors.Is(err, websocket.ErrProtocol) }
	closed := func(code websocket.StatusCode, reason string, is error) func(error) bool {
		return func(err error) bool {
			var ce *websocket.CloseError
			return errors.As(err, &ce) && *ce == websocket.CloseError{Code: code, Reason: reason} &&
				errors.Is(err, io.EOF) == (is == io.EOF) && errors.Is(err, io.ErrUnexpectedEOF) == (is == io.ErrUnexpectedEOF)
		}
	}
	closing := func(code uint16) clientFrame {
		return clientFrame{0x88, string(binary.BigEndian.AppendUint16(nil, code))}
	}
	tests := []struct {
		name string
		send []byte
		data string
		err  func(error) bool
		back []clientFrame // frames from the client; the text of a close is not compared
	}{
		{"one frame", frame(0x82, []byte("hello")), "hello", eof, nil},
		{"empty frames", cat(frame(0x82, nil), frame(0x02, nil), frame(0x80, nil), frame(0x82, []byte("x"))), "x", eof, nil},
		{"MQTT-6.0.0-2 frames of one byte", cat(frame(0x82, []byte("a")), frame(0x82, []byte("b")), frame(0x82, []byte("c"))), "abc", eof, nil},
		{"MQTT-6.0.0-2 fragments", cat(frame(0x02, []byte("he")), frame(0x00, []byte("ll")), frame(0x80, []byte("o"))), "hello", eof, nil},
		{"pings between fragments", cat(frame(0x02, []byte("he")), frame(0x89, []byte("1")), frame(0x00, nil), frame(0x89, bytes.Repeat([]byte("2"), 125)), frame(0x80, []byte("y"))), "hey", eof,
			[]clientFrame{{0x8a, "1"}, {0x8a, strings.Repeat("2", 125)}}},
		{"unasked pong", cat(frame(0x8a, []byte("1")), frame(0x82, []byte("x"))), "x", eof, nil},
		{"16-bit length", frame(0x82, big[:1000]), string(big[:1000]), eof, nil},
		{"64-bit length", frame(0x82, big), string(big), eof, nil},
		{"16 MiB frame, a part of it", cat([]byte{0x82, 127, 0, 0, 0, 0, 1, 0, 0, 0}, big), string(big), eof, nil},
		{"the longest length there is, a part of it", cat([]byte{0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255}, []byte("abc")), "abc", eof, nil},
		{"negative length", []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 1, 1}, "", protocol, []clientFrame{closing(1002)}},
		{"MQTT-6.0.0-1 text", frame(0x81, []byte("hello")), "", func(err error) bool { return errors.Is(err, websocket.ErrTextFrame) }, []clientFrame{closing(1003)}},
		{"MQTT-6.0.0-1 text after data", cat(frame(0x82, []byte("x")), frame(0x81, []byte("hello"))), "x", func(err error) bool { return errors.Is(err, websocket.ErrTextFrame) }, []clientFrame{closing(1003)}},
		{"masked", cat(frame(0x82, []byte("x")), []byte{0x82, 0x81, 1, 2, 3, 4, 5}), "x", protocol, []clientFrame{closing(1002)}},
		{"compressed", frame(0xc2, []byte("x")), "", protocol, []clientFrame{closing(1002)}},
		{"reserved bits", frame(0xa2, []byte("x")), "", protocol, []clientFrame{closing(1002)}},
		{"reserved data opcode", frame(0x83, []byte("x")), "", protocol, []clientFrame{closing(1002)}},
		{"reserved control opcode", frame(0x8b, []byte("x")), "", protocol, []clientFrame{closing(1002)}},
		{"continuation of nothing", frame(0x80, []byte("x")), "", protocol, []clientFrame{closing(1002)}},
		{"new message in a message", cat(frame(0x02, []byte("x")), frame(0x82, []byte("y"))), "x", protocol, []clientFrame{closing(1002)}},
		{"fragmented ping", frame(0x09, []byte("x")), "", protocol, []clientFrame{closing(1002)}},
		{"long ping", frame(0x89, big[:126]), "", protocol, []clientFrame{closing(1002)}},
		{"close", cat(frame(0x82, []byte("bye")), closeFrame(1000, "done")), "bye", closed(1000, "done", nil), []clientFrame{closing(1000)}},
		{"close without code", frame(0x88, nil), "", closed(1005, "", io.EOF), []clientFrame{{0x88, ""}}},
		{"going away", closeFrame(1001, ""), "", closed(1001, "", io.EOF), []clientFrame{closing(1001)}},
		{"policy violation", closeFrame(1008, "no\x1b[m"), "", closed(1008, "no[m", io.ErrUnexpectedEOF), []clientFrame{closing(1008)}},
		{"private close code", closeFrame(4001, "x"), "", closed(4001, "x", io.ErrUnexpectedEOF), []clientFrame{closing(4001)}},
		{"reserved close code", closeFrame(1006, ""), "", protocol, []clientFrame{closing(1002)}},
		{"close of one byte", frame(0x88, []byte("x")), "", protocol, []clientFrame{closing(1002)}},
		{"close in the middle of a message", cat(frame(0x02, []byte("half")), closeFrame(1001, "reboot")), "half", closed(1001, "reboot", nil), []clientFrame{closing(1001)}},
		{"data after close", cat(closeFrame(1000, ""), frame(0x82, []byte("late"))), "", closed(1000, "", io.EOF), []clientFrame{closing(1000)}},
		{"end in a header", []byte{0x82}, "", eof, nil},
		{"end in a long header", []byte{0x82, 127, 0, 0}, "", eof, nil},
		{"end in a payload", frame(0x82, []byte("hello"))[:5], "hel", eof, nil},
		{"end in a ping", frame(0x89, []byte("hello"))[:5], "", eof, nil},
	}
	pieces := map[string]func(*server, []byte) error{
		"whole": func(s *server, b []byte) error { _, err := s.Write(b); return err },
		"bytes": func(s *server, b []byte) error {
			for len(b) > 0 {
				n := 1
				if len(b) > 2000 {
					n = 1000
				}
				if _, err := s.Write(b[:n]); err != nil {
					return err
				}
				b = b[n:]
			}
			return nil
		},
	}
	for _, tt := range tests {
		for piece, write := range pieces {
			for _, size := range []int{1, 3, 512, 64 << 10} {
				if len(tt.send) > 1<<16 && size < 512 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", tt.name, piece, size), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var back []clientFrame
						o, client := pipe(func(s *server) {
							if !s.upgrade() {
								return
							}
							done := make(chan struct{})
							go func() {
								defer close(done)
								for {
									f, err := readFrame(s.br)
									if err != nil {
										return
									}
									if f.First == 0x88 && len(f.Payload) > 2 {
										f.Payload = f.Payload[:2]
									}
									back = append(back, f)
								}
							}()
							_ = write(s, tt.send)
							time.Sleep(time.Second) // virtual: the client answers
							_ = s.Close()
							<-done
						})
						conn := mustDial(t, o)
						var got bytes.Buffer
						p := make([]byte, size)
						var err error
						for err == nil {
							var n int
							n, err = conn.Read(p)
							got.Write(p[:n])
							if n > 0 && err != nil {
								t.Errorf("read returned %d bytes and %v", n, err)
							}
						}
						if got.String() != tt.data {
							t.Errorf("read %d bytes (%.40q), want %d", got.Len(), got.String(), len(tt.data))
						}
						if !tt.err(err) {
							t.Errorf("error %v", err)
						}
						if _, again := conn.Read(p); again == nil || again.Error() != err.Error() {
							t.Errorf("error changed from %v to %v", err, again)
						}
						if _, werr := conn.Write([]byte("x")); werr == nil {
							t.Error("write succeeded on a failed connection")
						}
						<-client.served
						// Of two pings that come together the first need not be answered.
						answers := tt.back
						if tt.name == "pings between fragments" && len(back) == 1 {
							answers = answers[1:]
						}
						if d := cmp.Diff(answers, back); d != "" {
							t.Errorf("frames from the client differ (-want +got):\n%s", d)
						}
						_ = conn.Close()
						if !client.closed.Load() {
							t.Error("the connection was not closed")
						}
					})
				})
			}
		}
	}
}

// A frame of 16 MiB streams through; it is never held as a whole.
func TestRead_largeFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 16 << 20
		chunk := make([]byte, 64<<10)
		for i := range chunk {
			chunk[i] = byte(i * 7)
		}
		o, client := pipe(func(s *server) {
			if !s.upgrade([]byte{0x82, 127, 0, 0, 0, 0, 1, 0, 0, 0}) {
				return
			}
			for range size / len(chunk) {
				if _, err := s.Write(chunk); err != nil {
					return
				}
			}
			s.drain()
		})
		conn := mustDial(t, o)
		got := make([]byte, len(chunk))
		for range size / len(chunk) {
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, chunk) {
				t.Fatalf("%v, or the data differs", err)
			}
		}
		_ = conn.Close()
		<-client.served
	})
}
