// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// The names of the subtests in this file are those of the tests of the
// subscription manager in aws-c-mqtt (rrsm_*), so that both can be compared.
// Where this client is meant to behave otherwise, the test says so.

func TestSubscriptions_acquire(t *testing.T) {
	for name, test := range map[string]func(r *rig){
		"rrsm_acquire_subscribing": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			r.start("a")
			r.log("SUBSCRIBE a")
			r.listen("b")
			r.start("c")
			r.log("SUBSCRIBE a", "SUBSCRIBE b", "SUBSCRIBE c")
		},
		"rrsm_acquire_multi_subscribing": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			r.start("a", "b")
			r.log("SUBSCRIBE a b") // one packet
		},
		"rrsm_acquire_existing_subscribing": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			r.start("a")
			r.listen("b")
			r.start("a")
			r.listen("b")
			r.log("SUBSCRIBE a", "SUBSCRIBE b")
		},
		"rrsm_acquire_multi_existing_subscribing": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			r.start("a", "b")
			r.start("a", "b")
			r.log("SUBSCRIBE a b")
		},
		"rrsm_acquire_multi_partially_subscribed": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			r.start("a")
			r.start("a", "b")
			r.log("SUBSCRIBE a", "SUBSCRIBE b")
		},
		"rrsm_acquire_existing_subscribed": func(r *rig) {
			r.start("a")
			first := r.listen("b")
			r.start("a")
			second := r.listen("b")
			r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE b", "PUBLISH ask")
			first.heard("established")
			second.heard("established")
		},
		"rrsm_acquire_multi_existing_subscribed": func(r *rig) {
			r.start("a", "b")
			r.start("b", "a")
			r.log("SUBSCRIBE a b", "PUBLISH ask", "PUBLISH ask")
		},
		// A filter may serve requests and streams at the same time here.
		"rrsm_acquire_failure_mixed_subscription_types": func(r *rig) {
			f := r.start("a")
			l := r.listen("a")
			r.log("SUBSCRIBE a", "PUBLISH ask")
			l.heard("established")
			f.release()
			l.close()
			r.log("SUBSCRIBE a", "PUBLISH ask", "UNSUBSCRIBE a")
		},
		"rrsm_acquire_multi_failure_mixed_subscription_types": func(r *rig) {
			r.listen("a")
			r.start("b", "a")
			r.log("SUBSCRIBE a", "SUBSCRIBE b", "PUBLISH ask")
		},
		// Each new stream asks the server again: its policy may have changed.
		"rrsm_acquire_failure_poisoned": func(r *rig) {
			r.conn.RefuseSubscribe("a", mqtt5.SubackNotAuthorized)
			l := r.listen("a")
			l.heard("halted")
			r.listen("a").heard("established")
			r.log("SUBSCRIBE a", "SUBSCRIBE a")
		},
		"rrsm_acquire_failure_subscribe_sync_failure_request": func(r *rig) {
			invalid := &mqtt5.ValidationError{Subject: "subscribe"}
			r.conn.FailSubscribe(invalid)
			r.start("a").failed(invalid, request.StageSubscribe)
		},
		"rrsm_acquire_failure_subscribe_sync_failure_streaming": func(r *rig) {
			r.conn.FailSubscribe(mqtt5.ErrClosed)
			l := r.listen("a")
			l.heard("halted")
			l.haltedBy(mqtt5.ErrClosed)
		},
		"rrsm_acquire_request_subscribe_failure_event": func(r *rig) {
			r.conn.RefuseSubscribe("a", mqtt5.SubackNotAuthorized)
			e := r.start("a").failed(mqtt5.ErrNotSent, request.StageSubscribe)
			if code := ackError(r.T, e).ReasonCode; code != uint8(mqtt5.SubackNotAuthorized) {
				r.Errorf("reason code %#x", code)
			}
		},
		"rrsm_acquire_streaming_subscribe_failure_retryable_resubscribe": func(r *rig) {
			for _, code := range []mqtt5.SubackReasonCode{mqtt5.SubackUnspecifiedError, mqtt5.SubackImplementationSpecificError,
				mqtt5.SubackPacketIdentifierInUse, mqtt5.SubackQuotaExceeded} {
				r.conn.ResetLog()
				r.conn.RefuseSubscribe("a", code)
				l := r.listen("a")
				r.log("SUBSCRIBE a")
				l.heard()
				time.Sleep(time.Second)
				r.log("SUBSCRIBE a", "SUBSCRIBE a")
				l.heard("established")
				l.close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, request.Options{}, test) })
	}
}

func TestSubscriptions_budget(t *testing.T) {
	for name, test := range map[string]func(r *rig){
		"rrsm_acquire_blocked_rr": func(r *rig) {
			first := r.start("a")
			r.start("b")
			third := r.start("c")
			r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE b", "PUBLISH ask")
			first.release()
			r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE b", "PUBLISH ask", "UNSUBSCRIBE a", "SUBSCRIBE c", "PUBLISH ask")
			third.pending()
		},
		"rrsm_acquire_multi_blocked_rr": func(r *rig) {
			first := r.start("a")
			r.start("b", "c")
			r.log("SUBSCRIBE a", "PUBLISH ask")
			first.release()
			r.log("SUBSCRIBE a", "PUBLISH ask", "UNSUBSCRIBE a", "SUBSCRIBE b c", "PUBLISH ask")
		},
		"rrsm_acquire_blocked_eventstream": func(r *rig) {
			r.conn.Hold("UNSUBSCRIBE")
			r.listen("a").close()
			r.listen("b")
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a", "SUBSCRIBE b")
			l := r.listen("c")
			l.heard()
			r.conn.Release("UNSUBSCRIBE")
			l.heard("established")
		},
		"rrsm_acquire_multi_blocked_eventstream": func(r *rig) {
			r.conn.Hold("UNSUBSCRIBE")
			r.listen("a").close()
			f := r.start("b", "c")
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
			r.conn.Release("UNSUBSCRIBE")
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a", "SUBSCRIBE b c", "PUBLISH ask")
			f.pending()
		},
		"rrsm_acquire_no_capacity_max1": func(r *rig) {
			r.start("a", "b", "c").failed(request.ErrNoCapacity, request.StageQueue)
			r.log()
		},
		"rrsm_acquire_no_capacity_too_many_event_stream": func(r *rig) {
			r.listen("a")
			r.listen("b")
			if _, err := r.tryListen("c"); !errors.Is(err, request.ErrNoCapacity) {
				r.Errorf("error %v", err)
			}
			r.start("c").failed(request.ErrNoCapacity, request.StageQueue)
			r.listen("b") // shares
			r.log("SUBSCRIBE a", "SUBSCRIBE b")
		},
		"a filter that comes again is received once": func(r *rig) {
			r.start("a").release()
			r.start("b", "c").release()
			req := on("a")
			f := r.do(req)
			r.conn.Deliver("a", fmt.Appendf(nil, `{"token":%q}`, req.Token))
			f.answered("a", fmt.Sprintf(`{"token":%q}`, req.Token))
			if s := r.client.Stats(); s.Answers != 1 || s.Duplicate+s.Stray+s.Late != 0 {
				r.Errorf("stats %+v", s)
			}
		},
		"streams that share a filter need room for one": func(r *rig) {
			r.start("a")
			r.start("b")
			for range 2 {
				r.listen("c").heard()
			}
			r.start("d").pending()
		},
		"rrsm_acquire_multi_no_capacity_event_stream": func(r *rig) {
			r.listen("a")
			r.start("b", "c").failed(request.ErrNoCapacity, request.StageQueue)
		},
		// Filters for answers stay, and go when the room is needed.
		"rrsm_release_unsubscribes_request": func(r *rig) {
			first, second := r.start("a"), r.start("a")
			first.release()
			second.release()
			r.start("b").release()
			r.log("SUBSCRIBE a", "PUBLISH ask", "PUBLISH ask", "SUBSCRIBE b", "PUBLISH ask")
			r.start("a").release()
			r.start("c")
			if !r.sent("UNSUBSCRIBE b") || r.sent("UNSUBSCRIBE a") {
				r.Errorf("not the least recently used filter went: %q", r.conn.Log())
			}
		},
		"rrsm_release_multi_unsubscribes_request": func(r *rig) {
			first, second := r.start("a", "b"), r.start("a", "b")
			first.release()
			second.release()
			r.start("c", "d")
			if !r.sent("UNSUBSCRIBE a") || !r.sent("UNSUBSCRIBE b") {
				r.Errorf("packets %q", r.conn.Log())
			}
		},
		"rrsm_release_unsubscribes_streaming": func(r *rig) {
			first, second := r.listen("a"), r.listen("a")
			first.close()
			r.log("SUBSCRIBE a")
			second.close()
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
		},
		"rrsm_release_unsubscribe_success_clears_space": func(r *rig) {
			first := r.start("a")
			r.start("b")
			third := r.start("c")
			r.conn.Hold("UNSUBSCRIBE")
			first.release()
			if r.sent("SUBSCRIBE c") {
				r.Error("subscribed before the room was free")
			}
			r.conn.Release("UNSUBSCRIBE")
			third.pending()
			if !r.sent("SUBSCRIBE c") {
				r.Error("not subscribed after the room was free")
			}
		},
		"rrsm_release_unsubscribe_failure_blocked": func(r *rig) {
			first := r.start("a")
			second := r.start("b")
			r.start("c")
			r.conn.RefuseUnsubscribe("a", mqtt5.UnsubackNotAuthorized)
			first.release()
			if r.sent("SUBSCRIBE c") {
				r.Error("subscribed beyond the budget")
			}
			second.release() // another filter makes room
			if !r.sent("UNSUBSCRIBE b") || !r.sent("SUBSCRIBE c") {
				r.Errorf("packets %q", r.conn.Log())
			}
		},
		"rrsm_request_subscription_purge_events": func(r *rig) {
			r.start("a").release()
			if s := r.client.Stats(); s.Subscriptions != 1 || s.Idle != 1 {
				r.Errorf("stats %+v", s)
			}
		},
		"rrsm_streaming_subscription_purge_events": func(r *rig) {
			r.listen("a").close()
			if s := r.client.Stats(); s.Subscriptions != 0 {
				r.Errorf("stats %+v", s)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, request.Options{MaxSubscriptions: 2}, test) })
	}
}

func TestSubscriptions_offline(t *testing.T) {
	for name, test := range map[string]func(r *rig){
		"rrsm_offline_acquire_request_online_success": func(r *rig) {
			r.offline()
			f := r.start("a")
			r.log()
			r.online(false)
			r.log("SUBSCRIBE a", "PUBLISH ask")
			f.pending()
		},
		"rrsm_offline_acquire_request_online_failure": func(r *rig) {
			r.conn.RefuseSubscribe("a", mqtt5.SubackTopicFilterInvalid)
			r.offline()
			f := r.start("a")
			r.online(false)
			f.failed(mqtt5.ErrNotSent, request.StageSubscribe)
		},
		"rrsm_offline_acquire_streaming_online_success": func(r *rig) {
			r.offline()
			l := r.listen("a")
			l.heard()
			r.online(false)
			l.heard("established")
		},
		"rrsm_offline_acquire_streaming_online_failure": func(r *rig) {
			r.conn.RefuseSubscribe("a", mqtt5.SubackNotAuthorized)
			r.offline()
			l := r.listen("a")
			r.online(false)
			l.heard("halted")
		},
		"rrsm_offline_acquire_release_request_online": func(r *rig) {
			r.offline()
			r.start("a").release()
			r.online(false)
			r.log()
			r.start("b")
			r.log("SUBSCRIBE b", "PUBLISH ask")
		},
		"rrsm_offline_acquire_release_streaming_online": func(r *rig) {
			r.offline()
			r.listen("a").close()
			r.online(false)
			r.log()
			r.listen("b")
			r.log("SUBSCRIBE b")
		},
		// The idle filter stays: there is room.
		"rrsm_acquire_request_success_offline_release_acquire2_no_unsubscribe": func(r *rig) {
			f := r.start("a")
			r.offline()
			f.release()
			r.start("b")
			r.log("SUBSCRIBE a", "PUBLISH ask")
			r.online(true)
			r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE b", "PUBLISH ask")
		},
		"rrsm_acquire_streaming_success_offline_release_acquire2_no_unsubscribe": func(r *rig) {
			l := r.listen("a")
			r.offline()
			l.close()
			r.listen("b")
			r.log("SUBSCRIBE a")
			r.online(true)
			if !r.sent("UNSUBSCRIBE a") || !r.sent("SUBSCRIBE b") {
				r.Errorf("packets %q", r.conn.Log())
			}
		},
		"rrsm_acquire_request_success_offline_online_no_session_subscription_ended_can_reacquire": func(r *rig) {
			f := r.start("a")
			r.offline()
			f.pending()
			r.online(false)
			f.failed(request.ErrSubscriptionLost, request.StageAnswer)
			r.start("a").pending()
			r.log("SUBSCRIBE a", "PUBLISH ask", "SUBSCRIBE a", "PUBLISH ask")
		},
		"rrsm_request_subscription_ended_while_unsubscribing": func(r *rig) {
			l := r.listen("a")
			r.conn.Hold("UNSUBSCRIBE")
			l.close()
			r.offline()
			r.online(false) // the connection may have restored the filter: it is unsubscribed again
			f := r.start("a")
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a", "UNSUBSCRIBE a")
			r.conn.Release("UNSUBSCRIBE")
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a", "UNSUBSCRIBE a", "SUBSCRIBE a", "PUBLISH ask")
			f.pending()
		},
		"rrsm_streaming_subscription_lost_resubscribe_on_no_session": func(r *rig) {
			l := r.listen("a")
			r.offline()
			r.online(false)
			r.log("SUBSCRIBE a", "SUBSCRIBE a")
			l.heard("established", "lost", "reestablished")
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, request.Options{}, test) })
	}
}

func TestSubscriptions_close(t *testing.T) {
	for name, test := range map[string]func(r *rig){
		"rrsm_acquire_request_success_clean_up_unsubscribe_override": func(r *rig) {
			f := r.start("a")
			if err := r.client.Close(r.Context()); err != nil {
				r.Error(err)
			}
			f.failed(request.ErrClosed, request.StageAnswer)
			r.log("SUBSCRIBE a", "PUBLISH ask", "UNSUBSCRIBE a")
		},
		"rrsm_acquire_streaming_success_clean_up_unsubscribe_override": func(r *rig) {
			l := r.listen("a")
			if err := r.client.Close(r.Context()); err != nil {
				r.Error(err)
			}
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
			l.heard("established", "halted")
			l.haltedBy(request.ErrClosed)
		},
		"rrsm_acquire_request_pending_clean_up_unsubscribe_override": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			f := r.start("a")
			r.client.Close(r.Context())
			f.failed(request.ErrClosed, request.StageSubscribe)
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
		},
		"rrsm_acquire_streaming_pending_clean_up_unsubscribe_override": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			l := r.listen("a")
			r.client.Close(r.Context())
			l.heard("halted")
			r.log("SUBSCRIBE a", "UNSUBSCRIBE a")
		},
		// Close does not wait for a connection; it reports what may be left.
		"rrsm_offline_acquire_request_pending_clean_up_unsubscribe_override": func(r *rig) {
			f := r.start("a")
			r.offline()
			if err := r.client.Close(r.Context()); !errors.Is(err, request.ErrOffline) {
				r.Errorf("error %v", err)
			}
			f.failed(request.ErrClosed, request.StageAnswer)
			r.log("SUBSCRIBE a", "PUBLISH ask")
		},
		"rrsm_offline_acquire_streaming_pending_clean_up_unsubscribe_override": func(r *rig) {
			r.offline()
			l := r.listen("a")
			if err := r.client.Close(r.Context()); err != nil {
				r.Error(err)
			}
			l.heard("halted")
			r.log()
		},
		// What the server may have is unsubscribed, too.
		"after an UNSUBSCRIBE without an answer": func(r *rig) {
			r.conn.Hold("UNSUBSCRIBE")
			r.listen("a").close()
			r.offline()
			r.conn.Release("UNSUBSCRIBE")
			if err := r.client.Close(r.Context()); !errors.Is(err, request.ErrOffline) {
				r.Errorf("error %v", err)
			}
		},
		"before the connection has subscribed again": func(r *rig) {
			r.start("a").release()
			r.offline()
			r.online(false)
			r.conn.ResetLog()
			if err := r.client.Close(r.Context()); err != nil {
				r.Error(err)
			}
			r.log("UNSUBSCRIBE a")
		},
		"a refusal does not end it": func(r *rig) {
			var filters []string
			for n := range 9 {
				filters = append(filters, fmt.Sprint(n))
			}
			r.start(filters...)
			r.conn.RefuseUnsubscribe("0", mqtt5.UnsubackNotAuthorized)
			r.conn.ResetLog()
			ackError(r.T, r.client.Close(r.Context()))
			r.log("UNSUBSCRIBE 0 1 2 3 4 5 6 7", "UNSUBSCRIBE 8")
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, request.Options{}, test) })
	}
}

// explained is a server that says why it refuses.
type explained struct{ *requesttest.Conn }

func (c explained) Subscribe(context.Context, *mqtt5.SubscribePacket) (*mqtt5.SubackPacket, error) {
	return &mqtt5.SubackPacket{ReasonCodes: []mqtt5.SubackReasonCode{mqtt5.SubackNotAuthorized}, ReasonString: mqtt5.Ptr("no policy")}, errors.New("refused")
}

func TestSubscriptions_reasonString(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := explained{requesttest.New()}
		defer conn.Close()
		client, err := request.New(conn, request.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Do(t.Context(), on("a"))
		if refused := ackError(t, err); refused.ReasonString != "no policy" {
			t.Errorf("%+v", refused)
		}
	})
}

func TestNew_invalid(t *testing.T) {
	conn := requesttest.New()
	t.Cleanup(func() { _ = conn.Close() })
	for name, o := range map[string]request.Options{
		"subscriptions": {MaxSubscriptions: -1}, "time-out": {Timeout: -1}, "low delay": {MinRetryDelay: -1}, "high delay": {MaxRetryDelay: -1},
	} {
		if _, err := request.New(conn, o); !errors.Is(err, request.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, conn := range []request.Connection{nil, (*mqtt5.Client)(nil)} {
		if _, err := request.New(conn, request.Options{}); !errors.Is(err, request.ErrInvalid) {
			t.Error(err)
		}
	}
}

// The delay after refusals stays within its limits, however many there were.
func TestSubscriptions_retryDelay(t *testing.T) {
	for name, tt := range map[string]struct {
		low, high time.Duration
		after     time.Duration
		want      int
	}{
		"doubles":      {time.Second, 8 * time.Second, 7 * time.Second, 4}, // at 0, 0.5 to 1, 1.5 to 3, 3.5 to 7 s
		"is limited":   {time.Second, 2 * time.Second, 2001 * time.Second, 1002},
		"is very long": {1<<44 + 1, 0, 100 << 44, 101},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, request.Options{MinRetryDelay: tt.low, MaxRetryDelay: tt.high}, func(r *rig) {
				r.conn.RefuseSubscribe("a", slices.Repeat([]mqtt5.SubackReasonCode{mqtt5.SubackQuotaExceeded}, 5000)...)
				r.listen("a")
				time.Sleep(tt.after)
				synctest.Wait()
				if n := len(r.conn.Log()); n < tt.want || n > 2*tt.want {
					r.Errorf("%d SUBSCRIBEs, want %d to %d", n, tt.want, 2*tt.want)
				}
			})
		})
	}
}
