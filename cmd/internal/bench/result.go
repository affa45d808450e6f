// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
)

// result is what a run has measured, and its line of JSON. Fields that do not
// apply are absent.
type result struct {
	Client     string `json:"client"`
	Version    string `json:"version"`
	Variant    string `json:"variant"`
	Workload   string `json:"workload"`
	QoS        any    `json:"qos"`  // a number, or the text of a mix
	Size       any    `json:"size"` // likewise
	Window     int    `json:"window"`
	Publishers int    `json:"publishers,omitempty"`
	N          int64  `json:"n"`
	TLS        bool   `json:"tls"`

	Secs       float64  `json:"secs,omitempty"`
	Rate       float64  `json:"msgs_per_s,omitempty"`
	CPUUser    float64  `json:"cpu_user_s,omitempty"`
	CPUSys     float64  `json:"cpu_sys_s,omitempty"`
	CPUPerM    float64  `json:"cpu_s_per_million,omitempty"`
	Allocs     *float64 `json:"allocs_per_msg,omitempty"`
	AllocBytes *float64 `json:"alloc_bytes_per_msg,omitempty"`
	CtxSwitch  float64  `json:"ctx_switches_per_msg,omitempty"`
	PeakRSS    int64    `json:"peak_rss_kb,omitempty"`

	P50  float64 `json:"p50_us,omitempty"`
	P90  float64 `json:"p90_us,omitempty"`
	P99  float64 `json:"p99_us,omitempty"`
	P999 float64 `json:"p999_us,omitempty"`
	Max  float64 `json:"max_us,omitempty"`

	Clients       int     `json:"clients,omitempty"`
	RSSBase       int64   `json:"rss_base_kb,omitempty"`
	RSS           int64   `json:"rss_kb,omitempty"`
	RSSTrim       int64   `json:"rss_trimmed_kb,omitempty"`
	RSSPerClient  float64 `json:"rss_per_client_kb,omitempty"`
	TrimPerClient float64 `json:"rss_trimmed_per_client_kb,omitempty"`
	Threads       int     `json:"threads,omitempty"`
	Goroutines    int     `json:"goroutines,omitempty"`
	IdleCPUms     float64 `json:"idle_cpu_ms_per_s,omitempty"`

	Received int64  `json:"received,omitempty"`
	Failed   int64  `json:"failed,omitempty"`
	Lost     int64  `json:"lost_connections,omitempty"`
	Error    string `json:"error,omitempty"`
}

// blank is a result of which only the flags are known.
func (c *config) blank() *result {
	r := &result{
		Client: iot.LibraryName, Version: iot.Version, Variant: c.variant, Workload: c.workload,
		QoS: number(c.qos.String()), Size: number(c.sizes.String()), Window: c.window, Publishers: c.publishers,
		TLS: c.tls || c.host == "" && !c.flags.Plaintext(),
	}
	if c.n < forever {
		r.N = int64(c.n)
	}
	if c.clients > 1 {
		r.Clients = c.clients
	}
	return r
}

func number(text string) any {
	if v, err := strconv.Atoi(text); err == nil {
		return v
	}
	return text
}

// measured reports whether anything was measured.
func (r *result) measured() bool { return r.Secs > 0 }

// finish sets the fields that are known at the end.
func (r *result) finish(b *bench) {
	r.PeakRSS = status("VmHWM")
	r.Failed, r.Lost = b.failed.count(), b.lost.count()
	if r.Workload != "idle" {
		r.RSSBase = 0
	}
	n := b.latency.n.Load()
	if n == 0 {
		return
	}
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	q := b.latency.quantiles(.5, .9, .99, .999)
	r.P50, r.P90, r.P99, r.P999, r.Max = us(q[0]), us(q[1]), us(q[2]), us(q[3]), us(time.Duration(b.latency.longest.Load()))
}

// summary prints the result for people.
func (b *bench) summary(w io.Writer) error {
	r := b.result
	var text bytes.Buffer
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&text, "%-13s%s\n", name, fmt.Sprintf(format, args...))
	}
	us := func(v float64) time.Duration { return round(time.Duration(v * 1e3)) }

	things := "messages"
	if r.Workload == "connect" {
		things = "connections"
	}
	switch r.Workload {
	case "idle":
		line("idle", "%s, connected in %.2f s", clients(b.clients), r.Secs)
		line("memory", "%.1f KiB a client, %.1f after a garbage collection; %.1f MiB in all", r.RSSPerClient, r.TrimPerClient, float64(r.RSS)/1024)
		line("at rest", "%d goroutines, %d threads, %.3g ms CPU a second", r.Goroutines, r.Threads, r.IdleCPUms)
	default:
		line(r.Workload, "%d %s in %.3f s: %.0f a second", r.N, things, r.Secs, r.Rate)
		if things == "messages" {
			line("messages", "QoS %v, %v bytes, %s, %s", r.QoS, r.Size, clients(b.clients), b.manner())
		}
	}
	if r.Workload == "flow" {
		line("received", "%d", r.Received)
	}
	if r.P50 > 0 {
		line("latency", "p50 %v, p90 %v, p99 %v, p99.9 %v, max %v", us(r.P50), us(r.P90), us(r.P99), us(r.P999), us(r.Max))
	}
	if r.CPUPerM > 0 {
		whose := "of this process"
		if b.local {
			whose = "of client and server"
		}
		line("CPU", "%.3g µs each (%.2f s user, %.2f s system), %s", r.CPUPerM, r.CPUUser, r.CPUSys, whose)
	}
	if r.Allocs != nil {
		line("allocations", "%.2f each, of %.0f bytes together", *r.Allocs, *r.AllocBytes)
	}
	if r.PeakRSS > 0 {
		line("process", "%.1f MiB resident at most", float64(r.PeakRSS)/1024)
	}
	line("errors", "%d", r.Failed)
	b.failed.each(func(text string, times int64) { line("", "%d x %s", times, text) })
	line("lost", "%d connections", r.Lost)
	b.lost.each(func(text string, times int64) { line("", "%d x %s", times, text) })
	_, err := w.Write(text.Bytes())
	return err
}

func clients(n int) string {
	if n == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", n)
}

// manner is how the messages are published.
func (b *bench) manner() string {
	switch {
	case b.workload == "rtt" || b.workload == "echo":
		return "one at a time"
	case b.workload == "recv":
		return "published by others"
	case b.publishers > 0:
		return fmt.Sprintf("%d goroutines in Publish", b.publishers)
	}
	return fmt.Sprintf("PublishAsync, at most %d unfinished", b.window)
}

// round leaves three or four digits.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
