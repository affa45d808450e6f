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

func TestClock_alarms(t *testing.T) {
	c := Start(t)
	var ran []string
	c.mu.Lock()
	now := c.nowLocked()
	for name, d := range map[string]time.Duration{"c": 3 * time.Hour, "a": time.Hour, "b": 2 * time.Hour, "far": 24 * time.Hour} {
		c.alarmAt(now.Add(d), func() { ran = append(ran, name) })
	}
	stopped := c.alarmIn(time.Hour, func() { ran = append(ran, "stopped") })
	c.cancelAlarm(stopped)
	c.cancelAlarm(stopped)
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
	c.alarmIn(time.Hour, func() {})
	c.alarmIn(time.Millisecond, func() { close(done) })
	c.mu.Unlock()
	<-done
}
