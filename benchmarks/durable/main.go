// SPDX-License-Identifier: Apache-2.0

// Command durable measures how fast publishes become durable: package filestore,
// the files of paho.golang, and what the disk itself allows. It prints a table.
//
//	go run ./benchmarks/durable -dir /mnt/disk -device loop0
//
// The directory should be alone on its device: the bytes written are those of
// the device, the journal of the file system included.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	dir     = flag.String("dir", ".", "where to write")
	device  = flag.String("device", "", `block device of that directory, such as "loop0"; empty: bytes are not counted`)
	seconds = flag.Float64("seconds", 2, "for each run")
	repeat  = flag.Int("repeat", 3, "runs of each row, interleaved; the table has the medians")
)

// size is the size of a publish: topic, properties and payload.
const size = 300

// subject is something that makes publishes durable.
type subject struct {
	name string
	// open returns a function that makes one publish durable, and forgets one that
	// is done, and one that closes. It is called by many goroutines.
	open func(dir string) (put func(packet []byte) error, closed func() error, err error)
}

type result struct{ rate, p50, p99, bytes float64 }

func main() {
	flag.Parse()
	publishers := []int{1, 8, 64}
	results := map[string][]result{}
	for range *repeat {
		for _, n := range publishers {
			for _, s := range subjects(n) {
				r, err := measure(s, n)
				if err != nil {
					log.Fatalf("%s, %d publishers: %v", s.name, n, err)
				}
				key := fmt.Sprint(n, s.name)
				results[key] = append(results[key], r)
			}
		}
	}
	fmt.Println("| publishers | store | publishes/s | p50 ms | p99 ms | bytes written per publish |")
	fmt.Println("|---:|---|---:|---:|---:|---:|")
	for _, n := range publishers {
		for _, s := range subjects(n) {
			r := median(results[fmt.Sprint(n, s.name)])
			written := "-"
			if *device != "" {
				written = fmt.Sprintf("%.0f", r.bytes)
			}
			fmt.Printf("| %d | %s | %.0f | %.2f | %.2f | %s |\n", n, s.name, r.rate, r.p50, r.p99, written)
		}
	}
}

func median(list []result) result {
	of := func(get func(result) float64) float64 {
		var v []float64
		for _, r := range list {
			v = append(v, get(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return result{
		rate:  of(func(r result) float64 { return r.rate }),
		p50:   of(func(r result) float64 { return r.p50 }),
		p99:   of(func(r result) float64 { return r.p99 }),
		bytes: of(func(r result) float64 { return r.bytes }),
	}
}

// measure lets publishers use a subject, each for one publish at a time.
func measure(s subject, publishers int) (result, error) {
	tmp, err := os.MkdirTemp(*dir, "durable")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(tmp)
	put, closed, err := s.open(tmp)
	if err != nil {
		return result{}, err
	}
	syscall.Sync()
	before := written()
	begin := time.Now()
	end := begin.Add(time.Duration(*seconds * float64(time.Second)))
	var wg sync.WaitGroup
	var failure atomic.Value
	all := make([][]time.Duration, publishers)
	for p := range publishers {
		wg.Go(func() {
			packet := bytes.Repeat([]byte("x"), size)
			for now := time.Now(); now.Before(end); {
				if err := put(packet); err != nil {
					failure.Store(err)
					return
				}
				done := time.Now()
				all[p] = append(all[p], done.Sub(now))
				now = done
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	bytes := written() - before
	if err, ok := failure.Load().(error); ok {
		return result{}, err
	}
	if err := closed(); err != nil {
		return result{}, err
	}
	list := slices.Concat(all...)
	slices.Sort(list)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	return result{
		rate:  float64(len(list)) / took.Seconds(),
		p50:   ms(list[len(list)/2]),
		p99:   ms(list[len(list)*99/100]),
		bytes: float64(bytes) / float64(len(list)),
	}, nil
}

// written returns the bytes that the device was told to write so far.
func written() int64 {
	if *device == "" {
		return 0
	}
	b, err := os.ReadFile(filepath.Join("/sys/block", *device, "stat"))
	if err != nil {
		log.Fatal(err)
	}
	const sectors = 6
	var n int64
	fmt.Sscan(strings.Fields(string(b))[sectors], &n)
	return n * 512
}
