// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventLog_keepsTheNewest(t *testing.T) {
	var l eventLog
	l.init(4, 1<<20)
	for i := range 11 {
		l.add(Event{Conn: int64(i)})
	}
	events, next, _ := l.since(0)
	got := ""
	for _, e := range events {
		got += fmt.Sprint(e.Conn, " ")
	}
	if got != "7 8 9 10 " || next != 11 {
		t.Errorf("kept %q, next %d", got, next)
	}
	if events, _, _ := l.since(9); len(events) != 2 || events[0].Conn != 9 {
		t.Errorf("since 9: %v", events)
	}
}

func TestEventLog_boundedInBytes(t *testing.T) {
	var l eventLog
	l.init(1000, 10_000)
	for i := range 500 {
		l.add(Event{Conn: int64(i), Message: &Message{Payload: make([]byte, 1000)}})
		if l.bytes > 10_000 || len(l.events) > 200 {
			t.Fatalf("after %d events: %d bytes, %d slots", i, l.bytes, len(l.events))
		}
	}
	l.add(Event{Conn: 500, Message: &Message{Payload: make([]byte, 1<<20)}})
	if events, next, _ := l.since(0); len(events) != 1 || events[0].Conn != 500 || next != 501 {
		t.Errorf("one large event: kept %d, next %d", len(events), next)
	}
}

// A handler of events that is far behind loses some, and learns how many.
func TestTaskQueue_dropsEvents(t *testing.T) {
	var q taskQueue
	var wg sync.WaitGroup
	q.init()
	q.start(&wg)
	gate := make(chan struct{})
	seen, dropped := 0, 0
	handle := func(e Event) {
		<-gate
		if e.Type == EventsDropped {
			dropped += e.Count
		} else {
			seen++
		}
	}
	for range 100 {
		q.event(Event{Message: &Message{Payload: make([]byte, 1<<20)}}, handle)
	}
	close(gate)
	q.close()
	wg.Wait()
	if dropped == 0 || seen+dropped != 100 || seen > maxTaskBytes>>20 {
		t.Errorf("%d seen, %d dropped", seen, dropped)
	}
}

// A write that does not move at all fails.
func TestFaultConn_writeDeadline(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	f := newFaultConn(a, 1)
	defer f.Close()
	f.within.Store(int64(time.Millisecond))
	if n, err := f.Write(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d, %v", n, err)
	}
}

// A packet may take as long as it wants, as long as bytes arrive.
func TestLifeReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		cl := &client{nc: near, keepAlive: 10}
		_ = near.SetReadDeadline(time.Now().Add(cl.patience()))
		go func() {
			for range 5 {
				time.Sleep(14 * time.Second)
				_, _ = far.Write([]byte{0})
			}
		}()
		if _, err := io.ReadFull(lifeReader{cl}, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err := lifeReader{cl}.Read(make([]byte, 1))
		if d := time.Since(start); d != 15*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v after %v", err, d)
		}
	})
}

func TestBucket(t *testing.T) {
	now := time.Unix(0, 0)
	b := newBucket(2, now)
	if !b.take(now, 2) || b.take(now, 1) || !b.take(now.Add(time.Second/2), 1) || b.take(now.Add(time.Second/2), 1) {
		t.Error("take")
	}
	if !b.take(now.Add(time.Hour), 2) || b.take(now.Add(time.Hour), 1) {
		t.Error("the burst is one second's worth")
	}
	if d := b.owe(now.Add(time.Hour), 4); d != 2*time.Second {
		t.Errorf("owe: %v", d)
	}
	if b := newBucket(0, now); b != nil || !b.take(now, 1000) || b.owe(now, 1000) != 0 {
		t.Error("no rate is no limit")
	}
}

func TestMatches(t *testing.T) {
	for _, tc := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a", "a/b", false}, {"a/+", "a/b", true}, {"a/+", "a", false},
		{"a/+", "a/", true}, {"a/+", "a/b/c", false}, {"a/#", "a/b/c", true}, {"a/#", "a/", true}, {"a/#", "a", false},
		{"#", "a/b", true}, {"#", "$aws/x", false}, {"+/x", "$aws/x", false}, {"$aws/#", "$aws/x", true},
		{"+", "a", true}, {"+/+", "/a", true}, {"+", "/a", false}, {"/+", "/a", true}, {"a/+/c", "a//c", true},
	} {
		if got := matches(tc.filter, tc.topic); got != tc.want {
			t.Errorf("matches(%q, %q) is %t", tc.filter, tc.topic, got)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tc := range []struct {
		pattern, value string
		want           bool
	}{
		{"*", "", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"*a*b*", "xaxxbx", true}, {"*a*b", "ba", false}, {"é?", "éü", true}, {"", "x", false},
	} {
		if got := glob(tc.pattern, tc.value); got != tc.want {
			t.Errorf("glob(%q, %q) is %t", tc.pattern, tc.value, got)
		}
	}
}

func TestWriteFiles(t *testing.T) {
	c := Start(t)
	d := c.Device(t, "a/b")
	f, err := d.WriteFiles(t.TempDir() + "/new")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{f.Cert: d.CertPEM(), f.Key: d.KeyPEM(), f.CA: c.CAPEM()} {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if st, err := os.Stat(f.Key); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("key file %v, %v", st, err)
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	key := AccessKey{AccessKeyID: "id", SecretAccessKey: "hush", SessionToken: "hush"}
	info := ClientInfo{Password: Secret("hush")}
	for _, s := range []string{fmt.Sprint(key), fmt.Sprintf("%+v %#v", &key, key), fmt.Sprintf("%+v %#v %s", info, info, info.Password)} {
		if strings.Contains(s, "hush") || strings.Contains(s, fmt.Sprint([]byte("hush"))) {
			t.Errorf("shows a secret: %s", s)
		}
	}
}

// Close leaves no goroutine behind.
func TestClose_endsGoroutines(t *testing.T) {
	ours := func() string {
		buf := make([]byte, 1<<20)
		var left []string
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "iottest.(*") && !strings.Contains(g, "TestClose_endsGoroutines") {
				left = append(left, g)
			}
		}
		return strings.Join(left, "\n\n")
	}
	c, err := New(Options{PlainTCP: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{c.Addr(), c.MTLSAddr(), c.TCPAddr()} {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ { // goroutines of net/http end a moment after
		left := ours()
		if left == "" {
			return
		}
		if i == 1000 {
			t.Fatalf("left behind:\n%s", left)
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

func FuzzReadPacket(f *testing.F) {
	for _, s := range []string{"\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04name", "\x82\x04\x00\x01\x00\x00", "\x30\x05\x00\x01t\x00x", "\xE0\x01\x04", "\xF0\x02\x18\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, version := range []byte{4, 5} {
			r := bufio.NewReader(bytes.NewReader(b))
			for {
				if _, _, err := readPacket(r, version, 1<<16); err != nil {
					break
				}
			}
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add(AllowAllPolicy, "arn:aws:iot:r:1:topic/a")
	f.Add(`{"Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*${iot:ClientId}*?","Condition":{"Bool":{"x":true}}}}`, "a")
	f.Fuzz(func(t *testing.T, doc, resource string) {
		p, err := ParsePolicy(doc)
		if err != nil {
			return
		}
		allowed([]*Policy{p}, "iot:Publish", resource, policyContext{"iot:ClientId": {"id"}})
	})
}
