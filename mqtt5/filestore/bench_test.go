// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// BenchmarkCommit commits one record of 300 bytes at a time from each of 1, 8
// and 64 goroutines, and removes the one before.
func BenchmarkCommit(b *testing.B) {
	body := strings.Repeat("x", 300)
	for _, policy := range []SyncPolicy{SyncAlways, SyncInterval} {
		for name, goroutines := range map[string]int{"1": 1, "8": 8, "64": 64} {
			b.Run([]string{"always", "interval"}[policy]+"/"+name, func(b *testing.B) {
				s := mustOpen(b, tempDir(b), Options{Sync: policy})
				var id atomic.Uint64
				b.SetParallelism((goroutines + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						n := id.Add(1)
						if _, err := s.Commit([]mqtt5.StoreChange{appendPublish(n, body), remove(n - 100)}); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkOpen opens a store with a million records of 300 bytes. It reports
// the memory that the open store keeps.
func BenchmarkOpen(b *testing.B) {
	dir := tempDir(b)
	s := mustOpen(b, dir, Options{Sync: SyncInterval})
	body := strings.Repeat("x", 300)
	var batch []mqtt5.StoreChange
	for id := uint64(1); id <= 1_000_000; id++ {
		if batch = append(batch, appendPublish(id, body)); len(batch) == 1000 {
			mustCommit(b, s, batch...)
			batch = batch[:0]
		}
	}
	s.Close()
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if n := s.Count(mqtt5.RecordPublish).Records; n != 1_000_000 {
			b.Fatalf("%d records", n)
		}
		n := 0
		if err := s.Iterate(mqtt5.RecordPublish, 0, func(mqtt5.StoreRecord) bool { n++; return n < 1000 }); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "live-bytes")
}
