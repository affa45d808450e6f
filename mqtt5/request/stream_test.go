// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

func TestStream_handlersMayCallTheClient(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		r.serve()
		var answer string
		stream, err := r.client.Stream(request.StreamOptions{Filter: "events", OnMessage: func(ctx context.Context, m mqtt5.Message) {
			got, err := r.client.Do(ctx, ask("test", question{Topic: "test/accepted", Token: string(m.Payload)}, false))
			if err != nil {
				r.Error(err)
			}
			answer = string(got.Payload)
		}})
		if err != nil {
			r.Fatal(err)
		}
		defer stream.Close()
		if err := stream.WaitEstablished(r.Context()); err != nil {
			r.Fatal(err)
		}
		r.conn.Deliver("events", []byte("t1"))
		synctest.Wait()
		if answer != `{"token":"t1"}` {
			r.Errorf("answer %q", answer)
		}
	})
}

func TestStream_overflow(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		release := make(chan struct{})
		l := &listener{rig: r}
		stream, err := r.client.Stream(request.StreamOptions{
			Filter:     "a",
			MaxPending: 2,
			OnMessage: func(_ context.Context, m mqtt5.Message) {
				<-release
				l.add(string(m.Payload), nil)
			},
			OnEvent: func(_ context.Context, e request.StreamEvent) {
				if e.Kind == request.StreamOverflowed {
					l.add("overflow", nil)
					if e.Dropped != 3 {
						r.Errorf("%d dropped", e.Dropped)
					}
				}
			},
		})
		if err != nil {
			r.Fatal(err)
		}
		defer stream.Close()
		synctest.Wait()
		for _, text := range []string{"1", "2", "3", "4", "5", "6"} {
			r.conn.Deliver("a", []byte(text))
			synctest.Wait()
		}
		close(release)
		l.heard("1", "2", "3", "overflow")
		r.conn.Deliver("a", []byte("7"))
		l.heard("1", "2", "3", "overflow", "7")
	})
}

func TestStream_survivesPanicAndGoexit(t *testing.T) {
	var panics atomic.Int32
	run(t, request.Options{OnPanic: func(*mqtt5.PanicError) { panics.Add(1) }}, func(r *rig) {
		l := &listener{rig: r}
		stream, err := r.client.Stream(request.StreamOptions{Filter: "a", OnMessage: func(_ context.Context, m mqtt5.Message) {
			switch string(m.Payload) {
			case "panic":
				panic("of the test")
			case "exit":
				runtime.Goexit()
			}
			l.add(string(m.Payload), nil)
		}})
		if err != nil {
			r.Fatal(err)
		}
		defer stream.Close()
		synctest.Wait()
		for _, text := range []string{"panic", "1", "exit", "2"} {
			r.conn.Deliver("a", []byte(text))
		}
		l.heard("1", "2")
		if panics.Load() != 1 {
			r.Errorf("%d panics", panics.Load())
		}
	})
}
