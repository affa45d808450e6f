// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// measure does the work of the run and puts down what it took.
func (b *bench) measure(work func() error) error {
	r := b.result
	if b.report == 0 {
		defer announce("measuring")()
	}
	b.latency.reset()
	b.measuring.Store(true)
	stopProfile, err := b.profile()
	if err != nil {
		return err
	}
	if b.duration > 0 {
		defer time.AfterFunc(b.duration, func() { b.end(errElapsed) }).Stop()
	}
	runtime.GC()
	before, received := b.progress(), b.received()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	u0, s0, w0 := usage()
	began := time.Now()
	err = work()
	took := b.idleSince().Sub(began)
	u1, s1, w1 := usage()
	runtime.ReadMemStats(&m1)
	r.N = b.progress() - before - b.failed.count()
	if perr := stopProfile(); err == nil {
		err = perr
	}
	if r.Workload == "flow" {
		r.Received = b.received() - received
	}
	r.Secs = took.Seconds()
	r.CPUUser, r.CPUSys = u1-u0, s1-s0
	if r.N <= 0 {
		return err
	}
	each := float64(r.N)
	r.Rate = each / r.Secs
	r.CPUPerM = (r.CPUUser + r.CPUSys) / each * 1e6
	allocs, bytes := float64(m1.Mallocs-m0.Mallocs)/each, float64(m1.TotalAlloc-m0.TotalAlloc)/each
	r.Allocs, r.AllocBytes = &allocs, &bytes
	r.CtxSwitch = float64(w1-w0) / each
	return err
}

// status reads a number of /proc/self/status: kilobytes, or a count. It is 0
// where there is no such file.
func status(key string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if name, rest, ok := strings.Cut(line, ":"); ok && name == key {
			if f := strings.Fields(rest); len(f) > 0 {
				v, _ := strconv.ParseInt(f[0], 10, 64)
				return v
			}
		}
	}
	return 0
}
