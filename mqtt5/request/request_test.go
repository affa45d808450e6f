// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
)

// The names of the subtests in this file are those of the tests of the
// request-response client in aws-c-mqtt (rrc_*).

// question is what the service of these tests is asked: how to answer.
type question struct {
	Topic  string `json:"topic"`
	Token  string `json:"token,omitempty"`
	Nonce  string `json:"nonce,omitempty"` // comes back in the answer
	Answer string `json:"answer,omitempty"`
}

// serve makes the server of r answer questions.
func (r *rig) serve() {
	r.conn.OnPublish(func(p *mqtt5.PublishPacket) error {
		var q question
		if err := json.Unmarshal(p.Payload, &q); err != nil {
			return err
		}
		switch q.Answer {
		case "refused":
			return &mqtt5.AckError{Operation: "publish", ReasonCode: uint8(mqtt5.PubackNotAuthorized)}
		case "":
			q.Answer = "{}"
			if q.Token != "" || q.Nonce != "" {
				data, _ := json.Marshal(question{Token: q.Token, Nonce: q.Nonce})
				q.Answer = strings.Replace(string(data), `"topic":"",`, "", 1)
			}
		}
		r.conn.Deliver(q.Topic, []byte(q.Answer))
		return nil
	})
}

// ask returns a request to that service. Without a token it is uncorrelated.
func ask(prefix string, q question, exact bool) *request.Request {
	payload, _ := json.Marshal(q)
	req := &request.Request{
		Topic:       prefix + "/publish",
		Payload:     payload,
		Replies:     []request.Reply{{Topic: prefix + "/accepted"}, {Topic: prefix + "/rejected"}},
		Correlation: request.JSONField("token"),
		Token:       q.Token,
		Timeout:     2 * time.Second,
	}
	if !exact {
		for i := range req.Replies {
			req.Replies[i].Filter = prefix + "/+"
		}
	}
	if q.Token == "" {
		req.Correlation = request.Uncorrelated{}
	}
	return req
}

func TestRequest_validation(t *testing.T) {
	for name, change := range map[string]func(*request.Request){
		"rrc_submit_request_operation_failure_no_response_paths":                 func(r *request.Request) { r.Replies = nil },
		"rrc_submit_request_operation_failure_invalid_response_topic":            func(r *request.Request) { r.Replies[0].Topic = "a/b/#" },
		"rrc_submit_request_operation_failure_invalid_publish_topic":             func(r *request.Request) { r.Topic = "a/b/#" },
		"rrc_submit_request_operation_failure_invalid_subscription_topic_filter": func(r *request.Request) { r.Replies[0].Filter = "a/#/c" },
		"no topic":              func(r *request.Request) { r.Topic = "" },
		"no correlation":        func(r *request.Request) { r.Correlation = nil },
		"negative time-out":     func(r *request.Request) { r.Timeout = -1 },
		"filter does not match": func(r *request.Request) { r.Replies[0].Filter = "elsewhere/+" },
		"offline policy":        func(r *request.Request) { r.Offline = 9 },
		"quota":                 func(r *request.Request) { r.Quota.InFlight = -1 },
		"correlation":           func(r *request.Request) { r.Correlation = uncomparable{} },
		"correlation inside":    func(r *request.Request) { r.Correlation = perhaps{[]int{}} },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, request.Options{}, func(r *rig) {
				req := ask("test", question{Token: "t"}, false)
				change(req)
				f := r.do(req)
				if !f.done() || !errors.Is(f.err, request.ErrInvalid) {
					r.Errorf("error %v", f.err)
				}
				r.log()
			})
		})
	}
	// These need no counterpart of another kind: a reply without a filter
	// subscribes to its topic, and a payload may be empty.
	t.Run("rrc_submit_request_operation_failure_no_subscription_topic_filters", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			r.start("a")
			r.log("SUBSCRIBE a", "PUBLISH ask")
		})
	})
	t.Run("rrc_submit_request_operation_failure_empty_request", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			var payload []byte
			r.conn.OnPublish(func(p *mqtt5.PublishPacket) error {
				payload = p.Payload
				r.conn.Deliver("a", []byte("answer"))
				return nil
			})
			r.do(&request.Request{Topic: "ask", Replies: []request.Reply{{Topic: "a"}}, Correlation: request.Uncorrelated{}}).answered("a", "answer")
			if len(payload) != 0 {
				r.Errorf("payload %q", payload)
			}
		})
	})
	t.Run("rrc_submit_streaming_operation_failure_invalid_subscription_topic_filter", func(t *testing.T) {
		run(t, request.Options{}, func(r *rig) {
			for _, filter := range []string{"", "a/#/c"} {
				if _, err := r.tryListen(filter); !errors.Is(err, request.ErrInvalid) {
					r.Errorf("filter %q: error %v", filter, err)
				}
			}
		})
	})
}

type uncomparable struct{ _ []int }

func (uncomparable) Token(*mqtt5.Message) (string, bool) { return "", false }

// perhaps is comparable if what it holds is.
type perhaps struct{ held any }

func (perhaps) Token(*mqtt5.Message) (string, bool) { return "", false }

func TestRequest_answers(t *testing.T) {
	for name, test := range map[string]func(r *rig){
		"rrc_request_response_success_response_path_accepted": func(r *rig) {
			r.do(ask("test", question{Topic: "test/accepted", Token: "token1"}, false)).answered("test/accepted", `{"token":"token1"}`)
			r.log("SUBSCRIBE test/+", "PUBLISH test/publish")
		},
		"rrc_request_response_multi_sub_success_response_path_accepted": func(r *rig) {
			r.do(ask("test", question{Topic: "test/accepted", Token: "token1"}, true)).answered("test/accepted", `{"token":"token1"}`)
			r.log("SUBSCRIBE test/accepted test/rejected", "PUBLISH test/publish")
		},
		"rrc_request_response_success_response_path_rejected": func(r *rig) {
			r.do(ask("test", question{Topic: "test/rejected", Token: "token5"}, false)).answered("test/rejected", `{"token":"token5"}`)
		},
		"rrc_request_response_multi_sub_success_response_path_rejected": func(r *rig) {
			r.do(ask("test", question{Topic: "test/rejected", Token: "token5"}, true)).answered("test/rejected", `{"token":"token5"}`)
		},
		"rrc_request_response_subscribe_failure": func(r *rig) {
			r.conn.RefuseSubscribe("test/+", mqtt5.SubackNotAuthorized)
			r.do(ask("test", question{Topic: "test/accepted", Token: "t"}, false)).failed(mqtt5.ErrNotSent, request.StageSubscribe)
		},
		"rrc_request_response_multi_subscribe_failure": func(r *rig) {
			r.conn.RefuseSubscribe("test/rejected", mqtt5.SubackNotAuthorized)
			e := r.do(ask("test", question{Topic: "test/accepted", Token: "t"}, true)).failed(mqtt5.ErrNotSent, request.StageSubscribe)
			if text := ackError(r.T, e).Error(); !strings.Contains(text, "test/rejected") || strings.Contains(text, "test/accepted") {
				r.Errorf("the error does not name the refused filter alone: %s", text)
			}
		},
		"rrc_request_response_failure_puback_reason_code": func(r *rig) {
			f := r.do(ask("test", question{Topic: "test/accepted", Token: "t", Answer: "refused"}, false))
			refused := &mqtt5.AckError{}
			if !f.done() || !errors.As(f.err, &refused) || refused.ReasonCode != uint8(mqtt5.PubackNotAuthorized) {
				r.Fatalf("error %v", f.err)
			}
			if errors.Is(f.err, mqtt5.ErrNotSent) || errors.Is(f.err, mqtt5.ErrOutcomeUnknown) {
				r.Error("a refusal has a known outcome")
			}
		},
		"rrc_request_response_failure_invalid_payload":                unanswered(question{Token: "t", Answer: "<token>t</token>"}),
		"rrc_request_response_failure_missing_correlation_token":      unanswered(question{Token: "t", Answer: `{"wrongfield":"t"}`}),
		"rrc_request_response_failure_invalid_correlation_token_type": unanswered(question{Token: "t", Answer: `{"token":5}`}),
		"rrc_request_response_failure_non_matching_correlation_token": unanswered(question{Token: "t", Answer: `{"token":"NotTheToken"}`}),
		"rrc_request_response_success_empty_correlation_token": func(r *rig) {
			r.do(ask("test", question{Topic: "test/accepted"}, false)).answered("test/accepted", "{}")
		},
		"rrc_request_response_success_empty_correlation_token_sequence": func(r *rig) {
			var flights []*flight
			for i := range 20 {
				prefix := fmt.Sprint("test", i)
				flights = append(flights, r.do(ask(prefix, question{Topic: prefix + "/accepted"}, false)))
			}
			for i, f := range flights {
				f.answered(fmt.Sprintf("test%d/accepted", i), "{}")
			}
		},
		"rrc_request_response_multi_operation_sequence": func(r *rig) {
			sequence := []struct{ prefix, token, nonce string }{
				{"test", "token1", ""}, {"test", "token2", ""}, {"test2", "token3", ""}, {"whatthe", "hey", "something"},
				{"test", "token4", ""}, {"test2", "token5", ""}, {"provision", "", "provision1"}, {"provision", "", "provision2"},
				{"create-keys-and-cert", "", "create-keys1"}, {"test", "token6", ""}, {"test2", "token7", ""}, {"provision", "", "provision3"},
			}
			var flights []*flight
			for _, s := range sequence {
				flights = append(flights, r.do(ask(s.prefix, question{Topic: s.prefix + "/accepted", Token: s.token, Nonce: s.nonce}, false)))
			}
			for i, f := range flights {
				var got question
				if !f.done() || f.err != nil || json.Unmarshal(f.answer.Payload, &got) != nil {
					r.Fatalf("request %d: %v", i, f.err)
				}
				if want := sequence[i]; got.Token != want.token || got.Nonce != want.nonce || f.answer.Topic != want.prefix+"/accepted" {
					r.Errorf("request %d got the answer %s %s", i, f.answer.Topic, f.answer.Payload)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, request.Options{MaxSubscriptions: 4, LateWindow: -1}, func(r *rig) {
				r.serve()
				test(r)
			})
		})
	}
}

// unanswered expects that an answer is not taken for one.
func unanswered(q question) func(r *rig) {
	return func(r *rig) {
		q.Topic = "test/accepted"
		f := r.do(ask("test", q, false))
		f.pending()
		time.Sleep(2 * time.Second)
		f.failed(request.ErrTimeout, request.StageAnswer)
		if s := r.client.Stats(); s.Stray != 1 {
			r.Errorf("stats %+v", s)
		}
	}
}

func TestRequest_ends(t *testing.T) {
	for name, test := range map[string]func(r *rig){
		"rrc_mqtt5_create_destroy": func(*rig) {},
		"rrc_submit_request_operation_failure_by_shutdown": func(r *rig) {
			f := r.start("a")
			r.client.Close(r.Context())
			f.failed(request.ErrClosed, request.StageAnswer)
			r.do(on("a")).failed(request.ErrClosed, request.StageQueue)
		},
		"rrc_submit_request_operation_failure_by_timeout": func(r *rig) {
			req := on("a")
			req.Timeout = 2 * time.Second
			f := r.do(req)
			time.Sleep(2*time.Second - 1)
			f.pending()
			time.Sleep(time.Nanosecond)
			e := f.failed(request.ErrTimeout, request.StageAnswer)
			if !errors.Is(e, mqtt5.ErrOutcomeUnknown) {
				r.Errorf("%v does not match ErrOutcomeUnknown", e)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, request.Options{}, test) })
	}
}

func TestStream(t *testing.T) {
	for name, test := range map[string]func(r *rig){
		"rrc_activate_streaming_operation_and_shutdown": func(r *rig) {
			l := r.listen("a")
			r.client.Close(r.Context())
			l.heard("established", "halted")
			l.haltedBy(request.ErrClosed)
			if _, err := r.tryListen("a"); !errors.Is(err, request.ErrClosed) {
				r.Errorf("error %v", err)
			}
		},
		"rrc_create_streaming_operation_and_shutdown": func(r *rig) {
			r.conn.Hold("SUBSCRIBE")
			l := r.listen("a")
			r.client.Close(r.Context())
			l.heard("halted")
		},
		"rrc_streaming_operation_success_single": func(r *rig) {
			l := r.listen("topic/1")
			r.conn.Deliver("topic/1", []byte("Payload1"))
			r.conn.Deliver("topic/1", []byte("Payload2"))
			l.heard("established", "Payload1", "Payload2")
		},
		"rrc_streaming_operation_success_overlapping": func(r *rig) {
			first, second := r.listen("topic/1"), r.listen("topic/1")
			r.conn.Deliver("topic/1", []byte("1"))
			first.heard("established", "1")
			first.close()
			r.conn.Deliver("topic/1", []byte("2"))
			first.heard("established", "1")
			second.heard("established", "1", "2")
		},
		// The native client passes these properties to streams, too, since it takes
		// filters with wildcards for them.
		"wildcards and properties": func(r *rig) {
			var mu sync.Mutex
			var got []mqtt5.PublishPacket
			if _, err := r.client.Stream(request.StreamOptions{Filter: "things/+/events/#", OnMessage: func(_ context.Context, m mqtt5.Message) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, m.PublishPacket)
			}}); err != nil {
				r.Fatal(err)
			}
			synctest.Wait()
			want := []mqtt5.PublishPacket{
				{Topic: "things/a/events", Payload: []byte("1"), QoS: mqtt5.AtLeastOnce},
				{
					Topic: "things/b/events/x/y", Payload: []byte("2"), QoS: mqtt5.AtMostOnce, ContentType: mqtt5.Ptr("text/plain"),
					MessageExpirySeconds: mqtt5.Ptr[uint32](7), UserProperties: []mqtt5.UserProperty{{Name: "n", Value: "v"}, {Name: "n", Value: "w"}},
				},
			}
			for _, p := range want {
				if !r.conn.DeliverPacket(p) {
					r.Errorf("%s was not delivered", p.Topic)
				}
			}
			r.conn.Deliver("things/a/b/events", nil)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(want, got); diff != "" {
				r.Errorf("messages (-want +got):\n%s", diff)
			}
			r.log("SUBSCRIBE things/+/events/#")
		},
		"rrc_streaming_operation_success_starting_offline": func(r *rig) {
			r.offline()
			l := r.listen("topic/1")
			time.Sleep(time.Hour)
			l.heard()
			r.online(false)
			r.conn.Deliver("topic/1", []byte("1"))
			l.heard("established", "1")
		},
		"rrc_streaming_operation_clean_session_reestablish_subscription": func(r *rig) {
			l := r.listen("topic/1")
			r.conn.Deliver("topic/1", []byte("1"))
			l.heard("established", "1")
			r.offline()
			r.online(false)
			r.conn.Deliver("topic/1", []byte("2"))
			l.heard("established", "1", "lost", "reestablished", "2")
		},
		"rrc_streaming_operation_resume_session": func(r *rig) {
			l := r.listen("topic/1")
			r.offline()
			r.conn.Deliver("topic/1", []byte("1"))
			r.online(true)
			r.conn.Deliver("topic/1", []byte("2"))
			l.heard("established", "1", "2")
			r.log("SUBSCRIBE topic/1")
		},
		"rrc_streaming_operation_first_subscribe_times_out_resub_succeeds": func(r *rig) {
			r.conn.FailSubscribe(&mqtt5.OperationError{Operation: "subscribe", Sent: true, Err: mqtt5.ErrAckTimeout})
			l := r.listen("topic/1")
			l.heard()
			time.Sleep(time.Second)
			l.heard("established")
			r.log("SUBSCRIBE topic/1", "SUBSCRIBE topic/1")
		},
		"rrc_streaming_operation_first_subscribe_retryable_failure_resub_succeeds": func(r *rig) {
			r.conn.RefuseSubscribe("topic/1", mqtt5.SubackUnspecifiedError)
			l := r.listen("topic/1")
			time.Sleep(time.Second)
			l.heard("established")
			r.log("SUBSCRIBE topic/1", "SUBSCRIBE topic/1")
		},
		"rrc_streaming_operation_subscribe_unretryable_failure": func(r *rig) {
			r.conn.RefuseSubscribe("topic/1", mqtt5.SubackNotAuthorized)
			l := r.listen("topic/1")
			time.Sleep(time.Hour)
			l.heard("halted")
			r.log("SUBSCRIBE topic/1")
			if err := l.stream.WaitEstablished(r.Context()); ackError(r.T, err).ReasonCode != uint8(mqtt5.SubackNotAuthorized) {
				r.Errorf("error %v", err)
			}
		},
		"rrc_streaming_operation_failure_exceeds_subscription_budget": func(r *rig) {
			first, second := r.listen("topic/1"), r.listen("topic/2")
			if _, err := r.tryListen("topic/3"); !errors.Is(err, request.ErrNoCapacity) {
				r.Fatalf("error %v", err)
			}
			first.close()
			second.close()
			third := r.listen("topic/3")
			r.conn.Deliver("topic/3", []byte("3"))
			third.heard("established", "3")
		},
	} {
		t.Run(name, func(t *testing.T) { run(t, request.Options{MaxSubscriptions: 2}, test) })
	}
	for name, after := range map[string]int{
		"rrc_streaming_operation_success_delayed_by_request_operations":    0,
		"rrc_streaming_operation_success_sandwiched_by_request_operations": 2,
	} {
		t.Run(name, func(t *testing.T) {
			run(t, request.Options{MaxSubscriptions: 2, Timeout: 2 * time.Second}, func(r *rig) {
				var flights []*flight
				start := func(timeout time.Duration) {
					req := on(fmt.Sprint("requests/", len(flights)))
					req.Timeout = timeout
					flights = append(flights, r.do(req))
				}
				start(0)
				start(0)
				l := r.listen("topic/1")
				for range after {
					start(time.Second) // before there is room for them
				}
				time.Sleep(2 * time.Second)
				for i, f := range flights {
					stage := request.StageAnswer
					if i >= 2 {
						stage = request.StageQueue
					}
					f.failed(request.ErrTimeout, stage)
				}
				r.conn.Deliver("topic/1", []byte("1"))
				l.heard("established", "1")
			})
		})
	}
}
