// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// This file has what happens when the connection is closed for good.

func TestClosed_connection(t *testing.T) {
	run(t, request.Options{MaxSubscriptions: 3}, func(r *rig) {
		up := r.listen("a")
		r.conn.Hold("SUBSCRIBE")
		waiting := r.listen("b")
		f := r.start("c")
		queued := r.start("d")
		r.conn.Close()
		f.failed(mqtt5.ErrClosed, request.StageSubscribe)
		// Its stage depends on what is noticed first, the end or the new room.
		if !queued.done() || !errors.Is(queued.err, mqtt5.ErrClosed) || !errors.Is(queued.err, mqtt5.ErrNotSent) {
			r.Errorf("queued request: %v", queued.err)
		}
		up.heard("established", "halted")
		up.haltedBy(mqtt5.ErrClosed)
		waiting.heard("halted")
		if err := waiting.stream.WaitEstablished(r.Context()); !errors.Is(err, mqtt5.ErrClosed) {
			r.Errorf("WaitEstablished: %v", err)
		}
		if _, err := r.tryListen("e"); !errors.Is(err, mqtt5.ErrClosed) {
			r.Errorf("Stream: %v", err)
		}
		r.start("a").failed(mqtt5.ErrClosed, request.StageQueue)
		up.close()
		waiting.close()
	})
}

// restingConn is a connection whose end is not reported, as that of a
// [*mqtt5.Client] that was stopped before.
type restingConn struct {
	*requesttest.Conn
	closed atomic.Bool
}

func (c *restingConn) State() mqtt5.State {
	if c.closed.Load() {
		return mqtt5.StateClosed
	}
	return mqtt5.StateStopped
}

func TestClosed_connectionAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &restingConn{Conn: requesttest.New()}
		defer conn.Close()
		client, err := request.New(conn, request.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(context.Background())
		r := &rig{t, conn.Conn, client}
		f, l := r.start("a"), r.listen("b")
		conn.closed.Store(true)
		time.Sleep(time.Hour)
		f.failed(mqtt5.ErrClosed, request.StageConnect)
		l.heard("halted")
		begin := time.Now()
		r.start("a").failed(mqtt5.ErrClosed, request.StageQueue)
		if d := time.Since(begin); d != 0 {
			t.Errorf("a request on a closed connection failed after %v", d)
		}

		late, err := request.New(conn, request.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close(context.Background())
		r.client = late
		if _, err := r.tryListen("a"); !errors.Is(err, mqtt5.ErrClosed) {
			t.Errorf("Stream: %v", err)
		}
		r.start("a").failed(mqtt5.ErrClosed, request.StageQueue)
	})
}
