// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

func TestRequest_tokens(t *testing.T) {
	token := func(r *rig, payload string) { r.conn.Deliver("a", []byte(payload)) }
	same := func() *request.Request {
		req := on("a")
		req.Token = "T"
		return req
	}
	t.Run("the same one waits", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			first, second := r.do(same()), r.do(same())
			r.log("SUBSCRIBE a", "PUBLISH ask")
			token(r, `{"token":"T","n":1}`)
			first.answered("a", `{"token":"T","n":1}`)
			second.pending()
			r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask")
			token(r, `{"token":"T","n":2}`)
			second.answered("a", `{"token":"T","n":2}`)
		})
	})
	t.Run("the second answer to one that was repeated is not taken for the next one", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			req := same()
			req.Idempotent = true
			first := r.do(req)
			r.offline()
			r.online(false)
			token(r, `{"token":"T","n":1}`)
			first.answered("a", `{"token":"T","n":1}`)
			r.conn.ResetLog()
			next := r.do(same())
			r.log()
			token(r, `{"token":"T","n":1}`)
			next.pending()
			r.log("PUBLISH ask")
			if s := r.client.Stats(); s.Duplicate != 1 {
				r.Errorf("stats %+v", s)
			}
			token(r, `{"token":"T","n":2}`)
			next.answered("a", `{"token":"T","n":2}`)
		})
	})
	t.Run("nothing waits for the answer to one that was refused", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.conn.OnPublish(func(*mqtt5.PublishPacket) error {
				return &mqtt5.AckError{Operation: "publish", ReasonCode: uint8(mqtt5.PubackNotAuthorized)}
			})
			first := r.do(same())
			ackError(r.T, first.err)
			r.conn.OnPublish(nil)
			r.do(same())
			r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask")
		})
	})
	t.Run("one that waits gives up", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			first, second, third := r.do(same()), r.do(same()), r.do(same())
			second.release()
			token(r, `{"token":"T","n":1}`)
			first.answered("a", `{"token":"T","n":1}`)
			third.pending()
			token(r, `{"token":"T","n":2}`)
			third.answered("a", `{"token":"T","n":2}`)
		})
	})
	t.Run("a late answer is not taken for the next one", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			req := same()
			req.Timeout = time.Second
			first := r.do(req)
			time.Sleep(time.Second)
			first.failed(request.ErrTimeout, request.StageAnswer)
			second := r.do(same())
			r.log("SUBSCRIBE a", "PUBLISH ask")
			token(r, `{"token":"T","late":true}`)
			second.pending()
			r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask") // the late answer has ended the wait
			if s := r.client.Stats(); s.Late != 1 || s.Stray != 0 {
				r.Errorf("stats %+v", s)
			}
			token(r, `{"token":"T"}`)
			second.answered("a", `{"token":"T"}`)
		})
	})
	t.Run("the wait for a late answer ends each time", func(t *testing.T) {
		run(t, request.Options{LateWindow: 3 * time.Second}, func(r *rig) {
			for range 3 {
				r.do(same()).release()
				next := r.do(same())
				time.Sleep(3 * time.Second)
				synctest.Wait()
				token(r, `{"token":"T"}`)
				next.answered("a", `{"token":"T"}`)
			}
		})
	})
	t.Run("the wait for a late answer ends", func(t *testing.T) {
		run(t, request.Options{LateWindow: 3 * time.Second}, func(r *rig) {
			first := r.do(same())
			first.release()
			second := r.do(same())
			time.Sleep(3*time.Second - 1)
			second.pending()
			r.log("SUBSCRIBE a", "PUBLISH ask")
			time.Sleep(time.Nanosecond)
			r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask")
		})
	})
	t.Run("one that was not sent does not block", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.offline()
			r.do(same()).release()
			r.do(same())
			r.online(false)
			r.log("SUBSCRIBE a", "PUBLISH ask")
		})
	})
	t.Run("without tokens one at a time", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			uncorrelated := func() *request.Request {
				req := on("a")
				req.Correlation = request.Uncorrelated{}
				return req
			}
			first, second := r.do(uncorrelated()), r.do(uncorrelated())
			token(r, "1")
			token(r, "1 again") // before the second request has left
			first.answered("a", "1")
			second.pending()
			token(r, "2")
			second.answered("a", "2")
			if s := r.client.Stats(); s.Answers != 2 || s.Duplicate != 1 {
				r.Errorf("stats %+v", s)
			}
		})
	})
	t.Run("two correlations on one topic", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.start("a")
			req := on("a")
			req.Correlation = request.CorrelationData{}
			if f := r.do(req); !f.done() || !errors.Is(f.err, request.ErrInvalid) {
				r.Errorf("error %v", f.err)
			}
		})
	})
}

func TestRequest_unmatched(t *testing.T) {
	var got []request.Unmatched
	run(t, request.Options{OnUnmatched: func(u request.Unmatched) { got = append(got, u) }}, func(r *rig) {
		req := on("a")
		req.Token = "T"
		f := r.do(req)
		r.conn.Deliver("a", []byte(`{"token":"other"}`))
		r.conn.Deliver("a", []byte(`{"token":"T"}`))
		r.conn.Deliver("a", []byte(`{"token":"T"}`))
		f.answered("a", `{"token":"T"}`)
		req.Token = "U"
		r.do(req).release()
		r.conn.Deliver("a", []byte(`{"token":"U"}`))
		r.conn.Deliver("a", []byte(`{"token":"U"}`))
		synctest.Wait()
		var kinds []string
		for _, u := range got {
			switch {
			case u.Late:
				kinds = append(kinds, "late")
			case u.Duplicate:
				kinds = append(kinds, "duplicate")
			default:
				kinds = append(kinds, "stray")
			}
		}
		if want := []string{"stray", "duplicate", "late", "duplicate"}; !slices.Equal(kinds, want) {
			r.Errorf("got %q, want %q", kinds, want)
		}
	})
}
