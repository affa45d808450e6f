// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire/wiretest"
)

// subscribed returns a rig with subscriptions, whose server loses every session.
func subscribed(t *testing.T, cfg *Config, filters ...string) *rig {
	r := newRig(t, cfg)
	r.connect(&connack)
	for i, f := range filters {
		r.subscribe(f)
		r.flush()
		r.suback(wire.TypeSuback, uint16(i+1), 0)
	}
	return r
}

// subscribes returns the filters of the SUBSCRIBE packets that are written next.
func (r *rig) subscribes() (filters []string) {
	r.t.Helper()
	for _, f := range r.flush() {
		if f.Type != wire.TypeSubscribe {
			r.t.Errorf("%v among the SUBSCRIBE packets", f.Type)
			continue
		}
		var p wire.Subscribe
		if err := wiretest.ParseSubscribe(&f, &p); err != nil {
			r.t.Fatal(err)
		}
		list := ""
		for _, s := range p.Subscriptions {
			list += s.TopicFilter
		}
		filters = append(filters, list)
		r.restoring = append(r.restoring, p.PacketID)
	}
	return filters
}

// answer answers the first SUBSCRIBE that subscribes returned.
func (r *rig) answer(codes ...wire.ReasonCode) {
	r.t.Helper()
	id := r.restoring[0]
	r.restoring = r.restoring[1:]
	r.suback(wire.TypeSuback, id, codes...)
}

func TestFilters(t *testing.T) {
	restoring := func() *Config {
		return &Config{Resubscribe: true, MaxFilters: 2, Session: SessionRejoinAlways, AckTimeout: 5 * time.Second}
	}
	t.Run("are restored first, and reported once", func(t *testing.T) {
		r := subscribed(t, restoring(), "a", "b", "c")
		r.cut()
		r.publish("queued", 1)
		r.connect(&connack)
		equal(t, "SUBSCRIBE", []string{describe(t, r.take()[:2])}, []string{"SUBSCRIBE 1, SUBSCRIBE 2"})
		r.e.WriteDone(r.now)
		r.suback(wire.TypeSuback, 1, 0, 0x87)
		r.suback(wire.TypeSuback, 2, 1)
		ev := r.event(EventResubscribed)
		equal(t, "restored", ev.Restored, []string{"a", "c"})
		if len(ev.Refused) != 1 || ev.Refused[0].Filter != "b" || ev.Refused[0].Code != 0x87 || ev.Err != nil {
			t.Errorf("event %+v", ev)
		}
		r.cut()
		r.connect(&connack)
		var again []string
		for _, f := range r.flush() {
			if f.Type == wire.TypeSubscribe {
				again = append(again, string(f.Body))
			}
		}
		if len(again) != 1 || strings.Contains(again[0], "b") { // what was refused is dropped
			t.Errorf("subscribes again with %q", again)
		}
	})
	t.Run("are restored when the session is lost only", func(t *testing.T) {
		r := subscribed(t, restoring(), "a")
		r.cut()
		r.connect(&resumed)
		equal(t, "SUBSCRIBE", r.subscribes(), nil)
	})
	t.Run("stay owed over a connection that resumes the empty session", func(t *testing.T) {
		r := subscribed(t, restoring(), "a")
		r.cut()
		r.connect(&connack)
		r.take()
		r.cut()
		if ev := r.event(EventResubscribed); ev.Err != ErrConnectionLost {
			t.Errorf("event %+v", ev)
		}
		r.connect(&resumed)
		equal(t, "SUBSCRIBE", r.subscribes(), []string{"a"})
		r.answer(0)
		equal(t, "restored", r.event(EventResubscribed).Restored, []string{"a"})
		r.cut()
		r.connect(&resumed)
		equal(t, "SUBSCRIBE", r.subscribes(), nil)
	})
	t.Run("are reported when a part was sent, and the connection is lost", func(t *testing.T) {
		cfg := restoring()
		cfg.MaxFilters = 1
		long := strings.Repeat("f", 40<<10)
		r := subscribed(t, cfg, long+"a", long+"b", long+"c")
		r.cut()
		r.connect(&connack)
		equal(t, "SUBSCRIBE", []string{describe(t, r.take())}, []string{"SUBSCRIBE 1, SUBSCRIBE 2"}) // a write has no room for the third
		r.suback(wire.TypeSuback, 1, 0)
		r.suback(wire.TypeSuback, 2, 0)
		r.cut()
		ev := r.event(EventResubscribed)
		if equal(t, "restored", ev.Restored, []string{long + "a", long + "b"}); ev.Err != ErrConnectionLost {
			t.Errorf("event %+v", ev)
		}
		r.connect(&resumed)
		equal(t, "SUBSCRIBE", r.subscribes(), []string{long + "c"})
		r.answer(0)
		equal(t, "restored", r.event(EventResubscribed).Restored, []string{long + "c"})
	})
	t.Run("are asked for again when there is no answer", func(t *testing.T) {
		r := subscribed(t, restoring(), "a")
		r.cut()
		r.connect(&connack)
		equal(t, "SUBSCRIBE", r.subscribes(), []string{"a"})
		r.pass(5 * time.Second)
		if ev := r.event(EventResubscribed); ev.Err != ErrAckTimeout || ev.Restored != nil {
			t.Errorf("event %+v", ev)
		}
		r.pass(time.Minute)
		equal(t, "SUBSCRIBE", r.subscribes(), []string{"a"})
		r.answer(0) // the late answer to the first one
		r.answer(0)
		r.pass(time.Minute)
		equal(t, "SUBSCRIBE", r.subscribes(), nil)
	})
	t.Run("follow the acknowledgements", func(t *testing.T) {
		r := newRig(t, restoring())
		r.connect(&connack)
		r.subscribe("a")
		r.flush()
		unsubscribe := &Operation{Kind: KindUnsubscribe, Unsubscribe: &wire.Unsubscribe{TopicFilters: []string{"a"}}}
		r.submit(unsubscribe)
		r.flush()
		both := wiretest.AppendSubscribeAck(nil, wire.TypeSuback, &wire.SubscribeAck{PacketID: 1, ReasonCodes: []wire.ReasonCode{0}})
		both = wiretest.AppendSubscribeAck(both, wire.TypeUnsuback, &wire.SubscribeAck{PacketID: 2, ReasonCodes: []wire.ReasonCode{0}})
		r.receive(both)
		r.cut()
		r.connect(&connack)
		equal(t, "SUBSCRIBE", r.subscribes(), nil)
	})
	t.Run("are kept when an UNSUBSCRIBE fails or is not sent", func(t *testing.T) {
		r := subscribed(t, restoring(), "a", "b")
		r.submit(&Operation{Kind: KindUnsubscribe, Unsubscribe: &wire.Unsubscribe{TopicFilters: []string{"a"}}})
		r.flush()
		r.suback(wire.TypeUnsuback, 3, 0x87)
		op := r.submit(&Operation{Kind: KindUnsubscribe, Unsubscribe: &wire.Unsubscribe{TopicFilters: []string{"b"}}})
		r.e.Cancel(r.now, op, errCancelled)
		r.cut()
		r.connect(&connack)
		equal(t, "SUBSCRIBE", r.subscribes(), []string{"ab"})
	})
	t.Run("are forgotten when an owed one is unsubscribed", func(t *testing.T) {
		r := subscribed(t, restoring(), "a")
		r.cut()
		r.submit(&Operation{Kind: KindUnsubscribe, Unsubscribe: &wire.Unsubscribe{TopicFilters: []string{"a"}}})
		r.connect(&connack)
		r.flush()
		r.suback(wire.TypeSuback, 1, 0)
		r.suback(wire.TypeUnsuback, 2, 0)
		r.cut()
		r.connect(&connack)
		equal(t, "SUBSCRIBE", r.subscribes(), nil)
	})
	t.Run("keep their options, and share packets only with equal ones", func(t *testing.T) {
		r := newRig(t, restoring())
		r.connect(&connack)
		id := uint32(7)
		r.submit(&Operation{Kind: KindSubscribe, Subscribe: &wire.Subscribe{SubscriptionID: &id,
			Subscriptions: []wire.Subscription{{TopicFilter: "a", QoS: 1, NoLocal: true}}}})
		r.subscribe("b")
		r.flush()
		r.suback(wire.TypeSuback, 1, 1)
		r.suback(wire.TypeSuback, 2, 0)
		r.cut()
		r.connect(&connack)
		packets := r.flush()
		var p wire.Subscribe
		if len(packets) != 2 || wiretest.ParseSubscribe(&packets[0], &p) != nil || *p.SubscriptionID != 7 || !p.Subscriptions[0].NoLocal || p.Subscriptions[0].QoS != 1 {
			t.Errorf("%d packets, the first is %+v", len(packets), p)
		}
	})
	t.Run("that the server cannot have are refused without it", func(t *testing.T) {
		r := subscribed(t, restoring(), "a/#", "b")
		r.cut()
		ack := connack
		ack.WildcardSubscriptionsAvailable = ptr(false)
		r.connect(&ack)
		equal(t, "SUBSCRIBE", r.subscribes(), []string{"b"})
		r.answer(0)
		ev := r.event(EventResubscribed)
		if len(ev.Refused) != 1 || ev.Refused[0].Filter != "a/#" || ev.Refused[0].Err == nil {
			t.Errorf("event %+v", ev)
		}
	})
	t.Run("are counted as lost if they are not to be restored", func(t *testing.T) {
		r := subscribed(t, &Config{}, "a", "b")
		r.cut()
		r.connect(&connack)
		if ev := r.event(EventSucceeded); ev.Lost != 2 {
			t.Errorf("event %+v", ev)
		}
		equal(t, "SUBSCRIBE", r.subscribes(), nil)
		r.cut()
		r.connect(&connack)
		if ev := r.event(EventSucceeded); ev.Lost != 0 {
			t.Errorf("event %+v", ev)
		}
	})
}
