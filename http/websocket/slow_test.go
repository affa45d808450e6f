// SPDX-License-Identifier: Apache-2.0

package websocket_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
)

// A link of 10 kB/s: a server that pings every two seconds, and gives up a
// client that does not answer within eight, lives through a write that takes
// minutes; and what it sends meanwhile is read at once.
func TestWrite_slowLinkWithPings(t *testing.T) {
	const rate, size = 10_000, 1 << 20
	synctest.Test(t, func(t *testing.T) {
		var received, answered int
		asked := map[string]time.Time{}
		o, client := pipe(func(s *server) {
			if !s.upgrade() {
				return
			}
			stop := make(chan struct{})
			defer close(stop)
			sent := make(chan string, 1)
			go func() {
				for i := range 1000 {
					select {
					case <-stop:
						return
					case <-time.After(2 * time.Second):
					}
					id := fmt.Sprint(i)
					sent <- id
					if _, err := s.Write(append(frame(0x89, []byte(id)), frame(0x82, []byte("!"))...)); err != nil {
						return
					}
				}
			}()
			for received < size {
				f, err := readFrame(s.br)
				if err != nil {
					t.Errorf("after %d bytes: %v", received, err)
					return
				}
				select {
				case id := <-sent:
					asked[id] = time.Now()
				default:
				}
				switch f.First {
				case 0x82:
					received += len(f.Payload)
					time.Sleep(time.Duration(len(f.Payload)) * time.Second / rate)
				case 0x8a:
					answered++
					if wait := time.Since(asked[f.Payload]); wait > 8*time.Second {
						t.Errorf("ping %s was answered after %v", f.Payload, wait)
					}
				}
			}
			_, _ = s.Write(closeFrame(1001, "enough"))
		})
		conn := mustDial(t, o)
		var reads int
		var end error
		done := make(chan struct{})
		go func() {
			defer close(done)
			p := make([]byte, 64)
			for end == nil {
				var n int
				n, end = conn.Read(p)
				reads += n
			}
		}()
		if n, err := conn.Write(make([]byte, size)); n != size || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		<-done
		<-client.served
		var ce *websocket.CloseError
		if !errors.As(end, &ce) || ce.Reason != "enough" || errors.Is(end, io.EOF) {
			t.Errorf("read ends with %v", end)
		}
		if answered < size/rate/4 || reads < answered {
			t.Errorf("%d pongs, %d bytes read", answered, reads)
		}
	})
}

// While a write cannot go on, Read gets what comes, pings among it, and needs
// nothing of the writer.
func TestRead_neverWaitsForAWrite(t *testing.T) {
	for _, writing := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			o, client := pipe(func(s *server) {
				if !s.upgrade() {
					return
				}
				if writing {
					_, _ = s.br.ReadByte() // the write has begun, and stalls
				}
				for range 10 {
					_, _ = s.Write(append(frame(0x89, []byte("1")), frame(0x82, []byte("x"))...))
				}
				time.Sleep(time.Hour)
			})
			conn := mustDial(t, o)
			if writing {
				go func() { _, _ = conn.Write(make([]byte, 1<<20)) }()
			}
			start := time.Now()
			p := make([]byte, 10)
			if _, err := io.ReadFull(conn, p); err != nil || string(p) != "xxxxxxxxxx" || time.Since(start) != 0 {
				t.Errorf("read %q, %v after %v", p, err, time.Since(start))
			}
			_ = conn.Close()
			<-client.served
		})
	}
}

// Control frames of every kind stand in every gap of a stream, between bytes of
// frames of every kind of length.
func TestRead_controlFramesInEveryGap(t *testing.T) {
	data := [][]byte{
		frame(0x82, []byte("a")), frame(0x02, []byte("bc")), frame(0x00, nil), frame(0x80, bytes.Repeat([]byte("d"), 130)),
		frame(0x82, nil), frame(0x82, bytes.Repeat([]byte("e"), 0x10000)),
	}
	want := "abc" + strings.Repeat("d", 130) + strings.Repeat("e", 0x10000)
	for name, control := range map[string][]byte{
		"ping":       frame(0x89, nil),
		"long ping":  frame(0x89, bytes.Repeat([]byte("p"), 125)),
		"pong":       frame(0x8a, []byte("unasked")),
		"several":    append(frame(0x8a, nil), frame(0x89, []byte("q"))...),
		"close":      closeFrame(1000, "over"),
		"going away": closeFrame(1001, "token of the session has expired"),
	} {
		for gap := range len(data) + 1 {
			var stream []byte
			for i, d := range data {
				if i == gap {
					stream = append(stream, control...)
				}
				stream = append(stream, d...)
			}
			if gap == len(data) {
				stream = append(stream, control...)
			}
			synctest.Test(t, func(t *testing.T) {
				o, client := pipe(func(s *server) {
					if !s.upgrade() {
						return
					}
					go s.drain()
					_, _ = s.Write(stream)
				})
				conn := mustDial(t, o)
				got, err := io.ReadAll(conn)
				var ce *websocket.CloseError
				switch {
				case control[0] == 0x88:
					if !errors.As(err, &ce) || ce.Reason != string(control[4:]) || !strings.HasPrefix(want, string(got)) {
						t.Errorf("%s in gap %d: %d bytes, %v", name, gap, len(got), err)
					}
				case string(got) != want || !errors.Is(err, io.ErrUnexpectedEOF):
					t.Errorf("%s in gap %d: %d bytes, %v", name, gap, len(got), err)
				}
				_ = conn.Close()
				<-client.served
			})
		}
	}
}

// negotiated is a TLS layer whose server has chosen HTTP/2.
type negotiated struct{ config *tls.Config }

func (n negotiated) Client(ctx context.Context, conn net.Conn, _ string) (*tls.Conn, error) {
	tc := tls.Client(conn, n.config)
	return tc, tc.HandshakeContext(ctx)
}

// A server that chose HTTP/2 in the TLS handshake would not understand the upgrade.
func TestDial_refusesHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for _, protocol := range []string{"h2", "http/1.1"} {
		d, err := websocket.New(websocket.Options{TLS: negotiated{&tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
		var e *websocket.Error
		if refused := errors.As(err, &e) && e.Step == websocket.StepTLS && strings.Contains(err.Error(), `negotiated the protocol "h2"`); refused != (protocol == "h2") {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}
