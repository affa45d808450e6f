// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// sender is a server that sends n messages at once and notes when the client
// acknowledges them.
func sender(t *testing.T, n int, borrow bool) (*device, *mqtttest.Server) {
	t.Helper()
	srv := mqtttest.NewServer(t)
	srv.Script(func(c *mqtttest.Conn) {
		accept(c)
		c.Sleep(time.Second)
		for i := range n {
			c.Send(mqtttest.Publish{QoS: 1, PacketID: uint16(i + 1), Topic: "in", Payload: fmt.Append(nil, i)})
		}
		c.Drain()
	})
	return connected(t, srv, func(o *mqtt5.ClientOptions) { o.BorrowPayloads = borrow }), srv
}

func pubacks(srv *mqtttest.Server) int {
	synctest.Wait()
	return len(mqtttest.PacketsOf[mqtttest.Puback](srv.Journal()))
}

func TestMessages(t *testing.T) {
	for _, borrow := range []bool{false, true} {
		bubble(t, fmt.Sprintf("each is acknowledged when the next is asked for, borrowed %v", borrow), func(t *testing.T) {
			d, srv := sender(t, 5, borrow)
			messages, err := d.Messages(d.ctx, "in")
			want(t, "messages", err, nil)
			n := 0
			for m := range messages {
				if string(m.Payload) != fmt.Sprint(n) {
					t.Errorf("message %d has %q", n, m.Payload)
				}
				time.Sleep(time.Second) // acknowledgements may wait for others, but not for that long
				if acked := pubacks(srv); acked != n {
					t.Errorf("%d acknowledged during message %d", acked, n)
				}
				if n++; n == 3 {
					break
				}
			}
			time.Sleep(time.Second)
			if left := d.Stats().UnhandledMessages; left != 2 {
				t.Errorf("%d messages count as unhandled", left)
			}
			if acked := pubacks(srv); acked != 5 {
				t.Errorf("%d acknowledged in the end", acked)
			}
		})
	}
	bubble(t, "the loop ends with its context", func(t *testing.T) {
		d, _ := sender(t, 1, false)
		ctx, cancel := context.WithTimeout(d.ctx, time.Minute)
		defer cancel()
		messages, err := d.Messages(ctx, "in")
		want(t, "messages", err, nil)
		begun, n := time.Now(), 0
		for range messages {
			n++
		}
		if took := time.Since(begun); n != 1 || took != time.Minute {
			t.Errorf("%d messages in %v", n, took)
		}
		var invalid *mqtt5.ValidationError
		if _, err := d.Messages(ctx, "#/a"); !errors.As(err, &invalid) {
			t.Errorf("got %v", err)
		}
	})
}

func TestChannel(t *testing.T) {
	for _, borrow := range []bool{false, true} {
		bubble(t, fmt.Sprintf("bounded, borrowed %v", borrow), func(t *testing.T) {
			d, srv := sender(t, 10, borrow)
			ctx, cancel := context.WithCancel(d.ctx)
			ch, err := d.Channel(ctx, "in", 3)
			want(t, "channel", err, nil)
			time.Sleep(2 * time.Second)
			if len(ch) != 3 || pubacks(srv) != 3 {
				t.Errorf("%d in the channel, %d acknowledged", len(ch), pubacks(srv))
			}
			for i := range 5 {
				if m := <-ch; string(m.Payload) != fmt.Sprint(i) {
					t.Errorf("message %d has %q", i, m.Payload)
				}
			}
			cancel()
			time.Sleep(2 * time.Second)
			if n := pubacks(srv); n != 10 {
				t.Errorf("%d acknowledged after the end", n)
			}
			var invalid *mqtt5.ValidationError
			if _, err := d.Channel(ctx, "", 1); !errors.As(err, &invalid) {
				t.Errorf("got %v", err)
			}
			if _, err := d.Channel(ctx, "in", -1); !errors.As(err, &invalid) {
				t.Errorf("negative size: %v", err)
			}
		})
	}
}

// watcher is every observer at once.
type watcher struct {
	mu   sync.Mutex
	seen []string
}

func (w *watcher) add(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, line)
}

func (w *watcher) ObserveOperation(o mqtt5.OperationObservation) {
	w.add(fmt.Sprintf("%s %s %d %v %v", o.Operation, o.Topic, o.PayloadBytes, o.Duration, o.Err))
}

func (w *watcher) ObserveMessage(o mqtt5.MessageObservation) {
	w.add(fmt.Sprintf("message %s %v %d", o.Topic, o.QoS, o.PayloadBytes))
}

func (w *watcher) ObserveState(o mqtt5.StateObservation) {
	w.add(fmt.Sprintf("state %s %d", o.Event, o.Attempt))
}

func TestObserver(t *testing.T) {
	bubble(t, "sees operations, messages and states", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.WithBroker(mqtttest.BrokerOptions{Delay: time.Second}))
		w := new(watcher)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.OperationObserver, o.MessageObserver, o.StateObserver = w, w, w })
		want(t, "subscribe", d.subscribe(d.ctx, "a").wait(), nil)
		want(t, "publish", d.publish(d.ctx, message(1, "a", "xyz")).wait(), nil)
		want(t, "publish", d.publish(d.ctx, message(2, "b", "12345")).wait(), nil)
		time.Sleep(time.Minute)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		for _, s := range []string{"publish a 3 ", "subscribe ", "message a QoS 1 3", "state "} {
			if !slices.ContainsFunc(w.seen, func(line string) bool { return strings.HasPrefix(line, s) }) {
				t.Errorf("no %q among %q", s, w.seen)
			}
		}
		if s := strings.Join(w.seen, "; "); !strings.Contains(s, "publish a 3 1s <nil>") || !strings.Contains(s, "publish b 5 2s <nil>") {
			t.Errorf("seen %q", s)
		}
	})
	bubble(t, "a publish behind a long write takes the time since its call", func(t *testing.T) {
		srv := mqtttest.NewServer(t, mqtttest.BufferSize(4<<10))
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Sleep(10 * time.Second)
			c.ExpectPublish()
			c.ExpectPublish()
			c.ExpectDisconnect()
		})
		w := new(watcher)
		d := connected(t, srv, func(o *mqtt5.ClientOptions) { o.OperationObserver = w })
		d.PublishAsync(message(0, "long", strings.Repeat("x", 64<<10)), nil)
		time.Sleep(6 * time.Second)
		d.PublishAsync(message(0, "short", "x"), nil)
		time.Sleep(time.Minute)
		want(t, "stop", d.Stop(d.ctx, nil), nil)
		synctest.Wait()
		if s := strings.Join(w.seen, "; "); !strings.Contains(s, "publish long 65536 10s <nil>; publish short 1 4s <nil>") {
			t.Errorf("seen %q", s)
		}
	})
}
