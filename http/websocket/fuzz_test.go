// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// tape is a connection to a server that accepts the upgrade and then sends
// data, in pieces of random size with a passed deadline now and then if random is set.
type tape struct {
	data   []byte
	random *rand.Rand
	ready  bool
	frames int // length of what follows the answer
}

func (c *tape) Write(p []byte) (int, error) {
	if !c.ready {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p)))
		if err != nil {
			return 0, err
		}
		c.ready, c.frames = true, len(c.data)
		c.data = append([]byte("HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: "+
			acceptKey(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n"), c.data...)
	}
	return len(p), nil
}

func (c *tape) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(c.data))
	if c.random != nil {
		switch c.random.IntN(4) {
		case 0:
			n = 1
		case 1:
			n = min(n, 1+c.random.IntN(200))
		case 2:
			if len(c.data) <= c.frames {
				return 0, os.ErrDeadlineExceeded
			}
		}
	}
	copy(p, c.data[:n])
	c.data = c.data[n:]
	return n, nil
}

func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return nil }
func (*tape) RemoteAddr() net.Addr             { return nil }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// RoundTrip makes the tape a transport for the library alone.
func (c *tape) RoundTrip(r *http.Request) (*http.Response, error) {
	c.ready = true
	return &http.Response{StatusCode: 101, Body: c, Header: http.Header{
		"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Protocol": {"mqtt"},
		"Sec-Websocket-Accept": {acceptKey(r.Header.Get("Sec-WebSocket-Key"))},
	}}, nil
}

// reference reads with the library alone, from a stream that comes at once.
func reference(t *testing.T, data []byte) (payload []byte, code websocket.StatusCode) {
	t.Helper()
	ws, _, err := websocket.Dial(context.Background(), "ws://broker.test/", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &tape{data: bytes.Clone(data)}}, Subprotocols: []string{"mqtt"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(-1)
	for {
		typ, r, err := ws.Reader(context.Background())
		if err == nil && typ == websocket.MessageText {
			return payload, -1
		}
		if err == nil {
			var b []byte
			b, err = io.ReadAll(r)
			payload = append(payload, b...)
		}
		if err != nil {
			return payload, websocket.CloseStatus(err)
		}
	}
}

// Whatever frames a server sends, in whatever pieces, with deadlines passing
// anywhere: the reader sees what the library alone reads from the same bytes.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		"\x82\x05hello", "\x02\x02he\x00\x02ll\x80\x01o\x82\x00\x82\x01x", "\x02\x01a\x89\x04ping\x80\x01b\x8a\x00", "\x82\x7e\x00\xc8" + string(make([]byte, 200)),
		"\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x00abc", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x01a", "\x88\x02\x03\xe8", "\x88\x00", "\x81\x02hi", "\x82\x81\x01\x02\x03\x04\x05",
		"\xc2\x01a", "\x09\x01a", "\x89\x7e\x00\x80", "\x83\x01a", "\x02\x01a\x82\x01b", "\x80\x01a",
	} {
		f.Add([]byte(s), uint64(1), uint16(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, size uint16) {
		d, err := New(Options{Plaintext: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			return &tape{data: bytes.Clone(data), random: rand.New(rand.NewPCG(seed, 0))}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := d.DialContext(context.Background(), "tcp", "broker.test:80")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		var got []byte
		p := make([]byte, int(size)+1)
		for {
			n, err := conn.Read(p)
			got = append(got, p[:n]...)
			if err == nil {
				if n == 0 {
					t.Fatal("empty read")
				}
				continue
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			want, code := reference(t, data)
			if errors.Is(err, errMaskedFrame) {
				return // the library alone lets these pass
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("read %q, want %q (%v)", got, want, err)
			}
			var ce *CloseError
			if errors.As(err, &ce) != (code != -1) || ce != nil && ce.Code != StatusCode(code) {
				t.Fatalf("error %v, want close code %d", err, code)
			}
			return
		}
	})
}

// Masking in pieces is masking as a whole, and unmasking restores.
func FuzzMask(f *testing.F) {
	f.Add([]byte("hello, this is a payload of more than thirty-two bytes"), uint32(0x01020304), uint16(7))
	f.Fuzz(func(t *testing.T, p []byte, k uint32, cut uint16) {
		key := [4]byte{byte(k), byte(k >> 8), byte(k >> 16), byte(k >> 24)}
		want := make([]byte, len(p))
		for i := range p {
			want[i] = p[i] ^ key[i%4]
		}
		n := min(int(cut), len(p))
		got := make([]byte, len(p))
		next := maskCopy(got, p[:n], key)
		maskCopy(got[n:], p[n:], next)
		if !bytes.Equal(got, want) {
			t.Fatalf("masked %x, want %x", got, want)
		}
	})
}
