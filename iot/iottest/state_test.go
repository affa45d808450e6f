// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestState_survives(t *testing.T) {
	dir := t.TempDir()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.put("things", "a", map[string]int{"n": 1})
	s.put("things", "b", "gone")
	s.remove("things", "b")
	s.put("other", "a", 7)
	if _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second core with the same folder: %v", err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openState(dir); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	got := map[string]string{}
	if err := s.load("things", func(key string, raw []byte) error { got[key] = string(raw); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["a"] != `{"n":1}` {
		t.Errorf("things after the restart: %v", got)
	}
	if err := s.load("other", func(_ string, raw []byte) error { return json.Unmarshal(raw, new(string)) }); err == nil || !strings.Contains(err.Error(), `other "a"`) {
		t.Errorf("a value of another type: %v", err)
	}
	if err := s.load("none", func(string, []byte) error { t.Error("a value"); return nil }); err != nil {
		t.Error(err)
	}
}

func TestClock_timers(t *testing.T) {
	c := Start(t)
	var ran []string
	c.mu.Lock()
	now := c.nowLocked()
	for name, d := range map[string]time.Duration{"c": 3 * time.Hour, "a": time.Hour, "b": 2 * time.Hour, "far": 24 * time.Hour} {
		c.at(now.Add(d), func() { ran = append(ran, name) })
	}
	stopped := c.after(time.Hour, func() { ran = append(ran, "stopped") })
	stopped.stop()
	stopped.stop()
	c.mu.Unlock()
	c.Advance(4 * time.Hour)
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Join(ran, " ") != "a b c" {
		t.Errorf("ran %v", ran)
	}
}

// A timer that nobody advances to runs when it is due.
func TestClock_wakes(t *testing.T) {
	c := Start(t)
	done := make(chan struct{})
	c.mu.Lock()
	c.after(time.Hour, func() {})
	c.after(time.Millisecond, func() { close(done) })
	c.mu.Unlock()
	<-done
}

func TestService_answersAndFaults(t *testing.T) {
	c := Start(t)
	n := 0
	c.addService(&deviceService{name: "echo", filters: []string{"$aws/echo/+"}, handle: func(r *serviceRequest) {
		n++
		c.answer("echo", &Message{Topic: r.msg.Topic + "/accepted", Payload: r.msg.Payload}, nil, nil)
	}})
	got := make(chan string, 10)
	defer c.Subscribe("$aws/echo/+/accepted", func(m *Message) { got <- string(m.Payload) })()
	ask := func(s string) {
		t.Helper()
		if err := c.Publish(Message{Topic: "$aws/echo/x", Payload: []byte(s)}); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if g := <-got; g != w {
				t.Errorf("got %q, want %q", g, w)
			}
		}
	}
	ask("1")
	expect("1")
	c.SetAnswerFaults(AnswerFaults{Drop: true, Times: 1})
	ask("lost")
	ask("2")
	expect("2")
	c.SetAnswerFaults(AnswerFaults{Duplicate: true, Times: 1})
	ask("3")
	expect("3", "3")
	c.SetAnswerFaults(AnswerFaults{Reorder: true, Times: 1})
	ask("4")
	ask("5")
	expect("5", "4")
	c.SetAnswerFaults(AnswerFaults{Delay: time.Hour, Times: 1})
	ask("6")
	ask("7")
	expect("7")
	c.Advance(time.Hour)
	expect("6")
	if n != 8 {
		t.Errorf("%d requests", n)
	}
}
