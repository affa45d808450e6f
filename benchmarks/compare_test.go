// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startSink runs the server inside the test.
func startSink(t *testing.T) (a addresses, ca string) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, w) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if err := json.NewDecoder(r).Decode(&a); err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(a.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	return a, ca
}

// Every row works with every client: at a size that says nothing of speed.
func TestRows(t *testing.T) {
	a, ca := startSink(t)
	for _, r := range rows {
		for _, p := range r.peers {
			t.Run(r.name+"/"+p, func(t *testing.T) {
				r.run.Peer, r.run.Addr = p, a.address(r.over)
				r.run.N, r.run.Warmup, r.run.Hold = 200, 20, time.Millisecond
				r.run.Clients = min(r.run.Clients, 20)
				if r.over != overTCP {
					r.run.CA = ca
				}
				res, err := r.run.measure()
				if err != nil {
					t.Fatal(err)
				}
				switch r.table {
				case "idle":
					if res.Gorout == 0 || res.Connected != r.run.Clients {
						t.Errorf("result %+v", res)
					}
				case "storm":
					if res.Recovery <= 0 || res.Connected != r.run.Clients {
						t.Errorf("result %+v", res)
					}
				default:
					if res.Rate <= 0 {
						t.Errorf("result %+v", res)
					}
				}
			})
		}
	}
}

func TestRun_mistakes(t *testing.T) {
	a, _ := startSink(t)
	for name, r := range map[string]run{
		"peer":     {Peer: "nobody", Workload: "pub", Addr: a.TCP},
		"workload": {Peer: "ours", Workload: "nothing", Addr: a.TCP},
		"CA":       {Peer: "ours", Workload: "pub", Addr: a.TCP, CA: "missing"},
		"server":   {Peer: "limit", Workload: "pub", Addr: "127.0.0.1:1", N: 1},
		"no TLS":   {Peer: "websocket", Workload: "idle", Addr: a.Websocket, Clients: 1},
		"storm":    {Peer: "paho", Workload: "storm", Addr: a.TCP, Clients: 1},
	} {
		if _, err := r.measure(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r := run{Peer: "ours", Workload: "nothing"}
	if _, err := r.measure(); !errors.Is(err, errWorkload) {
		t.Errorf("got %v", err)
	}
}

func TestFigure(t *testing.T) {
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{{0, 3, "0"}, {0.03456, 3, "0.0346"}, {1.999, 2, "2.0"}, {12345678, 3, "12,300,000"}, {999.6, 3, "1,000"}, {10003, 6, "10,003"}} {
		if got := figure(c.v, c.digits); got != c.want {
			t.Errorf("figure(%v, %d) = %s, want %s", c.v, c.digits, got, c.want)
		}
	}
	if got := ratio(0.0625); got != "1/16" {
		t.Errorf("ratio %s", got)
	}
}

func TestReplaceBetween(t *testing.T) {
	doc := []byte("head\n<!-- a -->\nold\n<!-- end of a -->\ntail\n")
	got, err := replaceBetween(doc, "a", "new\n")
	if want := "head\n<!-- a -->\n\nnew\n\n<!-- end of a -->\ntail\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := replaceBetween(doc, "b", ""); err == nil {
		t.Error("no error without markers")
	}
}

// The document has a place for every table.
func TestDocumentHasMarkers(t *testing.T) {
	doc, err := os.ReadFile("../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"machine", "profiles", "cold", "go benchmarks"}
	for name := range tableColumns {
		names = append(names, name)
	}
	for _, name := range names {
		if _, err := replaceBetween(doc, name, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestTables(t *testing.T) {
	c := &comparison{results: map[string]map[string][]*result{"x": {
		"ours":       {{CPU: 1}, {CPU: 3}, {CPU: 2}},
		"paho-tuned": {{CPU: 20}},
		"limit":      {{CPU: 0.5}},
	}}}
	var b strings.Builder
	c.render(&b, row{name: "x", title: "row", peers: []string{"ours"}, table: "messages"}, tableColumns["messages"])
	if want := "| row | ours | 2.00 | 0 | 0 | 0 | 100 % | 1/10 | 4.00 |\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
