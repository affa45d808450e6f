// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

func TestDurationHistogram(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		h      *mqtt5.DurationHistogram
		record []time.Duration
		want   mqtt5.DurationSnapshot
	}{
		{"a bound belongs to its bucket", mqtt5.NewDurationHistogram(ms, 5*ms), []time.Duration{0, ms, ms + 1, 5 * ms, 5*ms + 1, time.Hour},
			mqtt5.DurationSnapshot{Bounds: []time.Duration{ms, 5 * ms}, Counts: []uint64{2, 2, 2}, Sum: time.Hour + 12*ms + 2}},
		{"bounds in any order", mqtt5.NewDurationHistogram(5*ms, ms, 5*ms), []time.Duration{ms},
			mqtt5.DurationSnapshot{Bounds: []time.Duration{ms, 5 * ms}, Counts: []uint64{1, 0, 0}, Sum: ms}},
		{"negative", mqtt5.NewDurationHistogram(ms), []time.Duration{-time.Hour},
			mqtt5.DurationSnapshot{Bounds: []time.Duration{ms}, Counts: []uint64{1, 0}}},
		{"zero value", new(mqtt5.DurationHistogram), []time.Duration{0, time.Hour},
			mqtt5.DurationSnapshot{Counts: []uint64{2}, Sum: time.Hour}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var wg sync.WaitGroup
			for _, d := range tt.record {
				wg.Go(func() { tt.h.Record(d) })
			}
			wg.Wait()
			got := tt.h.Snapshot()
			if fmt.Sprint(got) != fmt.Sprint(tt.want) || got.Count() != uint64(len(tt.record)) {
				t.Errorf("got %v with %d durations, want %v", got, got.Count(), tt.want)
			}
			if n := testing.AllocsPerRun(100, func() { tt.h.Record(ms) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

// counted returns the counts of a histogram in words.
func counted(h *mqtt5.DurationHistogram) string {
	s := h.Snapshot()
	return fmt.Sprintf("%v sum %v", s.Counts, s.Sum)
}

func TestPublishDurations(t *testing.T) {
	bubble(t, "successes are counted, the rest is observed", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			for _, answer := range []mqtttest.ReasonCode{mqtttest.Success, 0x10, 0x87} {
				p := c.ExpectPublish()
				c.Sleep(time.Second)
				c.Send(mqtttest.Puback{PacketID: p.PacketID, ReasonCode: answer})
			}
			p := c.ExpectPublish()
			c.Sleep(time.Second)
			c.Send(mqtttest.Pubrec{PacketID: p.PacketID})
			c.ExpectPubrel()
			c.Sleep(time.Second)
			c.Send(mqtttest.Pubcomp{PacketID: p.PacketID})
			c.ExpectPublish() // of QoS 0
			s := c.ExpectSubscribe()
			c.Send(mqtttest.Suback{PacketID: s.PacketID, ReasonCodes: []mqtttest.ReasonCode{1}})
			c.ExpectPublish() // has no answer
			c.ExpectDisconnect()
		})
		h, w := mqtt5.NewDurationHistogram(0, time.Second), new(watcher)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) {
			o.PublishDurations, o.OperationObserver, o.AckTimeout = h, w, 5*time.Second
		})
		want(t, "QoS 1", d.publish(d.ctx, message(1, "one", "x")).wait(), nil)
		want(t, "QoS 1 without a subscriber", d.publish(d.ctx, message(1, "nobody", "x")).wait(), nil)
		if err := d.publish(d.ctx, message(1, "refused", "x")).wait(); err == nil {
			t.Error("not refused")
		}
		done := make(chan struct{})
		d.PublishAsync(message(2, "two", "x"), func(_ *mqtt5.PublishResult, err error) {
			want(t, "QoS 2", err, nil)
			close(done)
		})
		<-done
		want(t, "QoS 0", d.publish(d.ctx, message(0, "zero", "x")).wait(), nil)
		want(t, "subscribe", d.subscribe(d.ctx, "filter").wait(), nil)
		want(t, "timeout", d.publish(d.ctx, message(1, "late", "x")).wait(), mqtt5.ErrAckTimeout)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		if got := counted(h); got != "[1 2 1] sum 4s" {
			t.Errorf("counted %s", got)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := strings.Join(w.seen, "; "); got != "publish refused 1 1s <nil>; subscribe  0 0s <nil>; publish late 1 5s "+mqtt5.ErrAckTimeout.Error() {
			t.Errorf("observed %q", got)
		}
	})
	bubble(t, "without another observer", func(t *testing.T) {
		h := mqtt5.NewDurationHistogram()
		d := connected(t, mqtttest.NewServer(t), func(o *mqtt5.ClientOptions) { o.PublishDurations = h })
		want(t, "publish", d.publish(d.ctx, message(1, "t", "x")).wait(), nil)
		want(t, "subscribe", d.subscribe(d.ctx, "t").wait(), nil)
		if got := counted(h); got != "[1] sum 0s" {
			t.Errorf("counted %s", got)
		}
	})
	bubble(t, "several clients", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		h := new(mqtt5.DurationHistogram)
		for _, id := range []string{"a", "b"} {
			d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.PublishDurations, o.Connect.ClientID = h, id })
			want(t, "publish", d.publish(d.ctx, message(1, "t", "x")).wait(), nil)
		}
		if got := counted(h); got != "[2] sum 0s" {
			t.Errorf("counted %s", got)
		}
	})
}

// A publish behind a write that is stuck counts from its call, not from the
// beginning of the write.
func TestPublishDurations_behindAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(1<<10))
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Sleep(10 * time.Second)
			for range 2 {
				p := c.ExpectPublish()
				c.Send(mqtttest.Puback{PacketID: p.PacketID})
			}
			c.ExpectDisconnect()
		})
		h := mqtt5.NewDurationHistogram(5*time.Second, 10*time.Second)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.PublishDurations = h })
		d.PublishAsync(message(1, "t", strings.Repeat("x", 8<<10)), nil)
		time.Sleep(6 * time.Second)
		d.PublishAsync(message(1, "t", "x"), nil)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		if got := counted(h); got != "[1 1 0] sum 14s" {
			t.Errorf("counted %s", got)
		}
	})
}

// The same on a socket, where a write that does not wait is short.
func TestPublishDurations_behindAWriteToASocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reads := make(chan struct{})
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		nc.(*net.TCPConn).SetReadBuffer(64 << 10)
		nc.Read(make([]byte, 1000)) // CONNECT
		nc.Write([]byte{0x20, 3, 0, 0, 0})
		<-reads
		io.Copy(io.Discard, nc)
	}()
	h := new(mqtt5.DurationHistogram)
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: l.Addr().String(), Connect: mqtt5.ConnectPacket{ClientID: "c"}, PublishDurations: h})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	took := make(chan time.Duration)
	publish := func(p *mqtt5.PublishPacket) {
		begin := time.Now()
		c.PublishAsync(p, func(_ *mqtt5.PublishResult, err error) {
			want(t, "publish", err, nil)
			took <- time.Since(begin)
		})
	}
	publish(message(0, "t", strings.Repeat("x", 16<<20)))
	for !c.WriterWaits() {
		if ctx.Err() != nil {
			t.Fatal("the write does not wait")
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	publish(message(0, "t", "x"))
	close(reads)
	most := <-took + <-took
	if s := h.Snapshot(); s.Count() != 2 || s.Sum > most {
		t.Errorf("%d publishes took %v together, their callbacks came after %v", s.Count(), s.Sum, most)
	}
}

// The second of two publishes meets a writer that was started for the first, and
// has not begun: the write before that was long ago.
func TestQueueAge_behindAWriterThatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			accept(c, mqtttest.Connack{ReceiveMaximum: mqtt5.Ptr[uint16](1)})
			c.ExpectPublish()
			c.Hang()
		})
		d := connected(t, srv, nil)
		time.Sleep(time.Hour)
		for range 100 {
			d.PublishAsync(message(1, "t", "x"), nil)
		}
		time.Sleep(time.Second)
		if s := d.Stats(); s.QueuedOperations != 99 || s.QueueAge != time.Second {
			t.Errorf("%d operations are queued, the oldest for %v", s.QueuedOperations, s.QueueAge)
		}
	})
}

func TestStats_payload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		d := connected(t, srv, nil)
		want(t, "subscribe", d.subscribe(d.ctx, "t").wait(), nil)
		for qos, payload := range []string{"a", "bc", strings.Repeat("x", 20<<10)} { // the last is not copied to the buffer
			want(t, "publish", d.publish(d.ctx, message(mqtt5.QoS(qos), "t", payload)).wait(), nil)
		}
		d.received()
		if s := d.Stats(); s.PayloadBytesSent != 3+(20<<10) || s.PayloadBytesReceived != 3+(20<<10) {
			t.Errorf("%d bytes of payload sent, %d received", s.PayloadBytesSent, s.PayloadBytesReceived)
		}
	})
}
