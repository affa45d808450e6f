// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// onReader reports whether the goroutine that calls it is the reader.
func onReader() bool {
	stack := make([]byte, 16<<10)
	return bytes.Contains(stack[:runtime.Stack(stack, false)], []byte("mqtt5.(*transport).read("))
}

// TestHandOver has the reader hand over messages, and checks that somebody
// reads as soon as it matters.
func TestHandOver(t *testing.T) {
	// begin has the reader hand over a message whose handler is f.
	begin := func(t *testing.T, f func(d *device)) (*device, *mqtttest.Server) {
		srv := mqtttest.NewServer(t)
		entered := make(chan bool)
		var d *device
		d = newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			o.OnMessage = func(_ context.Context, m mqtt5.Message) {
				if string(m.Payload) == "first" {
					entered <- onReader()
					f(d)
				}
			}
		})
		d.start()
		want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
		synctest.Wait()
		srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("before")})
		srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("first")})
		if !<-entered {
			t.Fatal("it is not the reader that hands over")
		}
		return d, srv
	}
	received := func(t *testing.T, d *device, what string, want int) {
		t.Helper()
		synctest.Wait()
		if n := int(d.Stats().MessagesReceived); n != want {
			t.Errorf("%s: %d messages were received, want %d", what, n, want)
		}
	}

	bubble(t, "a handler that takes long", func(t *testing.T) {
		release := make(chan struct{})
		d, srv := begin(t, func(*device) { <-release })
		srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("second")})
		received(t, d, "at first", 2)
		time.Sleep(4 * time.Millisecond)
		received(t, d, "after 4 ms", 3)
		srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("third")})
		received(t, d, "from then on", 4)
		close(release)
		d.wantMessages("in=before", "in=first", "in=second", "in=third")
	})

	bubble(t, "a handler that waits for its publish", func(t *testing.T) {
		done := make(chan struct{})
		began := time.Now()
		begin(t, func(d *device) {
			_, err := d.Publish(d.ctx, message(1, "out", "x"))
			want(t, "publish", err, nil)
			close(done)
		})
		<-done
		if took := time.Since(began); took != 0 {
			t.Errorf("it waited %v for somebody to read", took)
		}
	})

	bubble(t, "somebody else's publish", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		d, _ := begin(t, func(*device) { <-release })
		began := time.Now()
		want(t, "publish", d.publish(d.ctx, message(1, "out", "x")).wait(), nil)
		if took := time.Since(began); took != 0 {
			t.Errorf("it waited %v for somebody to read", took)
		}
	})

	bubble(t, "the client is stopped", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		d, _ := begin(t, func(*device) { <-release })
		began := time.Now()
		ended, cancel := context.WithCancel(d.ctx)
		cancel()
		_ = d.Stop(ended, nil)
		synctest.Wait()
		if s := d.State(); s != mqtt5.StateStopped || time.Since(began) != 0 {
			t.Errorf("%v, after %v", s, time.Since(began))
		}
	})

	// Others are handed over by a goroutine of their own.
	for _, c := range []struct {
		name  string
		often bool
		waits bool
	}{
		{"messages now and then", false, false},
		{"messages while somebody waits", true, true},
	} {
		bubble(t, c.name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.Intercept(func(_ *mqtttest.Conn, p mqtttest.Packet) bool {
				_, publish := p.(mqtttest.Publish)
				return publish // it is never acknowledged
			}))
			d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
				o.OnMessage = func(context.Context, mqtt5.Message) {
					if onReader() {
						t.Error("the reader hands over")
					}
				}
			})
			d.start()
			want(t, "subscribe", d.subscribe(d.ctx, "in").wait(), nil)
			if c.waits {
				d.publish(d.ctx, message(1, "out", "x"))
				synctest.Wait()
			}
			for range 10 {
				if !c.often {
					time.Sleep(time.Millisecond)
				}
				srv.Publish(mqtttest.Publish{Topic: "in", Payload: []byte("x")})
				synctest.Wait()
			}
			if n := len(d.received()); n != 10 {
				t.Errorf("%d messages, want 10", n)
			}
		})
	}
}

// TestHandOver_stream receives a stream over TCP, whose handlers publish, with
// and without waiting, and checks that every byte arrives, in order.
func TestHandOver_stream(t *testing.T) {
	const messages = 20_000
	size := func(i int) int { // mostly small; some that get a buffer of their own
		if i%500 == 0 {
			return 70 << 10
		}
		return 8 + i%300
	}
	for name, borrow := range map[string]bool{"kept": false, "borrowed": true} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			serve := func() error {
				conn, err := listener.Accept()
				if err != nil {
					return err
				}
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 1024)); err != nil { // CONNECT
					return err
				}
				w := bufio.NewWriterSize(conn, 10_000) // cuts packets anywhere
				w.Write(mqtttest.Encode(mqtttest.Connack{}))
				for i := range messages {
					payload := bytes.Repeat([]byte{byte(i)}, size(i))
					binary.BigEndian.PutUint64(payload, uint64(i))
					w.Write(mqtttest.Encode(mqtttest.Publish{Topic: "in", Payload: payload}))
				}
				if err := w.Flush(); err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, conn)
				return err
			}
			served := make(chan error, 1)
			go func() { served <- serve() }()

			var c *mqtt5.Client
			next, byReader := 0, 0
			done := make(chan struct{})
			c, err = mqtt5.NewClient(mqtt5.ClientOptions{
				Address: listener.Addr().String(),
				Connect: mqtt5.ConnectPacket{ClientID: "c"},
				OnMessage: func(_ context.Context, m mqtt5.Message) {
					i := next
					next++
					if n := len(m.Payload); n != size(i) || binary.BigEndian.Uint64(m.Payload) != uint64(i) ||
						bytes.Count(m.Payload[8:], []byte{byte(i)}) != n-8 {
						t.Errorf("message %d is not what was sent", i)
					}
					switch {
					case i%100 == 0:
						if onReader() {
							byReader++
						}
					case i%100 == 50:
						c.PublishAsync(message(0, "out", "x"), nil)
					case i%1000 == 999:
						_, err := c.Publish(t.Context(), message(0, "out", "x"))
						want(t, "publish", err, nil)
					}
					if next == messages {
						close(done)
					}
				},
				BorrowPayloads: borrow,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want(t, "start", c.Start(), nil)
			select {
			case <-done:
			case err := <-served:
				t.Fatal("the server ended:", err)
			}
			want(t, "stop", c.Stop(t.Context(), nil), nil)
			want(t, "serve", <-served, nil)
			t.Logf("%d of %d samples by the reader", byReader, messages/100)
		})
	}
}
