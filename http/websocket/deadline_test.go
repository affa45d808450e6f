// SPDX-License-Identifier: Apache-2.0

package websocket_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
)

// pipeTLS is pipe with TLS between. A TLS connection does not survive a write
// that its deadline interrupts.
func pipeTLS(t *testing.T, f func(*server)) (websocket.Options, *trackedConn) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	certificates := srv.TLS.Certificates
	srv.Close()
	o, client := pipe(func(s *server) {
		// A ticket would wait for the client to read.
		conn := tls.Server(s.Conn, &tls.Config{Certificates: certificates, SessionTicketsDisabled: true})
		f(&server{Conn: conn, br: bufio.NewReader(conn)})
	})
	o.Plaintext, o.TLS = false, negotiated{&tls.Config{InsecureSkipVerify: true}}
	return o, client
}

// The write deadline is one of the writes of the caller. One that has passed
// since the last of them neither keeps a ping from being answered nor does a
// ping make it end the connection.
func TestPong_writeDeadlineOfTheCaller(t *testing.T) {
	for name, make := range map[string]func(*testing.T, func(*server)) (websocket.Options, *trackedConn){
		"plain": func(_ *testing.T, f func(*server)) (websocket.Options, *trackedConn) { return pipe(f) },
		"TLS":   pipeTLS,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				frames := []clientFrame{{0x82, "one"}, {0x8a, "?"}, {0x82, "two"}, {0x8a, "!"}}
				o, client := make(t, func(s *server) {
					if !s.upgrade() {
						return
					}
					for i, want := range frames {
						if want.First == 0x8a {
							time.Sleep(time.Minute)
							_, _ = s.Write(frame(0x89, []byte(want.Payload)))
							time.Sleep(time.Minute) // the pong has to wait
						}
						if got, err := readFrame(s.br); got != want || err != nil {
							t.Errorf("frame %d is %q, %v, want %q", i, got, err, want)
							return
						}
					}
					s.drain()
				})
				conn := mustDial(t, o)
				go func() { _, _ = conn.Read([]byte{0}) }()
				for i, text := range []string{"one", "two"} {
					_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
					if _, err := conn.Write([]byte(text)); err != nil {
						t.Errorf("write %d: %v", i, err)
					}
					time.Sleep(3 * time.Minute)
				}
				_ = conn.Close()
				<-client.served
			})
		})
	}
}

// announcing is a connection that reports the begin of each write.
type announcing struct {
	net.Conn
	begun chan struct{}
}

func (c announcing) Write(p []byte) (int, error) {
	c.begun <- struct{}{}
	return c.Conn.Write(p)
}

// A write that waits behind a pong that nobody reads ends at its deadline, also
// at one that has passed before.
func TestWrite_deadlineBehindAPong(t *testing.T) {
	for _, ahead := range []time.Duration{10 * time.Millisecond, -time.Second} {
		stop := make(chan struct{})
		o, client := pipe(func(s *server) {
			if s.upgrade() {
				_, _ = s.Write(frame(0x89, nil))
				<-stop
			}
		})
		begun := make(chan struct{}, 16)
		below := o.Dial
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := below(ctx, network, address)
			return announcing{conn, begun}, err
		}
		conn := mustDial(t, o)
		<-begun // the request
		_ = conn.SetWriteDeadline(time.Now().Add(time.Hour))
		go func() { _, _ = conn.Read([]byte{0}) }()
		<-begun // the pong
		_ = conn.SetWriteDeadline(time.Now().Add(ahead))
		if _, err := conn.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(stop)
		_ = conn.Close()
		<-client.served
	}
}
