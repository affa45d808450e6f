// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// run is one measurement of one client.
type run struct {
	Peer       string
	Workload   string
	Addr       string
	CA         string // file; TLS if set
	QoS        int
	Size       int
	N          int
	Warmup     int
	Window     int
	ReceiveMax int
	Publishers int
	Clients    int
	Hold       time.Duration // how long an idle fleet is left alone, and then watched

	CPUProfile, MemProfile string
}

// result is what a run measured. What does not apply is absent.
type result struct {
	CPU       float64 `json:"cpu_us,omitempty"` // of the process, for each message or operation
	P50       float64 `json:"p50_us,omitempty"`
	P99       float64 `json:"p99_us,omitempty"`
	Rate      float64 `json:"per_s,omitempty"`
	Allocs    float64 `json:"allocs,omitempty"`      // for each message
	Bytes     float64 `json:"alloc_bytes,omitempty"` // likewise
	RSS       float64 `json:"rss_kib,omitempty"`     // for each connection
	Trimmed   float64 `json:"rss_gc_kib,omitempty"`  // after a collection
	Heap      float64 `json:"heap_kib,omitempty"`    // likewise, live objects
	Stack     float64 `json:"stack_kib,omitempty"`
	Gorout    int     `json:"goroutines,omitempty"` // in all
	IdleCPU   float64 `json:"idle_cpu_ms_per_s,omitempty"`
	Recovery  float64 `json:"recovery_s,omitempty"`
	PeakHeap  float64 `json:"peak_heap_mib,omitempty"`
	Connected int     `json:"connected,omitempty"`

	process time.Duration // processor time of the process, from its start to its end
}

var errWorkload = errors.New("no such workload")

func (r *run) measure() (*result, error) {
	dial, ok := peers[r.Peer]
	if !ok {
		return nil, fmt.Errorf("no such peer")
	}
	o := peerOptions{addr: r.Addr, clientID: fmt.Sprintf("bench-rm%d-%d", max(1, min(r.Window, 65535)), os.Getpid()), receiveMax: uint16(r.ReceiveMax)}
	if r.CA != "" {
		pem, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, err
		}
		o.tls = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS13}
		o.tls.RootCAs.AppendCertsFromPEM(pem)
		o.ca = pem
		if o.context, err = tlsctx.New(tlsctx.Options{CAPEM: pem}); err != nil {
			return nil, err
		}
	}
	workload, ok := map[string]func(*result, peerOptions, func(peerOptions) (peer, error)) error{
		"pub": r.pub, "recv": r.recv, "rtt": r.rtt, "connect": r.connect, "idle": r.idle, "active": r.active, "storm": r.storm,
	}[r.Workload]
	if !ok {
		return nil, errWorkload
	}
	res := new(result)
	if err := workload(res, o, dial); err != nil {
		return nil, err
	}
	return res, nil
}

// span measures what happens between its start and its end.
type span struct {
	began  time.Time
	cpu    time.Duration
	memory runtime.MemStats
	run    *run
	file   *os.File
}

func (r *run) begin() *span {
	s := &span{run: r}
	runtime.GC()
	if r.CPUProfile != "" {
		if f, err := os.Create(r.CPUProfile); err == nil {
			s.file = f
			_ = pprof.StartCPUProfile(f)
		}
	}
	runtime.ReadMemStats(&s.memory)
	s.cpu, s.began = cpuTime(), time.Now()
	return s
}

func (s *span) end(res *result, n int) {
	took, cpu := time.Since(s.began), cpuTime()-s.cpu
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if s.file != nil {
		pprof.StopCPUProfile()
		s.file.Close()
	}
	if s.run.MemProfile != "" {
		if f, err := os.Create(s.run.MemProfile); err == nil {
			_ = pprof.Lookup("allocs").WriteTo(f, 0)
			f.Close()
		}
	}
	per := 1 / float64(n)
	res.CPU = float64(cpu.Nanoseconds()) / 1e3 * per
	res.Rate = float64(n) / took.Seconds()
	res.Allocs = float64(after.Mallocs-s.memory.Mallocs) * per
	res.Bytes = float64(after.TotalAlloc-s.memory.TotalAlloc) * per
}

// pub publishes, and ends with a message that is acknowledged: only then has
// the server read those of QoS 0.
func (r *run) pub(res *result, o peerOptions, dial func(peerOptions) (peer, error)) error {
	p, err := dial(o)
	if err != nil {
		return err
	}
	defer p.close()
	payload := make([]byte, r.Size)
	send := func(n int) error {
		var err error
		if r.Publishers > 0 {
			err = blocking(n, r.Publishers, func() error { return p.publish("sink", payload, byte(r.QoS)) })
		} else {
			err = p.publishMany("sink", payload, byte(r.QoS), n, r.Window)
		}
		if err != nil {
			return err
		}
		return p.publish("fence", nil, 1)
	}
	if err := send(r.Warmup); err != nil {
		return err
	}
	s := r.begin()
	if err := send(r.N); err != nil {
		return err
	}
	s.end(res, r.N)
	return nil
}

// recv receives what a source sends, and with QoS 1 waits until the server has
// all acknowledgements.
func (r *run) recv(res *result, o peerOptions, dial func(peerOptions) (peer, error)) error {
	var got, goal atomic.Int64
	done := make(chan struct{}, 1)
	o.onMessage = func([]byte) {
		if got.Add(1) == goal.Load() {
			done <- struct{}{}
		}
	}
	p, err := dial(o)
	if err != nil {
		return err
	}
	defer p.close()
	receive := func(n int) error {
		got.Store(0)
		goal.Store(int64(n))
		if err := p.subscribe(fmt.Sprintf("source/%d/%d/%d", r.QoS, r.Size, n), byte(r.QoS)); err != nil {
			return err
		}
		<-done
		if r.QoS == 0 {
			return nil
		}
		return p.publish("fence", nil, 1)
	}
	if err := receive(r.Warmup); err != nil {
		return err
	}
	s := r.begin()
	if err := receive(r.N); err != nil {
		return err
	}
	s.end(res, r.N)
	return nil
}

func (r *run) rtt(res *result, o peerOptions, dial func(peerOptions) (peer, error)) error {
	p, err := dial(o)
	if err != nil {
		return err
	}
	defer p.close()
	payload := make([]byte, r.Size)
	times := make([]time.Duration, r.N)
	var s *span
	for i := -r.Warmup; i < r.N; i++ {
		if i == 0 {
			s = r.begin()
		}
		began := time.Now()
		if err := p.publish("sink", payload, byte(r.QoS)); err != nil {
			return err
		}
		if i >= 0 {
			times[i] = time.Since(began)
		}
	}
	s.end(res, r.N)
	res.percentiles(times)
	return nil
}

func (r *run) connect(res *result, o peerOptions, dial func(peerOptions) (peer, error)) error {
	times := make([]time.Duration, r.N)
	var s *span
	for i := -r.Warmup; i < r.N; i++ {
		if i == 0 {
			s = r.begin()
		}
		began := time.Now()
		p, err := dial(o)
		if err != nil {
			return err
		}
		if i >= 0 {
			times[i] = time.Since(began)
		}
		if err := p.close(); err != nil {
			return err
		}
	}
	s.end(res, r.N)
	res.percentiles(times)
	return nil
}

func (res *result) percentiles(times []time.Duration) {
	slices.Sort(times)
	at := func(p float64) float64 { return float64(times[int(p*float64(len(times)-1))].Nanoseconds()) / 1e3 }
	res.P50, res.P99 = at(0.5), at(0.99)
}
