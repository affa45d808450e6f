// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestDefects_outcome checks that what an operation returns is what became of
// it. The names are those of docs/native-differences.md.
func TestDefects_outcome(t *testing.T) {
	bubble(t, "native-2.7-refusal-is-success", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		refused := []mqtttest.ReasonCode{mqtttest.NotAuthorized, 0, mqtttest.TopicFilterInvalid}
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			one := c.ExpectPublish(mqtttest.QoS(1))
			c.Send(mqtttest.Puback{PacketID: one.PacketID, ReasonCode: mqtttest.NotAuthorized})
			two := c.ExpectPublish(mqtttest.QoS(2))
			c.Send(mqtttest.Pubrec{PacketID: two.PacketID, ReasonCode: mqtttest.NotAuthorized})
			sub := c.ExpectSubscribe()
			c.Send(mqtttest.Suback{PacketID: sub.PacketID, ReasonCodes: refused})
			uns := c.ExpectUnsubscribe()
			c.Send(mqtttest.Unsuback{PacketID: uns.PacketID, ReasonCodes: refused})
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		d := connected(t, srv, nil)
		check := func(what string, err error, filters ...string) {
			var failed *mqtt5.AckError
			if !errors.As(err, &failed) || failed.Operation != what || failed.ReasonCode != 0x87 || len(failed.Failures) != max(1, len(filters)) {
				t.Errorf("%s: %v", what, err)
				return
			}
			for i, f := range filters {
				if !strings.HasPrefix(failed.Failures[i], strconv.Quote(f)+": ") {
					t.Errorf("%s: failure %q, want one of filter %q", what, failed.Failures[i], f)
				}
			}
		}
		for qos := mqtt5.QoS(1); qos <= 2; qos++ {
			result, err := d.Publish(d.ctx, message(qos, "a", "x"))
			check("publish", err)
			if result == nil || result.Puback.ReasonCode != mqtt5.PubackNotAuthorized {
				t.Errorf("result %+v", result)
			}
		}
		suback, err := d.Subscribe(d.ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{{TopicFilter: "a"}, {TopicFilter: "b"}, {TopicFilter: "c"}}})
		check("subscribe", err, "a", "c")
		if suback == nil || !suback.ReasonCodes[0].Failed() || suback.ReasonCodes[1].Failed() || !suback.ReasonCodes[2].Failed() {
			t.Errorf("SUBACK %+v", suback)
		}
		unsuback, err := d.Unsubscribe(d.ctx, &mqtt5.UnsubscribePacket{TopicFilters: []string{"a", "b", "c"}})
		check("unsubscribe", err, "a", "c")
		if unsuback == nil || !unsuback.ReasonCodes[0].Failed() || unsuback.ReasonCodes[1].Failed() || !unsuback.ReasonCodes[2].Failed() {
			t.Errorf("UNSUBACK %+v", unsuback)
		}
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "native-2.8-loss-reported-as-policy", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(1000))
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Sleep(time.Second) // and does not read
			c.Reset()
		})
		d := connected(t, srv, nil)
		inFlight := d.publish(d.ctx, message(0, "a", strings.Repeat("x", 5000)))
		time.Sleep(time.Second + time.Millisecond)
		offline := d.publish(d.ctx, message(0, "a", "x"))
		err := inFlight.wait()
		want(t, "in flight", err, mqtt5.ErrConnectionLost)
		want(t, "in flight", err, mqtt5.ErrOutcomeUnknown)
		if errors.Is(err, mqtt5.ErrOfflinePolicy) {
			t.Errorf("got %v", err)
		}
		err = offline.wait()
		want(t, "offline", err, mqtt5.ErrOfflinePolicy)
		want(t, "offline", err, mqtt5.ErrNotSent)
		d.await()
	})
	bubble(t, "native-2.5-no-deadline-of-a-call", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, mqtttest.Connack{ReceiveMaximum: mqtttest.Ptr[uint16](1)})
			c.Drain()
		})
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.AckTimeout = -1
			o.MaxQueuedOperations = 3
			o.Limits = &mqtt5.Limits{PublishesPerSecond: 0.0001}
		})
		begun := time.Now()
		short := func() context.Context {
			ctx, cancel := context.WithTimeout(d.ctx, time.Second)
			t.Cleanup(cancel)
			return ctx
		}
		sent := d.publish(short(), message(1, "a", "1"))
		throttled := d.publish(short(), message(0, "a", "2"))
		held := d.publish(short(), message(1, "a", "3"))
		full := d.publish(short(), message(1, "a", "4"))
		want(t, "sent", sent.wait(), mqtt5.ErrOutcomeUnknown)
		for what, a := range map[string]*async{"throttled": throttled, "beyond the Receive Maximum": held, "waiting for room": full} {
			want(t, what, a.wait(), mqtt5.ErrNotSent)
			want(t, what, a.err, late)
		}
		if took := time.Since(begun); took != time.Second {
			t.Errorf("took %v", took)
		}
		d.wantEvents("attempting success")
	})
}

// TestDefects_stop checks the ends of a client in which callers must not be left
// behind.
func TestDefects_stop(t *testing.T) {
	bubble(t, "native-1.7-disconnect-deadline", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(1000))
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Hang()
		})
		d := connected(t, srv, nil)
		stuck := d.publish(d.ctx, message(0, "a", strings.Repeat("x", 5000)))
		begun := time.Now()
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		want(t, "stop", d.Stop(ctx, nil), late)
		want(t, "publish", stuck.wait(), mqtt5.ErrOutcomeUnknown)
		want(t, "second stop", d.Stop(d.ctx, nil), nil)
		if took := time.Since(begun); took > 11*time.Second {
			t.Errorf("at rest after %v", took)
		}
		d.wantEvents("attempting success disconnection stopped")
	})
	for name, c := range map[string]struct {
		end  func(d *device)
		want error
	}{
		"stop":  {func(d *device) { d.Stop(gone(), nil) }, mqtt5.ErrStopRequested},
		"close": {func(d *device) { d.Close() }, mqtt5.ErrClosed},
	} {
		bubble(t, "reason of an end: "+name, func(t *testing.T) {
			srv := mqtttest.NewServer(t, mqtttest.BufferSize(1000))
			srv.Script(func(c *mqtttest.Conn) {
				c.Accept()
				c.Hang()
			})
			d := connected(t, srv, nil)
			stuck := d.publish(d.ctx, message(0, "a", strings.Repeat("x", 5000)))
			c.end(d)
			time.Sleep(time.Minute)
			want(t, "publish", stuck.wait(), c.want)
			want(t, "publish", stuck.err, mqtt5.ErrOutcomeUnknown)
		})
	}
	bubble(t, "native-1.7-puback-before-disconnect", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(4000))
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.Sleep(time.Second) // the client's write is stuck
			for id := range uint16(20) {
				c.Send(raw(1, id+1, "in"))
			}
			c.Sleep(time.Second)
			untilDisconnect(c, mqtttest.DisconnectWithWillMessage)
		})
		d := connected(t, srv, nil)
		d.publish(d.ctx, message(0, "a", strings.Repeat("x", 10_000)))
		stop := d.do(func() error {
			return d.Stop(gone(), &mqtt5.DisconnectPacket{ReasonCode: mqtt5.DisconnectWithWillMessage})
		})
		want(t, "stop", stop.wait(), context.Canceled)
		time.Sleep(3 * time.Second)
		d.wantEvents("attempting success disconnection stopped")
	})
	bubble(t, "native-1.5-stop-sends-nothing", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c)
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection) // so that the will is not published
		})
		d := connected(t, srv, nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
	})
	bubble(t, "native-1.7-transform-hangs", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		var left error
		first := true
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if first {
					first = false
					<-ctx.Done() // proxy, TLS, upgrade: whatever it is that never comes back
					left = ctx.Err()
					return nil, left
				}
				return dial(ctx, network, address)
			}
			o.ConnectTimeout = 7 * time.Second
		})
		begun := time.Now()
		d.start()
		if took := time.Since(begun); took != 8*time.Second {
			t.Errorf("connected after %v", took)
		}
		if left == nil {
			t.Error("the dial goes on")
		}
		want(t, "failure", d.lastFailure().Err, mqtt5.ErrConnectTimeout)
	})
	bubble(t, "native-1.7-deaf-dial", func(t *testing.T) { // that does not even obey its context
		srv := mqtttest.NewServer(t)
		release := make(chan struct{})
		d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
			dial := o.Dial
			first := true
			o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if first {
					first = false
					<-release
					return nil, errProof
				}
				return dial(ctx, network, address)
			}
		})
		want(t, "start", d.Start(), nil)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(d.ctx, 10*time.Second)
		defer cancel()
		want(t, "stop", d.Stop(ctx, nil), nil)
		d.wantEvents("attempting failure stopped")
		d.start() // the one that was given up does not matter
		close(release)
		synctest.Wait()
		d.wantEvents("attempting failure stopped attempting success")
	})
}

// TestDefects_validation checks values at the limits of the standard.
func TestDefects_validation(t *testing.T) {
	longest := strings.Repeat("x", 65_535)
	publish := func(p mqtt5.PublishPacket) func(d *device) error {
		return func(d *device) error {
			if p.Topic == "" {
				p.Topic = "a"
			}
			_, err := d.Publish(d.ctx, &p)
			return err
		}
	}
	many := make([]mqtt5.UserProperty, 2000)
	for _, c := range []struct {
		name string
		do   func(d *device) error
		ok   bool
	}{
		{"native-7.5-off-by-one response topic", publish(mqtt5.PublishPacket{ResponseTopic: &longest}), true},
		{"native-7.5-off-by-one content type", publish(mqtt5.PublishPacket{ContentType: &longest}), true},
		{"native-7.5-off-by-one correlation data", publish(mqtt5.PublishPacket{CorrelationData: []byte(longest)}), true},
		{"native-7.5-off-by-one topic", publish(mqtt5.PublishPacket{Topic: longest}), true},
		{"response topic too long", publish(mqtt5.PublishPacket{ResponseTopic: str(longest + "x")}), false},
		{"content type too long", publish(mqtt5.PublishPacket{ContentType: str(longest + "x")}), false},
		{"correlation data too long", publish(mqtt5.PublishPacket{CorrelationData: []byte(longest + "x")}), false},
		{"native-7.1-text-with-lines", publish(mqtt5.PublishPacket{Payload: []byte("{\n\t\"a\": 1\r\n}\x00\x7f\ufdd0"), PayloadFormat: mqtt5.Ptr(mqtt5.PayloadUTF8)}), true},
		{"text that is none", publish(mqtt5.PublishPacket{Payload: []byte("\xc3\x28"), PayloadFormat: mqtt5.Ptr(mqtt5.PayloadUTF8)}), false},
		{"native-7.3-user-properties", publish(mqtt5.PublishPacket{UserProperties: many}), true},
		{"native-7.6-subscription-identifier-0", subscribing(mqtt5.Ptr[uint32](0), 0, "a"), false},
		{"subscription identifier 1", subscribing(mqtt5.Ptr[uint32](1), 0, "a"), true},
		{"native-7.6-qos-2", subscribing(nil, 2, "a"), true},
		{"native-7.2-share-in-capitals", subscribing(nil, 0, "$SHARE/a"), true}, // an ordinary filter
	} {
		bubble(t, c.name, func(t *testing.T) {
			d := connected(t, mqtttest.NewServer(t), nil)
			err := c.do(d)
			var invalid *mqtt5.ValidationError
			if c.ok && err != nil || !c.ok && !errors.As(err, &invalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	bubble(t, "native-15.4-will-with-retain", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			if w := c.Accept().Will; w == nil || !w.Retain || w.QoS != 1 || w.Topic != "will" || string(w.Payload) != "gone" {
				c.Errorf("will %+v", w)
			}
		})
		srv.HangDial()
		connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.Connect.Will = &mqtt5.PublishPacket{Topic: "will", Payload: []byte("gone"), QoS: 1, Retain: true}
		})
		time.Sleep(2 * time.Second)
	})
}

// TestDefects_memory checks that a large message leaves nothing behind.
func TestDefects_memory(t *testing.T) {
	heap := func() int64 {
		for range 3 { // pools give back what they hold at the second
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const size = 32 << 20
	for _, transport := range []string{"pipe", "socket"} {
		t.Run("native-13.1-scratch-stays "+transport, func(t *testing.T) {
			near, far := net.Pipe()
			if transport == "socket" {
				near, far = loopback(t)
			}
			p := &peer{conn: far}
			go p.serve()
			got := make(chan int, 1)
			c, err := mqtt5.NewClient(mqtt5.ClientOptions{
				Address:   "server:1883",
				Dial:      func(context.Context, string, string) (net.Conn, error) { return near, nil },
				Connect:   mqtt5.ConnectPacket{ClientID: "c"},
				OnMessage: func(_ context.Context, m mqtt5.Message) { got <- len(m.Payload) },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			defer c.Close()
			want(t, "start", c.Start(), nil)
			want(t, "connection", c.WaitConnected(t.Context()), nil)
			send := func(n int) {
				header := mqtttest.Encode(mqtttest.Publish{Topic: "a", Payload: make([]byte, n)})
				if _, err := far.Write(header); err != nil {
					t.Error(err)
				}
				if m := <-got; m != n {
					t.Errorf("payload of %d bytes, want %d", m, n)
				}
			}
			send(10)
			before := heap()
			send(size)
			send(10)
			if grown := heap() - before; grown > size/8 {
				t.Errorf("%d bytes stay after a message of %d", grown, size)
			}
			runtime.KeepAlive(c)
		})
	}
}

// loopback returns both ends of a TCP connection.
func loopback(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []io.Closer{near, far} {
			c.Close()
		}
	})
	return near, far
}

// A large packet in small pieces costs as much memory as its size asks for, and
// not a new buffer for each piece.
func TestLargePacketInPieces(t *testing.T) {
	near, far := net.Pipe()
	p := &peer{conn: far}
	go p.serve()
	got := make(chan int, 1)
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:   "server:1883",
		Dial:      func(context.Context, string, string) (net.Conn, error) { return near, nil },
		Connect:   mqtt5.ConnectPacket{ClientID: "c"},
		OnMessage: func(_ context.Context, m mqtt5.Message) { got <- len(m.Payload) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	defer c.Close()
	want(t, "start", c.Start(), nil)
	want(t, "connection", c.WaitConnected(t.Context()), nil)
	const size = 4 << 20
	b := mqtttest.Encode(mqtttest.Publish{Topic: "a", Payload: make([]byte, size)})
	before := allocations()
	for len(b) > 0 {
		n := min(len(b), 4<<10)
		if _, err := far.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	<-got
	if n := allocations() - before; n > 5*size {
		t.Errorf("%d MiB allocated to receive %d MiB", n>>20, size>>20)
	}
}
