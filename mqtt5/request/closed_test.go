// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"errors"
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

// A client that was stopped before it is closed has no connection to lose.
func TestClosed_connectionAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := requesttest.New()
		client, err := request.New(conn, request.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(context.Background())
		r := &rig{t, conn, client}
		conn.Stop()
		f, l := r.start("a"), r.listen("b")
		f.pending()
		begin := time.Now()
		conn.Close()
		f.failed(mqtt5.ErrClosed, request.StageConnect)
		l.heard("halted")
		if err := l.stream.WaitEstablished(t.Context()); !errors.Is(err, mqtt5.ErrClosed) {
			t.Errorf("WaitEstablished: %v", err)
		}
		r.start("a").failed(mqtt5.ErrClosed, request.StageQueue)
		if d := time.Since(begin); d != 0 {
			t.Errorf("that took %v", d)
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
