// SPDX-License-Identifier: Apache-2.0

package mqtttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeTB collects what would fail a test.
type fakeTB struct {
	mu       sync.Mutex
	errors   []string
	logs     []string
	cleanups []func()
}

func (f *fakeTB) Helper() {}
func (f *fakeTB) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}
func (f *fakeTB) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logs = append(f.logs, fmt.Sprintf(format, args...))
}
func (f *fakeTB) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *fakeTB) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.errors) > 0
}
func (f *fakeTB) end() {
	for _, fn := range f.cleanups {
		fn()
	}
}

// peer is a client made of nothing but the codec.
type peer struct {
	t    testing.TB
	conn net.Conn
}

func dial(t testing.TB, s *Server) *peer {
	t.Helper()
	nc, err := s.DialContext(t.Context(), "tcp", "anywhere:1883")
	if err != nil {
		t.Fatal(err)
	}
	return &peer{t, nc}
}

func (p *peer) send(packets ...Packet) {
	p.t.Helper()
	if _, err := p.conn.Write(Concat(packets...)); err != nil {
		p.t.Errorf("client write: %v", err)
	}
}

func (p *peer) recv() (Packet, error) {
	pk, _, err := readPacket(p.conn, FromServer)
	return pk, err
}

func (p *peer) want(want Packet) {
	p.t.Helper()
	got, err := p.recv()
	if err != nil {
		p.t.Fatalf("client read: %v, want %s", err, Describe(want))
	}
	if d := Diff(want, got); d != "" {
		p.t.Fatalf("client read:\n%s", d)
	}
}

func (p *peer) wantErr(target error) {
	p.t.Helper()
	got, err := p.recv()
	if !errors.Is(err, target) {
		p.t.Fatalf("client read %v, %v, want %v", got, err, target)
	}
}

func (p *peer) connect(id string) {
	p.t.Helper()
	p.send(Connect{ClientID: id, CleanStart: true})
	p.want(Connack{})
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestServer_script(t *testing.T) {
	bubble(t, func(t *testing.T) {
		srv := NewServer(t)
		srv.Script(func(c *Conn) {
			con := c.ExpectConnect()
			if con.ClientID != "dev" {
				c.Errorf("client id %q", con.ClientID)
			}
			c.Send(Connack{ReceiveMaximum: Ptr[uint16](2)})
			p := c.ExpectPublish(Topic("a/b"), QoS(1), Payload("hi"))
			c.Send(Puback{PacketID: p.PacketID})
			c.ExpectPacket(Subscribe{PacketID: 4, Subscriptions: []Subscription{{TopicFilter: "x/#", QoS: 1}}})
			c.Send(Suback{PacketID: 4, ReasonCodes: []ReasonCode{GrantedQoS1}})
			c.ExpectSilence(time.Hour)
			c.Sleep(time.Minute)
			c.ExpectDisconnectWith(NormalDisconnection)
		})
		p := dial(t, srv)
		p.send(Connect{ClientID: "dev", CleanStart: true, KeepAliveSeconds: 60})
		p.want(Connack{ReceiveMaximum: Ptr[uint16](2)})
		p.send(Publish{Topic: "a/b", QoS: 1, PacketID: 3, Payload: []byte("hi")})
		p.want(Puback{PacketID: 3})
		p.send(Subscribe{PacketID: 4, Subscriptions: []Subscription{{TopicFilter: "x/#", QoS: 1}}})
		p.want(Suback{PacketID: 4, ReasonCodes: []ReasonCode{GrantedQoS1}})
		time.Sleep(time.Hour + time.Second)
		p.send(Disconnect{})
		p.conn.Close()
		srv.Wait()
		if n := len(srv.Received()); n != 4 {
			t.Errorf("%d packets received", n)
		}
		if got := PacketsOf[Puback](srv.Journal()); len(got) != 1 || got[0].PacketID != 3 {
			t.Errorf("PUBACKs in the journal: %v", got)
		}
	})
}

// failures runs a script against a client and returns what was reported.
func failures(t *testing.T, script func(*Conn), client func(*peer), opts ...Option) string {
	t.Helper()
	var out string
	bubble(t, func(t *testing.T) {
		tb := &fakeTB{}
		srv := NewServer(tb, opts...)
		srv.Script(script)
		p := dial(t, srv)
		client(p)
		p.conn.Close()
		tb.end()
		out = strings.Join(tb.errors, "\n")
		if (out != "") != (len(tb.logs) > 0) {
			t.Errorf("%d errors, but %d lines of the journal logged", len(tb.errors), len(tb.logs))
		}
		if len(srv.Failures()) != len(tb.errors) {
			t.Errorf("Failures returns %v", srv.Failures())
		}
	})
	return out
}

func TestServer_failures(t *testing.T) {
	t.Parallel()
	accept := func(c *Conn) { c.Accept() }
	for _, tc := range []struct {
		name   string
		script func(*Conn)
		client func(*peer)
		want   []string
	}{
		{"other packet", func(c *Conn) { accept(c); c.ExpectPublish() },
			func(p *peer) { p.connect("a"); p.send(Pingreq{}) }, []string{"expected PUBLISH, got PINGREQ", "server_test.go:"}},
		{"other field", func(c *Conn) { accept(c); c.ExpectPacket(Publish{Topic: "x"}) },
			func(p *peer) { p.connect("a"); p.send(Publish{Topic: "y"}) }, []string{`Topic: want "x", got "y"`}},
		{"matcher", func(c *Conn) { accept(c); c.ExpectPublish(Topic("x")) },
			func(p *peer) { p.connect("a"); p.send(Publish{Topic: "y"}) }, []string{`want topic "x"`}},
		{"closed early", func(c *Conn) { accept(c); c.ExpectPublish() },
			func(p *peer) { p.connect("a") }, []string{"expected PUBLISH: EOF"}},
		{"closed inside a packet", func(c *Conn) { accept(c); c.ExpectPublish() },
			func(p *peer) { p.connect("a"); p.send(Raw{0x30, 5}) }, []string{"expected PUBLISH: unexpected EOF"}},
		{"not closed", func(c *Conn) { accept(c); c.ExpectClosed() },
			func(p *peer) { p.connect("a"); p.send(Pingreq{}) }, []string{"expected the client to close, got PINGREQ"}},
		{"never closed", func(c *Conn) { accept(c); c.ExpectClosed() },
			func(p *peer) { p.connect("a"); time.Sleep(25 * time.Hour) }, []string{"it has not done after 24h"}},
		{"not silent", func(c *Conn) { accept(c); c.ExpectSilence(time.Second) },
			func(p *peer) { p.connect("a"); p.send(Raw{0xC0}); time.Sleep(time.Minute) }, []string{"expected silence, got c0"}},
		{"timeout", func(c *Conn) { accept(c); c.SetTimeout(time.Second); c.ExpectPingreq() },
			func(p *peer) { p.connect("a"); time.Sleep(time.Minute) }, []string{"expected PINGREQ", "timeout"}},
		{"malformed", func(c *Conn) { accept(c); c.ExpectAny() },
			func(p *peer) { p.connect("a"); p.send(Raw{0xC1, 0}) }, []string{"PINGREQ violates [MQTT-2.1.3-1]"}},
		{"breach", func(c *Conn) { c.ExpectPublish() },
			func(p *peer) { p.send(Publish{Topic: "a"}) }, []string{"PUBLISH violates [MQTT-3.1.0-1]"}},
		{"panic", func(c *Conn) { panic("oops") }, func(p *peer) { p.wantErr(io.EOF) }, []string{"panics: oops"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := failures(t, tc.script, tc.client)
			for _, w := range tc.want {
				if !strings.Contains(got, w) {
					t.Errorf("reported:\n%s\nwant %q", got, w)
				}
			}
		})
	}
}

func TestServer_endOfTest(t *testing.T) {
	t.Run("unused plan", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			tb := &fakeTB{}
			srv := NewServer(tb)
			srv.RefuseDial(nil)
			tb.end()
			if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], "server_test.go:") {
				t.Errorf("%q", tb.errors)
			}
		})
	})
	t.Run("script still waits", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			tb := &fakeTB{}
			srv := NewServer(tb)
			srv.Script(func(c *Conn) { c.Accept(); c.ExpectPublish() })
			p := dial(t, srv)
			p.connect("a")
			tb.end()
			if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], "the test ended while the script expected PUBLISH") {
				t.Errorf("%q", tb.errors)
			}
			p.wantErr(io.EOF)
		})
	})
	t.Run("what was sent before counts", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			srv := NewServer(t)
			srv.Script(func(c *Conn) {
				c.Accept()
				c.Sleep(time.Hour) // the end of the test comes before, and still finds the packets
				c.ExpectDisconnect()
				c.ExpectClosed()
			})
			p := dial(t, srv)
			p.connect("a")
			p.send(Disconnect{})
			p.conn.Close()
		})
	})
	t.Run("blocked writer", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			srv := NewServer(nil, BufferSize(16), Timeout(0))
			srv.Script(func(c *Conn) { c.Send(make(Raw, 100)) })
			p := dial(t, srv)
			synctest.Wait()
			srv.Close()
			if f := srv.Failures(); len(f) != 1 || !errors.Is(f[0], ErrServerClosed) {
				t.Errorf("%v", f)
			}
			p.conn.Close()
		})
	})
	t.Run("half-open", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			srv := NewServer(t)
			srv.Script(func(c *Conn) { c.Accept(); c.Hang() })
			p := dial(t, srv)
			p.connect("a")
			p.conn.SetReadDeadline(time.Now().Add(time.Hour))
			if _, err := p.recv(); !isTimeout(err) {
				t.Error(err)
			}
		})
	})
}

func TestServer_dial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		srv := NewServer(t)
		srv.RefuseDial(nil)
		srv.HangDial()
		srv.DelayDial(time.Minute)
		srv.Script(func(c *Conn) { c.Accept() })
		if _, err := srv.DialContext(t.Context(), "tcp", "x"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("refused: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := srv.DialContext(ctx, "tcp", "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hung: %v", err)
		}
		start := time.Now()
		p := dial(t, srv)
		if d := time.Since(start); d != time.Minute {
			t.Errorf("dialing took %v", d)
		}
		p.connect("a")
		srv.Wait()
		srv.Close()
		if _, err := srv.DialContext(t.Context(), "tcp", "x"); !errors.Is(err, ErrServerClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestConn_faults(t *testing.T) {
	connected := func(t *testing.T, f func(*Conn), opts ...Option) *peer {
		srv := NewServer(t, opts...)
		srv.Script(func(c *Conn) { c.Accept(); f(c) })
		p := dial(t, srv)
		p.connect("a")
		return p
	}
	t.Run("cut after sending", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) {
				c.CutAfterSending(7)
				c.Send(Puback{PacketID: 1})
				c.Send(Puback{PacketID: 2})
				c.Errorf("the script went on")
			})
			p.want(Puback{PacketID: 1})
			p.wantErr(io.ErrUnexpectedEOF)
		})
	})
	t.Run("cut after receiving", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) {
				c.CutAfterReceiving(3)
				c.ExpectPingreq()
				c.ExpectPingreq()
				c.Errorf("the script went on")
			})
			p.send(Pingreq{}, Pingreq{})
			p.wantErr(io.EOF)
		})
	})
	t.Run("reset", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) { c.ExpectPingreq(); c.Send(Pingresp{}); c.Reset() })
			p.send(Pingreq{})
			synctest.Wait()
			p.wantErr(syscall.ECONNRESET)
		})
	})
	t.Run("half close", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) { c.CloseWrite(); c.ExpectPingreq(); c.ExpectClosed() })
			p.wantErr(io.EOF)
			p.send(Pingreq{})
			p.conn.Close()
		})
	})
	t.Run("stall", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) { c.Sleep(time.Hour); c.ExpectPublish(); c.ExpectClosed() }, BufferSize(64))
			start := time.Now()
			p.send(Publish{Topic: "a", Payload: make([]byte, 100)})
			if d := time.Since(start); d != time.Hour {
				t.Errorf("the write took %v", d)
			}
			p.conn.Close()
		})
	})
	t.Run("part and slow", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) {
				c.SendSlowly(Puback{PacketID: 1}, time.Second)
				c.SendPart(Puback{PacketID: 2}, -1)
			})
			start := time.Now()
			p.want(Puback{PacketID: 1})
			if d := time.Since(start); d != 4*time.Second {
				t.Errorf("the packet took %v", d)
			}
			p.wantErr(io.ErrUnexpectedEOF)
		})
	})
	t.Run("small reads", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) { c.SetReadSize(1); c.Send(Pingresp{}); c.ExpectClosed() })
			b := make([]byte, 10)
			if n, err := p.conn.Read(b); n != 1 || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
			p.conn.Close()
		})
	})
	t.Run("bytes", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			p := connected(t, func(c *Conn) {
				if b := c.ReceiveBytes(3); string(b) != "abc" {
					c.Errorf("%q", b)
				}
				c.AnswerPings()
				c.ExpectDisconnect()
			})
			p.send(Raw("abc"), Pingreq{}, Disconnect{})
			p.want(Pingresp{})
		})
	})
}

func TestServer_tcp(t *testing.T) {
	srv := NewServer(t)
	addr, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	srv.RefuseDial(nil)
	srv.Script(func(c *Conn) { c.Accept(); c.ExpectDisconnect(); c.ExpectClosed() })
	nc, err := net.Dial("tcp", addr)
	if err == nil { // the reset may come before or after
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("the refused connection works")
		}
		nc.Close()
	}
	nc, err = net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t, nc}
	p.connect("a")
	p.send(Disconnect{})
	nc.Close()
	srv.Wait()
}
