// SPDX-License-Identifier: Apache-2.0

package events_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/events"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func message(topic, payload string) mqtt5.Message {
	return mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Topic: topic, Payload: []byte(payload)}}
}

func TestParsePresence(t *testing.T) {
	at := time.UnixMilli(1573002230757).UTC()
	for topic, tt := range map[string]struct {
		payload string
		want    events.Presence
	}{
		"$aws/events/presence/connected/site/1": {
			`{"clientId":"site/1","thingName":"t","timestamp":1573002230757,"eventType":"connected","sessionIdentifier":"s","principalIdentifier":"p","ipAddress":"192.0.2.0","versionNumber":3}`,
			events.Presence{Type: events.Connected, ClientID: "site/1", ThingName: "t", Time: at, SessionID: "s", PrincipalID: "p", IPAddress: "192.0.2.0", Version: 3},
		},
		"$aws/events/presence/disconnected/a": {
			`{"clientId":"a","timestamp":1573002230757,"eventType":"disconnected","sessionIdentifier":"s","clientInitiatedDisconnect":true,"disconnectReason":"CLIENT_INITIATED_DISCONNECT","versionNumber":0}`,
			events.Presence{Type: events.Disconnected, ClientID: "a", Time: at, SessionID: "s", Reason: events.ClientInitiated},
		},
		"$aws/events/presence/connect_failed/a": {
			`{"timestamp":1573002230757,"connectFailureReason":"AUTHORIZATION_FAILED","ipAddress":"192.0.2.0"}`,
			events.Presence{Type: events.ConnectFailed, ClientID: "a", Time: at, IPAddress: "192.0.2.0", FailureReason: "AUTHORIZATION_FAILED"},
		},
	} {
		got, err := events.ParsePresence(message(topic, tt.payload))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&tt.want, got); d != "" {
			t.Error(d)
		}
	}
	if p, err := events.ParsePresence(message("$aws/events/presence/connected/a", `{"timestamp":null}`)); err != nil || !p.Time.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	for topic, payload := range map[string]string{
		"$aws/events/subscriptions/subscribed/a": `{}`, "$aws/events/presence/connected": `{}`, "$aws/events/presence//a": `{}`,
		"$aws/events/presence/connected/a": `[]`, "$aws/events/presence/connected/b": `{"timestamp":1e300}`,
		"$aws/events/presence/connected/e": `{"timestamp":-1e300}`, "$aws/events/presence/": `{}`,
		"$aws/events/presence/connected/c": `null`, "$aws/events/presence/connected/d": `{"versionNumber":1e99}`,
	} {
		if _, err := events.ParsePresence(message(topic, payload)); !errors.Is(err, events.ErrInvalidEvent) {
			t.Errorf("%s %s: %v", topic, payload, err)
		}
	}
}

func TestParseOthers(t *testing.T) {
	s, err := events.ParseSubscription(message("$aws/events/subscriptions/subscribed/a", `{"clientId":"a","timestamp":1,"topics":["x","y/#"]}`))
	if err != nil || s.Type != events.Subscribed || len(s.TopicFilters) != 2 || s.ClientID != "a" {
		t.Errorf("%+v, %v", s, err)
	}
	c, err := events.ParseCommandExecution(message("$aws/events/commandExecution/blink/SUCCEEDED",
		`{"executionId":"x","status":"SUCCEEDED","statusReason":{"reasonCode":"C","reasonDescription":"d"},"eventType":"COMMAND_EXECUTION","commandArn":"c","targetArn":"t","timestamp":1000}`))
	want := &events.CommandExecution{
		CommandID: "blink", ExecutionID: "x", Status: "SUCCEEDED", ReasonCode: "C", ReasonDescription: "d", CommandARN: "c", TargetARN: "t", Time: time.Unix(1, 0).UTC(),
	}
	if d := cmp.Diff(want, c); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := events.ParseCommandExecution(message("$aws/events/x", "{}")); !errors.Is(err, events.ErrInvalidEvent) {
		t.Error(err)
	}
	if _, err := events.ParseSubscription(message("$aws/events/subscriptions/subscribed/a", "x")); !errors.Is(err, events.ErrInvalidEvent) {
		t.Error(err)
	}
}

func TestFilters(t *testing.T) {
	for want, f := range map[string]func() (string, error){
		"$aws/events/presence/+/#":                     func() (string, error) { return events.PresenceFilter(events.All, events.All) },
		"$aws/events/presence/connected/site/1":        func() (string, error) { return events.PresenceFilter(events.Connected, "site/1") },
		"$aws/events/subscriptions/unsubscribed/a":     func() (string, error) { return events.SubscriptionFilter(events.Unsubscribed, "a") },
		"$aws/events/commandExecution/blink/SUCCEEDED": func() (string, error) { return events.CommandFilter("blink", "SUCCEEDED") },
	} {
		if got, err := f(); err != nil || got != want {
			t.Errorf("%s, %v", got, err)
		}
	}
	for _, f := range []func() (string, error){
		func() (string, error) { return events.PresenceFilter(events.Connected, "a+b") },
		func() (string, error) { return events.PresenceFilter(events.Connected, "") },
		func() (string, error) { return events.PresenceFilter("a/b", "x") },
		func() (string, error) { return events.CommandFilter("a/b", events.All) },
	} {
		if got, err := f(); !errors.Is(err, events.ErrInvalidArgument) {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// TestTracker gives the events of two connections in every order, and twice. The
// state at the end is the same.
func TestTracker(t *testing.T) {
	begin := time.Unix(1787600000, 0)
	history := []*events.Presence{
		{Type: events.Connected, ClientID: "a", SessionID: "1", Version: 7, Time: begin},
		{Type: events.Disconnected, ClientID: "a", SessionID: "1", Version: 7, Time: begin.Add(time.Second)},
		{Type: events.Connected, ClientID: "a", SessionID: "2", Version: 9, Time: begin.Add(-time.Minute)}, // clocks differ
		{Type: events.Disconnected, ClientID: "a", SessionID: "2", Version: 9, Time: begin.Add(time.Second)},
	}
	var orders func(prefix, rest []int)
	count := 0
	orders = func(prefix, rest []int) {
		if len(rest) > 0 {
			for i := range rest {
				orders(append(prefix[:len(prefix):len(prefix)], rest[i]), append(append([]int{}, rest[:i]...), rest[i+1:]...))
			}
			return
		}
		count++
		var tr events.Tracker
		for _, i := range append(prefix[:len(prefix):len(prefix)], prefix...) {
			tr.Update(history[i])
		}
		if last, known := tr.Last("a"); !known || last.Type != events.Disconnected || last.SessionID != "2" {
			t.Errorf("order %v ends with %+v", prefix, last)
		}
	}
	orders(nil, []int{0, 1, 2, 3})
	if count != 24 {
		t.Errorf("%d orders", count)
	}

	var tr events.Tracker
	for i, want := range []bool{true, true, true, true} {
		if got := tr.Update(history[i]); got != want {
			t.Errorf("event %d: %v", i, got)
		}
		if tr.Update(history[i]) {
			t.Errorf("event %d changes something again", i)
		}
	}
	// After an hour the versions start over.
	if !tr.Update(&events.Presence{Type: events.Connected, ClientID: "a", SessionID: "3", Version: 0, Time: begin.Add(2 * time.Hour)}) {
		t.Error("a new count is not recognised")
	}
	if tr.Update(&events.Presence{Type: events.ConnectFailed, ClientID: "a", Version: 99}) {
		t.Error("a failure to connect changes the presence")
	}
	tr.Forget("a")
	if _, known := tr.Last("a"); known {
		t.Error("not forgotten")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$aws/events/presence/connected/a", []byte(`{"clientId":"a","timestamp":1}`))
	f.Add("$aws/events/subscriptions/subscribed/a", []byte(`{"topics":[null]}`))
	f.Add("$aws/events/commandExecution/a/b", []byte(`{"statusReason":null}`))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		m := message(topic, string(payload))
		p, err := events.ParsePresence(m)
		_, err2 := events.ParseSubscription(m)
		_, err3 := events.ParseCommandExecution(m)
		for _, err := range []error{err, err2, err3} {
			if err != nil && !errors.Is(err, events.ErrInvalidEvent) {
				t.Error(err)
			}
		}
		if err == nil {
			new(events.Tracker).Update(p)
		}
	})
}

func ExampleTracker() {
	var tracker events.Tracker
	handle := func(m mqtt5.Message) {
		p, err := events.ParsePresence(m)
		if err == nil && tracker.Update(p) {
			fmt.Printf("%s %s %q\n", p.ClientID, p.Type, p.Reason)
		}
	}
	on := message("$aws/events/presence/connected/a", `{"clientId":"a","sessionIdentifier":"s"}`)
	off := message("$aws/events/presence/disconnected/a", `{"clientId":"a","sessionIdentifier":"s","disconnectReason":"CONNECTION_LOST"}`)
	for _, m := range []mqtt5.Message{on, off, on} { // the last one comes again
		handle(m)
	}
	// Output:
	// a connected ""
	// a disconnected "CONNECTION_LOST"
}
