// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// This file has what the native client does not do, or does otherwise.

func TestRequest_warmSubscriptionCostsOnePublish(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		r.serve()
		for range 3 {
			r.do(ask("test", question{Topic: "test/accepted", Token: request.NewToken()}, false))
		}
		r.log("SUBSCRIBE test/+", "PUBLISH test/publish", "PUBLISH test/publish", "PUBLISH test/publish")
	})
}

// A request that waits for room does not hold up one whose filters are there.
func TestRequest_noHeadOfLineBlocking(t *testing.T) {
	run(t, request.Options{MaxSubscriptions: 2}, func(r *rig) {
		first := r.start("a")
		r.listen("b")
		blocked := r.start("c")
		r.start("a")
		r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE b", "PUBLISH ask")
		blocked.pending()
		first.release()
		blocked.pending()
	})
}

// A request that needs less room overtakes one that needs more, but not for ever.
func TestRequest_roomIsFair(t *testing.T) {
	run(t, request.Options{MaxSubscriptions: 3}, func(r *rig) {
		r.listen("stream")
		holder := r.start("held")
		large := r.start("large/1", "large/2")
		overtaken := 0
		for i := range 20 {
			small := r.start(fmt.Sprint("small/", i))
			if r.sent(fmt.Sprint("SUBSCRIBE small/", i)) {
				overtaken++
			}
			large.pending()
			small.release()
		}
		if overtaken < 2 || overtaken == 20 {
			r.Errorf("overtaken %d times", overtaken)
		}
		if r.sent("SUBSCRIBE large/1 large/2") {
			r.Error("subscribed beyond the budget")
		}
		holder.release()
		if !r.sent("SUBSCRIBE large/1 large/2") {
			r.Errorf("packets %q", r.conn.Log())
		}
	})
}

// A SUBSCRIBE without an answer does not hold up other requests.
func TestRequest_slowSubscribe(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		r.conn.Hold("SUBSCRIBE")
		r.start("a")
		f := r.start("b")
		r.log("SUBSCRIBE a", "SUBSCRIBE b")
		r.conn.Release("SUBSCRIBE")
		f.pending()
	})
}

func TestRequest_answerBeforePuback(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		r.serve()
		r.conn.Hold("PUBLISH")
		r.do(ask("test", question{Topic: "test/accepted", Token: "t"}, false)).answered("test/accepted", `{"token":"t"}`)
	})
}

func TestRequest_endedContextSendsNothing(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		r.start("a").release()
		r.conn.ResetLog()
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		_, err := r.client.Do(ctx, on("a"))
		if !errors.Is(err, context.Canceled) || !errors.Is(err, mqtt5.ErrNotSent) {
			r.Errorf("error %v", err)
		}
		r.log()
	})
}

func TestRequest_cancellation(t *testing.T) {
	stages := map[request.Stage]func(r *rig) *flight{
		request.StageQueue: func(r *rig) *flight {
			req := on("a")
			r.do(req)
			return r.do(req)
		},
		request.StageConnect: func(r *rig) *flight {
			r.offline()
			return r.start("a")
		},
		request.StageSubscribe: func(r *rig) *flight {
			r.conn.Hold("SUBSCRIBE")
			return r.start("a")
		},
		request.StagePublish: func(r *rig) *flight {
			r.conn.Hold("PUBLISH")
			return r.start("a")
		},
		request.StageAnswer: func(r *rig) *flight { return r.start("a") },
	}
	for stage, start := range stages {
		t.Run(stage.String(), func(t *testing.T) {
			run(t, request.Options{}, func(r *rig) {
				f := start(r)
				f.release()
				e := f.failed(errGivenUp, stage)
				sent := stage >= request.StagePublish
				if errors.Is(e, mqtt5.ErrOutcomeUnknown) != sent || errors.Is(e, mqtt5.ErrNotSent) == sent {
					r.Errorf("%v: sent %v", e, e.Sent)
				}
			})
		})
	}
}

func TestRequest_quota(t *testing.T) {
	run(t, request.Options{}, func(r *rig) {
		limited := func(name string) *flight {
			req := on("a")
			req.Quota = request.Quota{Name: name, InFlight: 2}
			return r.do(req)
		}
		first, _, third, fourth := limited("s"), limited("s"), limited("s"), limited("s")
		r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask")
		other := limited("t")
		r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask", "PUBLISH ask")
		third.release()
		third.failed(errGivenUp, request.StageQueue)
		first.release()
		r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask", "PUBLISH ask", "PUBLISH ask")
		fourth.pending()
		other.pending()
	})
}

func TestRequest_throttling(t *testing.T) {
	type service struct {
		busy atomic.Int32 // answers that say so
		mu   sync.Mutex
		gap  []time.Duration
		last time.Time
	}
	gaps := func(s *service) []time.Duration {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.Clone(s.gap)
	}
	serve := func(r *rig) *service {
		s := &service{last: time.Now()}
		r.conn.OnPublish(func(p *mqtt5.PublishPacket) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.gap = append(s.gap, time.Since(s.last))
			s.last = time.Now()
			if p.Topic != "ask" {
				return nil
			}
			if s.busy.Add(-1) >= 0 {
				r.conn.Deliver("a", []byte(`{"token":"T","busy":true}`))
			} else {
				r.conn.Deliver("a", []byte(`{"token":"T"}`))
			}
			return nil
		})
		return s
	}
	throttled := func(timeout time.Duration) *request.Request {
		req := on("a")
		req.Token, req.Timeout = "T", timeout
		req.Quota = request.Quota{Name: "s", InFlight: 10}
		req.Throttled = func(m *mqtt5.Message) bool { return len(m.Payload) > len(`{"token":"T"}`) }
		return req
	}
	t.Run("repeats with growing delays", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			s := serve(r)
			s.busy.Store(4)
			f := r.do(throttled(time.Minute))
			time.Sleep(time.Minute)
			f.answered("a", `{"token":"T"}`)
			if gap := gaps(s); len(gap) != 5 || gap[4] < 4*gap[1]/2 || gap[1] < 100*time.Millisecond {
				r.Errorf("delays %v", gap)
			}
			if st := r.client.Stats(); st.Throttled != 4 || st.Requests != 5 {
				r.Errorf("stats %+v", st)
			}
		})
	})
	t.Run("returns the answer when no time is left", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			serve(r).busy.Store(1000)
			f := r.do(throttled(5 * time.Second))
			time.Sleep(5 * time.Second)
			f.answered("a", `{"token":"T","busy":true}`)
		})
	})
	t.Run("holds back other requests of the quota", func(t *testing.T) {
		run(t, request.Options{MinRetryDelay: 10 * time.Second}, func(r *rig) {
			s := serve(r)
			s.busy.Store(1)
			f := r.do(throttled(time.Minute))
			req := on("b")
			req.Topic, req.Quota.Name = "other", "s"
			r.do(req)
			if len(gaps(s)) != 1 {
				r.Errorf("%d requests at once", len(gaps(s)))
			}
			req = on("c")
			req.Topic = "other"
			r.do(req)
			if len(gaps(s)) != 2 {
				r.Error("a request without the quota waits")
			}
			time.Sleep(time.Minute)
			if len(gaps(s)) != 4 {
				r.Errorf("%d requests in the end", len(gaps(s)))
			}
			f.answered("a", `{"token":"T"}`)
		})
	})
	t.Run("the answer to a copy ends the delay", func(t *testing.T) {
		run(t, request.Options{MinRetryDelay: 20 * time.Second}, func(r *rig) {
			f := r.do(throttled(time.Hour))
			busy := []byte(`{"token":"T","busy":true}`)
			r.conn.Deliver("a", busy)
			r.conn.Deliver("a", busy) // the same one again
			f.pending()
			r.conn.Deliver("a", []byte(`{"token":"T"}`))
			f.answered("a", `{"token":"T"}`)
			r.log("SUBSCRIBE a", "PUBLISH ask")
			if r.client.Stats().Stray != 0 {
				r.Errorf("stats %+v", r.client.Stats())
			}
		})
	})
	t.Run("the answer to a copy ends the wait for a turn", func(t *testing.T) {
		run(t, request.Options{MinRetryDelay: time.Second, MaxRetryDelay: time.Second}, func(r *rig) {
			req := throttled(time.Hour)
			req.Quota.InFlight = 1
			f := r.do(req)
			r.conn.Deliver("a", []byte(`{"token":"T","busy":true}`))
			other := on("b")
			other.Quota = req.Quota
			r.do(other)
			time.Sleep(time.Minute) // f waits for other
			f.pending()
			r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE b", "PUBLISH ask")
			r.conn.Deliver("a", []byte(`{"token":"T"}`))
			f.answered("a", `{"token":"T"}`)
		})
	})
	t.Run("PUBACK quota exceeded", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			n := 0
			r.conn.OnPublish(func(*mqtt5.PublishPacket) error {
				if n++; n < 3 {
					return &mqtt5.AckError{Operation: "publish", ReasonCode: uint8(mqtt5.PubackQuotaExceeded)}
				}
				r.conn.Deliver("a", []byte(`{"token":"T"}`))
				return nil
			})
			f := r.do(throttled(time.Minute))
			time.Sleep(time.Minute)
			f.answered("a", `{"token":"T"}`)
		})
	})
}

func TestRequest_offline(t *testing.T) {
	fail := func() *request.Request {
		req := on("a")
		req.Offline = request.FailOffline
		return req
	}
	t.Run("fails at once", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.offline()
			r.do(fail()).failed(request.ErrOffline, request.StageConnect)
		})
	})
	t.Run("fails when the connection is lost before it is sent", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			f := r.do(fail())
			r.offline()
			e := f.failed(request.ErrOffline, request.StageConnect)
			if !errors.Is(e, mqtt5.ErrNotSent) {
				r.Error("it was not sent")
			}
		})
	})
	t.Run("waits for the answer over a resumed session", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			f := r.do(fail())
			r.offline()
			r.conn.Deliver("a", []byte(`{"token":"`+tokenOf(f)+`"}`))
			f.pending()
			r.online(true)
			f.pending()
		})
	})
	t.Run("idempotent requests are sent again", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			req := on("a")
			req.Token, req.Idempotent = "T", true
			f := r.do(req)
			r.offline()
			r.online(false)
			time.Sleep(time.Second)
			r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE a", "PUBLISH ask")
			r.conn.Deliver("a", []byte(`{"token":"T"}`))
			f.answered("a", `{"token":"T"}`)
		})
	})
	t.Run("the connection is closed for good", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			f := r.start("a")
			r.conn.Close()
			f.failed(mqtt5.ErrClosed, request.StageAnswer)
			r.start("a").failed(mqtt5.ErrClosed, request.StageQueue)
		})
	})
	t.Run("the connection restored the filters", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.start("a").release()
			r.offline()
			r.online(false)
			r.conn.Emit(&mqtt5.Resubscription{Restored: []string{"a"}})
			synctest.Wait()
			r.start("a")
			r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask")
		})
	})
	t.Run("a disconnect after a SUBSCRIBE backs off", func(t *testing.T) {
		run(t, request.Options{MinRetryDelay: time.Minute}, func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			l := r.listen("a")
			r.offline()
			r.conn.Release("SUBSCRIBE")
			r.online(false)
			r.log("SUBSCRIBE a")
			time.Sleep(time.Minute)
			l.heard("established")
		})
	})
}

// tokenOf is any token: the test does not look at it.
func tokenOf(*flight) string { return "stray" }

// A connection without events is taken as up.
func TestRequest_connectionWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := requesttest.New()
		defer conn.Close()
		client, err := request.New(struct{ request.Connection }{conn}, request.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t, conn, client}
		r.serve()
		r.do(ask("test", question{Topic: "test/accepted", Token: "t"}, false)).answered("test/accepted", `{"token":"t"}`)
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The deadline of the context may be later than the time-out of the options.
func TestCall_deadline(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, time.Second, 2 * time.Minute} {
		t.Run(d.String(), func(t *testing.T) {
			run(t, request.Options{Timeout: 30 * time.Second}, func(r *rig) {
				ctx, cancel := context.WithTimeout(r.Context(), d)
				defer cancel()
				began := time.Now()
				_, err := r.client.Call(ctx, "ask", nil)
				if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != max(0, d) {
					r.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

func TestCall(t *testing.T) {
	run(t, request.Options{ReplyTopic: "me/replies"}, func(r *rig) {
		r.conn.OnPublish(func(p *mqtt5.PublishPacket) error {
			if *p.ResponseTopic != "me/replies" || p.QoS != mqtt5.AtLeastOnce {
				r.Errorf("packet %+v", p)
			}
			r.conn.DeliverPacket(mqtt5.PublishPacket{Topic: *p.ResponseTopic, CorrelationData: p.CorrelationData, Payload: append([]byte("re: "), p.Payload...)})
			return nil
		})
		for _, text := range []string{"one", "two"} {
			answer, err := r.client.Call(r.Context(), "ask", []byte(text))
			if err != nil || string(answer.Payload) != "re: "+text {
				r.Errorf("%s: %s %v", text, answer.Payload, err)
			}
		}
		r.log("SUBSCRIBE me/replies", "PUBLISH ask", "PUBLISH ask")
	})
}
