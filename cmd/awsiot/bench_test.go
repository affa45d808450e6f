// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// measure runs bench and returns its line of JSON.
func measure(t *testing.T, args ...string) (result map[string]any, status int) {
	t.Helper()
	stdout, stderr, status := runWith(t, os.Environ(), "", append([]string{"bench"}, args...)...)
	if strings.Count(stdout, "\n") != 1 {
		t.Fatalf("want one line\n%s\n%s", stdout, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	return result, status
}

// testServer is a core without TLS that answers the subscriptions that stand for
// messages, as a server for load tests does.
func testServer(t *testing.T) []string {
	t.Helper()
	source := regexp.MustCompile(`^source/([01])/(\d+)/(\d+)/[\w-]+$`)
	var core *iottest.Core
	ready := make(chan struct{})
	core = iottest.Start(t, func(o *iottest.Options) {
		o.PlainTCP = true
		o.OnEvent = func(e iottest.Event) {
			part := source.FindStringSubmatch(e.Filter)
			if e.Type != iottest.Subscribed || part == nil {
				return
			}
			<-ready
			size, _ := strconv.Atoi(part[2])
			n, _ := strconv.Atoi(part[3])
			for range n {
				if err := core.Publish(iottest.Message{Topic: e.Filter, Payload: make([]byte, size), QoS: part[1][0] - '0'}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	close(ready)
	return []string{"-host", "127.0.0.1", "-port", strconv.Itoa(core.TCPPort())}
}

// TestBench_workloads checks the fields of the results that tables are made of.
func TestBench_workloads(t *testing.T) {
	about := []string{"client", "version", "variant", "workload", "qos", "size", "window", "n", "tls"}
	work := []string{"secs", "msgs_per_s", "cpu_user_s", "cpu_s_per_million", "allocs_per_msg", "alloc_bytes_per_msg"}
	times := []string{"p50_us", "p90_us", "p99_us", "p999_us", "max_us"}
	memory := []string{"clients", "secs", "rss_base_kb", "rss_kb", "rss_per_client_kb", "rss_trimmed_kb", "rss_trimmed_per_client_kb", "threads", "goroutines"}
	server := testServer(t)
	for _, tt := range []struct {
		args   string
		n      float64
		fields [][]string
	}{
		{"-workload pub -qos 0 -size 16 -n 5000 -warmup 100", 5000, [][]string{about, work, times}},
		{"-workload pub -qos 1 -size 16 -n 500 -warmup 50 -window 10", 500, [][]string{about, work, times}},
		{"-workload pub -n 100 -warmup 0 -window 1", 100, [][]string{about, work, times}},
		{"-workload pub -qos 1 -n 500 -publishers 8 -clients 3", 500, [][]string{about, work, times, {"publishers", "clients"}}},
		{"-workload pub -qos 0:3,1:1 -size 0,16,100-200 -n 500", 500, [][]string{about, work, times}},
		{"-workload recv -qos 0 -size 16 -n 500 -warmup 50", 500, [][]string{about, work}},
		{"-workload recv -qos 1 -size 16 -n 500 -warmup 50 -receive-max 20 -variant borrowed", 500, [][]string{about, work}},
		{"-workload recv -qos 1 -size 16 -n 500 -warmup 0 -clients 2", 500, [][]string{about, work, {"clients"}}},
		{"-workload rtt -qos 1 -n 20 -warmup 5", 20, [][]string{about, work, times}},
		{"-workload echo -qos 0 -n 20 -warmup 5", 20, [][]string{about, work, times}},
		{"-workload echo -qos 1 -topic mine -clients 2 -n 20", 20, [][]string{about, work, times}},
		{"-workload connect -n 5 -warmup 1", 5, [][]string{about, work, times}},
		{"-workload connect -n 1 -warmup 0", 1, [][]string{about, work, times}},
		{"-workload idle -clients 20 -dialers 4 -hold 1ms", 0, [][]string{about, memory}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			result, status := measure(t, append(strings.Fields(tt.args), server...)...)
			if status != 0 || result["error"] != nil {
				t.Fatalf("exit status %d, %v", status, result)
			}
			if tt.n > 0 && result["n"] != tt.n {
				t.Errorf("%v messages, want %v", result["n"], tt.n)
			}
			for _, f := range slices.Concat(tt.fields...) {
				if _, ok := result[f]; !ok && !unknown(f) {
					t.Errorf("no %s in %v", f, result)
				}
			}
		})
	}
}

// unknown reports whether a field may be absent: where there is no /proc, and if
// so little CPU time was used that the system's clock shows none.
func unknown(field string) bool {
	if field == "cpu_user_s" || field == "cpu_s_per_million" {
		return true
	}
	_, err := os.Stat("/proc/self/status")
	return err != nil && (strings.HasPrefix(field, "rss_") || field == "threads")
}

func TestBench_failure(t *testing.T) {
	result, status := measure(t, "-host", "127.0.0.1", "-port", "1")
	if text, _ := result["error"].(string); status != 1 || !strings.Contains(text, "refused") {
		t.Errorf("exit status %d, %v", status, result)
	}
	// Larger than the server takes: each publish fails.
	result, status = measure(t, append(testServer(t), "-workload", "pub", "-n", "10", "-warmup", "0", "-size", "200000")...)
	if text, _ := result["error"].(string); status != 1 || !strings.Contains(text, "10 operations failed") || result["failed"] != 10.0 {
		t.Errorf("exit status %d, %v", status, result)
	}
}

func TestBench_methods(t *testing.T) {
	core := iottest.Start(t)
	for name, args := range methods(t, core) {
		if name == "pkcs12" || name == "broker" {
			continue // as the certificate, and as the tests above
		}
		t.Run(name, func(t *testing.T) {
			result, status := measure(t, append([]string{"-unlimited", "-clients", "3", "-n", "300", "-json"}, args...)...)
			if status != 0 || result["error"] != nil || result["n"] != 300.0 || result["received"] != 300.0 || result["tls"] != true {
				t.Errorf("exit status %d, %v", status, result)
			}
		})
	}
}

// Without a server there is one inside the program, and a summary for people.
func TestBench_ownServer(t *testing.T) {
	out, errs, status := run(t, "", "bench", "-n", "300")
	if status != 0 || !strings.Contains(errs, "measuring with an embedded AWS IoT Core") {
		t.Errorf("exit status %d, %q", status, errs)
	}
	for _, want := range []string{`flow +300 messages in`, `QoS 1, 256 bytes, 1 client, PublishAsync`, `received +300`, `latency +p50 \S+, p90`,
		`CPU .* of client and server`, `errors +0`, `lost +0`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the output lacks %s:\n%s", want, out)
		}
	}
}

func TestBench_mistakes(t *testing.T) {
	for args, want := range map[string]string{
		"-workload sleep":             `unknown -workload "sleep"`,
		"-workload recv":              "needs a server to which others publish",
		"-host a.invalid -endpoint b": "exclude each other",
		"-tls":                        "-tls goes with -host",
		"-window 0":                   "-window 0 is not between",
		"-rate -1":                    "cannot be negative",
		"-keep-alive 1ms":             "-keep-alive 1ms is not between",
		"-host a.invalid -workload recv -qos 0:1,1:1": "knows one -qos",
	} {
		_, errs, status := run(t, "", append([]string{"bench"}, strings.Fields(args)...)...)
		if status != 2 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit status %d, %q; want %q", args, status, errs, want)
		}
	}
	_, errs, status := run(t, "", strings.Fields("bench -host 127.0.0.1 -port 1 -topic a -clients 3 -dialers 1 -json=false")...)
	if status != 1 || !regexp.MustCompile(`client 0: .*refused`).MatchString(errs) {
		t.Errorf("exit status %d, %q", status, errs)
	}
}

// TestBench_duration ends runs that have no other end.
func TestBench_duration(t *testing.T) {
	server := testServer(t)
	for _, args := range []string{
		"-qos 0", "-qos 1 -publishers 4", "-workload pub -clients 2 -rate 200", "-workload echo", "-workload connect", "-workload recv -topic nothing",
	} {
		t.Run(args, func(t *testing.T) {
			result, status := measure(t, append(strings.Fields(args+" -warmup 0 -duration 100ms"), server...)...)
			if status != 0 || result["error"] != nil || result["failed"] != nil {
				t.Errorf("exit status %d, %v", status, result)
			}
		})
	}
}

// TestBench_cutAndInterrupt goes on after a lost connection, until Ctrl-C.
func TestBench_cutAndInterrupt(t *testing.T) {
	core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
	cmd := command(t, "bench", "-host", "127.0.0.1", "-port", strconv.Itoa(core.TCPPort()), "-json=false", "-topic", "cut",
		"-n", "0", "-clients", "2", "-report", "10ms", "-cpuprofile", filepath.Join(t.TempDir(), "cpu"))
	var stdout strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	events := bufio.NewScanner(stderr)
	until := func(pattern string) {
		t.Helper()
		for re := regexp.MustCompile(pattern); events.Scan(); {
			if re.MatchString(events.Text()) {
				return
			}
		}
		t.Fatalf("no line with %s", pattern)
	}
	until(`[1-9]\d* done, .*, 0 errors, 0 connections lost`)
	core.CutAll()
	until(`, 0 errors, 2 connections lost`)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for events.Scan() { // to its end, so that the program does not wait for us
	}
	if err := cmd.Wait(); err != nil || !regexp.MustCompile(`flow +[1-9]\d* messages in(?s:.*)errors +0\nlost +2 connections`).MatchString(stdout.String()) {
		t.Errorf("%v\n%s", err, stdout.String())
	}
}

// TestBench_fullMix publishes the mix that was asked for.
func TestBench_fullMix(t *testing.T) {
	core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
	result, status := measure(t, "-host", "127.0.0.1", "-port", strconv.Itoa(core.TCPPort()), "-workload", "pub", "-topic", "mix",
		"-qos", "0:1,1:3", "-size", "3,5", "-n", "80", "-warmup", "0", "-message", "xy")
	if status != 0 {
		t.Fatalf("exit status %d, %v", status, result)
	}
	got := map[string]int{}
	for _, e := range core.Events() {
		if e.Type == iottest.Published && e.Message.Topic == "mix/0" {
			got[strconv.Itoa(int(e.Message.QoS))+" "+string(e.Message.Payload)]++
		}
	}
	for message, want := range map[string]int{"0 xyx": 10, "1 xyx": 30, "0 xyxyx": 10, "1 xyxyx": 30} {
		if got[message] != want {
			t.Errorf("%d messages %q, want %d", got[message], message, want)
		}
	}
}
